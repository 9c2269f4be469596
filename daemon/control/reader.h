/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state for threads that only look: a connection to the database of its own, made at the first use, for one thread
 * at a time. The disk beneath it may be slow; the loop never waits here.
 */
#ifndef BOOTWELL_READER_H
#define BOOTWELL_READER_H

#include "daemon/state/state.h"

struct reader;

int reader_new(struct reader **ret, const char *file);
void reader_free(struct reader *reader);
/* NULL: it cannot be opened. Either way reader_leave() follows. */
struct state *reader_enter(struct reader *reader);
void reader_leave(struct reader *reader);

#endif
