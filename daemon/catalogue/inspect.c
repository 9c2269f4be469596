// SPDX-License-Identifier: GPL-2.0-or-later
/* What a file is, noted in a row of the catalogue. The only place of the catalogue that opens a file of images. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/catalogue/private.h"

int catalogue_inspect(const char *path, struct state_image *row, struct sentence *error)
{
	struct image_source source = {.name = row->file, .size_override = row->size_override};
	struct sentence why = {};
	struct image *image = NULL;
	int r = 0;

	source.dirfd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (source.dirfd < 0) {
		r = -errno;
		sentence_set(error, "image %s: the folder of images %s cannot be opened: %s", row->name, path,
			     strerror(-r));
		return r;
	}
	if (*row->format)
		r = image_format_from_name(row->format, &source.format);
	else
		r = image_probe(source.dirfd, row->file, &source.format, &why);
	if (!r)
		r = image_open(&image, &source, &why);
	close(source.dirfd);
	if (r) {
		sentence_set(error, "image %s cannot be used: %s", row->name, why.text[0] ? why.text : strerror(-r));
		return r;
	}
	snprintf(row->format, sizeof(row->format), "%s", image_format_name(source.format));
	snprintf(row->image_id, sizeof(row->image_id), "%s", image_info(image)->id);
	snprintf(row->parent_id, sizeof(row->parent_id), "%s",
		 image_needs_parent(image) ? image_info(image)->parent_id : "");
	snprintf(row->parent_hint, sizeof(row->parent_hint), "%s", image_info(image)->parent_hint);
	snprintf(row->own_name, sizeof(row->own_name), "%s", image_info(image)->own_name);
	row->fingerprint = image_info(image)->fingerprint;
	row->virtual_size = image_info(image)->virtual_size;
	row->file_size = image_info(image)->file_size;
	image_close(image);
	return 0;
}
