// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * VHD: fixed, dynamic, differencing.
 *
 * A footer of 512 bytes ends the file and says what it is; dynamic and differencing disks begin
 * with a copy of it. The copy is there for the day when the end of the file is lost, so either will
 * do: the tail is taken when it is good, the front when only that is, and the image counts as
 * damaged then. Two good ones that contradict each other are refused: nobody can tell which is
 * right. A fixed disk's first sector is the guest's, whatever it looks like.
 *
 * Behind the front: the dynamic header, the BAT (for each block the sector where its bitmap and
 * data lie), the blocks. A block's bitmap matters in a differencing disk only: a 0 bit means that
 * the sector is the parent's. In a dynamic disk all writers that we know set all bits; QEMU ignores
 * them, and so do we: opening an image then reads its tables and nothing else (image_check()
 * compares).
 *
 * The size is the footer's current size; only Virtual PC ("vpc ") and old QEMU ("qemu") mean their
 * geometry, unless it is the largest there is. VirtualBox ("vbox") writes a geometry too, and means
 * the size (docs/images.md).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tcmu-handler/image/bytes.h"
#include "tcmu-handler/image/internal.h"
#include "tcmu-handler/image/ranges.h"
#include "tcmu-handler/image/utf.h"
#include "tcmu-handler/image/vhd.h"

#define VHD_ENTRIES_MAX (1u << 24)
#define VHD_TABLE_SHIFT 12
#define VHD_TABLE       (1u << VHD_TABLE_SHIFT)
#define VHD_LOCATOR_MAX 65536u

struct vhd {
	struct image *img;
	uint8_t footer[VHD_FOOTER_SIZE];
	uint8_t header[VHD_HEADER_SIZE];
	uint32_t type, entries, block_size;
	uint64_t size;
	uint64_t header_at, bat_at;
	uint64_t data_end; /* bytes: the tail footer begins here, or the file ends */
	uint32_t *used;    /* first sectors of all blocks, to be sorted */
	uint32_t n_used;
	struct ranges metadata;
};

uint32_t vhd_checksum(const uint8_t *p, size_t length, size_t field)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < length; i++)
		if (i < field || i >= field + 4)
			sum += p[i];
	return ~sum;
}

void vhd_geometry(uint64_t sectors, uint16_t *ret_cylinders, uint8_t *ret_heads, uint8_t *ret_sectors)
{
	uint32_t total = sectors > VHD_CHS_SECTORS_MAX ? VHD_CHS_SECTORS_MAX : (uint32_t)sectors;
	uint32_t heads, spt, cth;

	if (total >= 65535u * 16 * 63) {
		spt = 255;
		heads = 16;
		cth = total / spt;
	} else {
		spt = 17;
		cth = total / spt;
		heads = (cth + 1023) / 1024;
		if (heads < 4)
			heads = 4;
		if (cth >= heads * 1024 || heads > 16) {
			spt = 31;
			heads = 16;
			cth = total / spt;
		}
		if (cth >= heads * 1024) {
			spt = 63;
			heads = 16;
			cth = total / spt;
		}
	}
	*ret_cylinders = (uint16_t)(cth / heads);
	*ret_heads = (uint8_t)heads;
	*ret_sectors = (uint8_t)spt;
}

uint32_t vhd_bitmap_bytes(uint32_t block_size)
{
	return (uint32_t)round_up(div_up(block_size, 4096), SECTOR);
}

/* --- footers --- */

static bool has_cookie(const uint8_t *footer)
{
	return memcmp(footer + VHD_F_COOKIE, "conectix", 8) == 0;
}

static bool is_footer(const uint8_t *footer)
{
	return has_cookie(footer) &&
	       be32_at(footer + VHD_F_CHECKSUM) == vhd_checksum(footer, VHD_FOOTER_SIZE, VHD_F_CHECKSUM);
}

/* Virtual PC before 2004 wrote 511 bytes; the last one of a footer is zero anyway. */
static int read_tail(struct vhd *vhd, uint8_t *tail, struct sentence *err)
{
	uint64_t size = vhd->img->files[0].size, length = size % SECTOR == SECTOR - 1 ? SECTOR - 1 : SECTOR;

	memset(tail, 0, VHD_FOOTER_SIZE);
	vhd->data_end = size - length;
	return image_read(vhd->img, 0, size - length, tail, length, "footer", err);
}

/* Do two good copies mean the same disk? Time, creator and saved state may differ. */
static bool same_disk(const uint8_t *a, const uint8_t *b)
{
	return memcmp(a + VHD_F_VERSION, b + VHD_F_VERSION, VHD_F_TIME - VHD_F_VERSION) == 0 &&
	       memcmp(a + VHD_F_CURRENT_SIZE, b + VHD_F_CURRENT_SIZE, VHD_F_CHECKSUM - VHD_F_CURRENT_SIZE) == 0 &&
	       memcmp(a + VHD_F_APP, b + VHD_F_APP, 4) == 0 && memcmp(a + VHD_F_UUID, b + VHD_F_UUID, 16) == 0;
}

static void set_damage(struct image *img, const char *fix, const char *what)
{
	img->info.damaged = true;
	snprintf(img->info.damage, sizeof(img->info.damage), "%s", what);
	image_note(img, fix, "%s: %s", img->name, what);
}

static int no_footer(const struct vhd *vhd, const uint8_t *front, const uint8_t *tail, struct sentence *err)
{
	if (has_cookie(tail))
		return sentence_fail(err, -EBADMSG,
				     "%s: the checksum of the footer is wrong: the end of the file is damaged",
				     vhd->img->name);
	if (is_footer(front))
		return sentence_fail(err, -EBADMSG,
				     "%s: the footer at the end is missing: the file is cut off; copy it again",
				     vhd->img->name);
	if (has_cookie(front))
		return sentence_fail(err, -EBADMSG, "%s: both copies of the footer are damaged", vhd->img->name);
	return sentence_fail(err, -EBADMSG, "%s: has no VHD footer: its end is missing, or it is not a VHD",
			     vhd->img->name);
}

static int read_footers(struct vhd *vhd, struct sentence *err)
{
	struct image *img = vhd->img;
	uint8_t front[VHD_FOOTER_SIZE], tail[VHD_FOOTER_SIZE];
	bool front_ok, tail_ok;
	int r;

	if (img->files[0].size < VHD_FOOTER_SIZE)
		return sentence_fail(err, -EBADMSG, "%s: is too small for a VHD", img->name);
	r = image_read(img, 0, 0, front, sizeof(front), "copy of the footer", err);
	if (r == 0)
		r = read_tail(vhd, tail, err);
	if (r < 0)
		return r;
	front_ok = is_footer(front) && be32_at(front + VHD_F_TYPE) != VHD_FIXED;
	tail_ok = is_footer(tail);
	if (!front_ok && !tail_ok)
		return no_footer(vhd, front, tail, err);
	memcpy(vhd->footer, tail_ok ? tail : front, VHD_FOOTER_SIZE);
	if (tail_ok && be32_at(tail + VHD_F_TYPE) == VHD_FIXED)
		return 0;
	if (!tail_ok) {
		vhd->data_end = img->files[0].size;
		set_damage(img, "convert it into a new file",
			   "the footer at the end of the file is missing or damaged; its copy at "
			   "the front is used");
	} else if (!front_ok) {
		set_damage(img, "convert it into a new file", "the copy of the footer at the front is damaged");
	} else if (memcmp(front, tail, VHD_FOOTER_SIZE - 1) != 0) {
		if (!same_disk(front, tail))
			return sentence_fail(err, -EBADMSG,
					     "%s: its two footers are good but describe different "
					     "disks, and nobody can tell which is right",
					     img->name);
		set_damage(img, "convert it into a new file", "its two footers differ");
	}
	return 0;
}

static void format_uuid(char *to, size_t size, const uint8_t *p)
{
	snprintf(to, size, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", p[0], p[1], p[2],
		 p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12], p[13], p[14], p[15]);
}

static void format_creator(char *to, size_t size, const uint8_t *footer)
{
	char app[5] = "";
	uint32_t version = be32_at(footer + VHD_F_APP_VERSION);
	size_t n = 0;

	for (size_t i = 0; i < 4; i++)
		if (footer[VHD_F_APP + i] > ' ' && footer[VHD_F_APP + i] < 0x7f)
			app[n++] = (char)footer[VHD_F_APP + i];
	snprintf(to, size, "%s %u.%u", app, version >> 16, version & 0xffff);
}

static uint64_t disk_size(const uint8_t *footer)
{
	uint64_t chs = (uint64_t)be16_at(footer + VHD_F_CYLINDERS) * footer[VHD_F_HEADS] * footer[VHD_F_SECTORS];
	bool by_chs = memcmp(footer + VHD_F_APP, "vpc ", 4) == 0 || memcmp(footer + VHD_F_APP, "qemu", 4) == 0;

	if (by_chs && chs && chs != VHD_CHS_SECTORS_MAX)
		return chs * SECTOR;
	return be64_at(footer + VHD_F_CURRENT_SIZE);
}

static int check_footer(struct vhd *vhd, struct sentence *err)
{
	struct image *img = vhd->img;
	const uint8_t *f = vhd->footer;
	uint32_t version = be32_at(f + VHD_F_VERSION);

	vhd->type = be32_at(f + VHD_F_TYPE);
	vhd->size = disk_size(f);
	if (version != VHD_VERSION)
		return sentence_fail(err, -ENOTSUP, "%s: is a VHD of version %u.%u, and only 1.0 is known", img->name,
				     version >> 16, version & 0xffff);
	if (vhd->type < VHD_FIXED || vhd->type > VHD_DIFFERENCING)
		return sentence_fail(err, -ENOTSUP,
				     "%s: is a VHD of type %u; fixed (2), dynamic (3) and "
				     "differencing (4) are known",
				     img->name, vhd->type);
	if (vhd->size == 0 || vhd->size % SECTOR)
		return sentence_fail(err, -EBADMSG,
				     "%s: the disk size in its footer, %llu bytes, is not a multiple of 512", img->name,
				     (unsigned long long)vhd->size);
	if (vhd->size > VHD_SIZE_MAX)
		return sentence_fail(err, -EFBIG,
				     "%s: the disk size in its footer, %llu bytes, is over the 2040 "
				     "GiB of a VHD",
				     img->name, (unsigned long long)vhd->size);
	image_stamp(img, f, VHD_FOOTER_SIZE);
	img->info.cylinders = be16_at(f + VHD_F_CYLINDERS);
	img->info.heads = f[VHD_F_HEADS];
	img->info.sectors = f[VHD_F_SECTORS];
	format_uuid(img->info.id, sizeof(img->info.id), f + VHD_F_UUID);
	format_creator(img->info.creator, sizeof(img->info.creator), f);
	if (f[VHD_F_SAVED_STATE])
		image_note(img, "start the virtual machine, shut it down, and copy the disk again",
			   "%s: was saved while its virtual machine was suspended, so the file "
			   "systems in it are not clean",
			   img->name);
	return 0;
}

/* --- the dynamic header --- */

static int check_place(struct vhd *vhd, const char *what, uint64_t at, uint64_t length, struct sentence *err)
{
	if (at % SECTOR)
		return sentence_fail(err, -EBADMSG, "%s: the %s is at byte %llu, which is not the begin of a sector",
				     vhd->img->name, what, (unsigned long long)at);
	if (at > vhd->data_end || length > vhd->data_end - at)
		return sentence_fail(err, -EBADMSG,
				     "%s: the %s at byte %llu would lie past the end of the file; is "
				     "it truncated?",
				     vhd->img->name, what, (unsigned long long)at);
	if (ranges_add(&vhd->metadata, at, length, what) < 0)
		return sentence_fail(err, -ENOMEM, "%s: out of memory", vhd->img->name);
	return 0;
}

static int read_header(struct vhd *vhd, struct sentence *err)
{
	const uint8_t *h = vhd->header;
	int r;

	vhd->header_at = be64_at(vhd->footer + VHD_F_DATA_OFFSET);
	r = check_place(vhd, "dynamic header", vhd->header_at, VHD_HEADER_SIZE, err);
	if (r == 0)
		r = image_read(vhd->img, 0, vhd->header_at, vhd->header, VHD_HEADER_SIZE, "dynamic header", err);
	if (r < 0)
		return r;
	if (memcmp(h + VHD_H_COOKIE, "cxsparse", 8) != 0)
		return sentence_fail(err, -EBADMSG, "%s: there is no dynamic header at byte %llu", vhd->img->name,
				     (unsigned long long)vhd->header_at);
	if (be32_at(h + VHD_H_CHECKSUM) != vhd_checksum(h, VHD_HEADER_SIZE, VHD_H_CHECKSUM))
		return sentence_fail(err, -EBADMSG,
				     "%s: the checksum of the dynamic header is wrong, and there is "
				     "no copy of it",
				     vhd->img->name);
	if (be32_at(h + VHD_H_VERSION) != VHD_VERSION)
		return sentence_fail(err, -ENOTSUP, "%s: its dynamic header has the unknown version 0x%08x",
				     vhd->img->name, be32_at(h + VHD_H_VERSION));
	image_stamp(vhd->img, h, VHD_HEADER_SIZE);
	vhd->bat_at = be64_at(h + VHD_H_BAT_OFFSET);
	vhd->entries = be32_at(h + VHD_H_ENTRIES);
	vhd->block_size = be32_at(h + VHD_H_BLOCK_SIZE);
	return 0;
}

static int check_header(struct vhd *vhd, struct sentence *err)
{
	const char *name = vhd->img->name;
	struct range a, b;
	int r;

	if (!is_power_of_two(vhd->block_size) || vhd->block_size < VHD_BLOCK_MIN || vhd->block_size > VHD_BLOCK_MAX)
		return sentence_fail(err, -EBADMSG,
				     "%s: its block size, %u bytes, is not a power of two from 512 "
				     "bytes to 256 MiB",
				     name, vhd->block_size);
	if ((uint64_t)vhd->entries * vhd->block_size < vhd->size)
		return sentence_fail(err, -EBADMSG,
				     "%s: its %u blocks of %u bytes are too few for a disk of %llu bytes", name,
				     vhd->entries, vhd->block_size, (unsigned long long)vhd->size);
	if (vhd->entries > VHD_ENTRIES_MAX)
		return sentence_fail(err, -EFBIG,
				     "%s: has a table of %u blocks, and at most %u are read; convert it to raw", name,
				     vhd->entries, VHD_ENTRIES_MAX);
	r = check_place(vhd, "block table", vhd->bat_at, round_up((uint64_t)vhd->entries * 4, SECTOR), err);
	if (r < 0)
		return r;
	if (ranges_sort(&vhd->metadata, &a, &b))
		return sentence_fail(err, -EBADMSG, "%s: the %s at byte %llu overlaps the %s at byte %llu", name,
				     a.what, (unsigned long long)a.start, b.what, (unsigned long long)b.start);
	return 0;
}

/* --- the parent --- */

/* A locator's text: its length is right; its space is counted in bytes by some and in sectors by
 * others. */
static void read_locator(struct vhd *vhd, const uint8_t *l)
{
	uint32_t code = be32_at(l), length = be32_at(l + 8);
	uint64_t at = be64_at(l + 16);
	uint8_t text[1024];
	struct image *img = vhd->img;

	if (!code)
		return;
	if (length > VHD_LOCATOR_MAX || at > vhd->data_end || length > vhd->data_end - at) {
		image_note(img, NULL,
			   "%s: a stored path of the parent lies outside the file (it is not used "
			   "anyway)",
			   img->name);
		return;
	}
	/* kept out of where blocks may lie; if that fails, only a check is weaker */
	(void)ranges_add(&vhd->metadata, at, length, "path of the parent");
	if ((code != 0x57327275 && code != 0x57326b75) || img->info.parent_hint[0]) /* W2ru, W2ku */
		return;
	if (length > sizeof(text))
		length = sizeof(text);
	if (image_read(img, 0, at, text, length, "path of the parent", NULL) == 0)
		utf8_from_utf16(img->info.parent_hint, sizeof(img->info.parent_hint), text, length, false);
}

static int read_parent(struct vhd *vhd, struct sentence *err)
{
	static const uint8_t none[16];
	const uint8_t *h = vhd->header;
	struct image *img = vhd->img;

	if (memcmp(h + VHD_H_PARENT_UUID, none, 16) == 0)
		return sentence_fail(err, -EBADMSG, "%s: is a differencing disk, but does not say of which parent",
				     img->name);
	format_uuid(img->info.parent_id, sizeof(img->info.parent_id), h + VHD_H_PARENT_UUID);
	img->has_parent = true;
	for (size_t i = 0; i < VHD_LOCATORS; i++)
		read_locator(vhd, h + VHD_H_LOCATORS + 24 * i);
	if (!img->info.parent_hint[0])
		utf8_from_utf16(img->info.parent_hint, sizeof(img->info.parent_hint), h + VHD_H_PARENT_NAME, 512, true);
	return 0;
}

/* --- blocks --- */

/* A differencing block's bitmap: kept only if it says something. Bits of sectors that are here are
 * counted. */
static int read_bitmap(struct vhd *vhd, struct unit_table *t, uint32_t slot, struct sentence *err)
{
	uint32_t sectors = vhd->block_size / SECTOR, bytes = (uint32_t)div_up(sectors, 8), ones = 0;
	uint8_t *bitmap = image_table_alloc(vhd->img, bytes, 1, err);
	int r;

	if (!bitmap)
		return -ENOMEM;
	r = image_read(vhd->img, 0, (uint64_t)t->entry[slot] * SECTOR, bitmap, bytes, "sector bitmap", err);
	if (r < 0) {
		free(bitmap);
		return r;
	}
	if (sectors < 8)
		bitmap[0] &= (uint8_t)(0xff00 >> sectors);
	for (uint32_t i = 0; i < bytes; i++)
		ones += (uint32_t)__builtin_popcount(bitmap[i]);
	vhd->img->info.allocated_size += (uint64_t)ones * SECTOR;
	if (ones == 0)
		t->entry[slot] = UNIT_ABSENT;
	if (ones == 0 || ones == sectors) {
		vhd->img->table_bytes -= bytes;
		free(bitmap);
		return 0;
	}
	t->bitmap[slot] = bitmap;
	return 0;
}

static int check_entry(struct vhd *vhd, uint64_t block, uint32_t sector, struct sentence *err)
{
	uint64_t at = (uint64_t)sector * SECTOR, length = vhd_bitmap_bytes(vhd->block_size) + (uint64_t)vhd->block_size;
	const struct range *hit;

	if (at > vhd->data_end || length > vhd->data_end - at)
		return sentence_fail(err, -EBADMSG,
				     "%s: block %llu at sector %u would lie past the end of the file; "
				     "is it truncated?",
				     vhd->img->name, (unsigned long long)block, sector);
	hit = ranges_find(&vhd->metadata, at, length);
	if (hit)
		return sentence_fail(err, -EBADMSG, "%s: block %llu at sector %u overlaps the %s", vhd->img->name,
				     (unsigned long long)block, sector, hit->what);
	vhd->used[vhd->n_used++] = sector;
	return 0;
}

static int alloc_table(struct vhd *vhd, struct unit_table *t, struct sentence *err)
{
	t->entry = image_table_alloc(vhd->img, VHD_TABLE, sizeof(*t->entry), err);
	if (t->entry && vhd->type == VHD_DIFFERENCING)
		t->bitmap = image_table_alloc(vhd->img, VHD_TABLE, sizeof(*t->bitmap), err);
	return t->entry && (t->bitmap || vhd->type != VHD_DIFFERENCING) ? 0 : -ENOMEM;
}

static int take_entries(struct vhd *vhd, struct unit_map *map, uint64_t first, const uint8_t *bat, uint32_t n,
			struct sentence *err)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t sector = be32_at(bat + 4 * i);
		struct unit_table *t;
		int r;

		/* Behind the end of the disk nobody reads, and writers leave anything there. */
		if (first + i >= map->units)
			break;
		if (sector == VHD_BAT_ABSENT)
			continue;
		r = check_entry(vhd, first + i, sector, err);
		if (r < 0)
			return r;
		t = &map->tables[first >> VHD_TABLE_SHIFT];
		if (!t->entry) {
			r = alloc_table(vhd, t, err);
			if (r < 0)
				return r;
		}
		t->entry[i] = sector;
		if (vhd->type == VHD_DIFFERENCING)
			r = read_bitmap(vhd, t, i, err);
		else
			vhd->img->info.allocated_size += vhd->block_size;
		if (r < 0)
			return r;
	}
	return 0;
}

static int by_sector(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int check_shared(struct vhd *vhd, struct sentence *err)
{
	uint32_t sectors = (vhd_bitmap_bytes(vhd->block_size) + vhd->block_size) / SECTOR;

	if (vhd->n_used > 1)
		qsort(vhd->used, vhd->n_used, sizeof(*vhd->used), by_sector);
	for (uint32_t i = 1; i < vhd->n_used; i++)
		if (vhd->used[i] - vhd->used[i - 1] < sectors)
			return sentence_fail(err, -EBADMSG, "%s: two blocks share the place at sector %u of the file",
					     vhd->img->name, vhd->used[i]);
	return 0;
}

static int read_bat(struct vhd *vhd, struct image_segment *seg, struct sentence *err)
{
	uint8_t *buffer = malloc(4 * VHD_TABLE);
	int r = 0;

	vhd->used = malloc((size_t)(vhd->entries ? vhd->entries : 1) * sizeof(*vhd->used));
	if (!buffer || !vhd->used)
		r = sentence_fail(err, -ENOMEM, "%s: out of memory", vhd->img->name);
	for (uint64_t first = 0; r == 0 && first < vhd->entries; first += VHD_TABLE) {
		uint32_t n = vhd->entries - first < VHD_TABLE ? (uint32_t)(vhd->entries - first) : VHD_TABLE;

		r = image_read(vhd->img, 0, vhd->bat_at + 4 * first, buffer, 4 * n, "block table", err);
		if (r == 0)
			r = take_entries(vhd, &seg->units, first, buffer, n, err);
	}
	free(buffer);
	return r < 0 ? r : check_shared(vhd, err);
}

static int open_dynamic(struct vhd *vhd, struct sentence *err)
{
	struct image *img = vhd->img;
	struct image_segment *seg;
	struct range a, b;
	int r;

	if (ranges_add(&vhd->metadata, 0, VHD_FOOTER_SIZE, "copy of the footer") < 0)
		return sentence_fail(err, -ENOMEM, "%s: out of memory", img->name);
	r = read_header(vhd, err);
	if (r == 0)
		r = check_header(vhd, err);
	if (r == 0 && vhd->type == VHD_DIFFERENCING)
		r = read_parent(vhd, err);
	if (r < 0)
		return r;
	ranges_sort(&vhd->metadata, &a, &b);
	ranges_join(&vhd->metadata);
	seg = image_add_segment(img, SEGMENT_UNITS, vhd->size, err);
	if (!seg)
		return -EFBIG;
	r = unit_map_init(img, seg, vhd->block_size, VHD_TABLE_SHIFT, err);
	if (r < 0)
		return r;
	seg->units.skip = vhd_bitmap_bytes(vhd->block_size);
	seg->units.bitmaps = vhd->type == VHD_DIFFERENCING;
	seg->units.idle_bitmaps = !seg->units.bitmaps;
	img->info.block_size = vhd->block_size;
	img->info.subformat = vhd->type == VHD_DIFFERENCING ? "differencing" : "dynamic";
	return read_bat(vhd, seg, err);
}

static int open_fixed(struct vhd *vhd, struct sentence *err)
{
	struct image *img = vhd->img;

	if (vhd->size > vhd->data_end)
		return sentence_fail(err, -EBADMSG,
				     "%s: its footer says %llu bytes of disk, but the file has only "
				     "%llu; is it truncated?",
				     img->name, (unsigned long long)vhd->size, (unsigned long long)vhd->data_end);
	if (!image_add_segment(img, SEGMENT_FLAT, vhd->data_end / SECTOR * SECTOR, err))
		return -EFBIG;
	img->info.subformat = "fixed";
	img->info.allocated_size = vhd->size;
	return 0;
}

static int vhd_open(struct image *img, const struct image_source *src, struct sentence *err)
{
	struct vhd vhd = {.img = img};
	int r;

	r = read_footers(&vhd, err);
	if (r == 0)
		r = check_footer(&vhd, err);
	/* an override may also be larger than what the footer says, up to what the file has room
	 * for */
	if (r == 0 && src->size_override > vhd.size && src->size_override <= VHD_SIZE_MAX &&
	    src->size_override % SECTOR == 0)
		vhd.size = src->size_override;
	if (r == 0)
		r = vhd.type == VHD_FIXED ? open_fixed(&vhd, err) : open_dynamic(&vhd, err);
	if (r == 0)
		r = image_set_size(img, vhd.size, src->size_override, err);
	ranges_done(&vhd.metadata);
	free(vhd.used);
	return r;
}

/* A fixed VHD is a raw disk with a footer; the name decides whether the footer is meant. */
static int vhd_probe(const struct image_head *h, struct sentence *err)
{
	if (has_cookie(h->bytes))
		return 1;
	if (!has_cookie(h->tail) && memcmp(h->tail + 1, "conectix", 8) != 0)
		return 0;
	if (h->named && h->named_as == IMAGE_RAW)
		return sentence_fail(err, -EMEDIUMTYPE,
				     "%s: is named like a raw disk and ends like a fixed VHD; say which it is with "
				     "--format",
				     h->name);
	return 1;
}

const struct image_type vhd_type = {
	.name = "vhd",
	.id_word = "UUID",
	.endings = {".vhd", ".vpc", ".avhd"},
	.size_max = VHD_SIZE_MAX,
	.unmarked = "has no VHD footer at its end, so it was probably cut short or not copied whole; copy it again, "
		    "and only "
		    "if it is a raw disk after all, say --format raw",
	.unmarked_code = -EBADMSG,
	.probe = vhd_probe,
	.open = vhd_open,
};
