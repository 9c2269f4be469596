// SPDX-License-Identifier: GPL-2.0-or-later
/* A child and its parent: byte 0 the format, bytes 1-3 the length of the child (little-endian),
 * then both. */
#include "tests/fuzz/fuzz_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum image_format format;
	struct image *child, *parent;
	struct sentence err;
	size_t n;

	if (size < 4)
		return 0;
	format = data[0] & 1 ? IMAGE_VMDK : IMAGE_VHD;
	n = data[1] | (size_t)data[2] << 8 | (size_t)data[3] << 16;
	data += 4;
	size -= 4;
	if (n > size)
		n = size;
	fuzz_file(0, data, n);
	fuzz_file(1, data + n, size - n);
	child = fuzz_open(0, format);
	parent = child ? fuzz_open(1, format) : NULL;
	if (parent && image_set_parent(child, parent, &err) < 0) {
		fuzz_must(strchr(err.text, ':') != NULL);
		image_close(parent);
	}
	if (child)
		fuzz_property(child);
	image_close(child);
	return 0;
}
