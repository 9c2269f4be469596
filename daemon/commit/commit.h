/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client's write-back laid over its base as one new image file: generation N + 1, beside N. Blocking; for a thread.
 * What the client wrote comes from the program bootwell-overlay (tcmu-handler/export), because the store is the
 * engine's. What the doctor mends is laid over the base in the same way: it comes from bootwell-doctor, and no client
 * has part in it.
 */
#ifndef BOOTWELL_COMMIT_H
#define BOOTWELL_COMMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/image/digest.h"
#include "daemon/image/layers.h"
#include "tcmu-handler/image/image.h"

#define COMMIT_PARTS 17

struct commit {
	/* What is asked. */
	char images_path[256], store_path[256];
	char overlay[40]; /* UUID */
	char image[64];
	uint32_t number;          /* of the base's generation */
	struct layers base;       /* that the overlay lies on */
	char generation[256];     /* as in the disk's record: the overlay must say the same */
	enum image_format format; /* one that sparse_file.h writes */
	const char *helper;       /* NULL: $BOOTWELL_OVERLAY ($BOOTWELL_DOCTOR), or where it is installed */
	bool mend;                /* the doctor's work; store_path and overlay are not looked at */

	/* While it runs; read by other threads with relaxed atomics. */
	uint64_t done, total; /* bytes of the virtual disk */
	bool cancel;

	/* What commit_look() found, by partition of the base; the first is what lies in none. */
	struct commit_part {
		unsigned int number; /* 0: in none */
		const char *kind;    /* "NTFS", "ext", "other" */
		uint64_t start, end; /* bytes */
		uint64_t changed;
	} part[COMMIT_PARTS];
	unsigned int parts;

	/* What came out. */
	uint64_t changed; /* bytes that the client wrote */
	uint32_t ranges;
	char file[256]; /* beneath images_path */
	uint8_t digest[DIGEST_SIZE];
	uint64_t disk_bytes;
	char told[8192]; /* mend: what was mended, a sentence in each line */
	struct sentence error;
};

/* What would be committed: changed, ranges, and in which partitions. -ENOENT: nothing was written. */
int commit_look(struct commit *commit);
/* Makes the file, synced and checked, with its name. -ENOSPC, -ECANCELED, ...: nothing of it is left. After 0 the
 * caller puts it into the catalogue and calls commit_settle(): until then the next start's commit_clean() finds it. */
int commit_write(struct commit *commit);
/* `kept`: it is an image now; otherwise it is removed. */
void commit_settle(const struct commit *commit, bool kept);
/* Removes what a commit that was cut off left in the folder of images. known: is this file of that folder an image? */
typedef bool (*commit_known_fn)(void *arg, const char *file);
void commit_clean(const char *images_path, commit_known_fn known, void *arg);

#endif
