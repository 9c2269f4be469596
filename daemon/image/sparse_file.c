// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Layout of the file: [tables][unit][unit]... A VHD block has its bitmap of one sector in front; it takes the last
 * sector of the 4096 bytes before the data, so that the data is aligned: a block takes 2 MiB + 4096 bytes. Blocks of
 * 4096 bytes that nobody wrote stay holes, which read as zero, so a VHD block with one used cluster costs little.
 */
#include "daemon/image/sparse_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "daemon/core/fileio.h"
#include "tcmu-handler/image/bytes.h"
#include "tcmu-handler/image/vhd.h"

#define SECTOR       512u
#define VHD_UNIT     VHD_BLOCK_USUAL
#define VHD_STRIDE   (VHD_UNIT + 4096u)
#define VHD_BAT_AT   1536u
#define GRAIN        65536u
#define GT_ENTRIES   512u
#define DESC_SECTORS 20u

#define VMDK_SIZE_MAX (((uint64_t)1 << 41) - ((uint64_t)1 << 33)) /* bytes: sectors are 32 bits wide */

struct sparse_layout {
	uint32_t unit, stride; /* bytes: of data, in the file */
	uint32_t bitmap;       /* bytes in front of a unit's data, all ones */
	uint32_t tail;         /* bytes behind the last unit */
	uint64_t size_max;     /* bytes of disk */
	void (*begin)(struct sparse_file *sf);
	int (*finish)(const struct sparse_file *sf, const char *name);
};

struct sparse_file {
	int fd;
	const struct sparse_layout *layout;
	uint64_t size, units;
	uint32_t unit, stride;  /* of the layout */
	unsigned int per_part;  /* units of a part */
	uint32_t *table;        /* first sector of each unit, 0: not there */
	uint64_t metadata, end; /* bytes */
	uint64_t rgd, gd, gts;  /* VMDK: sectors of both directories, number of tables */
};

#define LAYOUT(NAME, name) static const struct sparse_layout name##_layout;
SPARSE_FORMATS(LAYOUT, LAYOUT)
#define ROW(NAME, name) [IMAGE_##NAME] = &name##_layout,

static const struct sparse_layout *layout_of(enum image_format format)
{
	static const struct sparse_layout *const layouts[] = {SPARSE_FORMATS(ROW, ROW)};

	return (unsigned int)format < sizeof(layouts) / sizeof(layouts[0]) ? layouts[format] : NULL;
}

uint64_t sparse_size_max(enum image_format format)
{
	const struct sparse_layout *layout = layout_of(format);

	return layout ? layout->size_max : 0;
}

int sparse_format(const char *name, enum image_format *ret)
{
	const char *dot = strrchr(name, '.');
	enum image_format format;

	if (!dot || image_format_from_file(name, &format) < 0 || !layout_of(format) ||
	    strcasecmp(dot, image_format_ending(format)) != 0)
		return -EINVAL;
	*ret = format;
	return 0;
}

static void begin_vhd(struct sparse_file *sf)
{
	/* The first unit begins with its bitmap, one sector before a boundary. */
	sf->metadata = round_up(VHD_BAT_AT + round_up(sf->units * 4, SECTOR), 4096) + 4096 - SECTOR;
}

static void begin_vmdk(struct sparse_file *sf)
{
	uint64_t gd_sectors;

	sf->gts = div_up(sf->units, GT_ENTRIES);
	gd_sectors = div_up(sf->gts * 4, SECTOR);
	sf->rgd = 1 + DESC_SECTORS;
	sf->gd = sf->rgd + gd_sectors + sf->gts * (GT_ENTRIES * 4 / SECTOR);
	sf->metadata = round_up((sf->gd + gd_sectors + sf->gts * (GT_ENTRIES * 4 / SECTOR)) * SECTOR, GRAIN);
}

int sparse_new(struct sparse_file **ret, int fd, enum image_format format, uint64_t size)
{
	const struct sparse_layout *layout = layout_of(format);
	struct sparse_file *sf;

	if (!layout || !size || size % SECTOR)
		return -EINVAL;
	if (size > layout->size_max)
		return -EFBIG;
	sf = calloc(1, sizeof(*sf));
	if (!sf)
		return -ENOMEM;
	sf->fd = fd;
	sf->layout = layout;
	sf->size = size;
	sf->unit = layout->unit;
	sf->stride = layout->stride;
	sf->units = div_up(size, sf->unit);
	layout->begin(sf);
	sf->per_part = (unsigned int)(DIGEST_PART / sf->unit);
	sf->end = sf->metadata;
	sf->table = calloc(sf->units, sizeof(*sf->table));
	if (!sf->table) {
		free(sf);
		return -ENOMEM;
	}
	*ret = sf;
	return 0;
}

void sparse_free(struct sparse_file *sf)
{
	if (!sf)
		return;
	free(sf->table);
	free(sf);
}

uint64_t sparse_metadata(const struct sparse_file *sf)
{
	return sf->metadata;
}

uint64_t sparse_end(const struct sparse_file *sf)
{
	return sf->end + sf->layout->tail;
}

/* --- places -------------------------------------------------------------------------------------------------------*/

static bool bit(const uint8_t *bitmap, unsigned int b)
{
	return bitmap[b / 8] >> b % 8 & 1;
}

static uint64_t used_units(const struct sparse_file *sf, const uint8_t *bitmap)
{
	unsigned int blocks = sf->unit / SPARSE_BLOCK;
	uint64_t units = 0;

	for (unsigned int b = 0; b < SPARSE_BITMAP * 8; b++)
		if (bit(bitmap, b))
			units |= (uint64_t)1 << b / blocks;
	return units;
}

static void punch(const struct sparse_file *sf, uint32_t sector)
{
	uint64_t data = (uint64_t)sector * SECTOR + sf->layout->bitmap;

	/* Only to save space: what cannot be punched stays, unused. */
	(void)fallocate(sf->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)data, sf->unit);
}

void sparse_drop(struct sparse_file *sf, uint64_t part)
{
	uint64_t first = part * sf->per_part;

	for (uint64_t u = first; u < first + sf->per_part && u < sf->units; u++) {
		if (sf->table[u])
			punch(sf, sf->table[u]);
		sf->table[u] = 0;
	}
}

/* Gives the units of a place their sectors. The file grows if the place is at its end. */
static void enter(struct sparse_file *sf, uint64_t part, const struct sparse_place *place)
{
	uint64_t at = place->first;

	for (unsigned int u = 0; u < sf->per_part; u++) {
		uint64_t unit = part * sf->per_part + u;

		if (unit >= sf->units)
			break;
		sf->table[unit] = 0;
		if (!(place->units >> u & 1))
			continue;
		sf->table[unit] = (uint32_t)at;
		at += sf->stride / SECTOR;
	}
	if (at * SECTOR > sf->end)
		sf->end = at * SECTOR;
}

int sparse_place(struct sparse_file *sf, uint64_t part, const uint8_t bitmap[SPARSE_BITMAP], struct sparse_place *ret)
{
	struct sparse_place place = {.first = sf->end / SECTOR, .units = used_units(sf, bitmap)};
	uint64_t last = sf->end + (uint64_t)sf->stride * (unsigned int)__builtin_popcountll(place.units);

	if (last / SECTOR >= UINT32_MAX)
		return -EFBIG;
	sparse_drop(sf, part);
	if (!place.units)
		place.first = 0;
	enter(sf, part, &place);
	*ret = place;
	return 0;
}

int sparse_restore(struct sparse_file *sf, uint64_t part, const struct sparse_place *place)
{
	uint64_t count = (unsigned int)__builtin_popcountll(place->units);
	uint64_t left = sf->units - part * sf->per_part;

	if (part >= digest_parts(sf->size))
		return -EINVAL;
	if (place->units && (place->first * SECTOR < sf->metadata || place->first > UINT32_MAX ||
			     (place->first * SECTOR - sf->metadata) % sf->stride ||
			     place->first + count * (sf->stride / SECTOR) >= UINT32_MAX))
		return -EINVAL;
	if (left > sf->per_part)
		left = sf->per_part;
	if (left < 64 && place->units >> left)
		return -EINVAL;
	enter(sf, part, place);
	return 0;
}

/* --- data ---------------------------------------------------------------------------------------------------------*/

/* Where the data of the n-th unit of a place begins. */
static uint64_t unit_data(const struct sparse_file *sf, const struct sparse_place *place, unsigned int n)
{
	return place->first * SECTOR + (uint64_t)n * sf->stride + sf->layout->bitmap;
}

static int write_bitmap(const struct sparse_file *sf, uint64_t data_at)
{
	uint8_t ones[SECTOR];

	if (!sf->layout->bitmap)
		return 0;
	memset(ones, 0xff, sizeof(ones));
	return fileio_write(sf->fd, ones, sizeof(ones), data_at - SECTOR);
}

int sparse_write(const struct sparse_file *sf, uint64_t part, const struct sparse_place *place,
		 const uint8_t bitmap[SPARSE_BITMAP], const uint8_t *data)
{
	unsigned int blocks = sf->unit / SPARSE_BLOCK, n = 0;
	uint32_t length = digest_part_length(sf->size, part);

	for (unsigned int u = 0; u < sf->per_part; u++) {
		uint64_t to;
		int r;

		if (!(place->units >> u & 1))
			continue;
		to = unit_data(sf, place, n++);
		r = write_bitmap(sf, to);
		for (unsigned int b = 0, run; r == 0 && b < blocks; b += run) {
			uint32_t at = u * sf->unit + b * SPARSE_BLOCK, bytes;

			for (run = 1;
			     b + run < blocks && bit(bitmap, u * blocks + b + run) == bit(bitmap, u * blocks + b);)
				run++;
			if (!bit(bitmap, u * blocks + b) || at >= length)
				continue;
			bytes = run * SPARSE_BLOCK;
			if (bytes > length - at)
				bytes = length - at;
			r = fileio_write(sf->fd, data + at, bytes, to + b * SPARSE_BLOCK);
		}
		if (r)
			return r;
	}
	return 0;
}

int sparse_read(const struct sparse_file *sf, uint64_t part, const struct sparse_place *place, uint8_t *data)
{
	uint32_t length = digest_part_length(sf->size, part);
	unsigned int n = 0;

	for (unsigned int u = 0; u < sf->per_part; u++) {
		uint32_t at = u * sf->unit, bytes = sf->unit;
		ssize_t got;

		if (at >= length)
			break;
		if (bytes > length - at)
			bytes = length - at;
		if (!(place->units >> u & 1)) {
			memset(data + at, 0, bytes);
			continue;
		}
		got = fileio_read_some(sf->fd, data + at, bytes, unit_data(sf, place, n++));
		if (got < 0)
			return (int)got;
		memset(data + at + got, 0, bytes - (size_t)got); /* behind the end: a hole that was never written */
	}
	return 0;
}

/* --- tables -------------------------------------------------------------------------------------------------------*/

static int random_bytes(void *to, size_t length)
{
	return getrandom(to, length, 0) == (ssize_t)length ? 0 : -EIO;
}

static int finish_vhd(const struct sparse_file *sf, const char *name)
{
	uint8_t footer[VHD_FOOTER_SIZE] = {0}, header[VHD_HEADER_SIZE] = {0}, *bat;
	uint64_t bat_bytes = round_up(sf->units * 4, SECTOR);
	uint16_t cylinders;
	int r;

	(void)name;
	memcpy(footer + VHD_F_COOKIE, "conectix", 8);
	be32_put(footer + VHD_F_FEATURES, 2); /* reserved, always set */
	be32_put(footer + VHD_F_VERSION, VHD_VERSION);
	be64_put(footer + VHD_F_DATA_OFFSET, VHD_FOOTER_SIZE);
	be32_put(footer + VHD_F_TIME, (uint32_t)(time(NULL) - VHD_EPOCH));
	/* Hyper-V's name: readers that know it take the size, not the geometry, which is what we mean. */
	memcpy(footer + VHD_F_APP, "win ", 4);
	be32_put(footer + VHD_F_APP_VERSION, 0x00060001);
	memcpy(footer + VHD_F_OS, "Wi2k", 4);
	be64_put(footer + VHD_F_ORIGINAL_SIZE, sf->size);
	be64_put(footer + VHD_F_CURRENT_SIZE, sf->size);
	vhd_geometry(sf->size / SECTOR, &cylinders, footer + VHD_F_HEADS, footer + VHD_F_SECTORS);
	be16_put(footer + VHD_F_CYLINDERS, cylinders);
	be32_put(footer + VHD_F_TYPE, VHD_DYNAMIC);
	r = random_bytes(footer + VHD_F_UUID, 16);
	if (r)
		return r;
	footer[VHD_F_UUID + 6] = (footer[VHD_F_UUID + 6] & 0x0f) | 0x40;
	footer[VHD_F_UUID + 8] = (footer[VHD_F_UUID + 8] & 0x3f) | 0x80;
	be32_put(footer + VHD_F_CHECKSUM, vhd_checksum(footer, sizeof(footer), VHD_F_CHECKSUM));

	memcpy(header + VHD_H_COOKIE, "cxsparse", 8);
	be64_put(header + VHD_H_DATA_OFFSET, VHD_NO_OFFSET);
	be64_put(header + VHD_H_BAT_OFFSET, VHD_BAT_AT);
	be32_put(header + VHD_H_VERSION, VHD_VERSION);
	be32_put(header + VHD_H_ENTRIES, (uint32_t)sf->units);
	be32_put(header + VHD_H_BLOCK_SIZE, VHD_UNIT);
	be32_put(header + VHD_H_CHECKSUM, vhd_checksum(header, sizeof(header), VHD_H_CHECKSUM));

	bat = malloc(bat_bytes);
	if (!bat)
		return -ENOMEM;
	memset(bat, 0xff, bat_bytes);
	for (uint64_t u = 0; u < sf->units; u++)
		be32_put(bat + 4 * u, sf->table[u] ? sf->table[u] : VHD_BAT_ABSENT);
	r = fileio_write(sf->fd, bat, bat_bytes, VHD_BAT_AT);
	free(bat);
	if (r == 0)
		r = fileio_write(sf->fd, header, sizeof(header), VHD_FOOTER_SIZE);
	if (r == 0)
		r = fileio_write(sf->fd, footer, sizeof(footer), sf->end);
	if (r == 0 && ftruncate(sf->fd, (off_t)(sf->end + SECTOR)) < 0)
		r = -errno;
	return r ? r : fileio_write(sf->fd, footer, sizeof(footer), 0);
}

/* A directory at sector `at` and its tables behind it. */
static int write_grain_tables(const struct sparse_file *sf, uint64_t at)
{
	uint64_t gd_bytes = round_up(sf->gts * 4, SECTOR), gt_bytes = GT_ENTRIES * 4;
	uint8_t *gd = calloc(1, gd_bytes), gt[GT_ENTRIES * 4];
	uint64_t gt_at = at + gd_bytes / SECTOR;
	int r = gd ? 0 : -ENOMEM;

	for (uint64_t t = 0; r == 0 && t < sf->gts; t++) {
		bool any = false;

		le32_put(gd + 4 * t, (uint32_t)(gt_at + t * (gt_bytes / SECTOR)));
		memset(gt, 0, sizeof(gt));
		for (uint64_t u = t * GT_ENTRIES; u < (t + 1) * GT_ENTRIES && u < sf->units; u++) {
			le32_put(gt + 4 * (u - t * GT_ENTRIES), sf->table[u]);
			any |= sf->table[u] != 0;
		}
		if (any) /* an empty one is a hole already */
			r = fileio_write(sf->fd, gt, gt_bytes, (gt_at + t * (gt_bytes / SECTOR)) * SECTOR);
	}
	if (r == 0)
		r = fileio_write(sf->fd, gd, gd_bytes, at * SECTOR);
	free(gd);
	return r;
}

static int write_descriptor(const struct sparse_file *sf, const char *name, uint32_t cid, const uint8_t uuid[16])
{
	char text[DESC_SECTORS * SECTOR] = "";
	uint64_t cylinders = sf->size / SECTOR / (16 * 63);
	int n;

	n = snprintf(
		text, sizeof(text),
		"# Disk DescriptorFile\nversion=1\nCID=%08x\nparentCID=ffffffff\ncreateType=\"monolithicSparse\"\n\n"
		"# Extent description\nRW %llu SPARSE \"%s\"\n\n"
		"# The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"4\"\nddb.geometry.cylinders = \"%llu\"\n"
		"ddb.geometry.heads = \"16\"\nddb.geometry.sectors = \"63\"\nddb.adapterType = \"ide\"\n"
		"ddb.uuid = \"%02x %02x %02x %02x %02x %02x %02x %02x-%02x %02x %02x %02x %02x %02x %02x %02x\"\n",
		cid, (unsigned long long)(sf->size / SECTOR), name,
		(unsigned long long)(cylinders > 16383 ? 16383 : cylinders), uuid[0], uuid[1], uuid[2], uuid[3],
		uuid[4], uuid[5], uuid[6], uuid[7], uuid[8], uuid[9], uuid[10], uuid[11], uuid[12], uuid[13], uuid[14],
		uuid[15]);
	if (n < 0 || (size_t)n >= sizeof(text))
		return -EOVERFLOW;
	return fileio_write(sf->fd, text, sizeof(text), SECTOR);
}

static int finish_vmdk(const struct sparse_file *sf, const char *name)
{
	uint8_t header[SECTOR] = {0}, random[20];
	int r;

	r = random_bytes(random, sizeof(random));
	if (r == 0)
		r = write_descriptor(sf, name, le32_at(random) & 0x7fffffff, random + 4);
	if (r == 0)
		r = write_grain_tables(sf, sf->rgd);
	if (r == 0)
		r = write_grain_tables(sf, sf->gd);
	if (r == 0 && ftruncate(sf->fd, (off_t)sf->end) < 0)
		r = -errno;
	if (r)
		return r;
	memcpy(header, "KDMV", 4);
	le32_put(header + 4, 1);
	le32_put(header + 8, 3); /* newline test, redundant directory */
	le64_put(header + 12, sf->size / SECTOR);
	le64_put(header + 20, GRAIN / SECTOR);
	le64_put(header + 28, 1);
	le64_put(header + 36, DESC_SECTORS);
	le32_put(header + 44, GT_ENTRIES);
	le64_put(header + 48, sf->rgd);
	le64_put(header + 56, sf->gd);
	le64_put(header + 64, sf->metadata / SECTOR);
	memcpy(header + 73, "\n \r\n", 4);
	return fileio_write(sf->fd, header, sizeof(header), 0);
}

static const struct sparse_layout vhd_layout = {
	.unit = VHD_UNIT,
	.stride = VHD_STRIDE,
	.bitmap = SECTOR,
	.tail = SECTOR,
	.size_max = VHD_SIZE_MAX,
	.begin = begin_vhd,
	.finish = finish_vhd,
};

static const struct sparse_layout vmdk_layout = {
	.unit = GRAIN,
	.stride = GRAIN,
	.size_max = VMDK_SIZE_MAX,
	.begin = begin_vmdk,
	.finish = finish_vmdk,
};

int sparse_finish(struct sparse_file *sf, const char *name)
{
	return sf->layout->finish(sf, name);
}

int sparse_compare(const struct sparse_file *sf, const struct image *img)
{
	if (image_info(img)->virtual_size != sf->size)
		return -EIO;
	for (uint64_t u = 0; u < sf->units; u++) {
		uint64_t at = u * sf->unit, end = at + sf->unit < sf->size ? at + sf->unit : sf->size;
		uint64_t data = (uint64_t)sf->table[u] * SECTOR + sf->layout->bitmap;

		for (uint64_t o = at; o < end;) {
			struct image_extent e;
			int r = image_map(img, o, end - o, &e);

			if (r < 0)
				return r;
			if (sf->table[u] ? e.type != IMAGE_EXTENT_DATA || e.offset != data + (o - at)
					 : e.type != IMAGE_EXTENT_ZERO)
				return -EIO;
			o += e.length;
		}
	}
	return 0;
}
