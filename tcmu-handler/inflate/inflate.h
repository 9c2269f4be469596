/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The compressed units of an image (streamOptimized VMDK), for who reads an IMAGE_EXTENT_COMPRESSED: engine, daemon,
 * command line. A room of its own beside the image reader, because that includes libc only, and beside the engine,
 * because the daemon includes nothing of that.
 */
#ifndef BOOTWELL_INFLATE_H
#define BOOTWELL_INFLATE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Inflates one unit: `from` is compressed_length bytes of zlib data (RFC 1950, its Adler-32 is
 * checked; bytes may follow its end), `to` has room for unit_length bytes and is filled whole: when
 * the data end early, but not before unit_least bytes (the last grain of a disk may), with zeros.
 * 0; -EUCLEAN if the data are damaged, too short or too long; -ENOMEM.
 */
int inflate_unit(void *to, size_t unit_length, size_t unit_least, const void *from, size_t compressed_length);

/* The same where nothing may end early. For an extent of an image take inflate_unit() with its
 * unit_least. */
int inflate_exactly(const void *in, size_t in_length, void *out, size_t out_length);

#endif
