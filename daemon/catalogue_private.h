/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What catalogue.c and catalogue_generation.c share. */
#ifndef BOOTWELL_CATALOGUE_PRIVATE_H
#define BOOTWELL_CATALOGUE_PRIVATE_H

#include <stddef.h>

#include "daemon/catalogue.h"

struct catalogue {
	struct store *store;
	char **problem;
	size_t problems;
};

/* Reads what the file row->file is, into everything of `row` that comes from the file. */
int catalogue_inspect(const char *path, const char *format_name, struct store_image *row,
		      char error[CATALOGUE_ERROR_MAX]);
/* Writes a row and makes it the current one, as one transaction. */
int catalogue_put_current(struct catalogue *catalogue, struct store_image *row);
/* Does a group or a client name the image, to start from or as a further disk? */
bool catalogue_profile_names(const struct config_profile *profile, const char *image);
/* Has the image a generation in this very file? Name, file, format, ids and sizes are compared. */
bool catalogue_has_file(struct catalogue *catalogue, const struct store_image *row);

#endif
