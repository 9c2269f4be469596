// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kill -9 at any moment. A child process writes to a kept and a discarded disk with the real
 * engine, and notes in shared memory what it is about to write and what was acknowledged; it is
 * killed; the store and staging memory are opened again and must show, sector by sector, what was
 * acknowledged, or something younger that was under way.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/engine_rig.h"

#define DISKS   2
#define SECTORS 8192u
#define SIZE    ((uint64_t)SECTORS * 512)
#define ROUNDS  25

struct shared {
	uint32_t begun[DISKS][SECTORS], acknowledged[DISKS][SECTORS];
	uint32_t version, ready;
};

static char dir[64];
static struct shared *shared;
static uint64_t rng;

static uint32_t next_random(void)
{
	return rig_random(&rng);
}

static int run(struct disk *d, enum disk_op op, bool fua, uint64_t offset, uint64_t length, void *data)
{
	return rig_run(NULL, d, op, fua, offset, length, data, data ? (size_t)length : 0);
}

static struct engine *open_all(struct disk **d)
{
	struct engine_config c = {
		.store_size = 64u << 20, .image_ram = 4u << 20, .write_back_ram = 1u << 20, .threads = 2};
	struct sentence err = {.text = ""};
	struct engine *e;

	snprintf(c.store, sizeof(c.store), "%s/store", dir);
	snprintf(c.run_dir, sizeof(c.run_dir), "%s", dir);
	if (engine_new(&e, &c, &err) < 0) {
		printf("# %s\n", err.text);
		return NULL;
	}
	for (unsigned int i = 0; i < DISKS; i++) {
		struct disk_config dc = rig_disk_config(dir, i, SIZE, i ? DISK_DISCARD : DISK_KEEP);

		if (disk_open(&d[i], e, &dc, &err) < 0) {
			printf("# %s\n", err.text);
			return NULL;
		}
	}
	return e;
}

static void fill(uint8_t *p, uint32_t disk, uint32_t sector, uint32_t version)
{
	uint32_t words[4] = {disk, sector, version, ~version};

	for (unsigned int i = 0; i < 512; i += sizeof(words))
		memcpy(p + i, words, sizeof(words));
}

static void child(void)
{
	static uint8_t buffer[64 * 512];
	struct disk *d[DISKS];

	rng += (uint64_t)getpid() * 0x9e3779b97f4a7c15ull;
	if (!open_all(d))
		_exit(1);
	__atomic_store_n(&shared->ready, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		unsigned int i = next_random() % DISKS;
		uint32_t count = next_random() % 64 + 1, sector = next_random() % (SECTORS - count);
		uint32_t version = ++shared->version;

		if (next_random() % 40 == 0)
			run(d[i], DISK_FLUSH, false, 0, 0, NULL);
		for (uint32_t s = 0; s < count; s++) {
			fill(buffer + s * 512, i, sector + s, version);
			shared->begun[i][sector + s] = version;
		}
		if (run(d[i], DISK_WRITE, next_random() % 50 == 0, (uint64_t)sector * 512, (uint64_t)count * 512,
			buffer))
			_exit(2);
		for (uint32_t s = 0; s < count; s++)
			shared->acknowledged[i][sector + s] = version;
	}
}

/* The version that a whole sector shows; UINT32_MAX if it is torn or another's. */
static uint32_t version_of(const uint8_t *p, uint32_t disk, uint32_t sector)
{
	uint32_t w[4];

	memcpy(w, p, sizeof(w));
	if (!w[2] && !w[0] && !w[1])
		return w[3] ? UINT32_MAX : 0; /* the base: zeros */
	if (memcmp(p, p + 16, 496) || w[0] != disk || w[1] != sector || w[3] != ~w[2])
		return UINT32_MAX;
	return w[2];
}

static void check_all(void)
{
	static uint8_t buffer[SIZE];
	struct disk *d[DISKS];
	struct engine *e = open_all(d);
	unsigned int bad = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(e);
	for (unsigned int i = 0; i < DISKS; i++) {
		CU_ASSERT_EQUAL(run(d[i], DISK_READ, false, 0, SIZE, buffer), 0);
		for (uint32_t s = 0; s < SECTORS; s++) {
			uint32_t v = version_of(buffer + s * 512, i, s);
			bool under_way = shared->begun[i][s] != shared->acknowledged[i][s];

			/* The kill may have come in the middle of a copy; the initiator writes that
			 * again. */
			if (under_way && v == UINT32_MAX)
				v = shared->begun[i][s];
			if (v != shared->acknowledged[i][s] && !(under_way && v == shared->begun[i][s])) {
				if (bad++ < 5)
					printf("# disk %u sector %u shows %u, acknowledged %u, "
					       "begun %u\n",
					       i, s, v, shared->acknowledged[i][s], shared->begun[i][s]);
			}
			if (under_way) { /* write it again, as an initiator would */
				uint8_t sector[512];

				fill(sector, i, s, shared->begun[i][s]);
				CU_ASSERT_EQUAL(run(d[i], DISK_WRITE, false, (uint64_t)s * 512, 512, sector), 0);
				shared->acknowledged[i][s] = shared->begun[i][s];
			}
		}
	}
	CU_ASSERT_EQUAL(bad, 0);
	for (unsigned int i = 0; i < DISKS; i++)
		disk_close(d[i]);
	engine_free(e);
}

static void test_kill_keeps_what_was_acknowledged(void)
{
	char path[100], command[100];
	uint32_t total = 0;
	int fd;

	rng = unit_seed() | 1;
	snprintf(dir, sizeof(dir), "%s/bootwell-kill.XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/base.raw", dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	CU_ASSERT_EQUAL_FATAL(ftruncate(fd, (off_t)SIZE), 0);
	close(fd);
	snprintf(path, sizeof(path), "%s/disk", dir);
	mkdir(path, 0700);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CU_ASSERT_FATAL(shared != MAP_FAILED);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		uint32_t from = shared->version;
		int status;
		pid_t pid;

		shared->ready = 0;
		fflush(stdout);
		pid = fork();
		if (!pid) {
			child();
			_exit(0);
		}
		while (!__atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST) && !waitpid(pid, &status, WNOHANG))
			sched_yield();
		/* So many writes later, wherever it is by then. */
		for (uint32_t want = from + next_random() % 1500;
		     __atomic_load_n(&shared->version, __ATOMIC_SEQ_CST) < want;)
			if (waitpid(pid, &status, WNOHANG)) {
				CU_FAIL_FATAL("the child ended by itself");
			} else {
				sched_yield();
			}
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		CU_ASSERT(WIFSIGNALED(status));
		total += shared->version - from;
		check_all();
	}
	printf("# %u kills in %u writes\n", ROUNDS, total);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	CU_ASSERT_EQUAL(system(command), 0);
}

/* --- a write that is still in the kernel when its process is gone --- */

#define LATE_BYTES (4u << 20)

static struct {
	uint32_t written, go, ended; /* the first process has written; the late write may end, and has */
} * late;

static uint8_t pattern[LATE_BYTES] __attribute__((aligned(4096)));

static struct engine *late_engine(void)
{
	struct engine_config c = {.store_size = 16u << 20,
				  .image_ram = 4u << 20,
				  .write_back_ram = 1u << 20,
				  .threads = 1,
				  .segment_blocks = 64};

	snprintf(c.store, sizeof(c.store), "%s/late", dir);
	return rig_engine(&c);
}

static struct disk *late_disk(struct engine *e, uint8_t reset)
{
	struct disk_config c = rig_disk_config(dir, 0, LATE_BYTES, DISK_KEEP);

	c.reset[0] = reset;
	return rig_disk(e, &c);
}

static void wait_for(const uint32_t *flag)
{
	while (!__atomic_load_n(flag, __ATOMIC_SEQ_CST))
		usleep(1000);
}

/*
 * What the kernel does for a process that is gone: an operation of io_uring has the file open, with its lock, until it
 * has ended. Here a child of the process stands for it.
 */
static void late_write(int fd, uint64_t at)
{
	wait_for(&late->go);
	memset(pattern, 0xdd, sizeof(pattern));
	if (pwrite(fd, pattern, LATE_BYTES, (off_t)at) < 0)
		_exit(1);
	__atomic_store_n(&late->ended, 1, __ATOMIC_SEQ_CST);
	_exit(0);
}

static void first_process(void)
{
	struct engine *e = late_engine();
	struct disk *d = late_disk(e, 0);

	memset(pattern, 0x11, sizeof(pattern));
	if (run(d, DISK_WRITE, false, 0, LATE_BYTES, pattern) || run(d, DISK_FLUSH, false, 0, 0, NULL))
		_exit(1);
	if (!fork())
		late_write(engine_store(e)->fd, (uint64_t)engine_store(e)->data_start * STORE_BLOCK);
	__atomic_store_n(&late->written, 1, __ATOMIC_SEQ_CST);
	for (;;)
		pause();
}

struct second {
	uint32_t open;
	struct engine *e;
	struct disk *d;
};

/* The next one: all that the first has written is free for it. */
static void *second_process(void *arg)
{
	struct second *s = arg;

	s->e = late_engine();
	s->d = late_disk(s->e, 1);
	memset(pattern, 0x22, sizeof(pattern));
	CU_ASSERT_EQUAL(run(s->d, DISK_WRITE, false, 0, LATE_BYTES, pattern), 0);
	CU_ASSERT_EQUAL(run(s->d, DISK_FLUSH, false, 0, 0, NULL), 0);
	__atomic_store_n(&s->open, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void test_kill_late_write_is_waited_for(void)
{
	static uint8_t back[LATE_BYTES];
	struct second second = {0};
	char path[100], command[100];
	pthread_t id;
	pid_t pid;
	int fd;

	snprintf(dir, sizeof(dir), "%s/bootwell-kill.XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/base.raw", dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	CU_ASSERT_EQUAL_FATAL(ftruncate(fd, LATE_BYTES), 0);
	close(fd);
	late = mmap(NULL, sizeof(*late), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CU_ASSERT_FATAL(late != MAP_FAILED);
	fflush(stdout);
	pid = fork();
	if (!pid)
		first_process();
	wait_for(&late->written);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&id, NULL, second_process, &second), 0);
	/* Time enough for it to open the store and write, if nothing holds it up. */
	for (unsigned int i = 0; i < 1500 && !__atomic_load_n(&second.open, __ATOMIC_SEQ_CST); i++)
		usleep(1000);
	CU_ASSERT_EQUAL(__atomic_load_n(&second.open, __ATOMIC_SEQ_CST), 0);
	__atomic_store_n(&late->go, 1, __ATOMIC_SEQ_CST);
	wait_for(&late->ended);
	pthread_join(id, NULL);
	disk_close(second.d);
	engine_free(second.e);
	second.e = late_engine();
	second.d = late_disk(second.e, 1);
	CU_ASSERT_EQUAL(run(second.d, DISK_READ, false, 0, LATE_BYTES, back), 0);
	CU_ASSERT_EQUAL(memcmp(back, pattern, LATE_BYTES), 0);
	disk_close(second.d);
	engine_free(second.e);
	munmap(late, sizeof(*late));
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	CU_ASSERT_EQUAL(system(command), 0);
}

UNIT_MAIN(UNIT(test_kill_keeps_what_was_acknowledged), UNIT(test_kill_late_write_is_waited_for))
