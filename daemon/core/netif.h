/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine's network interfaces and IPv4 addresses, read through rtnetlink (libnl-3) and kept up to date by its
 * notifications. Only Ethernet-like links and loopback are listed. Addresses in host byte order. Loop's thread only;
 * pointers returned are valid until the next round of the loop.
 */
#ifndef BOOTWELL_NETIF_H
#define BOOTWELL_NETIF_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/loop.h"

struct netif;
struct netif_watch;

struct netif_link {
	int index;
	char name[IFNAMSIZ];
	uint8_t mac[6];
	uint32_t mtu; /* bytes */
	bool up;      /* set up by the administrator */
	bool running; /* carrier: operational state up or unknown */
	bool loopback;
};

struct netif_address {
	int index; /* of the link */
	uint32_t address;
	uint8_t prefix;
	uint32_t broadcast; /* 0: none */
};

/* Reads the state of now; -errno when rtnetlink cannot be used. */
int netif_new(struct netif **ret, struct loop *loop);
void netif_free(struct netif *netif);

/* NULL if there is none. */
const struct netif_link *netif_link_by_name(const struct netif *netif, const char *name);
const struct netif_link *netif_link_by_index(const struct netif *netif, int index);
/* In order of index; NULL past the last. */
const struct netif_link *netif_link_at(const struct netif *netif, size_t n);

/* The n-th address of a link (index 0: of any); NULL past the last. */
const struct netif_address *netif_address_at(const struct netif *netif, int index, size_t n);
/* The link's first address within network/prefix; NULL if none. index 0: on any link. */
const struct netif_address *netif_address_in(const struct netif *netif, int index, uint32_t network, uint8_t prefix);
/* The entry of one of our own addresses; NULL if it is not ours. */
const struct netif_address *netif_address_own(const struct netif *netif, uint32_t address);

/* `fn` is called after any change (once for a burst of them). */
typedef void (*netif_change_fn)(void *arg);
int netif_watch_add(struct netif *netif, netif_change_fn fn, void *arg, struct netif_watch **ret);
void netif_watch_free(struct netif_watch *watch); /* NULL is fine; fine from within the callback */

#endif
