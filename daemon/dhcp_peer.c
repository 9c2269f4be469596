/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A datagram is a head of 8 bytes ("BWDP", version, kind, two bytes 0) and records of one kind, at most as many as fit into
 * PACKET_MAX. Only datagrams from the peer's address and port are read. Everything in network byte order.
 */
#include "daemon/dhcp_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "tcmu-handler/image/bytes.h"

#define NS	    1000000000ull
#define HELLO_NS    NS
#define DEAD_NS	    (3 * NS)
#define HOLD_NS	    (700 * 1000000ull)
#define RESYNC_NS   (300 * NS)
#define SYNC_CHUNK  2000 /* leases sent at once when all are sent */
#define SYNC_NS	    (50 * 1000000ull)
#define PACKET_MAX  1400
#define HEAD	    8
#define VERSION	    1
#define ANSWERED_SIZE 10
#define LEASE_FIXED 28 /* address, state, MAC, expires, updated, length of the identifier */
#define BUCKETS	    256
#define EXPIRES_MAX (1ll << 34) /* s since 1970: what a server may say; in ns it still fits into 64 bits */

enum { KIND_HELLO = 1, KIND_LEASE, KIND_ANSWERED };

struct held {
	struct dhcp_peer *peer;
	struct held *next;
	struct loop_source *timer;
	struct dhcp_request request;
};

struct out {
	uint8_t data[PACKET_MAX];
	size_t length;
};

struct dhcp_peer {
	struct dhcp_server *server;
	uint32_t address;
	bool backup, alive;
	int fd;
	struct loop_source *recv, *timer, *sync_timer;
	uint64_t run, peer_run; /* a random number for each run */
	uint64_t heard, synced; /* ns */
	struct out leases, answered;
	struct store_lease *sync; /* the copy of the table that is being sent */
	size_t sync_count, sync_at;
	struct held *bucket[BUCKETS];
	unsigned int held;
};

/* --- sending ------------------------------------------------------------------------------------------------------ */
static void send_out(struct dhcp_peer *peer, struct out *out)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(DHCP_PEER_PORT), .sin_addr.s_addr = htonl(peer->address)};

	if (!out->length)
		return;
	/* A peer that is not there yet refuses (ICMP): its HELLO starts everything again. */
	(void)!sendto(peer->fd, out->data, out->length, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to));
	out->length = 0;
}

/* Room for a record of that kind; sends what is there when it is full. */
static uint8_t *record_new(struct dhcp_peer *peer, struct out *out, uint8_t kind, size_t size)
{
	uint8_t *p;

	if (out->length + size > sizeof(out->data))
		send_out(peer, out);
	if (!out->length) {
		memcpy(out->data, "BWDP", 4);
		out->data[4] = VERSION;
		out->data[5] = kind;
		be16_put(out->data + 6, 0);
		out->length = HEAD;
	}
	p = out->data + out->length;
	out->length += size;
	return p;
}

static void put_lease(struct dhcp_peer *peer, const struct store_lease *lease)
{
	uint8_t *p = record_new(peer, &peer->leases, KIND_LEASE, LEASE_FIXED + lease->id_length);

	be32_put(p, lease->address);
	p[4] = (uint8_t)lease->state;
	memcpy(p + 5, lease->mac, 6);
	be64_put(p + 11, (uint64_t)lease->expires);
	be64_put(p + 19, (uint64_t)lease->updated);
	p[27] = lease->id_length;
	memcpy(p + LEASE_FIXED, lease->id, lease->id_length);
}

void dhcp_peer_lease(struct dhcp_peer *peer, const struct store_lease *lease)
{
	if (peer && peer->alive)
		put_lease(peer, lease);
}

void dhcp_peer_answered(struct dhcp_peer *peer, uint32_t xid, const uint8_t chaddr[6])
{
	uint8_t *p;

	if (!peer || !peer->alive || peer->backup)
		return;
	p = record_new(peer, &peer->answered, KIND_ANSWERED, ANSWERED_SIZE);
	be32_put(p, xid);
	memcpy(p + 4, chaddr, 6);
}

void dhcp_peer_flush(struct dhcp_peer *peer)
{
	if (!peer)
		return;
	send_out(peer, &peer->answered);
	send_out(peer, &peer->leases);
}

static void hello(struct dhcp_peer *peer)
{
	struct out out = {.length = 0};

	be64_put(record_new(peer, &out, KIND_HELLO, 8), peer->run);
	send_out(peer, &out);
}

/* --- all leases --------------------------------------------------------------------------------------------------- */
static void copy_lease(void *arg, const struct lease *lease)
{
	struct dhcp_peer *peer = arg;
	struct dhcp_answer answer = {.type = 0};

	if (lease->state == LEASE_OFFERED || !lease->updated)
		return;
	dhcp_record(peer->server, &answer, lease);
	answer.record.updated = lease->updated;
	peer->sync[peer->sync_count++] = answer.record;
}

static void sync_start(struct dhcp_peer *peer)
{
	const struct lease_table *table = peer->server->leases;
	size_t n = 0;

	for (int state = 0; state < LEASE_STATES; state++)
		n += lease_table_count(table, (enum lease_state)state);
	free(peer->sync);
	peer->sync_count = peer->sync_at = 0;
	peer->sync = n ? calloc(n, sizeof(*peer->sync)) : NULL;
	if (peer->sync)
		lease_each(table, copy_lease, peer);
	peer->synced = loop_now(peer->server->loop);
	loop_timer_set(peer->sync_timer, peer->synced);
}

static void on_sync(void *arg)
{
	struct dhcp_peer *peer = arg;

	for (int i = 0; i < SYNC_CHUNK && peer->sync_at < peer->sync_count; i++)
		put_lease(peer, &peer->sync[peer->sync_at++]);
	dhcp_peer_flush(peer);
	if (peer->sync_at < peer->sync_count) {
		loop_timer_set(peer->sync_timer, loop_now(peer->server->loop) + SYNC_NS);
		return;
	}
	free(peer->sync);
	peer->sync = NULL;
	peer->sync_count = 0;
}

/* --- held messages ------------------------------------------------------------------------------------------------ */
static struct held **held_bucket(struct dhcp_peer *peer, uint32_t xid)
{
	return &peer->bucket[(xid ^ xid >> 8 ^ xid >> 16) % BUCKETS];
}

static void held_drop(struct held *held)
{
	struct held **p = held_bucket(held->peer, held->request.packet.xid);

	while (*p != held)
		p = &(*p)->next;
	*p = held->next;
	held->peer->held--;
	loop_source_free(held->timer);
	free(held);
}

static struct held *held_find(struct dhcp_peer *peer, uint32_t xid, const uint8_t mac[6])
{
	struct held *held = *held_bucket(peer, xid);

	while (held && (held->request.packet.xid != xid || memcmp(held->request.packet.chaddr, mac, 6)))
		held = held->next;
	return held;
}

static void on_held(void *arg)
{
	struct held *held = arg;
	struct dhcp_server *server = held->peer->server;
	static struct dhcp_request request;

	request = held->request;
	held_drop(held);
	server->stats.outcome[dhcp_decide_held(server, &request)]++;
}

bool dhcp_peer_holds(struct dhcp_peer *peer, const struct dhcp_request *request)
{
	struct held *held, **bucket;

	if (!peer || !peer->backup || !peer->alive)
		return false;
	if (request->packet.type != DHCP_DISCOVER && request->packet.type != DHCP_REQUEST)
		return false;
	/* It chose us. */
	if (request->has_server_id && netif_address_own(peer->server->netif, request->chosen_server))
		return false;
	if (peer->held >= DHCP_PEER_HELD || held_find(peer, request->packet.xid, request->packet.chaddr))
		return true;
	held = calloc(1, sizeof(*held));
	if (!held)
		return true;
	held->peer = peer;
	held->request = *request;
	if (loop_add_timer(peer->server->loop, loop_now(peer->server->loop) + HOLD_NS, on_held, held, &held->timer) < 0) {
		free(held);
		return true;
	}
	bucket = held_bucket(peer, request->packet.xid);
	held->next = *bucket;
	*bucket = held;
	peer->held++;
	return true;
}

void dhcp_peer_stop_held(struct dhcp_peer *peer)
{
	for (size_t i = 0; peer && i < BUCKETS; i++)
		while (peer->bucket[i])
			held_drop(peer->bucket[i]);
}

/* --- hearing ------------------------------------------------------------------------------------------------------ */
/* In a range, or somebody's reservation: whoever speaks in the peer's name cannot fill the memory with a whole /8. */
static bool has_place(const struct config *config, uint32_t address)
{
	for (size_t i = 0; i < config->subnets; i++)
		for (unsigned int k = 0; k < config->subnet[i].ranges; k++)
			if (address >= config->subnet[i].range[k].first && address <= config->subnet[i].range[k].last)
				return true;
	for (size_t i = 0; i < config->clients; i++)
		if (config->client[i].address == address)
			return true;
	return false;
}

static void take_lease(struct dhcp_peer *peer, const struct store_lease *from)
{
	struct dhcp_server *server = peer->server;
	struct lease *lease = lease_by_address(server->leases, from->address);
	struct dhcp_answer *answer;

	if (lease && lease->updated >= from->updated)
		return;
	dhcp_restore(server, from);
	lease = lease_by_address(server->leases, from->address);
	if (!lease)
		return; /* a reservation in no subnet of ours, or no memory */
	answer = dhcp_answer_new(server, true);
	answer->record = *from;
	answer->foreign = true;
}

/* A time that nobody can mean would make the timer of the next lease that ends go round. */
static bool is_time(int64_t expires)
{
	return expires == LEASE_FOREVER || (expires >= 0 && expires <= EXPIRES_MAX);
}

static void on_leases(struct dhcp_peer *peer, const uint8_t *p, size_t length)
{
	while (length >= LEASE_FIXED && p[27] <= sizeof(((struct store_lease *)0)->id) && length - LEASE_FIXED >= p[27]) {
		struct store_lease lease = {
			.address = be32_at(p),
			.state = (enum store_lease_state)p[4],
			.expires = (int64_t)be64_at(p + 11),
			.updated = (int64_t)be64_at(p + 19),
			.id_length = p[27],
		};
		size_t size = LEASE_FIXED + (size_t)p[27];

		memcpy(lease.mac, p + 5, 6);
		memcpy(lease.id, p + LEASE_FIXED, lease.id_length);
		if (p[4] <= STORE_LEASE_DECLINED && lease.updated > 0 && is_time(lease.expires) &&
		    has_place(peer->server->config, lease.address))
			take_lease(peer, &lease);
		p += size;
		length -= size;
	}
}

static void on_hello(struct dhcp_peer *peer, uint64_t run)
{
	bool is_new = !peer->alive || run != peer->peer_run;

	if (!peer->alive)
		log_notice("DHCP: the %s server %u.%u.%u.%u is there; leases are shared with it",
			   peer->backup ? "primary" : "backup", peer->address >> 24, peer->address >> 16 & 255,
			   peer->address >> 8 & 255, peer->address & 255);
	peer->alive = true;
	peer->peer_run = run;
	peer->heard = loop_now(peer->server->loop);
	if (is_new)
		sync_start(peer);
}

void dhcp_peer_hear(void *arg, const struct loop_datagram *dgram)
{
	struct dhcp_peer *peer = arg;
	const struct sockaddr_in *from = (const struct sockaddr_in *)dgram->name;
	const uint8_t *p = dgram->data;
	size_t length = dgram->length;

	if (!from || dgram->name_length < sizeof(*from) || ntohl(from->sin_addr.s_addr) != peer->address ||
	    ntohs(from->sin_port) != DHCP_PEER_PORT || length < HEAD || memcmp(p, "BWDP", 4) || p[4] != VERSION)
		return;
	if (p[5] == KIND_HELLO && length == HEAD + 8)
		on_hello(peer, be64_at(p + HEAD));
	else if (p[5] == KIND_LEASE)
		on_leases(peer, p + HEAD, length - HEAD);
	else if (p[5] == KIND_ANSWERED && peer->backup)
		for (size_t i = HEAD; i + ANSWERED_SIZE <= length; i += ANSWERED_SIZE) {
			struct held *held = held_find(peer, be32_at(p + i), p + i + 4);

			if (held)
				held_drop(held);
		}
}

/* --- life --------------------------------------------------------------------------------------------------------- */
static void on_timer(void *arg)
{
	struct dhcp_peer *peer = arg;
	uint64_t now = loop_now(peer->server->loop);

	hello(peer);
	if (peer->alive && peer->heard + DEAD_NS < now) {
		peer->alive = false;
		log_warning("DHCP: the %s server %u.%u.%u.%u has fallen silent; %s", peer->backup ? "primary" : "backup",
			    peer->address >> 24, peer->address >> 16 & 255, peer->address >> 8 & 255, peer->address & 255,
			    peer->backup ? "this one answers all PCs until it is back" : "this one goes on alone");
	}
	if (peer->alive && peer->synced + RESYNC_NS < now)
		sync_start(peer);
	loop_timer_set(peer->timer, now + HELLO_NS);
}

bool dhcp_peer_alive(const struct dhcp_peer *peer)
{
	return peer && peer->alive;
}

static int open_socket(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(DHCP_PEER_PORT)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r, size = 1 << 20;

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return fd;
}

int dhcp_peer_new(struct dhcp_peer **ret, struct dhcp_server *server, uint32_t address, bool backup)
{
	struct dhcp_peer *peer = calloc(1, sizeof(*peer));
	int r;

	if (!peer)
		return -ENOMEM;
	peer->server = server;
	peer->address = address;
	peer->backup = backup;
	if (getrandom(&peer->run, sizeof(peer->run), GRND_NONBLOCK) < 0)
		peer->run = dhcp_clock(true);
	r = peer->fd = open_socket();
	if (r >= 0)
		r = loop_add_recv(server->loop, peer->fd, PACKET_MAX + 1, 256, dhcp_peer_hear, peer, &peer->recv);
	if (r >= 0)
		r = loop_add_timer(server->loop, loop_now(server->loop), on_timer, peer, &peer->timer);
	if (r >= 0)
		r = loop_add_timer(server->loop, UINT64_MAX, on_sync, peer, &peer->sync_timer);
	if (r < 0) {
		dhcp_peer_free(peer);
		return r;
	}
	*ret = peer;
	return 0;
}

void dhcp_peer_free(struct dhcp_peer *peer)
{
	if (!peer)
		return;
	dhcp_peer_stop_held(peer);
	loop_source_free(peer->recv);
	loop_source_free(peer->timer);
	loop_source_free(peer->sync_timer);
	if (peer->fd >= 0)
		close(peer->fd);
	free(peer->sync);
	free(peer);
}
