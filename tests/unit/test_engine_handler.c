// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The handler in the hands of a runner made for the test: the same callbacks in the same order as
 * tcmu-runner 1.5.4 calls them (handle_cmd first, then its emulation), and the statuses that come
 * back. The real runner and the real kernel are in tests/vm.
 */
#include <fcntl.h>
#include <semaphore.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE        (8u << 20)
#define RUNNER_SIZE SIZE

#include "tests/unit/no_memory.h"
#include "tests/unit/runner.h"
#include "tests/unit/unit.h"

#include "tcmu-handler/handler.c"
#include "tcmu-handler/image/bytes.h"
#include "tcmu-handler/stats.h"

static char dir[] = "/tmp/bootwell-handler.XXXXXX";

/* --- commands --- */

static int cdb16(struct tcmu_device *dev, uint8_t opcode, uint8_t flags, uint64_t lba, uint32_t blocks, void *data,
		 size_t length, struct command *keep)
{
	struct command c;

	memset(&c, 0, sizeof(c));
	c.cdb[0] = opcode;
	c.cdb[1] = flags;
	put_be(c.cdb + 2, lba, 8);
	put_be(c.cdb + 10, blocks, 4);
	send_cdb(dev, &c, data, length);
	if (keep)
		*keep = c;
	return c.status;
}

/* --- the daemon --- */

static void write_text(const char *name, const char *format, ...)
{
	char path[200];
	va_list args;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	va_start(args, format);
	vfprintf(f, format, args);
	va_end(args);
	fclose(f);
}

static bool exists(const char *name, char *content, size_t room)
{
	char path[200];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "r");
	if (!f)
		return false;
	n = fread(content, 1, room - 1, f);
	content[n] = 0;
	fclose(f);
	return true;
}

static void write_disk(const char *id, const char *mode, const char *file)
{
	char name[100];

	snprintf(name, sizeof(name), "disk/%s.conf", id);
	write_text(name,
		   "client=PC of "
		   "%s\nsize=%u\noverlay=11111111-2222-3333-4444-%012x\nmode=%s\nboot=aaaaaaaa-"
		   "2222-3333-4444-555555555555\n"
		   "generation=win 1\nlayer=raw %s %s\n",
		   id, SIZE, (unsigned int)id[0], mode, dir, file);
}

static void test_handler_registers(void)
{
	char path[200];

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/disk", dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/base image.raw", dir);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	CU_ASSERT_EQUAL_FATAL(ftruncate(fd, SIZE), 0);
	CU_ASSERT_EQUAL(pwrite(fd, "base", 4, 512 * 1000), 4);
	close(fd);
	setenv("BOOTWELL_RUN", dir, 1);
	CU_ASSERT_EQUAL(handler_init(), 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(registered);
	CU_ASSERT_EQUAL(registered->nr_threads, 0);
	CU_ASSERT_STRING_EQUAL(registered->subtype, "bootwell");
}

static void test_handler_refusals_leave_a_sentence(void)
{
	struct tcmu_device dev = {.config = "bootwell/a-0"};
	char text[1000], *reason = NULL;

	CU_ASSERT(registered->open(&dev, false) < 0);
	CU_ASSERT(exists("disk/a-0.error", text, sizeof(text)));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "a-0.conf"));
	write_disk("a-0", "keep", "base image.raw");
	CU_ASSERT(registered->open(&dev, false) < 0); /* no engine.conf */
	CU_ASSERT(exists("disk/a-0.error", text, sizeof(text)));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "engine.conf"));
	write_text("engine.conf",
		   "store=%s/"
		   "store\nstore_size=67108864\nimage_ram=4194304\nwrite_back_ram=1048576\nthreads="
		   "2\n",
		   dir);
	write_text("disk/a-0.conf", "client=x\nsize=abc\n");
	CU_ASSERT(registered->open(&dev, false) < 0);
	CU_ASSERT(exists("disk/a-0.error", text, sizeof(text)));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "line 2: size"));
	write_disk("a-0", "keep", "nosuch.raw");
	CU_ASSERT(registered->open(&dev, false) < 0);
	CU_ASSERT(exists("disk/a-0.error", text, sizeof(text)));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "nosuch.raw"));
	CU_ASSERT_FALSE(registered->check_config("bootwell/../x", &reason));
	CU_ASSERT_PTR_NOT_NULL(reason);
	free(reason);
	CU_ASSERT(registered->check_config("bootwell/pc-1", &reason));
	strcpy(dev.config, "bootwell/../../etc/passwd");
	CU_ASSERT(registered->open(&dev, false) < 0);
}

/* GET LBA STATUS of a disk on which all tests of test_handler_commands() have written and sectors 1000 to 1008 are
 * unmapped. */
static void check_lba_status(struct tcmu_device *dev)
{
	uint8_t answer[8 + 3 * 16], sector[512], state[SIZE / 512];
	uint64_t at = 0, deallocated = 0;
	unsigned int commands = 0;

	/* From one end to the other, as many ranges at a time as there is room for. */
	while (at < SIZE / 512 && commands++ < 1000) {
		uint32_t length;

		memset(answer, 0xee, sizeof(answer));
		CU_ASSERT_EQUAL_FATAL(cdb16(dev, 0x9e, 0x12, at, sizeof(answer), answer, sizeof(answer), NULL),
				      TCMU_STS_OK);
		length = be32_at(answer) + 4;
		CU_ASSERT_FATAL(length >= 24 && length <= sizeof(answer) && length % 16 == 8);
		for (uint32_t i = 8; i < length; i += 16) {
			uint32_t blocks = be32_at(answer + i + 8);

			CU_ASSERT_EQUAL(be64_at(answer + i), at);
			CU_ASSERT_FATAL(blocks > 0 && blocks <= SIZE / 512 - at);
			CU_ASSERT(answer[i + 12] <= 1);
			memset(state + at, answer[i + 12], blocks);
			at += blocks;
		}
	}
	CU_ASSERT_EQUAL(at, SIZE / 512);
	for (at = 0; at < SIZE / 512; at++) {
		unsigned int nonzero = 0;

		if (!state[at])
			continue;
		deallocated++;
		CU_ASSERT_EQUAL(cdb16(dev, 0x88, 0, at, 1, sector, 512, NULL), TCMU_STS_OK);
		for (unsigned int i = 0; i < 512; i++)
			nonzero += sector[i] != 0;
		CU_ASSERT_EQUAL(nonzero, 0);
	}
	CU_ASSERT_EQUAL(state[3] + state[18] + state[100] + state[200], 0);
	CU_ASSERT_EQUAL(state[1000] + state[1007], 2);
	CU_ASSERT_EQUAL(state[5000], 0); /* the base's, which is raw: all of it is there */
	CU_ASSERT(deallocated >= 8);
	/* Less room than one range takes; no blocks there. */
	for (unsigned int room = 0; room < 24; room++) {
		memset(answer, 0xee, sizeof(answer));
		CU_ASSERT_EQUAL(cdb16(dev, 0x9e, 0x12, 0, room, answer, sizeof(answer), NULL), TCMU_STS_OK);
		CU_ASSERT(room < 4 || be32_at(answer) == 20);
		for (unsigned int k = room; k < sizeof(answer); k++)
			CU_ASSERT_EQUAL(answer[k], 0);
	}
	CU_ASSERT_EQUAL(cdb16(dev, 0x9e, 0x12, SIZE / 512, 24, answer, 24, NULL), TCMU_STS_RANGE);
	CU_ASSERT_EQUAL(cdb16(dev, 0x9e, 0x12, UINT64_MAX, 24, answer, 24, NULL), TCMU_STS_RANGE);
}

/* An address that is sector 3 again once it was made bytes in 64 bits, and protection information and anchors, which
 * are not there. */
static void check_far_away(struct tcmu_device *dev)
{
	static const uint64_t far[] = {(1ull << 55) + 3, (1ull << 63) + 3, UINT64_MAX};
	static const uint8_t protected[] = {0x88, 0x8a, 0x8f, 0x8e, 0x93, 0x89};
	uint8_t before[512], data[512];

	CU_ASSERT_EQUAL(cdb16(dev, 0x88, 0, 3, 1, before, 512, NULL), TCMU_STS_OK);
	memset(data, 0xa5, sizeof(data));
	for (unsigned int i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
		CU_ASSERT_EQUAL(cdb16(dev, 0x8a, 0, far[i], 1, data, 512, NULL), TCMU_STS_RANGE);
		CU_ASSERT_EQUAL(cdb16(dev, 0x88, 0, far[i], 1, data, 512, NULL), TCMU_STS_RANGE);
		CU_ASSERT_EQUAL(cdb16(dev, 0x8f, 0, far[i], 1, NULL, 0, NULL), TCMU_STS_RANGE);
	}
	for (unsigned int protect = 1; protect < 8; protect++)
		for (unsigned int i = 0; i < sizeof(protected); i++)
			CU_ASSERT_EQUAL(cdb16(dev, protected[i], (uint8_t)(protect << 5), 3, 1, data, 512, NULL),
					TCMU_STS_INVALID_CDB);
	CU_ASSERT_EQUAL(cdb16(dev, 0x93, 0x18, 3, 1, data, 512, NULL), TCMU_STS_INVALID_CDB); /* UNMAP, ANCHOR */
	CU_ASSERT_EQUAL(cdb16(dev, 0x42, 0x01, 3, 1, data, 24, NULL), TCMU_STS_INVALID_CDB);
	CU_ASSERT_EQUAL(cdb16(dev, 0x88, 0, 3, 1, data, 512, NULL), TCMU_STS_OK);
	CU_ASSERT_EQUAL(memcmp(before, data, 512), 0);
}

/* The runner's short answers are laid over zeros, whatever was there; data that a PC sends are not touched. */
static void check_nothing_left_behind(struct tcmu_device *dev)
{
	static const uint8_t in[] = {0x12, 0x25, 0x9e, 0x84, 0xa3}, out[] = {0x55, 0x83, 0x89};
	uint8_t room[1000];

	for (unsigned int i = 0; i < sizeof(in) + sizeof(out); i++) {
		bool is_in = i < sizeof(in);
		struct command c;
		unsigned int kept = 0;

		memset(&c, 0, sizeof(c));
		c.cdb[0] = is_in ? in[i] : out[i - sizeof(in)];
		memset(room, 0xee, sizeof(room));
		CU_ASSERT_EQUAL(send_cdb(dev, &c, room, sizeof(room)), TCMU_STS_INVALID_CMD); /* our runner's answer */
		for (unsigned int k = 0; k < sizeof(room); k++)
			kept += room[k] == 0xee;
		CU_ASSERT_EQUAL(kept, is_in ? 0 : sizeof(room));
	}
}

/* MODE SENSE (10) of everything: recovery, caching, control. */
static void check_mode_sense(struct tcmu_device *dev, uint8_t flags, uint8_t cache)
{
	uint8_t sense[64];
	struct command c;

	for (uint8_t control = 0; control < 4; control++) {
		memset(&c, 0, sizeof(c));
		c.cdb[0] = 0x5a;
		c.cdb[2] = (uint8_t)(control << 6 | 0x3f);
		c.cdb[8] = sizeof(sense);
		if (control == 3) {
			CU_ASSERT_EQUAL(send_cdb(dev, &c, sense, sizeof(sense)), TCMU_STS_INVALID_CDB);
			continue;
		}
		CU_ASSERT_EQUAL(send_cdb(dev, &c, sense, sizeof(sense)), TCMU_STS_OK);
		CU_ASSERT_EQUAL(sense[1], 8 + 12 + 20 + 12 - 2);
		CU_ASSERT_EQUAL(sense[3], flags);
		CU_ASSERT(sense[8] == 0x01 && sense[9] == 10);
		CU_ASSERT(sense[20] == 0x08 && sense[21] == 18);
		CU_ASSERT_EQUAL(sense[22], control == 1 ? 0 : cache);
		CU_ASSERT(sense[40] == 0x0a && sense[41] == 10);
		CU_ASSERT_EQUAL(sense[45], control == 1 ? 0 : 0x40);
	}
	memset(&c, 0, sizeof(c));
	c.cdb[0] = 0x1a;
	c.cdb[2] = 0x1c; /* informational exceptions: there is no such page */
	CU_ASSERT_EQUAL(send_cdb(dev, &c, sense, sizeof(sense)), TCMU_STS_INVALID_CDB);
}

static void test_handler_commands(void)
{
	struct tcmu_device dev = {.config = "bootwell/a-0"};
	uint8_t data[8192], back[8192];
	struct command c;
	char text[100];

	write_disk("a-0", "keep", "base image.raw");
	CU_ASSERT_EQUAL_FATAL(registered->open(&dev, false), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(last_debug, "keep, 8 MiB on 1 image of \"win 1\" (opened now)"));
	CU_ASSERT_FALSE(exists("disk/a-0.error", text, sizeof(text)));
	CU_ASSERT(dev.unmap_align >= 1);
	CU_ASSERT(dev.write_cache);
	/* Base, first by the queue, then out of memory at once. */
	CU_ASSERT_EQUAL(cdb16(&dev, 0x88, 0, 1000, 1, back, 512, &c), TCMU_STS_OK);
	CU_ASSERT_FALSE(c.inline_done);
	CU_ASSERT_EQUAL(memcmp(back, "base", 4), 0);
	CU_ASSERT_EQUAL(cdb16(&dev, 0x88, 0, 1000, 1, back, 512, &c), TCMU_STS_OK);
	CU_ASSERT(c.inline_done);
	for (unsigned int i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + 1);
	CU_ASSERT_EQUAL(cdb16(&dev, 0x8a, 0, 3, 16, data, 8192, &c), TCMU_STS_OK);
	CU_ASSERT(c.inline_done);
	CU_ASSERT_EQUAL(cdb16(&dev, 0x88, 0, 3, 16, back, 8192, NULL), TCMU_STS_OK);
	CU_ASSERT_EQUAL(memcmp(back, data, 8192), 0);
	/* FUA and SYNCHRONIZE CACHE wait for the disk. */
	CU_ASSERT_EQUAL(cdb16(&dev, 0x8a, 8, 100, 1, data, 512, &c), TCMU_STS_OK);
	CU_ASSERT_FALSE(c.inline_done);
	CU_ASSERT(the.engine && engine_store(the.engine)->flushes >= 1);
	CU_ASSERT_EQUAL(cdb16(&dev, 0x91, 0, 0, 0, NULL, 0, NULL), TCMU_STS_OK);
	/* VERIFY: there, same, other, by one block. */
	CU_ASSERT_EQUAL(cdb16(&dev, 0x8f, 0, 0, 100, NULL, 0, NULL), TCMU_STS_OK);
	CU_ASSERT_EQUAL(cdb16(&dev, 0x8f, 2, 3, 16, data, 8192, NULL), TCMU_STS_OK);
	data[5000] ^= 1;
	CU_ASSERT_EQUAL(cdb16(&dev, 0x8f, 2, 3, 16, data, 8192, NULL), TCMU_STS_MISCOMPARE);
	memset(data, 0x77, 512);
	CU_ASSERT_EQUAL(cdb16(&dev, 0x93, 0, 200, 50, data, 512, NULL), TCMU_STS_OK);
	CU_ASSERT_EQUAL(cdb16(&dev, 0x8f, 6, 200, 50, data, 512, NULL), TCMU_STS_OK);
	CU_ASSERT_EQUAL(cdb16(&dev, 0x8f, 6, 200, 51, data, 512, NULL), TCMU_STS_MISCOMPARE);
	CU_ASSERT_EQUAL(cdb16(&dev, 0x8f, 0, SIZE / 512 - 1, 2, NULL, 0, NULL), TCMU_STS_RANGE);
	CU_ASSERT_EQUAL(cdb16(&dev, 0x88, 0, SIZE / 512, 1, back, 512, NULL), TCMU_STS_RANGE);
	CU_ASSERT_EQUAL(cdb16(&dev, 0x8a, 0, SIZE / 512 - 1, 2, data, 1024, NULL), TCMU_STS_RANGE);
	check_far_away(&dev);
	check_mode_sense(&dev, 0x10, 0x04);
	check_nothing_left_behind(&dev);
	/* UNMAP: zeros, never the base. */
	memset(&c, 0, sizeof(c));
	c.cdb[0] = 0x42;
	put_be(c.cdb + 2, 1000, 4);
	put_be(c.cdb + 6, 9, 3);
	CU_ASSERT_EQUAL(send_cdb(&dev, &c, NULL, 0), TCMU_STS_OK);
	CU_ASSERT_EQUAL(cdb16(&dev, 0x88, 0, 1000, 1, back, 512, NULL), TCMU_STS_OK);
	CU_ASSERT_EQUAL(back[0], 0);
	check_lba_status(&dev);
	/* A zero-length command. */
	CU_ASSERT_EQUAL(cdb16(&dev, 0x88, 0, 5, 0, NULL, 0, NULL), TCMU_STS_OK);
	/* A failed UNMAP, which the runner calls good, is told by the next flush. */
	__atomic_store_n(&((struct device *)dev.private)->unmap_failed, -EIO, __ATOMIC_RELAXED);
	CU_ASSERT_EQUAL(cdb16(&dev, 0x91, 0, 0, 0, NULL, 0, NULL), TCMU_STS_WR_ERR);
	CU_ASSERT_EQUAL(cdb16(&dev, 0x91, 0, 0, 0, NULL, 0, NULL), TCMU_STS_OK);
	registered->close(&dev);
}

static void test_handler_read_only_and_discard(void)
{
	struct tcmu_device ro = {.config = "bootwell/r-0"}, di = {.config = "bootwell/d-0"};
	uint8_t data[512] = {1};
	struct command c;

	write_disk("r-0", "readonly", "base image.raw");
	write_disk("d-0", "discard", "base image.raw");
	CU_ASSERT_EQUAL_FATAL(registered->open(&ro, false), 0);
	CU_ASSERT_EQUAL_FATAL(registered->open(&di, false), 0);
	CU_ASSERT_EQUAL(cdb16(&ro, 0x8a, 0, 3, 1, data, 512, &c), TCMU_STS_PASSTHROUGH_ERR);
	CU_ASSERT_EQUAL(c.lib.sense_buf[2], 0x07);
	CU_ASSERT_EQUAL(c.lib.sense_buf[12], 0x27);
	CU_ASSERT_EQUAL(c.lib.sense_buf[13], 0x00);
	/* It says so before it is tried; whatever room there is for the answer. */
	for (unsigned int allocated = 0; allocated <= 64; allocated++) {
		uint8_t sense[64], ten = allocated % 2;

		memset(&c, 0, sizeof(c));
		memset(sense, 0xee, sizeof(sense));
		c.cdb[0] = ten ? 0x5a : 0x1a;
		c.cdb[2] = allocated % 3 ? 0x0a : 0x08;
		c.cdb[ten ? 8 : 4] = (uint8_t)allocated;
		CU_ASSERT_EQUAL(send_cdb(&ro, &c, sense, allocated), TCMU_STS_OK);
		CU_ASSERT(c.inline_done);
		CU_ASSERT(allocated < 4 || (sense[ten ? 3 : 2] & 0x80));
		CU_ASSERT(allocated < 12 || (sense[ten ? 8 : 4] & 0x3f) == (allocated % 3 ? 0x0a : 0x08));
		CU_ASSERT(allocated == 64 || sense[allocated] == 0xee);
		CU_ASSERT(allocated < 49 || sense[allocated - 1] == 0);
	}
	check_mode_sense(&ro, 0x90, 0);
	check_mode_sense(&di, 0x10, 0);
	CU_ASSERT_FALSE(di.write_cache);
	CU_ASSERT_EQUAL(cdb16(&di, 0x8a, 8, 3, 1, data, 512, &c), TCMU_STS_OK);
	CU_ASSERT(c.inline_done); /* nothing is durable here, so nothing is waited for */
	/* Each error has its status. */
	CU_ASSERT_EQUAL(scsi_status(DISK_WRITE, -ENOSPC, c.lib.sense_buf), TCMU_STS_PASSTHROUGH_ERR);
	CU_ASSERT_EQUAL(c.lib.sense_buf[13], 0x07);
	CU_ASSERT_EQUAL(scsi_status(DISK_READ, -EIO, c.lib.sense_buf), TCMU_STS_RD_ERR);
	CU_ASSERT_EQUAL(scsi_status(DISK_READ, -EUCLEAN, c.lib.sense_buf), TCMU_STS_RD_ERR);
	CU_ASSERT_EQUAL(scsi_status(DISK_WRITE, -EIO, c.lib.sense_buf), TCMU_STS_WR_ERR);
	CU_ASSERT_EQUAL(scsi_status(DISK_WRITE, -ENOMEM, c.lib.sense_buf), TCMU_STS_BUSY);
	registered->close(&ro);
	registered->close(&di);
}

/* Without memory a command is to be sent again (BUSY, TASK SET FULL), never a medium error. */
static void test_handler_no_memory(void)
{
	struct tcmu_device dev = {.config = "bootwell/m-0"};
	uint8_t data[1024] = {7}, back[1024];
	unsigned int busy = 0, full = 0;

	if (!HAVE_NO_MEMORY)
		return;
	write_disk("m-0", "discard", "base image.raw");
	CU_ASSERT_EQUAL_FATAL(registered->open(&dev, false), 0);
	for (unsigned int n = 0; n < 400; n++) {
		/* Reads of what is not in the cache; enough writes for the map to grow. */
		bool write = n % 2;
		uint64_t lba = write ? 4000 + n * 8 : 2000 + n * 16;
		int status;

		no_memory.countdown = n % 3 + 1;
		no_memory.for_ever = n % 5 == 0;
		no_memory_armed = true;
		status = cdb16(&dev, write ? 0x8a : 0x88, 0, lba, 2, write ? data : back, 1024, NULL);
		no_memory_armed = false;
		busy += status == TCMU_STS_BUSY;
		full += status == TCMU_STS_NO_RESOURCE;
		CU_ASSERT(status == TCMU_STS_OK || status == TCMU_STS_BUSY || status == TCMU_STS_NO_RESOURCE);
		CU_ASSERT_EQUAL(cdb16(&dev, write ? 0x8a : 0x88, 0, lba, 2, write ? data : back, 1024, NULL),
				TCMU_STS_OK);
	}
	CU_ASSERT(busy && full);
	registered->close(&dev);
}

/* ID.patch as bootwell-doctor makes it: one sector of `fill` at sector 9. */
static void write_patch(const char *name, const char *generation, uint8_t fill, bool whole)
{
	uint8_t text[64 + 256 + 16 + 512 + 16] = "BWOVRLY1";
	char path[200];
	FILE *f;

	put_be(text + 8, __builtin_bswap64(SIZE), 8);
	snprintf((char *)text + 64, 256, "%s", generation);
	put_be(text + 320, __builtin_bswap64(9 * 512), 8);
	put_be(text + 328, __builtin_bswap32(512), 4);
	text[332] = 1;
	memset(text + 336, fill, 512);
	memset(text + 848, 0xff, 8);
	snprintf(path, sizeof(path), "%s/disk/%s", dir, name);
	f = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fwrite(text, 1, whole ? sizeof(text) : sizeof(text) - 16, f);
	fclose(f);
}

static uint8_t ninth_sector(struct tcmu_device *dev)
{
	uint8_t data[512] = {};

	CU_ASSERT_EQUAL(cdb16(dev, 0x88, 0, 9, 1, data, 512, NULL), TCMU_STS_OK);
	return data[100];
}

/* What is to be in an empty write-back before the PC starts: once, and never over what a PC wrote. */
static void test_handler_patch(void)
{
	struct tcmu_device p = {.config = "bootwell/p-0"};
	uint8_t data[512], base;
	char text[64];

	write_disk("p-0", "keep", "base image.raw");
	CU_ASSERT_EQUAL_FATAL(registered->open(&p, false), 0);
	base = ninth_sector(&p);
	registered->close(&p);
	/* Not empty: it was opened before, so there may be something. */
	write_patch("p-0.patch", "win 1", (uint8_t)(base + 1), true);
	CU_ASSERT_EQUAL_FATAL(registered->open(&p, false), 0);
	CU_ASSERT_EQUAL(ninth_sector(&p), base);
	CU_ASSERT_FALSE(exists("disk/p-0.patch", text, sizeof(text)));
	registered->close(&p);

	/* Empty again by a reset. For another generation, or cut short: left out, and said. */
	write_text("disk/p-0.conf",
		   "client=PC\nsize=%u\noverlay=11111111-2222-3333-4444-000000000070\nmode=keep\n"
		   "boot=aaaaaaaa-2222-3333-4444-555555555555\nreset=bbbbbbbb-2222-3333-4444-555555555555\ngeneration="
		   "win 1\n"
		   "layer=raw %s base image.raw\n",
		   SIZE, dir);
	write_patch("p-0.patch", "win 2", (uint8_t)(base + 1), true);
	CU_ASSERT_EQUAL_FATAL(registered->open(&p, false), 0);
	CU_ASSERT_EQUAL(ninth_sector(&p), base);
	CU_ASSERT_PTR_NOT_NULL(strstr(last_warning, "another generation"));
	registered->close(&p);
	write_patch("p-0.patching", "win 1", (uint8_t)(base + 1), false);
	CU_ASSERT_EQUAL_FATAL(registered->open(&p, false), 0);
	CU_ASSERT_EQUAL(ninth_sector(&p), base);
	CU_ASSERT_PTR_NOT_NULL(strstr(last_warning, "is damaged"));
	CU_ASSERT_FALSE(exists("disk/p-0.patching", text, sizeof(text)));
	registered->close(&p);

	/* One that a handler was at when it died is done again. */
	write_patch("p-0.patching", "win 1", (uint8_t)(base + 1), true);
	CU_ASSERT_EQUAL_FATAL(registered->open(&p, false), 0);
	CU_ASSERT_EQUAL(ninth_sector(&p), (uint8_t)(base + 1));
	CU_ASSERT_FALSE(exists("disk/p-0.patching", text, sizeof(text)));
	memset(data, base + 2, sizeof(data));
	CU_ASSERT_EQUAL(cdb16(&p, 0x8a, 0, 9, 1, data, 512, NULL), TCMU_STS_OK);
	registered->close(&p);
	CU_ASSERT_EQUAL_FATAL(registered->open(&p, true), 0);
	CU_ASSERT_EQUAL(ninth_sector(&p), (uint8_t)(base + 2));
	registered->close(&p);

	/* A new boot in discard mode is an empty write-back. */
	write_text("disk/p-0.conf",
		   "client=PC\nsize=%u\noverlay=11111111-2222-3333-4444-000000000070\nmode=discard\n"
		   "boot=cccccccc-2222-3333-4444-555555555555\ngeneration=win 1\nlayer=raw %s base image.raw\n",
		   SIZE, dir);
	write_patch("p-0.patch", "win 1", (uint8_t)(base + 3), true);
	CU_ASSERT_EQUAL_FATAL(registered->open(&p, false), 0);
	CU_ASSERT_EQUAL(ninth_sector(&p), (uint8_t)(base + 3));
	CU_ASSERT_FALSE(exists("disk/p-0.patch", text, sizeof(text)));
	registered->close(&p);
}

static void test_handler_counters(void)
{
	struct stats_disk s;
	char path[200];
	int fd;

	/* The disk that may only be read was written to. */
	snprintf(path, sizeof(path), "%s/disk/r-0.stat", dir);
	fd = open(path, O_RDONLY);
	CU_ASSERT_EQUAL_FATAL(read(fd, &s, sizeof(s)), sizeof(s));
	close(fd);
	CU_ASSERT_EQUAL(s.errors[STATS_WRITE], 1);
	snprintf(path, sizeof(path), "%s/disk/a-0.stat", dir);
	fd = open(path, O_RDONLY);
	CU_ASSERT_EQUAL_FATAL(read(fd, &s, sizeof(s)), sizeof(s));
	close(fd);
	CU_ASSERT_EQUAL(s.magic, STATS_MAGIC);
	CU_ASSERT_EQUAL(s.opens, 1);
	CU_ASSERT(s.first_read_ns != 0);
	CU_ASSERT(s.ops[STATS_READ] >= 4 && s.ops[STATS_WRITE] >= 3 && s.ops[STATS_FLUSH] >= 2 &&
		  s.ops[STATS_UNMAP] == 1);
	CU_ASSERT_EQUAL(s.errors[STATS_READ], 0); /* what lies beyond the disk is the PC's mistake */
	CU_ASSERT(s.store_write_bytes >= 8192);
	registered->destroy();
	CU_ASSERT_PTR_NULL(the.engine);
	snprintf(path, sizeof(path), "rm -rf %s", dir);
	CU_ASSERT_EQUAL(system(path), 0);
}

UNIT_MAIN(UNIT(test_handler_registers), UNIT(test_handler_refusals_leave_a_sentence), UNIT(test_handler_commands),
	  UNIT(test_handler_read_only_and_discard), UNIT(test_handler_no_memory), UNIT(test_handler_patch),
	  UNIT(test_handler_counters))
