// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A bad cable between two interfaces of one network namespace: tool_wire IF1 IF2 LOSS% DUPLICATES%
 * REORDER% DELAY_MS. Forwards frames both ways; with the given chances one is lost, sent twice, or
 * held back behind later ones. Works where the kernel has no netem. $SEED makes a run repeatable as
 * far as the traffic is. Says `ready`, then the counts when it ends by SIGTERM. The far ends must
 * have checksum offload off (ethtool -K ... tx off): frames go as they are.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif
#define HELD_MAX 4096

struct held {
	uint64_t due; /* ns; 0: empty */
	int to;
	ssize_t length;
	uint8_t data[2048];
};

static struct held held[HELD_MAX];
static unsigned long forwarded, lost, duplicated, reordered;
static unsigned int loss, duplicates, reorder, delay_ms;
static uint64_t rng;
static volatile sig_atomic_t stop;

static void on_term(int signo)
{
	(void)signo;
	stop = 1;
}

static bool chance(unsigned int percent)
{
	rng = rng * 6364136223846793005u + 1442695040888963407u;
	return (rng >> 33) % 100 < percent;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int open_interface(const char *name)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)), one = 1, size = 8 << 20;

	at.sll_ifindex = (int)if_nametoindex(name);
	if (fd < 0 || !at.sll_ifindex || setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at))) {
		fprintf(stderr, "tool_wire: %s: %s\n", name, strerror(errno));
		exit(1);
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	return fd;
}

static void hold(const uint8_t *data, ssize_t length, int to, uint64_t due)
{
	for (unsigned int i = 0; i < HELD_MAX; i++)
		if (!held[i].due) {
			held[i].due = due;
			held[i].to = to;
			held[i].length = length;
			memcpy(held[i].data, data, (size_t)length);
			return;
		}
	lost++; /* the cable is full */
}

static void forward(const uint8_t *data, ssize_t length, int to)
{
	uint64_t due = now_ns() + delay_ms * 1000000ull;

	if (chance(loss)) {
		lost++;
		return;
	}
	if (chance(reorder)) {
		reordered++;
		due += 3000000;
	}
	for (unsigned int copies = chance(duplicates) ? 2 : 1; copies; copies--) {
		duplicated += copies == 2;
		forwarded++;
		hold(data, length, to, due);
	}
}

/* Sends what is due, in order of time; returns how long to wait, in ms. */
static int release(void)
{
	for (;;) {
		struct held *first = NULL;
		uint64_t now = now_ns();

		for (unsigned int i = 0; i < HELD_MAX; i++)
			if (held[i].due && (!first || held[i].due < first->due))
				first = &held[i];
		if (!first)
			return 100;
		if (first->due > now)
			return (int)((first->due - now) / 1000000) + 1;
		while (send(first->to, first->data, (size_t)first->length, 0) < 0 && errno == ENOBUFS)
			;
		first->due = 0;
	}
}

int main(int argc, char **argv)
{
	struct pollfd p[2] = {{.events = POLLIN}, {.events = POLLIN}};

	if (argc != 7) {
		fprintf(stderr, "usage: tool_wire IF1 IF2 LOSS%% DUPLICATES%% REORDER%% DELAY_MS\n");
		return 2;
	}
	p[0].fd = open_interface(argv[1]);
	p[1].fd = open_interface(argv[2]);
	loss = (unsigned int)atoi(argv[3]);
	duplicates = (unsigned int)atoi(argv[4]);
	reorder = (unsigned int)atoi(argv[5]);
	delay_ms = (unsigned int)atoi(argv[6]);
	rng = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 0) : (uint64_t)time(NULL);
	signal(SIGTERM, on_term);
	printf("# SEED=%llu\nready\n", (unsigned long long)rng);
	fflush(stdout);
	while (!stop) {
		if (poll(p, 2, release()) < 0 && errno != EINTR)
			return 1;
		for (int i = 0; i < 2; i++) {
			uint8_t data[2048];
			ssize_t n;

			while ((n = recv(p[i].fd, data, sizeof(data), MSG_DONTWAIT)) > 0)
				forward(data, n, p[!i].fd);
		}
	}
	printf("forwarded %lu lost %lu duplicated %lu reordered %lu\n", forwarded, lost, duplicated, reordered);
	return 0;
}
