// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The engine on the real thing: io_uring, threads, files. A random mix of all requests on a few
 * disks over one base is held against byte arrays; disks are closed and opened again, and the
 * engine with them.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/engine_rig.h"

#define SIZE    (24u << 20)
#define BASE    (20u << 20) /* the rest of the disk is behind the end of the image: zero */
#define REQUEST (512u << 10)
#define DISKS   3

static char dir[] = "/tmp/bootwell-engine.XXXXXX";
static uint8_t *base;
static uint64_t rng;

static uint32_t next_random(void)
{
	return rig_random(&rng);
}

static void make_dir(void)
{
	char path[200];
	int fd;

	if (base)
		return;
	rng = unit_seed() | 1;
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/disk", dir);
	CU_ASSERT_EQUAL_FATAL(mkdir(path, 0700), 0);
	base = malloc(BASE);
	for (size_t i = 0; i < BASE; i += 4) {
		uint32_t v = next_random();

		memcpy(base + i, &v, 4);
	}
	snprintf(path, sizeof(path), "%s/base.raw", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	CU_ASSERT_EQUAL_FATAL(write(fd, base, BASE), BASE);
	close(fd);
}

static struct engine *start(uint64_t write_back_ram)
{
	struct engine_config c = {
		.store_size = 256u << 20, .image_ram = 8u << 20, .write_back_ram = write_back_ram, .threads = 2};

	snprintf(c.store, sizeof(c.store), "%s/store", dir);
	snprintf(c.run_dir, sizeof(c.run_dir), "%s", dir);
	return rig_engine(&c);
}

static struct disk *open_disk(struct engine *e, unsigned int i, enum disk_mode mode, unsigned int boot)
{
	struct disk_config c = rig_disk_config(dir, i, SIZE, mode);

	c.boot[0] = (uint8_t)(boot + 1);
	return rig_disk(e, &c);
}

static int run(struct disk *d, enum disk_op op, bool fua, uint64_t offset, uint64_t length, void *data,
	       size_t data_length)
{
	return rig_run(NULL, d, op, fua, offset, length, data, data_length);
}

static uint8_t *model_new(void)
{
	uint8_t *m = calloc(1, SIZE);

	memcpy(m, base, BASE);
	return m;
}

static uint64_t differs(const uint8_t *a, const uint8_t *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (a[i] != b[i])
			return i;
	return n;
}

static void step(struct disk *d, uint8_t *model, uint8_t *buffer)
{
	static const uint32_t lengths[] = {512, 4096, 8192, 65536, REQUEST};
	uint32_t length = (next_random() % (lengths[next_random() % 5] / 512) + 1) * 512;
	uint32_t offset = next_random() % ((SIZE - length) / 512 + 1) * 512;
	uint32_t kind = next_random() % 100;

	if (next_random() % 2)
		offset = offset % (2u << 20); /* a part that is hot */
	if (kind < 40) {
		memset(buffer, 0xee, length);
		CU_ASSERT_EQUAL(run(d, DISK_READ, false, offset, length, buffer, length), 0);
		if (memcmp(buffer, model + offset, length)) {
			printf("# read of %u at %u differs at %llu\n", length, offset,
			       (unsigned long long)(offset + differs(buffer, model + offset, length)));
			CU_FAIL("read");
		}
	} else if (kind < 80) {
		for (uint32_t i = 0; i < length; i += 4) {
			uint32_t v = next_random();

			memcpy(buffer + i, &v, 4);
		}
		CU_ASSERT_EQUAL(run(d, DISK_WRITE, kind < 44, offset, length, buffer, length), 0);
		memcpy(model + offset, buffer, length);
	} else if (kind < 88) {
		CU_ASSERT_EQUAL(run(d, DISK_UNMAP, false, offset, length, NULL, 0), 0);
		memset(model + offset, 0, length);
	} else if (kind < 94) {
		memset(buffer, kind & 1 ? 0 : (int)next_random(), 512);
		CU_ASSERT_EQUAL(run(d, DISK_WRITE_SAME, false, offset, length, buffer, 512), 0);
		for (uint32_t i = 0; i < length; i += 512)
			memcpy(model + offset + i, buffer, 512);
	} else {
		CU_ASSERT_EQUAL(run(d, DISK_FLUSH, false, 0, 0, NULL, 0), 0);
	}
}

static void check_whole(struct disk *d, const uint8_t *model, uint8_t *buffer)
{
	for (uint32_t at = 0; at < SIZE; at += REQUEST) {
		CU_ASSERT_EQUAL(run(d, DISK_READ, false, at, REQUEST, buffer, REQUEST), 0);
		if (memcmp(buffer, model + at, REQUEST)) {
			printf("# whole read differs at %llu\n",
			       (unsigned long long)(at + differs(buffer, model + at, REQUEST)));
			CU_FAIL("whole read");
			return;
		}
	}
}

static void test_engine_model(void)
{
	uint8_t *model[DISKS], *buffer;
	struct disk *d[DISKS];
	struct engine *e;

	make_dir();
	buffer = malloc(REQUEST);
	e = start(4u << 20);
	for (unsigned int i = 0; i < DISKS; i++) {
		model[i] = model_new();
		d[i] = open_disk(e, i, i ? DISK_KEEP : DISK_DISCARD, 0);
	}
	for (unsigned int round = 0; round < 4; round++) {
		for (unsigned int n = 0; n < 1500; n++) {
			unsigned int i = next_random() % DISKS;

			step(d[i], model[i], buffer);
		}
		for (unsigned int i = 0; i < DISKS; i++)
			check_whole(d[i], model[i], buffer);
		for (unsigned int i = 0; i < DISKS; i++)
			disk_close(d[i]);
		if (round & 1) {
			engine_free(e);
			e = start(4u << 20);
		}
		for (unsigned int i = 0; i < DISKS; i++) {
			d[i] = open_disk(e, i, i ? DISK_KEEP : DISK_DISCARD, 0);
			check_whole(d[i], model[i], buffer);
		}
	}
	/* A new boot: what is discarded is gone, what is kept is there. */
	for (unsigned int i = 0; i < DISKS; i++)
		disk_close(d[i]);
	memset(model[0], 0, SIZE);
	memcpy(model[0], base, BASE);
	for (unsigned int i = 0; i < DISKS; i++) {
		d[i] = open_disk(e, i, i ? DISK_KEEP : DISK_DISCARD, 1);
		check_whole(d[i], model[i], buffer);
		disk_close(d[i]);
		free(model[i]);
	}
	engine_free(e);
	free(buffer);
}

struct hammer {
	struct disk *d;
	uint64_t seed;
	uint64_t failures;
};

/* Writes and reads a region of its own, while other threads do the same on the same disk. */
static void *hammer(void *arg)
{
	struct hammer *h = arg;
	uint8_t *model = calloc(1, 1u << 20), *buffer = malloc(65536);
	uint64_t at = (h->seed & 7) << 20, x = h->seed * 0x9e3779b97f4a7c15ull | 1;

	memcpy(model, base + at, 1u << 20);
	for (unsigned int n = 0; n < 3000; n++) {
		uint32_t length, offset;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		length = ((uint32_t)(x >> 8) % 64 + 1) * 512;
		offset = (uint32_t)(x >> 20) % (((1u << 20) - length) / 512) * 512;
		if (x & 1) {
			memset(buffer, (int)(x >> 40), length);
			h->failures += run(h->d, DISK_WRITE, (x & 0xfe) == 2, at + offset, length, buffer, length) != 0;
			memcpy(model + offset, buffer, length);
		} else {
			h->failures += run(h->d, DISK_READ, false, at + offset, length, buffer, length) != 0;
			h->failures += memcmp(buffer, model + offset, length) != 0;
		}
	}
	free(model);
	free(buffer);
	return NULL;
}

static void test_engine_many_threads(void)
{
	struct hammer h[8];
	pthread_t id[8];
	struct disk *d[2];
	struct engine *e;

	make_dir();
	e = start(2u << 20);
	d[0] = open_disk(e, 5, DISK_KEEP, 0);
	d[1] = open_disk(e, 6, DISK_DISCARD, 0);
	for (unsigned int i = 0; i < 8; i++) {
		h[i] = (struct hammer){.d = d[i & 1], .seed = i + 8 * (next_random() & 0xffff)};
		CU_ASSERT_EQUAL_FATAL(pthread_create(&id[i], NULL, hammer, &h[i]), 0);
	}
	for (unsigned int i = 0; i < 8; i++) {
		pthread_join(id[i], NULL);
		CU_ASSERT_EQUAL(h[i].failures, 0);
	}
	disk_close(d[0]);
	disk_close(d[1]);
	engine_free(e);
}

static void test_engine_refuses(void)
{
	struct disk_config c;
	struct sentence err;
	struct disk *d;
	struct engine *e;
	uint8_t buffer[512];

	make_dir();
	e = start(2u << 20);
	d = open_disk(e, 7, DISK_READONLY, 0);
	CU_ASSERT_EQUAL(run(d, DISK_WRITE, false, 0, 512, buffer, 512), -EROFS);
	CU_ASSERT_EQUAL(run(d, DISK_READ, false, 0, 512, buffer, 512), 0);
	CU_ASSERT_EQUAL(memcmp(buffer, base, 512), 0);
	CU_ASSERT_EQUAL(run(d, DISK_READ, false, SIZE, 512, buffer, 512), -ERANGE);
	CU_ASSERT_EQUAL(run(d, DISK_READ, false, SIZE - 512, 1024, buffer, 512), -ERANGE);
	CU_ASSERT_EQUAL(run(d, DISK_READ, false, 1, 512, buffer, 512), -EINVAL);
	CU_ASSERT_EQUAL(run(d, DISK_READ, false, SIZE - 512, 512, buffer, 512), 0);
	disk_close(d);
	d = open_disk(e, 8, DISK_KEEP, 0);
	/* The same overlay twice at once. */
	struct disk *second = NULL;

	c = rig_disk_config(dir, 8, SIZE, DISK_KEEP);

	CU_ASSERT_EQUAL(disk_open(&second, e, &c, &err), -EBUSY);
	disk_close(d);
	/* Another generation under kept data. */
	snprintf(c.generation, sizeof(c.generation), "win 2");
	CU_ASSERT_EQUAL(disk_open(&second, e, &c, &err), -ESTALE);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "win 1"));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "win 2"));
	/* Dropped on request. */
	c.reset[3] = 9;
	CU_ASSERT_EQUAL(disk_open(&second, e, &c, &err), 0);
	disk_close(second);
	snprintf(c.layer[0].file, sizeof(c.layer[0].file), "missing.raw");
	snprintf(c.generation, sizeof(c.generation), "win 3");
	CU_ASSERT(disk_open(&second, e, &c, &err) < 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "missing.raw"));
	engine_free(e);
}

/* A file that is not what it was when it was added to the catalogue is no base for anybody. */
static void test_engine_refuses_a_base_that_is_another_now(void)
{
	struct image_source src = {.name = "base.raw", .format = IMAGE_RAW};
	struct engine *e = start(8u << 20);
	struct disk_config c = rig_disk_config(dir, 3, SIZE, DISK_READONLY);
	struct sentence err = {.text = ""};
	struct disk *d = NULL;
	struct image *img;

	src.dirfd = open(dir, O_PATH | O_DIRECTORY);
	CU_ASSERT_EQUAL_FATAL(image_open(&img, &src, &err), 0);
	close(src.dirfd);
	c.layer[0].fingerprint = image_info(img)->fingerprint;
	image_close(img);
	CU_ASSERT_NOT_EQUAL(c.layer[0].fingerprint, 0);
	CU_ASSERT_EQUAL(disk_open(&d, e, &c, &err), 0);
	disk_close(d);
	c.layer[0].fingerprint ^= 1;
	CU_ASSERT_EQUAL(disk_open(&d, e, &c, &err), -ESTALE);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "base.raw: is not the image that was added to the catalogue"));
	engine_free(e);
}

static void test_engine_cleanup(void)
{
	char command[100];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	CU_ASSERT_EQUAL(system(command), 0);
	free(base);
	base = NULL;
}

UNIT_MAIN(UNIT(test_engine_model), UNIT(test_engine_many_threads), UNIT(test_engine_refuses),
	  UNIT(test_engine_refuses_a_base_that_is_another_now), UNIT(test_engine_cleanup))
