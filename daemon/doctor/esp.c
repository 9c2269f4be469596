// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One path in a FAT, by its short names, which it always has. Chains of clusters end after CHAIN_MAX links, so none
 * goes round; nothing is read outside the partition.
 */
#include "daemon/doctor/esp.h"

#include <errno.h>
#include <string.h>

#include "tcmu-handler/image/bytes.h"

#define SECTOR    512u
#define CHAIN_MAX 1024 /* clusters of a folder that are looked at */
#define ENTRY     32u  /* bytes of a folder's entry */

#define IS_FOLDER 0x10
#define IS_LABEL  0x08 /* also a part of a long name */

struct fat {
	struct doctor_disk *disk;
	uint64_t start, size;       /* bytes */
	uint64_t table, root, data; /* bytes from start; root: of FAT12 and FAT16 */
	uint32_t cluster;           /* bytes */
	uint32_t root_bytes, root_cluster, clusters;
	unsigned int bits;
};

static int fat_read(const struct fat *f, uint64_t at, void *to, uint32_t n)
{
	if (n > f->size || at > f->size - n)
		return -EINVAL;
	return doctor_disk_read(f->disk, f->start + at, to, n);
}

static int fat_open(struct fat *f)
{
	uint8_t b[SECTOR];
	uint64_t sectors, table, first;
	int r = fat_read(f, 0, b, sizeof(b));

	if (r)
		return r;
	if (le16_at(b + 510) != 0xaa55 || le16_at(b + 11) != SECTOR || !is_power_of_two(b[13]) || !b[16])
		return -EINVAL;
	table = le16_at(b + 22) ? le16_at(b + 22) : le32_at(b + 36);
	sectors = le16_at(b + 19) ? le16_at(b + 19) : le32_at(b + 32);
	f->table = (uint64_t)le16_at(b + 14) * SECTOR;
	f->root = f->table + b[16] * table * SECTOR;
	f->root_bytes = le16_at(b + 17) * ENTRY;
	f->data = f->root + (f->root_bytes + SECTOR - 1) / SECTOR * SECTOR;
	f->cluster = b[13] * SECTOR;
	first = f->data / SECTOR;
	if (!table || sectors <= first || sectors > f->size / SECTOR)
		return -EINVAL;
	f->clusters = (uint32_t)((sectors - first) / b[13]);
	/* Many are made as FAT32 with fewer clusters than that should have; systems go by this field. */
	f->bits = !le16_at(b + 22) ? 32 : f->clusters < 4085 ? 12 : 16;
	f->root_cluster = f->bits == 32 ? le32_at(b + 44) : 0;
	return 0;
}

/* The cluster behind this one; 0: it was the last. */
static int fat_next(const struct fat *f, uint32_t cluster, uint32_t *ret)
{
	uint8_t e[4] = {0};
	int r = fat_read(f, f->table + (uint64_t)cluster * f->bits / 8, e, f->bits == 32 ? 4 : 2);

	if (f->bits == 12)
		*ret = cluster & 1 ? le16_at(e) >> 4 : le16_at(e) & 0xfff;
	else
		*ret = f->bits == 16 ? le16_at(e) : le32_at(e) & 0x0fffffff;
	if (*ret < 2 || *ret >= f->clusters + 2)
		*ret = 0;
	return r;
}

/* 1: found, its entry is in ret; 0: not there, the folder goes on; -ENOENT: it ends here. */
static int look_at(const struct fat *f, uint64_t at, uint32_t bytes, const char name[11], uint8_t ret[ENTRY])
{
	uint8_t s[SECTOR];

	for (uint32_t done = 0; done < bytes; done += SECTOR) {
		uint32_t n = bytes - done < SECTOR ? bytes - done : SECTOR;
		int r = fat_read(f, at + done, s, n);

		if (r)
			return r;
		for (uint32_t i = 0; i + ENTRY <= n; i += ENTRY) {
			if (!s[i])
				return -ENOENT;
			if ((s[i + 11] & IS_LABEL) || memcmp(s + i, name, 11) != 0)
				continue;
			memcpy(ret, s + i, ENTRY);
			return 1;
		}
	}
	return 0;
}

/* In the folder that begins with that cluster; 0: the root of FAT12 and FAT16. 0, -ENOENT or what reading says. */
static int find(const struct fat *f, uint32_t cluster, const char name[11], uint8_t ret[ENTRY])
{
	int r = 0;

	if (!cluster)
		r = look_at(f, f->root, f->root_bytes, name, ret);
	for (unsigned int i = 0; !r && cluster && i < CHAIN_MAX; i++) {
		if (cluster < 2 || cluster >= f->clusters + 2)
			return -EINVAL;
		r = look_at(f, f->data + (uint64_t)(cluster - 2) * f->cluster, f->cluster, name, ret);
		if (!r)
			r = fat_next(f, cluster, &cluster);
	}
	return r == 1 ? 0 : r ? r : -ENOENT;
}

int doctor_esp_look(struct doctor_disk *disk, uint64_t start, uint64_t size, bool *ret)
{
	static const char path[][12] = {"EFI        ", "BOOT       ", "BOOTX64 EFI"};
	struct fat f = {.disk = disk, .start = start, .size = size};
	uint8_t entry[ENTRY] = {0};
	int r = fat_open(&f);
	uint32_t at = f.root_cluster;

	*ret = false;
	for (unsigned int i = 0; !r && i < 3; i++) {
		r = find(&f, at, path[i], entry);
		if (!r && i < 2 && !(entry[11] & IS_FOLDER))
			r = -ENOENT;
		at = (f.bits == 32 ? (uint32_t)le16_at(entry + 20) << 16 : 0) | le16_at(entry + 26);
		if (!r && i < 2 && !at)
			r = -EINVAL;
	}
	*ret = !r && !(entry[11] & IS_FOLDER) && le32_at(entry + 28);
	return r == -ENOENT ? 0 : r;
}
