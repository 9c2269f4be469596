/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whom a datagram is from, and to which address of ours it came: IPv4, a socket with IP_PKTINFO (ip(7)). */
#ifndef BOOTWELL_DATAGRAM_H
#define BOOTWELL_DATAGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/loop.h"

struct datagram_addresses {
	uint32_t source, local; /* in host byte order; local: the destination, ours or a broadcast address */
	uint16_t source_port;
	int ifindex; /* came in by */
};

/* False: not IPv4, or the kernel did not tell. */
bool datagram_addresses(const struct loop_datagram *datagram, struct datagram_addresses *ret);

#endif
