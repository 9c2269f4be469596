/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One round of the loop: timers that are due, completions (at most ROUND_MAX, so that batches stay bounded), batches,
 * then one system call that submits everything that was prepared and waits for more. Timers are a heap here, not in the
 * kernel: their next moment is the limit of the wait.
 *
 * Life of a source: at most one operation of it is in the kernel. A freed source with an operation there is cancelled
 * at once (so that the caller may close and bind again) and its memory goes when the last completion has come. Each
 * source in the kernel counts as `inflight`; user_data is its address.
 *
 * Poll is one-shot and armed again after the callback: level-triggered, as callers of poll(2) expect. Receiving is
 * multishot with a ring of provided buffers of its own for each socket: a flood on one socket cannot starve another.
 */
#include "daemon/core/loop.h"

#include <errno.h>
#include <liburing.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "daemon/core/loop_pool.h"
#include "daemon/core/clock.h"
#include "tcmu-handler/trace.h"

#define RING_ENTRIES   1024
#define ROUND_MAX      1024 /* completions handled before batches run */
#define RETRY_NS       100000000ull
#define NAME_LENGTH    sizeof(struct sockaddr_storage)
#define CONTROL_LENGTH 128u
#define GROUPS         65536u
#define GAP_WINDOW     60000000000ull

enum kind { KIND_POLL, KIND_TIMER, KIND_RECV, KIND_BATCH, KIND_SIGNAL };

struct loop_source {
	struct loop *loop;
	struct loop_source *prev, *next; /* every source */
	enum kind kind;
	bool dead, inflight, armed;
	bool busy; /* in its callback: freed after it */
	int fd;
	void *arg;

	uint32_t events;                /* poll */
	uint64_t when;                  /* timer, or the retry of a receiver */
	size_t heap;                    /* place in the heap plus 1, 0: not in it */
	struct loop_source *next_armed; /* batch */

	struct io_uring_buf_ring *ring; /* receiver: one mapping holds ring and buffers */
	size_t ring_size;
	uint8_t *buffer;
	uint32_t buffer_size, buffers;
	uint16_t group;
	struct msghdr shape;

	union {
		loop_poll_fn poll;
		loop_timer_fn timer;
		loop_recv_fn recv;
		loop_batch_fn batch;
		loop_signal_fn signal;
	} fn;
};

struct loop {
	struct io_uring uring;
	struct loop_source *sources;
	struct loop_source **heap;
	size_t timers, timed, heap_room;        /* in the heap; sources that may be; room for them */
	struct loop_source *armed, *armed_last; /* batches */
	struct loop_pool *pool;
	struct loop_source *wakeup;
	int event_fd;
	uint64_t now;
	uint64_t gap[2], gap_minute; /* longest round of this minute and of the one before, ns; which minute this is */
	uint32_t next_group;
	uint8_t group_used[GROUPS / 8];
	bool stopped;
	int result;
};

uint64_t loop_now(const struct loop *loop)
{
	return loop->now;
}

/* --- timers: a binary heap, the earliest first ------------------------------------------------------------------- */
static void heap_place(struct loop *loop, size_t i, struct loop_source *source)
{
	loop->heap[i] = source;
	source->heap = i + 1;
}

static void heap_up(struct loop *loop, size_t i)
{
	struct loop_source *source = loop->heap[i];

	while (i > 0 && loop->heap[(i - 1) / 2]->when > source->when) {
		heap_place(loop, i, loop->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_place(loop, i, source);
}

static void heap_down(struct loop *loop, size_t i)
{
	struct loop_source *source = loop->heap[i];

	for (size_t child; (child = 2 * i + 1) < loop->timers; i = child) {
		if (child + 1 < loop->timers && loop->heap[child + 1]->when < loop->heap[child]->when)
			child++;
		if (loop->heap[child]->when >= source->when)
			break;
		heap_place(loop, i, loop->heap[child]);
	}
	heap_place(loop, i, source);
}

static void heap_remove(struct loop *loop, struct loop_source *source)
{
	size_t i = source->heap - 1;
	struct loop_source *last;

	if (!source->heap)
		return;
	source->heap = 0;
	last = loop->heap[--loop->timers];
	if (last == source)
		return;
	heap_place(loop, i, last);
	heap_up(loop, i);
	heap_down(loop, last->heap - 1);
}

/* Room is made when a timer is added, so that setting one cannot fail. */
static int heap_reserve(struct loop *loop)
{
	struct loop_source **heap;
	size_t room = loop->heap_room ? 2 * loop->heap_room : 64;

	if (loop->timed < loop->heap_room)
		return 0;
	heap = realloc(loop->heap, room * sizeof(struct loop_source *));
	if (!heap)
		return -ENOMEM;
	loop->heap = heap;
	loop->heap_room = room;
	return 0;
}

static void timer_set(struct loop_source *source, uint64_t when)
{
	struct loop *loop = source->loop;

	heap_remove(loop, source);
	source->when = when;
	if (when == UINT64_MAX)
		return;
	loop->heap[loop->timers] = source;
	heap_up(loop, loop->timers++);
}

void loop_timer_set(struct loop_source *timer, uint64_t when)
{
	timer_set(timer, when);
}

/* --- sources ------------------------------------------------------------------------------------------------------ */
static int source_new(struct loop_source **ret, struct loop *loop, enum kind kind, int fd, void *arg)
{
	struct loop_source *source;
	bool timed = kind == KIND_TIMER || kind == KIND_RECV;

	if (timed && heap_reserve(loop) < 0)
		return -ENOMEM;
	source = calloc(1, sizeof(*source));
	if (!source)
		return -ENOMEM;
	loop->timed += timed;
	source->loop = loop;
	source->kind = kind;
	source->fd = fd;
	source->arg = arg;
	source->when = UINT64_MAX;
	source->next = loop->sources;
	if (source->next)
		source->next->prev = source;
	loop->sources = source;
	*ret = source;
	return 0;
}

static void buffers_free(struct loop_source *source)
{
	struct loop *loop = source->loop;

	if (!source->ring)
		return;
	io_uring_unregister_buf_ring(&loop->uring, source->group);
	munmap(source->ring, source->ring_size);
	loop->group_used[source->group / 8] &= (uint8_t) ~(1u << source->group % 8);
	source->ring = NULL;
}

static void source_release(struct loop_source *source)
{
	struct loop *loop = source->loop;

	buffers_free(source);
	loop->timed -= source->kind == KIND_TIMER || source->kind == KIND_RECV;
	if (source->prev)
		source->prev->next = source->next;
	else
		loop->sources = source->next;
	if (source->next)
		source->next->prev = source->prev;
	free(source);
}

static struct io_uring_sqe *sqe_get(struct loop *loop)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->uring);

	while (!sqe) {
		io_uring_submit(&loop->uring);
		sqe = io_uring_get_sqe(&loop->uring);
	}
	return sqe;
}

/* Puts the source's operation into the kernel, at the end of this round. */
static void source_start(struct loop_source *source)
{
	struct io_uring_sqe *sqe = sqe_get(source->loop);

	if (source->kind == KIND_RECV) {
		io_uring_prep_recvmsg_multishot(sqe, source->fd, &source->shape, MSG_TRUNC);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = source->group;
	} else {
		io_uring_prep_poll_add(sqe, source->fd, source->events);
	}
	io_uring_sqe_set_data(sqe, source);
	source->inflight = true;
}

/*
 * The operation must have left the kernel's hands before the caller closes the socket, or the port stays bound: so the
 * cancelling is synchronous. Its last completion is still to be reaped.
 */
static void source_cancel(struct loop_source *source)
{
	struct io_uring_sync_cancel_reg reg = {
		.addr = (uint64_t)(uintptr_t)source,
		.timeout = {.tv_sec = -1, .tv_nsec = -1},
	};

	io_uring_submit(&source->loop->uring);
	io_uring_register_sync_cancel(&source->loop->uring, &reg);
	io_uring_get_events(&source->loop->uring); /* only now the kernel drops the file */
}

void loop_source_free(struct loop_source *source)
{
	struct loop_source **p, *last = NULL;

	if (!source || source->dead)
		return;
	source->dead = true;
	heap_remove(source->loop, source);
	if (source->armed) {
		for (p = &source->loop->armed; *p != source; p = &(*p)->next_armed)
			last = *p;
		*p = source->next_armed;
		if (source->loop->armed_last == source)
			source->loop->armed_last = last;
	}
	if (source->kind == KIND_SIGNAL) {
		if (source->inflight)
			source_cancel(source);
		close(source->fd);
	} else if (source->inflight) {
		source_cancel(source);
	}
	if (!source->inflight && !source->busy)
		source_release(source);
}

int loop_add_poll(struct loop *loop, int fd, uint32_t events, loop_poll_fn fn, void *arg, struct loop_source **ret)
{
	struct loop_source *source;
	int r = source_new(&source, loop, KIND_POLL, fd, arg);

	if (r < 0)
		return r;
	source->events = events;
	source->fn.poll = fn;
	source_start(source);
	*ret = source;
	return 0;
}

int loop_add_timer(struct loop *loop, uint64_t when, loop_timer_fn fn, void *arg, struct loop_source **ret)
{
	struct loop_source *source;
	int r = source_new(&source, loop, KIND_TIMER, -1, arg);

	if (r < 0)
		return r;
	source->fn.timer = fn;
	timer_set(source, when);
	*ret = source;
	return 0;
}

int loop_add_batch(struct loop *loop, loop_batch_fn fn, void *arg, struct loop_source **ret)
{
	struct loop_source *source;
	int r = source_new(&source, loop, KIND_BATCH, -1, arg);

	if (r < 0)
		return r;
	source->fn.batch = fn;
	*ret = source;
	return 0;
}

void loop_batch_arm(struct loop_source *batch)
{
	struct loop *loop = batch->loop;

	if (batch->armed || batch->dead)
		return;
	batch->armed = true;
	batch->next_armed = NULL;
	if (loop->armed_last)
		loop->armed_last->next_armed = batch;
	else
		loop->armed = batch;
	loop->armed_last = batch;
}

int loop_add_signal(struct loop *loop, int signo, loop_signal_fn fn, void *arg, struct loop_source **ret)
{
	struct loop_source *source;
	sigset_t set;
	int fd, r;

	sigemptyset(&set);
	sigaddset(&set, signo);
	r = -pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (r < 0)
		return r;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	r = source_new(&source, loop, KIND_SIGNAL, fd, arg);
	if (r < 0) {
		close(fd);
		return r;
	}
	source->events = POLLIN;
	source->fn.signal = fn;
	source_start(source);
	*ret = source;
	return 0;
}

/* --- receiving ---------------------------------------------------------------------------------------------------- */
static void buffer_give(struct loop_source *source, uint32_t id, int offset)
{
	io_uring_buf_ring_add(source->ring, source->buffer + (size_t)id * source->buffer_size, source->buffer_size,
			      (unsigned short)id, (int)source->buffers - 1, offset);
}

static int group_take(struct loop *loop, uint16_t *ret)
{
	for (uint32_t i = 0; i < GROUPS; i++) {
		uint32_t group = (loop->next_group + i) % GROUPS;

		if (loop->group_used[group / 8] & 1u << group % 8)
			continue;
		loop->group_used[group / 8] |= (uint8_t)(1u << group % 8);
		loop->next_group = group + 1;
		*ret = (uint16_t)group;
		return 0;
	}
	return -ENOSPC;
}

static int buffers_new(struct loop_source *source)
{
	struct loop *loop = source->loop;
	struct io_uring_buf_reg reg = {0};
	size_t head = (source->buffers * sizeof(struct io_uring_buf) + 63) & ~(size_t)63;
	int r;

	r = group_take(loop, &source->group);
	if (r < 0)
		return r;
	source->ring_size = head + (size_t)source->buffers * source->buffer_size;
	source->ring = mmap(NULL, source->ring_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (source->ring == MAP_FAILED) {
		r = -errno;
		goto fail;
	}
	reg.ring_addr = (uint64_t)(uintptr_t)source->ring;
	reg.ring_entries = source->buffers;
	reg.bgid = source->group;
	/* What the kernel writes to must stay this process's. */
	madvise(source->ring, source->ring_size, MADV_DONTFORK);
	r = io_uring_register_buf_ring(&loop->uring, &reg, 0);
	if (r < 0) {
		munmap(source->ring, source->ring_size);
		goto fail;
	}
	source->buffer = (uint8_t *)source->ring + head;
	io_uring_buf_ring_init(source->ring);
	for (uint32_t i = 0; i < source->buffers; i++)
		buffer_give(source, i, (int)i);
	io_uring_buf_ring_advance(source->ring, (int)source->buffers);
	return 0;
fail:
	source->ring = NULL;
	loop->group_used[source->group / 8] &= (uint8_t) ~(1u << source->group % 8);
	return r;
}

int loop_add_recv(struct loop *loop, int fd, uint32_t buffer_size, uint32_t buffers, loop_recv_fn fn, void *arg,
		  struct loop_source **ret)
{
	struct loop_source *source;
	int r;

	if (!buffer_size || buffer_size > 65536 || !buffers || buffers > 32768)
		return -EINVAL;
	r = source_new(&source, loop, KIND_RECV, fd, arg);
	if (r < 0)
		return r;
	source->shape.msg_namelen = NAME_LENGTH;
	source->shape.msg_controllen = CONTROL_LENGTH;
	source->buffers = 1;
	while (source->buffers < buffers)
		source->buffers *= 2;
	source->buffer_size =
		(uint32_t)(sizeof(struct io_uring_recvmsg_out) + NAME_LENGTH + CONTROL_LENGTH + buffer_size + 15) &
		~15u;
	source->fn.recv = fn;
	r = buffers_new(source);
	if (r < 0) {
		source_release(source);
		return r;
	}
	source_start(source);
	*ret = source;
	return 0;
}

static void deliver(struct loop_source *source, void *buffer, int length)
{
	struct io_uring_recvmsg_out *out = io_uring_recvmsg_validate(buffer, length, &source->shape);
	struct msghdr control = {0};
	struct loop_datagram dgram = {0};

	if (!out)
		return;
	dgram.data = io_uring_recvmsg_payload(out, &source->shape);
	dgram.length = io_uring_recvmsg_payload_length(out, length, &source->shape);
	dgram.truncated = out->flags & MSG_TRUNC;
	if (out->namelen)
		dgram.name = io_uring_recvmsg_name(out);
	dgram.name_length = out->namelen;
	control.msg_control = (uint8_t *)io_uring_recvmsg_name(out) + NAME_LENGTH;
	control.msg_controllen = out->controllen;
	dgram.control = &control;
	source->fn.recv(source->arg, &dgram);
}

static void on_recv(struct loop_source *source, const struct io_uring_cqe *cqe)
{
	if (cqe->flags & IORING_CQE_F_BUFFER) {
		uint32_t id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;

		if (cqe->res >= 0 && !source->dead)
			deliver(source, source->buffer + (size_t)id * source->buffer_size, cqe->res);
		buffer_give(source, id, 0);
		io_uring_buf_ring_advance(source->ring, 1);
	}
	if (source->inflight || source->dead)
		return;
	/* Out of buffers, a queue of completions that is full, an ICMP error: go on. Anything else: soon, not in a
	 * spin. */
	if (cqe->res >= 0 || cqe->res == -ENOBUFS || cqe->res == -ECONNREFUSED || cqe->res == -EINTR)
		source_start(source);
	else
		timer_set(source, source->loop->now + RETRY_NS);
}

/* --- running ------------------------------------------------------------------------------------------------------ */
static void on_signal(struct loop_source *source)
{
	struct signalfd_siginfo info;

	while (!source->dead && read(source->fd, &info, sizeof(info)) == sizeof(info))
		source->fn.signal(source->arg, (int)info.ssi_signo);
}

static void on_completion(struct loop_source *source, const struct io_uring_cqe *cqe)
{
	source->inflight = cqe->flags & IORING_CQE_F_MORE;
	source->busy = true;
	if (source->kind == KIND_RECV) {
		on_recv(source, cqe);
	} else if (!source->dead) {
		if (source->kind == KIND_SIGNAL)
			on_signal(source);
		else
			source->fn.poll(source->arg, cqe->res < 0 ? POLLERR : (uint32_t)cqe->res);
		/* A poll that the kernel refuses (the fd was closed) is told once and not tried again. */
		if (!source->dead && cqe->res >= 0)
			source_start(source);
	}
	source->busy = false;
	if (source->dead && !source->inflight)
		source_release(source);
}

static void run_completions(struct loop *loop)
{
	struct io_uring_cqe *cqe;

	for (unsigned int n = 0; n < ROUND_MAX && !io_uring_peek_cqe(&loop->uring, &cqe); n++) {
		struct io_uring_cqe copy = *cqe;
		struct loop_source *source = io_uring_cqe_get_data(cqe);

		io_uring_cqe_seen(&loop->uring, cqe);
		if (source)
			on_completion(source, &copy);
	}
}

static void run_timers(struct loop *loop)
{
	/* A timer that is set to a past moment by a callback waits for the next round. */
	for (size_t n = loop->timers; n && loop->timers && loop->heap[0]->when <= loop->now; n--) {
		struct loop_source *source = loop->heap[0];

		heap_remove(loop, source);
		source->when = UINT64_MAX;
		if (source->kind == KIND_RECV)
			source_start(source);
		else
			source->fn.timer(source->arg);
	}
}

static void run_batches(struct loop *loop)
{
	size_t n = 0;

	/* What a batch arms, itself or another, is for the next round. */
	for (const struct loop_source *s = loop->armed; s; s = s->next_armed)
		n++;
	for (; n && loop->armed; n--) {
		struct loop_source *batch = loop->armed;

		loop->armed = batch->next_armed;
		if (!loop->armed)
			loop->armed_last = NULL;
		batch->armed = false;
		batch->fn.batch(batch->arg);
	}
}

static int wait_round(struct loop *loop)
{
	struct __kernel_timespec ts = {0}, *limit = NULL;
	struct io_uring_cqe *cqe;
	int r;

	if (loop->armed || loop->stopped) {
		limit = &ts;
	} else if (loop->timers) {
		uint64_t now = clock_monotonic_ns(), when = loop->heap[0]->when, left = when > now ? when - now : 0;

		ts.tv_sec = (int64_t)(left / 1000000000ull);
		ts.tv_nsec = (int64_t)(left % 1000000000ull);
		limit = &ts;
	}
	r = io_uring_submit_and_wait_timeout(&loop->uring, &cqe, 1, limit, NULL);
	return r == -ETIME || r == -EINTR || r == -EAGAIN || r == -EBUSY || r >= 0 ? 0 : r;
}

/* In a round, and where one begins late, no packet is received. */
static void note_gap(struct loop *loop, uint64_t ns)
{
	uint64_t minute = loop->now / GAP_WINDOW;

	if (minute != loop->gap_minute) {
		loop->gap[1] = minute == loop->gap_minute + 1 ? loop->gap[0] : 0;
		loop->gap[0] = 0;
		loop->gap_minute = minute;
	}
	if (ns > loop->gap[0])
		loop->gap[0] = ns;
}

uint64_t loop_longest_gap(struct loop *loop)
{
	note_gap(loop, 0);
	return loop->gap[0] > loop->gap[1] ? loop->gap[0] : loop->gap[1];
}

int loop_run(struct loop *loop)
{
	uint64_t waited; /* since when */
	int r = 0;

	loop->now = clock_monotonic_ns();
	while (!loop->stopped && r >= 0) {
		run_timers(loop);
		run_completions(loop);
		run_batches(loop);
		waited = clock_monotonic_ns();
		note_gap(loop, waited - loop->now);
		if (loop->stopped)
			break;
		TRACE(loop_wait, loop->timers);
		r = wait_round(loop);
		loop->now = clock_monotonic_ns();
		/* Late for a timer: the CPU was others', or the process was stopped. Packets waited as long. */
		if (loop->timers && loop->now > loop->heap[0]->when)
			note_gap(loop, loop->now - (loop->heap[0]->when > waited ? loop->heap[0]->when : waited));
		TRACE(loop_round, r);
	}
	loop->stopped = false;
	return r < 0 ? r : loop->result;
}

void loop_stop(struct loop *loop, int result)
{
	loop->stopped = true;
	loop->result = result;
}

/* --- other threads ------------------------------------------------------------------------------------------------ */
static void on_wakeup(void *arg, uint32_t revents)
{
	struct loop *loop = arg;
	eventfd_t value;

	(void)revents;
	if (eventfd_read(loop->event_fd, &value) < 0)
		return;
	loop_pool_deliver(loop->pool);
}

int loop_work(struct loop *loop, loop_work_fn work, loop_done_fn done, void *arg)
{
	return loop_pool_work(loop->pool, work, done, arg);
}

int loop_wake(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	return loop_pool_call(loop->pool, fn, arg);
}

/* --- making and ending -------------------------------------------------------------------------------------------- */
static int uring_open(struct io_uring *uring)
{
	/* Completions are posted when this thread asks for them: no interrupts of its work (Linux 6.1). */
	static const unsigned int flags[] = {
		IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_CQSIZE | IORING_SETUP_COOP_TASKRUN,
		IORING_SETUP_CQSIZE,
	};
	int r = -EINVAL;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]) && r == -EINVAL; i++) {
		struct io_uring_params params = {.flags = flags[i], .cq_entries = 8 * RING_ENTRIES};

		r = io_uring_queue_init_params(RING_ENTRIES, uring, &params);
	}
	/*
	 * No child of ours has business in the ring, and user-mode-linux 6.12 and 7.2 lose count of a ring's pages
	 * when a child that got them ends ("Bad page map"), and stand still soon after.
	 */
	if (!r)
		io_uring_ring_dontfork(uring);
	return r;
}

int loop_new(struct loop **ret)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int r;

	if (!loop)
		return -ENOMEM;
	loop->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->event_fd < 0) {
		r = -errno;
		goto free_loop;
	}
	r = uring_open(&loop->uring);
	if (r < 0)
		goto close_event;
	r = loop_pool_new(&loop->pool, loop->event_fd);
	if (r < 0)
		goto close_ring;
	r = loop_add_poll(loop, loop->event_fd, POLLIN, on_wakeup, loop, &loop->wakeup);
	if (r < 0)
		goto free_pool;
	loop->now = clock_monotonic_ns();
	*ret = loop;
	return 0;
free_pool:
	loop_pool_free(loop->pool);
close_ring:
	io_uring_queue_exit(&loop->uring);
close_event:
	close(loop->event_fd);
free_loop:
	free(loop);
	return r;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	loop_pool_free(loop->pool);
	/* What is still here was cancelled, or belongs to someone who did not free it: the kernel lets go with the
	 * ring. */
	for (struct loop_source *s = loop->sources, *next; s; s = next) {
		next = s->next;
		if (s->kind == KIND_SIGNAL && !s->dead)
			close(s->fd);
		if (!s->dead && s->inflight)
			source_cancel(s);
		source_release(s);
	}
	io_uring_queue_exit(&loop->uring);
	close(loop->event_fd);
	free(loop->heap);
	free(loop);
}
