// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The two kernel programs against a model written here from the protocol's rules alone: the same
 * frames, crafted and random, go through BPF_PROG_TEST_RUN of both, and each gives the model's
 * reply, byte for byte, or passes the frame unchanged. In a network namespace of its own; the
 * programs are attached to its loopback.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/core/clock.h"
#include "daemon/tftp/fastpath.h"
#include "daemon/tftp/fastpath_files.h"
#include "tests/unit/tftp_frames.h"
#include "tests/unit/unit.h"

#define CLIENT      0x0a000002u
#define SERVER      0x0a000001u
#define CLIENT_PORT 2070
#define SERVER_PORT 40000
#define LOOPBACK    1
#define MEMORY      (8u << 20)
#define SECOND      1000000000ull

static struct tftp_fastpath *fastpath;

/* --- files and sessions --- */

struct content {
	uint8_t *bytes;
	uint32_t size;
	int fd;
	struct tftp_fastpath_file *file;
};

static void content_make(struct content *c, uint32_t size)
{
	c->size = size;
	c->bytes = malloc(size + 1);
	for (uint32_t i = 0; i < size; i++)
		c->bytes[i] = (uint8_t)rnd(256);
	c->fd = memfd_create("content", MFD_CLOEXEC);
	CU_ASSERT_EQUAL_FATAL(write(c->fd, c->bytes, size), (ssize_t)size);
	CU_ASSERT_EQUAL_FATAL(tftp_fastpath_file_get(fastpath, c->fd, clock_monotonic_ns() + 10 * SECOND, &c->file), 0);
	while (tftp_fastpath_file_load(c->file, 1 << 16) == 1)
		;
	CU_ASSERT_EQUAL_FATAL(tftp_fastpath_file_load(c->file, 1), 0);
}

static void content_free(struct content *c)
{
	tftp_fastpath_file_put(c->file);
	close(c->fd);
	free(c->bytes);
}

struct transfer {
	struct content *content;
	struct tftp_fastpath_transfer is;
	uint32_t session;
};

static void transfer_start(struct transfer *t, struct content *content, uint16_t blksize, uint16_t windowsize)
{
	t->content = content;
	t->is = (struct tftp_fastpath_transfer){
		.client = CLIENT,
		.server = SERVER,
		.client_port = CLIENT_PORT,
		.server_port = SERVER_PORT,
		.ifindex = LOOPBACK,
		.blksize = blksize,
		.windowsize = windowsize,
		.now = clock_monotonic_ns() + 10 * SECOND, /* so that slots have rested */
	};
	CU_ASSERT_EQUAL_FATAL(tftp_fastpath_session_add(fastpath, &t->is, content->file, &t->session), 0);
}

/* --- frames --- */

static void make_ack(struct frame *f, uint32_t block)
{
	headers(f, CLIENT, SERVER, CLIENT_PORT, SERVER_PORT, 4, (uint16_t)block, 0);
	put16(f->b + 18, rnd(65536)); /* id */
	f->b[15] = (uint8_t)rnd(256); /* TOS */
	seal(f);
}

/* The reply goes to the station that the ACK came from. */
static void make_data(struct frame *f, const struct transfer *t, uint32_t block, const struct frame *ack)
{
	uint32_t offset = (block - 1) * t->is.blksize;
	uint32_t data = t->content->size - offset;

	if (data > t->is.blksize)
		data = t->is.blksize;
	headers(f, SERVER, CLIENT, SERVER_PORT, CLIENT_PORT, 3, (uint16_t)block, data);
	memcpy(f->b, ack->b + 6, 6);
	memcpy(f->b + 6, ack->b, 6);
	memcpy(f->b + 46, t->content->bytes + offset, data);
	seal(f);
}

/* --- the model --- */

/* Is it an ACK of our transfer that the kernel may answer? */
static bool model_takes(const struct frame *f, const struct transfer *t, uint32_t sent)
{
	const uint8_t *b = f->b;
	static const uint8_t zero[6];
	bool full, partial;

	if (f->length < 46 || get16(b + 12) != 0x0800 || b[14] != 0x45 || b[23] != 17 || get16(b + 16) != 32)
		return false;
	if (get16(b + 20) & 0xbfff || get16(b + 38) != 12 || get16(b + 42) != 4 || get16(b + 44) != (uint16_t)sent)
		return false;
	if (get32(b + 26) != t->is.client || get32(b + 30) != t->is.server || get16(b + 34) != t->is.client_port ||
	    get16(b + 36) != t->is.server_port || memcmp(b, zero, 6))
		return false;
	if (fold(add(0, b + 14, 20)) != 0xffff)
		return false;
	full = udp_sum(b) == 0xffff;
	partial = fold(add(17 + 12, b + 26, 8)) == get16(b + 40);
	return !get16(b + 40) || full != partial;
}

static uint32_t model_count(const struct transfer *t, uint32_t sent)
{
	uint32_t blocks = t->content->size / t->is.blksize + 1, count = 0;

	while (count < t->is.windowsize && sent + count < blocks) {
		uint32_t rest = t->content->size - (sent + count) * t->is.blksize;

		if (rest < 14)
			return 0; /* a frame that would want padding */
		count++;
	}
	return count;
}

/* --- running --- */

struct outcome {
	int verdict; /* of the program */
	struct frame out;
	uint32_t sent; /* afterwards */
};

static void set_sent(const struct transfer *t, uint32_t sent)
{
	tftp_fastpath_session_pause(fastpath, t->session, NULL);
	tftp_fastpath_session_resume(fastpath, t->session, sent, 1);
}

static void run(enum tftp_fastpath_tier tier, const struct transfer *t, uint32_t sent, const struct frame *in,
		struct outcome *o)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in->b, .data_size_in = in->length, .data_out = o->out.b,
		    .data_size_out = sizeof(o->out.b), .repeat = 1);

	set_sent(t, sent);
	CU_ASSERT_EQUAL_FATAL(bpf_prog_test_run_opts(tftp_fastpath_program(fastpath, tier), &opts), 0);
	o->verdict = (int)opts.retval;
	o->out.length = opts.data_size_out;
	o->sent = tftp_fastpath_session_peek(fastpath, t->session, NULL);
}

static bool same(const struct frame *a, const struct frame *b)
{
	return a->length == b->length && !memcmp(a->b, b->b, a->length);
}

/* One frame through both programs: true if both do as the model does. */
static bool agree(const struct transfer *t, uint32_t sent, const struct frame *in, bool *ret_answered)
{
	uint32_t count = model_takes(in, t, sent) ? model_count(t, sent) : 0;
	bool partial = count && get16(in->b + 40) && udp_sum(in->b) != 0xffff;
	struct frame want = *in;
	struct outcome o;
	bool good = true;

	if (count == 1)
		make_data(&want, t, sent + 1, in);
	*ret_answered = count == 1;
	run(TFTP_FASTPATH_TIER_XDP, t, sent, in, &o);
	good &= o.verdict == (count == 1 ? XDP_TX : XDP_PASS) && same(&o.out, &want) && o.sent == sent + (count == 1);
	if (count > 1)
		return good; /* tc's windows have a test of their own */
	run(TFTP_FASTPATH_TIER_TC, t, sent, in, &o);
	if (count == 1 && partial) /* the rest of the sum is added when the buffer leaves */
		put16(want.b + 40, fold(add(17 + get16(want.b + 38), want.b + 26, 8)));
	good &= o.verdict == (count == 1 ? TC_ACT_REDIRECT : TC_ACT_UNSPEC) && same(&o.out, &want) &&
		o.sent == sent + (count == 1);
	if (!good) {
		printf("# block after %u, blksize %u, size %u, verdict %d, frame", sent, t->is.blksize,
		       t->content->size, o.verdict);
		for (uint32_t i = 0; i < in->length && i < 64; i++)
			printf(" %02x", in->b[i]);
		printf("\n");
	}
	return good;
}

static void test_tftp_fastpath_answers_every_block(void)
{
	static const struct {
		uint32_t size;
		uint16_t blksize;
	} cases[] = {{100000, 512}, {100000, 1468}, {99996, 1432}, {51200, 1024}, {51213, 1024}, {51214, 1024},
		     {13, 512},     {14, 512},      {0, 512},      {30000, 2048}, {20000, 16},   {14336, 512}};
	struct transfer t;
	struct content c;
	struct frame ack;
	bool answered;

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t blocks = cases[i].size / cases[i].blksize + 1, wrong = 0, sent = 0;
		uint32_t tail = cases[i].size % cases[i].blksize;

		content_make(&c, cases[i].size);
		transfer_start(&t, &c, cases[i].blksize, 1);
		for (; sent <= blocks; sent++) {
			make_ack(&ack, sent);
			wrong += !agree(&t, sent, &ack, &answered);
			/* All but a last block that is too short, and nothing after the last. */
			wrong += answered != (sent < blocks && (sent < blocks - 1 || tail >= 14));
		}
		CU_ASSERT_EQUAL(wrong, 0);
		tftp_fastpath_session_remove(fastpath, t.session);
		content_free(&c);
	}
}

static void test_tftp_fastpath_block_numbers_roll_over(void)
{
	struct transfer t;
	struct content c;
	struct frame ack;
	bool answered;
	uint32_t wrong = 0;

	content_make(&c, 16 * 65600);
	transfer_start(&t, &c, 16, 1);
	for (uint32_t sent = 65530; sent < 65545; sent++) {
		make_ack(&ack, sent);
		wrong += !agree(&t, sent, &ack, &answered) || !answered;
	}
	CU_ASSERT_EQUAL(wrong, 0);
	tftp_fastpath_session_remove(fastpath, t.session);
	content_free(&c);
}

static void test_tftp_fastpath_agrees_on_random_frames(void)
{
	static const uint16_t sizes[] = {512, 1432, 1468, 1024, 16};
	unsigned int wrong = 0, taken = 0, passed = 0;
	struct transfer t;
	struct content c;

	content_make(&c, 60000 + rnd(60000));
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		transfer_start(&t, &c, sizes[i], 1);
		for (unsigned int n = 0; n < 6000; n++) {
			uint32_t sent = rnd(c.size / sizes[i] + 2);
			struct frame f;
			bool answered;

			make_ack(&f, sent);
			for (uint32_t changes = rnd(3); changes; changes--)
				spoil(&f, sent);
			wrong += !agree(&t, sent, &f, &answered);
			taken += answered;
			passed += !answered;
		}
		tftp_fastpath_session_remove(fastpath, t.session);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(taken > 5000 && passed > 5000);
	content_free(&c);
}

static void test_tftp_fastpath_passes_what_is_paused_removed_or_stale(void)
{
	struct frame ack, duplicate;
	struct outcome o;
	struct transfer t;
	struct content c;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = ack.b, .data_out = o.out.b, .repeat = 1);

	content_make(&c, 100000);
	transfer_start(&t, &c, 512, 1);
	for (enum tftp_fastpath_tier tier = TFTP_FASTPATH_TIER_TC; tier <= TFTP_FASTPATH_TIER_XDP; tier++) {
		int pass = tier == TFTP_FASTPATH_TIER_XDP ? XDP_PASS : TC_ACT_UNSPEC;
		uint64_t last, now;

		/* A duplicate ACK is never answered. */
		make_ack(&ack, 7);
		duplicate = ack;
		run(tier, &t, 7, &ack, &o);
		CU_ASSERT_EQUAL(o.sent, 8);
		CU_ASSERT_NOT_EQUAL(tftp_fastpath_session_peek(fastpath, t.session, &last), 7);
		CU_ASSERT(last > 1); /* the time of sending was noted */
		opts.data_size_in = duplicate.length;
		opts.data_size_out = sizeof(o.out.b);
		CU_ASSERT_EQUAL(bpf_prog_test_run_opts(tftp_fastpath_program(fastpath, tier), &opts), 0);
		CU_ASSERT_EQUAL((int)opts.retval, pass);
		CU_ASSERT_EQUAL(tftp_fastpath_session_peek(fastpath, t.session, NULL), 8);
		/* Paused: not even the right one. */
		CU_ASSERT_EQUAL(tftp_fastpath_session_pause(fastpath, t.session, NULL), 8);
		make_ack(&ack, 8);
		opts.data_size_out = sizeof(o.out.b);
		CU_ASSERT_EQUAL(bpf_prog_test_run_opts(tftp_fastpath_program(fastpath, tier), &opts), 0);
		CU_ASSERT_EQUAL((int)opts.retval, pass);
		CU_ASSERT_EQUAL(tftp_fastpath_session_peek(fastpath, t.session, NULL), 8);
		run(tier, &t, 8, &ack, &o);
		CU_ASSERT_EQUAL(o.sent, 9);
		/* User space ignored something: the time of sending stays what it was. */
		tftp_fastpath_session_peek(fastpath, t.session, &last);
		CU_ASSERT_EQUAL(tftp_fastpath_session_pause(fastpath, t.session, NULL), 9);
		tftp_fastpath_session_resume(fastpath, t.session, 9, last + SECOND);
		CU_ASSERT_EQUAL(tftp_fastpath_session_pause(fastpath, t.session, &now), 9);
		CU_ASSERT_EQUAL(now, last);
		tftp_fastpath_session_resume(fastpath, t.session, 10, last + SECOND);
		tftp_fastpath_session_peek(fastpath, t.session, &now);
		CU_ASSERT_EQUAL(now, last + SECOND);
		/* Not paused: what the programs did meanwhile is not undone. */
		tftp_fastpath_session_resume(fastpath, t.session, 3, 1);
		CU_ASSERT_EQUAL(tftp_fastpath_session_peek(fastpath, t.session, NULL), 10);
	}
	tftp_fastpath_session_remove(fastpath, t.session);
	make_ack(&ack, 9);
	for (enum tftp_fastpath_tier tier = TFTP_FASTPATH_TIER_TC; tier <= TFTP_FASTPATH_TIER_XDP; tier++) {
		opts.data_size_out = sizeof(o.out.b);
		CU_ASSERT_EQUAL(bpf_prog_test_run_opts(tftp_fastpath_program(fastpath, tier), &opts), 0);
		CU_ASSERT_EQUAL((int)opts.retval, tier == TFTP_FASTPATH_TIER_XDP ? XDP_PASS : TC_ACT_UNSPEC);
	}
	content_free(&c);
}

/* What left by the loopback: clones are really sent, also in a test run. */
static int listen_outgoing(void)
{
	struct sockaddr_ll any = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = LOOPBACK};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));

	CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	return fd;
}

static bool next_outgoing(int fd, struct frame *f)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct sockaddr_ll from;

	while (poll(&p, 1, 1000) == 1) {
		socklen_t n = sizeof(from);
		ssize_t got = recvfrom(fd, f->b, sizeof(f->b), 0, (struct sockaddr *)&from, &n);

		if (got > 0 && from.sll_pkttype == PACKET_OUTGOING) {
			f->length = (uint32_t)got;
			return true;
		}
	}
	return false;
}

static void test_tftp_fastpath_sends_windows_by_tc(void)
{
	int fd = listen_outgoing();
	struct frame ack, want, got;
	struct outcome o;
	struct transfer t;
	struct content c;
	uint32_t wrong = 0;

	content_make(&c, 20 * 1468 + 700);
	transfer_start(&t, &c, 1468, 8);
	for (uint32_t sent = 0; sent < 21; sent = o.sent) {
		uint32_t count = 21 - sent < 8 ? 21 - sent : 8;

		make_ack(&ack, sent);
		run(TFTP_FASTPATH_TIER_XDP, &t, sent, &ack, &o); /* XDP cannot */
		wrong += o.verdict != XDP_PASS || !same(&o.out, &ack) || o.sent != sent;
		run(TFTP_FASTPATH_TIER_TC, &t, sent, &ack, &o);
		CU_ASSERT_EQUAL_FATAL(o.sent, sent + count);
		for (uint32_t i = 0; i < count; i++) {
			make_data(&want, &t, sent + i + 1, &ack);
			if (i + 1 == count)
				wrong += o.verdict != TC_ACT_REDIRECT || !same(&o.out, &want);
			else
				wrong += !next_outgoing(fd, &got) || !same(&got, &want);
		}
		/* The ACK of a part of the window is user space's. */
		make_ack(&ack, o.sent - 1);
		uint32_t before = o.sent;

		run(TFTP_FASTPATH_TIER_TC, &t, before, &ack, &o);
		wrong += o.verdict != TC_ACT_UNSPEC || o.sent != before || !same(&o.out, &ack);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	tftp_fastpath_session_remove(fastpath, t.session);
	content_free(&c);
	close(fd);
}

/* As an option: no UDP checksum at all, which RFC 768 writes as 0. */
static void test_tftp_fastpath_zero_checksums(void)
{
	const struct tftp_fastpath_config config = {
		.mode = TFTP_FASTPATH_AUTO, .memory = 1 << 20, .sessions_max = 1, .zero_checksums = true};
	struct tftp_fastpath *real = fastpath;
	struct frame ack, want;
	struct transfer t;
	struct content c;
	struct outcome o;

	CU_ASSERT_EQUAL_FATAL(tftp_fastpath_new(&fastpath, &config), 0);
	CU_ASSERT_EQUAL_FATAL(tftp_fastpath_attach(fastpath, LOOPBACK), 0);
	content_make(&c, 1000);
	transfer_start(&t, &c, 512, 1);
	make_ack(&ack, 0);
	make_data(&want, &t, 1, &ack);
	put16(want.b + 40, 0);
	for (enum tftp_fastpath_tier tier = TFTP_FASTPATH_TIER_TC; tier <= TFTP_FASTPATH_TIER_XDP; tier++) {
		run(tier, &t, 0, &ack, &o);
		CU_ASSERT(same(&o.out, &want));
	}
	tftp_fastpath_session_remove(fastpath, t.session);
	content_free(&c);
	tftp_fastpath_free(fastpath);
	fastpath = real;
}

static void test_tftp_fastpath_counts_by_path(void)
{
	struct tftp_fastpath_stats before, after;
	struct transfer t;
	struct content c;
	struct frame ack;
	struct outcome o;

	content_make(&c, 1000);
	transfer_start(&t, &c, 512, 1);
	tftp_fastpath_stats(fastpath, &before);
	CU_ASSERT_EQUAL(before.sessions, 1);
	CU_ASSERT(before.files >= 1 && before.memory_used >= 1000 && before.memory_used <= before.memory);
	make_ack(&ack, 0);
	run(TFTP_FASTPATH_TIER_XDP, &t, 0, &ack, &o);
	make_ack(&ack, 1);
	run(TFTP_FASTPATH_TIER_TC, &t, 1, &ack, &o);
	run(TFTP_FASTPATH_TIER_TC, &t, 0, &ack, &o); /* passed */
	tftp_fastpath_stats(fastpath, &after);
	CU_ASSERT_EQUAL(after.xdp.blocks - before.xdp.blocks, 1);
	CU_ASSERT_EQUAL(after.xdp.bytes - before.xdp.bytes, 512);
	CU_ASSERT_EQUAL(after.tc.blocks - before.tc.blocks, 1);
	CU_ASSERT_EQUAL(after.tc.bytes - before.tc.bytes, 488);
	CU_ASSERT_EQUAL(after.tc.passed - before.tc.passed, 1);
	tftp_fastpath_session_remove(fastpath, t.session);
	content_free(&c);
	tftp_fastpath_stats(fastpath, &after);
	CU_ASSERT_EQUAL(after.sessions, 0);
}

/* --- two CPUs at once --- */

/* $RACES: fewer where the machine is emulated. */
static unsigned int races(void)
{
	const char *text = getenv("RACES");

	return text ? (unsigned int)atoi(text) : 20000;
}

struct race {
	enum tftp_fastpath_tier tier;
	const struct transfer *t;
	pthread_barrier_t barrier;
	unsigned int answered[2]; /* in this round, by thread */
	bool pause;               /* the second thread pauses in place of an ACK */
	uint32_t paused_at;
	unsigned int wrong, lost;
};

/* The ACK of what was sent last, once. */
static bool race_ack(const struct race *race, uint32_t sent)
{
	struct frame ack, out;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = ack.b, .data_out = out.b, .data_size_out = sizeof(out.b),
		    .repeat = 1);

	headers(&ack, CLIENT, SERVER, CLIENT_PORT, SERVER_PORT, 4, (uint16_t)sent, 0);
	seal(&ack);
	opts.data_size_in = ack.length;
	if (bpf_prog_test_run_opts(tftp_fastpath_program(fastpath, race->tier), &opts))
		return false;
	return opts.retval == (uint32_t)(race->tier == TFTP_FASTPATH_TIER_XDP ? XDP_TX : TC_ACT_REDIRECT);
}

static void *race_second(void *arg)
{
	struct race *race = arg;
	unsigned int n = races();

	for (unsigned int i = 0; i < n; i++) {
		uint32_t sent = i % 60;

		pthread_barrier_wait(&race->barrier);
		if (race->pause)
			race->paused_at = tftp_fastpath_session_pause(fastpath, race->t->session, NULL);
		else
			race->answered[1] = race_ack(race, sent);
		pthread_barrier_wait(&race->barrier);
	}
	return NULL;
}

static void race_run(struct race *race)
{
	unsigned int n = races();
	pthread_t second;

	pthread_barrier_init(&race->barrier, NULL, 2);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&second, NULL, race_second, race), 0);
	for (unsigned int i = 0; i < n; i++) {
		uint32_t sent = i % 60;

		set_sent(race->t, sent);
		pthread_barrier_wait(&race->barrier);
		race->answered[0] = race_ack(race, sent);
		pthread_barrier_wait(&race->barrier);
		if (race->pause)
			race->wrong += race->paused_at != sent + race->answered[0];
		else
			race->wrong += race->answered[0] + race->answered[1] != 1;
		race->lost += !race->answered[0];
	}
	pthread_join(second, NULL);
	pthread_barrier_destroy(&race->barrier);
}

static void test_tftp_fastpath_one_of_two_equal_acks_is_answered(void)
{
	struct transfer t;
	struct content c;

	content_make(&c, 60000);
	transfer_start(&t, &c, 512, 1);
	for (enum tftp_fastpath_tier tier = TFTP_FASTPATH_TIER_TC; tier <= TFTP_FASTPATH_TIER_XDP; tier++) {
		struct race race = {.tier = tier, .t = &t};

		race_run(&race);
		CU_ASSERT_EQUAL(race.wrong, 0);
		printf("# %s: the other one was first %u times of %u\n", tftp_fastpath_tier_name(tier), race.lost,
		       races());
	}
	tftp_fastpath_session_remove(fastpath, t.session);
	content_free(&c);
}

static void test_tftp_fastpath_pause_knows_what_was_sent(void)
{
	struct transfer t;
	struct content c;

	content_make(&c, 60000);
	transfer_start(&t, &c, 512, 1);
	for (enum tftp_fastpath_tier tier = TFTP_FASTPATH_TIER_TC; tier <= TFTP_FASTPATH_TIER_XDP; tier++) {
		struct race race = {.tier = tier, .t = &t, .pause = true};

		race_run(&race);
		CU_ASSERT_EQUAL(race.wrong, 0);
		printf("# %s: paused first %u times of %u\n", tftp_fastpath_tier_name(tier), race.lost, races());
	}
	tftp_fastpath_session_remove(fastpath, t.session);
	content_free(&c);
}

static void test_tftp_fastpath_refuses_what_it_cannot_do(void)
{
	struct tftp_fastpath_transfer is;
	struct transfer t;
	struct content c;
	uint32_t session;

	content_make(&c, 1000);
	transfer_start(&t, &c, 512, 1);
	CU_ASSERT_EQUAL(tftp_fastpath_session_add(fastpath, &t.is, c.file, &session), -EEXIST);
	is = t.is;
	is.client_port++;
	is.blksize = 513;
	CU_ASSERT_EQUAL(tftp_fastpath_session_add(fastpath, &is, c.file, &session), -ENOTSUP);
	is.blksize = 8;
	CU_ASSERT_EQUAL(tftp_fastpath_session_add(fastpath, &is, c.file, &session), -ENOTSUP);
	is.blksize = 4096;
	CU_ASSERT_EQUAL(tftp_fastpath_session_add(fastpath, &is, c.file, &session), -ENOTSUP);
	is.blksize = 512;
	is.windowsize = 65;
	CU_ASSERT_EQUAL(tftp_fastpath_session_add(fastpath, &is, c.file, &session), -ENOTSUP);
	is.windowsize = 1;
	is.ifindex = 99;
	CU_ASSERT_EQUAL(tftp_fastpath_session_add(fastpath, &is, c.file, &session), -ENOTSUP);
	CU_ASSERT_EQUAL(tftp_fastpath_session_add(NULL, &is, NULL, &session), -ENOTSUP);
	CU_ASSERT_EQUAL(tftp_fastpath_attach(fastpath, 99), -ENODEV);
	CU_ASSERT_EQUAL(tftp_fastpath_attach(fastpath, LOOPBACK), 0); /* again */
	tftp_fastpath_session_remove(fastpath, t.session);
	content_free(&c);
}

static void test_tftp_fastpath_table_of_sessions_is_bounded(void)
{
	uint32_t session[300], n = 0;
	struct transfer t;
	struct content c;

	content_make(&c, 1000);
	transfer_start(&t, &c, 512, 1);
	for (; n < 300; n++) {
		t.is.client_port++;
		if (tftp_fastpath_session_add(fastpath, &t.is, c.file, &session[n]) < 0)
			break;
	}
	CU_ASSERT_EQUAL(n, 255); /* 256 with the first */
	CU_ASSERT_EQUAL(tftp_fastpath_session_add(fastpath, &t.is, c.file, &session[n]), -ENOSPC);
	while (n)
		tftp_fastpath_session_remove(fastpath, session[--n]);
	tftp_fastpath_session_remove(fastpath, t.session);
	/* A slot that was just given back may still be read by a program: it is not used at once.
	 */
	t.is.now = clock_monotonic_ns() - SECOND / 2; /* the caller's clock may be late */
	for (; n < 300 && tftp_fastpath_session_add(fastpath, &t.is, c.file, &session[n]) == 0; n++)
		t.is.client_port++;
	CU_ASSERT(n < 256);
	CU_ASSERT_EQUAL(tftp_fastpath_session_add(fastpath, &t.is, c.file, &session[n]), -ENOSPC);
	t.is.now = clock_monotonic_ns() + 10 * SECOND;
	CU_ASSERT_EQUAL(tftp_fastpath_session_add(fastpath, &t.is, c.file, &session[n++]), 0);
	while (n)
		tftp_fastpath_session_remove(fastpath, session[--n]);
	content_free(&c);
}

int main(int argc, char **argv)
{
	static const struct unit_case cases[] = {
		UNIT(test_tftp_fastpath_answers_every_block),
		UNIT(test_tftp_fastpath_block_numbers_roll_over),
		UNIT(test_tftp_fastpath_agrees_on_random_frames),
		UNIT(test_tftp_fastpath_passes_what_is_paused_removed_or_stale),
		UNIT(test_tftp_fastpath_sends_windows_by_tc),
		UNIT(test_tftp_fastpath_zero_checksums),
		UNIT(test_tftp_fastpath_counts_by_path),
		UNIT(test_tftp_fastpath_one_of_two_equal_acks_is_answered),
		UNIT(test_tftp_fastpath_pause_knows_what_was_sent),
		UNIT(test_tftp_fastpath_refuses_what_it_cannot_do),
		UNIT(test_tftp_fastpath_table_of_sessions_is_bounded),
	};
	const struct tftp_fastpath_config config = {.mode = TFTP_FASTPATH_AUTO, .memory = MEMORY, .sessions_max = 256};
	struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int r, s;

	if (unshare(CLONE_NEWNET) || (s = socket(AF_INET, SOCK_DGRAM, 0)) < 0 || ioctl(s, SIOCSIFFLAGS, &up)) {
		printf("1..0 # SKIP network namespaces cannot be made: %s\n", strerror(errno));
		return 77;
	}
	close(s);
	frame_rng = unit_seed();
	r = tftp_fastpath_new(&fastpath, &config);
	if (r == -EPERM) {
		printf("1..0 # SKIP BPF programs may not be loaded here\n");
		return 77;
	}
	if (r < 0 || (r = tftp_fastpath_attach(fastpath, LOOPBACK)) < 0) {
		printf("not ok - loading and attaching: %s\n", strerror(-r));
		return 1;
	}
	if (tftp_fastpath_program(fastpath, TFTP_FASTPATH_TIER_XDP) < 0) {
		printf("not ok - the kernel refuses the XDP program\n");
		return 1;
	}
	r = unit_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
	tftp_fastpath_free(fastpath);
	return r;
}
