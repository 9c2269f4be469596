/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between vmdk.c and the two halves of its work: the descriptor's text, and the tables of sparse
 * extents. */
#ifndef BOOTWELL_IMAGE_VMDK_PRIVATE_H
#define BOOTWELL_IMAGE_VMDK_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

#include "tcmu-handler/image/internal.h"
#include "tcmu-handler/image/vmdk.h"

#define VMDK_EXTENTS_MAX IMAGE_FILES_MAX

/* --- the descriptor: text, parsed without any I/O --- */

enum vmdk_extent_type { VMDK_EXTENT_FLAT, VMDK_EXTENT_SPARSE, VMDK_EXTENT_ZERO, VMDK_EXTENT_COWD };

struct vmdk_extent {
	enum vmdk_extent_type type;
	uint64_t sectors;
	uint64_t offset; /* FLAT: sectors in file */
	char *file;      /* NULL for ZERO */
};

struct vmdk_descriptor {
	uint32_t cid, parent_cid;
	const char *subformat; /* createType, by its usual name */
	char parent_hint[256]; /* UTF-8 */
	char creator[64];
	uint16_t cylinders;
	uint8_t heads, sectors;
	struct vmdk_extent *extents;
	unsigned int n_extents;
};

/* text need not end with NUL. `name` is for sentences. On failure nothing needs to be freed. */
int vmdk_descriptor_parse(struct vmdk_descriptor *ret, const char *text, size_t length, const char *name,
			  struct sentence *err);
/* Does it look like one? By its first line, or by what it has. Of a long text the first 4 KiB will do. */
bool vmdk_descriptor_is(const char *text, size_t length);
void vmdk_descriptor_done(struct vmdk_descriptor *d);

/* --- sparse extents --- */

struct vmdk_header {
	uint32_t version, flags;
	uint64_t capacity, grain;                /* sectors */
	uint64_t descriptor_at, descriptor_size; /* bytes, 0 if none */
	uint64_t rgd, gd;                        /* sectors */
	uint32_t tables;                         /* entries of the grain directory */
	uint16_t compression;
	bool unclean;
	uint64_t footer_at; /* bytes, 0 if none */
};

/* Reads and checks the header of a hosted sparse extent, and its footer if it says so. */
int vmdk_header_read(struct image *img, unsigned int file, struct vmdk_header *ret, struct sentence *err);

/* Appends the segment of `sectors` for a hosted sparse extent, with all its tables read and
 * checked. */
int vmdk_sparse_open(struct image *img, unsigned int file, const struct vmdk_header *header, uint64_t sectors,
		     struct sentence *err);

/* The same for COWD; sectors 0: as its header says. ret_flags may be NULL. */
int vmdk_cowd_open(struct image *img, unsigned int file, uint64_t sectors, uint32_t *ret_flags, struct sentence *err);

#endif
