/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an unfinished upload remembers over a restart of the server: a file of records beside the data, 64 bytes each,
 * every one with a CRC32. The first KiB says which upload it is. A record that is torn, and all behind it, never
 * happened. Whether the data that a record speaks of reached the disk is for the reader to check, by its digest.
 */
#ifndef BOOTWELL_UPLOAD_JOURNAL_H
#define BOOTWELL_UPLOAD_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/image/digest.h"
#include "daemon/image/sparse_file.h"
#include "daemon/image/upload_limits.h"

struct upload_header {
	char file[UPLOAD_NAME_MAX];   /* as asked for, with its ending */
	char who[UPLOAD_WHO_MAX];     /* client's name, or "operator" */
	char session[UPLOAD_KEY_MAX]; /* the sender's own key for this attempt */
	char id[UPLOAD_KEY_MAX];
	uint64_t size, used; /* bytes */
	int64_t started;     /* CLOCK_REALTIME s */
	bool update;         /* a new generation of an image that exists */
	bool pc;             /* a PC sends it, with the secret of its capture script */
	bool make_current;   /* an operator said that new boots get the generation */
};

enum upload_record_type { UPLOAD_RECORD_PART = 1, UPLOAD_RECORD_ZERO, UPLOAD_RECORD_DONE };

struct upload_record {
	enum upload_record_type type;
	uint64_t part;               /* ZERO: the first one */
	uint64_t count;              /* ZERO: parts */
	struct sparse_place place;   /* PART */
	uint8_t digest[DIGEST_SIZE]; /* PART: of the part; DONE: of the disk */
};

/* Makes the file (-EEXIST) and syncs it. *ret_fd is for journal_append(). */
int journal_create(int dirfd, const char *name, const struct upload_header *header, int *ret_fd);
/* Whole or not at all: after -ENOSPC the file is as it was. Not synced. */
int journal_append(int fd, const struct upload_record *record);
/*
 * Opens an old one for appending, cutting off what is torn, and calls `fn` for each record. -EBADMSG: not a journal.
 * fn may be NULL; with ret_fd NULL nothing is changed.
 */
typedef int (*journal_fn)(void *arg, const struct upload_record *record);
int journal_open(int dirfd, const char *name, struct upload_header *ret, journal_fn fn, void *arg, int *ret_fd);

#endif
