/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looks for other DHCP servers: broadcasts a DISCOVER on one interface from a made-up client and lists who answers. It
 * takes nothing (no REQUEST follows) and fights nobody. Needs CAP_NET_RAW.
 */
#ifndef BOOTWELL_DHCP_SCAN_H
#define BOOTWELL_DHCP_SCAN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/loop.h"
#include "daemon/core/netif.h"

#define DHCP_SCAN_SERVERS 32 /* listed for one interface at most */

struct dhcp_scan;

/* One server that answered. Addresses in host byte order, 0: not given. */
struct dhcp_scan_server {
	char interface[IFNAMSIZ];
	uint32_t server;     /* option 54, or the sender's address */
	uint32_t source;     /* IP address that the frame came from: a relay or the server */
	uint8_t mac[6];      /* of the frame */
	uint32_t offered;    /* yiaddr; 0: a proxy (PXE only) */
	uint32_t lease_time; /* s */
	uint32_t router, netmask, next_server;
	char boot_file[129]; /* printable characters only */
	bool ours;           /* the address is one of this machine's */
};

typedef void (*dhcp_scan_fn)(void *arg, const struct dhcp_scan_server *servers, unsigned int count, int error);

/*
 * Scans `interface` ("": every one that is up, except loopback) for `seconds` (1 to 30). `done` is called once, with
 * error 0 or -errno; it may free the scan. Freeing earlier means that `done` is not called.
 */
int dhcp_scan_start(struct dhcp_scan **ret, struct loop *loop, struct netif *netif, const char *interface,
		    unsigned int seconds, dhcp_scan_fn done, void *arg);
void dhcp_scan_free(struct dhcp_scan *scan);

/* A list of objects, for status and command line; a new reference. */
json_t *dhcp_scan_json(const struct dhcp_scan_server *servers, unsigned int count);

#endif
