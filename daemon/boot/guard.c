// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Before a boot ends what the PC ran: does that still speak? A PC that runs sends something on its session's connection
 * at least now and then (its disk is read or written, open-iscsi pings every 5 s, an answer to LIO's NOP-In); a PC that
 * was reset and has done DHCP since cannot. So:
 *
 *	it spoke after the DHCP answer whose nonce came with the request: it runs, somebody else asks. Refused.
 *	it has said nothing for BOOT_QUIET_MS: it was reset. The session is ended.
 *	else: not known yet. The PC's screen says what is waited for, and asks again; at most BOOT_QUIET_MS in all.
 *
 * What the kernel is asked may wait (configfs, behind a target that is being removed), so a helper thread asks.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/boot/private.h"
#include "daemon/target/disk_stats.h"
#include "daemon/target/quiet.h"

#define SLACK_MS 1000 /* clocks of two kinds, and a packet on its way */

struct guard {
	struct guard *next, **prev; /* of boot->guards */
	struct boot *boot;          /* NULL: it was freed meanwhile */
	int64_t client;
	boot_guard_fn done;
	char run[256], iqn[TARGET_NAME_MAX], disk[TARGET_ID_MAX];
	uint16_t port;
	struct targets *targets;
	/* found */
	struct target_session session;
	bool known;
	uint64_t quiet_ms;
};

enum boot_verdict boot_verdict(bool known, uint64_t quiet_ms, uint64_t since_dhcp_ms, uint64_t waited_ms)
{
	if (!known)
		return waited_ms >= BOOT_QUIET_MS ? BOOT_END_SESSION : BOOT_WAIT;
	if (since_dhcp_ms && quiet_ms + SLACK_MS < since_dhcp_ms)
		return BOOT_ANSWERS;
	return quiet_ms >= BOOT_QUIET_MS ? BOOT_END_SESSION : BOOT_WAIT;
}

static void take_quiet(struct guard *g, uint64_t ms)
{
	if (!g->known || ms < g->quiet_ms)
		g->quiet_ms = ms;
	g->known = true;
}

static int guard_work(void *arg)
{
	struct guard *g = arg;
	struct stats_disk stats;
	struct in_addr peer;
	uint64_t ms, now;

	if (target_session(g->targets, g->iqn, &g->session) || !g->session.logged_in)
		return 0;
	if (inet_pton(AF_INET, g->session.address, &peer) == 1 && !quiet_tcp(ntohl(peer.s_addr), g->port, &ms))
		take_quiet(g, ms);
	now = boot_realtime_ns();
	if (!disk_stats_read(g->run, g->disk, &stats) && stats.last_io_ns)
		take_quiet(g, now > stats.last_io_ns ? (now - stats.last_io_ns) / 1000000 : 0);
	return 0;
}

static uint64_t since_dhcp(const struct boot *boot, const struct boot_client *client)
{
	uint64_t now = boot_nonce_now();

	if (client->asked.nonce_ms)
		return now - client->asked.nonce_ms;
	if (client->ipxe_seen_ns && boot->config->dhcp_mode == CONFIG_DHCP_FULL)
		return (loop_now(boot->loop) - client->ipxe_seen_ns) / 1000000;
	return now - client->asked.first_ms;
}

static void unlink_guard(struct guard *g)
{
	*g->prev = g->next;
	if (g->next)
		g->next->prev = g->prev;
}

void boot_guards_stop(struct boot *boot)
{
	for (struct guard *g = boot->guards; g; g = g->next)
		g->boot = NULL;
	boot->guards = NULL;
}

static void guard_done(void *arg, int result)
{
	struct guard *g = arg;
	struct boot *boot = g->boot;
	struct boot_client *client = result || !boot ? NULL : boot_clients_by_id(boot->clients, g->client);
	enum boot_verdict verdict = BOOT_END_SESSION;

	if (boot)
		unlink_guard(g);
	if (client) {
		client->guarding = false;
		if (g->session.logged_in)
			verdict = boot_verdict(g->known, g->quiet_ms, since_dhcp(boot, client),
					       boot_nonce_now() - client->asked.first_ms);
		g->done(boot, client, verdict, g->session.address);
	}
	free(g);
}

void boot_guard(struct boot *boot, struct boot_client *client, boot_guard_fn done)
{
	struct guard *g = client->has_target && boot->targets ? calloc(1, sizeof(*g)) : NULL;

	if (!g) {
		done(boot, client, BOOT_END_SESSION, "");
		return;
	}
	*g = (struct guard){.boot = boot,
			    .client = client->rec.id,
			    .done = done,
			    .port = boot->config->iscsi_port,
			    .targets = boot->targets};
	snprintf(g->run, sizeof(g->run), "%s", boot->config->run_path);
	snprintf(g->iqn, sizeof(g->iqn), "%s", client->iqn);
	snprintf(g->disk, sizeof(g->disk), "%s", client->disk);
	client->guarding = true;
	if (!loop_work(boot->loop, guard_work, guard_done, g)) {
		g->next = boot->guards;
		g->prev = &boot->guards;
		if (g->next)
			g->next->prev = &g->next;
		boot->guards = g;
		return;
	}
	client->guarding = false;
	free(g);
	done(boot, client, BOOT_WAIT, client->session_address);
}
