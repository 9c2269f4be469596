/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A line that moves on a terminal, or a line now and then in a log. */
#ifndef BOOTWELL_PROGRESS_BAR_H
#define BOOTWELL_PROGRESS_BAR_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "daemon/uploader/uploader.h"

struct progress_bar {
	FILE *to;
	bool quiet, terminal, shown;
	int64_t last; /* CLOCK_MONOTONIC ms of the last line */
};

void progress_bar_init(struct progress_bar *bar, FILE *to, bool quiet);
/* The text of a line, without its end: "[#####.....]  42 %  812 MiB of 1.9 GiB  95 MiB/s  0:12 left". */
void progress_bar_text(char *ret, size_t size, uint64_t done, uint64_t total, uint64_t rate, uint64_t left_s,
		       const char *note);
void progress_bar_line(struct progress_bar *bar, const char *text);
void progress_bar_upload(struct progress_bar *bar, const struct uploader_progress *progress);
void progress_bar_done(struct progress_bar *bar);

#endif
