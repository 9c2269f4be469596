// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where the bytes of a part come from, and which of its blocks have any: asked of the image's map or of the used
 * ranges.
 */
#include "daemon/uploader/source.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/core/fileio.h"
#include "daemon/image/digest_file.h"
#include "daemon/image/chain.h"

#define PIECE 65536u /* in which the use of images is counted */

struct upload_source {
	struct image *img; /* or */
	int fd;
	struct used_map *used; /* of a disk; NULL: all */
	uint64_t size;
};

struct source_reader {
	struct upload_source *source;
	uint8_t *unit;
};

int source_open_image(struct upload_source **ret, const char *path, struct sentence *err)
{
	struct upload_source *s = calloc(1, sizeof(*s));
	int r;

	if (!s) {
		sentence_set(err, "out of memory");
		return -ENOMEM;
	}
	s->fd = -1;
	r = chain_open(&s->img, path, NULL, err);
	if (r) {
		image_close(s->img);
		free(s);
		return r;
	}
	s->size = image_info(s->img)->virtual_size;
	*ret = s;
	return 0;
}

static int disk_bytes(int fd, uint64_t *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode)) {
		*ret = (uint64_t)st.st_size;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return -ENOTBLK;
	return ioctl(fd, BLKGETSIZE64, ret) < 0 ? -errno : 0;
}

int source_open_disk(struct upload_source **ret, const char *path, struct used_map *used, struct sentence *err)
{
	struct upload_source *s = calloc(1, sizeof(*s));
	int r = s ? 0 : -ENOMEM;

	if (r == 0) {
		s->fd = open(path, O_RDONLY | O_CLOEXEC);
		r = s->fd < 0 ? -errno : disk_bytes(s->fd, &s->size);
	}
	if (r == 0 && (!s->size || s->size % 512 || (used && used->size != s->size)))
		r = -EINVAL;
	if (r) {
		sentence_set(err, "%s cannot be read as a disk: %s", path, strerror(-r));
		used_map_free(used);
		if (s && s->fd >= 0)
			close(s->fd);
		free(s);
		return r;
	}
	posix_fadvise(s->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	s->used = used;
	*ret = s;
	return 0;
}

void source_close(struct upload_source *s)
{
	if (!s)
		return;
	image_close(s->img);
	used_map_free(s->used);
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}

uint64_t source_size(const struct upload_source *s)
{
	return s->size;
}

static uint64_t image_used(const struct upload_source *s, uint64_t start, uint32_t length)
{
	uint64_t used = 0;

	if (image_range_is_zero(s->img, start, length))
		return 0;
	for (uint32_t at = 0, n; at < length; at += n) {
		n = length - at < PIECE ? length - at : PIECE;
		used += image_range_is_zero(s->img, start + at, n) ? 0 : n;
	}
	return used;
}

uint64_t source_part_used(const struct upload_source *s, uint64_t part)
{
	uint64_t start = part * DIGEST_PART;
	uint32_t length = digest_part_length(s->size, part);

	if (s->img)
		return image_used(s, start, length);
	return s->used ? used_map_count(s->used, start, start + length) : length;
}

uint64_t source_used(const struct upload_source *s)
{
	uint64_t used = 0;

	if (!s->img)
		return s->used ? used_map_used(s->used) : s->size;
	for (uint64_t i = 0; i < digest_parts(s->size); i++)
		used += source_part_used(s, i);
	return used;
}

struct source_reader *source_reader_new(struct upload_source *source)
{
	struct source_reader *reader = calloc(1, sizeof(*reader));

	if (reader)
		reader->source = source;
	return reader;
}

void source_reader_free(struct source_reader *reader)
{
	if (!reader)
		return;
	free(reader->unit);
	free(reader);
}

static int read_disk(const struct upload_source *s, uint64_t start, uint64_t end, uint8_t *data, uint64_t *ret_at)
{
	struct used_range range;
	uint64_t at = start;

	if (!s->used) {
		*ret_at = start;
		return fileio_read(s->fd, data, end - start, start);
	}
	memset(data, 0, DIGEST_PART);
	for (; used_map_next(s->used, at, end, &range); at = range.end) {
		int r = fileio_read(s->fd, data + (range.start - start), range.end - range.start, range.start);

		*ret_at = range.start;
		if (r)
			return r;
	}
	return 0;
}

int source_read(struct source_reader *reader, uint64_t part, uint8_t *data, uint8_t bitmap[SPARSE_BITMAP],
		uint32_t *ret_bytes, uint64_t *ret_at)
{
	const struct upload_source *s = reader->source;
	uint32_t length = digest_part_length(s->size, part), bytes = 0;
	uint64_t start = part * DIGEST_PART;
	int r = 0;

	memset(bitmap, 0, SPARSE_BITMAP);
	*ret_bytes = 0;
	*ret_at = start;
	if (!source_part_used(s, part)) {
		memset(data, 0, DIGEST_PART);
		return 0;
	}
	if (length < DIGEST_PART)
		memset(data + length, 0, DIGEST_PART - length);
	if (s->img)
		r = image_read_data(s->img, start, data, length, &reader->unit);
	else
		r = read_disk(s, start, start + length, data, ret_at);
	for (uint32_t b = 0; r == 0 && b * SPARSE_BLOCK < length; b++) {
		if (data_is_zero(data + (size_t)b * SPARSE_BLOCK, SPARSE_BLOCK))
			continue;
		bitmap[b / 8] |= (uint8_t)(1 << b % 8);
		bytes += SPARSE_BLOCK;
	}
	*ret_bytes = bytes;
	return r;
}
