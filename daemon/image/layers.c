// SPDX-License-Identifier: GPL-2.0-or-later
/* A chain of images from the list of its files. */
#include "daemon/image/layers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int layers_open(struct image **ret, const char *images_path, const struct layers *base, struct sentence *err)
{
	int dir = open(images_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = dir < 0 ? -errno : 0;
	struct image *top = NULL, *last = NULL;

	if (r)
		snprintf(err->text, sizeof(err->text), "the folder of images %s cannot be opened: %s", images_path,
			 strerror(-r));
	for (unsigned int i = 0; !r && i < base->layers; i++) {
		struct image_source source = {
			.dirfd = dir, .name = base->layer[i].file, .size_override = base->layer[i].size_override};
		struct image *img;

		r = image_format_from_name(base->layer[i].format, &source.format);
		if (!r)
			r = image_open(&img, &source, err);
		if (r)
			break;
		if (last) {
			r = image_set_parent(last, img, err);
			if (r)
				image_close(img);
		} else {
			top = img;
		}
		last = img;
	}
	if (dir >= 0)
		close(dir);
	if (r) {
		image_close(top);
		return r;
	}
	*ret = top;
	return 0;
}
