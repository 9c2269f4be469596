// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A disk under the store that does not give back what it was given: bits that rot, a write that went to another place,
 * a write that was lost or torn, a superblock from yesterday. It is found and named, the PC that needs the block gets
 * an error and never the wrong bytes, everything else goes on.
 */
#include <errno.h>
#include <fcntl.h>

#include "tcmu-handler/crc32c.h"
#include "tcmu-handler/image/bytes.h"
#include "tcmu-handler/record.h"
#include "tests/unit/engine_rig.h"

#define SIZE  (1u << 20)
#define STORE (4u << 20)
#define BLOCK 4096u

static char dir[] = "/tmp/bootwell-damage.XXXXXX";
static struct twin twin;
static struct engine *engine;
static struct disk *disk[2];
static char said[1024];

static void note(void *arg, const char *sentence)
{
	(void)arg;
	snprintf(said, sizeof(said), "%s", sentence);
}

static void start(void)
{
	struct engine_config c = rig_twin_config(&twin, 1u << 20);

	said[0] = 0;
	c.log = note;
	snprintf(c.store, sizeof(c.store), "/the/store");
	engine = rig_engine(&c);
}

static void open_disks(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct disk_config c = rig_disk_config(dir, i, SIZE, DISK_KEEP);

		disk[i] = rig_disk(engine, &c);
	}
}

static void stop(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		disk_close(disk[i]);
		disk[i] = NULL;
	}
	engine_free(engine);
	engine = NULL;
}

static int run(unsigned int i, enum disk_op op, uint32_t block, uint32_t count, void *data)
{
	return rig_run(engine, disk[i], op, false, (uint64_t)block * BLOCK, (uint64_t)count * BLOCK, data,
		       (size_t)count * BLOCK);
}

static void write_blocks(unsigned int i, uint32_t block, uint32_t count, uint8_t value)
{
	static uint8_t data[SIZE];

	for (uint32_t k = 0; k < count; k++)
		memset(data + k * BLOCK, value + (int)k, BLOCK);
	CU_ASSERT_EQUAL(run(i, DISK_WRITE, block, count, data), 0);
	CU_ASSERT_EQUAL(run(i, DISK_FLUSH, 0, 0, NULL), 0);
}

/* The value that a block has; -errno. */
static int value_of(unsigned int i, uint32_t block)
{
	uint8_t data[BLOCK];
	int r;

	memset(data, 0xee, sizeof(data));
	r = run(i, DISK_READ, block, 1, data);
	if (!r && memcmp(data, data + 1, BLOCK - 1))
		CU_FAIL("a block is mixed");
	return r ? r : data[0];
}

/* Both disks with some blocks, in the store and not in memory. */
static void begin(void)
{
	char path[100];
	int fd;

	if (!twin.now) {
		CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
		snprintf(path, sizeof(path), "%s/base.raw", dir);
		fd = open(path, O_WRONLY | O_CREAT, 0600);
		CU_ASSERT_EQUAL_FATAL(ftruncate(fd, SIZE), 0);
		close(fd);
		twin_init(&twin, STORE, false, unit_seed());
	}
	memset(twin.now, 0, STORE);
	start();
	open_disks();
	write_blocks(0, 0, 4, 0x10);
	write_blocks(1, 0, 4, 0x60);
	write_blocks(0, 8, 2, 0x20);
	stop();
}

/* Where the store has a block that is `value` again and again. */
static uint8_t *find(uint8_t value)
{
	for (uint32_t b = 0; b < STORE / BLOCK; b++)
		if (twin.now[b * BLOCK] == value && !memcmp(twin.now + b * BLOCK, twin.now + b * BLOCK + 1, BLOCK - 1))
			return twin.now + b * BLOCK;
	CU_FAIL_FATAL("the store does not have it");
	return NULL;
}

static void test_damage_rotten_block(void)
{
	uint8_t sector[512] = {1};

	begin();
	find(0x11)[1000] ^= 4;
	start();
	open_disks();
	CU_ASSERT_EQUAL(value_of(0, 1), -EUCLEAN);
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "pc0"));
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "/the/store"));
	/* In one request with good ones, too; those alone are read, and so is the other disk. */
	uint8_t four[4 * BLOCK];

	CU_ASSERT_EQUAL(run(0, DISK_READ, 0, 4, four), -EUCLEAN);
	CU_ASSERT_EQUAL(value_of(0, 0), 0x10);
	CU_ASSERT_EQUAL(value_of(0, 2), 0x12);
	CU_ASSERT_EQUAL(value_of(1, 1), 0x61);
	/* A part of it written: the rest is not made good by that. */
	CU_ASSERT_EQUAL(rig_run(engine, disk[0], DISK_WRITE, false, BLOCK, 512, sector, 512), 0);
	CU_ASSERT(run(0, DISK_FLUSH, 0, 0, NULL) < 0);
	/* All of it written: it is whole again. */
	write_blocks(0, 1, 1, 0x33);
	CU_ASSERT_EQUAL(value_of(0, 1), 0x33);
	stop();
	start();
	open_disks();
	CU_ASSERT_EQUAL(value_of(0, 1), 0x33);
	stop();
}

static void test_damage_misdirected_data(void)
{
	begin();
	memcpy(find(0x12), find(0x62), BLOCK);
	start();
	open_disks();
	CU_ASSERT_EQUAL(value_of(0, 2), -EUCLEAN);
	CU_ASSERT_EQUAL(value_of(0, 3), 0x13);
	CU_ASSERT_EQUAL(value_of(1, 2), 0x62);
	stop();
}

/* The first batch of disk 0, over the first one of disk 1's segment and into a free one. */
static void test_damage_misdirected_record(void)
{
	uint8_t *first, *other, *free_one = twin.now + STORE - 16 * BLOCK;

	begin();
	first = find(0x10) - BLOCK;
	other = find(0x60) - BLOCK;
	CU_ASSERT_EQUAL(memcmp(first, "BWRC", 4), 0);
	memcpy(free_one, first, BLOCK);
	start();
	open_disks();
	CU_ASSERT_EQUAL(value_of(0, 0), 0x10);
	CU_ASSERT_EQUAL(value_of(0, 9), 0x21);
	CU_ASSERT_EQUAL(value_of(1, 0), 0x60);
	stop();
	/* What it hit is gone; that the store cannot know, but it never shows the other's. */
	memcpy(other, first, BLOCK);
	start();
	open_disks();
	CU_ASSERT_EQUAL(value_of(0, 0), 0x10);
	CU_ASSERT_EQUAL(value_of(1, 0), 0);
	stop();
}

/* The record of the first of two durable batches of a segment is lost: its blocks would be the base's again. */
static void test_damage_lost_record(void)
{
	struct disk_config c = rig_disk_config(dir, 0, SIZE, DISK_KEEP);
	struct sentence err = {.text = ""};
	uint8_t *first;

	begin();
	start();
	open_disks();
	write_blocks(0, 20, 1, 0x70);
	write_blocks(0, 21, 1, 0x71);
	write_blocks(0, 22, 1, 0x72);
	write_blocks(0, 23, 1, 0x73); /* it knows that the one before is durable */
	stop();
	first = find(0x71) - BLOCK;
	CU_ASSERT_EQUAL(memcmp(first, "BWRC", 4), 0);
	CU_ASSERT_PTR_EQUAL(find(0x72), first + 3 * BLOCK);
	memset(first, 0xff, BLOCK);
	start();
	CU_ASSERT_EQUAL(disk_open(&disk[0], engine, &c, &err), -EUCLEAN);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "durable"));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "reset the client"));
	c = rig_disk_config(dir, 1, SIZE, DISK_KEEP);
	disk[1] = rig_disk(engine, &c);
	CU_ASSERT_EQUAL(value_of(1, 3), 0x63);
	stop();
	disk[0] = NULL;
	/* A reset is the way out. */
	start();
	c = rig_disk_config(dir, 0, SIZE, DISK_KEEP);
	c.reset[0] = 9;
	disk[0] = rig_disk(engine, &c);
	CU_ASSERT_EQUAL(value_of(0, 20), 0);
	stop();
}

static void test_damage_superblock_from_yesterday(void)
{
	uint8_t old[2 * BLOCK];

	begin();
	memcpy(old, twin.now, sizeof(old));
	start();
	open_disks();
	CU_ASSERT_PTR_NULL(strstr(said, "superblock"));
	write_blocks(0, 30, 4, 0x40);
	stop();
	start();
	open_disks();
	write_blocks(0, 30, 2, 0x48);
	stop();
	memcpy(twin.now, old, sizeof(old));
	start();
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "superblock"));
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "/the/store"));
	open_disks();
	CU_ASSERT_EQUAL(value_of(0, 30), 0x48);
	CU_ASSERT_EQUAL(value_of(0, 33), 0x43);
	write_blocks(0, 30, 1, 0x50);
	stop();
	start();
	CU_ASSERT_PTR_NULL(strstr(said, "superblock"));
	open_disks();
	CU_ASSERT_EQUAL(value_of(0, 30), 0x50);
	CU_ASSERT_EQUAL(value_of(0, 31), 0x49);
	stop();
}

/* Any one bit of the part of the store that is used: nothing is shown that was not written. */
static void test_damage_any_bit(void)
{
	static uint8_t image[STORE];
	static const uint8_t blocks[] = {0, 1, 2, 3, 8, 9};
	struct sentence err;
	unsigned int errors = 0, refused = 0;

	begin();
	memcpy(image, twin.now, STORE);
	for (unsigned int n = 0; n < 400; n++) {
		uint32_t at;

		memcpy(twin.now, image, STORE);
		do
			at = twin_random(&twin) % STORE;
		while (!memcmp(image + at / BLOCK * BLOCK, image + STORE - BLOCK, BLOCK));
		twin.now[at] ^= (uint8_t)(1u << twin_random(&twin) % 8);
		start();
		for (unsigned int i = 0; i < 2; i++) {
			struct disk_config c = rig_disk_config(dir, i, SIZE, DISK_KEEP);

			disk[i] = NULL;
			if (disk_open(&disk[i], engine, &c, &err) < 0) {
				refused++;
				continue;
			}
			for (unsigned int k = 0; k < (i ? 4 : sizeof(blocks)); k++) {
				int want = (i       ? 0x60
					    : k < 4 ? 0x10
						    : 0x20 - 8) +
					   blocks[k],
				    got = value_of(i, blocks[k]);

				errors += got < 0;
				/* The last record of a disk may have gone without a trace: then it is the base. */
				if (got >= 0 && got != want && got != 0)
					CU_FAIL("wrong bytes");
			}
		}
		stop();
	}
	printf("# 400 flipped bits: %u reads failed, %u disks were refused\n", errors, refused);
	CU_ASSERT(errors > 0);
	memcpy(twin.now, image, STORE);
}

static void end(void)
{
	char command[100];

	twin_done(&twin);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	CU_ASSERT_EQUAL(system(command), 0);
}

static void test_damage_end(void)
{
	end();
}

UNIT_MAIN(UNIT(test_damage_rotten_block), UNIT(test_damage_misdirected_data), UNIT(test_damage_misdirected_record),
	  UNIT(test_damage_lost_record), UNIT(test_damage_superblock_from_yesterday), UNIT(test_damage_any_bit),
	  UNIT(test_damage_end))
