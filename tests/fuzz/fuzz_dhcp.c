/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A sequence of datagrams, each with three bytes before it (what it came in by, how long it is), through the codec and the
 * server's decisions, with a store in memory: nothing is ever sent. Whatever comes: each answer can be read again, is for an
 * address that may be given, and the table of leases stays within its range. A datagram with the highest bit of its length is
 * one of the other server of a pair; once that has said HELLO, clients' messages are held for it, as many as may be at once.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/dhcp_peer.h"
#include "tcmu-handler/image/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NET  0x0a4d0000u /* 10.77.0.0/24, range .100 to .131, .110 reserved */
#define PEER (NET + 2)

static struct config config;
static struct config_subnet subnets[2];
static struct config_client client;
static struct config_group group;
static struct dhcp_server *server;
static struct loop *loop;

/* The other side of daemon/boot.h: every second PC gets a boot file, one has a reservation. */
int boot_identify(struct boot *boot, const struct boot_identity *who, uint32_t at, struct boot_answer *ret)
{
	(void)boot, (void)at;
	ret->profile = &group.profile;
	if (who->pxe || who->ipxe)
		strcpy(ret->nbp, who->ipxe ? "boot.ipxe" : "snponly.efi");
	strcpy(ret->initiator, "iqn.2026-01.org.bootwell:pc");
	strcpy(ret->hostname, "PC001");
	ret->http_boot = who->arch == 16;
	ret->reserved = who->mac[5] == 7 ? NET + 110 : 0;
	return 0;
}

int boot_leased(struct boot *boot, const struct boot_identity *who, uint32_t address, const char *nbp)
{
	(void)boot, (void)address, (void)nbp;
	return who->mac[5] == 9 ? -5 : 0;
}

static void must(bool what)
{
	if (!what)
		abort();
}

/* --- the other server --------------------------------------------------------------------------------------------- */
/* Its port may be another program's. */
int bind(int fd, const struct sockaddr *at, socklen_t length)
{
	(void)fd, (void)at, (void)length;
	return 0;
}

ssize_t sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *to, socklen_t size)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)to;

	(void)fd, (void)flags, (void)size;
	must(ntohl(in->sin_addr.s_addr) == PEER && ntohs(in->sin_port) == DHCP_PEER_PORT);
	must(length > 8 && length <= 1400 && !memcmp(data, "BWDP\1", 5));
	return (ssize_t)length;
}

static void from_peer(uint8_t how, const uint8_t *data, size_t size)
{
	struct sockaddr_in from = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(how & 2 ? PEER + 1 : PEER),
				   .sin_port = htons(how & 4 ? 67 : DHCP_PEER_PORT)};
	struct loop_datagram d = {.data = data,
				  .length = (uint32_t)(size > 1400 ? 1400 : size),
				  .name = (const struct sockaddr *)&from,
				  .name_length = sizeof(from)};

	bool alive = dhcp_peer_alive(server->peer);

	dhcp_peer_hear(server->peer, &d);
	must(!(how & 6) || dhcp_peer_alive(server->peer) == alive);
	dhcp_batch_drain(server);
}

static void start(void)
{
	struct netif *netif = NULL;
	struct store *store = NULL;
	char error[256];

	subnets[0] = (struct config_subnet){.name = "lan", .interface = "lo", .network = NET, .prefix = 24, .server = NET + 1,
					    .range = {{NET + 100, NET + 131}}, .ranges = 1, .lease_time = 600};
	subnets[0].router = (struct config_addresses){{NET + 1}, 1};
	subnets[1] = (struct config_subnet){.name = "far", .network = NET + 256, .prefix = 24, .server = NET + 1,
					    .range = {{NET + 256 + 10, NET + 256 + 20}}, .ranges = 1, .lease_time = 600};
	client.address = NET + 110;
	group.profile.options.count = 1;
	group.profile.options.option[0] = (struct config_option){150, 4, {1, 2, 3, 4}};
	config.subnet = subnets;
	config.subnets = 2;
	config.client = &client;
	config.clients = 1;
	config.group = &group;
	config.groups = 1;
	log_set_level(LOG_LEVEL_ERROR - 1);
	must(loop_new(&loop) == 0 && netif_new(&netif, loop) == 0 && store_new(&store, ":memory:", error) == 0);
	must(dhcp_server_new(&server, loop, netif, &config, store, NULL) == 0); /* mode is off: no sockets */
	server->packet_fd = -1;
	must(dhcp_peer_new(&server->peer, server, PEER, true) == 0);
}

static void check_answer(const struct dhcp_answer *answer)
{
	struct dhcp_packet p;

	if (!answer->type)
		return;
	must(answer->length >= DHCP_PACKET_MIN && answer->length <= DHCP_PACKET_MAX);
	must(dhcp_packet_parse(&p, answer->data, answer->length) == 0);
	must(p.op == 2 && p.type == answer->type);
	must(!p.yiaddr || (p.yiaddr >= NET + 100 && p.yiaddr <= NET + 131) ||
	     (p.yiaddr >= NET + 266 && p.yiaddr <= NET + 276));
	must(answer->to.address != 0);
	must(answer->to.route != DHCP_TO_ADDRESS || answer->to.address != INADDR_BROADCAST || p.ciaddr || !p.giaddr);
}

static void one(uint8_t how, const uint8_t *data, size_t size)
{
	struct dhcp_listener listener = {.server = server, .fd = -1, .port = how & 1 ? DHCP_PORT_PXE : DHCP_PORT_SERVER};
	static struct dhcp_request request;

	if (dhcp_packet_parse(&request.packet, data, size) < 0)
		return;
	config.dhcp_mode = how & 2 ? CONFIG_DHCP_PROXY : CONFIG_DHCP_FULL;
	request.listener = &listener;
	request.ifindex = 1;
	request.local = NET + 1;
	request.source = how & 4 ? NET + 100 + (how >> 3) : 0;
	request.source_port = 68;
	dhcp_sender_read(&request.sender, &request.packet);
	dhcp_decide(server, &request);
	for (size_t i = 0; i < server->plain.count; i++)
		check_answer(&server->plain.answer[i]);
	dhcp_batch_drain(server);
}

static void count(void *arg, const struct lease *lease)
{
	size_t *n = arg;

	must(lease->address > NET && lease->address < NET + 512);
	*n += lease->state != LEASE_FREE;
	must(lease->expires == LEASE_FOREVER || lease->expires <= 1ll << 34); /* in ns, 64 bits */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t n = 0, counted;

	if (!server)
		start();
	/* Each input begins with an empty table, so that what is found can be found again. */
	lease_table_free(server->leases);
	must(lease_table_new(&server->leases, &config) == 0);
	ratelimit_free(server->limit);
	must(ratelimit_new(&server->limit, 1000000, 1000000) == 0);
	while (size > 3) {
		size_t length = (size_t)(data[1] & 127) << 8 | data[2];

		length = length > size - 3 ? size - 3 : length;
		if (data[1] & 128)
			from_peer(data[0], data + 3, length);
		else
			one(data[0], data + 3, length);
		data += 3 + length;
		size -= 3 + length;
	}
	lease_each(server->leases, count, &n);
	counted = lease_table_count(server->leases, LEASE_OFFERED) + lease_table_count(server->leases, LEASE_BOUND) +
		  lease_table_count(server->leases, LEASE_QUARANTINED);
	must(n == counted && n <= 32 + 11);
	if (dhcp_peer_alive(server->peer)) {
		dhcp_peer_free(server->peer);
		must(dhcp_peer_new(&server->peer, server, PEER, true) == 0);
	}
	return 0;
}
