// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Ending a connection is shutdown(2): the server reads the end of it and cleans up as always, so nobody frees what
 * another thread uses. Until it has done so the connection counts as leaving: it makes room for another one at once,
 * but there are never more than LEAVING of them.
 *
 * A server with threads of its own learns of a connection some time after it was handed over: by then it may have been
 * ended. It is found all the same, or nobody would ever say that it is closed; the newest is the one with that
 * descriptor, if a server closed one without a word.
 *
 * A list, not a table by address: there are a few hundred, and it is gone through where there is a crowd.
 */
#include "daemon/core/gate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "daemon/core/clock.h"

#define LEAVING   128           /* ended, and not closed yet */
#define LOST      (60 * SECOND) /* ended, and the server never asked for it: it could not take it */
#define ROUND     64            /* sockets accepted, events taken in one call */
#define SECOND    1000000000ull
#define SAY_EVERY (60 * SECOND)
#define TLS_HELLO 0x16 /* RFC 8446, section 5.1: a handshake record */

enum state { SILENT, WAITS, RECEIVES, WORKS, SENDS };

struct gate_socket {
	struct gate *gate;
	struct gate_socket *prev, *next;
	int fd, copy; /* copy: -1 none */
	uint32_t address;
	enum state state;
	bool leaving, found;        /* found: the server knows which of its connections it is */
	uint64_t since, late, left; /* CLOCK_MONOTONIC, ns */
	struct sockaddr_storage from;
	socklen_t from_length;
};

struct gate {
	struct gate_options o;
	int epoll;
	pthread_mutex_t lock;
	struct gate_socket *first;
	unsigned int open, leaving; /* open: without those that leave */
	uint64_t said, swept;
	bool paused; /* too many leave: nobody is accepted */
	struct gate_stats stats;
};

/* --- one connection ----------------------------------------------------------------------------------------------- */

static void set_state(struct gate_socket *s, enum state state, uint64_t seconds)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->gate->lock);
	s->state = state;
	s->since = clock_monotonic_ns();
	s->late = seconds == UINT64_MAX ? UINT64_MAX : s->since + seconds * SECOND;
	pthread_mutex_unlock(&s->gate->lock);
}

void gate_receives(struct gate_socket *s, uint64_t bytes)
{
	set_state(s, RECEIVES, GATE_REQUEST_SECONDS + bytes / GATE_RATE);
}

void gate_works(struct gate_socket *s)
{
	set_state(s, WORKS, UINT64_MAX);
}

void gate_sends(struct gate_socket *s, uint64_t bytes)
{
	set_state(s, SENDS, GATE_ANSWER_SECONDS + bytes / GATE_RATE);
}

void gate_waits(struct gate_socket *s)
{
	set_state(s, WAITS, GATE_REQUEST_SECONDS);
}

/* With the lock. */
static void unlink_socket(struct gate_socket *s)
{
	struct gate *g = s->gate;

	if (s->prev)
		s->prev->next = s->next;
	else
		g->first = s->next;
	if (s->next)
		s->next->prev = s->prev;
	if (s->leaving)
		g->leaving--;
	else
		g->open--;
	if (s->copy >= 0)
		close(s->copy);
	free(s);
}

void gate_closed(struct gate_socket *s)
{
	struct gate *g = s ? s->gate : NULL;

	if (!s)
		return;
	pthread_mutex_lock(&g->lock);
	unlink_socket(s);
	pthread_mutex_unlock(&g->lock);
}

/* With the lock. One that nobody was given yet is closed; the others see the end of the stream. */
static void end_socket(struct gate_socket *s)
{
	if (s->leaving)
		return;
	if (s->state == SILENT) {
		close(s->fd); /* leaves the epoll by that, too */
		unlink_socket(s);
		return;
	}
	shutdown(s->copy >= 0 ? s->copy : s->fd, SHUT_RDWR);
	s->leaving = true;
	s->left = clock_monotonic_ns();
	s->gate->open--;
	s->gate->leaving++;
}

void gate_end(struct gate_socket *s)
{
	struct gate *g = s ? s->gate : NULL;

	if (!s)
		return;
	pthread_mutex_lock(&g->lock);
	g->stats.ended_late += !s->leaving;
	end_socket(s);
	pthread_mutex_unlock(&g->lock);
}

struct gate_socket *gate_find(struct gate *g, int fd)
{
	struct gate_socket *s;

	pthread_mutex_lock(&g->lock);
	for (s = g->first; s && (s->fd != fd || s->found); s = s->next)
		;
	if (s)
		s->found = true;
	pthread_mutex_unlock(&g->lock);
	return s;
}

/* --- crowds: with the lock ---------------------------------------------------------------------------------------- */

static unsigned int count_address(const struct gate *g, uint32_t address)
{
	unsigned int n = 0;

	for (const struct gate_socket *s = g->first; s; s = s->next)
		n += !s->leaving && s->address == address;
	return n;
}

/* Of this address (0: of all) the one that has kept us waiting for the longest. */
static struct gate_socket *slowest(struct gate *g, uint32_t address)
{
	struct gate_socket *found = NULL;

	for (struct gate_socket *s = g->first; s; s = s->next)
		if (!s->leaving && s->state != WORKS && (!address || s->address == address) &&
		    (!found || s->since < found->since))
			found = s;
	return found;
}

/* The address with the most connections that can be ended. */
static uint32_t most_crowded(const struct gate *g, unsigned int *ret_count)
{
	uint32_t found = 0;

	*ret_count = 0;
	for (const struct gate_socket *s = g->first; s; s = s->next) {
		unsigned int n;

		if (s->leaving || s->state == WORKS || s->address == found)
			continue;
		n = count_address(g, s->address);
		if (n > *ret_count) {
			*ret_count = n;
			found = s->address;
		}
	}
	return found;
}

/* Makes room for one of this address; false: there is none to be made. */
static bool make_room(struct gate *g, uint32_t address, uint64_t now, uint32_t *ret_who, unsigned int *ret_count,
		      bool *ret_full)
{
	unsigned int own = g->o.most_each ? count_address(g, address) : 0;
	struct gate_socket *victim;

	*ret_count = 0;
	if (own < (g->o.most_each ? g->o.most_each : UINT32_MAX) && g->open < g->o.most)
		return true;
	*ret_full = g->open >= g->o.most;
	*ret_who = address;
	*ret_count = own;
	if (g->o.most_each && own >= g->o.most_each)
		victim = slowest(g, address);
	else
		victim = slowest(g, g->o.most_each ? (*ret_who = most_crowded(g, ret_count)) : 0);
	if (now - g->said < SAY_EVERY && g->said)
		*ret_count = 0;
	else
		g->said = now;
	if (!victim)
		return false;
	g->stats.ended_crowd++;
	end_socket(victim);
	return true;
}

/* --- accepting ---------------------------------------------------------------------------------------------------- */

/* The first byte is there: it is the server's now. */
static void hand_over(struct gate *g, struct gate_socket *s, bool tls)
{
	epoll_ctl(g->epoll, EPOLL_CTL_DEL, s->fd, NULL);
	if (g->o.keep_copy)
		s->copy = fcntl(s->fd, F_DUPFD_CLOEXEC, 0);
	set_state(s, WAITS, GATE_REQUEST_SECONDS);
	g->o.take(g->o.arg, s->fd, (struct sockaddr *)&s->from, s->from_length, tls);
}

/* False: nothing came yet. */
static bool look(struct gate *g, struct gate_socket *s)
{
	uint8_t byte;
	ssize_t n = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n == 1) {
		hand_over(g, s, byte == TLS_HELLO);
		return true;
	}
	pthread_mutex_lock(&g->lock);
	end_socket(s); /* gone, or broken */
	pthread_mutex_unlock(&g->lock);
	return true;
}

static struct gate_socket *socket_new(struct gate *g, int fd, const struct sockaddr_storage *from, socklen_t length)
{
	struct gate_socket *s = calloc(1, sizeof(*s));
	const struct sockaddr_in *in = (const void *)from;

	if (!s)
		return NULL;
	s->gate = g;
	s->fd = fd;
	s->copy = -1;
	s->from = *from;
	s->from_length = length;
	s->address = from->ss_family == AF_INET ? ntohl(in->sin_addr.s_addr) : 0;
	s->since = clock_monotonic_ns();
	s->late = s->since + GATE_REQUEST_SECONDS * SECOND;
	return s;
}

static void link_socket(struct gate *g, struct gate_socket *s)
{
	s->next = g->first;
	if (s->next)
		s->next->prev = s;
	g->first = s;
	g->open++;
	g->stats.accepted++;
}

static void admit(struct gate *g, int fd, const struct sockaddr_storage *from, socklen_t length)
{
	struct gate_socket *s = socket_new(g, fd, from, length);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
	unsigned int count = 0;
	uint32_t who = 0;
	bool full = false, room;

	if (!s) {
		close(fd);
		return;
	}
	pthread_mutex_lock(&g->lock);
	room = make_room(g, s->address, s->since, &who, &count, &full);
	if (room)
		link_socket(g, s);
	pthread_mutex_unlock(&g->lock);
	if (count && g->o.crowded)
		g->o.crowded(g->o.arg, who, count, full);
	if (!room) {
		close(fd);
		free(s);
		return;
	}
	if (!look(g, s) && epoll_ctl(g->epoll, EPOLL_CTL_ADD, fd, &event)) {
		pthread_mutex_lock(&g->lock);
		end_socket(s);
		pthread_mutex_unlock(&g->lock);
	}
}

/* The slowest goes; its file is free once the server has closed it. */
static void out_of_files(struct gate *g)
{
	const struct timespec moment = {.tv_nsec = 10000000};
	struct gate_socket *victim;

	pthread_mutex_lock(&g->lock);
	victim = slowest(g, 0);
	if (victim) {
		g->stats.ended_crowd++;
		end_socket(victim);
	}
	pthread_mutex_unlock(&g->lock);
	nanosleep(&moment, NULL);
}

static void accept_some(struct gate *g)
{
	for (int i = 0; i < ROUND; i++) {
		struct sockaddr_storage from = {};
		socklen_t length = sizeof(from);
		int fd = accept4(g->o.fd, (struct sockaddr *)&from, &length, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;

		if (fd < 0 && (errno == EMFILE || errno == ENFILE))
			out_of_files(g);
		if (fd < 0)
			return;
		if (from.ss_family == AF_INET)
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		admit(g, fd, &from, length);
	}
}

/* --- running ------------------------------------------------------------------------------------------------------ */

/* What is too late goes; while too many are leaving nobody new is accepted. */
static void sweep(struct gate *g)
{
	struct epoll_event event = {.data.ptr = g};
	uint64_t now = clock_monotonic_ns();

	pthread_mutex_lock(&g->lock);
	if (now - g->swept >= SECOND / 2) {
		g->swept = now;
		for (struct gate_socket *s = g->first, *next; s; s = next) {
			next = s->next;
			if (s->leaving) {
				if (!s->found && now - s->left > LOST)
					unlink_socket(s);
			} else if (s->late <= now) {
				g->stats.ended_late++;
				end_socket(s);
			}
		}
	}
	if (g->paused != (g->leaving >= LEAVING)) {
		g->paused = !g->paused;
		event.events = g->paused ? 0 : EPOLLIN;
		epoll_ctl(g->epoll, EPOLL_CTL_MOD, g->o.fd, &event);
	}
	pthread_mutex_unlock(&g->lock);
}

void gate_run(struct gate *g)
{
	struct epoll_event event[ROUND];
	int n = epoll_wait(g->epoll, event, ROUND, 0);
	bool accepting = false;

	/* Those that came first, before accepting ends one of them. */
	for (int i = 0; i < n; i++)
		if (event[i].data.ptr == g)
			accepting = true;
		else
			look(g, event[i].data.ptr);
	sweep(g);
	if (accepting && !g->paused)
		accept_some(g);
}

int gate_fd(const struct gate *g)
{
	return g->epoll;
}

void gate_stats(struct gate *g, struct gate_stats *ret)
{
	pthread_mutex_lock(&g->lock);
	*ret = g->stats;
	ret->open = g->open;
	pthread_mutex_unlock(&g->lock);
}

int gate_new(struct gate **ret, const struct gate_options *options)
{
	struct gate *g = calloc(1, sizeof(*g));
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = g};
	int r;

	if (!g) {
		close(options->fd);
		return -ENOMEM;
	}
	g->o = *options;
	pthread_mutex_init(&g->lock, NULL);
	g->epoll = epoll_create1(EPOLL_CLOEXEC);
	/* Who was waiting may be gone when he is accepted: that must not block. */
	if (g->epoll < 0 || fcntl(g->o.fd, F_SETFL, fcntl(g->o.fd, F_GETFL) | O_NONBLOCK) ||
	    epoll_ctl(g->epoll, EPOLL_CTL_ADD, g->o.fd, &event)) {
		r = -errno;
		gate_free(g);
		return r;
	}
	*ret = g;
	return 0;
}

void gate_free(struct gate *g)
{
	if (!g)
		return;
	for (struct gate_socket *s = g->first, *next; s; s = next) {
		next = s->next;
		if (s->state == SILENT)
			close(s->fd);
		unlink_socket(s);
	}
	if (g->epoll >= 0)
		close(g->epoll);
	close(g->o.fd);
	pthread_mutex_destroy(&g->lock);
	free(g);
}
