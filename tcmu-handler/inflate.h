/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The compressed units of an image (streamOptimized VMDK), for who reads an IMAGE_EXTENT_COMPRESSED. */
#ifndef BOOTWELL_INFLATE_H
#define BOOTWELL_INFLATE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Inflates one unit: `from` is compressed_length bytes of zlib data (RFC 1950, its Adler-32 is checked), `to` has room
 * for unit_length bytes and is filled whole: when the data end early but not before unit_least bytes, with zeros.
 * Returns 0; -EBADMSG if the data are damaged, too short or too long; -ENOMEM.
 */
int inflate_unit(void *to, uint32_t unit_length, uint32_t unit_least, const void *from, uint32_t compressed_length);

#endif
