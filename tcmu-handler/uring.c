// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One ring a queue. Submissions are gathered and go to the kernel when the owner waits, so one
 * system call carries all that a turn of the loop has made. A wake is an eventfd that the ring
 * always has a read on.
 *
 * Completions: a short transfer is carried on from where it stopped, EINTR and EAGAIN are tried
 * again (a bounded number of times, then they are -EIO as well: nobody else knows what to do about
 * them), a read of nothing is the end of the file and so -EIO. When the submission queue is full,
 * operations wait in a list of our own.
 */
#include "tcmu-handler/uring.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define DEPTH     256
#define TRIES_MAX 100

struct uring_queue {
	struct io_queue queue;
	struct io_uring ring;
	int wake_fd;
	uint64_t wake_count;
	bool wake_armed;
	unsigned int in_ring;      /* operations that the kernel has, the wake apart */
	struct io_op *head, *tail; /* waiting for room */
};

static void arm_wake(struct uring_queue *u)
{
	struct io_uring_sqe *sqe;

	if (u->wake_armed)
		return;
	sqe = io_uring_get_sqe(&u->ring);
	if (!sqe)
		return;
	io_uring_prep_read(sqe, u->wake_fd, &u->wake_count, sizeof(u->wake_count), 0);
	io_uring_sqe_set_data(sqe, NULL);
	u->wake_armed = true;
}

static bool push(struct uring_queue *u, struct io_op *op)
{
	struct io_uring_sqe *sqe = NULL;

	if (u->in_ring < DEPTH)
		sqe = io_uring_get_sqe(&u->ring);
	if (!sqe)
		return false;
	switch (op->type) {
	case IO_READ:
		io_uring_prep_readv(sqe, op->fd, op->iov, op->iov_cnt, op->offset);
		break;
	case IO_WRITE:
		io_uring_prep_writev2(sqe, op->fd, op->iov, op->iov_cnt, op->offset, op->sync ? RWF_DSYNC : 0);
		break;
	case IO_FDATASYNC:
		io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
		break;
	}
	io_uring_sqe_set_data(sqe, op);
	u->in_ring++;
	return true;
}

static void enqueue(struct uring_queue *u, struct io_op *op)
{
	op->next = NULL;
	if (u->tail)
		u->tail->next = op;
	else
		u->head = op;
	u->tail = op;
}

static void push_waiting(struct uring_queue *u)
{
	while (u->head) {
		struct io_op *op = u->head;

		if (!push(u, op))
			return;
		u->head = op->next;
		if (!u->head)
			u->tail = NULL;
	}
}

static void uring_submit(struct io_queue *q, struct io_op *op)
{
	struct uring_queue *u = (struct uring_queue *)q;

	if (u->head || !push(u, op))
		enqueue(u, op);
}

/* Moves past `done` bytes; true when nothing is left. */
static bool advance(struct io_op *op, size_t done)
{
	op->offset += done;
	while (op->iov_cnt && done >= op->iov->iov_len) {
		done -= op->iov->iov_len;
		op->iov++;
		op->iov_cnt--;
	}
	if (!op->iov_cnt)
		return true;
	op->iov->iov_base = (char *)op->iov->iov_base + done;
	op->iov->iov_len -= done;
	return false;
}

static void complete(struct uring_queue *u, struct io_op *op, int res)
{
	int error = 0;

	if (res < 0) {
		bool again = res == -EAGAIN || res == -EINTR;

		if (again && op->tries++ < TRIES_MAX)
			return enqueue(u, op);
		error = again ? -EIO : res;
	} else if (op->type != IO_FDATASYNC) {
		if (!advance(op, (size_t)res)) {
			if (res > 0)
				return enqueue(u, op);
			error = -EIO;
		}
	}
	u->queue.in_flight--;
	op->done(op, error);
}

static void uring_wait(struct io_queue *q, int timeout_ms)
{
	struct uring_queue *u = (struct uring_queue *)q;
	struct __kernel_timespec ts = {.tv_sec = timeout_ms / 1000,
				       .tv_nsec = (long long)(timeout_ms % 1000) * 1000000};
	struct io_uring_cqe *cqe, *batch[64];
	unsigned int n;

	push_waiting(u);
	arm_wake(u);
	if (timeout_ms)
		io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, timeout_ms < 0 ? NULL : &ts, NULL);
	else
		io_uring_submit(&u->ring);
	while ((n = io_uring_peek_batch_cqe(&u->ring, batch, 64)) > 0) {
		struct io_op *op[64];
		int res[64];

		for (unsigned int i = 0; i < n; i++) {
			op[i] = io_uring_cqe_get_data(batch[i]);
			res[i] = batch[i]->res;
		}
		io_uring_cq_advance(&u->ring, n);
		for (unsigned int i = 0; i < n; i++) {
			if (!op[i]) {
				u->wake_armed = false;
				continue;
			}
			u->in_ring--;
			complete(u, op[i], res[i]);
		}
	}
	if (u->head)
		push_waiting(u);
}

static void uring_wake(struct io_queue *q)
{
	struct uring_queue *u = (struct uring_queue *)q;

	/* Fails only when the counter is full: then it is awake. */
	if (eventfd_write(u->wake_fd, 1) < 0)
		return;
}

static void uring_free(struct io_queue *q)
{
	struct uring_queue *u = (struct uring_queue *)q;

	io_uring_queue_exit(&u->ring);
	close(u->wake_fd);
	free(u);
}

static const struct io_queue_ops uring_ops = {
	.submit = uring_submit,
	.wait = uring_wait,
	.wake = uring_wake,
	.free = uring_free,
};

static int uring_new(struct io_backend *backend, struct io_queue **ret)
{
	struct uring_queue *u = calloc(1, sizeof(*u));
	int r;

	(void)backend;
	if (!u)
		return -ENOMEM;
	u->queue.ops = &uring_ops;
	u->wake_fd = eventfd(0, EFD_CLOEXEC);
	if (u->wake_fd < 0) {
		r = -errno;
		goto fail;
	}
	r = io_uring_queue_init(DEPTH + 8, &u->ring, 0);
	if (r < 0)
		goto fail_fd;
	/* A child that tcmu-runner starts has no business in it: see daemon/core/loop.c. */
	io_uring_ring_dontfork(&u->ring);
	*ret = &u->queue;
	return 0;
fail_fd:
	close(u->wake_fd);
fail:
	free(u);
	return r;
}

struct io_backend *uring_backend(void)
{
	static struct io_backend backend = {.queue_new = uring_new};

	return &backend;
}
