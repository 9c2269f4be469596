/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Before an address is offered to somebody who did not have it, the network is asked whether it is in use (RFC 2131
 * §2.2, RFC 5227 §2.1.1): by ARP where the subnet is on one of our interfaces, by ICMP echo where it is behind a relay.
 * The client's DISCOVER waits here meanwhile: a fifth of a second for ARP (a machine that is awake answers within a few
 * milliseconds, and firmware waits a second or more), a second for ICMP. An answer from the client itself is no
 * conflict.
 *
 * The same question is asked about an address that somebody has: when a message in the name of its holder would take it
 * from him (RELEASE, DECLINE), he is believed rather than the message. Only one probe of an address runs at a time.
 */
#include "daemon/dhcp/book.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "tcmu-handler/image/bytes.h"

#define ARP_WAIT_NS  200000000ull
#define TRIES        2 /* within that time */
#define ICMP_WAIT_NS 1000000000ull
#define BUCKETS      256
#define ARP_LENGTH   28

struct probe {
	struct dhcp_prober *prober;
	struct probe *next;
	uint32_t address;
	bool arp;
	dhcp_heard_fn holder; /* NULL: an address that is to be offered */
	unsigned int tries;
	struct loop_source *timer;
	struct dhcp_request request;
};

struct dhcp_prober {
	struct dhcp_server *server;
	dhcp_resume_fn resume;
	int arp_fd, icmp_fd;
	struct loop_source *arp_recv, *icmp_recv;
	uint16_t echo_id;
	struct probe *bucket[BUCKETS]; /* by address */
	unsigned int count;
};

static struct probe **bucket_of(struct dhcp_prober *prober, uint32_t address)
{
	return &prober->bucket[(address ^ address >> 8) % BUCKETS];
}

static void probe_unlink(struct probe *probe)
{
	struct probe **p = bucket_of(probe->prober, probe->address);

	while (*p != probe)
		p = &(*p)->next;
	*p = probe->next;
	probe->prober->count--;
	loop_source_free(probe->timer);
	probe->timer = NULL;
}

/* --- asking ------------------------------------------------------------------------------------------------------- */
static int ask_arp(const struct dhcp_prober *prober, const struct probe *probe)
{
	const struct netif_link *link = netif_link_by_index(prober->server->netif, probe->request.ifindex);
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_ARP),
				 .sll_ifindex = probe->request.ifindex,
				 .sll_halen = 6};
	uint8_t p[ARP_LENGTH] = {0};

	if (!link)
		return -ENODEV;
	memset(to.sll_addr, 0xff, 6);
	be16_put(p, ARPHRD_ETHER);
	be16_put(p + 2, ETH_P_IP);
	p[4] = 6;
	p[5] = 4;
	be16_put(p + 6, ARPOP_REQUEST);
	memcpy(p + 8, link->mac, 6); /* sender's IP stays 0: nobody learns anything from a probe */
	be32_put(p + 24, probe->address);
	return sendto(prober->arp_fd, p, sizeof(p), MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

static int ask_icmp(const struct dhcp_prober *prober, const struct probe *probe)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(probe->address)};
	uint8_t p[16] = {ICMP_ECHO};
	uint32_t sum = 0;

	be16_put(p + 4, prober->echo_id);
	be16_put(p + 6, (uint16_t)probe->tries);
	for (size_t i = 0; i < sizeof(p); i += 2)
		sum += be16_at(p + i);
	sum = (sum & 0xffff) + (sum >> 16);
	be16_put(p + 2, (uint16_t)~sum);
	return sendto(prober->icmp_fd, p, sizeof(p), MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

static int ask(const struct probe *probe)
{
	return probe->arp ? ask_arp(probe->prober, probe) : ask_icmp(probe->prober, probe);
}

static uint64_t step_of(const struct probe *probe)
{
	return (probe->arp ? ARP_WAIT_NS : ICMP_WAIT_NS) / TRIES;
}

/* --- the end of a probe ------------------------------------------------------------------------------------------- */
/* Of an offer: decided anew. */
static void go_on(struct probe *probe)
{
	probe_unlink(probe);
	probe->request.rounds++;
	probe->prober->resume(probe->prober->server, &probe->request);
	free(probe);
}

static void tell_holder(struct probe *probe, enum dhcp_heard heard)
{
	probe_unlink(probe);
	probe->holder(probe->prober->server, &probe->request, heard);
	free(probe);
}

static void on_timer(void *arg)
{
	struct probe *probe = arg;
	struct dhcp_server *server = probe->prober->server;
	struct lease *lease;

	if (probe->tries < TRIES) {
		probe->tries++;
		ask(probe); /* lost or refused: another one follows, or was sent */
		loop_timer_set(probe->timer, loop_now(server->loop) + step_of(probe));
		return;
	}
	if (probe->holder) {
		tell_holder(probe, DHCP_HEARD_NOBODY);
		return;
	}
	lease = lease_by_address(server->leases, probe->address);
	if (lease)
		lease->probed = dhcp_now(server);
	go_on(probe);
}

/* Somebody answered; `him`: the PC whose message this is about. */
static void heard(struct probe *probe, bool him)
{
	struct dhcp_server *server = probe->prober->server;
	struct lease *lease = lease_by_address(server->leases, probe->address);

	if (probe->holder) {
		tell_holder(probe, him ? DHCP_HEARD_HIM : DHCP_HEARD_OTHER);
		return;
	}
	if (him)
		return;
	/* Somebody else's lease by now: then it is he who answered. */
	if (lease && lease->state == LEASE_OFFERED && lease_client_equal(&lease->client, &probe->request.client))
		book_quarantine(server, lease, probe->arp ? "who answered by ARP" : "who answered a ping");
	go_on(probe);
}

static struct probe *find(struct dhcp_prober *prober, uint32_t address, bool arp)
{
	struct probe *probe = *bucket_of(prober, address);

	while (probe && (probe->address != address || probe->arp != arp))
		probe = probe->next;
	return probe;
}

static void on_arp(void *arg, const struct loop_datagram *dgram)
{
	struct dhcp_prober *prober = arg;
	const uint8_t *p = dgram->data;
	struct probe *probe;

	if (dgram->length < ARP_LENGTH || be16_at(p) != ARPHRD_ETHER || be16_at(p + 2) != ETH_P_IP || p[4] != 6 ||
	    p[5] != 4)
		return;
	probe = find(prober, be32_at(p + 14), true);
	if (probe)
		heard(probe, !memcmp(p + 8, probe->request.sender.mac, 6));
}

static void on_icmp(void *arg, const struct loop_datagram *dgram)
{
	struct dhcp_prober *prober = arg;
	const uint8_t *p = dgram->data;
	size_t header = dgram->length >= 20 ? (p[0] & 15u) * 4 : 0;
	struct probe *probe;

	if (header < 20 || dgram->length < header + 8 || p[header] != ICMP_ECHOREPLY ||
	    be16_at(p + header + 4) != prober->echo_id)
		return;
	probe = find(prober, be32_at(p + 12), false);
	if (probe)
		heard(probe, probe->holder); /* a ping cannot tell who he is */
}

/* --- for the server ----------------------------------------------------------------------------------------------- */
bool dhcp_probing(const struct dhcp_prober *prober, const struct dhcp_request *request)
{
	struct lease *lease;

	if (!prober || !prober->count)
		return false;
	lease = lease_by_client(prober->server->leases, request->subnet, &request->client);
	return lease && (find((struct dhcp_prober *)(uintptr_t)prober, lease->address, true) ||
			 find((struct dhcp_prober *)(uintptr_t)prober, lease->address, false));
}

static int start(struct dhcp_prober *prober, const struct dhcp_request *request, uint32_t address, uint64_t delay,
		 dhcp_heard_fn holder)
{
	struct loop *loop = prober->server->loop;
	struct probe *probe, **bucket = bucket_of(prober, address);
	int r = 0;

	if (prober->count >= DHCP_PROBES)
		return -EBUSY;
	probe = calloc(1, sizeof(*probe));
	if (!probe)
		return -ENOMEM;
	probe->prober = prober;
	probe->address = address;
	probe->arp = !request->packet.giaddr && !request->routed;
	probe->holder = holder;
	probe->request = *request;
	if (!delay) {
		r = ask(probe);
		probe->tries = 1;
	}
	if (!r)
		r = loop_add_timer(loop, loop_now(loop) + (delay ? delay : step_of(probe)), on_timer, probe,
				   &probe->timer);
	if (r < 0) {
		free(probe);
		return r;
	}
	probe->next = *bucket;
	*bucket = probe;
	prober->count++;
	return 0;
}

int dhcp_probe(struct dhcp_prober *prober, const struct dhcp_request *request, uint32_t address)
{
	return start(prober, request, address, 0, NULL);
}

int dhcp_probe_holder(struct dhcp_prober *prober, const struct dhcp_request *request, uint32_t address, uint64_t delay,
		      dhcp_heard_fn fn)
{
	if (!prober)
		return -ENOSYS;
	/* One at a time for an address: who floods gets one answer. */
	if (find(prober, address, true) || find(prober, address, false))
		return -EALREADY;
	return start(prober, request, address, delay, fn);
}

void dhcp_prober_stop_all(struct dhcp_prober *prober)
{
	for (size_t i = 0; prober && i < BUCKETS; i++) {
		while (prober->bucket[i]) {
			struct probe *probe = prober->bucket[i];

			probe_unlink(probe);
			free(probe);
		}
	}
}

int dhcp_prober_new(struct dhcp_prober **ret, struct dhcp_server *server, dhcp_resume_fn resume)
{
	struct dhcp_prober *prober = calloc(1, sizeof(*prober));
	int r = 0;

	if (!prober)
		return -ENOMEM;
	prober->server = server;
	prober->resume = resume;
	if (getrandom(&prober->echo_id, sizeof(prober->echo_id), GRND_NONBLOCK) < 0)
		prober->echo_id = (uint16_t)getpid();
	prober->icmp_fd = -1;
	prober->arp_fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ARP));
	if (prober->arp_fd >= 0)
		prober->icmp_fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP);
	if (prober->arp_fd < 0 || prober->icmp_fd < 0)
		r = -errno;
	if (!r)
		r = loop_add_recv(server->loop, prober->arp_fd, 64, 64, on_arp, prober, &prober->arp_recv);
	if (!r)
		r = loop_add_recv(server->loop, prober->icmp_fd, 128, 64, on_icmp, prober, &prober->icmp_recv);
	if (r < 0) {
		dhcp_prober_free(prober);
		return r;
	}
	*ret = prober;
	return 0;
}

void dhcp_prober_free(struct dhcp_prober *prober)
{
	if (!prober)
		return;
	dhcp_prober_stop_all(prober);
	loop_source_free(prober->arp_recv);
	loop_source_free(prober->icmp_recv);
	if (prober->arp_fd >= 0)
		close(prober->arp_fd);
	if (prober->icmp_fd >= 0)
		close(prober->icmp_fd);
	free(prober);
}
