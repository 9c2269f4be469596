/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The catalogue and the update sessions as they were at one moment, for threads that must not ask the state. */
#ifndef BOOTWELL_STATE_ROWS_H
#define BOOTWELL_STATE_ROWS_H

#include <stddef.h>

#include "daemon/state/state.h"

struct state_rows {
	unsigned int refs; /* atomic; the rest never changes */
	struct state_image *image;
	size_t images;
	struct state_session *session;
	size_t sessions;
};

/* On the state's thread; the same block until something changes. NULL: out of memory, or the state cannot be read. */
struct state_rows *state_rows(struct state *state);
void state_rows_unref(struct state_rows *rows); /* any thread; NULL is fine */
/* As state_image_each(). Any thread; NULL: there are none. */
void state_rows_each(const struct state_rows *rows, void (*fn)(void *arg, const struct state_image *image), void *arg);

#endif
