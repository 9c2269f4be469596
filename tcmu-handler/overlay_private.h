/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files overlay*.c share. Nobody else knows what an overlay is made of. */
#ifndef BOOTWELL_OVERLAY_PRIVATE_H
#define BOOTWELL_OVERLAY_PRIVATE_H

#include <pthread.h>

#include "tcmu-handler/overlay.h"
#include "tcmu-handler/record.h"

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
	uint64_t broken_seq;              /* of the segment in which a batch failed last: the later ones there
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
};

/* --- with the lock held --- */

uint32_t overlay_take_page(struct overlay *ov); /* 0: none */
void overlay_drop_clean(struct overlay *ov, uint32_t page);
void overlay_forget_range(struct overlay *ov, uint32_t block, uint32_t count); /* entries of an unmapped range */
int overlay_reserve_released(struct overlay *ov, uint64_t count);
void overlay_drop_slot(struct overlay *ov, uint32_t slot);
/* A batch of nothing but zero entries; done() with the overlay's lock held when it has ended.
 * -errno: not begun. */
struct overlay_restated {
	void (*done)(struct overlay_restated *restated, int error);
};
int overlay_restate(struct overlay *ov, struct io_queue *q, const struct record_entry *entries, unsigned int count,
		    struct overlay_restated *restated);
int overlay_load(struct overlay *ov, struct sentence *err);

#endif
