/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The made-up client looks like a PXE firmware, so that proxies answer too, and asks for broadcasts; the interface is
 * promiscuous meanwhile, because some servers answer to the client's MAC all the same. Our own server does not hear
 * these packets: what a packet socket sends does not come back to this machine.
 */
#include "daemon/dhcp/scan.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "daemon/dhcp/packet.h"
#include "tcmu-handler/image/bytes.h"

#define SCAN_LINKS 64
#define RESEND_NS  1500000000ull
#define HEADERS    28

struct scan_link {
	struct dhcp_scan *scan;
	struct netif_link link;
	int fd;
	struct loop_source *recv;
};

struct dhcp_scan {
	struct loop *loop;
	struct netif *netif;
	struct scan_link *link[SCAN_LINKS];
	size_t links;
	struct loop_source *timer;
	uint64_t end;
	uint8_t mac[6], uuid[16];
	uint32_t xid;
	struct dhcp_scan_server server[DHCP_SCAN_SERVERS * 4];
	unsigned int servers;
	dhcp_scan_fn done;
	void *arg;
};

/* --- asking ------------------------------------------------------------------------------------------------------- */
static size_t make_discover(const struct dhcp_scan *scan, uint8_t packet[DHCP_PACKET_MAX])
{
	static const uint8_t wanted[] = {1, 3, 6, 12, 15, 43, 51, 54, 60, 66, 67};
	static const uint8_t vendor[] = "PXEClient:Arch:00007:UNDI:003016";
	struct dhcp_packet client = {.htype = 1, .hlen = 6, .xid = scan->xid, .flags = DHCP_FLAG_BROADCAST};
	struct dhcp_writer w;
	uint8_t uuid[17] = {0};
	size_t n;

	memcpy(client.chaddr, scan->mac, 6);
	memcpy(uuid + 1, scan->uuid, 16);
	dhcp_writer_begin(&w, &client, 548);
	w.data[0] = 1; /* a request */
	dhcp_writer_u8(&w, DHCP_OPT_TYPE, DHCP_DISCOVER);
	dhcp_writer_u16(&w, DHCP_OPT_MAX_SIZE, 1472);
	dhcp_writer_option(&w, DHCP_OPT_PARAMETERS, wanted, sizeof(wanted));
	dhcp_writer_option(&w, DHCP_OPT_VENDOR_CLASS, vendor, sizeof(vendor) - 1);
	dhcp_writer_u16(&w, DHCP_OPT_ARCH, 7);
	dhcp_writer_option(&w, DHCP_OPT_NDI, (const uint8_t[]){1, 3, 16}, 3);
	dhcp_writer_option(&w, DHCP_OPT_UUID, uuid, sizeof(uuid));
	n = dhcp_writer_end(&w);
	memcpy(packet, w.data, n);
	return n;
}

static uint16_t ip_sum(const uint8_t *p)
{
	uint32_t sum = 0;

	for (int i = 0; i < 20; i += 2)
		sum += be16_at(p + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static int ask(const struct scan_link *on)
{
	uint8_t frame[HEADERS + DHCP_PACKET_MAX] = {0x45};
	size_t n = make_discover(on->scan, frame + HEADERS);
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_IP),
				 .sll_ifindex = on->link.index,
				 .sll_halen = 6};

	memset(to.sll_addr, 0xff, 6);
	be16_put(frame + 2, (uint16_t)(n + HEADERS));
	frame[8] = 64;
	frame[9] = IPPROTO_UDP;
	be32_put(frame + 16, INADDR_BROADCAST);
	be16_put(frame + 10, ip_sum(frame));
	be16_put(frame + 20, DHCP_PORT_CLIENT);
	be16_put(frame + 22, DHCP_PORT_SERVER);
	be16_put(frame + 24, (uint16_t)(n + 8)); /* UDP checksum 0: none */
	return sendto(on->fd, frame, n + HEADERS, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

/* --- hearing ------------------------------------------------------------------------------------------------------ */
static void take_text(char *to, size_t size, const char *from)
{
	size_t n = 0;

	for (; *from && n + 1 < size; from++)
		to[n++] = isprint((unsigned char)*from) ? *from : '?';
	to[n] = '\0';
}

static uint32_t first_address(const struct dhcp_packet *packet, uint8_t code)
{
	size_t length;
	const uint8_t *value = dhcp_option(packet, code, &length);

	return value && length >= 4 ? be32_at(value) : 0;
}

static void describe(struct dhcp_scan_server *s, const struct scan_link *on, const struct dhcp_packet *p,
		     uint32_t source, const uint8_t mac[6])
{
	char file[256] = "";
	size_t length;
	const uint8_t *value = dhcp_option(p, DHCP_OPT_BOOT_FILE, &length);

	memset(s, 0, sizeof(*s));
	memcpy(s->interface, on->link.name, sizeof(s->interface));
	s->source = source;
	s->server = first_address(p, DHCP_OPT_SERVER_ID);
	if (!s->server)
		s->server = source;
	memcpy(s->mac, mac, 6);
	s->offered = p->yiaddr;
	dhcp_option_u32(p, DHCP_OPT_LEASE_TIME, &s->lease_time);
	s->router = first_address(p, DHCP_OPT_ROUTER);
	s->netmask = first_address(p, DHCP_OPT_NETMASK);
	s->next_server = p->siaddr;
	if (*p->file)
		take_text(s->boot_file, sizeof(s->boot_file), p->file);
	else if (value && length < sizeof(file)) {
		memcpy(file, value, length);
		take_text(s->boot_file, sizeof(s->boot_file), file);
	}
	s->ours = netif_address_own(on->scan->netif, s->server);
}

static void note(struct dhcp_scan *scan, const struct dhcp_scan_server *found)
{
	unsigned int on_link = 0;

	for (unsigned int i = 0; i < scan->servers; i++) {
		const struct dhcp_scan_server *s = &scan->server[i];

		on_link += !strcmp(s->interface, found->interface);
		/* The same machine twice, or through a relay; a proxy beside its server is a second line. */
		if (!strcmp(s->interface, found->interface) && s->server == found->server &&
		    !memcmp(s->mac, found->mac, 6) && !s->offered == !found->offered)
			return;
	}
	if (on_link < DHCP_SCAN_SERVERS && scan->servers < sizeof(scan->server) / sizeof(scan->server[0]))
		scan->server[scan->servers++] = *found;
}

static void on_packet(void *arg, const struct loop_datagram *dgram)
{
	struct scan_link *on = arg;
	const struct sockaddr_ll *from = (const struct sockaddr_ll *)dgram->name;
	const uint8_t *p = dgram->data;
	size_t header, length = dgram->length;
	struct dhcp_packet packet;
	struct dhcp_scan_server found;

	if (!from || dgram->name_length < offsetof(struct sockaddr_ll, sll_addr) ||
	    from->sll_pkttype == PACKET_OUTGOING || length < HEADERS)
		return;
	header = (p[0] & 15u) * 4;
	if (p[0] >> 4 != 4 || header < 20 || length < header + 8 || p[9] != IPPROTO_UDP ||
	    be16_at(p + header + 2) != DHCP_PORT_CLIENT)
		return;
	if (dhcp_packet_parse(&packet, p + header + 8, length - header - 8) < 0 || packet.op != 2 ||
	    packet.xid != on->scan->xid || memcmp(packet.chaddr, on->scan->mac, 6) || packet.type != DHCP_OFFER)
		return;
	describe(&found, on, &packet, be32_at(p + 12), from->sll_addr);
	note(on->scan, &found);
}

/* --- life --------------------------------------------------------------------------------------------------------- */
/* Only UDP to port 68, unfragmented: an interface that is promiscuous may hear a lot. */
static int set_filter(int fd)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 6),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 6),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x1fff, 4, 0),
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, DHCP_PORT_CLIENT, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 65535),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno : 0;
}

static int open_socket(const struct netif_link *link)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = link->index};
	struct packet_mreq all = {.mr_ifindex = link->index, .mr_type = PACKET_MR_PROMISC};
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r;

	if (fd < 0)
		return -errno;
	r = set_filter(fd);
	if (!r && bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		r = -errno;
	if (!r && setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) < 0)
		r = -errno;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

static void link_free(struct scan_link *on)
{
	loop_source_free(on->recv);
	if (on->fd >= 0)
		close(on->fd);
	free(on);
}

static int add_link(struct dhcp_scan *scan, const struct netif_link *link)
{
	struct scan_link *on = calloc(1, sizeof(*on));
	int r;

	if (!on)
		return -ENOMEM;
	on->scan = scan;
	on->link = *link;
	r = on->fd = open_socket(link);
	if (r >= 0)
		r = loop_add_recv(scan->loop, on->fd, 1600, 64, on_packet, on, &on->recv);
	if (r >= 0)
		r = ask(on);
	if (r < 0) {
		link_free(on);
		return r;
	}
	scan->link[scan->links++] = on;
	return 0;
}

static int add_links(struct dhcp_scan *scan, const char *interface)
{
	const struct netif_link *link;
	int r = -ENODEV;

	if (*interface) {
		link = netif_link_by_name(scan->netif, interface);
		if (!link)
			return -ENODEV;
		return link->up ? add_link(scan, link) : -ENETDOWN;
	}
	for (size_t i = 0; (link = netif_link_at(scan->netif, i)) && scan->links < SCAN_LINKS; i++) {
		int one;

		if (link->loopback || !link->running)
			continue;
		one = add_link(scan, link);
		/* One that can be scanned is enough; if none can, say why the last one could not. */
		r = scan->links ? 0 : one;
	}
	return r;
}

static void on_timer(void *arg)
{
	struct dhcp_scan *scan = arg;
	uint64_t now = loop_now(scan->loop);

	if (now >= scan->end) {
		scan->done(scan->arg, scan->server, scan->servers, 0);
		return;
	}
	for (size_t i = 0; i < scan->links; i++)
		ask(scan->link[i]); /* one that fails now was asked before */
	loop_timer_set(scan->timer, now + RESEND_NS < scan->end ? now + RESEND_NS : scan->end);
}

int dhcp_scan_start(struct dhcp_scan **ret, struct loop *loop, struct netif *netif, const char *interface,
		    unsigned int seconds, dhcp_scan_fn done, void *arg)
{
	struct dhcp_scan *scan;
	int r;

	if (seconds < 1 || seconds > 30)
		return -EINVAL;
	scan = calloc(1, sizeof(*scan));
	if (!scan)
		return -ENOMEM;
	scan->loop = loop;
	scan->netif = netif;
	scan->done = done;
	scan->arg = arg;
	scan->end = loop_now(loop) + seconds * 1000000000ull;
	if (getrandom(scan->mac, 6, 0) != 6 || getrandom(&scan->xid, 4, 0) != 4 || getrandom(scan->uuid, 16, 0) != 16) {
		free(scan);
		return -EIO;
	}
	scan->mac[0] = 0x02; /* locally administered: nobody's */
	r = loop_add_timer(loop, loop_now(loop) + (seconds == 1 ? 500000000ull : RESEND_NS), on_timer, scan,
			   &scan->timer);
	if (!r)
		r = add_links(scan, interface);
	if (r < 0) {
		dhcp_scan_free(scan);
		return r;
	}
	*ret = scan;
	return 0;
}

void dhcp_scan_free(struct dhcp_scan *scan)
{
	if (!scan)
		return;
	for (size_t i = 0; i < scan->links; i++)
		link_free(scan->link[i]);
	loop_source_free(scan->timer);
	free(scan);
}
