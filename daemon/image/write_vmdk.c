// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writers of VMDK, both with grains of 64 KiB.
 *
 * monolithicSparse: header, descriptor, redundant grain directory and tables, grain directory and
 * tables, all of them there from the beginning as VMware lays them out; then grains, at multiples
 * of their size.
 *
 * streamOptimized: written from front to end as a stream must be: header (its directory: "at the
 * end"), descriptor, grains as {LBA, length, zlib data}, after each 512 of them that have any data
 * a marker and their table, at last the directory, the footer and the end-of-stream marker, each
 * with its marker.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <zlib.h>

#include "daemon/image/output.h"
#include "daemon/image/write.h"
#include "tcmu-handler/image/bytes.h"
#include "tcmu-handler/image/vmdk.h"

#define SECTOR           512u
#define GRAIN            65536u
#define GRAIN_SECTORS    (GRAIN / SECTOR)
#define TABLE_ENTRIES    (1u << VMDK_TABLE_SHIFT)
#define TABLE_BYTES      (4 * TABLE_ENTRIES)
#define DESCRIPTOR_AT    SECTOR
#define DESCRIPTOR_BYTES (20 * SECTOR)
#define FILE_MAX         ((uint64_t)UINT32_MAX * SECTOR)

/* The name in the descriptor must not end its line or its quotes; nobody needs it, as the extent is
 * this very file. */
static const char *safe_name(const char *name)
{
	for (const char *c = name; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == '"')
			return "disk.vmdk";
	return name;
}

static int make_descriptor(const struct writer *w, char *text, const char *create_type, struct sentence *err)
{
	uint64_t sectors = w->size / SECTOR;
	uint32_t id[4];
	uint64_t cylinders = sectors / (255 * 63);

	if (getrandom(id, sizeof(id), 0) != sizeof(id))
		return sentence_fail(err, -EIO, "%s: no random numbers for its CID", w->name);
	if (id[3] >= 0xfffffffe) /* "no parent" and "not set" */
		id[3] = 0x12345678;
	memset(text, 0, DESCRIPTOR_BYTES);
	snprintf(text, DESCRIPTOR_BYTES,
		 "# Disk "
		 "DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=%08x\nparentCID="
		 "ffffffff\ncreateType=\"%s\"\n\n"
		 "# Extent description\nRW %llu SPARSE \"%s\"\n\n"
		 "# The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = "
		 "\"4\"\nddb.geometry.cylinders = \"%llu\"\n"
		 "ddb.geometry.heads = \"255\"\nddb.geometry.sectors = \"63\"\nddb.adapterType = "
		 "\"lsilogic\"\n"
		 "ddb.longContentID = \"%08x%08x%08x%08x\"\n",
		 id[3], create_type, (unsigned long long)sectors, safe_name(w->name),
		 (unsigned long long)(cylinders > 65535 ? 65535
				      : cylinders       ? cylinders
							: 1),
		 id[0], id[1], id[2], id[3]);
	return 0;
}

static void make_header(const struct writer *w, uint8_t *h, uint32_t version, uint32_t flags, uint64_t overhead)
{
	memset(h, 0, SECTOR);
	memcpy(h + VMDK_H_MAGIC, "KDMV", 4);
	le32_put(h + VMDK_H_VERSION, version);
	le32_put(h + VMDK_H_FLAGS, flags);
	le64_put(h + VMDK_H_CAPACITY, w->size / SECTOR);
	le64_put(h + VMDK_H_GRAIN, GRAIN_SECTORS);
	le64_put(h + VMDK_H_DESCRIPTOR, DESCRIPTOR_AT / SECTOR);
	le64_put(h + VMDK_H_DESCRIPTOR_SECTORS, DESCRIPTOR_BYTES / SECTOR);
	le32_put(h + VMDK_H_TABLE_ENTRIES, TABLE_ENTRIES);
	le64_put(h + VMDK_H_OVERHEAD, overhead / SECTOR);
	memcpy(h + VMDK_H_NEWLINES, "\n \r\n", 4);
}

static uint64_t n_tables(const struct writer *w)
{
	return div_up(w->size, (uint64_t)GRAIN * TABLE_ENTRIES);
}

static int write_front(struct writer *w, const uint8_t *header, const char *create_type, struct sentence *err)
{
	char text[DESCRIPTOR_BYTES];
	int r = make_descriptor(w, text, create_type, err);

	if (r == 0)
		r = output_write(w->out, 0, header, SECTOR, err);
	return r < 0 ? r : output_write(w->out, DESCRIPTOR_AT, text, sizeof(text), err);
}

/* --- monolithicSparse --- */

static uint64_t directory_bytes(const struct writer *w)
{
	return round_up(4 * n_tables(w), SECTOR);
}

static int sparse_begin(struct writer *w, struct sentence *err)
{
	w->n_table = n_tables(w) * TABLE_ENTRIES;
	w->table_at = DESCRIPTOR_AT + DESCRIPTOR_BYTES;
	w->end = round_up(w->table_at + 2 * (directory_bytes(w) + 4 * w->n_table), GRAIN);
	w->table = calloc(w->n_table, 4);
	return w->table ? 0 : sentence_fail(err, -ENOMEM, "%s: out of memory", w->name);
}

static int no_room(const struct writer *w, struct sentence *err)
{
	return sentence_fail(err, -EFBIG, "%s: a sparse VMDK cannot hold more than 2 TiB of data", w->name);
}

static int sparse_put(struct writer *w, uint64_t index, const uint8_t *data, struct sentence *err)
{
	int r;

	if (w->end > FILE_MAX - GRAIN)
		return no_room(w, err);
	r = writer_put_sparse(w, w->end, data, GRAIN, err);
	le32_put(&w->table[index], (uint32_t)(w->end / SECTOR));
	w->end += GRAIN;
	return r;
}

/* One copy: directory, then all tables behind it. */
static int write_tables(struct writer *w, uint64_t at, struct sentence *err)
{
	uint64_t n = n_tables(w), tables_at = at + directory_bytes(w);
	uint32_t *gd = calloc(directory_bytes(w), 1);
	int r;

	if (!gd)
		return sentence_fail(err, -ENOMEM, "%s: out of memory", w->name);
	for (uint64_t i = 0; i < n; i++)
		le32_put(&gd[i], (uint32_t)((tables_at + i * TABLE_BYTES) / SECTOR));
	r = output_write(w->out, at, gd, directory_bytes(w), err);
	free(gd);
	return r < 0 ? r : output_write(w->out, tables_at, w->table, 4 * w->n_table, err);
}

static int sparse_end(struct writer *w, struct sentence *err)
{
	uint64_t second = w->table_at + directory_bytes(w) + 4 * w->n_table;
	uint64_t overhead = round_up(second + directory_bytes(w) + 4 * w->n_table, GRAIN);
	uint8_t header[SECTOR];
	int r;

	make_header(w, header, 1, VMDK_FLAG_NEWLINES | VMDK_FLAG_REDUNDANT, overhead);
	le64_put(header + VMDK_H_RGD, w->table_at / SECTOR);
	le64_put(header + VMDK_H_GD, second / SECTOR);
	r = write_front(w, header, "monolithicSparse", err);
	if (r == 0)
		r = write_tables(w, w->table_at, err);
	if (r == 0)
		r = write_tables(w, second, err);
	return r < 0 ? r : output_resize(w->out, w->end, err);
}

const struct writer_type writer_vmdk = {
	.unit = GRAIN, .size_max = IMAGE_SIZE_MAX, .begin = sparse_begin, .put = sparse_put, .end = sparse_end};

/* --- streamOptimized --- */

static int stream_append(struct writer *w, const void *data, size_t length, struct sentence *err)
{
	int r = output_write(w->out, w->end, data, length, err);

	w->end += length;
	return w->end > FILE_MAX ? no_room(w, err) : r;
}

static int stream_marker(struct writer *w, uint64_t sectors, enum vmdk_marker_type type, struct sentence *err)
{
	uint8_t marker[SECTOR] = {0};

	le64_put(marker, sectors);
	le32_put(marker + 12, type);
	return stream_append(w, marker, sizeof(marker), err);
}

static int stream_begin(struct writer *w, struct sentence *err)
{
	uint8_t header[SECTOR];

	w->n_table = TABLE_ENTRIES; /* the table that is being filled */
	w->table = calloc(TABLE_ENTRIES, 4);
	w->tables = calloc(directory_bytes(w), 1);
	w->work = malloc(VMDK_MARKER_SIZE + compressBound(GRAIN) + SECTOR);
	if (!w->table || !w->tables || !w->work)
		return sentence_fail(err, -ENOMEM, "%s: out of memory", w->name);
	w->last = UINT64_MAX;
	w->end = GRAIN;
	make_header(w, header, 3, VMDK_FLAG_NEWLINES | VMDK_FLAG_COMPRESSED | VMDK_FLAG_MARKERS, GRAIN);
	le64_put(header + VMDK_H_GD, VMDK_GD_AT_END);
	le16_put(header + VMDK_H_COMPRESSION, 1);
	return write_front(w, header, "streamOptimized", err);
}

/* The table of the last grains, if they have any. */
static int stream_flush_table(struct writer *w, struct sentence *err)
{
	int r;

	if (w->last == UINT64_MAX)
		return 0;
	r = stream_marker(w, TABLE_BYTES / SECTOR, VMDK_MARKER_GT, err);
	if (r < 0)
		return r;
	le32_put(&w->tables[w->last / TABLE_ENTRIES], (uint32_t)(w->end / SECTOR));
	r = stream_append(w, w->table, TABLE_BYTES, err);
	memset(w->table, 0, TABLE_BYTES);
	return r;
}

static int stream_put(struct writer *w, uint64_t index, const uint8_t *data, struct sentence *err)
{
	uLongf length = compressBound(GRAIN);
	size_t all;
	int r;

	if (w->last != UINT64_MAX && w->last / TABLE_ENTRIES != index / TABLE_ENTRIES) {
		r = stream_flush_table(w, err);
		if (r < 0)
			return r;
	}
	if (compress2(w->work + VMDK_MARKER_SIZE, &length, data, GRAIN, Z_DEFAULT_COMPRESSION) != Z_OK)
		return sentence_fail(err, -ENOMEM, "%s: out of memory", w->name);
	le64_put(w->work, index * GRAIN_SECTORS);
	le32_put(w->work + 8, (uint32_t)length);
	all = round_up(VMDK_MARKER_SIZE + length, SECTOR);
	memset(w->work + VMDK_MARKER_SIZE + length, 0, all - VMDK_MARKER_SIZE - length);
	le32_put(&w->table[index % TABLE_ENTRIES], (uint32_t)(w->end / SECTOR));
	w->last = index;
	return stream_append(w, w->work, all, err);
}

static int stream_end(struct writer *w, struct sentence *err)
{
	uint64_t directory = directory_bytes(w), directory_at = 0;
	uint8_t footer[SECTOR];
	int r = stream_flush_table(w, err);

	if (r == 0)
		r = stream_marker(w, directory / SECTOR, VMDK_MARKER_GD, err);
	directory_at = w->end;
	if (r == 0)
		r = stream_append(w, w->tables, directory, err);
	make_header(w, footer, 3, VMDK_FLAG_NEWLINES | VMDK_FLAG_COMPRESSED | VMDK_FLAG_MARKERS, GRAIN);
	le64_put(footer + VMDK_H_GD, directory_at / SECTOR);
	le16_put(footer + VMDK_H_COMPRESSION, 1);
	if (r == 0)
		r = stream_marker(w, 1, VMDK_MARKER_FOOTER, err);
	if (r == 0)
		r = stream_append(w, footer, sizeof(footer), err);
	return r < 0 ? r : stream_marker(w, 0, VMDK_MARKER_EOS, err);
}

const struct writer_type writer_vmdk_stream = {
	.unit = GRAIN, .size_max = IMAGE_SIZE_MAX, .begin = stream_begin, .put = stream_put, .end = stream_end};
