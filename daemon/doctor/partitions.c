// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MBR with its chain of logical partitions, or GPT. Nothing is believed that points outside the disk, and no chain
 * goes round.
 */
#include <errno.h>
#include <string.h>

#include "daemon/image/digest.h"
#include "daemon/doctor/doctor.h"
#include "tcmu-handler/image/bytes.h"

#define SECTOR      512u
#define LOGICAL_MAX 64 /* links of a chain of extended partitions */
#define MBR_DYNAMIC 0x42

/* The types of a dynamic disk's partitions in a GPT: AF9B60A0-1431-4F62-BC68-3311714A69AD and
 * 5808C8AA-7E8F-42E0-85D2-E1E90434CFB3. */
static const uint8_t ldm_data[16] = {0xa0, 0x60, 0x9b, 0xaf, 0x31, 0x14, 0x62, 0x4f,
				     0xbc, 0x68, 0x33, 0x11, 0x71, 0x4a, 0x69, 0xad};
static const uint8_t ldm_metadata[16] = {0xaa, 0xc8, 0x08, 0x58, 0x8f, 0x7e, 0xe0, 0x42,
					 0x85, 0xd2, 0xe1, 0xe9, 0x04, 0x34, 0xcf, 0xb3};

/* C12A7328-F81F-11D2-BA4B-00A0C93EC93B */
static const uint8_t esp[16] = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
				0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b};

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

static void add(struct table *t, unsigned int number, uint64_t lba, uint64_t sectors, bool active, bool dynamic)
{
	uint64_t all = t->size / SECTOR;
	struct doctor_partition *p = &t->part[t->n];
	uint8_t boot[SECTOR];

	if (t->n == t->max || !lba || !sectors)
		return;
	*p = (struct doctor_partition){.number = number,
				       .start = (lba < all ? lba : all) * SECTOR,
				       .active = active,
				       .dynamic = dynamic,
				       .past_end = lba > all || sectors > all - lba};
	p->size = p->past_end ? all * SECTOR - p->start : sectors * SECTOR;
	p->ntfs = read_sector(t, lba, boot) == 0 && memcmp(boot + 3, "NTFS    ", 8) == 0;
	p->bitlocker = read_sector(t, lba, boot) == 0 && memcmp(boot + 3, "-FVE-FS-", 8) == 0;
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
		add(t, 5 + i, at + le32_at(e + 8), le32_at(e + 12), false, e[4] == MBR_DYNAMIC);
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
		unsigned int before = t->n;

		if (i % (SECTOR / size) == 0 && read_sector(t, lba + i / (SECTOR / size), s))
			break;
		if (!data_is_zero(e, 16) && le64_at(e + 40) >= le64_at(e + 32))
			add(t, i + 1, le64_at(e + 32), le64_at(e + 40) - le64_at(e + 32) + 1, false,
			    !memcmp(e, ldm_data, 16) || !memcmp(e, ldm_metadata, 16));
		if (t->n > before)
			t->part[before].esp = !memcmp(e, esp, 16);
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
			add(&t, i + 1, le32_at(e + 8), le32_at(e + 12), e[0] & 0x80, e[4] == MBR_DYNAMIC);
	}
	return r ? r : t.n ? (int)t.n : -ENOENT;
}
