/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The twin of the I/O layer: a store in memory behind the same interface (tcmu-handler/io.h), with
 * a log of what has been written and what has been made durable, so that a test can ask: what may
 * the disk look like if the power fails now? And it injects faults.
 *
 * Operations end in random order, one at a time, when the queue is waited for. A write is durable
 * when an fdatasync that was submitted after the write had ended has ended; one with `sync` is
 * when it has ended, and makes no other write durable. Until then, and also while it is on its way,
 * each of its sectors may be on the disk or not.
 *
 * Reads of other files than the store (base images) are done for real; a write to one is an error
 * of the program.
 */
#ifndef BOOTWELL_TWIN_H
#define BOOTWELL_TWIN_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tcmu-handler/io.h"

#define TWIN_FD     1000000 /* the store's; no real file has it */
#define TWIN_SECTOR 512
#define TWIN_WRITES 4096 /* not yet durable, at most */

struct twin_write {
	uint64_t offset;
	size_t length;
	uint8_t *data;
};

struct twin_queue;

struct twin {
	struct io_backend backend;
	uint64_t size;
	uint8_t *now;                         /* what a read sees */
	uint8_t *durable;                     /* what surely survives; NULL: not tracked */
	struct twin_write write[TWIN_WRITES]; /* ended, not durable, in order */
	unsigned int writes;
	struct twin_queue *queues;
	uint64_t rng;
	uint64_t ops;   /* submitted */
	uint64_t syncs; /* writes that were durable by themselves */
	/* Called at each moment at which the power may fail. */
	void (*event)(struct twin *twin);
	/* 0, or the -errno with which the operation is to fail (a write then leaves any of its
	 * sectors). */
	int (*fault)(struct twin *twin, const struct io_op *op);
	void *arg;
};

struct twin_queue {
	struct io_queue q;
	struct twin *twin;
	struct twin_queue *next;
	struct io_op *head; /* submitted, not ended */
};

static inline uint32_t twin_random(struct twin *t)
{
	t->rng ^= t->rng << 13;
	t->rng ^= t->rng >> 7;
	t->rng ^= t->rng << 17;
	return (uint32_t)(t->rng >> 16);
}

static inline size_t twin_length(const struct io_op *op)
{
	size_t n = 0;

	for (unsigned int i = 0; i < op->iov_cnt; i++)
		n += op->iov[i].iov_len;
	return n;
}

static inline void twin_gather(const struct io_op *op, uint8_t *to)
{
	for (unsigned int i = 0; i < op->iov_cnt; i++) {
		memcpy(to, op->iov[i].iov_base, op->iov[i].iov_len);
		to += op->iov[i].iov_len;
	}
}

static inline void twin_check(const struct twin *t, const struct io_op *op)
{
	if (op->fd == TWIN_FD && op->type != IO_FDATASYNC &&
	    (op->offset % 4096 || twin_length(op) % 4096 || op->offset + twin_length(op) > t->size)) {
		fprintf(stderr, "twin: an operation of %zu bytes at %llu\n", twin_length(op),
			(unsigned long long)op->offset);
		abort();
	}
	if (op->fd != TWIN_FD && op->type != IO_READ) {
		fprintf(stderr, "twin: a write to a file that is not the store\n");
		abort();
	}
}

static void twin_submit(struct io_queue *q, struct io_op *op)
{
	struct twin_queue *tq = (struct twin_queue *)q;
	struct twin *t = tq->twin;

	twin_check(t, op);
	op->tries = t->writes; /* for an fdatasync: what had ended by then */
	op->next = tq->head;
	tq->head = op;
	t->ops++;
	if (t->event)
		t->event(t);
}

static inline void twin_make_durable(struct twin *t, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		memcpy(t->durable + t->write[i].offset, t->write[i].data, t->write[i].length);
		free(t->write[i].data);
	}
	memmove(t->write, t->write + count, (t->writes - count) * sizeof(*t->write));
	t->writes -= count;
}

/* Another fdatasync in flight counted the writes that are durable now. */
static inline void twin_recount(struct twin *t, unsigned int count)
{
	for (struct twin_queue *tq = t->queues; tq; tq = tq->next)
		for (struct io_op *op = tq->head; op; op = op->next)
			op->tries = op->tries > count ? op->tries - count : 0;
}

/* An older write to the same place cannot come after this one any more. */
static inline void twin_supersede(struct twin *t, uint64_t offset, const uint8_t *data, size_t length)
{
	for (unsigned int i = 0; i < t->writes; i++) {
		struct twin_write *w = &t->write[i];
		uint64_t from = w->offset > offset ? w->offset : offset, w_end = w->offset + w->length,
			 end = offset + length, to = w_end < end ? w_end : end;

		if (from < to)
			memcpy(w->data + (from - w->offset), data + (from - offset), to - from);
	}
}

static inline void twin_do_write(struct twin *t, struct io_op *op, int error)
{
	size_t length = twin_length(op);
	uint8_t *data = malloc(length);

	twin_gather(op, data);
	for (size_t at = 0; error && at < length; at += TWIN_SECTOR)
		if (twin_random(t) & 1) /* this sector was not written */
			memcpy(data + at, t->now + op->offset + at, TWIN_SECTOR);
	memcpy(t->now + op->offset, data, length);
	if (t->durable && op->sync && !error) {
		twin_supersede(t, op->offset, data, length);
		memcpy(t->durable + op->offset, data, length);
		t->syncs++;
	}
	if (!t->durable || (op->sync && !error)) {
		free(data);
		return;
	}
	if (t->writes == TWIN_WRITES) {
		fprintf(stderr, "twin: too many writes without a flush\n");
		abort();
	}
	t->write[t->writes++] = (struct twin_write){.offset = op->offset, .length = length, .data = data};
}

static inline int twin_do_read(struct twin *t, struct io_op *op)
{
	uint64_t at = op->offset;

	for (unsigned int i = 0; i < op->iov_cnt; i++) {
		size_t n = op->iov[i].iov_len;

		if (op->fd == TWIN_FD)
			memcpy(op->iov[i].iov_base, t->now + at, n);
		else if (pread(op->fd, op->iov[i].iov_base, n, (off_t)at) != (ssize_t)n)
			return -EIO;
		at += n;
	}
	return 0;
}

static inline void twin_execute(struct twin_queue *tq, struct io_op *op)
{
	struct twin *t = tq->twin;
	int error = t->fault ? t->fault(t, op) : 0;

	switch (op->type) {
	case IO_READ:
		if (!error)
			error = twin_do_read(t, op);
		break;
	case IO_WRITE:
		twin_do_write(t, op, error);
		break;
	case IO_FDATASYNC:
		if (!error && t->durable) {
			unsigned int count = op->tries;

			twin_make_durable(t, count);
			twin_recount(t, count);
		}
		break;
	}
	tq->q.in_flight--;
	op->done(op, error);
}

static void twin_wait(struct io_queue *q, int timeout_ms)
{
	struct twin_queue *tq = (struct twin_queue *)q;
	struct twin *t = tq->twin;
	struct io_op **p = &tq->head, *op;

	(void)timeout_ms;
	if (!q->in_flight)
		return;
	for (unsigned int skip = twin_random(t) % q->in_flight; skip; skip--)
		p = &(*p)->next;
	op = *p;
	*p = op->next;
	twin_execute(tq, op);
	if (t->event)
		t->event(t);
}

static void twin_wake(struct io_queue *q)
{
	(void)q;
}

static void twin_queue_free(struct io_queue *q)
{
	struct twin_queue *tq = (struct twin_queue *)q;
	struct twin *t = tq->twin;

	for (struct twin_queue **p = &t->queues; *p; p = &(*p)->next)
		if (*p == tq) {
			*p = tq->next;
			break;
		}
	free(tq);
}

static int twin_queue_new(struct io_backend *backend, struct io_queue **ret)
{
	static const struct io_queue_ops ops = {
		.submit = twin_submit, .wait = twin_wait, .wake = twin_wake, .free = twin_queue_free};
	struct twin_queue *tq = calloc(1, sizeof(*tq));

	if (!tq)
		return -ENOMEM;
	tq->q.ops = &ops;
	tq->twin = (struct twin *)backend;
	tq->next = tq->twin->queues;
	tq->twin->queues = tq;
	*ret = &tq->q;
	return 0;
}

/* One sector after the other, on the disk or not, as `mode` says: 0 none, 1 all, 2 a beginning, 3
 * any. */
static inline void twin_apply(struct twin *t, uint8_t *image, uint64_t offset, const uint8_t *data, size_t length,
			      unsigned int mode)
{
	size_t sectors = length / TWIN_SECTOR, stop = mode == 2 ? twin_random(t) % sectors : sectors;

	for (size_t i = 0; mode && i < stop; i++)
		if (mode != 3 || (twin_random(t) & 1))
			memcpy(image + offset + i * TWIN_SECTOR, data + i * TWIN_SECTOR, TWIN_SECTOR);
}

/*
 * What the disk may hold if the power fails now. `bits`: with few writes outstanding, which of them
 * are there whole; with many, or when `tear`, each by chance, also in part.
 */
static inline void twin_crash(struct twin *t, uint8_t *image, uint32_t bits, bool tear)
{
	unsigned int k = 0;

	memcpy(image, t->durable, t->size);
	for (unsigned int i = 0; i < t->writes; i++, k++)
		twin_apply(t, image, t->write[i].offset, t->write[i].data, t->write[i].length,
			   tear || k >= 32 ? twin_random(t) % 4 : bits >> k & 1);
	for (struct twin_queue *tq = t->queues; tq; tq = tq->next)
		for (const struct io_op *op = tq->head; op; op = op->next) {
			uint8_t *data;

			if (op->type != IO_WRITE || op->fd != TWIN_FD)
				continue;
			data = malloc(twin_length(op));
			twin_gather(op, data);
			twin_apply(t, image, op->offset, data, twin_length(op),
				   tear || k >= 32 ? twin_random(t) % 4 : bits >> k & 1);
			free(data);
			k++;
		}
}

/* Writes that twin_crash() may leave out. */
static inline unsigned int twin_outstanding(const struct twin *t)
{
	unsigned int n = t->writes;

	for (struct twin_queue *tq = t->queues; tq; tq = tq->next)
		for (const struct io_op *op = tq->head; op; op = op->next)
			n += op->type == IO_WRITE && op->fd == TWIN_FD;
	return n;
}

static inline void twin_init(struct twin *t, uint64_t size, bool track, uint64_t seed)
{
	memset(t, 0, sizeof(*t));
	t->backend.queue_new = twin_queue_new;
	t->size = size;
	t->now = calloc(1, size);
	t->durable = track ? calloc(1, size) : NULL;
	t->rng = seed * 0x9e3779b97f4a7c15ull | 1;
}

static inline void twin_done(struct twin *t)
{
	for (unsigned int i = 0; i < t->writes; i++)
		free(t->write[i].data);
	free(t->now);
	free(t->durable);
}

#endif
