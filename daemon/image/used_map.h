/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which bytes of a disk no file system uses. Everything is in use until somebody who knows the file system says that it
 * is not: partclone, for a whole partition, as a ddrescue domain log.
 */
#ifndef BOOTWELL_USED_MAP_H
#define BOOTWELL_USED_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct used_range {
	uint64_t start, end; /* bytes, end exclusive */
};

/* The unused ranges, sorted, apart from each other, cut to whole blocks of 4096 bytes. */
struct used_map {
	uint64_t size; /* bytes of the disk */
	struct used_range *free;
	size_t n_free, room;
};

#define USED_MAP_RANGES_MAX 4000000 /* more than that is no log that we asked for */

struct used_map *used_map_new(uint64_t size);
void used_map_free(struct used_map *map);
/* Must be called in ascending order. -EINVAL if not; ranges that hold no whole block are left out. */
int used_map_add_free(struct used_map *map, uint64_t start, uint64_t end);
uint64_t used_map_used(const struct used_map *map); /* bytes */
/* Bytes in use within [start, end). */
uint64_t used_map_count(const struct used_map *map, uint64_t start, uint64_t end);
/* The next range in use at or after `at`: false if there is none before `end`. */
bool used_map_next(const struct used_map *map, uint64_t at, uint64_t end, struct used_range *ret);

/*
 * Reads a domain log of partclone (-D) that was made with the partition's start as its offset. Lines outside [start,
 * end) are an error: -EBADMSG. The last 4096 bytes of the partition always count as used (NTFS keeps a boot sector
 * there).
 */
int used_map_read_log(struct used_map *map, FILE *log, uint64_t start, uint64_t end);

#endif
