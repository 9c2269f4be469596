// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A write-back store, and overlays in it, of arbitrary bytes. A good store with a kept and a discarded overlay is made
 * once; the input is edits of it, each an operation (u8) and what it needs:
 *
 *	0, 1	block (u8), offset (u16), n (u8), n bytes: written there; 1: and the block's checksum mended
 *	2, 3	block from (u8), block to (u8): copied, as a misdirected write does; 3: mended
 *	4	block (u8): zeros
 *	5	bytes (u8): the whole store is cut off after so many blocks
 *
 * (Checksums would stop nearly every edit at the door, so half of the operations mend them.) Then it is opened as after
 *a kill, read, written to, closed and opened again.
 *
 * Properties: no operation outside of the store (the twin sees to that), nothing hangs, and what a kept disk showed and
 * took is what it shows when it is opened again.
 */
#include <fcntl.h>
#include <stdint.h>

#include "tcmu-handler/crc32c.h"
#include "tcmu-handler/engine.h"
#include "tcmu-handler/image/bytes.h"
#include "tests/crash/twin.h"

#define BLOCK   4096u
#define BLOCKS  104u
#define STORE   (BLOCKS * BLOCK)
#define SECTORS 256u
#define SIZE    (SECTORS * 512u)
#define TURNS   1000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct twin twin;
static char dir[64];
static uint8_t good[STORE];

static void clean(void)
{
	char command[100];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command))
		abort();
}

static struct engine *open_engine(uint64_t size)
{
	static const uint8_t machine[16] = {1}, uuid[16] = {9};
	struct engine_config c = {.store_fd = TWIN_FD,
				  .store_size = size,
				  .image_ram = 4u << 20,
				  .write_back_ram = 1u << 20,
				  .threads = 1,
				  .io = &twin.backend,
				  .manual = true,
				  .segment_blocks = 8,
				  .places = 2,
				  .store_uuid = uuid,
				  .machine_boot = machine};
	struct sentence err = {.text = ""};
	struct engine *e = NULL;

	return engine_new(&e, &c, &err) ? NULL : e;
}

static struct disk *open_disk(struct engine *e, unsigned int i)
{
	struct disk_config c = {.size = SIZE, .mode = i ? DISK_DISCARD : DISK_KEEP, .layers = 1, .generation = "g"};
	struct sentence err = {.text = ""};
	struct disk *d = NULL;

	c.overlay[0] = (uint8_t)(i + 1);
	c.boot[0] = 1;
	c.layer[0].format = IMAGE_RAW;
	snprintf(c.layer[0].dir, sizeof(c.layer[0].dir), "%s", dir);
	snprintf(c.layer[0].file, sizeof(c.layer[0].file), "base.raw");
	return disk_open(&d, e, &c, &err) ? NULL : d;
}

static void on_done(struct disk_request *r, int error)
{
	*(int *)r->arg = error;
}

static int run(struct engine *e, struct disk *d, enum disk_op op, uint64_t sector, uint64_t count, void *data)
{
	struct iovec iov = {data, count * 512};
	int error = 1;
	struct disk_request r = {.op = op,
				 .offset = sector * 512,
				 .length = count * 512,
				 .iov = &iov,
				 .iov_cnt = 1,
				 .done = on_done,
				 .arg = &error};
	int now = disk_submit(d, &r);
	unsigned int turns = 0;

	while (now == 1 && error == 1) {
		engine_poll(e, true);
		if (++turns % 100 == 0)
			engine_tick(e);
		if (turns > TURNS) {
			fprintf(stderr, "operation %d hangs\n", op);
			abort();
		}
	}
	return now == 1 ? error : now;
}

/* Reads by the sector what cannot be read at once. Which could be read: `ok`. */
static void read_all(struct engine *e, struct disk *d, uint8_t *to, bool ok[SECTORS])
{
	for (uint32_t s = 0; s < SECTORS; s += 8) {
		if (!run(e, d, DISK_READ, s, 8, to + s * 512)) {
			memset(ok + s, true, 8);
			continue;
		}
		for (uint32_t k = s; k < s + 8; k++)
			ok[k] = !run(e, d, DISK_READ, k, 1, to + k * 512);
	}
}

static void put(struct engine *e, struct disk *d, uint32_t sector, uint32_t count, uint8_t value)
{
	static uint8_t data[SIZE];

	memset(data, value, count * 512);
	run(e, d, DISK_WRITE, sector, count, data);
}

static void make_good(void)
{
	struct engine *e;
	char path[100];
	int fd;

	snprintf(dir, sizeof(dir), "%s/bootwell-fuzz.XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(dir))
		abort();
	atexit(clean);
	snprintf(path, sizeof(path), "%s/base.raw", dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, SIZE))
		abort();
	close(fd);
	twin_init(&twin, STORE, false, 1);
	e = open_engine(STORE);
	for (unsigned int i = 0; e && i < 2; i++) {
		struct disk *d = open_disk(e, i);

		put(e, d, 0, 40, 1);
		put(e, d, 100, 3, 2);
		run(e, d, DISK_FLUSH, 0, 0, NULL);
		run(e, d, DISK_UNMAP, 16, 64, NULL);
		put(e, d, 101, 1, 3);
		put(e, d, 200, 8, 4);
		run(e, d, DISK_FLUSH, 0, 0, NULL);
		put(e, d, 0, 8, 5);
		disk_close(d);
	}
	engine_free(e);
	memcpy(good, twin.now, STORE);
}

static void mend(uint8_t *block)
{
	le32_put(block + 4, 0);
	le32_put(block + 4, crc32c_4k(block));
}

/* One edit; how many bytes of the input it took, 0: that was all. */
static size_t edit(const uint8_t *p, size_t left, uint64_t *size)
{
	uint8_t *to = left > 1 ? twin.now + p[1] % BLOCKS * BLOCK : NULL;

	if (left < 2)
		return 0;
	switch (p[0] % 6) {
	case 0:
	case 1:
		if (left < 5 || left - 5 < p[4])
			return 0;
		for (unsigned int i = 0; i < p[4]; i++)
			to[(le16_at(p + 2) + i) % BLOCK] = p[5 + i];
		if (p[0] % 6 == 1)
			mend(to);
		return 5u + p[4];
	case 2:
	case 3:
		if (left < 3)
			return 0;
		memmove(twin.now + p[2] % BLOCKS * BLOCK, to, BLOCK);
		if (p[0] % 6 == 3)
			mend(twin.now + p[2] % BLOCKS * BLOCK);
		return 3;
	case 4:
		memset(to, 0, BLOCK);
		return 2;
	default:
		*size = (uint64_t)(p[1] % BLOCKS + 1) * BLOCK;
		return 2;
	}
}

/* Opens the kept disk, and compares it with what it was, if that is known. */
static void live(uint64_t size, uint8_t *was, bool ok[SECTORS], bool first)
{
	static uint8_t now[SIZE];
	bool can[SECTORS];
	struct engine *e = open_engine(size);
	struct disk *d, *other;

	if (!e)
		return;
	d = open_disk(e, 0);
	other = open_disk(e, 1);
	if (d) {
		read_all(e, d, now, can);
		for (uint32_t s = 0; !first && s < SECTORS; s++)
			if (ok[s] && can[s] && memcmp(now + s * 512, was + s * 512, 512)) {
				fprintf(stderr, "sector %u is %02x and was %02x\n", s, now[s * 512], was[s * 512]);
				abort();
			}
	}
	if (d && first) {
		put(e, d, 3, 90, 0x77);
		run(e, d, DISK_UNMAP, 120, 40, NULL);
		if (!run(e, d, DISK_FLUSH, 0, 0, NULL))
			read_all(e, d, was, ok);
		else
			memset(ok, false, SECTORS);
	}
	if (other)
		put(e, other, 0, SECTORS, 0x55);
	disk_close(d);
	disk_close(other);
	engine_free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t was[SIZE];
	bool ok[SECTORS] = {false};
	uint64_t store_size = STORE;
	size_t n;

	if (!dir[0])
		make_good();
	memcpy(twin.now, good, STORE);
	twin.rng = 88172645463325252ull;
	while ((n = edit(data, size, &store_size)) != 0) {
		data += n;
		size -= n;
	}
	live(store_size, was, ok, true);
	live(store_size, was, ok, false);
	return 0;
}
