/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages that the backup of a pair leaves to the primary for a moment. */
#ifndef BOOTWELL_DHCP_PEER_HELD_H
#define BOOTWELL_DHCP_PEER_HELD_H

#include "daemon/dhcp/private.h"

#define DHCP_PEER_HELD 1024 /* messages held at once; one more is dropped: the client asks again */

struct peer_held;

int peer_held_new(struct peer_held **ret, struct dhcp_server *server, dhcp_resume_fn resume);
void peer_held_free(struct peer_held *held); /* NULL is fine */
/* Takes a copy; `resume` comes after 0.7 s, unless peer_held_answered(). */
void peer_held_add(struct peer_held *held, const struct dhcp_request *request);
/* The primary has answered it. */
void peer_held_answered(struct peer_held *held, uint32_t xid, const uint8_t chaddr[6]);
/* Drops all: they refer to listeners. */
void peer_held_stop(struct peer_held *held);

#endif
