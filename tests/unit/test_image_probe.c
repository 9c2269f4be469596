// SPDX-License-Identifier: GPL-2.0-or-later
/* Which format a file is of, and names in other encodings. */
#include "tcmu-handler/image/utf.h"
#include "tests/unit/image_refuse.h"

static int probe(const char *name, enum image_format *ret, struct sentence *err)
{
	int dirfd = open(test_dir, O_RDONLY | O_DIRECTORY), r;

	memset(err, 0, sizeof(*err));
	r = image_probe(dirfd, name, ret, err);
	close(dirfd);
	return r;
}

static void expect_format(const char *name, const void *data, size_t n, enum image_format format)
{
	enum image_format got;
	struct sentence err;

	blob_save(&(struct blob){.p = (uint8_t *)data, .n = n}, test_dir, name);
	if (probe(name, &got, &err) < 0 || got != format) {
		printf("# %s: %s\n", name, err.text);
		CU_FAIL("another format");
	}
}

static void expect_refusal(const char *name, const void *data, size_t n, const char *words)
{
	enum image_format got;
	struct sentence err;

	blob_save(&(struct blob){.p = (uint8_t *)data, .n = n}, test_dir, name);
	CU_ASSERT_EQUAL(probe(name, &got, &err), -EMEDIUMTYPE);
	if (!strstr(err.text, words)) {
		printf("# %s: expected \"%s\", got \"%s\"\n", name, words, err.text);
		CU_FAIL("another sentence");
	}
}

static void test_probe_knows_what_it_opens(void)
{
	struct blob fixed = build_vhd(2, 1, 0), dynamic = build_vhd(3, 1, 0), sparse = build_vmdk(3, 1, 1, 0xffffffff);
	struct blob cowd = build_cowd(1, 1);
	uint8_t disk[4096] = {0};

	folder_begin();
	expect_format("a.vhd", fixed.p, fixed.n, IMAGE_VHD);
	expect_format("noname", fixed.p, fixed.n, IMAGE_VHD);
	expect_format("b.vhd", dynamic.p, dynamic.n, IMAGE_VHD);
	expect_format("b.img", dynamic.p, dynamic.n, IMAGE_VHD);
	expect_format("c.vmdk", sparse.p, sparse.n, IMAGE_VMDK);
	expect_format("d.vmdk", cowd.p, cowd.n, IMAGE_VMDK);
	expect_format("e.vmdk", "# Disk DescriptorFile\n", 22, IMAGE_VMDK);
	expect_format("f.img", disk, sizeof(disk), IMAGE_RAW);
	disk[510] = 0x55;
	disk[511] = 0xaa;
	expect_format("g", disk, sizeof(disk), IMAGE_RAW);
	memcpy(disk + 512, "EFI PART", 8);
	disk[510] = 0;
	expect_format("h", disk, sizeof(disk), IMAGE_RAW);
	folder_end();
	blob_done(&fixed);
	blob_done(&dynamic);
	blob_done(&sparse);
	blob_done(&cowd);
}

static void test_probe_says_what_it_does_not_open(void)
{
	struct blob fixed = build_vhd(2, 1, 0);
	uint8_t p[1024] = {0};

	folder_begin();
	expect_refusal("a.vhdx", memcpy(p, "vhdxfile", 8), 1024,
		       "a.vhdx: is a VHDX; bring it in with: bootwell image convert");
	expect_refusal("a", memcpy(p, "QFI\xfb\0\0\0\0", 8), 1024, "is a qcow2; bring it in");
	be32_put(p + 32, 2);
	expect_refusal("a", p, 1024, "is an encrypted qcow2; decrypt it first with qemu-img");
	be32_put(p + 32, 0);
	expect_refusal("a.img", memcpy(p, "\x1f\x8b\x08\0", 4), 1024, "is compressed by gzip; unpack it first");
	expect_refusal("a.img",
		       memcpy(p,
			      "\xfd"
			      "7zXZ\0",
			      6),
		       1024, "is compressed by xz");
	memset(p, 0, sizeof(p));
	memcpy(p + 257, "ustar", 5);
	expect_refusal("a.ova", p, 1024, "is a tar archive (an OVA is one)");
	memset(p, 0, sizeof(p));
	memcpy(p + 0x40, "\x7f\x10\xda\xbe", 4);
	expect_refusal("a.vdi", p, 1024, "is a VirtualBox VDI");
	memset(p, 0, sizeof(p));
	expect_refusal("a", p, 1024, "is of no known format; if it is a raw disk, say --format raw");
	expect_refusal("a.vmdk", p, 1024, "its name does not fit what is in it");
	expect_refusal("a.img", p, 0, "is empty");
	expect_refusal("a.img", fixed.p, fixed.n,
		       "is named like a raw disk and ends like a fixed VHD; say which it is");
	folder_end();
	blob_done(&fixed);
}

static void test_raw_is_whole_sectors(void)
{
	uint8_t p[1536] = {0};
	struct image *img;
	struct blob b = {.p = p, .n = 1536};

	folder_begin();
	build_sector(p + 512, 1, 4);
	img = open_blob(&b, "r.img", IMAGE_RAW);
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	CU_ASSERT_EQUAL(image_info(img)->virtual_size, 1536);
	expect_sector(img, 1, 4);
	image_close(img);
	b.n = 1000;
	refuse_blob(&b, IMAGE_RAW, "odd size",
		    "its size, 1000 bytes, is not a multiple of 512: it is cut off, or not a raw disk");
	b.n = 0;
	refuse_blob(&b, IMAGE_RAW, "empty", "is empty");
	folder_end();
}

static void test_image_names_go_both_ways(void)
{
	enum image_format f;

	for (unsigned int i = IMAGE_RAW; i <= IMAGE_VMDK; i++) {
		CU_ASSERT_EQUAL(image_format_from_name(image_format_name((enum image_format)i), &f), 0);
		CU_ASSERT_EQUAL(f, i);
	}
	CU_ASSERT_EQUAL(image_format_from_name("vdi", &f), -EINVAL);
	CU_ASSERT_STRING_EQUAL(IMAGE_FORMAT_NAMES, "raw|vhd|vmdk");
	CU_ASSERT_STRING_EQUAL(image_format_name(99), "?");
	CU_ASSERT_STRING_EQUAL(image_id_word(IMAGE_VHD), "UUID");
	CU_ASSERT_STRING_EQUAL(image_id_word(99), "identity");
	CU_ASSERT_EQUAL(image_format_size_max(IMAGE_VHD), (uint64_t)2040 << 30);
	CU_ASSERT_EQUAL(image_format_size_max(99), 0);
}

static void test_a_file_name_says_a_format(void)
{
	static const struct {
		const char *file;
		int r;
		enum image_format format;
	} names[] = {
		{"a.img", 0, IMAGE_RAW}, {"a.RAW", 0, IMAGE_RAW},
		{"a.vhd", 0, IMAGE_VHD}, {"a.vmdk.avhd", 0, IMAGE_VHD},
		{"a.VPC", 0, IMAGE_VHD}, {"a.Vmdk", 0, IMAGE_VMDK},
		{"vmdk", -EINVAL, 0},    {".vmdk", -EINVAL, 0},
		{"a.vhdx", -EINVAL, 0},  {"", -EINVAL, 0},
	};
	enum image_format f;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		f = 99;
		CU_ASSERT_EQUAL(image_format_from_file(names[i].file, &f), names[i].r);
		CU_ASSERT_EQUAL(f, names[i].r ? 99 : names[i].format);
	}
	CU_ASSERT_TRUE(image_format_fits(IMAGE_VHD, "a.avhd"));
	CU_ASSERT_FALSE(image_format_fits(IMAGE_VMDK, "a.avhd"));
	CU_ASSERT_FALSE(image_format_fits(99, "a.avhd"));
	CU_ASSERT_STRING_EQUAL(image_format_ending(IMAGE_VMDK), ".vmdk");
	CU_ASSERT_STRING_EQUAL(image_format_ending(99), "");
}

static void test_text_is_shown_whole_or_not_at_all(void)
{
	static const struct {
		const char *from;
		size_t size;
		const char *to;
	} texts[] = {
		{"Gr\xf6\xdf\x65", 64, "Gr\\xf6\\xdfe"},
		{"Gr\xc3\xb6\xc3\x9f\x65", 64, "Gr\xc3\xb6\xc3\x9f\x65"},
		{"\xf0\x9f\x92\xbe", 64, "\xf0\x9f\x92\xbe"},
		{"a\xf0\x9f\x92", 64, "a\\xf0\\x9f\\x92"},        /* ends within a character */
		{"\xc0\xaf", 64, "\\xc0\\xaf"},                   /* a slash in two bytes is none */
		{"\xed\xa0\x80", 64, "\\xed\\xa0\\x80"},          /* half of a pair */
		{"\xf4\x90\x80\x80", 64, "\\xf4\\x90\\x80\\x80"}, /* behind the last one */
		{"a\x1b[1mb\x7f\xc2\x9b", 64, "a?[1mb??"},        /* to a terminal these would be commands */
		{"a\xf6", 6, "a\\xf6"},
		{"a\xf6", 5, "a"},
		{"a\xc3\xb6", 4, "a\xc3\xb6"},
		{"a\xc3\xb6", 3, "a"},
		{"abc", 1, ""},
	};
	char to[64], many[SENTENCE_MAX + 8];
	struct sentence s;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		utf8_escape(to, texts[i].size, texts[i].from, strlen(texts[i].from));
		if (strcmp(to, texts[i].to) != 0)
			printf("# %zu: %s\n", i, to);
		CU_ASSERT_STRING_EQUAL(to, texts[i].to);
	}
	for (size_t i = 0; i < sizeof(many); i++) /* o umlauts: cut within one */
		many[i] = i % 2 ? '\xb6' : '\xc3';
	many[sizeof(many) - 1] = '\0';
	sentence_set(&s, "%s", many);
	CU_ASSERT_EQUAL(strlen(s.text), SENTENCE_MAX - 2);
	CU_ASSERT_PTR_NULL(strchr(s.text, '\\'));
	sentence_set(&s, "again: %.*s", 3, "\xe2\x82\xac");
	sentence_set(&s, "%s!", s.text); /* of itself */
	CU_ASSERT_STRING_EQUAL(s.text, "again: \xe2\x82\xac!");
}

UNIT_MAIN(UNIT(test_probe_knows_what_it_opens), UNIT(test_probe_says_what_it_does_not_open),
	  UNIT(test_raw_is_whole_sectors), UNIT(test_image_names_go_both_ways), UNIT(test_a_file_name_says_a_format),
	  UNIT(test_text_is_shown_whole_or_not_at_all))
