// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The engine's threads: each runs the works that are posted to it, then waits on its queue for I/O,
 * a wake or the next second. All state of requests and overlays that needs I/O moves on these
 * threads; see disk.c and overlay.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tcmu-handler/engine_private.h"
#include "tcmu-handler/uring.h"

#define TICK_MS  1000
#define RECLAIM  512 /* pages at a time */
#define PREPARED 64  /* segments that have been written, if there is anybody to flush */

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

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

/* --- threads --- */

void thread_post(struct thread *t, struct work *work)
{
	bool wake = false;

	pthread_mutex_lock(&t->lock);
	if (!work->queued) {
		work->queued = true;
		work->next = NULL;
		if (t->tail)
			t->tail->next = work;
		else
			t->head = work;
		t->tail = work;
		wake = t->sleeping;
		t->sleeping = false;
	}
	pthread_mutex_unlock(&t->lock);
	if (wake)
		io_queue_wake(t->q);
}

/* Runs what has been posted up to now; true if there was anything. */
static bool run_posted(struct thread *t)
{
	struct work *list;

	pthread_mutex_lock(&t->lock);
	list = t->head;
	t->head = t->tail = NULL;
	pthread_mutex_unlock(&t->lock);
	if (!list)
		return false;
	while (list) {
		struct work *w = list;

		list = w->next;
		pthread_mutex_lock(&t->lock);
		w->queued = false;
		pthread_mutex_unlock(&t->lock);
		w->run(t, w);
	}
	return true;
}

static void store_stats(struct engine *e)
{
	struct stats_store *s = e->stats;
	struct base_counters c;

	if (!s || !e->store)
		return;
	base_cache_counters(e->cache, &c);
	s->cache_bytes = c.bytes;
	s->cache_limit_bytes = c.limit;
	s->cache_hits = c.hits;
	s->cache_misses = c.misses;
	s->cache_evictions = c.evictions;
	s->size_bytes = (uint64_t)e->store->segments * e->store->segment_blocks * STORE_BLOCK;
	s->used_bytes = (uint64_t)(e->store->segments - e->store->free_count) *
			e->store->segment_blocks * STORE_BLOCK;
	s->flushes = e->store->flushes;
	s->flush_waiters = e->store->flush_waiters;
	s->flush_ns = e->store->flush_ns;
	s->cleaned_bytes = e->store->cleaned_blocks * STORE_BLOCK;
	s->failed = store_error(e->store) != 0;
}

static void warn_early(struct engine *e);

static void tick(struct thread *t)
{
	pthread_mutex_lock(&t->disks_lock);
	for (struct disk *d = t->disks; d; d = d->next_in_thread)
		disk_tick(d);
	pthread_mutex_unlock(&t->disks_lock);
	if (!t->index)
		__atomic_add_fetch(&t->engine->ticks, 1, __ATOMIC_RELAXED);
	if (!t->index && t->engine->store) {
		warn_early(t->engine);
		store_retry_victims(t->engine->store);
		if (t->engine->kept)
			engine_prepare(t->engine);
		thread_post(t, &t->engine->space);
	}
	if (!t->index) {
		store_stats(t->engine);
		engine_unpark(t->engine);
	}
}

static void *thread_main(void *arg)
{
	struct thread *t = arg;
	bool stop = false;

	pthread_setname_np(pthread_self(), "bootwell-io");
	while (!stop || t->q->in_flight) {
		uint64_t now = now_ms();
		int timeout = 0;

		if (now >= t->next_tick_ms) {
			tick(t);
			t->next_tick_ms = now + TICK_MS;
		}
		run_posted(t);
		pthread_mutex_lock(&t->lock);
		if (!t->head && (!t->stop || t->q->in_flight)) {
			t->sleeping = true;
			timeout = (int)(t->next_tick_ms - now);
		}
		stop = t->stop;
		pthread_mutex_unlock(&t->lock);
		io_wait(t->q, timeout);
		pthread_mutex_lock(&t->lock);
		t->sleeping = false;
		pthread_mutex_unlock(&t->lock);
	}
	return NULL;
}

void engine_poll(struct engine *e, bool wait)
{
	bool any = false;

	for (unsigned int i = 0; i < e->n_threads; i++)
		any |= run_posted(&e->threads[i]);
	for (unsigned int i = 0; i < e->n_threads; i++)
		io_wait(e->threads[i].q, wait && !any && e->threads[i].q->in_flight ? -1 : 0);
}

void engine_tick(struct engine *e)
{
	for (unsigned int i = 0; i < e->n_threads; i++)
		tick(&e->threads[i]);
}

static void kick_all(struct engine *e, bool starved_only);

/* --- pages under pressure --- */

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

static void kick_all(struct engine *e, bool starved_only)
{
	for (unsigned int i = 0; i < e->n_threads; i++) {
		struct thread *t = &e->threads[i];

		pthread_mutex_lock(&t->disks_lock);
		for (struct disk *d = t->disks; d; d = d->next_in_thread) {
			if (!d->overlay || (starved_only && !__atomic_load_n(&d->overlay->starved,
									     __ATOMIC_RELAXED)))
				continue;
			if (!starved_only) {
				pthread_mutex_lock(&d->overlay->lock);
				d->overlay->write_all = true;
				pthread_mutex_unlock(&d->overlay->lock);
			}
			thread_post(t, &d->kick);
		}
		pthread_mutex_unlock(&t->disks_lock);
	}
}

static void unpark_poor(struct engine *e)
{
	struct disk_request *list;

	pthread_mutex_lock(&e->lock);
	list = e->poor;
	e->poor = NULL;
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
			if (d->overlay && d->overlay->place == e->store->segment[segment].place) {
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
		e->syncing = true;
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

static void warn_early(struct engine *e)
{
	struct store *s = e->store;
	uint32_t free_now = s->free_count + s->dying_count;

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
		e->parked = r;
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
	e->parked = NULL;
	pthread_mutex_unlock(&e->lock);
	while (list) {
		struct disk_request *r = list;

		list = r->next;
		disk_resume(r);
	}
}

/* --- life --- */

static int machine_boot(uint8_t ret[16])
{
	char text[64] = "";
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	unsigned int n = 0;

	if (fd < 0)
		return -errno;
	if (read(fd, text, sizeof(text) - 1) < 36) {
		close(fd);
		return -EIO;
	}
	close(fd);
	for (const char *p = text; *p && n < 32; p++) {
		unsigned int v = *p >= '0' && *p <= '9'   ? (unsigned int)(*p - '0')
				 : *p >= 'a' && *p <= 'f' ? (unsigned int)(*p - 'a' + 10)
							  : 16;

		if (v > 15)
			continue;
		ret[n / 2] = (uint8_t)(n & 1 ? ret[n / 2] | v : v << 4);
		n++;
	}
	return n == 32 ? 0 : -EIO;
}

static void on_space(void *arg)
{
	struct engine *e = arg;

	if (e->n_threads)
		thread_post(&e->threads[0], &e->space);
}

static int open_store(struct engine *e, struct engine_error *err)
{
	const struct engine_config *c = &e->config;
	struct store_params params = {.fd = c->store_fd,
				      .size = c->store_size,
				      .segment_blocks = c->segment_blocks,
				      .places = c->places,
				      .io = c->io,
				      .uuid = c->store_uuid};
	uint8_t boot[16] = {0};
	char path[1100];
	int r = 0;

	if (!c->machine_boot) {
		r = machine_boot(boot);
		if (r < 0)
			return engine_fail(err, r,
					   "The kernel does not tell its boot id "
					   "(/proc/sys/kernel/random/boot_id): %s.",
					   strerror(-r));
	}
	params.machine_boot = c->machine_boot ? c->machine_boot : boot;
	if (params.fd <= 0) {
		params.fd = store_file_open(c->store, c->store_size, &params.size, err);
		if (params.fd < 0)
			return params.fd;
	}
	r = store_open(&e->store, &params, err);
	if (r < 0) {
		if (c->store_fd <= 0)
			close(params.fd);
		return r;
	}
	e->store->space = on_space;
	e->store->space_arg = e;
	snprintf(path, sizeof(path), "%s/staging", c->run_dir);
	r = staging_open(&e->staging,
			 c->staging      ? c->staging
			 : c->run_dir[0] ? path
					 : NULL,
			 c->write_back_ram, e->store->uuid, params.machine_boot);
	if (r < 0)
		return engine_fail(err, r,
				   "There is no room for %llu MiB of write-back memory in %s: %s; "
				   "make [cache] write_back_ram smaller.",
				   (unsigned long long)(c->write_back_ram >> 20),
				   c->staging ? c->staging : c->run_dir, strerror(-r));
	return 0;
}

static int start_threads(struct engine *e, struct engine_error *err)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned int n = e->config.threads;
	sigset_t all, old;

	if (!n)
		n = cpus < 1 ? 1 : cpus > 4 ? 4 : (unsigned int)cpus;
	if (n > ENGINE_THREADS_MAX)
		n = ENGINE_THREADS_MAX;
	e->threads = calloc(n, sizeof(*e->threads));
	if (!e->threads)
		return engine_fail(err, -ENOMEM, "There is no memory for the engine's threads.");
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	for (unsigned int i = 0; i < n; i++) {
		struct thread *t = &e->threads[i];
		int r = e->config.io->queue_new(e->config.io, &t->q);

		if (r < 0) {
			pthread_sigmask(SIG_SETMASK, &old, NULL);
			return engine_fail(err, r, "The kernel gives no io_uring: %s.",
					   strerror(-r));
		}
		t->engine = e;
		t->index = i;
		pthread_mutex_init(&t->lock, NULL);
		pthread_mutex_init(&t->disks_lock, NULL);
		e->n_threads++;
		if (!e->config.manual && pthread_create(&t->id, NULL, thread_main, t)) {
			t->id = 0;
			pthread_sigmask(SIG_SETMASK, &old, NULL);
			return engine_fail(err, -EAGAIN,
					   "No thread can be started for the engine.");
		}
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return 0;
}

int engine_new(struct engine **ret, const struct engine_config *config, struct engine_error *err)
{
	struct engine *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return engine_fail(err, -ENOMEM, "There is no memory for the engine.");
	e->config = *config;
	if (!e->config.io)
		e->config.io = uring_backend();
	e->pressure.run = relieve;
	e->space.run = work_on_space;
	e->prepare.run = prepare_next;
	pthread_mutex_init(&e->lock, NULL);
	r = base_cache_new(&e->cache, config->image_ram);
	if (r < 0)
		engine_fail(err, r,
			    "There is no room for an image cache of %llu MiB; make [cache] "
			    "image_ram smaller.",
			    (unsigned long long)(config->image_ram >> 20));
	if (!r && (config->store[0] || config->store_fd > 0))
		r = open_store(e, err);
	if (!r) { /* the threads look at it */
		e->stats = stats_map(config->run_dir, "store.stat", sizeof(*e->stats), STATS_VERSION);
		r = start_threads(e, err);
	}
	if (r < 0) {
		engine_free(e);
		return r;
	}
	if (!config->manual)
		base_cache_touch(e->cache);
	store_stats(e);
	*ret = e;
	return 0;
}

void engine_free(struct engine *e)
{
	if (!e)
		return;
	for (unsigned int i = 0; i < e->n_threads; i++) {
		struct thread *t = &e->threads[i];

		pthread_mutex_lock(&t->lock);
		t->stop = true;
		pthread_mutex_unlock(&t->lock);
		while (e->config.manual && t->q && t->q->in_flight)
			io_wait(t->q, -1);
		if (t->id) {
			io_queue_wake(t->q);
			pthread_join(t->id, NULL);
		}
		io_queue_free(t->q);
		pthread_mutex_destroy(&t->lock);
		pthread_mutex_destroy(&t->disks_lock);
	}
	store_stats(e);
	stats_unmap(e->stats, sizeof(*e->stats));
	free(e->threads);
	free(e->zeros);
	staging_close(e->staging);
	store_close(e->store);
	base_cache_free(e->cache); /* may wait for a file system that images are on */
	pthread_mutex_destroy(&e->lock);
	free(e);
}

struct store *engine_store(struct engine *e)
{
	return e->store;
}

struct staging *engine_staging(struct engine *e)
{
	return e->staging;
}
