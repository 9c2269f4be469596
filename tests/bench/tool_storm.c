/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A room full of PCs is switched on: tool_storm INTERFACE SERVER COUNT SPREAD_MS SEED. Each PC, begun at a random
 * moment of the spread: DHCP as UEFI firmware, the boot file by TFTP (asked for its size first, as EDK2 does, then
 * 1468-byte blocks in windows of 4), DHCP again as iPXE, the script by TFTP. Time-outs and retries as firmware has
 * them: DHCP after 1, 2, 4, 8 s, TFTP after 1 s. All PCs live in one network namespace whose interface has all the
 * addresses that the server gives.
 *
 * Prints one JSON object: times in ms since the first was switched on, retries, failures. The content of the boot file
 * is summed up (FNV-1a of 8-byte words) and must be the same for all; its sum and size are printed.
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/dhcp/packet.h"
#include "tcmu-handler/image/bytes.h"

#define BLKSIZE    1468
#define WINDOW     4
#define TFTP_MS    1000
#define GIVE_UP_MS 120000
#define FNV_BEGIN  0xcbf29ce484222325ull

enum step { OFF, DISCOVER, REQUEST, SIZE, FETCH, DISCOVER_IPXE, REQUEST_IPXE, SCRIPT, DONE, FAILED };

struct pc {
	enum step step;
	uint32_t xid, address, server;
	uint64_t begin, deadline, done; /* ms */
	unsigned int tries;
	char file[129];
	int fd;
	struct sockaddr_in peer;
	bool has_peer;
	uint64_t expected; /* block */
	uint64_t blksize, window, in_window;
	uint64_t size, sum;
};

static struct pc *pcs;
static unsigned int count, finished, failed, dhcp_retries, tftp_retries;
static uint64_t script_bytes, nbp_size, nbp_sum;
static bool nbp_differs;
static int dhcp_fd, epoll_fd;
static uint32_t server_address;

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static bool is_ipxe(const struct pc *pc)
{
	return pc->step == DISCOVER_IPXE || pc->step == REQUEST_IPXE;
}

/* --- DHCP --------------------------------------------------------------------------------------------------------- */
static void send_dhcp(struct pc *pc)
{
	static const uint8_t wanted[] = {1, 3, 6, 12, 15, 43, 54, 60, 66, 67, 97, 175, 203};
	static const char vendor[] = "PXEClient:Arch:00007:UNDI:003016";
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(67), .sin_addr.s_addr = INADDR_BROADCAST};
	struct dhcp_packet p = {.htype = 1, .hlen = 6, .xid = pc->xid, .flags = DHCP_FLAG_BROADCAST};
	bool request = pc->step == REQUEST || pc->step == REQUEST_IPXE;
	struct dhcp_writer w;
	uint8_t uuid[17] = {0};
	size_t n;

	p.chaddr[0] = 2;
	be32_put(p.chaddr + 2, (uint32_t)(pc - pcs) + 1);
	memcpy(uuid + 11, p.chaddr, 6);
	dhcp_writer_begin(&w, &p, DHCP_PACKET_MAX);
	w.data[0] = 1;
	dhcp_writer_u8(&w, DHCP_OPT_TYPE, request ? DHCP_REQUEST : DHCP_DISCOVER);
	if (request) {
		dhcp_writer_u32(&w, DHCP_OPT_REQUESTED_ADDRESS, pc->address);
		dhcp_writer_u32(&w, DHCP_OPT_SERVER_ID, pc->server);
	}
	dhcp_writer_u16(&w, DHCP_OPT_MAX_SIZE, 1472);
	dhcp_writer_option(&w, DHCP_OPT_PARAMETERS, wanted, sizeof(wanted));
	dhcp_writer_text(&w, DHCP_OPT_VENDOR_CLASS, vendor);
	dhcp_writer_u16(&w, DHCP_OPT_ARCH, 7);
	dhcp_writer_option(&w, DHCP_OPT_NDI, "\1\3\20", 3);
	dhcp_writer_option(&w, DHCP_OPT_UUID, uuid, sizeof(uuid));
	if (is_ipxe(pc)) {
		dhcp_writer_text(&w, DHCP_OPT_USER_CLASS, "iPXE");
		dhcp_writer_option(&w, DHCP_OPT_IPXE, "\x13\1\1", 3);
	}
	n = dhcp_writer_end(&w);
	if (sendto(dhcp_fd, w.data, n, 0, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != ENOBUFS &&
	    errno != EAGAIN) {
		perror("tool_storm: sendto");
		exit(1);
	}
	pc->deadline = now_ms() + (1000ull << (pc->tries < 3 ? pc->tries : 3));
}

static void begin_dhcp(struct pc *pc, enum step step)
{
	pc->step = step;
	pc->xid = (uint32_t)(pc - pcs) << 4 | (uint32_t)step;
	pc->tries = 0;
	send_dhcp(pc);
}

static void begin_tftp(struct pc *pc, enum step step);

/* The boot file: the field, or option 67, as firmware reads them. */
static void take_file(struct pc *pc, const struct dhcp_packet *p)
{
	size_t n;
	const uint8_t *option = dhcp_option(p, DHCP_OPT_BOOT_FILE, &n);

	memset(pc->file, 0, sizeof(pc->file));
	if (option && n < sizeof(pc->file))
		memcpy(pc->file, option, n);
	else
		memcpy(pc->file, p->file, sizeof(pc->file) - 1);
}

static void on_dhcp(void)
{
	uint8_t data[2000];
	struct dhcp_packet p;
	ssize_t n;

	while ((n = recv(dhcp_fd, data, sizeof(data), MSG_DONTWAIT)) > 0) {
		struct pc *pc;
		uint32_t i;

		if (dhcp_packet_parse(&p, data, (size_t)n) < 0 || p.op != 2 || (i = p.xid >> 4) >= count)
			continue;
		pc = &pcs[i];
		if (p.xid != pc->xid)
			continue;
		if (p.type == DHCP_OFFER && (pc->step == DISCOVER || pc->step == DISCOVER_IPXE)) {
			pc->address = p.yiaddr;
			dhcp_option_u32(&p, DHCP_OPT_SERVER_ID, &pc->server);
			pc->step++;
			pc->tries = 0;
			send_dhcp(pc);
		} else if (p.type == DHCP_ACK && (pc->step == REQUEST || pc->step == REQUEST_IPXE)) {
			take_file(pc, &p);
			pc->address = p.yiaddr;
			begin_tftp(pc, pc->step == REQUEST ? SIZE : SCRIPT);
		}
	}
}

/* --- TFTP --------------------------------------------------------------------------------------------------------- */
static void send_request(struct pc *pc)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(69), .sin_addr.s_addr = htonl(server_address)};
	uint8_t data[512] = {0, 1};
	size_t n = 2;

	n += (size_t)sprintf((char *)data + n, "%s", pc->file) + 1;
	n += (size_t)sprintf((char *)data + n, "octet") + 1;
	n += (size_t)sprintf((char *)data + n, "tsize") + 1;
	n += (size_t)sprintf((char *)data + n, "0") + 1;
	n += (size_t)sprintf((char *)data + n, "blksize") + 1;
	n += (size_t)sprintf((char *)data + n, "%d", BLKSIZE) + 1;
	if (pc->step != SCRIPT) {
		n += (size_t)sprintf((char *)data + n, "windowsize") + 1;
		n += (size_t)sprintf((char *)data + n, "%d", WINDOW) + 1;
	}
	sendto(pc->fd, data, n, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to));
	pc->deadline = now_ms() + TFTP_MS;
}

static void end(struct pc *pc, enum step step)
{
	if (pc->fd >= 0)
		close(pc->fd);
	pc->fd = -1;
	pc->step = step;
	pc->done = now_ms();
	finished++;
	failed += step == FAILED;
}

static void begin_tftp(struct pc *pc, enum step step)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(pc->address)};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = pc};

	if (pc->fd >= 0)
		close(pc->fd);
	pc->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (pc->fd < 0 || bind(pc->fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
		perror("tool_storm: the namespace lacks an address that the server gave");
		exit(1);
	}
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pc->fd, &event);
	pc->step = step;
	pc->tries = 0;
	pc->has_peer = false;
	pc->expected = 1;
	pc->in_window = 0;
	pc->blksize = 512;
	pc->window = 1;
	pc->size = 0;
	pc->sum = FNV_BEGIN;
	send_request(pc);
}

static void say(struct pc *pc, uint16_t opcode, uint16_t value)
{
	uint8_t data[5] = {0};

	be16_put(data, opcode);
	be16_put(data + 2, value);
	sendto(pc->fd, data, opcode == 5 ? 5 : 4, MSG_DONTWAIT, (struct sockaddr *)&pc->peer, sizeof(pc->peer));
}

static void read_oack(struct pc *pc, const char *p, const char *limit)
{
	while (p < limit) {
		const char *value = memchr(p, 0, (size_t)(limit - p));

		if (!value || ++value >= limit)
			return;
		if (!strcmp(p, "blksize"))
			pc->blksize = (uint64_t)atoi(value);
		else if (!strcmp(p, "windowsize"))
			pc->window = (uint64_t)atoi(value);
		p = value + strlen(value) + 1;
	}
}

static void finish_file(struct pc *pc)
{
	if (pc->step == SCRIPT) {
		script_bytes += pc->size;
		end(pc, DONE);
		return;
	}
	nbp_differs |= nbp_size && (nbp_size != pc->size || nbp_sum != pc->sum);
	nbp_size = pc->size;
	nbp_sum = pc->sum;
	begin_dhcp(pc, DISCOVER_IPXE);
}

static void on_data(struct pc *pc, const uint8_t *data, size_t n)
{
	uint16_t block = be16_at(data + 2);

	if (block != (uint16_t)pc->expected) {
		if (pc->window > 1)
			say(pc, 4, (uint16_t)(pc->expected - 1));
		pc->in_window = 0;
		return;
	}
	for (size_t i = 4; i < n; i += 8) {
		uint64_t word = 0;

		memcpy(&word, data + i, n - i < 8 ? n - i : 8);
		pc->sum = (pc->sum ^ word) * 0x100000001b3ull;
	}
	pc->size += n - 4;
	pc->expected++;
	pc->tries = 0;
	pc->deadline = now_ms() + TFTP_MS;
	if (++pc->in_window == pc->window || n - 4 < pc->blksize) {
		say(pc, 4, block);
		pc->in_window = 0;
	}
	if (n - 4 < pc->blksize)
		finish_file(pc);
}

static void on_tftp(struct pc *pc)
{
	uint8_t data[2000];
	struct sockaddr_in from;
	socklen_t length = sizeof(from);
	ssize_t n;

	while (pc->fd >= 0 &&
	       (n = recvfrom(pc->fd, data, sizeof(data), MSG_DONTWAIT, (struct sockaddr *)&from, &length)) >= 4) {
		if (pc->has_peer && from.sin_port != pc->peer.sin_port)
			continue;
		pc->peer = from;
		pc->has_peer = true;
		if (be16_at(data) == 5) {
			end(pc, FAILED);
			return;
		}
		if (be16_at(data) == 6 && pc->step == SIZE) {
			say(pc, 5, 8);
			begin_tftp(pc, FETCH);
			return;
		}
		if (be16_at(data) == 6 && pc->expected == 1) {
			read_oack(pc, (const char *)data + 2, (const char *)data + n);
			pc->deadline = now_ms() + TFTP_MS;
			say(pc, 4, 0);
		} else if (be16_at(data) == 3) {
			enum step step = pc->step;

			on_data(pc, data, (size_t)n);
			if (pc->step != step)
				return;
		}
	}
}

/* --- time --------------------------------------------------------------------------------------------------------- */
static void on_deadline(struct pc *pc)
{
	if (++pc->tries > 10) {
		end(pc, FAILED);
	} else if (pc->step == SIZE || pc->step == FETCH || pc->step == SCRIPT) {
		tftp_retries++;
		if (pc->has_peer && pc->expected > 1)
			say(pc, 4, (uint16_t)(pc->expected - 1));
		else
			send_request(pc);
		pc->in_window = 0;
		pc->deadline = now_ms() + TFTP_MS;
	} else {
		dhcp_retries++;
		send_dhcp(pc);
	}
}

static int by_done(const void *a, const void *b)
{
	const struct pc *x = a, *y = b;

	return (x->done > y->done) - (x->done < y->done);
}

static void report(uint64_t begin, uint64_t last_on)
{
	qsort(pcs, count, sizeof(*pcs), by_done);
	printf("{\"pcs\": %u, \"failed\": %u, \"last_on_ms\": %llu, \"median_ms\": %llu, \"last_ms\": %llu, "
	       "\"dhcp_retries\": %u, \"tftp_retries\": %u, \"nbp_size\": %llu, \"nbp_sum\": \"%016llx\", \"same\": "
	       "%s, "
	       "\"script_bytes\": %llu}\n",
	       count, failed, (unsigned long long)(last_on - begin), (unsigned long long)(pcs[count / 2].done - begin),
	       (unsigned long long)(pcs[count - 1].done - begin), dhcp_retries, tftp_retries,
	       (unsigned long long)nbp_size, (unsigned long long)nbp_sum, nbp_differs ? "false" : "true",
	       (unsigned long long)script_bytes);
}

static void open_dhcp(const char *interface)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(68)};
	int one = 1, size = 8 << 20;

	dhcp_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	setsockopt(dhcp_fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof(one));
	setsockopt(dhcp_fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(dhcp_fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface));
	if (dhcp_fd < 0 || bind(dhcp_fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
		perror("tool_storm: port 68");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	struct rlimit limit = {65536, 65536};
	struct epoll_event event = {.events = EPOLLIN};
	uint64_t begin, last_on = 0;

	if (argc != 6 || (count = (unsigned int)atoi(argv[3])) == 0 || !(pcs = calloc(count, sizeof(*pcs)))) {
		fprintf(stderr, "usage: tool_storm INTERFACE SERVER COUNT SPREAD_MS SEED\n");
		return 2;
	}
	setrlimit(RLIMIT_NOFILE, &limit);
	server_address = ntohl(inet_addr(argv[2]));
	srand((unsigned int)atoi(argv[5]));
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	open_dhcp(argv[1]);
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, dhcp_fd, &event);
	begin = now_ms();
	for (unsigned int i = 0; i < count; i++) {
		pcs[i].fd = -1;
		pcs[i].begin = begin + (uint64_t)rand() % (uint64_t)(atoi(argv[4]) + 1);
		last_on = pcs[i].begin > last_on ? pcs[i].begin : last_on;
	}
	while (finished < count && now_ms() < begin + GIVE_UP_MS) {
		struct epoll_event events[256];
		int n = epoll_wait(epoll_fd, events, 256, 2);
		uint64_t now;

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				on_tftp(events[i].data.ptr);
			else
				on_dhcp();
		}
		now = now_ms();
		for (unsigned int i = 0; i < count; i++) {
			if (pcs[i].step == OFF && now >= pcs[i].begin)
				begin_dhcp(&pcs[i], DISCOVER);
			else if (pcs[i].step > OFF && pcs[i].step < DONE && now >= pcs[i].deadline)
				on_deadline(&pcs[i]);
		}
	}
	for (unsigned int i = 0; i < count; i++)
		if (pcs[i].step < DONE)
			end(&pcs[i], FAILED);
	report(begin, last_on);
	return 0;
}
