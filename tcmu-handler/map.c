// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The table: open addressing, 20 bytes an entry, never more than 3/4 full, so a scattered dirty GiB
 * (262,144 blocks) is 10 MiB, and 15 MiB for the moment of growing. Eight neighbouring blocks have
 * neighbouring homes, so a sequential read walks cache lines instead of jumping. Removal shifts the
 * followers back; there are no tombstones.
 *
 * Most of a disk is base, and a reader must learn that without a cache miss: `present` has one bit
 * for each granule (2 MiB, more on disks over 128 GiB) and is at most 8 KiB.
 *
 * The zero set: a pointer for each 128 MiB, made at the first unmap, to a bitmap of 4 KiB or the
 * word for "all of it". So a whole disk of 2 TiB unmapped costs 128 KiB, and no sequence of unmaps
 * more than a 32,768th of the disk's size. A write does not clear the bit: the table is looked at
 * first.
 */
#include "tcmu-handler/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 64
#define GRANULES_MAX   65536
#define STATUS_LOOKS   8192 /* blocks that map_status() looks up */
#define REGION_SHIFT   15   /* blocks of a zero bitmap: 32768 */
#define REGION_BLOCKS  (1u << REGION_SHIFT)
#define REGION_WORDS   (REGION_BLOCKS / 64)
#define ALL_ZERO       ((uint64_t *)(uintptr_t)1)

static uint32_t regions(const struct map *map)
{
	return (uint32_t)(((uint64_t)map->blocks + REGION_BLOCKS - 1) >> REGION_SHIFT);
}

static uint32_t home(const struct map *map, uint32_t block)
{
	uint32_t h = (block >> 3) * 0x9e3779b1u;

	h ^= h >> 15;
	return (h * 8 + (block & 7)) & (map->capacity - 1);
}

int map_init(struct map *map, uint32_t blocks)
{
	size_t words;

	memset(map, 0, sizeof(*map));
	map->blocks = blocks;
	map->granule_shift = 9;
	while ((blocks >> map->granule_shift) >= GRANULES_MAX)
		map->granule_shift++;
	words = ((blocks >> map->granule_shift) + 64) / 64;
	map->present = calloc(words, sizeof(uint64_t));
	map->table = calloc(FIRST_CAPACITY, sizeof(*map->table));
	if (!map->present || !map->table) {
		map_done(map);
		return -ENOMEM;
	}
	map->capacity = FIRST_CAPACITY;
	map->bytes = words * 8 + FIRST_CAPACITY * sizeof(*map->table);
	return 0;
}

void map_done(struct map *map)
{
	if (map->zero)
		for (uint32_t i = 0; i < regions(map); i++)
			if (map->zero[i] != ALL_ZERO)
				free(map->zero[i]);
	free(map->zero);
	free(map->present);
	free(map->table);
	memset(map, 0, sizeof(*map));
}

static bool bit_at(const uint64_t *words, uint32_t i)
{
	return __atomic_load_n(&words[i >> 6], __ATOMIC_RELAXED) >> (i & 63) & 1;
}

bool map_maybe(const struct map *map, uint32_t block, uint32_t count)
{
	uint32_t last = (block + count - 1) >> map->granule_shift;

	for (uint32_t g = block >> map->granule_shift; g <= last; g++)
		if (bit_at(map->present, g))
			return true;
	return false;
}

static void set_present(struct map *map, uint32_t block)
{
	uint32_t g = block >> map->granule_shift;

	if (!bit_at(map->present, g))
		__atomic_fetch_or(&map->present[g >> 6], 1ull << (g & 63), __ATOMIC_RELEASE);
}

struct map_entry *map_get(const struct map *map, uint32_t block)
{
	for (uint32_t i = home(map, block);; i = (i + 1) & (map->capacity - 1)) {
		struct map_entry *e = &map->table[i];

		if (!e->used)
			return NULL;
		if (e->block == block)
			return e;
	}
}

static struct map_entry *free_place(struct map *map, uint32_t block)
{
	uint32_t i = home(map, block);

	while (map->table[i].used)
		i = (i + 1) & (map->capacity - 1);
	return &map->table[i];
}

int map_reserve(struct map *map, uint32_t count)
{
	uint64_t want = (uint64_t)map->count + count;
	uint64_t capacity = map->capacity;
	struct map_entry *old = map->table;
	uint32_t old_capacity = map->capacity;

	while (want * 4 > capacity * 3)
		capacity *= 2;
	if (capacity == map->capacity)
		return 0;
	if (capacity > 1u << 31)
		return -ENOMEM;
	map->table = calloc(capacity, sizeof(*map->table));
	if (!map->table) {
		map->table = old;
		return -ENOMEM;
	}
	map->capacity = (uint32_t)capacity;
	for (uint32_t i = 0; i < old_capacity; i++)
		if (old[i].used)
			*free_place(map, old[i].block) = old[i];
	map->bytes += (capacity - old_capacity) * sizeof(*old);
	free(old);
	return 0;
}

struct map_entry *map_add(struct map *map, uint32_t block)
{
	struct map_entry *e = free_place(map, block);

	memset(e, 0, sizeof(*e));
	e->block = block;
	e->used = 1;
	map->count++;
	set_present(map, block);
	return e;
}

void map_remove(struct map *map, struct map_entry *entry)
{
	uint32_t mask = map->capacity - 1;
	uint32_t hole = (uint32_t)(entry - map->table);

	for (uint32_t i = (hole + 1) & mask; map->table[i].used; i = (i + 1) & mask) {
		uint32_t h = home(map, map->table[i].block);

		/* An entry may move into the hole unless its home lies after the hole. */
		if (((i - h) & mask) >= ((i - hole) & mask)) {
			map->table[hole] = map->table[i];
			hole = i;
		}
	}
	map->table[hole].used = 0;
	map->count--;
}

void map_remove_range(struct map *map, uint32_t block, uint32_t count,
		      void (*gone)(void *arg, const struct map_entry *entry), void *arg)
{
	if (count < map->capacity) {
		for (uint32_t i = 0; i < count && map->count; i++) {
			struct map_entry *e = map_get(map, block + i);

			if (e) {
				gone(arg, e);
				map_remove(map, e);
			}
		}
		return;
	}
	/* Removal moves followers back to here, never past here: look at the same place again. */
	for (uint32_t i = 0; i < map->capacity;) {
		struct map_entry *e = &map->table[i];

		if (e->used && e->block - block < count) {
			gone(arg, e);
			map_remove(map, e);
		} else {
			i++;
		}
	}
}

bool map_is_zero(const struct map *map, uint32_t block)
{
	const uint64_t *leaf;

	if (!map->zero)
		return false;
	leaf = map->zero[block >> REGION_SHIFT];
	if (!leaf || leaf == ALL_ZERO)
		return leaf != NULL;
	return bit_at(leaf, block & (REGION_BLOCKS - 1));
}

static uint32_t region_end(const struct map *map, uint32_t region)
{
	uint64_t end = ((uint64_t)region + 1) << REGION_SHIFT;

	return end > map->blocks ? map->blocks : (uint32_t)end;
}

/* Sets [block, end) of one region. */
static int zero_part(struct map *map, uint32_t region, uint32_t block, uint32_t end)
{
	uint64_t *leaf = map->zero[region];
	uint32_t set = 0;

	if (leaf == ALL_ZERO)
		return 0;
	if (block == region << REGION_SHIFT && end == region_end(map, region)) {
		for (uint32_t i = 0; leaf && i < REGION_WORDS; i++)
			set += (uint32_t)__builtin_popcountll(leaf[i]);
		if (leaf)
			map->bytes -= REGION_WORDS * 8;
		free(leaf);
		map->zero[region] = ALL_ZERO;
		map->zero_blocks += end - block - set;
		return 0;
	}
	if (!leaf) {
		leaf = calloc(REGION_WORDS, 8);
		if (!leaf)
			return -ENOMEM;
		map->zero[region] = leaf;
		map->bytes += REGION_WORDS * 8;
	}
	for (uint32_t b = block; b < end; b++) {
		uint32_t i = b & (REGION_BLOCKS - 1);

		set += !(leaf[i >> 6] >> (i & 63) & 1);
		leaf[i >> 6] |= 1ull << (i & 63);
	}
	map->zero_blocks += set;
	return 0;
}

int map_zero(struct map *map, uint32_t block, uint32_t count)
{
	uint32_t end = block + count;

	if (!map->zero) {
		map->zero = calloc(regions(map), sizeof(*map->zero));
		if (!map->zero)
			return -ENOMEM;
		map->bytes += regions(map) * sizeof(*map->zero);
	}
	while (block < end) {
		uint32_t region = block >> REGION_SHIFT;
		uint32_t stop = region_end(map, region) < end ? region_end(map, region) : end;
		int r = zero_part(map, region, block, stop);

		if (r < 0)
			return r;
		for (uint64_t b = block; b < stop; b += 1u << map->granule_shift)
			set_present(map, (uint32_t)b);
		set_present(map, stop - 1);
		block = stop;
	}
	return 0;
}

bool map_next_zero(const struct map *map, uint32_t block, uint32_t end, uint32_t *ret_block, uint32_t *ret_count)
{
	uint32_t b = block, start;

	if (!map->zero)
		return false;
	while (b < end && !map_is_zero(map, b))
		b = map->zero[b >> REGION_SHIFT] ? b + 1 : region_end(map, b >> REGION_SHIFT);
	if (b >= end)
		return false;
	start = b;
	while (b < end && map_is_zero(map, b))
		b = map->zero[b >> REGION_SHIFT] == ALL_ZERO ? region_end(map, b >> REGION_SHIFT) : b + 1;
	*ret_block = start;
	*ret_count = (b < end ? b : end) - start;
	return true;
}

static enum map_kind kind_of(const struct map *map, uint32_t block)
{
	return map_get(map, block) ? MAP_WRITTEN : map_is_zero(map, block) ? MAP_ZERO : MAP_BASE;
}

enum map_kind map_status(const struct map *map, uint32_t block, uint32_t count, uint32_t *ret_count)
{
	enum map_kind kind = kind_of(map, block);
	uint32_t granule = 1u << map->granule_shift, n = 1;

	for (uint32_t looks = 0; n < count && looks < STATUS_LOOKS; looks++) {
		uint32_t b = block + n, rest = granule - (b & (granule - 1));

		if (kind == MAP_BASE && !map_maybe(map, b, 1))
			n += rest < count - n ? rest : count - n;
		else if (kind_of(map, b) == kind)
			n++;
		else
			break;
	}
	*ret_count = n;
	return kind;
}

static int compare_blocks(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

uint32_t map_list(const struct map *map, uint32_t block, uint32_t count, uint32_t *ret)
{
	uint32_t n = 0;

	if (count < map->capacity) {
		for (uint32_t i = 0; i < count; i++)
			if (map_get(map, block + i))
				ret[n++] = block + i;
		return n;
	}
	for (uint32_t i = 0; i < map->capacity; i++)
		if (map->table[i].used && map->table[i].block - block < count)
			ret[n++] = map->table[i].block;
	qsort(ret, n, sizeof(*ret), compare_blocks);
	return n;
}
