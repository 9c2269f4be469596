/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What bootwelld (daemon/boot/record.c) writes and the handler (conf.c) reads, docs/handover.md: the names of the
 * files, of the keys, and how long each value may be. The one place for them; tests/unit/test_handover.c has both at
 * one table. No code of either side: libc only.
 */
#ifndef BOOTWELL_HANDOVER_H
#define BOOTWELL_HANDOVER_H

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#define HANDOVER_RUN       "/run/bootwell"
#define HANDOVER_BYTES_MAX 65536 /* of a record; the reader takes less than this */

/* Bytes with NUL. */
#define HANDOVER_ID_MAX         65 /* 1 to 64 characters of [A-Za-z0-9._-], not "." nor ".." */
#define HANDOVER_CLIENT_MAX     256
#define HANDOVER_GENERATION_MAX 256
#define HANDOVER_DIR_MAX        1024 /* absolute, no blank in it */
#define HANDOVER_FILE_MAX       256
#define HANDOVER_STORE_MAX      1024 /* absolute */

#define HANDOVER_THREADS_MAX 16

/* Beneath the run folder. ID.patch and ID.patching: what belongs into an empty write-back. */
#define HANDOVER_ENGINE   "%s/engine.conf"
#define HANDOVER_DISK     "%s/disk/%s.conf"
#define HANDOVER_ERROR    "%s/disk/%s.error"
#define HANDOVER_PATCH    "%s/disk/%s.patch"
#define HANDOVER_PATCHING "%s/disk/%s.patching"

/* engine.conf */
#define HANDOVER_STORE          "store"
#define HANDOVER_STORE_SIZE     "store_size"
#define HANDOVER_IMAGE_RAM      "image_ram"
#define HANDOVER_WRITE_BACK_RAM "write_back_ram"
#define HANDOVER_THREADS        "threads"

/* disk/ID.conf */
#define HANDOVER_CLIENT        "client"
#define HANDOVER_SIZE          "size"
#define HANDOVER_OVERLAY       "overlay"
#define HANDOVER_MODE          "mode"
#define HANDOVER_BOOT          "boot"
#define HANDOVER_RESET         "reset"
#define HANDOVER_GENERATION    "generation"
#define HANDOVER_LAYER         "layer"
#define HANDOVER_SIZE_OVERRIDE "size_override"
#define HANDOVER_FINGERPRINT   "fingerprint"

/* The values of HANDOVER_MODE. */
#define HANDOVER_KEEP     "keep"
#define HANDOVER_DISCARD  "discard"
#define HANDOVER_READONLY "readonly"

static inline bool handover_id_valid(const char *id)
{
	size_t n = strlen(id);

	if (n < 1 || n >= HANDOVER_ID_MAX || !strcmp(id, ".") || !strcmp(id, ".."))
		return false;
	for (; *id; id++)
		if (!isalnum((unsigned char)*id) && !strchr("._-", *id))
			return false;
	return true;
}

#endif
