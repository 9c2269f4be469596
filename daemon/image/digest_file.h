/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The checksum that an image had when it was made, kept in .digest/FILE beneath the folder of images, and image
 * reading. */
#ifndef BOOTWELL_DIGEST_FILE_H
#define BOOTWELL_DIGEST_FILE_H

#include <stdint.h>

#include "daemon/image/digest.h"
#include "tcmu-handler/image/image.h"

int digest_file_write(int images, const char *file, const uint8_t digest[DIGEST_SIZE]); /* durable */
int digest_file_read(int images, const char *file, uint8_t ret[DIGEST_SIZE]);           /* -ENOENT: none was kept */
void digest_file_remove(int images, const char *file);

/*
 * Reads [offset, offset + length) of an image (with its parents), inflating what is compressed. `unit` is a buffer that
 * the caller keeps between calls, NULL at first, and frees. offset and length: multiples of 512. 0 or -errno.
 */
int image_read_data(const struct image *img, uint64_t offset, void *to, uint64_t length, uint8_t **unit);
/* Does the image say, without reading, that the range is zero? */
bool image_range_is_zero(const struct image *img, uint64_t offset, uint64_t length);

/* The checksum of what an image holds. `progress` may be NULL; it returns nonzero to stop (-ECANCELED). */
typedef int (*digest_progress_fn)(void *arg, uint64_t done, uint64_t size);
int digest_image(const struct image *img, uint8_t ret[DIGEST_SIZE], digest_progress_fn progress, void *arg);

#endif
