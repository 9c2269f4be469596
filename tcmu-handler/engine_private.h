/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the engine's own files share, from the lowest: thread.c (threads and works), engine_room.c (who waits for
 * memory or room), disk.c (requests), disk_base.c and disk_open.c (the life of a disk), engine.c (the whole), and
 * stats.c. Each calls only those before it; engine.c is called back through engine->tick.
 */
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
	uint32_t ticks;             /* atomic */
	unsigned int busy, counted; /* disks that had requests in the last second; being counted; atomic */
	uint64_t progress;          /* of the store, when all victims were last tried again */
	bool kicked;                /* all overlays, for room */
	bool warned;
	struct io_op prepare_op;
	unsigned int kept; /* disks in keep mode; atomic */
	uint8_t *zeros;    /* a segment */
	uint32_t preparing;
	bool prepare_busy;
	struct work prepare;
	struct work pressure, space;
	struct stats_store *stats;
	void (*tick)(struct thread *t); /* once a second, on each thread */
	unsigned int lingering;         /* disks that are closed in the background; `lock` */
	pthread_cond_t lingered;        /* one of them has ended */
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
	pthread_mutex_t lock; /* the lists below, `turns` */
	struct disk_request *resumed, *resumed_tail;
	struct disk_request *held; /* wait until the overlay has written something */
	unsigned int age;          /* ticks since the overlay was seen without dirty pages */
	struct stats_disk *stats;
	struct stats_disk own_stats;          /* when there is no file for them */
	uint64_t last_done;                   /* boot_idle_note() */
	struct piece *waiting, **waiting_end; /* pieces that are not begun yet; `lock`, like in_flight */
	unsigned int in_flight;               /* pieces */
	uint64_t seen_ops;                    /* of its counters, at the last tick */
	uint32_t damage_said;                 /* tick + 1; atomic */
	bool base_was_open;                   /* when it was opened */
	bool closing;                         /* atomic: whoever closes it wants to know of each turn */
	bool draining, left;                  /* how far closing has come: being written out; off its thread's list */
	bool flushed;                         /* atomic: last_flush has ended */
	struct overlay_flush last_flush;
	uint64_t turns;
	pthread_cond_t turned;
};

/* thread.c */
void thread_post(struct thread *t, struct work *work);
int threads_start(struct engine *e, struct sentence *err);
void threads_stop(struct engine *e); /* when nothing is in flight any more; frees them */

/* engine_room.c */
void engine_room_init(struct engine *e);
void engine_warn_early(struct engine *e); /* says once that the store fills up */

void engine_prepare(struct engine *e); /* a kept disk was opened */
void engine_log(struct engine *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts a write that found no page to the side, to be tried again when there may be some. */
void engine_park(struct engine *e, struct disk_request *r);
/* The same for one that waits for room in the store. */
void engine_park_poor(struct engine *e, struct disk_request *r);
/* Pages may be free: parked requests are tried again. */
void engine_unpark(struct engine *e);
/* A disk goes on being closed in the background, and has ended. */
void engine_closes_later(struct engine *e);
void engine_closed_later(struct engine *e);
void disk_resume(struct disk_request *r); /* go on with it on the disk's thread */

/* disk.c */
void disk_requests_init(struct disk *d);
void disk_damaged(struct disk *d, uint64_t at); /* says and counts that the store is, at this byte */
void disk_release_held(struct disk *d);         /* writes that waited for the overlay go on */

/* disk_base.c, disk_open.c */
int disk_open_base(struct disk *d, struct sentence *err);
void disk_tick(struct disk *d); /* once a second, on the disk's thread */

/* The counters of a disk or of the store, mapped; NULL when there is no directory for them. */
void *stats_map(const char *run_dir, const char *name, size_t size, uint64_t version);
void stats_unmap(void *stats, size_t size);

#endif
