/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One hash picks the set, four places are looked at: constant time, whatever a flood invents. The seed is secret, so
 * that nobody can aim his made-up sources at the places of a real one.
 */
#include "daemon/core/ratelimit.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define WAYS 4

/*
 * A bucket is one number: the moment at which it is full again. A packet pushes that moment on by 1/rate; it may lie at
 * most burst/rate in the future.
 */
struct bucket {
	uint64_t source;
	uint64_t full; /* ns */
};

struct ratelimit {
	uint64_t step, depth; /* ns a packet, ns of a burst */
	uint64_t seed;
	struct bucket bucket[RATELIMIT_SETS][WAYS];
};

int ratelimit_new(struct ratelimit **ret, uint32_t rate, uint32_t burst)
{
	struct ratelimit *limit;

	if (!rate || !burst)
		return -EINVAL;
	limit = calloc(1, sizeof(*limit));
	if (!limit)
		return -ENOMEM;
	limit->step = 1000000000ull / rate;
	limit->depth = limit->step * burst;
	if (getrandom(&limit->seed, sizeof(limit->seed), GRND_NONBLOCK) < 0)
		limit->seed = (uint64_t)(uintptr_t)limit;
	*ret = limit;
	return 0;
}

void ratelimit_free(struct ratelimit *limit)
{
	free(limit);
}

bool ratelimit_take(struct ratelimit *limit, uint64_t source, uint64_t now)
{
	uint64_t h = (source ^ limit->seed) * 0x9e3779b97f4a7c15ull;
	struct bucket *set = limit->bucket[(h >> 32) % RATELIMIT_SETS], *b = NULL;

	for (int i = 0; i < WAYS && !b; i++)
		if (set[i].source == source && set[i].full)
			b = &set[i];
	if (!b) {
		b = &set[0];
		for (int i = 1; i < WAYS; i++)
			if (set[i].full < b->full)
				b = &set[i];
		*b = (struct bucket){.source = source, .full = now};
	}
	if (b->full < now)
		b->full = now;
	if (b->full + limit->step > now + limit->depth)
		return false;
	b->full += limit->step;
	return true;
}
