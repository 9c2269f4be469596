// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Raw: the file is the disk, byte for byte. A raw disk has no mark, so it is what has a partition table or a name that
 * says so; anything else is asked back, rather than taken for a disk.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "tcmu-handler/image/internal.h"

static int raw_open(struct image *img, const struct image_source *src, struct sentence *err)
{
	uint64_t size = img->files[0].size;
	struct image_segment *seg;
	uint8_t sector[SECTOR];
	struct stat st;
	int r;

	if (size == 0)
		return sentence_fail(err, -EBADMSG, "%s: is empty", img->name);
	if (size % SECTOR)
		return sentence_fail(err, -EBADMSG,
				     "%s: its size, %llu bytes, is not a multiple of 512: it is cut "
				     "off, or not a raw disk image",
				     img->name, (unsigned long long)size);
	r = image_read(img, 0, 0, sector, sizeof(sector), "first sector", err);
	if (r < 0)
		return r;
	image_stamp(img, sector, sizeof(sector));
	seg = image_add_segment(img, SEGMENT_FLAT, size, err);
	if (!seg)
		return -EFBIG;
	img->info.subformat = "raw";
	img->info.allocated_size = size;
	if (fstat(img->files[0].fd, &st) == 0 && (uint64_t)st.st_blocks * SECTOR < size)
		img->info.allocated_size = (uint64_t)st.st_blocks * SECTOR;
	return image_set_size(img, size, src->size_override, err);
}

static int raw_probe(const struct image_head *h, struct sentence *err)
{
	(void)err;
	return (h->named && h->named_as == IMAGE_RAW) || memcmp(h->bytes + 510, "\x55\xaa", 2) == 0 ||
	       memcmp(h->bytes + 512, "EFI PART", 8) == 0;
}

const struct image_type raw_type = {
	.name = "raw",
	.id_word = "identity",
	.endings = {".img", ".raw", ".dd", ".iso"},
	.size_max = IMAGE_SIZE_MAX,
	.probe = raw_probe,
	.open = raw_open,
};
