/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keeps the state: a copy each day (state/copies.h), and whether its disk can be written to. Both on a helper thread,
 * one at a time: a disk that hangs holds one thread, and is said too. Loop's thread, except keeper_begin_state().
 */
#ifndef BOOTWELL_KEEPER_H
#define BOOTWELL_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/loop.h"

struct keeper;

/* `file`: the state's. */
int keeper_new(struct keeper **ret, struct loop *loop, const char *file);
void keeper_free(struct keeper *keeper);
/* What is wrong, one sentence each; NULL past the last. Valid until the loop goes on. */
const char *keeper_problem(struct keeper *keeper, unsigned int n);
/* False: the state's disk is full, read-only, or does not answer. */
bool keeper_writable(const struct keeper *keeper);
/* When the newest copy was made, CLOCK_REALTIME s; 0: there is none. */
int64_t keeper_copied(const struct keeper *keeper);

/*
 * Before the state is opened, at start: looks at a state that is there and makes the copy that a new version leaves.
 * Logs. -EUCLEAN: it is damaged; which copy is good is said.
 */
int keeper_begin_state(const char *file, const char *version);

#endif
