/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which transfers have heard something. Their sockets are in one epoll(7), which the loop polls:
 * with a hundred transfers there are several at a time, and one question finds them all. (The
 * kernel's multishot receive, which the loop has for sockets that hear much, costs more for sockets
 * that hear one datagram at a time: it receives twice, the second time in vain, and needs buffers
 * of its own for each.)
 *
 * Going to sleep and being woken takes the server longer than a near client (a virtual machine, a
 * benchmark) needs for its answer. So while there is one transfer only, the next answer is looked
 * for a moment before the loop goes on; where that is in vain, it is tried less and less.
 */
#include "daemon/tftp/private.h"
#include "daemon/core/clock.h"

#include <errno.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX  576        /* bytes from a client within a transfer: an ACK, or an ERROR with its text */
#define ROUNDS      4u         /* of TFTP_READY transfers before the loop has its turn */
#define LINGER_NS   60000ull   /* looked for the next answer before going to sleep, */
#define LINGER_MOST 1000000ull /* in all before the loop has its turn: DHCP waits no longer */
#define LINGER_SKIP 1024u      /* answers at most that are not waited for after waits in vain */

static ssize_t take(const struct tftp_session *session, uint8_t data[ANSWER_MAX], struct sockaddr_in *from)
{
	socklen_t length = sizeof(*from);
	ssize_t n = recvfrom(session->fd, data, ANSWER_MAX, MSG_DONTWAIT, (struct sockaddr *)from, &length);

	return n >= 0 && length >= sizeof(*from) ? n : -1;
}

/* One more packet, if it comes within the moment. */
static ssize_t look(const struct tftp_session *session, uint8_t data[ANSWER_MAX], struct sockaddr_in *from,
		    uint64_t *now)
{
	uint64_t until = *now + LINGER_NS;
	ssize_t n;

	do {
		n = take(session, data, from);
		*now = clock_monotonic_ns();
	} while (n < 0 && errno == EAGAIN && *now < until);
	return n;
}

/* After an answer: the session may be gone, so it is named by its client. */
static void linger(struct tftp_server *server, uint32_t client, uint16_t port)
{
	struct tftp_session *session;
	uint64_t now, end;

	if (server->stats.sessions != 1)
		return;
	now = clock_monotonic_ns();
	end = now + LINGER_MOST;
	while (now < end && server->stats.sessions == 1 && (session = tftp_session_find(server, client, port)) &&
	       session->state == TFTP_SENDING && !session->in_kernel) {
		struct sockaddr_in from;
		uint8_t data[ANSWER_MAX];
		ssize_t n;

		if (session->linger_skip) {
			session->linger_skip--;
			return;
		}
		n = look(session, data, &from, &now);
		if (n < 0) {
			session->linger_vain =
				session->linger_vain < LINGER_SKIP / 2 ? 2 * session->linger_vain + 1 : LINGER_SKIP;
			session->linger_skip = session->linger_vain;
			return;
		}
		session->linger_vain = 0;
		session->server->hear(session, &from, data, (size_t)n);
	}
}

static void take_one(struct tftp_session *session)
{
	struct tftp_server *server = session->server;
	uint32_t client = session->client;
	uint16_t port = session->client_port;
	struct sockaddr_in from;
	uint8_t data[ANSWER_MAX];
	ssize_t n = take(session, data, &from);

	if (n < 0)
		return;
	session->server->hear(session, &from, data, (size_t)n);
	linger(server, client, port);
}

static void on_ready(void *arg, uint32_t revents)
{
	struct tftp_server *server = arg;
	int n = TFTP_READY;

	(void)revents;
	for (unsigned int round = 0; round < ROUNDS && n == TFTP_READY; round++) {
		n = epoll_wait(server->ready_fd, server->ready, TFTP_READY, 0);
		server->ready_count = n > 0 ? (unsigned int)n : 0;
		for (unsigned int i = 0; i < server->ready_count; i++)
			if (server->ready[i].data.ptr)
				take_one(server->ready[i].data.ptr);
		server->ready_count = 0;
	}
}

int tftp_ready_new(struct tftp_server *server, tftp_hear_fn hear)
{
	server->hear = hear;
	server->ready_fd = epoll_create1(EPOLL_CLOEXEC);
	if (server->ready_fd < 0)
		return -errno;
	return loop_add_poll(server->loop, server->ready_fd, POLLIN, on_ready, server, &server->ready_poll);
}

void tftp_ready_free(struct tftp_server *server)
{
	loop_source_free(server->ready_poll);
	if (server->ready_fd >= 0)
		close(server->ready_fd);
}

int tftp_ready_add(struct tftp_session *session)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = session};

	return epoll_ctl(session->server->ready_fd, EPOLL_CTL_ADD, session->fd, &event) < 0 ? -errno : 0;
}

void tftp_ready_remove(struct tftp_session *session)
{
	struct tftp_server *server = session->server;

	/* Closing the socket takes it out of the epoll; here is what that had told before. */
	for (unsigned int i = 0; i < server->ready_count; i++)
		if (server->ready[i].data.ptr == session)
			server->ready[i].data.ptr = NULL;
}
