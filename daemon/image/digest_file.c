// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Checksums of images: kept in a file each in the folder .digest beside the images, and computed by reading an image
 * through its tables.
 */
#include "daemon/image/digest_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/core/fileio.h"
#include "tcmu-handler/inflate/inflate.h"

#define FOLDER ".digest"

static int folder(int images, bool make)
{
	int fd;

	if (make && mkdirat(images, FOLDER, 0755) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(images, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

static int write_text(int dir, const char *name, const char *text, size_t length)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644), r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, length) != (ssize_t)length)
		r = -EIO;
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	close(fd);
	return r;
}

int digest_file_write(int images, const char *file, const uint8_t digest[DIGEST_SIZE])
{
	char text[DIGEST_TEXT + 16], hex[DIGEST_TEXT], temporary[300];
	int dir = folder(images, true), n, r;

	if (dir < 0)
		return dir;
	digest_to_text(digest, hex);
	n = snprintf(text, sizeof(text), "%s sha256-4m\n", hex);
	snprintf(temporary, sizeof(temporary), "%s.new", file);
	r = write_text(dir, temporary, text, (size_t)n);
	if (r == 0 && renameat(dir, temporary, dir, file) < 0)
		r = -errno;
	if (r == 0 && fsync(dir) < 0)
		r = -errno;
	close(dir);
	return r;
}

int digest_file_read(int images, const char *file, uint8_t ret[DIGEST_SIZE])
{
	char text[DIGEST_TEXT] = "";
	int dir = folder(images, false), fd, r = 0;

	if (dir < 0)
		return dir;
	fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		r = -errno;
	else if (read(fd, text, sizeof(text) - 1) < 0)
		r = -errno;
	else
		r = digest_from_text(text, ret);
	if (fd >= 0)
		close(fd);
	close(dir);
	return r;
}

void digest_file_remove(int images, const char *file)
{
	int dir = folder(images, false);

	if (dir < 0)
		return;
	unlinkat(dir, file, 0);
	close(dir);
}

/* --- reading images -----------------------------------------------------------------------------------------------*/

static int read_compressed(const struct image_extent *e, uint8_t *to, uint8_t **unit)
{
	uint8_t *both = realloc(*unit, (size_t)e->unit_length + e->compressed_length);
	int r;

	if (!both)
		return -ENOMEM;
	*unit = both;
	r = fileio_read(e->file->fd, both + e->unit_length, e->compressed_length, e->offset);
	if (r == 0)
		r = inflate_unit(both, e->unit_length, e->unit_least, both + e->unit_length, e->compressed_length);
	if (r == 0)
		memcpy(to, both + e->unit_skip, e->length);
	return r;
}

int image_read_data(const struct image *img, uint64_t offset, void *to, uint64_t length, uint8_t **unit)
{
	uint8_t *p = to;

	while (length) {
		struct image_extent e;
		int r = image_map(img, offset, length, &e);

		if (r < 0)
			return r;
		if (e.type == IMAGE_EXTENT_ZERO)
			memset(p, 0, e.length);
		else if (e.type == IMAGE_EXTENT_DATA)
			r = fileio_read(e.file->fd, p, e.length, e.offset);
		else
			r = read_compressed(&e, p, unit);
		if (r < 0)
			return r;
		p += e.length;
		offset += e.length;
		length -= e.length;
	}
	return 0;
}

bool image_range_is_zero(const struct image *img, uint64_t offset, uint64_t length)
{
	while (length) {
		struct image_extent e;
		off_t data;

		if (image_map(img, offset, length, &e) < 0)
			return false;
		if (e.type == IMAGE_EXTENT_COMPRESSED)
			return false;
		if (e.type == IMAGE_EXTENT_DATA) {
			data = lseek(e.file->fd, (off_t)e.offset, SEEK_DATA);
			if (data < 0 && errno != ENXIO)
				return false;
			if (data >= 0 && (uint64_t)data < e.offset + e.length)
				return false;
		}
		offset += e.length;
		length -= e.length;
	}
	return true;
}

int digest_image(const struct image *img, uint8_t ret[DIGEST_SIZE], digest_progress_fn progress, void *arg)
{
	uint64_t size = image_info(img)->virtual_size, parts = digest_parts(size);
	uint8_t *digests = malloc(parts * DIGEST_SIZE), *data = malloc(DIGEST_PART), *unit = NULL;
	int r = digests && data ? 0 : -ENOMEM;

	for (uint64_t i = 0; r == 0 && i < parts; i++) {
		uint32_t length = digest_part_length(size, i);

		if (image_range_is_zero(img, i * DIGEST_PART, length)) {
			digest_zero(length, digests + i * DIGEST_SIZE);
		} else {
			r = image_read_data(img, i * DIGEST_PART, data, length, &unit);
			if (r == 0)
				digest_part(data, length, digests + i * DIGEST_SIZE);
		}
		if (r == 0 && progress && progress(arg, i * DIGEST_PART + length, size))
			r = -ECANCELED;
	}
	if (r == 0)
		digest_disk(size, digests, ret);
	free(unit);
	free(data);
	free(digests);
	return r;
}
