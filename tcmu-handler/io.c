// SPDX-License-Identifier: GPL-2.0-or-later
/* Waiting for a single operation, for who has nothing else to do. */
#include "tcmu-handler/io.h"

struct waiter {
	struct io_op op;
	int error;
	bool finished;
};

static void finished(struct io_op *op, int error)
{
	struct waiter *w = op->arg;

	w->error = error;
	w->finished = true;
}

int io_sync(struct io_queue *q, enum io_type type, int fd, void *data, size_t length, uint64_t offset)
{
	struct waiter w = {.finished = false};

	io_op_single(&w.op, type, fd, data, length, offset);
	w.op.done = finished;
	w.op.arg = &w;
	io_submit(q, &w.op);
	while (!w.finished)
		io_wait(q, -1);
	return w.error;
}
