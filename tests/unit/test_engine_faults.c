// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Faults: the Nth operation on the store fails, once or from then on, for each N of a fixed piece
 * of work. It must give the right error, to nobody but the client whose operation it was; nothing
 * leaks; when the fault has passed, the disk goes on and shows what was acknowledged; an fdatasync
 * error alone is for ever.
 *
 * The same for the Nth allocation. And over the real io_uring for its completions: one that was
 * only a part (what it did not do is spoilt here), EAGAIN and EINTR are no errors, they are gone on
 * with; only a kernel that says EAGAIN for ever is one.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tcmu-handler/record.h"
#include "tests/unit/engine_rig.h"
#include "tests/unit/no_memory.h"

#define DISKS   2
#define SIZE    (512u << 10)
#define STORE   (4u << 20)
#define PAGES   64u
#define SECTORS (SIZE / 512)
#define CUT     1 /* for an error: a completion of a part */

struct fault {
	enum io_type type;
	bool memory; /* an allocation, instead of an operation */
	bool real;   /* over io_uring, instead of the twin */
	int error;
	unsigned int nth;
	bool for_ever, only_first; /* only_first: only segments of disk 0 */
	unsigned int seen, hits;
};

static char dir[] = "/tmp/bootwell-faults.XXXXXX";
static struct twin twin;
static struct engine *engine;
static struct disk *disk[DISKS];
static uint8_t allowed[DISKS][SECTORS][32]; /* a sector is one byte again and again: which ones it
					       may be, a bit each */
static struct fault fault;
static int file = -1; /* the store over io_uring */
static unsigned int stamp;
static int errors[DISKS];

static bool of_first(const struct io_op *op)
{
	struct store *s = engine_store(engine);
	uint64_t block = op->offset / 4096;

	if (op->fd != s->fd || op->type == IO_FDATASYNC || block < s->data_start)
		return false;
	return disk[0] && s->segment[store_segment_of(s, (uint32_t)block)].state == SEGMENT_USED &&
	       s->segment[store_segment_of(s, (uint32_t)block)].place == overlay_place(disk_overlay(disk[0]));
}

static bool chosen(const struct io_op *op)
{
	if (op->type != fault.type || !engine || fault.memory || (fault.only_first && !of_first(op)))
		return false;
	if (++fault.seen < fault.nth || (fault.seen > fault.nth && !fault.for_ever))
		return false;
	fault.hits++;
	return true;
}

static int inject(struct twin *t, const struct io_op *op)
{
	(void)t;
	return op->fd == TWIN_FD && fault.error && chosen(op) ? fault.error : 0;
}

/* --- completions of io_uring --- */

/* What the operation has done behind its first `keep` bytes is undone. */
static void spoil(const struct io_op *op, size_t keep)
{
	static uint8_t junk[RECORD_ENTRIES * 4096 + 4096];
	uint64_t at = op->offset;

	memset(junk, 0xee, sizeof(junk));
	for (unsigned int i = 0; i < op->iov_cnt && op->type != IO_FDATASYNC; i++) {
		size_t n = op->iov[i].iov_len, skip = keep < n ? keep : n;

		if (op->type == IO_READ)
			memset((uint8_t *)op->iov[i].iov_base + skip, 0xee, n - skip);
		else
			CU_ASSERT_EQUAL_FATAL(pwrite(op->fd, junk, n - skip, (off_t)(at + skip)), (ssize_t)(n - skip));
		keep -= skip;
		at += n;
	}
}

/* liburing's, seen by uring.c: the kernel's word about an operation is changed here. */
__attribute__((visibility("default"))) unsigned int
io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes, unsigned int count)
{
	static unsigned int (*next)(struct io_uring *, struct io_uring_cqe **, unsigned int);
	unsigned int n;

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "io_uring_peek_batch_cqe");
	n = next(ring, cqes, count);
	for (unsigned int i = 0; fault.real && fault.error && i < n; i++) {
		struct io_op *op = io_uring_cqe_get_data(cqes[i]);
		size_t keep = 0;

		if (!op || cqes[i]->res < (fault.error == CUT ? 1024 : 0) || !chosen(op))
			continue;
		if (fault.error == CUT)
			keep = 512 + twin_random(&twin) % ((unsigned int)cqes[i]->res / 512 - 1) * 512;
		spoil(op, keep);
		cqes[i]->res = fault.error == CUT ? (int)keep : fault.error;
	}
	return n;
}

static void start(void)
{
	struct engine_config c = rig_twin_config(&twin, (uint64_t)PAGES * 4096);
	struct engine *e;

	if (fault.real) {
		c.store_fd = dup(file);
		c.io = NULL;
	}
	e = rig_engine(&c);
	for (unsigned int i = 0; i < DISKS; i++) {
		struct disk_config d = rig_disk_config(dir, i, SIZE, DISK_KEEP);

		disk[i] = rig_disk(e, &d);
	}
	engine = e;
}

/* --- a device that does not answer for a while --- */

static bool stalled;

static void stall_wait(struct io_queue *q, int timeout_ms)
{
	if (!stalled)
		twin_wait(q, timeout_ms);
}

static int stall_queue_new(struct io_backend *backend, struct io_queue **ret)
{
	static const struct io_queue_ops ops = {
		.submit = twin_submit, .wait = stall_wait, .wake = twin_wake, .free = twin_queue_free};
	int r = twin_queue_new(backend, ret);

	if (!r)
		(*ret)->ops = &ops;
	return r;
}

/* Nothing is held any more. */
static void stop(bool clean)
{
	struct store *s = engine_store(engine);
	struct staging *st = engine_staging(engine);

	for (unsigned int i = 0; i < DISKS; i++) {
		disk_close(disk[i]);
		disk[i] = NULL;
	}
	for (uint32_t i = 0; i < s->segments; i++)
		CU_ASSERT_EQUAL(s->segment[i].pins, 0);
	if (clean) {
		CU_ASSERT_EQUAL(staging_free_count(st), PAGES);
		CU_ASSERT_EQUAL(s->promised, 0);
	}
	CU_ASSERT_EQUAL(s->writing, 0);
	engine_free(engine);
	engine = NULL;
}

struct one {
	struct disk_request r;
	struct iovec iov;
	bool finished;
	int error;
};

static void done(struct disk_request *r, int error)
{
	struct one *o = r->arg;

	o->finished = true;
	o->error = error;
}

static int run(unsigned int i, enum disk_op op, bool fua, uint64_t offset, uint64_t length, void *data)
{
	struct iovec iov = {.iov_base = data, .iov_len = length};
	struct one o = {.r = {.op = op,
			      .fua = fua,
			      .offset = offset,
			      .length = length,
			      .iov = &iov,
			      .iov_cnt = 1,
			      .done = done}};
	int e;

	o.r.arg = &o;
	no_memory_armed = fault.memory && (!i || !fault.only_first);
	e = disk_submit(disk[i], &o.r);
	for (unsigned int turns = 0; e == 1 && !o.finished; turns++) {
		engine_poll(engine, true);
		if (turns > 1000 && turns % 100 == 0)
			engine_tick(engine); /* what waits for a second try gets it */
		if (turns > 200000) {
			no_memory_armed = false;
			printf("# disk %u: operation %d of %u hangs (nth %u)\n", i, op, (unsigned int)length,
			       fault.nth);
			CU_FAIL_FATAL("a request hangs");
		}
	}
	no_memory_armed = false;
	if (e == 1)
		e = o.error;
	if (e)
		errors[i] = e;
	return e;
}

static void note(unsigned int i, uint32_t sector, uint32_t count, uint8_t value, int e)
{
	for (uint32_t k = sector; k < sector + count; k++) {
		/* A failed one may be there or not. */
		if (!e)
			memset(allowed[i][k], 0, 32);
		allowed[i][k][value / 8] |= (uint8_t)(1u << value % 8);
	}
}

static void put(unsigned int i, enum disk_op op, bool fua, uint32_t sector, uint32_t count)
{
	uint8_t *data = malloc(count * 512);
	int e;

	memset(data, (int)(++stamp % 251) + 1, count * 512);
	e = run(i, op, fua, (uint64_t)sector * 512, (uint64_t)count * 512, data);
	note(i, sector, count, op == DISK_UNMAP ? 0 : data[0], e);
	free(data);
}

static void check(unsigned int i)
{
	static uint8_t buffer[SIZE];
	unsigned int bad = 0;
	int e = run(i, DISK_READ, false, 0, SIZE, buffer);

	if (e)
		return;
	for (uint32_t s = 0; s < SECTORS; s++)
		bad += memcmp(buffer + s * 512, buffer + s * 512 + 1, 511) ||
		       !(allowed[i][s][buffer[s * 512] / 8] >> buffer[s * 512] % 8 & 1);
	if (bad)
		printf("# disk %u: %u sectors differ (type %d memory %d error %d nth %u for ever "
		       "%d)\n",
		       i, bad, fault.type, fault.memory, fault.error, fault.nth, fault.for_ever);
	CU_ASSERT_EQUAL(bad, 0);
}

static void work(void)
{
	for (unsigned int i = 0; i < DISKS; i++) {
		put(i, DISK_WRITE, false, 0, 320);
		run(i, DISK_FLUSH, false, 0, 0, NULL);
		for (unsigned int k = 0; k < 30; k++)
			put(i, DISK_WRITE, false, k * 8 + k % 8, 1); /* partial: has to be merged */
		put(i, DISK_UNMAP, false, 100, 90);
		put(i, DISK_WRITE, true, 110, 3);
		for (unsigned int k = 0; k < 6; k++)
			put(i, DISK_WRITE, false, 400 + k * 100, 100); /* more than staging has room for */
		run(i, DISK_FLUSH, false, 0, 0, NULL);
		check(i);
		put(i, DISK_WRITE, false, 4, 600);
		check(i);
	}
}

static void fresh_world(void)
{
	char path[100];
	int fd;

	if (!twin.now) {
		CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
		snprintf(path, sizeof(path), "%s/base.raw", dir);
		fd = open(path, O_WRONLY | O_CREAT, 0600);
		for (unsigned int i = 0; i < SIZE; i += 512) {
			uint8_t sector[512];

			memset(sector, 0xfe, 512);
			CU_ASSERT_EQUAL_FATAL(write(fd, sector, 512), 512);
		}
		close(fd);
		file = memfd_create("store", MFD_CLOEXEC);
		twin_init(&twin, STORE, false, unit_seed());
		twin.fault = inject;
	}
	memset(twin.now, 0, STORE);
	CU_ASSERT_EQUAL_FATAL(ftruncate(file, 0) | ftruncate(file, STORE), 0);
	memset(allowed, 0, sizeof(allowed));
	for (unsigned int i = 0; i < DISKS; i++)
		for (unsigned int s = 0; s < SECTORS; s++)
			allowed[i][s][0xfe / 8] = 1u << 0xfe % 8;
	memset(errors, 0, sizeof(errors));
}

/* Returns whether the fault was met at all. */
static bool round_with(struct fault f)
{
	bool passing = f.real && !f.memory && (f.error == CUT || !f.for_ever);
	bool fatal = f.type == IO_FDATASYNC && !f.memory && !passing, met;
	long live;

	fresh_world();
	live = no_memory.live;
	memset(&fault, 0, sizeof(fault));
	fault.real = f.real;
	start();
	fault = f;
	no_memory.countdown = f.nth;
	no_memory.for_ever = f.for_ever;
	no_memory.hits = 0;
	work();
	met = (f.memory ? no_memory.hits : fault.hits) != 0;
	for (unsigned int i = 0; i < DISKS; i++) {
		CU_ASSERT(!f.memory || !errors[i] || errors[i] == -ENOMEM);
		CU_ASSERT(!passing || !errors[i]);
		/* What the device says is passed on; what uring.c made of EAGAIN, and a store that
		 * is given up, are EIO. */
		CU_ASSERT(f.memory || !errors[i] || errors[i] == (f.real || fatal ? -EIO : f.error));
	}
	if (f.only_first)
		CU_ASSERT_EQUAL(errors[1], 0);
	if (met && fatal) {
		/* For ever: no write is acknowledged any more, reads go on. */
		uint8_t sector[512] = {0};

		fault.error = 0;
		CU_ASSERT_EQUAL(run(0, DISK_WRITE, false, 0, 512, sector), -EIO);
		CU_ASSERT_EQUAL(run(1, DISK_FLUSH, false, 0, 0, NULL), -EIO);
		CU_ASSERT_EQUAL(run(0, DISK_READ, false, 0, 512, sector), 0);
		check(0);
		stop(false);
		return met;
	}
	fault.error = 0;
	fault.memory = false;
	/* What had been on its way into a broken segment fails yet. */
	while (engine_store(engine)->writing)
		engine_poll(engine, true);
	engine_tick(engine);
	for (unsigned int i = 0; i < DISKS; i++) {
		errors[i] = 0;
		CU_ASSERT_EQUAL(run(i, DISK_FLUSH, false, 0, 0, NULL), 0);
		put(i, DISK_WRITE, true, 9, 30);
		check(i);
		CU_ASSERT_EQUAL(errors[i], 0);
	}
	stop(true);
	start();
	for (unsigned int i = 0; i < DISKS; i++)
		check(i);
	stop(true);
	CU_ASSERT_EQUAL(no_memory.live, live);
	return met;
}

static void every(struct fault f)
{
	for (f.nth = 1; round_with(f) && f.nth < 4000;)
		f.nth++;
	CU_ASSERT(f.nth > 3); /* it was met a few times */
	printf("# %d faults of %s %d error %d%s%s%s\n", f.nth - 1, f.memory ? "memory" : "type", f.type, f.error,
	       f.for_ever ? " for ever" : "", f.only_first ? " on the first disk" : "", f.real ? ", io_uring" : "");
}

static void every_nth(enum io_type type, int error, bool for_ever, bool only_first)
{
	every((struct fault){.type = type, .error = error, .for_ever = for_ever, .only_first = only_first});
}

static void test_faults_write_once(void)
{
	every_nth(IO_WRITE, -EIO, false, false);
	every_nth(IO_WRITE, -ENOSPC, false, true);
}

static void test_faults_write_for_ever(void)
{
	every_nth(IO_WRITE, -EIO, true, false);
	every_nth(IO_WRITE, -EIO, true, true);
}

static void test_faults_read(void)
{
	every_nth(IO_READ, -EIO, false, true);
	every_nth(IO_READ, -EIO, true, true);
}

static void test_faults_fdatasync(void)
{
	every_nth(IO_FDATASYNC, -EIO, false, false);
	every_nth(IO_FDATASYNC, -ENOSPC, true, false);
}

static void test_faults_no_memory(void)
{
	if (!HAVE_NO_MEMORY)
		return;
	every((struct fault){.real = true, .memory = true});
	every((struct fault){.real = true, .memory = true, .only_first = true});
	every((struct fault){.real = true, .memory = true, .for_ever = true});
	every((struct fault){.real = true, .memory = true, .for_ever = true, .only_first = true});
}

static void test_faults_completions_that_pass(void)
{
	static const int errors_[] = {CUT, -EAGAIN, -EINTR};

	for (unsigned int i = 0; i < 3; i++)
		for (enum io_type type = IO_READ; type <= IO_FDATASYNC; type++)
			if (errors_[i] != CUT || type != IO_FDATASYNC)
				every((struct fault){.real = true, .type = type, .error = errors_[i]});
	every((struct fault){.real = true, .type = IO_READ, .error = CUT, .for_ever = true});
	every((struct fault){.real = true, .type = IO_WRITE, .error = CUT, .for_ever = true});
}

static void test_faults_completions_for_ever(void)
{
	static const int errors_[] = {-EAGAIN, -EINTR};

	for (unsigned int i = 0; i < 2; i++)
		for (enum io_type type = IO_READ; type <= IO_FDATASYNC; type++)
			every((struct fault){.real = true,
					     .type = type,
					     .error = errors_[i],
					     .for_ever = true,
					     .only_first = type != IO_FDATASYNC});
}

/* The clock goes on, and whatever the engine has to do is done. */
static void pass_seconds(unsigned int n)
{
	while (n--) {
		engine_tick(engine);
		for (unsigned int turns = 0; turns < 20; turns++)
			engine_poll(engine, true);
	}
}

static void submit_write(struct one *o, unsigned int i, uint32_t count, uint8_t *data)
{
	memset(o, 0, sizeof(*o));
	memset(data, (int)(++stamp % 251) + 1, count * 512);
	o->iov = (struct iovec){.iov_base = data, .iov_len = count * 512};
	o->r = (struct disk_request){
		.op = DISK_WRITE, .length = count * 512, .iov = &o->iov, .iov_cnt = 1, .done = done, .arg = o};
	CU_ASSERT_EQUAL_FATAL(disk_submit(disk[i], &o->r), 1);
}

static int wait_for(struct one *o)
{
	for (unsigned int turns = 0; turns < 100000 && !o->finished; turns++)
		engine_poll(engine, true);
	CU_ASSERT_TRUE_FATAL(o->finished);
	return o->error;
}

/*
 * A write that waits for memory goes on when there is some, fails with EIO when nothing has moved
 * for 20 seconds, and counts anew when something has.
 */
static void test_faults_patience(void)
{
	static uint8_t data[DISKS][SIZE];
	struct one o[DISKS];
	uint64_t before;

	fresh_world();
	memset(&fault, 0, sizeof(fault));
	twin.backend.queue_new = stall_queue_new;
	start();
	stalled = true;
	for (unsigned int i = 0; i < DISKS; i++)
		submit_write(&o[i], i, SECTORS, data[i]); /* each more than there is memory */
	pass_seconds(20);
	for (unsigned int i = 0; i < DISKS; i++)
		CU_ASSERT_FALSE(o[i].finished);
	pass_seconds(4);
	for (unsigned int i = 0; i < DISKS; i++)
		CU_ASSERT_TRUE(o[i].finished);
	stalled = false;
	for (unsigned int i = 0; i < DISKS; i++) {
		CU_ASSERT_EQUAL(wait_for(&o[i]), -EIO);
		note(i, 0, SECTORS, data[i][0], o[i].error);
	}
	for (unsigned int i = 0; i < DISKS; i++) {
		errors[i] = 0;
		check(i);
		put(i, DISK_WRITE, true, 0, SECTORS);
		check(i);
		CU_ASSERT_EQUAL(errors[i], 0);
	}
	stalled = true;
	for (unsigned int i = 0; i < DISKS; i++)
		submit_write(&o[i], i, SECTORS, data[i]);
	pass_seconds(15);
	CU_ASSERT_FALSE(o[0].finished);
	before = o[0].r.progress;
	stalled = false;
	for (unsigned int turns = 0; turns < 10000 && o[0].r.progress == before; turns++)
		engine_poll(engine, true);
	CU_ASSERT(o[0].r.progress > before);
	stalled = true;
	pass_seconds(15);
	CU_ASSERT_FALSE(o[0].finished);
	stalled = false;
	CU_ASSERT_EQUAL(wait_for(&o[0]), 0);
	/* The other one may have had nothing in all that time. */
	CU_ASSERT(!wait_for(&o[1]) || o[1].error == -EIO);
	for (unsigned int i = 0; i < DISKS; i++) {
		note(i, 0, SECTORS, data[i][0], o[i].error);
		check(i);
	}
	stop(true);
	twin.backend.queue_new = twin_queue_new;
}

static void test_faults_flush_error_is_told(void)
{
	static uint8_t data[4096];

	fresh_world();
	memset(&fault, 0, sizeof(fault));
	start();
	CU_ASSERT_EQUAL(run(0, DISK_WRITE, false, 0, 4096, data), 0);
	fault = (struct fault){.type = IO_WRITE, .error = -EIO, .nth = 1, .for_ever = true, .only_first = true};
	CU_ASSERT_EQUAL(run(0, DISK_FLUSH, false, 0, 0, NULL), -EIO);
	CU_ASSERT_EQUAL(run(0, DISK_WRITE, true, 8192, 4096, data), -EIO);
	CU_ASSERT_EQUAL(run(1, DISK_WRITE, true, 8192, 4096, data), 0);
	fault.error = 0;
	CU_ASSERT_EQUAL(run(0, DISK_FLUSH, false, 0, 0, NULL), 0);
	stop(true);
	twin_done(&twin);
	memset(&twin, 0, sizeof(twin));
	char command[100];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	CU_ASSERT_EQUAL(system(command), 0);
}

UNIT_MAIN(UNIT(test_faults_write_once), UNIT(test_faults_write_for_ever), UNIT(test_faults_read),
	  UNIT(test_faults_fdatasync), UNIT(test_faults_no_memory), UNIT(test_faults_completions_that_pass),
	  UNIT(test_faults_completions_for_ever), UNIT(test_faults_patience), UNIT(test_faults_flush_error_is_told))
