// SPDX-License-Identifier: GPL-2.0-or-later
/* Ranges of a file that are taken, each with a word for what lies there; sorted once, then searched. */
#include <errno.h>
#include <stdlib.h>

#include "tcmu-handler/image/ranges.h"

int ranges_add(struct ranges *set, uint64_t start, uint64_t length, const char *what)
{
	struct range *last = set->n ? &set->list[set->n - 1] : NULL;

	if (length == 0)
		return 0;
	if (last && last->end == start && last->what == what) { /* tables mostly lie in order */
		last->end += length;
		return 0;
	}
	if (set->n == set->room) {
		size_t room = set->room ? 2 * set->room : 16;
		struct range *list = realloc(set->list, room * sizeof(*list));

		if (!list)
			return -ENOMEM;
		set->list = list;
		set->room = room;
	}
	set->list[set->n++] = (struct range){.start = start, .end = start + length, .what = what};
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

bool ranges_sort(struct ranges *set, struct range *ret_a, struct range *ret_b)
{
	if (set->n > 1)
		qsort(set->list, set->n, sizeof(*set->list), by_start);
	for (size_t i = 1; i < set->n; i++) {
		if (set->list[i].start < set->list[i - 1].end) {
			*ret_a = set->list[i - 1];
			*ret_b = set->list[i];
			return true;
		}
	}
	return false;
}

void ranges_join(struct ranges *set)
{
	size_t out = 0;

	for (size_t i = 0; i < set->n; i++) {
		struct range *last = out ? &set->list[out - 1] : NULL;

		if (last && (set->list[i].start < last->end ||
			     (set->list[i].start == last->end && set->list[i].what == last->what))) {
			if (set->list[i].end > last->end)
				last->end = set->list[i].end;
			continue;
		}
		set->list[out++] = set->list[i];
	}
	set->n = out;
}

const struct range *ranges_find(const struct ranges *set, uint64_t start, uint64_t length)
{
	size_t low = 0, high = set->n; /* the first that ends after start */

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (set->list[mid].end > start)
			high = mid;
		else
			low = mid + 1;
	}
	if (low < set->n && set->list[low].start < start + length)
		return &set->list[low];
	return NULL;
}

void ranges_done(struct ranges *set)
{
	free(set->list);
	*set = (struct ranges){0};
}
