// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an overlay is when it is opened again, by the same engine or by the next one: after a reset
 * nothing of what was there comes back; under another generation or size it is refused, with a
 * sentence that names both; and one damaged copy of a header costs nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tcmu-handler/engine.h"
#include "tests/crash/twin.h"
#include "tests/unit/image_build.h"
#include "tests/unit/unit.h"

#define SIZE    (256u << 10)
#define SECTORS (SIZE / 512)
#define STORE   (4u << 20)
#define BASE    1 /* salts of sectors */
#define FIRST   2
#define SECOND  3

static char dir[64];
static struct twin twin;
static struct engine *engine;

static void begin(void)
{
	struct blob b = {0};

	snprintf(dir, sizeof(dir), "/tmp/bootwell-reopen.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	for (uint64_t s = 0; s < SECTORS; s++)
		build_sector(blob_need(&b, (s + 1) * 512) + s * 512, s, BASE);
	blob_save(&b, dir, "base.raw");
	blob_done(&b);
	twin_init(&twin, STORE, false, unit_seed());
}

static void end(void)
{
	char command[100];

	twin_done(&twin);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	CU_ASSERT_EQUAL(system(command), 0);
}

static void start(void)
{
	static const uint8_t machine[16] = {1};
	struct engine_config c = {.store_fd = TWIN_FD,
				  .store_size = STORE,
				  .image_ram = 4u << 20,
				  .write_back_ram = 1u << 20,
				  .threads = 1,
				  .io = &twin.backend,
				  .manual = true,
				  .segment_blocks = 16,
				  .places = 4,
				  .machine_boot = machine};
	struct engine_error err = {.text = ""};

	if (engine_new(&engine, &c, &err) < 0)
		printf("# %s\n", err.text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(engine);
}

static void stop(void)
{
	engine_free(engine);
	engine = NULL;
}

static struct disk_config config_of(enum disk_mode mode, uint8_t boot, uint8_t reset)
{
	struct disk_config c = {.size = SIZE, .mode = mode, .layers = 1, .generation = "win 1"};

	c.overlay[0] = 7;
	c.boot[0] = boot;
	c.reset[0] = reset;
	c.layer[0].format = IMAGE_RAW;
	snprintf(c.layer[0].dir, sizeof(c.layer[0].dir), "%s", dir);
	snprintf(c.layer[0].file, sizeof(c.layer[0].file), "base.raw");
	return c;
}

static struct disk *open_config(const struct disk_config *c)
{
	struct engine_error err = {.text = ""};
	struct disk *d = NULL;

	if (disk_open(&d, engine, c, &err) < 0)
		printf("# %s\n", err.text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	return d;
}

static struct disk *open_disk(enum disk_mode mode, uint8_t boot, uint8_t reset)
{
	struct disk_config c = config_of(mode, boot, reset);

	return open_config(&c);
}

struct one {
	struct disk_request r;
	bool finished;
	int error;
};

static void done(struct disk_request *r, int error)
{
	struct one *o = r->arg;

	o->finished = true;
	o->error = error;
}

static int run(struct disk *d, enum disk_op op, uint64_t sector, uint64_t count, void *data)
{
	struct iovec iov = {.iov_base = data, .iov_len = count * 512};
	struct one o = {.r = {.op = op,
			      .offset = sector * 512,
			      .length = count * 512,
			      .iov = &iov,
			      .iov_cnt = 1,
			      .done = done}};
	int e;

	o.r.arg = &o;
	e = disk_submit(d, &o.r);
	if (e != 1)
		return e;
	for (unsigned int turns = 0; !o.finished; turns++) {
		engine_poll(engine, true);
		if (turns > 100000)
			CU_FAIL_FATAL("a request hangs");
	}
	return o.error;
}

static void write_sectors(struct disk *d, uint64_t first, uint64_t count, uint8_t salt)
{
	static uint8_t buffer[SIZE];

	for (uint64_t s = 0; s < count; s++)
		build_sector(buffer + s * 512, first + s, salt);
	CU_ASSERT_EQUAL(run(d, DISK_WRITE, first, count, buffer), 0);
	CU_ASSERT_EQUAL(run(d, DISK_FLUSH, 0, 0, NULL), 0);
}

/* The sectors are of that salt; all others of the disk of the other one. */
static void expect(struct disk *d, uint64_t first, uint64_t count, uint8_t salt, uint8_t other)
{
	static uint8_t buffer[SIZE];
	unsigned int bad = 0;

	memset(buffer, 0xee, sizeof(buffer));
	CU_ASSERT_EQUAL(run(d, DISK_READ, 0, SECTORS, buffer), 0);
	for (uint64_t s = 0; s < SECTORS; s++) {
		uint8_t want[512];

		build_sector(want, s, s >= first && s < first + count ? salt : other);
		bad += memcmp(want, buffer + s * 512, 512) != 0;
	}
	if (bad)
		printf("# %u of %u sectors are not what they should be\n", bad, SECTORS);
	CU_ASSERT_EQUAL(bad, 0);
}

/* --- reset --- */

/* The old data lies in the store yet: it must not be found again by the next engine. */
static void reset_from(enum disk_mode old, enum disk_mode new, bool write)
{
	struct disk *d;

	begin();
	start();
	d = open_disk(old, 1, 0);
	write_sectors(d, 0, SECTORS - 8, FIRST);
	disk_close(d);
	d = open_disk(new, 1, 9);
	expect(d, 0, 0, 0, BASE);
	if (write)
		write_sectors(d, 40, 3, SECOND);
	disk_close(d);
	for (unsigned int k = 0; k < 2; k++) {
		stop();
		start();
		d = open_disk(new, 1, 9);
		expect(d, 40, write ? 3 : 0, SECOND, BASE);
		disk_close(d);
	}
	stop();
	end();
}

static void test_reopen_after_reset(void)
{
	static const enum disk_mode mode[] = {DISK_KEEP, DISK_DISCARD};

	for (unsigned int i = 0; i < 8; i++)
		reset_from(mode[i & 1], mode[i >> 1 & 1], i >> 2);
}

/* Without a reset it is all there, and a new boot drops only what is not kept. */
static void test_reopen_without_reset(void)
{
	struct disk *d;

	for (unsigned int keep = 0; keep < 2; keep++) {
		enum disk_mode mode = keep ? DISK_KEEP : DISK_DISCARD;

		begin();
		start();
		d = open_disk(mode, 1, 9);
		write_sectors(d, 3, 100, FIRST);
		disk_close(d);
		stop();
		start();
		d = open_disk(mode, 1, 9);
		expect(d, 3, 100, FIRST, BASE);
		disk_close(d);
		d = open_disk(mode, 2, 9);
		expect(d, 3, keep ? 100 : 0, FIRST, BASE);
		disk_close(d);
		stop();
		start();
		d = open_disk(mode, 2, 9);
		expect(d, 3, keep ? 100 : 0, FIRST, BASE);
		disk_close(d);
		stop();
		end();
	}
}

/* --- what does not belong together --- */

static void refuse(const struct disk_config *c, const char *sentence)
{
	struct engine_error err = {.text = ""};
	struct disk *d = NULL;

	CU_ASSERT_EQUAL(disk_open(&d, engine, c, &err), -ESTALE);
	CU_ASSERT_STRING_EQUAL(err.text, sentence);
	if (strcmp(err.text, sentence))
		printf("# expected \"%s\", got \"%s\"\n", sentence, d ? "(opened)" : err.text);
	disk_close(d);
}

static void refuse_generation(enum disk_mode mode, const char *old, const char *new)
{
	struct disk_config c;
	char sentence[256];
	struct disk *d;

	begin();
	start();
	c = config_of(mode, 1, 0);
	snprintf(c.generation, sizeof(c.generation), "%s", old);
	d = open_config(&c);
	write_sectors(d, 0, 20, FIRST);
	disk_close(d);
	/* In the same engine, and in one that has it from the store. */
	for (unsigned int k = 0; k < 2; k++) {
		snprintf(c.generation, sizeof(c.generation), "%s", new);
		snprintf(sentence, sizeof(sentence),
			 mode == DISK_KEEP ? "The kept write-back belongs to \"%s\" and cannot be "
					     "laid over \"%s\"; give the client the old "
					     "generation, or reset it."
					   : "The PC booted from \"%s\" and the disk is now "
					     "\"%s\"; restart the PC.",
			 old, new);
		refuse(&c, sentence);
		/* The refusal has harmed nothing. */
		snprintf(c.generation, sizeof(c.generation), "%s", old);
		d = open_config(&c);
		expect(d, 0, 20, FIRST, BASE);
		disk_close(d);
		stop();
		start();
	}
	snprintf(c.generation, sizeof(c.generation), "%s", new);
	c.reset[0] = 9;
	d = open_config(&c);
	expect(d, 0, 0, 0, BASE);
	disk_close(d);
	stop();
	end();
}

/* A name of which the other one is only the beginning is another name. */
static void test_reopen_other_generation(void)
{
	for (enum disk_mode mode = DISK_DISCARD; mode <= DISK_KEEP; mode++) {
		refuse_generation(mode, "win 1", "win 10");
		refuse_generation(mode, "win 10", "win 1");
		refuse_generation(mode, "win 1", "win 2");
	}
}

static void test_reopen_other_size(void)
{
	struct disk_config c;
	struct disk *d;

	begin();
	start();
	c = config_of(DISK_KEEP, 1, 0);
	d = open_config(&c);
	write_sectors(d, 0, 20, FIRST);
	disk_close(d);
	for (unsigned int k = 0; k < 2; k++) {
		c.size = SIZE + 512;
		refuse(&c, "The write-back belongs to a disk of 262144 bytes and this one has "
			   "262656; reset the client.");
		c.size = SIZE / 2;
		refuse(&c, "The write-back belongs to a disk of 262144 bytes and this one has "
			   "131072; reset the client.");
		c.size = SIZE;
		d = open_config(&c);
		expect(d, 0, 20, FIRST, BASE);
		disk_close(d);
		stop();
		start();
	}
	c.size = SIZE + 4096;
	c.reset[0] = 9;
	d = open_config(&c);
	expect(d, 0, 0, 0, BASE);
	disk_close(d);
	stop();
	end();
}

/* --- damage --- */

/*
 * The superblock and each header of an overlay are there twice and written in turn, so that a write
 * that was torn leaves the one before it. Any sector of any one of the copies may be anything.
 */
static void test_reopen_with_a_torn_header(void)
{
	uint8_t *clean = malloc(STORE);
	uint32_t block[4] = {0, 1};
	struct disk *d;

	begin();
	/* Two boots: two versions of the overlay's header, and data from the time of each. */
	for (uint8_t boot = 1; boot <= 2; boot++) {
		start();
		d = open_disk(DISK_KEEP, boot, 0);
		block[2] = 2 + 2 * disk_overlay(d)->place;
		block[3] = block[2] + 1;
		write_sectors(d, boot == 1 ? 0 : 50, boot == 1 ? 50 : SECTORS - 50, FIRST);
		disk_close(d);
		stop();
	}
	memcpy(clean, twin.now, STORE);
	for (unsigned int i = 0; i < 4 * 8; i++) {
		uint8_t *sector = twin.now + (size_t)block[i / 8] * STORE_BLOCK + i % 8 * 512;

		memcpy(twin.now, clean, STORE);
		for (unsigned int k = 0; k < 512; k++)
			sector[k] = (uint8_t)twin_random(&twin);
		start();
		d = open_disk(DISK_KEEP, 3, 0);
		expect(d, 0, SECTORS, FIRST, BASE);
		write_sectors(d, 9, 1, SECOND);
		disk_close(d);
		stop();
		start();
		d = open_disk(DISK_KEEP, 3, 0);
		expect(d, 9, 1, SECOND, FIRST);
		disk_close(d);
		stop();
	}
	end();
	free(clean);
}

UNIT_MAIN(UNIT(test_reopen_after_reset), UNIT(test_reopen_without_reset),
	  UNIT(test_reopen_other_generation), UNIT(test_reopen_other_size),
	  UNIT(test_reopen_with_a_torn_header))
