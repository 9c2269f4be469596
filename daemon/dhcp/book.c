/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What changes a lease beside the answers to its holder. */
#include "daemon/dhcp/book.h"
#include "daemon/dhcp/whose.h"

#include <string.h>

#include "daemon/core/clock.h"
#include "daemon/core/inet.h"

#define BOOK_FREE_MAX 65536       /* addresses freed by one order */
#define BOOK_NEW      (1ll << 34) /* s since 1970, that a new state begins with at most */

struct book_free {
	uint32_t address; /* 0: all */
	bool unbooted;
	unsigned int count;
	uint32_t found[BOOK_FREE_MAX];
};

enum book_order book_order(const uint64_t a[2], const uint64_t b[2])
{
	bool more = a[0] > b[0] || a[1] > b[1], less = a[0] < b[0] || a[1] < b[1];

	return more && less ? BOOK_CONCURRENT : more ? BOOK_NEWER : less ? BOOK_OLDER : BOOK_SAME;
}

/* Numbers go up over all leases and both servers, so they tell the newer one of two leases of one PC, too. */
static uint64_t age_of(const uint64_t version[2])
{
	return version[0] > version[1] ? version[0] : version[1];
}

/* Is there a newer lease of that PC? */
static bool has_newer(struct dhcp_server *server, const struct lease_client *client, const struct state_lease *from)
{
	const struct config_subnet *s = config_subnet_for_address(server->config, from->address);
	const struct lease *other;

	if (!s)
		return false;
	other = lease_by_client(server->leases, (unsigned int)(s - server->config->subnet), client);
	return other && other->address != from->address && other->state == LEASE_BOUND &&
	       age_of(other->version) > age_of(from->version);
}

void book_restore(struct dhcp_server *server, const struct state_lease *from, int64_t left)
{
	struct lease_client client = whose_record(from);
	struct lease *lease;
	bool is_nobodys;
	enum lease_state state = from->state == STATE_LEASE_BOUND      ? LEASE_BOUND
				 : from->state == STATE_LEASE_DECLINED ? LEASE_QUARANTINED
								       : LEASE_FREE;

	if (state != LEASE_FREE && left <= -DHCP_LEASE_GRACE)
		state = LEASE_FREE;
	is_nobodys = state == LEASE_QUARANTINED || (!client.has_mac && !client.id_length);
	lease_table_restore(server->leases, from->address, state, is_nobodys ? NULL : &client,
			    left == LEASE_FOREVER ? LEASE_FOREVER : dhcp_now(server) + left,
			    !has_newer(server, &client, from));
	lease = lease_by_address(server->leases, from->address);
	if (!lease)
		return;
	memcpy(lease->version, from->version, sizeof(lease->version));
	for (int i = 0; i < 2; i++)
		server->seq = from->version[i] > server->seq ? from->version[i] : server->seq;
	if (lease->state == LEASE_FREE)
		lease->freed = dhcp_now(server);
	lease->had = lease->known;
}

/* --- all of them -------------------------------------------------------------------------------------------------- */
int64_t book_left(const struct dhcp_server *server, const struct state_lease *from)
{
	static const uint8_t unknown[16];
	int64_t since;

	if (from->left == LEASE_FOREVER || from->left <= 0)
		return from->left;
	if (!memcmp(from->boot, server->boot_id, sizeof(from->boot)) &&
	    memcmp(from->boot, unknown, sizeof(unknown)) != 0)
		since = (int64_t)(clock_boottime_ns() / CLOCK_NS) - from->boot_s;
	else
		since = from->updated && clock_is_right() ? clock_realtime_s() - from->updated - DHCP_LEASE_GRACE : 0;
	return since > 0 ? from->left - since : from->left;
}

struct opening {
	struct dhcp_server *server;
};

static void find_last(void *arg, const struct state_lease *from)
{
	struct opening *opening = arg;

	for (int i = 0; i < 2; i++)
		if (from->version[i] > opening->server->seq && from->version[i] < DHCP_SEQ_MAX)
			opening->server->seq = from->version[i];
}

static void write_again(void *arg, const struct lease *lease)
{
	struct dhcp_server *server = arg;

	struct dhcp_answer *answer;

	if (lease->state != LEASE_BOUND && lease->state != LEASE_QUARANTINED)
		return;
	answer = dhcp_answer_new(server, true);
	answer->foreign = true; /* to the other server its clock means nothing */
	dhcp_record(server, answer, lease);
}

static void restore(void *arg, const struct state_lease *from)
{
	struct opening *opening = arg;
	struct dhcp_server *server = opening->server;
	struct lease *lease;

	book_restore(server, from, book_left(server, from));
	lease = lease_by_address(server->leases, from->address);
	if (!lease)
		return;
	if (!from->version[0] && !from->version[1]) {
		/* Of a version of this program that did not number them. */
		dhcp_stamp(server, lease);
		dhcp_record(server, dhcp_answer_new(server, true), lease);
	} else if (memcmp(from->boot, server->boot_id, sizeof(from->boot)) != 0) {
		/* How much is left was a guess: from now on it stands in the state as it is believed. */
		lease->written = false;
		write_again(server, lease);
	}
}

/*
 * Numbers that were used and not written before a crash must not be used again for something else, and a state that is
 * new (the old one was lost) should go on above what the old one counted, as far as a clock can tell.
 */
int book_open(struct dhcp_server *server)
{
	struct opening opening = {.server = server};
	int r = state_lease_each(server->state, find_last, &opening);

	if (r < 0)
		return r;
	clock_boot_id(server->boot_id);
	server->seq = server->seq                     ? server->seq + DHCP_SEQ_GAP
		      : clock_realtime_s() < BOOK_NEW ? (uint64_t)clock_realtime_s() * DHCP_SEQ_GAP
						      : BOOK_NEW * DHCP_SEQ_GAP;
	return state_lease_each(server->state, restore, &opening);
}

void book_clock_was_set(struct dhcp_server *server)
{
	lease_each(server->leases, write_again, server);
}

static void free_one(void *arg, const struct lease *lease)
{
	struct book_free *free = arg;

	if (free->count < BOOK_FREE_MAX && lease->state != LEASE_FREE &&
	    (!free->address || lease->address == free->address) && (!free->unbooted || lease->brief))
		free->found[free->count++] = lease->address;
}

unsigned int book_free(struct dhcp_server *server, uint32_t address, bool unbooted)
{
	static struct book_free free;

	free.address = address;
	free.unbooted = unbooted;
	free.count = 0;
	lease_each(server->leases, free_one, &free);
	for (unsigned int i = 0; i < free.count; i++) {
		struct lease *lease = lease_by_address(server->leases, free.found[i]);

		lease_set(server->leases, lease, LEASE_FREE, NULL, 0);
		dhcp_stamp(server, lease);
		dhcp_record(server, dhcp_answer_new(server, true), lease);
	}
	return free.count;
}

void book_quarantine(struct dhcp_server *server, struct lease *lease, const char *who)
{
	server->stats.conflicts++;
	log_limited(5, LOG_LEVEL_WARNING,
		    "DHCP: %s is used by another machine, %s: it is left alone for an hour; find the machine with that "
		    "fixed address, or exclude the address in [subnet %s]",
		    inet_text(lease->address).s, who, server->config->subnet[lease->subnet].name);
	lease_set(server->leases, lease, LEASE_QUARANTINED, NULL, dhcp_now(server) + LEASE_QUARANTINE);
	dhcp_stamp(server, lease);
	dhcp_record(server, dhcp_answer_new(server, true), lease);
}
