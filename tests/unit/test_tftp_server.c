/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The server on loopback, in a thread of its own, against a client that does what real ones do, and worse. Time-outs
 * are waited for, never measured. boot_script() and boot_tftp_started() are this file's.
 */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/tftp/server.h"
#include "tcmu-handler/image/bytes.h"

#define PORT 20069

static struct config config;
static char folder[] = "/tmp/bootwell-tftp-XXXXXX";
static struct loop *loop;
static struct tftp_server *server;
static pthread_t thread;
static pthread_barrier_t ready;
static boot_script_fn script_done;
static void *script_arg;
static _Atomic int scripts, started;

void boot_script(struct boot *boot, const struct boot_ask *ask, boot_script_fn done, void *arg)
{
	(void)boot, (void)ask;
	script_done = done;
	script_arg = arg;
	scripts++;
}

void boot_tftp_started(struct boot *boot, uint32_t address, const char *file)
{
	(void)boot, (void)address, (void)file;
	started++;
}

static void *serve(void *arg)
{
	struct netif *netif;

	(void)arg;
	if (loop_new(&loop) < 0 || netif_new(&netif, loop) < 0 ||
	    tftp_server_new(&server, loop, netif, &config, NULL) < 0)
		abort();
	pthread_barrier_wait(&ready);
	loop_run(loop);
	tftp_server_free(server);
	netif_free(netif);
	loop_free(loop);
	return NULL;
}

static void stop(void *arg)
{
	(void)arg;
	loop_stop(loop, 0);
}

/* The counters belong to the loop's thread: they are copied there. */
static struct tftp_stats copy;
static pthread_barrier_t copied;

static void copy_stats(void *arg)
{
	(void)arg;
	copy = *tftp_server_stats(server);
	pthread_barrier_wait(&copied);
}

static struct tftp_stats stats(void)
{
	loop_wake(loop, copy_stats, NULL);
	pthread_barrier_wait(&copied);
	return copy;
}

static void wait_for_no_session(void)
{
	for (int i = 0; i < 1000 && stats().sessions; i++)
		usleep(10000);
}

static uint8_t content[700000];

static void make_file(const char *name, size_t size)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || write(fd, content, size) != (ssize_t)size)
		abort();
	fchmod(fd, 0644);
	close(fd);
}

/* --- a client ----------------------------------------------------------------------------------------------------- */
struct client {
	int fd;
	struct sockaddr_in peer; /* of the transfer, once something came */
	uint8_t data[2000];
	ssize_t length;
};

static void client_open(struct client *c, int seconds)
{
	struct timeval limit = {.tv_sec = seconds};

	memset(c, 0, sizeof(*c));
	c->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

static void ask(const struct client *c, const void *request, size_t length)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	if (sendto(c->fd, request, length, 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		abort();
}
#define ASK(c, text) ask(c, text, sizeof(text) - 1)

static bool hear(struct client *c)
{
	socklen_t length = sizeof(c->peer);

	c->length = recvfrom(c->fd, c->data, sizeof(c->data), 0, (struct sockaddr *)&c->peer, &length);
	return c->length >= 4 || (c->length >= 2 && c->data[1] == 6);
}

/* Nothing more within a tenth of a second: for what must not be sent. */
static bool silent(struct client *c)
{
	struct timeval limit = {.tv_usec = 100000}, back = {.tv_sec = 10};
	uint8_t drop[2000];
	bool quiet;

	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	quiet = recv(c->fd, drop, sizeof(drop), 0) < 0;
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &back, sizeof(back));
	return quiet;
}

static void say(const struct client *c, uint16_t opcode, uint16_t value)
{
	uint8_t p[5] = {0};

	be16_put(p, opcode);
	be16_put(p + 2, value);
	sendto(c->fd, p, opcode == 5 ? 5 : 4, 0, (const struct sockaddr *)&c->peer, sizeof(c->peer));
}

static bool is(const struct client *c, uint16_t opcode, uint16_t value)
{
	return c->length >= 4 && be16_at(c->data) == opcode && be16_at(c->data + 2) == value;
}

static bool is_oack(const struct client *c, const char *text, size_t length)
{
	return c->length == (ssize_t)length + 2 && be16_at(c->data) == 6 && !memcmp(c->data + 2, text, length);
}
#define IS_OACK(c, text) is_oack(c, text, sizeof(text) - 1)

/* --- tests -------------------------------------------------------------------------------------------------------- */
static void test_tftp_plain_transfer_ends_with_a_short_block(void)
{
	struct client c;

	client_open(&c, 10);
	ASK(&c, "\0\1f1024\0octet\0");
	for (uint16_t block = 1; block <= 3; block++) {
		CU_ASSERT_FATAL(hear(&c) && is(&c, 3, block));
		CU_ASSERT_EQUAL(c.length, block == 3 ? 4 : 516);
		CU_ASSERT(!memcmp(c.data + 4, content + 512 * (block - 1), (size_t)c.length - 4));
		say(&c, 4, block);
	}
	wait_for_no_session();
	CU_ASSERT_EQUAL(stats().completed, 1);
	close(c.fd);
}

static void test_tftp_oack_then_data(void)
{
	struct client c;

	client_open(&c, 10);
	ASK(&c, "\0\1f1469\0octet\0blksize\0"
		"1468\0tsize\0"
		"0\0");
	CU_ASSERT_FATAL(hear(&c) && IS_OACK(&c, "blksize\0"
						"1468\0tsize\0"
						"1469\0"));
	CU_ASSERT_NOT_EQUAL(ntohs(c.peer.sin_port), PORT); /* a port of its own */
	say(&c, 4, 0);
	CU_ASSERT_FATAL(hear(&c) && is(&c, 3, 1));
	CU_ASSERT_EQUAL(c.length, 1472);
	say(&c, 4, 1);
	CU_ASSERT_FATAL(hear(&c) && is(&c, 3, 2));
	CU_ASSERT_EQUAL(c.length, 5);
	say(&c, 4, 2);
	close(c.fd);
	wait_for_no_session();
}

/* The Sorcerer's Apprentice: each of two equal ACKs answered would double all that follows. */
static void test_tftp_duplicate_ack_is_not_answered(void)
{
	struct client c;

	client_open(&c, 10);
	ASK(&c, "\0\1big\0octet\0");
	CU_ASSERT_FATAL(hear(&c) && is(&c, 3, 1));
	say(&c, 4, 1);
	say(&c, 4, 1);
	say(&c, 4, 0);
	CU_ASSERT(hear(&c) && is(&c, 3, 2));
	CU_ASSERT(silent(&c));
	say(&c, 4, 9); /* of what was never sent */
	CU_ASSERT(silent(&c));
	say(&c, 5, 0);
	close(c.fd);
	wait_for_no_session();
}

static void test_tftp_silence_is_answered_by_the_same_block(void)
{
	struct client c;
	uint64_t before = stats().retransmits;

	client_open(&c, 10);
	ASK(&c, "\0\1big\0octet\0timeout\0"
		"1\0");
	CU_ASSERT_FATAL(hear(&c) && IS_OACK(&c, "timeout\0"
						"1\0"));
	CU_ASSERT(hear(&c) && IS_OACK(&c, "timeout\0"
					  "1\0"));
	say(&c, 4, 0);
	CU_ASSERT(hear(&c) && is(&c, 3, 1));
	CU_ASSERT(hear(&c) && is(&c, 3, 1));
	say(&c, 4, 1);
	CU_ASSERT(hear(&c) && is(&c, 3, 2));
	CU_ASSERT(stats().retransmits > before);
	say(&c, 5, 0);
	close(c.fd);
	wait_for_no_session();
}

static void test_tftp_unanswered_request_is_no_amplifier(void)
{
	struct client c;
	int heard = 0;
	uint64_t before = stats().timed_out;

	client_open(&c, 10);
	ASK(&c, "\0\1big\0octet\0timeout\0"
		"1\0");
	while (heard < 20 && hear(&c) && stats().timed_out == before)
		if (++heard > 4)
			break;
	wait_for_no_session();
	CU_ASSERT(heard <= 4);
	CU_ASSERT_EQUAL(stats().timed_out, before + 1);
	close(c.fd);
}

static void test_tftp_edk2_asks_for_the_size_and_hangs_up(void)
{
	struct client c, d;
	struct tftp_stats before = stats();

	client_open(&c, 10);
	client_open(&d, 10);
	ASK(&c, "\0\1big\0octet\0tsize\0"
		"0\0blksize\0"
		"1468\0");
	CU_ASSERT_FATAL(hear(&c) && be16_at(c.data) == 6);
	say(&c, 5, 8);
	wait_for_no_session();
	CU_ASSERT_EQUAL(stats().probed, before.probed + 1);
	CU_ASSERT_EQUAL(stats().aborted, before.aborted);
	ASK(&d, "\0\1f1469\0octet\0blksize\0"
		"1468\0windowsize\0"
		"4\0");
	CU_ASSERT_FATAL(hear(&d) && IS_OACK(&d, "blksize\0"
						"1468\0windowsize\0"
						"4\0"));
	say(&d, 4, 0);
	CU_ASSERT(hear(&d) && is(&d, 3, 1));
	CU_ASSERT(hear(&d) && is(&d, 3, 2));
	say(&d, 4, 2);
	close(c.fd);
	close(d.fd);
	wait_for_no_session();
}

/* EDK2 acknowledges every unexpected block with the last good one: one window comes again, not one for each. */
static void test_tftp_window_rolls_back_once_for_each_value(void)
{
	struct client c;

	client_open(&c, 10);
	ASK(&c, "\0\1big\0octet\0windowsize\0"
		"4\0");
	CU_ASSERT_FATAL(hear(&c) && IS_OACK(&c, "windowsize\0"
						"4\0"));
	say(&c, 4, 0);
	for (uint16_t block = 1; block <= 4; block++)
		CU_ASSERT(hear(&c) && is(&c, 3, block));
	/* Block 2 "was lost": 3 and 4 are unexpected. */
	say(&c, 4, 1);
	say(&c, 4, 1);
	say(&c, 4, 1);
	for (uint16_t block = 2; block <= 5; block++)
		CU_ASSERT(hear(&c) && is(&c, 3, block));
	CU_ASSERT(silent(&c));
	say(&c, 4, 5);
	for (uint16_t block = 6; block <= 9; block++)
		CU_ASSERT(hear(&c) && is(&c, 3, block));
	/* The first one of a window lost: the value before it, again. */
	say(&c, 4, 5);
	say(&c, 4, 5);
	for (uint16_t block = 6; block <= 9; block++)
		CU_ASSERT(hear(&c) && is(&c, 3, block));
	CU_ASSERT(silent(&c));
	say(&c, 5, 0);
	close(c.fd);
	wait_for_no_session();
}

static void test_tftp_stranger_gets_error_5_and_disturbs_nobody(void)
{
	struct client c, d;

	client_open(&c, 10);
	client_open(&d, 10);
	ASK(&c, "\0\1big\0octet\0");
	CU_ASSERT_FATAL(hear(&c) && is(&c, 3, 1));
	d.peer = c.peer;
	say(&d, 4, 1);
	CU_ASSERT(hear(&d) && is(&d, 5, 5));
	say(&c, 4, 1);
	CU_ASSERT(hear(&c) && is(&c, 3, 2));
	say(&c, 5, 0);
	close(c.fd);
	close(d.fd);
	wait_for_no_session();
}

static void test_tftp_same_request_again(void)
{
	struct client c;
	struct sockaddr_in first;

	client_open(&c, 10);
	ASK(&c, "\0\1big\0octet\0tsize\0"
		"0\0");
	CU_ASSERT_FATAL(hear(&c));
	first = c.peer;
	/* It did not hear us: the same transfer answers again. */
	ASK(&c, "\0\1big\0octet\0tsize\0"
		"0\0");
	CU_ASSERT(hear(&c) && be16_at(c.data) == 6);
	CU_ASSERT_EQUAL(c.peer.sin_port, first.sin_port);
	CU_ASSERT_EQUAL(stats().sessions, 1);
	/* Another one from the same port: it was switched off and on. */
	ASK(&c, "\0\1f1024\0octet\0");
	CU_ASSERT(hear(&c) && is(&c, 3, 1));
	CU_ASSERT_NOT_EQUAL(c.peer.sin_port, first.sin_port);
	CU_ASSERT_EQUAL(stats().sessions, 1);
	say(&c, 5, 0);
	close(c.fd);
	wait_for_no_session();
}

static void test_tftp_errors(void)
{
	struct client c;

	client_open(&c, 10);
	ASK(&c, "\0\1nosuch\0octet\0");
	CU_ASSERT(hear(&c) && is(&c, 5, 1));
	ASK(&c, "\0\1../etc/passwd\0octet\0");
	CU_ASSERT(hear(&c) && is(&c, 5, 2));
	ASK(&c, "\0\1.\0octet\0");
	CU_ASSERT(hear(&c) && is(&c, 5, 1));
	ASK(&c, "\0\2new\0octet\0");
	CU_ASSERT(hear(&c) && is(&c, 5, 2));
	ASK(&c, "\0\1big\0mail\0");
	CU_ASSERT(hear(&c) && is(&c, 5, 4));
	ASK(&c, "\0\1big\0");
	ASK(&c, "garbage");
	CU_ASSERT(silent(&c));
	CU_ASSERT_EQUAL(stats().sessions, 0);
	close(c.fd);
}

/* Fetches with windows of 64 blocks of 8 bytes; drops, doubles and disorders some of what comes, by the seed. */
static size_t fetch_badly(uint8_t *to, size_t room, const char *request, size_t length, unsigned int blksize,
			  unsigned int window, int loss)
{
	struct client c;
	uint64_t expected = 1;
	size_t got = 0;
	unsigned int in_window = 0;

	client_open(&c, 20);
	ask(&c, request, length);
	for (;;) {
		uint16_t block;

		if (!hear(&c))
			return 0;
		if (be16_at(c.data) == 6) {
			say(&c, 4, 0);
			continue;
		}
		if (be16_at(c.data) != 3 || (loss && rand() % 100 < loss))
			continue;
		block = be16_at(c.data + 2);
		if (block != (uint16_t)expected) {
			say(&c, 4, (uint16_t)(expected - 1));
			in_window = 0;
			continue;
		}
		if (got + (size_t)c.length - 4 > room)
			return 0;
		memcpy(to + got, c.data + 4, (size_t)c.length - 4);
		got += (size_t)c.length - 4;
		expected++;
		if (c.length - 4 < (ssize_t)blksize || ++in_window == window) {
			say(&c, 4, block);
			if (loss && rand() % 100 < loss)
				say(&c, 4, block);
			in_window = 0;
		}
		if (c.length - 4 < (ssize_t)blksize)
			break;
	}
	close(c.fd);
	return got;
}

static void test_tftp_block_numbers_wrap_past_65535(void)
{
	static const char request[] = "\0\1big\0octet\0blksize\0"
				      "8\0windowsize\0"
				      "64\0";
	static uint8_t got[sizeof(content)];
	size_t n = fetch_badly(got, sizeof(got), request, sizeof(request) - 1, 8, 64, 0);

	CU_ASSERT_EQUAL(n, sizeof(content)); /* 87,501 blocks */
	CU_ASSERT(!memcmp(got, content, sizeof(content)));
	wait_for_no_session();
}

static void test_tftp_content_is_right_over_a_bad_line(void)
{
	static const char request[] = "\0\1big\0octet\0blksize\0"
				      "1024\0timeout\0"
				      "1\0windowsize\0"
				      "8\0";
	static uint8_t got[sizeof(content)];
	size_t n;

	srand((unsigned int)unit_seed());
	n = fetch_badly(got, sizeof(got), request, sizeof(request) - 1, 1024, 8, 2);
	CU_ASSERT_EQUAL(n, sizeof(content));
	CU_ASSERT(!memcmp(got, content, sizeof(content)));
	wait_for_no_session();
}

static void test_tftp_netascii(void)
{
	struct client c;
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/text", folder);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	CU_ASSERT_EQUAL(write(fd, "a\nb", 3), 3);
	close(fd);
	client_open(&c, 10);
	ASK(&c, "\0\1text\0netascii\0tsize\0"
		"0\0");
	CU_ASSERT_FATAL(hear(&c) && IS_OACK(&c, "tsize\0"
						"4\0"));
	say(&c, 4, 0);
	CU_ASSERT_FATAL(hear(&c) && is(&c, 3, 1));
	CU_ASSERT_EQUAL(c.length, 8);
	CU_ASSERT(!memcmp(c.data + 4, "a\r\nb", 4));
	say(&c, 4, 1);
	close(c.fd);
	wait_for_no_session();
}

static void answer_script(void *arg)
{
	(void)arg;
	script_done(script_arg, "#!ipxe\nshell\n", 13);
}

static void test_tftp_script_comes_when_it_is_ready(void)
{
	struct client c;

	scripts = 0;
	client_open(&c, 10);
	ASK(&c, "\0\1boot.ipxe\0octet\0");
	CU_ASSERT(silent(&c));
	ASK(&c, "\0\1boot.ipxe\0octet\0"); /* impatient */
	ASK(&c, "\0\1boot.ipxe\0octet\0");
	CU_ASSERT(silent(&c));
	CU_ASSERT_EQUAL(scripts, 1);
	loop_wake(loop, answer_script, NULL);
	CU_ASSERT_FATAL(hear(&c) && is(&c, 3, 1));
	CU_ASSERT(!memcmp(c.data + 4, "#!ipxe", 6));
	say(&c, 4, 1);
	wait_for_no_session();
	CU_ASSERT_EQUAL(stats().sessions, 0);
	close(c.fd);
}

static void test_tftp_script_that_comes_after_the_client_went(void)
{
	struct client c;

	scripts = 0;
	client_open(&c, 10);
	ASK(&c, "\0\1boot.ipxe\0octet\0");
	while (!scripts)
		usleep(1000);
	ASK(&c, "\0\1f1024\0octet\0"); /* the same port, something else */
	CU_ASSERT(hear(&c) && is(&c, 3, 1));
	loop_wake(loop, answer_script, NULL);
	CU_ASSERT(silent(&c));
	say(&c, 5, 0);
	close(c.fd);
	wait_for_no_session();
}

static void test_tftp_file_cut_short_is_an_error_not_a_crash(void)
{
	struct client c;
	char path[256];

	make_file("cut", 200000);
	client_open(&c, 10);
	ASK(&c, "\0\1cut\0octet\0blksize\0"
		"1024\0");
	CU_ASSERT_FATAL(hear(&c) && be16_at(c.data) == 6);
	snprintf(path, sizeof(path), "%s/cut", folder);
	CU_ASSERT_EQUAL(truncate(path, 0), 0);
	say(&c, 4, 0);
	CU_ASSERT(hear(&c) && is(&c, 5, 0));
	wait_for_no_session();
	CU_ASSERT_EQUAL(stats().sessions, 0);
	close(c.fd);
}

/* Requests from ever new ports, none of them ever answered: the table stays within its bounds, and a real one gets in.
 */
static void test_tftp_flood_of_requests_is_bounded(void)
{
	struct client c, d;

	for (int i = 0; i < 200; i++) {
		client_open(&c, 1);
		ASK(&c, "\0\1big\0octet\0timeout\0"
			"1\0");
		close(c.fd);
	}
	client_open(&d, 10);
	ASK(&d, "\0\1f1024\0octet\0");
	CU_ASSERT_FATAL(hear(&d) && is(&d, 3, 1));
	say(&d, 4, 1);
	CU_ASSERT(hear(&d) && is(&d, 3, 2));
	CU_ASSERT(stats().sessions_most <= config.tftp_sessions_max);
	CU_ASSERT(stats().limited > 0);
	say(&d, 5, 0);
	close(d.fd);
	wait_for_no_session();
}

static void test_tftp_random_packets_change_nothing(void)
{
	struct client c, d;
	uint8_t junk[600];

	srand((unsigned int)unit_seed());
	client_open(&c, 10);
	client_open(&d, 10);
	ASK(&d, "\0\1big\0octet\0");
	CU_ASSERT_FATAL(hear(&d) && is(&d, 3, 1));
	c.peer = d.peer;
	for (int i = 0; i < 500; i++) {
		size_t n = (size_t)rand() % sizeof(junk);

		for (size_t k = 0; k < n; k++)
			junk[k] = (uint8_t)rand();
		if (n > 2)
			junk[0] = 0, junk[1] = (uint8_t)(rand() % 8);
		ask(&c, junk, n);
		sendto(c.fd, junk, n, 0, (struct sockaddr *)&c.peer, sizeof(c.peer));
	}
	/* The junk may have pushed the ACK out of the socket's buffer, or have taken so long that the
	 * block is on its way again: what a client does then is to answer it again. */
	for (int i = 0; i < 20; i++) {
		say(&d, 4, 1);
		if (!hear(&d) || !is(&d, 3, 1))
			break;
	}
	CU_ASSERT(is(&d, 3, 2));
	CU_ASSERT(stats().sessions <= 2);
	say(&d, 5, 0);
	close(c.fd);
	close(d.fd);
	wait_for_no_session();
}

static const struct unit_case cases[] = {
	UNIT(test_tftp_plain_transfer_ends_with_a_short_block),
	UNIT(test_tftp_oack_then_data),
	UNIT(test_tftp_duplicate_ack_is_not_answered),
	UNIT(test_tftp_silence_is_answered_by_the_same_block),
	UNIT(test_tftp_unanswered_request_is_no_amplifier),
	UNIT(test_tftp_edk2_asks_for_the_size_and_hangs_up),
	UNIT(test_tftp_window_rolls_back_once_for_each_value),
	UNIT(test_tftp_stranger_gets_error_5_and_disturbs_nobody),
	UNIT(test_tftp_same_request_again),
	UNIT(test_tftp_errors),
	UNIT(test_tftp_block_numbers_wrap_past_65535),
	UNIT(test_tftp_content_is_right_over_a_bad_line),
	UNIT(test_tftp_netascii),
	UNIT(test_tftp_script_comes_when_it_is_ready),
	UNIT(test_tftp_script_that_comes_after_the_client_went),
	UNIT(test_tftp_file_cut_short_is_an_error_not_a_crash),
	UNIT(test_tftp_flood_of_requests_is_bounded),
	UNIT(test_tftp_random_packets_change_nothing),
};

int main(int argc, char **argv)
{
	char command[64];
	int r;

	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (uint8_t)(i * 2654435761u >> 13);
	if (!mkdtemp(folder))
		abort();
	chmod(folder, 0755);
	make_file("f1024", 1024);
	make_file("f1469", 1469);
	make_file("big", sizeof(content));
	config.tftp = true;
	config.tftp_port = PORT;
	snprintf(config.tftp_root, sizeof(config.tftp_root), "%s", folder);
	config.tftp_blksize_max = 1468;
	config.tftp_windowsize_max = 64;
	strcpy(config.tftp_fastpath, "off");
	config.tftp_sessions_max = 50;
	pthread_barrier_init(&ready, NULL, 2);
	pthread_barrier_init(&copied, NULL, 2);
	if (pthread_create(&thread, NULL, serve, NULL))
		abort();
	pthread_barrier_wait(&ready);
	r = unit_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
	loop_wake(loop, stop, NULL);
	pthread_join(thread, NULL);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command) ? 1 : r;
}
