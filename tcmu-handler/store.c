// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Opening a store.
 *
 *	block 0, 1		superblock, two copies, the greater version counts
 *	2 ... 2 + 2 * places	overlay headers, two copies each, the greater version counts
 *	data_start ...		segments
 *
 * Copies are written in turn, so a torn write leaves the older one. All that is needed of either
 * stands in the first sector. Opening reads all headers, and the first block of every segment: the
 * record there names the epoch, an epoch belongs to one overlay, and a segment whose epoch is
 * nobody's is free. Maps are read when an overlay is opened (overlay_load.c).
 *
 * Every opening writes a greater mount number, durably, before anything else: it is the upper half
 * of every id that the store gives out (epochs, sequence numbers of segments), so a number that was
 * used before a crash is never used again, and no stale record can be taken for a new one.
 */
#include "tcmu-handler/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "tcmu-handler/image/bytes.h"
#include "tcmu-handler/crc32c.h"
#include "tcmu-handler/record.h"
#include "tcmu-handler/store_private.h"

#define SUPER_MAGIC  0x31534b5242574b42ull
#define HEADER_MAGIC 0x564f5742u
#define VERSION      1
#define DEPTH        64

static bool all_zero(const uint8_t *p, size_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

/* crc at 4 of a block of 4 KiB, over the block with that field 0 */
static void seal(uint8_t *p)
{
	le32_put(p + 4, 0);
	le32_put(p + 4, crc32c_4k(p));
}

static bool sealed(const uint8_t *p)
{
	uint8_t copy[STORE_BLOCK];

	memcpy(copy, p, STORE_BLOCK);
	le32_put(copy + 4, 0);
	return crc32c_4k(copy) == le32_at(p + 4);
}

static void super_encode(const struct store *s, uint8_t *p)
{
	memset(p, 0, STORE_BLOCK);
	le32_put(p, (uint32_t)SUPER_MAGIC);
	le32_put(p + 8, VERSION);
	le32_put(p + 12, STORE_BLOCK);
	memcpy(p + 16, s->uuid, 16);
	le64_put(p + 32, s->super_version);
	le64_put(p + 40, s->mount);
	le64_put(p + 48, s->size);
	le32_put(p + 56, s->segment_blocks);
	le32_put(p + 60, s->places);
	le32_put(p + 64, s->segments);
	seal(p);
}

static bool super_decode(struct store *s, const uint8_t *p)
{
	if (le32_at(p) != (uint32_t)SUPER_MAGIC || !sealed(p) || le32_at(p + 8) != VERSION ||
	    le32_at(p + 12) != STORE_BLOCK || le64_at(p + 32) < s->super_version)
		return false;
	memcpy(s->uuid, p + 16, 16);
	s->super_version = le64_at(p + 32);
	s->mount = le64_at(p + 40);
	s->segment_blocks = le32_at(p + 56);
	s->places = le32_at(p + 60);
	return true;
}

static void header_encode(const struct store *s, uint8_t *p, const struct store_header *h, uint64_t version)
{
	size_t n = strlen(h->generation);

	memset(p, 0, STORE_BLOCK);
	le32_put(p, HEADER_MAGIC);
	le64_put(p + 8, version);
	memcpy(p + 16, h->uuid, 16);
	le64_put(p + 32, h->epoch);
	memcpy(p + 40, h->boot, 16);
	memcpy(p + 56, h->reset, 16);
	memcpy(p + 72, h->machine_boot, 16);
	le64_put(p + 88, h->size);
	le32_put(p + 96, h->mode);
	memcpy(p + 100, s->uuid, 16);
	le16_put(p + 116, (uint16_t)n);
	memcpy(p + 118, h->generation, n);
	seal(p);
}

static void header_decode(const struct store *s, const uint8_t *p, struct store_place *place)
{
	struct store_header *h = &place->header;
	uint16_t n;

	if (le32_at(p) != HEADER_MAGIC || memcmp(p + 100, s->uuid, 16) || !sealed(p) ||
	    le64_at(p + 8) <= place->version)
		return;
	n = le16_at(p + 116);
	if (n > STORE_GENERATION_MAX)
		return;
	place->version = le64_at(p + 8);
	memcpy(h->uuid, p + 16, 16);
	h->epoch = le64_at(p + 32);
	memcpy(h->boot, p + 40, 16);
	memcpy(h->reset, p + 56, 16);
	memcpy(h->machine_boot, p + 72, 16);
	h->size = le64_at(p + 88);
	h->mode = le32_at(p + 96);
	memcpy(h->generation, p + 118, n);
	h->generation[n] = 0;
}

/* --- reading many blocks, DEPTH at a time --- */

struct scan {
	struct store *store;
	struct io_queue *q;
	void (*got)(struct scan *scan, uint32_t index, const uint8_t *block);
	uint32_t (*where)(const struct store *store, uint32_t index);
	uint32_t next, end;
	int error;
	uint64_t *epochs; /* sorted, and the place of each */
	uint32_t *places;
	uint32_t n_epochs;
};

struct scan_op {
	struct io_op op;
	struct scan *scan;
	uint32_t index;
	uint8_t *block;
};

static void scan_next(struct scan_op *so);

static void scan_done(struct io_op *op, int error)
{
	struct scan_op *so = op->arg;

	if (error && !so->scan->error)
		so->scan->error = error;
	if (!error)
		so->scan->got(so->scan, so->index, so->block);
	scan_next(so);
}

static void scan_next(struct scan_op *so)
{
	struct scan *scan = so->scan;

	if (scan->error || scan->next >= scan->end)
		return;
	so->index = scan->next++;
	io_op_single(&so->op, IO_READ, scan->store->fd, so->block, STORE_BLOCK,
		     (uint64_t)scan->where(scan->store, so->index) * STORE_BLOCK);
	so->op.done = scan_done;
	so->op.arg = so;
	io_submit(scan->q, &so->op);
}

static int scan_run(struct scan *scan)
{
	struct scan_op *ops = calloc(DEPTH, sizeof(*ops));
	uint8_t *blocks = aligned_alloc(STORE_BLOCK, (size_t)DEPTH * STORE_BLOCK);

	if (!ops || !blocks) {
		free(ops);
		free(blocks);
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < DEPTH; i++) {
		ops[i].scan = scan;
		ops[i].block = blocks + (size_t)i * STORE_BLOCK;
		scan_next(&ops[i]);
	}
	while (scan->q->in_flight)
		io_wait(scan->q, -1);
	free(ops);
	free(blocks);
	return scan->error;
}

static uint32_t where_header(const struct store *s, uint32_t index)
{
	(void)s;
	return 2 + index;
}

static void got_header(struct scan *scan, uint32_t index, const uint8_t *block)
{
	header_decode(scan->store, block, &scan->store->place[index / 2]);
}

static uint32_t where_segment(const struct store *s, uint32_t index)
{
	return store_segment_block(s, index);
}

/* Ids have the mount in their upper half: one that is greater than the superblock's tells that this is an old copy. */
static void note_id(struct store *s, uint64_t id)
{
	if (id >> 32 > s->newest_mount)
		s->newest_mount = (uint32_t)(id >> 32);
}

static void got_segment(struct scan *scan, uint32_t index, const uint8_t *block)
{
	struct record_head head;
	uint32_t low = 0, high = scan->n_epochs;

	scan->store->segment[index].written = !all_zero(block, STORE_BLOCK);
	if (record_decode(block, scan->store->uuid, &head, NULL) < 0 || head.position ||
	    (head.home && head.home != record_home(index)))
		return;
	note_id(scan->store, head.epoch);
	note_id(scan->store, head.segment);
	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (scan->epochs[mid] < head.epoch)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < scan->n_epochs && scan->epochs[low] == head.epoch) {
		scan->store->segment[index].seq = head.segment;
		store_segment_link(scan->store, index, scan->places[low]);
	}
}

/*
 * Epochs whose segments count: of kept overlays, and of others that this boot of the machine has opened. An epoch is
 * given out once; where two headers name it, one of them is damaged, and nobody can know whose the segments are.
 */
static void collect_epochs(struct scan *scan)
{
	struct store *s = scan->store;

	for (uint32_t i = 0; i < s->places; i++) {
		const struct store_header *h = &s->place[i].header;
		uint32_t k;

		note_id(s, h->epoch);
		if (!h->epoch || (h->mode != STORE_KEEP && memcmp(h->machine_boot, s->machine_boot, 16)))
			continue;
		for (k = scan->n_epochs++; k && scan->epochs[k - 1] > h->epoch; k--) {
			scan->epochs[k] = scan->epochs[k - 1];
			scan->places[k] = scan->places[k - 1];
		}
		scan->epochs[k] = h->epoch;
		scan->places[k] = i;
		if (k && scan->epochs[k - 1] == h->epoch)
			s->place[i].epoch_twice = s->place[scan->places[k - 1]].epoch_twice = true;
	}
}

static int read_all(struct store *s, struct io_queue *q)
{
	struct scan scan = {.store = s, .q = q, .got = got_header, .where = where_header, .end = 2 * s->places};
	int r = scan_run(&scan);

	if (r < 0)
		return r;
	scan.epochs = calloc(s->places, sizeof(*scan.epochs));
	scan.places = calloc(s->places, sizeof(*scan.places));
	r = -ENOMEM;
	if (scan.epochs && scan.places) {
		collect_epochs(&scan);
		scan.got = got_segment;
		scan.where = where_segment;
		scan.next = 0;
		scan.end = s->segments;
		r = scan_run(&scan);
	}
	free(scan.epochs);
	free(scan.places);
	for (uint32_t i = s->segments; !r && i-- > 0;)
		if (s->segment[i].state == SEGMENT_FREE)
			store_free_push(s, i);
	return r;
}

static int super_write(struct store *s, struct io_queue *q, uint8_t *block)
{
	int r;

	s->super_version++;
	super_encode(s, block);
	r = io_sync(q, IO_WRITE, s->fd, block, STORE_BLOCK, (s->super_version & 1) * STORE_BLOCK);
	return r ? r : io_sync(q, IO_FDATASYNC, s->fd, NULL, 0, 0);
}

static int super_read(struct store *s, struct io_queue *q, uint8_t *block, const struct store_params *params,
		      struct sentence *err)
{
	bool found = false, blank = true;

	for (unsigned int copy = 0; copy < 2; copy++) {
		int r = io_sync(q, IO_READ, s->fd, block, STORE_BLOCK, copy * STORE_BLOCK);

		if (r < 0)
			return sentence_fail(err, r, "The write-back store cannot be read at %u: %s.",
					     copy * STORE_BLOCK, strerror(-r));
		found |= super_decode(s, block);
		blank &= all_zero(block, STORE_BLOCK);
	}
	if (found)
		return 0;
	if (!blank)
		return sentence_fail(err, -EMEDIUMTYPE,
				     "The file given as write-back store holds something else; name "
				     "another file, or empty this one.");
	if (params->uuid)
		memcpy(s->uuid, params->uuid, 16);
	else if (getrandom(s->uuid, 16, 0) != 16)
		return sentence_fail(err, -EIO, "The kernel gave no random bytes for a new write-back store.");
	s->segment_blocks = params->segment_blocks;
	s->places = params->places;
	for (uint32_t blocks = 256; !s->segment_blocks; blocks *= 2)
		if (s->size / ((uint64_t)blocks * STORE_BLOCK) <= 131072 || blocks == 16384)
			s->segment_blocks = blocks;
	if (!s->places)
		s->places = s->size >> 22 > 4096 ? 4096 : s->size >> 22 < 64 ? 64 : (uint32_t)(s->size >> 22);
	return 0;
}

static int layout(struct store *s, struct sentence *err)
{
	uint64_t start = 2 + 2 * (uint64_t)s->places;
	uint64_t blocks = s->size / STORE_BLOCK;

	if (s->mount >= UINT32_MAX - 1 || s->segment_blocks < 4 || s->segment_blocks > 16384 || !s->places ||
	    s->places > 65536)
		return sentence_fail(err, -EINVAL,
				     "The write-back store has an impossible layout (%u blocks a "
				     "segment, %u overlays).",
				     s->segment_blocks, s->places);
	start = (start + s->segment_blocks - 1) / s->segment_blocks * s->segment_blocks;
	if (blocks > UINT32_MAX)
		blocks = UINT32_MAX;
	if (blocks < start + 4 * (uint64_t)s->segment_blocks)
		return sentence_fail(err, -EINVAL, "The write-back store is too small: %llu KiB.",
				     (unsigned long long)(s->size >> 10));
	s->data_start = (uint32_t)start;
	s->segments = (uint32_t)((blocks - start) / s->segment_blocks);
	s->segment = calloc(s->segments, sizeof(*s->segment));
	s->place = calloc(s->places, sizeof(*s->place));
	if (!s->segment || !s->place)
		return sentence_fail(err, -ENOMEM, "There is no memory for the table of the write-back store.");
	for (uint32_t i = 0; i < s->places; i++)
		s->place[i].first_segment = SEGMENT_NONE;
	return 0;
}

static int open_with(struct store *s, struct io_queue *q, uint8_t *block, const struct store_params *params,
		     struct sentence *err)
{
	int r = super_read(s, q, block, params, err);

	if (!r)
		r = layout(s, err);
	if (r < 0)
		return r;
	s->mount++;
	s->next_id = s->mount << 32;
	r = super_write(s, q, block);
	if (!r && s->super_version == 1) /* a new one has both copies from the beginning */
		r = super_write(s, q, block);
	if (r < 0)
		return sentence_fail(err, r, "The write-back store cannot be written: %s.", strerror(-r));
	r = read_all(s, q);
	if (!r && s->newest_mount >= s->mount) {
		s->set_back = true;
		s->mount = (uint64_t)s->newest_mount + 1;
		s->next_id = s->mount << 32;
		r = super_write(s, q, block);
	}
	if (r < 0)
		return sentence_fail(err, r, "The write-back store cannot be read: %s.", strerror(-r));
	return 0;
}

int store_open(struct store **ret, const struct store_params *params, struct sentence *err)
{
	struct store *s = calloc(1, sizeof(*s));
	uint8_t *block = aligned_alloc(STORE_BLOCK, STORE_BLOCK);
	struct io_queue *q = NULL;
	int r = -ENOMEM;

	if (!s || !block) {
		free(s);
		free(block);
		return sentence_fail(err, r, "There is no memory to open the write-back store.");
	}
	s->fd = -1;
	s->io = params->io;
	s->size = params->size;
	s->free_head = s->raw_head = s->dying_head = s->syncing_head = SEGMENT_NONE;
	memcpy(s->machine_boot, params->machine_boot, 16);
	pthread_mutex_init(&s->lock, NULL);
	r = s->io->queue_new(s->io, &q);
	if (r < 0) {
		sentence_fail(err, r, "The kernel gives no io_uring: %s.", strerror(-r));
	} else {
		s->fd = params->fd;
		r = open_with(s, q, block, params, err);
	}
	io_queue_free(q);
	free(block);
	if (r < 0) {
		s->fd = -1; /* the caller's still */
		store_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	if (s->fd >= 0)
		close(s->fd);
	pthread_mutex_destroy(&s->lock);
	free(s->segment);
	free(s->place);
	free(s);
}

int store_place(struct store *s, const uint8_t uuid[16], uint32_t *ret, struct sentence *err)
{
	uint32_t found = UINT32_MAX;

	pthread_mutex_lock(&s->lock);
	for (uint32_t i = 0; i < s->places; i++) {
		const struct store_place *p = &s->place[i];

		if (p->header.epoch && !memcmp(p->header.uuid, uuid, 16)) {
			found = i;
			break;
		}
		if (!p->header.epoch && !p->open && found == UINT32_MAX)
			found = i;
	}
	if (found != UINT32_MAX && s->place[found].open)
		found = UINT32_MAX - 1;
	else if (found != UINT32_MAX) {
		s->place[found].open = s->place[found].loading = true;
		__atomic_add_fetch(&s->open_places, 1, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&s->lock);
	if (found == UINT32_MAX)
		return sentence_fail(err, -ENOSPC,
				     "The write-back store has room for %u overlays and all are "
				     "taken; remove clients, or make a greater store.",
				     s->places);
	if (found == UINT32_MAX - 1)
		return sentence_fail(
			err, -EBUSY,
			"The write-back is in use by another disk, or is still being written out after that "
			"was closed; try again.");
	*ret = found;
	return 0;
}

void store_place_loaded(struct store *s, uint32_t place)
{
	pthread_mutex_lock(&s->lock);
	s->place[place].loading = false;
	pthread_mutex_unlock(&s->lock);
}

void store_place_release(struct store *s, uint32_t place)
{
	pthread_mutex_lock(&s->lock);
	s->place[place].open = s->place[place].loading = false;
	__atomic_sub_fetch(&s->open_places, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&s->lock);
}

static int header_write(struct store *s, struct io_queue *q, uint8_t *block, uint32_t place,
			const struct store_header *header, uint64_t version)
{
	header_encode(s, block, header, version);
	return io_sync(q, IO_WRITE, s->fd, block, STORE_BLOCK, (2 + 2 * (uint64_t)place + (version & 1)) * STORE_BLOCK);
}

int store_write_header(struct store *s, uint32_t place, const struct store_header *header, bool durable)
{
	struct store_place *p = &s->place[place];
	uint8_t *block = aligned_alloc(STORE_BLOCK, STORE_BLOCK);
	struct io_queue *q = NULL;
	int r = store_error(s);

	if (!r)
		r = block ? s->io->queue_new(s->io, &q) : -ENOMEM;
	if (!r)
		r = header_write(s, q, block, place, header, p->version + 1);
	if (!r && durable) {
		r = io_sync(q, IO_FDATASYNC, s->fd, NULL, 0, 0);
		if (r < 0)
			__atomic_store_n(&s->error, r, __ATOMIC_RELAXED);
	}
	/* The other copy says the same afterwards: when one rots, the older must not come back. */
	if (!r)
		r = header_write(s, q, block, place, header, p->version + 2);
	if (!r) {
		pthread_mutex_lock(&s->lock);
		p->version += 2;
		p->epoch_twice = p->epoch_twice && p->header.epoch == header->epoch;
		p->header = *header;
		pthread_mutex_unlock(&s->lock);
	}
	io_queue_free(q);
	free(block);
	return r;
}

int store_reset(struct store *s, uint32_t place, const struct store_header *header, bool durable)
{
	int r = store_write_header(s, place, header, durable);

	if (!r)
		store_free_place(s, place);
	return r;
}
