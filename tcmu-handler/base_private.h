/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What base.c (which images are open) uses of base_cache.c (what is in memory of them); that one never calls base.c. */
#ifndef BOOTWELL_BASE_PRIVATE_H
#define BOOTWELL_BASE_PRIVATE_H

#include <pthread.h>
#include <time.h>

#include "tcmu-handler/base.h"

#define BASE_LEAF 512 /* units a leaf of the table */

struct base_stamp;

struct frame {
	uint32_t version; /* odd: not to be read */
	uint32_t unit;
	struct base *base; /* NULL: free */
	uint32_t loaded;   /* second */
	uint16_t valid;    /* parts that are there; set with release, after the data */
	uint16_t loading;  /* parts on their way */
	uint8_t touched;
	unsigned int loads; /* in flight: not to be evicted */
	struct base_fetch *waiters;
};

struct base {
	struct base_cache *cache;
	struct base *next;
	char *key;
	struct base_stamp *stamp; /* of each file of the images, as it was when it was opened */
	unsigned int files;
	bool settled; /* no file had been changed just before that */
	struct image *chain;
	uint64_t size;
	unsigned int refs;
	bool listed;    /* can be found */
	bool idle;      /* of no disk */
	uint32_t since; /* second: idle */
	uint32_t round; /* of the watch */
	uint32_t units;
	uint32_t **table; /* frame number + 1 */
};

struct base_cache {
	pthread_mutex_t lock;
	struct base *bases;
	struct frame *frames;
	uint8_t *memory; /* aligned to HUGE */
	void *map;
	size_t map_length;
	uint32_t count, used, hand;
	struct base_fetch *starved; /* no frame could be had */
	uint64_t hits, misses, evictions;
	pthread_t toucher; /* and watch, afterwards */
	pthread_cond_t wake;
	bool touching, touched, stop;
	uint32_t round;
};

/* CLOCK_MONOTONIC */
static inline uint32_t base_second(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint32_t)ts.tv_sec;
}

/* Nothing of this base is in memory any more. Lock held. */
void base_cache_forget(struct base_cache *cache, const struct base *base);

/* Touches its memory, slowly, as long as there is enough and not `stop`. each_second(): about so often meanwhile. */
void base_cache_populate(struct base_cache *cache, void (*each_second)(struct base_cache *cache));
/* Frees it; no base is left. */
void base_cache_release(struct base_cache *cache);

#endif
