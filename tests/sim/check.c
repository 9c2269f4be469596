/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What must hold beside the one rule of pc.c.
 *
 * Two PCs may have one address only when each server was ALONE before the other one had all that it did
 * (daemon/dhcp/peer.h): when both have been ALONE since they were last TOGETHER at one moment; and never with split.
 * What PCs were told until the two are TOGETHER again is excused then.
 */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <string.h>

#include "daemon/dhcp/peer.h"

#define SIZE_MAX_STATE (12u << 20) /* bytes of the state and its WAL */
#define LISTENS        (2900 * MS) /* before it may be alone */
#define LATE           (12 * S)    /* an ACK may be on its way so long */

static bool split, bad_cable, was_alone[SIM_SERVERS], both_alone;
static uint64_t excused_until; /* what PCs were told before */
static enum sim_mode last[SIM_SERVERS];
static unsigned int events;

void sim_check_init(bool with_split, bool with_bad_cable)
{
	split = with_split;
	bad_cable = with_bad_cable;
	memset(was_alone, 0, sizeof(was_alone));
	both_alone = false;
	excused_until = events = 0;
	memset(last, 0, sizeof(last));
}

bool sim_check_excused(uint64_t acked)
{
	return !split && (both_alone || acked < excused_until);
}

static void on_mode(const struct sim_server *server, enum sim_mode mode)
{
	static const char *const name[] = {"down", "waiting", "alone", "together"};

	sim_say("%s is %s", server->name, name[mode]);
	if (mode == SIM_ALONE && dhcp_peer_alive(server->dhcp->peer))
		sim_rare("the primary goes on by itself though it hears the backup");
	if (mode == SIM_WAITING && last[server->n] == SIM_TOGETHER)
		sim_rare("a server waits, for the other one does not hear it");
}

static void see_modes(void)
{
	unsigned int together = 0;

	for (unsigned int i = 0; i < SIM_SERVERS; i++) {
		enum sim_mode mode = sim_mode_of(&sim_servers[i]);

		if (mode != last[i])
			on_mode(&sim_servers[i], mode);
		last[i] = mode;
		was_alone[i] |= mode == SIM_ALONE;
		together += mode == SIM_TOGETHER && !sim_is_stalled(&sim_servers[i]);
	}
	for (unsigned int i = 0; i < SIM_SERVERS; i++)
		if (last[i] == SIM_ALONE && sim_now < sim_servers[i].listens + LISTENS &&
		    !sim_is_stalled(&sim_servers[i]))
			sim_wrong("server %s is alone, and has not listened", sim_servers[i].name);
	/* Over a cable that loses in both directions one may hear nothing and the other one no confirmation. */
	if (!bad_cable && last[0] == SIM_ALONE && last[1] == SIM_ALONE && !sim_is_stalled(&sim_servers[0]) &&
	    !sim_is_stalled(&sim_servers[1]) && dhcp_peer_alive(sim_servers[0].dhcp->peer))
		sim_wrong("both servers are alone at once, and the primary hears the backup");
	if (was_alone[0] && was_alone[1] && !both_alone) {
		both_alone = true;
		sim_rare(split ? "both alone, with split" : "both alone");
	}
	if (together < SIM_SERVERS)
		return;
	if (both_alone)
		excused_until = sim_now + LATE;
	both_alone = was_alone[0] = was_alone[1] = false;
}

void sim_check_step(void)
{
	see_modes();
	events++;
	for (unsigned int i = 0; i < SIM_SERVERS && !(events % 64); i++)
		if (sim_servers[i].config->targets)
			sim_kernel_check(&sim_servers[i], false);
	for (unsigned int i = 0; i < SIM_SERVERS; i++)
		if (sim_disk_size(sim_servers[i].disk) > SIZE_MAX_STATE)
			sim_wrong("the state of server %s has grown to %zu bytes", sim_servers[i].name,
				  sim_disk_size(sim_servers[i].disk));
}

/* --- leases ------------------------------------------------------------------------------------------------------- */
/* The lease runs by that server, and not for the last few seconds only. */
static bool runs_on(const struct sim_server *server, const struct lease *lease)
{
	return lease && lease->state == LEASE_BOUND &&
	       (uint64_t)lease->expires * S > sim_now - (uint64_t)server->booted + 10 * S;
}

/* Who lost power may not know how much of a lease is left, and keep it for longer. */
static bool differ(const struct lease *a, const struct lease *b)
{
	static const uint64_t never[2];
	bool guessed = sim_servers[0].cuts || sim_servers[1].cuts;

	if (memcmp(a ? a->version : never, b ? b->version : never, sizeof(never)) != 0)
		return true;
	if (!a || !b)
		return false;
	if ((a->state == LEASE_QUARANTINED) != (b->state == LEASE_QUARANTINED))
		return true;
	return !guessed && ((runs_on(&sim_servers[0], a) && b->state != LEASE_BOUND) ||
			    (runs_on(&sim_servers[1], b) && a->state != LEASE_BOUND));
}

static const char *ends_early(const struct lease *lease, uint64_t until)
{
	static char text[80];

	snprintf(text, sizeof(text), "it ends %.1f s before the PC's",
		 (double)until / (double)S - (double)lease->expires);
	return text;
}

/* What the server knows of the address that the PC has, as the PC knows it? NULL: yes, else what is wrong. */
static const char *known(const struct sim_server *server, const struct sim_pc *pc)
{
	const struct lease *lease = lease_by_address(server->dhcp->leases, pc->address);
	uint64_t until = pc->until - (uint64_t)server->booted; /* by its clock */

	if (!lease)
		return "nothing is known of it";
	if (lease->state != LEASE_BOUND)
		return lease->state == LEASE_QUARANTINED ? "it is quarantined" : "it is free";
	if (memcmp(lease->client.mac, pc->mac, sizeof(pc->mac)) != 0)
		return "it is another PC's";
	if (lease->expires != LEASE_FOREVER && (uint64_t)(lease->expires + DHCP_LEASE_GRACE + 1) * S < until)
		return ends_early(lease, until);
	return NULL;
}

static void check_known(const struct sim_server *server, unsigned int n, const char *when)
{
	const struct sim_pc *pc = &sim_pcs[n];
	const char *wrong = known(server, pc);

	if (wrong && !sim_check_excused(pc->acked))
		sim_wrong("%s: server %s, of .%u that PC%u has from .%u for %.1f s more: %s", when, server->name,
			  pc->address & 255, n, pc->server & 255, (double)(pc->until - sim_now) / (double)S, wrong);
}

void sim_check_start(const struct sim_server *server)
{
	for (unsigned int i = 0; i < sim_pcs_count; i++)
		if (sim_pcs[i].address && sim_pcs[i].until > sim_now &&
		    sim_pcs[i].promised == SIM_NET + server->n + 1) {
			sim_rare("a server that starts has leases of PCs that are on");
			if (sim_pcs[i].acked < (uint64_t)server->booted + 5 * S)
				sim_rare("a running lease was judged after a start of another boot");
			check_known(server, i, "an ACK is durable");
		}
}

void sim_check_same(void)
{
	for (unsigned int i = 0; i < SIM_SERVERS; i++)
		sim_kernel_check(&sim_servers[i], true);
	for (unsigned int i = 0; i < SIM_SERVERS; i++)
		for (unsigned int n = 0; n < sim_pcs_count; n++)
			if (sim_pcs[n].address && sim_pcs[n].until > sim_now)
				check_known(&sim_servers[i], n, "both know what PCs have");
	for (uint32_t n = SIM_FIRST; n < 255; n++) {
		const struct lease *a = lease_by_address(sim_servers[0].dhcp->leases, SIM_NET + n);
		const struct lease *b = lease_by_address(sim_servers[1].dhcp->leases, SIM_NET + n);

		if (differ(a, b))
			sim_wrong("the servers differ about .%u: state %d and %d, version %llx.%llx and %llx.%llx", n,
				  a ? (int)a->state : -1, b ? (int)b->state : -1,
				  a ? (unsigned long long)a->version[0] : 0, a ? (unsigned long long)a->version[1] : 0,
				  b ? (unsigned long long)b->version[0] : 0, b ? (unsigned long long)b->version[1] : 0);
	}
}

void sim_check_free(void)
{
	for (unsigned int i = 0; i < SIM_SERVERS; i++)
		if (lease_table_count(sim_servers[i].dhcp->leases, LEASE_BOUND) ||
		    lease_table_count(sim_servers[i].dhcp->leases, LEASE_OFFERED))
			sim_wrong("server %s keeps leases that have ended", sim_servers[i].name);
}
