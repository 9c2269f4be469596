// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The deep check. What makes an image unreadable was refused by image_open() already; here is what
 * a person should know of an image that can be read: what open() noticed, units that share a place,
 * copies of tables that say something else, bitmaps that other programs would heed, bytes that
 * belong to nothing.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tcmu-handler/image/bytes.h"
#include "tcmu-handler/image/internal.h"
#include "tcmu-handler/image/vmdk.h"

#define CONVERT "convert it into a new file with: bootwell image convert"

struct check {
	const struct image *img;
	image_report_fn report;
	void *arg;
	int findings;
};

static void __attribute__((format(printf, 3, 4))) finding(struct check *c, const char *fix, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	sentence_format(text, sizeof(text), format, args);
	va_end(args);
	c->report(c->arg, text, fix);
	c->findings++;
}

static uint64_t table_units(const struct unit_map *map)
{
	return (uint64_t)1 << map->table_shift;
}

static bool is_data(uint32_t entry)
{
	return entry != UNIT_ABSENT && entry != UNIT_ZERO;
}

/* --- two units, one place --- */

static int by_sector(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t count_data(const struct unit_map *map)
{
	uint64_t n = 0;

	for (size_t t = 0; t < map->n_tables; t++)
		for (uint64_t i = 0; map->tables[t].entry && i < table_units(map); i++)
			n += is_data(map->tables[t].entry[i]);
	return n;
}

static int check_shared(struct check *c, const struct image_segment *seg)
{
	const struct unit_map *map = &seg->units;
	uint64_t n = count_data(map), at = 0, shared = 0;
	uint32_t gap = map->compressed ? 1 : (uint32_t)(((uint64_t)1 << map->unit_shift) / SECTOR);
	uint32_t *list = malloc((n ? n : 1) * sizeof(*list));

	if (!list)
		return -ENOMEM;
	for (size_t t = 0; t < map->n_tables; t++)
		for (uint64_t i = 0; map->tables[t].entry && i < table_units(map); i++)
			if (is_data(map->tables[t].entry[i]))
				list[at++] = map->tables[t].entry[i];
	if (n > 1)
		qsort(list, n, sizeof(*list), by_sector);
	for (uint64_t i = 1; i < n; i++)
		shared += list[i] - list[i - 1] < gap;
	if (shared)
		finding(c, "restore it from a copy: a write to one of them would change the other",
			"%s: %llu of its %llu units share their place in the file with another one",
			c->img->files[seg->file].name, (unsigned long long)shared, (unsigned long long)n);
	free(list);
	return 0;
}

/* --- the second copy of VMDK's tables --- */

static uint64_t compare_table(const struct image_segment *seg, size_t table, const uint8_t *gt)
{
	const struct unit_map *map = &seg->units;
	const uint32_t *entry = map->tables[table].entry;
	uint64_t first = (uint64_t)table << map->table_shift, different = 0;

	for (uint64_t i = 0; i < table_units(map) && first + i < map->units; i++) {
		uint32_t ours = entry ? entry[i] : UNIT_ABSENT, theirs = le32_at(gt + 4 * i);

		different += ours == UNIT_ZERO ? theirs != 1 : ours != theirs;
	}
	return different;
}

static int check_other(struct check *c, const struct image_segment *seg)
{
	static const uint8_t absent[4u << VMDK_TABLE_SHIFT];
	const struct image *img = c->img;
	uint8_t gt[4u << VMDK_TABLE_SHIFT], sector[4];
	uint64_t different = 0;

	for (size_t t = 0; t < seg->units.n_tables; t++) {
		if (image_read(img, seg->file, seg->other * SECTOR + 4 * t, sector, 4, "grain directory", NULL) < 0)
			return -EIO;
		if (!le32_at(sector)) {
			different += compare_table(seg, t, absent);
			continue;
		}
		if (image_read(img, seg->file, (uint64_t)le32_at(sector) * SECTOR, gt, sizeof(gt), "grain table",
			       NULL) < 0)
			return -EIO;
		different += compare_table(seg, t, gt);
	}
	if (different)
		finding(c, CONVERT,
			"%s: the two copies of its grain tables differ in %llu entries; the first "
			"one is used",
			img->files[seg->file].name, (unsigned long long)different);
	return 0;
}

/* --- bitmaps of dynamic VHDs --- */

static bool is_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Sectors of a block whose bit is clear although they hold something; -errno. */
static int64_t hidden_sectors(const struct image *img, const struct image_segment *seg, uint32_t entry, uint8_t *bitmap)
{
	uint32_t sectors = (uint32_t)(((uint64_t)1 << seg->units.unit_shift) / SECTOR);
	uint64_t at = (uint64_t)entry * SECTOR;
	uint8_t data[SECTOR];
	int64_t hidden = 0;

	if (image_read(img, seg->file, at, bitmap, div_up(sectors, 8), "sector bitmap", NULL) < 0)
		return -EIO;
	for (uint32_t i = 0; i < sectors; i++) {
		if (bitmap[i / 8] >> (7 - i % 8) & 1)
			continue;
		if (image_read(img, seg->file, at + seg->units.skip + (uint64_t)i * SECTOR, data, SECTOR, "block",
			       NULL) < 0)
			return -EIO;
		hidden += !is_zero(data, SECTOR);
	}
	return hidden;
}

static int check_bitmaps(struct check *c, const struct image_segment *seg)
{
	const struct unit_map *map = &seg->units;
	uint8_t *bitmap = malloc(map->skip);
	uint64_t blocks = 0;

	if (!bitmap)
		return -ENOMEM;
	for (size_t t = 0; t < map->n_tables; t++) {
		for (uint64_t i = 0; map->tables[t].entry && i < table_units(map); i++) {
			int64_t hidden = is_data(map->tables[t].entry[i])
						 ? hidden_sectors(c->img, seg, map->tables[t].entry[i], bitmap)
						 : 0;

			if (hidden < 0) {
				free(bitmap);
				return (int)hidden;
			}
			blocks += hidden > 0;
		}
	}
	free(bitmap);
	if (blocks)
		finding(c,
			"compare it with the original; what bootwell reads can be had with: "
			"bootwell image convert",
			"%s: in %llu blocks there are data which the block's bitmap calls unused: "
			"bootwell and QEMU read them, "
			"libvhdi and VirtualBox read zeros",
			c->img->name, (unsigned long long)blocks);
	return 0;
}

static int check_units(struct check *c, const struct image_segment *seg)
{
	int r = check_shared(c, seg);

	if (r == 0 && seg->other)
		r = check_other(c, seg);
	if (r == 0 && seg->units.idle_bitmaps)
		r = check_bitmaps(c, seg);
	return r;
}

int image_check(const struct image *img, image_report_fn report, void *arg)
{
	struct check c = {.img = img, .report = report, .arg = arg};
	int r = 0;

	for (unsigned int i = 0; i < img->n_notes; i++)
		finding(&c, img->notes[i].fix, "%s", img->notes[i].finding);
	for (unsigned int i = 0; r == 0 && i < img->n_segments; i++)
		if (img->segments[i].kind == SEGMENT_UNITS)
			r = check_units(&c, &img->segments[i]);
	return r < 0 ? r : c.findings;
}

/* --- what was refused --- */

const char *image_advice(int code)
{
	switch (-code) {
	case EBADMSG:
		return "copy it again from where it came and compare both with sha256sum; if it is "
		       "damaged there too, take an older copy, or let the program that made it "
		       "repair it";
	case ENOENT:
		return "put the missing file where it is looked for, or correct the name";
	case ESTALE:
		return "bring back the parent as it was when the child was made; without it the "
		       "child is lost";
	case ENODATA:
		return "put the parent into the folder of the child; its name does not matter "
		       "there, it is known by its UUID or CID";
	case ENOTUNIQ:
		return "give the one that the child was made from the name that the child remembers; if nobody knows "
		       "which "
		       "it was, what the child reads cannot be trusted";
	case EPERM:
	case EXDEV:
	case ELOOP:
		return "put all of its files into one folder, each under its own name, without "
		       "symbolic links";
	case EFBIG:
	case EMFILE:
	case EMLINK:
		return "make one file of it: qemu-img convert -O raw";
	case ENOTSUP:
		return "let the program that made it export it as a plain VMDK or VHD, or convert "
		       "it with: qemu-img convert -O raw";
	case EMEDIUMTYPE:
		return "name the file that describes the disk, say what it is with --format, or "
		       "convert it first";
	case EIO:
		return "look at the disk that it lies on: dmesg";
	case EACCES:
		return "run it as root, or look at the permissions of the file and its folders";
	case EISDIR:
		return "name the file itself, and not a folder or a device";
	case ENOMEM:
	case EAGAIN:
	case EBUSY:
		return "try again";
	default:
		return "let the program that made it check it, or take another copy";
	}
}

static const char *const outcome_words[IMAGE_OUTCOMES] = {
	[IMAGE_GOOD] = "good",
	[IMAGE_DAMAGED] = "damaged",
	[IMAGE_ABSENT] = "absent",
	[IMAGE_UNREADABLE] = "unreadable",
};

enum image_outcome image_outcome(int code)
{
	switch (-code) {
	case 0:
		return IMAGE_GOOD;
	case EBADMSG:
	case EUCLEAN:
	case ENOTSUP: /* of an image that was fine once: its header is another one */
	case EMEDIUMTYPE:
		return IMAGE_DAMAGED;
	case ENOENT:
	case ENOTDIR:
	case ENODATA: /* its parent */
	case ENOMEDIUM:
		return IMAGE_ABSENT;
	default:
		return IMAGE_UNREADABLE;
	}
}

const char *image_outcome_word(enum image_outcome outcome)
{
	return outcome_words[outcome];
}

int image_outcome_from_word(const char *word, enum image_outcome *ret)
{
	for (unsigned int i = 0; word && i < IMAGE_OUTCOMES; i++) {
		if (strcmp(word, outcome_words[i]) == 0) {
			*ret = (enum image_outcome)i;
			return 0;
		}
	}
	return -EINVAL;
}
