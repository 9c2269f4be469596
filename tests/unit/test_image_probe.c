// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/image_refuse.h"

static int probe(const char *name, enum image_format *ret, struct image_error *err)
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
	struct image_error err;

	blob_save(&(struct blob){.p = (uint8_t *)data, .n = n}, test_dir, name);
	if (probe(name, &got, &err) < 0 || got != format) {
		printf("# %s: %s\n", name, err.text);
		CU_FAIL("another format");
	}
}

static void expect_refusal(const char *name, const void *data, size_t n, const char *words)
{
	enum image_format got;
	struct image_error err;

	blob_save(&(struct blob){.p = (uint8_t *)data, .n = n}, test_dir, name);
	CU_ASSERT_EQUAL(probe(name, &got, &err), -EMEDIUMTYPE);
	if (!strstr(err.text, words)) {
		printf("# %s: expected \"%s\", got \"%s\"\n", name, words, err.text);
		CU_FAIL("another sentence");
	}
}

static void test_probe_knows_what_it_opens(void)
{
	struct blob fixed = build_vhd(2, 1, 0), dynamic = build_vhd(3, 1, 0),
		    sparse = build_vmdk(3, 1, 1, 0xffffffff);
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
	expect_refusal("a.img", memcpy(p, "\x1f\x8b\x08\0", 4), 1024,
		       "is compressed by gzip; unpack it first");
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
	expect_refusal("a", p, 1024,
		       "is of no known format; if it is a raw disk, say --format raw");
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
	refuse_blob(
		&b, IMAGE_RAW, "odd size",
		"its size, 1000 bytes, is not a multiple of 512: it is cut off, or not a raw disk");
	b.n = 0;
	refuse_blob(&b, IMAGE_RAW, "empty", "is empty");
	folder_end();
}

static void test_image_names_go_both_ways(void)
{
	enum image_format f;

	for (unsigned int i = IMAGE_RAW; i <= IMAGE_VMDK; i++) {
		CU_ASSERT_EQUAL(image_format_from_name(image_format_name((enum image_format)i), &f),
				0);
		CU_ASSERT_EQUAL(f, i);
	}
	CU_ASSERT_EQUAL(image_format_from_name("vdi", &f), -EINVAL);
	CU_ASSERT_STRING_EQUAL(image_subformat_name(IMAGE_SUB_VMDK_STREAM_OPTIMIZED),
			       "streamOptimized");
	CU_ASSERT_STRING_EQUAL(image_subformat_name(99), "?");
}

UNIT_MAIN(UNIT(test_probe_knows_what_it_opens), UNIT(test_probe_says_what_it_does_not_open),
	  UNIT(test_raw_is_whole_sectors), UNIT(test_image_names_go_both_ways))
