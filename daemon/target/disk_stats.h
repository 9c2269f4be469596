/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads the handler's counters, tcmu-handler/stats.h. */
#ifndef BOOTWELL_DISK_STATS_H
#define BOOTWELL_DISK_STATS_H

#include "tcmu-handler/stats.h"

/* RUN/disk/ID.stat; -errno, -ENOENT when the handler has not opened the disk yet. */
int disk_stats_read(const char *run, const char *id, struct stats_disk *ret);
/* RUN/store.stat */
int disk_stats_store(const char *run, struct stats_store *ret);

#endif
