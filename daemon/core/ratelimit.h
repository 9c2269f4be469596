/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Token buckets by source, in a table of fixed size: 4 places a set, the one longest unused makes way. So memory does
 * not depend on how many sources a flood invents; a real client that is pushed out begins with a full bucket again.
 */
#ifndef BOOTWELL_RATELIMIT_H
#define BOOTWELL_RATELIMIT_H

#include <stdbool.h>
#include <stdint.h>

#define RATELIMIT_SETS 1024 /* of 4 */

struct ratelimit;

/* `rate` packets a second, `burst` at once. */
int ratelimit_new(struct ratelimit **ret, uint32_t rate, uint32_t burst);
void ratelimit_free(struct ratelimit *limit);
/* `now`: CLOCK_MONOTONIC, ns. False: over the limit, drop the packet. */
bool ratelimit_take(struct ratelimit *limit, uint64_t source, uint64_t now);

#endif
