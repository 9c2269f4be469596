/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What systemd's sandbox of tcmu-runner.service and bootwell.service has to know of the configuration: which paths
 * may be written. The units in conf/ hold what is the same everywhere; this makes the drop-in that is not
 * (systemd.exec(5)).
 *
 * tcmu-runner may write the store, the run folder and its lock, and reads the rest of the file system; bootwelld may
 * write its state, the run folder and the images. /home, /tmp and the folders of secrets are hidden unless a path
 * leads there.
 */
#ifndef BOOTWELL_CONFIG_UNITS_H
#define BOOTWELL_CONFIG_UNITS_H

#include <stdbool.h>
#include <stdio.h>

#include "daemon/config/config.h"
#include "tcmu-handler/handover.h"

#define UNITS_DROPIN      "bootwell.paths.conf" /* sorts after bootwell.conf and before what `systemctl edit` makes */
#define UNITS_RUNNER_LOCK "/run/tcmu.lock"      /* tcmu-runner's own, made by it at its start */

/* What the disks that there are stand on, whatever the configuration says by now: a tcmu-runner that starts again
 * needs it. */
struct units_used {
	char store[HANDOVER_STORE_MAX]; /* "" none that is there */
	bool home, temporary;           /* images lie beneath /home, /root, /run/user; beneath /tmp, /var/tmp */
};

/* From the records beneath `run_path` (docs/handover.md); what is not there is left out. */
void units_read_used(struct units_used *ret, const char *run_path);

/*
 * The text of the drop-in, whole. Nothing is written, and false returned, when a path has a character in it that a
 * unit cannot name (a quote, a backslash, a control character): the units' own, weaker lines then hold alone.
 */
bool units_write_runner(FILE *to, const struct config *config, const struct units_used *used);
bool units_write_daemon(FILE *to, const struct config *config);

#endif
