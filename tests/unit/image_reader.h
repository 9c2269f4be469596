/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests: opens images and reads bytes of the virtual disk the plain way, by image_map() and
 * pread(). */
#ifndef BOOTWELL_IMAGE_READER_H
#define BOOTWELL_IMAGE_READER_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tcmu-handler/image/image.h"
#include "tcmu-handler/inflate/inflate.h"

/* Opens DIR/NAME; NULL with *err filled. */
static inline struct image *reader_open(const char *dir, const char *name, enum image_format format,
					struct sentence *err)
{
	int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct image_source src = {.dirfd = dirfd, .name = name, .format = format};
	struct image *img = NULL;

	memset(err, 0, sizeof(*err));
	if (image_open(&img, &src, err) < 0)
		img = NULL;
	close(dirfd);
	return img;
}

/* 0, or -errno; an extent that breaks its promises is -EPROTO. */
static inline int reader_extent(const struct image *img, uint64_t offset, const struct image_extent *e, uint8_t *to)
{
	const struct image_file *f = e->file;
	uint8_t *in, *unit;
	int r;

	if (e->type == IMAGE_EXTENT_ZERO) {
		memset(to, 0, e->length);
		return e->file ? -EPROTO : 0;
	}
	if (!f || f->index >= image_file_count(img) || image_file(img, f->index) != f)
		return -EPROTO;
	if (e->type == IMAGE_EXTENT_DATA) {
		if (e->offset > f->size || e->length > f->size - e->offset || e->offset % 512)
			return -EPROTO;
		return pread(f->fd, to, e->length, (off_t)e->offset) == (ssize_t)e->length ? 0 : -EIO;
	}
	if (e->offset > f->size || e->compressed_length > f->size - e->offset || e->unit_length > IMAGE_UNIT_MAX ||
	    e->unit_skip > e->unit_length || e->length > e->unit_length - e->unit_skip ||
	    e->unit_least > e->unit_length)
		return -EPROTO;
	(void)offset;
	in = malloc(e->compressed_length + 1);
	unit = malloc(e->unit_length);
	r = pread(f->fd, in, e->compressed_length, (off_t)e->offset) == (ssize_t)e->compressed_length ? 0 : -EIO;
	if (r == 0)
		r = inflate_unit(unit, e->unit_length, e->unit_least, in, e->compressed_length);
	if (r == 0)
		memcpy(to, unit + e->unit_skip, e->length);
	free(in);
	free(unit);
	return r;
}

static inline int reader_read(const struct image *img, uint64_t offset, uint64_t length, uint8_t *to)
{
	while (length) {
		struct image_extent e;
		int r = image_map(img, offset, length, &e);

		if (r < 0)
			return r;
		if (e.length == 0 || e.length > length || e.length % 512)
			return -EPROTO;
		r = reader_extent(img, offset, &e, to);
		if (r < 0)
			return r;
		offset += e.length;
		to += e.length;
		length -= e.length;
	}
	return 0;
}

#endif
