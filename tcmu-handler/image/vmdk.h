/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VMDK on disk, for the reader, the writer (daemon/image/write_vmdk.c) and tests. All numbers are
 * little-endian. "Virtual Disk Format 5.0", VMware, 2011; where writers differ, docs/images.md.
 */
#ifndef BOOTWELL_IMAGE_VMDK_H
#define BOOTWELL_IMAGE_VMDK_H

#include <stdint.h>

#define VMDK_DESCRIPTOR_MAX (1u << 20)
#define VMDK_NO_PARENT      UINT32_MAX
#define VMDK_GD_AT_END      UINT64_MAX
#define VMDK_TABLE_SHIFT    9           /* 512 entries in a grain table */
#define VMDK_GRAIN_MAX      (64u << 20) /* bytes; a compressed one at most IMAGE_UNIT_MAX */
#define COWD_TABLE_SHIFT    12
#define COWD_HEADER_SIZE    2048u
#define VMDK_MARKER_SIZE    12u /* of a grain: u64 LBA, u32 bytes that follow */

enum vmdk_header_field {                   /* hosted sparse extent, 512 bytes */
			 VMDK_H_MAGIC = 0, /* "KDMV" */
			 VMDK_H_VERSION = 4,
			 VMDK_H_FLAGS = 8,
			 VMDK_H_CAPACITY = 12,   /* u64 sectors */
			 VMDK_H_GRAIN = 20,      /* u64 sectors */
			 VMDK_H_DESCRIPTOR = 28, /* u64 sector */
			 VMDK_H_DESCRIPTOR_SECTORS = 36,
			 VMDK_H_TABLE_ENTRIES = 44, /* u32 */
			 VMDK_H_RGD = 48,           /* u64 sector of the redundant grain directory */
			 VMDK_H_GD = 56,
			 VMDK_H_OVERHEAD = 64,    /* u64 sectors */
			 VMDK_H_UNCLEAN = 72,     /* u8 */
			 VMDK_H_NEWLINES = 73,    /* "\n \r\n" */
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

#endif
