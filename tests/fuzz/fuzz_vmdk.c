// SPDX-License-Identifier: GPL-2.0-or-later
/* One VMDK file: refused with a sentence, or it maps as it must. */
#include "tests/fuzz/fuzz_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image *img;

	fuzz_file(0, data, size);
	img = fuzz_open(0, IMAGE_VMDK);
	if (img)
		fuzz_property(img);
	image_close(img);
	return 0;
}
