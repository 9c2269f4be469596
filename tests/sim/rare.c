/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rare paths. A run over many seeds that never reached one of these has tried less than it says, and fails. Calls
 * between files of the daemon that are such a path are led here by the linker (__wrap_), and go on.
 */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/dhcp/book.h"
#include "daemon/dhcp/peer_held.h"

static struct {
	const char *name;
	unsigned long long count;
} paths[] = {
	{"a server that starts has leases of PCs that are on", 0},
	{"a server waits, for the other one does not hear it", 0},
	{"the primary goes on by itself though it hears the backup", 0},
	{"both alone", 0},
	{"both alone, with split", 0},
	{"an address had two PCs, for both servers had been alone", 0},
	{"both servers changed one lease", 0},
	{"a server did not confirm what was older than its own", 0},
	{"a running lease was judged after a start of another boot", 0},
	{"the backup held a message, and answered it", 0},
	{"the backup held a message that the primary answered", 0},
	{"a lease ended by itself", 0},
	{"the clock was set under running leases", 0},
	{"the power took what was not flushed", 0},
	{"the power failed within a write", 0},
	{"a commit failed", 0},
	{"a PC runs from its disk", 0},
	{"a target could not be made", 0},
	{"the session of a PC that was reset was ended", 0},
	{"a server that starts finds a target", 0},
	{"no address was left", 0},
	{"an address was quarantined", 0},
};
#define PATHS (sizeof(paths) / sizeof(paths[0]))

void sim_rare(const char *name)
{
	for (size_t i = 0; i < PATHS; i++) {
		if (strcmp(paths[i].name, name) != 0)
			continue;
		paths[i].count++;
		return;
	}
	fprintf(stderr, "sim: \"%s\" is not in rare.c\n", name);
	abort();
}

int sim_rare_missing(bool print_all)
{
	int missing = 0;

	for (size_t i = 0; i < PATHS; i++) {
		if (print_all)
			printf("# %10llu  %s\n", paths[i].count, paths[i].name);
		else if (!paths[i].count)
			printf("# never reached: %s\n", paths[i].name);
		missing += !paths[i].count;
	}
	return missing;
}

/* --- calls that are such a path ----------------------------------------------------------------------------------- */
enum book_order __real_book_order(const uint64_t a[2], const uint64_t b[2]);
enum book_order __wrap_book_order(const uint64_t a[2], const uint64_t b[2]);
enum book_order __wrap_book_order(const uint64_t a[2], const uint64_t b[2])
{
	enum book_order order = __real_book_order(a, b);

	if (order == BOOK_CONCURRENT)
		sim_rare("both servers changed one lease");
	if (order == BOOK_OLDER)
		sim_rare("a server did not confirm what was older than its own");
	return order;
}

void __real_book_clock_was_set(struct dhcp_server *server);
void __wrap_book_clock_was_set(struct dhcp_server *server);
void __wrap_book_clock_was_set(struct dhcp_server *server)
{
	if (lease_table_count(server->leases, LEASE_BOUND))
		sim_rare("the clock was set under running leases");
	__real_book_clock_was_set(server);
}

void __real_book_quarantine(struct dhcp_server *server, struct lease *lease, const char *who);
void __wrap_book_quarantine(struct dhcp_server *server, struct lease *lease, const char *who);
void __wrap_book_quarantine(struct dhcp_server *server, struct lease *lease, const char *who)
{
	sim_rare("an address was quarantined");
	__real_book_quarantine(server, lease, who);
}

struct lease *__real_lease_table_due(struct lease_table *table, int64_t now);
struct lease *__wrap_lease_table_due(struct lease_table *table, int64_t now);
struct lease *__wrap_lease_table_due(struct lease_table *table, int64_t now)
{
	struct lease *lease = __real_lease_table_due(table, now);

	if (lease && lease->state == LEASE_BOUND)
		sim_rare("a lease ended by itself");
	return lease;
}

void __real_peer_held_answered(struct peer_held *held, uint32_t xid, const uint8_t chaddr[6]);
void __wrap_peer_held_answered(struct peer_held *held, uint32_t xid, const uint8_t chaddr[6]);
void __wrap_peer_held_answered(struct peer_held *held, uint32_t xid, const uint8_t chaddr[6])
{
	sim_rare("the backup held a message that the primary answered");
	__real_peer_held_answered(held, xid, chaddr);
}

enum dhcp_outcome __real_dhcp_decide_held(struct dhcp_server *server, struct dhcp_request *request);
enum dhcp_outcome __wrap_dhcp_decide_held(struct dhcp_server *server, struct dhcp_request *request);
enum dhcp_outcome __wrap_dhcp_decide_held(struct dhcp_server *server, struct dhcp_request *request)
{
	enum dhcp_outcome outcome = __real_dhcp_decide_held(server, request);

	if (outcome == DHCP_OUTCOME_ANSWERED)
		sim_rare("the backup held a message, and answered it");
	return outcome;
}
