/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is no mistake of the file, but will be one of the room: each as one sentence. The file has been read and is
 * right; this looks at the machine that it is for.
 */
#ifndef BOOTWELL_CONFIG_ROOM_H
#define BOOTWELL_CONFIG_ROOM_H

#include "daemon/config/config.h"

void config_look_at_room(const struct config *config, config_report_fn report, void *arg);
/* The same of the files of images, which may hang: for the command line. bootwelld opens them (catalogue.h). */
void config_look_at_images(const struct config *config, config_report_fn report, void *arg);

#endif
