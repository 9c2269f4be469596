/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between engine.c and disk.c only. */
#ifndef BOOTWELL_ENGINE_PRIVATE_H
#define BOOTWELL_ENGINE_PRIVATE_H

#include <pthread.h>

#include "tcmu-handler/base.h"
#include "tcmu-handler/engine.h"
#include "tcmu-handler/stats.h"

struct thread;

/* Something to run on an engine thread. May be posted again once it has begun to run. */
struct work {
	struct work *next;
	void (*run)(struct thread *t, struct work *work);
	bool queued; /* the thread's lock */
};

struct thread {
	struct engine *engine;
	unsigned int index;
	pthread_t id;
	struct io_queue *q;
	pthread_mutex_t lock; /* the next lines */
	struct work *head, *tail;
	bool sleeping, stop;
	uint64_t next_tick_ms;
	/* Order of locks: disks_lock, an overlay's, the store's or the engine's, a disk's, a
	 * thread's. */
	pthread_mutex_t disks_lock;
	struct disk *disks;
};

struct engine {
	struct engine_config config;
	struct store *store; /* NULL: none */
	struct staging *staging;
	struct base_cache *cache;
	struct thread *threads;
	unsigned int n_threads;
	unsigned int next_thread;
	pthread_mutex_t lock;                      /* the rest */
	struct disk_request *parked, *parked_tail; /* wait for pages */
	struct disk_request *poor, *poor_tail;     /* wait for room in the store */
	struct store_sync sync;
	bool syncing;
	uint32_t ticks;    /* atomic */
	uint64_t progress; /* of the store, when all victims were last tried again */
	bool kicked;       /* all overlays, for room */
	bool warned;
	struct io_op prepare_op;
	unsigned int kept; /* disks in keep mode; atomic */
	uint8_t *zeros;    /* a segment */
	uint32_t preparing;
	bool prepare_busy;
	struct work prepare;
	struct work pressure, space;
	struct stats_store *stats;
};

struct disk {
	struct engine *engine;
	struct thread *thread;
	struct disk *next_in_thread;
	struct disk_config config;
	struct base *base;
	struct overlay *overlay; /* NULL: read-only */
	struct work kick;        /* overlay_work() */
	struct work resume;      /* requests handed to the thread */
	struct work clean;       /* overlay_clean() of `victim` */
	uint32_t victim;
	pthread_mutex_t lock; /* the list below */
	struct disk_request *resumed, *resumed_tail;
	struct disk_request *held; /* wait until the overlay has written something */
	unsigned int age;          /* ticks since the overlay was seen without dirty pages */
	struct stats_disk *stats;
	struct stats_disk own_stats; /* when there is no file for them */
	uint64_t last_done;          /* boot_idle_note() */
};

void engine_prepare(struct engine *e); /* a kept disk was opened */
void thread_post(struct thread *t, struct work *work);
void engine_log(struct engine *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts a write that found no page to the side, to be tried again when there may be some. */
void engine_park(struct engine *e, struct disk_request *r);
/* The same for one that waits for room in the store. */
void engine_park_poor(struct engine *e, struct disk_request *r);
/* Pages may be free: parked requests are tried again. */
void engine_unpark(struct engine *e);
void disk_resume(struct disk_request *r); /* go on with it on the disk's thread */
int disk_open_base(struct disk *d, struct engine_error *err);
void disk_tick(struct disk *d);
/* The counters of a disk or of the store, mapped; NULL when there is no directory for them. */
void *stats_map(const char *run_dir, const char *name, size_t size, uint64_t version);
void stats_unmap(void *stats, size_t size);

#endif
