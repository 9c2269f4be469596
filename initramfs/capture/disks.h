/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disks of the PC that is captured, and what of them is in use. */
#ifndef BOOTWELL_CAPTURE_DISKS_H
#define BOOTWELL_CAPTURE_DISKS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/image/used_map.h"

#define DISKS_MAX      32
#define PARTITIONS_MAX 128

struct partition {
	char name[32];        /* "sda1" */
	uint64_t start, size; /* bytes */
	char type[32];        /* as blkid calls it: "ntfs", "ext4", "vfat", "swap"; "" unknown */
	char label[64];
};

struct disk {
	char name[32]; /* "sda" */
	char model[64];
	uint64_t size;   /* bytes */
	uint64_t sector; /* bytes, as the drive says: 512 or 4096 */
	struct partition partition[PARTITIONS_MAX];
	unsigned int partitions;
};

/* Disks that can be captured: no loop, RAM, floppy, CD, and none that comes over iSCSI. `loops`: loop devices too. */
unsigned int disks_find(struct disk *disks, unsigned int max, bool loops);
/* Asks blkid what is on each partition. */
void disk_look(struct disk *disk);

/*
 * What of the disk has to be sent. `say` gets a sentence for each partition. A partition whose use cannot be found out
 * for certain counts as used from end to end.
 */
struct used_map *disk_used(const struct disk *disk, void (*say)(const char *sentence));

#endif
