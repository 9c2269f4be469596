/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's event loop, on io_uring: one thread, callbacks, no locks. Everything here is called from the loop's own
 * thread, except loop_wake().
 */
#ifndef BOOTWELL_LOOP_H
#define BOOTWELL_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct loop;
struct loop_source; /* a registered fd, timer, receiver; freed by loop_source_free() */

/* -ENOSYS or -EPERM: io_uring is not there or forbidden (sysctl kernel.io_uring_disabled). Linux 6.1 or newer. */
int loop_new(struct loop **ret);
void loop_free(struct loop *loop);

/* Runs until loop_stop(); returns what loop_stop() was given. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop, int result);

/* CLOCK_MONOTONIC in ns, read once a round. */
uint64_t loop_now(const struct loop *loop);

/*
 * The longest time in which no packet was received, because one round took it or the next one began late for its
 * timers: of this minute and of the one before, ns.
 */
uint64_t loop_longest_gap(struct loop *loop);

/* Level-triggered: `events` as for poll(2); POLLERR also when the kernel cannot poll the fd (then no more calls). */
typedef void (*loop_poll_fn)(void *arg, uint32_t revents);
int loop_add_poll(struct loop *loop, int fd, uint32_t events, loop_poll_fn fn, void *arg, struct loop_source **ret);

/* One-shot timer at CLOCK_MONOTONIC `when` (ns); armed again with loop_timer_set(); when = UINT64_MAX disarms. */
typedef void (*loop_timer_fn)(void *arg);
int loop_add_timer(struct loop *loop, uint64_t when, loop_timer_fn fn, void *arg, struct loop_source **ret);
void loop_timer_set(struct loop_source *timer, uint64_t when);

/*
 * Multishot recvmsg on a datagram socket with provided buffers. `name` and `control` are as recvmsg() would give;
 * `data` is only valid within the call; a datagram longer than the buffer has truncated = true.
 */
struct loop_datagram {
	const void *data;
	uint32_t length;
	bool truncated;
	const struct sockaddr *name;
	socklen_t name_length;
	struct msghdr *control; /* for CMSG_FIRSTHDR and CMSG_NXTHDR only */
};
typedef void (*loop_recv_fn)(void *arg, const struct loop_datagram *dgram);
int loop_add_recv(struct loop *loop, int fd, uint32_t buffer_size, uint32_t buffers, loop_recv_fn fn, void *arg,
		  struct loop_source **ret);

/* Called once at the end of every round in which `arm` was called since: the place to commit and answer a batch. */
typedef void (*loop_batch_fn)(void *arg);
int loop_add_batch(struct loop *loop, loop_batch_fn fn, void *arg, struct loop_source **ret);
void loop_batch_arm(struct loop_source *batch);

/* Signals through signalfd; the signal is blocked for the process. */
typedef void (*loop_signal_fn)(void *arg, int signo);
int loop_add_signal(struct loop *loop, int signo, loop_signal_fn fn, void *arg, struct loop_source **ret);

/*
 * Runs `work(arg)` on a helper thread (a small pool, first come first served), then `done(arg, result)` on the loop's
 * thread. For what may block: configfs, SQLite housekeeping. `done` is always called: by loop_free() at the latest,
 * with -ECANCELED when the work never began.
 */
typedef int (*loop_work_fn)(void *arg);
typedef void (*loop_done_fn)(void *arg, int result);
int loop_work(struct loop *loop, loop_work_fn work, loop_done_fn done, void *arg);

/* From any thread: `fn(arg)` is called on the loop's thread soon. */
int loop_wake(struct loop *loop, void (*fn)(void *arg), void *arg);

/* NULL is fine; may be called from within the source's own callback; no callback comes after it. */
void loop_source_free(struct loop_source *source);

#endif
