// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which segments are free, and fdatasync.
 *
 * A segment of a kept overlay in which nothing matters any more may still matter after a crash: the
 * records that superseded it may not be durable. So it is DYING until an fdatasync that began later
 * has succeeded. A discarded overlay does not outlive a crash of the machine, so its segments are
 * free at once.
 *
 * Full. Data that is acknowledged in memory must find room in the store later, so a page is only
 * taken when a block is promised to it. When segments become few, the engine cleans: the live
 * blocks of the emptiest segment are moved (overlay_clean.c). Writers wait for that; only when
 * there is nothing left to gain they fail. The last sixteenth is for overlays that have no more
 * than their share of the store: who fills it fails alone.
 *
 * One fdatasync serves everybody who asked before it began; who asks while it runs waits for the
 * next. Its error is final: what the kernel could not write it has dropped, and a later fdatasync
 * would say 0. From then on nothing is acknowledged any more, reads go on.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "tcmu-handler/store.h"
#include "tcmu-handler/store_private.h"

#define SPARE_SEGMENTS 2

static void sync_done(struct io_op *op, int error);

uint64_t store_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint32_t reserve(const struct store *s)
{
	return s->segments / 16 + SPARE_SEGMENTS;
}

void store_segment_link(struct store *s, uint32_t segment, uint32_t place)
{
	struct store_segment *seg = &s->segment[segment];
	struct store_place *p = &s->place[place];

	seg->state = SEGMENT_USED;
	seg->place = place;
	seg->prev = SEGMENT_NONE;
	seg->next = p->first_segment;
	if (seg->next != SEGMENT_NONE)
		s->segment[seg->next].prev = segment;
	p->first_segment = segment;
	__atomic_add_fetch(&p->segments, 1, __ATOMIC_RELAXED);
}

static void unlink_segment(struct store *s, uint32_t segment)
{
	struct store_segment *seg = &s->segment[segment];
	struct store_place *p = &s->place[seg->place];

	if (seg->prev != SEGMENT_NONE)
		s->segment[seg->prev].next = seg->next;
	else
		p->first_segment = seg->next;
	if (seg->next != SEGMENT_NONE)
		s->segment[seg->next].prev = seg->prev;
	__atomic_sub_fetch(&p->segments, 1, __ATOMIC_RELAXED);
}

/* Free segments are used in the order in which they became free, so that wear and stale data
 * spread. */
void store_free_push(struct store *s, uint32_t segment)
{
	struct store_segment *seg = &s->segment[segment];

	seg->state = SEGMENT_FREE;
	seg->live = seg->zeros = seg->used = 0;
	seg->tried = 0;
	seg->next = seg->written ? s->free_head : s->raw_head;
	if (seg->written) {
		s->free_head = segment;
		s->ready_count++;
	} else {
		s->raw_head = segment;
	}
	__atomic_add_fetch(&s->free_count, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&s->progress, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&s->full, false, __ATOMIC_RELAXED);
}

void store_free_place(struct store *s, uint32_t place)
{
	pthread_mutex_lock(&s->lock);
	while (s->place[place].first_segment != SEGMENT_NONE) {
		uint32_t segment = s->place[place].first_segment;

		unlink_segment(s, segment);
		s->segment[segment].pins = 0;
		store_free_push(s, segment);
	}
	pthread_mutex_unlock(&s->lock);
}

uint64_t store_new_id(struct store *s)
{
	return __atomic_add_fetch(&s->next_id, 1, __ATOMIC_RELAXED);
}

static uint32_t in_sight(const struct store *s)
{
	return __atomic_load_n(&s->free_count, __ATOMIC_RELAXED) + __atomic_load_n(&s->dying_count, __ATOMIC_RELAXED);
}

/* Segments that what is promised may take: small batches have more records, each overlay may have
 * to begin one. */
static uint64_t needed(const struct store *s, uint64_t promised)
{
	return promised * 5 / 4 / s->segment_blocks + 1 + __atomic_load_n(&s->open_places, __ATOMIC_RELAXED) +
	       SPARE_SEGMENTS;
}

int store_promise(struct store *s, uint32_t place, uint32_t pages)
{
	uint64_t need = needed(s, __atomic_add_fetch(&s->promised, pages, __ATOMIC_RELAXED));
	uint32_t have = in_sight(s);

	if (have < need + reserve(s)) {
		uint32_t open = __atomic_load_n(&s->open_places, __ATOMIC_RELAXED),
			 share = s->segments / (open ? open : 1);

		if (have < need || __atomic_load_n(&s->place[place].segments, __ATOMIC_RELAXED) > share) {
			store_unpromise(s, pages);
			return __atomic_load_n(&s->full, __ATOMIC_RELAXED) ? -ENOSPC : -EBUSY;
		}
	}
	return 0;
}

bool store_low(const struct store *s)
{
	return in_sight(s) < needed(s, __atomic_load_n(&s->promised, __ATOMIC_RELAXED)) + 2 * reserve(s);
}

uint32_t store_pick_victim(struct store *s, bool *ret_busy)
{
	uint32_t best = SEGMENT_NONE, least = s->segment_blocks - s->segment_blocks / 4;

	pthread_mutex_lock(&s->lock);
	*ret_busy = s->cleaning;
	for (uint32_t i = 0; !s->cleaning && i < s->segments; i++) {
		const struct store_segment *seg = &s->segment[i];
		uint32_t cost;

		/* First of all whether it may be looked at: what is being loaded has no right count of anything yet. */
		if (seg->state != SEGMENT_USED || !s->place[seg->place].open || s->place[seg->place].loading ||
		    __atomic_load_n(&seg->pins, __ATOMIC_RELAXED) || !seg->used || seg->tried)
			continue;
		cost = seg->live + (seg->zeros + 251) / 252;
		if (cost < least) {
			least = cost;
			best = i;
		}
	}
	if (best != SEGMENT_NONE) {
		s->cleaning = true;
		__atomic_add_fetch(&s->segment[best].pins, 1, __ATOMIC_RELAXED); /* readers pin without the lock */
	}
	pthread_mutex_unlock(&s->lock);
	return best;
}

void store_retry_victims(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	for (uint32_t i = 0; s->tried && i < s->segments; i++)
		s->segment[i].tried = 0;
	s->tried = false;
	pthread_mutex_unlock(&s->lock);
}

void store_cleaned(struct store *s, uint32_t segment, uint32_t moved)
{
	pthread_mutex_lock(&s->lock);
	s->cleaning = false;
	s->segment[segment].tried = s->tried = true;
	s->cleaned_blocks += moved;
	pthread_mutex_unlock(&s->lock);
	store_segment_drop(s, segment, 1, 0, 0);
	if (s->space)
		s->space(s->space_arg);
}

void store_unpromise(struct store *s, uint32_t pages)
{
	__atomic_sub_fetch(&s->promised, pages, __ATOMIC_RELAXED);
}

/* Takes the first one of the list. */
static uint32_t pop(struct store *s, uint32_t *head)
{
	uint32_t segment = *head;

	if (segment == SEGMENT_NONE)
		return SEGMENT_NONE;
	*head = s->segment[segment].next;
	__atomic_sub_fetch(&s->free_count, 1, __ATOMIC_RELAXED);
	s->ready_count -= s->segment[segment].written;
	return segment;
}

int store_segment_get(struct store *s, uint32_t place, uint32_t *ret)
{
	uint32_t segment;
	int r = 0;

	pthread_mutex_lock(&s->lock);
	segment = pop(s, &s->free_head);
	if (segment == SEGMENT_NONE)
		segment = pop(s, &s->raw_head);
	if (segment == SEGMENT_NONE) {
		r = s->dying_count ? -EAGAIN : -ENOSPC;
	} else {
		struct store_segment *seg = &s->segment[segment];

		seg->seq = store_new_id(s);
		seg->pins = 1;
		seg->written = 1;
		store_segment_link(s, segment, place);
		*ret = segment;
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

uint32_t store_prepare(struct store *s, uint32_t ready)
{
	uint32_t segment = SEGMENT_NONE;

	pthread_mutex_lock(&s->lock);
	if (s->ready_count < ready && s->free_count > reserve(s))
		segment = pop(s, &s->raw_head);
	if (segment != SEGMENT_NONE)
		s->segment[segment].state = SEGMENT_PREPARING;
	pthread_mutex_unlock(&s->lock);
	return segment;
}

void store_prepared(struct store *s, uint32_t segment, bool written)
{
	pthread_mutex_lock(&s->lock);
	s->segment[segment].written = written;
	store_free_push(s, segment);
	pthread_mutex_unlock(&s->lock);
}

void store_segment_pin(struct store *s, uint32_t segment)
{
	__atomic_add_fetch(&s->segment[segment].pins, 1, __ATOMIC_RELAXED);
}

void store_segment_drop(struct store *s, uint32_t segment, uint32_t pins, uint32_t live, uint32_t zeros)
{
	struct store_segment *seg = &s->segment[segment];
	void (*space)(void *) = NULL;

	pthread_mutex_lock(&s->lock);
	__atomic_sub_fetch(&seg->pins, pins, __ATOMIC_RELAXED);
	seg->live -= live;
	seg->zeros -= zeros;
	if (seg->state == SEGMENT_USED && !__atomic_load_n(&seg->pins, __ATOMIC_RELAXED) && !seg->live && !seg->zeros) {
		bool kept = s->place[seg->place].header.mode == STORE_KEEP;

		unlink_segment(s, segment);
		if (kept) {
			seg->state = SEGMENT_DYING;
			seg->next = s->dying_head;
			s->dying_head = segment;
			__atomic_add_fetch(&s->dying_count, 1, __ATOMIC_RELAXED);
		} else {
			store_free_push(s, segment);
			space = s->space;
		}
	}
	pthread_mutex_unlock(&s->lock);
	if (space)
		space(s->space_arg);
}

/* --- durability --- */

static void sync_start(struct store *s, struct io_queue *q)
{
	uint64_t n = 0;

	__atomic_store_n(&s->syncing, true, __ATOMIC_RELAXED);
	s->sync_now = s->sync_next;
	s->sync_next = NULL;
	s->syncing_head = s->dying_head;
	s->dying_head = SEGMENT_NONE;
	for (struct store_sync *w = s->sync_now; w; w = w->next)
		n++;
	s->flushes++;
	s->flush_waiters += n;
	s->sync_started_ns = store_now_ns();
	s->sync_op.type = IO_FDATASYNC;
	s->sync_op.fd = s->fd;
	s->sync_op.iov = NULL;
	s->sync_op.iov_cnt = 0;
	s->sync_op.done = sync_done;
	s->sync_op.arg = s;
	s->sync_op.one.iov_base = q; /* the queue that it runs on */
}

static bool free_dead(struct store *s)
{
	bool any = false;

	while (s->syncing_head != SEGMENT_NONE) {
		uint32_t segment = s->syncing_head;

		s->syncing_head = s->segment[segment].next;
		__atomic_sub_fetch(&s->dying_count, 1, __ATOMIC_RELAXED);
		store_free_push(s, segment);
		any = true;
	}
	return any;
}

static void sync_done(struct io_op *op, int error)
{
	struct store *s = op->arg;
	struct io_queue *q = op->one.iov_base;
	struct store_sync *list;
	bool any = false, again;

	pthread_mutex_lock(&s->lock);
	if (error)
		__atomic_store_n(&s->error, error, __ATOMIC_RELAXED);
	else
		any = free_dead(s);
	s->flush_ns += store_now_ns() - s->sync_started_ns;
	list = s->sync_now;
	s->sync_now = NULL;
	again = s->sync_next != NULL;
	if (again)
		sync_start(s, q);
	else
		__atomic_store_n(&s->syncing, false, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&s->lock);
	if (again)
		io_submit(q, &s->sync_op);
	while (list) {
		struct store_sync *w = list;

		list = w->next;
		w->done(w, error ? error : store_error(s));
	}
	if (any && s->space)
		s->space(s->space_arg);
}

void store_synced_alone(struct store *s, uint64_t started_ns)
{
	pthread_mutex_lock(&s->lock);
	s->flushes++;
	s->flush_waiters++;
	s->flush_ns += store_now_ns() - started_ns;
	pthread_mutex_unlock(&s->lock);
}

void store_sync(struct store *s, struct io_queue *q, struct store_sync *sync)
{
	bool start;

	pthread_mutex_lock(&s->lock);
	sync->next = s->sync_next;
	s->sync_next = sync;
	start = !s->syncing;
	if (start)
		sync_start(s, q);
	pthread_mutex_unlock(&s->lock);
	if (start)
		io_submit(q, &s->sync_op);
}

/* --- counters --- */

void store_counters(struct store *s, struct store_counters *ret)
{
	uint64_t segment = (uint64_t)s->segment_blocks * STORE_BLOCK;

	pthread_mutex_lock(&s->lock);
	ret->segments = s->segments;
	ret->free = s->free_count + s->dying_count;
	ret->size_bytes = s->segments * segment;
	ret->used_bytes = (s->segments - s->free_count) * segment;
	ret->flushes = s->flushes;
	ret->flush_waiters = s->flush_waiters;
	ret->flush_ns = s->flush_ns;
	ret->cleaned_bytes = s->cleaned_blocks * STORE_BLOCK;
	pthread_mutex_unlock(&s->lock);
}
