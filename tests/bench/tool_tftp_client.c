// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A TFTP client that checks every byte it gets, for benchmarks and tests: one transfer after
 * another, or many at once from one thread. Plain sockets only, so that every server meets the same
 * client.
 *
 *	tool_tftp_client -s ADDRESS [-p PORT] -f NAME -c LOCAL_COPY [-b BLKSIZE] [-w WINDOWSIZE] [-j
 * AT_ONCE] [-n COUNT]
 *			 [-t TIMEOUT_MS] [-T TRIES] [-d DUPLICATE_PERCENT] [-S SECONDS] [-k SECONDS]
 *			 [-P PROCESSES]
 *
 * Ends with one line: transfers, blocks, bytes, seconds, blocks/s, the client's CPU seconds,
 * retries, duplicates seen. Status 1 if a transfer failed or a byte differed. Without -b, -w and -k
 * no option is asked for. -S starts new transfers only so long (in place of -n). -d sends that share
 * of ACKs twice. -k asks for the timeout option (RFC 2349). -P shares -j and -n among so many
 * processes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
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

enum { RRQ = 1, DATA = 3, ACK = 4, ERROR = 5, OACK = 6 };

static struct {
	struct sockaddr_in server;
	const char *name;
	const uint8_t *content;
	uint64_t size;
	unsigned int blksize, window, at_once, count, timeout_ms, tries, duplicate, timeout_option,
		processes;
	double seconds;
} opt = {.window = 1, .at_once = 1, .count = 1, .timeout_ms = 1000, .tries = 20, .processes = 1};

struct transfer {
	int fd;
	bool begun;     /* the server has answered: the socket is connected to its port */
	uint32_t block; /* received in order */
	uint32_t acked; /* last ACK sent */
	unsigned int blksize, window;
	unsigned int tries;
	bool gap;      /* an ACK for a gap was sent since the last block in order */
	uint64_t last; /* ns */
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
		n += (unsigned int)snprintf((char *)packet + n, room - n, "blksize%c%u", 0,
					    opt.blksize) +
		     1;
	if (opt.window != 1)
		n += (unsigned int)snprintf((char *)packet + n, room - n, "windowsize%c%u", 0,
					    opt.window) +
		     1;
	if (opt.timeout_option)
		n += (unsigned int)snprintf((char *)packet + n, room - n, "timeout%c%u", 0,
					    opt.timeout_option) +
		     1;
	return n;
}

static void transfer_begin(struct transfer *t)
{
	int size = 4 << 20;

	*t = (struct transfer){.blksize = 512, .window = 1, .last = now_ns()};
	t->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (t->fd < 0)
		fail("socket");
	setsockopt(t->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (opt.at_once == 1) {
		struct timeval tv = {.tv_sec = opt.timeout_ms / 1000,
				     .tv_usec = opt.timeout_ms % 1000 * 1000};

		setsockopt(t->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	}
	t->length = make_request(t->packet, sizeof(t->packet));
	if (sendto(t->fd, t->packet, t->length, 0, (struct sockaddr *)&opt.server,
		   sizeof(opt.server)) < 0)
		fail("sendto");
}

static void send_ack(struct transfer *t)
{
	uint8_t ack[4] = {0, ACK, (uint8_t)(t->block >> 8), (uint8_t)t->block};

	t->acked = t->block;
	send(t->fd, ack, 4, 0);
	if (opt.duplicate && (unsigned int)rand() % 100 < opt.duplicate)
		send(t->fd, ack, 4, 0);
}

/* Sends again what the server may have missed; false when tried too often. */
static bool transfer_retry(struct transfer *t)
{
	if (++t->tries > opt.tries)
		return false;
	total.retries++;
	t->last = now_ns();
	if (!t->begun)
		sendto(t->fd, t->packet, t->length, 0, (struct sockaddr *)&opt.server,
		       sizeof(opt.server));
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

static int take_packet(struct transfer *t, const uint8_t *p, size_t n,
		       const struct sockaddr_in *from)
{
	if (n < 4)
		return complain("short packet", t);
	if (!t->begun) {
		if (connect(t->fd, (const struct sockaddr *)from, sizeof(*from)))
			fail("connect");
		t->begun = true;
	}
	t->last = opt.at_once == 1 ? 0 : now_ns();
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
		ssize_t n =
			t->begun ? recv(t->fd, packet, sizeof(packet), wait ? 0 : MSG_DONTWAIT)
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
	close(t->fd);
	t->fd = -1;
	total.transfers++;
	total.failed += result < 0;
}

static bool more(uint64_t started, uint64_t begun_at)
{
	return opt.seconds > 0 ? (double)(now_ns() - begun_at) < opt.seconds * 1e9
			       : started < opt.count;
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
		if (t[i].fd >= 0 && now > t[i].last &&
		    now - t[i].last > opt.timeout_ms * 1000000ull && !transfer_retry(&t[i])) {
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

static void read_arguments(int argc, char **argv)
{
	struct stat st;
	int c, fd = -1;

	opt.server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(69)};
	while ((c = getopt(argc, argv, "s:p:f:c:b:w:j:n:t:T:d:S:k:P:")) != -1)
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
		case 'S':
			opt.seconds = atof(optarg);
			break;
		default:
			exit(2);
		}
	if (fd < 0 || !opt.name || fstat(fd, &st) || !opt.at_once) {
		fprintf(stderr,
			"tool_tftp_client: -s ADDRESS, -f NAME and -c LOCAL_COPY are needed\n");
		exit(2);
	}
	opt.size = (uint64_t)st.st_size;
	opt.content = opt.size ? mmap(NULL, opt.size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0)
			       : (const uint8_t *)"";
	if (opt.content == MAP_FAILED)
		fail("mmap");
}

static void run(uint64_t begun_at)
{
	if (opt.at_once == 1)
		run_one_by_one(begun_at);
	else
		run_at_once(begun_at);
}

/* The same in several processes, counted together. */
static void run_processes(uint64_t begun_at)
{
	struct total *each = mmap(NULL, opt.processes * sizeof(*each), PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

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
	       (unsigned long long)total.transfers, (unsigned long long)total.failed,
	       (unsigned long long)total.blocks, (unsigned long long)total.bytes, seconds,
	       (double)total.blocks / seconds, cpu, (unsigned long long)total.retries,
	       (unsigned long long)total.duplicates);
	return total.failed ? 1 : 0;
}
