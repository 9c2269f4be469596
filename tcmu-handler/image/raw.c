// SPDX-License-Identifier: GPL-2.0-or-later
/* Raw: the file is the disk, byte for byte. */
#include <errno.h>
#include <sys/stat.h>

#include "tcmu-handler/image/internal.h"

int raw_open(struct image *img, const struct image_source *src, struct image_error *err)
{
	uint64_t size = img->files[0].size;
	struct segment *seg;
	struct stat st;

	if (size == 0)
		return image_fail(err, -EBADMSG, "%s: is empty", img->name);
	if (size % SECTOR)
		return image_fail(err, -EBADMSG,
				  "%s: its size, %llu bytes, is not a multiple of 512: it is cut "
				  "off, or not a raw disk image",
				  img->name, (unsigned long long)size);
	seg = image_add_segment(img, SEGMENT_FLAT, size, err);
	if (!seg)
		return -EFBIG;
	img->info.subformat = IMAGE_SUB_RAW;
	img->info.allocated_size = size;
	if (fstat(img->files[0].fd, &st) == 0 && (uint64_t)st.st_blocks * SECTOR < size)
		img->info.allocated_size = (uint64_t)st.st_blocks * SECTOR;
	return image_set_size(img, size, src->size_override, err);
}
