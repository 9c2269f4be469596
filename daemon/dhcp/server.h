/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The DHCP server: full server, proxy beside another one, or off, by configuration. Runs on the loop's thread. What
 * cannot be served now (port taken, interface missing) does not fail dhcp_server_new(): it is logged as one sentence,
 * listed by dhcp_server_problem(), and tried again every few seconds and whenever an interface changes.
 */
#ifndef BOOTWELL_DHCP_SERVER_H
#define BOOTWELL_DHCP_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/boot/boot.h"
#include "daemon/config/config.h"
#include "daemon/core/loop.h"
#include "daemon/core/netif.h"
#include "daemon/dhcp/packet.h"
#include "daemon/state/state.h"

struct dhcp_server;

#define DHCP_STATS_TYPES 19 /* option 53 values 0 (BOOTP) to 18 */

/* Why a packet got no answer, or what became of it; dhcp_outcome_name() gives the label of metrics. */
enum dhcp_outcome {
	DHCP_OUTCOME_ANSWERED,
	DHCP_OUTCOME_MALFORMED,    /* not a DHCP packet, or fields that contradict each other */
	DHCP_OUTCOME_LIMITED,      /* over the rate of its source or of the server */
	DHCP_OUTCOME_NO_SUBNET,    /* came by an interface or relay that no subnet is configured for */
	DHCP_OUTCOME_OTHER_SERVER, /* the client chose another server */
	DHCP_OUTCOME_NOT_OURS,     /* not for this mode, or a type that no server answers */
	DHCP_OUTCOME_EXHAUSTED,    /* no free address */
	DHCP_OUTCOME_UNKNOWN,      /* REQUEST of an address that we know nothing about: silence */
	DHCP_OUTCOME_STORE_FAILED, /* the lease could not be committed: no ACK */
	DHCP_OUTCOME_SEND_FAILED,
	DHCP_OUTCOME_PROBING, /* the answer waits for ARP or ICMP */
	DHCP_OUTCOME_STANDBY, /* backup: the primary answers */
	DHCP_OUTCOME_NOTED,   /* RELEASE or DECLINE taken: no answer is due */
	DHCP_OUTCOMES
};

struct dhcp_stats {
	uint64_t received[DHCP_STATS_TYPES]; /* by message type */
	uint64_t sent[DHCP_STATS_TYPES];
	uint64_t outcome[DHCP_OUTCOMES];
	uint64_t conflicts;   /* addresses found in use by a probe or a DECLINE */
	uint64_t commits;     /* transactions */
	uint64_t commit_ns;   /* time spent in them */
	uint32_t leases;      /* bound now */
	uint32_t offers;      /* offered and not taken yet */
	uint32_t quarantined; /* addresses declined or found in use */
	uint64_t addresses;   /* in all ranges */
};

/* `config` stays valid until dhcp_server_reload() with another or dhcp_server_free(). */
int dhcp_server_new(struct dhcp_server **ret, struct loop *loop, struct netif *netif, const struct config *config,
		    struct state *state, struct boot *boot);
/* Takes a new configuration: leases stay; sockets are opened anew only where the port or interface changed. */
int dhcp_server_reload(struct dhcp_server *server, const struct config *config);
void dhcp_server_free(struct dhcp_server *server);

const struct dhcp_stats *dhcp_server_stats(struct dhcp_server *server);
const char *dhcp_outcome_name(enum dhcp_outcome outcome); /* "answered", "no_subnet", ... */

/* What is not served at the moment and why, one sentence each; NULL past the last. */
const char *dhcp_server_problem(struct dhcp_server *server, unsigned int n); /* valid until the next call */

/* The other one of a pair. */
enum dhcp_peer_state { DHCP_PEER_NONE, DHCP_PEER_SILENT, DHCP_PEER_ALIVE };
enum dhcp_peer_state dhcp_server_peer(const struct dhcp_server *server);
/* Is this one of the other server's addresses? Then it is no stranger. */
bool dhcp_server_is_peer(const struct dhcp_server *server, uint32_t address);

/* One [subnet]; dynamic addresses only. */
struct dhcp_subnet_stats {
	const char *name;
	uint64_t addresses; /* that can be given */
	uint64_t leases, offers, quarantined;
	bool full; /* a PC asked in vain a moment ago */
};
/* The n-th; false past the last, and where no addresses are given (proxy, off). */
bool dhcp_server_subnet(const struct dhcp_server *server, unsigned int n, struct dhcp_subnet_stats *ret);

/* Frees an address, or (0) all that are leased, offered or left alone; `unbooted`: only of PCs that did not go on. */
unsigned int dhcp_server_free_leases(struct dhcp_server *server, uint32_t address, bool unbooted);

#endif
