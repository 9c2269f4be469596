/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The limits of the TFTP server (docs/network-limits.md): who makes way when there are too many transfers, how often a
 * block is sent again, how large blocks may be, how many strangers are answered. What would be sent is counted; nothing
 * leaves.
 */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "daemon/core/loop.h"
#include "daemon/core/netif.h"
#include "tcmu-handler/image/bytes.h"
#include "tests/unit/tftp_rig.h"

#define US       0x7f000001u
#define CLIENT   0x7f010000u
#define SESSIONS 4u

static struct config config;
static struct loop *loop;
static struct netif *netif;
static unsigned int sent[8]; /* by opcode */
static char root[] = "/tmp/bootwell-tftp.XXXXXX";

void boot_script(struct boot *boot, const struct boot_ask *ask, boot_script_fn done, void *arg)
{
	(void)boot, (void)ask;
	done(arg, "#!ipxe\n", 7);
}
void boot_tftp_started(struct boot *boot, uint32_t address, const char *file)
{
	(void)boot, (void)address, (void)file;
}

/* --- what would be sent ------------------------------------------------------------------------------------------- */
static void caught(int fd, const struct msghdr *msg)
{
	(void)fd;
	sent[be16_at(msg->msg_iov->iov_base) & 7]++;
}

/* --- a server and its clients ------------------------------------------------------------------------------------- */
static void begin(void)
{
	char path[64];
	FILE *f;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(strcpy(root, "/tmp/bootwell-tftp.XXXXXX")));
	snprintf(path, sizeof(path), "%s/nbp", root);
	f = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_EQUAL(ftruncate(fileno(f), 100000), 0);
	fclose(f);
	memset(&config, 0, sizeof(config));
	config.tftp = true;
	config.tftp_blksize_max = 65464;
	config.tftp_windowsize_max = 16;
	config.tftp_sessions_max = SESSIONS;
	strcpy(config.tftp_root, root);
	strcpy(config.tftp_fastpath, "off");
	CU_ASSERT_EQUAL_FATAL(loop_new(&loop), 0);
	CU_ASSERT_EQUAL_FATAL(netif_new(&netif, loop), 0);
	CU_ASSERT_EQUAL_FATAL(tftp_server_new(&tftp_rig_server, loop, netif, &config, NULL), 0);
	memset(sent, 0, sizeof(sent));
}

static void end(void)
{
	char path[64];

	tftp_server_free(tftp_rig_server);
	tftp_rig_server = NULL;
	netif_free(netif);
	loop_free(loop);
	snprintf(path, sizeof(path), "%s/nbp", root);
	unlink(path);
	rmdir(root);
}

static struct sockaddr_in client(uint32_t n)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(CLIENT + n), .sin_port = htons(2000)};
}

static struct tftp_session *session_of(uint32_t n)
{
	return tftp_session_find(tftp_rig_server, CLIENT + n, 2000);
}

/* `text`: name and options, each ended by '/' in place of NUL, which "octet" follows the name of. */
static void ask(uint32_t n, const char *text)
{
	struct sockaddr_in from = client(n);
	uint8_t data[256] = {0, TFTP_RRQ};

	for (size_t i = 0; text[i]; i++)
		data[2 + i] = text[i] == '/' ? 0 : (uint8_t)text[i];
	tftp_rig_ask(&from, US, data, 2 + strlen(text));
}

static void ack(uint32_t n, uint16_t block)
{
	struct sockaddr_in from = client(n);
	uint8_t data[4] = {0, TFTP_ACK, block >> 8, block & 255};

	CU_ASSERT_PTR_NOT_NULL_FATAL(session_of(n));
	tftp_session_hear(session_of(n), &from, data, sizeof(data));
}

static void stop(void *arg)
{
	(void)arg;
	loop_stop(loop, 0);
}

static void run(unsigned int ms)
{
	struct loop_source *timer;

	CU_ASSERT_EQUAL_FATAL(loop_add_timer(loop, loop_now(loop) + ms * 1000000ull, stop, NULL, &timer), 0);
	loop_run(loop);
	loop_source_free(timer);
}

/* --- the limits --------------------------------------------------------------------------------------------------- */
static void test_tftp_flood_spares_who_has_answered(void)
{
	begin();
	ask(0, "nbp/octet/"); /* the oldest */
	ack(0, 1);
	for (uint32_t n = 1; n <= 50; n++)
		ask(n, "nbp/octet/");
	CU_ASSERT_EQUAL(tftp_rig_server->stats.sessions, SESSIONS);
	CU_ASSERT_PTR_NOT_NULL(session_of(0));
	CU_ASSERT_PTR_NOT_NULL(session_of(50)); /* the newest has found room */
	CU_ASSERT_PTR_NULL(session_of(1));
	ack(0, 2);
	CU_ASSERT_EQUAL(session_of(0)->acked, 2);
	/* All of them have answered: whoever comes is told to come again. */
	for (uint32_t n = 48; n <= 50; n++)
		ack(n, 1);
	sent[TFTP_ERROR] = 0;
	ask(60, "nbp/octet/");
	CU_ASSERT_PTR_NULL(session_of(60));
	CU_ASSERT_EQUAL(sent[TFTP_ERROR], 1);
	end();
}

static void test_tftp_waits_longer_each_time(void)
{
	begin();
	ask(0, "nbp/octet/");
	ack(0, 1);
	CU_ASSERT_EQUAL(sent[TFTP_DATA], 2);
	run(5000); /* again after 2 s, and after 4 more */
	CU_ASSERT_EQUAL(sent[TFTP_DATA], 3);
	/* Who has asked for a time (RFC 2349) is kept to it. */
	ask(1, "nbp/octet/timeout/1/");
	ack(1, 0);
	tftp_rig_server->stats.retransmits = 0;
	run(2500);
	CU_ASSERT_EQUAL(tftp_rig_server->stats.retransmits, 2 + 1); /* and the other's second */
	end();
}

static void test_tftp_blocks_fit_the_link(void)
{
	struct netif_link *lo;

	begin();
	lo = (struct netif_link *)(uintptr_t)netif_link_by_index(netif, 1);
	CU_ASSERT_PTR_NOT_NULL_FATAL(lo);
	lo->mtu = 1500;
	ask(0, "nbp/octet/blksize/9000/");
	CU_ASSERT_EQUAL(session_of(0)->options.blksize_value, 1468);
	lo->mtu = 9000;
	ask(1, "nbp/octet/blksize/65464/");
	CU_ASSERT_EQUAL(session_of(1)->options.blksize_value, 8968);
	end();
}

static void test_tftp_strangers_are_answered_at_a_rate(void)
{
	struct sockaddr_in stranger = client(99);
	const uint8_t data[4] = {0, TFTP_ACK, 0, 1};

	begin();
	ask(0, "nbp/octet/");
	for (int i = 0; i < 20000; i++)
		tftp_session_hear(session_of(0), &stranger, data, sizeof(data));
	CU_ASSERT_EQUAL(tftp_rig_server->stats.strangers, 20000);
	CU_ASSERT(sent[TFTP_ERROR] >= TFTP_SOURCE_BURST);
	CU_ASSERT(sent[TFTP_ERROR] < TFTP_SOURCE_BURST + 5000); /* 10 s of the rate: this takes no second */
	CU_ASSERT_EQUAL(session_of(0)->acked, 0);
	end();
}

static void test_tftp_script_that_is_told_is_not_begun_again(void)
{
	begin();
	ask(0, "boot.ipxe/octet/");
	ack(0, 1);
	CU_ASSERT_PTR_NULL(session_of(0));
	ask(0, "boot.ipxe/octet/"); /* had been waiting in the socket */
	CU_ASSERT_PTR_NULL(session_of(0));
	CU_ASSERT_EQUAL(tftp_rig_server->stats.repeated, 1);
	run(TFTP_TOLD_NS / 1000000 + 100);
	ask(0, "boot.ipxe/octet/"); /* the next boot */
	CU_ASSERT_PTR_NOT_NULL(session_of(0));
	end();
}

UNIT_MAIN(UNIT(test_tftp_flood_spares_who_has_answered), UNIT(test_tftp_waits_longer_each_time),
	  UNIT(test_tftp_blocks_fit_the_link), UNIT(test_tftp_strangers_are_answered_at_a_rate),
	  UNIT(test_tftp_script_that_is_told_is_not_begun_again))
