/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the DHCP server share:
 *	dhcp_server.c	sockets, reload, problems
 *	dhcp_batch.c	answers wait for their leases to be committed
 *	dhcp_decide.c	what to do with a message: which subnet, which address, which answer
 *	dhcp_reply.c	the answer's fields and options
 *	dhcp_send.c	where an answer goes, and how
 *	dhcp_probe.c	is somebody using this address already?
 *	dhcp_peer.c	the other one of a pair
 */
#ifndef BOOTWELL_DHCP_PRIVATE_H
#define BOOTWELL_DHCP_PRIVATE_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "daemon/dhcp_packet.h"
#include "daemon/dhcp_server.h"
#include "daemon/lease.h"
#include "daemon/log.h"
#include "daemon/ratelimit.h"

#define DHCP_BATCH	   256	/* answers that leave at the end of a round, at most */
#define DHCP_DURABLE	   4096 /* answers that wait for one commit, at most */
#define DHCP_PROBLEMS	   16
#define DHCP_LISTENERS	   64
#define DHCP_SOURCE_RATE   10 /* messages a second from one MAC, */
#define DHCP_SOURCE_BURST  30 /* and at once */
#define DHCP_LEASE_MIN	   60 /* s, whatever a client asks for */
#define DHCP_PROBES	   1024 /* addresses probed at once; one more is offered without */
#define DHCP_PROBE_ROUNDS  4	/* addresses found in use in a row before a client has to ask again */
#define DHCP_STORE_RETRY   10	/* s that no offers are made after a failed commit, where a peer makes them */
#define DHCP_PROBE_FRESH   60	/* s that a probe without an answer is worth */
#define DHCP_RETRY_NS	   (5 * 1000000000ull) /* try again what could not be opened */

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
	uint8_t type;	/* of the message; 0: nothing to send */
	bool registers; /* boot_leased() is to be told */
	bool foreign;	/* the peer's lease: it need not be told */
	struct store_lease record; /* of those that wait for a commit */
	struct boot_identity who;
	char nbp[128];
	uint32_t xid;	   /* of the message that it answers, */
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

struct dhcp_server {
	struct loop *loop;
	struct netif *netif;
	const struct config *config;
	struct store *store;
	struct boot *boot;
	struct lease_table *leases;
	struct ratelimit *limit;
	struct dhcp_prober *prober; /* NULL: configured off, or not permitted */
	uint32_t peer_address;
	bool is_backup;
	struct dhcp_peer *peer;	    /* NULL: none configured, or its port is taken */
	struct netif_watch *watch;
	struct loop_source *retry, *expiry;

	struct dhcp_listener *listener[DHCP_LISTENERS];
	size_t listeners;
	int packet_fd; /* AF_PACKET, for unicast to who has no address yet; -1 */

	struct dhcp_queue plain;    /* leave at the end of the round */
	struct dhcp_commit *commit; /* those that wait */
	struct loop_source *batch;

	int64_t clock_offset; /* CLOCK_REALTIME - CLOCK_MONOTONIC, s */
	int64_t store_failed; /* dhcp_now() of the last commit, if it failed; 0 */
	struct dhcp_stats stats;
	char problem[DHCP_PROBLEMS][320];
	unsigned int problems;
	struct log_limit log_full, log_send, log_store, log_declined, log_subnet;
};

/* A message on its way through the server. */
struct dhcp_request {
	struct dhcp_packet packet;
	struct dhcp_sender sender;
	struct lease_client client;
	struct boot_identity who;
	struct boot_answer boot;
	const struct dhcp_listener *listener;
	int ifindex;		/* came in by */
	uint32_t source, local; /* IP addresses of the datagram */
	uint16_t source_port;
	unsigned int subnet;
	uint32_t server;    /* our address for this client */
	uint32_t server_id; /* what option 54 says: the same, unless a relay overrides it */
	uint32_t requested; /* option 50 */
	bool has_requested, has_server_id;
	uint32_t chosen_server; /* option 54 of the message */
	unsigned int rounds;	/* of probing so far */
};

/* s, CLOCK_MONOTONIC: the clock of the lease table */
int64_t dhcp_now(const struct dhcp_server *server);

/* dhcp_decide.c: the outcome is counted by the caller. */
enum dhcp_outcome dhcp_decide(struct dhcp_server *server, struct dhcp_request *request);
/* Again, for a DISCOVER whose address was probed: dhcp_decide() has filled the request in. */
enum dhcp_outcome dhcp_decide_probed(struct dhcp_server *server, struct dhcp_request *request);
/* Again, for a message that waited for the primary. */
enum dhcp_outcome dhcp_decide_held(struct dhcp_server *server, struct dhcp_request *request);

/*
 * dhcp_reply.c: makes the answer `type` and queues it. `lease` NULL: no address (NAK, INFORM, proxy). `message`: option 56
 * of a NAK, else NULL. The result is in the batch, for the caller to add to.
 */
struct dhcp_answer *dhcp_reply(struct dhcp_server *server, const struct dhcp_request *request, uint8_t type,
			       const struct lease *lease, const char *message);
uint32_t dhcp_lease_time(const struct dhcp_server *server, const struct dhcp_request *request);

/* dhcp_send.c */
void dhcp_route(struct dhcp_send *ret, const struct dhcp_server *server, const struct dhcp_request *request,
		uint8_t type, uint32_t yiaddr);
/* Sends all that have a type, and empties the queue. */
void dhcp_send_queue(struct dhcp_server *server, struct dhcp_queue *queue);
int dhcp_packet_socket(void);

/*
 * dhcp_probe.c: asks by ARP on a local subnet, by ICMP echo behind a relay, and comes back to dhcp_decide_probed() when
 * nobody answered; an address that is in use is quarantined first. Pending ones refer to listeners: stop them before one
 * goes.
 */
int dhcp_prober_new(struct dhcp_prober **ret, struct dhcp_server *server);
void dhcp_prober_free(struct dhcp_prober *prober);
void dhcp_prober_stop_all(struct dhcp_prober *prober); /* NULL is fine */
/* Takes a copy of the request. -EBUSY: too many at once; another -errno: cannot be asked. Then offer without. */
int dhcp_probe(struct dhcp_prober *prober, const struct dhcp_request *request, uint32_t address);
/* Is this client's message already waiting for a probe? */
bool dhcp_probing(const struct dhcp_prober *prober, const struct dhcp_request *request);

/* dhcp_server.c */
void dhcp_restore(struct dhcp_server *server, const struct store_lease *from);
/* Where clients are heard: the backup's configured port is the pair's. */
uint16_t dhcp_client_port(const struct config *config);
void dhcp_quarantine(struct dhcp_server *server, struct lease *lease, const char *who);
void dhcp_lease_expired(struct dhcp_server *server); /* sets the timer for the next one */
void dhcp_problem(struct dhcp_server *server, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* dhcp_batch.c */
int dhcp_batch_new(struct dhcp_server *server);
void dhcp_batch_free(struct dhcp_server *server);
/* A place in a queue, zeroed up to data; never NULL. `durable`: leaves after dhcp_record()'s lease is committed. */
struct dhcp_answer *dhcp_answer_new(struct dhcp_server *server, bool durable);
/* Notes the lease as it is now in a durable answer. */
void dhcp_record(const struct dhcp_server *server, struct dhcp_answer *answer, const struct lease *lease);
/* Commits and sends everything now, and waits for it: before a socket or the server goes. */
void dhcp_batch_drain(struct dhcp_server *server);
uint64_t dhcp_clock(bool realtime); /* ns */

#endif
