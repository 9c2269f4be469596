/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The records that the daemon writes for the handler: docs/handover.md. Pure parsers of text, and
 * their files. */
#ifndef BOOTWELL_CONF_H
#define BOOTWELL_CONF_H

#include "tcmu-handler/engine.h"

#define CONF_BYTES_MAX 65536 /* of a record */

/* $BOOTWELL_RUN or /run/bootwell */
const char *conf_run_dir(void);

/* 1 to 64 characters of [A-Za-z0-9._-], not "." nor ".." */
bool conf_id_valid(const char *id);

/* `name` is for messages. `text` is modified. -EINVAL with a sentence that names the line. */
int conf_parse_engine(struct engine_config *ret, char *text, const char *name,
		      struct engine_error *err);
int conf_parse_disk(struct disk_config *ret, char *text, const char *name,
		    struct engine_error *err);

int conf_read_engine(struct engine_config *ret, const char *run_dir, struct engine_error *err);
int conf_read_disk(struct disk_config *ret, const char *run_dir, const char *id,
		   struct engine_error *err);

/* Writes, or with NULL removes, ID.error. */
void conf_write_error(const char *run_dir, const char *id, const char *sentence);

#endif
