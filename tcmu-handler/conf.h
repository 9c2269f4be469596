/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The records that the daemon writes for the handler: docs/handover.md. Pure parsers of text, and
 * their files. */
#ifndef BOOTWELL_CONF_H
#define BOOTWELL_CONF_H

#include "tcmu-handler/engine.h"
#include "tcmu-handler/handover.h"

/* $BOOTWELL_RUN or /run/bootwell */
const char *conf_run_dir(void);

/* `name` is for messages. `text` is modified. -EINVAL with a sentence that names the line. */
int conf_parse_engine(struct engine_config *ret, char *text, const char *name, struct sentence *err);
int conf_parse_disk(struct disk_config *ret, char *text, const char *name, struct sentence *err);

int conf_read_engine(struct engine_config *ret, const char *run_dir, struct sentence *err);
int conf_read_disk(struct disk_config *ret, const char *run_dir, const char *id, struct sentence *err);

/* Writes, or with NULL removes, ID.error. */
void conf_write_error(const char *run_dir, const char *id, const char *sentence);

#endif
