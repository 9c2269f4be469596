/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may keep a TCP connection to a server of ours, and for how long. The gate accepts, looks at the first byte (TLS
 * or not), and hands the socket over to the server; from then on it is told what the connection does. A connection has
 * to bring a whole request, and to take its answer, within a time; there are so many of them for one address and in
 * all. Where there are too many, those that brought nothing for the longest go first, of the address that has most: so
 * who fills the server with silent or dripping connections loses his own, and a PC that comes then is served.
 *
 * gate_run() and gate_free() belong to one thread, the rest is for any.
 */
#ifndef BOOTWELL_GATE_H
#define BOOTWELL_GATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define GATE_REQUEST_SECONDS 15    /* for a whole request, its head and a small body, and between two */
#define GATE_ANSWER_SECONDS  30    /* to take an answer, and */
#define GATE_RATE            16384 /* bytes a second that a body or an answer has to flow with beside that */

struct gate;
struct gate_socket; /* one connection, from gate_options.take() until gate_closed() */

struct gate_options {
	int fd;                       /* listens; taken */
	unsigned int most, most_each; /* connections in all, of one IPv4 address (0: as many) */
	bool keep_copy;               /* the server closes sockets on threads of its own: ends them through a copy */
	/* A connection for the server, in gate_run(): it owns `fd` from now on. `tls`: its first byte says so. */
	void (*take)(void *arg, int fd, const struct sockaddr *address, socklen_t length, bool tls);
	/* An address has filled what it may have, or the server is full: once a minute at most. */
	void (*crowded)(void *arg, uint32_t address, unsigned int connections, bool full);
	void *arg;
};

struct gate_stats {
	uint64_t accepted, ended_crowd, ended_late; /* ended: for others' sake; too slow */
	uint32_t open;
};

int gate_new(struct gate **ret, const struct gate_options *options);
/* Takes nobody any more; the server has closed what it had. */
void gate_free(struct gate *gate);
/* Readable when gate_run() has something to do. */
int gate_fd(const struct gate *gate);
/* Accepts, and ends what is too late. To be called once a second at least. */
void gate_run(struct gate *gate);

/*
 * By the socket that take() was given, once, from within take() or later: who asked for it has to call gate_closed().
 * What nobody asks for is forgotten a minute after it was ended.
 */
struct gate_socket *gate_find(struct gate *gate, int fd);
/* What a connection does. NULL is fine. */
void gate_receives(struct gate_socket *socket, uint64_t bytes); /* the head of a request is there, a body follows */
void gate_works(struct gate_socket *socket); /* it is whole: it is our turn, and takes as long as it takes */
void gate_sends(struct gate_socket *socket, uint64_t bytes); /* the answer is on its way */
void gate_waits(struct gate_socket *socket);                 /* for the next request */
void gate_closed(struct gate_socket *socket);
void gate_end(struct gate_socket *socket); /* the peer sees the end, the server is told by its socket */

void gate_stats(struct gate *gate, struct gate_stats *ret);

#endif
