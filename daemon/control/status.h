/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon knows, as JSON. In two steps: what belongs to the loop is taken there, small, beside a snapshot of
 * the clients; the rest is read (counters of the disks, a PC's boots) and all is printed on a helper thread.
 */
#ifndef BOOTWELL_STATUS_H
#define BOOTWELL_STATUS_H

#include <jansson.h>

#include "daemon/control/reader.h"
#include "daemon/control/snapshot.h"
#include "daemon/state/rows.h"

struct daemon;

struct status_source {
	struct snapshot *snapshot;
	struct reader *reader;   /* of STATUS_BOOTS only */
	struct state_rows *rows; /* NULL: they cannot be read */
	struct image_looks *looks;
	char run[256], images[256];                                           /* folders */
	json_t *server, *problems, *dhcp, *tftp, *uploads, *commit, *history; /* of STATUS_ALL only */
};

/* Loop's thread. */
void status_source_init(struct status_source *source, struct daemon *d, struct snapshot *snapshot);
void status_source_all(struct status_source *source, struct daemon *d);
void status_source_done(struct status_source *source);

/* CLIENT, BOOTS: of the first client of the snapshot. */
enum status_what { STATUS_ALL, STATUS_CLIENTS, STATUS_IMAGES, STATUS_CLIENT, STATUS_BOOTS };
/* Any thread, once; may block. To be freed; NULL: out of memory. */
char *status_print(struct status_source *source, enum status_what what, size_t *ret_length);

#endif
