/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's loop (daemon/core/loop.h) on the room's clock: a round is timers that are due, what has arrived, work
 * that is done, batches, as in daemon/core/loop.c. Work of a helper thread takes time: it runs as one event, a moment
 * after it was asked for, and its end is told when the disk has had its time. A server that stands still does none of
 * it, and finds all that came when it goes on.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/clock.h"
#include "daemon/core/loop.h"

#define INBOX 512 /* datagrams that wait, beyond which they are lost */

enum kind { TIMER, RECV, POLL, BATCH, SIGNAL };

struct loop_source {
	struct loop *loop;
	struct loop_source *next;
	enum kind kind;
	bool dead, armed;
	int fd;
	uint64_t when;
	void *arg;
	union {
		loop_poll_fn poll;
		loop_timer_fn timer;
		loop_recv_fn recv;
		loop_batch_fn batch;
	} fn;
};

struct work {
	struct work *next, **awaited; /* by its event; NULL: it has come */
	struct loop *loop;
	loop_work_fn work;
	loop_done_fn done;
	void *arg;
	bool begun;
	int result;
	uint64_t over; /* when its end can be told; 0: it is not */
};

struct waking {
	struct waking *next;
	void (*fn)(void *arg);
	void *arg;
};

struct loop {
	struct sim_server *server;
	struct loop_source *first;
	struct work *works;
	struct waking *wakings;
	struct sim_datagram *inbox[INBOX];
	unsigned int inboxes;
	uint64_t now;
};

/* --- sources ------------------------------------------------------------------------------------------------------ */
static int add(struct loop *loop, enum kind kind, int fd, void *arg, struct loop_source **ret)
{
	struct loop_source *source = calloc(1, sizeof(*source));

	if (!source)
		return -ENOMEM;
	source->loop = loop;
	source->kind = kind;
	source->fd = fd;
	source->arg = arg;
	source->when = UINT64_MAX;
	source->next = loop->first;
	loop->first = source;
	*ret = source;
	return 0;
}

/* Its memory goes at the end of the round: it may be the one whose callback runs. */
void loop_source_free(struct loop_source *source)
{
	if (!source)
		return;
	source->dead = true;
	source->when = UINT64_MAX;
}

static void sweep(struct loop *loop)
{
	for (struct loop_source **p = &loop->first; *p;) {
		struct loop_source *source = *p;

		if (!source->dead) {
			p = &source->next;
			continue;
		}
		*p = source->next;
		free(source);
	}
}

int loop_add_timer(struct loop *loop, uint64_t when, loop_timer_fn fn, void *arg, struct loop_source **ret)
{
	int r = add(loop, TIMER, -1, arg, ret);

	if (r < 0)
		return r;
	(*ret)->fn.timer = fn;
	loop_timer_set(*ret, when);
	return 0;
}

static uint64_t room_time(const struct loop *loop, uint64_t monotonic)
{
	return monotonic + (uint64_t)loop->server->booted;
}

void loop_timer_set(struct loop_source *timer, uint64_t when)
{
	timer->when = timer->dead ? UINT64_MAX : when;
	if (timer->when != UINT64_MAX)
		sim_wake(timer->loop->server, room_time(timer->loop, when));
}

int loop_add_recv(struct loop *loop, int fd, uint32_t buffer_size, uint32_t buffers, loop_recv_fn fn, void *arg,
		  struct loop_source **ret)
{
	int r = add(loop, RECV, fd, arg, ret);

	(void)buffer_size, (void)buffers;
	if (!r)
		(*ret)->fn.recv = fn;
	return r;
}

int loop_add_poll(struct loop *loop, int fd, uint32_t events, loop_poll_fn fn, void *arg, struct loop_source **ret)
{
	int r = add(loop, POLL, fd, arg, ret);

	(void)events;
	if (!r)
		(*ret)->fn.poll = fn;
	return r;
}

int loop_add_signal(struct loop *loop, int signo, loop_signal_fn fn, void *arg, struct loop_source **ret)
{
	(void)fn;
	return add(loop, SIGNAL, signo, arg, ret);
}

int loop_add_batch(struct loop *loop, loop_batch_fn fn, void *arg, struct loop_source **ret)
{
	int r = add(loop, BATCH, -1, arg, ret);

	if (!r)
		(*ret)->fn.batch = fn;
	return r;
}

void loop_batch_arm(struct loop_source *batch)
{
	batch->armed = true;
	sim_wake(batch->loop->server, sim_now);
}

int loop_wake(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	struct waking *w = malloc(sizeof(*w)), **last = &loop->wakings;

	if (!w)
		return -ENOMEM;
	*w = (struct waking){.fn = fn, .arg = arg};
	while (*last)
		last = &(*last)->next;
	*last = w;
	sim_wake(loop->server, sim_now);
	return 0;
}

uint64_t loop_now(const struct loop *loop)
{
	return loop->now;
}

uint64_t loop_longest_gap(struct loop *loop)
{
	(void)loop;
	return 0;
}

/* --- work --------------------------------------------------------------------------------------------------------- */
static void run_work(void *arg, void *data);

static void await(struct work *w, uint64_t when)
{
	w->awaited = malloc(sizeof(struct work *));
	if (!w->awaited)
		abort();
	*w->awaited = w;
	sim_at(when, run_work, NULL, w->awaited);
}

static void run_work(void *arg, void *data)
{
	struct work *w = *(struct work **)data;
	struct sim_server *server;

	(void)arg;
	if (!w)
		return; /* the loop ended before */
	w->awaited = NULL;
	server = w->loop->server;
	if (server->stalled_until > sim_now) {
		await(w, server->stalled_until);
		return;
	}
	sim_server = server;
	w->begun = true;
	sim_disk_took();
	w->result = w->work(w->arg);
	w->over = sim_now + sim_disk_took() + 1;
	sim_server = NULL;
	sim_wake(server, w->over);
}

int loop_work(struct loop *loop, loop_work_fn work, loop_done_fn done, void *arg)
{
	struct work *w = calloc(1, sizeof(*w)), **last = &loop->works;

	if (!w)
		return -ENOMEM;
	*w = (struct work){.loop = loop, .work = work, .done = done, .arg = arg};
	while (*last)
		last = &(*last)->next;
	*last = w;
	await(w, sim_now + sim_between(10000, 2 * MS));
	return 0;
}

static struct work *take_done(struct loop *loop)
{
	for (struct work **p = &loop->works; *p; p = &(*p)->next) {
		struct work *w = *p;

		if (!w->over || w->over > sim_now)
			continue;
		*p = w->next;
		return w;
	}
	return NULL;
}

static bool tell_done(struct loop *loop)
{
	struct work *w;
	bool any = false;

	while ((w = take_done(loop))) {
		w->done(w->arg, w->result);
		free(w);
		any = true;
	}
	return any;
}

/* --- a round ------------------------------------------------------------------------------------------------------ */
static bool run_timers(struct loop *loop)
{
	struct loop_source *next;
	bool any = false;

	do {
		next = NULL;
		for (struct loop_source *s = loop->first; s; s = s->next)
			if (s->kind == TIMER && s->when <= loop->now && (!next || s->when < next->when))
				next = s;
		if (!next)
			break;
		next->when = UINT64_MAX;
		next->fn.timer(next->arg);
		any = true;
	} while (!loop->server->dead);
	return any;
}

static void hear(struct loop *loop, struct sim_datagram *from)
{
	struct sockaddr_in name = {
		.sin_family = AF_INET, .sin_port = htons(from->port), .sin_addr.s_addr = htonl(from->from)};
	struct in_pktinfo info = {.ipi_ifindex = from->ifindex, .ipi_addr.s_addr = htonl(from->to)};
	union {
		struct cmsghdr align;
		uint8_t space[CMSG_SPACE(sizeof(info))];
	} control = {};
	struct msghdr msg = {.msg_control = &control, .msg_controllen = sizeof(control.space)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	struct loop_datagram dgram = {.data = from->data,
				      .length = from->length,
				      .name = (const struct sockaddr *)&name,
				      .name_length = sizeof(name),
				      .control = &msg};

	c->cmsg_level = IPPROTO_IP;
	c->cmsg_type = IP_PKTINFO;
	c->cmsg_len = CMSG_LEN(sizeof(info));
	memcpy(CMSG_DATA(c), &info, sizeof(info));
	for (struct loop_source *s = loop->first; s; s = s->next) {
		if (s->kind != RECV || s->dead || s->fd != from->fd)
			continue;
		s->fn.recv(s->arg, &dgram);
		return;
	}
}

static bool run_inbox(struct loop *loop)
{
	bool any = loop->inboxes;

	for (unsigned int i = 0; i < loop->inboxes; i++) {
		if (!loop->server->dead)
			hear(loop, loop->inbox[i]);
		free(loop->inbox[i]);
	}
	loop->inboxes = 0;
	return any;
}

static bool run_polls(struct loop *loop)
{
	bool any = false;

	for (struct loop_source *s = loop->first; s; s = s->next) {
		if (s->kind != POLL || s->dead || !s->armed)
			continue;
		s->armed = false;
		s->fn.poll(s->arg, POLLIN);
		any = true;
	}
	return any;
}

static bool run_wakings(struct loop *loop)
{
	bool any = false;

	for (struct waking *w; (w = loop->wakings); any = true) {
		loop->wakings = w->next;
		w->fn(w->arg);
		free(w);
	}
	return any;
}

static bool run_batches(struct loop *loop)
{
	bool any = false;

	for (struct loop_source *s = loop->first; s; s = s->next) {
		if (s->kind != BATCH || s->dead || !s->armed)
			continue;
		s->armed = false;
		s->fn.batch(s->arg);
		any = true;
	}
	return any;
}

static bool round_of(struct loop *loop)
{
	bool any;

	loop->now = clock_monotonic_ns();
	any = run_timers(loop);
	any |= run_inbox(loop);
	any |= run_polls(loop);
	any |= run_wakings(loop);
	any |= tell_done(loop);
	any |= run_batches(loop);
	sweep(loop);
	return any;
}

/* When something is to do next, by the room's clock. */
static uint64_t next_of(const struct loop *loop)
{
	uint64_t next = loop->inboxes || loop->wakings ? sim_now : UINT64_MAX;

	for (const struct loop_source *s = loop->first; s; s = s->next) {
		if (s->kind == TIMER && s->when != UINT64_MAX && room_time(loop, s->when) < next)
			next = room_time(loop, s->when);
		if ((s->kind == BATCH || s->kind == POLL) && s->armed)
			next = sim_now;
	}
	for (const struct work *w = loop->works; w; w = w->next)
		if (w->over && w->over < next)
			next = w->over;
	return next;
}

static void on_wake(void *arg, void *data)
{
	struct sim_server *server = arg;
	uint64_t next;

	(void)data;
	if (server->wake != sim_now || !server->up)
		return; /* another one came before it */
	server->wake = 0;
	if (server->stalled_until > sim_now) {
		sim_wake(server, server->stalled_until);
		return;
	}
	sim_server = server;
	sim_disk_took();
	for (int i = 0; i < 100 && !server->dead && round_of(server->loop); i++)
		;
	next = sim_disk_took(); /* what the loop itself wrote, it waited for */
	if (next)
		server->stalled_until = sim_now + next;
	sim_server = NULL;
	next = next_of(server->loop);
	if (next != UINT64_MAX)
		sim_wake(server, next);
}

void sim_loop_call(struct sim_server *server, void (*fn)(void *arg), void *arg)
{
	sim_server = server;
	server->loop->now = clock_monotonic_ns();
	fn(arg);
	sweep(server->loop);
	sim_server = NULL;
	sim_wake(server, sim_now);
}

void sim_wake(struct sim_server *server, uint64_t when)
{
	if (when < server->stalled_until)
		when = server->stalled_until;
	if (when <= sim_now)
		when = sim_now + 1;
	if (server->wake && server->wake <= when)
		return;
	server->wake = when;
	sim_at(when, on_wake, server, NULL);
}

void sim_loop_hear(struct sim_server *server, struct sim_datagram *dgram)
{
	struct loop *loop = server->loop;

	if (loop->inboxes == INBOX) {
		free(dgram);
		return;
	}
	loop->inbox[loop->inboxes++] = dgram;
	/* What comes within a moment is one round's. */
	sim_wake(server, sim_now + sim_below(100000));
}

void sim_loop_poll(struct sim_server *server, int fd)
{
	for (struct loop_source *s = server->loop->first; s; s = s->next)
		s->armed |= s->kind == POLL && s->fd == fd;
	sim_wake(server, sim_now);
}

/* --- life --------------------------------------------------------------------------------------------------------- */
int loop_new(struct loop **ret)
{
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	(*ret)->server = sim_server;
	(*ret)->now = clock_monotonic_ns();
	return 0;
}

void loop_free(struct loop *loop)
{
	struct work *w;

	if (!loop)
		return;
	while ((w = loop->works)) {
		loop->works = w->next;
		w->done(w->arg, w->begun ? w->result : -ECANCELED);
		if (w->awaited)
			*w->awaited = NULL;
		free(w);
	}
	for (unsigned int i = 0; i < loop->inboxes; i++)
		free(loop->inbox[i]);
	for (struct waking *k; (k = loop->wakings);) {
		loop->wakings = k->next;
		free(k);
	}
	for (struct loop_source *s = loop->first; s; s = s->next)
		s->dead = true;
	sweep(loop);
	free(loop);
}

int loop_run(struct loop *loop)
{
	(void)loop;
	return -ENOSYS; /* rounds come from sim_step() */
}

void loop_stop(struct loop *loop, int result)
{
	(void)loop, (void)result;
}
