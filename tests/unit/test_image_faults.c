// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Opening an image while the Nth allocation or the Nth read fails, for every N until it succeeds:
 * each failure is an error with a sentence, no descriptor and no memory stay behind, and what was
 * opened in the end is right. The C library's functions are replaced in this program by ones that
 * fail on demand.
 */
#include <dirent.h>
#include <dlfcn.h>

#include "tests/unit/image_refuse.h"
#include "tests/unit/no_memory.h"

enum fault { NO_FAULT, NO_MEMORY, READ_ERROR, READ_SHORT, READ_END };

#define REPLACES __attribute__((visibility("default")))

static enum fault fault;
static long countdown; /* of reads */

static bool now(enum fault what)
{
	return fault == what && --countdown == 0;
}

REPLACES ssize_t pread(int fd, void *to, size_t n, off_t at)
{
	static ssize_t (*real)(int, void *, size_t, off_t);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "pread");
	if (now(READ_ERROR)) {
		errno = EIO;
		return -1;
	}
	if (now(READ_END))
		return 0;
	if (fault == READ_SHORT && n > 1) /* all of them */
		n = 1 + n / 3;
	return real(fd, to, n, at);
}

static unsigned int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Sets off the fault at every N; returns how many times opening failed. */
static unsigned int sweep(const char *name, enum image_format format, enum fault what, uint64_t sector, int salt)
{
	int dirfd = open(test_dir, O_RDONLY | O_DIRECTORY);
	struct image_source src = {.dirfd = dirfd, .name = name, .format = format};
	unsigned int before = open_descriptors(), failed = 0;

	for (long n = 1; n < 10000; n++) {
		struct sentence err = {0};
		struct image *img = NULL;
		long live_before = no_memory.live;
		int r;

		fault = what;
		countdown = no_memory.countdown = n;
		no_memory_armed = what == NO_MEMORY;
		r = image_open(&img, &src, &err);
		fault = NO_FAULT;
		no_memory_armed = false;
		if (r == 0) {
			/* either nothing went wrong, or it could be mended by the other copy of
			 * something */
			bool damaged = image_info(img)->damaged;

			expect_sector(img, sector, salt);
			image_close(img);
			CU_ASSERT_EQUAL(open_descriptors(), before);
			if (damaged)
				continue;
			close(dirfd);
			return failed;
		}
		failed++;
		CU_ASSERT_PTR_NULL(img);
		CU_ASSERT_TRUE(strlen(err.text) > 10);
		if (open_descriptors() != before || no_memory.live != live_before) {
			printf("# %s, fault %d at %ld, %ld allocations left\n", name, what, n,
			       no_memory.live - live_before);
			CU_FAIL("something stays behind");
			break;
		}
	}
	CU_FAIL("never opened");
	close(dirfd);
	return failed;
}

static void make_images(void)
{
	struct blob b[4] = {build_vhd(3, 5, 0), build_vhd(4, 6, 5), build_vmdk(3, 8, 1, 0xffffffff),
			    build_stream(true, true, NULL)};
	char text[1024];

	folder_begin();
	blob_save(&b[0], test_dir, "dynamic.vhd");
	blob_save(&b[1], test_dir, "child.vhd");
	blob_save(&b[2], test_dir, "sparse.vmdk");
	blob_save(&b[3], test_dir, "stream.vmdk");
	build_descriptor(text, sizeof(text), "twoGbMaxExtentSparse", 1, 0xffffffff,
			 "RW 2048 SPARSE \"sparse.vmdk\"\nRW 7 ZERO");
	blob_save(&(struct blob){.p = (uint8_t *)text, .n = strlen(text)}, test_dir, "split.vmdk");
	for (int i = 0; i < 4; i++)
		blob_done(&b[i]);
}

static void sweep_all(enum fault what, unsigned int at_least)
{
	unsigned int n = 0;

	make_images();
	n += sweep("dynamic.vhd", IMAGE_VHD, what, 3, 5);
	n += sweep("child.vhd", IMAGE_VHD, what, 3, 6);
	n += sweep("sparse.vmdk", IMAGE_VMDK, what, 3, 8);
	n += sweep("stream.vmdk", IMAGE_VMDK, what, 3, 3);
	n += sweep("split.vmdk", IMAGE_VMDK, what, 3, 8);
	if (n < at_least) {
		printf("# only %u faults\n", n);
		CU_FAIL("the faults do not reach the library");
	}
	folder_end();
}

static void test_faults_no_memory(void)
{
	if (HAVE_NO_MEMORY)
		sweep_all(NO_MEMORY, 50);
}

static void test_faults_read_error(void)
{
	sweep_all(READ_ERROR, 20);
}

static void test_faults_file_became_shorter(void)
{
	sweep_all(READ_END, 20);
}

static void test_faults_short_reads_are_continued(void)
{
	sweep_all(READ_SHORT, 0);
}

UNIT_MAIN(UNIT(test_faults_no_memory), UNIT(test_faults_read_error), UNIT(test_faults_file_became_shorter),
	  UNIT(test_faults_short_reads_are_continued))
