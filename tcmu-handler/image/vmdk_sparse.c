// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sparse extents of a VMDK: hosted sparse ("KDMV": monolithicSparse, twoGbMaxExtentSparse,
 * streamOptimized) and COWD
 * ("vmfsSparse"). Both have a grain directory (GD) of sectors of grain tables (GT), which have the
 * sectors of grains.
 *
 * Reading goes in two passes. First the GD, so that all places of metadata are known and checked:
 * inside the file, and none over another. Then the GTs, each entry checked as it is taken: the
 * grain lies inside the file and outside of all metadata. So memory is never more than the file has
 * on disk, and what map.c gets can be trusted.
 *
 * Hosted sparse extents keep a second, redundant GD with its own GTs. If the first is broken, the
 * second is used, and the image counts as damaged.
 *
 * streamOptimized: grains are zlib data behind a marker {LBA, length}. All markers are read here,
 * because image_map() must know the length; without markers the length is up to the next thing in
 * the file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tcmu-handler/image/bytes.h"
#include "tcmu-handler/image/ranges.h"
#include "tcmu-handler/image/vmdk_private.h"

struct sparse {
	struct image *img;
	unsigned int file;
	const char *name;
	uint64_t file_size;
	struct image_segment *seg;
	uint64_t grain; /* bytes */
	unsigned int table_shift;
	uint32_t n_tables;
	bool zero_grains, compressed, markers;
	struct ranges metadata;
};

/* --- the header of a hosted sparse extent --- */

static void parse_header(const uint8_t *p, struct vmdk_header *h)
{
	*h = (struct vmdk_header){
		.version = le32_at(p + VMDK_H_VERSION),
		.flags = le32_at(p + VMDK_H_FLAGS),
		.capacity = le64_at(p + VMDK_H_CAPACITY),
		.grain = le64_at(p + VMDK_H_GRAIN),
		.rgd = le64_at(p + VMDK_H_RGD),
		.gd = le64_at(p + VMDK_H_GD),
		.compression = le16_at(p + VMDK_H_COMPRESSION),
		.unclean = p[VMDK_H_UNCLEAN],
	};
}

static int check_header(const char *name, const uint8_t *p, struct vmdk_header *h, struct sentence *err)
{
	bool compressed = h->flags & VMDK_FLAG_COMPRESSED;

	if (h->version < 1 || h->version > 3)
		return sentence_fail(err, -ENOTSUP, "%s: is a sparse extent of version %u; 1 to 3 are known", name,
				     h->version);
	if ((h->flags & VMDK_FLAG_NEWLINES) && memcmp(p + VMDK_H_NEWLINES, "\n \r\n", 4) != 0)
		return sentence_fail(err, -EBADMSG,
				     "%s: was damaged by a transfer as text (FTP in ASCII mode); copy "
				     "it again as binary",
				     name);
	if (le32_at(p + VMDK_H_TABLE_ENTRIES) != 1u << VMDK_TABLE_SHIFT)
		return sentence_fail(err, -EBADMSG, "%s: its grain tables have %u entries instead of 512", name,
				     le32_at(p + VMDK_H_TABLE_ENTRIES));
	if (!is_power_of_two(h->grain) || h->grain > VMDK_GRAIN_MAX / SECTOR ||
	    (compressed && h->grain > IMAGE_UNIT_MAX / SECTOR))
		return sentence_fail(err, -EBADMSG, "%s: its grain size, %llu sectors, is not a power of two up to %u",
				     name, (unsigned long long)h->grain,
				     (compressed ? IMAGE_UNIT_MAX : VMDK_GRAIN_MAX) / SECTOR);
	if (h->capacity > IMAGE_SIZE_MAX / SECTOR)
		return sentence_fail(err, -EBADMSG, "%s: its capacity, %llu sectors, is over 64 TiB", name,
				     (unsigned long long)h->capacity);
	if (h->compression > 1)
		return sentence_fail(err, -ENOTSUP, "%s: is compressed by the unknown method %u", name, h->compression);
	if (compressed != (h->compression == 1))
		return sentence_fail(err, -EBADMSG, "%s: contradicts itself whether its grains are compressed", name);
	if (div_up(h->capacity, h->grain << VMDK_TABLE_SHIFT) > UINT32_MAX)
		return sentence_fail(err, -EFBIG, "%s: its grain directory would have more than 2^32 entries", name);
	h->tables = (uint32_t)div_up(h->capacity, h->grain << VMDK_TABLE_SHIFT);
	return 0;
}

/* A footer is the header again, written when the writer knew everything: marker, footer,
 * end-of-stream marker. */
static int read_footer(struct image *img, unsigned int file, uint8_t *sector, struct vmdk_header *h,
		       struct sentence *err)
{
	uint64_t size = img->files[file].size / SECTOR * SECTOR;
	const char *name = img->files[file].name;
	uint8_t tail[3 * SECTOR];
	int r;

	if (size < 4 * SECTOR)
		return sentence_fail(err, -EBADMSG, "%s: has no footer, the file is cut off; copy it again", name);
	r = image_read(img, file, size - sizeof(tail), tail, sizeof(tail), "footer", err);
	if (r < 0)
		return r;
	if (le64_at(tail) != 1 || le32_at(tail + 8) != 0 || le32_at(tail + 12) != VMDK_MARKER_FOOTER ||
	    memcmp(tail + SECTOR, "KDMV", 4) != 0 || le32_at(tail + 2 * SECTOR + 8) != 0 ||
	    le32_at(tail + 2 * SECTOR + 12) != VMDK_MARKER_EOS)
		return sentence_fail(err, -EBADMSG,
				     "%s: has no footer where its header says that one is; is it truncated?", name);
	memcpy(sector, tail + SECTOR, SECTOR);
	parse_header(sector, h);
	h->footer_at = size - sizeof(tail);
	if (h->gd == VMDK_GD_AT_END)
		return sentence_fail(err, -EBADMSG, "%s: its footer says that there is another footer", name);
	return 0;
}

int vmdk_header_read(struct image *img, unsigned int file, struct vmdk_header *ret, struct sentence *err)
{
	const char *name = img->files[file].name;
	uint64_t descriptor, sectors, size = img->files[file].size;
	uint8_t sector[SECTOR];
	struct vmdk_header h;
	int r;

	if (size < SECTOR)
		return sentence_fail(err, -EBADMSG, "%s: is too small for a sparse extent; is it truncated?", name);
	r = image_read(img, file, 0, sector, SECTOR, "header", err);
	if (r < 0)
		return r;
	if (memcmp(sector, "KDMV", 4) != 0)
		return sentence_fail(err, -EMEDIUMTYPE, "%s: is not a sparse extent, though the descriptor says so",
				     name);
	image_stamp(img, sector, SECTOR);
	parse_header(sector, &h);
	descriptor = le64_at(sector + VMDK_H_DESCRIPTOR);
	sectors = le64_at(sector + VMDK_H_DESCRIPTOR_SECTORS);
	if (h.gd == VMDK_GD_AT_END)
		r = read_footer(img, file, sector, &h, err);
	if (r == 0)
		r = check_header(name, sector, &h, err);
	if (r < 0)
		return r;
	if (le64_at(sector + VMDK_H_OVERHEAD) > size / SECTOR)
		return sentence_fail(err, -EBADMSG,
				     "%s: its tables alone take %llu sectors, the file has %llu; it "
				     "is truncated",
				     name, (unsigned long long)le64_at(sector + VMDK_H_OVERHEAD),
				     (unsigned long long)(size / SECTOR));
	if (descriptor && sectors) {
		if (sectors > VMDK_DESCRIPTOR_MAX / SECTOR)
			return sentence_fail(err, -EFBIG, "%s: its descriptor is larger than 1 MiB", name);
		if (descriptor > size / SECTOR || sectors > size / SECTOR - descriptor)
			return sentence_fail(err, -EBADMSG,
					     "%s: its descriptor would lie past the end of the file; "
					     "is it truncated?",
					     name);
		h.descriptor_at = descriptor * SECTOR;
		h.descriptor_size = sectors * SECTOR;
	}
	*ret = h;
	return 0;
}

/* --- pass one: where the metadata is --- */

static int no_memory(struct sparse *s, struct sentence *err)
{
	return sentence_fail(err, -ENOMEM, "%s: out of memory", s->name);
}

static int check_place(struct sparse *s, const char *what, uint64_t sector, uint64_t length, struct sentence *err)
{
	if (sector > s->file_size / SECTOR || length > s->file_size - sector * SECTOR)
		return sentence_fail(err, -EBADMSG,
				     "%s: the %s at sector %llu would lie past the end of the file; "
				     "is it truncated?",
				     s->name, what, (unsigned long long)sector);
	if (ranges_add(&s->metadata, sector * SECTOR, length, what) < 0)
		return no_memory(s, err);
	return 0;
}

static uint64_t table_bytes(const struct sparse *s)
{
	return (uint64_t)4 << s->table_shift;
}

/* The GD as it is in the file. */
static int read_directory(struct sparse *s, const char *what, uint64_t sector, uint8_t **ret, struct sentence *err)
{
	uint64_t bytes = (uint64_t)s->n_tables * 4;
	uint8_t *gd;
	int r = check_place(s, what, sector, bytes, err);

	if (r < 0)
		return r;
	if (bytes > IMAGE_TABLE_MAX - s->img->table_bytes)
		return sentence_fail(err, -EFBIG, "%s: its %s of %llu bytes is too large", s->name, what,
				     (unsigned long long)bytes);
	gd = malloc(bytes);
	if (!gd)
		return no_memory(s, err);
	r = image_read(s->img, s->file, sector * SECTOR, gd, bytes, what, err);
	if (r < 0)
		free(gd);
	else
		*ret = gd;
	return r;
}

static int place_tables(struct sparse *s, const char *what, const uint8_t *gd, struct sentence *err)
{
	for (uint32_t i = 0; i < s->n_tables; i++) {
		uint32_t sector = le32_at(gd + 4 * (size_t)i);
		int r = sector ? check_place(s, what, sector, table_bytes(s), err) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

static int sort_metadata(struct sparse *s, struct sentence *err)
{
	struct range a, b;

	if (ranges_sort(&s->metadata, &a, &b))
		return sentence_fail(err, -EBADMSG, "%s: the %s at sector %llu overlaps the %s at sector %llu", s->name,
				     a.what, (unsigned long long)(a.start / SECTOR), b.what,
				     (unsigned long long)(b.start / SECTOR));
	ranges_join(&s->metadata);
	return 0;
}

/* --- pass two: grains --- */

static int check_overlap(struct sparse *s, uint64_t unit, uint32_t sector, uint64_t length, struct sentence *err)
{
	const struct range *hit;

	if ((uint64_t)sector * SECTOR > s->file_size || length > s->file_size - (uint64_t)sector * SECTOR)
		return sentence_fail(err, -EBADMSG,
				     "%s: grain %llu at sector %u would lie past the end of the file; "
				     "is it truncated?",
				     s->name, (unsigned long long)unit, sector);
	hit = ranges_find(&s->metadata, (uint64_t)sector * SECTOR, length);
	if (hit)
		return sentence_fail(err, -EBADMSG, "%s: grain %llu at sector %u overlaps the %s", s->name,
				     (unsigned long long)unit, sector, hit->what);
	return 0;
}

/* What deflate can make of a grain at worst: zlib's compressBound(), and a marker. */
static uint64_t compressed_bound(uint64_t n)
{
	return n + (n >> 12) + (n >> 14) + (n >> 25) + 13 + VMDK_MARKER_SIZE;
}

static int take_compressed(struct sparse *s, uint64_t unit, uint32_t sector, uint32_t *ret_size, struct sentence *err)
{
	uint64_t at = (uint64_t)sector * SECTOR, bound = compressed_bound(s->grain), left;
	uint8_t marker[VMDK_MARKER_SIZE];
	const struct range *next;
	int r;

	r = check_overlap(s, unit, sector, VMDK_MARKER_SIZE, err);
	if (r < 0)
		return r;
	if (!s->markers) {
		next = ranges_find(&s->metadata, at, bound);
		left = (next ? next->start : s->file_size) - at;
		*ret_size = (uint32_t)(left < bound ? left : bound);
		return 0;
	}
	r = image_read(s->img, s->file, at, marker, sizeof(marker), "grain marker", err);
	if (r < 0)
		return r;
	*ret_size = le32_at(marker + 8);
	if (le64_at(marker) != unit * (s->grain / SECTOR))
		return sentence_fail(err, -EBADMSG, "%s: grain %llu is marked as that of sector %llu", s->name,
				     (unsigned long long)unit, (unsigned long long)le64_at(marker));
	if (*ret_size == 0 || *ret_size > bound)
		return sentence_fail(err, -EBADMSG, "%s: grain %llu has %u compressed bytes, which cannot be", s->name,
				     (unsigned long long)unit, *ret_size);
	return check_overlap(s, unit, sector, VMDK_MARKER_SIZE + (uint64_t)*ret_size, err);
}

static int take_entry(struct sparse *s, struct unit_table *t, uint32_t slot, uint64_t unit, uint32_t entry,
		      struct sentence *err)
{
	uint64_t left = s->seg->length - unit * s->grain, length = left < s->grain ? left : s->grain;
	int r;

	if (entry == 1 && s->zero_grains) {
		t->entry[slot] = UNIT_ZERO;
		return 0;
	}
	if (entry == UNIT_ZERO) /* no file has room for a grain there */
		return sentence_fail(err, -EBADMSG,
				     "%s: grain %llu at sector %u would lie past the end of the file; "
				     "is it truncated?",
				     s->name, (unsigned long long)unit, entry);
	r = s->compressed ? take_compressed(s, unit, entry, &t->size[slot], err)
			  : check_overlap(s, unit, entry, length, err);
	if (r < 0)
		return r;
	t->entry[slot] = entry;
	s->img->info.allocated_size += length;
	return 0;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static int take_table(struct sparse *s, uint32_t index, uint32_t sector, uint8_t *buffer, struct sentence *err)
{
	struct unit_table *t = &s->seg->units.tables[index];
	uint64_t first = (uint64_t)index << s->table_shift, n = s->seg->units.units - first;
	int r;

	if (n > (uint64_t)1 << s->table_shift)
		n = (uint64_t)1 << s->table_shift;
	r = image_read(s->img, s->file, (uint64_t)sector * SECTOR, buffer, 4 * n, "grain table", err);
	if (r < 0 || all_zero(buffer, 4 * n))
		return r;
	t->entry = image_table_alloc(s->img, (uint64_t)1 << s->table_shift, sizeof(*t->entry), err);
	if (t->entry && s->compressed)
		t->size = image_table_alloc(s->img, (uint64_t)1 << s->table_shift, sizeof(*t->size), err);
	if (!t->entry || (s->compressed && !t->size))
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t entry = le32_at(buffer + 4 * (size_t)i);

		r = entry ? take_entry(s, t, i, first + i, entry, err) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int take_tables(struct sparse *s, const uint8_t *gd, struct sentence *err)
{
	uint8_t *buffer = malloc(table_bytes(s));
	int r = buffer ? 0 : no_memory(s, err);

	for (uint32_t i = 0; r == 0 && i < s->seg->units.n_tables; i++) {
		uint32_t sector = le32_at(gd + 4 * (size_t)i);

		if (sector)
			r = take_table(s, i, sector, buffer, err);
	}
	free(buffer);
	return r;
}

/* The places of the other copy of directory and tables, so that no grain lies there. A broken copy
 * protects nothing. */
static void place_other(struct sparse *s, uint64_t other)
{
	struct range a, b;
	size_t n = s->metadata.n;
	uint8_t *gd = NULL;
	bool bad = read_directory(s, "other grain directory", other, &gd, NULL) < 0 ||
		   place_tables(s, "other grain table", gd, NULL) < 0;

	free(gd);
	if (bad)
		s->metadata.n = n;
	else
		s->seg->other = other;
	if (ranges_sort(&s->metadata, &a, &b) || bad)
		image_note(s->img, "convert it into a new file",
			   "%s: one of the two copies of its grain tables is damaged", s->name);
	ranges_join(&s->metadata);
}

static int load(struct sparse *s, uint64_t gd_sector, uint64_t other, struct sentence *err)
{
	uint8_t *gd = NULL;
	int r = read_directory(s, "grain directory", gd_sector, &gd, err);

	if (r < 0)
		return r;
	r = place_tables(s, "grain table", gd, err);
	if (r == 0)
		r = sort_metadata(s, err);
	if (r == 0 && other)
		place_other(s, other);
	if (r == 0)
		r = unit_map_init(s->img, s->seg, (uint32_t)s->grain, s->table_shift, err);
	if (r == 0)
		r = take_tables(s, gd, err);
	free(gd);
	return r;
}

/* --- the two kinds --- */

static int add_segment(struct sparse *s, uint64_t sectors, struct sentence *err)
{
	s->seg = image_add_segment(s->img, SEGMENT_UNITS, sectors * SECTOR, err);
	if (!s->seg)
		return -EFBIG;
	s->seg->file = s->file;
	if (s->img->info.block_size < s->grain)
		s->img->info.block_size = (uint32_t)s->grain;
	return 0;
}

static int try_load(struct sparse *s, const struct vmdk_header *h, uint64_t gd, uint64_t other, struct sentence *err)
{
	if (ranges_add(&s->metadata, 0, SECTOR, "header") < 0 ||
	    ranges_add(&s->metadata, h->descriptor_at, h->descriptor_size, "descriptor") < 0 ||
	    ranges_add(&s->metadata, h->footer_at, h->footer_at ? 3 * SECTOR : 0, "footer") < 0)
		return no_memory(s, err);
	return load(s, gd, other, err);
}

static void forget(struct sparse *s, uint64_t table_bytes_before, uint64_t allocated_before)
{
	unit_map_done(&s->seg->units);
	s->seg->units = (struct unit_map){0};
	s->img->table_bytes = table_bytes_before;
	s->img->info.allocated_size = allocated_before;
	ranges_done(&s->metadata);
}

static int load_either(struct sparse *s, const struct vmdk_header *h, struct sentence *err)
{
	uint64_t tables = s->img->table_bytes, allocated = s->img->info.allocated_size;
	uint64_t rgd = h->flags & VMDK_FLAG_REDUNDANT && h->rgd != h->gd ? h->rgd : 0;
	unsigned int notes = s->img->n_notes;
	struct sentence second;
	int r = try_load(s, h, h->gd, rgd, err);

	if (r != -EBADMSG || !rgd)
		return r;
	forget(s, tables, allocated);
	s->img->n_notes = notes;
	if (try_load(s, h, rgd, h->gd, &second) < 0) {
		forget(s, tables, allocated);
		return r; /* the sentence about the first copy stays */
	}
	s->img->n_notes = notes;
	s->seg->other = 0; /* known to be broken */
	s->img->info.damaged = true;
	snprintf(s->img->info.damage, sizeof(s->img->info.damage),
		 "the first copy of its grain tables is damaged; the second one is used");
	image_note(s->img, "convert it into a new file", "%s: %s", s->name, s->img->info.damage);
	if (err)
		err->text[0] = '\0';
	return 0;
}

int vmdk_sparse_open(struct image *img, unsigned int file, const struct vmdk_header *h, uint64_t sectors,
		     struct sentence *err)
{
	struct sparse s = {
		.img = img,
		.file = file,
		.name = img->files[file].name,
		.file_size = img->files[file].size,
		.grain = h->grain * SECTOR,
		.table_shift = VMDK_TABLE_SHIFT,
		.n_tables = h->tables,
		.zero_grains = h->flags & VMDK_FLAG_ZERO_GRAINS,
		.compressed = h->flags & VMDK_FLAG_COMPRESSED,
		.markers = h->flags & VMDK_FLAG_MARKERS,
	};
	int r;

	if (h->capacity == 0)
		return sentence_fail(err, -EBADMSG, "%s: its capacity is zero sectors", s.name);
	/* VirtualBox rounds the capacity up to a grain and leaves the size in the descriptor as it
	 * is */
	if (h->capacity < sectors || h->capacity > round_up(sectors, h->grain > 128 ? h->grain : 128))
		return sentence_fail(err, -EBADMSG, "%s: its header says %llu sectors, the descriptor %llu", s.name,
				     (unsigned long long)h->capacity, (unsigned long long)sectors);
	r = add_segment(&s, sectors, err);
	if (r == 0)
		r = load_either(&s, h, err);
	if (r == 0) {
		s.seg->units.compressed = s.compressed;
		s.seg->units.skip = s.compressed && s.markers ? VMDK_MARKER_SIZE : 0;
	}
	if (r == 0 && h->unclean)
		image_note(img, "open it once in VMware, or convert it into a new file",
			   "%s: was not closed cleanly; what was written last may be missing", s.name);
	ranges_done(&s.metadata);
	return r;
}

int vmdk_cowd_open(struct image *img, unsigned int file, uint64_t sectors, uint32_t *ret_flags, struct sentence *err)
{
	struct sparse s = {
		.img = img,
		.file = file,
		.name = img->files[file].name,
		.file_size = img->files[file].size,
		.table_shift = COWD_TABLE_SHIFT,
	};
	uint8_t h[COWD_HEADER_SIZE];
	uint64_t capacity, grain;
	int r;

	r = image_read(img, file, 0, h, sizeof(h), "COWD header", err);
	if (r < 0)
		return r;
	image_stamp(img, h, sizeof(h));
	capacity = le32_at(h + COWD_H_CAPACITY);
	grain = le32_at(h + COWD_H_GRAIN);
	if (memcmp(h, "COWD", 4) != 0)
		return sentence_fail(err, -EMEDIUMTYPE, "%s: is not a COWD extent, though the descriptor says so",
				     s.name);
	if (le32_at(h + COWD_H_VERSION) != 1)
		return sentence_fail(err, -ENOTSUP, "%s: is a COWD extent of version %u; only 1 is known", s.name,
				     le32_at(h + COWD_H_VERSION));
	if (!is_power_of_two(grain) || grain > VMDK_GRAIN_MAX / SECTOR)
		return sentence_fail(err, -EBADMSG, "%s: its grain size, %llu sectors, is not a power of two up to %u",
				     s.name, (unsigned long long)grain, VMDK_GRAIN_MAX / SECTOR);
	if (capacity == 0 || (sectors && capacity != sectors))
		return sentence_fail(err, -EBADMSG, "%s: its header says %llu sectors, the descriptor %llu", s.name,
				     (unsigned long long)capacity, (unsigned long long)sectors);
	s.n_tables = le32_at(h + COWD_H_GD_ENTRIES);
	if (s.n_tables < div_up(capacity, grain << COWD_TABLE_SHIFT))
		return sentence_fail(err, -EBADMSG,
				     "%s: its grain directory of %u entries is too small for %llu sectors", s.name,
				     s.n_tables, (unsigned long long)capacity);
	s.grain = grain * SECTOR;
	r = add_segment(&s, capacity, err);
	if (r == 0 && ranges_add(&s.metadata, 0, COWD_HEADER_SIZE, "header") < 0)
		r = no_memory(&s, err);
	if (r == 0)
		r = load(&s, le32_at(h + COWD_H_GD), 0, err);
	if (r == 0 && ret_flags)
		*ret_flags = le32_at(h + COWD_H_FLAGS);
	ranges_done(&s.metadata);
	return r;
}
