// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Requests: a disk is an overlay over a shared base.
 *
 * A request begins in the caller's thread. What memory can answer is answered there, and that is
 * most of it: writes only go to staging, reads come from staging, the zero set, and the base cache.
 * What is left of a read is cut into pieces (a part of a unit of the base, or blocks of the store)
 * that go to the disk's engine thread, where each disk has only so many under way while others work
 * too; the last piece that ends completes the request. A write that
 * finds no page waits in the engine, and goes on from where it stopped.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tcmu-handler/boot_idle.h"
#include "tcmu-handler/engine_private.h"
#include "tcmu-handler/trace.h"

#define WRITE_CHUNK (1u << 20) /* bytes under one lock */

struct piece {
	struct piece *next;
	struct disk_request *r;
	struct run run;
	union {
		struct base_fetch fetch;
		struct {
			struct io_op op;
			uint8_t *buffer;
		} slot;
	};
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* --- counters --- */

static void add(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static void count(struct disk *d, enum disk_op op, uint64_t bytes, uint64_t start, int error)
{
	static const enum stats_op kind[] = {[DISK_READ] = STATS_READ,
					     [DISK_WRITE] = STATS_WRITE,
					     [DISK_FLUSH] = STATS_FLUSH,
					     [DISK_UNMAP] = STATS_UNMAP,
					     [DISK_WRITE_SAME] = STATS_WRITE};
	struct stats_disk *s = d->stats;
	uint64_t now = now_ns(CLOCK_MONOTONIC), ns = now > start ? now - start : 0;
	unsigned int k = kind[op];
	unsigned int bucket = ns < 1024 ? 0 : (unsigned int)(63 - __builtin_clzll(ns)) - 9;

	TRACE(request_end, d->config.id, (int)op, bytes, ns, error);
	if (bucket >= STATS_HISTOGRAM)
		bucket = STATS_HISTOGRAM - 1;
	add(&s->ops[k], 1);
	add(&s->bytes[k], op == DISK_FLUSH ? 0 : bytes);
	add(&s->latency_ns[k], ns);
	add(&s->histogram[k][bucket], 1);
	if (error)
		add(&s->errors[k], 1);
	if (op == DISK_READ && !__atomic_load_n(&s->first_read_ns, __ATOMIC_RELAXED))
		__atomic_store_n(&s->first_read_ns, now_ns(CLOCK_REALTIME), __ATOMIC_RELAXED);
	__atomic_store_n(&s->last_io_ns, now_ns(CLOCK_REALTIME_COARSE), __ATOMIC_RELAXED);
	if (!__atomic_load_n(&s->boot_end_ns, __ATOMIC_RELAXED))
		boot_idle_note(s, &d->last_done, start, now, now_ns(CLOCK_REALTIME));
}

/* Said once a second and disk, at most; counted each time. */
void disk_damaged(struct disk *d, uint64_t at)
{
	uint32_t now = __atomic_load_n(&d->engine->ticks, __ATOMIC_RELAXED) + 1;

	add(&d->stats->damaged, 1);
	if (__atomic_exchange_n(&d->damage_said, now, __ATOMIC_RELAXED) == now)
		return;
	engine_log(d->engine,
		   "The write-back of %s is damaged: what the store %s has at byte %llu is not what was written there. "
		   "The "
		   "PC gets a read error instead; look at the disk under the store, and reset the client.",
		   d->config.client, d->engine->config.store, (unsigned long long)at);
}

/* --- reading --- */

static void finish(struct disk_request *r, int error)
{
	struct disk *d = r->disk;

	run_list_done(&r->runs);
	count(d, r->op, r->length, r->start, error);
	r->done(r, error);
}

/* One less is under way: the next one of the disk may begin. */
static void piece_leaves(struct disk *d)
{
	bool more;

	pthread_mutex_lock(&d->lock);
	d->in_flight--;
	more = d->waiting != NULL;
	pthread_mutex_unlock(&d->lock);
	if (more)
		thread_post(d->thread, &d->resume);
}

static void piece_end(struct piece *p, int error)
{
	struct disk_request *r = p->r;

	if (p->run.type == RUN_SLOT) {
		overlay_run_done(r->disk->overlay, &p->run);
		free(p->slot.buffer);
	}
	if (error)
		__atomic_store_n(&r->error, error, __ATOMIC_RELAXED);
	free(p);
	piece_leaves(r->disk); /* the request may be the last to hold the disk */
	if (!__atomic_sub_fetch(&r->pending, 1, __ATOMIC_ACQ_REL))
		finish(r, __atomic_load_n(&r->error, __ATOMIC_RELAXED));
}

static void fetch_done(struct base_fetch *fetch, int error)
{
	piece_end(fetch->arg, error);
}

static void slot_done(struct io_op *op, int error)
{
	struct piece *p = op->arg;
	struct iov_pos dst = p->r->pos;

	if (!error && !overlay_run_whole(&p->run, p->slot.buffer)) {
		disk_damaged(p->r->disk, p->run.source);
		error = -EUCLEAN;
	}
	if (!error)
		iov_put(&dst, p->run.at, p->slot.buffer + p->run.source % STORE_BLOCK, p->run.length);
	piece_end(p, error);
}

static void piece_start(struct piece *p, struct thread *t)
{
	struct disk *d = p->r->disk;

	if (p->run.type == RUN_BASE) {
		base_fetch(&p->fetch, t->q);
		return;
	}
	/* Whole blocks, so that O_DIRECT is content whatever the device's sector is. */
	uint64_t from = p->run.source / STORE_BLOCK * STORE_BLOCK;
	uint64_t end = (p->run.source + p->run.length + STORE_BLOCK - 1) / STORE_BLOCK * STORE_BLOCK;

	p->slot.buffer = aligned_alloc(STORE_BLOCK, end - from);
	if (!p->slot.buffer) {
		piece_end(p, -ENOMEM);
		return;
	}
	add(&d->stats->overlay_read_bytes, p->run.length);
	io_op_single(&p->slot.op, IO_READ, d->engine->store->fd, p->slot.buffer, end - from, from);
	p->slot.op.done = slot_done;
	p->slot.op.arg = p;
	io_submit(t->q, &p->slot.op);
}

static struct piece *new_piece(struct disk_request *r, const struct run *run)
{
	struct piece *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->r = r;
	p->run = *run;
	if (run->type == RUN_BASE) {
		p->fetch.base = r->disk->base;
		p->fetch.offset = run->source;
		p->fetch.length = run->length;
		p->fetch.dst = r->pos;
		p->fetch.at = run->at;
		p->fetch.done = fetch_done;
		p->fetch.arg = p;
	}
	p->next = r->pieces;
	r->pieces = p;
	r->pending++;
	return p;
}

/* What the cache has is copied; the rest becomes pieces of a unit each. Bytes past the base are
 * zero. */
static int read_base(struct disk_request *r, const struct run *run)
{
	struct disk *d = r->disk;
	uint64_t size = base_size(d->base), hit = 0;
	struct run rest = *run;
	uint64_t end = run->source + run->length;

	if (end > size) {
		uint64_t from = run->source > size ? run->source : size;

		iov_zero(&r->pos, run->at + (from - run->source), end - from);
		end = from;
	}
	while (rest.source < end) {
		uint64_t n = base_copy(d->base, rest.source, end - rest.source, &r->pos, rest.at);

		hit += n;
		rest.source += n;
		rest.at += n;
		if (rest.source == end)
			break;
		rest.length = BASE_UNIT - rest.source % BASE_UNIT;
		if (rest.length > end - rest.source)
			rest.length = end - rest.source;
		if (!new_piece(r, &rest))
			return -ENOMEM;
		add(&d->stats->base_miss_bytes, rest.length);
		rest.source += rest.length;
		rest.at += rest.length;
	}
	if (hit)
		add(&d->stats->base_hit_bytes, hit);
	return 0;
}

static int read_slots(struct disk_request *r, const struct run *run)
{
	if (new_piece(r, run))
		return 0;
	overlay_run_done(r->disk->overlay, run);
	return -ENOMEM;
}

static void drop_pieces(struct disk_request *r)
{
	while (r->pieces) {
		struct piece *p = r->pieces;

		r->pieces = p->next;
		if (p->run.type == RUN_SLOT)
			overlay_run_done(r->disk->overlay, &p->run);
		free(p);
	}
	r->pending = 0;
}

static int start_read(struct disk_request *r)
{
	struct disk *d = r->disk;
	struct run whole = {.type = RUN_BASE, .length = r->length, .source = r->offset};
	int e;

	if (d->overlay)
		e = overlay_read(d->overlay, r->offset, r->length, &r->pos, &r->runs);
	else
		e = run_list_add(&r->runs, &whole);
	if (e < 0)
		return e;
	for (uint32_t i = 0; i < r->runs.count; i++) {
		const struct run *run = &r->runs.run[i];

		if (e < 0) {
			if (run->type == RUN_SLOT)
				overlay_run_done(d->overlay, run);
			continue;
		}
		e = run->type == RUN_BASE ? read_base(r, run) : read_slots(r, run);
	}
	if (e < 0) {
		drop_pieces(r);
		return e;
	}
	if (!r->pending)
		return 0;
	disk_resume(r);
	return 1;
}

/* --- writing --- */

static bool all_zero(const struct iovec *iov, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++) {
		const uint8_t *p = iov[i].iov_base;

		if (iov[i].iov_len && (p[0] || memcmp(p, p + 1, iov[i].iov_len - 1)))
			return false;
	}
	return true;
}

static void flush_done(struct overlay_flush *flush, int error)
{
	struct disk_request *r = (struct disk_request *)((char *)flush - offsetof(struct disk_request, flush));

	finish(r, error);
}

static int start_flush(struct disk_request *r)
{
	r->flush.done = flush_done;
	return r->disk->overlay ? overlay_flush(r->disk->overlay, &r->flush) : 0;
}

/* One step of a write, or of zeros: whole blocks become a zero entry when there are many. Bytes, or
 * -errno. */
static int64_t write_step(struct disk_request *r)
{
	struct overlay *ov = r->disk->overlay;
	uint64_t offset = r->offset + r->progress, left = r->length - r->progress;
	uint64_t head = (OVERLAY_BLOCK - offset % OVERLAY_BLOCK) % OVERLAY_BLOCK;
	int e;

	if (!r->zeros)
		return overlay_write(ov, offset, left < WRITE_CHUNK ? left : WRITE_CHUNK, &r->pos, r->progress);
	if (head || left < OVERLAY_BLOCK)
		return overlay_write(ov, offset, head && head < left ? head : left, NULL, 0);
	left -= left % OVERLAY_BLOCK;
	e = overlay_unmap(ov, (uint32_t)(offset / OVERLAY_BLOCK), (uint32_t)(left / OVERLAY_BLOCK));
	return e < 0 ? e : (int64_t)left;
}

#define PATIENCE 20 /* ticks that a write waits for room in memory or in the store */

/* Puts a write aside for the reason that `why` is. 1, or -errno when it has waited for too long. */
static int put_aside(struct disk_request *r, int why)
{
	struct disk *d = r->disk;
	uint32_t ticks = __atomic_load_n(&d->engine->ticks, __ATOMIC_RELAXED);

	if (!r->parked)
		r->parked = ticks | 1;
	if (ticks - r->parked > PATIENCE && ticks > r->parked)
		return why == -EBUSY ? -ENOSPC : -EIO;
	if (why == -EAGAIN) {
		engine_park(d->engine, r);
	} else if (why == -EBUSY) {
		engine_park_poor(d->engine, r);
	} else {
		pthread_mutex_lock(&d->lock);
		r->next = d->held;
		d->held = r;
		pthread_mutex_unlock(&d->lock);
		thread_post(d->thread, &d->kick);
	}
	return 1;
}

/* 0: done; 1: it waits; -errno */
static int go_on_writing(struct disk_request *r)
{
	while (r->progress < r->length) {
		int64_t n = write_step(r);

		if (n == -EAGAIN || n == -EBUSY || n == -EDQUOT)
			return put_aside(r, (int)n);
		if (n < 0)
			return (int)n;
		r->progress += (uint64_t)n;
		r->parked = 0;
	}
	return r->fua ? start_flush(r) : 0;
}

void disk_release_held(struct disk *d)
{
	struct disk_request *list;

	pthread_mutex_lock(&d->lock);
	list = d->held;
	d->held = NULL;
	pthread_mutex_unlock(&d->lock);
	while (list) {
		struct disk_request *r = list;

		list = r->next;
		disk_resume(r);
	}
}

/* --- the way of a request --- */

/*
 * How many pieces of one disk may be under way. Alone it may have as many as it likes; where others work too, one that
 * has very many would fill the queues of the devices, and all others would wait behind it.
 */
#define PIECES_ALONE  256
#define PIECES_SHARED 4

static struct piece *next_piece(struct disk *d)
{
	unsigned int most = __atomic_load_n(&d->engine->busy, __ATOMIC_RELAXED) > 1 ? PIECES_SHARED : PIECES_ALONE;
	struct piece *p;

	pthread_mutex_lock(&d->lock);
	p = d->in_flight < most ? d->waiting : NULL;
	if (p) {
		d->waiting = p->next;
		if (!d->waiting)
			d->waiting_end = &d->waiting;
		d->in_flight++;
	}
	pthread_mutex_unlock(&d->lock);
	return p;
}

static void queue_pieces(struct disk *d, struct piece *pieces)
{
	pthread_mutex_lock(&d->lock);
	*d->waiting_end = pieces;
	while (*d->waiting_end)
		d->waiting_end = &(*d->waiting_end)->next;
	pthread_mutex_unlock(&d->lock);
}

static void resume_all(struct thread *t, struct work *work)
{
	struct disk *d = (struct disk *)((char *)work - offsetof(struct disk, resume));
	struct disk_request *list;
	struct piece *p;

	pthread_mutex_lock(&d->lock);
	list = d->resumed;
	d->resumed = d->resumed_tail = NULL;
	pthread_mutex_unlock(&d->lock);
	while (list) {
		struct disk_request *r = list;
		struct piece *pieces = r->pieces;
		int e;

		list = r->next;
		if (r->op != DISK_READ) {
			e = go_on_writing(r);
			if (e != 1)
				finish(r, e);
			continue;
		}
		queue_pieces(d, pieces);
	}
	while ((p = next_piece(d)) != NULL)
		piece_start(p, t);
}

static int check_request(const struct disk *d, enum disk_op op, uint64_t offset, uint64_t length)
{
	if (op == DISK_FLUSH)
		return 0;
	if (offset % OVERLAY_SECTOR || length % OVERLAY_SECTOR)
		return -EINVAL;
	if (offset > d->config.size || length > d->config.size - offset)
		return -ERANGE;
	return op != DISK_READ && !d->overlay ? -EROFS : 0;
}

static void init_request(struct disk *d, struct disk_request *r)
{
	r->disk = d;
	r->next = NULL;
	r->pieces = NULL;
	r->progress = 0;
	r->parked = 0;
	r->pending = 0;
	r->error = 0;
	r->zeros = false;
	iov_pos_init(&r->pos, r->iov, r->iov_cnt);
	run_list_init(&r->runs);
}

int disk_submit(struct disk *d, struct disk_request *r)
{
	int e = check_request(d, r->op, r->offset, r->length);

	r->start = now_ns(CLOCK_MONOTONIC);
	init_request(d, r);
	TRACE(request_begin, d->config.id, (int)r->op, r->offset, r->length);
	if (!e && (r->length || r->op == DISK_FLUSH)) {
		switch (r->op) {
		case DISK_READ:
			e = start_read(r);
			break;
		case DISK_FLUSH:
			e = start_flush(r);
			break;
		case DISK_UNMAP:
			r->zeros = true;
			e = go_on_writing(r);
			break;
		case DISK_WRITE_SAME:
			for (size_t i = 0; i < r->iov_cnt; i++)
				r->pos.period += r->iov[i].iov_len;
			if (!r->pos.period || r->length % r->pos.period) {
				e = -EINVAL;
				break;
			}
			r->zeros = all_zero(r->iov, r->iov_cnt);
			/* fall through */
		case DISK_WRITE:
			e = go_on_writing(r);
			break;
		}
	}
	if (e != 1) {
		run_list_done(&r->runs);
		count(d, r->op, r->length, r->start, e);
	}
	return e;
}

int disk_try(struct disk *d, enum disk_op op, bool fua, uint64_t offset, uint64_t length, const struct iovec *iov,
	     size_t iov_cnt)
{
	uint64_t start = now_ns(CLOCK_MONOTONIC);
	struct iov_pos pos;
	int e = check_request(d, op, offset, length);

	if (e < 0 || !length)
		return e;
	iov_pos_init(&pos, iov, iov_cnt);
	if (op == DISK_WRITE) {
		if (fua && overlay_is_kept(d->overlay))
			return -EAGAIN;
		/* A part may have been taken: disk_submit() writes the same again. */
		if (overlay_write(d->overlay, offset, length, &pos, 0) != (int64_t)length)
			return -EAGAIN;
	} else {
		struct run_list runs;
		bool hit;

		if (offset + length > base_size(d->base))
			return -EAGAIN;
		run_list_init(&runs);
		e = d->overlay ? overlay_read(d->overlay, offset, length, &pos, &runs) : -EAGAIN;
		if (!d->overlay)
			hit = base_copy(d->base, offset, length, &pos, 0) == length;
		else
			hit = !e;
		for (uint32_t i = 0; d->overlay && !e && i < runs.count; i++) {
			const struct run *run = &runs.run[i];

			if (run->type == RUN_SLOT)
				overlay_run_done(d->overlay, run);
			hit = hit && run->type == RUN_BASE &&
			      base_copy(d->base, run->source, run->length, &pos, run->at) == run->length;
			if (hit)
				add(&d->stats->base_hit_bytes, run->length);
		}
		run_list_done(&runs);
		if (!hit)
			return -EAGAIN;
	}
	count(d, op, length, start, 0);
	return 0;
}

bool disk_stored(struct disk *d, uint64_t offset, uint64_t length, uint64_t *ret_length)
{
	uint32_t first = (uint32_t)(offset / OVERLAY_BLOCK), count;
	uint64_t end = offset + length, limit;
	enum map_kind kind;

	if (!d->overlay)
		return base_holds(d->base, offset, length, ret_length);
	kind = overlay_status(d->overlay, first, (uint32_t)((end - 1) / OVERLAY_BLOCK) - first + 1, &count);
	limit = ((uint64_t)first + count) * OVERLAY_BLOCK;
	if (limit > end)
		limit = end;
	if (kind == MAP_BASE)
		return base_holds(d->base, offset, limit - offset, ret_length);
	*ret_length = limit - offset;
	return kind == MAP_WRITTEN;
}

void disk_requests_init(struct disk *d)
{
	d->resume.run = resume_all;
	d->waiting_end = &d->waiting;
}
