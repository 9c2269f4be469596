/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two netlink sockets: one hears the notifications, one asks. A notification only says "something changed": it is
 * drained, and at the end of the loop's round everything is read again and compared. So a lost notification (ENOBUFS)
 * costs nothing, and a burst of them costs one reading.
 */
#include "daemon/core/netif.h"

#include <errno.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <netlink/cache.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tcmu-handler/image/bytes.h"

#define LINKS_MAX     4096
#define ADDRESSES_MAX 16384

struct snapshot {
	struct netif_link *link;
	size_t links;
	struct netif_address *address;
	size_t addresses;
};

struct netif_watch {
	struct netif *netif;
	struct netif_watch *next;
	netif_change_fn fn;
	void *arg;
	bool dead;
};

struct netif {
	struct nl_sock *ask, *hear;
	struct loop_source *poll, *batch;
	struct snapshot now;
	struct netif_watch *watches;
	bool telling;
};

static void snapshot_done(struct snapshot *snapshot)
{
	free(snapshot->link);
	free(snapshot->address);
	memset(snapshot, 0, sizeof(*snapshot));
}

static bool snapshot_equal(const struct snapshot *a, const struct snapshot *b)
{
	return a->links == b->links && a->addresses == b->addresses &&
	       (!a->links || !memcmp(a->link, b->link, a->links * sizeof(*a->link))) &&
	       (!a->addresses || !memcmp(a->address, b->address, a->addresses * sizeof(*a->address)));
}

static bool link_read(struct rtnl_link *from, struct netif_link *to)
{
	struct nl_addr *mac = rtnl_link_get_addr(from);
	unsigned int type = rtnl_link_get_arptype(from), flags = rtnl_link_get_flags(from);
	const char *name = rtnl_link_get_name(from);
	uint8_t state = rtnl_link_get_operstate(from);

	if ((type != ARPHRD_ETHER && type != ARPHRD_LOOPBACK) || !name)
		return false;
	memset(to, 0, sizeof(*to));
	to->index = rtnl_link_get_ifindex(from);
	strncpy(to->name, name, sizeof(to->name) - 1);
	if (mac && nl_addr_get_len(mac) == sizeof(to->mac))
		memcpy(to->mac, nl_addr_get_binary_addr(mac), sizeof(to->mac));
	to->mtu = rtnl_link_get_mtu(from);
	to->up = flags & IFF_UP;
	to->running = to->up && (state == IF_OPER_UP || (state == IF_OPER_UNKNOWN && flags & IFF_RUNNING));
	to->loopback = flags & IFF_LOOPBACK;
	return true;
}

static bool address_read(struct rtnl_addr *from, struct netif_address *to)
{
	struct nl_addr *local = rtnl_addr_get_local(from), *broadcast = rtnl_addr_get_broadcast(from);

	if (!local || nl_addr_get_family(local) != AF_INET || nl_addr_get_len(local) != 4)
		return false;
	memset(to, 0, sizeof(*to));
	to->index = rtnl_addr_get_ifindex(from);
	to->address = be32_at(nl_addr_get_binary_addr(local));
	to->prefix = (uint8_t)rtnl_addr_get_prefixlen(from);
	if (broadcast && nl_addr_get_len(broadcast) == 4)
		to->broadcast = be32_at(nl_addr_get_binary_addr(broadcast));
	return true;
}

static int by_index(const void *a, const void *b)
{
	const struct netif_link *x = a, *y = b;

	return (x->index > y->index) - (x->index < y->index);
}

static int links_read(struct nl_sock *sock, struct snapshot *to)
{
	struct nl_cache *cache;
	int n;

	if (rtnl_link_alloc_cache(sock, AF_UNSPEC, &cache) < 0)
		return -EIO;
	n = nl_cache_nitems(cache);
	n = n > LINKS_MAX ? LINKS_MAX : n;
	to->link = calloc(n ? (size_t)n : 1, sizeof(*to->link));
	for (struct nl_object *o = nl_cache_get_first(cache); to->link && o && to->links < (size_t)n;
	     o = nl_cache_get_next(o))
		to->links += link_read((struct rtnl_link *)o, &to->link[to->links]);
	nl_cache_free(cache);
	if (!to->link)
		return -ENOMEM;
	qsort(to->link, to->links, sizeof(*to->link), by_index);
	return 0;
}

static int addresses_read(struct nl_sock *sock, struct snapshot *to)
{
	struct nl_cache *cache;
	int n;

	if (rtnl_addr_alloc_cache(sock, &cache) < 0)
		return -EIO;
	n = nl_cache_nitems(cache);
	n = n > ADDRESSES_MAX ? ADDRESSES_MAX : n;
	to->address = calloc(n ? (size_t)n : 1, sizeof(*to->address));
	/* In the kernel's order: the first one of a link is its primary address. */
	for (struct nl_object *o = nl_cache_get_first(cache); to->address && o && to->addresses < (size_t)n;
	     o = nl_cache_get_next(o))
		to->addresses += address_read((struct rtnl_addr *)o, &to->address[to->addresses]);
	nl_cache_free(cache);
	return to->address ? 0 : -ENOMEM;
}

static int snapshot_read(struct nl_sock *sock, struct snapshot *ret)
{
	struct snapshot fresh = {0};
	int r = links_read(sock, &fresh);

	if (!r)
		r = addresses_read(sock, &fresh);
	if (r < 0)
		snapshot_done(&fresh);
	else
		*ret = fresh;
	return r;
}

static void tell(struct netif *netif)
{
	netif->telling = true;
	for (struct netif_watch *w = netif->watches; w; w = w->next)
		if (!w->dead)
			w->fn(w->arg);
	netif->telling = false;
	for (struct netif_watch **p = &netif->watches, *w; (w = *p);) {
		if (!w->dead) {
			p = &w->next;
			continue;
		}
		*p = w->next;
		free(w);
	}
}

static void read_again(void *arg)
{
	struct netif *netif = arg;
	struct snapshot fresh;

	if (snapshot_read(netif->ask, &fresh) < 0)
		return;
	if (snapshot_equal(&fresh, &netif->now)) {
		snapshot_done(&fresh);
		return;
	}
	snapshot_done(&netif->now);
	netif->now = fresh;
	tell(netif);
}

static void on_notification(void *arg, uint32_t revents)
{
	struct netif *netif = arg;
	char drop[16384];

	(void)revents;
	while (recv(nl_socket_get_fd(netif->hear), drop, sizeof(drop), MSG_DONTWAIT | MSG_TRUNC) > 0 ||
	       errno == ENOBUFS)
		;
	loop_batch_arm(netif->batch);
}

static int open_sockets(struct netif *netif)
{
	netif->ask = nl_socket_alloc();
	netif->hear = nl_socket_alloc();
	if (!netif->ask || !netif->hear)
		return -ENOMEM;
	nl_socket_disable_seq_check(netif->hear);
	if (nl_connect(netif->ask, NETLINK_ROUTE) < 0 || nl_connect(netif->hear, NETLINK_ROUTE) < 0 ||
	    nl_socket_add_memberships(netif->hear, RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, 0) < 0)
		return -EIO;
	nl_socket_set_nonblocking(netif->hear);
	return 0;
}

int netif_new(struct netif **ret, struct loop *loop)
{
	struct netif *netif = calloc(1, sizeof(*netif));
	int r;

	if (!netif)
		return -ENOMEM;
	r = open_sockets(netif);
	if (!r)
		r = snapshot_read(netif->ask, &netif->now);
	if (!r)
		r = loop_add_batch(loop, read_again, netif, &netif->batch);
	if (!r)
		r = loop_add_poll(loop, nl_socket_get_fd(netif->hear), POLLIN, on_notification, netif, &netif->poll);
	if (r < 0) {
		netif_free(netif);
		return r;
	}
	*ret = netif;
	return 0;
}

void netif_free(struct netif *netif)
{
	if (!netif)
		return;
	loop_source_free(netif->poll);
	loop_source_free(netif->batch);
	nl_socket_free(netif->ask);
	nl_socket_free(netif->hear);
	for (struct netif_watch *w = netif->watches, *next; w; w = next) {
		next = w->next;
		free(w);
	}
	snapshot_done(&netif->now);
	free(netif);
}

const struct netif_link *netif_link_by_name(const struct netif *netif, const char *name)
{
	for (size_t i = 0; i < netif->now.links; i++)
		if (!strcmp(netif->now.link[i].name, name))
			return &netif->now.link[i];
	return NULL;
}

const struct netif_link *netif_link_by_index(const struct netif *netif, int index)
{
	struct netif_link key = {.index = index};

	return bsearch(&key, netif->now.link, netif->now.links, sizeof(key), by_index);
}

const struct netif_link *netif_link_at(const struct netif *netif, size_t n)
{
	return n < netif->now.links ? &netif->now.link[n] : NULL;
}

const struct netif_address *netif_address_at(const struct netif *netif, int index, size_t n)
{
	for (size_t i = 0; i < netif->now.addresses; i++)
		if ((!index || netif->now.address[i].index == index) && !n--)
			return &netif->now.address[i];
	return NULL;
}

const struct netif_address *netif_address_in(const struct netif *netif, int index, uint32_t network, uint8_t prefix)
{
	uint32_t mask = prefix ? ~0u << (32 - prefix) : 0;

	for (size_t i = 0; i < netif->now.addresses; i++) {
		const struct netif_address *a = &netif->now.address[i];

		if ((!index || a->index == index) && (a->address & mask) == (network & mask))
			return a;
	}
	return NULL;
}

const struct netif_address *netif_address_own(const struct netif *netif, uint32_t address)
{
	return netif_address_in(netif, 0, address, 32);
}

int netif_watch_add(struct netif *netif, netif_change_fn fn, void *arg, struct netif_watch **ret)
{
	struct netif_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	watch->netif = netif;
	watch->fn = fn;
	watch->arg = arg;
	watch->next = netif->watches;
	netif->watches = watch;
	*ret = watch;
	return 0;
}

void netif_watch_free(struct netif_watch *watch)
{
	if (!watch)
		return;
	watch->dead = true;
	if (watch->netif->telling)
		return;
	for (struct netif_watch **p = &watch->netif->watches; *p; p = &(*p)->next) {
		if (*p != watch)
			continue;
		*p = watch->next;
		free(watch);
		return;
	}
}
