/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A server's life. A killed one is taken apart as a stopped one is, so that its memory comes back, but it is `dead`
 * meanwhile: what it sends and writes then goes nowhere. Its disk was set aside before (sim_disk_after()).
 */
#include "tests/sim/sim.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/boot/boot.h"
#include "daemon/boot/disk.h"
#include "daemon/catalogue/catalogue.h"
#include "daemon/dhcp/peer.h"

struct sim_server sim_servers[SIM_SERVERS] = {{.n = 0, .name = "one"}, {.n = 1, .name = "two"}}, *sim_server;

bool sim_is_stalled(const struct sim_server *server)
{
	return server->stalled_until > sim_now;
}

enum sim_mode sim_mode_of(const struct sim_server *server)
{
	const struct dhcp_server *d = server->dhcp;

	if (!server->up || server->dead)
		return SIM_DOWN;
	if (!d->peer || d->sink.alone(d->sink.arg))
		return SIM_ALONE;
	return dhcp_peer_waits(d->peer) ? SIM_WAITING : SIM_TOGETHER;
}

/* --- configuration ------------------------------------------------------------------------------------------------ */
static void report(void *arg, const char *file, unsigned int line, const char *message)
{
	(void)arg;
	fprintf(stderr, "sim: %s:%u: %s\n", file, line, message);
}

static char base[] = "/tmp/sim.XXXXXX";

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void clean_up(void)
{
	nftw(base, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void put_file(const char *path, const char *text, off_t size)
{
	FILE *f = fopen(path, "w");

	if (!f || fputs(text, f) < 0 || fclose(f) || (size && truncate(path, size)))
		exit(2);
}

/* Configuration, image, and what is in /run are files: nothing of them is lost but by sim_server_clear(). */
void sim_config_load(void)
{
	char path[100], text[1000];

	if (!mkdtemp(base))
		exit(2);
	atexit(clean_up);
	snprintf(path, sizeof(path), "%s/one.raw", base);
	put_file(path, "", 1 << 20);
	for (unsigned int i = 0; i < SIM_SERVERS; i++) {
		snprintf(path, sizeof(path), "%s/%u", base, i);
		mkdir(path, 0700);
		snprintf(text, sizeof(text),
			 "[server]\nstate = /nowhere\nrun = %s\n[tftp]\nenable = no\n[images]\npath = %s\n"
			 "[image one]\nfile = one.raw\n[group default]\nimage = one\n"
			 "[dhcp]\nmode = full\ninterface = lo\nnetwork = 10.82.0.0/24\n"
			 "range = 10.82.0.100-10.82.0.107\nlease = 60s\npeer = 10.99.0.%u\n%s",
			 path, base, 2 - i, i ? "backup = yes\n" : "");
		snprintf(path, sizeof(path), "%s/%u.conf", base, i);
		put_file(path, text, 0);
		if (config_read(&sim_servers[i].config, path, report, NULL) < 0)
			exit(2);
	}
}

void sim_server_clear(struct sim_server *server)
{
	struct sentence error = {""};

	nftw(server->config->run_path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	mkdir(server->config->run_path, 0700);
	if (server->config->targets && boot_disks_write_engine(server->config, &error) < 0)
		exit(2);
}

/* --- start and end ------------------------------------------------------------------------------------------------ */
bool sim_server_start(struct sim_server *server)
{
	struct sentence error = {""};
	struct targets *targets;
	int r;

	server->up = true;
	server->dead = false;
	server->wake = server->stalled_until = 0;
	server->listens = sim_now;
	sim_say("%s starts", server->name);
	sim_server = server;
	r = loop_new(&server->loop);
	if (!r)
		r = netif_new(&server->netif, server->loop);
	if (!r)
		r = state_new(&server->state, SIM_STATE, &error);
	if (!r)
		r = catalogue_new(&server->catalogue, server->state, server->loop);
	if (!r && server->config->targets)
		catalogue_sync(server->catalogue, server->config);
	if (!r)
		r = targets_new(&targets, NULL, server->config->run_path);
	if (!r)
		r = boot_new(&server->boot, server->loop, server->config, server->state, server->catalogue,
			     server->config->targets ? targets : NULL);
	if (!r)
		boot_adopt(server->boot);
	if (!r)
		r = dhcp_server_new(&server->dhcp, server->loop, server->netif, server->config, server->state,
				    server->boot);
	sim_server = NULL;
	if (r < 0 && !server->dead && !server->disk->full && !server->disk->broken)
		sim_wrong("server %s does not start: %s: %s", server->name, strerror(-r), error.text);
	if (r < 0 && !server->dead)
		sim_server_stop(server);
	else if (!server->dead)
		sim_check_start(server);
	return !r;
}

static void take_apart(struct sim_server *server)
{
	sim_server = server;
	dhcp_server_free(server->dhcp);
	boot_free(server->boot);
	catalogue_free(server->catalogue);
	loop_free(server->loop);
	state_free(server->state);
	netif_free(server->netif);
	sim_server = NULL;
	sim_wire_closed(server);
	server->dhcp = NULL;
	server->boot = NULL;
	server->catalogue = NULL;
	server->loop = NULL;
	server->state = NULL;
	server->netif = NULL;
	server->up = server->dead = false;
	server->wake = server->stalled_until = 0;
	server->die_in = 0;
	if (!server->survives)
		return;
	server->dark = server->dies;
	server->dies = false;
	if (server->dark)
		sim_power_lost(server);
	sim_disk_free(server->disk); /* the power may fail while it is being stopped, too */
	server->disk = server->survives;
	server->survives = NULL;
}

void sim_server_stop(struct sim_server *server)
{
	sim_say("%s stops", server->name);
	take_apart(server);
}

void sim_server_bury(struct sim_server *server)
{
	take_apart(server);
	sim_disk_took();
}

void sim_server_kill(struct sim_server *server, bool power)
{
	sim_say("%s %s", server->name, power ? "loses its power" : "is killed");
	server->survives = sim_disk_after(server->disk, power);
	server->dead = true;
	server->dies = power;
	sim_server_bury(server);
}

void sim_server_reload(struct sim_server *server)
{
	sim_say("%s reloads", server->name);
	sim_server = server;
	boot_reload(server->boot, server->config);
	if (dhcp_server_reload(server->dhcp, server->config) < 0)
		sim_wrong("server %s does not reload", server->name);
	sim_server = NULL;
	sim_wake(server, sim_now);
}
