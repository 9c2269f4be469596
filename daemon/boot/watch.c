// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is seen by looking: sessions in configfs, first reads in the handler's counters, hand-offs that nobody followed.
 * While a PC boots it is looked at four times a second, otherwise everybody every five seconds. Looking is done on a
 * helper thread: configfs may wait behind a target that is being removed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/boot/private.h"
#include "daemon/target/disk_stats.h"
#include "daemon/target/quiet.h"
#include "daemon/core/log.h"
#include "tcmu-handler/handover.h"

#define SECOND     1000000000ull
#define FAST_EVERY (SECOND / 4)
#define SLOW_EVERY (5 * SECOND)
#define FAST_FOR   (300 * SECOND) /* a boot that takes longer is looked at with the others */

struct boot_poll_item {
	int64_t client;
	char iqn[TARGET_NAME_MAX];
	char disk[TARGET_ID_MAX];
	/* the result */
	int error;
	struct target_session session;
	char interface[IFNAMSIZ]; /* that it is on; "": behind a router */
	uint32_t peer;            /* the address of its session */
	bool quiet_known;
	uint64_t quiet_ms;    /* since anything was heard of it */
	bool asked, answered; /* by ARP */
	uint64_t first_read_ns;
	uint64_t settled_ns; /* 0: it still boots, or has not begun to read */
	uint64_t idle_gaps, idle_ns, idle_longest_ns;
	uint64_t seen_ns;     /* CLOCK_REALTIME */
	char disk_error[200]; /* why tcmu-runner could not open the disk again, "": it could */
};

struct boot_poll {
	struct boot *boot; /* NULL: it was freed while we looked */
	struct targets *targets;
	char run[256];
	uint16_t port;
	size_t count;
	struct boot_poll_item item[];
};

/* --- on the helper thread --- */

/* tcmu-runner opens every disk again when it was restarted; one that fails is not tried a second time. */
static void read_disk_error(const char *run, struct boot_poll_item *item)
{
	char path[400];
	FILE *file;

	snprintf(path, sizeof(path), HANDOVER_ERROR, run, item->disk);
	file = fopen(path, "re");
	if (!file)
		return;
	if (!fgets(item->disk_error, sizeof(item->disk_error), file))
		item->disk_error[0] = '\0';
	fclose(file);
	item->disk_error[strcspn(item->disk_error, "\n")] = '\0';
}

/*
 * The handler notes the end of a boot when the first command after it comes; a PC that stays silent has settled all the
 * same.
 */
static uint64_t settled(const struct stats_disk *s, uint64_t now_ns)
{
	if (s->boot_end_ns || !s->first_read_ns)
		return s->boot_end_ns;
	return s->last_io_ns && now_ns > s->last_io_ns + STATS_SILENCE_NS ? s->last_io_ns : 0;
}

static void take_stats(struct boot_poll_item *item, const struct stats_disk *s)
{
	item->first_read_ns = s->first_read_ns;
	item->settled_ns = settled(s, boot_realtime_ns());
	item->idle_gaps = s->boot_gaps;
	item->idle_ns = s->boot_gap_ns;
	item->idle_longest_ns = s->boot_gap_longest_ns;
}

static void take_quiet(struct boot_poll_item *item, uint64_t ms)
{
	if (!item->quiet_known || ms < item->quiet_ms)
		item->quiet_ms = ms;
	item->quiet_known = true;
}

static void take_connection(void *arg, uint32_t peer, uint64_t ms)
{
	struct boot_poll *poll = arg;

	for (size_t i = 0; i < poll->count; i++)
		if (poll->item[i].peer == peer)
			take_quiet(&poll->item[i], ms);
}

/* Who has a session and has said nothing for long: is it there? */
static void ask_the_silent(struct boot_poll *poll)
{
	struct quiet_ask *asks = calloc(poll->count, sizeof(*asks));
	struct boot_poll_item **of = calloc(poll->count, sizeof(*of));
	size_t n = 0;

	for (size_t i = 0; asks && of && i < poll->count; i++) {
		struct boot_poll_item *item = &poll->item[i];

		if (!item->peer || !item->interface[0] || !item->quiet_known || item->quiet_ms < BOOT_SILENT_MS)
			continue;
		of[n] = item;
		asks[n++] = (struct quiet_ask){.interface = item->interface, .address = item->peer};
	}
	if (n && !quiet_arp(asks, n))
		for (size_t i = 0; i < n; i++) {
			of[i]->asked = asks[i].asked;
			of[i]->answered = asks[i].answered;
		}
	free(asks);
	free(of);
}

static void look_at_session(struct boot_poll_item *item, const struct stats_disk *stats)
{
	uint64_t now = boot_realtime_ns();
	struct in_addr peer;

	if (item->error || !item->session.logged_in || inet_pton(AF_INET, item->session.address, &peer) != 1)
		return;
	item->peer = ntohl(peer.s_addr);
	if (stats && stats->last_io_ns)
		take_quiet(item, now > stats->last_io_ns ? (now - stats->last_io_ns) / 1000000 : 0);
}

static int poll_work(void *arg)
{
	struct boot_poll *poll = arg;
	struct stats_disk stats;
	bool silent = false;

	for (size_t i = 0; i < poll->count; i++) {
		struct boot_poll_item *item = &poll->item[i];

		item->error = target_session(poll->targets, item->iqn, &item->session);
		if (!disk_stats_read(poll->run, item->disk, &stats)) {
			take_stats(item, &stats);
			look_at_session(item, &stats);
		} else {
			look_at_session(item, NULL);
		}
		silent |= item->peer && (!item->quiet_known || item->quiet_ms >= BOOT_SILENT_MS);
		read_disk_error(poll->run, item);
		item->seen_ns = boot_realtime_ns();
	}
	if (silent) {
		quiet_tcp_each(poll->port, take_connection, poll);
		ask_the_silent(poll);
	}
	return 0;
}

/* --- on the loop ------------------------------------------------------------------------------ */

static void take_disk_error(struct boot_client *client, const char *error)
{
	if (*error && !client->disk_failed) {
		log_limited(20, LOG_LEVEL_ERROR,
			    "client %s lost its disk, tcmu-runner could not open it again: %s; restart the PC",
			    client->rec.name, error);
		snprintf(client->steps.failure, sizeof(client->steps.failure),
			 "its disk could not be opened again: %s; restart the PC", error);
	} else if (!*error && client->disk_failed) {
		client->steps.failure[0] = '\0';
	}
	client->disk_failed = *error != '\0';
	if (client->disk_failed)
		client->state = BOOT_FAILED;
}

/* Has it a session, and is it there? */
static bool take_silence(struct boot *boot, struct boot_client *client, const struct boot_poll_item *item)
{
	bool session = !item->error && item->session.logged_in;

	client->looked_ns = session && item->quiet_known ? loop_now(boot->loop) : 0;
	client->quiet_ms = item->quiet_ms;
	client->by_arp = item->interface[0] != '\0';
	client->unanswered = session && item->asked && !item->answered ? client->unanswered + 1 : 0;
	if (client->unanswered == BOOT_UNANSWERED && client->logged_in)
		log_limited(20, LOG_LEVEL_NOTICE,
			    "client %s has said nothing for %llu s and does not answer ARP at %s: it is off",
			    client->rec.name, (unsigned long long)item->quiet_ms / 1000, item->session.address);
	return session && client->unanswered < BOOT_UNANSWERED;
}

int boot_is_off(const struct boot *boot, const struct boot_client *client, const char *what, struct sentence *error)
{
	const char *name = client->rec.name;
	uint64_t silent = client->quiet_ms / 1000 + (loop_now(boot->loop) - client->looked_ns) / SECOND;

	if (!client->logged_in && !client->waiters && !client->guarding && client->state != BOOT_PREPARING)
		return 0;
	if (!client->logged_in)
		return sentence_fail(error, -EBUSY, "client %s is starting: %s", name, what);
	if (!client->by_arp)
		return sentence_fail(
			error, -EBUSY,
			"client %s is running: %s; it is behind a router, where one without power counts as "
			"off after two minutes",
			name, what);
	if (!client->looked_ns)
		return sentence_fail(error, -EBUSY,
				     "client %s is running: %s; one without power counts as off after %u s", name, what,
				     BOOT_OFF_S);
	return sentence_fail(
		error, -EBUSY,
		"client %s is running: %s; it has said nothing for %llu s, and without power counts as off "
		"in %llu s",
		name, what, (unsigned long long)silent,
		(unsigned long long)(silent + 5 < BOOT_OFF_S ? BOOT_OFF_S - silent : 5));
}

static void take_item(struct boot *boot, const struct boot_poll_item *item)
{
	struct boot_client *client = boot_clients_by_id(boot->clients, item->client);
	struct state_boot before;

	/* A new boot may have begun while we looked. */
	if (!client || !client->has_target || strcmp(client->iqn, item->iqn) || client->state == BOOT_PREPARING)
		return;
	before = client->steps;
	if (take_silence(boot, client, item)) {
		if (!client->logged_in) {
			client->logged_in_ns = loop_now(boot->loop);
			client->nonce_used_ms = boot_nonce_now();
		}
		client->logged_in = true;
		memcpy(client->session_address, item->session.address, sizeof(client->session_address));
		client->state = BOOT_RUNNING;
		if (!client->steps.login_ns) {
			client->steps.login_ns = item->seen_ns;
			boot_step(client, "it logged in to its disk from %s", client->session_address);
		}
	} else if (client->logged_in) {
		client->logged_in = false;
		client->logged_out_ns = loop_now(boot->loop);
		client->session_address[0] = '\0';
		if (client->state == BOOT_RUNNING)
			client->state = BOOT_OFF;
	}
	if (!client->steps.first_read_ns && item->first_read_ns >= client->steps.script_ns && client->steps.ready_ns)
		client->steps.first_read_ns = item->first_read_ns;
	if (!client->steps.settled_ns && client->steps.first_read_ns &&
	    item->settled_ns >= client->steps.first_read_ns) {
		client->steps.settled_ns = item->settled_ns;
		client->steps.idle_gaps = item->idle_gaps;
		client->steps.idle_ns = item->idle_ns;
		client->steps.idle_longest_ns = item->idle_longest_ns;
	}
	/* The first read comes after the login, which we may have seen a little later than it was.
	 */
	if (client->steps.first_read_ns && client->steps.login_ns > client->steps.first_read_ns)
		client->steps.login_ns = client->steps.first_read_ns;
	take_disk_error(client, item->disk_error);
	if (memcmp(&before, &client->steps, sizeof(before)) && client->steps.id)
		state_boot_put(boot->state, &client->steps);
}

static void poll_done(void *arg, int result)
{
	struct boot_poll *poll = arg;
	struct boot *boot = poll->boot;

	(void)result;
	if (boot) {
		boot->poll = NULL;
		for (size_t i = 0; i < poll->count; i++)
			take_item(boot, &poll->item[i]);
	}
	free(poll);
}

static bool in_boot(const struct boot_client *client, uint64_t now_ns)
{
	if (!client->has_target || now_ns - client->steps.ready_ns > FAST_FOR)
		return false;
	return client->state == BOOT_READY || (client->state == BOOT_RUNNING && !client->steps.first_read_ns);
}

/* Looks at those who boot, or at everybody who has a target. */
static void start_poll(struct boot *boot, bool everybody)
{
	size_t n = boot_clients_count(boot->clients);
	uint64_t now = boot_realtime_ns();
	struct boot_poll *poll;

	if (boot->poll || !boot->targets || !n)
		return;
	poll = calloc(1, sizeof(*poll) + n * sizeof(poll->item[0]));
	if (!poll)
		return;
	poll->boot = boot;
	poll->targets = boot->targets;
	snprintf(poll->run, sizeof(poll->run), "%s", boot->config->run_path);
	poll->port = boot->config->iscsi_port;
	for (size_t i = 0; i < n; i++) {
		const struct boot_client *client = boot_clients_at(boot->clients, i);
		struct boot_poll_item *item = &poll->item[poll->count];
		const struct config_subnet *subnet;

		if (!client->has_target || client->state == BOOT_PREPARING || (!everybody && !in_boot(client, now)))
			continue;
		subnet = config_subnet_for_address(boot->config, client->rec.address);
		snprintf(item->interface, sizeof(item->interface), "%s", subnet ? subnet->interface : "");
		item->client = client->rec.id;
		snprintf(item->iqn, sizeof(item->iqn), "%s", client->iqn);
		snprintf(item->disk, sizeof(item->disk), "%s", client->disk);
		poll->count++;
	}
	if (!poll->count || loop_work(boot->loop, poll_work, poll_done, poll))
		free(poll);
	else
		boot->poll = poll;
}

/* A boot program was sent, and no script was asked for: the PC gets the other program the next
 * time. */
static void handoff_failed(struct boot *boot, struct boot_client *client)
{
	struct state_client rec = client->rec;

	client->nbp_sent_ns = 0;
	boot->stats.handoff_failures++;
	log_limited(5, LOG_LEVEL_WARNING,
		    "client %s was sent %s and asked for no script within %u s; it gets the other "
		    "boot program next time, "
		    "unless nbp-bios or nbp-uefi names one",
		    rec.name, rec.nbp, boot->config->handoff_timeout);
	rec.nbp_failed = true;
	if (client->state == BOOT_STARTING || client->state == BOOT_LOADING)
		client->state = BOOT_FAILED;
	client->steps = client->coming;
	client->steps.client = rec.id;
	snprintf(client->steps.failure, sizeof(client->steps.failure), "%s was sent, and no script was asked for",
		 rec.nbp);
	memset(&client->coming, 0, sizeof(client->coming));
	if (boot_clients_put(boot->clients, &rec, NULL) || state_boot_put(boot->state, &client->steps))
		log_limited(3, LOG_LEVEL_ERROR, "client %s cannot be noted in the state: %s", rec.name,
			    state_error(boot->state));
}

static void on_timer(void *arg)
{
	struct boot *boot = arg;
	uint64_t now = loop_now(boot->loop), real = boot_realtime_ns();
	bool fast = false, awaited = false;
	struct boot_client *client;

	for (size_t i = 0; (client = boot_clients_at(boot->clients, i)); i++) {
		if (client->nbp_sent_ns && now - client->nbp_sent_ns > boot->config->handoff_timeout * SECOND)
			handoff_failed(boot, client);
		awaited |= client->nbp_sent_ns != 0;
		fast |= in_boot(client, real);
	}
	if (now - boot->slow_poll_ns >= SLOW_EVERY) {
		boot->slow_poll_ns = now;
		start_poll(boot, true);
	} else if (fast) {
		start_poll(boot, false);
	}
	loop_timer_set(boot->timer, now + (fast ? FAST_EVERY : awaited ? SECOND : SLOW_EVERY));
}

void boot_watch_arm(struct boot *boot)
{
	loop_timer_set(boot->timer, loop_now(boot->loop) + FAST_EVERY);
}

int boot_watch_start(struct boot *boot)
{
	return loop_add_timer(boot->loop, loop_now(boot->loop) + SECOND, on_timer, boot, &boot->timer);
}

void boot_watch_stop(struct boot *boot)
{
	if (boot->poll)
		boot->poll->boot = NULL;
	loop_source_free(boot->timer);
}
