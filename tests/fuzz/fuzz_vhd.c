// SPDX-License-Identifier: GPL-2.0-or-later
/* A VHD. Its checksums would stop nearly every mutation at the door, so the mutator mends them,
 * mostly. */
#include "tcmu-handler/image/bytes.h"
#include "tcmu-handler/image/vhd.h"
#include "tests/fuzz/fuzz_image.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image *img;

	fuzz_file(0, data, size);
	img = fuzz_open(0, IMAGE_VHD);
	if (img)
		fuzz_property(img);
	image_close(img);
	return 0;
}

static void mend(uint8_t *p, size_t n, size_t field)
{
	be32_put(p + field, vhd_checksum(p, n, field));
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed)
{
	uint64_t header;

	size = LLVMFuzzerMutate(data, size, max);
	if (size < 2 * VHD_FOOTER_SIZE || seed % 8 == 0)
		return size;
	mend(data, VHD_FOOTER_SIZE, VHD_F_CHECKSUM);
	if (seed & 8)
		memcpy(data + size - VHD_FOOTER_SIZE, data, VHD_FOOTER_SIZE);
	else
		mend(data + size - VHD_FOOTER_SIZE, VHD_FOOTER_SIZE, VHD_F_CHECKSUM);
	header = be64_at(data + VHD_F_DATA_OFFSET);
	if (header <= size - VHD_FOOTER_SIZE && size - header >= VHD_HEADER_SIZE)
		mend(data + header, VHD_HEADER_SIZE, VHD_H_CHECKSUM);
	return size;
}
