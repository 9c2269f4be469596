// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Opening and closing, chains of parents. After image_open() an image never changes, except
 * that image_set_parent() links it and gives the parent's files their numbers; that happens before
 * the chain is shared between threads. image_map() is in map.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tcmu-handler/image/identity.h"
#include "tcmu-handler/image/internal.h"

static int image_init(struct image *img, const struct image_source *src, struct sentence *err)
{
	const char *slash = strrchr(src->name, '/');

	img->dirfd = src->dirfd;
	img->info.format = src->format;
	img->info.subformat = "";
	img->info.fingerprint = 0xcbf29ce484222325u;
	img->name = strdup(src->name);
	img->folder = strndup(src->name, slash ? (size_t)(slash - src->name) + 1 : 0);
	return img->name && img->folder ? 0 : sentence_fail(err, -ENOMEM, "%s: out of memory", src->name);
}

static void stamp_units(struct image *img, const struct unit_map *map)
{
	uint64_t h = img->info.fingerprint;

	for (size_t t = 0; t < map->n_tables; t++)
		for (size_t i = 0; map->tables[t].entry && i < (size_t)1 << map->table_shift; i++)
			if (map->tables[t].entry[i])
				h = (h ^ (t << map->table_shift) ^ i ^ (uint64_t)map->tables[t].entry[i] << 32) *
				    0x100000001b3u;
	img->info.fingerprint = h;
}

/* The headers were stamped when they were read; here is where everything lies. */
static void stamp_all(struct image *img)
{
	for (unsigned int i = 0; i < img->n_segments; i++) {
		const struct image_segment *seg = &img->segments[i];
		uint64_t where[4] = {seg->kind, seg->start, seg->length, seg->offset};

		image_stamp(img, where, sizeof(where));
		stamp_units(img, &seg->units);
	}
	if (!img->info.fingerprint)
		img->info.fingerprint = 1;
}

int image_open(struct image **ret, const struct image_source *src, struct sentence *err)
{
	const struct image_type *type = image_type(src->format);
	struct image *img;
	int r;

	if (!type)
		return sentence_fail(err, -EINVAL, "%s: no such image format", src->name);
	img = calloc(1, sizeof(*img));
	if (!img)
		return sentence_fail(err, -ENOMEM, "%s: out of memory", src->name);
	r = image_init(img, src, err);
	if (r == 0)
		r = image_add_file(img, src->name, err);
	if (r >= 0)
		r = type->open(img, src, err);
	if (r < 0) {
		image_close(img);
		return r;
	}
	stamp_all(img);
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

static int check_parent(const struct image *child, const struct image *parent, const struct image *top,
			struct sentence *err)
{
	const char *file;

	if (!child->has_parent)
		return sentence_fail(err, -EINVAL, "%s: has no parent, so %s cannot be one", child->name, parent->name);
	if (child->parent || parent->child)
		return sentence_fail(err, -EBUSY, "%s: %s", child->name,
				     child->parent ? "has its parent already"
						   : "its parent belongs to another image already");
	if (parent->info.format != child->info.format)
		return sentence_fail(err, -EMEDIUMTYPE, "%s: is a %s, and its parent %s is a %s", child->name,
				     image_format_name(child->info.format), parent->name,
				     image_format_name(parent->info.format));
	if (!image_id_same(child->info.parent_id, parent->info.id))
		return sentence_fail(err, -ESTALE,
				     "%s: its parent has %s %s, but %s has %s; was the parent changed "
				     "or another one taken?",
				     child->name, image_id_word(child->info.format), child->info.parent_id,
				     parent->name, parent->info.id[0] ? parent->info.id : "none");
	file = common_file(top, parent);
	if (file)
		return sentence_fail(err, -ELOOP, "%s: the chain of parents comes back to the file %s", child->name,
				     file);
	if (chain_length(top) + chain_length(parent) > IMAGE_CHAIN_MAX)
		return sentence_fail(err, -EMLINK,
				     "%s: more than %d images in the chain of parents; merge some of them", top->name,
				     IMAGE_CHAIN_MAX);
	return 0;
}

int image_set_parent(struct image *child, struct image *parent, struct sentence *err)
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
