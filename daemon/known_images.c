// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <unistd.h>

#include "daemon/known_images.h"

bool known_images_has(void *arg, const struct config *config, const char *name)
{
	struct known_images *known = arg;
	char file[300], error[256];
	struct store_image row;

	if (!known->store && !known->tried) {
		known->tried = true;
		snprintf(file, sizeof(file), "%s/bootwell.db", config->state_path);
		known->opened =
			!access(file, R_OK | W_OK) && !store_new(&known->store, file, error);
	}
	return known->store && store_image_current(known->store, name, &row) > 0;
}

void known_images_done(struct known_images *known)
{
	if (known->opened)
		store_free(known->store);
	known->store = NULL;
	known->opened = false;
}
