/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text of the records that the handler reads (tcmu-handler/handover.h, docs/handover.md). Text only: no files. */
#ifndef BOOTWELL_BOOT_RECORD_H
#define BOOTWELL_BOOT_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/catalogue/catalogue.h"
#include "daemon/config/config.h"

/* One disk. */
struct boot_record {
	const char *client;  /* the PC's name, for messages */
	uint64_t size;       /* bytes, of the disk */
	const char *overlay; /* UUID */
	const char *mode;    /* HANDOVER_KEEP, HANDOVER_DISCARD, HANDOVER_READONLY */
	const char *boot;    /* UUID */
	const char *reset;   /* UUID; "" none. Of HANDOVER_KEEP only. */
	const char *images_path;
	const struct catalogue_chain *chain;
};

/* Both: 0, -ENOSPC (it does not fit into `size`), -EINVAL (a value that the reader would not take as it is meant). */
int boot_record_disk(char *ret, size_t size, const struct boot_record *record);
int boot_record_engine(char *ret, size_t size, const struct config *config);

#endif
