/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A server's UDP socket (IPv4): opened in one way, and the sentence for when it cannot be. */
#ifndef BOOTWELL_UDP_H
#define BOOTWELL_UDP_H

#include <stdint.h>

#include "daemon/core/problems.h"

struct udp_server {
	uint16_t port;
	const char *interface; /* bound to that device; "" or NULL: all */
	int receive, send;     /* bytes of the socket's buffers; 0: the kernel's default */
};

/* Non-blocking, with IP_PKTINFO (see datagram.h), allowed to broadcast. -EADDRINUSE, -EACCES and the like. */
int udp_open(const struct udp_server *server);

/* Adds "WHAT: ..." for an -errno of udp_open(); `what` says who is not served, such as "TFTP is not served". */
void udp_problem(struct problems *problems, const char *what, uint16_t port, int error);

#endif
