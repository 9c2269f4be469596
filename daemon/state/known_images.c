// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The images of the catalogue, for a configuration that is being checked: opened only when a name is not in the file.
 */
#include <stdio.h>
#include <unistd.h>

#include "daemon/state/known_images.h"

bool known_images_has(void *arg, const struct config *config, const char *name)
{
	struct known_images *known = arg;
	struct sentence error = {""};
	char file[300];
	struct state_image row;

	if (!known->state && !known->tried) {
		known->tried = true;
		snprintf(file, sizeof(file), "%s/bootwell.db", config->state_path);
		known->opened = !access(file, R_OK | W_OK) && !state_new(&known->state, file, &error);
	}
	return known->state && state_image_current(known->state, name, &row) > 0;
}

void known_images_done(struct known_images *known)
{
	if (known->opened)
		state_free(known->state);
	known->state = NULL;
	known->opened = false;
}
