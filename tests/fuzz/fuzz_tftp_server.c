/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A sequence of datagrams, each with three bytes before it (whose it is, how long), through the TFTP server's
 * decisions: requests at the well-known port, anything at the sockets of transfers, from their clients and from
 * strangers. Nothing is sent: what would be is looked at. Each block is one of the window that the client has asked
 * for, with the file's bytes in it, and goes to the client; no transfer is ahead of its window; there are never more
 * transfers than configured.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/core/loop.h"
#include "tcmu-handler/image/bytes.h"
#include "tests/unit/tftp_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define US       0x7f000001u
#define CLIENT   0x7f010200u /* .0 to .7 */
#define SESSIONS 6u

static struct config config;
static struct loop *loop;
static boot_script_fn script_done;
static void *script_arg;

static void must(bool what)
{
	if (!what)
		abort();
}

void boot_script(struct boot *boot, const struct boot_ask *ask, boot_script_fn done, void *arg)
{
	(void)boot, (void)ask;
	if (script_done) { /* each comes back */
		done(arg, "#!ipxe\n", 7);
		return;
	}
	script_done = done;
	script_arg = arg;
}

void boot_tftp_started(struct boot *boot, uint32_t address, const char *file)
{
	(void)boot, (void)address;
	must(*file && *file != '/');
}

/* --- what would be sent ------------------------------------------------------------------------------------------- */
static bool is_client(const struct sockaddr_in *to)
{
	return (ntohl(to->sin_addr.s_addr) & ~7u) == CLIENT;
}

static const struct tftp_session *session_of(int fd)
{
	const struct tftp_session *s = tftp_rig_server->first;

	while (s && s->fd != fd)
		s = s->next;
	return s;
}

static void check_block(const struct tftp_session *s, const struct iovec *header, const struct iovec *content)
{
	uint64_t block = s->acked + 1;
	const uint8_t *p = header->iov_base;

	must(header->iov_len == TFTP_HEADER && be16_at(p) == TFTP_DATA);
	while ((uint16_t)block != be16_at(p + 2))
		must(++block <= s->acked + s->options.windowsize_value);
	must(block >= 1 && block <= s->final && content->iov_len == tftp_block_length(s, block));
	must(!content->iov_len || content->iov_base == s->content.data + (block - 1) * s->options.blksize_value);
}

static void caught(int fd, const struct msghdr *msg)
{
	const struct tftp_session *s = session_of(fd);
	const struct sockaddr_in *to = msg->msg_name;

	must(to && is_client(to));
	if (msg->msg_iovlen == 1) {
		const uint8_t *p = msg->msg_iov->iov_base;

		must(be16_at(p) == TFTP_ERROR || (s && be16_at(p) == TFTP_OACK));
		return;
	}
	must(s && s->client == ntohl(to->sin_addr.s_addr) && s->client_port == ntohs(to->sin_port));
	must(msg->msg_iovlen % 2 == 0 && msg->msg_iovlen / 2 <= s->options.windowsize_value);
	for (size_t i = 0; i < msg->msg_iovlen; i += 2)
		check_block(s, &msg->msg_iov[i], &msg->msg_iov[i + 1]);
}

/* --- what is heard ------------------------------------------------------------------------------------------------ */
static const size_t sizes[] = {0, 511, 512, 70000, 3000000};
static char root[] = "/tmp/bootwell-fuzz.XXXXXX";

static void remove_root(void)
{
	char path[64];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		snprintf(path, sizeof(path), "%s/%zu", root, i);
		unlink(path);
	}
	rmdir(root);
}

static void start(void)
{
	struct netif *netif = NULL;
	char path[64];

	must(mkdtemp(root) != NULL);
	atexit(remove_root);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		FILE *f;

		snprintf(path, sizeof(path), "%s/%zu", root, i);
		f = fopen(path, "w");
		must(f != NULL && ftruncate(fileno(f), (off_t)sizes[i]) == 0);
		fclose(f);
	}
	config.tftp = true;
	config.tftp_blksize_max = 1468;
	config.tftp_windowsize_max = 16;
	config.tftp_sessions_max = SESSIONS;
	strcpy(config.tftp_root, root);
	strcpy(config.tftp_fastpath, "off");
	log_set_level(LOG_LEVEL_ERROR - 1);
	must(loop_new(&loop) == 0 && netif_new(&netif, loop) == 0);
	must(tftp_server_new(&tftp_rig_server, loop, netif, &config, NULL) == 0);
}

/* how: bits 0-2 the client, 3-4 its port, 5: to its transfer, 6: by a stranger, 7: a script that is waited for is there
 */
static void one(uint8_t how, const uint8_t *data, size_t size)
{
	struct sockaddr_in from = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(CLIENT + (how & 7)),
				   .sin_port = htons(2000 + (how >> 3 & 3))};
	struct tftp_session *s = tftp_session_find(tftp_rig_server, CLIENT + (how & 7), ntohs(from.sin_port));

	if (how & 128 && script_done) {
		boot_script_fn done = script_done;

		script_done = NULL;
		done(script_arg, (const char *)data, (uint32_t)size);
	} else if (!(how & 32)) {
		tftp_rig_ask(&from, US, data, size);
	} else if (s && s->fd >= 0) {
		if (how & 64)
			from.sin_port = htons(3000);
		tftp_session_hear(s, &from, data, size > 576 ? 576 : size);
	}
}

static void check_sessions(void)
{
	uint32_t n = 0;

	for (const struct tftp_session *s = tftp_rig_server->first; s; s = s->next, n++) {
		must(s->acked <= s->sent || s->state != TFTP_SENDING);
		must(s->state != TFTP_SENDING ||
		     (s->sent <= s->final && s->sent - s->acked <= s->options.windowsize_value));
	}
	must(n == tftp_rig_server->stats.sessions && n <= SESSIONS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!tftp_rig_server)
		start();
	ratelimit_free(tftp_rig_server->limit);
	must(ratelimit_new(&tftp_rig_server->limit, 1000000, 1000000) == 0);
	while (size > 3) {
		size_t length = (size_t)data[1] << 8 | data[2];

		length = length > size - 3 ? size - 3 : length;
		one(data[0], data + 3, length);
		check_sessions();
		data += 3 + length;
		size -= 3 + length;
	}
	/* The next input begins anew. */
	if (script_done)
		script_done(script_arg, "", 0);
	script_done = NULL;
	while (tftp_rig_server->first)
		tftp_session_free(tftp_rig_server->first);
	memset(tftp_rig_server->told, 0, sizeof(tftp_rig_server->told));
	return 0;
}
