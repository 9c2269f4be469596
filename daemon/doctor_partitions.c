// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>

#include "daemon/digest.h"
#include "daemon/doctor.h"
#include "tcmu-handler/image/bytes.h"

#define SECTOR 512u
#define LOGICAL_MAX 64 /* links of a chain of extended partitions */

struct table {
	struct doctor_disk *disk;
	uint64_t size;
	struct doctor_partition *part;
	unsigned int n, max;
};

static int read_sector(struct table *t, uint64_t lba, uint8_t ret[SECTOR])
{
	if (lba >= t->size / SECTOR)
		return -ERANGE;
	return doctor_disk_read(t->disk, lba * SECTOR, ret, SECTOR);
}

static void add(struct table *t, unsigned int number, uint64_t lba, uint64_t sectors, bool active)
{
	struct doctor_partition *p = &t->part[t->n];
	uint8_t boot[SECTOR];

	if (t->n == t->max || !lba || !sectors || lba > t->size / SECTOR || sectors > t->size / SECTOR - lba)
		return;
	*p = (struct doctor_partition){.number = number, .start = lba * SECTOR, .size = sectors * SECTOR, .active = active};
	p->ntfs = read_sector(t, lba, boot) == 0 && memcmp(boot + 3, "NTFS    ", 8) == 0;
	/* The superblock is at 1024, its magic number at 56 in it. */
	p->ext = sectors > 4 && read_sector(t, lba + 2, boot) == 0 && le16_at(boot + 56) == 0xef53;
	t->n++;
}

static bool is_extended(uint8_t type)
{
	return type == 0x05 || type == 0x0f || type == 0x85;
}

static void add_logical(struct table *t, uint64_t first)
{
	uint64_t at = first;
	uint8_t s[SECTOR];

	for (unsigned int i = 0; i < LOGICAL_MAX; i++) {
		const uint8_t *e = s + 446, *next = e + 16;

		if (read_sector(t, at, s) || le16_at(s + 510) != 0xaa55)
			return;
		add(t, 5 + i, at + le32_at(e + 8), le32_at(e + 12), false);
		if (!is_extended(next[4]) || !le32_at(next + 8))
			return;
		at = first + le32_at(next + 8);
	}
}

static int read_gpt(struct table *t)
{
	uint8_t header[SECTOR], s[SECTOR];
	uint64_t lba;
	uint32_t entries, size;

	if (read_sector(t, 1, header) || memcmp(header, "EFI PART", 8))
		return -ENOENT;
	lba = le64_at(header + 72);
	entries = le32_at(header + 80);
	size = le32_at(header + 84);
	if (size < 128 || size > SECTOR || !is_power_of_two(size))
		return -EINVAL;
	for (uint32_t i = 0; i < entries && i < DOCTOR_PARTITIONS; i++) {
		const uint8_t *e = s + i % (SECTOR / size) * size;

		if (i % (SECTOR / size) == 0 && read_sector(t, lba + i / (SECTOR / size), s))
			break;
		if (!data_is_zero(e, 16) && le64_at(e + 40) >= le64_at(e + 32))
			add(t, i + 1, le64_at(e + 32), le64_at(e + 40) - le64_at(e + 32) + 1, false);
	}
	return 0;
}

int doctor_partitions(struct doctor_disk *disk, struct doctor_partition *ret, unsigned int max, bool *ret_gpt)
{
	struct table t = {.disk = disk, .size = doctor_disk_size(disk), .part = ret, .max = max};
	uint8_t mbr[SECTOR];
	int r = read_sector(&t, 0, mbr);

	*ret_gpt = false;
	if (!r && le16_at(mbr + 510) != 0xaa55)
		r = -ENOENT;
	for (unsigned int i = 0; !r && i < 4; i++) {
		const uint8_t *e = mbr + 446 + 16 * i;

		if (e[4] == 0xee) {
			*ret_gpt = true;
			t.n = 0;
			r = read_gpt(&t);
			break;
		}
		if (is_extended(e[4]))
			add_logical(&t, le32_at(e + 8));
		else if (e[4])
			add(&t, i + 1, le32_at(e + 8), le32_at(e + 12), e[0] & 0x80);
	}
	return r ? r : t.n ? (int)t.n : -ENOENT;
}
