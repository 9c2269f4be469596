/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is uploaded: an image file with its parents, or a disk of which only some ranges are in use. */
#ifndef BOOTWELL_UPLOAD_SOURCE_H
#define BOOTWELL_UPLOAD_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/image/digest.h"
#include "daemon/image/sparse_file.h"
#include "daemon/image/used_map.h"
#include "tcmu-handler/image/image.h"

struct upload_source;

/* An image of any format that we read. */
int source_open_image(struct upload_source **ret, const char *path, struct sentence *err);
/* A block device, or a file that is one; `used`: what to send, taken; NULL: everything. */
int source_open_disk(struct upload_source **ret, const char *path, struct used_map *used, struct sentence *err);
void source_close(struct upload_source *source); /* NULL is fine */

uint64_t source_size(const struct upload_source *source); /* bytes */
uint64_t source_used(const struct upload_source *source); /* bytes that may have to be sent, at most */
/* Bytes of a part that count as used, for progress. */
uint64_t source_part_used(const struct upload_source *source, uint64_t part);

/* The reader of one thread: NULL if out of memory. */
struct source_reader;
struct source_reader *source_reader_new(struct upload_source *source);
void source_reader_free(struct source_reader *reader);
/*
 * Reads a part into `data` (DIGEST_PART bytes, zero where nothing is used), with a bit for each block that is not zero.
 * *ret_bytes: of such blocks. 0 or -errno; *ret_at: where reading failed.
 */
int source_read(struct source_reader *reader, uint64_t part, uint8_t *data, uint8_t bitmap[SPARSE_BITMAP],
		uint32_t *ret_bytes, uint64_t *ret_at);

#endif
