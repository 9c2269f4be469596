/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For the harnesses of image formats: inputs as files in a folder in memory, and the property that
 * image_map() must have of any image that was opened: every extent lies within its file and within
 * the virtual size, and a piece of an extent maps to the same piece of the file. A breach aborts.
 */
#ifndef BOOTWELL_FUZZ_IMAGE_H
#define BOOTWELL_FUZZ_IMAGE_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tcmu-handler/image/image.h"

#define FUZZ_FILES 2
#define FUZZ_STEPS 3000 /* extents that are looked at in one image */

static const char *const fuzz_names[FUZZ_FILES] = {"a", "b"};
static int fuzz_dirfd = -1, fuzz_fds[FUZZ_FILES];
static char fuzz_dir[64];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_clean(void)
{
	for (int i = 0; i < FUZZ_FILES; i++)
		unlinkat(fuzz_dirfd, fuzz_names[i], 0);
	rmdir(fuzz_dir);
}

static inline void fuzz_folder(void)
{
	if (fuzz_dirfd >= 0)
		return;
	snprintf(fuzz_dir, sizeof(fuzz_dir), "%s/bootwell-fuzz.XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(fuzz_dir))
		abort();
	fuzz_dirfd = open(fuzz_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < FUZZ_FILES; i++)
		fuzz_fds[i] = openat(fuzz_dirfd, fuzz_names[i], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	atexit(fuzz_clean);
}

/* The input as file number i. */
static inline void fuzz_file(int i, const uint8_t *data, size_t size)
{
	fuzz_folder();
	if (ftruncate(fuzz_fds[i], (off_t)size) < 0 || pwrite(fuzz_fds[i], data, size, 0) != (ssize_t)size)
		abort();
}

static inline struct image *fuzz_open(int i, enum image_format format)
{
	struct image_source src = {.dirfd = fuzz_dirfd, .name = fuzz_names[i], .format = format};
	struct sentence err = {0};
	struct image *img = NULL;

	if (image_open(&img, &src, &err) < 0) {
		/* a refusal has a sentence that names the file */
		if (img || !strchr(err.text, ':'))
			abort();
		return NULL;
	}
	return img;
}

static inline void fuzz_must(int holds)
{
	if (!holds)
		abort();
}

static inline void fuzz_extent(const struct image *img, uint64_t at, uint64_t asked, const struct image_extent *e)
{
	struct image_extent piece;
	uint64_t skip = e->length / 2 / 512 * 512;

	fuzz_must(e->length >= 512 && e->length <= asked && e->length % 512 == 0);
	if (e->type == IMAGE_EXTENT_ZERO) {
		fuzz_must(!e->file);
	} else {
		uint64_t length = e->type == IMAGE_EXTENT_DATA ? e->length : e->compressed_length;

		fuzz_must(e->file && image_file(img, e->file->index) == e->file);
		fuzz_must(e->offset <= e->file->size && length <= e->file->size - e->offset);
	}
	if (e->type == IMAGE_EXTENT_DATA)
		fuzz_must(e->offset % 512 == 0);
	if (e->type == IMAGE_EXTENT_COMPRESSED)
		fuzz_must(e->unit_length <= IMAGE_UNIT_MAX && e->unit_skip < e->unit_length && e->compressed_length &&
			  e->length <= e->unit_length - e->unit_skip && e->unit_least <= e->unit_length &&
			  e->unit_skip + e->length <= e->unit_least &&
			  e->compressed_length <= 2 * (uint64_t)IMAGE_UNIT_MAX);
	fuzz_must(image_map(img, at + skip, 512, &piece) == 0);
	fuzz_must(piece.type == e->type && piece.file == e->file && piece.length == 512);
	if (e->type == IMAGE_EXTENT_DATA)
		fuzz_must(piece.offset == e->offset + skip);
	if (e->type == IMAGE_EXTENT_COMPRESSED)
		fuzz_must(piece.offset == e->offset && piece.unit_skip == e->unit_skip + skip);
}

static void fuzz_report(void *arg, const char *finding, const char *fix)
{
	(void)fix;
	fuzz_must(finding && finding[0]);
	++*(int *)arg;
}

/* Walks the disk from the front, and then in strides that reach its end. */
static inline void fuzz_property(const struct image *img)
{
	const struct image_info *info = image_info(img);
	uint64_t size = info->virtual_size, at = 0, stride = size / FUZZ_STEPS / 512 * 512 + 512;
	struct image_extent e;
	int reported = 0, n, r;

	fuzz_must(size && size % 512 == 0 && size <= IMAGE_SIZE_MAX);
	fuzz_must(image_map(img, size, 512, &e) == -ERANGE);
	for (int i = 0; i < 2 * FUZZ_STEPS && at < size; i++) {
		uint64_t asked = i % 3 ? size - at : 512;

		r = image_map(img, at, asked, &e);
		if (r == -ENODATA) {
			fuzz_must(image_needs_parent(img));
			e.length = 512;
		} else {
			fuzz_must(r == 0);
			fuzz_extent(img, at, asked, &e);
		}
		at += i < FUZZ_STEPS || e.length > stride ? e.length : stride;
	}
	n = image_check(img, fuzz_report, &reported);
	fuzz_must(n < 0 || n == reported);
}

#endif
