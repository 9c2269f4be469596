// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Opening and closing, chains of parents, names. After image_open() an image never changes, except
 * that image_set_parent() links it and gives the parent's files their numbers; that happens before
 * the chain is shared between threads. image_map() is in map.c.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "tcmu-handler/image/internal.h"

static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

int image_fail(struct image_error *err, int code, const char *format, ...)
{
	va_list args;

	if (err) {
		va_start(args, format);
		vsnprintf(err->text, sizeof(err->text), format, args);
		va_end(args);
		make_printable(err->text);
	}
	return code;
}

void image_note(struct image *img, const char *fix, const char *format, ...)
{
	struct image_note *note;
	va_list args;

	if (img->n_notes == IMAGE_NOTES_MAX)
		return;
	note = &img->notes[img->n_notes++];
	note->fix = fix;
	va_start(args, format);
	vsnprintf(note->finding, sizeof(note->finding), format, args);
	va_end(args);
	make_printable(note->finding);
}

void *image_table_alloc(struct image *img, uint64_t n, size_t size, struct image_error *err)
{
	void *p;

	if (n > (IMAGE_TABLE_MAX - img->table_bytes) / size) {
		image_fail(
			err, -EFBIG,
			"%s: its tables would need more than %llu MiB of memory; convert it to raw",
			img->name, (unsigned long long)(IMAGE_TABLE_MAX >> 20));
		return NULL;
	}
	p = calloc(n ? n : 1, size);
	if (!p) {
		image_fail(err, -ENOMEM, "%s: no memory for tables of %llu bytes", img->name,
			   (unsigned long long)(n * size));
		return NULL;
	}
	img->table_bytes += n * size;
	return p;
}

struct segment *image_add_segment(struct image *img, enum segment_kind kind, uint64_t length,
				  struct image_error *err)
{
	unsigned int n = img->n_segments;
	uint64_t start = n ? img->segments[n - 1].start + img->segments[n - 1].length : 0;
	struct segment *seg;

	if (length == 0 || length > IMAGE_SIZE_MAX - start) {
		image_fail(err, -EFBIG,
			   length ? "%s: its extents add up to more than 64 TiB"
				  : "%s: it has an empty extent",
			   img->name);
		return NULL;
	}
	if (!(n & (n - 1))) {
		seg = realloc(img->segments, (n ? 2 * n : 1) * sizeof(*seg));
		if (!seg) {
			image_fail(err, -ENOMEM, "%s: out of memory", img->name);
			return NULL;
		}
		img->segments = seg;
	}
	seg = &img->segments[img->n_segments++];
	*seg = (struct segment){.kind = kind, .start = start, .length = length};
	return seg;
}

int image_set_size(struct image *img, uint64_t size, uint64_t size_override,
		   struct image_error *err)
{
	const struct segment *last = &img->segments[img->n_segments - 1];
	uint64_t most = last->start + last->length;

	if (size_override) {
		if (size_override % SECTOR || size_override > most)
			return image_fail(err, -EINVAL,
					  "%s: the size given for it, %llu, is not a multiple of "
					  "512 of at most %llu",
					  img->name, (unsigned long long)size_override,
					  (unsigned long long)most);
		size = size_override;
	}
	img->info.virtual_size = size;
	return 0;
}

static int image_init(struct image *img, const struct image_source *src, struct image_error *err)
{
	const char *slash = strrchr(src->name, '/');

	img->dirfd = src->dirfd;
	img->info.format = src->format;
	img->name = strdup(src->name);
	img->folder = strndup(src->name, slash ? (size_t)(slash - src->name) + 1 : 0);
	return img->name && img->folder ? 0
					: image_fail(err, -ENOMEM, "%s: out of memory", src->name);
}

int image_open(struct image **ret, const struct image_source *src, struct image_error *err)
{
	struct image *img = calloc(1, sizeof(*img));
	int r;

	if (!img)
		return image_fail(err, -ENOMEM, "%s: out of memory", src->name);
	r = image_init(img, src, err);
	if (r == 0)
		r = image_add_file(img, src->name, err);
	if (r >= 0) {
		switch (src->format) {
		case IMAGE_RAW:
			r = raw_open(img, src, err);
			break;
		case IMAGE_VHD:
			r = vhd_open(img, src, err);
			break;
		case IMAGE_VMDK:
			r = vmdk_open(img, src, err);
			break;
		default:
			r = image_fail(err, -EINVAL, "%s: no such image format", src->name);
		}
	}
	if (r < 0) {
		image_close(img);
		return r;
	}
	img->dirfd = -1;
	*ret = img;
	return 0;
}

static void close_one(struct image *img)
{
	for (unsigned int i = 0; i < img->n_files; i++) {
		close(img->files[i].fd);
		free((char *)img->files[i].name);
	}
	for (unsigned int i = 0; i < img->n_segments; i++)
		unit_map_done(&img->segments[i].units);
	free(img->files);
	free(img->file_ids);
	free(img->segments);
	free(img->name);
	free(img->folder);
	free(img);
}

void image_close(struct image *img)
{
	if (img && img->child)
		img->child->parent = NULL;
	while (img) {
		struct image *parent = img->parent;

		close_one(img);
		img = parent;
	}
}

/* A file that is in both chains would make a cycle, or be read under two formats. */
static const char *common_file(const struct image *top, const struct image *parent)
{
	for (const struct image *a = top; a; a = a->parent)
		for (const struct image *b = parent; b; b = b->parent)
			for (unsigned int i = 0; i < a->n_files; i++)
				for (unsigned int j = 0; j < b->n_files; j++)
					if (a->file_ids[i].dev == b->file_ids[j].dev &&
					    a->file_ids[i].ino == b->file_ids[j].ino)
						return a->files[i].name;
	return NULL;
}

static unsigned int chain_length(const struct image *img)
{
	unsigned int n = 0;

	for (; img; img = img->parent)
		n++;
	return n;
}

static const char *id_word(const struct image *img)
{
	return img->info.format == IMAGE_VHD ? "UUID" : "CID";
}

static int check_parent(const struct image *child, const struct image *parent,
			const struct image *top, struct image_error *err)
{
	const char *file;

	if (!child->has_parent)
		return image_fail(err, -EINVAL, "%s: has no parent, so %s cannot be one",
				  child->name, parent->name);
	if (child->parent || parent->child)
		return image_fail(err, -EBUSY, "%s: %s", child->name,
				  child->parent ? "has its parent already"
						: "its parent belongs to another image already");
	if (parent->info.format != child->info.format)
		return image_fail(err, -EMEDIUMTYPE, "%s: is a %s, and its parent %s is a %s",
				  child->name, image_format_name(child->info.format), parent->name,
				  image_format_name(parent->info.format));
	if (strcmp(child->info.parent_id, parent->info.id) != 0)
		return image_fail(err, -ESTALE,
				  "%s: its parent has %s %s, but %s has %s; was the parent changed "
				  "or another one taken?",
				  child->name, id_word(child), child->info.parent_id, parent->name,
				  parent->info.id[0] ? parent->info.id : "none");
	if (parent->info.virtual_size < child->info.virtual_size)
		return image_fail(err, -EINVAL,
				  "%s: is larger (%llu bytes) than its parent %s (%llu bytes)",
				  child->name, (unsigned long long)child->info.virtual_size,
				  parent->name, (unsigned long long)parent->info.virtual_size);
	file = common_file(top, parent);
	if (file)
		return image_fail(err, -ELOOP, "%s: the chain of parents comes back to the file %s",
				  child->name, file);
	if (chain_length(top) + chain_length(parent) > IMAGE_CHAIN_MAX)
		return image_fail(
			err, -EMLINK,
			"%s: more than %d images in the chain of parents; merge some of them",
			top->name, IMAGE_CHAIN_MAX);
	return 0;
}

int image_set_parent(struct image *child, struct image *parent, struct image_error *err)
{
	struct image *top = child;
	unsigned int index = 0;
	int r;

	while (top->child)
		top = top->child;
	r = check_parent(child, parent, top, err);
	if (r < 0)
		return r;
	child->parent = parent;
	parent->child = child;
	for (struct image *img = top; img; img = img->parent)
		for (unsigned int i = 0; i < img->n_files; i++)
			img->files[i].index = index++;
	return 0;
}

const struct image_info *image_info(const struct image *img)
{
	return &img->info;
}

const struct image *image_parent(const struct image *img)
{
	return img->parent;
}

bool image_needs_parent(const struct image *img)
{
	return img->has_parent && !img->parent;
}

unsigned int image_file_count(const struct image *img)
{
	unsigned int n = 0;

	for (; img; img = img->parent)
		n += img->n_files;
	return n;
}

const struct image_file *image_file(const struct image *img, unsigned int index)
{
	for (; img; img = img->parent) {
		if (index < img->n_files)
			return &img->files[index];
		index -= img->n_files;
	}
	return NULL;
}

static const char *const format_names[] = {
	[IMAGE_RAW] = "raw",
	[IMAGE_VHD] = "vhd",
	[IMAGE_VMDK] = "vmdk",
};

static const char *const subformat_names[] = {
	[IMAGE_SUB_RAW] = "raw",
	[IMAGE_SUB_VHD_FIXED] = "fixed",
	[IMAGE_SUB_VHD_DYNAMIC] = "dynamic",
	[IMAGE_SUB_VHD_DIFFERENCING] = "differencing",
	[IMAGE_SUB_VMDK_MONOLITHIC_SPARSE] = "monolithicSparse",
	[IMAGE_SUB_VMDK_MONOLITHIC_FLAT] = "monolithicFlat",
	[IMAGE_SUB_VMDK_SPLIT_SPARSE] = "twoGbMaxExtentSparse",
	[IMAGE_SUB_VMDK_SPLIT_FLAT] = "twoGbMaxExtentFlat",
	[IMAGE_SUB_VMDK_STREAM_OPTIMIZED] = "streamOptimized",
	[IMAGE_SUB_VMDK_VMFS] = "vmfs",
	[IMAGE_SUB_VMDK_VMFS_SPARSE] = "vmfsSparse",
};

#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

const char *image_format_name(enum image_format format)
{
	return (unsigned int)format < N_ELEMENTS(format_names) ? format_names[format] : "?";
}

const char *image_subformat_name(enum image_subformat subformat)
{
	return (unsigned int)subformat < N_ELEMENTS(subformat_names) ? subformat_names[subformat]
								     : "?";
}

int image_format_from_name(const char *name, enum image_format *ret)
{
	for (unsigned int i = 0; i < N_ELEMENTS(format_names); i++) {
		if (strcasecmp(name, format_names[i]) == 0) {
			*ret = (enum image_format)i;
			return 0;
		}
	}
	return -EINVAL;
}
