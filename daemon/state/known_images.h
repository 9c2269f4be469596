/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For config_read_known(): the catalogue's images, from the state of the configuration that is
 * being read. */
#ifndef BOOTWELL_KNOWN_IMAGES_H
#define BOOTWELL_KNOWN_IMAGES_H

#include "daemon/config/config.h"
#include "daemon/state/state.h"

struct known_images {
	struct state *state; /* set by the caller when it is open; else opened when it is needed, if
				it is there */
	bool tried, opened;
};

bool known_images_has(void *known_images, const struct config *config, const char *name);
void known_images_done(struct known_images *known);

#endif
