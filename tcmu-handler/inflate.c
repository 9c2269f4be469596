// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "tcmu-handler/inflate.h"

int inflate_unit(void *to, uint32_t unit_length, uint32_t unit_least, const void *from, uint32_t compressed_length)
{
	z_stream z = {
		.next_in = (Bytef *)from,
		.avail_in = compressed_length,
		.next_out = to,
		.avail_out = unit_length,
	};
	uint32_t out;
	int r;

	r = inflateInit(&z);
	if (r != Z_OK)
		return r == Z_MEM_ERROR ? -ENOMEM : -EBADMSG;
	r = inflate(&z, Z_FINISH); /* anything but the end within unit_length bytes is damage */
	out = unit_length - z.avail_out;
	inflateEnd(&z);
	if (r == Z_MEM_ERROR)
		return -ENOMEM;
	if (r != Z_STREAM_END || out < unit_least)
		return -EBADMSG;
	memset((char *)to + out, 0, unit_length - out);
	return 0;
}
