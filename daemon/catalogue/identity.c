// SPDX-License-Identifier: GPL-2.0-or-later
/* Whether rows of the catalogue are one image. Nobody else here compares what images are known by. */
#include <string.h>

#include "daemon/catalogue/private.h"
#include "tcmu-handler/image/identity.h"

bool catalogue_same_path(const struct state_image *a, const struct state_image *b)
{
	return !strcmp(a->file, b->file);
}

static bool id_is_as_before(const char *a, const char *b)
{
	return image_id_same(a, b) || (!a[0] && !b[0]);
}

bool catalogue_same_file(const struct state_image *a, const struct state_image *b)
{
	return catalogue_same_path(a, b) && !strcmp(a->format, b->format) &&
	       id_is_as_before(a->image_id, b->image_id) && id_is_as_before(a->parent_id, b->parent_id) &&
	       a->file_size == b->file_size && a->virtual_size == b->virtual_size &&
	       image_fingerprint_fits(a->fingerprint, b->fingerprint);
}

bool catalogue_fits_as_parent(const struct state_image *image, const struct state_image *child)
{
	return !strcmp(image->format, child->format) && image_id_same(child->parent_id, image->image_id);
}

bool catalogue_is_parent(const struct state_image *parent, const struct state_image *child)
{
	return child->parent ? child->parent == parent->id : catalogue_fits_as_parent(parent, child);
}
