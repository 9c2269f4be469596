// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The table of formats, and what the rest of the product asks of it. Nobody else lists formats: a new one is its own
 * file and a row of IMAGE_FORMATS() in image.h.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "tcmu-handler/image/internal.h"

#define ROW(NAME, name_) [IMAGE_##NAME] = &name_##_type,

static const struct image_type *const types[] = {IMAGE_FORMATS(ROW, ROW)};

#define N_TYPES (sizeof(types) / sizeof(types[0]))

const struct image_type *image_type(enum image_format format)
{
	return (unsigned int)format < N_TYPES ? types[format] : NULL;
}

const struct image_type *image_type_to_probe(unsigned int n, enum image_format *ret_format)
{
	if (n >= N_TYPES)
		return NULL;
	*ret_format = (enum image_format)(N_TYPES - 1 - n);
	return types[*ret_format];
}

const char *image_format_name(enum image_format format)
{
	const struct image_type *type = image_type(format);

	return type ? type->name : "?";
}

int image_format_from_name(const char *name, enum image_format *ret)
{
	for (unsigned int i = 0; i < N_TYPES; i++) {
		if (strcasecmp(name, types[i]->name) == 0) {
			*ret = (enum image_format)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *image_format_ending(enum image_format format)
{
	const struct image_type *type = image_type(format);

	return type ? type->endings[0] : "";
}

static bool ends_with(const char *name, const char *ending)
{
	size_t n = strlen(name), m = strlen(ending);

	return n > m && strcasecmp(name + n - m, ending) == 0;
}

bool image_format_fits(enum image_format format, const char *file)
{
	const struct image_type *type = image_type(format);

	for (size_t i = 0; type && type->endings[i]; i++)
		if (ends_with(file, type->endings[i]))
			return true;
	return false;
}

int image_format_from_file(const char *file, enum image_format *ret)
{
	for (unsigned int i = 0; i < N_TYPES; i++) {
		if (image_format_fits((enum image_format)i, file)) {
			*ret = (enum image_format)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *image_id_word(enum image_format format)
{
	const struct image_type *type = image_type(format);

	return type ? type->id_word : "identity";
}

uint64_t image_format_size_max(enum image_format format)
{
	const struct image_type *type = image_type(format);

	return type ? type->size_max : 0;
}
