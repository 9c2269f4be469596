/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The gate before a server with threads of its own, which learns late of what it was given, or cannot take it. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/core/gate.h"

#define MANY 400 /* more than may be leaving at a time */

struct rig {
	struct gate *gate;
	struct sockaddr_un at;
	socklen_t length;
	int taken; /* the newest, -1 none */
	unsigned int count;
};

static void on_take(void *arg, int fd, const struct sockaddr *address, socklen_t length, bool tls)
{
	struct rig *rig = arg;

	(void)address;
	(void)length;
	(void)tls;
	rig->taken = fd;
	rig->count++;
}

static void rig_init(struct rig *rig, unsigned int most)
{
	struct gate_options o = {.most = most, .keep_copy = true, .take = on_take, .arg = rig};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(rig, 0, sizeof(*rig));
	rig->taken = -1;
	rig->at.sun_family = AF_UNIX;
	rig->length = sizeof(rig->at);
	/* An abstract name of the kernel's choice. */
	CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&rig->at, offsetof(struct sockaddr_un, sun_path)), 0);
	CU_ASSERT_EQUAL_FATAL(getsockname(fd, (struct sockaddr *)&rig->at, &rig->length), 0);
	CU_ASSERT_EQUAL_FATAL(listen(fd, 16), 0);
	o.fd = fd;
	CU_ASSERT_EQUAL_FATAL(gate_new(&rig->gate, &o), 0);
}

static int client_new(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* A client sends its first byte; what the gate gave for it, -1 if it let nobody in. */
static int come(struct rig *rig, int client)
{
	rig->taken = -1;
	if (connect(client, (struct sockaddr *)&rig->at, rig->length) || write(client, "G", 1) != 1)
		return -1;
	for (int i = 0; i < 4 && rig->taken < 0; i++)
		gate_run(rig->gate);
	return rig->taken;
}

/* Each one ends the one before, of which the server asks only then. */
static void test_gate_lets_in_when_the_server_is_late(void)
{
	struct rig rig;
	int before = -1, before_client = -1;
	struct gate_stats stats;

	rig_init(&rig, 1);
	for (unsigned int i = 0; i < MANY; i++) {
		int client = client_new(), fd = come(&rig, client);

		if (fd < 0)
			break;
		if (before >= 0) {
			struct gate_socket *s = gate_find(rig.gate, before);

			CU_ASSERT_PTR_NOT_NULL(s);
			gate_closed(s);
			close(before);
			close(before_client);
		}
		before = fd;
		before_client = client;
	}
	CU_ASSERT_EQUAL(rig.count, MANY);
	gate_stats(rig.gate, &stats);
	CU_ASSERT_EQUAL(stats.open, 1);
	CU_ASSERT_EQUAL(stats.ended_crowd, MANY - 1);
	gate_free(rig.gate);
	close(before);
	close(before_client);
}

/* Of two with one descriptor the newer one is meant: the older one's was closed by a server that could not take it. */
static void test_gate_finds_the_newest_and_each_once(void)
{
	struct rig rig;
	struct gate_socket *s;
	char byte;
	int a = client_new(), b = client_new(), first, second;

	rig_init(&rig, 4);
	first = come(&rig, a);
	CU_ASSERT_FATAL(first >= 0);
	close(first);
	second = come(&rig, b);
	CU_ASSERT_EQUAL_FATAL(second, first);
	s = gate_find(rig.gate, second);
	CU_ASSERT_PTR_NOT_NULL(s);
	CU_ASSERT_PTR_NOT_EQUAL(gate_find(rig.gate, second), s);
	CU_ASSERT_PTR_NULL(gate_find(rig.gate, second));
	gate_end(s);
	CU_ASSERT_EQUAL(read(b, &byte, 1), 0); /* the newer client's */
	gate_closed(s);
	gate_free(rig.gate);
	close(second);
	close(a);
	close(b);
}

UNIT_MAIN(UNIT(test_gate_lets_in_when_the_server_is_late), UNIT(test_gate_finds_the_newest_and_each_once))
