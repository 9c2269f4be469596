// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writers of raw and VHD.
 *
 * The dynamic VHD keeps each block's data at a multiple of 4 KiB in the file: the bitmap of 512
 * bytes ends where the data begin, and the room before it stays empty (Windows 8 and later write
 * the same way). The creator is "win ": of all names, only those of Hyper-V's kind make every
 * reader take the size and not the geometry for the size.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "daemon/image/output.h"
#include "daemon/image/write.h"
#include "tcmu-handler/image/bytes.h"
#include "tcmu-handler/image/vhd.h"

#define BLOCK    4096u
#define RAW_UNIT (1u << 20)

static bool is_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

int writer_put_sparse(struct writer *w, uint64_t at, const uint8_t *data, size_t length, struct sentence *err)
{
	size_t from = 0;

	while (from < length) {
		size_t to = from;
		int r;

		while (to < length && !is_zero(data + to, length - to < BLOCK ? length - to : BLOCK))
			to += length - to < BLOCK ? length - to : BLOCK;
		if (to > from) {
			r = output_write(w->out, at + from, data + from, to - from, err);
			if (r < 0)
				return r;
		}
		from = to + BLOCK;
	}
	return 0;
}

/* --- raw --- */

static int raw_begin(struct writer *w, struct sentence *err)
{
	return output_resize(w->out, w->size, err);
}

static int raw_put(struct writer *w, uint64_t index, const uint8_t *data, struct sentence *err)
{
	uint64_t at = index * RAW_UNIT, length = w->size - at < RAW_UNIT ? w->size - at : RAW_UNIT;

	return writer_put_sparse(w, at, data, length, err);
}

static int raw_end(struct writer *w, struct sentence *err)
{
	(void)w;
	(void)err;
	return 0;
}

const struct writer_type writer_raw = {
	.unit = RAW_UNIT, .size_max = IMAGE_SIZE_MAX, .begin = raw_begin, .put = raw_put, .end = raw_end};

/* --- VHD --- */

static int make_footer(const struct writer *w, uint8_t *f, enum vhd_type type, uint64_t header_at, struct sentence *err)
{
	uint16_t cylinders;

	memset(f, 0, VHD_FOOTER_SIZE);
	memcpy(f + VHD_F_COOKIE, "conectix", 8);
	be32_put(f + VHD_F_FEATURES, 2); /* reserved, always set */
	be32_put(f + VHD_F_VERSION, VHD_VERSION);
	be64_put(f + VHD_F_DATA_OFFSET, header_at);
	be32_put(f + VHD_F_TIME, (uint32_t)(time(NULL) - VHD_EPOCH));
	memcpy(f + VHD_F_APP, "win ", 4);
	be32_put(f + VHD_F_APP_VERSION, 0x000a0000);
	memcpy(f + VHD_F_OS, "Wi2k", 4);
	be64_put(f + VHD_F_ORIGINAL_SIZE, w->size);
	be64_put(f + VHD_F_CURRENT_SIZE, w->size);
	vhd_geometry(w->size / 512, &cylinders, &f[VHD_F_HEADS], &f[VHD_F_SECTORS]);
	be16_put(f + VHD_F_CYLINDERS, cylinders);
	be32_put(f + VHD_F_TYPE, type);
	if (getrandom(f + VHD_F_UUID, 16, 0) != 16)
		return sentence_fail(err, -EIO, "%s: no random numbers for its UUID", w->name);
	f[VHD_F_UUID + 6] = (f[VHD_F_UUID + 6] & 0x0f) | 0x40; /* RFC 4122, version 4 */
	f[VHD_F_UUID + 8] = (f[VHD_F_UUID + 8] & 0x3f) | 0x80;
	be32_put(f + VHD_F_CHECKSUM, vhd_checksum(f, VHD_FOOTER_SIZE, VHD_F_CHECKSUM));
	return 0;
}

static int fixed_end(struct writer *w, struct sentence *err)
{
	uint8_t footer[VHD_FOOTER_SIZE];
	int r = make_footer(w, footer, VHD_FIXED, VHD_NO_OFFSET, err);

	return r < 0 ? r : output_write(w->out, w->size, footer, sizeof(footer), err);
}

const struct writer_type writer_vhd_fixed = {
	.unit = RAW_UNIT, .size_max = VHD_SIZE_MAX, .begin = raw_begin, .put = raw_put, .end = fixed_end};

static int dynamic_begin(struct writer *w, struct sentence *err)
{
	w->n_table = div_up(w->size, VHD_BLOCK_USUAL);
	w->table_at = VHD_FOOTER_SIZE + VHD_HEADER_SIZE;
	w->end = round_up(w->table_at + 4 * w->n_table, BLOCK);
	w->table = malloc(4 * w->n_table);
	if (!w->table)
		return sentence_fail(err, -ENOMEM, "%s: out of memory", w->name);
	memset(w->table, 0xff, 4 * w->n_table); /* VHD_BAT_ABSENT */
	return 0;
}

static int dynamic_put(struct writer *w, uint64_t index, const uint8_t *data, struct sentence *err)
{
	uint32_t bitmap_bytes = vhd_bitmap_bytes(VHD_BLOCK_USUAL);
	uint64_t data_at = w->end + BLOCK; /* w->end is a multiple of BLOCK, and so is this */
	uint8_t bitmap[BLOCK];
	int r;

	memset(bitmap, 0xff, bitmap_bytes);
	r = output_write(w->out, data_at - bitmap_bytes, bitmap, bitmap_bytes, err);
	if (r == 0)
		r = writer_put_sparse(w, data_at, data, VHD_BLOCK_USUAL, err);
	be32_put(&w->table[index], (uint32_t)((data_at - bitmap_bytes) / 512));
	w->end = data_at + VHD_BLOCK_USUAL;
	return r;
}

static int dynamic_end(struct writer *w, struct sentence *err)
{
	uint8_t head[VHD_FOOTER_SIZE + VHD_HEADER_SIZE] = {0}, *h = head + VHD_FOOTER_SIZE;
	static const uint8_t filler[BLOCK] = {[0 ... BLOCK - 1] = 0xff};
	uint64_t used = w->table_at + 4 * w->n_table;
	int r = make_footer(w, head, VHD_DYNAMIC, VHD_FOOTER_SIZE, err);

	memcpy(h + VHD_H_COOKIE, "cxsparse", 8);
	be64_put(h + VHD_H_DATA_OFFSET, VHD_NO_OFFSET);
	be64_put(h + VHD_H_BAT_OFFSET, w->table_at);
	be32_put(h + VHD_H_VERSION, VHD_VERSION);
	be32_put(h + VHD_H_ENTRIES, (uint32_t)w->n_table);
	be32_put(h + VHD_H_BLOCK_SIZE, VHD_BLOCK_USUAL);
	be32_put(h + VHD_H_CHECKSUM, vhd_checksum(h, VHD_HEADER_SIZE, VHD_H_CHECKSUM));
	if (r == 0)
		r = output_write(w->out, 0, head, sizeof(head), err);
	if (r == 0)
		r = output_write(w->out, w->table_at, w->table, 4 * w->n_table, err);
	if (r == 0) /* the last sector of the table, to its end */
		r = output_write(w->out, used, filler, round_up(used, 512) - used, err);
	return r < 0 ? r : output_write(w->out, w->end, head, VHD_FOOTER_SIZE, err);
}

const struct writer_type writer_vhd = {.unit = VHD_BLOCK_USUAL,
				       .size_max = VHD_SIZE_MAX,
				       .begin = dynamic_begin,
				       .put = dynamic_put,
				       .end = dynamic_end};
