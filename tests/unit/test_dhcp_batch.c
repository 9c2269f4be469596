/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An ACK leaves only after its lease is committed, and not at all when it cannot be. The store and sendmmsg() are this
 * file's, so that the order of things can be seen; there are no sockets.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <unistd.h>

#include "daemon/dhcp_private.h"
#include "tcmu-handler/image/bytes.h"

#define NET 0x0a4d0000u

static struct config config;
static struct config_subnet subnet;
static struct loop *loop;
static struct netif *netif;
static struct dhcp_server *server;

/* --- the store ---------------------------------------------------------------------------------------------------- */
struct store {
	int unused;
};
static struct store the_store;
static uint32_t pending[DHCP_DURABLE];
static bool durable[65536]; /* by the low bits of the address */
static unsigned int pendings, commits;
static int fail_commit, fail_put, fail_register;

int store_new(struct store **ret, const char *file, char error[256])
{
	(void)file, (void)error;
	*ret = &the_store;
	return 0;
}
void store_free(struct store *store) { (void)store; }
const char *store_file(const struct store *store) { (void)store; return "test.db"; }
const char *store_error(const struct store *store) { (void)store; return "made to fail"; }
int store_begin_lazy(struct store *store) { (void)store; return 0; }
void store_rollback(struct store *store) { (void)store; pendings = 0; }
int store_begin(struct store *store)
{
	(void)store;
	pendings = 0;
	return 0;
}
int store_lease_put(struct store *store, const struct store_lease *lease)
{
	(void)store;
	pending[pendings++] = lease->address;
	return fail_put;
}
int store_commit(struct store *store)
{
	(void)store;
	if (!pendings)
		return 0; /* the loop's own, for new PCs */
	usleep(20000); /* a disk */
	if (fail_commit)
		return fail_commit;
	for (unsigned int i = 0; i < pendings; i++)
		durable[pending[i] & 0xffff] = true;
	pendings = 0;
	commits++;
	return 0;
}
int store_lease_each(struct store *store, void (*fn)(void *arg, const struct store_lease *lease), void *arg)
{
	(void)store, (void)fn, (void)arg;
	return 0;
}

int boot_identify(struct boot *boot, const struct boot_identity *who, uint32_t at, struct boot_answer *ret)
{
	(void)boot, (void)who, (void)at, (void)ret;
	return 0;
}
int boot_leased(struct boot *boot, const struct boot_identity *who, uint32_t address, const char *nbp)
{
	(void)boot, (void)who, (void)address, (void)nbp;
	return fail_register;
}

/* --- what leaves -------------------------------------------------------------------------------------------------- */
static unsigned int acks, offers, too_early;

int sendmmsg(int fd, struct mmsghdr *msg, unsigned int n, int flags)
{
	(void)fd, (void)flags;
	for (unsigned int i = 0; i < n; i++) {
		const struct iovec *iov = &msg[i].msg_hdr.msg_iov[msg[i].msg_hdr.msg_iovlen - 1];
		struct dhcp_packet p;

		CU_ASSERT_EQUAL(dhcp_packet_parse(&p, iov->iov_base, iov->iov_len), 0);
		offers += p.type == DHCP_OFFER;
		acks += p.type == DHCP_ACK;
		too_early += p.type == DHCP_ACK && !durable[p.yiaddr & 0xffff];
	}
	return (int)n;
}

/* --- a client ----------------------------------------------------------------------------------------------------- */
static void begin(void)
{
	CU_ASSERT_EQUAL_FATAL(loop_new(&loop), 0);
	CU_ASSERT_EQUAL_FATAL(netif_new(&netif, loop), 0);
	memset(&config, 0, sizeof(config));
	subnet = (struct config_subnet){.name = "lan", .interface = "lo", .network = NET, .prefix = 16, .server = NET + 1,
					.range = {{NET + 100, NET + 20099}}, .ranges = 1, .lease_time = 600};
	config.subnet = &subnet;
	config.subnets = 1;
	/* Mode off while it is made: no sockets. */
	CU_ASSERT_EQUAL_FATAL(dhcp_server_new(&server, loop, netif, &config, &the_store, NULL), 0);
	config.dhcp_mode = CONFIG_DHCP_FULL;
	memset(durable, 0, sizeof(durable));
	acks = offers = too_early = commits = 0;
	fail_commit = fail_put = fail_register = 0;
}

static void end(void)
{
	dhcp_server_free(server);
	netif_free(netif);
	loop_free(loop);
}

static enum dhcp_outcome say(uint32_t who, uint8_t type, uint32_t requested)
{
	static struct dhcp_listener listener = {.fd = -1, .port = DHCP_PORT_SERVER};
	static struct dhcp_request r;
	struct dhcp_packet p = {.htype = 1, .hlen = 6, .xid = who, .flags = DHCP_FLAG_BROADCAST};
	struct dhcp_writer w;

	if (type == DHCP_RELEASE) {
		p.ciaddr = requested;
		requested = 0;
	}
	p.chaddr[0] = 2;
	be32_put(p.chaddr + 2, who);
	dhcp_writer_begin(&w, &p, DHCP_PACKET_MAX);
	w.data[0] = 1;
	dhcp_writer_u8(&w, DHCP_OPT_TYPE, type);
	if (requested) {
		dhcp_writer_u32(&w, DHCP_OPT_SERVER_ID, NET + 1);
		dhcp_writer_u32(&w, DHCP_OPT_REQUESTED_ADDRESS, requested);
	}
	memset(&r, 0, sizeof(r));
	be32_put(w.data + 12, p.ciaddr);
	CU_ASSERT_EQUAL_FATAL(dhcp_packet_parse(&r.packet, w.data, dhcp_writer_end(&w)), 0);
	dhcp_sender_read(&r.sender, &r.packet);
	listener.server = server;
	r.listener = &listener;
	r.ifindex = 1;
	return dhcp_decide(server, &r);
}

static void stop(void *arg)
{
	(void)arg;
	loop_stop(loop, 0);
}

static void run_until(unsigned int *counter, unsigned int wanted)
{
	for (int i = 0; i < 500 && *counter < wanted; i++) {
		struct loop_source *timer;

		loop_add_timer(loop, loop_now(loop) + 10000000, stop, NULL, &timer);
		loop_run(loop);
		loop_source_free(timer);
	}
}

static void test_dhcp_ack_leaves_only_after_its_commit(void)
{
	begin();
	for (uint32_t i = 0; i < 300; i++)
		CU_ASSERT_EQUAL(say(i, DHCP_REQUEST, NET + 100 + i), DHCP_OUTCOME_ANSWERED);
	CU_ASSERT_EQUAL(acks, 0);
	run_until(&acks, 300);
	CU_ASSERT_EQUAL(acks, 300);
	CU_ASSERT_EQUAL(too_early, 0);
	CU_ASSERT_EQUAL(commits, 1); /* all of them in one transaction */
	end();
}

static void test_dhcp_offers_do_not_wait_for_the_disk(void)
{
	begin();
	say(1, DHCP_REQUEST, NET + 100);
	say(2, DHCP_DISCOVER, 0);
	run_until(&offers, 1);
	CU_ASSERT_EQUAL(offers, 1);
	CU_ASSERT_EQUAL(too_early, 0);
	run_until(&acks, 1);
	CU_ASSERT_EQUAL(acks, 1);
	end();
}

static void test_dhcp_no_ack_when_the_commit_fails(void)
{
	begin();
	fail_commit = -EIO;
	say(1, DHCP_REQUEST, NET + 100);
	dhcp_batch_drain(server);
	CU_ASSERT_EQUAL(acks, 0);
	CU_ASSERT_EQUAL(lease_table_count(server->leases, LEASE_BOUND), 0);
	CU_ASSERT_EQUAL(server->stats.outcome[DHCP_OUTCOME_STORE_FAILED], 1);
	/* The disk is well again: so is the client. */
	fail_commit = 0;
	say(1, DHCP_REQUEST, NET + 100);
	dhcp_batch_drain(server);
	CU_ASSERT_EQUAL(acks, 1);
	CU_ASSERT_EQUAL(too_early, 0);
	end();
}

/* Who was told "yours until then" has it until then, whatever becomes of his renewal. */
static void test_dhcp_a_failed_renewal_leaves_the_lease(void)
{
	const struct lease *lease;
	int64_t told;

	begin();
	say(1, DHCP_REQUEST, NET + 100);
	dhcp_batch_drain(server);
	lease = lease_by_address(server->leases, NET + 100);
	CU_ASSERT_PTR_NOT_NULL_FATAL(lease);
	told = lease->expires;
	subnet.lease_time = 900; /* the renewal would end later */
	fail_commit = -ENOSPC;
	for (int i = 0; i < 2; i++) { /* two in one batch, too */
		say(1, DHCP_REQUEST, NET + 100);
		say(1, DHCP_REQUEST, NET + 100);
		dhcp_batch_drain(server);
		CU_ASSERT_EQUAL(lease->state, LEASE_BOUND);
		CU_ASSERT_EQUAL(lease->expires, told);
	}
	CU_ASSERT_EQUAL(acks, 1);
	fail_commit = 0;
	say(1, DHCP_REQUEST, NET + 100);
	dhcp_batch_drain(server);
	CU_ASSERT_EQUAL(acks, 2);
	CU_ASSERT(lease->expires > told);
	/* After a RELEASE he has been told nothing. */
	say(1, DHCP_RELEASE, NET + 100);
	fail_commit = -ENOSPC;
	say(1, DHCP_REQUEST, NET + 100);
	dhcp_batch_drain(server);
	CU_ASSERT_EQUAL(lease_table_count(server->leases, LEASE_BOUND), 0);
	end();
}

static void test_dhcp_no_ack_when_a_lease_cannot_be_put(void)
{
	begin();
	fail_put = -ENOSPC;
	say(1, DHCP_REQUEST, NET + 100);
	dhcp_batch_drain(server);
	CU_ASSERT_EQUAL(acks, 0);
	CU_ASSERT_EQUAL(lease_table_count(server->leases, LEASE_BOUND), 0);
	end();
}

static void test_dhcp_no_ack_when_the_pc_cannot_be_noted(void)
{
	begin();
	fail_register = -EIO;
	say(1, DHCP_REQUEST, NET + 100);
	dhcp_batch_drain(server);
	CU_ASSERT_EQUAL(acks, 0);
	CU_ASSERT_EQUAL(lease_table_count(server->leases, LEASE_BOUND), 0);
	end();
}

static void test_dhcp_more_than_a_batch_can_hold(void)
{
	begin();
	for (uint32_t i = 0; i < 2 * DHCP_DURABLE + 1000; i++)
		CU_ASSERT_EQUAL(say(i, DHCP_REQUEST, NET + 100 + i), DHCP_OUTCOME_ANSWERED);
	dhcp_batch_drain(server);
	CU_ASSERT_EQUAL(acks, 2 * DHCP_DURABLE + 1000);
	CU_ASSERT_EQUAL(too_early, 0);
	end();
}

static void test_dhcp_what_waits_is_committed_when_the_server_ends(void)
{
	begin();
	say(1, DHCP_REQUEST, NET + 100);
	end();
	CU_ASSERT_EQUAL(acks, 1);
	CU_ASSERT_EQUAL(too_early, 0);
}

UNIT_MAIN(UNIT(test_dhcp_ack_leaves_only_after_its_commit), UNIT(test_dhcp_offers_do_not_wait_for_the_disk),
	  UNIT(test_dhcp_no_ack_when_the_commit_fails), UNIT(test_dhcp_a_failed_renewal_leaves_the_lease),
	  UNIT(test_dhcp_no_ack_when_a_lease_cannot_be_put),
	  UNIT(test_dhcp_no_ack_when_the_pc_cannot_be_noted), UNIT(test_dhcp_more_than_a_batch_can_hold),
	  UNIT(test_dhcp_what_waits_is_committed_when_the_server_ends))
