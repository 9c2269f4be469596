/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Base images, opened once however many disks use them, and the cache that all of them share.
 * base.c and base_cache.c have the design.
 */
#ifndef BOOTWELL_BASE_H
#define BOOTWELL_BASE_H

#include <stdbool.h>
#include <stdint.h>

#include "tcmu-handler/image/sentence.h"
#include "tcmu-handler/image/image.h"
#include "tcmu-handler/io.h"
#include "tcmu-handler/iov.h"

#define BASE_UNIT 65536 /* bytes: what the cache holds and evicts */

struct base;
struct base_cache;

int base_cache_new(struct base_cache **ret, uint64_t bytes);
/* Has its memory touched in the background, so that nobody waits for that later; stops where the
 * machine would have less than 256 MiB left. */
void base_cache_touch(struct base_cache *cache);
bool base_cache_touched(const struct base_cache *cache); /* it has come to its end */
void base_cache_free(struct base_cache *cache);          /* no disk has a base; NULL is fine */

/*
 * `key` tells whether two disks mean the same images. As long as a disk has a base, its files are taken for what they
 * were; one that was left is only taken up again when all of them are where and what they were. `dir`: where the files
 * of each image of the chain are, from the top. base_find() may wait for a file system. The chain becomes the cache's
 * also when base_add() fails.
 */
struct base *base_find(struct base_cache *cache, const char *key); /* one reference more, or NULL */
int base_add(struct base_cache *cache, const char *key, struct image *chain, const char *const dir[],
	     struct base **ret);
/* The last one leaves it idle where base_cache_touch() was called: nobody else would look after it. */
void base_put(struct base *base);
/* Lets go of all idle ones, for their memory and their files. False: there were none. */
bool base_drop_idle(struct base_cache *cache);
uint64_t base_size(const struct base *base);
/* Do the images hold anything at `offset`? *ret_length, at most `length`: the bytes from there on for which that is so.
 * What they do not hold reads as zero. It does not look far: the next call may answer the same. */
bool base_holds(const struct base *base, uint64_t offset, uint64_t length, uint64_t *ret_length);

/*
 * Copies what the cache has of [offset, offset+length) to dst at `at`, up to the first unit that it
 * has not. Returns the bytes copied. Never blocks, takes no lock.
 */
uint64_t base_copy(struct base *base, uint64_t offset, uint64_t length, struct iov_pos *dst, uint64_t at);

/* A part of one unit that has to be fetched. */
struct base_fetch {
	struct base_fetch *next;
	struct base *base;
	uint64_t offset; /* bytes of the virtual disk */
	uint64_t length; /* does not pass the end of the unit */
	struct iov_pos dst;
	uint64_t at;
	void (*done)(struct base_fetch *fetch, int error); /* on any engine thread */
	void *arg;
};

/* On an engine thread; `q` is its queue. done() may be called within. */
void base_fetch(struct base_fetch *fetch, struct io_queue *q);

struct base_counters {
	uint64_t hits, misses, evictions; /* units; hits: copies */
	uint64_t bytes, limit;
};
void base_cache_counters(const struct base_cache *cache, struct base_counters *ret);

#endif
