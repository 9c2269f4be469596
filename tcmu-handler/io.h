/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine's only door to disks: asynchronous reads, writes and fdatasync in queues. uring.c is
 * the real thing; the tests have a twin that records writes and flushes, injects faults and replays
 * crashes behind the very same engine.
 *
 * A queue belongs to one thread; only io_queue_wake() may be called from others.
 */
#ifndef BOOTWELL_IO_H
#define BOOTWELL_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum io_type { IO_READ, IO_WRITE, IO_FDATASYNC };

/*
 * One operation. The caller fills the first part and keeps it all alive until done(); `iov` is
 * modified. Whole or failed: a short transfer is carried on by the queue; a read that meets the end
 * of the file is -EIO. done() gets 0 or -errno and runs inside io_queue_wait() of the queue that it
 * was given to.
 */
struct io_op {
	enum io_type type;
	int fd;
	struct iovec *iov; /* at most IO_IOV_MAX; NULL for fdatasync */
	unsigned int iov_cnt;
	uint64_t offset; /* bytes in the file */
	bool sync;       /* a write that is durable when it has ended, itself and nothing else (RWF_DSYNC)
			  */
	void (*done)(struct io_op *op, int error);
	void *arg;

	/* the queue's own */
	struct iovec one; /* for callers with a single buffer: io_op_single() */
	unsigned int tries;
	struct io_op *next;
};

#define IO_IOV_MAX 1024

struct io_queue;

struct io_queue_ops {
	void (*submit)(struct io_queue *q, struct io_op *op);
	/* Runs done() of what has ended; with timeout_ms != 0 waits for at least one, or a wake
	 * (-1: for ever). */
	void (*wait)(struct io_queue *q, int timeout_ms);
	void (*wake)(struct io_queue *q);
	void (*free)(struct io_queue *q); /* nothing is in flight any more */
};

struct io_queue {
	const struct io_queue_ops *ops;
	unsigned int in_flight; /* submitted, not done */
};

/* What makes queues: one for each engine thread, one for each opening of a store or an overlay. */
struct io_backend {
	int (*queue_new)(struct io_backend *backend, struct io_queue **ret);
};

static inline void io_submit(struct io_queue *q, struct io_op *op)
{
	op->tries = 0;
	q->in_flight++;
	q->ops->submit(q, op);
}

static inline void io_wait(struct io_queue *q, int timeout_ms)
{
	q->ops->wait(q, timeout_ms);
}

static inline void io_queue_wake(struct io_queue *q)
{
	q->ops->wake(q);
}

static inline void io_queue_free(struct io_queue *q)
{
	if (q)
		q->ops->free(q);
}

/* A transfer of one buffer. */
static inline void io_op_single(struct io_op *op, enum io_type type, int fd, void *data, size_t length, uint64_t offset)
{
	op->type = type;
	op->fd = fd;
	op->one.iov_base = data;
	op->one.iov_len = length;
	op->iov = &op->one;
	op->iov_cnt = 1;
	op->offset = offset;
	op->sync = false;
}

/* Submits, and waits for it: for opening and closing, never on an engine thread. 0 or -errno. */
int io_sync(struct io_queue *q, enum io_type type, int fd, void *data, size_t length, uint64_t offset);

#endif
