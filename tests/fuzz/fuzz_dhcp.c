/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A sequence of datagrams, each with three bytes before it (what it came in by, how long it is), through the codec and
 * the server's decisions, with a store in memory: nothing is ever sent. Whatever comes: each answer can be read again,
 * is for an address that may be given, and the table of leases stays within its range. A datagram with the highest bit
 * of its length is one of the other server of a pair, with the numbers filled in that it would have heard from us; from
 * the first one on there is a pair, and clients' messages wait for it.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/dhcp/peer.h"
#include "daemon/dhcp/peer_wire.h"
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

/* The other side of daemon/boot/boot.h: every second PC gets a boot file, one has a reservation. */
void boot_who(struct boot *b, struct boot_identity *who)
{
	(void)b;
	if (who->has_uuid) /* two boards, and all the cards that say so */
		snprintf(who->key, sizeof(who->key), "uuid-%d", who->uuid[0] & 1);
	else
		identity_of_mac(who->mac, who->key);
}
void boot_identify(struct boot *boot, const struct boot_identity *who, uint32_t at, struct boot_answer *ret)
{
	(void)boot, (void)at;
	ret->profile = &group.profile;
	if (who->pxe || who->ipxe)
		strcpy(ret->nbp, who->ipxe ? "boot.ipxe" : "snponly.efi");
	strcpy(ret->initiator, "iqn.2026-01.org.bootwell:pc");
	strcpy(ret->hostname, "PC001");
	ret->http_boot = who->arch == 16;
	ret->reserved = who->mac[5] == 7 ? NET + 110 : 0;
}

bool boot_shared_name_at(const struct boot *b, size_t n, struct boot_shared_name *ret)
{
	(void)b;
	(void)n;
	(void)ret;
	return false;
}

void boot_shared_name_heard(struct boot *b, const struct boot_shared_name *told, bool primary)
{
	(void)b;
	(void)told;
	(void)primary;
}

int boot_leased(struct boot *boot, const struct boot_identity *who, uint32_t address, const char *nbp)
{
	(void)boot, (void)address, (void)nbp;
	return who->mac[5] == 9 ? -5 : 0;
}
void boot_rolled_back(struct boot *boot, const struct boot_identity *who)
{
	(void)boot, (void)who;
}

void boot_not_noted(struct boot *boot, const struct boot_identity *who)
{
	(void)boot, (void)who;
}

static uint8_t our_run[8], our_lines[8]; /* as our HELLO said them */

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
	must(length > 8 && length <= 1400 && !memcmp(data, "BWDP\2", 5));
	if (((const uint8_t *)data)[5] == PEER_HELLO) {
		memcpy(our_run, (const uint8_t *)data + 8, 8);
		memcpy(our_lines, (const uint8_t *)data + 56, 8);
	}
	return (ssize_t)length;
}

static void peer_new(bool backup);

/* Nobody guesses a random number: what the other server would have learned is put in. */
static void fill_in(uint8_t *p, size_t size)
{
	if (size >= PEER_HEAD + 56 && p[5] == PEER_HELLO) {
		memcpy(p + PEER_HEAD + 8, our_run, 8);
		memcpy(p + PEER_HEAD + 48, our_lines, 8);
	} else if (size >= PEER_HEAD + 16 && p[5] == PEER_LEASES) {
		memcpy(p + PEER_HEAD + 8, our_run, 8);
	}
}

static void from_peer(uint8_t how, const uint8_t *data, size_t size)
{
	static uint8_t copy[1400];
	struct sockaddr_in from = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(how & 2 ? PEER + 1 : PEER),
				   .sin_port = htons(how & 4 ? 67 : DHCP_PEER_PORT)};
	struct loop_datagram d = {.data = copy,
				  .length = (uint32_t)(size > 1400 ? 1400 : size),
				  .name = (const struct sockaddr *)&from,
				  .name_length = sizeof(from)};
	bool alive;

	if (!server->peer)
		peer_new(!(how & 16));
	alive = dhcp_peer_alive(server->peer);
	memcpy(copy, data, d.length);
	if (how & 8)
		fill_in(copy, d.length);
	dhcp_peer_hear(server->peer, &d);
	must(!(how & 6) || dhcp_peer_alive(server->peer) == alive);
	dhcp_batch_drain(server);
}

/* As dhcp/server.c does it. */
static void on_held(struct dhcp_server *of, struct dhcp_request *request)
{
	dhcp_decide_held(of, request);
}

static void peer_new(bool backup)
{
	config.dhcp_backup = backup;
	must(dhcp_peer_new(&server->peer, server, PEER, backup, on_held) == 0);
	server->sink = dhcp_peer_sink(server->peer);
}

static void start(void)
{
	struct netif *netif = NULL;
	struct state *state = NULL;
	struct sentence error;

	subnets[0] = (struct config_subnet){.name = "lan",
					    .interface = "lo",
					    .network = NET,
					    .prefix = 24,
					    .server = NET + 1,
					    .range = {{NET + 100, NET + 131}},
					    .ranges = 1,
					    .lease_time = 600};
	subnets[0].router = (struct config_addresses){{NET + 1}, 1};
	subnets[1] = (struct config_subnet){.name = "far",
					    .network = NET + 256,
					    .prefix = 24,
					    .server = NET + 1,
					    .range = {{NET + 256 + 10, NET + 256 + 20}},
					    .ranges = 1,
					    .lease_time = 600};
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
	must(loop_new(&loop) == 0 && netif_new(&netif, loop) == 0 && state_new(&state, ":memory:", &error) == 0);
	must(dhcp_server_new(&server, loop, netif, &config, state, NULL) == 0); /* mode is off: no sockets */
	server->packet_fd = -1;
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
	struct dhcp_listener listener = {
		.server = server, .fd = -1, .port = how & 1 ? DHCP_PORT_PXE : DHCP_PORT_SERVER};
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
	dhcp_peer_free(server->peer);
	server->peer = NULL;
	server->sink = (struct dhcp_sink){0};
	dhcp_batch_unconfirmed(server);
	return 0;
}
