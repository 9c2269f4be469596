/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VMDK on disk, for the reader, the writer (daemon/image_write_vmdk.c) and tests. All numbers are little-endian.
 * "Virtual Disk Format 5.0", VMware, 2011; where writers differ, docs/images.md.
 */
#ifndef BOOTWELL_IMAGE_VMDK_H
#define BOOTWELL_IMAGE_VMDK_H

#include <stddef.h>
#include <stdint.h>

#include "tcmu-handler/image/internal.h"

#define VMDK_DESCRIPTOR_MAX (1u << 20)
#define VMDK_EXTENTS_MAX    IMAGE_FILES_MAX
#define VMDK_NO_PARENT	    UINT32_MAX
#define VMDK_GD_AT_END	    UINT64_MAX
#define VMDK_TABLE_SHIFT    9		 /* 512 entries in a grain table */
#define VMDK_GRAIN_MAX	    (64u << 20) /* bytes; a compressed one at most IMAGE_UNIT_MAX */
#define COWD_TABLE_SHIFT    12
#define COWD_HEADER_SIZE    2048u
#define VMDK_MARKER_SIZE    12u /* of a grain: u64 LBA, u32 bytes that follow */

enum vmdk_header_field { /* hosted sparse extent, 512 bytes */
	VMDK_H_MAGIC = 0, /* "KDMV" */
	VMDK_H_VERSION = 4,
	VMDK_H_FLAGS = 8,
	VMDK_H_CAPACITY = 12,	 /* u64 sectors */
	VMDK_H_GRAIN = 20,	 /* u64 sectors */
	VMDK_H_DESCRIPTOR = 28,	 /* u64 sector */
	VMDK_H_DESCRIPTOR_SECTORS = 36,
	VMDK_H_TABLE_ENTRIES = 44, /* u32 */
	VMDK_H_RGD = 48,	   /* u64 sector of the redundant grain directory */
	VMDK_H_GD = 56,
	VMDK_H_OVERHEAD = 64, /* u64 sectors */
	VMDK_H_UNCLEAN = 72,  /* u8 */
	VMDK_H_NEWLINES = 73, /* "\n \r\n" */
	VMDK_H_COMPRESSION = 77, /* u16: 0 none, 1 deflate */
};

enum vmdk_flags {
	VMDK_FLAG_NEWLINES = 1,
	VMDK_FLAG_REDUNDANT = 2,
	VMDK_FLAG_ZERO_GRAINS = 4, /* entry 1: a grain of zeros */
	VMDK_FLAG_COMPRESSED = 0x10000,
	VMDK_FLAG_MARKERS = 0x20000,
};

enum vmdk_marker_type { VMDK_MARKER_EOS, VMDK_MARKER_GT, VMDK_MARKER_GD, VMDK_MARKER_FOOTER };

enum cowd_header_field { /* u32 all */
	COWD_H_VERSION = 4,
	COWD_H_FLAGS = 8,
	COWD_H_CAPACITY = 12,
	COWD_H_GRAIN = 16,
	COWD_H_GD = 20,
	COWD_H_GD_ENTRIES = 24,
};
#define COWD_FLAG_ROOT 1u

/* --- the descriptor: text, parsed without any I/O ------------------------------------------------------------------*/

enum vmdk_extent_type { VMDK_EXTENT_FLAT, VMDK_EXTENT_SPARSE, VMDK_EXTENT_ZERO, VMDK_EXTENT_COWD };

struct vmdk_extent {
	enum vmdk_extent_type type;
	uint64_t sectors;
	uint64_t offset; /* FLAT: sectors in file */
	char *file;	 /* NULL for ZERO */
};

struct vmdk_descriptor {
	uint32_t cid, parent_cid;
	enum image_subformat subformat;
	char parent_hint[256]; /* UTF-8 */
	char creator[64];
	uint16_t cylinders;
	uint8_t heads, sectors;
	struct vmdk_extent *extents;
	unsigned int n_extents;
};

/* text need not end with NUL. `name` is for sentences. On failure nothing needs to be freed. */
int vmdk_descriptor_parse(struct vmdk_descriptor *ret, const char *text, size_t length, const char *name,
			  struct image_error *err);
void vmdk_descriptor_done(struct vmdk_descriptor *d);

/* --- sparse extents ------------------------------------------------------------------------------------------------*/

struct vmdk_header {
	uint32_t version, flags;
	uint64_t capacity, grain; /* sectors */
	uint64_t descriptor_at, descriptor_size; /* bytes, 0 if none */
	uint64_t rgd, gd;			 /* sectors */
	uint32_t tables;			 /* entries of the grain directory */
	uint16_t compression;
	bool unclean;
	uint64_t footer_at; /* bytes, 0 if none */
};

/* Reads and checks the header of a hosted sparse extent, and its footer if it says so. */
int vmdk_header_read(struct image *img, unsigned int file, struct vmdk_header *ret, struct image_error *err);

/* Appends the segment of `sectors` for a hosted sparse extent, with all its tables read and checked. */
int vmdk_sparse_open(struct image *img, unsigned int file, const struct vmdk_header *header, uint64_t sectors,
		     struct image_error *err);

/* The same for COWD; sectors 0: as its header says. ret_flags may be NULL. */
int vmdk_cowd_open(struct image *img, unsigned int file, uint64_t sectors, uint32_t *ret_flags, struct image_error *err);

#endif
