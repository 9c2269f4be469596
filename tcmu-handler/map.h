/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the blocks of one overlay are: a hash table of the written ones, a two-level bitmap of
 * those that read as zero. See map.c for the shape and what it costs. Not locked: the overlay's
 * lock covers it, except map_maybe().
 */
#ifndef BOOTWELL_MAP_H
#define BOOTWELL_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A block of 4 KiB that has been written. `page`: its newest data in staging memory (0: none; which
 * sectors, the page knows). `slot`: the block of the store (0: none) that holds the sectors of
 * `mask`. Sectors that neither has are zero if the block is in the zero set, and the base's
 * otherwise.
 */
struct map_entry {
	uint32_t block;
	uint32_t slot;
	uint32_t page;
	uint32_t crc; /* CRC-32C of the slot's 4096 bytes */
	uint8_t mask;
	uint8_t used;
	uint16_t spare;
};

struct map {
	struct map_entry *table;
	uint32_t capacity; /* a power of two */
	uint32_t count;
	uint32_t blocks;      /* of the disk */
	uint32_t zero_blocks; /* in the zero set, written or not */
	uint64_t *present;    /* one bit a granule that has had anything */
	unsigned int granule_shift;
	uint64_t **zero; /* a bitmap for each 128 MiB, or NULL, or MAP_ALL_ZERO */
	size_t bytes;    /* memory */
};

#define MAP_BLOCKS_MAX 0xfffffff0u /* just under 16 TiB */

int map_init(struct map *map, uint32_t blocks); /* -ENOMEM */
void map_done(struct map *map);

/* May the range hold anything but base? No lock needed: a write that races with it is not yet
 * acknowledged. */
bool map_maybe(const struct map *map, uint32_t block, uint32_t count);

struct map_entry *map_get(const struct map *map, uint32_t block); /* NULL: not there */

/* Room for `count` more entries: the next map_add()s cannot fail. -ENOMEM: nothing has changed. */
int map_reserve(struct map *map, uint32_t count);
struct map_entry *map_add(struct map *map, uint32_t block); /* not there yet; after map_reserve() */

/* Entries may move: pointers from before are void. */
void map_remove(struct map *map, struct map_entry *entry);

/* Calls gone() for each entry of the range, then removes it. */
void map_remove_range(struct map *map, uint32_t block, uint32_t count,
		      void (*gone)(void *arg, const struct map_entry *entry), void *arg);

bool map_is_zero(const struct map *map, uint32_t block);
int map_zero(struct map *map, uint32_t block, uint32_t count); /* -ENOMEM: some may have been set */
/* The first run of the zero set within [block, end); false if there is none. */
bool map_next_zero(const struct map *map, uint32_t block, uint32_t end, uint32_t *ret_block, uint32_t *ret_count);
/* What the first of `count` blocks is, and how many are alike from there on; it does not look far (no lock is held for
 * long), so that the next call may answer the same. MAP_ZERO: nothing is stored. */
enum map_kind { MAP_BASE, MAP_WRITTEN, MAP_ZERO };
enum map_kind map_status(const struct map *map, uint32_t block, uint32_t count, uint32_t *ret_count);
/* The blocks of the range that have an entry, sorted, into ret (room for map->count); how many. */
uint32_t map_list(const struct map *map, uint32_t block, uint32_t count, uint32_t *ret);

#endif
