// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The overlay of one disk: reads, writes and unmaps against memory. overlay_batch.c writes memory
 * out, overlay_load.c reads it back.
 *
 * A write goes into staging memory (staging.h) and is done: it never waits for the store, and never
 * reads. A block of 4 KiB is, from the top: its staged page, with the sectors that have been
 * written; its slot in the store, with a sector mask of its own; then zero, if the block is in the
 * zero set; then the base. A read composes these; a page that is partial is merged with its slot
 * only when it is written out.
 *
 * States of a page that a block points at:
 *
 *	DIRTY	in `dirty`, in order of age. A write changes it in place.
 *	WRITING	in a batch on its way to the store, and so it does not change. A write makes a new
 * page, which begins as a copy (unless all is overwritten), is DIRTY, and is not written out before
 * the older one has ended.
 *	CLEAN	the store has the same. It stays as a cache until the memory is needed; a write
 * makes it DIRTY again.
 *
 * Old slots. The log is replayed in order, and the last entry for a block counts, so the slot that
 * a map points at must stay alive until the record of what replaced it has been written, and in
 * keep mode until that is durable. Therefore: an overwritten slot is dropped when its successor's
 * batch has ended; the slots of an unmapped range wait in `released`, which goes with the batch that
 * carries the zero entry; batches end in order, whatever order their I/O ends in; and the store
 * itself keeps a dead segment until the next fdatasync.
 *
 * A kill of the process at any instruction: what was acknowledged is in staging under a descriptor
 * that was published after the data, or in the store. A write that was not yet acknowledged may be
 * there in part; the initiator sends it again.
 */
#include "tcmu-handler/overlay_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tcmu-handler/crc32c.h"

static uint8_t mask_of(unsigned int first, unsigned int count)
{
	return (uint8_t)(((1u << count) - 1) << first);
}

/* --- runs --- */

/* A run touches each block once, and in their order. */
static uint32_t next_check(uint32_t check, uint32_t crc)
{
	return (check << 1 | check >> 31) ^ crc;
}

bool overlay_run_whole(const struct run *run, const uint8_t *data)
{
	uint64_t first = run->source / STORE_BLOCK, end = (run->source + run->length + STORE_BLOCK - 1) / STORE_BLOCK;
	uint32_t check = crc32c_4k(data);

	for (uint64_t i = 1; i < end - first; i++)
		check = next_check(check, crc32c_4k(data + i * STORE_BLOCK));
	return check == run->check;
}

void run_list_init(struct run_list *runs)
{
	runs->run = runs->few;
	runs->room = RUNS_INLINE;
	runs->count = 0;
}

void run_list_done(struct run_list *runs)
{
	if (runs->run != runs->few)
		free(runs->run);
	run_list_init(runs);
}

int run_list_add(struct run_list *runs, const struct run *run)
{
	if (runs->count) {
		struct run *last = &runs->run[runs->count - 1];

		if (last->type == run->type && last->at + last->length == run->at &&
		    last->source + last->length == run->source && last->segment == run->segment &&
		    (run->type == RUN_BASE || last->length < RUN_SLOT_MAX)) {
			last->length += run->length;
			last->check = next_check(last->check, run->check);
			return 1; /* merged */
		}
	}
	if (runs->count == runs->room) {
		struct run *more = malloc(2 * runs->room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		memcpy(more, runs->run, runs->count * sizeof(*more));
		if (runs->run != runs->few)
			free(runs->run);
		runs->run = more;
		runs->room *= 2;
	}
	runs->run[runs->count++] = *run;
	return 0;
}

/* --- pages --- */

/* A clean page goes; its block is in the store anyway. */
void overlay_drop_clean(struct overlay *ov, uint32_t page)
{
	struct map_entry *e = map_get(&ov->map, ov->st->desc[page].block);

	page_list_remove(ov->st, &ov->clean, page);
	if (e && e->page == page)
		e->page = 0;
}

uint32_t overlay_take_page(struct overlay *ov)
{
	uint32_t page = staging_get(ov->st);

	if (page || !ov->clean.head)
		return page;
	page = ov->clean.head;
	overlay_drop_clean(ov, page);
	memset(&ov->st->page[page], 0, sizeof(ov->st->page[page]));
	return page;
}

uint32_t overlay_reclaim(struct overlay *ov, uint32_t want)
{
	uint32_t n = 0;

	pthread_mutex_lock(&ov->lock);
	for (; n < want && ov->clean.head; n++) {
		uint32_t page = ov->clean.head;

		overlay_drop_clean(ov, page);
		staging_put(ov->st, page);
	}
	pthread_mutex_unlock(&ov->lock);
	return n;
}

/* --- reading --- */

struct reader {
	struct overlay *ov;
	struct iov_pos *dst;
	struct run_list *runs;
	uint64_t offset; /* of the request */
};

static int read_part(struct reader *rd, const struct map_entry *e, uint32_t block, unsigned int first,
		     unsigned int count)
{
	struct overlay *ov = rd->ov;
	uint64_t disk = (uint64_t)block * OVERLAY_BLOCK + first * OVERLAY_SECTOR;
	struct run run = {.at = disk - rd->offset, .length = count * OVERLAY_SECTOR};
	uint8_t bit = (uint8_t)(1u << first);
	int r;

	if (e && e->page && (ov->st->desc[e->page].mask & bit)) {
		iov_put(rd->dst, run.at, staging_data(ov->st, e->page) + first * OVERLAY_SECTOR, run.length);
		return 0;
	}
	if (e && e->slot && (e->mask & bit)) {
		run.type = RUN_SLOT;
		run.segment = store_segment_of(ov->store, e->slot);
		run.check = e->crc;
		run.source = (uint64_t)e->slot * STORE_BLOCK + first * OVERLAY_SECTOR;
		r = run_list_add(rd->runs, &run);
		if (!r)
			store_segment_pin(ov->store, run.segment);
		return r < 0 ? r : 0;
	}
	if (map_is_zero(&ov->map, block)) {
		iov_zero(rd->dst, run.at, run.length);
		return 0;
	}
	run.type = RUN_BASE;
	run.source = disk;
	r = run_list_add(rd->runs, &run);
	return r < 0 ? r : 0;
}

/* Sectors first ... first+count of a block, in parts that come from the same place. */
static int read_block(struct reader *rd, uint32_t block, unsigned int first, unsigned int count)
{
	const struct map_entry *e = map_get(&rd->ov->map, block);
	uint8_t page = e && e->page ? rd->ov->st->desc[e->page].mask : 0;
	uint8_t slot = e && e->slot ? e->mask : 0;
	unsigned int end = first + count;

	while (first < end) {
		unsigned int n = 1;
		unsigned int kind = page >> first & 1 ? 2 : slot >> first & 1;

		while (first + n < end &&
		       (page >> (first + n) & 1 ? 2 : (unsigned int)(slot >> (first + n) & 1)) == kind)
			n++;
		int r = read_part(rd, e, block, first, n);

		if (r < 0)
			return r;
		first += n;
	}
	return 0;
}

int overlay_read(struct overlay *ov, uint64_t offset, uint64_t length, struct iov_pos *dst, struct run_list *runs)
{
	struct reader rd = {.ov = ov, .dst = dst, .runs = runs, .offset = offset};
	uint32_t first = (uint32_t)(offset / OVERLAY_BLOCK);
	uint32_t last = (uint32_t)((offset + length - 1) / OVERLAY_BLOCK);
	uint64_t end = offset + length;
	int r = 0;

	if (!map_maybe(&ov->map, first, last - first + 1)) {
		struct run run = {.type = RUN_BASE, .at = 0, .length = length, .source = offset};

		return run_list_add(runs, &run);
	}
	pthread_mutex_lock(&ov->lock);
	while (offset < end && !r) {
		unsigned int sector = offset % OVERLAY_BLOCK / OVERLAY_SECTOR;
		unsigned int count = OVERLAY_BLOCK / OVERLAY_SECTOR - sector;

		if (count > (end - offset) / OVERLAY_SECTOR)
			count = (unsigned int)((end - offset) / OVERLAY_SECTOR);
		r = read_block(&rd, (uint32_t)(offset / OVERLAY_BLOCK), sector, count);
		offset += count * OVERLAY_SECTOR;
	}
	pthread_mutex_unlock(&ov->lock);
	if (r < 0)
		for (uint32_t i = 0; i < runs->count; i++)
			if (runs->run[i].type == RUN_SLOT)
				overlay_run_done(ov, &runs->run[i]);
	return r;
}

void overlay_run_done(struct overlay *ov, const struct run *run)
{
	store_segment_drop(ov->store, run->segment, 1, 0, 0);
}

enum map_kind overlay_status(struct overlay *ov, uint32_t block, uint32_t count, uint32_t *ret_count)
{
	enum map_kind kind;

	pthread_mutex_lock(&ov->lock);
	kind = map_status(&ov->map, block, count, ret_count);
	pthread_mutex_unlock(&ov->lock);
	return kind;
}

/* --- writing --- */

static void copy_in(struct overlay *ov, uint32_t page, unsigned int first, unsigned int count, struct iov_pos *src,
		    uint64_t at)
{
	uint8_t *to = staging_data(ov->st, page) + first * OVERLAY_SECTOR;

	if (src)
		iov_get(src, at, to, count * OVERLAY_SECTOR);
	else
		memset(to, 0, count * OVERLAY_SECTOR);
}

static void publish(struct overlay *ov, uint32_t page, uint32_t block, uint8_t mask)
{
	struct staging_desc d = {.epoch = ov->epoch, .block = block, .count = 1, .mask = mask, .type = STAGING_DATA};

	staging_publish(ov->st, page, &d);
	page_set(&ov->st->page[page], PAGE_DIRTY);
	page_list_push(ov->st, &ov->dirty, page);
}

/* A page that is in memory and may be changed, or copied. 0, or -EAGAIN, -ENOSPC. */
static int write_new_page(struct overlay *ov, struct map_entry *e, unsigned int first, unsigned int count,
			  struct iov_pos *src, uint64_t at)
{
	struct staging *st = ov->st;
	uint32_t older = e->page, block = e->block, page;
	uint8_t mask = mask_of(first, count);

	int r;

	/* One disk that cannot write out must not take the memory of all. */
	if (ov->dirty.count > st->pages / 4 * 3 + 8)
		return -EDQUOT;
	r = store_promise(ov->store, ov->place, 1);
	if (r < 0)
		return r;
	page = overlay_take_page(ov);
	if (!page) {
		store_unpromise(ov->store, 1);
		return -EAGAIN;
	}
	if (older && (st->desc[older].mask & ~mask)) {
		memcpy(staging_data(st, page), staging_data(st, older), OVERLAY_BLOCK);
		mask |= st->desc[older].mask;
	}
	copy_in(ov, page, first, count, src, at);
	if (older) {
		st->page[page].older = older;
		st->page[older].newer = page;
	}
	publish(ov, page, block, mask);
	e->page = page;
	return 0;
}

static int write_block(struct overlay *ov, uint32_t block, unsigned int first, unsigned int count, struct iov_pos *src,
		       uint64_t at)
{
	struct map_entry *e = map_get(&ov->map, block);
	struct staging *st = ov->st;
	uint32_t page = e ? e->page : 0;
	bool fresh = !e;
	int r;

	if (page && st->page[page].state == PAGE_DIRTY) {
		copy_in(ov, page, first, count, src, at);
		st->desc[page].mask |= mask_of(first, count);
		return 0;
	}
	if (page && st->page[page].state == PAGE_CLEAN) {
		r = store_promise(ov->store, ov->place, 1);
		if (r < 0)
			return r;
		page_list_remove(st, &ov->clean, page);
		copy_in(ov, page, first, count, src, at);
		publish(ov, page, block, st->desc[page].mask | mask_of(first, count));
		return 0;
	}
	if (fresh) {
		r = map_reserve(&ov->map, 1);
		if (r < 0)
			return r;
		e = map_add(&ov->map, block);
	}
	r = write_new_page(ov, e, first, count, src, at);
	/* Taking a page may have dropped a clean one, but entries do not move by that. */
	if (r < 0 && fresh)
		map_remove(&ov->map, e);
	return r;
}

static bool wants_writing_out(const struct overlay *ov)
{
	uint64_t dirty = __atomic_load_n(&ov->store->promised, __ATOMIC_RELAXED);

	return ov->dirty.count >= RECORD_ENTRIES && dirty > ov->st->pages / 2 && ov->batches < 2;
}

int64_t overlay_write(struct overlay *ov, uint64_t offset, uint64_t length, struct iov_pos *src, uint64_t at)
{
	uint64_t done = 0;
	int r = store_error(ov->store);

	if (r)
		return -EIO;
	pthread_mutex_lock(&ov->lock);
	while (done < length) {
		unsigned int sector = (offset + done) % OVERLAY_BLOCK / OVERLAY_SECTOR;
		unsigned int count = OVERLAY_BLOCK / OVERLAY_SECTOR - sector;

		if (count > (length - done) / OVERLAY_SECTOR)
			count = (unsigned int)((length - done) / OVERLAY_SECTOR);
		r = write_block(ov, (uint32_t)((offset + done) / OVERLAY_BLOCK), sector, count, src, at + done);
		if (r < 0)
			break;
		done += count * OVERLAY_SECTOR;
	}
	/* Pages that cannot be had because the store refuses them will not come by waiting. */
	if ((r == -EAGAIN || r == -EDQUOT) && ov->error && !ov->batches) {
		r = ov->error;
		ov->retry = true;
		ov->host.kick(ov, ov->host.arg);
	}
	if (r == -EAGAIN || r == -EDQUOT || wants_writing_out(ov))
		ov->host.kick(ov, ov->host.arg);
	pthread_mutex_unlock(&ov->lock);
	return done ? (int64_t)done : r;
}

/* --- unmapping --- */

int overlay_reserve_released(struct overlay *ov, uint64_t count)
{
	uint64_t want = (uint64_t)ov->n_released + ov->released_reserve + count;
	uint32_t *more;

	if (want <= ov->released_room)
		return 0;
	if (want > UINT32_MAX / 2)
		return -ENOMEM;
	more = realloc(ov->released, want * sizeof(*more));
	if (!more)
		return -ENOMEM;
	ov->released = more;
	ov->released_room = (uint32_t)want;
	return 0;
}

/* The block reads as zero now. Pages on their way out are only marked: overlay_batch.c drops what
 * they became. */
static void forget_entry(void *arg, const struct map_entry *e)
{
	struct overlay *ov = arg;
	struct staging *st = ov->st;
	uint32_t page = e->page;

	while (page) {
		struct page *p = &st->page[page];
		uint32_t older = p->older;

		if (p->state == PAGE_WRITING) {
			p->dead = 1;
			p->newer = 0;
			__atomic_store_n(&st->desc[page].seq, 0, __ATOMIC_RELEASE);
		} else {
			if (p->state == PAGE_DIRTY)
				store_unpromise(ov->store, 1);
			page_list_remove(st, p->state == PAGE_DIRTY ? &ov->dirty : &ov->clean, page);
			staging_put(st, page);
		}
		page = older;
	}
	if (e->slot)
		ov->released[ov->n_released++] = e->slot;
}

void overlay_forget_range(struct overlay *ov, uint32_t block, uint32_t count)
{
	map_remove_range(&ov->map, block, count, forget_entry, ov);
}

static int unmap_locked(struct overlay *ov, uint32_t block, uint32_t count)
{
	struct staging_desc d = {.epoch = ov->epoch, .block = block, .count = count, .type = STAGING_ZERO};
	uint32_t page;
	int r = overlay_reserve_released(ov, ov->map.count < count ? ov->map.count : count);

	if (r < 0)
		return r;
	/* Not asked for a promise: on a full store this is what makes room. */
	__atomic_add_fetch(&ov->store->promised, 1, __ATOMIC_RELAXED);
	page = overlay_take_page(ov);
	r = page ? map_zero(&ov->map, block, count) : -EAGAIN;
	if (r < 0) {
		if (page)
			staging_put(ov->st, page);
		store_unpromise(ov->store, 1);
		return r;
	}
	for (struct overlay_flush *f = ov->flushes; f; f = f->next)
		if (!f->written)
			f->target = UINT64_MAX - 1; /* the zero stands for what it was to make durable */
	/* First the word that the range is zero, then the data goes: a kill in between loses
	 * neither. */
	staging_publish(ov->st, page, &d);
	page_set(&ov->st->page[page], PAGE_DIRTY);
	page_list_push(ov->st, &ov->zeros, page);
	overlay_forget_range(ov, block, count);
	__atomic_store_n(&ov->store->full, false, __ATOMIC_RELAXED); /* there may be something to gain again */
	return 0;
}

int overlay_unmap(struct overlay *ov, uint32_t block, uint32_t count)
{
	int r = store_error(ov->store) ? -EIO : 0;

	if (r < 0)
		return r;
	pthread_mutex_lock(&ov->lock);
	r = unmap_locked(ov, block, count);
	if ((r == -EAGAIN || r == -EDQUOT) && ov->error && !ov->batches) {
		r = ov->error;
		ov->retry = true;
		ov->host.kick(ov, ov->host.arg);
	}
	if (r == -EAGAIN || ov->zeros.count >= RECORD_ENTRIES)
		ov->host.kick(ov, ov->host.arg);
	pthread_mutex_unlock(&ov->lock);
	return r;
}

/* --- what others may know --- */

bool overlay_is_kept(const struct overlay *ov)
{
	return ov->keep;
}

bool overlay_is_fresh(const struct overlay *ov)
{
	return ov->fresh;
}

uint64_t overlay_size(const struct overlay *ov)
{
	return ov->size;
}

uint32_t overlay_place(const struct overlay *ov)
{
	return ov->place;
}

uint8_t overlay_sectors(struct overlay *ov, uint32_t block)
{
	const struct map_entry *e;
	uint8_t sectors;

	pthread_mutex_lock(&ov->lock);
	e = map_get(&ov->map, block);
	sectors = map_is_zero(&ov->map, block) ? 0xff : 0;
	if (e)
		sectors |= (uint8_t)((e->slot ? e->mask : 0) | (e->page ? ov->st->desc[e->page].mask : 0));
	pthread_mutex_unlock(&ov->lock);
	return sectors;
}
