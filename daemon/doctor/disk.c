// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Blocks that were written are kept in a table by number, never more than half full; a read looks there first, then in
 * the image.
 */
#include "daemon/doctor/disk.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/fileio.h"
#include "daemon/image/digest_file.h"
#include "tcmu-handler/image/bytes.h"

#define BLOCK      4096u
#define SECTOR     512u
#define BLOCKS_MAX (DOCTOR_CHANGED_MAX / BLOCK)
#define BUCKETS    (2 * BLOCKS_MAX) /* never more than half full */
#define GENERATION 256

struct block {
	uint64_t number;
	uint8_t *data; /* NULL: the place is free */
};

struct doctor_disk {
	const struct image *img; /* NULL: fd */
	int fd;
	uint64_t size;
	uint8_t *unit;
	struct block *bucket;
	uint32_t blocks;
};

static int disk_new(struct doctor_disk **ret, const struct image *img, int fd, uint64_t size)
{
	struct doctor_disk *d = calloc(1, sizeof(*d));

	if (d)
		d->bucket = calloc(BUCKETS, sizeof(*d->bucket));
	if (!d || !d->bucket) {
		free(d);
		return -ENOMEM;
	}
	d->img = img;
	d->fd = fd;
	d->size = size;
	*ret = d;
	return 0;
}

int doctor_disk_new(struct doctor_disk **ret, const struct image *img)
{
	return disk_new(ret, img, -1, image_info(img)->virtual_size);
}

int doctor_disk_new_fd(struct doctor_disk **ret, int fd, uint64_t size)
{
	return disk_new(ret, NULL, fd, size);
}

static int read_source(struct doctor_disk *d, uint64_t at, void *to, uint64_t length)
{
	if (!d->img)
		return fileio_read(d->fd, to, length, at);
	return image_read_data(d->img, at, to, (uint32_t)length, &d->unit);
}

void doctor_disk_free(struct doctor_disk *d)
{
	if (!d)
		return;
	for (uint32_t i = 0; i < BUCKETS; i++)
		free(d->bucket[i].data);
	free(d->bucket);
	free(d->unit);
	free(d);
}

uint64_t doctor_disk_size(const struct doctor_disk *d)
{
	return d->size;
}

/* Its place, or the free one where it would be. */
static struct block *find(const struct doctor_disk *d, uint64_t number)
{
	uint64_t i = number * 0x9e3779b97f4a7c15u >> 40;

	for (i %= BUCKETS; d->bucket[i].data && d->bucket[i].number != number; i = (i + 1) % BUCKETS)
		;
	return &d->bucket[i];
}

/* What the image has of a block; past the end of the disk zeros. */
static int read_block(struct doctor_disk *d, uint64_t number, uint8_t to[BLOCK])
{
	uint64_t at = number * BLOCK, n = d->size - at < BLOCK ? d->size - at : BLOCK;

	memset(to + n, 0, BLOCK - n);
	return read_source(d, at, to, n);
}

int doctor_disk_read(struct doctor_disk *d, uint64_t offset, void *to, uint64_t length)
{
	uint8_t *p = to, own[BLOCK];

	if (offset > d->size || length > d->size - offset)
		return -ERANGE;
	while (length) {
		uint64_t number = offset / BLOCK, in = offset % BLOCK, n = BLOCK - in < length ? BLOCK - in : length;
		const struct block *b = find(d, number);
		int r = 0;

		/* Whole blocks of the image at once, where none of them was written to. */
		if (!b->data && !in && length >= BLOCK) {
			for (n = BLOCK; n + BLOCK <= length && n < 1 << 20 && !find(d, (offset + n) / BLOCK)->data;)
				n += BLOCK;
			r = read_source(d, offset, p, n);
		} else {
			if (!b->data)
				r = read_block(d, number, own);
			memcpy(p, (b->data ? b->data : own) + in, n);
		}
		if (r)
			return r;
		offset += n;
		p += n;
		length -= n;
	}
	return 0;
}

int doctor_disk_write(struct doctor_disk *d, uint64_t offset, const void *from, uint64_t length)
{
	const uint8_t *p = from;

	if (offset > d->size || length > d->size - offset)
		return -ERANGE;
	while (length) {
		uint64_t number = offset / BLOCK, in = offset % BLOCK, n = BLOCK - in < length ? BLOCK - in : length;
		struct block *b = find(d, number);

		if (!b->data) {
			uint8_t *data = d->blocks < BLOCKS_MAX ? malloc(BLOCK) : NULL;
			int r = data ? read_block(d, number, data) : d->blocks < BLOCKS_MAX ? -ENOMEM : -EFBIG;

			if (r) {
				free(data);
				return r;
			}
			*b = (struct block){number, data};
			d->blocks++;
		}
		memcpy(b->data + in, p, n);
		offset += n;
		p += n;
		length -= n;
	}
	return 0;
}

/* --- what differs -------------------------------------------------------------------------------------------------*/

static int by_number(const void *a, const void *b)
{
	uint64_t x = (*(const struct block *const *)a)->number, y = (*(const struct block *const *)b)->number;

	return x < y ? -1 : x > y;
}

/* Calls fn for each run of sectors that differ, within a block. */
static int each_run(struct doctor_disk *d, int (*fn)(void *arg, uint64_t offset, const uint8_t *data, uint32_t length),
		    void *arg)
{
	const struct block **sorted = calloc(d->blocks + 1, sizeof(*sorted));
	uint8_t was[BLOCK];
	uint32_t n = 0;
	int r = sorted ? 0 : -ENOMEM;

	for (uint32_t i = 0; sorted && i < BUCKETS; i++)
		if (d->bucket[i].data)
			sorted[n++] = &d->bucket[i];
	if (n)
		qsort(sorted, n, sizeof(*sorted), by_number);
	for (uint32_t i = 0; !r && i < n; i++) {
		uint32_t from = 0, end;

		r = read_block(d, sorted[i]->number, was);
		while (!r && from < BLOCK) {
			for (end = from; end < BLOCK && memcmp(was + end, sorted[i]->data + end, SECTOR); end += SECTOR)
				;
			if (end > from)
				r = fn(arg, sorted[i]->number * BLOCK + from, sorted[i]->data + from, end - from);
			from = end > from ? end : from + SECTOR;
		}
	}
	free(sorted);
	return r;
}

struct count {
	uint64_t bytes, end;
	uint32_t ranges;
};

static int count_run(void *arg, uint64_t offset, const uint8_t *data, uint32_t length)
{
	struct count *c = arg;

	(void)data;
	c->bytes += length;
	c->ranges += !c->ranges || offset != c->end;
	c->end = offset + length;
	return 0;
}

int doctor_disk_changed(struct doctor_disk *d, uint64_t *ret_bytes, uint32_t *ret_ranges)
{
	struct count c = {};
	int r = each_run(d, count_run, &c);

	*ret_bytes = c.bytes;
	*ret_ranges = c.ranges;
	return r;
}

static int put(FILE *to, const void *data, size_t length)
{
	return fwrite(data, 1, length, to) == length ? 0 : -EIO;
}

static int put_run(void *arg, uint64_t offset, const uint8_t *data, uint32_t length)
{
	uint8_t head[16];
	int r;

	le64_put(head, offset);
	le32_put(head + 8, length);
	le32_put(head + 12, 1);
	r = put(arg, head, sizeof(head));
	return r ? r : put(arg, data, length);
}

int doctor_disk_dump(struct doctor_disk *d, const char *generation, FILE *to)
{
	uint8_t head[64] = "BWOVRLY1", end[16] = {};
	char name[GENERATION] = "";
	uint64_t bytes;
	uint32_t ranges;
	int r = doctor_disk_changed(d, &bytes, &ranges);

	le64_put(head + 8, d->size);
	le64_put(head + 16, bytes);
	le32_put(head + 24, ranges);
	snprintf(name, sizeof(name), "%s", generation);
	le64_put(end, UINT64_MAX);
	if (!r)
		r = put(to, head, sizeof(head));
	if (!r)
		r = put(to, name, sizeof(name));
	if (!r)
		r = each_run(d, put_run, to);
	if (!r)
		r = put(to, end, sizeof(end));
	if (!r && fflush(to))
		r = -errno;
	return r;
}
