/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text in images, for showing to a person only. */
#ifndef BOOTWELL_IMAGE_UTF_H
#define BOOTWELL_IMAGE_UTF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* UTF-16 of `length` bytes, up to its first NUL, as UTF-8 that fits into `size`; control characters
 * become '?'. */
void utf8_from_utf16(char *to, size_t size, const uint8_t *from, size_t length, bool big_endian);

/* Bytes that should be UTF-8: what is not becomes '?'; cut at a character that does not fit. */
void utf8_copy(char *to, size_t size, const char *from, size_t length);

#endif
