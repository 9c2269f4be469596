/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where an answer goes, and what it holds. Messages go through the server's decisions; the store,
 * the interfaces and sendmmsg() are this file's, so that each answer is seen as it leaves, with its
 * destination; there are no sockets.
 */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>

#include "daemon/dhcp_private.h"
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

/* --- the store, the PCs' records and the interfaces --- */
struct store {
	int unused;
};
static struct store the_store;

int store_new(struct store **ret, const char *file, char error[256])
{
	(void)file, (void)error;
	*ret = &the_store;
	return 0;
}
void store_free(struct store *store)
{
	(void)store;
}
const char *store_file(const struct store *store)
{
	(void)store;
	return "test.db";
}
const char *store_error(const struct store *store)
{
	(void)store;
	return "";
}
int store_begin(struct store *store)
{
	(void)store;
	return 0;
}
int store_begin_lazy(struct store *store)
{
	(void)store;
	return 0;
}
void store_rollback(struct store *store)
{
	(void)store;
}
int store_lease_put(struct store *store, const struct store_lease *lease)
{
	(void)store, (void)lease;
	return 0;
}
int store_commit(struct store *store)
{
	(void)store;
	return 0;
}
int store_lease_each(struct store *store, void (*fn)(void *arg, const struct store_lease *lease),
		     void *arg)
{
	(void)store, (void)fn, (void)arg;
	return 0;
}

int boot_identify(struct boot *b, const struct boot_identity *who, uint32_t at,
		  struct boot_answer *ret)
{
	(void)b, (void)who, (void)at;
	*ret = boot;
	return 0;
}
int boot_leased(struct boot *b, const struct boot_identity *who, uint32_t address, const char *nbp)
{
	(void)b, (void)who, (void)address, (void)nbp;
	return 0;
}

/* One Ethernet with one address of ours. */
static struct netif_link link = {
	.index = 3, .name = "lan", .mtu = 1500, .up = true, .running = true};
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
const struct netif_address *netif_address_in(const struct netif *netif, int index, uint32_t network,
					     uint8_t prefix)
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
	/* Mode off while it is made: no sockets. */
	CU_ASSERT_EQUAL_FATAL(dhcp_server_new(&server, loop, NULL, &config, &the_store, NULL), 0);
	config.dhcp_mode = CONFIG_DHCP_FULL;
	server->packet_fd = PACKET_FD;
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
	r.local = US;
	r.source = m->source;
	memset(&left, 0, sizeof(left));
	outcome = dhcp_decide(server, &r);
	dhcp_batch_drain(server);
	return outcome;
}

/* The client has this address. */
static void lease(uint32_t address)
{
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
		CU_ASSERT_EQUAL(said(&m), DHCP_OUTCOME_ANSWERED);
		right = left.count == 1 && left.packet.type == row[i].answer &&
			left.fd == row[i].fd && left.address == row[i].address &&
			left.port == row[i].port && left.source == US;
		CU_ASSERT(right);
		if (!right)
			printf("# row %zu: %u answers, type %u by %d to %08x port %u from %08x\n",
			       i, left.count, left.packet.type, left.fd, left.address, left.port,
			       left.source);
		/* What is for all or for a MAC needs an interface; what is routed must not. */
		if (left.fd == PACKET_FD)
			CU_ASSERT(!memcmp(left.mac, mac, 6));
		CU_ASSERT_EQUAL(
			left.ifindex,
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
	said(&(struct message){
		.type = DHCP_REQUEST, .requested = FIRST, .chosen = US, .id = "\1abc"});
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
		subnet.options.option[i] =
			(struct config_option){.code = (uint8_t)(224 + i), .length = 100};
}

static unsigned int configured(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < 5; i++)
		n += has((uint8_t)(224 + i));
	return n;
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
		said(&(struct message){
			.type = DHCP_DISCOVER, .giaddr = RELAY, .relay = length, .id = "\1abc"});
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
	CU_ASSERT_EQUAL(said(&(struct message){
				.type = DHCP_REQUEST, .requested = NET + 201, .chosen = OTHER}),
			DHCP_OUTCOME_OTHER_SERVER);
	CU_ASSERT_EQUAL(left.count, 0);
	CU_ASSERT_EQUAL(lease_table_count(server->leases, LEASE_OFFERED), 0);
	/* A lease that it has is no offer: it stays until it ends. */
	lease(FIRST);
	CU_ASSERT_EQUAL(said(&(struct message){
				.type = DHCP_REQUEST, .requested = NET + 201, .chosen = OTHER}),
			DHCP_OUTCOME_OTHER_SERVER);
	CU_ASSERT_EQUAL(lease_table_count(server->leases, LEASE_BOUND), 1);
	end();
}

UNIT_MAIN(UNIT(test_dhcp_answer_goes_where_rfc_2131_says),
	  UNIT(test_dhcp_answer_to_all_where_a_mac_cannot_be_reached),
	  UNIT(test_dhcp_relayed_nak_asks_for_a_broadcast), UNIT(test_dhcp_times_of_a_lease),
	  UNIT(test_dhcp_client_identifier_comes_back), UNIT(test_dhcp_size_that_the_client_takes),
	  UNIT(test_dhcp_full_answer_keeps_room_for_the_relay),
	  UNIT(test_dhcp_offer_is_free_again_when_another_server_is_chosen))
