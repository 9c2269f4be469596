/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where an answer goes (RFC 2131 §4.1), and how it gets there. To an address or to all: through the UDP socket that the
 * message came in by, with our address and interface in IP_PKTINFO. To a client that has no address yet and does not
 * want a broadcast: the kernel could not resolve its address, so the frame is made here and goes out by AF_PACKET to
 * its MAC. Many answers, few system calls: sendmmsg() for each socket.
 */
#include "daemon/dhcp/private.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <string.h>
#include <unistd.h>

#include "tcmu-handler/image/bytes.h"
#include "daemon/core/inet.h"

#define HEADERS 28 /* IPv4 and UDP */

void dhcp_route(struct dhcp_send *to, const struct dhcp_server *server, const struct dhcp_request *request,
		uint8_t type, uint32_t yiaddr)
{
	const struct dhcp_packet *p = &request->packet;
	const struct netif_link *link = netif_link_by_index(server->netif, request->ifindex);

	memset(to, 0, sizeof(*to));
	to->ifindex = request->ifindex;
	to->fd = request->listener->fd;
	to->source = request->server;
	to->source_port = request->listener->port;
	to->port = DHCP_PORT_CLIENT;
	memcpy(to->mac, request->sender.mac, sizeof(to->mac));
	if (request->listener->port == DHCP_PORT_PXE) {
		to->address = p->ciaddr ? p->ciaddr : request->source;
		to->port = request->source_port;
	} else if (p->giaddr) {
		to->address = p->giaddr;
		to->port = DHCP_PORT_SERVER;
	} else if ((type != DHCP_NAK || request->routed) && type != DHCP_OFFER &&
		   (p->ciaddr || p->type == DHCP_INFORM)) {
		to->address = p->ciaddr ? p->ciaddr : request->source;
	}
	if (to->address) {
		to->route = DHCP_TO_ADDRESS;
	} else if (type == DHCP_NAK || !yiaddr || p->flags & DHCP_FLAG_BROADCAST || !request->sender.has_mac ||
		   server->packet_fd < 0 || !link || link->loopback) {
		to->route = DHCP_TO_ALL;
		to->address = INADDR_BROADCAST;
	} else {
		to->route = DHCP_TO_MAC;
		to->address = yiaddr;
	}
}

int dhcp_packet_socket(void)
{
	/* Protocol 0: it sends only, nothing is ever queued on it. */
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

static uint32_t sum_words(const uint8_t *p, size_t n, uint32_t sum)
{
	size_t i = 0;

	for (; i + 1 < n; i += 2)
		sum += be16_at(p + i);
	return i < n ? sum + ((uint32_t)p[i] << 8) : sum;
}

static uint16_t sum_fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void make_headers(uint8_t h[HEADERS], const struct dhcp_answer *answer)
{
	uint16_t udp = (uint16_t)(answer->length + 8), sum;

	memset(h, 0, HEADERS);
	h[0] = 0x45;
	h[1] = 0x10; /* low delay */
	be16_put(h + 2, (uint16_t)(udp + 20));
	be16_put(h + 6, 0x4000); /* do not fragment */
	h[8] = 64;
	h[9] = IPPROTO_UDP;
	be32_put(h + 12, answer->to.source);
	be32_put(h + 16, answer->to.address);
	be16_put(h + 10, sum_fold(sum_words(h, 20, 0)));
	be16_put(h + 20, answer->to.source_port);
	be16_put(h + 22, answer->to.port);
	be16_put(h + 24, udp);
	sum = sum_fold(sum_words(answer->data, answer->length, sum_words(h + 12, 14, IPPROTO_UDP + udp)));
	be16_put(h + 26, sum ? sum : 0xffff);
}

/* What one sendmmsg() needs to know about one message. */
struct slot {
	uint8_t headers[HEADERS];
	struct iovec iov[2];
	union {
		struct sockaddr_in in;
		struct sockaddr_ll ll;
	} name;
	union {
		struct cmsghdr align;
		uint8_t space[CMSG_SPACE(sizeof(struct in_pktinfo))];
	} control;
};

static void prepare_frame(struct slot *slot, struct msghdr *msg, struct dhcp_answer *answer)
{
	struct sockaddr_ll *ll = &slot->name.ll;

	make_headers(slot->headers, answer);
	slot->iov[0] = (struct iovec){slot->headers, HEADERS};
	slot->iov[1] = (struct iovec){answer->data, answer->length};
	memset(ll, 0, sizeof(*ll));
	ll->sll_family = AF_PACKET;
	ll->sll_protocol = htons(ETH_P_IP);
	ll->sll_ifindex = answer->to.ifindex;
	ll->sll_halen = 6;
	memcpy(ll->sll_addr, answer->to.mac, 6);
	*msg = (struct msghdr){.msg_name = ll, .msg_namelen = sizeof(*ll), .msg_iov = slot->iov, .msg_iovlen = 2};
}

static void prepare_datagram(struct slot *slot, struct msghdr *msg, struct dhcp_answer *answer)
{
	struct sockaddr_in *in = &slot->name.in;
	struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(answer->to.source)};
	struct cmsghdr *c;

	/* A routed answer finds its own way; one to all needs to be told the interface. */
	if (answer->to.route == DHCP_TO_ALL)
		info.ipi_ifindex = answer->to.ifindex;
	slot->iov[0] = (struct iovec){answer->data, answer->length};
	memset(in, 0, sizeof(*in));
	in->sin_family = AF_INET;
	in->sin_port = htons(answer->to.port);
	in->sin_addr.s_addr = htonl(answer->to.address);
	*msg = (struct msghdr){.msg_name = in, .msg_namelen = sizeof(*in), .msg_iov = slot->iov, .msg_iovlen = 1};
	memset(&slot->control, 0, sizeof(slot->control));
	msg->msg_control = &slot->control;
	msg->msg_controllen = CMSG_SPACE(sizeof(info));
	c = CMSG_FIRSTHDR(msg);
	c->cmsg_level = IPPROTO_IP;
	c->cmsg_type = IP_PKTINFO;
	c->cmsg_len = CMSG_LEN(sizeof(info));
	memcpy(CMSG_DATA(c), &info, sizeof(info));
}

static void failed(struct dhcp_server *server, const struct dhcp_answer *answer, int error)
{
	const struct netif_link *link = netif_link_by_index(server->netif, answer->to.ifindex);

	server->stats.outcome[DHCP_OUTCOME_SEND_FAILED]++;
	log_limited(3, LOG_LEVEL_WARNING, "DHCP: the %s to %s cannot be sent on %s: %s; the PC will ask again",
		    dhcp_message_name(answer->type), inet_text(answer->to.address).s,
		    link ? link->name : "an interface that is gone", strerror(error));
}

/* Sends all of them; one that the kernel refuses is counted and left behind. */
static void send_all(struct dhcp_server *server, int fd, struct mmsghdr *msg, struct dhcp_answer **answer,
		     unsigned int n)
{
	for (unsigned int i = 0; i < n;) {
		int sent = sendmmsg(fd, msg + i, n - i, MSG_DONTWAIT);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0) {
			failed(server, answer[i++], errno);
			continue;
		}
		for (int k = 0; k < sent; k++)
			server->stats.sent[answer[i++]->type]++;
	}
}

/* All that go through the same socket as the first one that is left, DHCP_BATCH at most; how many. */
static unsigned int gather(struct dhcp_server *server, struct dhcp_queue *queue, size_t first, struct dhcp_answer **to)
{
	unsigned int n = 0;
	int fd = -1;

	for (size_t i = first; i < queue->count && n < DHCP_BATCH; i++) {
		struct dhcp_answer *answer = &queue->answer[i];
		int by = answer->to.route == DHCP_TO_MAC ? server->packet_fd : answer->to.fd;

		if (!answer->type || (n && by != fd))
			continue;
		fd = by;
		to[n++] = answer;
	}
	return n;
}

void dhcp_send_queue(struct dhcp_server *server, struct dhcp_queue *queue)
{
	static struct slot slot[DHCP_BATCH];
	struct mmsghdr msg[DHCP_BATCH];
	struct dhcp_answer *same[DHCP_BATCH];
	unsigned int n;

	for (size_t first = 0; first < queue->count;) {
		bool frame;

		n = gather(server, queue, first, same);
		if (!n)
			break;
		frame = same[0]->to.route == DHCP_TO_MAC;
		for (unsigned int i = 0; i < n; i++) {
			if (frame)
				prepare_frame(&slot[i], &msg[i].msg_hdr, same[i]);
			else
				prepare_datagram(&slot[i], &msg[i].msg_hdr, same[i]);
		}
		send_all(server, frame ? server->packet_fd : same[0]->to.fd, msg, same, n);
		for (unsigned int i = 0; i < n; i++)
			same[i]->type = 0;
		while (first < queue->count && !queue->answer[first].type)
			first++;
	}
	queue->count = 0;
}
