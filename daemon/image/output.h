/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file that gets its name only when it is complete: written beside, synced, renamed. */
#ifndef BOOTWELL_IMAGE_OUTPUT_H
#define BOOTWELL_IMAGE_OUTPUT_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "tcmu-handler/image/image.h"

struct output {
	int dirfd, fd;
	char name[NAME_MAX + 1];
	char temporary[NAME_MAX + 1]; /* "" when there is nothing to remove */
};

/* Makes the temporary file beside `path`. Returns 0 or -errno with err set, and then nothing is to
 * be undone. */
int output_begin(struct output *out, const char *path, struct sentence *err);

/* All of it at that place of the file. */
int output_write(struct output *out, uint64_t at, const void *data, size_t length, struct sentence *err);

/* Makes the file so long; what was not written is a hole. */
int output_resize(struct output *out, uint64_t length, struct sentence *err);

/* Syncs the file, gives it its name, syncs the folder. */
int output_commit(struct output *out, struct sentence *err);

/* Closes; removes the temporary file if it was not committed. */
void output_done(struct output *out);

#endif
