/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The iSCSI target of each server's kernel, in memory, behind daemon/target/target.h, and what the kernel knows of who
 * speaks (daemon/target/quiet.h). It outlives the daemon, and goes with the power. What must hold: a target has the
 * record of its boot for the handler, an overlay is one target's and one session's, and no PC that is on loses its
 * session.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/core/inet.h"
#include "daemon/target/disk_stats.h"
#include "daemon/target/quiet.h"
#include "daemon/target/target.h"

#define TARGETS 32

struct export
{
	bool there;
	struct target_disk disk;
	int pc;          /* that has a session; -1: none */
	uint32_t from;   /* its address */
	uint64_t silent; /* since when it says nothing; 0: it speaks */
};

struct targets {
	struct export export[TARGETS];
};
static struct targets kernels[SIM_SERVERS];

void sim_kernel_init(void)
{
	memset(kernels, 0, sizeof(kernels));
}

void sim_kernel_power(struct sim_server *server)
{
	struct targets *k = &kernels[server->n];

	for (int i = 0; i < TARGETS; i++)
		if (k->export[i].there && k->export[i].pc >= 0)
			sim_pc_cut_off((unsigned int)k->export[i].pc);
	memset(k, 0, sizeof(*k));
}

static struct export *find(struct targets *k, const char *iqn)
{
	for (int i = 0; i < TARGETS; i++)
		if (k->export[i].there && !strcmp(k->export[i].disk.iqn, iqn))
			return &k->export[i];
	return NULL;
}

/* --- PCs ---------------------------------------------------------------------------------------------------------- */
bool sim_kernel_login(struct sim_server *server, unsigned int pc, const char *iqn, const char *secret)
{
	struct export *e = find(&kernels[server->n], iqn);

	if (!e || strcmp(e->disk.secret, secret) != 0)
		return false;
	if (e->pc >= 0 && e->pc != (int)pc)
		sim_wrong("PC%u and PC%d have sessions on one overlay, of %s", pc, e->pc, iqn);
	sim_rare("a PC runs from its disk");
	e->pc = (int)pc;
	e->from = sim_pcs[pc].address;
	e->silent = 0;
	return true;
}

/* It is off, or was reset: its session is there still. */
void sim_kernel_silent(unsigned int pc)
{
	for (unsigned int n = 0; n < SIM_SERVERS; n++)
		for (int i = 0; i < TARGETS; i++)
			if (kernels[n].export[i].there && kernels[n].export[i].pc == (int)pc)
				kernels[n].export[i].silent = sim_now;
}

/* --- what must hold ----------------------------------------------------------------------------------------------- */
void sim_kernel_check(struct sim_server *server, bool idle)
{
	struct targets *k = &kernels[server->n];
	char path[300];

	for (int i = 0; i < TARGETS; i++) {
		struct export *e = &k->export[i];

		if (!e->there)
			continue;
		snprintf(path, sizeof(path), "%s/disk/%s.conf", server->config->run_path, e->disk.id);
		if (access(path, F_OK) != 0)
			sim_wrong("server %s has the target %s, and no record of its boot", server->name, e->disk.iqn);
		if (idle && !sim_boot_knows(server, e->disk.iqn))
			sim_wrong("server %s has the target %s, of no PC's boot", server->name, e->disk.iqn);
	}
}

/* --- daemon/target/target.h --------------------------------------------------------------------------------------- */
int targets_new(struct targets **ret, const char *root, const char *run)
{
	(void)root, (void)run;
	*ret = &kernels[sim_server->n];
	return 0;
}

void targets_helper(struct targets *targets, const char *socket)
{
	(void)targets, (void)socket;
}

void targets_free(struct targets *targets)
{
	(void)targets;
}

int targets_check(struct targets *targets, struct sentence *error)
{
	(void)targets, (void)error;
	return 0;
}

int target_add(struct targets *k, const struct target_disk *disk, struct sentence *error)
{
	struct export *e = NULL;

	if (sim_server->dead)
		return -EIO;
	sim_disk_takes(sim_between(MS, 40 * MS));
	if (sim_chance(20)) {
		sim_rare("a target could not be made");
		return sentence_fail(error, -EIO, "the kernel refuses");
	}
	for (int i = 0; i < TARGETS; i++) {
		if (k->export[i].there &&
		    (!strcmp(k->export[i].disk.serial, disk->serial) || !strcmp(k->export[i].disk.id, disk->id)))
			sim_wrong("server %s makes a second target of the overlay of %s", sim_server->name, disk->iqn);
		if (!k->export[i].there && !e)
			e = &k->export[i];
	}
	if (!e)
		return sentence_fail(error, -ENOSPC, "too many targets");
	*e = (struct export){.there = true, .disk = *disk, .pc = -1};
	return 0;
}

int target_touch(struct targets *k, const struct target_disk *disk, struct sentence *error)
{
	(void)k, (void)disk, (void)error;
	return 0;
}

int target_remove(struct targets *k, const char *iqn, const char *id, struct sentence *error)
{
	struct export *e = find(k, iqn);

	if (sim_server->dead)
		return -EIO;
	sim_disk_takes(sim_between(MS, 40 * MS));
	if (sim_chance(10))
		return sentence_fail(error, -EBUSY, "the kernel is busy");
	for (int i = 0; i < TARGETS && !e; i++)
		if (k->export[i].there && !strcmp(k->export[i].disk.id, id))
			e = &k->export[i];
	if (!e)
		return 0;
	if (e->pc >= 0 && !e->silent) {
		sim_wrong("server %s ends the session of PC%d, which is on", sim_server->name, e->pc);
		sim_pc_cut_off((unsigned int)e->pc);
	} else if (e->pc >= 0) {
		sim_rare("the session of a PC that was reset was ended");
	}
	e->there = false;
	return 0;
}

void target_rescue(struct targets *targets, unsigned int seconds)
{
	(void)targets, (void)seconds;
}

int target_session(struct targets *k, const char *iqn, struct target_session *ret)
{
	struct export *e = find(k, iqn);

	if (!e)
		return -ENOENT;
	memset(ret, 0, sizeof(*ret));
	ret->logged_in = e->pc >= 0;
	if (e->pc >= 0)
		snprintf(ret->address, sizeof(ret->address), "%s", inet_text(e->from).s);
	return 0;
}

int target_counts(struct targets *k, const char *iqn, const char *id, struct target_counts *ret)
{
	(void)k, (void)iqn, (void)id, (void)ret;
	return -ENOENT;
}

int target_each(struct targets *k, const char *prefix, void (*fn)(void *arg, const struct target_found *found),
		void *arg)
{
	for (int i = 0; i < TARGETS; i++) {
		const struct export *e = &k->export[i];
		struct target_found found = {.complete = true, .logged_in = e->pc >= 0};

		if (!e->there || strncmp(e->disk.iqn, prefix, strlen(prefix)) != 0)
			continue;
		memcpy(found.iqn, e->disk.iqn, sizeof(found.iqn));
		memcpy(found.id, e->disk.id, sizeof(found.id));
		memcpy(found.initiator, e->disk.initiator, sizeof(found.initiator));
		sim_rare("a server that starts finds a target");
		fn(arg, &found);
	}
	return 0;
}

int target_each_orphan(struct targets *k, void (*fn)(void *arg, const char *id), void *arg)
{
	(void)k, (void)fn, (void)arg;
	return 0;
}

void targets_trace(struct targets *targets,
		   int (*trace)(void *arg, const char *operation, const char *path, const char *value), void *arg)
{
	(void)targets, (void)trace, (void)arg;
}

int disk_stats_read(const char *run, const char *id, struct stats_disk *ret)
{
	(void)run, (void)id, (void)ret;
	return -ENOENT;
}

int disk_stats_store(const char *run, struct stats_store *ret)
{
	(void)run, (void)ret;
	return -ENOENT;
}

/* --- daemon/target/quiet.h ---------------------------------------------------------------------------------------- */
/* A PC that is on says something each second. */
static uint64_t quiet_of(const struct export *e)
{
	return (e->silent ? sim_now - e->silent : sim_below(S)) / MS;
}

int quiet_tcp_each(uint16_t port, void (*fn)(void *arg, uint32_t peer, uint64_t quiet_ms), void *arg)
{
	(void)port;
	for (int i = 0; i < TARGETS; i++)
		if (kernels[sim_server->n].export[i].there && kernels[sim_server->n].export[i].pc >= 0)
			fn(arg, kernels[sim_server->n].export[i].from, quiet_of(&kernels[sim_server->n].export[i]));
	return 0;
}

struct least {
	uint32_t peer;
	uint64_t ms;
};

static void take_least(void *arg, uint32_t peer, uint64_t ms)
{
	struct least *least = arg;

	if (peer == least->peer && ms < least->ms)
		least->ms = ms;
}

int quiet_tcp(uint32_t peer, uint16_t port, uint64_t *ret_ms)
{
	struct least least = {peer, UINT64_MAX};

	quiet_tcp_each(port, take_least, &least);
	*ret_ms = least.ms;
	return least.ms == UINT64_MAX ? -ENOENT : 0;
}

int quiet_arp(struct quiet_ask *asks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		asks[i].asked = true;
		asks[i].answered = sim_pc_at(asks[i].address) >= 0;
	}
	return 0;
}

int quiet_neighbour(const char *interface, uint32_t address, uint8_t ret_mac[6])
{
	int pc = sim_pc_at(address);

	(void)interface;
	if (pc < 0)
		return -ENOENT;
	memcpy(ret_mac, sim_pcs[pc].mac, 6);
	return 0;
}
