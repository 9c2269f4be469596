/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a server cannot do at the moment, and why: one sentence each, listed in status and tried again every few seconds
 * until none is left. A sentence is logged once, when it is new. Loop's thread only.
 *
 *	problems_begin(p);
 *	if (...)
 *		problems_add(p, "X is not served: ...; do Y");
 *	problems_end(p);
 */
#ifndef BOOTWELL_PROBLEMS_H
#define BOOTWELL_PROBLEMS_H

#include <stdint.h>

#include "daemon/core/loop.h"

#define PROBLEMS_MAX      16
#define PROBLEMS_TEXT     320
#define PROBLEMS_RETRY_NS (5 * 1000000000ull)

struct problems {
	struct loop *loop;
	struct loop_source *retry;
	char text[PROBLEMS_MAX][PROBLEMS_TEXT]; /* beyond count: those of the look before */
	unsigned int count;
};

/* `again` is to look anew, from problems_begin() on. `*problems` stays where it is. */
int problems_init(struct problems *problems, struct loop *loop, loop_timer_fn again, void *arg);
void problems_done(struct problems *problems);

void problems_begin(struct problems *problems);
void problems_add(struct problems *problems, const char *format, ...) __attribute__((format(printf, 2, 3)));
void problems_end(struct problems *problems);

/* The n-th sentence; NULL past the last. */
const char *problems_at(const struct problems *problems, unsigned int n);

#endif
