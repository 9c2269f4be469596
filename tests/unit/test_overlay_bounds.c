// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an overlay may cost: memory of the map, bytes in the store, and what happens when the store
 * is full. And the small parts that this rests on: the map against a plain array, records,
 * checksums.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tcmu-handler/crc32c.h"
#include "tcmu-handler/image/bytes.h"
#include "tcmu-handler/record.h"
#include "tests/unit/engine_rig.h"

#define STORE (64u << 20)

static char dir[] = "/tmp/bootwell-bounds.XXXXXX";
static struct twin twin;
static uint64_t rng;

static uint32_t next_random(void)
{
	return rig_random(&rng);
}

/* --- small parts --- */

static void test_crc32c_known_answer(void)
{
	static uint8_t block[4096];

	rng = unit_seed() | 1;
	CU_ASSERT_EQUAL(crc32c("123456789", 9), 0xe3069283);
	for (unsigned int n = 0; n < 50; n++) {
		for (unsigned int i = 0; i < sizeof(block); i++)
			block[i] = (uint8_t)next_random();
		CU_ASSERT_EQUAL(crc32c_4k(block), crc32c(block, sizeof(block)));
	}
}

static void test_record_round_trip(void)
{
	struct record_head
		head = {.epoch = 5, .segment = 6, .batch = 7, .durable = 3, .position = 9, .zeros = 2, .data = 3},
		got;
	struct record_entry entries[RECORD_ENTRIES] = {{.block = 1, .count = 10},
						       {.block = 50, .count = 1},
						       {.block = 2, .crc = 0xdead, .mask = 3},
						       {.block = 3, .mask = 0xff},
						       {.block = 4, .mask = 1}};
	struct record_entry back[RECORD_ENTRIES];
	uint8_t block[4096];

	head.store[3] = 4;
	record_encode(block, &head, entries);
	CU_ASSERT_EQUAL(record_decode(block, head.store, &got, back), 0);
	CU_ASSERT_EQUAL(got.epoch, 5);
	CU_ASSERT_EQUAL(got.durable, 3);
	CU_ASSERT_EQUAL(back[0].count, 10);
	CU_ASSERT_EQUAL(back[2].crc, 0xdead);
	CU_ASSERT_EQUAL(back[2].mask, 3);
	for (unsigned int i = 0; i < 4096; i += 97) {
		block[i] ^= 0x10;
		CU_ASSERT(record_decode(block, head.store, &got, back) < 0);
		block[i] ^= 0x10;
	}
	head.store[3] = 5;
	CU_ASSERT(record_decode(block, head.store, &got, back) < 0);
}

/* More entries than a block has room for, under a good checksum. */
static void test_record_with_too_many_entries(void)
{
	static const uint16_t bad[][2] = {
		{0, RECORD_ENTRIES + 1}, {RECORD_ENTRIES + 1, 0}, {1, RECORD_ENTRIES}, {0xffff, 0xffff}, {0, 0xffff}};
	struct record_head head = {.batch = 1, .data = RECORD_ENTRIES}, got;
	struct record_entry entries[RECORD_ENTRIES] = {};
	uint8_t block[4096];

	record_encode(block, &head, entries);
	CU_ASSERT_EQUAL(record_decode(block, head.store, &got, NULL), 0);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		le16_put(block + 58, bad[i][0]);
		le16_put(block + 60, bad[i][1]);
		le32_put(block + 4, 0);
		le32_put(block + 4, crc32c_4k(block));
		CU_ASSERT_EQUAL(record_decode(block, head.store, &got, NULL), -EINVAL);
	}
}

static void ignore(void *arg, const struct map_entry *entry)
{
	(void)entry;
	++*(unsigned int *)arg;
}

static void test_map_against_array(void)
{
	enum { BLOCKS = 70000 };
	static uint32_t slot[BLOCKS];
	static bool zero[BLOCKS];
	struct map map;
	unsigned int bad = 0;

	memset(slot, 0, sizeof(slot));
	memset(zero, 0, sizeof(zero));
	CU_ASSERT_EQUAL_FATAL(map_init(&map, BLOCKS), 0);
	for (unsigned int n = 0; n < 60000; n++) {
		uint32_t b = next_random() % BLOCKS, count = next_random() % (n % 100 ? 20 : 40000) + 1;
		struct map_entry *e = map_get(&map, b);

		if (count > BLOCKS - b)
			count = BLOCKS - b;
		bad += (e ? e->slot : 0) != slot[b] || map_is_zero(&map, b) != zero[b] ||
		       ((e || zero[b]) && !map_maybe(&map, b, 1));
		if (n % 3 == 0) {
			unsigned int gone = 0, there = 0;

			for (uint32_t i = b; i < b + count; i++) {
				there += slot[i] != 0;
				slot[i] = 0;
				zero[i] = true;
			}
			map_remove_range(&map, b, count, ignore, &gone);
			bad += gone != there || map_zero(&map, b, count) < 0;
		} else if (!e) {
			bad += map_reserve(&map, 1) < 0;
			slot[b] = map_add(&map, b)->slot = n + 1;
		}
	}
	for (uint32_t b = 0; b < BLOCKS; b++) {
		const struct map_entry *e = map_get(&map, b);

		bad += (e ? e->slot : 0) != slot[b] || map_is_zero(&map, b) != zero[b];
	}
	for (uint32_t at = 0, start, n; map_next_zero(&map, at, BLOCKS, &start, &n); at = start + n)
		for (uint32_t b = at; b < start + n; b++)
			bad += zero[b] != (b >= start);
	CU_ASSERT_EQUAL(bad, 0);
	map_done(&map);
}

/* --- memory --- */

static void test_bounds_map_of_a_scattered_gib(void)
{
	struct map map;
	uint32_t blocks = (2ull << 40) / 4096 - 1;

	CU_ASSERT_EQUAL_FATAL(map_init(&map, blocks), 0);
	CU_ASSERT(map.bytes < 32u << 10);
	while (map.count < 262144) {
		uint32_t b = next_random() % blocks;

		if (map_get(&map, b))
			continue;
		CU_ASSERT_EQUAL_FATAL(map_reserve(&map, 1), 0);
		map_add(&map, b);
	}
	printf("# a scattered dirty GiB: %zu KiB of map\n", map.bytes / 1024);
	CU_ASSERT(map.bytes < 20u << 20);
	map_done(&map);
	/* The whole of 2 TiB unmapped. */
	CU_ASSERT_EQUAL_FATAL(map_init(&map, blocks), 0);
	CU_ASSERT_EQUAL(map_zero(&map, 0, blocks), 0);
	printf("# 2 TiB unmapped: %zu KiB of map\n", map.bytes / 1024);
	CU_ASSERT(map.bytes < 256u << 10);
	CU_ASSERT(map_is_zero(&map, blocks - 1));
	map_done(&map);
}

/* --- the store --- */

static struct engine *start(uint64_t write_back_ram, uint32_t segment_blocks)
{
	struct engine_config c;
	char path[100];
	int fd;

	if (!twin.now) {
		CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
		twin_init(&twin, STORE, false, unit_seed());
	}
	c = rig_twin_config(&twin, write_back_ram);
	c.segment_blocks = segment_blocks;
	c.places = 16;
	memset(twin.now, 0, STORE);
	snprintf(path, sizeof(path), "%s/base.raw", dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	CU_ASSERT_EQUAL_FATAL(ftruncate(fd, 256 << 20), 0);
	close(fd);
	return rig_engine(&c);
}

static struct disk *open_disk(struct engine *e, unsigned int i, enum disk_mode mode, unsigned int boot)
{
	struct disk_config c = rig_disk_config(dir, i, 256u << 20, mode);

	c.boot[0] = (uint8_t)(boot + 1);
	return rig_disk(e, &c);
}

static int run(struct engine *e, struct disk *d, enum disk_op op, uint64_t offset, uint64_t length, void *data)
{
	return rig_run(e, d, op, false, offset, length, data, data ? (size_t)length : 0);
}

static void test_bounds_idle_overlay(void)
{
	struct engine *e = start(1u << 20, 256);
	struct disk *d = open_disk(e, 0, DISK_KEEP, 0);
	uint8_t data[4096] = {1};

	CU_ASSERT_EQUAL(run(e, d, DISK_WRITE, 0, 4096, data), 0);
	CU_ASSERT_EQUAL(run(e, d, DISK_FLUSH, 0, 0, NULL), 0);
	printf("# an idle overlay: %zu KiB\n", overlay_memory(disk_overlay(d)) / 1024);
	CU_ASSERT(disk_memory(d) < 64u << 10);
	disk_close(d);
	engine_free(e);
}

static void test_bounds_bytes_per_guest_byte(void)
{
	struct engine *e = start(1u << 20, 256);
	struct disk *d = open_disk(e, 0, DISK_KEEP, 0);
	uint64_t written = 0, on_disk;
	struct overlay_gauges g;
	uint8_t data[4096] = {1};

	for (uint32_t i = 0; i < 8000; i++, written += 4096)
		CU_ASSERT_EQUAL_FATAL(run(e, d, DISK_WRITE, (uint64_t)(i * 7919u % 65536) * 4096, 4096, data), 0);
	CU_ASSERT_EQUAL(run(e, d, DISK_FLUSH, 0, 0, NULL), 0);
	overlay_gauges(disk_overlay(d), &g);
	on_disk = (uint64_t)(engine_store(e)->segments - engine_store(e)->free_count) * 256 * 4096;
	printf("# %.3f bytes written and %.3f taken in the store for each of the guest's\n",
	       (double)g.written_bytes / (double)written, (double)on_disk / (double)written);
	CU_ASSERT(g.written_bytes < written * 11 / 10);
	CU_ASSERT(on_disk < written * 11 / 10);
	disk_close(d);
	engine_free(e);
}

/* Ten times what the store has room for is overwritten and unmapped: freed slots must be used
 * again. */
static void test_bounds_slots_are_used_again(void)
{
	struct engine *e = start(1u << 20, 64);
	struct disk *d[2] = {open_disk(e, 0, DISK_KEEP, 0), open_disk(e, 1, DISK_DISCARD, 0)};
	static uint32_t expect[2][4000];
	uint32_t data[1024] = {0};
	unsigned int bad = 0;

	memset(expect, 0, sizeof(expect));
	for (uint32_t n = 1; n < 160000; n++) {
		unsigned int i = n & 1;
		uint32_t block = next_random() % 4000;
		int r;

		if (n % 50 == 0) {
			uint32_t count = next_random() % 30 + 1;

			if (count > 4000 - block)
				count = 4000 - block;
			r = run(e, d[i], DISK_UNMAP, (uint64_t)block * 4096, (uint64_t)count * 4096, NULL);
			memset(&expect[i][block], 0, count * sizeof(expect[0][0]));
		} else {
			data[0] = data[1023] = n;
			r = run(e, d[i], DISK_WRITE, (uint64_t)block * 4096, 4096, data);
			expect[i][block] = n;
		}
		if (r < 0 && bad++ < 3)
			printf("# operation %u: %d\n", n, r);
		if (n % 1000 == 0)
			bad += run(e, d[0], DISK_FLUSH, 0, 0, NULL) != 0;
		if (bad > 10)
			break;
	}
	for (unsigned int i = 0; i < 2; i++)
		for (uint32_t block = 0; block < 4000; block++) {
			bad += run(e, d[i], DISK_READ, (uint64_t)block * 4096, 4096, data) != 0;
			bad += data[0] != expect[i][block] || data[1023] != expect[i][block];
		}
	CU_ASSERT_EQUAL(bad, 0);
	printf("# %llu blocks moved by cleaning\n", (unsigned long long)engine_store(e)->cleaned_blocks);
	disk_close(d[0]);
	disk_close(d[1]);
	engine_free(e);
}

/* One client fills the store: it gets -ENOSPC; another goes on; a reset gives all back. */
static void test_bounds_full_store(void)
{
	struct engine *e = start(1u << 20, 64);
	struct disk *greedy = open_disk(e, 0, DISK_DISCARD, 0), *modest = open_disk(e, 1, DISK_KEEP, 0);
	uint32_t data[1024] = {7}, n = 0, i;
	int r = 0;

	while (!r && n < 40000)
		r = run(e, greedy, DISK_WRITE, (uint64_t)n++ * 4096, 4096, data);
	printf("# full after %u of %u blocks\n", n, STORE / 4096);
	CU_ASSERT_EQUAL(r, -ENOSPC);
	CU_ASSERT(n > STORE / 4096 * 8 / 10);
	for (i = 0; i < 300; i++) {
		data[0] = i;
		CU_ASSERT_EQUAL_FATAL(run(e, modest, DISK_WRITE, (uint64_t)i * 8192, 4096, data), 0);
		CU_ASSERT_EQUAL(run(e, greedy, DISK_WRITE, (uint64_t)(n + i) * 4096, 4096, data), -ENOSPC);
	}
	CU_ASSERT_EQUAL(run(e, modest, DISK_FLUSH, 0, 0, NULL), 0);
	/* What it has, it can read. */
	CU_ASSERT_EQUAL(run(e, greedy, DISK_READ, 4096, 4096, data), 0);
	CU_ASSERT_EQUAL(data[0], 7);
	/* Unmapping makes room for itself. */
	CU_ASSERT_EQUAL(run(e, greedy, DISK_UNMAP, 0, 8u << 20, NULL), 0);
	for (i = 0; i < 1000; i++)
		CU_ASSERT_EQUAL_FATAL(run(e, greedy, DISK_WRITE, (200ull << 20) + i * 4096, 4096, data), 0);
	disk_close(greedy);
	greedy = open_disk(e, 0, DISK_DISCARD, 1);
	for (i = 0; i < 8000; i++)
		CU_ASSERT_EQUAL_FATAL(run(e, greedy, DISK_WRITE, (uint64_t)i * 4096, 4096, data), 0);
	disk_close(greedy);
	disk_close(modest);
	engine_free(e);
}

static void test_bounds_cleanup(void)
{
	char command[100];

	twin_done(&twin);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	CU_ASSERT_EQUAL(system(command), 0);
}

UNIT_MAIN(UNIT(test_crc32c_known_answer), UNIT(test_record_round_trip), UNIT(test_record_with_too_many_entries),
	  UNIT(test_map_against_array), UNIT(test_bounds_map_of_a_scattered_gib), UNIT(test_bounds_idle_overlay),
	  UNIT(test_bounds_bytes_per_guest_byte), UNIT(test_bounds_slots_are_used_again), UNIT(test_bounds_full_store),
	  UNIT(test_bounds_cleanup))
