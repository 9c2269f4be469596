// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kernel programs against the TFTP server in user space: the same frames, in the same state of
 * a transfer. Whatever a program answers, the server answers with the same datagram; what the
 * server would not answer, no program answers. The server runs in this process on one end of a veth
 * pair, in a network namespace of its own; frames go in at the other. Then the two together: the
 * programs on the interface itself, the server with what they leave to it.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/boot/boot.h"
#include "daemon/catalogue/catalogue.h"
#include "daemon/core/log.h"
#include "daemon/state/state.h"
#include "daemon/tftp/fastpath.h"
#include "daemon/tftp/server.h"
#include "tests/unit/tftp_frames.h"
#include "tests/unit/unit.h"

#define CLIENT   0x0a000002u
#define SERVER   0x0a000001u
#define STRANGER 0x0a000003u /* has a rate of its own */
#define LOOPBACK 1
#define SIZE     60000u
#define SECOND   1000000000ull

static char folder[] = "/tmp/bootwell-test.XXXXXX";
static uint8_t content[SIZE];
static struct loop *loop;
static struct config *config;
static struct tftp_server *server;
static struct tftp_fastpath *fastpath;
static struct tftp_fastpath_file *file;
static int inject, watch; /* AF_PACKET sockets: in at v1, what leaves v0 */
static uint8_t server_mac[6];

/* --- the server, one moment at a time --- */

static void stop(void *arg)
{
	(void)arg;
	loop_stop(loop, 0);
}

static void pump(void)
{
	CU_ASSERT_EQUAL_FATAL(loop_wake(loop, stop, NULL), 0);
	loop_run(loop);
}

/* Its UDP checksum is what a local sender leaves to the hardware: the sum of the pseudo header. */
static bool is_partial(const struct frame *f)
{
	return f->length >= 46 && get16(f->b + 12) == 0x0800 && f->b[14] == 0x45 && f->b[23] == 17 &&
	       get16(f->b + 40) == fold(add(17 + get16(f->b + 38), f->b + 26, 8));
}

static void put_frame(const struct frame *f)
{
	static const uint8_t zero[6];
	struct {
		struct virtio_net_hdr how;
		uint8_t b[FRAME_MAX];
	} __attribute__((packed)) out = {0};

	memcpy(out.b, f->b, f->length);
	/* The programs are tried on the loopback, which has no address; the server is not. */
	if (!memcmp(out.b, zero, 6))
		memcpy(out.b, server_mac, 6);
	if (is_partial(f)) {
		out.how.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		out.how.csum_start = 34;
		out.how.csum_offset = 6;
	}
	while (send(inject, &out, sizeof(out.how) + f->length, 0) < 0 && errno == ENOBUFS)
		;
}

/* The next datagram that the server has sent to our port. */
static bool next_sent(struct frame *f, uint16_t port)
{
	struct sockaddr_ll from;
	socklen_t n = sizeof(from);
	ssize_t got;

	while ((got = recvfrom(watch, f->b, sizeof(f->b), MSG_DONTWAIT, (struct sockaddr *)&from, &n)) > 0) {
		n = sizeof(from);
		f->length = (uint32_t)got;
		if (from.sll_pkttype == PACKET_OUTGOING && got >= 44 && get16(f->b + 12) == 0x0800 && f->b[23] == 17 &&
		    get16(f->b + 36) == port)
			return true;
	}
	return false;
}

/* --- a transfer, in both --- */

static struct {
	uint16_t client_port, server_port;
	uint16_t blksize;
	uint32_t sent; /* 0: the OACK */
	uint32_t session;
} now = {.client_port = 3000};

/*
 * Waits until the server has dealt with all that went before: a datagram from a stranger to the
 * same port is counted when its turn comes. False: the transfer is over.
 */
static bool settled(void)
{
	uint64_t before = tftp_server_stats(server)->strangers;
	struct frame f;

	headers(&f, STRANGER, SERVER, 9, now.server_port, 4, 0, 0);
	seal(&f);
	put_frame(&f);
	for (unsigned int i = 0; i < 20000; i++) {
		pump();
		if (tftp_server_stats(server)->strangers != before) {
			/* It may have been what went before that was a stranger's; one datagram is
			 * heard at a time. */
			for (unsigned int k = 0; k < 6; k++)
				pump();
			return tftp_server_stats(server)->sessions;
		}
		if (!tftp_server_stats(server)->sessions)
			return false;
		usleep(i < 10 ? 0 : 100);
	}
	CU_FAIL_FATAL("the server does not read its socket");
	return false;
}

static void request(struct frame *f, uint16_t blksize)
{
	char text[64];
	uint32_t n;

	n = (uint32_t)sprintf(text, "file%coctet%cblksize%c%u", 0, 0, 0, blksize) + 1;
	headers(f, CLIENT, SERVER, now.client_port, 69, 1, 0, n - 2);
	memcpy(f->b + 44, text, n); /* the name begins where an ACK has its block number */
	seal(f);
}

/* The next datagram to our port, which may take a while to come. */
static bool await(struct frame *f)
{
	bool got = false;

	for (unsigned int i = 0; i < 50000 && !got; i++) {
		pump();
		got = next_sent(f, now.client_port);
		usleep(i < 10 ? 0 : 100);
	}
	return got;
}

static void begin(uint16_t blksize)
{
	struct tftp_fastpath_transfer transfer = {
		.client = CLIENT, .server = SERVER, .ifindex = LOOPBACK, .blksize = blksize, .windowsize = 1};
	struct frame f;

	now.client_port++;
	now.blksize = blksize;
	now.sent = 0;
	request(&f, blksize);
	put_frame(&f);
	CU_ASSERT_FATAL(await(&f) && get16(f.b + 42) == 6); /* OACK */
	now.server_port = get16(f.b + 34);
	transfer.client_port = now.client_port;
	transfer.server_port = now.server_port;
	transfer.now = UINT64_MAX / 2; /* slots have rested */
	CU_ASSERT_EQUAL_FATAL(tftp_fastpath_session_add(fastpath, &transfer, file, &now.session), 0);
}

static void hang_up(void)
{
	struct frame f;

	headers(&f, CLIENT, SERVER, now.client_port, now.server_port, 5, 0, 1);
	f.b[46] = 0;
	seal(&f);
	put_frame(&f);
	while (settled())
		;
}

static void end(void)
{
	tftp_fastpath_session_remove(fastpath, now.session);
	hang_up();
}

static void make_ack(struct frame *f, uint32_t block)
{
	headers(f, CLIENT, SERVER, now.client_port, now.server_port, 4, (uint16_t)block, 0);
	seal(f);
}

/* What a program answers: true and the frame. */
static bool program_answers(enum tftp_fastpath_tier tier, const struct frame *in, struct frame *ret)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in->b, .data_size_in = in->length, .data_out = ret->b,
		    .data_size_out = sizeof(ret->b), .repeat = 1);

	tftp_fastpath_session_pause(fastpath, now.session, NULL);
	tftp_fastpath_session_resume(fastpath, now.session, now.sent, 1);
	CU_ASSERT_EQUAL_FATAL(bpf_prog_test_run_opts(tftp_fastpath_program(fastpath, tier), &opts), 0);
	ret->length = opts.data_size_out;
	return opts.retval == (uint32_t)(tier == TFTP_FASTPATH_TIER_XDP ? XDP_TX : TC_ACT_REDIRECT);
}

/* From the addresses on, without the checksum, which the interface has not finished yet. */
static bool same_datagram(const struct frame *a, const struct frame *b)
{
	return a->length == b->length && !memcmp(a->b + 26, b->b + 26, 14) &&
	       !memcmp(a->b + 42, b->b + 42, a->length - 42);
}

struct tally {
	unsigned int answered, passed, wrong;
};

/* One frame through all three. False: the transfer is over. */
static bool compare(const struct frame *in, struct tally *tally)
{
	struct frame by[2], sent;
	bool answers[2], replied = false, alive;
	unsigned int wrong = 0;

	answers[0] = program_answers(TFTP_FASTPATH_TIER_TC, in, &by[0]);
	answers[1] = program_answers(TFTP_FASTPATH_TIER_XDP, in, &by[1]);
	put_frame(in);
	alive = settled();
	while (next_sent(&sent, now.client_port)) {
		/* A block again is the time-out's doing. */
		if (get16(sent.b + 42) == 3 && get16(sent.b + 44) == (uint16_t)(now.sent + 1) && !replied) {
			replied = true;
			for (int i = 0; i < 2; i++)
				wrong += answers[i] && !same_datagram(&by[i], &sent);
		}
	}
	wrong += answers[0] != answers[1];
	wrong += answers[0] && !replied;
	if (wrong) {
		printf("# after block %u, tc %s, XDP %s, user space %s:", now.sent, answers[0] ? "answers" : "passes",
		       answers[1] ? "answers" : "passes", replied ? "answers" : "does not");
		for (uint32_t i = 0; i < in->length && i < 64; i++)
			printf(" %02x", in->b[i]);
		printf("\n");
	}
	if (replied)
		now.sent++;
	tally->wrong += wrong;
	tally->answered += answers[0];
	tally->passed += !answers[0];
	return alive;
}

/* The frames of tftp_frames.h, but to the right station: the two have different ones. */
static void spoil_all_but_mac(struct frame *f, uint32_t sent)
{
	uint8_t mac[12];

	memcpy(mac, f->b, 12);
	spoil(f, sent);
	memcpy(f->b, mac, 12);
}

static void test_tftp_fastpath_user_same_answers(void)
{
	static const uint16_t blksizes[] = {512, 1432, 1468};
	struct tally tally = {0};

	for (unsigned int transfer = 0; transfer < 60; transfer++) {
		bool alive = true;

		begin(blksizes[transfer % 3]);
		for (unsigned int steps = 0; alive && steps < 60; steps++) {
			struct frame f;

			for (uint32_t odd = rnd(4); odd && alive; odd--) {
				make_ack(&f, now.sent);
				for (uint32_t changes = 1 + rnd(2); changes; changes--)
					spoil_all_but_mac(&f, now.sent);
				alive = compare(&f, &tally);
			}
			if (!alive)
				break;
			make_ack(&f, now.sent);
			alive = compare(&f, &tally);
		}
		if (alive)
			end();
		else
			tftp_fastpath_session_remove(fastpath, now.session);
	}
	printf("# answered %u, passed %u\n", tally.answered, tally.passed);
	CU_ASSERT_EQUAL(tally.wrong, 0);
	CU_ASSERT(tally.answered > 500 && tally.passed > 500);
}

static void test_tftp_fastpath_user_duplicate_and_old_acks(void)
{
	struct tally tally = {0};
	struct frame f;

	begin(1468);
	for (uint32_t block = 0; block < 20; block++) {
		unsigned int before = tally.answered;

		make_ack(&f, block);
		compare(&f, &tally);
		CU_ASSERT_EQUAL(tally.answered, before + 1);
		compare(&f, &tally); /* again */
		make_ack(&f, block / 2);
		compare(&f, &tally);
		make_ack(&f, block + 2); /* not sent yet */
		compare(&f, &tally);
		CU_ASSERT_EQUAL(tally.answered, before + 1);
		CU_ASSERT_EQUAL(now.sent, block + 1);
	}
	CU_ASSERT_EQUAL(tally.wrong, 0);
	end();
}

/* --- both together --- */

/* The server attaches its programs to v0, or takes them away. */
static void set_fastpath(bool on)
{
	static struct config with;

	with = *config;
	strcpy(with.tftp_fastpath, "tc");
	CU_ASSERT_EQUAL_FATAL(tftp_server_reload(server, on ? &with : config), 0);
}

static uint64_t blocks(enum tftp_path path)
{
	return tftp_server_stats(server)->blocks[path];
}

static bool is_block(const struct frame *f, uint32_t block)
{
	return get16(f->b + 42) == 3 && get16(f->b + 44) == block;
}

/* A transfer whose second block was the kernel's. */
static void begin_in_kernel(void)
{
	static const char text[] = "file\0octet\0blksize\0"
				   "512\0timeout\0"
				   "2";
	uint64_t before = blocks(TFTP_PATH_TC);
	struct frame f;

	now.client_port++;
	headers(&f, CLIENT, SERVER, now.client_port, 69, 1, 0, sizeof(text) - 2);
	memcpy(f.b + 44, text, sizeof(text));
	seal(&f);
	put_frame(&f);
	CU_ASSERT_FATAL(await(&f) && get16(f.b + 42) == 6); /* OACK */
	now.server_port = get16(f.b + 34);
	for (now.sent = 0; now.sent < 2; now.sent++) {
		make_ack(&f, now.sent);
		put_frame(&f);
		CU_ASSERT_FATAL(await(&f) && is_block(&f, now.sent + 1));
	}
	CU_ASSERT_EQUAL_FATAL(blocks(TFTP_PATH_TC), before + 1);
}

/*
 * A client that takes its time, on a line that loses nothing: all is the kernel's, for longer than
 * the time-out. Were the server's clock to run from what it sent itself, blocks would come twice.
 */
static void test_tftp_fastpath_user_clock_knows_what_the_kernel_sent(void)
{
	uint64_t retransmits, by_kernel;
	unsigned int again = 0;
	struct frame f;

	set_fastpath(true);
	begin_in_kernel();
	retransmits = tftp_server_stats(server)->retransmits;
	by_kernel = blocks(TFTP_PATH_TC);
	for (unsigned int i = 0; i < 7; i++) {
		for (unsigned int k = 0; k < 50; k++) {
			pump();
			again += next_sent(&f, now.client_port);
			usleep(10000);
		}
		make_ack(&f, now.sent);
		put_frame(&f);
		CU_ASSERT(await(&f) && is_block(&f, now.sent + 1));
		now.sent++;
	}
	CU_ASSERT_EQUAL(again, 0);
	CU_ASSERT_EQUAL(tftp_server_stats(server)->retransmits, retransmits);
	CU_ASSERT_EQUAL(blocks(TFTP_PATH_TC), by_kernel + 7);
	/* Now it falls silent: the kernel's last block comes again, from the server. */
	CU_ASSERT(await(&f) && is_block(&f, now.sent));
	CU_ASSERT_EQUAL(tftp_server_stats(server)->retransmits, retransmits + 1);
	hang_up();
	set_fastpath(false);
}

/* The kernel takes the tag out of the frame before the program sees it: it would answer into
 * another network. */
static void test_tftp_fastpath_user_tagged_frame_is_not_the_programs(void)
{
	static const uint8_t tag[4] = {0x81, 0, 0, 5};
	uint64_t by_kernel, by_server;
	struct frame f, tagged;

	set_fastpath(true);
	begin_in_kernel();
	by_kernel = blocks(TFTP_PATH_TC);
	by_server = blocks(TFTP_PATH_USER);
	make_ack(&f, now.sent);
	memcpy(f.b, server_mac, 6);
	memcpy(tagged.b, f.b, 12);
	memcpy(tagged.b + 12, tag, 4);
	memcpy(tagged.b + 16, f.b + 12, f.length - 12);
	tagged.length = f.length + 4;
	put_frame(&tagged);
	CU_ASSERT(settled());
	CU_ASSERT_EQUAL(blocks(TFTP_PATH_TC), by_kernel);
	CU_ASSERT_EQUAL(blocks(TFTP_PATH_USER), by_server); /* no interface has VLAN 5 */
	tagged.b[15] = 0;                                   /* a priority and no VLAN: it is the server's */
	put_frame(&tagged);
	CU_ASSERT(await(&f) && is_block(&f, now.sent + 1));
	CU_ASSERT_EQUAL(blocks(TFTP_PATH_TC), by_kernel);
	CU_ASSERT_EQUAL(blocks(TFTP_PATH_USER), by_server + 1);
	hang_up();
	set_fastpath(false);
}

/* --- the stage --- */

static int packet_socket(const char *name)
{
	struct sockaddr_ll at = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(name)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)), size = 8 << 20;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	return fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 ? fd : -1;
}

static int make_network(void)
{
	int one = 1;

	if (system("ip link set lo up && ip link add v0 type veth peer name v1 && ip addr add "
		   "10.0.0.1/24 dev v0 && "
		   "ip link set v0 arp off address 02:00:00:00:00:01 up && ip link set v1 up"))
		return -1;
	memcpy(server_mac, "\x02\0\0\0\0\x01", 6);
	inject = packet_socket("v1");
	watch = packet_socket("v0");
	if (inject < 0 || watch < 0 || setsockopt(inject, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)))
		return -1;
	return 0;
}

static void report(void *arg, const char *name, unsigned int line, const char *message)
{
	(void)arg;
	printf("# %s:%u: %s\n", name, line, message);
}

static int make_files(void)
{
	char path[256];
	FILE *f;
	int fd;

	if (!mkdtemp(folder))
		return -1;
	chmod(folder, 0755);
	for (unsigned int i = 0; i < SIZE; i++)
		content[i] = (uint8_t)rnd(256);
	snprintf(path, sizeof(path), "%s/file", folder);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, content, SIZE) != SIZE || tftp_fastpath_file_get(fastpath, fd, 0, &file) < 0)
		return -1;
	while (tftp_fastpath_file_load(file, SIZE) > 0)
		;
	close(fd);
	snprintf(path, sizeof(path), "%s/conf", folder);
	f = fopen(path, "we");
	fprintf(f,
		"[server]\ntargets = off\nstate = %s\nrun = %s\n[tftp]\nroot = %s\nfastpath = "
		"off\n",
		folder, folder, folder);
	return fclose(f);
}

static int make_server(void)
{
	struct sentence error = {""};
	char path[256];
	struct catalogue *catalogue;
	struct netif *netif;
	struct state *state;
	struct boot *boot;
	int r;

	log_set_level(LOG_LEVEL_ERROR);
	snprintf(path, sizeof(path), "%s/conf", folder);
	r = config_read(&config, path, report, NULL);
	if (!r)
		r = loop_new(&loop);
	if (!r)
		r = netif_new(&netif, loop);
	snprintf(path, sizeof(path), "%s/db", folder);
	if (!r)
		r = state_new(&state, path, &error);
	if (!r)
		r = catalogue_new(&catalogue, state, NULL);
	if (!r)
		r = boot_new(&boot, loop, config, state, catalogue, NULL);
	if (!r)
		r = tftp_server_new(&server, loop, netif, config, boot);
	return r;
}

int main(int argc, char **argv)
{
	static const struct unit_case cases[] = {
		UNIT(test_tftp_fastpath_user_same_answers),
		UNIT(test_tftp_fastpath_user_duplicate_and_old_acks),
		UNIT(test_tftp_fastpath_user_clock_knows_what_the_kernel_sent),
		UNIT(test_tftp_fastpath_user_tagged_frame_is_not_the_programs),
	};
	const struct tftp_fastpath_config fast = {.mode = TFTP_FASTPATH_AUTO, .memory = 2 << 20, .sessions_max = 256};
	char command[64];
	int r;

	if (unshare(CLONE_NEWNET) || make_network()) {
		printf("1..0 # SKIP network namespaces cannot be made\n");
		return 77;
	}
	frame_rng = unit_seed();
	r = tftp_fastpath_new(&fastpath, &fast);
	if (r == -EPERM) {
		printf("1..0 # SKIP BPF programs may not be loaded here\n");
		return 77;
	}
	if (r < 0 || tftp_fastpath_attach(fastpath, LOOPBACK) < 0 || make_files() || make_server()) {
		printf("not ok - the stage cannot be set: %s\n", strerror(errno));
		return 1;
	}
	r = unit_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
	tftp_fastpath_free(fastpath);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command) ? 1 : r;
}
