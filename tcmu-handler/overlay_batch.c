// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writing an overlay out, and making it durable.
 *
 * A batch is a record and the data blocks that it describes, behind each other in the overlay's
 * open segment, written with one write. First come all zero entries that wait, then the oldest
 * dirty pages: every page in memory is newer than any unmap of its block, so zeros before data is
 * their order. A page whose older version is still on its way waits for it.
 *
 * Partial pages are merged with what the store has of their block before (or with zeros), so an
 * entry always stands for the whole of what the overlay knows of the block, and the last entry for
 * a block is all that a replay needs.
 *
 * Batches end in order. One that failed gives its pages back, and so do the later ones of the same
 * segment: a replay stops at the first record that is not whole, so what lies behind it does not
 * exist. The segment is not used again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tcmu-handler/crc32c.h"
#include "tcmu-handler/overlay_private.h"
#include "tcmu-handler/trace.h"

#define BATCHES_MAX 8

struct merge {
	struct io_op op;
	struct batch *batch;
	unsigned int entry;
	uint32_t segment;
	uint8_t *block;
	uint32_t crc; /* that the block is to have */
	struct merge *next;
};

struct batch {
	struct overlay *ov;
	struct batch *next;
	struct io_queue *q;
	uint64_t number, segment_seq;
	uint32_t segment, position;
	unsigned int zeros, data;
	uint32_t page[RECORD_ENTRIES];
	struct record_entry entry[RECORD_ENTRIES];
	struct iovec iov[RECORD_ENTRIES + 1];
	struct io_op op;
	uint8_t *record;
	uint32_t n_released;
	struct merge *merges;
	unsigned int merging;
	struct overlay_restated *restated; /* the zero entries have no pages */
	bool sync;                         /* durable when it has ended */
	uint64_t started_ns;               /* sync */
	bool ended;
	int error;
};

static void batch_free(struct batch *b)
{
	if (!b)
		return;
	while (b->merges) {
		struct merge *m = b->merges;

		b->merges = m->next;
		free(m->block);
		free(m);
	}
	free(b->record);
	free(b);
}

static struct batch *batch_new(struct overlay *ov)
{
	struct batch *b = ov->spare;
	uint8_t *record;

	if (b) {
		ov->spare = NULL;
		record = b->record;
		memset(b, 0, offsetof(struct batch, page));
		memset(&b->op, 0, sizeof(*b) - offsetof(struct batch, op));
	} else {
		b = calloc(1, sizeof(*b));
		record = aligned_alloc(STORE_BLOCK, STORE_BLOCK);
		if (!b || !record) {
			free(b);
			free(record);
			return NULL;
		}
	}
	b->record = record;
	b->ov = ov;
	return b;
}

/* --- a segment to write to --- */

static void seal_segment(struct overlay *ov)
{
	uint32_t segment = ov->open_segment;

	if (segment == SEGMENT_NONE)
		return;
	ov->open_segment = SEGMENT_NONE;
	store_segment_drop(ov->store, segment, 1, 0, 0);
}

static void reclaim_sync_done(struct store_sync *sync, int error)
{
	(void)error;
	free(sync);
}

/* Room for a record and `*data` blocks; *data may become smaller. */
static int make_room(struct overlay *ov, struct io_queue *q, unsigned int *data)
{
	uint32_t blocks = ov->store->segment_blocks;
	int r;

	if (ov->open_segment != SEGMENT_NONE) {
		uint32_t left = blocks - ov->open_used;

		if (left >= *data + 1)
			return 0;
		if (left >= 2 && left > blocks / 32) {
			*data = left - 1;
			return 0;
		}
		seal_segment(ov);
	}
	r = store_segment_get(ov->store, ov->place, &ov->open_segment);
	if (r < 0) {
		ov->open_segment = SEGMENT_NONE;
		__atomic_store_n(&ov->starved, true, __ATOMIC_RELAXED);
		if (r == -EAGAIN) {
			struct store_sync *sync = calloc(1, sizeof(*sync));

			if (!sync)
				return -ENOMEM;
			sync->done = reclaim_sync_done;
			store_sync(ov->store, q, sync);
		}
		return r;
	}
	ov->open_used = 0;
	if (*data + 1 > blocks)
		*data = blocks - 1;
	return 0;
}

/* --- making a batch --- */

static unsigned int count_ready(const struct overlay *ov, unsigned int limit)
{
	unsigned int n = 0;

	for (uint32_t page = ov->dirty.head; page && n < limit; page = ov->st->page[page].next)
		n += !ov->st->page[page].older;
	return n;
}

static void take_pages(struct overlay *ov, struct batch *b, unsigned int zeros, unsigned int data)
{
	struct staging *st = ov->st;

	while (b->zeros < zeros) {
		uint32_t page = ov->zeros.head;

		b->entry[b->zeros].block = st->desc[page].block;
		b->entry[b->zeros].count = st->desc[page].count;
		b->entry[b->zeros].mask = 0;
		page_list_remove(st, &ov->zeros, page);
		page_set(&st->page[page], PAGE_WRITING);
		b->page[b->zeros++] = page;
	}
	for (uint32_t page = ov->dirty.head, next; page && b->data < data; page = next) {
		unsigned int i = b->zeros + b->data;

		next = st->page[page].next;
		if (st->page[page].older)
			continue;
		page_list_remove(st, &ov->dirty, page);
		page_set(&st->page[page], PAGE_WRITING);
		b->entry[i].block = st->desc[page].block;
		b->entry[i].count = 1;
		b->page[i] = page;
		b->data++;
	}
	store_unpromise(ov->store, b->zeros + b->data);
}

/* What of the block must be added to the page, from the slot or as zeros. 0, or -ENOMEM. */
static int prepare_merge(struct overlay *ov, struct batch *b, unsigned int i)
{
	struct staging_desc *d = &ov->st->desc[b->page[i]];
	const struct map_entry *e = map_get(&ov->map, d->block);
	struct merge *m;

	if (d->mask == 0xff)
		return 0;
	if (e && e->slot && (e->mask & ~d->mask)) {
		m = calloc(1, sizeof(*m));
		if (m)
			m->block = aligned_alloc(STORE_BLOCK, STORE_BLOCK);
		if (!m || !m->block) {
			free(m);
			return -ENOMEM;
		}
		m->batch = b;
		m->entry = i;
		m->segment = store_segment_of(ov->store, e->slot);
		m->crc = e->crc;
		store_segment_pin(ov->store, m->segment);
		io_op_single(&m->op, IO_READ, ov->store->fd, m->block, STORE_BLOCK, (uint64_t)e->slot * STORE_BLOCK);
		m->next = b->merges;
		b->merges = m;
		b->merging++;
		b->entry[i].mask = e->mask; /* until merged */
		return 0;
	}
	if (map_is_zero(&ov->map, d->block) && !(e && e->slot)) {
		for (unsigned int s = 0; s < 8; s++)
			if (!(d->mask >> s & 1))
				memset(staging_data(ov->st, b->page[i]) + s * OVERLAY_SECTOR, 0, OVERLAY_SECTOR);
		d->mask = 0xff;
	}
	return 0;
}

static void batch_ended(struct batch *b, int error);

static void write_done(struct io_op *op, int error)
{
	batch_ended(op->arg, error);
}

/* All pages are whole: the record is made, and everything goes out. */
static void batch_write(struct batch *b)
{
	struct overlay *ov = b->ov;
	struct record_head head = {.epoch = ov->epoch,
				   .batch = b->number,
				   .position = (uint16_t)b->position,
				   .zeros = (uint16_t)b->zeros,
				   .data = (uint16_t)b->data,
				   .home = record_home(b->segment)};
	unsigned int n = 1;

	memcpy(head.store, ov->store->uuid, 16);
	head.segment = ov->store->segment[b->segment].seq;
	head.durable = ov->keep ? ov->durable : ov->completed;
	if (head.durable >= ov->first_failed)
		head.durable = ov->first_failed - 1;
	b->iov[0].iov_base = b->record;
	b->iov[0].iov_len = STORE_BLOCK;
	for (unsigned int i = b->zeros; i < b->zeros + b->data; i++) {
		uint8_t *data = staging_data(ov->st, b->page[i]);
		struct iovec *last = &b->iov[n - 1];

		b->entry[i].mask = ov->st->desc[b->page[i]].mask;
		b->entry[i].crc = crc32c_4k(data);
		if (n > 1 && (uint8_t *)last->iov_base + last->iov_len == data) {
			last->iov_len += STORE_BLOCK;
			continue;
		}
		b->iov[n].iov_base = data;
		b->iov[n++].iov_len = STORE_BLOCK;
	}
	record_encode(b->record, &head, b->entry);
	b->op.type = IO_WRITE;
	b->op.fd = ov->store->fd;
	b->op.iov = b->iov;
	b->op.iov_cnt = n;
	b->op.offset = ((uint64_t)store_segment_block(ov->store, b->segment) + b->position) * STORE_BLOCK;
	b->op.sync = b->sync;
	if (b->sync)
		b->started_ns = store_now_ns();
	b->op.done = write_done;
	b->op.arg = b;
	TRACE(batch_write, ov->place, b->number, b->zeros, b->data);
	io_submit(b->q, &b->op);
}

static void merge_done(struct io_op *op, int error)
{
	struct merge *m = op->arg;
	struct batch *b = m->batch;
	struct overlay *ov = b->ov;
	uint32_t page = b->page[m->entry];
	uint8_t *data = staging_data(ov->st, page);
	uint8_t *mask = &ov->st->desc[page].mask;
	uint8_t from = b->entry[m->entry].mask;

	/* What has rotted on the disk is not given a new checksum. */
	if (!error && crc32c_4k(m->block) != m->crc)
		error = -EUCLEAN;
	if (error == -EUCLEAN)
		ov->host.damaged(ov, m->op.offset, ov->host.arg);
	pthread_mutex_lock(&ov->lock);
	if (error)
		b->error = error;
	for (unsigned int s = 0; !error && s < 8; s++)
		if ((from & ~*mask) >> s & 1)
			memcpy(data + s * OVERLAY_SECTOR, m->block + s * OVERLAY_SECTOR, OVERLAY_SECTOR);
	if (!error)
		*mask |= from;
	pthread_mutex_unlock(&ov->lock);
	store_segment_drop(ov->store, m->segment, 1, 0, 0);
	if (--b->merging)
		return;
	if (b->error)
		batch_ended(b, b->error);
	else
		batch_write(b);
}

/* Puts the batch at the end of those in flight, at the end of the open segment; lock held. */
static void begin_batch(struct overlay *ov, struct io_queue *q, struct batch *b)
{
	b->q = q;
	b->number = ov->next_batch++;
	b->segment = ov->open_segment;
	b->segment_seq = ov->store->segment[b->segment].seq;
	b->position = ov->open_used;
	b->sync = false;
	if (ov->last)
		ov->last->next = b;
	else
		ov->first = b;
	ov->last = b;
	ov->batches++;
	__atomic_add_fetch(&ov->store->writing, 1, __ATOMIC_RELAXED);
	store_segment_pin(ov->store, b->segment);
}

/*
 * A flush waits for this batch and nothing else, and nobody else writes: it is made durable by its
 * own write, which is one turn with the disk and not two, and no thread of the kernel in between.
 * Among many, one fdatasync for all of them is cheaper. All pages are taken, lock held.
 */
static bool flushes_alone(const struct overlay *ov, const struct batch *b)
{
	return ov->keep && ov->flushes && !ov->dirty.count && !ov->zeros.count && ov->batches == 1 &&
	       ov->durable == b->number - 1 && !ov->syncing &&
	       __atomic_load_n(&ov->store->writing, __ATOMIC_RELAXED) == 1 &&
	       !__atomic_load_n(&ov->store->syncing, __ATOMIC_RELAXED);
}

/* Lock held. 0: made and in flight (or nothing to do); -errno. */
static struct batch *make_batch(struct overlay *ov, struct io_queue *q, int *ret_error)
{
	unsigned int zeros = ov->zeros.count < RECORD_ENTRIES ? ov->zeros.count : RECORD_ENTRIES;
	unsigned int data = zeros < ov->zeros.count ? 0 : count_ready(ov, RECORD_ENTRIES - zeros);
	struct batch *b;

	*ret_error = 0;
	if (!zeros && !data)
		return NULL;
	b = batch_new(ov);
	if (!b) {
		*ret_error = -ENOMEM;
		return NULL;
	}
	*ret_error = overlay_reserve_released(ov, data);
	if (!*ret_error)
		*ret_error = make_room(ov, q, &data);
	if (*ret_error || (!zeros && !data)) {
		batch_free(b);
		return NULL;
	}
	begin_batch(ov, q, b);
	take_pages(ov, b, zeros, data);
	b->sync = flushes_alone(ov, b);
	ov->open_used += 1 + b->data;
	b->n_released = ov->n_released - ov->released_taken;
	ov->released_taken = ov->n_released;
	ov->released_reserve += b->data;
	for (unsigned int i = b->zeros; i < b->zeros + b->data && !b->error; i++)
		b->error = prepare_merge(ov, b, i);
	return b;
}

/* --- the end of a batch --- */

void overlay_drop_slot(struct overlay *ov, uint32_t slot)
{
	store_segment_drop(ov->store, store_segment_of(ov->store, slot), 0, 1, 0);
	ov->live_slots--;
}

/* The page is in the store at `slot`. */
static void page_written(struct overlay *ov, uint32_t page, uint32_t slot, uint32_t crc)
{
	struct staging *st = ov->st;
	struct page *p = &st->page[page];
	struct map_entry *e;

	if (p->dead) {
		/* Unmapped meanwhile: a later record says so, the slot goes with that or with the
		 * next. */
		ov->released[ov->n_released++] = slot;
		staging_put(st, page);
		return;
	}
	e = map_get(&ov->map, st->desc[page].block);
	if (e->slot)
		overlay_drop_slot(ov, e->slot);
	e->slot = slot;
	e->mask = st->desc[page].mask;
	e->crc = crc;
	if (e->page != page) {
		st->page[p->newer].older = 0;
		staging_put(st, page);
		return;
	}
	__atomic_store_n(&st->desc[page].seq, 0, __ATOMIC_RELEASE);
	page_set(p, PAGE_CLEAN);
	page_list_push(st, &ov->clean, page);
}

static void batch_succeeded(struct overlay *ov, struct batch *b)
{
	struct store *s = ov->store;
	uint32_t slot = store_segment_block(s, b->segment) + b->position + 1;
	struct store_segment *seg = &s->segment[b->segment];

	pthread_mutex_lock(&s->lock);
	seg->live += b->data;
	seg->zeros += b->zeros;
	seg->used = b->position + 1 + b->data;
	pthread_mutex_unlock(&s->lock);
	ov->live_slots += b->data;
	__atomic_add_fetch(&s->progress, 1, __ATOMIC_RELAXED);
	for (unsigned int i = 0; !b->restated && i < b->zeros; i++)
		staging_put(ov->st, b->page[i]);
	for (unsigned int i = 0; i < b->data; i++)
		page_written(ov, b->page[b->zeros + i], slot + i, b->entry[b->zeros + i].crc);
	for (uint32_t i = 0; i < b->n_released; i++)
		overlay_drop_slot(ov, ov->released[i]);
	ov->n_released -= b->n_released;
	if (b->n_released)
		memmove(ov->released, ov->released + b->n_released, ov->n_released * sizeof(*ov->released));
	ov->slots_written += b->data;
	ov->blocks_written += b->data + 1;
	ov->error = 0;
}

/* The page was not written: dirty again, unless a newer one has all of it. */
static void page_back(struct overlay *ov, uint32_t page, struct page_list *list)
{
	struct staging *st = ov->st;
	struct page *p = &st->page[page];

	if (p->dead || p->newer) {
		if (p->newer)
			st->page[p->newer].older = 0;
		staging_put(st, page);
		return;
	}
	page_set(p, PAGE_DIRTY);
	page_list_push_front(st, list, page);
	__atomic_add_fetch(&ov->store->promised, 1, __ATOMIC_RELAXED);
}

static void turn_round(uint32_t *list, uint32_t count)
{
	for (uint32_t i = 0; i < count / 2; i++) {
		uint32_t x = list[i];

		list[i] = list[count - 1 - i];
		list[count - 1 - i] = x;
	}
}

/* The first `n` go to the end. */
static void rotate(uint32_t *list, uint32_t count, uint32_t n)
{
	turn_round(list, n);
	turn_round(list + n, count - n);
	turn_round(list, count);
}

static void batch_failed(struct overlay *ov, struct batch *b)
{
	ov->broken_seq = b->segment_seq;
	if (ov->open_segment == b->segment)
		seal_segment(ov);
	for (unsigned int i = b->data; i-- > 0;)
		page_back(ov, b->page[b->zeros + i], &ov->dirty);
	for (unsigned int i = b->restated ? 0 : b->zeros; i-- > 0;)
		page_back(ov, b->page[i], &ov->zeros);
	rotate(ov->released, ov->n_released, b->n_released);
	/* What went back is newer to the flushes than it was: its successors may be, and they stand
	 * for it now. */
	for (struct overlay_flush *f = ov->flushes; f; f = f->next)
		if (f->batch >= b->number || !f->written) {
			f->written = false;
			f->target = staging_seq(ov->st);
		}
	if (b->number < ov->first_failed)
		ov->first_failed = b->number;
	ov->error = b->error ? b->error : -EIO;
}

static void end_batches(struct overlay *ov)
{
	while (ov->first && ov->first->ended) {
		struct batch *b = ov->first;

		ov->first = b->next;
		if (!ov->first)
			ov->last = NULL;
		ov->batches--;
		__atomic_sub_fetch(&ov->store->writing, 1, __ATOMIC_RELAXED);
		if (b->error || b->segment_seq == ov->broken_seq)
			batch_failed(ov, b);
		else
			batch_succeeded(ov, b);
		if (b->sync && !b->error && b->segment_seq != ov->broken_seq) {
			ov->durable = b->number;
			store_synced_alone(ov->store, b->started_ns);
		}
		ov->released_taken -= b->n_released;
		ov->released_reserve -= b->data;
		if (!ov->n_released && !ov->released_reserve) {
			free(ov->released);
			ov->released = NULL;
			ov->released_room = 0;
		}
		ov->completed = b->number;
		store_segment_drop(ov->store, b->segment, 1, 0, 0);
		if (b->restated)
			b->restated->done(b->restated, b->error || b->segment_seq == ov->broken_seq ? -EIO : 0);
		while (b->merges) {
			struct merge *m = b->merges;

			b->merges = m->next;
			free(m->block);
			free(m);
		}
		if (!ov->spare)
			ov->spare = b;
		else
			batch_free(b);
	}
}

static void batch_ended(struct batch *b, int error)
{
	struct overlay *ov = b->ov;
	struct io_queue *q = b->q;

	TRACE(batch_end, ov->place, b->number, error);
	pthread_mutex_lock(&ov->lock);
	b->ended = true;
	b->error = error;
	end_batches(ov);
	ov->host.pages(ov, ov->host.arg);
	pthread_mutex_unlock(&ov->lock);
	overlay_work(ov, q, false);
}

static void batch_start(struct batch *b)
{
	struct merge *m = b->merges;

	if (b->error && !b->merging) {
		batch_ended(b, b->error);
		return;
	}
	if (!m) {
		batch_write(b);
		return;
	}
	/* The last completion may end the batch: none can come before the queue is waited for. */
	for (; m; m = m->next) {
		m->op.done = merge_done;
		m->op.arg = m;
		io_submit(b->q, &m->op);
	}
}

int overlay_restate(struct overlay *ov, struct io_queue *q, const struct record_entry *entries, unsigned int count,
		    struct overlay_restated *restated)
{
	struct batch *b = batch_new(ov);
	unsigned int none = 0;
	int r = b ? make_room(ov, q, &none) : -ENOMEM;

	if (r < 0) {
		batch_free(b);
		return r;
	}
	begin_batch(ov, q, b);
	ov->open_used++;
	memcpy(b->entry, entries, count * sizeof(*entries));
	b->zeros = count;
	b->restated = restated;
	batch_write(b);
	return 0;
}

/* --- flushes --- */

static uint64_t oldest_dirty(const struct overlay *ov)
{
	uint64_t a = ov->dirty.head ? ov->st->desc[ov->dirty.head].seq : UINT64_MAX;
	uint64_t b = ov->zeros.head ? ov->st->desc[ov->zeros.head].seq : UINT64_MAX;

	return a < b ? a : b;
}

/* Takes the flushes out that have ended, with their results; lock held. */
static struct overlay_flush *ended_flushes(struct overlay *ov, bool *ret_sync)
{
	struct overlay_flush *ended = NULL, **p = &ov->flushes;
	int error = store_error(ov->store) ? -EIO : 0;

	*ret_sync = false;
	while (*p) {
		struct overlay_flush *f = *p;

		if (!f->written && oldest_dirty(ov) > f->target) {
			f->written = true;
			f->batch = ov->next_batch - 1;
		}
		/* Tried, failed, and nothing under way that could help. */
		f->error = error ? error : !f->written && ov->error && !ov->batches && !ov->retry ? ov->error : 0;
		if (f->error || (f->written && ov->completed >= f->batch && (!ov->keep || ov->durable >= f->batch))) {
			*p = f->next;
			f->next = ended;
			ended = f;
			continue;
		}
		if (f->written && ov->completed >= f->batch)
			*ret_sync = true;
		p = &f->next;
	}
	return ended;
}

static void finish_flushes(struct overlay_flush *ended)
{
	while (ended) {
		struct overlay_flush *f = ended;

		ended = f->next;
		f->done(f, f->error);
	}
}

static void sync_done(struct store_sync *sync, int error)
{
	struct overlay *ov = (struct overlay *)((char *)sync - offsetof(struct overlay, sync));
	struct overlay_flush *ended;
	bool again;

	pthread_mutex_lock(&ov->lock);
	if (!error && ov->sync_batch > ov->durable)
		ov->durable = ov->sync_batch;
	ended = ended_flushes(ov, &again);
	ov->syncing = false;
	ov->host.kick(ov, ov->host.arg);
	pthread_mutex_unlock(&ov->lock);
	finish_flushes(ended);
}

int overlay_flush(struct overlay *ov, struct overlay_flush *flush)
{
	int r = 0;

	if (store_error(ov->store))
		return -EIO;
	if (!ov->keep)
		return 0;
	pthread_mutex_lock(&ov->lock);
	if (ov->dirty.count || ov->zeros.count || ov->durable < ov->next_batch - 1) {
		flush->target = staging_seq(ov->st);
		flush->written = false;
		flush->batch = 0;
		flush->next = ov->flushes;
		ov->flushes = flush;
		ov->retry = true;
		ov->host.kick(ov, ov->host.arg);
		r = 1;
	}
	pthread_mutex_unlock(&ov->lock);
	return r;
}

/* --- the engine thread's turn --- */

static bool more_to_write(const struct overlay *ov)
{
	uint64_t promised = __atomic_load_n(&ov->store->promised, __ATOMIC_RELAXED);

	if (ov->batches >= BATCHES_MAX || store_error(ov->store))
		return false;
	if (ov->write_all || ov->zeros.count >= RECORD_ENTRIES)
		return true;
	for (const struct overlay_flush *f = ov->flushes; f; f = f->next)
		if (!f->written)
			return true;
	return promised > ov->st->pages / 4 * 3 || (ov->dirty.count >= RECORD_ENTRIES && promised > ov->st->pages / 2);
}

static void write_out(struct overlay *ov, struct io_queue *q)
{
	bool attempt;

	pthread_mutex_lock(&ov->lock);
	attempt = !ov->error || ov->retry;
	ov->retry = false;
	while (attempt && more_to_write(ov)) {
		int error;
		struct batch *b = make_batch(ov, q, &error);

		attempt = !ov->error;
		if (error && error != -EAGAIN)
			ov->error = error;
		if (!b)
			break;
		/* Its completions come from this very thread, later: the lock may go. */
		pthread_mutex_unlock(&ov->lock);
		batch_start(b);
		pthread_mutex_lock(&ov->lock);
	}
	if (!ov->dirty.count && !ov->zeros.count)
		ov->write_all = false;
	pthread_mutex_unlock(&ov->lock);
}

void overlay_work(struct overlay *ov, struct io_queue *q, bool all)
{
	struct overlay_flush *ended;
	bool want_sync, sync = false;

	pthread_mutex_lock(&ov->lock);
	__atomic_store_n(&ov->starved, false, __ATOMIC_RELAXED);
	if (all)
		ov->write_all = ov->retry = true;
	end_batches(ov);
	pthread_mutex_unlock(&ov->lock);
	write_out(ov, q);
	pthread_mutex_lock(&ov->lock);
	ended = ended_flushes(ov, &want_sync);
	if (want_sync && !ov->syncing) {
		ov->syncing = sync = true;
		ov->sync_batch = ov->completed;
		ov->sync.done = sync_done;
	}
	pthread_mutex_unlock(&ov->lock);
	if (sync)
		store_sync(ov->store, q, &ov->sync);
	finish_flushes(ended);
}

bool overlay_quiet(struct overlay *ov, int *ret_error)
{
	bool quiet;

	pthread_mutex_lock(&ov->lock);
	*ret_error = ov->error ? ov->error : store_error(ov->store);
	quiet = !ov->batches && !ov->cleaning && !ov->syncing && !ov->flushes &&
		((!ov->dirty.count && !ov->zeros.count) || *ret_error);
	pthread_mutex_unlock(&ov->lock);
	return quiet;
}

bool overlay_has_dirty(struct overlay *ov, int *ret_error)
{
	bool dirty;

	pthread_mutex_lock(&ov->lock);
	dirty = ov->dirty.count || ov->zeros.count;
	*ret_error = ov->error;
	pthread_mutex_unlock(&ov->lock);
	return dirty;
}

void overlay_write_all(struct overlay *ov, bool again)
{
	pthread_mutex_lock(&ov->lock);
	ov->write_all = true;
	ov->retry |= again;
	pthread_mutex_unlock(&ov->lock);
}

bool overlay_is_starved(const struct overlay *ov)
{
	return __atomic_load_n(&ov->starved, __ATOMIC_RELAXED);
}

bool overlay_is_idle(struct overlay *ov)
{
	bool idle;

	pthread_mutex_lock(&ov->lock);
	idle = !ov->batches && !overlay_is_starved(ov);
	pthread_mutex_unlock(&ov->lock);
	return idle;
}

size_t overlay_memory(const struct overlay *ov)
{
	return sizeof(*ov) + ov->map.bytes + ov->released_room * sizeof(*ov->released) +
	       (ov->spare ? sizeof(struct batch) + STORE_BLOCK : 0);
}

void overlay_gauges(struct overlay *ov, struct overlay_gauges *ret)
{
	pthread_mutex_lock(&ov->lock);
	ret->live_bytes = ov->live_slots * STORE_BLOCK;
	ret->zero_bytes = (uint64_t)ov->map.zero_blocks * OVERLAY_BLOCK;
	ret->written_bytes = ov->blocks_written * STORE_BLOCK;
	ret->memory = overlay_memory(ov);
	pthread_mutex_unlock(&ov->lock);
}

void overlay_free(struct overlay *ov)
{
	struct staging *st;

	if (!ov)
		return;
	st = ov->st;
	seal_segment(ov);
	while (ov->clean.head)
		overlay_reclaim(ov, UINT32_MAX);
	/* What could not be written stays in staging. */
	for (struct page_list *list = &ov->dirty; list; list = list == &ov->dirty ? &ov->zeros : NULL)
		while (list->head) {
			uint32_t page = list->head;

			page_list_remove(st, list, page);
			page_set(&st->page[page], PAGE_ORPHAN);
			store_unpromise(ov->store, 1);
		}
	store_place_release(ov->store, ov->place);
	batch_free(ov->spare);
	free(ov->released);
	map_done(&ov->map);
	pthread_mutex_destroy(&ov->lock);
	free(ov);
}
