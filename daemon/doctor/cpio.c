// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One archive after the other is walked byte by byte as it comes out of inflate, so that no whole RAM disk is ever in
 * memory.
 */
#include "daemon/doctor/cpio.h"

#include <archive.h>
#include <archive_entry.h>
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define HEADER     110 /* bytes: "070701" and 13 numbers of 8 hexadecimal digits */
#define NAME_BYTES 4096
#define SIZE_AT    54
#define NAME_AT    94

/* Takes an archive in pieces of any length. */
struct cpio {
	doctor_cpio_fn fn;
	void *arg;
	enum { HEAD, NAME, DATA, SKIP } state;
	uint8_t head[HEADER];
	char name[NAME_BYTES + 4];
	uint8_t *kept; /* DOCTOR_CPIO_KEPT + 1 */
	size_t have;   /* bytes of the current part */
	size_t name_length, name_padded;
	uint64_t size, skip;
	uint64_t seen;
	unsigned int files;
};

static bool number(const uint8_t *p, uint64_t *ret)
{
	*ret = 0;
	for (unsigned int i = 0; i < 8; i++) {
		if (!isxdigit(p[i]))
			return false;
		*ret = *ret << 4 | (uint64_t)(isdigit(p[i]) ? p[i] - '0' : tolower(p[i]) - 'a' + 10);
	}
	return true;
}

static int take_head(struct cpio *c)
{
	uint64_t name;

	if ((memcmp(c->head, "070701", 6) && memcmp(c->head, "070702", 6)) || !number(c->head + SIZE_AT, &c->size) ||
	    !number(c->head + NAME_AT, &name) || name < 1 || name > NAME_BYTES)
		return -EBADMSG;
	c->name_length = (size_t)name;
	c->name_padded = (HEADER + c->name_length + 3) / 4 * 4 - HEADER;
	c->state = NAME;
	return 0;
}

static void take_name(struct cpio *c)
{
	c->name[c->name_length - 1] = '\0';
	c->files++;
	c->skip = (c->size + 3) / 4 * 4;
	c->state = c->size && c->size <= DOCTOR_CPIO_KEPT ? DATA : SKIP;
	if (c->state == SKIP) {
		if (strcmp(c->name, "TRAILER!!!"))
			c->fn(c->arg, c->name, NULL, (size_t)c->size);
		if (!c->skip)
			c->state = HEAD;
	}
}

static void take_data(struct cpio *c)
{
	c->kept[c->size] = '\0';
	c->fn(c->arg, c->name, c->kept, (size_t)c->size);
	c->skip -= c->size;
	c->state = c->skip ? SKIP : HEAD;
}

/* Fills a part that is `whole` bytes long; how many bytes it took. */
static size_t fill(struct cpio *c, void *part, size_t whole, const uint8_t *data, size_t length)
{
	size_t n = whole - c->have < length ? whole - c->have : length;

	memcpy((uint8_t *)part + c->have, data, n);
	c->have += n;
	return n;
}

/* At the beginning of an archive: is there another one here? */
static bool between(const struct cpio *c, uint8_t byte)
{
	return c->state == HEAD && !c->have && !byte;
}

static int feed(struct cpio *c, const uint8_t *data, size_t length)
{
	int r = 0;

	c->seen += length;
	if (c->seen > DOCTOR_CPIO_WHOLE)
		return -EFBIG;
	for (size_t n; !r && length; data += n, length -= n) {
		n = 1;
		if (between(c, *data))
			continue;
		switch (c->state) {
		case HEAD:
			n = fill(c, c->head, HEADER, data, length);
			if (c->have == HEADER) {
				c->have = 0;
				r = take_head(c);
			}
			break;
		case NAME:
			n = fill(c, c->name, c->name_padded, data, length);
			if (c->have == c->name_padded) {
				c->have = 0;
				take_name(c);
			}
			break;
		case DATA:
			n = fill(c, c->kept, (size_t)c->size, data, length);
			if (c->have == c->size) {
				c->have = 0;
				take_data(c);
			}
			break;
		case SKIP:
			n = c->skip < length ? (size_t)c->skip : length;
			c->skip -= n;
			if (!c->skip)
				c->state = HEAD;
			break;
		}
	}
	return r;
}

/* What is not compressed: up to where something else begins. */
static int feed_plain(struct cpio *c, const uint8_t *data, size_t length, size_t *ret_used)
{
	size_t at = 0;
	int r = 0;

	while (!r && at < length) {
		size_t n = 1;

		if (c->state == HEAD && !c->have) {
			while (at < length && !data[at])
				at++;
			if (length - at < HEADER || memcmp(data + at, "07070", 5))
				break;
			n = HEADER;
		} else if (c->state == SKIP) {
			n = c->skip < length - at ? (size_t)c->skip : length - at;
		}
		r = feed(c, data + at, n);
		at += n;
	}
	*ret_used = at;
	return r;
}

static int feed_compressed(struct cpio *c, const uint8_t *data, size_t length)
{
	struct archive *a = archive_read_new();
	struct archive_entry *entry;
	uint8_t *piece = malloc(1 << 16);
	la_ssize_t n = -1;
	int r = a && piece ? 0 : -ENOMEM;

	if (!r) {
		archive_read_support_format_raw(a);
		archive_read_support_filter_gzip(a);
		archive_read_support_filter_bzip2(a);
		archive_read_support_filter_xz(a);
		archive_read_support_filter_lzma(a);
		archive_read_support_filter_zstd(a);
		archive_read_support_filter_lz4(a);
		r = archive_read_open_memory(a, data, length) || archive_read_next_header(a, &entry) ||
				    archive_filter_count(a) < 2
			    ? -EBADMSG
			    : 0;
	}
	while (!r && (n = archive_read_data(a, piece, 1 << 16)) > 0)
		r = feed(c, piece, (size_t)n);
	if (!r && n < 0)
		r = -EBADMSG;
	free(piece);
	if (a)
		archive_read_free(a);
	return r;
}

int doctor_cpio_look(const uint8_t *data, size_t length, doctor_cpio_fn fn, void *arg)
{
	struct cpio c = {.fn = fn, .arg = arg, .kept = malloc(DOCTOR_CPIO_KEPT + 1)};
	size_t used;
	int r = c.kept ? feed_plain(&c, data, length, &used) : -ENOMEM;

	if (!r && used < length)
		r = feed_compressed(&c, data + used, length - used);
	if (!r && (!c.files || c.state != HEAD))
		r = -EBADMSG;
	free(c.kept);
	return r;
}
