/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An ACK leaves only after its lease is committed, and not at all when it cannot be. The store and sendmmsg() are this
 * file's, so that the order of things can be seen; there are no sockets.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <unistd.h>

#include "daemon/dhcp/private.h"
#include "tcmu-handler/image/bytes.h"

#define NET 0x0a4d0000u

static struct config config;
static struct config_subnet subnet;
static struct loop *loop;
static struct netif *netif;
static struct dhcp_server *server;

/* --- the store ---------------------------------------------------------------------------------------------------- */
struct state {
	int unused;
};
static struct state the_store;
static uint32_t pending[DHCP_DURABLE];
static bool durable[65536]; /* by the low bits of the address */
static unsigned int pendings, commits;
static int fail_commit, fail_put, fail_register;

const char *state_file(const struct state *state)
{
	(void)state;
	return "test.db";
}
const char *state_error(const struct state *state)
{
	(void)state;
	return "made to fail";
}
int state_begin_lazy(struct state *state)
{
	(void)state;
	return 0;
}
void state_rollback(struct state *state)
{
	(void)state;
	pendings = 0;
}
int state_lease_put(struct state *state, const struct state_lease *lease)
{
	(void)state;
	pending[pendings++] = lease->address;
	return fail_put;
}
int state_commit(struct state *state)
{
	(void)state; /* the loop's own, for new PCs */
	return 0;
}

/* A disk that takes 20 ms, on a timer of the loop's; with `hangs` it takes for ever. */
static struct job {
	state_job_fn work;
	void *data;
	state_done_fn done;
	void *arg;
} job;
static struct loop_source *disk;
static bool hangs;

static void end_job(int result)
{
	struct job ends = job;

	job.work = NULL;
	free(ends.data);
	ends.done(ends.arg, result);
}

static void run_job(void *arg)
{
	int r;

	(void)arg;
	if (!job.work || hangs)
		return;
	pendings = 0;
	r = job.work(&the_store, job.data);
	if (!r)
		r = fail_commit;
	for (unsigned int i = 0; !r && i < pendings; i++)
		durable[pending[i] & 0xffff] = true;
	commits += !r;
	end_job(r);
}

void state_job(struct state *state, state_job_fn work, void *data, state_done_fn done, void *arg)
{
	(void)state;
	CU_ASSERT_PTR_NULL_FATAL(job.work); /* one at a time */
	job = (struct job){work, data, done, arg};
	if (disk)
		loop_timer_set(disk, loop_now(loop) + 20000000);
	else
		run_job(NULL); /* the end: what is left over */
}

bool state_flush(struct state *state, uint64_t ns)
{
	(void)state, (void)ns;
	run_job(NULL);
	return !hangs;
}
int state_lease_each(struct state *state, void (*fn)(void *arg, const struct state_lease *lease), void *arg)
{
	(void)state, (void)fn, (void)arg;
	return 0;
}

void boot_who(struct boot *b, struct boot_identity *who)
{
	(void)b;
	identity_of_mac(who->mac, who->key);
}
void boot_identify(struct boot *boot, const struct boot_identity *who, uint32_t at, struct boot_answer *ret)
{
	(void)boot, (void)who, (void)at;
	ret->known = ret->booted = true;
}
bool boot_shared_name_at(const struct boot *b, size_t n, struct boot_shared_name *ret)
{
	(void)b;
	(void)n;
	(void)ret;
	return false;
}

void boot_shared_name_heard(struct boot *b, const struct boot_shared_name *told, bool primary)
{
	(void)b;
	(void)told;
	(void)primary;
}

int boot_leased(struct boot *boot, const struct boot_identity *who, uint32_t address, const char *nbp)
{
	(void)boot, (void)who, (void)address, (void)nbp;
	return fail_register;
}

static unsigned int not_noted;
void boot_rolled_back(struct boot *boot, const struct boot_identity *who)
{
	(void)boot, (void)who;
}

void boot_not_noted(struct boot *boot, const struct boot_identity *who)
{
	(void)boot, (void)who;
	not_noted++;
}

/* --- what leaves -------------------------------------------------------------------------------------------------- */
static unsigned int acks, offers, too_early;
static uint32_t acked_time; /* s of the last ACK */

int sendmmsg(int fd, struct mmsghdr *msg, unsigned int n, int flags)
{
	(void)fd, (void)flags;
	for (unsigned int i = 0; i < n; i++) {
		const struct iovec *iov = &msg[i].msg_hdr.msg_iov[msg[i].msg_hdr.msg_iovlen - 1];
		struct dhcp_packet p;

		CU_ASSERT_EQUAL(dhcp_packet_parse(&p, iov->iov_base, iov->iov_len), 0);
		offers += p.type == DHCP_OFFER;
		acks += p.type == DHCP_ACK;
		if (p.type == DHCP_ACK)
			CU_ASSERT(dhcp_option_u32(&p, DHCP_OPT_LEASE_TIME, &acked_time));
		too_early += p.type == DHCP_ACK && !durable[p.yiaddr & 0xffff];
	}
	return (int)n;
}

static bool as_firmware; /* what say() says is a PC's that boots */

/* --- a client ----------------------------------------------------------------------------------------------------- */
static void begin(void)
{
	CU_ASSERT_EQUAL_FATAL(loop_new(&loop), 0);
	CU_ASSERT_EQUAL_FATAL(netif_new(&netif, loop), 0);
	CU_ASSERT_EQUAL_FATAL(loop_add_timer(loop, UINT64_MAX, run_job, NULL, &disk), 0);
	hangs = false;
	memset(&config, 0, sizeof(config));
	subnet = (struct config_subnet){.name = "lan",
					.interface = "lo",
					.network = NET,
					.prefix = 16,
					.server = NET + 1,
					.range = {{NET + 100, NET + 20099}},
					.ranges = 1,
					.lease_time = 600};
	config.subnet = &subnet;
	config.subnets = 1;
	/* Mode off while it is made: no sockets. */
	CU_ASSERT_EQUAL_FATAL(dhcp_server_new(&server, loop, netif, &config, &the_store, NULL), 0);
	config.dhcp_mode = CONFIG_DHCP_FULL;
	memset(durable, 0, sizeof(durable));
	acks = offers = too_early = commits = not_noted = 0;
	as_firmware = false;
	fail_commit = fail_put = fail_register = 0;
}

static void end(void)
{
	dhcp_server_free(server);
	loop_source_free(disk);
	disk = NULL;
	netif_free(netif);
	loop_free(loop);
}

/* As if this PC had been offered that address. */
static void offer(uint32_t who, uint32_t address)
{
	struct lease_client client = {.has_mac = true, .mac = {2}};
	struct lease *lease;

	be32_put(client.mac + 2, who);
	CU_ASSERT_EQUAL_FATAL(lease_claim(server->leases, 0, &client, 0, address, &lease), 0);
	if (lease->state != LEASE_BOUND)
		lease_set(server->leases, lease, LEASE_OFFERED, &client, dhcp_now(server) + LEASE_OFFER_TIME);
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
	if (type == DHCP_REQUEST)
		offer(who, requested);
	p.chaddr[0] = 2;
	be32_put(p.chaddr + 2, who);
	dhcp_writer_begin(&w, &p, DHCP_PACKET_MAX);
	w.data[0] = 1;
	dhcp_writer_u8(&w, DHCP_OPT_TYPE, type);
	if (requested) {
		dhcp_writer_u32(&w, DHCP_OPT_SERVER_ID, NET + 1);
		dhcp_writer_u32(&w, DHCP_OPT_REQUESTED_ADDRESS, requested);
	}
	if (as_firmware) {
		dhcp_writer_text(&w, DHCP_OPT_VENDOR_CLASS, "PXEClient");
		dhcp_writer_u16(&w, DHCP_OPT_ARCH, 7);
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
		/* He is told again what he was told already, and that is on the disk. */
		CU_ASSERT(acked_time <= 600 && acked_time > 590);
	}
	CU_ASSERT_EQUAL(acks, 5);
	CU_ASSERT_EQUAL(too_early, 0);
	CU_ASSERT_EQUAL(not_noted, 0);
	fail_commit = 0;
	say(1, DHCP_REQUEST, NET + 100);
	dhcp_batch_drain(server);
	CU_ASSERT_EQUAL(acks, 6);
	CU_ASSERT_EQUAL(acked_time, 900);
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

static uint64_t tell_peer(void *arg, const struct state_lease *lease)
{
	(void)arg, (void)lease;
	return 0;
}

/* An address for a moment, with which its screen can say why it gets no disk: only where a probe would find it. */
static void test_dhcp_a_new_pc_that_boots_is_lent_its_address(void)
{
	struct dhcp_prober *none = NULL, *some = (struct dhcp_prober *)&none;
	const struct lease *lease;

	begin();
	fail_commit = -ENOSPC;
	as_firmware = true;
	say(1, DHCP_REQUEST, NET + 100);
	dhcp_batch_drain(server); /* without probes: none */
	CU_ASSERT_EQUAL(acks, 0);
	say(1, DHCP_REQUEST, NET + 100);
	server->prober = some;
	dhcp_batch_drain(server);
	server->prober = NULL;
	CU_ASSERT_EQUAL(acks, 1);
	CU_ASSERT_EQUAL(acked_time, LEASE_OFFER_TIME);
	CU_ASSERT_EQUAL(not_noted, 1);
	lease = lease_by_address(server->leases, NET + 100);
	CU_ASSERT_PTR_NOT_NULL_FATAL(lease);
	CU_ASSERT_EQUAL(lease->state, LEASE_OFFERED);
	CU_ASSERT(lease->expires >= dhcp_now(server) + LEASE_OFFER_TIME - 1);
	/* What does not boot has no screen of ours. */
	as_firmware = false;
	say(2, DHCP_REQUEST, NET + 101);
	server->prober = some;
	dhcp_batch_drain(server);
	/* Nor is anything lent where another server gives addresses, too. */
	as_firmware = true;
	server->prober = NULL;
	say(3, DHCP_REQUEST, NET + 102);
	server->prober = some;
	server->sink.lease = tell_peer;
	dhcp_batch_drain(server);
	server->sink.lease = NULL;
	server->prober = NULL;
	CU_ASSERT_EQUAL(acks, 1);
	/* With room again it is as it always is. */
	fail_commit = 0;
	say(1, DHCP_REQUEST, NET + 100);
	dhcp_batch_drain(server);
	CU_ASSERT_EQUAL(acks, 2);
	CU_ASSERT_EQUAL(acked_time, 600);
	end();
}

/* One batch is being written, one gathers; who comes then is not answered, and has no lease. */
static void test_dhcp_more_than_two_batches_can_hold(void)
{
	unsigned int refused = 0;

	begin();
	for (uint32_t i = 0; i < 2 * DHCP_DURABLE + 1000; i++)
		refused += say(i, DHCP_REQUEST, NET + 100 + i) == DHCP_OUTCOME_STORE_FAILED;
	CU_ASSERT_EQUAL(refused, 1000);
	CU_ASSERT_EQUAL(lease_table_count(server->leases, LEASE_BOUND), 2 * DHCP_DURABLE);
	dhcp_batch_drain(server);
	CU_ASSERT_EQUAL(acks, 2 * DHCP_DURABLE);
	CU_ASSERT_EQUAL(too_early, 0);
	/* There is room again. */
	CU_ASSERT_EQUAL(say(1, DHCP_REQUEST, NET + 101), DHCP_OUTCOME_ANSWERED);
	end();
}

/* A disk that hangs: who has a lease hears of the rest of it, who is new of nothing. */
static void test_dhcp_a_slow_disk_does_not_keep_a_lease_from_its_pc(void)
{
	begin();
	say(1, DHCP_REQUEST, NET + 100);
	dhcp_batch_drain(server);
	CU_ASSERT_EQUAL(acks, 1);
	hangs = true;
	subnet.lease_time = 900;
	say(1, DHCP_REQUEST, NET + 100);
	say(2, DHCP_REQUEST, NET + 101);
	run_until(&acks, 2);
	CU_ASSERT_EQUAL(acks, 2);
	CU_ASSERT(acked_time <= 600 && acked_time > 590);
	CU_ASSERT_EQUAL(too_early, 0);
	/* It is well again: the new one gets its ACK, the other has had it. */
	hangs = false;
	run_job(NULL);
	CU_ASSERT_EQUAL(acks, 3);
	CU_ASSERT_EQUAL(too_early, 0);
	CU_ASSERT(durable[(NET + 101) & 0xffff]);
	end();
}

/* What is not written when a socket goes is not answered by it. */
static void test_dhcp_a_drain_does_not_wait_for_ever(void)
{
	begin();
	hangs = true;
	say(1, DHCP_REQUEST, NET + 100);
	dhcp_batch_drain(server);
	CU_ASSERT_EQUAL(acks, 0);
	hangs = false;
	run_job(NULL);
	CU_ASSERT_EQUAL(acks, 0);
	CU_ASSERT(durable[(NET + 100) & 0xffff]);
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
	  UNIT(test_dhcp_no_ack_when_a_lease_cannot_be_put), UNIT(test_dhcp_no_ack_when_the_pc_cannot_be_noted),
	  UNIT(test_dhcp_a_new_pc_that_boots_is_lent_its_address), UNIT(test_dhcp_more_than_two_batches_can_hold),
	  UNIT(test_dhcp_a_slow_disk_does_not_keep_a_lease_from_its_pc), UNIT(test_dhcp_a_drain_does_not_wait_for_ever),
	  UNIT(test_dhcp_what_waits_is_committed_when_the_server_ends))
