// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * image_map(): from segments and unit tables to extents, the same for every format.
 *
 * The tables were checked when they were read, so nothing here can fail: a lookup is a binary
 * search over the segments (one, for most images), two array reads, and a walk along neighbours
 * that lie behind each other in the file. What an image does not have is looked up in its parent,
 * in a loop, at most IMAGE_CHAIN_MAX times; each step can only shorten the range. A call looks at
 * no more than MERGE_MAX units of an image, so that its time is bounded.
 */
#include <errno.h>

#include "tcmu-handler/image/internal.h"

#define MERGE_MAX 256

static const struct image_segment *find_segment(const struct image *img, uint64_t offset)
{
	unsigned int low = 0, high = img->n_segments;

	while (high - low > 1) {
		unsigned int mid = (low + high) / 2;

		if (img->segments[mid].start <= offset)
			low = mid;
		else
			high = mid;
	}
	return &img->segments[low];
}

/* How many sectors from `first` on have the same bit; at most `count`. */
static uint64_t same_bits(const uint8_t *bitmap, uint64_t first, uint64_t count, bool *ret_bit)
{
	bool bit = bitmap[first / 8] >> (7 - first % 8) & 1;
	uint8_t whole = bit ? 0xff : 0;
	uint64_t n = 1;

	*ret_bit = bit;
	while (n < count) {
		uint64_t i = first + n;

		if (i % 8 == 0 && count - n >= 8 && bitmap[i / 8] == whole)
			n += 8;
		else if ((bitmap[i / 8] >> (7 - i % 8) & 1) == bit)
			n++;
		else
			break;
	}
	return n;
}

static inline uint32_t entry_of(const struct unit_map *map, uint64_t unit)
{
	const struct unit_table *t = &map->tables[unit >> map->table_shift];

	return t->entry ? t->entry[unit & (((uint64_t)1 << map->table_shift) - 1)] : UNIT_ABSENT;
}

/* Bytes that follow on in the same way, from `at` in unit `unit` with `entry`, up to `length`. */
static uint64_t run_length(const struct unit_map *map, uint64_t unit, uint64_t entry, uint64_t at, uint64_t length)
{
	uint64_t bytes = (uint64_t)1 << map->unit_shift, run = bytes - at;
	bool data = entry != UNIT_ABSENT && entry != UNIT_ZERO;
	uint64_t per_table = (uint64_t)1 << map->table_shift;

	if (data && (map->skip || map->compressed))
		return run < length ? run : length;
	for (unsigned int i = 0; i < MERGE_MAX && run < length; i++) {
		uint64_t next = ++unit;

		if (next >= map->units)
			break;
		if (!data && next % per_table == 0 && !map->tables[next >> map->table_shift].entry) {
			if (entry != UNIT_ABSENT)
				break;
			run += bytes << map->table_shift; /* a table that is not there: all its
							     units at once */
			unit += per_table - 1;
			continue;
		}
		if (data)
			entry += bytes / SECTOR;
		if (entry_of(map, next) != entry || (data && entry == UNIT_ZERO))
			break;
		run += bytes;
	}
	return run < length ? run : length;
}

/* What the segment itself knows of [at, at+length); false if the parent must be asked for
 * ret->length bytes. */
static bool map_units(const struct image *img, const struct image_segment *seg, uint64_t at, uint64_t length,
		      struct image_extent *ret)
{
	const struct unit_map *map = &seg->units;
	uint64_t unit = at >> map->unit_shift, in_unit = at & (((uint64_t)1 << map->unit_shift) - 1);
	const struct unit_table *table = &map->tables[unit >> map->table_shift];
	uint64_t slot = unit & (((uint64_t)1 << map->table_shift) - 1);
	uint32_t entry = entry_of(map, unit);

	ret->length = run_length(map, unit, entry, in_unit, length);
	if (entry == UNIT_ABSENT)
		return false;
	if (entry == UNIT_ZERO) {
		ret->type = IMAGE_EXTENT_ZERO;
		return true;
	}
	ret->type = IMAGE_EXTENT_DATA;
	ret->file = &img->files[seg->file];
	ret->offset = (uint64_t)entry * SECTOR + map->skip + in_unit;
	if (map->bitmaps && table->bitmap && table->bitmap[slot]) {
		bool here;

		ret->length = same_bits(table->bitmap[slot], in_unit / SECTOR, ret->length / SECTOR, &here) * SECTOR;
		return here;
	}
	if (map->compressed) {
		uint64_t unit_bytes = (uint64_t)1 << map->unit_shift, left = seg->length - (unit << map->unit_shift);

		ret->type = IMAGE_EXTENT_COMPRESSED;
		ret->offset -= in_unit;
		ret->compressed_length = table->size[slot];
		ret->unit_length = (uint32_t)unit_bytes;
		ret->unit_skip = (uint32_t)in_unit;
		ret->unit_least = (uint32_t)(left < unit_bytes ? left : unit_bytes);
		if (ret->length > left - in_unit)
			ret->length = left - in_unit;
	}
	return true;
}

static bool map_segment(const struct image *img, uint64_t offset, uint64_t length, struct image_extent *ret)
{
	const struct image_segment *seg = find_segment(img, offset);
	uint64_t at = offset - seg->start;

	if (length > seg->length - at)
		length = seg->length - at;
	*ret = (struct image_extent){.type = IMAGE_EXTENT_ZERO, .length = length};
	switch (seg->kind) {
	case SEGMENT_ZERO:
		return true;
	case SEGMENT_FLAT:
		ret->type = IMAGE_EXTENT_DATA;
		ret->file = &img->files[seg->file];
		ret->offset = seg->offset + at;
		return true;
	case SEGMENT_UNITS:
		return map_units(img, seg, at, length, ret);
	}
	return true;
}

int image_map(const struct image *img, uint64_t offset, uint64_t length, struct image_extent *ret)
{
	struct image_extent extent;

	if (!length || (offset | length) % SECTOR)
		return -EINVAL;
	if (offset >= img->info.virtual_size || length > img->info.virtual_size - offset)
		return -ERANGE;
	while (!map_segment(img, offset, length, &extent)) {
		length = extent.length;
		if (!img->parent) {
			if (img->has_parent)
				return -ENODATA;
			extent = (struct image_extent){.type = IMAGE_EXTENT_ZERO, .length = length};
			break;
		}
		img = img->parent;
		if (offset >= img->info.virtual_size) { /* the child was made larger */
			extent = (struct image_extent){.type = IMAGE_EXTENT_ZERO, .length = length};
			break;
		}
		if (length > img->info.virtual_size - offset)
			length = img->info.virtual_size - offset;
	}
	*ret = extent;
	return 0;
}
