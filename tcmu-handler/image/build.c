// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a parser fills an image with: segments, tables of units, the size, and findings that are kept for image_check().
 * All memory that an image's author can ask for goes through image_table_alloc(), which counts it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "tcmu-handler/image/internal.h"

void image_note(struct image *img, const char *fix, const char *format, ...)
{
	struct image_note *note;
	va_list args;

	if (img->n_notes == IMAGE_NOTES_MAX)
		return;
	note = &img->notes[img->n_notes++];
	note->fix = fix;
	va_start(args, format);
	sentence_format(note->finding, sizeof(note->finding), format, args);
	va_end(args);
}

/* FNV-1a: against mistakes, not against malice. */
void image_stamp(struct image *img, const void *data, size_t length)
{
	const uint8_t *p = data;
	uint64_t h = img->info.fingerprint;

	for (size_t i = 0; i < length; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	img->info.fingerprint = h;
}

void *image_table_alloc(struct image *img, uint64_t n, size_t size, struct sentence *err)
{
	void *p;

	if (n > (IMAGE_TABLE_MAX - img->table_bytes) / size) {
		sentence_fail(err, -EFBIG, "%s: its tables would need more than %llu MiB of memory; convert it to raw",
			      img->name, (unsigned long long)(IMAGE_TABLE_MAX >> 20));
		return NULL;
	}
	p = calloc(n ? n : 1, size);
	if (!p) {
		sentence_fail(err, -ENOMEM, "%s: no memory for tables of %llu bytes", img->name,
			      (unsigned long long)(n * size));
		return NULL;
	}
	img->table_bytes += n * size;
	return p;
}

struct image_segment *image_add_segment(struct image *img, enum segment_kind kind, uint64_t length,
					struct sentence *err)
{
	unsigned int n = img->n_segments;
	uint64_t start = n ? img->segments[n - 1].start + img->segments[n - 1].length : 0;
	struct image_segment *seg;

	if (length == 0 || length > IMAGE_SIZE_MAX - start) {
		sentence_fail(err, -EFBIG,
			      length ? "%s: its extents add up to more than 64 TiB" : "%s: it has an empty extent",
			      img->name);
		return NULL;
	}
	if (!(n & (n - 1))) {
		seg = realloc(img->segments, (n ? 2 * n : 1) * sizeof(*seg));
		if (!seg) {
			sentence_fail(err, -ENOMEM, "%s: out of memory", img->name);
			return NULL;
		}
		img->segments = seg;
	}
	seg = &img->segments[img->n_segments++];
	*seg = (struct image_segment){.kind = kind, .start = start, .length = length};
	return seg;
}

int image_set_size(struct image *img, uint64_t size, uint64_t size_override, struct sentence *err)
{
	const struct image_segment *last = &img->segments[img->n_segments - 1];
	uint64_t most = last->start + last->length;

	if (size_override) {
		if (size_override % SECTOR || size_override > most)
			return sentence_fail(err, -EINVAL,
					     "%s: the size given for it, %llu, is not a multiple of "
					     "512 of at most %llu",
					     img->name, (unsigned long long)size_override, (unsigned long long)most);
		size = size_override;
	}
	img->info.virtual_size = size;
	return 0;
}

int unit_map_init(struct image *img, struct image_segment *seg, uint32_t unit_bytes, unsigned int table_shift,
		  struct sentence *err)
{
	struct unit_map *map = &seg->units;

	map->unit_shift = (unsigned int)__builtin_ctz(unit_bytes);
	map->table_shift = table_shift;
	map->units = ((seg->length - 1) >> map->unit_shift) + 1;
	map->n_tables = ((map->units - 1) >> table_shift) + 1;
	map->tables = image_table_alloc(img, map->n_tables, sizeof(*map->tables), err);
	if (!map->tables) {
		map->n_tables = 0;
		return -ENOMEM;
	}
	return 0;
}

void unit_map_done(struct unit_map *map)
{
	for (size_t i = 0; i < map->n_tables; i++) {
		struct unit_table *t = &map->tables[i];

		if (t->bitmap)
			for (size_t j = 0; j < (size_t)1 << map->table_shift; j++)
				free(t->bitmap[j]);
		free(t->bitmap);
		free(t->entry);
		free(t->size);
	}
	free(map->tables);
}
