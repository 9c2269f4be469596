// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What disks wait for: pages of staging memory, and room in the store. A request that cannot have it is put
 * aside here, and goes on when the works of the first thread have made some: clean pages are given
 * back, overlays are told to write, segments are cleaned one after the other. Also segments that are
 * prepared for small flushes.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tcmu-handler/engine_private.h"

#define RECLAIM  512 /* pages at a time */
#define PREPARED 64  /* segments that have been written, if there is anybody to flush */

void engine_log(struct engine *e, const char *format, ...)
{
	char text[1024];
	va_list args;

	if (!e->config.log)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	e->config.log(e->config.log_arg, text);
}

/* --- pages under pressure --- */

static void kick_all(struct engine *e, bool starved_only)
{
	for (unsigned int i = 0; i < e->n_threads; i++) {
		struct thread *t = &e->threads[i];

		pthread_mutex_lock(&t->disks_lock);
		for (struct disk *d = t->disks; d; d = d->next_in_thread) {
			if (!d->overlay || (starved_only && !overlay_is_starved(d->overlay)))
				continue;
			if (!starved_only)
				overlay_write_all(d->overlay, false);
			thread_post(t, &d->kick);
		}
		pthread_mutex_unlock(&t->disks_lock);
	}
}

/* Gives clean pages back, or asks all overlays to write, until who waits has something to hope for.
 */
static void relieve(struct thread *thread, struct work *work)
{
	struct engine *e = thread->engine;
	uint32_t freed = staging_free_count(e->staging);

	(void)work;
	for (unsigned int i = 0; i < e->n_threads; i++) {
		struct thread *t = &e->threads[i];

		pthread_mutex_lock(&t->disks_lock);
		for (struct disk *d = t->disks; d && freed < RECLAIM; d = d->next_in_thread)
			if (d->overlay)
				freed += overlay_reclaim(d->overlay, RECLAIM - freed);
		pthread_mutex_unlock(&t->disks_lock);
	}
	if (!freed)
		kick_all(e, false);
	if (freed)
		engine_unpark(e);
}

/* --- room in the store --- */

static void unpark_poor(struct engine *e)
{
	struct disk_request *list;

	pthread_mutex_lock(&e->lock);
	list = e->poor;
	__atomic_store_n(&e->poor, NULL, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&e->lock);
	while (list) {
		struct disk_request *r = list;

		list = r->next;
		disk_resume(r);
	}
}

static void space_synced(struct store_sync *sync, int error)
{
	struct engine *e = (struct engine *)((char *)sync - offsetof(struct engine, sync));

	(void)error;
	__atomic_store_n(&e->syncing, false, __ATOMIC_RELEASE);
	thread_post(&e->threads[0], &e->space);
}

/* Gives the segment to the disk that it belongs to. */
static void clean(struct engine *e, uint32_t segment)
{
	for (unsigned int i = 0; i < e->n_threads; i++) {
		struct thread *t = &e->threads[i];
		bool found = false;

		pthread_mutex_lock(&t->disks_lock);
		for (struct disk *d = t->disks; d && !found; d = d->next_in_thread)
			if (d->overlay && overlay_place(d->overlay) == e->store->segment[segment].place) {
				d->victim = segment;
				thread_post(t, &d->clean);
				found = true;
			}
		pthread_mutex_unlock(&t->disks_lock);
		if (found)
			return;
	}
	store_cleaned(e->store, segment, 0);
}

static bool kicks_under_way(struct engine *e)
{
	bool any = false;

	for (unsigned int i = 0; i < e->n_threads; i++) {
		struct thread *t = &e->threads[i];

		pthread_mutex_lock(&t->disks_lock);
		for (struct disk *d = t->disks; d; d = d->next_in_thread)
			any |= __atomic_load_n(&d->kick.queued, __ATOMIC_RELAXED);
		pthread_mutex_unlock(&t->disks_lock);
	}
	return any;
}

/* Has everything that is staged written; false when that was done and came to nothing. */
static bool try_writing(struct engine *e, struct thread *t)
{
	if (__atomic_load_n(&e->store->writing, __ATOMIC_RELAXED)) {
		e->kicked = false;
		return true; /* its end brings us back */
	}
	if (!__atomic_load_n(&e->store->promised, __ATOMIC_RELAXED))
		return false;
	if (e->kicked && !kicks_under_way(e)) {
		e->kicked = false;
		return false;
	}
	if (!e->kicked)
		kick_all(e, false);
	e->kicked = true;
	thread_post(t, &e->space);
	return true;
}

/* One step towards more room; the end of what it starts brings us back here. */
static void make_room(struct engine *e, struct thread *t)
{
	struct store *s = e->store;
	bool poor = __atomic_load_n(&e->poor, __ATOMIC_ACQUIRE) != NULL, busy;
	uint32_t victim;

	if ((!poor && !store_low(s)) || __atomic_load_n(&e->syncing, __ATOMIC_ACQUIRE))
		return;
	if (__atomic_load_n(&s->dying_count, __ATOMIC_RELAXED) && !store_error(s)) {
		__atomic_store_n(&e->syncing, true, __ATOMIC_RELEASE);
		e->sync.done = space_synced;
		store_sync(s, t->q, &e->sync);
		return;
	}
	victim = store_pick_victim(s, &busy);
	if (busy)
		return;
	if (victim != SEGMENT_NONE) {
		clean(e, victim);
		return;
	}
	if (!poor)
		return;
	/* What is staged may free old blocks when it is written: only when that does not help is
	 * the store full. */
	if (!store_error(s) && try_writing(e, t))
		return;
	/* Those that could not be cleaned before may be cleaned now, if anything has moved since.
	 */
	if (s->tried && e->progress != __atomic_load_n(&s->progress, __ATOMIC_RELAXED)) {
		e->progress = __atomic_load_n(&s->progress, __ATOMIC_RELAXED);
		store_retry_victims(s);
		thread_post(t, &e->space);
		return;
	}
	__atomic_store_n(&s->full, true, __ATOMIC_RELAXED);
	unpark_poor(e);
}

/* Segments have become free, or somebody waits for some. */
static void work_on_space(struct thread *t, struct work *work)
{
	struct engine *e = t->engine;

	(void)work;
	kick_all(e, true);
	if (!store_low(e->store))
		unpark_poor(e);
	make_room(e, t);
}

/* --- segments prepared for flushes --- */

static void prepare_done(struct io_op *op, int error)
{
	struct engine *e = op->arg;

	store_prepared(e->store, e->preparing, !error);
	e->prepare_busy = false;
	if (!error)
		thread_post(&e->threads[0], &e->prepare);
}

/* One after the other; the first thread's only. */
static void prepare_next(struct thread *t, struct work *work)
{
	struct engine *e = t->engine;
	struct store *s = e->store;
	size_t length = (size_t)s->segment_blocks * STORE_BLOCK;

	(void)work;
	if (e->prepare_busy || t->stop || store_error(s))
		return;
	if (!e->zeros)
		e->zeros = aligned_alloc(STORE_BLOCK, length);
	if (!e->zeros)
		return;
	memset(e->zeros, 0, length);
	e->preparing = store_prepare(s, s->segments / 16 < PREPARED ? s->segments / 16 : PREPARED);
	if (e->preparing == SEGMENT_NONE) {
		free(e->zeros);
		e->zeros = NULL;
		return;
	}
	e->prepare_busy = true;
	io_op_single(&e->prepare_op, IO_WRITE, s->fd, e->zeros, length,
		     (uint64_t)store_segment_block(s, e->preparing) * STORE_BLOCK);
	e->prepare_op.done = prepare_done;
	e->prepare_op.arg = e;
	io_submit(t->q, &e->prepare_op);
}

void engine_prepare(struct engine *e)
{
	thread_post(&e->threads[0], &e->prepare);
}

void engine_warn_early(struct engine *e)
{
	struct store *s = e->store;
	struct store_counters c;
	uint32_t free_now;

	store_counters(s, &c);
	free_now = c.free;
	if (!e->warned && free_now < s->segments / 8) {
		e->warned = true;
		engine_log(e,
			   "The write-back store is %u %% full; PCs that write much more will get "
			   "errors: restart them, or make [write-back] size greater.",
			   100 - 100 * free_now / s->segments);
	} else if (e->warned && free_now > s->segments / 4) {
		e->warned = false;
	}
}

/* --- parking --- */

void engine_park_poor(struct engine *e, struct disk_request *r)
{
	pthread_mutex_lock(&e->lock);
	r->next = NULL;
	if (e->poor)
		e->poor_tail->next = r;
	else
		__atomic_store_n(&e->poor, r, __ATOMIC_RELEASE);
	e->poor_tail = r;
	pthread_mutex_unlock(&e->lock);
	thread_post(&e->threads[0], &e->space);
}

void engine_park(struct engine *e, struct disk_request *r)
{
	pthread_mutex_lock(&e->lock);
	r->next = NULL;
	if (e->parked)
		e->parked_tail->next = r;
	else
		__atomic_store_n(&e->parked, r, __ATOMIC_RELEASE);
	e->parked_tail = r;
	pthread_mutex_unlock(&e->lock);
	thread_post(&e->threads[0], &e->pressure);
}

void engine_unpark(struct engine *e)
{
	struct disk_request *list;

	if (__atomic_load_n(&e->poor, __ATOMIC_ACQUIRE))
		thread_post(&e->threads[0], &e->space);
	if (!__atomic_load_n(&e->parked, __ATOMIC_ACQUIRE))
		return;
	pthread_mutex_lock(&e->lock);
	list = e->parked;
	__atomic_store_n(&e->parked, NULL, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&e->lock);
	while (list) {
		struct disk_request *r = list;

		list = r->next;
		disk_resume(r);
	}
}

/* --- going on --- */

void disk_resume(struct disk_request *r)
{
	struct disk *d = r->disk;

	pthread_mutex_lock(&d->lock);
	r->next = NULL;
	if (d->resumed_tail)
		d->resumed_tail->next = r;
	else
		d->resumed = r;
	d->resumed_tail = r;
	pthread_mutex_unlock(&d->lock);
	thread_post(d->thread, &d->resume);
}

/* --- disks that are closed in the background --- */

void engine_closes_later(struct engine *e)
{
	pthread_mutex_lock(&e->lock);
	e->lingering++;
	pthread_mutex_unlock(&e->lock);
}

void engine_closed_later(struct engine *e)
{
	pthread_mutex_lock(&e->lock);
	e->lingering--;
	pthread_cond_broadcast(&e->lingered);
	pthread_mutex_unlock(&e->lock);
}

/* --- from space to works --- */

static void on_space(void *arg)
{
	struct engine *e = arg;

	if (e->n_threads)
		thread_post(&e->threads[0], &e->space);
}

void engine_room_init(struct engine *e)
{
	e->pressure.run = relieve;
	e->space.run = work_on_space;
	e->prepare.run = prepare_next;
	if (!e->store)
		return;
	e->store->space = on_space;
	e->store->space_arg = e;
}
