/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Good PCs for bench-hostile: tool_hostile_pcs INTERFACE SERVER PCS SECONDS FILE [proxy]. Each PC, once a second: DHCP
 * (DISCOVER to ACK; proxy: to the proxy's OFFER), then FILE by TFTP in blocks of 1,468 bytes, one at a time. DHCP is
 * asked again as firmware does, after 1, 2 and 4 s, a block after 1 s. What is not there after LOST_MS is lost. All PCs
 * are in one network namespace and fetch from its own address.
 *
 * Prints one JSON object: median, 99th percentile, lost and asked again of both, and of the first PC's DHCP, whose MAC
 * an attacker may use.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/core/clock.h"
#include "tcmu-handler/image/bytes.h"

#define LOST_MS  8000
#define TFTP_MS  1000
#define EVERY_MS 1000
#define BLKSIZE  1468
#define MS       1000000ull
#define SAMPLES  65536

enum step { REST, DISCOVER, REQUEST, FETCH };

struct pc {
	enum step step;
	uint32_t xid, address, server;
	uint64_t next, began, again; /* ns: the next round, this exchange, when it is asked again */
	unsigned int tries;
	int fd;
	struct sockaddr_in peer;
	uint16_t block;
};

struct series {
	double ms[SAMPLES];
	unsigned int count, lost, again;
};

static struct pc *pcs;
static unsigned int count;
static bool proxy;
static const char *file;
static int dhcp_fd, epoll_fd;
static uint32_t server_address;
static struct series dhcp, tftp, first;

static void took(struct series *s, uint64_t began, bool lost)
{
	if (s->count == SAMPLES)
		return;
	s->ms[s->count++] = lost ? LOST_MS : (double)(clock_monotonic_ns() - began) / 1e6;
	s->lost += lost;
}

static void send_dhcp(struct pc *pc)
{
	uint8_t p[300] = {1, 1, 6}, *o = p + 240;
	const char *class = "PXEClient:Arch:00007:UNDI:003016";
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(67), .sin_addr.s_addr = INADDR_BROADCAST};

	be32_put(p + 4, pc->xid);
	p[10] = 0x80;
	memcpy(p + 28, (uint8_t[]){2, 0, 0, 9, 0, (uint8_t)(pc - pcs)}, 6);
	be32_put(p + 236, 0x63825363);
	*o++ = 53, *o++ = 1, *o++ = pc->step == DISCOVER ? 1 : 3;
	*o++ = 60, *o++ = (uint8_t)strlen(class);
	o = (uint8_t *)memcpy(o, class, strlen(class)) + strlen(class);
	*o++ = 93, *o++ = 2, *o++ = 0, *o++ = 7;
	if (pc->step == REQUEST) {
		*o++ = 50, *o++ = 4;
		be32_put(o, pc->address);
		o += 4;
		*o++ = 54, *o++ = 4;
		be32_put(o, pc->server);
		o += 4;
	}
	*o = 255;
	if (sendto(dhcp_fd, p, sizeof(p), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		perror("sendto");
	pc->again = clock_monotonic_ns() + (1000ull << pc->tries) * MS;
}

static void rest(struct pc *pc)
{
	if (pc->fd >= 0)
		close(pc->fd);
	pc->fd = -1;
	pc->step = REST;
}

static void send_block(struct pc *pc)
{
	uint8_t p[256];
	int n;

	if (!pc->block) {
		n = snprintf((char *)p + 2, sizeof(p) - 2, "%s%coctet%cblksize%c%u", file, 0, 0, 0, BLKSIZE) + 3;
		be16_put(p, 1);
	} else {
		be16_put(p, 4);
		be16_put(p + 2, pc->block);
		n = 4;
	}
	if (sendto(pc->fd, p, (size_t)n, 0, (struct sockaddr *)&pc->peer, sizeof(pc->peer)) < 0)
		perror("sendto");
	pc->again = clock_monotonic_ns() + TFTP_MS * MS;
}

static void begin_fetch(struct pc *pc)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = pc};

	pc->step = FETCH;
	pc->began = clock_monotonic_ns();
	pc->block = 0;
	pc->tries = 0;
	pc->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	pc->peer = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons(69), .sin_addr.s_addr = htonl(server_address)};
	if (pc->fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pc->fd, &event)) {
		perror("socket");
		exit(1);
	}
	send_block(pc);
}

static void exchanged(struct pc *pc)
{
	took(&dhcp, pc->began, false);
	if (pc == pcs)
		took(&first, pc->began, false);
	begin_fetch(pc);
}

/* An option's bytes, at least `least`; NULL: it is not there. */
static const uint8_t *option(const uint8_t *data, ssize_t n, uint8_t code, uint8_t least)
{
	for (ssize_t at = 240; at + 1 < n && data[at] != 255; at += data[at] ? 2 + data[at + 1] : 1)
		if (data[at] == code && data[at + 1] >= least && at + 2 + data[at + 1] <= n)
			return data + at + 2;
	return NULL;
}

static void on_dhcp(void)
{
	uint8_t data[2048];
	ssize_t n;

	while ((n = recv(dhcp_fd, data, sizeof(data), MSG_DONTWAIT)) > 0) {
		const uint8_t *type = option(data, n, 53, 1), *server = option(data, n, 54, 4);
		struct pc *pc;

		if (!type || !server || n < 240 || data[0] != 2 ||
		    memcmp(data + 28, (uint8_t[]){2, 0, 0, 9, 0}, 5) != 0 || data[33] >= count)
			continue;
		pc = &pcs[data[33]];
		if (be32_at(data + 4) != pc->xid)
			continue;
		if (pc->step == DISCOVER && *type == 2 && (proxy || be32_at(data + 16))) {
			if (proxy) {
				exchanged(pc);
				continue;
			}
			pc->step = REQUEST;
			pc->address = be32_at(data + 16);
			pc->server = be32_at(server);
			pc->tries = 0;
			send_dhcp(pc);
		} else if (pc->step == REQUEST && *type == 5) {
			exchanged(pc);
		}
	}
}

static void on_tftp(struct pc *pc)
{
	uint8_t data[2048];
	struct sockaddr_in from;
	socklen_t length = sizeof(from);
	ssize_t n;

	while (pc->fd >= 0 &&
	       (n = recvfrom(pc->fd, data, sizeof(data), MSG_DONTWAIT, (struct sockaddr *)&from, &length)) >= 4) {
		uint16_t opcode = be16_at(data);

		if (opcode == 6 && !pc->block) { /* OACK: block 0 is confirmed */
			pc->peer = from;
			be16_put(data, 4);
			be16_put(data + 2, 0);
			if (sendto(pc->fd, data, 4, 0, (struct sockaddr *)&pc->peer, sizeof(pc->peer)) < 0)
				perror("sendto");
		} else if (opcode == 3 && be16_at(data + 2) == (uint16_t)(pc->block + 1)) {
			pc->peer = from;
			pc->block++;
			send_block(pc);
			if (n < 4 + BLKSIZE) {
				took(&tftp, pc->began, false);
				rest(pc);
			}
		} else if (opcode == 5) {
			took(&tftp, pc->began, true);
			rest(pc);
		}
	}
}

static void begin(struct pc *pc, uint64_t now)
{
	static uint32_t xid = 0x900;

	pc->step = DISCOVER;
	pc->xid = xid++;
	pc->tries = 0;
	pc->began = now;
	pc->next += EVERY_MS * MS;
	send_dhcp(pc);
}

/* `end`: nothing is begun any more. */
static void on_time(struct pc *pc, uint64_t now, bool end)
{
	struct series *s = pc->step == FETCH ? &tftp : &dhcp;

	if (pc->step == REST) {
		if (!end && now >= pc->next)
			begin(pc, now);
		return;
	}
	if (now - pc->began > LOST_MS * MS) {
		took(s, pc->began, true);
		if (pc == pcs && s == &dhcp)
			took(&first, pc->began, true);
		rest(pc);
	} else if (now >= pc->again) {
		s->again++;
		if (pc == pcs && s == &dhcp)
			first.again++;
		pc->tries += pc->tries < 3;
		if (pc->step == FETCH)
			send_block(pc);
		else
			send_dhcp(pc);
	}
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void print(const char *name, struct series *s, const char *after)
{
	unsigned int n = s->count;

	qsort(s->ms, n, sizeof(s->ms[0]), by_value);
	printf("\"%s\": {\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"most_ms\": %.3f, \"lost\": %u, \"again\": %u, "
	       "\"asked\": %u}%s",
	       name, n ? s->ms[n / 2] : 0, n ? s->ms[n * 99 / 100] : 0, n ? s->ms[n - 1] : 0, s->lost, s->again, n,
	       after);
}

static void open_dhcp(const char *interface)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(68)};
	int on = 1, room = 4 << 20;

	dhcp_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	setsockopt(dhcp_fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
	setsockopt(dhcp_fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	if (setsockopt(dhcp_fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface) + 1) ||
	    bind(dhcp_fd, (struct sockaddr *)&at, sizeof(at))) {
		perror(interface);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	struct epoll_event event = {.events = EPOLLIN}, got[64];
	uint64_t start, end, now;
	bool busy = true;

	if (argc < 6)
		return 2;
	count = (unsigned int)atoi(argv[3]);
	file = argv[5];
	proxy = argc > 6;
	if (!count || count > 256 || inet_pton(AF_INET, argv[2], &server_address) != 1)
		return 2;
	server_address = ntohl(server_address);
	pcs = calloc(count, sizeof(*pcs));
	open_dhcp(argv[1]);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, dhcp_fd, &event);
	start = clock_monotonic_ns();
	end = start + (uint64_t)atoi(argv[4]) * 1000 * MS;
	for (unsigned int i = 0; i < count; i++) {
		pcs[i].fd = -1;
		pcs[i].next = start + i * EVERY_MS * MS / count;
	}
	while (busy) {
		int n = epoll_wait(epoll_fd, got, 64, 2);

		for (int i = 0; i < n; i++)
			if (got[i].data.ptr)
				on_tftp(got[i].data.ptr);
			else
				on_dhcp();
		now = clock_monotonic_ns();
		busy = now < end;
		for (unsigned int i = 0; i < count; i++) {
			on_time(&pcs[i], now, now >= end);
			busy |= pcs[i].step != REST;
		}
	}
	printf("{");
	print("dhcp", &dhcp, ", ");
	print("tftp", &tftp, ", ");
	print("victim", &first, "}\n");
	return 0;
}
