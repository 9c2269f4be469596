// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The engine as a whole: how it is made of store, staging memory, cache and threads, what it does every
 * second, what it counts. thread.c runs the threads, engine_room.c finds room for those who wait,
 * disk.c has the requests and disk_open.c the disks.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tcmu-handler/engine_private.h"
#include "tcmu-handler/uring.h"

/* Readers have it mapped. */
static void set(uint64_t *counter, uint64_t value)
{
	__atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

static void store_stats(struct engine *e)
{
	struct stats_store *s = e->stats;
	struct store_counters st;
	struct base_counters c;

	if (!s || !e->store)
		return;
	base_cache_counters(e->cache, &c);
	store_counters(e->store, &st);
	set(&s->cache_bytes, c.bytes);
	set(&s->cache_limit_bytes, c.limit);
	set(&s->cache_hits, c.hits);
	set(&s->cache_misses, c.misses);
	set(&s->cache_evictions, c.evictions);
	set(&s->size_bytes, st.size_bytes);
	set(&s->used_bytes, st.used_bytes);
	set(&s->flushes, st.flushes);
	set(&s->flush_waiters, st.flush_waiters);
	set(&s->flush_ns, st.flush_ns);
	set(&s->cleaned_bytes, st.cleaned_bytes);
	set(&s->failed, store_error(e->store) != 0);
}

static void tick(struct thread *t)
{
	pthread_mutex_lock(&t->disks_lock);
	for (struct disk *d = t->disks; d; d = d->next_in_thread)
		disk_tick(d);
	pthread_mutex_unlock(&t->disks_lock);
	if (!t->index) {
		__atomic_add_fetch(&t->engine->ticks, 1, __ATOMIC_RELAXED);
		__atomic_store_n(&t->engine->busy, __atomic_exchange_n(&t->engine->counted, 0, __ATOMIC_RELAXED),
				 __ATOMIC_RELAXED);
	}
	if (!t->index && t->engine->store) {
		engine_warn_early(t->engine);
		store_retry_victims(t->engine->store);
		if (__atomic_load_n(&t->engine->kept, __ATOMIC_RELAXED))
			engine_prepare(t->engine);
		thread_post(t, &t->engine->space);
	}
	if (!t->index) {
		store_stats(t->engine);
		engine_unpark(t->engine);
	}
}

void engine_tick(struct engine *e)
{
	for (unsigned int i = 0; i < e->n_threads; i++)
		tick(&e->threads[i]);
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

static int open_store(struct engine *e, struct sentence *err)
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
			return sentence_fail(err, r,
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
	if (e->store->set_back)
		engine_log(
			e,
			"The superblock of the write-back store %s is older than what is in the store: it was put back "
			"from a copy, or the disk has lost a write. It is in order again; look at the disk.",
			c->store);
	snprintf(path, sizeof(path), "%s/staging", c->run_dir);
	r = staging_open(&e->staging,
			 c->staging      ? c->staging
			 : c->run_dir[0] ? path
					 : NULL,
			 c->write_back_ram, e->store->uuid, params.machine_boot);
	if (r < 0)
		return sentence_fail(err, r,
				     "There is no room for %llu MiB of write-back memory in %s: %s; "
				     "make [cache] write_back_ram smaller.",
				     (unsigned long long)(c->write_back_ram >> 20),
				     c->staging ? c->staging : c->run_dir, strerror(-r));
	return 0;
}

int engine_new(struct engine **ret, const struct engine_config *config, struct sentence *err)
{
	struct engine *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return sentence_fail(err, -ENOMEM, "There is no memory for the engine.");
	e->config = *config;
	if (!e->config.io)
		e->config.io = uring_backend();
	e->tick = tick;
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->lingered, NULL);
	r = base_cache_new(&e->cache, config->image_ram);
	if (r < 0)
		sentence_fail(err, r,
			      "There is no room for an image cache of %llu MiB; make [cache] "
			      "image_ram smaller.",
			      (unsigned long long)(config->image_ram >> 20));
	if (!r && (config->store[0] || config->store_fd > 0))
		r = open_store(e, err);
	engine_room_init(e);
	if (!r) { /* the threads look at it */
		e->stats = stats_map(config->run_dir, "store.stat", sizeof(*e->stats), STATS_VERSION);
		store_stats(e);
		r = threads_start(e, err);
	}
	if (r < 0) {
		engine_free(e);
		return r;
	}
	if (!config->manual)
		base_cache_touch(e->cache);
	*ret = e;
	return 0;
}

void engine_free(struct engine *e)
{
	if (!e)
		return;
	pthread_mutex_lock(&e->lock);
	while (e->lingering)
		pthread_cond_wait(&e->lingered, &e->lock);
	pthread_mutex_unlock(&e->lock);
	threads_stop(e);
	store_stats(e);
	stats_unmap(e->stats, sizeof(*e->stats));
	free(e->zeros);
	staging_close(e->staging);
	store_close(e->store);
	base_cache_free(e->cache); /* may wait for a file system that images are on */
	pthread_cond_destroy(&e->lingered);
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

void engine_counters(struct engine *e, struct engine_counters *ret)
{
	struct store_counters st;
	struct base_counters c;

	memset(ret, 0, sizeof(*ret));
	base_cache_counters(e->cache, &c);
	ret->cache_hits = c.hits;
	ret->cache_misses = c.misses;
	ret->cache_evictions = c.evictions;
	ret->cache_bytes = c.bytes;
	if (e->store) {
		store_counters(e->store, &st);
		ret->flushes = st.flushes;
		ret->flush_waiters = st.flush_waiters;
	}
}
