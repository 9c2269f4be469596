/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loop's other threads: a queue of work for a few helpers, and the queue of calls that come back to the loop's
 * thread through an eventfd. Only loop.c uses this.
 */
#ifndef BOOTWELL_LOOP_POOL_H
#define BOOTWELL_LOOP_POOL_H

#include "daemon/core/loop.h"

/* Begun when they are needed. Four kinds of work may hang in the kernel (targets, looking at clients, a scrape, the
 * files of counters); leases are committed here too, and must not wait for them. */
#define LOOP_POOL_THREADS 6

struct loop_pool;

/* `fd` is an eventfd that is written to when loop_pool_deliver() has something to do; not owned. */
int loop_pool_new(struct loop_pool **ret, int fd);
/* Waits for the work that runs, and tells the end of every work: -ECANCELED for what never began. Calls are dropped. */
void loop_pool_free(struct loop_pool *pool);
int loop_pool_work(struct loop_pool *pool, loop_work_fn work, loop_done_fn done, void *arg);
int loop_pool_call(struct loop_pool *pool, void (*fn)(void *arg), void *arg); /* any thread */
void loop_pool_deliver(struct loop_pool *pool);                               /* loop's thread */

#endif
