/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The write-back of one disk: what has been written to it, over a base that it does not know.
 * overlay.c has the design.
 *
 * overlay_read/write/unmap/flush may be called from any thread; overlay_work() and the completions
 * of the store's I/O run on one engine thread, the overlay's.
 */
#ifndef BOOTWELL_OVERLAY_H
#define BOOTWELL_OVERLAY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "tcmu-handler/error.h"
#include "tcmu-handler/iov.h"
#include "tcmu-handler/map.h"
#include "tcmu-handler/record.h"
#include "tcmu-handler/staging.h"
#include "tcmu-handler/store.h"

#define OVERLAY_BLOCK  4096
#define OVERLAY_SECTOR 512

struct overlay;

/* What the overlay needs of its surroundings. Called with the overlay's lock held: they only note
 * it down. */
struct overlay_host {
	void (*kick)(struct overlay *ov,
		     void *arg); /* run overlay_work() on the engine thread, soon */
	void (*pages)(struct overlay *ov,
		      void *arg); /* pages may have become free, or an error has come up */
	void *arg;
};

struct overlay_params {
	struct store *store;
	struct staging *staging;
	uint8_t uuid[16];
	uint8_t boot[16];
	uint8_t reset[16];
	uint64_t size; /* bytes, a multiple of 512 */
	bool keep;
	const char *generation;
	struct overlay_host host;
};

/* A FLUSH or a FUA write that waits. The caller keeps it until done(). */
struct overlay_flush {
	struct overlay_flush *next;
	void (*done)(struct overlay_flush *flush, int error); /* no lock held, any engine thread */
	uint64_t target;                                      /* staging sequence number */
	uint64_t batch; /* last one to wait for, once `written` */
	bool written;
	int error;
};

/* Where a part of a read that is not in memory has to come from. */
enum run_type { RUN_BASE, RUN_SLOT };
struct run {
	enum run_type type;
	uint32_t segment; /* of a RUN_SLOT: pinned, overlay_run_done() */
	uint64_t at;      /* offset in the request, bytes */
	uint64_t length;
	uint64_t source; /* bytes: of the virtual disk, or of the store's file */
};

#define RUNS_INLINE 8
struct run_list {
	struct run *run; /* `few`, or heap */
	uint32_t count, room;
	struct run few[RUNS_INLINE];
};

struct batch;

struct overlay {
	struct store *store;
	struct staging *st;
	struct overlay_host host;
	uint32_t place;
	uint64_t epoch;
	uint64_t size;
	bool keep;
	bool fresh; /* it was empty when it was opened */

	pthread_mutex_t lock; /* all below */
	struct map map;
	struct page_list dirty, zeros, clean; /* dirty and zeros in the order of seq */
	/*
	 * Slots that unmaps gave up, until their record is written; the first ones go with the
	 * batches in flight, in their order. There is room for `released_reserve` more: the end of
	 * a batch needs some, and must not need memory.
	 */
	uint32_t *released;
	uint32_t n_released, released_room, released_taken, released_reserve;
	struct batch *first, *last; /* in flight, in order */
	unsigned int batches;
	uint64_t next_batch, completed, durable;
	uint32_t open_segment, open_used; /* SEGMENT_NONE */
	uint64_t broken_seq; /* of the segment in which a batch failed last: the later ones there
				count as failed */
	struct overlay_flush *flushes;
	struct store_sync sync;
	uint64_t sync_batch;
	bool syncing, write_all, cleaning;
	bool starved;          /* found no segment; atomic */
	bool retry;            /* try again although the last batch failed */
	uint64_t first_failed; /* batches from this one on are verified when they are read back */
	int error;             /* of the last batch; 0 when one succeeds */
	uint64_t live_slots, slots_written, blocks_written;
	struct batch *spare;

	void *user; /* the engine's */
	struct overlay *next_in_thread;
};

/*
 * Opens an overlay, after a reset if boot (discard) or reset (keep) differ from what the store
 * remembers. -ESTALE: it belongs to another generation; -ENODATA: its data went with a crash of the
 * machine while its client was running. Blocks; not on an engine thread.
 */
int overlay_open(struct overlay **ret, const struct overlay_params *params,
		 struct engine_error *err);

/* Frees it. What is still only in staging stays there, for the next overlay_open(). Nothing may be
 * in flight. */
void overlay_free(struct overlay *ov);

/*
 * Copies what is in memory into dst, and lists the rest. -ENOMEM: nothing is listed. No lock is
 * needed by the caller. offset, length: bytes, multiples of 512, within the disk.
 */
int overlay_read(struct overlay *ov, uint64_t offset, uint64_t length, struct iov_pos *dst,
		 struct run_list *runs);
void overlay_run_done(struct overlay *ov, const struct run *run);
/* map_status() of `count` blocks from `block` on. */
enum map_kind overlay_status(struct overlay *ov, uint32_t block, uint32_t count, uint32_t *ret_count);
int run_list_add(struct run_list *runs, const struct run *run);
void run_list_init(struct run_list *runs);
void run_list_done(struct run_list *runs);

/*
 * Takes data in. Returns the bytes taken, from the beginning: fewer than asked when pages ran out
 * on the way. -EAGAIN: none now, host.pages() tells; -EBUSY: the store has to be cleaned first;
 * -EDQUOT: the overlay has its share of pages, host.pages() tells; -ENOSPC: the store is full;
 * -EIO: the store has failed. src NULL: zeros. `at`: offset of the first byte in src.
 */
int64_t overlay_write(struct overlay *ov, uint64_t offset, uint64_t length, struct iov_pos *src,
		      uint64_t at);

/* The blocks read as zero from now on. 0, -EAGAIN, -ENOMEM, -ENOSPC, -EIO as above. */
int overlay_unmap(struct overlay *ov, uint32_t block, uint32_t count);

/* 0: done already, flush->done() is not called; 1: it will be; -errno: refused. */
int overlay_flush(struct overlay *ov, struct overlay_flush *flush);

/* Engine thread: writes out what has to be, finishes flushes. `all`: everything that is dirty. */
void overlay_work(struct overlay *ov, struct io_queue *q, bool all);
/* Nothing is in flight and nothing is dirty (or it cannot be written: *ret_error). */
bool overlay_quiet(struct overlay *ov, int *ret_error);
bool overlay_has_dirty(struct overlay *ov);
/* Gives up to `want` clean pages back to the pool; how many it gave. */
uint32_t overlay_reclaim(struct overlay *ov, uint32_t want);
/*
 * Engine thread: moves what is alive out of a segment that store_pick_victim() gave. Calls
 * store_cleaned() when that is staged; it is written out like all else.
 */
void overlay_clean(struct overlay *ov, struct io_queue *q, uint32_t segment);
size_t overlay_memory(const struct overlay *ov);

/* --- between the overlay's own files, lock held --- */
uint32_t overlay_take_page(struct overlay *ov); /* 0: none */
void overlay_drop_clean(struct overlay *ov, uint32_t page);
void overlay_forget_range(struct overlay *ov, uint32_t block,
			  uint32_t count); /* entries of an unmapped range */
int overlay_reserve_released(struct overlay *ov, uint64_t count);
void overlay_drop_slot(struct overlay *ov, uint32_t slot);
/* A batch of nothing but zero entries; done() with the overlay's lock held when it has ended.
 * -errno: not begun. */
struct overlay_restated {
	void (*done)(struct overlay_restated *restated, int error);
};
int overlay_restate(struct overlay *ov, struct io_queue *q, const struct record_entry *entries,
		    unsigned int count, struct overlay_restated *restated);
int overlay_load(struct overlay *ov, struct engine_error *err);

#endif
