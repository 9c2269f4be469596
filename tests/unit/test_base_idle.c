// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A base that no disk has any more: the next disk finds it in memory, unless any of its files was
 * changed, replaced or deleted in the meantime; and what was deleted is not held on to.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tcmu-handler/engine.h"
#include "tests/unit/unit.h"

#define SIZE (1u << 20)

static char dir[64];
static struct engine *engine;
static uint8_t buffer[SIZE];

static const char *in_dir(const char *name)
{
	static char path[2][160];
	static unsigned int turn;

	turn ^= 1;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
	return path[turn];
}

static void save(const char *name, uint8_t value)
{
	FILE *f = fopen(in_dir(name), "r+");

	if (!f)
		f = fopen(in_dir(name), "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	memset(buffer, value, SIZE);
	CU_ASSERT_EQUAL(fwrite(buffer, 1, SIZE, f), SIZE);
	fclose(f);
}

static void start(void)
{
	struct engine_config c = {.image_ram = 16u << 20, .write_back_ram = 1u << 20, .threads = 1};
	struct engine_error err = {.text = ""};

	snprintf(dir, sizeof(dir), "/tmp/bootwell-idle.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	CU_ASSERT_EQUAL(mkdir(in_dir("i"), 0700), 0);
	CU_ASSERT_EQUAL_FATAL(engine_new(&engine, &c, &err), 0);
}

static void stop(void)
{
	char command[100];

	engine_free(engine);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	CU_ASSERT_EQUAL(system(command), 0);
}

static void on_done(struct disk_request *r, int error)
{
	__atomic_store_n((int *)r->arg, error ? error : 1, __ATOMIC_RELEASE);
}

/* A PC that boots from dir/i/NAME, and is switched off. The value that its whole disk has; -1: none. */
static int boot(const char *name, enum image_format format)
{
	struct disk_config c = {.size = SIZE, .mode = DISK_READONLY, .generation = "1", .layers = 1};
	struct engine_error err = {.text = ""};
	struct iovec iov = {buffer, SIZE};
	int ended = 0, value, r;
	struct disk_request q = {.op = DISK_READ,
				 .length = SIZE,
				 .iov = &iov,
				 .iov_cnt = 1,
				 .done = on_done,
				 .arg = &ended};
	struct disk *d;

	snprintf(c.layer[0].dir, sizeof(c.layer[0].dir), "%s/i", dir);
	snprintf(c.layer[0].file, sizeof(c.layer[0].file), "%s", name);
	c.layer[0].format = format;
	if (disk_open(&d, engine, &c, &err) < 0)
		return -1;
	r = disk_submit(d, &q);
	while (r == 1 && !__atomic_load_n(&ended, __ATOMIC_ACQUIRE))
		usleep(100);
	value = !r || ended == 1 ? buffer[0] : -1;
	for (unsigned int i = 0; i < SIZE; i++)
		if (buffer[i] != buffer[0])
			value = -1;
	disk_close(d);
	return value;
}

static uint64_t misses(void)
{
	struct engine_counters c;

	engine_counters(engine, &c);
	return c.cache_misses;
}

static unsigned int held(void)
{
	DIR *fds = opendir("/proc/self/fd");
	const struct dirent *e;
	unsigned int n = 0;

	while ((e = readdir(fds))) {
		char to[256];
		ssize_t length = readlinkat(dirfd(fds), e->d_name, to, sizeof(to) - 1);

		to[length > 0 ? length : 0] = '\0';
		n += !strncmp(to, dir, strlen(dir));
	}
	closedir(fds);
	return n;
}

static void test_idle_base_is_found_in_memory(void)
{
	uint64_t before;

	start();
	save("i/a.raw", 1);
	CU_ASSERT_EQUAL(boot("a.raw", IMAGE_RAW), 1);
	before = misses();
	CU_ASSERT(before > 0);
	CU_ASSERT_EQUAL(boot("a.raw", IMAGE_RAW), 1);
	CU_ASSERT_EQUAL(misses(), before);
	sleep(2); /* the watch has looked */
	CU_ASSERT_EQUAL(boot("a.raw", IMAGE_RAW), 1);
	CU_ASSERT_EQUAL(misses(), before);
	stop();
}

static void test_changed_in_place(void)
{
	start();
	save("i/a.raw", 1);
	CU_ASSERT_EQUAL(boot("a.raw", IMAGE_RAW), 1);
	usleep(20000); /* the clock of a ctime has ticked */
	save("i/a.raw", 2);
	CU_ASSERT_EQUAL(boot("a.raw", IMAGE_RAW), 2);
	stop();
}

static void test_replaced(void)
{
	start();
	save("i/a.raw", 1);
	CU_ASSERT_EQUAL(boot("a.raw", IMAGE_RAW), 1);
	save("b.raw", 2);
	CU_ASSERT_EQUAL(rename(in_dir("b.raw"), in_dir("i/a.raw")), 0);
	CU_ASSERT_EQUAL(boot("a.raw", IMAGE_RAW), 2);
	stop();
}

/* Nothing happens to the file itself. */
static void test_folder_replaced(void)
{
	start();
	save("i/a.raw", 1);
	CU_ASSERT_EQUAL(boot("a.raw", IMAGE_RAW), 1);
	CU_ASSERT_EQUAL(rename(in_dir("i"), in_dir("old")), 0);
	CU_ASSERT_EQUAL(boot("a.raw", IMAGE_RAW), -1);
	CU_ASSERT_EQUAL(mkdir(in_dir("i"), 0700), 0);
	save("i/a.raw", 2);
	CU_ASSERT_EQUAL(boot("a.raw", IMAGE_RAW), 2);
	stop();
}

/* Nothing happens to the file that has the disk's name. */
static void test_extent_changed(void)
{
	FILE *f;

	start();
	save("i/flat.vmdk", 1);
	f = fopen(in_dir("i/a.vmdk"), "w");
	fprintf(f, "# Disk DescriptorFile\nversion=1\nCID=00000001\nparentCID=ffffffff\n"
		   "createType=\"monolithicFlat\"\nRW 2048 FLAT \"flat.vmdk\" 0\n");
	fclose(f);
	CU_ASSERT_EQUAL(boot("a.vmdk", IMAGE_VMDK), 1);
	usleep(20000);
	save("i/flat.vmdk", 2);
	CU_ASSERT_EQUAL(boot("a.vmdk", IMAGE_VMDK), 2);
	stop();
}

static void test_deleted_is_let_go(void)
{
	start();
	save("i/a.raw", 1);
	CU_ASSERT_EQUAL(boot("a.raw", IMAGE_RAW), 1);
	CU_ASSERT_EQUAL(held(), 1);
	CU_ASSERT_EQUAL(unlink(in_dir("i/a.raw")), 0);
	for (unsigned int i = 0; i < 300 && held(); i++)
		usleep(100000);
	CU_ASSERT_EQUAL(held(), 0);
	CU_ASSERT_EQUAL(boot("a.raw", IMAGE_RAW), -1);
	stop();
}

static void test_few_are_idle(void)
{
	start();
	for (unsigned int i = 0; i < 12; i++) {
		char name[16], at[20];

		snprintf(name, sizeof(name), "%u.raw", i);
		snprintf(at, sizeof(at), "i/%s", name);
		save(at, (uint8_t)(i + 1));
		CU_ASSERT_EQUAL(boot(name, IMAGE_RAW), (int)i + 1);
	}
	CU_ASSERT_EQUAL(held(), 8);
	for (unsigned int i = 0; i < 12; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%u.raw", i);
		CU_ASSERT_EQUAL(boot(name, IMAGE_RAW), (int)i + 1);
	}
	stop();
}

UNIT_MAIN(UNIT(test_idle_base_is_found_in_memory), UNIT(test_changed_in_place), UNIT(test_replaced),
	  UNIT(test_folder_replaced), UNIT(test_extent_changed), UNIT(test_deleted_is_let_go),
	  UNIT(test_few_are_idle))
