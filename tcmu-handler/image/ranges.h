/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A set of byte ranges of a file: what metadata occupies, so that no data may claim to lie there.
 */
#ifndef BOOTWELL_IMAGE_RANGES_H
#define BOOTWELL_IMAGE_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct range {
	uint64_t start, end; /* bytes, end not included */
	const char *what;    /* a literal */
};

struct ranges {
	struct range *list;
	size_t n, room;
};

/* Adds [start, start+length); length 0 is nothing. The caller has checked that it does not wrap.
 * -ENOMEM. */
int ranges_add(struct ranges *set, uint64_t start, uint64_t length, const char *what);

/* Sorts; from then on ranges_find() may be used. Returns two that overlap in ret_a and ret_b, if
 * there are. */
bool ranges_sort(struct ranges *set, struct range *ret_a, struct range *ret_b);

/* Joins what overlaps, and neighbours of one name, for ranges_find(). After ranges_sort(). */
void ranges_join(struct ranges *set);

/* The first range that overlaps [start, start+length), or NULL. */
const struct range *ranges_find(const struct ranges *set, uint64_t start, uint64_t length);

void ranges_done(struct ranges *set);

#endif
