/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two servers for the same subnets, as a primary and its backup (`[dhcp] peer`, `backup = yes`). They talk over UDP
 * port 66 with each other and with nobody else (dhcp/peer_wire.h). The rules, which docs/model/pair.pml checks:
 *
 * Each change of a lease has a version: two numbers, of the primary's and of the backup's change, that only go up. A
 * version of which both numbers are at least those of another is the newer one. If neither is, the two have changed one
 * lease without knowing of each other's change; then the primary decides: a running lease before a free address; one of
 * which a PC was told, because it was made ALONE, before one that waited for the other server's word; its own before the
 * backup's. Its decision has a version above both. No clock takes part; a lease travels with the seconds that are left.
 *
 * Each server is in one of three modes:
 *
 *	TOGETHER	Each hears the other, and this one has all that the other one has done. The primary answers; the
 *			backup what the primary has not answered within 0.7 s. An ACK leaves when its lease is on the own
 *			disk and the other server has confirmed that it has it, too.
 *	ALONE		Nothing was heard for 3 s (at a start: within 3 s). This one answers all, and waits for nobody.
 *	WAITING		It hears the other one, but that one does not hear it (so that one is, or will be, ALONE), or it
 *			has not yet all that the other one has done, or was frozen itself. It does not answer.
 *
 * So an address is never acknowledged to two PCs whose leases run, unless each server was ALONE before the other one had
 * all that it had done while ALONE: the link between the two is cut in both directions, and PCs reach both. With
 * `split = yes` not even then: new addresses come from the own half only, and no address goes to another PC before both
 * have known for a minute that it is free, for the other server could still be renewing it for its last holder.
 *
 * The names of the PCs are told in turns, a few each second (dhcp/peer_names.h): a PC has one name on both.
 *
 * Whenever the two begin to hear each other (HELLO each second), each tells all its leases again; after that each
 * change, until it is confirmed. What both must agree about (dhcp/peer_lines.h) is compared at each HELLO; if it differs,
 * the primary goes on as if ALONE, and the backup does not answer while it hears the primary. The same with a server that
 * speaks another version of this, and when leases do not get through for 10 s although HELLOs do.
 */
#ifndef BOOTWELL_DHCP_PEER_H
#define BOOTWELL_DHCP_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/dhcp/private.h"

#define DHCP_PEER_PORT 66

struct dhcp_peer;

int dhcp_peer_new(struct dhcp_peer **ret, struct dhcp_server *server, uint32_t address, bool backup,
		  dhcp_resume_fn resume);
void dhcp_peer_free(struct dhcp_peer *peer);
/* Held messages refer to listeners. NULL is fine, here and below. */
void dhcp_peer_stop_held(struct dhcp_peer *peer);
/* The server has another configuration, or another table of leases. -errno: the one before is compared still. */
int dhcp_peer_reload(struct dhcp_peer *peer);

/* A datagram at the peers' port (a loop_recv_fn); what is not from the peer, or damaged, is dropped. */
void dhcp_peer_hear(void *peer, const struct loop_datagram *dgram);

/* Has the other server said that this address is its own? */
bool dhcp_peer_has(const struct dhcp_peer *peer, uint32_t address);
bool dhcp_peer_alive(const struct dhcp_peer *peer); /* heard within the last 3 s */
/* WAITING: DISCOVER and REQUEST are not answered. */
bool dhcp_peer_waits(const struct dhcp_peer *peer);
/* Takes a copy of the request when it must wait for the primary; false: answer it now. */
bool dhcp_peer_holds(struct dhcp_peer *peer, const struct dhcp_request *request);
/* What is wrong, one sentence each; NULL past the last. Written into ret. */
const char *dhcp_peer_problem(const struct dhcp_peer *peer, unsigned int n, char *ret, size_t size);
/* What the server's batches tell the other one, for server->sink; at the end of the round it is sent. */
struct dhcp_sink dhcp_peer_sink(struct dhcp_peer *peer);

#endif
