/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Only the network half of bootwelld: tool_netd CONFIG. Says `ready` on stdout when it serves, the counters on SIGUSR1,
 * ends on SIGTERM (counters again), reads CONFIG again on SIGHUP. Boot scripts are the daemon's own, without targets.
 * Or: tool_netd scan INTERFACE SECONDS lists other DHCP servers.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/catalogue/catalogue.h"
#include "daemon/dhcp/scan.h"
#include "daemon/dhcp/server.h"
#include "daemon/core/log.h"
#include "daemon/tftp/server.h"

struct netd {
	struct loop *loop;
	struct netif *netif;
	struct state *state;
	struct catalogue *catalogue;
	struct boot *boot;
	struct config *config;
	struct dhcp_server *dhcp;
	struct tftp_server *tftp;
	const char *file;
	struct loop_source *tick;
};

static void report(void *arg, const char *file, unsigned int line, const char *message)
{
	(void)arg;
	fprintf(stderr, "%s:%u: %s\n", file, line, message);
}

static void print_stats(struct netd *d)
{
	const struct dhcp_stats *s = dhcp_server_stats(d->dhcp);
	const struct tftp_stats *t = tftp_server_stats(d->tftp);
	const char *problem;

	for (unsigned int i = 0; i < 9; i++)
		printf("dhcp_received_%s %llu\ndhcp_sent_%s %llu\n", dhcp_message_name(i),
		       (unsigned long long)s->received[i], dhcp_message_name(i), (unsigned long long)s->sent[i]);
	for (int i = 0; i < DHCP_OUTCOMES; i++)
		printf("dhcp_outcome_%s %llu\n", dhcp_outcome_name(i), (unsigned long long)s->outcome[i]);
	printf("dhcp_leases %u\ndhcp_offers %u\ndhcp_quarantined %u\ndhcp_commits %llu\ndhcp_commit_ns %llu\n"
	       "dhcp_conflicts %llu\n",
	       s->leases, s->offers, s->quarantined, (unsigned long long)s->commits, (unsigned long long)s->commit_ns,
	       (unsigned long long)s->conflicts);
	for (int i = 0; i < TFTP_PATHS; i++)
		printf("tftp_blocks_%s %llu\n", tftp_path_name(i), (unsigned long long)t->blocks[i]);
	printf("tftp_requests %llu\ntftp_completed %llu\ntftp_probed %llu\ntftp_aborted %llu\ntftp_timed_out %llu\n"
	       "tftp_retransmits %llu\ntftp_malformed %llu\ntftp_limited %llu\ntftp_sessions %u\ntftp_sessions_most "
	       "%u\n",
	       (unsigned long long)t->requests, (unsigned long long)t->completed, (unsigned long long)t->probed,
	       (unsigned long long)t->aborted, (unsigned long long)t->timed_out, (unsigned long long)t->retransmits,
	       (unsigned long long)t->malformed, (unsigned long long)t->limited, t->sessions, t->sessions_most);
	for (unsigned int i = 0; (problem = dhcp_server_problem(d->dhcp, i)); i++)
		printf("problem %s\n", problem);
	for (unsigned int i = 0; (problem = tftp_server_problem(d->tftp, i)); i++)
		printf("problem %s\n", problem);
	printf("end\n");
	fflush(stdout);
}

static void reload(struct netd *d)
{
	struct config *fresh;

	if (config_read(&fresh, d->file, report, NULL) < 0)
		return;
	boot_reload(d->boot, fresh);
	dhcp_server_reload(d->dhcp, fresh);
	tftp_server_reload(d->tftp, fresh);
	config_free(d->config);
	d->config = fresh;
	printf("reloaded\n");
	fflush(stdout);
}

static void on_signal(void *arg, int signo)
{
	struct netd *d = arg;

	if (signo == SIGHUP)
		reload(d);
	else
		print_stats(d);
	if (signo == SIGTERM || signo == SIGINT)
		loop_stop(d->loop, 0);
}

static void deliver(void *arg)
{
	state_deliver(((struct netd *)arg)->state);
}

/* On the state's thread. */
static void on_state(void *arg)
{
	struct netd *d = arg;

	loop_wake(d->loop, deliver, d);
}

static void on_tick(void *arg)
{
	struct netd *d = arg;

	state_deliver(d->state);
	loop_timer_set(d->tick, loop_now(d->loop) + 250000000);
}

static int start(struct netd *d)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
	struct loop_source *source;
	struct sentence error = {""};
	char file[4096];
	int r;

	r = loop_new(&d->loop);
	for (size_t i = 0; !r && i < 4; i++)
		r = loop_add_signal(d->loop, signals[i], on_signal, d, &source);
	if (!r)
		r = netif_new(&d->netif, d->loop);
	snprintf(file, sizeof(file), "%s/bootwell.db", d->config->state_path);
	if (!r)
		r = state_new_queued(&d->state, file, &error);
	if (!r)
		r = catalogue_new(&d->catalogue, d->state, d->loop);
	if (!r)
		r = boot_new(&d->boot, d->loop, d->config, d->state, d->catalogue, NULL);
	if (!r)
		r = dhcp_server_new(&d->dhcp, d->loop, d->netif, d->config, d->state, d->boot);
	if (!r)
		r = tftp_server_new(&d->tftp, d->loop, d->netif, d->config, d->boot);
	if (!r)
		r = state_begin_queue(d->state, on_state, d);
	if (!r)
		r = loop_add_timer(d->loop, loop_now(d->loop), on_tick, d, &d->tick);
	return r;
}

static void scanned(void *arg, const struct dhcp_scan_server *s, unsigned int count, int error)
{
	struct netd *d = arg;

	for (unsigned int i = 0; i < count; i++)
		printf("%s %u.%u.%u.%u %02x:%02x:%02x:%02x:%02x:%02x offers %u.%u.%u.%u%s file %s\n", s[i].interface,
		       s[i].server >> 24, s[i].server >> 16 & 255, s[i].server >> 8 & 255, s[i].server & 255,
		       s[i].mac[0], s[i].mac[1], s[i].mac[2], s[i].mac[3], s[i].mac[4], s[i].mac[5], s[i].offered >> 24,
		       s[i].offered >> 16 & 255, s[i].offered >> 8 & 255, s[i].offered & 255, s[i].ours ? " ours" : "",
		       s[i].boot_file);
	loop_stop(d->loop, error);
}

static int scan(const char *interface, unsigned int seconds)
{
	struct netd d = {0};
	struct dhcp_scan *running = NULL;
	int r = loop_new(&d.loop);

	if (!r)
		r = netif_new(&d.netif, d.loop);
	if (!r)
		r = dhcp_scan_start(&running, d.loop, d.netif, interface, seconds, scanned, &d);
	if (!r)
		r = loop_run(d.loop);
	if (r < 0)
		fprintf(stderr, "scan of %s: %s\n", interface, strerror(-r));
	dhcp_scan_free(running);
	netif_free(d.netif);
	loop_free(d.loop);
	return r ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct netd d = {.file = argc > 1 ? argv[1] : ""};
	int r;

	if (argc == 4 && !strcmp(argv[1], "scan"))
		return scan(argv[2], (unsigned int)atoi(argv[3]));
	if (argc != 2) {
		fprintf(stderr, "usage: tool_netd CONFIG\n");
		return 2;
	}
	if (config_read(&d.config, d.file, report, NULL) < 0)
		return 1;
	log_set_level(d.config->log_level);
	r = start(&d);
	if (r < 0) {
		fprintf(stderr, "tool_netd: %s\n", strerror(-r));
		return 1;
	}
	printf("ready\n");
	fflush(stdout);
	r = loop_run(d.loop);
	tftp_server_free(d.tftp);
	dhcp_server_free(d.dhcp);
	loop_source_free(d.tick);
	state_settle(d.state, STATE_PATIENCE);
	boot_free(d.boot);
	catalogue_free(d.catalogue);
	state_free(d.state);
	netif_free(d.netif);
	loop_free(d.loop);
	config_free(d.config);
	return r ? 1 : 0;
}
