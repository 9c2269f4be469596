// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * VMDK: a descriptor (a text file of its own, or inside the one sparse extent) names the extents,
 * in order, that make up the disk. Extents are flat files, hosted sparse (vmdk_sparse.c), COWD, or
 * nothing at all (ZERO).
 *
 * The extents' names are a stranger's: relative, without "..", opened beneath the descriptor's
 * folder, each file once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tcmu-handler/image/bytes.h"
#include "tcmu-handler/image/vmdk_private.h"

static int check_name(const struct image *img, const char *name, struct image_error *err)
{
	const char *p = name;

	if (name[0] == '/' || (name[0] && name[1] == ':'))
		return image_fail(err, -EPERM,
				  "%s: names the extent %s by an absolute path; put both into one "
				  "folder and write only its name into the descriptor",
				  img->name, name);
	while (p) {
		if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || !p[2]))
			return image_fail(err, -EPERM,
					  "%s: names the extent %s, which is outside its folder",
					  img->name, name);
		p = strchr(p, '/');
		p = p ? p + 1 : NULL;
	}
	return 0;
}

/* Opens the file of an extent; a sparse one must be new, a flat one may have been named before. */
static int open_extent(struct image *img, const struct vmdk_extent *e, struct image_error *err)
{
	unsigned int known = img->n_files;
	char *path;
	int r;

	r = check_name(img, e->file, err);
	if (r < 0)
		return r;
	path = malloc(strlen(img->folder) + strlen(e->file) + 1);
	if (!path)
		return image_fail(err, -ENOMEM, "%s: out of memory", img->name);
	stpcpy(stpcpy(path, img->folder), e->file);
	r = image_add_file(img, path, err);
	free(path);
	if (r == 0)
		return image_fail(err, -EBADMSG, "%s: names itself as an extent", img->name);
	if (r > 0 && (unsigned int)r < known && e->type != VMDK_EXTENT_FLAT)
		return image_fail(err, -EBADMSG, "%s: has the extent file %s twice", img->name,
				  e->file);
	return r;
}

/* A flat range may not be part of an extent that is there already. */
static int check_flat_once(const struct image *img, const struct segment *seg,
			   struct image_error *err)
{
	for (const struct segment *s = img->segments; s < seg; s++) {
		if (s->kind == SEGMENT_ZERO || s->file != seg->file)
			continue;
		if (s->kind == SEGMENT_UNITS ||
		    (s->offset < seg->offset + seg->length && seg->offset < s->offset + s->length))
			return image_fail(err, -EBADMSG,
					  "%s: two of its extents are the same part of %s",
					  img->name, img->files[seg->file].name);
	}
	return 0;
}

static int add_flat(struct image *img, const struct vmdk_extent *e, struct image_error *err)
{
	struct segment *seg;
	int file = open_extent(img, e, err);

	if (file < 0)
		return file;
	if (e->offset > img->files[file].size / SECTOR ||
	    e->sectors > img->files[file].size / SECTOR - e->offset)
		return image_fail(err, -EBADMSG,
				  "%s: says that %s has %llu sectors from sector %llu on, but the "
				  "file has only %llu bytes; is it truncated?",
				  img->name, e->file, (unsigned long long)e->sectors,
				  (unsigned long long)e->offset,
				  (unsigned long long)img->files[file].size);
	seg = image_add_segment(img, SEGMENT_FLAT, e->sectors * SECTOR, err);
	if (!seg)
		return -EFBIG;
	seg->file = (unsigned int)file;
	seg->offset = e->offset * SECTOR;
	img->info.allocated_size += seg->length;
	return check_flat_once(img, seg, err);
}

static int add_extent(struct image *img, const struct vmdk_extent *e, struct image_error *err)
{
	struct vmdk_header header;
	int file, r;

	switch (e->type) {
	case VMDK_EXTENT_FLAT:
		return add_flat(img, e, err);
	case VMDK_EXTENT_ZERO:
		return image_add_segment(img, SEGMENT_ZERO, e->sectors * SECTOR, err) ? 0 : -EFBIG;
	case VMDK_EXTENT_SPARSE:
	case VMDK_EXTENT_COWD:
		break;
	}
	file = open_extent(img, e, err);
	if (file < 0)
		return file;
	if (e->type == VMDK_EXTENT_COWD)
		return vmdk_cowd_open(img, (unsigned int)file, e->sectors, NULL, err);
	r = vmdk_header_read(img, (unsigned int)file, &header, err);
	return r < 0 ? r : vmdk_sparse_open(img, (unsigned int)file, &header, e->sectors, err);
}

static void take_descriptor(struct image *img, const struct vmdk_descriptor *d)
{
	struct image_info *info = &img->info;

	info->subformat = d->subformat;
	info->cylinders = d->cylinders;
	info->heads = d->heads;
	info->sectors = d->sectors;
	snprintf(info->id, sizeof(info->id), "%08x", d->cid);
	memcpy(info->creator, d->creator, sizeof(info->creator));
	if (d->parent_cid == VMDK_NO_PARENT)
		return;
	img->has_parent = true;
	snprintf(info->parent_id, sizeof(info->parent_id), "%08x", d->parent_cid);
	memcpy(info->parent_hint, d->parent_hint, sizeof(info->parent_hint));
}

static int no_descriptor(const struct image *img, struct image_error *err)
{
	return image_fail(
		err, -EMEDIUMTYPE,
		"%s: is one extent of a larger disk and has no descriptor; open the .vmdk "
		"file that names it",
		img->name);
}

/* Descriptor and extent in one file; the name in the extent line is that of long ago. */
static int open_embedded(struct image *img, struct image_error *err)
{
	struct vmdk_descriptor d = {0};
	struct vmdk_header header;
	char *text;
	int r;

	r = vmdk_header_read(img, 0, &header, err);
	if (r < 0)
		return r;
	if (!header.descriptor_size)
		return no_descriptor(img, err);
	text = malloc(header.descriptor_size);
	if (!text)
		return image_fail(err, -ENOMEM, "%s: out of memory", img->name);
	r = image_read(img, 0, header.descriptor_at, text, header.descriptor_size, "descriptor",
		       err);
	if (r == 0) /* QEMU leaves room for one in each extent, and it empty */
		r = text[0] ? vmdk_descriptor_parse(&d, text, header.descriptor_size, img->name,
						    err)
			    : no_descriptor(img, err);
	free(text);
	if (r < 0)
		return r;
	if (d.n_extents != 1 || d.extents[0].type != VMDK_EXTENT_SPARSE) {
		r = image_fail(
			err, -EBADMSG,
			"%s: its descriptor is inside of a sparse extent, but names other extents",
			img->name);
	} else {
		take_descriptor(img, &d);
		r = vmdk_sparse_open(img, 0, &header, d.extents[0].sectors, err);
	}
	vmdk_descriptor_done(&d);
	return r;
}

static int open_descriptor(struct image *img, struct image_error *err)
{
	struct vmdk_descriptor d = {0};
	uint64_t size = img->files[0].size;
	char *text;
	int r;

	if (size > VMDK_DESCRIPTOR_MAX)
		return image_fail(err, -EMEDIUMTYPE,
				  "%s: is not a VMDK: it is no sparse extent, and too large (over "
				  "1 MiB) for a descriptor",
				  img->name);
	text = malloc(size ? size : 1);
	if (!text)
		return image_fail(err, -ENOMEM, "%s: out of memory", img->name);
	r = image_read(img, 0, 0, text, size, "descriptor", err);
	if (r == 0)
		r = vmdk_descriptor_parse(&d, text, size, img->name, err);
	free(text);
	if (r < 0)
		return r;
	take_descriptor(img, &d);
	for (unsigned int i = 0; r == 0 && i < d.n_extents; i++)
		r = add_extent(img, &d.extents[i], err);
	vmdk_descriptor_done(&d);
	return r;
}

/* Without a descriptor there is no CID, so a child could not be told from any other's. */
static int open_cowd(struct image *img, struct image_error *err)
{
	uint32_t flags;
	int r = vmdk_cowd_open(img, 0, 0, &flags, err);

	if (r < 0)
		return r;
	if (!(flags & COWD_FLAG_ROOT))
		return image_fail(
			err, -EMEDIUMTYPE,
			"%s: is the data of a snapshot; open the .vmdk descriptor that names it",
			img->name);
	img->info.subformat = IMAGE_SUB_VMDK_VMFS_SPARSE;
	return 0;
}

int vmdk_open(struct image *img, const struct image_source *src, struct image_error *err)
{
	const struct segment *last;
	uint8_t magic[8] = {0};
	int r;

	r = image_read(img, 0, 0, magic, img->files[0].size < 8 ? img->files[0].size : 8, "magic",
		       err);
	if (r < 0)
		return r;
	if (memcmp(magic, "KDMV", 4) == 0)
		r = open_embedded(img, err);
	else if (memcmp(magic, "COWD", 4) == 0)
		r = open_cowd(img, err);
	else if (le64_at(magic) == 0xcafebabe)
		r = image_fail(err, -ENOTSUP,
			       "%s: is the data of a snapshot in the SESPARSE format; consolidate "
			       "it in VMware, or convert it with qemu-img",
			       img->name);
	else
		r = open_descriptor(img, err);
	if (r < 0)
		return r;
	last = &img->segments[img->n_segments - 1];
	return image_set_size(img, last->start + last->length, src->size_override, err);
}
