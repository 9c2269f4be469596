// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A base that no disk has any more: the next disk finds it in memory, unless any of its files was
 * changed, replaced or deleted in the meantime; and what was deleted is not held on to.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/engine_rig.h"

#define SIZE (1u << 20)

static char dir[64];
static struct engine *engine;
static uint8_t buffer[SIZE];

static char test[32]; /* beneath dir */

static const char *in_dir(const char *name)
{
	static char path[2][160];
	static unsigned int turn;

	turn ^= 1;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s/%s", dir, test, name);
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

static void save_descriptor(const char *name, const char *flat)
{
	FILE *f = fopen(in_dir(name), "w");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fprintf(f,
		"# Disk DescriptorFile\nversion=1\nCID=00000001\nparentCID=ffffffff\n"
		"createType=\"monolithicFlat\"\nRW 2048 FLAT \"%s\" 0\n",
		flat);
	fclose(f);
}

/* What was changed just now does not stay: all that is opened first is made here, and a while passes. */
static void prepare(void)
{
	static const char *const tests[] = {"memory",  "in-place", "replaced", "folder", "extent",
					    "extents", "deleted",  "few",      "files"};

	snprintf(dir, sizeof(dir), "/tmp/bootwell-idle.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	for (unsigned int i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		snprintf(test, sizeof(test), "%s", tests[i]);
		CU_ASSERT_EQUAL(mkdir(in_dir(""), 0700), 0);
		CU_ASSERT_EQUAL(mkdir(in_dir("i"), 0700), 0);
		CU_ASSERT_EQUAL(mkdir(in_dir("i/sub"), 0700), 0);
		for (unsigned int k = 0; k < 12; k++) {
			char name[16];

			snprintf(name, sizeof(name), "i/%u.raw", k);
			save(name, (uint8_t)(k + 1));
		}
		save("i/flat.vmdk", 1);
		save_descriptor("i/a.vmdk", "flat.vmdk");
		save("i/sub/flat.vmdk", 1);
		save_descriptor("i/b.vmdk", "sub/flat.vmdk");
	}
	sleep(5);
}

static void start(const char *name)
{
	struct engine_config c = {.image_ram = 16u << 20, .write_back_ram = 1u << 20, .threads = 1};
	struct sentence err = {.text = ""};

	if (!*dir)
		prepare();
	snprintf(test, sizeof(test), "%s", name);
	CU_ASSERT_EQUAL_FATAL(engine_new(&engine, &c, &err), 0);
}

static void stop(void)
{
	char command[160];

	engine_free(engine);
	snprintf(command, sizeof(command), "rm -rf %s/%s", dir, test);
	CU_ASSERT_EQUAL(system(command), 0);
	rmdir(dir); /* with the last one */
}

/* A PC that boots from dir/i/NAME, and is switched off. The value that its whole disk has; -1: none. */
static int boot(const char *name, enum image_format format)
{
	struct disk_config c = {.size = SIZE, .mode = DISK_READONLY, .generation = "1", .layers = 1};
	struct sentence err = {.text = ""};
	int value, r;
	struct disk *d;

	snprintf(c.layer[0].dir, sizeof(c.layer[0].dir), "%s/%s/i", dir, test);
	snprintf(c.layer[0].file, sizeof(c.layer[0].file), "%s", name);
	c.layer[0].format = format;
	if (disk_open(&d, engine, &c, &err) < 0)
		return -1;
	r = rig_run(NULL, d, DISK_READ, false, 0, SIZE, buffer, SIZE);
	value = r ? -1 : buffer[0];
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

	start("memory");
	CU_ASSERT_EQUAL(boot("0.raw", IMAGE_RAW), 1);
	before = misses();
	CU_ASSERT(before > 0);
	CU_ASSERT_EQUAL(boot("0.raw", IMAGE_RAW), 1);
	CU_ASSERT_EQUAL(misses(), before);
	sleep(2); /* the watch has looked */
	CU_ASSERT_EQUAL(boot("0.raw", IMAGE_RAW), 1);
	CU_ASSERT_EQUAL(misses(), before);
	stop();
}

static void test_changed_in_place(void)
{
	start("in-place");
	CU_ASSERT_EQUAL(boot("0.raw", IMAGE_RAW), 1);
	save("i/0.raw", 99);
	CU_ASSERT_EQUAL(boot("0.raw", IMAGE_RAW), 99);
	/* It may have been changed once more in the same moment. */
	CU_ASSERT_EQUAL(held(), 0);
	stop();
}

static void test_replaced(void)
{
	start("replaced");
	CU_ASSERT_EQUAL(boot("0.raw", IMAGE_RAW), 1);
	CU_ASSERT_EQUAL(rename(in_dir("i/1.raw"), in_dir("i/0.raw")), 0);
	CU_ASSERT_EQUAL(boot("0.raw", IMAGE_RAW), 2);
	stop();
}

/* Nothing happens to the file itself. */
static void test_folder_replaced(void)
{
	start("folder");
	CU_ASSERT_EQUAL(boot("0.raw", IMAGE_RAW), 1);
	CU_ASSERT_EQUAL(rename(in_dir("i"), in_dir("old")), 0);
	CU_ASSERT_EQUAL(boot("0.raw", IMAGE_RAW), -1);
	CU_ASSERT_EQUAL(mkdir(in_dir("i"), 0700), 0);
	save("i/0.raw", 99);
	CU_ASSERT_EQUAL(boot("0.raw", IMAGE_RAW), 99);
	stop();
}

/* Nothing happens to the file that has the disk's name. */
static void test_extent_changed(void)
{
	start("extent");
	CU_ASSERT_EQUAL(boot("a.vmdk", IMAGE_VMDK), 1);
	CU_ASSERT_EQUAL(held(), 2);
	save("i/flat.vmdk", 99);
	CU_ASSERT_EQUAL(boot("a.vmdk", IMAGE_VMDK), 99);
	stop();
}

/* Nothing happens to any of its files. */
static void test_folder_of_extents_replaced(void)
{
	start("extents");
	CU_ASSERT_EQUAL(boot("b.vmdk", IMAGE_VMDK), 1);
	CU_ASSERT_EQUAL(rename(in_dir("i/sub"), in_dir("i/old")), 0);
	CU_ASSERT_EQUAL(mkdir(in_dir("i/sub"), 0700), 0);
	save("i/sub/flat.vmdk", 99);
	CU_ASSERT_EQUAL(boot("b.vmdk", IMAGE_VMDK), 99);
	stop();
}

static bool holds_no_more_than(unsigned int most)
{
	for (unsigned int i = 0; i < 300 && held() > most; i++)
		usleep(100000);
	return held() <= most;
}

static void test_deleted_is_let_go(void)
{
	start("deleted");
	CU_ASSERT_EQUAL(boot("0.raw", IMAGE_RAW), 1);
	CU_ASSERT_EQUAL(boot("1.raw", IMAGE_RAW), 2);
	CU_ASSERT_EQUAL(held(), 2);
	CU_ASSERT_EQUAL(unlink(in_dir("i/0.raw")), 0);
	CU_ASSERT(holds_no_more_than(1));
	CU_ASSERT_EQUAL(held(), 1);
	CU_ASSERT_EQUAL(boot("0.raw", IMAGE_RAW), -1);
	stop();
}

static void boot_all(void)
{
	for (unsigned int i = 0; i < 12; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%u.raw", i);
		CU_ASSERT_EQUAL(boot(name, IMAGE_RAW), (int)i + 1);
	}
}

static void test_few_are_idle(void)
{
	start("few");
	boot_all();
	CU_ASSERT(holds_no_more_than(8));
	CU_ASSERT_EQUAL(held(), 8);
	boot_all();
	stop();
}

/* What is idle makes room for what is wanted. */
static void test_idle_ones_give_their_files(void)
{
	struct rlimit old, tight;
	int next;

	start("files");
	CU_ASSERT_EQUAL(boot("0.raw", IMAGE_RAW), 1);
	CU_ASSERT_EQUAL(boot("1.raw", IMAGE_RAW), 2);
	CU_ASSERT_EQUAL(getrlimit(RLIMIT_NOFILE, &old), 0);
	do { /* until no number is free below */
		next = open("/dev/null", O_RDONLY);
		CU_ASSERT_FATAL(next >= 0);
	} while (next < 60);
	close(next);
	tight = old;
	tight.rlim_cur = (rlim_t)next + 1; /* one more file may be open, and an image takes two at first */
	CU_ASSERT_EQUAL(setrlimit(RLIMIT_NOFILE, &tight), 0);
	CU_ASSERT_EQUAL(boot("2.raw", IMAGE_RAW), 3);
	CU_ASSERT_EQUAL(setrlimit(RLIMIT_NOFILE, &old), 0);
	CU_ASSERT_EQUAL(held(), 1);
	stop();
}

UNIT_MAIN(UNIT(test_idle_base_is_found_in_memory), UNIT(test_changed_in_place), UNIT(test_replaced),
	  UNIT(test_folder_replaced), UNIT(test_extent_changed), UNIT(test_folder_of_extents_replaced),
	  UNIT(test_deleted_is_let_go), UNIT(test_few_are_idle), UNIT(test_idle_ones_give_their_files))
