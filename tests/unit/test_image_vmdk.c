// SPDX-License-Identifier: GPL-2.0-or-later
/* VMDK byte by byte: descriptors, extents, grains and streams, and one refusal for each rule. */
#include <sys/stat.h>

#include "tests/unit/image_refuse.h"

#define NONE 0xffffffffu

static bool grain_is_there(uint64_t grain)
{
	return grain == 0 || grain == 1 || grain == 7 || grain == 255;
}

static void expect_disk(const struct image *img, int salt)
{
	for (uint64_t s = 0; s < 2048; s++)
		expect_sector(img, s, grain_is_there(s / 8) ? salt : -1);
}

static void test_vmdk_reads_monolithic_sparse(void)
{
	struct blob b = build_vmdk(3, 9, 0xabcdef01, NONE);
	struct image_extent e;
	struct image *img;

	folder_begin();
	img = open_blob(&b, "x.vmdk", IMAGE_VMDK);
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	CU_ASSERT_STRING_EQUAL(image_info(img)->subformat, "monolithicSparse");
	CU_ASSERT_STRING_EQUAL(image_info(img)->id, "abcdef01");
	CU_ASSERT_EQUAL(image_info(img)->allocated_size, 4 * BUILD_GRAIN);
	CU_ASSERT_EQUAL(image_info(img)->heads, 16);
	CU_ASSERT_FALSE(image_needs_parent(img));
	expect_disk(img, 9);
	/* grains 0 and 1 lie behind each other: one extent */
	CU_ASSERT_EQUAL(image_map(img, 512, BUILD_DISK - 512, &e), 0);
	CU_ASSERT_EQUAL(e.length, 2 * BUILD_GRAIN - 512);
	CU_ASSERT_EQUAL(e.offset, (BUILD_FIRST_GRAIN + 8 + 1) * 512);
	CU_ASSERT_EQUAL(image_map(img, 2 * BUILD_GRAIN, BUILD_DISK - 2 * BUILD_GRAIN, &e), 0);
	CU_ASSERT_EQUAL(e.type, IMAGE_EXTENT_ZERO);
	CU_ASSERT_EQUAL(e.length, 5 * BUILD_GRAIN);
	image_close(img);
	folder_end();
	blob_done(&b);
}

static void test_vmdk_child_reads_its_parent(void)
{
	struct blob child = build_vmdk(3 | 4, 2, 0xc, 0xabcdef01), parent = build_vmdk(3, 1, 0xabcdef01, NONE);
	struct sentence err;
	struct image_extent e;
	struct image *c, *p;

	/* the child has grains 0 and 7 only, and says that 1 is zero */
	le32_put(child.p + BUILD_GT * 512 + 4, 1);
	le32_put(child.p + BUILD_GT * 512 + 4 * 255, 0);
	folder_begin();
	c = open_blob(&child, "c.vmdk", IMAGE_VMDK);
	p = open_blob(&parent, "p.vmdk", IMAGE_VMDK);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	CU_ASSERT_STRING_EQUAL(image_info(c)->parent_id, "abcdef01");
	CU_ASSERT_STRING_EQUAL(image_info(c)->parent_hint, "..\\\\gone\\\\parent.vmdk");
	CU_ASSERT_EQUAL(image_map(c, 2 * BUILD_GRAIN, 512, &e), -ENODATA);
	CU_ASSERT_EQUAL_FATAL(image_set_parent(c, p, &err), 0);
	for (uint64_t s = 0; s < 2048; s++)
		expect_sector(c, s, s / 8 == 0 || s / 8 == 7 ? 2 : s / 8 == 255 ? 1 : -1);
	image_close(c);
	c = open_blob(&child, "c.vmdk", IMAGE_VMDK);
	le32_put(parent.p + 512, 0); /* another CID would do as well: no parent without the right one */
	memcpy(parent.p + 512, "# Disk DescriptorFile\nversion=1\nCID=abcdef02\n", 45);
	p = open_blob(&parent, "p.vmdk", IMAGE_VMDK);
	CU_ASSERT_EQUAL(image_set_parent(c, p, &err), -ESTALE);
	CU_ASSERT_STRING_EQUAL(err.text, "c.vmdk: its parent has CID abcdef01, but p.vmdk has "
					 "abcdef02; was the parent changed or another one taken?");
	image_close(p);
	image_close(c);
	folder_end();
	blob_done(&child);
	blob_done(&parent);
}

static void expect_stream(bool footer, bool markers)
{
	struct blob b = build_stream(footer, markers, NULL);
	struct image_extent e;
	struct image *img;

	img = open_blob(&b, "stream.vmdk", IMAGE_VMDK);
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	CU_ASSERT_STRING_EQUAL(image_info(img)->subformat, "streamOptimized");
	expect_disk(img, 3);
	CU_ASSERT_EQUAL(image_map(img, 512, BUILD_DISK - 512, &e), 0);
	CU_ASSERT_EQUAL(e.type, IMAGE_EXTENT_COMPRESSED);
	CU_ASSERT_EQUAL(e.length, BUILD_GRAIN - 512);
	CU_ASSERT_EQUAL(e.unit_skip, 512);
	CU_ASSERT_EQUAL(e.unit_length, BUILD_GRAIN);
	image_close(img);
	blob_done(&b);
}

static void test_vmdk_reads_stream_optimized(void)
{
	folder_begin();
	expect_stream(true, true);
	expect_stream(false, true);
	expect_stream(false, false);
	folder_end();
}

static void save_text(const char *name, const char *text)
{
	blob_save(&(struct blob){.p = (uint8_t *)text, .n = strlen(text)}, test_dir, name);
}

static void save_descriptor(const char *name, const char *type, const char *extents)
{
	char text[4096];

	build_descriptor(text, sizeof(text), type, 0x77, NONE, extents);
	save_text(name, text);
}

static void test_vmdk_reads_cowd(void)
{
	struct blob b = build_cowd(0, 4), root = build_cowd(1, 4);
	struct sentence err;
	struct image *img;

	folder_begin();
	blob_save(&b, test_dir, "d-delta.vmdk");
	save_descriptor("d.vmdk", "vmfsSparse", "RW 2048 VMFSSPARSE \"d-delta.vmdk\"");
	img = reader_open(test_dir, "d.vmdk", IMAGE_VMDK, &err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	CU_ASSERT_STRING_EQUAL(image_info(img)->subformat, "vmfsSparse");
	for (uint64_t s = 0; s < 2048; s++)
		expect_sector(img, s, s == 0 || s == 2 || s == 3 || s == 2047 ? 4 : -1);
	image_close(img);
	refuse_file("d-delta.vmdk", IMAGE_VMDK, "COWD alone",
		    "is the data of a snapshot; open the .vmdk descriptor that names it");
	img = open_blob(&root, "root.vmdk", IMAGE_VMDK);
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	expect_sector(img, 3, 4);
	image_close(img);
	le32_put(b.p + 4, 2);
	blob_save(&b, test_dir, "d-delta.vmdk");
	refuse_file("d.vmdk", IMAGE_VMDK, "COWD version", "is a COWD extent of version 2; only 1 is known");
	le32_put(b.p + 4, 1);
	le32_put(b.p + 16, 3);
	blob_save(&b, test_dir, "d-delta.vmdk");
	refuse_file("d.vmdk", IMAGE_VMDK, "COWD grain", "its grain size, 3 sectors, is not a power of two");
	le32_put(b.p + 16, 1);
	le32_put(b.p + 12, 2047);
	blob_save(&b, test_dir, "d-delta.vmdk");
	refuse_file("d.vmdk", IMAGE_VMDK, "COWD size", "its header says 2047 sectors, the descriptor 2048");
	le32_put(b.p + 12, 2048);
	le32_put(b.p + 24, 0);
	blob_save(&b, test_dir, "d-delta.vmdk");
	refuse_file("d.vmdk", IMAGE_VMDK, "COWD directory",
		    "its grain directory of 0 entries is too small for 2048 sectors");
	le32_put(b.p + 24, 1);
	le32_put(b.p + 5 * 512 + 4, 1);
	blob_save(&b, test_dir, "d-delta.vmdk");
	refuse_file("d.vmdk", IMAGE_VMDK, "COWD grain in header", "grain 1 at sector 1 overlaps the header");
	folder_end();
	blob_done(&b);
	blob_done(&root);
}

static void save_sectors(const char *name, uint64_t from, uint64_t n, uint8_t salt)
{
	struct blob b = {0};

	blob_need(&b, n * 512);
	for (uint64_t s = 0; s < n; s++)
		build_sector(b.p + s * 512, from + s, salt);
	blob_save(&b, test_dir, name);
	blob_done(&b);
}

/* Sparse, zero, flat, flat with an offset, sparse: all in one disk, and a folder below. */
static void test_vmdk_reads_many_extents(void)
{
	struct blob b = build_vmdk(3, 8, 1, NONE);
	struct sentence err;
	struct image_extent e;
	struct image *img;
	uint8_t got[512], want[512];

	folder_begin();
	blob_save(&b, test_dir, "s1.vmdk");
	save_sectors("f.vmdk", 2100, 100, 1);
	save_descriptor("all.vmdk", "twoGbMaxExtentSparse",
			"RW 2048 SPARSE \"s1.vmdk\"\nRW 52 ZERO\nRDONLY 40 FLAT \"f.vmdk\" 0\nRW "
			"60 VMFS \".\\f.vmdk\" 40\nRW 8 ZERO");
	img = reader_open(test_dir, "all.vmdk", IMAGE_VMDK, &err);
	if (!img)
		printf("# %s\n", err.text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	CU_ASSERT_EQUAL(image_info(img)->virtual_size, (2048 + 52 + 100 + 8) * 512);
	CU_ASSERT_EQUAL(image_file_count(img), 3); /* the flat file is open once */
	expect_disk(img, 8);
	for (uint64_t s = 2048; s < 2208; s++)
		expect_sector(img, s, s >= 2100 && s < 2200 ? 1 : -1);
	CU_ASSERT_EQUAL(image_map(img, 2048 * 512, 160 * 512, &e), 0);
	CU_ASSERT_EQUAL(e.type, IMAGE_EXTENT_ZERO);
	CU_ASSERT_EQUAL(e.length, 52 * 512);
	image_close(img);

	snprintf(err.text, sizeof(err.text), "%s/below", test_dir);
	CU_ASSERT_EQUAL(mkdir(err.text, 0700), 0);
	save_sectors("below/g-flat.vmdk", 0, 16, 6);
	save_descriptor("below/g.vmdk", "monolithicFlat", "RW 16 FLAT \"g-flat.vmdk\" 0");
	img = reader_open(test_dir, "below/g.vmdk", IMAGE_VMDK, &err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	CU_ASSERT_EQUAL(reader_read(img, 512, 512, got), 0);
	build_sector(want, 1, 6);
	CU_ASSERT_EQUAL(memcmp(got, want, 512), 0);
	image_close(img);
	folder_end();
	blob_done(&b);
}

static void test_vmdk_virtualbox_rounds_its_capacity(void)
{
	struct blob b = build_vmdk(3, 8, 1, NONE);
	struct image *img;

	folder_begin();
	build_descriptor((char *)b.p + 512, 2048, "monolithicSparse", 1, NONE, "RW 2041 SPARSE \"x\"");
	img = open_blob(&b, "x.vmdk", IMAGE_VMDK);
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	CU_ASSERT_EQUAL(image_info(img)->virtual_size, 2041 * 512);
	expect_sector(img, 2040, 8);
	image_close(img);
	folder_end();
	blob_done(&b);
}

static void test_vmdk_uses_the_other_tables_when_the_first_are_broken(void)
{
	struct blob b = build_vmdk(3, 8, 1, NONE);
	struct image *img;

	folder_begin();
	le32_put(b.p + BUILD_GT * 512, 0x1234567);
	img = open_blob(&b, "x.vmdk", IMAGE_VMDK);
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	CU_ASSERT_TRUE(image_info(img)->damaged);
	CU_ASSERT_STRING_EQUAL(image_info(img)->damage,
			       "the first copy of its grain tables is damaged; the second one is used");
	CU_ASSERT_EQUAL(image_info(img)->allocated_size, 4 * BUILD_GRAIN);
	expect_disk(img, 8);
	image_close(img);
	le32_put(b.p + BUILD_RGT * 512, 0x7654321);
	refuse_blob(&b, IMAGE_VMDK, "both copies", "grain 0 at sector 19088743 would lie past the end of the file");
	folder_end();
	blob_done(&b);
}

/* What others begin a descriptor with. */
static void test_vmdk_descriptors_of_other_writers(void)
{
	static const char *const begins[] = {
		"# Disk DescriptorFile \n",
		"# Disk Descriptor File\n",
		"# disk descriptorfile\r\n",
		"\xef\xbb\xbf# Disk DescriptorFile\n",
		"# Description file created by VMWare stream converter\n",
		"\n\n",
		"",
	};
	struct blob flat = {0};
	char text[512];

	folder_begin();
	for (unsigned int s = 0; s < 8; s++)
		build_sector(blob_need(&flat, (s + 1) * 512) + s * 512, s, 7);
	blob_save(&flat, test_dir, "f.vmdk");
	for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++) {
		struct sentence err = {0};
		enum image_format format = IMAGE_RAW;
		struct image *img;
		int dirfd = open(test_dir, O_RDONLY | O_DIRECTORY);

		snprintf(text, sizeof(text),
			 "%sversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n"
			 "RW 8 FLAT \"f.vmdk\" 0\n",
			 begins[i]);
		save_text("d.vmdk", text);
		img = reader_open(test_dir, "d.vmdk", IMAGE_VMDK, &err);
		if (!img)
			printf("# \"%s\": %s\n", begins[i], err.text);
		CU_ASSERT_PTR_NOT_NULL_FATAL(img);
		CU_ASSERT_STRING_EQUAL(image_info(img)->id, "12345678");
		expect_sector(img, 7, 7);
		image_close(img);
		CU_ASSERT_EQUAL(image_probe(dirfd, "d.vmdk", &format, &err), 0);
		CU_ASSERT_EQUAL(format, IMAGE_VMDK);
		close(dirfd);
	}
	folder_end();
	blob_done(&flat);
}

/* Haiku's and FreeBSD's images: header, descriptor, and the disk behind them as it is. */
static struct blob build_flat_behind(const char *extents)
{
	struct blob b = {0};

	blob_need(&b, 16 * 512);
	build_vmdk_header(b.p, 1, 1);
	le64_put(b.p + 12, 0);
	le64_put(b.p + 28, 1);
	le64_put(b.p + 36, 1);
	le64_put(b.p + 48, 0);
	le64_put(b.p + 56, 0);
	le64_put(b.p + 64, 8);
	build_descriptor((char *)b.p + 512, 512, "monolithicFlat", 0xfffffffe, NONE, extents);
	for (unsigned int s = 0; s < 8; s++)
		build_sector(b.p + (8 + s) * 512, s, 7);
	return b;
}

static void test_vmdk_flat_behind_its_own_header(void)
{
	static const struct {
		const char *extents, *words;
	} wrong[] = {
		{"RW 9 FLAT \"haiku.image\" 8", "x: says that x has 9 sectors from sector 8 on"},
		{"RW 8 FLAT \"haiku.image\" 1", "its data, from sector 1 on, would lie over its own descriptor"},
		{"RW 8 SPARSE \"haiku.image\"", "its capacity is zero sectors"},
		{"RW 4 FLAT \"a\" 8\nRW 4 FLAT \"b\" 12", "names other extents"},
		{"RW 8 ZERO", "names other extents"},
	};
	struct blob b = build_flat_behind("RW 8 FLAT \"../../etc/haiku.image\" 8");
	struct image *img;

	folder_begin();
	img = open_blob(&b, "renamed.vmdk", IMAGE_VMDK);
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	CU_ASSERT_STRING_EQUAL(image_info(img)->subformat, "monolithicFlat");
	CU_ASSERT_EQUAL(image_info(img)->virtual_size, 8 * 512);
	CU_ASSERT_EQUAL(image_file_count(img), 1);
	expect_sector(img, 0, 7);
	expect_sector(img, 7, 7);
	image_close(img);
	blob_done(&b);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		b = build_flat_behind(wrong[i].extents);
		refuse_blob(&b, IMAGE_VMDK, wrong[i].extents, wrong[i].words);
		blob_done(&b);
	}
	/* with a capacity it is a sparse extent after all */
	b = build_flat_behind("RW 8 FLAT \"haiku.image\" 8");
	le64_put(b.p + 12, 8);
	refuse_blob(&b, IMAGE_VMDK, "capacity", "names other extents");
	blob_done(&b);
	folder_end();
}

/* A name in Latin-1 is told byte by byte, so that it can be seen, typed and put into JSON. */
static void test_vmdk_names_in_another_encoding(void)
{
	folder_begin();
	save_text("d.vmdk", "# Disk DescriptorFile\nversion=1\nencoding=\"windows-1252\"\nCID=1\nparentCID=ffffffff\n"
			    "createType=\"monolithicFlat\"\nRW 8 FLAT \"Gr\xf6\xdf\x65-flat.vmdk\" 0\n");
	refuse_file("d.vmdk", IMAGE_VMDK, "latin-1", "Gr\\xf6\\xdfe-flat.vmdk: there is no such file");
	save_text("d.vmdk", "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"
			    "createType=\"monolithicFlat\"\nRW 8 FLAT \"Gr\xc3\xb6\xc3\x9f\x65\x1b-flat.vmdk\" 0\n");
	refuse_file("d.vmdk", IMAGE_VMDK, "UTF-8 stays", "Gr\xc3\xb6\xc3\x9f\x65?-flat.vmdk: there is no such file");
	folder_end();
}

/* --- the refuse list: the sparse header and tables --- */

struct damage {
	const char *what;
	unsigned int at, bytes;
	uint64_t value;
	const char *words;
};

static void put_field(uint8_t *p, unsigned int bytes, uint64_t value)
{
	if (bytes == 1)
		*p = (uint8_t)value;
	else if (bytes == 2)
		le16_put(p, (uint16_t)value);
	else if (bytes == 4)
		le32_put(p, (uint32_t)value);
	else
		le64_put(p, value);
}

#define GTE(n)      (BUILD_GT * 512 + 4 * (n))
#define GRAIN_AT(i) (BUILD_FIRST_GRAIN + (i)*8)

static const struct damage damages[] = {
	{"version 0", 4, 4, 0, "is a sparse extent of version 0; 1 to 3 are known"},
	{"version 4", 4, 4, 4, "is a sparse extent of version 4"},
	{"newlines", 74, 1, '\n', "was damaged by a transfer as text (FTP in ASCII mode)"},
	{"grain 0", 20, 8, 0, "its grain size, 0 sectors, is not a power of two up to 131072"},
	{"grain 9", 20, 8, 9, "its grain size, 9 sectors"},
	{"grain 128 MiB", 20, 8, 262144, "its grain size, 262144 sectors"},
	{"grain 2^63", 20, 8, 1ull << 63, "its grain size, 9223372036854775808 sectors"},
	{"overhead", 64, 8, UINT64_MAX,
	 "its tables alone take 18446744073709551615 sectors, the file has 48; it is truncated"},
	{"capacity 0", 12, 8, 0, "its capacity is zero sectors"},
	{"capacity 2^63", 12, 8, 1ull << 63, "its capacity, 9223372036854775808 sectors, is over 64 TiB"},
	{"capacity less", 12, 8, 2047, "its header says 2047 sectors, the descriptor 2048"},
	{"capacity more", 12, 8, 4096, "its header says 4096 sectors, the descriptor 2048"},
	{"entries", 44, 4, 511, "its grain tables have 511 entries instead of 512"},
	{"entries 2^31", 44, 4, 1u << 31, "its grain tables have 2147483648 entries"},
	{"compression", 77, 2, 2, "is compressed by the unknown method 2"},
	{"compression unflagged", 77, 2, 1, "contradicts itself whether its grains are compressed"},
	{"compression flag alone", 8, 4, 0x10001, "contradicts itself whether its grains are compressed"},
	{"descriptor past the end", 28, 8, 1000, "its descriptor would lie past the end of the file; is it truncated?"},
	{"descriptor large", 36, 8, 2049, "its descriptor is larger than 1 MiB"},
	{"descriptor missing", 28, 8, 0, "is one extent of a larger disk and has no descriptor"},
	{"directory past the end", 56, 8, 100000,
	 "the grain directory at sector 100000 would lie past the end of the file"},
	{"directory near 2^64", 56, 8, UINT64_MAX - 1,
	 "the grain directory at sector 18446744073709551614 would lie past"},
	{"directory in the header", 56, 8, 0, "the grain table at sector 1447904331 would lie past the end"},
	{"directory in the descriptor", 56, 8, 2, "overlaps the"},
	{"footer missing", 56, 8, UINT64_MAX, "has no footer where its header says that one is"},
	{"table past the end", BUILD_GD * 512, 4, 1u << 30,
	 "the grain table at sector 1073741824 would lie past the end"},
	{"table in the header", BUILD_GD * 512, 4, 1,
	 "the descriptor at sector 1 overlaps the grain table at sector 1"},
	{"table in the directory", BUILD_GD * 512, 4, BUILD_GD, "overlaps the grain"},
	{"grain past the end", GTE(5), 4, 1u << 30, "grain 5 at sector 1073741824 would lie past the end of the file"},
	{"grain half past the end", GTE(5), 4, GRAIN_AT(4) - 1,
	 "grain 5 at sector 47 would lie past the end of the file"},
	{"grain at the last sector there is", GTE(5), 4, UINT32_MAX,
	 "grain 5 at sector 4294967295 would lie past the end"},
	{"grain 1 without zero grains", GTE(5), 4, 1, "grain 5 at sector 1 overlaps the descriptor"},
	{"grain in the directory", GTE(5), 4, BUILD_GD, "grain 5 at sector 10 overlaps the grain directory"},
	{"grain in the table", GTE(5), 4, BUILD_GT - 7, "overlaps the"},
	{"grain in the other table", GTE(5), 4, BUILD_RGT, "grain 5 at sector 6 overlaps the other grain table"},
};

static void test_vmdk_refuses_what_is_wrong(void)
{
	folder_begin();
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		struct blob b = build_vmdk(3, 8, 1, NONE);

		put_field(b.p + damages[i].at, damages[i].bytes, damages[i].value);
		/* no help from the second copy */
		if (damages[i].at >= 512)
			put_field(b.p + damages[i].at - (BUILD_GT - BUILD_RGT) * 512, damages[i].bytes,
				  damages[i].value);
		else if (damages[i].at == 56)
			le64_put(b.p + 48, 0);
		if (damages[i].at == BUILD_GD * 512) {
			le64_put(b.p + 48, 0);
			le32_put(b.p + 8, 1);
		}
		refuse_blob(&b, IMAGE_VMDK, damages[i].what, damages[i].words);
		blob_done(&b);
	}
	folder_end();
}

static void test_vmdk_refuses_shared_tables(void)
{
	struct blob b = build_vmdk(1, 8, 1, NONE);

	folder_begin();
	/* two tables' worth of disk, one table for both: or 2^32 tables could be made of one */
	le64_put(b.p + 12, 8192);
	le32_put(b.p + BUILD_GD * 512 + 4, BUILD_GT);
	build_descriptor((char *)b.p + 512, 2048, "monolithicSparse", 1, NONE, "RW 8192 SPARSE \"x\"");
	refuse_blob(&b, IMAGE_VMDK, "shared table",
		    "the grain table at sector 11 overlaps the grain table at sector 11");
	blob_done(&b);
	folder_end();
}

static void test_vmdk_truncated_says_so(void)
{
	struct blob b = build_vmdk(3, 8, 1, NONE);

	folder_begin();
	b.n -= 512;
	refuse_blob(&b, IMAGE_VMDK, "truncated",
		    "grain 255 at sector 40 would lie past the end of the file; is it truncated?");
	b.n = 600;
	refuse_blob(&b, IMAGE_VMDK, "truncated", "its tables alone take 16 sectors, the file has 1; it is truncated");
	b.n = 100;
	refuse_blob(&b, IMAGE_VMDK, "truncated", "is too small for a sparse extent; is it truncated?");
	blob_done(&b);
	folder_end();
}

/* --- the refuse list: compression --- */

static void test_vmdk_refuses_wrong_streams(void)
{
	uint32_t seven;
	struct blob b = build_stream(true, true, &seven);
	uint8_t *marker = b.p + (size_t)seven * 512;
	uint32_t size = le32_at(marker + 8);

	folder_begin();
	le64_put(marker, 8);
	refuse_blob(&b, IMAGE_VMDK, "LBA", "grain 7 is marked as that of sector 8");
	le64_put(marker, 56);
	le32_put(marker + 8, 0);
	refuse_blob(&b, IMAGE_VMDK, "size 0", "grain 7 has 0 compressed bytes, which cannot be");
	le32_put(marker + 8, 5000);
	refuse_blob(&b, IMAGE_VMDK, "size over the bound", "grain 7 has 5000 compressed bytes, which cannot be");
	le32_put(marker + 8, size);
	b.n -= 512;
	refuse_blob(&b, IMAGE_VMDK, "end cut", "has no footer where its header says that one is; is it truncated?");
	b.n += 512;
	le64_put(b.p + b.n - 1024 + 56, UINT64_MAX);
	refuse_blob(&b, IMAGE_VMDK, "footer in footer", "its footer says that there is another footer");
	blob_done(&b);
	b = build_stream(true, true, NULL);
	le64_put(b.p + 20, 8192);
	le64_put(b.p + b.n - 1024 + 20, 8192);
	refuse_blob(&b, IMAGE_VMDK, "grain over 2 MiB",
		    "its grain size, 8192 sectors, is not a power of two up to 4096");
	blob_done(&b);
	folder_end();
}

static void test_vmdk_damaged_unit_does_not_inflate(void)
{
	uint32_t seven;
	struct blob b = build_stream(true, true, &seven);
	struct image *img;
	uint8_t sector[512];

	folder_begin();
	b.p[(size_t)seven * 512 + 12 + 40] ^= 0x10;
	img = open_blob(&b, "x.vmdk", IMAGE_VMDK);
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	CU_ASSERT_EQUAL(reader_read(img, 56 * 512, 512, sector), -EUCLEAN);
	expect_sector(img, 0, 3);
	image_close(img);
	folder_end();
	blob_done(&b);
}

static void test_inflate_takes_exactly_a_unit(void)
{
	uint8_t in[8192], out[4096] = {1}, plain[4097] = {0};
	uLongf n = sizeof(in);

	compress(in, &n, plain, 4096);
	CU_ASSERT_EQUAL(inflate_unit(out, 4096, 4096, in, n), 0);
	CU_ASSERT_EQUAL(out[0], 0);
	CU_ASSERT_EQUAL(inflate_unit(out, 4096, 4096, in, n - 1), -EUCLEAN);
	n = sizeof(in);
	compress(in, &n, plain, 4097); /* one byte too many */
	CU_ASSERT_EQUAL(inflate_unit(out, 4096, 4096, in, n), -EUCLEAN);
	n = sizeof(in);
	compress(in, &n, plain, 1000);
	CU_ASSERT_EQUAL(inflate_unit(out, 4096, 4096, in, n), -EUCLEAN);
	memset(out, 7, sizeof(out));
	CU_ASSERT_EQUAL(inflate_unit(out, 4096, 1000, in, n), 0);
	CU_ASSERT_EQUAL(out[4095], 0);
	CU_ASSERT_EQUAL(inflate_unit(out, 4096, 1001, in, n), -EUCLEAN);
	CU_ASSERT_EQUAL(inflate_exactly(in, n, out, 1000), 0);
}

/* --- the refuse list: descriptors and paths --- */

static void refuse_extents(const char *what, const char *extents, const char *words)
{
	save_descriptor("d.vmdk", "monolithicFlat", extents);
	refuse_file("d.vmdk", IMAGE_VMDK, what, words);
}

static void test_vmdk_refuses_wrong_extents(void)
{
	folder_begin();
	save_sectors("f.vmdk", 0, 16, 0);
	refuse_extents("flat past its file", "RW 17 FLAT \"f.vmdk\" 0",
		       "says that f.vmdk has 17 sectors from sector 0 on, but the file has only "
		       "8192 bytes; is it truncated?");
	refuse_extents("flat past its file", "RW 16 FLAT \"f.vmdk\" 1", "has 16 sectors from sector 1 on");
	refuse_extents("offset overflow", "RW 16 FLAT \"f.vmdk\" 9223372036854775807",
		       "the extent's offset is not a number of sectors");
	refuse_extents("sectors 0", "RW 0 FLAT \"f.vmdk\" 0",
		       "the extent's number of sectors is not a number from 1 to");
	refuse_extents("sectors negative", "RW -1 FLAT \"f.vmdk\" 0", "the extent's number of sectors is not a number");
	refuse_extents("sectors overflow", "RW 36028797018963968 ZERO",
		       "the extent's number of sectors is not a number");
	refuse_extents("sum overflow", "RW 137438953472 ZERO\nRW 1 ZERO", "its extents add up to more than 64 TiB");
	refuse_extents("missing file", "RW 1 FLAT \"gone.vmdk\" 0", "gone.vmdk: there is no such file");
	refuse_extents("no quotes", "RW 1 FLAT f.vmdk 0", "the extent's file name in quotes is missing");
	refuse_extents("open quote", "RW 1 FLAT \"f.vmdk 0", "the extent's file name has no closing quote");
	refuse_extents("empty name", "RW 1 FLAT \"\" 0", "the extent's file name is empty");
	refuse_extents("something behind", "RW 1 FLAT \"f.vmdk\" 0 0",
		       "something follows the extent that is not known");
	refuse_extents("type", "RW 1 QUUX \"f.vmdk\" 0", "the extent type QUUX is not known");
	refuse_extents("noaccess", "NOACCESS 1 FLAT \"f.vmdk\" 0", "the extent is marked NOACCESS");
	refuse_extents("the same part twice", "RW 8 FLAT \"f.vmdk\" 0\nRW 8 FLAT \"f.vmdk\" 7",
		       "two of its extents are the same part of f.vmdk");
	refuse_extents("itself", "RW 1 FLAT \"d.vmdk\" 0", "names itself as an extent");
	refuse_extents("not sparse", "RW 16 SPARSE \"f.vmdk\"",
		       "is not a sparse extent, though the descriptor says so");
	refuse_extents("not COWD", "RW 16 VMFSSPARSE \"f.vmdk\"",
		       "is not a COWD extent, though the descriptor says so");
	refuse_extents("sesparse", "RW 16 SESPARSE \"f.vmdk\"",
		       "is a snapshot in the SESPARSE format, which may hold a log");
	refuse_extents("RDM", "RW 16 VMFSRDM \"f.vmdk\"", "is a raw device mapping (RDM)");
	refuse_extents("nonsense", "hello", "it is neither a setting nor an extent");
	refuse_extents("none", "", "its descriptor has no extents");
	folder_end();
}

static void test_vmdk_refuses_the_same_sparse_file_twice(void)
{
	struct blob b = build_vmdk(3, 8, 1, NONE);
	char path[128], other[128];

	folder_begin();
	blob_save(&b, test_dir, "s.vmdk");
	snprintf(path, sizeof(path), "%s/s.vmdk", test_dir);
	snprintf(other, sizeof(other), "%s/hard.vmdk", test_dir);
	CU_ASSERT_EQUAL(link(path, other), 0);
	refuse_extents("twice", "RW 2048 SPARSE \"s.vmdk\"\nRW 2048 SPARSE \"s.vmdk\"",
		       "has the extent file s.vmdk twice");
	refuse_extents("by a hard link", "RW 2048 SPARSE \"s.vmdk\"\nRW 2048 SPARSE \"hard.vmdk\"",
		       "has the extent file hard.vmdk twice");
	refuse_extents("sparse, then flat", "RW 2048 SPARSE \"s.vmdk\"\nRW 1 FLAT \"s.vmdk\" 0",
		       "two of its extents are the same part");
	blob_done(&b);
	folder_end();
}

static void test_vmdk_never_leaves_its_folder(void)
{
	char path[160], target[128];

	folder_begin();
	snprintf(path, sizeof(path), "%s/in", test_dir);
	CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
	save_sectors("out.vmdk", 0, 16, 0);
	save_sectors("in/real.vmdk", 0, 16, 0);
	snprintf(path, sizeof(path), "%s/in/link.vmdk", test_dir);
	CU_ASSERT_EQUAL(symlink("real.vmdk", path), 0);
	snprintf(path, sizeof(path), "%s/in/dirlink", test_dir);
	CU_ASSERT_EQUAL(symlink("..", path), 0);
	snprintf(path, sizeof(path), "%s/in/fifo.vmdk", test_dir);
	CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
	refuse_extents("absolute", "RW 1 FLAT \"/etc/hostname\" 0",
		       "names the extent /etc/hostname by an absolute path");
	refuse_extents("drive", "RW 1 FLAT \"C:\\disk.vmdk\" 0", "names the extent C:/disk.vmdk by an absolute path");
	refuse_extents("backslash root", "RW 1 FLAT \"\\etc\\hostname\" 0", "by an absolute path");
	refuse_extents("dot dot", "RW 1 FLAT \"../out.vmdk\" 0",
		       "names the extent ../out.vmdk, which is outside its folder");
	refuse_extents("dot dot", "RW 1 FLAT \"in\\..\\..\\out.vmdk\" 0", "which is outside its folder");
	refuse_extents("dot dot at the end", "RW 1 FLAT \"in/..\" 0", "which is outside its folder");
	refuse_extents("link", "RW 1 FLAT \"in/link.vmdk\" 0", "in/link.vmdk: a symbolic link is on the way to it");
	refuse_extents("link to a folder", "RW 1 FLAT \"in/dirlink/out.vmdk\" 0",
		       "a symbolic link is on the way to it");
	refuse_extents("FIFO", "RW 1 FLAT \"in/fifo.vmdk\" 0", "in/fifo.vmdk: not a regular file");
	refuse_extents("folder", "RW 1 FLAT \"in\" 0", "in: not a regular file");
	snprintf(path, sizeof(path), "%s/alias.vmdk", test_dir);
	snprintf(target, sizeof(target), "%s/in/real.vmdk", test_dir);
	CU_ASSERT_EQUAL(symlink(target, path), 0);
	refuse_file("alias.vmdk", IMAGE_RAW, "the image itself a link", "a symbolic link is on the way to it");
	refuse_file("../x", IMAGE_RAW, "the image itself outside", "lies outside the image's directory");
	folder_end();
}

static void refuse_text(const char *what, const char *text, const char *words)
{
	save_text("d.vmdk", text);
	refuse_file("d.vmdk", IMAGE_VMDK, what, words);
}

#define HEAD "# Disk DescriptorFile\nversion=1\n"
#define TAIL "RW 1 ZERO\n"

static void test_vmdk_refuses_wrong_descriptors(void)
{
	char *large = malloc(VMDK_DESCRIPTOR_MAX + 2);
	struct blob nul;

	folder_begin();
	refuse_text(
		"magic", "# something else\n",
		"is not a VMDK: it neither begins with \"# Disk DescriptorFile\" nor has a createType and an extent");
	refuse_text("version", "# Disk DescriptorFile\nversion=9\n", "its descriptor has the unknown version 9");
	refuse_text("no CID", HEAD "createType=\"vmfs\"\n" TAIL, "its descriptor has no CID");
	refuse_text("CID", HEAD "CID=xyz\n",
		    "line 3 of its descriptor: the CID is not a hexadecimal number of 32 bits");
	refuse_text("CID long", HEAD "CID=123456789\n", "the CID is not a hexadecimal number");
	refuse_text("CID twice", HEAD "CID=1\nCID=2\n", "line 4 of its descriptor: the CID stands there twice");
	refuse_text("parentCID twice", HEAD "parentCID=1\nparentCID=ffffffff\n", "the parentCID stands there twice");
	refuse_text("createType twice", HEAD "createType=\"vmfs\"\ncreateType=\"vmfs\"\n",
		    "the createType stands there twice");
	refuse_text("no createType", HEAD "CID=1\n" TAIL, "its descriptor has no createType");
	refuse_text("createType", HEAD "CID=1\ncreateType=\"quux\"\n", "the createType quux is not known");
	refuse_text("seSparse", HEAD "CID=1\ncreateType=\"seSparse\"\n", "is a snapshot in the SESPARSE format");
	refuse_text("fullDevice", HEAD "createType=\"fullDevice\"\n",
		    "has its data on a device (RDM, createType fullDevice)");
	refuse_text("vmfsRDM", HEAD "createType=\"vmfsRDMP\"\n", "has its data on a device (RDM, createType vmfsRDMP)");
	refuse_text("encrypted", HEAD "encryptionKeys=\"vmware:key/list/...\"\n",
		    "is encrypted; remove the encryption in VMware first");
	memset(large, '#', VMDK_DESCRIPTOR_MAX + 1);
	large[VMDK_DESCRIPTOR_MAX + 1] = '\0';
	refuse_text("large", large, "too large (over 1 MiB) for a descriptor");
	nul = (struct blob){.p = (uint8_t *)large, .n = 100};
	memcpy(large, HEAD, sizeof(HEAD));
	refuse_blob(&nul, IMAGE_VMDK, "NUL", "its descriptor has a NUL byte in the text");
	free(large);
	folder_end();
}

/* What QEMU leaves when the CID that it writes last has fewer digits than the first. */
static void test_vmdk_ignores_what_qemu_leaves_behind_the_text(void)
{
	static const char text[] = HEAD "CID=1\ncreateType=\"vmfs\"\n" TAIL;
	uint8_t *p = calloc(1, 1000);
	struct blob b = {.p = p, .n = 1000};
	struct image *img;

	folder_begin();
	memcpy(p, text, sizeof(text));
	memcpy(p + sizeof(text), "ZERO\n..", 7);
	img = open_blob(&b, "x", IMAGE_VMDK);
	CU_ASSERT_PTR_NOT_NULL(img);
	image_close(img);
	p[sizeof(text) + 7] = '\n';
	refuse_blob(&b, IMAGE_VMDK, "an eighth", "its descriptor has a NUL byte in the text");
	free(p);
	folder_end();
}

static void test_vmdk_limits_the_number_of_extents(void)
{
	char *text = malloc(100000), *p = text;

	folder_begin();
	p += sprintf(p, HEAD "CID=1\ncreateType=\"vmfs\"\n");
	for (int i = 0; i < 2049; i++)
		p += sprintf(p, "RW 1 ZERO\n");
	refuse_text("extents", text, "has more than 2048 extents");
	p[-10] = '\0';
	save_text("d.vmdk", text);
	{
		struct sentence err;
		struct image *img = reader_open(test_dir, "d.vmdk", IMAGE_VMDK, &err);

		CU_ASSERT_PTR_NOT_NULL_FATAL(img);
		CU_ASSERT_EQUAL(image_info(img)->virtual_size, 2048 * 512);
		image_close(img);
	}
	free(text);
	folder_end();
}

static void test_vmdk_refuses_other_extents_in_an_embedded_descriptor(void)
{
	struct blob b = build_vmdk(3, 8, 1, NONE);

	folder_begin();
	build_descriptor((char *)b.p + 512, 2048, "monolithicSparse", 1, NONE, "RW 2048 FLAT \"/etc/passwd\" 0");
	refuse_blob(&b, IMAGE_VMDK, "embedded flat", "is inside of a sparse extent, but names other extents");
	blob_done(&b);
	folder_end();
}

static int findings;
static char last_finding[512];
static void note(void *arg, const char *finding, const char *fix)
{
	(void)arg;
	(void)fix;
	findings++;
	snprintf(last_finding, sizeof(last_finding), "%s", finding);
}

static void expect_finding(const struct blob *b, int n, const char *words)
{
	struct image *img = open_blob(b, "x.vmdk", IMAGE_VMDK);

	findings = 0;
	last_finding[0] = '\0';
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	CU_ASSERT_EQUAL(image_check(img, note, NULL), n);
	CU_ASSERT_EQUAL(findings, n);
	if (!strstr(last_finding, words)) {
		printf("# expected \"%s\", got \"%s\"\n", words, last_finding);
		CU_FAIL("another finding");
	}
	image_close(img);
}

static void test_vmdk_check_finds(void)
{
	struct blob b = build_vmdk(3, 8, 1, NONE);

	folder_begin();
	expect_finding(&b, 0, "");
	b.p[72] = 1;
	expect_finding(&b, 1, "was not closed cleanly; what was written last may be missing");
	b.p[72] = 0;
	le32_put(b.p + GTE(100), GRAIN_AT(0));
	expect_finding(&b, 2, "the two copies of its grain tables differ in 1 entries");
	le32_put(b.p + GTE(100) - (BUILD_GT - BUILD_RGT) * 512, GRAIN_AT(0));
	expect_finding(&b, 1, "1 of its 5 units share their place in the file with another one");
	le32_put(b.p + GTE(100), 0);
	le32_put(b.p + GTE(100) - (BUILD_GT - BUILD_RGT) * 512, 0);
	le32_put(b.p + BUILD_RGD * 512, 0xffffff);
	expect_finding(&b, 1, "one of the two copies of its grain tables is damaged");
	blob_done(&b);
	folder_end();
}

UNIT_MAIN(UNIT(test_vmdk_reads_monolithic_sparse), UNIT(test_vmdk_child_reads_its_parent),
	  UNIT(test_vmdk_reads_stream_optimized), UNIT(test_vmdk_reads_cowd), UNIT(test_vmdk_reads_many_extents),
	  UNIT(test_vmdk_virtualbox_rounds_its_capacity), UNIT(test_vmdk_descriptors_of_other_writers),
	  UNIT(test_vmdk_flat_behind_its_own_header), UNIT(test_vmdk_names_in_another_encoding),
	  UNIT(test_vmdk_uses_the_other_tables_when_the_first_are_broken), UNIT(test_vmdk_refuses_what_is_wrong),
	  UNIT(test_vmdk_refuses_shared_tables), UNIT(test_vmdk_truncated_says_so),
	  UNIT(test_vmdk_refuses_wrong_streams), UNIT(test_vmdk_damaged_unit_does_not_inflate),
	  UNIT(test_inflate_takes_exactly_a_unit), UNIT(test_vmdk_refuses_wrong_extents),
	  UNIT(test_vmdk_refuses_the_same_sparse_file_twice), UNIT(test_vmdk_never_leaves_its_folder),
	  UNIT(test_vmdk_refuses_wrong_descriptors), UNIT(test_vmdk_ignores_what_qemu_leaves_behind_the_text),
	  UNIT(test_vmdk_limits_the_number_of_extents), UNIT(test_vmdk_refuses_other_extents_in_an_embedded_descriptor),
	  UNIT(test_vmdk_check_finds))
