// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * zlib, for one unit at a time: nothing is kept between two, and a unit that does not inflate to what the image
 * says is damaged. The only file that knows zlib's decompression: the image reader needs libc only.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <zlib.h>

#include "tcmu-handler/inflate/inflate.h"

int inflate_unit(void *to, size_t unit_length, size_t unit_least, const void *from, size_t compressed_length)
{
	z_stream z = {0};
	size_t out;
	int r;

	if (compressed_length > UINT_MAX || unit_length > UINT_MAX)
		return -EUCLEAN;
	z.next_in = (Bytef *)(uintptr_t)from;
	z.avail_in = (uInt)compressed_length;
	z.next_out = to;
	z.avail_out = (uInt)unit_length;
	r = inflateInit(&z);
	if (r != Z_OK)
		return r == Z_MEM_ERROR ? -ENOMEM : -EUCLEAN;
	r = inflate(&z, Z_FINISH); /* anything but the end within unit_length bytes is damage */
	out = unit_length - z.avail_out;
	inflateEnd(&z);
	if (r == Z_MEM_ERROR)
		return -ENOMEM;
	if (r != Z_STREAM_END || out < unit_least)
		return -EUCLEAN;
	memset((char *)to + out, 0, unit_length - out);
	return 0;
}

int inflate_exactly(const void *in, size_t in_length, void *out, size_t out_length)
{
	return inflate_unit(out, out_length, out_length, in, in_length);
}
