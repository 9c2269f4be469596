// SPDX-License-Identifier: GPL-2.0-or-later
/* VHD byte by byte: what is read, in each type, and one refusal for each rule. */
#include "tests/unit/image_refuse.h"

static void test_vhd_reads_fixed(void)
{
	struct blob b = build_vhd(2, 7, 0);
	struct image *img;

	folder_begin();
	img = open_blob(&b, "fixed.vhd", IMAGE_VHD);
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	CU_ASSERT_STRING_EQUAL(image_info(img)->subformat, "fixed");
	CU_ASSERT_EQUAL(image_info(img)->virtual_size, BUILD_DISK);
	CU_ASSERT_STRING_EQUAL(image_info(img)->creator, "win 6.3");
	CU_ASSERT_STRING_EQUAL(image_info(img)->id, "07070707-0707-0707-0707-070707070707");
	for (uint64_t s = 0; s < 2048; s++)
		expect_sector(img, s, 7);
	image_close(img);
	folder_end();
	blob_done(&b);
}

/* What a guest writes into its first sector does not make another disk of it. */
static void test_vhd_fixed_heeds_no_footer_in_the_first_sector(void)
{
	struct blob b = build_vhd(2, 7, 0);
	struct image *img;

	build_vhd_footer(b.p, 3, 9);
	folder_begin();
	img = open_blob(&b, "fixed.vhd", IMAGE_VHD);
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	CU_ASSERT_STRING_EQUAL(image_info(img)->subformat, "fixed");
	expect_sector(img, 1, 7);
	image_close(img);
	folder_end();
	blob_done(&b);
}

static void test_vhd_reads_dynamic(void)
{
	struct blob b = build_vhd(3, 5, 0);
	struct image_extent e;
	struct image *img;

	folder_begin();
	img = open_blob(&b, "dynamic.vhd", IMAGE_VHD);
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	CU_ASSERT_STRING_EQUAL(image_info(img)->subformat, "dynamic");
	CU_ASSERT_EQUAL(image_info(img)->allocated_size, 3 * BUILD_BLOCK);
	for (uint64_t s = 0; s < 2048; s++)
		expect_sector(img, s, s / 128 == 0 || s / 128 == 3 || s / 128 == 15 ? 5 : -1);
	CU_ASSERT_EQUAL(image_map(img, 65536, BUILD_DISK - 65536, &e), 0);
	CU_ASSERT_EQUAL(e.type, IMAGE_EXTENT_ZERO);
	CU_ASSERT_EQUAL(e.length, 2 * 65536); /* merged up to block 3 */
	CU_ASSERT_EQUAL(image_map(img, 512, 512 * 512, &e), 0);
	CU_ASSERT_EQUAL(e.length, 65536 - 512);
	CU_ASSERT_EQUAL(e.offset, (BUILD_FIRST_BLOCK + 129 + 1 + 1) * 512);
	image_close(img);
	folder_end();
	blob_done(&b);
}

static void test_vhd_map_answers_only_within_the_disk(void)
{
	struct blob b = build_vhd(3, 5, 0);
	struct image_extent e;
	struct image *img;

	folder_begin();
	img = open_blob(&b, "dynamic.vhd", IMAGE_VHD);
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	CU_ASSERT_EQUAL(image_map(img, BUILD_DISK, 512, &e), -ERANGE);
	CU_ASSERT_EQUAL(image_map(img, BUILD_DISK - 512, 1024, &e), -ERANGE);
	CU_ASSERT_EQUAL(image_map(img, UINT64_MAX - 511, 512, &e), -ERANGE);
	CU_ASSERT_EQUAL(image_map(img, 0, UINT64_MAX - 511, &e), -ERANGE);
	CU_ASSERT_EQUAL(image_map(img, 0, 0, &e), -EINVAL);
	CU_ASSERT_EQUAL(image_map(img, 1, 512, &e), -EINVAL);
	CU_ASSERT_EQUAL(image_map(img, 0, 511, &e), -EINVAL);
	image_close(img);
	folder_end();
	blob_done(&b);
}

static void test_vhd_differencing_reads_its_parent_by_sector(void)
{
	struct blob child = build_vhd(4, 6, 5), parent = build_vhd(3, 5, 0);
	struct image *c, *p;
	struct image_extent e;
	struct sentence err;

	folder_begin();
	c = open_blob(&child, "child.vhd", IMAGE_VHD);
	p = open_blob(&parent, "parent.vhd", IMAGE_VHD);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	CU_ASSERT_PTR_NOT_NULL_FATAL(p);
	CU_ASSERT_STRING_EQUAL(image_info(c)->subformat, "differencing");
	CU_ASSERT_EQUAL(image_info(c)->allocated_size, (128 + 64) * 512);
	CU_ASSERT_TRUE(image_needs_parent(c));
	CU_ASSERT_EQUAL(image_map(c, BUILD_BLOCK, 512, &e), -ENODATA);
	expect_sector(c, 0, 6); /* its own data need no parent */
	CU_ASSERT_EQUAL_FATAL(image_set_parent(c, p, &err), 0);
	CU_ASSERT_FALSE(image_needs_parent(c));
	CU_ASSERT_EQUAL(image_file_count(c), 2);
	CU_ASSERT_PTR_EQUAL(image_file(c, 1), image_file(p, 0));
	CU_ASSERT_EQUAL(image_file(c, 1)->index, 1);
	for (uint64_t s = 0; s < 2048; s++) {
		uint64_t block = s / 128;

		expect_sector(c, s, block == 0 || (block == 3 && s % 2 == 0) ? 6 : block == 3 || block == 15 ? 5 : -1);
	}
	image_close(c);
	folder_end();
	blob_done(&child);
	blob_done(&parent);
}

/* Runs of sectors are merged, and must be what the sectors are. */
static void expect_same_in_one_piece(const struct image *img)
{
	uint8_t *all = malloc(BUILD_DISK), sector[512];

	CU_ASSERT_EQUAL(reader_read(img, 0, BUILD_DISK, all), 0);
	for (uint64_t s = 0; s < 2048; s++) {
		CU_ASSERT_EQUAL(reader_read(img, s * 512, 512, sector), 0);
		if (memcmp(all + s * 512, sector, 512) != 0) {
			printf("# sector %llu\n", (unsigned long long)s);
			CU_FAIL("differs when it is read alone");
		}
	}
	free(all);
}

static void test_vhd_bitmaps_of_all_kinds(void)
{
	struct blob child = build_vhd(4, 6, 5), parent = build_vhd(3, 5, 0);
	uint8_t *bitmap = child.p + (BUILD_FIRST_BLOCK + 129) * 512; /* of block 0 */
	struct sentence err;
	struct image *c, *p;

	folder_begin();
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < 16; i++)
			bitmap[i] = (uint8_t)(round % 5 == 0   ? 0xf0 >> (i % 7)
					      : round % 5 == 1 ? i * 37 + round
					      : i % 3          ? 0xff
							       : round * 91);
		c = open_blob(&child, "child.vhd", IMAGE_VHD);
		p = open_blob(&parent, "parent.vhd", IMAGE_VHD);
		CU_ASSERT_EQUAL_FATAL(image_set_parent(c, p, &err), 0);
		for (uint64_t s = 0; s < 128; s++)
			expect_sector(c, s, bitmap[s / 8] & (0x80 >> s % 8) ? 6 : 5);
		expect_same_in_one_piece(c);
		image_close(c);
	}
	folder_end();
	blob_done(&child);
	blob_done(&parent);
}

static void expect_no_parent(struct image *c, struct image *p, const char *words)
{
	struct sentence err = {0};
	int r = image_set_parent(c, p, &err);

	CU_ASSERT_TRUE(r < 0);
	if (!strstr(err.text, words)) {
		printf("# expected \"%s\", got \"%s\"\n", words, err.text);
		CU_FAIL("another sentence");
	}
}

static void test_vhd_refuses_wrong_parents(void)
{
	struct blob b[3] = {build_vhd(4, 6, 5), build_vhd(3, 4, 0), build_vhd(4, 5, 6)};
	struct sentence err;
	struct image *c, *p;

	folder_begin();
	c = open_blob(&b[0], "child.vhd", IMAGE_VHD);
	p = open_blob(&b[1], "other.vhd", IMAGE_VHD);
	expect_no_parent(c, p,
			 "its parent has UUID 05050505-0505-0505-0505-050505050505, but other.vhd "
			 "has 04040404-");
	expect_no_parent(p, c, "has no parent");
	image_close(p);
	/* two that call each other parent */
	p = open_blob(&b[2], "loop.vhd", IMAGE_VHD);
	CU_ASSERT_EQUAL(image_set_parent(c, p, &err), 0);
	expect_no_parent(c, p, "has its parent already");
	p = reader_open(test_dir, "child.vhd", IMAGE_VHD, &err);
	expect_no_parent((struct image *)image_parent(c), p, "the chain of parents comes back to the file child.vhd");
	image_close(p);
	image_close(c);
	folder_end();
	for (int i = 0; i < 3; i++)
		blob_done(&b[i]);
}

/* Hyper-V lets a child be expanded; what its parent does not have is zero. */
static void test_vhd_child_larger_than_its_parent(void)
{
	struct blob b[2] = {build_vhd(4, 6, 5), build_vhd(3, 5, 0)};
	const unsigned int half = BUILD_DISK / 512 / 2; /* sectors of the parent */
	struct image_extent e;
	struct sentence err;
	struct image *c, *p;

	folder_begin();
	be64_put(b[1].p + 48, BUILD_DISK / 2); /* and its block 15, which it has on disk, is behind its end */
	build_vhd_sum(b[1].p, 512, 64);
	memcpy(b[1].p + b[1].n - 512, b[1].p, 512);
	c = open_blob(&b[0], "child.vhd", IMAGE_VHD);
	p = open_blob(&b[1], "small.vhd", IMAGE_VHD);
	CU_ASSERT_EQUAL_FATAL(image_set_parent(c, p, &err), 0);
	CU_ASSERT_EQUAL(image_info(c)->virtual_size, BUILD_DISK);
	expect_sector(c, 3 * 128 + 1, 5); /* a sector of block 3 that only the parent has */
	expect_sector(c, half - 1, -1);
	expect_sector(c, half, -1);
	expect_sector(c, 15 * 128, -1);
	CU_ASSERT_EQUAL(image_map(c, (uint64_t)(half - 1) * 512, 1024, &e), 0); /* over the parent's end */
	CU_ASSERT_EQUAL(e.type, IMAGE_EXTENT_ZERO);
	image_close(c);
	folder_end();
	for (int i = 0; i < 2; i++)
		blob_done(&b[i]);
}

/* Tables are made larger than the disk (to be expanded), and what stands in the spare entries is nobody's. */
static void test_vhd_spare_entries_may_hold_anything(void)
{
	static const uint32_t anything[] = {0, 1, 3, BUILD_FIRST_BLOCK, BUILD_FIRST_BLOCK + 1, 0x7fffffff, 0xfffffffe};

	folder_begin();
	for (size_t i = 0; i < sizeof(anything) / sizeof(anything[0]); i++) {
		struct blob b = build_vhd(3, 5, 0);
		struct image *img;

		be32_put(b.p + 512 + 28, BUILD_BLOCKS + 3); /* the table's sector has the room */
		build_vhd_sum(b.p + 512, 1024, 36);
		be32_put(b.p + BUILD_BAT + 4 * BUILD_BLOCKS, anything[i]);
		be32_put(b.p + BUILD_BAT + 4 * (BUILD_BLOCKS + 2), anything[i]);
		img = open_blob(&b, "spare.vhd", IMAGE_VHD);
		CU_ASSERT_PTR_NOT_NULL_FATAL(img);
		CU_ASSERT_EQUAL(image_info(img)->allocated_size, 3 * BUILD_BLOCK);
		expect_sector(img, 0, 5);
		expect_sector(img, 15 * 128 + 127, 5);
		image_close(img);
		blob_done(&b);
	}
	folder_end();
}

static void test_vhd_refuses_long_chains(void)
{
	struct image *chain[IMAGE_CHAIN_MAX + 1] = {0};
	struct sentence err;
	char name[32];

	folder_begin();
	for (int i = 0; i <= IMAGE_CHAIN_MAX; i++) {
		struct blob b = build_vhd(4, (uint8_t)(i + 1), (uint8_t)(i + 2));

		snprintf(name, sizeof(name), "%d.vhd", i);
		chain[i] = open_blob(&b, name, IMAGE_VHD);
		blob_done(&b);
		CU_ASSERT_PTR_NOT_NULL_FATAL(chain[i]);
		if (i > 0 && i < IMAGE_CHAIN_MAX)
			CU_ASSERT_EQUAL(image_set_parent(chain[i - 1], chain[i], &err), 0);
	}
	expect_no_parent(chain[IMAGE_CHAIN_MAX - 1], chain[IMAGE_CHAIN_MAX], "more than 16 images in the chain");
	image_close(chain[IMAGE_CHAIN_MAX]);
	image_close(chain[0]);
	folder_end();
}

/* --- the refuse list --- */

enum where { BOTH, FRONT, TAIL, HEADER, BAT, CUT };

struct damage {
	const char *what;
	enum where where;
	unsigned int field, bytes;
	uint64_t value;
	const char *words;
};

static void put_field(uint8_t *p, unsigned int bytes, uint64_t value)
{
	if (bytes == 1)
		*p = (uint8_t)value;
	else if (bytes == 4)
		be32_put(p, (uint32_t)value);
	else
		be64_put(p, value);
}

static void apply(struct blob *b, const struct damage *d)
{
	uint8_t *tail = b->p + b->n - 512;

	if (d->where == CUT) {
		b->n -= d->value;
		return;
	}
	if (d->where == BOTH || d->where == FRONT) {
		put_field(b->p + d->field, d->bytes, d->value);
		build_vhd_sum(b->p, 512, 64);
	}
	if (d->where == BOTH || d->where == TAIL) {
		put_field(tail + d->field, d->bytes, d->value);
		build_vhd_sum(tail, 512, 64);
	}
	if (d->where == HEADER) {
		put_field(b->p + 512 + d->field, d->bytes, d->value);
		build_vhd_sum(b->p + 512, 1024, 36);
	}
	if (d->where == BAT)
		be32_put(b->p + BUILD_BAT + 4 * d->field, (uint32_t)d->value);
}

static const struct damage damages[] = {
	{"type", BOTH, 60, 4, 5, "is a VHD of type 5; fixed (2), dynamic (3) and differencing (4) are known"},
	{"type 0", BOTH, 60, 4, 0, "is a VHD of type 0"},
	{"version", BOTH, 12, 4, 0x20000, "is a VHD of version 2.0, and only 1.0 is known"},
	{"size 0", BOTH, 48, 8, 0, "the disk size in its footer, 0 bytes, is not a multiple of 512"},
	{"size not a multiple", BOTH, 48, 8, BUILD_DISK - 1, "1048575 bytes, is not a multiple of 512"},
	{"size over 2040 GiB", BOTH, 48, 8, VHD_SIZE_MAX + 512, "is over the 2040 GiB of a VHD"},
	{"size over the blocks", BOTH, 48, 8, BUILD_DISK + 512,
	 "its 16 blocks of 65536 bytes are too few for a disk of 1049088 bytes"},
	{"header unaligned", BOTH, 16, 8, 513, "the dynamic header is at byte 513, which is not the begin of a sector"},
	{"header past the end", BOTH, 16, 8, 1ull << 40,
	 "the dynamic header at byte 1099511627776 would lie past the end of the file"},
	{"header near 2^64", BOTH, 16, 8, UINT64_MAX - 511, "would lie past the end of the file"},
	{"header over the footer", BOTH, 16, 8, 0, "there is no dynamic header at byte 0"},
	{"no header", HEADER, 0, 1, 'X', "there is no dynamic header at byte 512"},
	{"header version", HEADER, 24, 4, 7, "its dynamic header has the unknown version 0x00000007"},
	{"BAT unaligned", HEADER, 16, 8, BUILD_BAT + 4,
	 "the block table is at byte 1540, which is not the begin of a sector"},
	{"BAT over the header", HEADER, 16, 8, 1024,
	 "the dynamic header at byte 512 overlaps the block table at byte 1024"},
	{"BAT over the footer", HEADER, 16, 8, 0, "overlaps the"},
	{"BAT past the end", HEADER, 16, 8, 1 << 30, "the block table at byte 1073741824 would lie past the end"},
	{"block size 0", HEADER, 32, 4, 0, "its block size, 0 bytes, is not a power of two from 512 bytes to 256 MiB"},
	{"block size no power", HEADER, 32, 4, 65536 + 512, "its block size, 66048 bytes, is not a power of two"},
	{"block size small", HEADER, 32, 4, 256, "its block size, 256 bytes"},
	{"block size large", HEADER, 32, 4, 512u << 20, "its block size, 536870912 bytes"},
	{"block size 4 GiB", HEADER, 32, 4, 1u << 31, "its block size, 2147483648 bytes"},
	{"entries too few", HEADER, 28, 4, 15, "its 15 blocks of 65536 bytes are too few"},
	{"entries too many", HEADER, 28, 4, UINT32_MAX,
	 "has a table of 4294967295 blocks, and at most 16777216 are read"},
	{"entries past the end", HEADER, 28, 4, 1 << 20,
	 "the block table at byte 1536 would lie past the end of the file"},
	{"block in the footer", BAT, 5, 4, 0, "block 5 at sector 0 overlaps the copy of the footer"},
	{"block in the header", BAT, 5, 4, 2, "block 5 at sector 2 overlaps the dynamic header"},
	{"block in the BAT", BAT, 5, 4, 3, "block 5 at sector 3 overlaps the block table"},
	{"block past the end", BAT, 5, 4, 0x7fffffff,
	 "block 5 at sector 2147483647 would lie past the end of the file; is it truncated?"},
	{"block over the tail", BAT, 15, 4, BUILD_FIRST_BLOCK + 2 * 129 + 1,
	 "block 15 at sector 263 would lie past the end of the file"},
	{"block shared", BAT, 5, 4, BUILD_FIRST_BLOCK, "two blocks share the place at sector 4 of the file"},
	{"block shared in part", BAT, 5, 4, BUILD_FIRST_BLOCK + 128, "two blocks share the place"},
	{"two good footers", FRONT, 48, 8, BUILD_DISK / 2, "its two footers are good but describe different disks"},
	{"two types", TAIL, 60, 4, 4, "its two footers are good but describe different disks"},
};

static void test_vhd_refuses_what_is_wrong(void)
{
	folder_begin();
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		struct blob b = build_vhd(3, 5, 0);

		apply(&b, &damages[i]);
		refuse_blob(&b, IMAGE_VHD, damages[i].what, damages[i].words);
		blob_done(&b);
	}
	folder_end();
}

static void test_vhd_refuses_broken_sums_and_ends(void)
{
	struct blob b = build_vhd(3, 5, 0);

	folder_begin();
	b.p[512 + 50]++;
	refuse_blob(&b, IMAGE_VHD, "header sum",
		    "the checksum of the dynamic header is wrong, and there is no copy of it");
	b.p[512 + 50]--;
	b.p[100]++;
	b.p[b.n - 1]++;
	refuse_blob(&b, IMAGE_VHD, "both sums", "the checksum of the footer is wrong");
	b.n -= 512;
	refuse_blob(&b, IMAGE_VHD, "front broken, end cut", "both copies of the footer are damaged");
	b.p[100]--;
	b.n -= 512 * 3;
	refuse_blob(&b, IMAGE_VHD, "cut",
		    "block 15 at sector 262 would lie past the end of the file; is it truncated?");
	b.n = 100;
	refuse_blob(&b, IMAGE_VHD, "tiny", "is too small for a VHD");
	blob_done(&b);
	b = build_vhd(2, 5, 0);
	b.n -= 512;
	refuse_blob(&b, IMAGE_VHD, "fixed without its footer",
		    "has no VHD footer: its end is missing, or it is not a VHD");
	blob_done(&b);
	b = build_vhd(2, 5, 0);
	memmove(b.p + 512, b.p + BUILD_DISK, 512);
	b.n = 1024;
	refuse_blob(&b, IMAGE_VHD, "fixed too short",
		    "its footer says 1048576 bytes of disk, but the file has only 512");
	blob_done(&b);
	b = build_vhd(4, 5, 0);
	refuse_blob(&b, IMAGE_VHD, "no parent named", "is a differencing disk, but does not say of which parent");
	blob_done(&b);
	folder_end();
}

static void expect_damaged(const struct blob *b, const char *words)
{
	struct image *img = open_blob(b, "x.vhd", IMAGE_VHD);

	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	CU_ASSERT_TRUE(image_info(img)->damaged);
	CU_ASSERT_PTR_NOT_NULL(strstr(image_info(img)->damage, words));
	expect_sector(img, 5, 5);
	expect_sector(img, 200, -1);
	image_close(img);
}

/* Virtual PC before 2004 left the last byte out. */
static void test_vhd_footer_of_511_bytes(void)
{
	folder_begin();
	for (uint32_t type = 2; type <= 3; type++) {
		struct blob b = build_vhd(type, 5, 0);
		struct image *img;

		b.n--;
		img = open_blob(&b, "short.vhd", IMAGE_VHD);
		CU_ASSERT_PTR_NOT_NULL_FATAL(img);
		CU_ASSERT_FALSE(image_info(img)->damaged);
		CU_ASSERT_EQUAL(image_info(img)->virtual_size, BUILD_DISK);
		expect_sector(img, 5, 5);
		image_close(img);
		blob_done(&b);
	}
	folder_end();
}

static void test_vhd_one_good_footer_is_enough(void)
{
	struct blob b = build_vhd(3, 5, 0);

	folder_begin();
	b.p[3]++;
	expect_damaged(&b, "the copy of the footer at the front is damaged");
	b.p[3]--;
	b.p[b.n - 500]++;
	expect_damaged(&b, "the footer at the end of the file is missing or damaged");
	b.n -= 512;
	expect_damaged(&b, "the footer at the end of the file is missing or damaged");
	blob_done(&b);
	b = build_vhd(3, 5, 0);
	be32_put(b.p + 24, 1234); /* the time says nothing about the disk */
	build_vhd_sum(b.p, 512, 64);
	expect_damaged(&b, "its two footers differ");
	blob_done(&b);
	folder_end();
}

/* --- sizes --- */

static uint64_t size_for_creator(const char *creator, bool maximal)
{
	struct blob b = build_vhd(3, 5, 0);
	struct image *img;
	uint64_t size;

	memcpy(b.p + 28, creator, 4);
	if (maximal)
		memcpy(b.p + 56, "\xff\xff\x10\xff", 4);
	build_vhd_sum(b.p, 512, 64);
	memcpy(b.p + b.n - 512, b.p, 512);
	img = open_blob(&b, "x.vhd", IMAGE_VHD);
	size = img ? image_info(img)->virtual_size : 0;
	image_close(img);
	blob_done(&b);
	return size;
}

static void test_vhd_size_by_creator(void)
{
	folder_begin();
	CU_ASSERT_EQUAL(size_for_creator("win ", false), BUILD_DISK);
	CU_ASSERT_EQUAL(size_for_creator("vbox", false), BUILD_DISK);
	CU_ASSERT_EQUAL(size_for_creator("d2v ", false), BUILD_DISK);
	CU_ASSERT_EQUAL(size_for_creator("tap\0", false), BUILD_DISK);
	CU_ASSERT_EQUAL(size_for_creator("qem2", false), BUILD_DISK);
	CU_ASSERT_EQUAL(size_for_creator("vpc ", false), 2040 * 512);
	CU_ASSERT_EQUAL(size_for_creator("qemu", false), 2040 * 512);
	CU_ASSERT_EQUAL(size_for_creator("vpc ", true), BUILD_DISK);
	CU_ASSERT_EQUAL(size_for_creator("qemu", true), BUILD_DISK);
	folder_end();
}

static void test_vhd_size_override(void)
{
	struct blob b = build_vhd(3, 5, 0);
	struct image_source src = {.name = "x.vhd", .format = IMAGE_VHD, .size_override = 2000 * 512};
	struct sentence err;
	struct image *img = NULL;

	folder_begin();
	blob_save(&b, test_dir, "x.vhd");
	src.dirfd = open(test_dir, O_RDONLY | O_DIRECTORY);
	CU_ASSERT_EQUAL_FATAL(image_open(&img, &src, &err), 0);
	CU_ASSERT_EQUAL(image_info(img)->virtual_size, 2000 * 512);
	image_close(img);
	src.size_override = BUILD_DISK + 512;
	CU_ASSERT_TRUE(image_open(&img, &src, &err) < 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "too few"));
	src.size_override = 1000;
	CU_ASSERT_EQUAL(image_open(&img, &src, &err), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "the size given for it, 1000, is not a multiple of 512"));
	close(src.dirfd);
	folder_end();
	blob_done(&b);
}

/* Answers of the specification's algorithm, worked out by hand. */
static void test_vhd_geometry(void)
{
	static const struct {
		uint64_t sectors;
		uint16_t c;
		uint8_t h, s;
	} known[] = {
		{2048, 30, 4, 17},
		{204800, 1003, 12, 17},
		{65535ull * 16 * 63 - 1, 65534, 16, 63},
		{65535ull * 16 * 63, 16191, 16, 255},
		{65535ull * 16 * 255, 65535, 16, 255},
		{1ull << 40, 65535, 16, 255},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		uint8_t h, s;
		uint16_t c;

		vhd_geometry(known[i].sectors, &c, &h, &s);
		if (c != known[i].c || h != known[i].h || s != known[i].s) {
			printf("# %llu: %u/%u/%u\n", (unsigned long long)known[i].sectors, c, h, s);
			CU_FAIL("another geometry");
		}
	}
}

static int count_findings;
static void count(void *arg, const char *finding, const char *fix)
{
	(void)fix;
	CU_ASSERT_PTR_NOT_NULL(strstr(finding, arg));
	count_findings++;
}

static void test_vhd_check_sees_hidden_data(void)
{
	struct blob b = build_vhd(3, 5, 0);
	struct image *img;

	folder_begin();
	img = open_blob(&b, "x.vhd", IMAGE_VHD);
	CU_ASSERT_EQUAL(image_check(img, count, (void *)"?"), 0);
	image_close(img);
	b.p[BUILD_FIRST_BLOCK * 512 + 3] = 0xfe;
	img = open_blob(&b, "x.vhd", IMAGE_VHD);
	count_findings = 0;
	CU_ASSERT_EQUAL(
		image_check(img, count, (void *)"in 1 blocks there are data which the block's bitmap calls unused"), 1);
	CU_ASSERT_EQUAL(count_findings, 1);
	image_close(img);
	folder_end();
	blob_done(&b);
}

UNIT_MAIN(UNIT(test_vhd_reads_fixed), UNIT(test_vhd_fixed_heeds_no_footer_in_the_first_sector),
	  UNIT(test_vhd_reads_dynamic), UNIT(test_vhd_map_answers_only_within_the_disk),
	  UNIT(test_vhd_differencing_reads_its_parent_by_sector), UNIT(test_vhd_bitmaps_of_all_kinds),
	  UNIT(test_vhd_refuses_wrong_parents), UNIT(test_vhd_child_larger_than_its_parent),
	  UNIT(test_vhd_spare_entries_may_hold_anything), UNIT(test_vhd_refuses_long_chains),
	  UNIT(test_vhd_refuses_what_is_wrong), UNIT(test_vhd_refuses_broken_sums_and_ends),
	  UNIT(test_vhd_footer_of_511_bytes), UNIT(test_vhd_one_good_footer_is_enough), UNIT(test_vhd_size_by_creator),
	  UNIT(test_vhd_size_override), UNIT(test_vhd_geometry), UNIT(test_vhd_check_sees_hidden_data))
