// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The magic packet: six bytes of 0xff and sixteen times the MAC, to the broadcast address of each subnet.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/boot/wake.h"

#define DISCARD_PORT 9

void wake_packet(uint8_t ret[WAKE_PACKET_SIZE], const uint8_t mac[6])
{
	memset(ret, 0xff, 6);
	for (unsigned int i = 0; i < 16; i++)
		memcpy(ret + 6 + 6 * i, mac, 6);
}

/* A network-directed broadcast, out of the interface that has the network. */
static int send_to(const struct netif *netif, const struct config_subnet *subnet, const uint8_t *packet)
{
	const struct netif_address *own = netif_address_in(netif, 0, subnet->network, subnet->prefix);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(DISCARD_PORT)};
	const struct netif_link *link;
	int fd, on = 1, r = 0;

	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
	link = own ? netif_link_by_index(netif, own->index) : NULL;
	if (link)
		setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, link->name, strlen(link->name) + 1);
	to.sin_addr.s_addr = htonl(subnet->network | 0xffffffffu >> subnet->prefix);
	if (sendto(fd, packet, WAKE_PACKET_SIZE, 0, (struct sockaddr *)&to, sizeof(to)) != WAKE_PACKET_SIZE)
		r = -errno;
	close(fd);
	return r;
}

int wake_send(const struct netif *netif, const struct config *config, const uint8_t mac[6], uint32_t address,
	      struct sentence *error)
{
	const struct config_subnet *only = address ? config_subnet_for_address(config, address) : NULL;
	uint8_t packet[WAKE_PACKET_SIZE];
	int r = -EDESTADDRREQ, one;

	wake_packet(packet, mac);
	for (size_t i = 0; i < config->subnets; i++) {
		if ((only && only != &config->subnet[i]) || !config->subnet[i].prefix)
			continue;
		one = send_to(netif, &config->subnet[i], packet);
		if (r)
			r = one;
	}
	if (r == -EDESTADDRREQ)
		sentence_set(error, "no network is configured that the packet could go to");
	else if (r)
		sentence_set(error, "the packet could not be sent: %s", strerror(-r));
	return r;
}
