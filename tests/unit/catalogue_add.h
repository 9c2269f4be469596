/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that become images at once, for tests: looked at and added by one call. */
#ifndef BOOTWELL_TEST_CATALOGUE_ADD_H
#define BOOTWELL_TEST_CATALOGUE_ADD_H

#include "daemon/catalogue/catalogue.h"

static inline int add_image(struct catalogue *c, const struct config *config, const char *name, const char *file,
			    const char *format, struct state_image *ret, struct sentence *error)
{
	struct state_image row;
	int r;

	catalogue_prepare(c, name, file, format, 0, &row);
	r = catalogue_inspect(config->images_path, &row, error);
	return r ? r : catalogue_add(c, &row, ret, error);
}

static inline int add_next(struct catalogue *c, const struct config *config, const char *name, const char *file,
			   const char *format, bool current, struct state_image *ret, struct sentence *error)
{
	struct state_image row;
	int r;

	catalogue_prepare(c, name, file, format, 0, &row);
	r = catalogue_inspect(config->images_path, &row, error);
	return r ? r : catalogue_add_generation(c, &row, current, ret, error);
}

#endif
