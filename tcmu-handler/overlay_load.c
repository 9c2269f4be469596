// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Opening an overlay: is it the right one, and what does it hold.
 *
 * Each segment is walked from its first block: a record tells how many data blocks follow, and the
 * next record stands behind them. The walk ends at the first block that is not a record of this
 * segment. Batches that some record says were durable are believed; the data of the younger ones is
 * read and compared with its checksums, and the first that does not match is blotted out (its
 * record is overwritten with zeros), and ends the segment: otherwise a later opening, which then
 * sees a later `durable`, would believe it.
 *
 * Then all batches are replayed in the order of their numbers, and what a killed process left in
 * staging comes on top, in the order of its sequence numbers.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tcmu-handler/crc32c.h"
#include "tcmu-handler/overlay_private.h"

#define DEPTH  16
#define BEHIND 16 /* blocks read at a time behind the end of a walk */

/* A batch that was found; entries behind it in memory. */
struct found {
	uint64_t number;
	uint32_t segment, position;
	uint16_t zeros, data;
	bool stray; /* behind the end of the walk of its segment */
	struct record_entry *entries;
};

struct loader {
	struct overlay *ov;
	struct io_queue *q;
	struct found *found;
	uint32_t count, room;
	uint32_t next_segment;
	uint64_t durable, newest;
	bool blotted;          /* something; not durable yet */
	uint32_t lost_segment; /* in which something is missing; SEGMENT_NONE */
	int error;
};

struct walk {
	struct io_op op;
	struct loader *ld;
	uint32_t segment, position;
	uint32_t count; /* blocks that are read: 1, or more behind the end */
	bool behind;    /* the end: looking for strays */
	uint8_t *block; /* room for BEHIND */
};

static void walk_next_segment(struct walk *w);

static int keep_batch(struct loader *ld, const struct record_head *head, const struct record_entry *entries,
		      uint32_t segment, bool stray)
{
	size_t n = (size_t)head->zeros + head->data;
	struct found *f;

	if (ld->count == ld->room) {
		uint32_t room = ld->room ? ld->room * 2 : 64;

		f = realloc(ld->found, room * sizeof(*f));
		if (!f)
			return -ENOMEM;
		ld->found = f;
		ld->room = room;
	}
	f = &ld->found[ld->count];
	f->number = head->batch;
	f->segment = segment;
	f->position = head->position;
	f->stray = stray;
	f->zeros = head->zeros;
	f->data = head->data;
	f->entries = malloc(n * sizeof(*entries) + 1);
	if (!f->entries)
		return -ENOMEM;
	memcpy(f->entries, entries, n * sizeof(*entries));
	ld->count++;
	if (head->durable > ld->durable)
		ld->durable = head->durable;
	if (head->batch > ld->newest)
		ld->newest = head->batch;
	return 0;
}

static void walk_read(struct walk *w, uint32_t count)
{
	const struct store *s = w->ld->ov->store;

	w->count = count;
	io_op_single(&w->op, IO_READ, s->fd, w->block, (size_t)count * STORE_BLOCK,
		     ((uint64_t)store_segment_block(s, w->segment) + w->position) * STORE_BLOCK);
	io_submit(w->ld->q, &w->op);
}

/* The record of this overlay and segment, at this very place. */
static bool decode_at(const struct walk *w, const uint8_t *block, uint32_t position, struct record_head *ret,
		      struct record_entry *entries)
{
	const struct store *s = w->ld->ov->store;

	return !record_decode(block, s->uuid, ret, entries) && ret->epoch == w->ld->ov->epoch &&
	       ret->segment == s->segment[w->segment].seq && ret->position == position &&
	       (!ret->home || ret->home == record_home(w->segment)) && position + 1u + ret->data <= s->segment_blocks;
}

/* Reads on to the end of the segment, or to the next one when there is nothing to look for. */
static void walk_behind(struct walk *w)
{
	uint32_t blocks = w->ld->ov->store->segment_blocks, left = blocks - w->position;

	/* One that was filled has no room for another batch. */
	if (!w->behind && left <= blocks / 32 + 1) {
		walk_next_segment(w);
		return;
	}
	w->behind = true;
	if (left)
		walk_read(w, left < BEHIND ? left : BEHIND);
	else
		walk_next_segment(w);
}

static void behind_done(struct walk *w)
{
	struct record_entry entries[RECORD_ENTRIES];
	struct record_head head;

	for (uint32_t i = 0; i < w->count && !w->ld->error; i++)
		if (decode_at(w, w->block + (size_t)i * STORE_BLOCK, w->position + i, &head, entries) && head.home)
			w->ld->error = keep_batch(w->ld, &head, entries, w->segment, true);
	w->position += w->count;
	walk_behind(w);
}

static void walk_done(struct io_op *op, int error)
{
	struct walk *w = op->arg;
	struct loader *ld = w->ld;
	struct record_entry entries[RECORD_ENTRIES];
	struct record_head head;

	if (error) {
		ld->error = error;
		return;
	}
	if (w->behind) {
		behind_done(w);
		return;
	}
	if (!decode_at(w, w->block, w->position, &head, entries)) {
		walk_behind(w);
		return;
	}
	error = keep_batch(ld, &head, entries, w->segment, false);
	if (error) {
		ld->error = error;
		return;
	}
	w->position += 1u + head.data;
	if (w->position >= ld->ov->store->segment_blocks)
		walk_next_segment(w);
	else
		walk_read(w, 1);
}

static void walk_next_segment(struct walk *w)
{
	struct loader *ld = w->ld;

	if (ld->error || ld->next_segment == SEGMENT_NONE)
		return;
	w->segment = ld->next_segment;
	w->position = 0;
	w->behind = false;
	ld->next_segment = ld->ov->store->segment[w->segment].next;
	walk_read(w, 1);
}

static int walk_all(struct loader *ld)
{
	struct walk *walks = calloc(DEPTH, sizeof(*walks));
	uint8_t *blocks = aligned_alloc(STORE_BLOCK, (size_t)DEPTH * BEHIND * STORE_BLOCK);

	if (!walks || !blocks) {
		free(walks);
		free(blocks);
		return -ENOMEM;
	}
	ld->next_segment = ld->ov->store->place[ld->ov->place].first_segment;
	for (unsigned int i = 0; i < DEPTH; i++) {
		walks[i].ld = ld;
		walks[i].block = blocks + (size_t)i * BEHIND * STORE_BLOCK;
		walks[i].op.done = walk_done;
		walks[i].op.arg = &walks[i];
		walk_next_segment(&walks[i]);
	}
	while (ld->q->in_flight)
		io_wait(ld->q, -1);
	free(walks);
	free(blocks);
	return ld->error;
}

/* By segment and position, for verifying; then by number, for the replay. */
static int by_place(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->segment != y->segment)
		return x->segment < y->segment ? -1 : 1;
	return x->position < y->position ? -1 : x->position > y->position;
}

static int by_number(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

/* 1: the data is what the record says; 0: it is not; -errno */
static int verify(struct loader *ld, const struct found *f, uint8_t *buffer)
{
	const struct store *s = ld->ov->store;
	uint64_t at = ((uint64_t)store_segment_block(s, f->segment) + f->position + 1) * STORE_BLOCK;
	int r = f->data ? io_sync(ld->q, IO_READ, s->fd, buffer, (size_t)f->data * STORE_BLOCK, at) : 0;

	if (r < 0)
		return r;
	for (unsigned int i = 0; i < f->data; i++)
		if (crc32c_4k(buffer + (size_t)i * STORE_BLOCK) != f->entries[f->zeros + i].crc)
			return 0;
	return 1;
}

static int blot_out(struct loader *ld, uint32_t segment, uint32_t position, uint8_t *buffer)
{
	const struct store *s = ld->ov->store;

	memset(buffer, 0, STORE_BLOCK);
	ld->blotted = true;
	return io_sync(ld->q, IO_WRITE, s->fd, buffer, STORE_BLOCK,
		       ((uint64_t)store_segment_block(s, segment) + position) * STORE_BLOCK);
}

/* Takes out what is not whole, and what stands behind it in the same segment. */
static int verify_all(struct loader *ld)
{
	uint8_t *buffer = aligned_alloc(STORE_BLOCK, (size_t)RECORD_ENTRIES * STORE_BLOCK);
	uint32_t good = 0, broken = SEGMENT_NONE;
	int r = buffer ? 0 : -ENOMEM;

	if (ld->count)
		qsort(ld->found, ld->count, sizeof(*ld->found), by_place);
	for (uint32_t i = 0; i < ld->count && r >= 0; i++) {
		struct found *f = &ld->found[i];

		if (f->segment != broken) {
			r = f->number <= ld->durable ? 1 : f->stray ? 0 : verify(ld, f, buffer);
			if (r == 1) {
				struct found keep = *f;

				ld->found[i] = ld->found[good];
				ld->found[good++] = keep;
				continue;
			}
			broken = f->segment;
		}
		/* Each of them: one that is left behind a hole would look like one that got lost. */
		if (r >= 0)
			r = blot_out(ld, f->segment, f->position, buffer);
	}
	/* Before anything new is durable by itself (io_op.sync), which would make numbers up to it count. */
	if (r >= 0 && ld->blotted)
		r = io_sync(ld->q, IO_FDATASYNC, ld->ov->store->fd, NULL, 0, 0);
	/* What was swapped behind `good` is freed with the rest. */
	for (uint32_t i = good; i < ld->count; i++)
		free(ld->found[i].entries);
	ld->count = good;
	free(buffer);
	return r < 0 ? r : 0;
}

static int replay_data(struct overlay *ov, const struct record_entry *entry, uint32_t slot)
{
	struct map_entry *e;
	int r;

	if (entry->block >= ov->map.blocks || !entry->mask)
		return -EUCLEAN;
	e = map_get(&ov->map, entry->block);
	if (!e) {
		r = map_reserve(&ov->map, 1);
		if (r < 0)
			return r;
		e = map_add(&ov->map, entry->block);
	} else {
		ov->store->segment[store_segment_of(ov->store, e->slot)].live--;
		ov->live_slots--;
	}
	e->slot = slot;
	e->mask = entry->mask;
	e->crc = entry->crc;
	ov->store->segment[store_segment_of(ov->store, slot)].live++;
	ov->live_slots++;
	return 0;
}

static void replay_gone(void *arg, const struct map_entry *e)
{
	struct overlay *ov = arg;

	ov->store->segment[store_segment_of(ov->store, e->slot)].live--;
	ov->live_slots--;
}

static int replay_zero(struct overlay *ov, const struct record_entry *entry)
{
	if (!entry->count || entry->block >= ov->map.blocks || entry->count > ov->map.blocks - entry->block)
		return -EUCLEAN;
	map_remove_range(&ov->map, entry->block, entry->count, replay_gone, ov);
	return map_zero(&ov->map, entry->block, entry->count);
}

static int replay(struct loader *ld)
{
	struct overlay *ov = ld->ov;
	struct store *s = ov->store;
	int r = 0;

	if (ld->count)
		qsort(ld->found, ld->count, sizeof(*ld->found), by_number);
	for (uint32_t i = 0; i < ld->count && !r; i++) {
		const struct found *f = &ld->found[i];
		struct store_segment *seg = &s->segment[f->segment];
		uint32_t slot = store_segment_block(s, f->segment) + f->position + 1;

		seg->zeros += f->stray ? 0 : f->zeros;
		if (!f->stray && seg->used < f->position + 1u + f->data)
			seg->used = f->position + 1u + f->data;
		for (unsigned int k = 0; k < f->zeros && !r; k++)
			r = replay_zero(ov, &f->entries[k]);
		for (unsigned int k = 0; k < f->data && !r; k++)
			r = replay_data(ov, &f->entries[f->zeros + k], slot + k);
	}
	return r;
}

/*
 * Strays are records that the walk of their segment did not come to, because something in front of them is not a
 * record. If that is a batch that a crash has prevented, none of them was durable, and verify_all() took them out. The
 * others were: then the segment had been given up, all of it, and was being used again when the machine or the process
 * stopped; or else something has been lost that was to be kept, which shows in one of them that still counts.
 */
static int look_at_strays(struct loader *ld)
{
	const struct overlay *ov = ld->ov;

	for (uint32_t i = 0; i < ld->count; i++) {
		const struct found *f = &ld->found[i];
		uint32_t slot = store_segment_block(ov->store, f->segment) + f->position + 1;

		for (unsigned int k = 0; f->stray && k < f->data; k++) {
			const struct map_entry *e = map_get(&ov->map, f->entries[f->zeros + k].block);

			if (e && e->slot == slot + k) {
				ld->lost_segment = f->segment;
				return -EUCLEAN;
			}
		}
	}
	return 0;
}

/* --- staging --- */

struct orphan {
	uint64_t seq;
	uint32_t page;
};

static int by_seq(const void *a, const void *b)
{
	const struct orphan *x = a, *y = b;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static int adopt_data(struct overlay *ov, uint32_t page)
{
	struct staging *st = ov->st;
	uint32_t block = st->desc[page].block;
	struct map_entry *e = map_get(&ov->map, block);
	int r;

	if (!e) {
		r = map_reserve(&ov->map, 1);
		if (r < 0)
			return r;
		e = map_add(&ov->map, block);
	}
	if (e->page) {
		/* The older one was on its way out; this one began as its copy. */
		page_list_remove(st, &ov->dirty, e->page);
		staging_put(st, e->page);
		store_unpromise(ov->store, 1);
	}
	e->page = page;
	page_list_push(st, &ov->dirty, page);
	return 0;
}

static int adopt_zero(struct overlay *ov, uint32_t page)
{
	const struct staging_desc *d = &ov->st->desc[page];
	int r = overlay_reserve_released(ov, ov->map.count);

	if (!r)
		r = map_zero(&ov->map, d->block, d->count);
	if (r < 0)
		return r;
	overlay_forget_range(ov, d->block, d->count);
	page_list_push(ov->st, &ov->zeros, page);
	return 0;
}

static int adopt(struct overlay *ov, uint32_t page)
{
	struct staging *st = ov->st;
	const struct staging_desc *d = &st->desc[page];
	int r;

	if (!d->count || d->block >= ov->map.blocks || d->count > ov->map.blocks - d->block) {
		staging_put(st, page); /* not from us */
		return 0;
	}
	page_set(&st->page[page], PAGE_DIRTY);
	r = d->type == STAGING_ZERO ? adopt_zero(ov, page) : adopt_data(ov, page);
	if (r < 0)
		page_set(&st->page[page], PAGE_ORPHAN);
	else
		__atomic_add_fetch(&ov->store->promised, 1, __ATOMIC_RELAXED);
	return r;
}

/* Takes the orphans of the epoch in; with `drop`, throws them away. */
static int take_orphans(struct staging *st, uint64_t epoch, struct overlay *ov)
{
	struct orphan *list = NULL;
	uint32_t n = 0;
	int r = 0;

	for (uint32_t page = 1; page < st->pages; page++)
		n += page_is_orphan(&st->page[page]) && st->desc[page].epoch == epoch;
	if (!n)
		return 0;
	list = malloc(n * sizeof(*list));
	if (!list)
		return -ENOMEM;
	n = 0;
	for (uint32_t page = 1; page < st->pages; page++)
		if (page_is_orphan(&st->page[page]) && st->desc[page].epoch == epoch) {
			list[n].seq = st->desc[page].seq;
			list[n++].page = page;
		}
	qsort(list, n, sizeof(*list), by_seq);
	for (uint32_t i = 0; i < n && !r; i++) {
		if (ov)
			r = adopt(ov, list[i].page);
		else
			staging_put(st, list[i].page);
	}
	free(list);
	return r;
}

/* --- opening --- */

int overlay_load(struct overlay *ov, struct sentence *err)
{
	struct loader ld = {.ov = ov, .lost_segment = SEGMENT_NONE};
	uint32_t segment;
	int r;

	for (segment = ov->store->place[ov->place].first_segment; segment != SEGMENT_NONE;
	     segment = ov->store->segment[segment].next) {
		struct store_segment *seg = &ov->store->segment[segment];

		seg->live = seg->zeros = seg->used = seg->pins = 0;
	}
	r = ov->store->io->queue_new(ov->store->io, &ld.q);
	if (!r)
		r = walk_all(&ld);
	if (!r)
		r = verify_all(&ld);
	if (!r)
		r = replay(&ld);
	if (!r)
		r = look_at_strays(&ld);
	for (uint32_t i = 0; i < ld.count; i++)
		free(ld.found[i].entries);
	free(ld.found);
	io_queue_free(ld.q);
	if (ld.lost_segment != SEGMENT_NONE)
		return sentence_fail(
			err, r,
			"The write-back is damaged: of what had been made durable something is missing from the "
			"store at byte %llu and behind it. Look at the disk under the store, and reset the client.",
			(unsigned long long)store_segment_block(ov->store, ld.lost_segment) * STORE_BLOCK);
	if (!r)
		r = take_orphans(ov->st, ov->epoch, ov);
	if (r < 0)
		return sentence_fail(err, r,
				     "The write-back cannot be read back from the store: %s; reset "
				     "the client to drop it.",
				     strerror(-r));
	ov->next_batch = ld.newest + 1;
	ov->completed = ld.newest;
	ov->durable = ld.durable;
	/* Segments in which nothing is alive go. */
	for (segment = ov->store->place[ov->place].first_segment; segment != SEGMENT_NONE;) {
		uint32_t next = ov->store->segment[segment].next;

		store_segment_drop(ov->store, segment, 0, 0, 0);
		segment = next;
	}
	return 0;
}

static int check_known(struct overlay *ov, const struct overlay_params *p, bool *ret_reset, struct sentence *err)
{
	const struct store_header *h = &ov->store->place[ov->place].header;
	bool lost = h->epoch && h->mode == STORE_DISCARD && memcmp(h->machine_boot, ov->store->machine_boot, 16);

	*ret_reset = true;
	if (!h->epoch || memcmp(h->reset, p->reset, 16))
		return 0;
	if ((!p->keep || h->mode == STORE_DISCARD) && memcmp(h->boot, p->boot, 16))
		return 0;
	*ret_reset = false;
	if (ov->store->place[ov->place].epoch_twice)
		return sentence_fail(
			err, -EUCLEAN,
			"The write-back store is damaged: two disks claim the same data there, of which this "
			"is one; reset the client.");
	if (lost)
		return sentence_fail(err, -ENODATA,
				     "The server itself was restarted, and with it went what this PC "
				     "had written since it booted; restart the PC.");
	if (strcmp(h->generation, p->generation)) {
		if (!p->keep)
			return sentence_fail(err, -ESTALE,
					     "The PC booted from \"%s\" and the disk is now \"%s\"; "
					     "restart the PC.",
					     h->generation, p->generation);
		return sentence_fail(err, -ESTALE,
				     "The kept write-back belongs to \"%s\" and cannot be laid over "
				     "\"%s\"; give the client the old generation, or reset it.",
				     h->generation, p->generation);
	}
	if (h->size != p->size)
		return sentence_fail(err, -ESTALE,
				     "The write-back belongs to a disk of %llu bytes and this one "
				     "has %llu; reset the client.",
				     (unsigned long long)h->size, (unsigned long long)p->size);
	return 0;
}

static void fill_header(struct store_header *h, const struct overlay_params *p, const struct store *s, uint64_t epoch)
{
	memset(h, 0, sizeof(*h));
	memcpy(h->uuid, p->uuid, 16);
	memcpy(h->boot, p->boot, 16);
	memcpy(h->reset, p->reset, 16);
	memcpy(h->machine_boot, s->machine_boot, 16);
	h->epoch = epoch;
	h->size = p->size;
	h->mode = p->keep ? STORE_KEEP : STORE_DISCARD;
	snprintf(h->generation, sizeof(h->generation), "%s", p->generation);
}

/* Makes the overlay that the parameters ask for of the place. */
static int open_place(struct overlay *ov, const struct overlay_params *p, struct sentence *err)
{
	struct store *s = ov->store;
	struct store_header *old = &s->place[ov->place].header, header;
	uint64_t old_epoch = old->epoch;
	bool was_keep = old->epoch && old->mode == STORE_KEEP;
	bool reset;
	int r = check_known(ov, p, &reset, err);

	if (r < 0)
		return r;
	ov->fresh = reset;
	ov->epoch = reset ? store_new_id(s) : old_epoch;
	fill_header(&header, p, s, ov->epoch);
	if (!reset) {
		if (memcmp(old, &header, sizeof(header)))
			r = store_write_header(s, ov->place, &header, p->keep);
	} else {
		r = store_reset(s, ov->place, &header, p->keep || was_keep);
		if (!r && old_epoch)
			take_orphans(ov->st, old_epoch, NULL);
	}
	if (r < 0)
		return sentence_fail(err, r, "The write-back store cannot be written: %s.", strerror(-r));
	return reset ? 0 : overlay_load(ov, err);
}

int overlay_open(struct overlay **ret, const struct overlay_params *p, struct sentence *err)
{
	struct overlay *ov;
	uint64_t blocks = (p->size + OVERLAY_BLOCK - 1) / OVERLAY_BLOCK;
	int r;

	if (!p->size || p->size % OVERLAY_SECTOR || blocks > MAP_BLOCKS_MAX)
		return sentence_fail(err, -EFBIG,
				     "A disk of %llu bytes cannot have a write-back: the most is 16 "
				     "TiB, in sectors of 512 bytes.",
				     (unsigned long long)p->size);
	if (strlen(p->generation) > STORE_GENERATION_MAX)
		return sentence_fail(err, -EINVAL, "The name of the generation is longer than %u bytes.",
				     STORE_GENERATION_MAX);
	ov = calloc(1, sizeof(*ov));
	if (!ov)
		return sentence_fail(err, -ENOMEM, "There is no memory for the disk.");
	ov->store = p->store;
	ov->st = p->staging;
	ov->host = p->host;
	ov->size = p->size;
	ov->keep = p->keep;
	ov->next_batch = 1;
	ov->first_failed = UINT64_MAX;
	ov->open_segment = SEGMENT_NONE;
	pthread_mutex_init(&ov->lock, NULL);
	r = map_init(&ov->map, (uint32_t)blocks);
	if (r < 0) {
		sentence_fail(err, r, "There is no memory for the map of the disk.");
		goto fail;
	}
	r = store_place(p->store, p->uuid, &ov->place, err);
	if (r < 0)
		goto fail;
	r = open_place(ov, p, err);
	if (r < 0) {
		overlay_free(ov);
		return r;
	}
	store_place_loaded(p->store, ov->place);
	*ret = ov;
	return 0;
fail:
	map_done(&ov->map);
	pthread_mutex_destroy(&ov->lock);
	free(ov);
	return r;
}
