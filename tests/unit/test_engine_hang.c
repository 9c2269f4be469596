// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A disk under the store, or under an image, that does not answer: only the PC that needs it waits. What memory has is
 * answered, other disks go on and are opened and closed, and closing the one that waits does not hold up anybody.
 * When it answers again, nothing has been lost.
 *
 * The engine is the real one, with threads and io_uring; a gate stands before its queues.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tcmu-handler/uring.h"
#include "tests/unit/engine_rig.h"

#define SIZE (8u << 20)

static char dir[] = "/tmp/bootwell-hang.XXXXXX";
static bool made;

/* --- a gate: operations on `fd` wait before it until it is opened --- */

static struct {
	struct io_backend backend, *inner;
	int fd; /* atomic; -1: it is open */
} gate;

struct gate_queue {
	struct io_queue q;
	struct io_queue *inner;
	struct io_op *held;
};

struct passing {
	struct io_op op;
	struct gate_queue *g;
	struct io_op *of;
};

static void passed(struct io_op *op, int error)
{
	struct passing *p = op->arg;
	struct io_op *of = p->of;

	p->g->q.in_flight--;
	free(p);
	of->done(of, error);
}

static void pass(struct gate_queue *g, struct io_op *of)
{
	struct passing *p = malloc(sizeof(*p));

	p->op = *of;
	if (of->iov == &of->one)
		p->op.iov = &p->op.one;
	p->op.done = passed;
	p->op.arg = p;
	p->g = g;
	p->of = of;
	io_submit(g->inner, &p->op);
}

static void gate_submit(struct io_queue *q, struct io_op *op)
{
	struct gate_queue *g = (struct gate_queue *)q;

	if (op->fd != __atomic_load_n(&gate.fd, __ATOMIC_ACQUIRE)) {
		pass(g, op);
		return;
	}
	op->next = g->held;
	g->held = op;
}

static void gate_wait(struct io_queue *q, int timeout_ms)
{
	struct gate_queue *g = (struct gate_queue *)q;

	while (g->held && __atomic_load_n(&gate.fd, __ATOMIC_ACQUIRE) < 0) {
		struct io_op *op = g->held;

		g->held = op->next;
		pass(g, op);
	}
	io_wait(g->inner, g->held && (timeout_ms < 0 || timeout_ms > 20) ? 20 : timeout_ms);
}

static void gate_wake(struct io_queue *q)
{
	io_queue_wake(((struct gate_queue *)q)->inner);
}

static void gate_free(struct io_queue *q)
{
	io_queue_free(((struct gate_queue *)q)->inner);
	free(q);
}

static int gate_queue_new(struct io_backend *backend, struct io_queue **ret)
{
	static const struct io_queue_ops ops = {gate_submit, gate_wait, gate_wake, gate_free};
	struct gate_queue *g = calloc(1, sizeof(*g));
	int r;

	(void)backend;
	g->q.ops = &ops;
	r = gate.inner->queue_new(gate.inner, &g->inner);
	*ret = &g->q;
	return r;
}

/* --- */

static char said[2048];

static void note(void *arg, const char *sentence)
{
	(void)arg;
	snprintf(said, sizeof(said), "%s", sentence);
}

static struct engine *start(void)
{
	struct engine_config c = {.store_size = 64u << 20,
				  .image_ram = 4u << 20,
				  .write_back_ram = 16u << 20,
				  .threads = 2,
				  .close_ms = 200};
	char path[100];
	int fd;

	gate.backend.queue_new = gate_queue_new;
	gate.inner = uring_backend();
	gate.fd = -1;
	if (!made) /* a name that was made may have an X itself */
		CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	made = true;
	snprintf(path, sizeof(path), "%s/base.raw", dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	CU_ASSERT_EQUAL_FATAL(ftruncate(fd, SIZE), 0);
	close(fd);
	snprintf(c.store, sizeof(c.store), "%s/store", dir);
	c.io = &gate.backend;
	c.log = note;
	return rig_engine(&c);
}

static struct disk *open_disk(struct engine *e, unsigned int i, enum disk_mode mode)
{
	struct disk_config c = rig_disk_config(dir, i, SIZE, mode);

	return rig_disk(e, &c);
}

static int put(struct disk *d, enum disk_op op, uint64_t offset, uint8_t value, bool fua)
{
	uint8_t data[4096];

	memset(data, value, sizeof(data));
	return rig_run(NULL, d, op, fua, offset, sizeof(data), data, sizeof(data));
}

static int value_at(struct disk *d, uint64_t offset)
{
	uint8_t data[4096];
	int r = rig_run(NULL, d, DISK_READ, false, offset, sizeof(data), data, sizeof(data));

	return r ? r : data[0];
}

static void test_hang_store(void)
{
	struct engine *e = start();
	struct disk *kept = open_disk(e, 0, DISK_KEEP), *other = open_disk(e, 1, DISK_DISCARD), *third;
	struct disk_config again = rig_disk_config(dir, 0, SIZE, DISK_KEEP);
	struct sentence err = {.text = ""};
	struct rig_request flush;

	CU_ASSERT_EQUAL(put(kept, DISK_WRITE, 0, 1, true), 0);
	__atomic_store_n(&gate.fd, engine_store(e)->fd, __ATOMIC_RELEASE);
	/* A write is done in memory; what has to be on the disk waits. */
	CU_ASSERT_EQUAL(put(kept, DISK_WRITE, 4096, 2, false), 0);
	rig_begin(&flush, NULL, kept, DISK_FLUSH, false, 0, 0, NULL, 0);
	for (unsigned int i = 0; i < 200; i++) {
		CU_ASSERT_EQUAL(put(other, DISK_WRITE, i * 4096, (uint8_t)(i + 1), false), 0);
		CU_ASSERT_EQUAL(put(other, DISK_FLUSH, 0, 0, false), 0);
		CU_ASSERT_EQUAL(value_at(other, i * 4096), (uint8_t)(i + 1));
	}
	CU_ASSERT_EQUAL(value_at(kept, 4096), 2);
	CU_ASSERT_EQUAL(value_at(kept, 1 << 20), 0); /* of the image */
	third = open_disk(e, 2, DISK_READONLY);
	CU_ASSERT_EQUAL(value_at(third, 0), 0);
	disk_close(third);
	CU_ASSERT_FALSE(rig_is_done(&flush));
	__atomic_store_n(&gate.fd, -1, __ATOMIC_RELEASE);
	CU_ASSERT_EQUAL(rig_end(&flush), 0);
	/* And closing one that hangs comes back, and goes on by itself. */
	CU_ASSERT_EQUAL(put(kept, DISK_WRITE, 8192, 3, false), 0);
	__atomic_store_n(&gate.fd, engine_store(e)->fd, __ATOMIC_RELEASE);
	disk_close(kept);
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "pc0"));
	CU_ASSERT_EQUAL(disk_open(&kept, e, &again, &err), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "still being written"));
	CU_ASSERT_EQUAL(value_at(other, 4096), 2);
	__atomic_store_n(&gate.fd, -1, __ATOMIC_RELEASE);
	while (disk_open(&kept, e, &again, &err) == -EBUSY)
		usleep(1000);
	CU_ASSERT_EQUAL(value_at(kept, 0), 1);
	CU_ASSERT_EQUAL(value_at(kept, 4096), 2);
	CU_ASSERT_EQUAL(value_at(kept, 8192), 3);
	disk_close(kept);
	disk_close(other);
	engine_free(e);
}

/* The gate is closed while a disk is closed, and the engine right after: it waits for the disk, and loses nothing. */
static void *open_gate(void *arg)
{
	(void)arg;
	usleep(300000);
	__atomic_store_n(&gate.fd, -1, __ATOMIC_RELEASE);
	return NULL;
}

static void test_hang_and_the_end(void)
{
	struct engine *e = start();
	struct disk *d = open_disk(e, 5, DISK_KEEP);
	pthread_t id;

	CU_ASSERT_EQUAL(put(d, DISK_WRITE, 4096, 7, false), 0);
	__atomic_store_n(&gate.fd, engine_store(e)->fd, __ATOMIC_RELEASE);
	disk_close(d);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&id, NULL, open_gate, NULL), 0);
	engine_free(e);
	pthread_join(id, NULL);
	e = start();
	d = open_disk(e, 5, DISK_KEEP);
	CU_ASSERT_EQUAL(value_at(d, 4096), 7);
	disk_close(d);
	engine_free(e);
	char command[100];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	CU_ASSERT_EQUAL(system(command), 0);
}

UNIT_MAIN(UNIT(test_hang_store), UNIT(test_hang_and_the_end))
