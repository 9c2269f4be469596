/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCs, as tests/net/pair_room has them. Each asks, takes the first offer, asks again for what it has (as after a
 * restart, or to renew it), gives it back, declines it, or forgets it and asks anew. It keeps to what it is told: its
 * lease runs from the ACK on for the time that the ACK says, until it gives it back, declines it, is refused (NAK) or
 * gets another one. After each ACK: does the lease of another PC for that address run?
 */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/dhcp/packet.h"
#include "tcmu-handler/image/bytes.h"

#define PATIENCE (4 * S) /* for an answer: less than what a server keeps a lease beyond its end (DHCP_LEASE_GRACE) */

struct sim_pc sim_pcs[SIM_PCS];
unsigned int sim_pcs_count;
static uint64_t pace;
static bool only_ask, silent;

static unsigned int number(const struct sim_pc *pc)
{
	return (unsigned int)(pc - sim_pcs);
}

int sim_pc_by_mac(const uint8_t mac[6])
{
	unsigned int n = mac[5];

	return n < sim_pcs_count && !memcmp(sim_pcs[n].mac, mac, 6) ? (int)n : -1;
}

int sim_pc_at(uint32_t address)
{
	for (unsigned int i = 0; i < sim_pcs_count; i++)
		if (sim_pcs[i].address == address && sim_pcs[i].until > sim_now)
			return (int)i;
	return -1;
}

/* --- what it sends ------------------------------------------------------------------------------------------------ */
static void say(struct sim_pc *pc, uint8_t type, uint32_t to, uint32_t ciaddr, uint32_t requested, uint32_t server)
{
	uint8_t p[DHCP_PACKET_MIN] = {1, 1, 6};
	size_t n = DHCP_HEADER;

	if (type == DHCP_DISCOVER || type == DHCP_REQUEST) {
		pc->xid = (uint32_t)sim_random();
		pc->asked_for = ciaddr ? ciaddr : requested;
		pc->asked = sim_now;
	}
	be32_put(p + 4, pc->xid);
	be16_put(p + 10, DHCP_FLAG_BROADCAST);
	be32_put(p + 12, ciaddr);
	memcpy(p + 28, pc->mac, 6);
	be32_put(p + 236, 0x63825363);
	p[n++] = DHCP_OPT_TYPE;
	p[n++] = 1;
	p[n++] = type;
	if (requested) {
		p[n++] = DHCP_OPT_REQUESTED_ADDRESS;
		p[n++] = 4;
		be32_put(p + n, requested);
		n += 4;
	}
	if (pc->boots_from_us && !pc->running) {
		p[n++] = DHCP_OPT_USER_CLASS;
		p[n++] = 4;
		memcpy(p + n, "iPXE", 4);
		n += 4;
	}
	if (server) {
		p[n++] = DHCP_OPT_SERVER_ID;
		p[n++] = 4;
		be32_put(p + n, server);
		n += 4;
	}
	p[n] = DHCP_OPT_END;
	sim_pc_send(number(pc), to, p, sizeof(p));
}

/* Without its address a PC that runs is as good as off: it starts again. */
static void let_go(struct sim_pc *pc)
{
	pc->address = 0;
	pc->waits = 0;
	pc->boots++;
	if (!pc->running)
		return;
	pc->running = false;
	sim_kernel_silent(number(pc));
}

static void discover(struct sim_pc *pc)
{
	uint32_t wanted = sim_chance(400) ? SIM_NET + SIM_FIRST + (uint32_t)sim_below(12) : 0;

	pc->waits = DHCP_OFFER;
	say(pc, DHCP_DISCOVER, 0xffffffff, 0, wanted, 0);
}

static void again(struct sim_pc *pc, uint64_t in);

/* It asks for no other one before a server can have heard that: DHCP does not number messages. */
static void give_back(struct sim_pc *pc, bool declines)
{
	sim_say("PC%u %s .%u of .%u", number(pc), declines ? "declines" : "gives back", pc->address & 255,
		pc->server & 255);
	if (declines)
		say(pc, DHCP_DECLINE, 0xffffffff, 0, pc->address, pc->server);
	else
		say(pc, DHCP_RELEASE, pc->server, pc->address, 0, pc->server);
	let_go(pc);
	again(pc, sim_lan_delay() + sim_below(2 * S));
}

/* INIT-REBOOT, RENEWING or REBINDING */
static void ask_again(struct sim_pc *pc)
{
	uint64_t what = sim_below(3);

	pc->waits = DHCP_ACK;
	if (!what)
		say(pc, DHCP_REQUEST, 0xffffffff, 0, pc->address, 0);
	else
		say(pc, DHCP_REQUEST, what == 1 ? pc->server : 0xffffffff, pc->address, 0, 0);
}

/* --- when --------------------------------------------------------------------------------------------------------- */
static void act(void *arg, void *data);

static void again(struct sim_pc *pc, uint64_t in)
{
	uint64_t *turn = malloc(sizeof(*turn));

	if (!turn)
		abort();
	*turn = ++pc->turn;
	sim_at(sim_now + in, act, pc, turn);
}

static void act(void *arg, void *data)
{
	struct sim_pc *pc = arg;
	uint64_t what = sim_below(1000);

	if (*(uint64_t *)data != pc->turn || silent)
		return;
	again(pc, sim_between(pace / 10, pace * 19 / 10));
	if (pc->address && sim_now >= pc->until)
		let_go(pc);
	if (!pc->address)
		discover(pc);
	else if (only_ask || what >= 200 || (pc->running && what >= 60))
		ask_again(pc);
	else if (pc->running)
		let_go(pc); /* it is reset */
	else if (what < 140)
		give_back(pc, what >= 130);
	else if (what < 180)
		let_go(pc); /* it forgets it, and asks anew */
			    /* else it is off */
}

void sim_pcs_start(unsigned int count, uint64_t mean, bool boot)
{
	memset(sim_pcs, 0, sizeof(sim_pcs));
	sim_pcs_count = count;
	pace = mean;
	only_ask = silent = false;
	for (unsigned int i = 0; i < count; i++) {
		const uint8_t mac[6] = {2, 0, 0, 0, 0, (uint8_t)i};

		memcpy(sim_pcs[i].mac, mac, 6);
		sim_pcs[i].boots_from_us = boot;
		again(&sim_pcs[i], sim_below(mean));
	}
}

void sim_pcs_quiet(bool ask)
{
	only_ask = ask;
	silent = !ask;
	pace = 2 * S;
	for (unsigned int i = 0; i < sim_pcs_count; i++)
		again(&sim_pcs[i], sim_below(pace));
}

/* --- what it hears ------------------------------------------------------------------------------------------------ */
static void look_at_others(const struct sim_pc *pc, uint32_t address, uint32_t server)
{
	for (unsigned int i = 0; i < sim_pcs_count; i++) {
		const struct sim_pc *other = &sim_pcs[i];

		if (other == pc || other->address != address || other->until <= sim_now)
			continue;
		if (sim_check_excused(other->acked)) {
			sim_say("both servers were alone: .%u for PC%u and PC%u", address & 255, i, number(pc));
			sim_rare("an address had two PCs, for both servers had been alone");
			continue;
		}
		sim_wrong(".%u was acknowledged to PC%u by .%u while the lease of PC%u by .%u runs for %.1f s more",
			  address & 255, number(pc), server & 255, i, other->server & 255,
			  (double)(other->until - sim_now) / (double)S);
	}
}

/* --- its disk ----------------------------------------------------------------------------------------------------- */
void sim_pc_cut_off(unsigned int n)
{
	sim_say("PC%u has lost its disk", n);
	let_go(&sim_pcs[n]);
}

static void on_time(void *arg, void *data)
{
	struct sim_pc *pc = arg;

	if (*(uint64_t *)data == pc->boots && !silent)
		let_go(pc); /* its screen was looked at long enough */
}

void sim_pc_script(unsigned int n, struct sim_server *server, const char *iqn, const char *secret)
{
	struct sim_pc *pc = &sim_pcs[n];
	uint64_t *boots;

	if (silent)
		return;
	sim_say("PC%u is told by %s: %s", n, server->name, iqn ? "its disk" : "to wait");
	pc->running = iqn && sim_kernel_login(server, n, iqn, secret);
	if (pc->running)
		return;
	boots = malloc(sizeof(*boots));
	if (!boots)
		abort();
	*boots = pc->boots;
	sim_at(sim_now + 5 * S, on_time, pc, boots);
}

static void on_ack(struct sim_pc *pc, uint32_t address, uint32_t server, uint32_t lasts, const char *file)
{
	bool is_new = pc->address != address;

	sim_say(".%u acknowledges .%u to PC%u for %u s", server & 255, address & 255, number(pc), lasts);
	look_at_others(pc, address, server);
	/* Who only says again what the PC was told before promises nothing. */
	if (pc->address != address || sim_now + lasts * S > pc->until + 2 * S)
		pc->promised = server;
	pc->address = address;
	pc->server = server;
	pc->acked = sim_now;
	pc->until = sim_now + lasts * S;
	pc->waits = 0;
	if (pc->boots_from_us && !pc->running && is_new)
		sim_boot_ask(number(pc), file);
}

void sim_pc_hear(unsigned int n, const void *data, size_t length)
{
	struct sim_pc *pc = &sim_pcs[n];
	static struct dhcp_packet p;
	uint32_t server = 0, lasts = 0;

	if (dhcp_packet_parse(&p, data, length) < 0 || p.op != 2) {
		sim_wrong("PC%u was sent what it cannot read", n);
		return;
	}
	if (p.xid != pc->xid || (p.type == DHCP_OFFER ? pc->waits != DHCP_OFFER : pc->waits != DHCP_ACK) || silent)
		return;
	if (sim_now > pc->asked + PATIENCE)
		return;
	dhcp_option_u32(&p, DHCP_OPT_SERVER_ID, &server);
	dhcp_option_u32(&p, DHCP_OPT_LEASE_TIME, &lasts);
	if (p.type == DHCP_OFFER) {
		pc->waits = DHCP_ACK;
		say(pc, DHCP_REQUEST, 0xffffffff, 0, p.yiaddr, server);
	} else if (p.type == DHCP_ACK) {
		on_ack(pc, p.yiaddr, server, lasts, p.file);
	} else if (p.type == DHCP_NAK) {
		sim_say(".%u refuses .%u to PC%u", server & 255, pc->asked_for & 255, n);
		let_go(pc);
		again(pc, sim_below(S));
	}
}
