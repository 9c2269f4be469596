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
#include "tcmu-handler/image/utf.h"
#include "tcmu-handler/image/vmdk_private.h"

static int check_name(const struct image *img, const char *name, struct sentence *err)
{
	const char *p = name;

	if (name[0] == '/' || (name[0] && name[1] == ':'))
		return sentence_fail(err, -EPERM,
				     "%s: names the extent %s by an absolute path; put both into one "
				     "folder and write only its name into the descriptor",
				     img->name, name);
	while (p) {
		if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || !p[2]))
			return sentence_fail(err, -EPERM, "%s: names the extent %s, which is outside its folder",
					     img->name, name);
		p = strchr(p, '/');
		p = p ? p + 1 : NULL;
	}
	return 0;
}

/* Opens the file of an extent; a sparse one must be new, a flat one may have been named before. */
static int open_extent(struct image *img, const struct vmdk_extent *e, struct sentence *err)
{
	unsigned int known = img->n_files;
	char *path;
	int r;

	r = check_name(img, e->file, err);
	if (r < 0)
		return r;
	path = malloc(strlen(img->folder) + strlen(e->file) + 1);
	if (!path)
		return sentence_fail(err, -ENOMEM, "%s: out of memory", img->name);
	stpcpy(stpcpy(path, img->folder), e->file);
	r = image_add_file(img, path, err);
	free(path);
	if (r == 0)
		return sentence_fail(err, -EBADMSG, "%s: names itself as an extent", img->name);
	if (r > 0 && (unsigned int)r < known && e->type != VMDK_EXTENT_FLAT)
		return sentence_fail(err, -EBADMSG, "%s: has the extent file %s twice", img->name, e->file);
	return r;
}

/* A flat range may not be part of an extent that is there already. */
static int check_flat_once(const struct image *img, const struct image_segment *seg, struct sentence *err)
{
	for (const struct image_segment *s = img->segments; s < seg; s++) {
		if (s->kind == SEGMENT_ZERO || s->file != seg->file)
			continue;
		if (s->kind == SEGMENT_UNITS ||
		    (s->offset < seg->offset + seg->length && seg->offset < s->offset + s->length))
			return sentence_fail(err, -EBADMSG, "%s: two of its extents are the same part of %s", img->name,
					     img->files[seg->file].name);
	}
	return 0;
}

static int add_flat(struct image *img, const struct vmdk_extent *e, int file, struct sentence *err)
{
	struct image_segment *seg;

	if (file < 0)
		return file;
	if (e->offset > img->files[file].size / SECTOR || e->sectors > img->files[file].size / SECTOR - e->offset)
		return sentence_fail(err, -EBADMSG,
				     "%s: says that %s has %llu sectors from sector %llu on, but the "
				     "file has only %llu bytes; is it truncated?",
				     img->name, img->files[file].name, (unsigned long long)e->sectors,
				     (unsigned long long)e->offset, (unsigned long long)img->files[file].size);
	seg = image_add_segment(img, SEGMENT_FLAT, e->sectors * SECTOR, err);
	if (!seg)
		return -EFBIG;
	seg->file = (unsigned int)file;
	seg->offset = e->offset * SECTOR;
	img->info.allocated_size += seg->length;
	return check_flat_once(img, seg, err);
}

static int add_extent(struct image *img, const struct vmdk_extent *e, struct sentence *err)
{
	struct vmdk_header header;
	int file, r;

	switch (e->type) {
	case VMDK_EXTENT_FLAT:
		return add_flat(img, e, open_extent(img, e, err), err);
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

/*
 * What the descriptor's file was called: an embedded one names itself as its extent; one beside its extents gave them
 * its name with something behind it.
 */
static void take_own_name(struct image *img, const struct vmdk_descriptor *d)
{
	static const char *const behind[] = {"-flat", "-delta", "-sparse", "-s001", "-f001"};
	const char *name = d->n_extents && d->extents[0].file ? d->extents[0].file : "", *slash = strrchr(name, '/');
	const char *dot;
	size_t n;
	char own[1024 + 8];

	name = slash ? slash + 1 : name;
	dot = strrchr(name, '.');
	n = dot ? (size_t)(dot - name) : strlen(name);
	for (size_t i = 0; i < sizeof(behind) / sizeof(behind[0]); i++) {
		size_t m = strlen(behind[i]);

		if (n > m && strncmp(name + n - m, behind[i], m) == 0) {
			n -= m;
			break;
		}
	}
	snprintf(own, sizeof(own), "%.*s%s", (int)n, name, dot ? dot : "");
	utf8_escape(img->info.own_name, sizeof(img->info.own_name), own, strlen(own));
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
	take_own_name(img, d);
	if (d->parent_cid == VMDK_NO_PARENT)
		return;
	img->has_parent = true;
	snprintf(info->parent_id, sizeof(info->parent_id), "%08x", d->parent_cid);
	memcpy(info->parent_hint, d->parent_hint, sizeof(info->parent_hint));
}

static int no_descriptor(const struct image *img, struct sentence *err)
{
	return sentence_fail(err, -EMEDIUMTYPE,
			     "%s: is one extent of a larger disk and has no descriptor; open the .vmdk "
			     "file that names it",
			     img->name);
}

/*
 * Haiku's and FreeBSD's way: a header whose capacity is 0, a descriptor, and behind them the disk as it is, described
 * as a flat extent of the same file (under the name that it had then).
 */
static int open_flat_behind(struct image *img, const struct vmdk_header *header, const struct vmdk_extent *e,
			    struct sentence *err)
{
	if (e->type != VMDK_EXTENT_FLAT || header->capacity)
		return sentence_fail(err, -EBADMSG,
				     "%s: its descriptor is inside of a sparse extent, but names other extents",
				     img->name);
	if (e->offset < (header->descriptor_at + header->descriptor_size) / SECTOR)
		return sentence_fail(err, -EBADMSG,
				     "%s: its data, from sector %llu on, would lie over its own descriptor", img->name,
				     (unsigned long long)e->offset);
	return add_flat(img, e, 0, err);
}

/* Descriptor and extent in one file; the name in the extent line is that of long ago. */
static int open_embedded(struct image *img, struct sentence *err)
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
		return sentence_fail(err, -ENOMEM, "%s: out of memory", img->name);
	r = image_read(img, 0, header.descriptor_at, text, header.descriptor_size, "descriptor", err);
	if (r == 0) /* QEMU leaves room for one in each extent, and it empty */
		r = text[0] ? vmdk_descriptor_parse(&d, text, header.descriptor_size, img->name, err)
			    : no_descriptor(img, err);
	if (r == 0)
		image_stamp(img, text, header.descriptor_size);
	free(text);
	if (r < 0)
		return r;
	take_descriptor(img, &d);
	if (d.n_extents != 1)
		r = sentence_fail(err, -EBADMSG,
				  "%s: its descriptor is inside of a sparse extent, but names other extents",
				  img->name);
	else if (d.extents[0].type == VMDK_EXTENT_SPARSE)
		r = vmdk_sparse_open(img, 0, &header, d.extents[0].sectors, err);
	else
		r = open_flat_behind(img, &header, &d.extents[0], err);
	vmdk_descriptor_done(&d);
	return r;
}

static int open_descriptor(struct image *img, struct sentence *err)
{
	struct vmdk_descriptor d = {0};
	uint64_t size = img->files[0].size;
	char *text;
	int r;

	if (size > VMDK_DESCRIPTOR_MAX)
		return sentence_fail(err, -EMEDIUMTYPE,
				     "%s: is not a VMDK: it is no sparse extent, and too large (over "
				     "1 MiB) for a descriptor",
				     img->name);
	text = malloc(size ? size : 1);
	if (!text)
		return sentence_fail(err, -ENOMEM, "%s: out of memory", img->name);
	r = image_read(img, 0, 0, text, size, "descriptor", err);
	if (r == 0)
		r = vmdk_descriptor_parse(&d, text, size, img->name, err);
	if (r == 0)
		image_stamp(img, text, size);
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
static int open_cowd(struct image *img, struct sentence *err)
{
	uint32_t flags;
	int r = vmdk_cowd_open(img, 0, 0, &flags, err);

	if (r < 0)
		return r;
	if (!(flags & COWD_FLAG_ROOT))
		return sentence_fail(err, -EMEDIUMTYPE,
				     "%s: is the data of a snapshot; open the .vmdk descriptor that names it",
				     img->name);
	img->info.subformat = "vmfsSparse";
	return 0;
}

static int vmdk_open(struct image *img, const struct image_source *src, struct sentence *err)
{
	const struct image_segment *last;
	uint8_t magic[8] = {0};
	int r;

	r = image_read(img, 0, 0, magic, img->files[0].size < 8 ? img->files[0].size : 8, "magic", err);
	if (r < 0)
		return r;
	if (memcmp(magic, "KDMV", 4) == 0)
		r = open_embedded(img, err);
	else if (memcmp(magic, "COWD", 4) == 0)
		r = open_cowd(img, err);
	else if (le64_at(magic) == 0xcafebabe)
		r = sentence_fail(err, -ENOTSUP,
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

static int vmdk_probe(const struct image_head *h, struct sentence *err)
{
	(void)err;
	return memcmp(h->bytes, "KDMV", 4) == 0 || memcmp(h->bytes, "COWD", 4) == 0 ||
	       vmdk_descriptor_is((const char *)h->bytes,
				  h->size < sizeof(h->bytes) ? (size_t)h->size : sizeof(h->bytes));
}

const struct image_type vmdk_type = {
	.name = "vmdk",
	.id_word = "CID",
	.endings = {".vmdk"},
	.size_max = IMAGE_SIZE_MAX,
	.unmarked = "its name does not fit what is in it: the mark of that format is missing; if it is a raw disk, say "
		    "--format raw",
	.unmarked_code = -EMEDIUMTYPE,
	.probe = vmdk_probe,
	.open = vmdk_open,
};
