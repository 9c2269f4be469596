/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where an answer goes, and what it holds. Messages go through the server's decisions; the store,
 * the interfaces and sendmmsg() are this file's, so that each answer is seen as it leaves, with its
 * destination; there are no sockets.
 */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <sys/timex.h>

#include "daemon/dhcp/book.h"
#include "daemon/dhcp/private.h"
#include "tcmu-handler/image/bytes.h"

#define NET       0x0a4d0000u /* 10.77.0.0/24 */
#define US        (NET + 1)
#define RELAY     (NET + 2)
#define FIRST     (NET + 100) /* of the range */
#define ELSEWHERE 0x0a580005u /* in no subnet */
#define OTHER     (NET + 66)  /* another DHCP server */
#define UDP_FD    41
#define PACKET_FD 42

static struct config config;
static struct config_subnet subnet;
static struct boot_answer boot;
static struct loop *loop;
static struct dhcp_server *server;
static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};

static struct boot_identity leased;      /* what boot_leased() was told last */
static unsigned int written;             /* leases that were written */
static const struct state_lease *stored; /* what the state has */
static size_t stored_count;

/* --- the clock, the store, the PCs' records and the interfaces --- */
static bool clock_right; /* NTP says so */
int adjtimex(struct timex *t)
{
	t->status = clock_right ? 0 : STA_UNSYNC;
	return clock_right ? TIME_OK : TIME_ERROR;
}

struct state {
	int unused;
};
static struct state the_store;

const char *state_file(const struct state *state)
{
	(void)state;
	return "test.db";
}
const char *state_error(const struct state *state)
{
	(void)state;
	return "";
}
int state_begin_lazy(struct state *state)
{
	(void)state;
	return 0;
}
void state_rollback(struct state *state)
{
	(void)state;
}
int state_lease_put(struct state *state, const struct state_lease *lease)
{
	(void)state, (void)lease;
	written++;
	return 0;
}
int state_commit(struct state *state)
{
	(void)state;
	return 0;
}
void state_job(struct state *state, state_job_fn work, void *data, state_done_fn done, void *arg)
{
	int r = work(state, data);

	free(data);
	done(arg, r);
}
bool state_flush(struct state *state, uint64_t ns)
{
	(void)state, (void)ns;
	return true;
}
int state_lease_each(struct state *state, void (*fn)(void *arg, const struct state_lease *lease), void *arg)
{
	(void)state;
	for (size_t i = 0; i < stored_count; i++)
		fn(arg, &stored[i]);
	return 0;
}

void boot_who(struct boot *b, struct boot_identity *who)
{
	(void)b;
	/* Those with a UUID stand in the file, all others do not. */
	if (who->has_uuid)
		snprintf(who->key, sizeof(who->key), "uuid-%02x", who->uuid[0]);
	else
		identity_of_mac(who->mac, who->key);
}
void boot_identify(struct boot *b, const struct boot_identity *who, uint32_t at, struct boot_answer *ret)
{
	(void)b, (void)who, (void)at;
	*ret = boot;
}
void boot_rolled_back(struct boot *b, const struct boot_identity *who)
{
	(void)b, (void)who;
}

void boot_not_noted(struct boot *b, const struct boot_identity *who)
{
	(void)b, (void)who;
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

int boot_leased(struct boot *b, const struct boot_identity *who, uint32_t address, const char *nbp)
{
	(void)b, (void)address, (void)nbp;
	leased = *who;
	return 0;
}

/* One Ethernet with one address of ours. */
static struct netif_link link = {.index = 3, .name = "lan", .mtu = 1500, .up = true, .running = true};
static const struct netif_address own = {.index = 3, .address = US, .prefix = 24};

const struct netif_link *netif_link_by_name(const struct netif *netif, const char *name)
{
	(void)netif;
	return strcmp(name, link.name) ? NULL : &link;
}
const struct netif_link *netif_link_by_index(const struct netif *netif, int index)
{
	(void)netif;
	return index == link.index ? &link : NULL;
}
const struct netif_link *netif_link_at(const struct netif *netif, size_t n)
{
	(void)netif;
	return n ? NULL : &link;
}
const struct netif_address *netif_address_at(const struct netif *netif, int index, size_t n)
{
	(void)netif;
	return !n && (!index || index == own.index) ? &own : NULL;
}
const struct netif_address *netif_address_in(const struct netif *netif, int index, uint32_t network, uint8_t prefix)
{
	(void)network, (void)prefix;
	return netif_address_at(netif, index, 0);
}
const struct netif_address *netif_address_own(const struct netif *netif, uint32_t address)
{
	(void)netif;
	return address == own.address ? &own : NULL;
}
int netif_watch_add(struct netif *netif, netif_change_fn fn, void *arg, struct netif_watch **ret)
{
	(void)netif, (void)fn, (void)arg;
	*ret = NULL;
	return 0;
}
void netif_watch_free(struct netif_watch *watch)
{
	(void)watch;
}

/* --- what leaves --- */
struct left {
	unsigned int count; /* since said() */
	int fd;
	uint32_t address; /* of the IP header or the socket address */
	uint16_t port;
	uint8_t mac[6]; /* of the frame */
	int ifindex;    /* of the frame, or asked for by IP_PKTINFO */
	uint32_t source;
	uint8_t data[DHCP_PACKET_MAX];
	size_t length;
	struct dhcp_packet packet;
};
static struct left left;

static void look_frame(const struct msghdr *msg)
{
	const struct sockaddr_ll *ll = msg->msg_name;
	const uint8_t *headers = msg->msg_iov[0].iov_base;

	CU_ASSERT_EQUAL(ll->sll_family, AF_PACKET);
	CU_ASSERT_EQUAL(ll->sll_halen, 6);
	memcpy(left.mac, ll->sll_addr, 6);
	left.ifindex = ll->sll_ifindex;
	left.source = be32_at(headers + 12);
	left.address = be32_at(headers + 16);
	left.port = be16_at(headers + 22);
}

static void look_datagram(struct msghdr *msg)
{
	const struct sockaddr_in *in = msg->msg_name;
	const struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	struct in_pktinfo info;

	CU_ASSERT_EQUAL(in->sin_family, AF_INET);
	left.address = ntohl(in->sin_addr.s_addr);
	left.port = ntohs(in->sin_port);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	memcpy(&info, CMSG_DATA(c), sizeof(info));
	left.ifindex = info.ipi_ifindex;
	left.source = ntohl(info.ipi_spec_dst.s_addr);
}

int sendmmsg(int fd, struct mmsghdr *msg, unsigned int n, int flags)
{
	(void)flags;
	for (unsigned int i = 0; i < n; i++) {
		struct msghdr *m = &msg[i].msg_hdr;
		const struct iovec *iov = &m->msg_iov[m->msg_iovlen - 1];

		left.count++;
		left.fd = fd;
		if (fd == PACKET_FD)
			look_frame(m);
		else
			look_datagram(m);
		left.length = iov->iov_len;
		memcpy(left.data, iov->iov_base, iov->iov_len);
		CU_ASSERT_EQUAL_FATAL(dhcp_packet_parse(&left.packet, left.data, left.length), 0);
	}
	return (int)n;
}

/* --- a client --- */
static void begin(void)
{
	CU_ASSERT_EQUAL_FATAL(loop_new(&loop), 0);
	memset(&config, 0, sizeof(config));
	memset(&boot, 0, sizeof(boot));
	boot.known = boot.booted = true;
	memset(&leased, 0, sizeof(leased));
	stored = NULL;
	stored_count = written = 0;
	subnet = (struct config_subnet){.name = "lan",
					.interface = "lan",
					.network = NET,
					.prefix = 24,
					.server = US,
					.range = {{FIRST, NET + 199}},
					.ranges = 1,
					.lease_time = 800};
	config.subnet = &subnet;
	config.subnets = 1;
	config.register_clients = true;
	/* Mode off while it is made: no sockets. */
	CU_ASSERT_EQUAL_FATAL(dhcp_server_new(&server, loop, NULL, &config, &the_store, NULL), 0);
	config.dhcp_mode = CONFIG_DHCP_FULL;
	server->packet_fd = PACKET_FD;
}

/* With another configuration; as above, without sockets. */
static void reload(void)
{
	config.dhcp_mode = CONFIG_DHCP_OFF;
	CU_ASSERT_EQUAL_FATAL(dhcp_server_reload(server, &config), 0);
	config.dhcp_mode = CONFIG_DHCP_FULL;
}

static void end(void)
{
	server->packet_fd = -1;
	dhcp_server_free(server);
	loop_free(loop);
}

/* A message that a test makes; zero is absent. */
struct message {
	uint8_t type;
	uint32_t giaddr, ciaddr;
	uint16_t flags;
	uint32_t requested, chosen; /* options 50 and 54 */
	uint32_t source;            /* of the datagram */
	uint16_t max_size;          /* option 57 */
	const char *id;             /* option 61 */
	size_t relay;               /* length of option 82 */
	uint32_t local;             /* that it was sent to; 0: ours */
	uint32_t who;               /* another MAC */
	bool ipxe;
	const char *class; /* option 60, */
	const char *uuid;  /* and 97: 16 bytes */
};

static enum dhcp_outcome said(const struct message *m)
{
	static struct dhcp_listener listener = {.fd = UDP_FD, .port = DHCP_PORT_SERVER};
	static struct dhcp_request r;
	struct dhcp_packet p = {.htype = 1, .hlen = 6, .flags = m->flags, .giaddr = m->giaddr};
	struct dhcp_writer w;
	uint8_t relay[255] = {2, 0}; /* a remote id */
	enum dhcp_outcome outcome;

	memcpy(p.chaddr, mac, 6);
	if (m->who)
		be32_put(p.chaddr + 2, m->who);
	dhcp_writer_begin(&w, &p, DHCP_PACKET_MAX);
	w.data[0] = 1;
	dhcp_writer_ciaddr(&w, m->ciaddr);
	dhcp_writer_u8(&w, DHCP_OPT_TYPE, m->type);
	if (m->requested)
		dhcp_writer_u32(&w, DHCP_OPT_REQUESTED_ADDRESS, m->requested);
	if (m->chosen)
		dhcp_writer_u32(&w, DHCP_OPT_SERVER_ID, m->chosen);
	if (m->max_size)
		dhcp_writer_u16(&w, DHCP_OPT_MAX_SIZE, m->max_size);
	if (m->id)
		dhcp_writer_text(&w, DHCP_OPT_CLIENT_ID, m->id);
	if (m->class)
		dhcp_writer_text(&w, DHCP_OPT_VENDOR_CLASS, m->class);
	if (m->uuid) {
		uint8_t wire[17] = {0};

		memcpy(wire + 1, m->uuid, 16);
		dhcp_writer_option(&w, DHCP_OPT_UUID, wire, sizeof(wire));
	}
	if (m->ipxe)
		dhcp_writer_text(&w, DHCP_OPT_USER_CLASS, "iPXE");
	if (m->relay) {
		relay[1] = (uint8_t)(m->relay - 2);
		dhcp_writer_option(&w, DHCP_OPT_RELAY, relay, m->relay);
	}
	memset(&r, 0, sizeof(r));
	CU_ASSERT_EQUAL_FATAL(dhcp_packet_parse(&r.packet, w.data, dhcp_writer_end(&w)), 0);
	dhcp_sender_read(&r.sender, &r.packet);
	listener.server = server;
	r.listener = &listener;
	r.ifindex = link.index;
	r.local = m->local ? m->local : US;
	r.source = m->source;
	memset(&left, 0, sizeof(left));
	outcome = dhcp_decide(server, &r);
	dhcp_batch_drain(server);
	return outcome;
}

/* The client has this address. */
static void lease(uint32_t address)
{
	struct lease_client client = {.has_mac = true};
	struct lease *offered;

	memcpy(client.mac, mac, sizeof(mac));
	CU_ASSERT_EQUAL_FATAL(lease_claim(server->leases, 0, &client, 0, address, &offered), 0);
	lease_set(server->leases, offered, LEASE_OFFERED, &client, dhcp_now(server) + LEASE_OFFER_TIME);
	said(&(struct message){.type = DHCP_REQUEST, .requested = address, .chosen = US});
	CU_ASSERT_EQUAL(left.packet.type, DHCP_ACK);
}

/* --- where an answer goes (RFC 2131 §4.1) --- */
#define B   DHCP_FLAG_BROADCAST
#define ALL INADDR_BROADCAST

static void test_dhcp_answer_goes_where_rfc_2131_says(void)
{
	/* clang-format off */
	static const struct {
		uint8_t type;
		uint32_t giaddr, ciaddr;
		uint16_t flags;
		uint32_t requested, chosen, source;
		uint8_t answer;
		int fd;
		uint32_t address;
		uint16_t port;
	} row[] = {
		/* No address yet: to the MAC, or to all when the client cannot take that. */
		{DHCP_DISCOVER, 0, 0, 0, 0, 0, 0, DHCP_OFFER, PACKET_FD, FIRST, 68},
		{DHCP_DISCOVER, 0, 0, B, 0, 0, 0, DHCP_OFFER, UDP_FD, ALL, 68},
		{DHCP_REQUEST, 0, 0, 0, FIRST, US, 0, DHCP_ACK, PACKET_FD, FIRST, 68},
		{DHCP_REQUEST, 0, 0, B, FIRST, US, 0, DHCP_ACK, UDP_FD, ALL, 68},
		{DHCP_REQUEST, 0, 0, 0, FIRST, 0, 0, DHCP_ACK, PACKET_FD, FIRST, 68},
		{DHCP_REQUEST, 0, 0, B, FIRST, 0, 0, DHCP_ACK, UDP_FD, ALL, 68},
		/* An address that it uses: there, whatever the flag says. */
		{DHCP_REQUEST, 0, FIRST, 0, 0, 0, 0, DHCP_ACK, UDP_FD, FIRST, 68},
		{DHCP_REQUEST, 0, FIRST, B, 0, 0, 0, DHCP_ACK, UDP_FD, FIRST, 68},
		{DHCP_INFORM, 0, NET + 9, 0, 0, 0, 0, DHCP_ACK, UDP_FD, NET + 9, 68},
		{DHCP_INFORM, 0, NET + 9, B, 0, 0, 0, DHCP_ACK, UDP_FD, NET + 9, 68},
		{DHCP_INFORM, 0, 0, 0, 0, 0, NET + 8, DHCP_ACK, UDP_FD, NET + 8, 68},
		/* A relay: to its server port, whatever else is set. */
		{DHCP_DISCOVER, RELAY, 0, 0, 0, 0, 0, DHCP_OFFER, UDP_FD, RELAY, 67},
		{DHCP_DISCOVER, RELAY, 0, B, 0, 0, 0, DHCP_OFFER, UDP_FD, RELAY, 67},
		{DHCP_REQUEST, RELAY, 0, 0, FIRST, US, 0, DHCP_ACK, UDP_FD, RELAY, 67},
		{DHCP_REQUEST, RELAY, FIRST, 0, 0, 0, 0, DHCP_ACK, UDP_FD, RELAY, 67},
		{DHCP_REQUEST, RELAY, FIRST, B, 0, 0, 0, DHCP_ACK, UDP_FD, RELAY, 67},
		/* NAK: to all, even when the client believes to have an address. */
		{DHCP_REQUEST, 0, 0, 0, ELSEWHERE, 0, 0, DHCP_NAK, UDP_FD, ALL, 68},
		{DHCP_REQUEST, 0, 0, B, ELSEWHERE, 0, 0, DHCP_NAK, UDP_FD, ALL, 68},
		{DHCP_REQUEST, 0, ELSEWHERE, 0, 0, 0, 0, DHCP_NAK, UDP_FD, ALL, 68},
		{DHCP_REQUEST, RELAY, 0, 0, ELSEWHERE, 0, 0, DHCP_NAK, UDP_FD, RELAY, 67},
		{DHCP_REQUEST, RELAY, ELSEWHERE, 0, 0, 0, 0, DHCP_NAK, UDP_FD, RELAY, 67},
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct message m = {.type = row[i].type,
				    .giaddr = row[i].giaddr,
				    .ciaddr = row[i].ciaddr,
				    .flags = row[i].flags,
				    .requested = row[i].requested,
				    .chosen = row[i].chosen,
				    .source = row[i].source};
		bool right;

		begin();
		if (m.ciaddr == FIRST || (m.requested == FIRST && !m.chosen))
			lease(FIRST);
		else if (m.requested == FIRST)
			said(&(struct message){.type = DHCP_DISCOVER});
		CU_ASSERT_EQUAL(said(&m), DHCP_OUTCOME_ANSWERED);
		right = left.count == 1 && left.packet.type == row[i].answer && left.fd == row[i].fd &&
			left.address == row[i].address && left.port == row[i].port && left.source == US;
		CU_ASSERT(right);
		if (!right)
			printf("# row %zu: %u answers, type %u by %d to %08x port %u from %08x\n", i, left.count,
			       left.packet.type, left.fd, left.address, left.port, left.source);
		/* What is for all or for a MAC needs an interface; what is routed must not. */
		if (left.fd == PACKET_FD)
			CU_ASSERT(!memcmp(left.mac, mac, 6));
		CU_ASSERT_EQUAL(left.ifindex,
				left.fd == PACKET_FD || left.address == INADDR_BROADCAST ? link.index : 0);
		end();
	}
}

static void test_dhcp_answer_to_all_where_a_mac_cannot_be_reached(void)
{
	begin();
	server->packet_fd = -1;
	said(&(struct message){.type = DHCP_DISCOVER});
	CU_ASSERT_EQUAL(left.fd, UDP_FD);
	CU_ASSERT_EQUAL(left.address, INADDR_BROADCAST);
	server->packet_fd = PACKET_FD;
	link.loopback = true;
	said(&(struct message){.type = DHCP_DISCOVER});
	CU_ASSERT_EQUAL(left.fd, UDP_FD);
	CU_ASSERT_EQUAL(left.address, INADDR_BROADCAST);
	link.loopback = false;
	end();
}

/* The relay reads the flag: a client with a wrong address hears only what is sent to all (§4.3.2).
 */
static void test_dhcp_relayed_nak_asks_for_a_broadcast(void)
{
	begin();
	said(&(struct message){.type = DHCP_REQUEST, .giaddr = RELAY, .requested = ELSEWHERE});
	CU_ASSERT_EQUAL(left.packet.type, DHCP_NAK);
	CU_ASSERT_EQUAL(left.packet.flags, B);
	CU_ASSERT_EQUAL(left.packet.giaddr, RELAY);
	said(&(struct message){.type = DHCP_DISCOVER, .giaddr = RELAY});
	CU_ASSERT_EQUAL(left.packet.type, DHCP_OFFER);
	CU_ASSERT_EQUAL(left.packet.flags, 0);
	end();
}

/* --- what an answer holds --- */
static uint32_t number(uint8_t code)
{
	uint32_t value = 0;

	CU_ASSERT(dhcp_option_u32(&left.packet, code, &value));
	return value;
}

static bool has(uint8_t code)
{
	size_t n;

	return dhcp_option(&left.packet, code, &n) != NULL;
}

static void test_dhcp_times_of_a_lease(void)
{
	begin();
	said(&(struct message){.type = DHCP_DISCOVER});
	CU_ASSERT_EQUAL(number(DHCP_OPT_LEASE_TIME), 800);
	CU_ASSERT_EQUAL(number(DHCP_OPT_RENEWAL), 400);
	CU_ASSERT_EQUAL(number(DHCP_OPT_REBINDING), 700); /* 7/8 */
	subnet.lease_time = 4000000000u;
	said(&(struct message){.type = DHCP_DISCOVER});
	CU_ASSERT_EQUAL(number(DHCP_OPT_RENEWAL), 2000000000u);
	CU_ASSERT_EQUAL(number(DHCP_OPT_REBINDING), 3500000000u);
	subnet.lease_time = UINT32_MAX; /* for ever: there is nothing to renew */
	said(&(struct message){.type = DHCP_DISCOVER});
	CU_ASSERT_EQUAL(number(DHCP_OPT_LEASE_TIME), UINT32_MAX);
	CU_ASSERT(!has(DHCP_OPT_RENEWAL));
	CU_ASSERT(!has(DHCP_OPT_REBINDING));
	end();
}

static bool echoed(const char *id)
{
	size_t n;
	const uint8_t *value = dhcp_option(&left.packet, DHCP_OPT_CLIENT_ID, &n);

	return value && n == strlen(id) && !memcmp(value, id, n);
}

/* RFC 6842: in every answer, a NAK as well; and none where there was none. */
static void test_dhcp_client_identifier_comes_back(void)
{
	begin();
	said(&(struct message){.type = DHCP_DISCOVER, .id = "\1abc"});
	CU_ASSERT(left.packet.type == DHCP_OFFER && echoed("\1abc"));
	said(&(struct message){.type = DHCP_REQUEST, .requested = FIRST, .chosen = US, .id = "\1abc"});
	CU_ASSERT(left.packet.type == DHCP_ACK && echoed("\1abc"));
	said(&(struct message){.type = DHCP_REQUEST, .requested = ELSEWHERE, .id = "\1abc"});
	CU_ASSERT(left.packet.type == DHCP_NAK && echoed("\1abc"));
	said(&(struct message){.type = DHCP_DISCOVER});
	CU_ASSERT(left.packet.type == DHCP_OFFER && !has(DHCP_OPT_CLIENT_ID));
	end();
}

/* Five options of 102 bytes: 576 take two or three of them, an Ethernet frame takes all. */
static void configure_much(void)
{
	subnet.options.count = 5;
	for (unsigned int i = 0; i < 5; i++)
		subnet.options.option[i] = (struct config_option){.code = (uint8_t)(224 + i), .length = 100};
}

static unsigned int configured(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < 5; i++)
		n += has((uint8_t)(224 + i));
	return n;
}

/* A key is whose a lease is: two boards with one card have two, one board with two cards has one. */
static void test_dhcp_lease_goes_by_the_key(void)
{
	const char *anna = "AAAAAAAAAAAAAAAA", *bert = "BBBBBBBBBBBBBBBB";
	struct message m = {.type = DHCP_DISCOVER, .uuid = anna};
	uint32_t annas, other;

	begin();
	said(&m);
	annas = left.packet.yiaddr;
	m = (struct message){.type = DHCP_REQUEST, .uuid = anna, .requested = annas, .chosen = US};
	said(&m);
	CU_ASSERT_EQUAL(left.packet.type, DHCP_ACK);
	CU_ASSERT_STRING_EQUAL(leased.key, "uuid-41");
	said(&(struct message){.type = DHCP_DISCOVER, .uuid = bert});
	other = left.packet.yiaddr;
	CU_ASSERT(other && other != annas);
	m = (struct message){.type = DHCP_REQUEST, .uuid = bert, .requested = annas, .chosen = US};
	said(&m);
	CU_ASSERT_EQUAL(left.packet.type, DHCP_NAK);
	/* A client identifier that looks like a key is none. */
	m = (struct message){.type = DHCP_REQUEST, .id = "bootwell-pc=uuid-41", .requested = annas, .chosen = US};
	said(&m);
	CU_ASSERT_EQUAL(left.packet.type, DHCP_NAK);
	/* By another card: what she has is hers when the network was asked (here it cannot be), not before. */
	m = (struct message){.type = DHCP_REQUEST, .uuid = anna, .requested = annas, .chosen = US, .who = 77};
	said(&m);
	CU_ASSERT_EQUAL(left.packet.type, DHCP_NAK);
	said(&(struct message){.type = DHCP_RELEASE, .uuid = anna, .ciaddr = annas, .who = 77});
	CU_ASSERT_EQUAL(lease_by_address(server->leases, annas)->state, LEASE_BOUND);
	said(&(struct message){.type = DHCP_DISCOVER, .uuid = anna, .who = 77});
	CU_ASSERT_EQUAL(left.packet.yiaddr, annas);
	said(&m);
	CU_ASSERT_EQUAL(left.packet.type, DHCP_ACK);
	end();
}

/* A restart knows them by the key as well. */
static void test_dhcp_lease_by_key_is_restored(void)
{
	struct state_lease row = {
		.address = FIRST + 7, .state = STATE_LEASE_BOUND, .mac = {2, 0, 0, 0, 0, 9}, .version = {1}};

	row.id_length = identity_lease_id("uuid-41", row.id);
	begin();
	book_restore(server, &row, 600);
	said(&(struct message){.type = DHCP_DISCOVER, .uuid = "AAAAAAAAAAAAAAAA"});
	CU_ASSERT_EQUAL(left.packet.yiaddr, FIRST + 7);
	end();
}

static void test_dhcp_size_that_the_client_takes(void)
{
	begin();
	configure_much();
	said(&(struct message){.type = DHCP_DISCOVER});
	CU_ASSERT(left.length <= 548);
	CU_ASSERT(configured() < 5);
	said(&(struct message){.type = DHCP_DISCOVER, .max_size = 300}); /* less than allowed */
	CU_ASSERT(left.length <= 548 && configured() >= 2);
	said(&(struct message){.type = DHCP_DISCOVER, .max_size = 700});
	CU_ASSERT(left.length > 548 && left.length <= 672);
	said(&(struct message){.type = DHCP_DISCOVER, .max_size = 1472});
	CU_ASSERT_EQUAL(configured(), 5);
	/* Not more than the interface takes in one piece, whatever the client says. */
	link.mtu = 700;
	said(&(struct message){.type = DHCP_DISCOVER, .max_size = 1472});
	CU_ASSERT(left.length > 548 && left.length <= 672);
	link.mtu = 1500;
	end();
}

/* The code of the option before the end mark. */
static uint8_t last_option(void)
{
	uint8_t last = 0;

	for (size_t i = DHCP_HEADER; i + 1 < left.length && left.data[i] != DHCP_OPT_END;) {
		last = left.data[i];
		i += last == DHCP_OPT_PAD ? 1 : 2u + left.data[i + 1];
	}
	return last;
}

/* RFC 3046 §2.2: the relay gets its option back, as the last one, however full the answer is. */
static void test_dhcp_full_answer_keeps_room_for_the_relay(void)
{
	const uint8_t *value;
	size_t n;

	begin();
	configure_much();
	for (size_t length = 3; length < 150; length++) {
		said(&(struct message){.type = DHCP_DISCOVER, .giaddr = RELAY, .relay = length, .id = "\1abc"});
		value = dhcp_option(&left.packet, DHCP_OPT_RELAY, &n);
		CU_ASSERT(value && n == length);
		CU_ASSERT_EQUAL(last_option(), DHCP_OPT_RELAY);
		CU_ASSERT(left.length <= 548);
		CU_ASSERT(configured() < 5);
		CU_ASSERT(echoed("\1abc"));
		/* Every message counts against the client's rate. */
		if (length % 20 == 0) {
			end();
			begin();
			configure_much();
		}
	}
	end();
}

/* --- what a message changes without an answer --- */
static void test_dhcp_offer_is_free_again_when_another_server_is_chosen(void)
{
	begin();
	said(&(struct message){.type = DHCP_DISCOVER});
	CU_ASSERT_EQUAL(lease_table_count(server->leases, LEASE_OFFERED), 1);
	CU_ASSERT_EQUAL(said(&(struct message){.type = DHCP_REQUEST, .requested = NET + 201, .chosen = OTHER}),
			DHCP_OUTCOME_OTHER_SERVER);
	CU_ASSERT_EQUAL(left.count, 0);
	CU_ASSERT_EQUAL(lease_table_count(server->leases, LEASE_OFFERED), 0);
	/* A lease that it has is no offer: it stays until it ends. */
	lease(FIRST);
	CU_ASSERT_EQUAL(said(&(struct message){.type = DHCP_REQUEST, .requested = NET + 201, .chosen = OTHER}),
			DHCP_OUTCOME_OTHER_SERVER);
	CU_ASSERT_EQUAL(lease_table_count(server->leases, LEASE_BOUND), 1);
	end();
}

/* --- strangers --- */
static const struct lease *lease_of(uint32_t address)
{
	return lease_by_address(server->leases, address);
}

static void test_dhcp_address_that_was_not_offered_is_refused(void)
{
	begin();
	said(&(struct message){.type = DHCP_REQUEST, .requested = FIRST + 5, .chosen = US, .ipxe = true});
	CU_ASSERT_EQUAL(left.packet.type, DHCP_NAK);
	CU_ASSERT_EQUAL(lease_table_count(server->leases, LEASE_BOUND), 0);
	/* Nor does a PC get a second one, by whatever message: it keeps the one that it has. */
	lease(FIRST);
	said(&(struct message){.type = DHCP_REQUEST, .requested = FIRST + 5, .chosen = US, .ipxe = true});
	CU_ASSERT_EQUAL(left.packet.type, DHCP_NAK);
	said(&(struct message){.type = DHCP_REQUEST, .requested = FIRST + 5, .ipxe = true});
	CU_ASSERT_EQUAL(left.packet.type, DHCP_NAK);
	said(&(struct message){.type = DHCP_DISCOVER, .requested = FIRST + 5});
	CU_ASSERT_EQUAL(left.packet.yiaddr, FIRST);
	CU_ASSERT_EQUAL(lease_of(FIRST)->state, LEASE_BOUND);
	/* What configuration reserves for it needs no offer. */
	boot.reserved = NET + 9;
	said(&(struct message){.type = DHCP_REQUEST, .requested = NET + 9, .chosen = US});
	CU_ASSERT_EQUAL(left.packet.type, DHCP_ACK);
	end();
}

/* An address is declined or given back by the PC that has it, and by nobody else. */
static void test_dhcp_strangers_end_no_lease(void)
{
	begin();
	lease(FIRST);
	CU_ASSERT_EQUAL(said(&(struct message){.type = DHCP_DECLINE, .requested = FIRST, .chosen = US, .who = 9}),
			DHCP_OUTCOME_UNKNOWN);
	CU_ASSERT_EQUAL(lease_of(FIRST)->state, LEASE_BOUND);
	CU_ASSERT_EQUAL(said(&(struct message){.type = DHCP_RELEASE, .ciaddr = FIRST, .chosen = US, .who = 9}),
			DHCP_OUTCOME_UNKNOWN);
	CU_ASSERT_EQUAL(lease_of(FIRST)->state, LEASE_BOUND);
	CU_ASSERT_EQUAL(said(&(struct message){.type = DHCP_DECLINE, .requested = FIRST, .chosen = US}),
			DHCP_OUTCOME_NOTED);
	CU_ASSERT_EQUAL(lease_of(FIRST)->state, LEASE_QUARANTINED);
	end();
}

/* A NAK says which of two things is wrong; what is reserved for a PC elsewhere it does not get here. */
static void test_dhcp_address_of_another_network(void)
{
	const uint8_t *text;
	size_t n;

	begin();
	said(&(struct message){.type = DHCP_REQUEST, .requested = ELSEWHERE});
	CU_ASSERT_EQUAL(left.packet.type, DHCP_NAK);
	text = dhcp_option(&left.packet, DHCP_OPT_MESSAGE, &n);
	CU_ASSERT(text && n == strlen("wrong network") && !memcmp(text, "wrong network", n));
	boot.reserved = ELSEWHERE;
	said(&(struct message){.type = DHCP_REQUEST, .requested = ELSEWHERE});
	CU_ASSERT_EQUAL(left.packet.type, DHCP_NAK);
	said(&(struct message){.type = DHCP_DISCOVER, .requested = ELSEWHERE});
	CU_ASSERT_EQUAL(left.packet.type, DHCP_OFFER);
	CU_ASSERT_EQUAL(left.packet.yiaddr, FIRST);
	end();
}

/* Loopback, "this network", groups and "all" are no relay's address: an answer there would be somebody's flood. */
static void test_dhcp_relay_that_no_machine_can_be(void)
{
	static const uint32_t bad[] = {0x7f000001, 5, 0xe0000001, 0xefffffff, 0xf0000001, ALL};

	begin();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CU_ASSERT_EQUAL(said(&(struct message){.type = DHCP_DISCOVER, .giaddr = bad[i]}),
				DHCP_OUTCOME_MALFORMED);
		CU_ASSERT_EQUAL(left.count, 0);
	}
	CU_ASSERT_EQUAL(said(&(struct message){.type = DHCP_DISCOVER, .giaddr = RELAY}), DHCP_OUTCOME_ANSWERED);
	end();
}

/* A running PC's card asks "is this mine still?": that is no boot, whoever sends it. */
static void test_dhcp_one_datagram_is_no_boot(void)
{
	begin();
	lease(FIRST);
	said(&(struct message){.type = DHCP_REQUEST, .requested = FIRST, .ipxe = true});
	CU_ASSERT_EQUAL(left.packet.type, DHCP_ACK);
	CU_ASSERT_FALSE(leased.ipxe);
	said(&(struct message){.type = DHCP_REQUEST, .ciaddr = FIRST, .ipxe = true});
	CU_ASSERT_EQUAL(left.packet.type, DHCP_ACK);
	CU_ASSERT_FALSE(leased.ipxe);
	said(&(struct message){.type = DHCP_REQUEST, .requested = FIRST, .chosen = US, .ipxe = true});
	CU_ASSERT_TRUE(leased.ipxe);
	end();
}

static void test_dhcp_pc_that_others_shout_for_is_served(void)
{
	unsigned int answered = 0, acks = 0;

	begin();
	lease(FIRST);
	written = 0;
	for (int i = 0; i < 500; i++) {
		answered += said(&(struct message){.type = DHCP_DISCOVER}) == DHCP_OUTCOME_ANSWERED;
		said(&(struct message){.type = DHCP_REQUEST, .requested = FIRST, .chosen = US});
		acks += left.packet.type == DHCP_ACK && left.packet.yiaddr == FIRST;
	}
	CU_ASSERT_EQUAL(answered, 500);
	CU_ASSERT_EQUAL(acks, 500);
	CU_ASSERT(written <= DHCP_SOURCE_BURST);
	CU_ASSERT_EQUAL(number(DHCP_OPT_LEASE_TIME), 800); /* what is left of it: the clock of the loop stands */
	/* What takes from a PC is not done in a flood. */
	CU_ASSERT_EQUAL(said(&(struct message){.type = DHCP_RELEASE, .ciaddr = FIRST}), DHCP_OUTCOME_LIMITED);
	CU_ASSERT_EQUAL(lease_of(FIRST)->state, LEASE_BOUND);
	/* All of them together cost no more than a bound. */
	for (int i = 0; i < 2 * DHCP_OVER_RATE; i++)
		if (said(&(struct message){.type = DHCP_DISCOVER}) == DHCP_OUTCOME_LIMITED)
			break;
	CU_ASSERT_EQUAL(said(&(struct message){.type = DHCP_DISCOVER}), DHCP_OUTCOME_LIMITED);
	CU_ASSERT_EQUAL(said(&(struct message){.type = DHCP_DISCOVER, .who = 77}), DHCP_OUTCOME_ANSWERED);
	end();
}

static void test_dhcp_first_lease_is_brief_until_its_pc_goes_on(void)
{
	struct lease *l;

	begin();
	subnet.lease_time = 8000;
	boot.known = boot.booted = false;
	said(&(struct message){.type = DHCP_DISCOVER});
	CU_ASSERT_EQUAL(number(DHCP_OPT_LEASE_TIME), DHCP_LEASE_BRIEF);
	said(&(struct message){.type = DHCP_REQUEST, .requested = FIRST, .chosen = US});
	CU_ASSERT_EQUAL(number(DHCP_OPT_LEASE_TIME), DHCP_LEASE_BRIEF);
	boot.known = true; /* it has a record now */
	said(&(struct message){.type = DHCP_REQUEST, .requested = FIRST, .chosen = US});
	CU_ASSERT_EQUAL(number(DHCP_OPT_LEASE_TIME), DHCP_LEASE_BRIEF);
	/* Renewed (no prober here: nothing more is asked), and the next time it is as any other. */
	said(&(struct message){.type = DHCP_REQUEST, .ciaddr = FIRST});
	CU_ASSERT_EQUAL(number(DHCP_OPT_LEASE_TIME), DHCP_LEASE_BRIEF);
	said(&(struct message){.type = DHCP_REQUEST, .ciaddr = FIRST});
	CU_ASSERT_EQUAL(number(DHCP_OPT_LEASE_TIME), 8000);
	/* Gone on without DHCP: when the brief time is over the lease lasts. Not gone on: the address is free. */
	l = lease_by_address(server->leases, FIRST);
	for (int gone_on = 1; gone_on >= 0; gone_on--) {
		boot.booted = gone_on;
		lease_set(server->leases, l, LEASE_BOUND, NULL, dhcp_now(server) - DHCP_LEASE_GRACE);
		l->brief = true;
		dhcp_batch_expire(server);
		CU_ASSERT_EQUAL(l->state, gone_on ? LEASE_BOUND : LEASE_FREE);
	}
	/* A PC that has booted here before gets it whole. */
	boot.booted = true;
	said(&(struct message){.type = DHCP_DISCOVER});
	CU_ASSERT_EQUAL(number(DHCP_OPT_LEASE_TIME), 8000);
	end();
}

static void test_dhcp_new_pcs_are_limited_known_ones_are_not(void)
{
	unsigned int acks = 0;

	begin();
	subnet.prefix = 16;
	subnet.network = NET & 0xffff0000;
	subnet.range[0] = (struct config_range){FIRST, FIRST + 19999};
	reload();
	boot.known = boot.booted = false;
	for (uint32_t who = 1; who <= 2 * DHCP_NEW_BURST; who++) {
		said(&(struct message){.type = DHCP_DISCOVER, .who = who});
		said(&(struct message){
			.type = DHCP_REQUEST, .requested = left.packet.yiaddr, .chosen = US, .who = who});
		acks += left.count == 1 && left.packet.type == DHCP_ACK;
	}
	CU_ASSERT_EQUAL(acks, DHCP_NEW_BURST);
	/* Who had a lease before is not new, whether he has a record or not; nor is anybody where none are kept. */
	said(&(struct message){.type = DHCP_RELEASE, .ciaddr = FIRST, .who = 1});
	said(&(struct message){.type = DHCP_DISCOVER, .who = 1});
	said(&(struct message){.type = DHCP_REQUEST, .requested = left.packet.yiaddr, .chosen = US, .who = 1});
	CU_ASSERT_EQUAL(left.packet.type, DHCP_ACK);
	config.register_clients = false;
	said(&(struct message){.type = DHCP_DISCOVER, .who = 88888});
	said(&(struct message){.type = DHCP_REQUEST, .requested = left.packet.yiaddr, .chosen = US, .who = 88888});
	CU_ASSERT_EQUAL(left.packet.type, DHCP_ACK);
	config.register_clients = true;
	boot.known = true;
	said(&(struct message){.type = DHCP_DISCOVER, .who = 99999});
	said(&(struct message){.type = DHCP_REQUEST, .requested = left.packet.yiaddr, .chosen = US, .who = 99999});
	CU_ASSERT_EQUAL(left.packet.type, DHCP_ACK);
	end();
}

static void test_dhcp_full_subnet_is_a_problem(void)
{
	struct dhcp_subnet_stats usage;

	begin();
	subnet.range[0].last = FIRST; /* one address */
	subnet.exclude[0] = (struct config_range){FIRST + 1, NET + 199};
	subnet.excludes = 1;
	reload();
	lease(FIRST);
	CU_ASSERT_PTR_NULL(dhcp_server_problem(server, 0));
	CU_ASSERT_EQUAL(said(&(struct message){.type = DHCP_DISCOVER, .who = 2}), DHCP_OUTCOME_EXHAUSTED);
	CU_ASSERT_PTR_NOT_NULL_FATAL(dhcp_server_problem(server, 0));
	CU_ASSERT_PTR_NOT_NULL(strstr(dhcp_server_problem(server, 0), "[subnet lan]"));
	CU_ASSERT_PTR_NULL(dhcp_server_problem(server, 1));
	CU_ASSERT_TRUE_FATAL(dhcp_server_subnet(server, 0, &usage));
	CU_ASSERT_EQUAL(usage.addresses, 1);
	CU_ASSERT_EQUAL(usage.leases, 1);
	CU_ASSERT_TRUE(usage.full);
	CU_ASSERT_FALSE(dhcp_server_subnet(server, 1, &usage));
	/* A person frees it. */
	CU_ASSERT_EQUAL(dhcp_server_free_leases(server, FIRST, false), 1);
	CU_ASSERT_EQUAL(said(&(struct message){.type = DHCP_DISCOVER, .who = 2}), DHCP_OUTCOME_ANSWERED);
	end();
}

/* --- clocks --- */
#define YEARS 157766400ll /* 5 of them, s */

static int64_t left_of(uint32_t address)
{
	return lease_of(address)->expires - dhcp_now(server);
}

/* As the state has a lease of which 600 s were left when it was written. */
static struct state_lease row_of(uint32_t address, uint8_t who, const uint8_t *id, int64_t ago)
{
	struct state_lease row = {.address = address,
				  .state = STATE_LEASE_BOUND,
				  .mac = {2, 0, 0, 0, 0, who},
				  .left = 600,
				  .version = {5 + who}};

	row.boot_s = (int64_t)(clock_boottime_ns() / CLOCK_NS) - ago;
	row.updated = clock_realtime_s() + YEARS; /* whatever it says */
	row.expires = row.updated - 7;
	if (id)
		memcpy(row.boot, id, sizeof(row.boot));
	return row;
}

/* Of this boot of the machine: by its own clock, whatever a person did to the other one meanwhile. */
static void test_dhcp_leases_of_this_boot_are_counted_by_its_clock(void)
{
	uint8_t id[16];
	struct state_lease had[3];

	clock_boot_id(id);
	had[0] = row_of(FIRST, 1, id, 100);
	had[1] = row_of(FIRST + 1, 2, id, 700);
	had[2] = row_of(FIRST + 2, 3, id, 700);
	had[2].left = LEASE_FOREVER;
	begin();
	stored = had;
	stored_count = 3;
	CU_ASSERT_EQUAL(book_open(server), 0);
	CU_ASSERT(left_of(FIRST) >= 499 && left_of(FIRST) <= 500);
	CU_ASSERT_EQUAL(lease_of(FIRST + 1)->state, LEASE_FREE);
	CU_ASSERT_EQUAL(lease_of(FIRST + 2)->expires, LEASE_FOREVER);
	end();
}

/* Of another boot, with a clock that nobody vouches for: a lease may still run for all that it had. */
static void test_dhcp_leases_in_doubt_are_alive(void)
{
	static const uint8_t id[16] = {1};
	struct state_lease had[5];

	clock_right = false;
	begin();
	for (uint8_t i = 0; i < 5; i++)
		had[i] = row_of(FIRST + i, i + 1, id, 0);
	had[1].updated = clock_realtime_s() - YEARS;
	had[2].updated = clock_realtime_s() + YEARS;
	had[3].state = STATE_LEASE_FREE; /* it had ended before, and was written so */
	memset(had[4].boot, 0, sizeof(had[4].boot));
	stored = had;
	stored_count = 5;
	CU_ASSERT_EQUAL(book_open(server), 0);
	CU_ASSERT_EQUAL(left_of(FIRST), 600);
	CU_ASSERT_EQUAL(left_of(FIRST + 1), 600);
	CU_ASSERT_EQUAL(left_of(FIRST + 2), 600);
	CU_ASSERT_EQUAL(lease_of(FIRST + 3)->state, LEASE_FREE);
	CU_ASSERT_EQUAL(left_of(FIRST + 4), 600);
	/* Where the clock is right, what has ended has ended, and nothing lasts longer than it was given for. */
	clock_right = true;
	had[0].updated = clock_realtime_s() - 300;
	CU_ASSERT(book_left(server, &had[0]) >= 300 && book_left(server, &had[0]) <= 310);
	CU_ASSERT(book_left(server, &had[1]) < 0);
	CU_ASSERT_EQUAL(book_left(server, &had[2]), 600);
	had[0].updated = 0; /* and when it was written nobody knew the time */
	CU_ASSERT_EQUAL(book_left(server, &had[0]), 600);
	clock_right = false;
	end();
}

/* A PC that has a newer lease keeps it, wherever the older one stands in the state; and that one is nobody's. */
static void test_dhcp_the_newest_lease_of_a_pc_wins(void)
{
	uint8_t id[16];

	clock_boot_id(id);
	for (int newest = 0; newest < 2; newest++) {
		struct state_lease had[2] = {row_of(FIRST, 1, id, 0), row_of(FIRST + 1, 1, id, 0)};

		had[newest].version[0] = 100;
		begin();
		stored = had;
		stored_count = 2;
		CU_ASSERT_EQUAL(book_open(server), 0);
		said(&(struct message){.type = DHCP_DISCOVER});
		CU_ASSERT_EQUAL(left.packet.yiaddr, FIRST + (uint32_t)newest);
		CU_ASSERT_EQUAL(lease_of(FIRST + 1 - (uint32_t)newest)->state, LEASE_BOUND);
		end();
	}
}

static void test_dhcp_order_of_versions(void)
{
	static const uint64_t a[2] = {5, 3}, b[2] = {5, 4}, c[2] = {6, 3}, none[2];

	CU_ASSERT_EQUAL(book_order(a, a), BOOK_SAME);
	CU_ASSERT_EQUAL(book_order(b, a), BOOK_NEWER);
	CU_ASSERT_EQUAL(book_order(a, c), BOOK_OLDER);
	CU_ASSERT_EQUAL(book_order(b, c), BOOK_CONCURRENT);
	CU_ASSERT_EQUAL(book_order(c, b), BOOK_CONCURRENT);
	CU_ASSERT_EQUAL(book_order(a, none), BOOK_NEWER);
	CU_ASSERT_EQUAL(book_order(none, a), BOOK_OLDER);
}

/* What a PC gets beside the lease that it has is a change of that one, too, and is written. */
static void test_dhcp_what_is_freed_is_recorded(void)
{
	begin();
	said(&(struct message){.type = DHCP_DISCOVER});
	said(&(struct message){.type = DHCP_REQUEST, .requested = FIRST, .chosen = US});
	CU_ASSERT_EQUAL(lease_of(FIRST)->state, LEASE_BOUND);
	written = 0;
	boot.reserved = FIRST + 9;
	said(&(struct message){.type = DHCP_DISCOVER});
	CU_ASSERT_EQUAL(left.packet.yiaddr, FIRST + 9);
	CU_ASSERT_EQUAL(lease_of(FIRST)->state, LEASE_BOUND); /* a DISCOVER alone frees nothing */
	said(&(struct message){.type = DHCP_REQUEST, .requested = FIRST + 9, .chosen = US});
	dhcp_batch_drain(server);
	CU_ASSERT_EQUAL(left.packet.type, DHCP_ACK);
	CU_ASSERT_EQUAL(written, 1);
	boot.reserved = 0;
	end();
}

static void test_dhcp_a_row_says_when_only_if_that_is_known(void)
{
	struct dhcp_answer answer;

	begin();
	lease(FIRST);
	for (int right = 0; right < 2; right++) {
		clock_right = right;
		dhcp_record(server, &answer, lease_of(FIRST));
		CU_ASSERT_EQUAL(answer.record.updated != 0, clock_right);
	}
	clock_right = false;
	end();
}

/* The ACK of a shorter time may be lost. */
static void test_dhcp_a_lease_lasts_as_long_as_its_pc_was_told(void)
{
	uint32_t time = subnet.lease_time;
	int64_t until;

	begin();
	lease(FIRST);
	dhcp_batch_drain(server);
	until = lease_of(FIRST)->expires;
	subnet.lease_time = time / 2;
	said(&(struct message){.type = DHCP_REQUEST, .ciaddr = FIRST, .source = FIRST});
	dhcp_batch_drain(server);
	CU_ASSERT_EQUAL(left.packet.type, DHCP_ACK);
	CU_ASSERT_EQUAL(lease_of(FIRST)->expires, until);
	subnet.lease_time = time;
	end();
}

static void test_dhcp_leases_are_written_anew_when_the_clock_is_set(void)
{
	begin();
	lease(FIRST);
	written = 0;
	book_clock_was_set(server);
	dhcp_batch_drain(server);
	CU_ASSERT_EQUAL(written, 1);
	end();
}

/* --- from behind a router --- */
static void test_dhcp_ciaddr_decides_where_a_pc_is(void)
{
	static struct config_subnet two[2];
	const struct lease_client client = {.has_mac = true, .mac = {2, 0, 0, 0, 0, 1}};
	struct lease *far;

	begin();
	two[0] = subnet;
	two[1] = (struct config_subnet){.name = "far",
					.network = ELSEWHERE & 0xffffff00,
					.prefix = 24,
					.server = US,
					.range = {{ELSEWHERE, ELSEWHERE + 50}},
					.ranges = 1,
					.router = {{(ELSEWHERE & 0xffffff00) + 1}, 1},
					.lease_time = 700};
	config.subnet = two;
	config.subnets = 2;
	reload();
	CU_ASSERT_EQUAL_FATAL(lease_claim(server->leases, 1, &client, 0, ELSEWHERE, &far), 0);
	lease_set(server->leases, far, LEASE_BOUND, &client, dhcp_now(server) + 100);
	/* A renewal that was routed to us. */
	said(&(struct message){.type = DHCP_REQUEST, .ciaddr = ELSEWHERE, .source = ELSEWHERE});
	CU_ASSERT_EQUAL(left.packet.type, DHCP_ACK);
	CU_ASSERT_EQUAL(left.packet.yiaddr, ELSEWHERE);
	CU_ASSERT_EQUAL(left.address, ELSEWHERE);
	CU_ASSERT_EQUAL(number(DHCP_OPT_LEASE_TIME), 700);
	CU_ASSERT_EQUAL(number(DHCP_OPT_ROUTER), (ELSEWHERE & 0xffffff00) + 1);
	/* Refused, it hears so where it is, not on a network that it is not on. */
	said(&(struct message){.type = DHCP_REQUEST, .ciaddr = ELSEWHERE, .source = ELSEWHERE, .who = 9});
	CU_ASSERT_EQUAL(left.packet.type, DHCP_NAK);
	CU_ASSERT_EQUAL(left.address, ELSEWHERE);
	said(&(struct message){.type = DHCP_INFORM, .ciaddr = ELSEWHERE + 7, .source = ELSEWHERE + 7});
	CU_ASSERT_EQUAL(left.packet.type, DHCP_ACK);
	CU_ASSERT_EQUAL(number(DHCP_OPT_ROUTER), (ELSEWHERE & 0xffffff00) + 1);
	/* The same PC carried to our own network asks all: its address is of elsewhere. */
	said(&(struct message){.type = DHCP_REQUEST, .ciaddr = ELSEWHERE, .source = ELSEWHERE, .local = ALL});
	CU_ASSERT_EQUAL(left.packet.type, DHCP_NAK);
	CU_ASSERT_EQUAL(left.address, ALL);
	end();
}

static void test_dhcp_subnet_of_a_relay_is_no_problem_once_it_is_served(void)
{
	begin();
	CU_ASSERT_FALSE(lease_table_notes(server->leases, 0)->relayed);
	said(&(struct message){.type = DHCP_DISCOVER, .giaddr = RELAY});
	CU_ASSERT_TRUE(lease_table_notes(server->leases, 0)->relayed);
	end();
}

/* --- no PCs --- */
static bool holds(uint8_t code, const char *text)
{
	size_t n;
	const uint8_t *value = dhcp_option(&left.packet, code, &n);

	return value && memmem(value, n, text, strlen(text));
}

static void test_dhcp_raspberry_pi_and_u_boot(void)
{
	static const char pxe[] = "PXEClient:Arch:00000:UNDI:002001";

	begin();
	snprintf(boot.nbp, sizeof(boot.nbp), "undionly.kpxe");
	said(&(struct message){.type = DHCP_DISCOVER, .class = pxe, .uuid = "RPi4\0\1\2\3\4\5\6\7\10\11\12"});
	CU_ASSERT(holds(DHCP_OPT_VENDOR_INFO, "Raspberry Pi Boot"));
	CU_ASSERT(holds(DHCP_OPT_TFTP_SERVER, "10.77.0.1"));
	CU_ASSERT_EQUAL(left.packet.siaddr, US);
	CU_ASSERT_STRING_EQUAL(left.packet.file, "");
	/* A BIOS with the same class gets its program. */
	snprintf(boot.nbp, sizeof(boot.nbp), "undionly.kpxe");
	said(&(struct message){.type = DHCP_DISCOVER, .class = pxe, .uuid = "0123456789abcdef"});
	CU_ASSERT(!has(DHCP_OPT_VENDOR_INFO));
	CU_ASSERT_STRING_EQUAL(left.packet.file, "undionly.kpxe");
	/* U-Boot is told a server only when configuration says which. */
	said(&(struct message){.type = DHCP_DISCOVER, .class = "U-Boot.armv8"});
	CU_ASSERT_EQUAL(left.packet.siaddr, 0);
	subnet.next_server = OTHER;
	said(&(struct message){.type = DHCP_DISCOVER, .class = "U-Boot.armv8"});
	CU_ASSERT_EQUAL(left.packet.siaddr, OTHER);
	CU_ASSERT(holds(DHCP_OPT_TFTP_SERVER, "10.77.0.66"));
	end();
}

/* As proxy: who asks for a script without end is bounded, known PCs are not. */
static void test_dhcp_proxy_limits_new_pcs(void)
{
	unsigned int answered = 0;

	begin();
	config.dhcp_mode = CONFIG_DHCP_PROXY;
	snprintf(boot.nbp, sizeof(boot.nbp), "script");
	boot.known = boot.booted = false;
	for (uint32_t who = 1; who <= 2 * DHCP_NEW_BURST; who++)
		answered += said(&(struct message){.type = DHCP_DISCOVER, .who = who, .ipxe = true}) ==
			    DHCP_OUTCOME_ANSWERED;
	CU_ASSERT_EQUAL(answered, DHCP_NEW_BURST);
	boot.known = true;
	CU_ASSERT_EQUAL(said(&(struct message){.type = DHCP_DISCOVER, .who = 99999, .ipxe = true}),
			DHCP_OUTCOME_ANSWERED);
	end();
}

/* --- what nobody serves --- */
static bool was_said(const char *text)
{
	struct log_entry entry;

	for (unsigned int i = 0; log_recent(i, &entry); i++)
		if (strstr(entry.text, text))
			return true;
	return false;
}

static void test_dhcp_what_nobody_serves_leaves_a_line(void)
{
	begin();
	CU_ASSERT_EQUAL(said(&(struct message){.type = DHCP_DISCOVER, .giaddr = ELSEWHERE}), DHCP_OUTCOME_NO_SUBNET);
	CU_ASSERT(was_said("the relay 10.88.0.5 asks for PCs of 10.88.0.5"));
	link.index = 4; /* an interface that no subnet is on */
	snprintf(link.name, sizeof(link.name), "attic");
	CU_ASSERT_EQUAL(said(&(struct message){.type = DHCP_DISCOVER}), DHCP_OUTCOME_NO_SUBNET);
	CU_ASSERT(was_said("PCs ask on attic"));
	link.index = 3;
	snprintf(link.name, sizeof(link.name), "lan");
	CU_ASSERT_EQUAL(said(&(struct message){.type = DHCP_TYPE_LAST}), DHCP_OUTCOME_NOT_OURS);
	CU_ASSERT(was_said("no server answers that kind of message"));
	CU_ASSERT_EQUAL(said(&(struct message){.type = DHCP_REQUEST}), DHCP_OUTCOME_MALFORMED);
	CU_ASSERT(was_said("it names no address"));
	dhcp_decide_unreadable(server, ELSEWHERE, 3, 77);
	CU_ASSERT(was_said("77 bytes from 10.88.0.5 on lan"));
	end();
}

/* The first one: others cause lines of the same kinds, of which there are a few in ten seconds. */
UNIT_MAIN(UNIT(test_dhcp_what_nobody_serves_leaves_a_line), UNIT(test_dhcp_strangers_end_no_lease),
	  UNIT(test_dhcp_address_of_another_network), UNIT(test_dhcp_relay_that_no_machine_can_be),
	  UNIT(test_dhcp_answer_goes_where_rfc_2131_says), UNIT(test_dhcp_answer_to_all_where_a_mac_cannot_be_reached),
	  UNIT(test_dhcp_relayed_nak_asks_for_a_broadcast), UNIT(test_dhcp_times_of_a_lease),
	  UNIT(test_dhcp_client_identifier_comes_back), UNIT(test_dhcp_lease_goes_by_the_key),
	  UNIT(test_dhcp_lease_by_key_is_restored), UNIT(test_dhcp_size_that_the_client_takes),
	  UNIT(test_dhcp_full_answer_keeps_room_for_the_relay),
	  UNIT(test_dhcp_offer_is_free_again_when_another_server_is_chosen),
	  UNIT(test_dhcp_address_that_was_not_offered_is_refused), UNIT(test_dhcp_one_datagram_is_no_boot),
	  UNIT(test_dhcp_pc_that_others_shout_for_is_served), UNIT(test_dhcp_first_lease_is_brief_until_its_pc_goes_on),
	  UNIT(test_dhcp_new_pcs_are_limited_known_ones_are_not), UNIT(test_dhcp_full_subnet_is_a_problem),
	  UNIT(test_dhcp_leases_of_this_boot_are_counted_by_its_clock), UNIT(test_dhcp_leases_in_doubt_are_alive),
	  UNIT(test_dhcp_the_newest_lease_of_a_pc_wins), UNIT(test_dhcp_order_of_versions),
	  UNIT(test_dhcp_what_is_freed_is_recorded), UNIT(test_dhcp_leases_are_written_anew_when_the_clock_is_set),
	  UNIT(test_dhcp_a_row_says_when_only_if_that_is_known),
	  UNIT(test_dhcp_a_lease_lasts_as_long_as_its_pc_was_told), UNIT(test_dhcp_ciaddr_decides_where_a_pc_is),
	  UNIT(test_dhcp_subnet_of_a_relay_is_no_problem_once_it_is_served), UNIT(test_dhcp_raspberry_pi_and_u_boot),
	  UNIT(test_dhcp_proxy_limits_new_pcs))
