// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The life of a disk: opening, what it does every second, closing.
 *
 * Closing waits until all of the write-back is in the store and nothing is in flight. Every step on the way there
 * (a batch that ended, an fdatasync, a segment that was cleaned) makes the disk's thread run its kick, and that one
 * wakes who closes. A store that does not answer must not hold up who has other disks to open: after CLOSE_MS a
 * thread of its own waits on, and frees the disk when the last of its I/O has come back. Until then its overlay
 * cannot be opened again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tcmu-handler/boot_idle.h"
#include "tcmu-handler/engine_private.h"

#define CLOSE_MS 15000

static uint64_t realtime_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void gauges(struct disk *d)
{
	struct overlay_gauges g;

	if (!d->overlay)
		return;
	overlay_gauges(d->overlay, &g);
	__atomic_store_n(&d->stats->overlay_bytes, g.live_bytes, __ATOMIC_RELAXED);
	__atomic_store_n(&d->stats->overlay_zero_bytes, g.zero_bytes, __ATOMIC_RELAXED);
	__atomic_store_n(&d->stats->store_write_bytes, g.written_bytes, __ATOMIC_RELAXED);
	__atomic_store_n(&d->stats->map_bytes, g.memory, __ATOMIC_RELAXED);
}

/* --- works on the disk's thread --- */

static void tell_closer(struct disk *d)
{
	pthread_mutex_lock(&d->lock);
	d->turns++;
	pthread_cond_broadcast(&d->turned);
	pthread_mutex_unlock(&d->lock);
}

static bool is_closing(const struct disk *d)
{
	return __atomic_load_n(&d->closing, __ATOMIC_RELAXED);
}

static void run_kick(struct thread *t, struct work *work)
{
	struct disk *d = (struct disk *)((char *)work - offsetof(struct disk, kick));

	overlay_work(d->overlay, t->q, false);
	if (overlay_is_idle(d->overlay))
		disk_release_held(d);
	if (is_closing(d))
		tell_closer(d);
}

static void run_clean(struct thread *t, struct work *work)
{
	struct disk *d = (struct disk *)((char *)work - offsetof(struct disk, clean));

	overlay_clean(d->overlay, t->q, d->victim);
}

static void host_kick(struct overlay *ov, void *arg)
{
	struct disk *d = arg;

	(void)ov;
	thread_post(d->thread, &d->kick);
}

static void host_pages(struct overlay *ov, void *arg)
{
	struct disk *d = arg;

	(void)ov;
	disk_release_held(d);
	engine_unpark(d->engine);
	if (is_closing(d))
		thread_post(d->thread, &d->kick);
}

static void host_damaged(struct overlay *ov, uint64_t at, void *arg)
{
	(void)ov;
	disk_damaged(arg, at);
}

/* What has been dirty for a while is written out. */
void disk_tick(struct disk *d)
{
	int error;

	uint64_t ops = 0;

	for (unsigned int i = 0; i < STATS_OPS; i++)
		ops += __atomic_load_n(&d->stats->ops[i], __ATOMIC_RELAXED);
	if (ops != d->seen_ops)
		__atomic_add_fetch(&d->engine->counted, 1, __ATOMIC_RELAXED);
	d->seen_ops = ops;
	gauges(d);
	if (!d->overlay)
		return;
	disk_release_held(d);
	if (!overlay_has_dirty(d->overlay, &error)) {
		d->age = 0;
		return;
	}
	d->age++;
	if (error || (overlay_is_kept(d->overlay) && d->age >= 2) || d->age >= 30) {
		overlay_write_all(d->overlay, true);
		d->age = 0;
		thread_post(d->thread, &d->kick);
	}
}

/* --- opening --- */

static int open_overlay(struct disk *d, struct sentence *err)
{
	const struct disk_config *c = &d->config;
	struct overlay_params p = {.store = d->engine->store,
				   .staging = d->engine->staging,
				   .size = c->size,
				   .keep = c->mode == DISK_KEEP,
				   .generation = c->generation,
				   .host = {.kick = host_kick, .pages = host_pages, .damaged = host_damaged, .arg = d}};

	if (c->mode == DISK_READONLY)
		return 0;
	if (!d->engine->store)
		return sentence_fail(err, -ENODEV, "The disk %s is to be written to, and there is no write-back store.",
				     c->id);
	memcpy(p.uuid, c->overlay, 16);
	memcpy(p.boot, c->boot, 16);
	memcpy(p.reset, c->reset, 16);
	return overlay_open(&d->overlay, &p, err);
}

static void open_stats(struct disk *d)
{
	char name[100];

	snprintf(name, sizeof(name), "disk/%s.stat", d->config.id);
	d->stats = stats_map(d->engine->config.run_dir, name, sizeof(*d->stats), STATS_VERSION);
	if (!d->stats)
		d->stats = &d->own_stats;
	if (memcmp(d->stats->boot, d->config.boot, 16)) {
		memcpy(d->stats->boot, d->config.boot, 16);
		d->stats->first_read_ns = 0;
		boot_idle_reset(d->stats);
	}
	d->stats->opens++;
	d->stats->opened_ns = realtime_ns();
}

static void join_thread(struct disk *d)
{
	struct engine *e = d->engine;

	pthread_mutex_lock(&e->lock);
	d->thread = &e->threads[e->next_thread++ % e->n_threads];
	pthread_mutex_unlock(&e->lock);
}

static void init_condition(pthread_cond_t *cond)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

int disk_open(struct disk **ret, struct engine *e, const struct disk_config *config, struct sentence *err)
{
	struct disk *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return sentence_fail(err, -ENOMEM, "There is no memory for the disk %s.", config->id);
	d->engine = e;
	d->config = *config;
	d->kick.run = run_kick;
	d->clean.run = run_clean;
	disk_requests_init(d);
	pthread_mutex_init(&d->lock, NULL);
	init_condition(&d->turned);
	join_thread(d);
	r = disk_open_base(d, err);
	if (!r)
		r = open_overlay(d, err);
	if (r < 0) {
		base_put(d->base);
		pthread_cond_destroy(&d->turned);
		pthread_mutex_destroy(&d->lock);
		free(d);
		return r;
	}
	open_stats(d);
	if (d->overlay && overlay_is_kept(d->overlay)) {
		__atomic_add_fetch(&e->kept, 1, __ATOMIC_RELAXED);
		engine_prepare(e);
	}
	pthread_mutex_lock(&d->thread->disks_lock);
	d->next_in_thread = d->thread->disks;
	d->thread->disks = d;
	pthread_mutex_unlock(&d->thread->disks_lock);
	*ret = d;
	return 0;
}

struct barrier {
	struct work work;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool passed;
};

static void pass(struct thread *t, struct work *work)
{
	struct barrier *b = (struct barrier *)work;

	(void)t;
	pthread_mutex_lock(&b->lock);
	b->passed = true;
	pthread_cond_signal(&b->cond);
	pthread_mutex_unlock(&b->lock);
}

/* Returns when the thread has run all that was posted before. */
static void pass_barrier(struct thread *t)
{
	struct barrier b = {.work = {.run = pass}, .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

	thread_post(t, &b.work);
	pthread_mutex_lock(&b.lock);
	while (!b.passed)
		pthread_cond_wait(&b.cond, &b.lock);
	pthread_mutex_unlock(&b.lock);
}

/* --- closing --- */

static void closed_flush(struct overlay_flush *flush, int error)
{
	struct disk *d = (struct disk *)((char *)flush - offsetof(struct disk, last_flush));

	(void)error;
	__atomic_store_n(&d->flushed, true, __ATOMIC_RELEASE);
	tell_closer(d);
}

/* Waits until something has been done on the disk's thread since `seen`; false: not before `until`. */
static bool wait_turn(struct disk *d, uint64_t *seen, const struct timespec *until)
{
	int r = 0;

	if (d->engine->config.manual) {
		engine_poll(d->engine, true);
		return true;
	}
	pthread_mutex_lock(&d->lock);
	while (d->turns == *seen && !r)
		r = until ? pthread_cond_timedwait(&d->turned, &d->lock, until)
			  : pthread_cond_wait(&d->turned, &d->lock);
	*seen = d->turns;
	pthread_mutex_unlock(&d->lock);
	return !r;
}

/* Has everything written and made durable; may be called again when it came to no end before `until` (NULL: it
 * waits for ever). 0, -ETIMEDOUT, or *ret_error says why it cannot be written. */
static int drain(struct disk *d, const struct timespec *until, int *ret_error)
{
	uint64_t seen = 0;

	if (!d->draining) {
		d->draining = true;
		overlay_write_all(d->overlay, true);
		d->last_flush.done = closed_flush;
		__atomic_store_n(&d->flushed, false, __ATOMIC_RELAXED);
		if (overlay_flush(d->overlay, &d->last_flush) != 1)
			__atomic_store_n(&d->flushed, true, __ATOMIC_RELAXED);
		thread_post(d->thread, &d->kick);
	}
	while (!__atomic_load_n(&d->flushed, __ATOMIC_ACQUIRE) || !overlay_quiet(d->overlay, ret_error))
		if (!wait_turn(d, &seen, until))
			return -ETIMEDOUT;
	d->draining = false;
	return 0;
}

static void leave_threads(struct disk *d)
{
	pthread_mutex_lock(&d->thread->disks_lock);
	for (struct disk **p = &d->thread->disks; *p; p = &(*p)->next_in_thread)
		if (*p == d) {
			*p = d->next_in_thread;
			break;
		}
	pthread_mutex_unlock(&d->thread->disks_lock);
}

/* Whoever still holds the disk lets go of it: works that were posted, and completions that are
 * being run. */
static void pass_barriers(struct disk *d)
{
	struct engine *e = d->engine;

	if (e->config.manual)
		engine_poll(e, false);
	else
		for (unsigned int i = 0; i < e->n_threads; i++)
			pass_barrier(&e->threads[i]);
}

static void free_disk(struct disk *d)
{
	gauges(d);
	if (d->overlay && overlay_is_kept(d->overlay))
		__atomic_sub_fetch(&d->engine->kept, 1, __ATOMIC_RELAXED);
	overlay_free(d->overlay);
	base_put(d->base);
	if (d->stats != &d->own_stats)
		stats_unmap(d->stats, sizeof(*d->stats));
	pthread_cond_destroy(&d->turned);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

/* Frees it, or -ETIMEDOUT: to be called again. */
static int close_until(struct disk *d, const struct timespec *until)
{
	int error = 0;

	if (!d->left) {
		if (d->overlay && drain(d, until, &error))
			return -ETIMEDOUT;
		leave_threads(d);
		d->left = true;
		pass_barriers(d);
	}
	/* A segment of it may have been chosen for cleaning in the meantime. */
	if (d->overlay) {
		if (drain(d, until, &error))
			return -ETIMEDOUT;
		pass_barriers(d);
	}
	if (error)
		engine_log(d->engine,
			   "The write-back of %s could not all be written to the store: %s; what "
			   "is missing stays in memory until the machine stops.",
			   d->config.client, strerror(-error));
	free_disk(d);
	return 0;
}

static void *close_later(void *arg)
{
	struct disk *d = arg;
	struct engine *e = d->engine;

	pthread_setname_np(pthread_self(), "bootwell-close");
	close_until(d, NULL);
	engine_closed_later(e);
	return NULL;
}

void disk_close(struct disk *d)
{
	unsigned int ms;
	struct timespec until;
	pthread_t id;

	if (!d)
		return;
	ms = d->engine->config.close_ms ? d->engine->config.close_ms : CLOSE_MS;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	__atomic_store_n(&d->closing, true, __ATOMIC_RELAXED);
	if (!close_until(d, &until))
		return;
	engine_log(d->engine,
		   "The write-back of %s is not in the store after %u s: the disk under the store does not answer. "
		   "It is waited for in the background; the PC's disk can be opened again when that has ended.",
		   d->config.client, ms / 1000);
	engine_closes_later(d->engine);
	if (pthread_create(&id, NULL, close_later, d))
		close_later(d);
	else
		pthread_detach(id);
}

void disk_abandon(struct disk *d)
{
	leave_threads(d);
	pass_barriers(d);
	free_disk(d);
}

/* --- what it is --- */

uint64_t disk_size(const struct disk *d)
{
	return d->config.size;
}

const char *disk_client(const struct disk *d)
{
	return d->config.client;
}

struct overlay *disk_overlay(const struct disk *d)
{
	return d->overlay;
}

size_t disk_memory(const struct disk *d)
{
	return sizeof(*d) + (d->overlay ? overlay_memory(d->overlay) : 0);
}

void disk_describe(struct disk *d, char *ret, size_t room)
{
	static const char *const modes[] = {
		[DISK_DISCARD] = "discard", [DISK_KEEP] = "keep", [DISK_READONLY] = "read-only"};
	struct overlay_gauges g = {0};

	if (d->overlay)
		overlay_gauges(d->overlay, &g);
	snprintf(ret, room, "%s of %s: %s, %llu MiB on %u image%s of \"%s\" (%s), %s, thread %u", d->config.id,
		 d->config.client, modes[d->config.mode], (unsigned long long)(d->config.size >> 20), d->config.layers,
		 d->config.layers == 1 ? "" : "s", d->config.generation, d->base_was_open ? "found open" : "opened now",
		 !d->overlay                    ? "no write-back"
		 : overlay_is_fresh(d->overlay) ? "write-back empty"
						: "write-back taken up again",
		 d->thread->index);
	if (g.live_bytes || g.zero_bytes)
		snprintf(ret + strlen(ret), room - strlen(ret), ", %llu KiB written, %llu KiB zero",
			 (unsigned long long)(g.live_bytes >> 10), (unsigned long long)(g.zero_bytes >> 10));
}
