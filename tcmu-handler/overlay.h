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

#include <stdbool.h>
#include <stdint.h>

#include "tcmu-handler/image/sentence.h"
#include "tcmu-handler/iov.h"
#include "tcmu-handler/map.h"
#include "tcmu-handler/staging.h"
#include "tcmu-handler/store.h"

#define OVERLAY_BLOCK  4096
#define OVERLAY_SECTOR 512

struct overlay;

/* What the overlay needs of its surroundings. Called with the overlay's lock held: they only note
 * it down. */
struct overlay_host {
	void (*kick)(struct overlay *ov, void *arg);  /* run overlay_work() on the engine thread, soon */
	void (*pages)(struct overlay *ov, void *arg); /* pages may have become free, or an error has come up */
	/* A block of the store, at this byte, is not what was written there. Without the lock. */
	void (*damaged)(struct overlay *ov, uint64_t at, void *arg);
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
	uint64_t batch;                                       /* last one to wait for, once `written` */
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
	uint32_t check;  /* RUN_SLOT: of all blocks that it touches, overlay_run_whole() */
};

#define RUN_SLOT_MAX (256u << 10) /* bytes of a RUN_SLOT, about: it is read with one operation */

#define RUNS_INLINE 8
struct run_list {
	struct run *run; /* `few`, or heap */
	uint32_t count, room;
	struct run few[RUNS_INLINE];
};

/*
 * Opens an overlay, after a reset if boot (discard) or reset (keep) differ from what the store
 * remembers. -ESTALE: it belongs to another generation; -ENODATA: its data went with a crash of the
 * machine while its client was running. Blocks; not on an engine thread.
 */
int overlay_open(struct overlay **ret, const struct overlay_params *params, struct sentence *err);

/* Frees it. What is still only in staging stays there, for the next overlay_open(). Nothing may be
 * in flight. */
void overlay_free(struct overlay *ov);

/*
 * Copies what is in memory into dst, and lists the rest. -ENOMEM: nothing is listed. No lock is
 * needed by the caller. offset, length: bytes, multiples of 512, within the disk.
 */
int overlay_read(struct overlay *ov, uint64_t offset, uint64_t length, struct iov_pos *dst, struct run_list *runs);
void overlay_run_done(struct overlay *ov, const struct run *run);
/* Are these the blocks that were written? `data`: what was read of the store for a RUN_SLOT, whole blocks of 4 KiB from
 * the one that `source` lies in. */
bool overlay_run_whole(const struct run *run, const uint8_t *data);
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
int64_t overlay_write(struct overlay *ov, uint64_t offset, uint64_t length, struct iov_pos *src, uint64_t at);

/* The blocks read as zero from now on. 0, -EAGAIN, -ENOMEM, -ENOSPC, -EIO as above. */
int overlay_unmap(struct overlay *ov, uint32_t block, uint32_t count);

/* 0: done already, flush->done() is not called; 1: it will be; -errno: refused. */
int overlay_flush(struct overlay *ov, struct overlay_flush *flush);

/* Engine thread: writes out what has to be, finishes flushes. `all`: everything that is dirty. */
void overlay_work(struct overlay *ov, struct io_queue *q, bool all);
/* The next overlay_work() writes out everything that is dirty; with `again` also if the last batch failed. */
void overlay_write_all(struct overlay *ov, bool again);
/* Nothing is in flight and nothing is dirty (or it cannot be written: *ret_error). */
bool overlay_quiet(struct overlay *ov, int *ret_error);
/* Is there anything to write out? *ret_error: why the last batch failed, or 0. */
bool overlay_has_dirty(struct overlay *ov, int *ret_error);
/* It found no segment to write to, and waits for one. Any thread, no lock. */
bool overlay_is_starved(const struct overlay *ov);
/* No batch is in flight, and it does not wait for a segment. */
bool overlay_is_idle(struct overlay *ov);

bool overlay_is_kept(const struct overlay *ov);
bool overlay_is_fresh(const struct overlay *ov);  /* it was empty when it was opened */
uint64_t overlay_size(const struct overlay *ov);  /* bytes */
uint32_t overlay_place(const struct overlay *ov); /* in the store */

struct overlay_gauges {
	uint64_t live_bytes;    /* in the store, that the map points at */
	uint64_t zero_bytes;    /* that read as zero */
	uint64_t written_bytes; /* to the store since it was opened, records included */
	uint64_t memory;        /* bytes, overlay_memory() */
};
void overlay_gauges(struct overlay *ov, struct overlay_gauges *ret);
/* Which of the block's eight sectors of 512 bytes are not the base's: a bit each, the first the lowest. */
uint8_t overlay_sectors(struct overlay *ov, uint32_t block);

/* Gives up to `want` clean pages back to the pool; how many it gave. */
uint32_t overlay_reclaim(struct overlay *ov, uint32_t want);
/*
 * Engine thread: moves what is alive out of a segment that store_pick_victim() gave. Calls
 * store_cleaned() when that is staged; it is written out like all else.
 */
void overlay_clean(struct overlay *ov, struct io_queue *q, uint32_t segment);
size_t overlay_memory(const struct overlay *ov);

#endif
