// SPDX-License-Identifier: GPL-2.0-or-later
/* The free ranges of a disk in order, whole blocks of 4 KiB; what is not among them is in use. */
#include "daemon/image/used_map.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 4096u

struct used_map *used_map_new(uint64_t size)
{
	struct used_map *map = calloc(1, sizeof(*map));

	if (map)
		map->size = size;
	return map;
}

void used_map_free(struct used_map *map)
{
	if (!map)
		return;
	free(map->free);
	free(map);
}

int used_map_add_free(struct used_map *map, uint64_t start, uint64_t end)
{
	struct used_range *last = map->n_free ? &map->free[map->n_free - 1] : NULL;

	start = (start + BLOCK - 1) / BLOCK * BLOCK;
	end = (end < map->size ? end : map->size) / BLOCK * BLOCK;
	if (start >= end)
		return 0;
	if (last && start < last->end)
		return -EINVAL;
	if (last && start == last->end) {
		last->end = end;
		return 0;
	}
	if (map->n_free == map->room) {
		size_t room = map->room ? map->room * 2 : 256;
		struct used_range *more;

		if (room > USED_MAP_RANGES_MAX)
			return -E2BIG;
		more = reallocarray(map->free, room, sizeof(*more));
		if (!more)
			return -ENOMEM;
		map->free = more;
		map->room = room;
	}
	map->free[map->n_free++] = (struct used_range){start, end};
	return 0;
}

/* The first free range that ends after `at`. */
static size_t find(const struct used_map *map, uint64_t at)
{
	size_t low = 0, high = map->n_free;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (map->free[mid].end <= at)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

uint64_t used_map_count(const struct used_map *map, uint64_t start, uint64_t end)
{
	uint64_t used = end - start;

	for (size_t i = find(map, start); i < map->n_free && map->free[i].start < end; i++) {
		uint64_t from = map->free[i].start > start ? map->free[i].start : start;
		uint64_t to = map->free[i].end < end ? map->free[i].end : end;

		used -= to - from;
	}
	return used;
}

uint64_t used_map_used(const struct used_map *map)
{
	return used_map_count(map, 0, map->size);
}

bool used_map_next(const struct used_map *map, uint64_t at, uint64_t end, struct used_range *ret)
{
	size_t i = find(map, at);

	if (i < map->n_free && map->free[i].start <= at) {
		at = map->free[i].end;
		i++;
	}
	if (at >= end)
		return false;
	ret->start = at;
	ret->end = i < map->n_free && map->free[i].start < end ? map->free[i].start : end;
	return true;
}

int used_map_read_log(struct used_map *map, FILE *log, uint64_t start, uint64_t end)
{
	char line[256], status;
	uint64_t at, length, last = start;
	bool any = false;

	while (fgets(line, sizeof(line), log)) {
		/* "0x00100000  0x007CC800  +"; the line with the current position has two fields only */
		if (line[0] == '#' || sscanf(line, "%" SCNx64 " %" SCNx64 " %c", &at, &length, &status) != 3)
			continue;
		if (at < last || length > end - start || at + length > end || !strchr("+?", status))
			return -EBADMSG;
		last = at + length;
		any = true;
		if (status == '?') {
			uint64_t stop = last > end - BLOCK ? end - BLOCK : last;
			int r = at < stop ? used_map_add_free(map, at, stop) : 0;

			if (r)
				return r;
		}
	}
	return any && !ferror(log) ? 0 : -EBADMSG;
}
