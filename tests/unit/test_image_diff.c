// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The library against qemu-img: random sparse disks, converted by qemu-img into every format that
 * it writes, read back through image_map() in whole and in random pieces, and compared byte for
 * byte. SEED=n runs one again.
 */
#include <stdarg.h>
#include <sys/stat.h>

#include "tests/unit/image_reader.h"
#include "tests/unit/unit.h"

static char dir[64];

static uint64_t next_random(void)
{
	static uint64_t x;

	if (!x)
		x = unit_seed() | 1;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static bool run(const char *format, ...)
{
	char command[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	return system(command) == 0;
}

static bool start(void)
{
	snprintf(dir, sizeof(dir), "/tmp/bootwell-diff.XXXXXX");
	return mkdtemp(dir) != NULL;
}

static void stop(void)
{
	run("rm -rf %s", dir);
}

/* A disk with data in pieces of all sizes, also at its end. */
static uint8_t *make_disk(uint64_t size)
{
	uint8_t *disk = calloc(1, size);
	unsigned int pieces = (unsigned int)(next_random() % 40);
	char path[96];
	FILE *f;

	for (unsigned int i = 0; i <= pieces; i++) {
		uint64_t length = 512 * (1 + next_random() % (1 << next_random() % 12)), at;
		bool compressible = next_random() % 2;

		if (length > size)
			length = size;
		at = i == 0 ? size - length : next_random() % ((size - length) / 512 + 1) * 512;
		for (uint64_t j = 0; j < length; j += 8) {
			uint64_t v = compressible ? at + j / 64 : next_random();

			memcpy(disk + at + j, &v, 8);
		}
	}
	snprintf(path, sizeof(path), "%s/disk.raw", dir);
	f = fopen(path, "w");
	if (!f || fwrite(disk, 1, size, f) != size || fclose(f)) {
		free(disk);
		return NULL;
	}
	return disk;
}

static void compare(const struct image *img, const uint8_t *disk, uint64_t size, const char *what)
{
	uint8_t *all = malloc(size);
	int r;

	CU_ASSERT_EQUAL(image_info(img)->virtual_size, size);
	if (image_info(img)->virtual_size < size) {
		free(all);
		return;
	}
	r = reader_read(img, 0, size, all);
	if (r < 0 || memcmp(all, disk, size) != 0) {
		uint64_t i = 0;

		while (r == 0 && all[i] == disk[i])
			i++;
		printf("# %s: size %llu: %s, first difference at %llu\n", what, (unsigned long long)size, strerror(-r),
		       (unsigned long long)i);
		CU_FAIL("the disk differs");
	}
	for (int i = 0; i < 200; i++) {
		uint64_t at = next_random() % (size / 512) * 512, length = 512 * (1 + next_random() % 300);

		if (length > size - at)
			length = size - at;
		CU_ASSERT_EQUAL(reader_read(img, at, length, all), 0);
		CU_ASSERT_EQUAL(memcmp(all, disk + at, length), 0);
	}
	free(all);
}

struct variant {
	const char *options; /* of qemu-img convert */
	const char *name;
	enum image_format format;
	const char *subformat;
};

static const struct variant variants[] = {
	{"-O raw", "disk2.raw", IMAGE_RAW, "raw"},
	{"-O vpc -o subformat=fixed,force_size=on", "fixed.vhd", IMAGE_VHD, "fixed"},
	{"-O vpc -o subformat=dynamic,force_size=on", "dynamic.vhd", IMAGE_VHD, "dynamic"},
	{"-O vmdk -o subformat=monolithicSparse", "sparse.vmdk", IMAGE_VMDK, "monolithicSparse"},
	{"-O vmdk -o subformat=monolithicSparse,zeroed_grain=on", "zeroed.vmdk", IMAGE_VMDK, "monolithicSparse"},
	{"-S 0 -O vmdk -o subformat=monolithicSparse,zeroed_grain=on", "full.vmdk", IMAGE_VMDK, "monolithicSparse"},
	{"-O vmdk -o subformat=monolithicFlat", "flat.vmdk", IMAGE_VMDK, "monolithicFlat"},
	{"-O vmdk -o subformat=twoGbMaxExtentSparse", "split.vmdk", IMAGE_VMDK, "twoGbMaxExtentSparse"},
	{"-O vmdk -o subformat=twoGbMaxExtentFlat", "splitflat.vmdk", IMAGE_VMDK, "twoGbMaxExtentFlat"},
	{"-O vmdk -o subformat=streamOptimized", "stream.vmdk", IMAGE_VMDK, "streamOptimized"},
};

static void diff_variant(const struct variant *v, const uint8_t *disk, uint64_t size)
{
	struct sentence err;
	struct image *img;

	CU_ASSERT_TRUE_FATAL(run("qemu-img convert -f raw %s %s/disk.raw %s/%s", v->options, dir, dir, v->name));
	img = reader_open(dir, v->name, v->format, &err);
	if (!img) {
		printf("# %s (size %llu): %s\n", v->options, (unsigned long long)size, err.text);
		CU_FAIL("not opened");
		return;
	}
	CU_ASSERT_STRING_EQUAL(image_info(img)->subformat, v->subformat);
	CU_ASSERT_FALSE(image_info(img)->damaged);
	compare(img, disk, size, v->options);
	image_close(img);
	run("rm -f %s/*.vhd %s/*.vmdk", dir, dir);
}

static void test_image_diff_every_format_of_qemu(void)
{
	CU_ASSERT_TRUE_FATAL(start());
	for (int round = 0; round < 4; round++) {
		uint64_t size = 512 * (1 + next_random() % (1 << (8 + next_random() % 10)));
		uint8_t *disk = make_disk(size);

		for (size_t i = 0; disk && i < sizeof(variants) / sizeof(variants[0]); i++)
			diff_variant(&variants[i], disk, size);
		CU_ASSERT_PTR_NOT_NULL(disk);
		free(disk);
	}
	stop();
}

static int without_qemu(void)
{
	printf("1..0 # SKIP qemu-img is not installed\n");
	return 77;
}

int main(int argc, char **argv)
{
	static const struct unit_case cases[] = {
		UNIT(test_image_diff_every_format_of_qemu),
	};

	if (!run("command -v qemu-img >/dev/null"))
		return without_qemu();
	return unit_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
