/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What goes wrong, and when. Each seed has a few kinds of faults; one after the other begins, and ends after a while.
 * Faults of different kinds overlap. Not among them: a state that is lost altogether, and a clock that NTP vouches for
 * and that is wrong.
 */
#include "tests/sim/sim.h"

#include <stdlib.h>

enum fault {
	LOSS,
	DELAY,
	ONE_WAY,
	CUT,
	FREEZE,
	KILL,
	POWER,
	DIE,
	FULL,
	BROKEN,
	SLOW,
	CLOCK,
	RELOAD,
	RESTART,
	LAN,
	FAULTS
};

static const char *const name[FAULTS] = {
	[LOSS] = "the cable loses",
	[DELAY] = "the cable is slow",
	[ONE_WAY] = "the cable is cut one way",
	[CUT] = "the cable is cut",
	[FREEZE] = "frozen",
	[KILL] = "killed",
	[POWER] = "power",
	[DIE] = "power, within a write",
	[FULL] = "disk full",
	[BROKEN] = "disk broken",
	[SLOW] = "disk slow",
	[CLOCK] = "clock set",
	[RELOAD] = "reload",
	[RESTART] = "restart",
	[LAN] = "the PCs' network is bad",
};

static struct sim_plan plan;
static bool over;

/* --- the ends of faults ------------------------------------------------------------------------------------------- */
static void good_cable(struct sim_server *server)
{
	sim_cable[server->n] = (struct sim_wire){.delay = 2 * MS};
}

static void good_lan(struct sim_server *server)
{
	sim_lan[server->n][0] = sim_lan[server->n][1] = (struct sim_wire){.delay = 2 * MS};
}

static void good_disk(struct sim_server *server)
{
	server->disk->full = server->disk->broken = false;
	server->disk->slow = 0;
}

static void start_again(struct sim_server *server)
{
	if (!server->up && !server->dark)
		sim_server_start(server);
}

/* --- a machine's power -------------------------------------------------------------------------------------------- */
/* What time it is, it is told by a clock with a battery, by NTP, or by nobody. */
static void new_clock(struct sim_server *server)
{
	static const int64_t steps[] = {90, 86400, 5 * 365 * 86400};
	uint64_t what = sim_below(10);

	server->ntp = what < 3;
	if (what < 5)
		server->wrong = 0;
	else if (what < 8)
		server->wrong = (sim_chance(500) ? 1 : -1) * steps[sim_below(3)] * (int64_t)S;
	sim_say("%s: the clock is %lld s wrong%s", server->name, (long long)(server->wrong / (int64_t)S),
		server->ntp ? ", NTP knows" : "");
}

static void power_on(struct sim_server *server)
{
	if (!server->dark)
		return;
	server->machine = sim_random();
	server->cuts++;
	server->dark = false;
	sim_kernel_power(server);
	sim_server_clear(server);
	server->booted = (int64_t)sim_now - (int64_t)sim_between(5 * S, 40 * S);
	new_clock(server);
	start_again(server);
}

/* --- the ends, as events ------------------------------------------------------------------------------------------ */
struct end {
	void (*fn)(struct sim_server *server);
	struct sim_server *server;
};

static void on_end(void *arg, void *data)
{
	struct end *end = data;

	(void)arg;
	if (!over)
		end->fn(end->server);
}

static void later(uint64_t in, void (*fn)(struct sim_server *server), struct sim_server *server)
{
	struct end *end = malloc(sizeof(*end));

	if (!end)
		abort();
	*end = (struct end){fn, server};
	sim_at(sim_now + in, on_end, NULL, end);
}

void sim_power_lost(struct sim_server *server)
{
	later(sim_between(3 * S, 15 * S), power_on, server);
}

/* --- the begins --------------------------------------------------------------------------------------------------- */
static void bad_wire(struct sim_wire *wire, bool slow)
{
	wire->loss = (unsigned int)sim_between(50, 600);
	wire->twice = (unsigned int)sim_below(300);
	wire->delay = slow ? sim_between(100 * MS, 3 * S) : sim_between(2 * MS, 300 * MS);
}

static void of_cable(enum fault fault, struct sim_server *server)
{
	uint64_t lasts = sim_chance(300) ? sim_below(3 * S) : sim_between(3 * S, 25 * S);

	if (fault == ONE_WAY || fault == CUT)
		sim_cable[server->n].cut = true;
	else
		bad_wire(&sim_cable[server->n], fault == DELAY);
	later(lasts, good_cable, server);
	if (fault == ONE_WAY)
		return;
	server = &sim_servers[!server->n];
	sim_cable[server->n] = sim_cable[!server->n];
	later(lasts, good_cable, server);
}

static void of_disk(enum fault fault, struct sim_server *server)
{
	server->disk->full |= fault == FULL;
	server->disk->broken |= fault == BROKEN;
	if (fault == SLOW)
		server->disk->slow = sim_between(10 * MS, 3 * S);
	later(sim_between(2 * S, 20 * S), good_disk, server);
}

static void of_life(enum fault fault, struct sim_server *server)
{
	uint64_t away = sim_chance(300) ? 10 * MS : sim_below(15 * S);

	if (fault == RESTART)
		sim_server_stop(server);
	else
		sim_server_kill(server, fault == POWER);
	later(away, start_again, server); /* power comes when it comes: sim_power_lost() */
}

static void begin(enum fault fault, struct sim_server *server)
{
	sim_say("fault: %s, %s", name[fault], server->name);
	switch (fault) {
	case FREEZE:
		server->stalled_until = sim_now + (sim_chance(300) ? sim_below(2 * S) : sim_between(2 * S, 12 * S));
		if (server->stalled_until > sim_now + 2600 * MS)
			server->listens = server->stalled_until;
		break;
	case DIE:
		server->die_in = (unsigned int)sim_between(1, 12);
		break;
	case CLOCK:
		new_clock(server);
		sim_clock_set(server);
		break;
	case RELOAD:
		sim_server_reload(server);
		break;
	case LAN:
		bad_wire(&sim_lan[server->n][0], false);
		sim_lan[server->n][0].twice = 0; /* a second RELEASE is nobody's fault here */
		sim_lan[server->n][1] = sim_lan[server->n][0];
		sim_lan[server->n][0].cut = sim_chance(300);
		later(sim_between(1 * S, 20 * S), good_lan, server);
		break;
	case FULL:
	case BROKEN:
	case SLOW:
		of_disk(fault, server);
		break;
	case KILL:
	case POWER:
	case RESTART:
		of_life(fault, server);
		break;
	default:
		of_cable(fault, server);
	}
}

static void on_fault(void *arg, void *data)
{
	struct sim_server *server = &sim_servers[sim_below(SIM_SERVERS)];
	enum fault fault;

	(void)arg, (void)data;
	if (over)
		return;
	do
		fault = (enum fault)sim_below(FAULTS);
	while (!(plan.faults & 1u << fault));
	if (server->up && !sim_is_stalled(server))
		begin(fault, server);
	sim_at(sim_now + sim_between(plan.every / 10, plan.every * 19 / 10), on_fault, NULL, NULL);
}

/* --- the plan of a seed ------------------------------------------------------------------------------------------- */
void sim_plan_make(struct sim_plan *ret, uint64_t lasts)
{
	static const uint32_t leases[] = {60, 60, 60, 90, 300, 3600};

	*ret = (struct sim_plan){.split = sim_chance(500), .probe = sim_chance(150), .registers = sim_chance(300)};
	ret->lease = leases[sim_below(6)];
	ret->targets = ret->registers && sim_chance(600);
	ret->pcs = (unsigned int)sim_between(2, SIM_PCS);
	ret->addresses = ret->pcs / 2 + (unsigned int)sim_below(ret->pcs * 2u) + 1;
	ret->pace = sim_chance(500) ? sim_between(S, 4 * S) : sim_between(4 * S, 30 * S);
	ret->lasts = lasts;
	ret->every = sim_between(3 * S, 30 * S);
	for (unsigned int n = (unsigned int)sim_between(1, 5); n; n--)
		ret->faults |= 1u << sim_below(FAULTS);
	/* Without split this is no fault that a pair survives: few seeds have it. */
	if (!ret->split && ret->faults & 1u << CUT && sim_chance(700))
		ret->faults ^= 1u << CUT | 1u << ONE_WAY;
	if (!ret->faults)
		ret->faults = 1u << KILL;
}

bool sim_plan_is_lossy(const struct sim_plan *of)
{
	return of->faults & (1u << LOSS | 1u << DELAY);
}

void sim_faults_start(const struct sim_plan *of)
{
	plan = *of;
	over = false;
	sim_say("split %d, probe %d, registers %d, lease %u s, %u addresses, %u PCs, faults %x", plan.split, plan.probe,
		plan.registers, plan.lease, plan.addresses, plan.pcs, plan.faults);
	for (unsigned int i = 0; i < SIM_SERVERS; i++) {
		struct sim_server *server = &sim_servers[i];

		server->config->dhcp_split = plan.split;
		server->config->dhcp_probe = plan.probe;
		server->config->register_clients = plan.registers;
		server->config->targets = plan.targets;
		sim_server_clear(server);
		server->config->subnet[0].lease_time = plan.lease;
		server->config->subnet[0].range[0].last = SIM_NET + SIM_FIRST + plan.addresses - 1;
		server->booted = -(int64_t)sim_between(100 * S, 10000 * S);
		server->machine = sim_random();
		server->wrong = 0;
		server->cuts = 0;
		server->dark = false;
		server->ntp = true;
		if (sim_chance(300))
			new_clock(server);
		server->disk = sim_disk_new();
	}
	sim_at(sim_between(5 * S, 15 * S), on_fault, NULL, NULL);
}

void sim_faults_end(void)
{
	over = true;
	for (unsigned int i = 0; i < SIM_SERVERS; i++) {
		struct sim_server *server = &sim_servers[i];

		good_cable(server);
		good_lan(server);
		good_disk(server);
		server->die_in = 0;
		if (server->dark)
			power_on(server);
		start_again(server);
	}
	sim_say("all is well from now on");
}
