// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whether a PC is still there, as the kernel sees it. An iSCSI session says so only after minutes: LIO waits 60 s
 * before it asks an idle PC and 60 s more for its answer, because firmware in a boot menu cannot answer (target.c).
 * Quick: asks the kernel only. Any thread.
 */
#include "daemon/target/quiet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if_arp.h>
#include <linux/if_packet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/core/clock.h"
#include "tcmu-handler/image/bytes.h"

#define TCPF_ESTABLISHED (1 << 1)
#define WAIT_MS          500 /* for an answer of the kernel */
#define ARP_LENGTH       28
#define ARP_TRIES        3

struct look {
	uint16_t port;
	void (*fn)(void *arg, uint32_t peer, uint64_t quiet_ms);
	void *arg;
	bool done;
	int error;
};

struct least {
	uint32_t peer;
	bool found;
	uint64_t ms;
};

static int ask(int fd)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 request;
	} message = {
		.head = {.nlmsg_len = sizeof(message),
			 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.request = {.sdiag_family = AF_INET,
			    .sdiag_protocol = IPPROTO_TCP,
			    .idiag_ext = 1 << (INET_DIAG_INFO - 1),
			    .idiag_states = TCPF_ESTABLISHED},
	};

	return send(fd, &message, sizeof(message), 0) == sizeof(message) ? 0 : -errno;
}

static void take_socket(struct look *look, const struct nlmsghdr *head)
{
	const struct inet_diag_msg *msg = NLMSG_DATA(head);
	int left = (int)head->nlmsg_len - (int)NLMSG_LENGTH(sizeof(*msg));

	if (left < 0 || msg->idiag_family != AF_INET || ntohs(msg->id.idiag_sport) != look->port)
		return;
	for (const struct rtattr *at = (const void *)(msg + 1); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
		uint32_t data, acked;

		if (at->rta_type != INET_DIAG_INFO ||
		    RTA_PAYLOAD(at) < offsetof(struct tcp_info, tcpi_last_ack_recv) + sizeof(acked))
			continue;
		memcpy(&data, (const char *)RTA_DATA(at) + offsetof(struct tcp_info, tcpi_last_data_recv), 4);
		memcpy(&acked, (const char *)RTA_DATA(at) + offsetof(struct tcp_info, tcpi_last_ack_recv), 4);
		look->fn(look->arg, ntohl(msg->id.idiag_dst[0]), acked < data ? acked : data);
	}
}

static void take_answer(struct look *look, const void *data, int length)
{
	for (const struct nlmsghdr *at = data; NLMSG_OK(at, (unsigned int)length); at = NLMSG_NEXT(at, length)) {
		if (at->nlmsg_type == NLMSG_DONE) {
			look->done = true;
			return;
		}
		if (at->nlmsg_type == NLMSG_ERROR) {
			look->error = ((const struct nlmsgerr *)NLMSG_DATA(at))->error;
			if (!look->error)
				look->error = -EPROTO;
			return;
		}
		take_socket(look, at);
	}
}

int quiet_tcp_each(uint16_t port, void (*fn)(void *arg, uint32_t peer, uint64_t quiet_ms), void *arg)
{
	struct look look = {.port = port, .fn = fn, .arg = arg};
	struct timeval wait = {.tv_usec = WAIT_MS * 1000};
	_Alignas(struct nlmsghdr) char answer[32768];
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	look.error = ask(fd);
	while (!look.error && !look.done) {
		ssize_t n = recv(fd, answer, sizeof(answer), 0);

		if (n <= 0)
			look.error = n < 0 ? -errno : -EPROTO;
		else
			take_answer(&look, answer, (int)n);
	}
	close(fd);
	return look.error == -ENOENT ? -EPROTONOSUPPORT : look.error;
}

static void take_least(void *arg, uint32_t peer, uint64_t ms)
{
	struct least *least = arg;

	if (peer != least->peer)
		return;
	if (!least->found || ms < least->ms)
		least->ms = ms;
	least->found = true;
}

int quiet_tcp(uint32_t peer, uint16_t port, uint64_t *ret_ms)
{
	struct least least = {.peer = peer};
	int r = quiet_tcp_each(port, take_least, &least);

	if (r)
		return r;
	if (!least.found)
		return -ENOENT;
	*ret_ms = least.ms;
	return 0;
}

/* --- ARP ---------------------------------------------------------------------------------------------------------- */

/* RFC 5227: a probe, whose sender has no address, so that nobody learns anything from it. */
static void send_probe(int fd, struct quiet_ask *ask)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP), .sll_halen = 6};
	struct ifreq ifr = {};
	uint8_t p[ARP_LENGTH] = {0};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ask->interface);
	to.sll_ifindex = (int)if_nametoindex(ask->interface);
	if (!to.sll_ifindex || ioctl(fd, SIOCGIFHWADDR, &ifr))
		return;
	memset(to.sll_addr, 0xff, 6);
	be16_put(p, ARPHRD_ETHER);
	be16_put(p + 2, ETH_P_IP);
	p[4] = 6;
	p[5] = 4;
	be16_put(p + 6, ARPOP_REQUEST);
	memcpy(p + 8, ifr.ifr_hwaddr.sa_data, 6);
	be32_put(p + 24, ask->address);
	ask->asked |= sendto(fd, p, sizeof(p), MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to)) == sizeof(p);
}

static void take_reply(const uint8_t *p, ssize_t length, struct quiet_ask *asks, size_t count)
{
	if (length < ARP_LENGTH || be16_at(p + 2) != ETH_P_IP || p[4] != 6 || p[5] != 4)
		return;
	for (size_t i = 0; i < count; i++)
		asks[i].answered |= be32_at(p + 14) == asks[i].address;
}

/* Until all that were asked have answered, or the time is over. */
static void hear(int fd, struct quiet_ask *asks, size_t count, uint64_t until_ns)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	uint8_t p[64];

	for (;;) {
		uint64_t now = clock_monotonic_ns();
		size_t left = 0;

		for (size_t i = 0; i < count; i++)
			left += asks[i].asked && !asks[i].answered;
		if (!left || now >= until_ns || poll(&poll_fd, 1, (int)((until_ns - now) / 1000000) + 1) <= 0)
			return;
		take_reply(p, recv(fd, p, sizeof(p), MSG_DONTWAIT), asks, count);
	}
}

int quiet_arp(struct quiet_ask *asks, size_t count)
{
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_ARP));

	if (fd < 0)
		return -errno;
	for (unsigned int i = 0; i < ARP_TRIES; i++) {
		for (size_t k = 0; k < count; k++)
			if (!asks[k].answered)
				send_probe(fd, &asks[k]);
		hear(fd, asks, count, clock_monotonic_ns() + QUIET_ARP_MS / ARP_TRIES * 1000000ull);
	}
	close(fd);
	return 0;
}

int quiet_neighbour(const char *interface, uint32_t address, uint8_t ret_mac[6])
{
	struct arpreq request = {};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
	int fd, r;

	if (!*interface)
		return -ENOENT;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	memcpy(&request.arp_pa, &in, sizeof(in));
	snprintf(request.arp_dev, sizeof(request.arp_dev), "%s", interface);
	r = ioctl(fd, SIOCGARP, &request) ? -errno : 0;
	close(fd);
	if (r == -ENXIO || r == -ENODEV || (!r && !(request.arp_flags & ATF_COM)))
		return -ENOENT;
	if (!r)
		memcpy(ret_mac, request.arp_ha.sa_data, 6);
	return r;
}
