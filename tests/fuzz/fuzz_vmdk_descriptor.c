// SPDX-License-Identifier: GPL-2.0-or-later
/* A descriptor, up to the first NUL, and the one file that it may name: "b". */
#include "tests/fuzz/fuzz_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nul = memchr(data, 0, size);
	size_t text = nul ? (size_t)(nul - data) : size;
	struct image *img;

	fuzz_file(0, data, text);
	fuzz_file(1, nul ? nul + 1 : data, nul ? size - text - 1 : 0);
	img = fuzz_open(0, IMAGE_VMDK);
	if (img)
		fuzz_property(img);
	image_close(img);
	return 0;
}
