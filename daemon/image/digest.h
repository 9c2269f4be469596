/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The checksum of a disk's content, whatever file it lies in. The disk is cut into parts of 4 MiB (the last one may be
 * shorter); the checksum is the SHA-256 of: the size in bytes as 64 bits little-endian, then the SHA-256 of each part.
 * So it can be made of parts that arrive in any order, an empty part costs nothing, and a VMDK, a VHD and the disk that
 * they were taken from all have the same. docs/upload-protocol.md describes it for other programs.
 */
#ifndef BOOTWELL_DIGEST_H
#define BOOTWELL_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_SIZE 32
#define DIGEST_PART ((uint64_t)4 << 20) /* bytes */
#define DIGEST_TEXT (2 * DIGEST_SIZE + 1)

static inline uint64_t digest_parts(uint64_t size)
{
	return size / DIGEST_PART + (size % DIGEST_PART != 0);
}

/* Bytes of part `index` of a disk of `size` bytes; index < digest_parts(size). */
static inline uint32_t digest_part_length(uint64_t size, uint64_t index)
{
	uint64_t left = size - index * DIGEST_PART;

	return (uint32_t)(left < DIGEST_PART ? left : DIGEST_PART);
}

void digest_part(const void *data, size_t length, uint8_t ret[DIGEST_SIZE]);
/* The same of `length` bytes of zero; those of a whole part are computed once. */
void digest_zero(size_t length, uint8_t ret[DIGEST_SIZE]);
/* Of the whole disk: `parts` is digest_parts(size) digests of 32 bytes. */
void digest_disk(uint64_t size, const uint8_t *parts, uint8_t ret[DIGEST_SIZE]);

void digest_to_text(const uint8_t digest[DIGEST_SIZE], char ret[DIGEST_TEXT]);
int digest_from_text(const char *text, uint8_t ret[DIGEST_SIZE]); /* -EINVAL; text may go on behind it */
bool data_is_zero(const void *data, size_t length);

#endif
