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

/*
 * Bytes that should be UTF-8, as UTF-8 that fits into `size`: a byte that belongs to no character (a name in Latin-1 or
 * Shift JIS) becomes "\xe9", a control character '?'. Cut at a character that does not fit. `to` and `from` may not
 * overlap.
 */
void utf8_escape(char *to, size_t size, const char *from, size_t length);

#endif
