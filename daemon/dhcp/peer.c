/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The modes of dhcp/peer.h, and the two streams of leases. A stream is told again from the last position that the other
 * server has confirmed when nothing is confirmed for RESEND_NS. Only datagrams from the peer's address and port are
 * read.
 */
#include "daemon/dhcp/peer.h"
#include "daemon/dhcp/book.h"
#include "daemon/dhcp/whose.h"
#include "daemon/dhcp/peer_held.h"
#include "daemon/dhcp/peer_lines.h"
#include "daemon/dhcp/peer_names.h"
#include "daemon/dhcp/peer_wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "daemon/core/clock.h"
#include "daemon/core/inet.h"
#include "daemon/core/udp.h"

#define MS         1000000ull
#define HELLO_NS   (1000 * MS)
#define DEAD_NS    (3000 * MS)
#define FROZEN_NS  (2500 * MS) /* the timer of HELLO came so late: this process stood still */
#define RESEND_NS  (200 * MS)  /* without a confirmation */
#define CHUNK_NS   (20 * MS)   /* between two chunks of a stream */
/*
 * Leases are not confirmed although the other server is heard, or do not come. Longer than what a server needs to see
 * that it hears nothing (DEAD_NS and its timer, which may be late by nearly FROZEN_NS), and to say so: else the primary
 * would be ALONE by this rule, and the backup by that one, when only one direction is cut.
 */
#define STALLED_NS (10000 * MS)
#define SLOW_NS    (500 * MS) /* the disk has not written what the other server told: it is confirmed from memory */
#define ANSWER_NS  (100 * MS) /* between two HELLOs that answer one */
#define CHUNK      2000       /* leases sent at once */
#define RECENT     8192       /* positions whose addresses are remembered; power of two */
#define LINES_TICK 50         /* lines of the configuration told a second, while they differ */
#define NAMES      4          /* datagrams of names a second */
#define APART_S    30         /* s that the clocks of the two may differ without a word */
#define SURE_S     60         /* s, of lease_table_sure(): more than what "left" loses on its way */

enum mode { WAITING, ALONE, TOGETHER };

/* What was taken from the other server, and is confirmed when so many of its leases are written. */
struct checkpoint {
	uint64_t position;
	uint64_t writes;
	uint64_t since; /* ns; 0: none */
};

struct dhcp_peer {
	struct dhcp_server *server;
	uint32_t address;
	bool backup;
	int fd;
	struct loop_source *recv, *timer, *stream_timer;
	struct peer_held *held;
	struct peer_lines *lines;

	uint64_t run, peer_run; /* a random number for each start */
	bool heard, heard_once;
	uint64_t heard_at, ticked, listen_until, answered_at; /* ns */
	enum mode mode;
	uint32_t has[PEER_ADDRESSES];
	unsigned int has_count;
	int64_t ahead;      /* s that its clock is ahead of ours */
	char refused[1000]; /* why no leases are shared; "": they are */
	bool lines_differ;
	uint64_t their_lines, line_at; /* what it said last; the next of our lines to tell */
	int64_t together_until;        /* dhcp_now() when both were known to know the same; INT64_MIN: never */

	/* The stream to it */
	bool mutual;        /* it hears us: it gets our leases */
	uint64_t mutual_at; /* ns */
	uint32_t session;
	uint64_t position, sent, acked;
	uint64_t acked_at; /* ns, when that moved last */
	uint32_t recent[RECENT];
	struct peer_out leases, answered;
	bool must_confirm;

	/* The stream from it */
	uint32_t from_session, from_seen; /* 0: none yet; the last one that there was: each is entered at its begin */
	uint64_t taken, confirmed, goal;  /* goal: where it was when the session began */
	bool joined;                      /* has been there */
	uint64_t queued, written;         /* of its leases: into our commits, on the disk */
	struct checkpoint checkpoint;

	size_t name_at; /* the PC whose name is told next */
};

static uint64_t now_of(const struct dhcp_peer *peer)
{
	return loop_now(peer->server->loop);
}

static const char *other_name(const struct dhcp_peer *peer)
{
	return peer->backup ? "primary" : "backup";
}

static bool is_stalled(const struct dhcp_peer *peer)
{
	uint64_t now = now_of(peer);

	return peer->mutual && ((peer->acked < peer->position && now > peer->acked_at + STALLED_NS) ||
				(!peer->joined && now > peer->mutual_at + STALLED_NS));
}

/* As it is now, whatever has not come to pass yet of what follows from it. */
static enum mode mode_of(const struct dhcp_peer *peer)
{
	uint64_t now = now_of(peer);

	if (now > peer->ticked + FROZEN_NS)
		return WAITING;
	if (!peer->heard)
		return now < peer->listen_until ? WAITING : ALONE;
	if (peer->refused[0] || is_stalled(peer))
		return peer->backup ? WAITING : ALONE;
	return peer->mutual && peer->joined ? TOGETHER : WAITING;
}

/* --- sending ------------------------------------------------------------------------------------------------------ */
static void send_out(struct dhcp_peer *peer, struct peer_out *out)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(DHCP_PEER_PORT), .sin_addr.s_addr = htonl(peer->address)};

	if (!out->length)
		return;
	/* A peer that is not there yet refuses (ICMP): its HELLO starts everything again. */
	(void)!sendto(peer->fd, out->data, out->length, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to));
	out->length = 0;
}

static void send_hello(struct dhcp_peer *peer)
{
	struct peer_hello hello = {.run = peer->run,
				   .sees = peer->heard ? peer->peer_run : 0,
				   .session = peer->mutual ? peer->session : 0,
				   .of_session = peer->from_session,
				   .last = peer->position,
				   .has = peer->confirmed,
				   .clock = clock_realtime_s(),
				   .lines = peer_lines_sum(peer->lines),
				   .backup = peer->backup};
	const struct netif_address *a;
	struct peer_out out;

	for (size_t i = 0; i < PEER_ADDRESSES && (a = netif_address_at(peer->server->netif, 0, i)); i++)
		hello.address[hello.addresses++] = a->address;
	peer_wire_hello(&out, &hello);
	send_out(peer, &out);
}

static void send_lines(struct dhcp_peer *peer)
{
	struct peer_line line;
	struct peer_out out;

	for (int i = 0; i < LINES_TICK && peer_lines_at(peer->lines, peer->line_at, &line); i++) {
		peer->line_at++;
		line.run = peer->run;
		peer_wire_line(&out, &line);
		send_out(peer, &out);
		if (line.index + 1 == line.count)
			break;
	}
}

/* --- the stream to the other server ------------------------------------------------------------------------------- */
static void place(struct dhcp_peer *peer, struct lease *lease)
{
	if (peer->acked == peer->position)
		peer->acked_at = now_of(peer);
	lease->position = ++peer->position;
	peer->recent[lease->position & (RECENT - 1)] = lease->address;
}

static void place_one(void *arg, const struct lease *lease)
{
	struct dhcp_peer *peer = arg;

	if (lease->version[0] || lease->version[1])
		place(peer, lease_by_address(peer->server->leases, lease->address));
}

static void begin_session(struct dhcp_peer *peer)
{
	peer->mutual = true;
	peer->mutual_at = peer->acked_at = now_of(peer);
	peer->session++;
	peer->position = peer->sent = peer->acked = 0;
	lease_each(peer->server->leases, place_one, peer);
	dhcp_batch_wait_for(peer->server, peer->position ? peer->position : UINT64_MAX);
	loop_timer_set(peer->stream_timer, now_of(peer));
}

static void end_session(struct dhcp_peer *peer)
{
	if (!peer->mutual)
		return;
	peer->mutual = false;
	peer->joined = false;
	peer->from_session = 0;
	peer->taken = peer->confirmed = 0;
	peer->checkpoint.since = 0;
}

static struct peer_lease lease_to_tell(const struct dhcp_peer *peer, const struct lease *lease)
{
	struct dhcp_answer answer = {.type = 0};
	struct peer_lease ret;
	int64_t left = lease->expires - dhcp_now(peer->server);

	dhcp_record(peer->server, &answer, lease);
	ret.lease = answer.record;
	ret.left = lease->expires == LEASE_FOREVER       ? PEER_FOREVER
		   : ret.lease.state == STATE_LEASE_FREE ? 0
		   : left < 1                            ? 1 /* it is kept for a grace */
		   : left >= PEER_FOREVER                ? PEER_FOREVER - 1
							 : (uint32_t)left;
	return ret;
}

struct gather {
	const struct dhcp_peer *peer;
	uint32_t address[CHUNK];
};

static void gather_one(void *arg, const struct lease *lease)
{
	struct gather *gather = arg;

	if (lease->position > gather->peer->sent && lease->position <= gather->peer->sent + CHUNK)
		gather->address[lease->position - gather->peer->sent - 1] = lease->address;
}

/* The addresses at the next positions; 0: it has moved on. */
static void gather(struct gather *gather, const struct dhcp_peer *peer)
{
	gather->peer = peer;
	memset(gather->address, 0, sizeof(gather->address));
	if (peer->position - peer->sent > RECENT) {
		lease_each(peer->server->leases, gather_one, gather);
		return;
	}
	for (uint64_t at = peer->sent + 1; at <= peer->position && at <= peer->sent + CHUNK; at++)
		gather->address[at - peer->sent - 1] = peer->recent[at & (RECENT - 1)];
}

static void end_datagram(struct dhcp_peer *peer, uint64_t from, uint64_t to)
{
	peer_wire_leases_end(&peer->leases, &(struct peer_leases){.run = peer->run,
								  .to_run = peer->peer_run,
								  .session = peer->session,
								  .of_session = peer->from_session,
								  .from = from,
								  .to = to,
								  .last = peer->position,
								  .has = peer->confirmed});
	send_out(peer, &peer->leases);
	peer->must_confirm = false;
}

/* What comes next of the stream; nothing, but what we have of the other one, when all is sent. */
static void send_chunk(struct dhcp_peer *peer)
{
	static struct gather next;
	uint64_t from = peer->sent, to = from, end;

	gather(&next, peer);
	end = peer->position - from < CHUNK ? peer->position : from + CHUNK;
	peer_wire_leases(&peer->leases);
	for (uint64_t at = from + 1; at <= end; at++) {
		uint32_t address = next.address[at - peer->sent - 1];
		const struct lease *lease = address ? lease_by_address(peer->server->leases, address) : NULL;
		struct peer_lease told;

		if (lease && lease->position == at) {
			told = lease_to_tell(peer, lease);
			if (!peer_wire_lease(&peer->leases, &told)) {
				end_datagram(peer, from, to);
				from = to;
				peer_wire_leases(&peer->leases);
				peer_wire_lease(&peer->leases, &told);
			}
		}
		to = at;
	}
	end_datagram(peer, from, to);
	peer->sent = to;
}

static void flush(void *arg)
{
	struct dhcp_peer *peer = arg;

	send_out(peer, &peer->answered);
	if (!peer->mutual || (peer->sent == peer->position && !peer->must_confirm))
		return;
	send_chunk(peer);
	loop_timer_set(peer->stream_timer, now_of(peer) + (peer->sent < peer->position ? CHUNK_NS : RESEND_NS));
}

static void on_stream(void *arg)
{
	struct dhcp_peer *peer = arg;

	if (!peer->mutual || peer->acked == peer->position)
		return;
	if (peer->sent == peer->position && now_of(peer) >= peer->acked_at + RESEND_NS)
		peer->sent = peer->acked;
	flush(peer);
	loop_timer_set(peer->stream_timer, now_of(peer) + (peer->sent < peer->position ? CHUNK_NS : RESEND_NS));
}

static uint64_t tell_lease(void *arg, const struct state_lease *record)
{
	struct dhcp_peer *peer = arg;
	struct lease *lease = lease_by_address(peer->server->leases, record->address);
	enum mode mode = mode_of(peer);

	if (peer->mutual && lease)
		place(peer, lease);
	/* One that was decided before, and for which the other one's word did not come, is not sent. */
	if (mode == ALONE && record->version[dhcp_role(peer->server)] & 1)
		return 0;
	return peer->mutual && lease ? peer->position : UINT64_MAX;
}

static bool is_alone(void *arg)
{
	return mode_of(arg) == ALONE;
}

static void tell_answered(void *arg, uint32_t xid, const uint8_t chaddr[6])
{
	struct dhcp_peer *peer = arg;

	if (!peer->heard || peer->backup)
		return;
	if (peer_wire_answered(&peer->answered, xid, chaddr))
		return;
	send_out(peer, &peer->answered);
	peer_wire_answered(&peer->answered, xid, chaddr);
}

/* --- modes -------------------------------------------------------------------------------------------------------- */
static void on_mode(struct dhcp_peer *peer, enum mode before)
{
	struct dhcp_server *server = peer->server;

	if (peer->mode == TOGETHER)
		log_limited(4, LOG_LEVEL_NOTICE, "DHCP: the %s server %s is there; leases are shared with it",
			    other_name(peer), inet_text(peer->address).s);
	else if (peer->mode == ALONE && !peer->heard && (peer->heard_once || before != WAITING))
		log_limited(4, LOG_LEVEL_WARNING, "DHCP: the %s server %s has fallen silent; %s", other_name(peer),
			    inet_text(peer->address).s,
			    peer->backup ? "this one answers all PCs until it is back" : "this one goes on alone");
	if (peer->mode != TOGETHER)
		dhcp_batch_unconfirmed(server);
}

/* Does what follows from the mode that it is in now. */
static void settle(struct dhcp_peer *peer)
{
	struct dhcp_server *server = peer->server;
	enum mode before = peer->mode;

	peer->mode = mode_of(peer);
	if (peer->mode == TOGETHER && peer->acked == peer->position)
		peer->together_until = dhcp_now(server);
	lease_table_sure(server->leases, peer->together_until == INT64_MIN ? INT64_MIN : peer->together_until - SURE_S,
			 dhcp_now(server));
	if (peer->mode != before)
		on_mode(peer, before);
}

/* --- the stream from the other server ----------------------------------------------------------------------------- */
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

/* Into the table, and into the state; `stamp`: as a change of our own. */
static void take(struct dhcp_peer *peer, const struct peer_lease *from, bool stamp)
{
	struct dhcp_server *server = peer->server;
	struct dhcp_answer *answer;
	struct lease *lease;

	book_restore(server, &from->lease, from->left == PEER_FOREVER ? LEASE_FOREVER : from->left);
	lease = lease_by_address(server->leases, from->lease.address);
	if (!lease)
		return; /* a reservation in no subnet of ours, or no memory */
	lease->written = false;
	if (stamp)
		dhcp_stamp_as(server, lease, from->lease.version[!dhcp_role(server)] & 1);
	answer = dhcp_answer_new(server, true);
	dhcp_record(server, answer, lease);
	answer->foreign = !stamp;
	answer->theirs = true;
	peer->queued++;
}

/* Both were changed, and neither server knew of the other's change. False: ours stays, and is told to the other one. */
static bool decide(struct dhcp_peer *peer, struct lease *lease, struct peer_lease *from)
{
	struct dhcp_server *server = peer->server;
	bool theirs_runs = from->lease.state == STATE_LEASE_BOUND, ours_runs = lease->state == LEASE_BOUND;
	bool ours_alone = lease->version[dhcp_role(server)] & 1;
	bool theirs_told = (from->lease.version[!dhcp_role(server)] & 1) && !ours_alone; /* and ours to nobody */

	if (peer->backup) { /* the primary decides, and does not know ours yet */
		place(peer, lease);
		return false;
	}
	if (theirs_runs && ours_runs && ours_alone && (from->lease.version[1] & 1) &&
	    !whose_is_his(lease, &from->lease))
		log_limited(
			10, LOG_LEVEL_WARNING,
			"DHCP: both servers of the pair gave %s, while they could not hear each other: this one to "
			"%s, which keeps it, the backup to %s, which is told another one when it asks again; split = "
			"yes in [dhcp] of both prevents it",
			inet_text(lease->address).s, inet_mac_text(lease->client.mac).s,
			inet_mac_text(from->lease.mac).s);
	for (int i = 0; i < 2; i++)
		if (lease->version[i] > from->lease.version[i])
			from->lease.version[i] = lease->version[i];
	if (theirs_runs && (!ours_runs || theirs_told || whose_is_his(lease, &from->lease))) {
		if (ours_runs && whose_is_his(lease, &from->lease) &&
		    (lease->expires == LEASE_FOREVER ||
		     (from->left != PEER_FOREVER && lease->expires > dhcp_now(server) + from->left)))
			from->left = lease_to_tell(peer, lease).left; /* the longer one of two promises */
		take(peer, from, true);
		return true;
	}
	memcpy(lease->version, from->lease.version, sizeof(lease->version));
	for (int i = 0; i < 2; i++)
		server->seq = lease->version[i] > server->seq ? lease->version[i] : server->seq;
	dhcp_stamp_as(server, lease, ours_alone);
	dhcp_record(server, dhcp_answer_new(server, true), lease);
	return false;
}

/*
 * False: it is not confirmed, because ours stays, or is the newer one. The other one gets ours first: it may hold back
 * an ACK for what it said, and says that again until then.
 */
static bool hear_lease(struct dhcp_peer *peer, struct peer_lease *from)
{
	static const uint64_t never[2];
	struct lease *lease = lease_by_address(peer->server->leases, from->lease.address);
	const uint64_t *version = from->lease.version;

	if (version[0] >= DHCP_SEQ_MAX || version[1] >= DHCP_SEQ_MAX ||
	    !has_place(peer->server->config, from->lease.address))
		return true;
	switch (book_order(version, lease ? lease->version : never)) {
	case BOOK_NEWER:
		take(peer, from, false);
		return true;
	case BOOK_CONCURRENT:
		return decide(peer, lease, from);
	case BOOK_OLDER:
		return false;
	default:
		return true;
	}
}

static void set_checkpoint(struct dhcp_peer *peer)
{
	if (peer->written == peer->queued) {
		peer->must_confirm |= peer->confirmed != peer->taken;
		peer->confirmed = peer->taken;
		peer->checkpoint.since = 0;
	} else if (!peer->checkpoint.since && peer->taken > peer->confirmed) {
		peer->checkpoint = (struct checkpoint){peer->taken, peer->queued, now_of(peer)};
	}
}

/* So many of its leases are on our disk; or could not be written, which confirms them no less: they are in memory. */
static void on_written(void *arg, unsigned int count)
{
	struct dhcp_peer *peer = arg;

	peer->written += count;
	if (peer->checkpoint.since && peer->written >= peer->checkpoint.writes) {
		peer->confirmed = peer->checkpoint.position;
		peer->checkpoint.since = 0;
		peer->must_confirm = true;
	}
	set_checkpoint(peer);
}

static void on_confirmed(struct dhcp_peer *peer, uint32_t of_session, uint64_t has)
{
	if (!peer->mutual || of_session != peer->session || has <= peer->acked || has > peer->position)
		return;
	peer->acked = has;
	peer->acked_at = now_of(peer);
	peer->sent = peer->sent < has ? has : peer->sent;
	if (mode_of(peer) != WAITING)
		dhcp_batch_confirmed(peer->server, has);
}

/* It has begun to tell all its leases. */
static void on_session(struct dhcp_peer *peer, uint32_t session, uint64_t last)
{
	if (!peer->mutual || session <= peer->from_seen)
		return;
	peer->from_session = peer->from_seen = session;
	peer->taken = peer->confirmed = 0;
	peer->checkpoint.since = 0;
	peer->goal = last;
	peer->joined = false;
}

static void see_joined(struct dhcp_peer *peer)
{
	peer->joined |= peer->from_session && peer->taken >= peer->goal;
}

static void on_leases(struct dhcp_peer *peer, const uint8_t *p, size_t length)
{
	struct peer_leases said;
	static struct peer_lease lease;
	bool all = true;
	size_t at = 0;

	if (!peer_read_leases(&said, p, length) || !peer->heard || !peer->mutual || peer->refused[0] ||
	    said.run != peer->peer_run || said.to_run != peer->run)
		return;
	on_session(peer, said.session, said.last);
	if (said.session != peer->from_session)
		return; /* of before */
	while (peer_read_lease(&lease, p, length, &at))
		all &= hear_lease(peer, &lease);
	all &= at == length;
	if (all && said.from <= peer->taken && said.to > peer->taken)
		peer->taken = said.to;
	see_joined(peer);
	set_checkpoint(peer);
	on_confirmed(peer, said.of_session, said.has);
	/* What it sends again has come before: our word about that was lost. */
	peer->must_confirm |= said.to > said.from && said.to <= peer->confirmed;
	settle(peer);
	loop_batch_arm(peer->server->batch);
}

/* --- HELLO -------------------------------------------------------------------------------------------------------- */
static void refuse(struct dhcp_peer *peer, const char *why)
{
	if (!strcmp(peer->refused, why))
		return;
	snprintf(peer->refused, sizeof(peer->refused), "%s", why);
	log_limited(10, LOG_LEVEL_ERROR, "DHCP: no leases are shared with the %s server %s: %s", other_name(peer),
		    inet_text(peer->address).s, why);
}

/* Does it agree with us about what it must? Which line differs comes line by line. */
static bool agrees(struct dhcp_peer *peer, const struct peer_hello *hello)
{
	uint64_t ours = peer_lines_sum(peer->lines);

	if (hello->backup == peer->backup) {
		refuse(peer, peer->backup ? "it is a backup, too: take backup = yes out of [dhcp] of one of the two"
					  : "it is a primary, too: give one of the two backup = yes in [dhcp]");
		return false;
	}
	if (hello->lines == ours) {
		peer->lines_differ = false;
		peer->refused[0] = '\0';
		return true;
	}
	if (!peer->lines_differ || hello->lines != peer->their_lines) {
		peer_lines_begin(peer->lines);
		peer->line_at = 0;
		refuse(peer, "their ranges, exclusions, reservations or split differ");
	}
	peer->lines_differ = true;
	peer->their_lines = hello->lines;
	return false;
}

static void on_line(struct dhcp_peer *peer, const uint8_t *p, size_t length)
{
	static struct peer_line line;
	char what[800], why[950];

	if (!peer->lines_differ || !peer_read_line(&line, p, length) || line.run != peer->peer_run ||
	    line.lines != peer->their_lines)
		return;
	if (!peer_lines_compare(peer->lines, &line, what, sizeof(what)))
		return;
	snprintf(why, sizeof(why), "%s: make them the same, and reload both", what);
	/* The first one that is found stands until it is mended. */
	if (!strncmp(peer->refused, "their ranges", 12))
		refuse(peer, why);
}

static void compare_clocks(struct dhcp_peer *peer, int64_t clock)
{
	int64_t ahead = clock - clock_realtime_s();
	bool apart = ahead > APART_S || ahead < -APART_S;

	if (apart && peer->ahead == 0)
		log_limited(2, LOG_LEVEL_WARNING,
			    "the clock of the %s server %s is %lld s %s this one's: leases do not care, logs and "
			    "certificates do; set the wrong one (see `timedatectl`)",
			    other_name(peer), inet_text(peer->address).s, (long long)(ahead < 0 ? -ahead : ahead),
			    ahead < 0 ? "behind" : "ahead of");
	peer->ahead = apart ? ahead : 0;
}

static void on_hello(struct dhcp_peer *peer, const struct peer_hello *hello)
{
	uint64_t now = now_of(peer);
	bool is_new = !peer->heard || hello->run != peer->peer_run, hears_us;

	if (is_new)
		end_session(peer);
	if (hello->run != peer->peer_run)
		peer->from_seen = 0;
	peer->peer_run = hello->run;
	peer->heard = peer->heard_once = true;
	peer->heard_at = now;
	peer->has_count = hello->addresses;
	memcpy(peer->has, hello->address, sizeof(peer->has));
	compare_clocks(peer, hello->clock);
	hears_us = agrees(peer, hello) && hello->sees == peer->run;
	if (!hears_us)
		end_session(peer);
	else if (!peer->mutual || (hello->of_session != peer->session && now > peer->mutual_at + HELLO_NS))
		begin_session(peer); /* the second: it has lost its place in the one before */
	if (hello->session)
		on_session(peer, hello->session, hello->last);
	see_joined(peer);
	on_confirmed(peer, hello->of_session, hello->has);
	settle(peer);
	if ((is_new || hello->sees != peer->run) && now >= peer->answered_at + ANSWER_NS) {
		peer->answered_at = now;
		send_hello(peer);
	}
}

static void on_answered(struct dhcp_peer *peer, const uint8_t *p, size_t length)
{
	const uint8_t *chaddr;
	uint32_t xid;

	for (size_t i = 0; peer->backup && peer_read_answered(p, length, i, &xid, &chaddr); i++)
		peer_held_answered(peer->held, xid, chaddr);
}

/* A server of before versions: it does not understand us, so it thinks that it is alone. */
static void on_other_version(struct dhcp_peer *peer, unsigned int version)
{
	char why[160];

	snprintf(why, sizeof(why), "it speaks version %u of the pair's protocol and this one %u: update both", version,
		 PEER_VERSION);
	end_session(peer);
	peer->heard = peer->heard_once = true;
	peer->heard_at = now_of(peer);
	peer->peer_run = 0;
	refuse(peer, why);
	settle(peer);
}

void dhcp_peer_hear(void *arg, const struct loop_datagram *dgram)
{
	struct dhcp_peer *peer = arg;
	const struct sockaddr_in *from = (const struct sockaddr_in *)dgram->name;
	static struct peer_hello hello;
	unsigned int kind;
	int r;

	if (!from || dgram->name_length < sizeof(*from) || ntohl(from->sin_addr.s_addr) != peer->address ||
	    ntohs(from->sin_port) != DHCP_PEER_PORT)
		return;
	r = peer_wire_kind(dgram->data, dgram->length, &kind);
	if (r == -EPROTONOSUPPORT)
		on_other_version(peer, kind);
	if (r < 0)
		return;
	if (kind == PEER_HELLO && peer_read_hello(&hello, dgram->data, dgram->length))
		on_hello(peer, &hello);
	else if (kind == PEER_LEASES)
		on_leases(peer, dgram->data, dgram->length);
	else if (kind == PEER_LINES)
		on_line(peer, dgram->data, dgram->length);
	else if (kind == PEER_ANSWERED)
		on_answered(peer, dgram->data, dgram->length);
	else if (kind == PEER_NAMES && !peer->refused[0])
		peer_names_read(peer->server->boot, (const uint8_t *)dgram->data + PEER_HEAD, dgram->length - PEER_HEAD,
				peer->backup);
}

/* --- names -------------------------------------------------------------------------------------------------------- */
static void tell_names(struct dhcp_peer *peer)
{
	struct peer_out out;
	uint8_t *body;
	size_t n;

	for (unsigned int i = 0; i < NAMES; i++) {
		body = peer_wire_names(&out);
		n = peer_names_write(peer->server->boot, &peer->name_at, body, PEER_PACKET_MAX - PEER_HEAD);
		out.length = n ? PEER_HEAD + n : 0;
		send_out(peer, &out);
		if (!peer->name_at)
			return;
	}
}

/* --- time --------------------------------------------------------------------------------------------------------- */
static void forget_other(struct dhcp_peer *peer)
{
	peer->heard = false;
	end_session(peer);
	peer->refused[0] = '\0';
	peer->lines_differ = false;
	peer->ahead = 0;
}

static void on_timer(void *arg)
{
	struct dhcp_peer *peer = arg;
	uint64_t now = now_of(peer);

	/* Who stood still does not know who did what meanwhile: as at a start, he listens first. */
	if (now > peer->ticked + FROZEN_NS) {
		peer->mode = WAITING;
		dhcp_batch_unconfirmed(peer->server);
		forget_other(peer);
		peer->listen_until = now + DEAD_NS;
	}
	peer->ticked = now;
	if (peer->heard && peer->heard_at + DEAD_NS < now)
		forget_other(peer);
	if (peer->checkpoint.since && now > peer->checkpoint.since + SLOW_NS) {
		peer->confirmed = peer->taken;
		peer->checkpoint.since = 0;
		peer->must_confirm = true;
	}
	settle(peer);
	send_hello(peer);
	if (peer->lines_differ)
		send_lines(peer);
	else if (peer->heard)
		tell_names(peer);
	flush(peer);
	loop_timer_set(peer->timer, now + HELLO_NS);
}

/* --- for the server ----------------------------------------------------------------------------------------------- */
struct dhcp_sink dhcp_peer_sink(struct dhcp_peer *peer)
{
	return (struct dhcp_sink){.arg = peer,
				  .lease = tell_lease,
				  .alone = is_alone,
				  .theirs = on_written,
				  .answered = tell_answered,
				  .flush = flush};
}

bool dhcp_peer_has(const struct dhcp_peer *peer, uint32_t address)
{
	for (unsigned int i = 0; i < peer->has_count; i++)
		if (peer->has[i] == address)
			return true;
	return false;
}

bool dhcp_peer_alive(const struct dhcp_peer *peer)
{
	return peer && peer->heard;
}

bool dhcp_peer_waits(const struct dhcp_peer *peer)
{
	return peer && mode_of(peer) == WAITING;
}

bool dhcp_peer_holds(struct dhcp_peer *peer, const struct dhcp_request *request)
{
	if (!peer || !peer->backup || mode_of(peer) != TOGETHER)
		return false;
	if (request->packet.type != DHCP_DISCOVER && request->packet.type != DHCP_REQUEST)
		return false;
	/* It chose us. */
	if (request->has_server_id && netif_address_own(peer->server->netif, request->chosen_server))
		return false;
	peer_held_add(peer->held, request);
	return true;
}

void dhcp_peer_stop_held(struct dhcp_peer *peer)
{
	if (peer)
		peer_held_stop(peer->held);
}

const char *dhcp_peer_problem(const struct dhcp_peer *peer, unsigned int n, char *ret, size_t size)
{
	if (!peer)
		return NULL;
	if (!peer->heard && !n--) {
		snprintf(ret, size,
			 "DHCP: the %s server %s is silent; %s; see whether it runs and whether UDP port %u reaches it",
			 other_name(peer), inet_text(peer->address).s,
			 peer->backup ? "this one answers all PCs" : "this one goes on alone", DHCP_PEER_PORT);
		return ret;
	}
	if (peer->refused[0] && !n--) {
		snprintf(ret, size, "DHCP: no leases are shared with the %s server %s: %s", other_name(peer),
			 inet_text(peer->address).s, peer->refused);
		return ret;
	}
	if (is_stalled(peer) && !n--) {
		snprintf(ret, size,
			 "DHCP: the %s server %s is heard, but leases do not get through; see whether datagrams of %u "
			 "bytes do on UDP port %u",
			 other_name(peer), inet_text(peer->address).s, PEER_PACKET_MAX, DHCP_PEER_PORT);
		return ret;
	}
	if (peer->ahead && !n--) {
		snprintf(ret, size, "the clock of the %s server %s is %lld s %s this one's; set the wrong one",
			 other_name(peer), inet_text(peer->address).s,
			 (long long)(peer->ahead < 0 ? -peer->ahead : peer->ahead),
			 peer->ahead < 0 ? "behind" : "ahead of");
		return ret;
	}
	return NULL;
}

/* --- life --------------------------------------------------------------------------------------------------------- */
int dhcp_peer_reload(struct dhcp_peer *peer)
{
	struct peer_lines *lines;
	int r;

	if (!peer)
		return 0;
	r = peer_lines_new(&lines, peer->server->config);
	if (r < 0)
		return r;
	peer_lines_free(peer->lines);
	peer->lines = lines;
	peer->lines_differ = false;
	peer->refused[0] = '\0';
	end_session(peer); /* until its next HELLO, which is compared with the new one */
	lease_table_split(peer->server->leases, !peer->server->config->dhcp_split ? LEASE_WHOLE
						: peer->backup                    ? LEASE_UPPER
										  : LEASE_LOWER);
	settle(peer);
	send_hello(peer);
	return 0;
}

int dhcp_peer_new(struct dhcp_peer **ret, struct dhcp_server *server, uint32_t address, bool backup,
		  dhcp_resume_fn resume)
{
	struct dhcp_peer *peer = calloc(1, sizeof(*peer));
	int r;

	if (!peer)
		return -ENOMEM;
	peer->server = server;
	peer->address = address;
	peer->backup = backup;
	peer->fd = -1;
	peer->together_until = INT64_MIN;
	peer->ticked = loop_now(server->loop);
	peer->listen_until = peer->ticked + DEAD_NS;
	if (getrandom(&peer->run, sizeof(peer->run), GRND_NONBLOCK) < 0 || !peer->run)
		peer->run = clock_realtime_ns();
	r = peer_held_new(&peer->held, server, resume);
	if (r >= 0)
		r = peer_lines_new(&peer->lines, server->config);
	if (r >= 0)
		r = peer->fd =
			udp_open(&(struct udp_server){.port = DHCP_PEER_PORT, .receive = 1 << 20, .send = 1 << 20});
	if (r >= 0)
		r = loop_add_recv(server->loop, peer->fd, PEER_PACKET_MAX + 1, 256, dhcp_peer_hear, peer, &peer->recv);
	if (r >= 0)
		r = loop_add_timer(server->loop, loop_now(server->loop), on_timer, peer, &peer->timer);
	if (r >= 0)
		r = loop_add_timer(server->loop, UINT64_MAX, on_stream, peer, &peer->stream_timer);
	if (r >= 0)
		r = dhcp_peer_reload(peer);
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
	peer_held_free(peer->held);
	peer_lines_free(peer->lines);
	loop_source_free(peer->recv);
	loop_source_free(peer->timer);
	loop_source_free(peer->stream_timer);
	if (peer->fd >= 0)
		close(peer->fd);
	free(peer);
}
