/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Work that may hang for ever, such as opening a file on a server that is gone: on threads that nobody waits for, so
 * that neither the loop nor its helpers (loop_work()), nor the end of the program, hang with it. A job that hangs holds
 * its thread; with as many as there may be, the others wait. Everything here is called from one thread, the loop's.
 */
#ifndef BOOTWELL_ASIDE_H
#define BOOTWELL_ASIDE_H

#include <stdbool.h>
#include <stdint.h>

struct aside;
struct loop;

/* The first member of what a job needs; on the heap. */
struct aside_job {
	void (*work)(struct aside_job *job);              /* on its thread: it touches nothing but the job */
	void (*done)(void *owner, struct aside_job *job); /* on the loop's thread, and the job is the owner's again */
	void (*drop)(struct aside_job *job);              /* instead, after aside_free(), on any thread: frees it */
	struct aside_job *next;
};

/* At most `most` threads. `loop` NULL: work is done at once, within aside_begin(). */
int aside_new(struct aside **ret, struct loop *loop, unsigned int most, void *owner);
/* Before loop_free(), when the loop does not run any more: it may still have a call for this. NULL is fine. */
void aside_free(struct aside *aside);
/* Takes the job. No thread can be made: -errno, and the job is the caller's. */
int aside_begin(struct aside *aside, struct aside_job *job);
/*
 * Before the loop runs: calls `done` of what ends until `deadline` (CLOCK_MONOTONIC, ns); false: nothing has ended
 * until then.
 */
bool aside_wait(struct aside *aside, uint64_t deadline);

#endif
