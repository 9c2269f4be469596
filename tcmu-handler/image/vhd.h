/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VHD on disk, for the reader (vhd.c), the writer (daemon/image/convert.c) and tests. All numbers
 * are big-endian. "Virtual Hard Disk Image Format Specification", Microsoft, version 1.0, 2006;
 * where writers differ, docs/images.md.
 */
#ifndef BOOTWELL_IMAGE_VHD_H
#define BOOTWELL_IMAGE_VHD_H

#include <stddef.h>
#include <stdint.h>

#define VHD_FOOTER_SIZE     512u
#define VHD_HEADER_SIZE     1024u
#define VHD_VERSION         0x00010000u
#define VHD_EPOCH           946684800u /* 2000-01-01 in Unix time */
#define VHD_NO_OFFSET       UINT64_MAX
#define VHD_BAT_ABSENT      UINT32_MAX
#define VHD_BLOCK_MIN       512u
#define VHD_BLOCK_MAX       (256u << 20)
#define VHD_BLOCK_USUAL     (2u << 20)
#define VHD_SIZE_MAX        ((uint64_t)2040 << 30)
#define VHD_CHS_SECTORS_MAX (65535u * 16 * 255)
#define VHD_LOCATORS        8

enum vhd_type { VHD_FIXED = 2, VHD_DYNAMIC = 3, VHD_DIFFERENCING = 4 };

enum vhd_footer_field {
	VHD_F_COOKIE = 0, /* "conectix" */
	VHD_F_FEATURES = 8,
	VHD_F_VERSION = 12,
	VHD_F_DATA_OFFSET = 16, /* u64, of the dynamic header */
	VHD_F_TIME = 24,        /* seconds since VHD_EPOCH */
	VHD_F_APP = 28,
	VHD_F_APP_VERSION = 32,
	VHD_F_OS = 36,
	VHD_F_ORIGINAL_SIZE = 40,
	VHD_F_CURRENT_SIZE = 48,
	VHD_F_CYLINDERS = 56, /* u16, then u8 heads, u8 sectors */
	VHD_F_HEADS = 58,
	VHD_F_SECTORS = 59,
	VHD_F_TYPE = 60,
	VHD_F_CHECKSUM = 64,
	VHD_F_UUID = 68,
	VHD_F_SAVED_STATE = 84,
};

enum vhd_header_field {
	VHD_H_COOKIE = 0, /* "cxsparse" */
	VHD_H_DATA_OFFSET = 8,
	VHD_H_BAT_OFFSET = 16,
	VHD_H_VERSION = 24,
	VHD_H_ENTRIES = 28,
	VHD_H_BLOCK_SIZE = 32,
	VHD_H_CHECKSUM = 36,
	VHD_H_PARENT_UUID = 40,
	VHD_H_PARENT_TIME = 56,
	VHD_H_PARENT_NAME = 64, /* 512 bytes UTF-16BE */
	VHD_H_LOCATORS = 576,   /* 8 × { code, space, length, 0, u64 offset } */
};

/* ~sum of all bytes, the four at `field` counted as zero. */
uint32_t vhd_checksum(const uint8_t *p, size_t length, size_t field);

/* The geometry of the specification's appendix for a disk of this many sectors; capped at
 * 65535/16/255. */
void vhd_geometry(uint64_t sectors, uint16_t *ret_cylinders, uint8_t *ret_heads, uint8_t *ret_sectors);

/* Bytes of the sector bitmap in front of a block. */
uint32_t vhd_bitmap_bytes(uint32_t block_size);

#endif
