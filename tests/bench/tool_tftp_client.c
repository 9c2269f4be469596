// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A TFTP client that checks every byte it gets, for benchmarks and tests: one transfer after
 * another, or many at once from one thread. Over plain sockets, or (-r) as a boot ROM does, which
 * drives its card itself and has no kernel between: frames from a ring that the card's packets are
 * put into, looked at again and again, and frames out, many a call. So more of what is measured is
 * the server.
 *
 *	tool_tftp_client -s ADDRESS [-p PORT] -f NAME -c LOCAL_COPY [-b BLKSIZE] [-w WINDOWSIZE] [-j
 * AT_ONCE] [-n COUNT]
 *			 [-t TIMEOUT_MS] [-T TRIES] [-d DUPLICATE_PERCENT] [-S SECONDS] [-k SECONDS]
 *			 [-P PROCESSES] [-r INTERFACE,SERVER_MAC,OWN_ADDRESS,OWN_MAC]
 *
 * Ends with one line: transfers, blocks, bytes, seconds, blocks/s, the client's CPU seconds,
 * retries, duplicates seen. Status 1 if a transfer failed or a byte differed. Without -b, -w and -k
 * no option is asked for. -S starts new transfers only so long (in place of -n). -d sends that share
 * of ACKs twice. -k asks for the timeout option (RFC 2349). -P shares -j and -n among so many
 * processes. -r: OWN_ADDRESS and OWN_MAC are not the interface's, so that this machine's kernel
 * leaves the packets alone; the server must know the MAC (ip neighbor), and no segmentation may be
 * left to a card that is not there, but UDP's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/tftp_frames.h"

enum { RRQ = 1, DATA = 3, ACK = 4, ERROR = 5, OACK = 6 };

static struct {
	struct sockaddr_in server;
	const char *name;
	const uint8_t *content;
	uint64_t size;
	unsigned int blksize, window, at_once, count, timeout_ms, tries, duplicate, timeout_option, processes;
	double seconds;
	const char *ring;
} opt = {.window = 1, .at_once = 1, .count = 1, .timeout_ms = 1000, .tries = 20, .processes = 1};

struct transfer {
	int fd;
	bool begun;     /* the server has answered: the socket is connected to its port */
	uint32_t block; /* received in order */
	uint32_t acked; /* last ACK sent */
	unsigned int blksize, window;
	unsigned int tries;
	uint16_t port, server_port; /* with -r */
	bool gap;                   /* an ACK for a gap was sent since the last block in order */
	uint64_t last;              /* ns */
	uint8_t packet[600];
	unsigned int length; /* of the request in it */
};

struct total {
	uint64_t transfers, failed, blocks, bytes, retries, duplicates;
};
static struct total total;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(2);
}

static unsigned int make_request(uint8_t *packet, size_t room)
{
	unsigned int n = 2;

	packet[0] = 0;
	packet[1] = RRQ;
	n += (unsigned int)snprintf((char *)packet + n, room - n, "%s", opt.name) + 1;
	n += (unsigned int)snprintf((char *)packet + n, room - n, "octet") + 1;
	if (opt.blksize)
		n += (unsigned int)snprintf((char *)packet + n, room - n, "blksize%c%u", 0, opt.blksize) + 1;
	if (opt.window != 1)
		n += (unsigned int)snprintf((char *)packet + n, room - n, "windowsize%c%u", 0, opt.window) + 1;
	if (opt.timeout_option)
		n += (unsigned int)snprintf((char *)packet + n, room - n, "timeout%c%u", 0, opt.timeout_option) + 1;
	return n;
}

/* --- frames, with -r --- */

#define SPIN_NS 1000000 /* looks for a frame so long before it sleeps */

enum { FRAME = 32768, FRAMES = 1024, OUT = 64, HEADERS = 14 + 20 + 8 };

static struct {
	int fd;
	uint8_t *map;
	unsigned int next;
	uint16_t port; /* of the last transfer */
	uint8_t macs[12];
	uint32_t address;
	struct frame out[OUT];
	unsigned int count;
} ring;

static void ring_open(void)
{
	struct tpacket_req request = {
		.tp_block_size = FRAME * 8, .tp_block_nr = FRAMES / 8, .tp_frame_size = FRAME, .tp_frame_nr = FRAMES};
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP)};
	char interface[IF_NAMESIZE], own[16], theirs[18], mac[18];
	int version = TPACKET_V2, on = 1;
	struct in_addr a;

	if (sscanf(opt.ring, "%15[^,],%17[^,],%15[^,],%17s", interface, theirs, own, mac) != 4 ||
	    inet_pton(AF_INET, own, &a) != 1) {
		fprintf(stderr, "tool_tftp_client: -r INTERFACE,SERVER_MAC,OWN_ADDRESS,OWN_MAC\n");
		exit(2);
	}
	for (unsigned int i = 0; i < 6; i++) {
		ring.macs[i] = (uint8_t)strtoul(theirs + 3 * i, NULL, 16);
		ring.macs[6 + i] = (uint8_t)strtoul(mac + 3 * i, NULL, 16);
	}
	ring.address = ntohl(a.s_addr);
	address.sll_ifindex = (int)if_nametoindex(interface);
	ring.fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (ring.fd < 0 || setsockopt(ring.fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) ||
	    setsockopt(ring.fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof(request)) ||
	    setsockopt(ring.fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)))
		fail("packet socket");
	ring.map = mmap(NULL, (size_t)FRAME * FRAMES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, 0);
	if (ring.map == MAP_FAILED || bind(ring.fd, (struct sockaddr *)&address, sizeof(address)))
		fail("packet ring");
	ring.port = (uint16_t)(20000 + now_ns() / 1000 % 20000);
}

static void ring_flush(void)
{
	struct mmsghdr m[OUT] = {0};
	struct iovec iov[OUT];

	for (unsigned int i = 0; i < ring.count; i++) {
		iov[i] = (struct iovec){ring.out[i].b, ring.out[i].length};
		m[i].msg_hdr.msg_iov = &iov[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	for (unsigned int sent = 0; sent < ring.count;) {
		int n = sendmmsg(ring.fd, m + sent, ring.count - sent, 0);

		if (n < 0)
			fail("sendmmsg");
		sent += (unsigned int)n;
	}
	ring.count = 0;
}

static void ring_send(const struct transfer *t, const uint8_t *data, unsigned int n)
{
	struct frame *f = &ring.out[ring.count++];

	headers(f, ring.address, ntohl(opt.server.sin_addr.s_addr), t->port,
		t->begun ? t->server_port : ntohs(opt.server.sin_port), 0, 0, n - 4);
	memcpy(f->b, ring.macs, sizeof(ring.macs));
	memcpy(f->b + HEADERS, data, n);
	seal(f);
	if (ring.count == OUT || opt.at_once == 1)
		ring_flush();
}

/* --- transfers --- */

static void send_packet(struct transfer *t, const uint8_t *data, unsigned int n)
{
	if (opt.ring)
		ring_send(t, data, n);
	else if (t->begun)
		send(t->fd, data, n, 0);
	else if (sendto(t->fd, data, n, 0, (struct sockaddr *)&opt.server, sizeof(opt.server)) < 0)
		fail("sendto");
}

static void transfer_begin(struct transfer *t)
{
	int size = 4 << 20;

	*t = (struct transfer){.blksize = 512, .window = 1, .last = now_ns()};
	t->length = make_request(t->packet, sizeof(t->packet));
	if (opt.ring) {
		t->port = ring.port = ring.port >= 60000 ? 20000 : ring.port + 1;
		send_packet(t, t->packet, t->length);
		return;
	}
	t->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (t->fd < 0)
		fail("socket");
	setsockopt(t->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (opt.at_once == 1) {
		struct timeval tv = {.tv_sec = opt.timeout_ms / 1000, .tv_usec = opt.timeout_ms % 1000 * 1000};

		setsockopt(t->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	}
	send_packet(t, t->packet, t->length);
}

static void send_ack(struct transfer *t)
{
	uint8_t ack[4] = {0, ACK, (uint8_t)(t->block >> 8), (uint8_t)t->block};

	t->acked = t->block;
	send_packet(t, ack, 4);
	if (opt.duplicate && (unsigned int)rand() % 100 < opt.duplicate)
		send_packet(t, ack, 4);
}

/* Sends again what the server may have missed; false when tried too often. */
static bool transfer_retry(struct transfer *t)
{
	if (++t->tries > opt.tries)
		return false;
	total.retries++;
	t->last = now_ns();
	if (!t->begun)
		send_packet(t, t->packet, t->length);
	else
		send_ack(t);
	return true;
}

static int complain(const char *what, const struct transfer *t)
{
	fprintf(stderr, "tool_tftp_client: %s at block %u\n", what, t->block + 1);
	return -1;
}

static void read_options(struct transfer *t, const uint8_t *p, size_t n)
{
	const char *end = (const char *)p + n, *s = (const char *)p + 2;

	while (s < end) {
		const char *value = s + strnlen(s, (size_t)(end - s)) + 1;

		if (value >= end)
			return;
		if (!strcmp(s, "blksize"))
			t->blksize = (unsigned int)atoi(value);
		if (!strcmp(s, "windowsize"))
			t->window = (unsigned int)atoi(value);
		s = value + strnlen(value, (size_t)(end - value)) + 1;
	}
}

/* A block: 0 go on, 1 the last one was acknowledged, -1 the content is wrong. */
static int take_data(struct transfer *t, const uint8_t *p, size_t n)
{
	uint64_t offset = (uint64_t)t->block * t->blksize;
	uint64_t want = opt.size - offset < t->blksize ? opt.size - offset : t->blksize;
	uint16_t block = (uint16_t)(p[2] << 8 | p[3]);

	if (block != (uint16_t)(t->block + 1)) {
		total.duplicates++;
		/* An old block again, or a gap in a window: say once where we are (RFC 7440). */
		if (t->window > 1 && !t->gap) {
			t->gap = true;
			send_ack(t);
		}
		return 0;
	}
	if (n - 4 != want)
		return complain("wrong length", t);
	if (memcmp(p + 4, opt.content + offset, want))
		return complain("wrong content", t);
	t->block++;
	t->gap = false;
	t->tries = 0;
	total.blocks++;
	total.bytes += want;
	if (want < t->blksize) {
		send_ack(t);
		return 1;
	}
	if (t->block - t->acked >= t->window)
		send_ack(t);
	return 0;
}

static int take_packet(struct transfer *t, const uint8_t *p, size_t n, const struct sockaddr_in *from)
{
	if (n < 4)
		return complain("short packet", t);
	if (!t->begun) {
		t->server_port = ntohs(from->sin_port);
		if (!opt.ring && connect(t->fd, (const struct sockaddr *)from, sizeof(*from)))
			fail("connect");
		t->begun = true;
	}
	t->last = opt.at_once == 1 && !opt.ring ? 0 : now_ns();
	switch (p[0] << 8 | p[1]) {
	case OACK:
		if (t->block == 0) {
			read_options(t, p, n);
			send_ack(t);
		}
		return 0;
	case DATA:
		return take_data(t, p, n);
	case ERROR:
		fprintf(stderr, "tool_tftp_client: ERROR %d: %.*s\n", p[3], (int)n - 4, p + 4);
		return -1;
	default:
		return complain("unknown opcode", t);
	}
}

/*
 * Receives what is there: 0 go on, 1 done, -1 failed. At most a window at a time when not waiting:
 * where the kernel itself answers, an ACK brings the next block at once, and the other transfers
 * would starve.
 */
static int transfer_receive(struct transfer *t, bool wait)
{
	static uint8_t packet[65536];
	unsigned int packets = 0;
	struct sockaddr_in from;
	int r = 0;

	while (r == 0 && (wait || packets++ < t->window)) {
		socklen_t length = sizeof(from);
		ssize_t n = t->begun ? recv(t->fd, packet, sizeof(packet), wait ? 0 : MSG_DONTWAIT)
				     : recvfrom(t->fd, packet, sizeof(packet), wait ? 0 : MSG_DONTWAIT,
						(struct sockaddr *)&from, &length);

		if (n < 0 && errno == EAGAIN)
			return wait && !transfer_retry(t) ? complain("time-out", t) : 0;
		if (n < 0)
			return complain(strerror(errno), t);
		r = take_packet(t, packet, (size_t)n, &from);
	}
	return r;
}

static void transfer_end(struct transfer *t, int result)
{
	if (!opt.ring)
		close(t->fd);
	t->fd = -1;
	total.transfers++;
	total.failed += result < 0;
}

static bool more(uint64_t started, uint64_t begun_at)
{
	return opt.seconds > 0 ? (double)(now_ns() - begun_at) < opt.seconds * 1e9 : started < opt.count;
}

static void run_one_by_one(uint64_t begun_at)
{
	struct transfer t;

	for (uint64_t n = 0; more(n, begun_at); n++) {
		int r = 0;

		transfer_begin(&t);
		while (r == 0)
			r = transfer_receive(&t, true);
		transfer_end(&t, r);
	}
}

static void check_timeouts(struct transfer *t, int *ret_open)
{
	uint64_t now = now_ns();

	for (unsigned int i = 0; i < opt.at_once; i++)
		if (t[i].fd >= 0 && now > t[i].last && now - t[i].last > opt.timeout_ms * 1000000ull &&
		    !transfer_retry(&t[i])) {
			transfer_end(&t[i], complain("time-out", &t[i]));
			(*ret_open)--;
		}
}

static void begin_polled(int epoll, struct transfer *t)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = t};

	transfer_begin(t);
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, t->fd, &event))
		fail("epoll_ctl");
}

static void run_at_once(uint64_t begun_at)
{
	struct transfer *transfers = calloc(opt.at_once, sizeof(*transfers));
	int epoll = epoll_create1(EPOLL_CLOEXEC), open = 0;
	uint64_t started = 0, checked = now_ns();

	for (unsigned int i = 0; i < opt.at_once; i++) {
		transfers[i].fd = -1;
		if (more(started, begun_at)) {
			begin_polled(epoll, &transfers[i]);
			started++;
			open++;
		}
	}
	while (open > 0) {
		struct epoll_event events[64];
		int n = epoll_wait(epoll, events, 64, 100);

		for (int i = 0; i < n; i++) {
			struct transfer *t = events[i].data.ptr;
			int r = transfer_receive(t, false);

			if (r == 0)
				continue;
			transfer_end(t, r);
			open--;
			if (more(started, begun_at)) {
				begin_polled(epoll, t);
				started++;
				open++;
			}
		}
		if (now_ns() - checked > 100000000) {
			check_timeouts(transfers, &open);
			checked = now_ns();
		}
	}
	close(epoll);
	free(transfers);
}

/* A frame for a transfer; the kernel may have left it to the card to cut a window into blocks. As take_packet(). */
static int take_frame(struct transfer *t, const uint8_t *p, unsigned int n)
{
	struct sockaddr_in from = {.sin_port = htons(get16(p + 34))};
	unsigned int length = get16(p + 38), each;
	int r = 0;

	if (t->begun && ntohs(from.sin_port) != t->server_port)
		return 0;
	if (length < 12 || length > n - 34)
		return complain("short frame", t);
	length -= 8;
	each = t->begun && length > t->blksize + 4 ? t->blksize + 4 : length;
	for (p += HEADERS; r == 0 && length; p += each, length -= each) {
		each = length < each ? length : each;
		r = take_packet(t, p, each, &from);
	}
	return r;
}

static void run_ring(uint64_t begun_at)
{
	struct transfer *transfers = calloc(opt.at_once, sizeof(*transfers));
	static uint16_t by_port[65536]; /* number + 1 */
	uint64_t started = 0, checked = now_ns();
	int open = 0;

	ring_open();
	for (unsigned int i = 0; i < opt.at_once; i++) {
		transfers[i].fd = -1;
		if (more(started, begun_at)) {
			transfer_begin(&transfers[i]);
			by_port[transfers[i].port] = (uint16_t)(i + 1);
			started++;
			open++;
		}
	}
	while (open > 0) {
		struct tpacket2_hdr *h = (void *)(ring.map + (size_t)ring.next * FRAME);
		const uint8_t *p;
		unsigned int who;
		int r;

		if (!(__atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER)) {
			struct pollfd wait = {.fd = ring.fd, .events = POLLIN};
			uint64_t until;

			ring_flush();
			until = now_ns() + SPIN_NS;
			while (!(__atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) && now_ns() < until)
				;
			if (!(__atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
				poll(&wait, 1, 100);
			if (now_ns() - checked > 100000000) {
				check_timeouts(transfers, &open);
				checked = now_ns();
			}
			continue;
		}
		p = (const uint8_t *)h + h->tp_mac;
		who = h->tp_snaplen > HEADERS && p[23] == IPPROTO_UDP ? by_port[get16(p + 36)] : 0;
		r = who && transfers[who - 1].fd >= 0 ? take_frame(&transfers[who - 1], p, h->tp_snaplen) : 0;
		__atomic_store_n(&h->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
		ring.next = (ring.next + 1) % FRAMES;
		if (r == 0)
			continue;
		by_port[transfers[who - 1].port] = 0;
		transfer_end(&transfers[who - 1], r);
		open--;
		if (more(started, begun_at)) {
			transfer_begin(&transfers[who - 1]);
			by_port[transfers[who - 1].port] = (uint16_t)who;
			started++;
			open++;
		}
	}
	ring_flush();
	free(transfers);
}

static void read_arguments(int argc, char **argv)
{
	struct stat st;
	int c, fd = -1;

	opt.server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(69)};
	while ((c = getopt(argc, argv, "s:p:f:c:b:w:j:n:t:T:d:S:k:P:r:")) != -1)
		switch (c) {
		case 's':
			inet_pton(AF_INET, optarg, &opt.server.sin_addr);
			break;
		case 'p':
			opt.server.sin_port = htons((uint16_t)atoi(optarg));
			break;
		case 'f':
			opt.name = optarg;
			break;
		case 'c':
			fd = open(optarg, O_RDONLY | O_CLOEXEC);
			break;
		case 'b':
			opt.blksize = (unsigned int)atoi(optarg);
			break;
		case 'w':
			opt.window = (unsigned int)atoi(optarg);
			break;
		case 'j':
			opt.at_once = (unsigned int)atoi(optarg);
			break;
		case 'n':
			opt.count = (unsigned int)atoi(optarg);
			break;
		case 't':
			opt.timeout_ms = (unsigned int)atoi(optarg);
			break;
		case 'T':
			opt.tries = (unsigned int)atoi(optarg);
			break;
		case 'd':
			opt.duplicate = (unsigned int)atoi(optarg);
			break;
		case 'P':
			opt.processes = (unsigned int)atoi(optarg);
			break;
		case 'k':
			opt.timeout_option = (unsigned int)atoi(optarg);
			break;
		case 'r':
			opt.ring = optarg;
			break;
		case 'S':
			opt.seconds = atof(optarg);
			break;
		default:
			exit(2);
		}
	if (fd < 0 || !opt.name || fstat(fd, &st) || !opt.at_once) {
		fprintf(stderr, "tool_tftp_client: -s ADDRESS, -f NAME and -c LOCAL_COPY are needed\n");
		exit(2);
	}
	opt.size = (uint64_t)st.st_size;
	opt.content =
		opt.size ? mmap(NULL, opt.size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0) : (const uint8_t *)"";
	if (opt.content == MAP_FAILED)
		fail("mmap");
}

static void run(uint64_t begun_at)
{
	if (opt.ring)
		run_ring(begun_at);
	else if (opt.at_once == 1)
		run_one_by_one(begun_at);
	else
		run_at_once(begun_at);
}

/* The same in several processes, counted together. */
static void run_processes(uint64_t begun_at)
{
	struct total *each =
		mmap(NULL, opt.processes * sizeof(*each), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (each == MAP_FAILED)
		fail("mmap");
	opt.at_once = opt.at_once > opt.processes ? opt.at_once / opt.processes : 1;
	opt.count = opt.count > opt.processes ? opt.count / opt.processes : 1;
	for (unsigned int i = 0; i < opt.processes; i++)
		if (!fork()) {
			run(begun_at);
			each[i] = total;
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	for (unsigned int i = 0; i < opt.processes; i++) {
		total.transfers += each[i].transfers;
		total.failed += each[i].failed + !each[i].transfers;
		total.blocks += each[i].blocks;
		total.bytes += each[i].bytes;
		total.retries += each[i].retries;
		total.duplicates += each[i].duplicates;
	}
}

static double cpu_of(int who)
{
	struct rusage usage;

	getrusage(who, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
	uint64_t begun_at;
	double seconds, cpu;

	read_arguments(argc, argv);
	begun_at = now_ns();
	if (opt.processes > 1)
		run_processes(begun_at);
	else
		run(begun_at);
	seconds = (double)(now_ns() - begun_at) / 1e9;
	cpu = cpu_of(RUSAGE_SELF) + cpu_of(RUSAGE_CHILDREN);
	printf("transfers=%llu failed=%llu blocks=%llu bytes=%llu seconds=%.4f "
	       "blocks_per_second=%.0f cpu=%.4f retries=%llu "
	       "duplicates=%llu\n",
	       (unsigned long long)total.transfers, (unsigned long long)total.failed, (unsigned long long)total.blocks,
	       (unsigned long long)total.bytes, seconds, (double)total.blocks / seconds, cpu,
	       (unsigned long long)total.retries, (unsigned long long)total.duplicates);
	return total.failed ? 1 : 0;
}
