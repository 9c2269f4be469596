/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An image with its parents whose files are known already, because the catalogue keeps them: nothing is looked for. */
#ifndef BOOTWELL_IMAGE_LAYERS_H
#define BOOTWELL_IMAGE_LAYERS_H

#include <stdint.h>

#include "tcmu-handler/image/image.h"

/* An image, itself first, then its parents: as catalogue_resolve() gives it. */
struct layers {
	unsigned int layers;
	struct {
		char format[16];
		char file[256];
		uint64_t size_override;
	} layer[IMAGE_CHAIN_MAX];
};

/* Opens them as one image; file names are below images_path. 0, or -errno with err set. */
int layers_open(struct image **ret, const char *images_path, const struct layers *base, struct sentence *err);

#endif
