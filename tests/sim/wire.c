/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets and what is between them. A server's sockets are numbers from FIRST_FD on; what it sends by them is taken
 * here, travels for a while, is lost or comes twice, and arrives in the other server's loop or at a PC. An ARP question
 * is answered by the PC that uses the address.
 */
#include "tests/sim/sim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_arp.h>
#include <linux/if_packet.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "daemon/core/udp.h"
#include "daemon/dhcp/peer.h"
#include "tcmu-handler/image/bytes.h"

#define FIRST_FD 1000000
#define SOCKETS  16

enum kind { CLOSED, UDP, FRAMES, ARP, ICMP, CLOCK };

struct sim_wire sim_cable[SIM_SERVERS], sim_lan[SIM_SERVERS][2];

static struct {
	enum kind kind;
	uint16_t port;
} sockets[SIM_SERVERS][SOCKETS];

void sim_wire_init(void)
{
	memset(sockets, 0, sizeof(sockets));
	memset(sim_cable, 0, sizeof(sim_cable));
	memset(sim_lan, 0, sizeof(sim_lan));
	for (unsigned int i = 0; i < SIM_SERVERS; i++)
		sim_cable[i].delay = sim_lan[i][0].delay = sim_lan[i][1].delay = 2 * MS;
}

uint64_t sim_lan_delay(void)
{
	uint64_t ret = 0;

	for (unsigned int i = 0; i < SIM_SERVERS; i++)
		ret = sim_lan[i][0].delay > ret ? sim_lan[i][0].delay : ret;
	return ret + MS;
}

static int socket_open(enum kind kind, uint16_t port)
{
	for (int i = 0; i < SOCKETS; i++)
		if (kind == UDP && sockets[sim_server->n][i].kind == UDP && sockets[sim_server->n][i].port == port)
			return -EADDRINUSE;
	for (int i = 0; i < SOCKETS; i++) {
		if (sockets[sim_server->n][i].kind)
			continue;
		sockets[sim_server->n][i].kind = kind;
		sockets[sim_server->n][i].port = port;
		return FIRST_FD + (int)sim_server->n * SOCKETS + i;
	}
	return -EMFILE;
}

/* The number of a server's socket; -1: it has none. */
static int socket_of(const struct sim_server *server, enum kind kind, uint16_t port)
{
	for (int i = 0; i < SOCKETS; i++)
		if (sockets[server->n][i].kind == kind && sockets[server->n][i].port == port)
			return FIRST_FD + (int)server->n * SOCKETS + i;
	return -1;
}

static bool is_ours(int fd)
{
	return fd >= FIRST_FD && fd < FIRST_FD + SIM_SERVERS * SOCKETS;
}

static enum kind kind_of(int fd)
{
	return sockets[(fd - FIRST_FD) / SOCKETS][(fd - FIRST_FD) % SOCKETS].kind;
}

void sim_wire_closed(struct sim_server *server)
{
	for (int i = 0; i < SOCKETS; i++)
		if (sockets[server->n][i].kind)
			sim_wrong("server %s left a socket open", server->name);
}

/* --- on the way --------------------------------------------------------------------------------------------------- */
/* Calls `fn` when a copy arrives, 0 to 2 times. */
static void carry(const struct sim_wire *wire, sim_event_fn fn, void *arg, const void *data, size_t size)
{
	unsigned int copies = wire->cut || sim_chance(wire->loss) ? 0 : sim_chance(wire->twice) ? 2 : 1;

	while (copies--) {
		void *copy = malloc(size);

		if (!copy)
			abort();
		memcpy(copy, data, size);
		sim_at(sim_now + 50000 + sim_below(wire->delay), fn, arg, copy);
	}
}

static void at_server(void *arg, void *data)
{
	struct sim_server *server = arg;
	struct sim_datagram *from = data, *dgram;

	from->fd = socket_of(server, (enum kind)(from->fd), from->from ? (uint16_t)from->ifindex : 0);
	if (!server->up || server->dead || from->fd < 0)
		return;
	dgram = malloc(sizeof(*dgram) + from->length);
	if (!dgram)
		abort();
	memcpy(dgram, from, sizeof(*dgram) + from->length);
	dgram->ifindex = from->ifindex == DHCP_PEER_PORT ? 3 : 2;
	sim_loop_hear(server, dgram);
}

static void send_to_server(struct sim_server *server, const struct sim_wire *wire, enum kind kind, uint16_t port,
			   struct sim_datagram *head, const void *data, size_t length)
{
	uint8_t buffer[sizeof(*head) + 2048];

	if (length > 2048)
		abort();
	head->fd = (int)kind;      /* until it arrives: which socket, */
	head->ifindex = (int)port; /* of which port */
	head->length = (uint32_t)length;
	memcpy(buffer, head, sizeof(*head));
	memcpy(buffer + sizeof(*head), data, length);
	carry(wire, at_server, server, buffer, sizeof(*head) + length);
}

void sim_pc_send(unsigned int pc, uint32_t to, const void *data, size_t length)
{
	for (unsigned int i = 0; i < SIM_SERVERS; i++) {
		struct sim_datagram head = {
			.from = sim_pcs[pc].address ? sim_pcs[pc].address : SIM_NET + 250, .to = to, .port = 68};

		if (to == INADDR_BROADCAST || to == SIM_NET + i + 1)
			send_to_server(&sim_servers[i], &sim_lan[i][0], UDP, DHCP_PORT_SERVER, &head, data, length);
	}
}

struct to_pc {
	unsigned int pc;
	size_t length;
	uint8_t data[1500];
};

static void at_pc(void *arg, void *data)
{
	struct to_pc *to = data;

	(void)arg;
	sim_pc_hear(to->pc, to->data, to->length);
}

static void send_to_pc(const void *data, size_t length)
{
	struct to_pc to = {.length = length};
	int pc = length >= 44 ? sim_pc_by_mac((const uint8_t *)data + 28) : -1;

	if (pc < 0 || length > sizeof(to.data))
		return;
	to.pc = (unsigned int)pc;
	memcpy(to.data, data, length);
	carry(&sim_lan[sim_server->n][1], at_pc, NULL, &to, offsetof(struct to_pc, data) + length);
}

/* The PC that has the address says so. */
static void answer_arp(const uint8_t *question)
{
	struct sim_datagram head = {.from = 0};
	int pc = sim_pc_at(be32_at(question + 24));
	uint8_t p[28] = {0};

	if (pc < 0)
		return;
	be16_put(p, ARPHRD_ETHER);
	be16_put(p + 2, 0x0800);
	p[4] = 6;
	p[5] = 4;
	be16_put(p + 6, ARPOP_REPLY);
	memcpy(p + 8, sim_pcs[pc].mac, 6);
	be32_put(p + 14, be32_at(question + 24));
	send_to_server(sim_server, &sim_lan[sim_server->n][0], ARP, 0, &head, p, sizeof(p));
}

/* --- what the daemon calls ---------------------------------------------------------------------------------------- */
int udp_open(const struct udp_server *server)
{
	return socket_open(UDP, server->port);
}

void udp_problem(struct problems *problems, const char *what, uint16_t port, int error)
{
	(void)problems;
	sim_wrong("server %s: %s: port %u: %s", sim_server->name, what, port, strerror(-error));
}

int __wrap_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol)
{
	(void)type;
	return socket_open(family == AF_PACKET ? (protocol ? ARP : FRAMES) : ICMP, 0);
}

ssize_t __wrap_sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *to, socklen_t size);
ssize_t __wrap_sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *to, socklen_t size)
{
	struct sim_datagram head = {
		.from = SIM_LINK + sim_server->n + 1, .to = SIM_LINK + !sim_server->n + 1, .port = DHCP_PEER_PORT};

	(void)flags, (void)to, (void)size;
	if (sim_server->dead)
		return (ssize_t)length;
	if (kind_of(fd) == ARP)
		answer_arp(data);
	else if (kind_of(fd) == UDP)
		send_to_server(&sim_servers[!sim_server->n], &sim_cable[sim_server->n], UDP, DHCP_PEER_PORT, &head,
			       data, length);
	return (ssize_t)length;
}

int __wrap_sendmmsg(int fd, struct mmsghdr *msg, unsigned int n, int flags);
int __wrap_sendmmsg(int fd, struct mmsghdr *msg, unsigned int n, int flags)
{
	(void)fd, (void)flags;
	for (unsigned int i = 0; i < n && !sim_server->dead; i++) {
		const struct iovec *iov = &msg[i].msg_hdr.msg_iov[msg[i].msg_hdr.msg_iovlen - 1];

		send_to_pc(iov->iov_base, iov->iov_len);
	}
	return (int)n;
}

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
	if (!is_ours(fd))
		return __real_close(fd);
	sockets[(fd - FIRST_FD) / SOCKETS][(fd - FIRST_FD) % SOCKETS].kind = CLOSED;
	return 0;
}

/* --- the descriptor that tells of a clock that was set ------------------------------------------------------------ */
int __wrap_timerfd_create(int clock, int flags);
int __wrap_timerfd_create(int clock, int flags)
{
	(void)clock, (void)flags;
	return socket_open(CLOCK, 0);
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *when, struct itimerspec *before);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *when, struct itimerspec *before)
{
	(void)fd, (void)flags, (void)when, (void)before;
	return 0;
}

ssize_t __real_read(int fd, void *to, size_t size);
ssize_t __wrap_read(int fd, void *to, size_t size);
ssize_t __wrap_read(int fd, void *to, size_t size)
{
	if (!is_ours(fd))
		return __real_read(fd, to, size);
	errno = ECANCELED;
	return -1;
}

void sim_clock_set(struct sim_server *server)
{
	int fd = socket_of(server, CLOCK, 0);

	if (fd >= 0)
		sim_loop_poll(server, fd);
}
