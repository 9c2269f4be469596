/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the TFTP server share:
 *	tftp/server.c	requests: who may have what; sockets, problems, the fast path's links
 *	tftp/table.c	the transfers, by client and port
 *	tftp/session.c	one transfer: blocks, acknowledgements, time-outs
 *	tftp/ready.c	which transfers have heard something
 *	tftp/send.c	datagrams: one block, a window by UDP GSO, OACK, ERROR
 *	tftp/content.c	the bytes: a file beneath the root, or a text
 */
#ifndef BOOTWELL_TFTP_PRIVATE_H
#define BOOTWELL_TFTP_PRIVATE_H

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "daemon/core/log.h"
#include "daemon/core/problems.h"
#include "daemon/core/ratelimit.h"
#include "daemon/tftp/fastpath.h"
#include "daemon/tftp/packet.h"
#include "daemon/tftp/server.h"

#define TFTP_READY          64 /* transfers that have heard something, taken at a time */
#define TFTP_BUCKETS        1024
#define TFTP_SOURCE_RATE    500  /* requests a second from one address, */
#define TFTP_SOURCE_BURST   1000 /* and at once */
#define TFTP_TIMEOUT_NS     2000000000ull
#define TFTP_TIMEOUT_MAX_NS 8000000000ull
#define TFTP_RETRIES        6
#define TFTP_RETRIES_UNSEEN                                                                                            \
	3 /* until the client has shown that it receives: a spoofed request must not be an amplifier */
#define TFTP_REPEAT_NS   1000000000ull /* the same request within this time is a duplicate, later a new start */
#define TFTP_DEBUG_BURST 200           /* lines of transfers in ten seconds */
#define TFTP_TEXT_MAX    (16 << 20)    /* bytes of a file that netascii converts */

/* The bytes of one transfer; shared by nobody. */
struct tftp_content {
	const uint8_t *data; /* NULL when size is 0 */
	uint64_t size;
	bool mapped; /* else malloc */
	int fd;      /* regular file, for the fast path; -1 */
};

/* Opens `name` beneath `root_fd`. Returns 0, or the -errno that tftp_content_error() translates. */
int tftp_content_open(struct tftp_content *ret, int root_fd, const char *name, bool netascii);
/* Takes a copy of the text. */
int tftp_content_text(struct tftp_content *ret, const char *text, size_t length, bool netascii);
void tftp_content_done(struct tftp_content *content);
enum tftp_error tftp_content_error(int error, const char **ret_text);

struct tftp_session;

/* What a transfer's socket has received; the session may be gone afterwards. */
typedef void (*tftp_hear_fn)(struct tftp_session *session, const struct sockaddr_in *from, const uint8_t *data,
			     size_t length);

/* A client that has acknowledged all of its script: see tftp_told_before(). */
struct tftp_told {
	uint32_t client;
	uint16_t port;
	uint64_t at; /* ns; 0: nobody */
};
#define TFTP_TOLD    64
#define TFTP_TOLD_NS 1000000000ull

struct tftp_server {
	struct loop *loop;
	struct netif *netif;
	const struct config *config;
	struct boot *boot;
	struct ratelimit *limit;
	struct netif_watch *watch;
	struct loop_source *recv, *tick, *ready_poll;
	int ready_fd;                         /* epoll of the transfers' sockets, -1 */
	struct epoll_event ready[TFTP_READY]; /* being worked on: ready_count of them */
	unsigned int ready_count;
	tftp_hear_fn hear;
	int fd; /* of the well-known port, -1 */
	uint16_t port;
	int root_fd; /* -1 */
	bool no_gso; /* the kernel refused it */
	struct tftp_fastpath *fast;
	struct tftp_load *loads; /* files that helpers are reading into its memory */
	struct tftp_session *bucket[TFTP_BUCKETS];
	struct tftp_session *first, *last; /* all, oldest first */
	struct tftp_stats stats;
	struct problems problems;
	struct tftp_told told[TFTP_TOLD]; /* the last clients that got a script, in a ring */
	unsigned int told_next;
};

enum tftp_state {
	TFTP_WAITING, /* for boot_script() */
	TFTP_OFFERED, /* the OACK is out */
	TFTP_SENDING,
};

struct tftp_wait; /* a call of boot_script() that has not come back */

struct tftp_session {
	struct tftp_server *server;
	struct tftp_session *next_bucket, *prev, *next;
	uint32_t client, local;
	uint16_t client_port, local_port;
	int ifindex;
	int fd;
	struct loop_source *timer;
	struct tftp_request request;
	struct tftp_options options;
	struct tftp_content content;
	struct tftp_wait *wait;
	enum tftp_state state;
	bool script;                 /* its content is made for this boot */
	bool confirmed;              /* the client has answered something that it could not know without receiving */
	uint64_t acked, sent, final; /* blocks from 1, not wrapped */
	uint64_t rolled;             /* the acknowledgement that was last answered by sending again; UINT64_MAX: none */
	unsigned int retries;
	unsigned int linger_vain, linger_skip; /* answers that were waited for in vain; that are not waited for now */
	uint64_t started, timeout, deadline;   /* ns */

	struct tftp_fastpath_file *fast_file;
	bool fast_loading, in_kernel;
	uint32_t fast_session;
};

/* tftp/server.c: what the well-known port has received; `arg` is the server. */
struct loop_datagram;
void tftp_server_hear(void *arg, const struct loop_datagram *dgram);

/* tftp/table.c */
struct tftp_session *tftp_session_find(struct tftp_server *server, uint32_t client, uint16_t port);
void tftp_table_add(struct tftp_session *session);
void tftp_table_remove(struct tftp_session *session);

/* tftp/session.c */
int tftp_session_new(struct tftp_server *server, const struct tftp_request *request, uint32_t client,
		     uint16_t client_port, uint32_t local, int ifindex);
void tftp_session_free(struct tftp_session *session);
/* Has a script just gone to this port, all of it? */
bool tftp_told_before(const struct tftp_server *server, uint32_t client, uint16_t port);
/* Waits for the helper threads that read files into the fast path's memory, or keeps them from beginning. */
void tftp_loads_stop(struct tftp_server *server);
/* The kernel's programs go away: user space goes on from where they are. */
void tftp_session_leave_kernel(struct tftp_session *session);
/* The client sent its request again. */
enum tftp_repeat { TFTP_REPEAT_ABSORBED, TFTP_REPEAT_RESTART };
enum tftp_repeat tftp_session_repeated(struct tftp_session *session, const struct tftp_request *request);
/* Frees the oldest transfer that nobody has confirmed; false: there is none. */
bool tftp_session_evict(struct tftp_server *server);

/* What its socket has received; the session may be gone afterwards. */
void tftp_session_hear(struct tftp_session *session, const struct sockaddr_in *from, const uint8_t *data,
		       size_t length);

/*
 * tftp/ready.c: calls `hear` for each datagram of a transfer (tftp_session_hear()); 0 or -errno. _add: once the session
 * has its socket. _remove: before that is closed.
 */
int tftp_ready_new(struct tftp_server *server, tftp_hear_fn hear);
void tftp_ready_free(struct tftp_server *server);
int tftp_ready_add(struct tftp_session *session);
void tftp_ready_remove(struct tftp_session *session);

/* tftp/send.c: a datagram that the kernel refuses is as good as lost; the time-out sees to it. */
void tftp_send_options(struct tftp_session *session);
/* Blocks first..last of the content; -EFAULT: the file was cut short meanwhile. */
int tftp_send_blocks(struct tftp_session *session, uint64_t first, uint64_t last);
void tftp_send_error(struct tftp_server *server, int fd, uint32_t local, uint32_t client, uint16_t port,
		     enum tftp_error code, const char *text);
uint32_t tftp_block_length(const struct tftp_session *session, uint64_t block);

#endif
