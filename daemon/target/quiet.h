/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Does the PC behind a session still speak? What the kernel knows of its connections, its counters and its neighbours.
 */
#ifndef BOOTWELL_TARGET_QUIET_H
#define BOOTWELL_TARGET_QUIET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * ms since anything was received on a connection of `peer` (host byte order) to our port `port` (sock_diag(7),
 * tcp_info). The least, when there are several. -ENOENT: there is none; another -errno: the kernel does not say.
 */
int quiet_tcp(uint32_t peer, uint16_t port, uint64_t *ret_ms);

/* The same of each connection to that port; a peer with several comes as often. */
int quiet_tcp_each(uint16_t port, void (*fn)(void *arg, uint32_t peer, uint64_t quiet_ms), void *arg);

/* Who is asked for by ARP. */
struct quiet_ask {
	const char *interface;
	uint32_t address;
	bool asked;    /* it could be sent */
	bool answered; /* somebody has that address */
};
/*
 * Asks for all of them, three times in QUIET_ARP_MS at most. An operating system that runs answers, however little it
 * has to do; firmware in a boot menu may not. -errno: nobody was asked (CAP_NET_RAW).
 */
#define QUIET_ARP_MS 900
int quiet_arp(struct quiet_ask *asks, size_t count);

/* The MAC that the kernel's neighbour table has for an address on that interface. -ENOENT: none, or it is incomplete.
 */
int quiet_neighbour(const char *interface, uint32_t address, uint8_t ret_mac[6]);
#endif
