/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The network interfaces of a server (daemon/core/netif.h): the PCs' network, and the cable to the other server. The
 * first one is called lo, for the configuration is checked against the machine that this runs on.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/netif.h"

struct netif {
	struct netif_link link[2];
	struct netif_address address[2];
};

int netif_new(struct netif **ret, struct loop *loop)
{
	struct netif *n = calloc(1, sizeof(*n));
	unsigned int own = sim_server->n + 1;

	(void)loop;
	if (!n)
		return -ENOMEM;
	n->link[0] = (struct netif_link){.index = 2,
					 .name = "lo",
					 .mac = {2, 1, 0, 0, 0, (uint8_t)own},
					 .mtu = 1500,
					 .up = true,
					 .running = true};
	n->link[1] = n->link[0];
	n->link[1].index = 3;
	strcpy(n->link[1].name, "peer0");
	n->address[0] = (struct netif_address){.index = 2, .address = SIM_NET + own, .prefix = 24};
	n->address[1] = (struct netif_address){.index = 3, .address = SIM_LINK + own, .prefix = 30};
	*ret = n;
	return 0;
}

void netif_free(struct netif *netif)
{
	free(netif);
}

const struct netif_link *netif_link_by_name(const struct netif *netif, const char *name)
{
	for (size_t i = 0; i < 2; i++)
		if (!strcmp(netif->link[i].name, name))
			return &netif->link[i];
	return NULL;
}

const struct netif_link *netif_link_by_index(const struct netif *netif, int index)
{
	for (size_t i = 0; i < 2; i++)
		if (netif->link[i].index == index)
			return &netif->link[i];
	return NULL;
}

const struct netif_link *netif_link_at(const struct netif *netif, size_t n)
{
	return n < 2 ? &netif->link[n] : NULL;
}

const struct netif_address *netif_address_at(const struct netif *netif, int index, size_t n)
{
	for (size_t i = 0; i < 2; i++)
		if ((!index || netif->address[i].index == index) && !n--)
			return &netif->address[i];
	return NULL;
}

const struct netif_address *netif_address_in(const struct netif *netif, int index, uint32_t network, uint8_t prefix)
{
	uint32_t mask = prefix ? ~0u << (32 - prefix) : 0;

	for (size_t i = 0; i < 2; i++)
		if ((!index || netif->address[i].index == index) && !((netif->address[i].address ^ network) & mask))
			return &netif->address[i];
	return NULL;
}

const struct netif_address *netif_address_own(const struct netif *netif, uint32_t address)
{
	for (size_t i = 0; i < 2; i++)
		if (netif->address[i].address == address)
			return &netif->address[i];
	return NULL;
}

/* Nothing ever changes here. */
int netif_watch_add(struct netif *netif, netif_change_fn fn, void *arg, struct netif_watch **ret)
{
	(void)netif, (void)fn, (void)arg;
	*ret = NULL;
	return 0;
}

void netif_watch_free(struct netif_watch *watch)
{
	(void)watch;
}
