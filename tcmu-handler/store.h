/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The write-back store: one preallocated file for the overlays of all clients. This file knows what
 * lies where (superblock, overlay headers, segments), which segments are free, and makes things
 * durable; what is in a segment is the overlay's business. Format: docs/store-format.md.
 */
#ifndef BOOTWELL_STORE_H
#define BOOTWELL_STORE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "tcmu-handler/image/sentence.h"
#include "tcmu-handler/io.h"

#define STORE_BLOCK          4096
#define STORE_SIZE_MIN       (16u << 20) /* bytes, for store_file_open() */
#define STORE_GENERATION_MAX 255         /* bytes of a generation's name */

enum store_mode { STORE_DISCARD = 1, STORE_KEEP = 2 };

/* What the store remembers of an overlay: 4 KiB on disk, twice. */
struct store_header {
	uint8_t uuid[16];
	uint64_t epoch; /* 0: the place is free. Segments of another epoch are not ours */
	uint8_t boot[16];
	uint8_t reset[16];
	uint8_t machine_boot[16]; /* the boot of this machine in which the epoch began or was last
				     opened */
	uint64_t size;            /* bytes of the disk */
	uint32_t mode;
	char generation[STORE_GENERATION_MAX + 1];
};

struct store_place {
	struct store_header header;
	uint64_t version;       /* of the header on disk */
	uint32_t first_segment; /* of its list, in no order; SEGMENT_NONE ends */
	uint32_t segments;
	bool open;
	bool loading;     /* being opened: its segments are the opener's alone, until store_place_loaded() */
	bool epoch_twice; /* another header names this epoch too: damage, until this one is reset */
};

#define SEGMENT_NONE UINT32_MAX

enum segment_state { SEGMENT_FREE, SEGMENT_USED, SEGMENT_DYING, SEGMENT_PREPARING };

struct store_segment {
	uint64_t seq; /* of its records; unique in the life of the store */
	uint32_t place;
	uint32_t next, prev; /* list of the place, or of the free ones */
	uint32_t live;       /* blocks that a map points at */
	uint32_t zeros;      /* zero entries that may still matter */
	uint32_t pins;       /* reads and writes in flight, being the open one */
	uint32_t used;       /* blocks that have been written, records included */
	uint8_t state;
	uint8_t written; /* its blocks in the file system are not just reserved */
	uint8_t tried;   /* cleaned, and not yet free; for a second not again */
};

/* Somebody who waits for durability. */
struct store_sync {
	struct store_sync *next;
	void (*done)(struct store_sync *sync, int error); /* on any engine thread, no lock held */
};

struct store {
	int fd;
	struct io_backend *io;
	uint8_t uuid[16];
	uint8_t machine_boot[16];
	uint64_t size;
	uint64_t mount; /* times opened */
	uint64_t super_version;
	uint32_t newest_mount; /* that any id in the store is of */
	bool set_back;         /* the superblock was older than what is in the store; its ids go on above */
	uint32_t segment_blocks;
	uint32_t segments;
	uint32_t places;
	uint32_t data_start; /* block of segment 0 */

	pthread_mutex_t lock; /* all below, and the segments */
	struct store_segment *segment;
	struct store_place *place;
	uint32_t free_head, raw_head;     /* free: written before; never written */
	uint32_t free_count, ready_count; /* both lists; the first */
	uint32_t dying_head, dying_count;
	uint32_t syncing_head; /* dying when the fdatasync in flight began */
	uint32_t open_places;
	uint64_t next_id;
	uint64_t progress; /* batches written and segments freed; atomic */
	uint64_t writing;  /* batches in flight; atomic */
	uint64_t promised; /* staged pages that will need a block; atomic */
	int error;         /* final: an fdatasync failed; atomic */
	bool full;         /* nothing more can be gained by cleaning; atomic */
	bool cleaning;     /* a segment is being cleaned */
	bool tried;        /* some segment is marked so */
	bool syncing;
	struct store_sync *sync_next, *sync_now;
	struct io_op sync_op;
	uint64_t sync_started_ns;
	void (*space)(void *arg); /* segments have become free */
	void *space_arg;

	uint64_t flushes, flush_waiters, flush_ns, cleaned_blocks; /* statistics */
};

/*
 * Opens the file at `path`, made and preallocated when it does not exist, with `size` bytes; a
 * smaller one grows, a greater one stays. Waits up to a minute for a killed process whose writes
 * are still under way. Returns an fd.
 */
int store_file_open(const char *path, uint64_t size, uint64_t *ret_size, struct sentence *err);

struct store_params {
	int fd; /* the store owns it from then on, if it succeeds */
	uint64_t size;
	uint32_t segment_blocks; /* of a new store; 0: by size */
	uint32_t places;         /* of a new store: overlays that it can have; 0: by size */
	struct io_backend *io;
	const uint8_t *uuid; /* of a new store, 16 bytes; NULL: random */
	const uint8_t *machine_boot;
};

/* Reads a store, or makes one of a file of zeros. Every state that a crash can leave opens. */
int store_open(struct store **ret, const struct store_params *params, struct sentence *err);
void store_close(struct store *store);

/* The place of an overlay; a new one if there is none. -ENOSPC with a sentence when there is no
 * room for one more. */
int store_place(struct store *store, const uint8_t uuid[16], uint32_t *ret, struct sentence *err);

/* The disk on the place is closed. */
void store_place_loaded(struct store *store, uint32_t place); /* it is open: from now on it may be cleaned */
void store_place_release(struct store *store, uint32_t place);

/* Writes the header of a place (with `durable`: and waits until it is). Not on an engine thread. */
int store_write_header(struct store *store, uint32_t place, const struct store_header *header, bool durable);

/* A new epoch for the place: all its segments are free. O(1) on disk. */
int store_reset(struct store *store, uint32_t place, const struct store_header *header, bool durable);

/* A number never given out before, also across crashes. */
uint64_t store_new_id(struct store *store);

/*
 * Promises `pages` more blocks to the place. -EBUSY: not now, segments are to be cleaned first;
 * -ENOSPC: not at all. When little is left, overlays that have more than their share are refused
 * first.
 */
int store_promise(struct store *store, uint32_t place, uint32_t pages);
void store_unpromise(struct store *store, uint32_t pages);

/* A free segment for the place, with one pin. -ENOSPC: none now; -EAGAIN: soon, after a sync that
 * the caller asks for. */
int store_segment_get(struct store *store, uint32_t place, uint32_t *ret);

void store_segment_pin(struct store *store, uint32_t segment);
/*
 * Takes pins, live blocks or zero entries away; the segment goes when nothing of it matters any
 * more: at once, or, for a kept overlay, once everything written so far is durable.
 */
void store_segment_drop(struct store *store, uint32_t segment, uint32_t pins, uint32_t live, uint32_t zeros);

/* Calls sync->done when all writes that had ended before this call are durable. `q`: of the calling
 * engine thread. */
void store_sync(struct store *store, struct io_queue *q, struct store_sync *sync);

/* Counts a write that was made durable by itself, and no other (io_op.sync); started:
 * CLOCK_MONOTONIC. */
void store_synced_alone(struct store *store, uint64_t started_ns);
uint64_t store_now_ns(void);

/*
 * Writing zeros into free segments that have never been written: the first write to a reserved
 * block makes the file system commit its journal, which makes a small flush three times as slow.
 * Takes one out of the free ones, if fewer than `ready` are prepared; store_prepared() gives it
 * back.
 */
uint32_t store_prepare(struct store *store, uint32_t ready);
void store_prepared(struct store *store, uint32_t segment, bool written);

/* Is it time to clean? */
bool store_low(const struct store *store);
/*
 * The segment of an open overlay that gives most room when its live blocks are moved: pinned, and
 * store->cleaning set. SEGMENT_NONE: none is worth it, or one is being cleaned (then *ret_busy).
 */
uint32_t store_pick_victim(struct store *store, bool *ret_busy);
void store_retry_victims(struct store *store); /* once a second */
void store_cleaned(struct store *store, uint32_t segment, uint32_t moved);

static inline uint32_t store_segment_of(const struct store *store, uint32_t block)
{
	return (block - store->data_start) / store->segment_blocks;
}

static inline uint32_t store_segment_block(const struct store *store, uint32_t segment)
{
	return store->data_start + segment * store->segment_blocks;
}

/* A consistent look at what there is. Any thread. */
struct store_counters {
	uint64_t size_bytes, used_bytes; /* of segments */
	uint64_t flushes, flush_waiters, flush_ns, cleaned_bytes;
	uint32_t segments, free; /* free: also those that wait for an fdatasync */
};
void store_counters(struct store *store, struct store_counters *ret);

static inline int store_error(const struct store *store)
{
	return __atomic_load_n(&store->error, __ATOMIC_RELAXED);
}

#endif
