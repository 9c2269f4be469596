// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an overlay is when it is opened again, by the same engine or by the next one: after a reset
 * nothing of what was there comes back; under another generation or size it is refused, with a
 * sentence that names both; and one damaged copy of a header costs nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tcmu-handler/crc32c.h"
#include "tcmu-handler/engine_private.h"
#include "tcmu-handler/image/bytes.h"
#include "tests/unit/engine_rig.h"
#include "tests/unit/image_build.h"

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
	struct engine_config c = rig_twin_config(&twin, 1u << 20);

	engine = rig_engine(&c);
}

static void stop(void)
{
	engine_free(engine);
	engine = NULL;
}

static struct disk_config config_of(enum disk_mode mode, uint8_t boot, uint8_t reset)
{
	struct disk_config c = rig_disk_config(dir, 6, SIZE, mode);

	c.boot[0] = boot;
	c.reset[0] = reset;
	return c;
}

static struct disk *open_config(const struct disk_config *c)
{
	return rig_disk(engine, c);
}

static struct disk *open_disk(enum disk_mode mode, uint8_t boot, uint8_t reset)
{
	struct disk_config c = config_of(mode, boot, reset);

	return open_config(&c);
}

static int run(struct disk *d, enum disk_op op, uint64_t sector, uint64_t count, void *data)
{
	return rig_run(engine, d, op, false, sector * 512, count * 512, data, count * 512);
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
	struct sentence err = {.text = ""};
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
		block[2] = 2 + 2 * overlay_place(disk_overlay(d));
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

/* The n-th record in the store (docs/store-format.md). */
static uint8_t *record_at(unsigned int n)
{
	for (uint8_t *p = twin.now; p < twin.now + STORE; p += STORE_BLOCK)
		if (!memcmp(p, "BWRC", 4) && n-- == 0)
			return p;
	CU_FAIL_FATAL("no such record");
	return NULL;
}

/* Its checksum is right again: not damage, but what somebody wrote. */
static void seal(uint8_t *record)
{
	le32_put(record + 4, 0);
	le32_put(record + 4, crc32c_4k(record));
}

/* Entries that no disk of this size has: refused, never followed. */
static void test_reopen_with_a_record_that_leads_out(void)
{
	static const struct {
		uint16_t zeros;
		uint32_t block, word;
		uint8_t mask;
	} bad[] = {
		{0, SIZE / 4096, 0, 0xff},
		{0, SIZE / 4096 + 1, 0, 0xff},
		{0, UINT32_MAX, 0, 0xff},
		{0, 0, 0, 0},
		{1, 0, 0, 0},
		{1, 0, SIZE / 4096 + 1, 0},
		{1, SIZE / 4096, 1, 0},
		{1, 1, UINT32_MAX, 0},
	};
	uint8_t *clean = malloc(STORE);
	struct disk_config c = config_of(DISK_KEEP, 1, 0);
	struct sentence err = {.text = ""};
	struct disk *d;

	begin();
	start();
	c = config_of(DISK_KEEP, 1, 0);
	d = open_config(&c);
	write_sectors(d, 0, 8, FIRST);
	disk_close(d);
	stop();
	memcpy(clean, twin.now, STORE);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t *record;

		memcpy(twin.now, clean, STORE);
		record = record_at(0);
		le16_put(record + 58, bad[i].zeros);
		le16_put(record + 60, !bad[i].zeros);
		le32_put(record + 64, bad[i].block);
		if (bad[i].zeros)
			le32_put(record + 68, bad[i].word);
		record[72] = bad[i].mask;
		seal(record);
		start();
		d = NULL;
		CU_ASSERT_EQUAL(disk_open(&d, engine, &c, &err), -EUCLEAN);
		CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "reset the client"));
		disk_close(d);
		stop();
	}
	end();
	free(clean);
}

static void test_reopen_record_of_another_session(void)
{
	struct disk *d;
	uint8_t *record;

	begin();
	start();
	d = open_disk(DISK_KEEP, 1, 0);
	write_sectors(d, 0, 8, FIRST);
	write_sectors(d, 8, 8, FIRST);
	disk_close(d);
	stop();
	record = record_at(1); /* of the first in a segment the store itself looks whose it is */
	CU_ASSERT_EQUAL_FATAL(record, record_at(0) + 2 * STORE_BLOCK);
	record[24] ^= 1; /* the epoch */
	seal(record);
	start();
	d = open_disk(DISK_KEEP, 1, 0);
	expect(d, 0, 8, FIRST, BASE);
	disk_close(d);
	stop();
	end();
}

/*
 * Three batches were on their way when the power failed, and of the second the data is missing: the third goes with
 * it, else it would look later like one that had a good one before it.
 */
static void test_reopen_nothing_is_left_behind_a_hole(void)
{
	struct disk *d;
	uint8_t *record[3];

	begin();
	start();
	d = open_disk(DISK_KEEP, 1, 0);
	for (unsigned int i = 0; i < 3; i++)
		write_sectors(d, (uint64_t)i * 8, 8, FIRST);
	disk_close(d);
	stop();
	for (unsigned int i = 0; i < 3; i++) {
		record[i] = record_at(i);
		CU_ASSERT_EQUAL_FATAL(record[i], record[0] + (size_t)i * 2 * STORE_BLOCK);
		le64_put(record[i] + 48, 0); /* durable */
		seal(record[i]);
	}
	record[1][STORE_BLOCK + 100] ^= 1;
	start();
	d = open_disk(DISK_KEEP, 1, 0);
	expect(d, 0, 8, FIRST, BASE);
	write_sectors(d, 8, 8, FIRST);
	disk_close(d);
	for (unsigned int k = 0; k < 2; k++) {
		stop();
		start();
		d = open_disk(DISK_KEEP, 1, 0);
		expect(d, 0, 16, FIRST, BASE);
		disk_close(d);
	}
	stop();
	end();
}

/*
 * While a disk is being opened its segments are nobody else's: the thread that makes room in the store, which any other
 * disk may wake at any moment, would find no disk for what it picks, and free what is not yet counted.
 */
static unsigned int looked;

static int makes_room(struct twin *t, const struct io_op *op)
{
	bool busy;

	(void)t;
	(void)op;
	if (!looked++)
		CU_ASSERT_EQUAL(store_pick_victim(engine->store, &busy), SEGMENT_NONE);
	return 0;
}

static void test_reopen_is_not_cleaned_meanwhile(void)
{
	struct disk *d;
	uint32_t victim;
	bool busy;

	begin();
	start();
	d = open_disk(DISK_KEEP, 1, 1);
	write_sectors(d, 0, 16, FIRST);
	disk_close(d);
	engine_poll(engine, false);
	looked = 0;
	twin.fault = makes_room;
	d = open_disk(DISK_KEEP, 2, 1);
	twin.fault = NULL;
	CU_ASSERT(looked > 0);
	expect(d, 0, 16, FIRST, BASE);
	victim = store_pick_victim(engine->store, &busy); /* now it may be */
	CU_ASSERT_NOT_EQUAL(victim, SEGMENT_NONE);
	if (victim != SEGMENT_NONE)
		store_cleaned(engine->store, victim, 0);
	expect(d, 0, 16, FIRST, BASE);
	disk_close(d);
	stop();
	end();
}

UNIT_MAIN(UNIT(test_reopen_after_reset), UNIT(test_reopen_without_reset), UNIT(test_reopen_other_generation),
	  UNIT(test_reopen_other_size), UNIT(test_reopen_with_a_torn_header),
	  UNIT(test_reopen_with_a_record_that_leads_out), UNIT(test_reopen_record_of_another_session),
	  UNIT(test_reopen_nothing_is_left_behind_a_hole), UNIT(test_reopen_is_not_cleaned_meanwhile))
