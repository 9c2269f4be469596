/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests: one folder for the test's files, and "this is refused with that sentence". */
#ifndef BOOTWELL_IMAGE_REFUSE_H
#define BOOTWELL_IMAGE_REFUSE_H

#include "tests/unit/image_build.h"
#include "tests/unit/image_reader.h"
#include "tests/unit/unit.h"

static char test_dir[64];

static inline void folder_begin(void)
{
	snprintf(test_dir, sizeof(test_dir), "/tmp/bootwell-image.XXXXXX");
	if (!mkdtemp(test_dir))
		abort();
}

static inline void folder_end(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", test_dir);
	if (system(command) != 0)
		abort();
}

static inline struct image *open_blob(const struct blob *b, const char *name, enum image_format format)
{
	struct sentence err;
	struct image *img;

	blob_save(b, test_dir, name);
	img = reader_open(test_dir, name, format, &err);
	if (!img)
		printf("# %s\n", err.text);
	return img;
}

/* Opening must fail, and the sentence begin with the file's name and have the words. */
static inline void refuse_file(const char *name, enum image_format format, const char *what, const char *words)
{
	struct sentence err;
	struct image *img = reader_open(test_dir, name, format, &err);

	if (img || !strstr(err.text, words)) {
		printf("# %s: expected \"%s\", got \"%s\"\n", what, words, img ? "(it was opened)" : err.text);
		CU_FAIL("not refused as it should be");
	}
	if (getenv("SENTENCES"))
		printf("# %s: %s\n", what, err.text);
	image_close(img);
}

static inline void refuse_blob(const struct blob *b, enum image_format format, const char *what, const char *words)
{
	blob_save(b, test_dir, "x");
	refuse_file("x", format, what, words);
}

/* One sector must read as build_sector(sector, salt), or as zeros if salt is -1. */
static inline void expect_sector(const struct image *img, uint64_t sector, int salt)
{
	uint8_t want[512] = {0}, got[512];
	int r = reader_read(img, sector * 512, 512, got);

	if (salt >= 0)
		build_sector(want, sector, (uint8_t)salt);
	if (r < 0 || memcmp(want, got, 512) != 0) {
		printf("# sector %llu (salt %d): %s\n", (unsigned long long)sector, salt,
		       r < 0 ? strerror(-r) : "differs");
		CU_FAIL("wrong sector");
	}
}

#endif
