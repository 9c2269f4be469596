// SPDX-License-Identifier: GPL-2.0-or-later
/* What image_probe() calls an image is opened as that; that may fail, but not crash. */
#include "tests/fuzz/fuzz_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum image_format format;
	struct sentence err = {0};
	struct image *img;

	fuzz_file(0, data, size);
	if (image_probe(fuzz_dirfd, fuzz_names[0], &format, &err) < 0) {
		fuzz_must(err.text[0] != '\0');
		return 0;
	}
	img = fuzz_open(0, format);
	if (img)
		fuzz_property(img);
	image_close(img);
	return 0;
}
