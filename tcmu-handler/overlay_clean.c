// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Cleaning: making a segment free that has only a few live blocks.
 *
 * The segment is read whole, and its records are walked. A data block that the map still points at
 * becomes a dirty page, as if the guest had written the same again, and finds its new place with
 * the next batches. When its old slot has been dropped by that, the segment dies by itself.
 *
 * A zero entry matters as long as some of its blocks have nothing newer in the log. These are
 * stated again in a batch of zero entries (no data of theirs can be overtaken: a block whose data
 * is just on its way makes us come back later).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tcmu-handler/crc32c.h"
#include "tcmu-handler/overlay_private.h"

#define BATCHES_AT_ONCE 64 /* of zero entries */

struct cleaning {
	struct overlay_restated restated; /* first */
	struct overlay *ov;
	struct io_queue *q;
	struct io_op op;
	uint8_t *buffer;
	uint32_t segment, moved;
	uint32_t zeros;    /* entries to give up when all is well */
	unsigned int left; /* batches of zero entries in flight, and one for the walk */
	bool failed;
	struct record_entry entry[RECORD_ENTRIES]; /* zero entries that are gathered */
	unsigned int entries, batches;
};

/* Lock held. The last one out frees the zero entries of the segment. */
static void one_less(struct cleaning *c)
{
	if (--c->left)
		return;
	if (!c->failed && c->zeros)
		store_segment_drop(c->ov->store, c->segment, 0, 0, c->zeros);
	c->ov->write_all = true;
	c->ov->cleaning = false;
	store_cleaned(c->ov->store, c->segment, c->moved);
	c->ov->host.kick(c->ov, c->ov->host.arg);
	free(c->buffer);
	free(c);
}

static void restated_done(struct overlay_restated *restated, int error)
{
	struct cleaning *c = (struct cleaning *)restated;

	if (error)
		c->failed = true;
	one_less(c);
}

static int send_entries(struct cleaning *c)
{
	int r;

	if (!c->entries)
		return 0;
	if (c->batches++ == BATCHES_AT_ONCE)
		return -EAGAIN; /* a wildly cut range: not worth it */
	r = overlay_restate(c->ov, c->q, c->entry, c->entries, &c->restated);
	if (!r)
		c->left++;
	c->entries = 0;
	return r;
}

static int add_entry(struct cleaning *c, uint32_t block, uint32_t count)
{
	int r = c->entries == RECORD_ENTRIES ? send_entries(c) : 0;

	if (r < 0)
		return r;
	memset(&c->entry[c->entries], 0, sizeof(c->entry[0]));
	c->entry[c->entries].block = block;
	c->entry[c->entries++].count = count;
	return 0;
}

/* A run of the zero set, without the blocks that have something newer in the log. -EAGAIN: come
 * back later. */
static int restate_run(struct cleaning *c, uint32_t block, uint32_t count, uint32_t *list)
{
	struct overlay *ov = c->ov;
	uint32_t n = map_list(&ov->map, block, count, list), from = block;

	for (uint32_t i = 0; i < n; i++) {
		const struct map_entry *e = map_get(&ov->map, list[i]);
		int r = 0;

		if (!e->slot) {
			/* Only in memory; if it is on its way, this could come out behind it and
			 * undo it. */
			if (ov->st->page[e->page].state == PAGE_WRITING || ov->st->page[e->page].older)
				return -EAGAIN;
			continue;
		}
		if (list[i] > from)
			r = add_entry(c, from, list[i] - from);
		if (r < 0)
			return r;
		from = list[i] + 1;
	}
	return from < block + count ? add_entry(c, from, block + count - from) : 0;
}

static int restate_range(struct cleaning *c, uint32_t block, uint32_t count)
{
	struct map *map = &c->ov->map;
	uint32_t *list = malloc((map->count + 1) * sizeof(*list));
	uint32_t end = block + count, start, n;
	int r = list ? 0 : -ENOMEM;

	while (!r && block < end && map_next_zero(map, block, end, &start, &n)) {
		r = restate_run(c, start, n, list);
		block = start + n;
	}
	free(list);
	return r;
}

/* A block of the segment that the map points at becomes dirty again. */
static int move_block(struct cleaning *c, const struct record_entry *entry, uint32_t slot, const uint8_t *data)
{
	struct overlay *ov = c->ov;
	struct staging *st = ov->st;
	struct staging_desc d = {
		.epoch = ov->epoch, .block = entry->block, .count = 1, .mask = entry->mask, .type = STAGING_DATA};
	struct map_entry *e = map_get(&ov->map, entry->block);
	uint32_t page;

	if (!e || e->slot != slot)
		return 0;
	if (e->page && st->page[e->page].state != PAGE_CLEAN)
		return 0; /* something newer is on its way there */
	if (e->page) {
		page = e->page;
		page_list_remove(st, &ov->clean, page);
		d.mask = st->desc[page].mask;
	} else {
		/* What has rotted on the disk is not given a new checksum. */
		if (crc32c_4k(data) != entry->crc || entry->crc != e->crc)
			return -EIO;
		page = overlay_take_page(ov);
		if (!page)
			return -EAGAIN;
		memcpy(staging_data(st, page), data, STORE_BLOCK);
	}
	__atomic_add_fetch(&ov->store->promised, 1, __ATOMIC_RELAXED);
	staging_publish(st, page, &d);
	page_set(&st->page[page], PAGE_DIRTY);
	page_list_push(st, &ov->dirty, page);
	e->page = page;
	c->moved++;
	return 0;
}

static int walk(struct cleaning *c)
{
	struct overlay *ov = c->ov;
	const struct store *s = ov->store;
	struct record_entry entries[RECORD_ENTRIES];
	uint32_t first = store_segment_block(s, c->segment);
	int r = 0;

	for (uint32_t at = 0; at < s->segment[c->segment].used && !r;) {
		struct record_head head;

		if (record_decode(c->buffer + (size_t)at * STORE_BLOCK, s->uuid, &head, entries) < 0 ||
		    head.epoch != ov->epoch || head.segment != s->segment[c->segment].seq || head.position != at ||
		    (head.home && head.home != record_home(c->segment)) || at + 1u + head.data > s->segment_blocks)
			return -EIO;
		for (unsigned int i = 0; i < head.zeros && !r; i++)
			r = restate_range(c, entries[i].block, entries[i].count);
		for (unsigned int i = 0; i < head.data && !r; i++)
			r = move_block(c, &entries[head.zeros + i], first + at + 1 + i,
				       c->buffer + ((size_t)at + 1 + i) * STORE_BLOCK);
		at += 1u + head.data;
	}
	return r ? r : send_entries(c);
}

static void segment_read(struct io_op *op, int error)
{
	struct cleaning *c = op->arg;
	struct overlay *ov = c->ov;

	pthread_mutex_lock(&ov->lock);
	c->zeros = ov->store->segment[c->segment].zeros;
	if (!error)
		error = walk(c);
	if (error)
		c->failed = true;
	one_less(c);
	pthread_mutex_unlock(&ov->lock);
}

void overlay_clean(struct overlay *ov, struct io_queue *q, uint32_t segment)
{
	size_t length = (size_t)ov->store->segment_blocks * STORE_BLOCK;
	struct cleaning *c = calloc(1, sizeof(*c));

	if (c)
		c->buffer = aligned_alloc(STORE_BLOCK, length);
	pthread_mutex_lock(&ov->lock);
	ov->cleaning = c && c->buffer;
	pthread_mutex_unlock(&ov->lock);
	if (!c || !c->buffer) {
		free(c);
		store_cleaned(ov->store, segment, 0);
		return;
	}
	c->restated.done = restated_done;
	c->ov = ov;
	c->q = q;
	c->segment = segment;
	c->left = 1;
	io_op_single(&c->op, IO_READ, ov->store->fd, c->buffer, length,
		     (uint64_t)store_segment_block(ov->store, segment) * STORE_BLOCK);
	c->op.done = segment_read;
	c->op.arg = c;
	io_submit(q, &c->op);
}
