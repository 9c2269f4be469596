/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the DHCP server share:
 *	dhcp/server.c	sockets, reload, problems
 *	dhcp/batch.c	answers wait for their leases to be committed
 *	dhcp/book.c	leases as the state has them
 *	dhcp/decide.c	what to do with a message: which subnet, which address, which answer
 *	dhcp/reply.c	the answer's fields and options
 *	dhcp/send.c	where an answer goes, and how
 *	dhcp/probe.c	is somebody using this address already?
 *	dhcp/peer.c	the other one of a pair: peer_wire.c the datagrams, peer_lines.c what both must agree about,
 *			peer_held.c messages that the backup leaves to the primary for a moment
 *
 * Who calls whom, downwards: server; decide; probe, peer; reply; book; batch; send; lease, packet. What has to come
 *back up comes through a dhcp_resume_fn or the dhcp_sink.
 */
#ifndef BOOTWELL_DHCP_PRIVATE_H
#define BOOTWELL_DHCP_PRIVATE_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "daemon/dhcp/packet.h"
#include "daemon/dhcp/server.h"
#include "daemon/dhcp/lease.h"
#include "daemon/core/clock.h"
#include "daemon/core/log.h"
#include "daemon/core/problems.h"
#include "daemon/core/ratelimit.h"

#define DHCP_LEASE_GRACE  5            /* s that a lease is kept beyond its end: the PC counts from when its ACK came */
#define DHCP_SEQ_GAP      (1ull << 20) /* numbers left out at a start: those that were used and not written */
#define DHCP_SEQ_MAX      (1ull << 62)
#define DHCP_UNCONFIRMED  1024 /* ACKs that wait for the other server of a pair; the oldest then goes unsent */
#define DHCP_BATCH        256  /* answers that leave at the end of a round, at most */
#define DHCP_DURABLE      4096 /* answers that wait for one commit, at most; as many wait meanwhile for the next */
#define DHCP_DRAIN_NS     (200 * 1000000ull) /* that the loop waits for the disk where sockets go */
#define DHCP_LISTENERS    64
#define DHCP_SOURCE_RATE  10 /* messages a second from one MAC, */
#define DHCP_SOURCE_BURST 30 /* and at once */
#define DHCP_OVER_RATE                                                                                                 \
	2000 /* messages a second from all that are over that rate: they are answered, but cost no commit */
#define DHCP_NEW_RATE     2    /* PCs a second that were never seen before, in a subnet, */
#define DHCP_NEW_BURST    1024 /* and at once: a whole building is switched on for the first time */
#define DHCP_LEASE_MIN    60   /* s, whatever a client asks for */
#define DHCP_LEASE_BRIEF  300  /* s, of a PC that has not gone on yet */
#define DHCP_FULL_TOLD    300  /* s that a subnet without a free address is a problem after somebody asked in vain */
#define DHCP_UNSERVED     16   /* relays and interfaces without a subnet that are remembered as told of, */
#define DHCP_UNSERVED_S   3600 /* s */
#define DHCP_RELEASE_NS   500000000ull /* that a PC has to let go of an address that it gave back */
#define DHCP_DEBUG_BURST  500          /* lines of decisions in ten seconds */
#define DHCP_PROBES       1024         /* addresses probed at once; one more is offered without */
#define DHCP_PROBE_ROUNDS 4            /* addresses found in use in a row before a client has to ask again */
#define DHCP_STORE_RETRY  10           /* s that no offers are made after a failed commit, where a peer makes them */
#define DHCP_PROBE_FRESH  60           /* s that a probe without an answer is worth */

/* One UDP socket: of one interface, or of all when a subnet is only reached through relays. */
struct dhcp_listener {
	struct dhcp_server *server;
	int fd;
	int ifindex; /* 0: all */
	char interface[IFNAMSIZ];
	uint16_t port;
	struct loop_source *recv;
	bool wanted; /* by the configuration that is being applied */
};

/* How an answer travels. */
enum dhcp_route { DHCP_TO_ADDRESS, DHCP_TO_ALL, DHCP_TO_MAC };

struct dhcp_send {
	enum dhcp_route route;
	uint32_t address; /* destination, in host byte order */
	uint16_t port;
	uint32_t source; /* our address */
	uint16_t source_port;
	int ifindex;
	int fd; /* UDP socket; not for DHCP_TO_MAC */
	uint8_t mac[6];
};

/* An answer, or only a change of a lease (type 0). */
struct dhcp_answer {
	struct dhcp_send to;
	uint8_t type;              /* of the message; 0: nothing to send */
	bool registers;            /* boot_leased() is to be told */
	bool foreign;              /* the peer need not be told: it is its lease, or nothing that it counts */
	bool theirs;               /* of these, the peer's */
	uint64_t position;         /* of an ACK that waits for the peer: dhcp_sink */
	struct state_lease record; /* of those that wait for a commit */
	int64_t expires;           /* of the record, by the lease table's clock */
	uint32_t address;          /* for boot_leased() */
	struct boot_identity who;
	char nbp[128];
	uint32_t xid;      /* of the message that it answers, */
	uint8_t chaddr[6]; /* and whose it is */
	uint16_t length;
	uint8_t data[DHCP_PACKET_MAX];
};

struct dhcp_queue {
	struct dhcp_answer *answer;
	size_t count, room;
};

struct dhcp_commit;

struct dhcp_prober;
struct dhcp_peer;
struct dhcp_request;

/* A message that waited (for a probe, for the other server) goes on; valid within the call. */
typedef void (*dhcp_resume_fn)(struct dhcp_server *server, struct dhcp_request *request);

/*
 * Who else is told of what was committed and answered; all NULL: nobody. An ACK whose lease() is not 0 waits until
 * dhcp_batch_confirmed() is called with that number, or a higher one.
 */
struct dhcp_sink {
	void *arg;
	uint64_t (*lease)(void *arg, const struct state_lease *lease);
	bool (*alone)(void *arg); /* is what is changed now told to PCs without the other one's word? */
	void (*theirs)(void *arg, unsigned int count); /* so many of its own are written now, or could not be */
	void (*answered)(void *arg, uint32_t xid, const uint8_t chaddr[6]);
	void (*flush)(void *arg); /* the end of a round */
};

struct dhcp_server {
	struct loop *loop;
	struct netif *netif;
	const struct config *config;
	struct state *state;
	struct boot *boot;
	struct lease_table *leases;
	struct ratelimit *limit, *over, *newcomers; /* by MAC; of those over it; by subnet */
	struct dhcp_prober *prober;                 /* NULL: configured off, or not permitted */
	uint32_t peer_address;
	bool is_backup;
	struct dhcp_peer *peer; /* NULL: none configured, or its port is taken */
	struct dhcp_sink sink;
	struct netif_watch *watch;
	struct loop_source *expiry, *clock;
	int clock_fd; /* tells when somebody sets CLOCK_REALTIME */

	struct dhcp_listener *listener[DHCP_LISTENERS];
	size_t listeners;
	int packet_fd; /* AF_PACKET, for unicast to who has no address yet; -1 */

	struct dhcp_queue plain;    /* leave at the end of the round */
	struct dhcp_commit *commit; /* those that wait */
	struct loop_source *batch;

	uint64_t seq;         /* of the last change, version[] */
	uint8_t boot_id[16];  /* clock_boot_id() */
	int64_t state_failed; /* dhcp_now() of the last commit, if it failed; 0 */
	struct dhcp_stats stats;
	struct problems problems;
	char full_text[PROBLEMS_TEXT], peer_text[2 * PROBLEMS_TEXT];
	struct {
		uint32_t relay;
		int ifindex;
		int64_t told;
	} unserved[DHCP_UNSERVED];
};

/* A message on its way through the server. */
struct dhcp_request {
	struct dhcp_packet packet;
	struct dhcp_sender sender;
	struct lease_client client;
	struct boot_identity who;
	struct boot_answer boot;
	const struct dhcp_listener *listener;
	int ifindex;            /* came in by */
	uint32_t source, local; /* IP addresses of the datagram */
	uint16_t source_port;
	unsigned int subnet;
	uint32_t server;    /* our address for this client */
	uint32_t server_id; /* what option 54 says: the same, unless a relay overrides it */
	uint32_t requested; /* option 50 */
	bool has_requested, has_server_id;
	uint32_t chosen_server; /* option 54 of the message */
	unsigned int rounds;    /* of probing so far */
	bool routed;            /* its subnet is not on the interface that it came by, and no relay sent it */
	bool hurried;           /* its sender is over its rate: what it asks for may not cost a commit */
	uint32_t time_left;     /* s; 0: the lease's time is what configuration says */
	bool brief;             /* its lease is a brief one */
	uint64_t version[2];    /* of the lease that it gives back or declines */
	uint8_t answer;         /* what it was answered, 0: nothing */
	uint32_t given;         /* the address in that */
	const char *why;        /* a clause, for log = debug */
};

/* s, CLOCK_MONOTONIC: the clock of the lease table */
static inline int64_t dhcp_now(const struct dhcp_server *server)
{
	return (int64_t)(loop_now(server->loop) / CLOCK_NS);
}

static inline void dhcp_tell_answered(const struct dhcp_server *server, uint32_t xid, const uint8_t chaddr[6])
{
	if (server->sink.answered)
		server->sink.answered(server->sink.arg, xid, chaddr);
}

/* dhcp/decide.c: the outcome is counted by the caller. */
enum dhcp_outcome dhcp_decide(struct dhcp_server *server, struct dhcp_request *request);
/* A message that cannot be read is told of, as all others are. */
void dhcp_decide_unreadable(struct dhcp_server *server, uint32_t source, int ifindex, size_t length);
/* Again, for a DISCOVER whose address was probed: dhcp_decide() has filled the request in. */
enum dhcp_outcome dhcp_decide_probed(struct dhcp_server *server, struct dhcp_request *request);
/* Again, for a message that waited for the primary. */
enum dhcp_outcome dhcp_decide_held(struct dhcp_server *server, struct dhcp_request *request);

/*
 * dhcp/reply.c: makes the answer `type` and queues it. `lease` NULL: no address (NAK, INFORM, proxy). `message`: option
 * 56 of a NAK, else NULL. The result is in the batch, for the caller to add to.
 */
struct dhcp_answer *dhcp_reply(struct dhcp_server *server, const struct dhcp_request *request, uint8_t type,
			       const struct lease *lease, const char *message);
uint32_t dhcp_lease_time(const struct dhcp_server *server, const struct dhcp_request *request);

/* dhcp/send.c */
void dhcp_route(struct dhcp_send *ret, const struct dhcp_server *server, const struct dhcp_request *request,
		uint8_t type, uint32_t yiaddr);
/* Sends all that have a type, and empties the queue. */
void dhcp_send_queue(struct dhcp_server *server, struct dhcp_queue *queue);
int dhcp_packet_socket(void);

/*
 * dhcp/probe.c: asks by ARP on a local subnet, by ICMP echo behind a relay, and comes back by `resume` when
 * nobody answered; an address that is in use is quarantined first. Pending ones refer to listeners: stop them before
 * one goes.
 */
int dhcp_prober_new(struct dhcp_prober **ret, struct dhcp_server *server, dhcp_resume_fn resume);
void dhcp_prober_free(struct dhcp_prober *prober);
void dhcp_prober_stop_all(struct dhcp_prober *prober); /* NULL is fine */
/* Takes a copy of the request. -EBUSY: too many at once; another -errno: cannot be asked. Then offer without. */
int dhcp_probe(struct dhcp_prober *prober, const struct dhcp_request *request, uint32_t address);
/* Who answered at an address: nobody, the sender of the request (by its MAC; ICMP cannot tell), somebody else. */
enum dhcp_heard { DHCP_HEARD_NOBODY, DHCP_HEARD_HIM, DHCP_HEARD_OTHER };
typedef void (*dhcp_heard_fn)(struct dhcp_server *server, struct dhcp_request *request, enum dhcp_heard heard);
/*
 * Asks `delay` ns from now whether the PC that claims to have this address has it. -EALREADY: that address is being
 * probed; -ENOSYS: prober is NULL; else as above.
 */
int dhcp_probe_holder(struct dhcp_prober *prober, const struct dhcp_request *request, uint32_t address, uint64_t delay,
		      dhcp_heard_fn fn);
/* Is this client's message already waiting for a probe? */
bool dhcp_probing(const struct dhcp_prober *prober, const struct dhcp_request *request);

/* dhcp/server.c: where clients are heard: the backup's configured port is the pair's. */
uint16_t dhcp_client_port(const struct config *config);

/* dhcp/batch.c */
int dhcp_batch_new(struct dhcp_server *server);
void dhcp_batch_free(struct dhcp_server *server);
/*
 * A place in a queue, zeroed up to data, until the next one; never NULL. `durable`: leaves after dhcp_record()'s lease
 * is committed.
 */
struct dhcp_answer *dhcp_answer_new(struct dhcp_server *server, bool durable);
/* This lease has just been changed here: gives it its next version. Odd: the change was made ALONE (peer.h). */
void dhcp_stamp(struct dhcp_server *server, struct lease *lease);
void dhcp_stamp_as(struct dhcp_server *server, struct lease *lease, bool alone);
/* As version[]: 0 the primary, or who is alone; 1 the backup. */
static inline unsigned int dhcp_role(const struct dhcp_server *server)
{
	return server->config->dhcp_backup ? 1 : 0;
}
/* ACKs that waited for the peer leave, up to that number: those whose lease is still what they say. */
void dhcp_batch_confirmed(struct dhcp_server *server, uint64_t position);
/* What waits is not sent: the PCs ask again. */
void dhcp_batch_unconfirmed(struct dhcp_server *server);
/* What waits is waited for until that number. */
void dhcp_batch_wait_for(struct dhcp_server *server, uint64_t position);
/* Notes the lease as it is now in a durable answer. */
void dhcp_record(const struct dhcp_server *server, struct dhcp_answer *answer, const struct lease *lease);
/*
 * Commits and sends everything now, and waits for it, DHCP_DRAIN_NS at most; what is not committed by then is not
 * answered: before a socket or the server goes.
 */
void dhcp_batch_drain(struct dhcp_server *server);
/* No message that changes a lease can be taken: the disk does not keep up. */
bool dhcp_batch_is_full(struct dhcp_server *server);
/* Lets go what has expired, and sets the timer for the next one. */
void dhcp_batch_expire(struct dhcp_server *server);

#endif
