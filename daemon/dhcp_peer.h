/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two servers for the same subnets, as a primary and its backup (`[dhcp] peer`, `backup = yes`). They talk over UDP port 66
 * with each other and with nobody else:
 *
 *	HELLO		each second: I am alive; a new run of me has a new number
 *	LEASE		leases that were committed, as they are committed; all of them when the other one comes (back),
 *			and every five minutes, because a datagram may get lost. The newer change wins.
 *	ANSWERED	from the primary: this client's message has its answer
 *
 * The backup hears the clients' broadcasts as the primary does. While the primary is alive, it holds each message for a
 * moment and drops it when ANSWERED comes; so it answers what the primary has not: because it is dead (no HELLO for three
 * seconds: then without any delay), or full, or cannot write. New addresses it takes from the end of the ranges. A client of
 * a dead primary keeps its address: the backup knows the lease when it rebinds. Not covered: a primary that is alive and
 * cut off from the backup but not from the clients; then both answer, from both ends of the ranges, and the client chooses.
 */
#ifndef BOOTWELL_DHCP_PEER_H
#define BOOTWELL_DHCP_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/dhcp_private.h"

#define DHCP_PEER_PORT 66
#define DHCP_PEER_HELD 1024 /* messages held at once; one more is dropped: the client asks again */

struct dhcp_peer;

int dhcp_peer_new(struct dhcp_peer **ret, struct dhcp_server *server, uint32_t address, bool backup);
void dhcp_peer_free(struct dhcp_peer *peer);
/* Held messages refer to listeners. NULL is fine, here and below. */
void dhcp_peer_stop_held(struct dhcp_peer *peer);

/* A datagram at the peers' port (a loop_recv_fn); what is not from the peer, or not of the form above, is dropped. */
void dhcp_peer_hear(void *peer, const struct loop_datagram *dgram);

bool dhcp_peer_alive(const struct dhcp_peer *peer);
/* Takes a copy of the request when it must wait for the primary; false: answer it now. */
bool dhcp_peer_holds(struct dhcp_peer *peer, const struct dhcp_request *request);
/* We answered this message of that client. Sent at the end of the round, by dhcp_peer_flush(). */
void dhcp_peer_answered(struct dhcp_peer *peer, uint32_t xid, const uint8_t chaddr[6]);
void dhcp_peer_lease(struct dhcp_peer *peer, const struct store_lease *lease);
void dhcp_peer_flush(struct dhcp_peer *peer);

#endif
