// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Start and end of `struct boot`, and what is seen by looking: sessions in configfs, first reads in
 * the handler's counters, hand-offs that nobody followed. While a PC boots it is looked at four
 * times a second, otherwise everybody every five seconds. Looking is done on a helper thread:
 * configfs may wait behind a target that is being removed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/boot_private.h"
#include "daemon/config_value.h"
#include "daemon/disk_stats.h"
#include "daemon/ipxe_script.h"
#include "daemon/log.h"

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
	uint64_t first_read_ns;
	uint64_t settled_ns; /* 0: it still boots, or has not begun to read */
	uint64_t idle_gaps, idle_ns, idle_longest_ns;
	uint64_t seen_ns; /* CLOCK_REALTIME */
	char disk_error[200];	/* why tcmu-runner could not open the disk again, "": it could */
};

struct boot_poll {
	struct boot *boot; /* NULL: it was freed while we looked */
	struct targets *targets;
	char run[256];
	size_t count;
	struct boot_poll_item item[];
};

/* --- on the helper thread --- */

/* tcmu-runner opens every disk again when it was restarted; one that fails is not tried a second time. */
static void read_disk_error(const char *run, struct boot_poll_item *item)
{
	char path[400];
	FILE *file;

	snprintf(path, sizeof(path), "%s/disk/%s.error", run, item->disk);
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

static int poll_work(void *arg)
{
	struct boot_poll *poll = arg;
	struct stats_disk stats;

	for (size_t i = 0; i < poll->count; i++) {
		struct boot_poll_item *item = &poll->item[i];

		item->error = target_session(poll->targets, item->iqn, &item->session);
		if (!disk_stats_read(poll->run, item->disk, &stats))
			take_stats(item, &stats);
		read_disk_error(poll->run, item);
		item->seen_ns = boot_realtime_ns();
	}
	return 0;
}

/* --- on the loop ------------------------------------------------------------------------------ */

static void take_disk_error(struct boot_client *client, const char *error)
{
	if (*error && !client->disk_failed) {
		log_error("client %s lost its disk, tcmu-runner could not open it again: %s; restart the PC",
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

static void take_item(struct boot *boot, const struct boot_poll_item *item)
{
	struct boot_client *client = boot_clients_by_id(boot->clients, item->client);
	struct store_boot before;

	/* A new boot may have begun while we looked. */
	if (!client || !client->has_target || strcmp(client->iqn, item->iqn) ||
	    client->state == BOOT_PREPARING)
		return;
	before = client->steps;
	if (!item->error && item->session.logged_in) {
		if (!client->logged_in)
			client->logged_in_ns = loop_now(boot->loop);
		client->logged_in = true;
		memcpy(client->session_address, item->session.address,
		       sizeof(client->session_address));
		client->state = BOOT_RUNNING;
		if (!client->steps.login_ns)
			client->steps.login_ns = item->seen_ns;
	} else if (client->logged_in) {
		client->logged_in = false;
		client->logged_out_ns = loop_now(boot->loop);
		client->session_address[0] = '\0';
		if (client->state == BOOT_RUNNING)
			client->state = BOOT_OFF;
	}
	if (!client->steps.first_read_ns && item->first_read_ns >= client->steps.script_ns &&
	    client->steps.ready_ns)
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
		store_boot_put(boot->store, &client->steps);
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
	return client->state == BOOT_READY ||
	       (client->state == BOOT_RUNNING && !client->steps.first_read_ns);
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
	for (size_t i = 0; i < n; i++) {
		const struct boot_client *client = boot_clients_at(boot->clients, i);
		struct boot_poll_item *item = &poll->item[poll->count];

		if (!client->has_target || client->state == BOOT_PREPARING ||
		    (!everybody && !in_boot(client, now)))
			continue;
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
	struct store_client rec = client->rec;

	client->nbp_sent_ns = 0;
	boot->stats.handoff_failures++;
	log_warning("client %s was sent %s and asked for no script within %u s; it gets the other "
		    "boot program next time, "
		    "unless nbp-bios or nbp-uefi names one",
		    rec.name, rec.nbp, boot->config->handoff_timeout);
	rec.nbp_failed = true;
	if (client->state == BOOT_STARTING || client->state == BOOT_LOADING)
		client->state = BOOT_FAILED;
	client->steps = client->coming;
	client->steps.client = rec.id;
	snprintf(client->steps.failure, sizeof(client->steps.failure),
		 "%s was sent, and no script was asked for", rec.nbp);
	memset(&client->coming, 0, sizeof(client->coming));
	if (boot_clients_put(boot->clients, &rec, NULL) ||
	    store_boot_put(boot->store, &client->steps))
		log_error("client %s cannot be noted in the state: %s", rec.name,
			  store_error(boot->store));
}

static void on_timer(void *arg)
{
	struct boot *boot = arg;
	uint64_t now = loop_now(boot->loop), real = boot_realtime_ns();
	bool fast = false, awaited = false;
	struct boot_client *client;

	for (size_t i = 0; (client = boot_clients_at(boot->clients, i)); i++) {
		if (client->nbp_sent_ns &&
		    now - client->nbp_sent_ns > boot->config->handoff_timeout * SECOND)
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

int boot_new(struct boot **ret, struct loop *loop, const struct config *config, struct store *store,
	     struct catalogue *catalogue, struct targets *targets)
{
	struct boot *boot = calloc(1, sizeof(*boot));
	int r;

	if (!boot)
		return -ENOMEM;
	boot->loop = loop;
	boot->config = config;
	boot->store = store;
	boot->catalogue = catalogue;
	boot->targets = targets;
	r = boot_clients_new(&boot->clients, store);
	if (!r)
		r = boot_disks_new(&boot->disks, loop, targets, config->run_path);
	if (!r)
		r = loop_add_timer(loop, loop_now(loop) + SECOND, on_timer, boot, &boot->timer);
	if (r) {
		boot_free(boot);
		return r;
	}
	*ret = boot;
	return 0;
}

/* Who waits for a script gets one that says to come again. */
static void turn_away(struct boot_client *client)
{
	char text[IPXE_SCRIPT_MAX];
	int n = ipxe_script_message(text, sizeof(text), client->rec.name,
				    "the server is being stopped", true);

	for (unsigned int i = 0; i < client->waiters; i++)
		client->waiter[i].done(client->waiter[i].arg, n > 0 ? text : "", n > 0 ? n : 0);
	client->waiters = 0;
}

void boot_free(struct boot *boot)
{
	struct boot_client *client;

	if (!boot)
		return;
	for (size_t i = 0; boot->clients && (client = boot_clients_at(boot->clients, i)); i++)
		turn_away(client);
	if (boot->poll)
		boot->poll->boot = NULL;
	loop_source_free(boot->timer);
	boot_disks_free(boot->disks);
	boot_clients_free(boot->clients);
	free(boot);
}

void boot_reload(struct boot *boot, const struct config *config)
{
	boot->config = config;
}

/* --- what an earlier run left --- */

static void removed(void *arg, struct boot_disk_job *job, int result)
{
	(void)arg;
	if (result)
		log_warning("the left-over disk %s could not be removed: %s", job->old_disk,
			    job->error);
}

static void remove_leftover(struct boot *boot, const char *iqn, const char *disk)
{
	struct boot_disk_job *job = calloc(1, sizeof(*job));

	if (!job)
		return;
	snprintf(job->old_iqn, sizeof(job->old_iqn), "%s", iqn);
	snprintf(job->old_disk, sizeof(job->old_disk), "%s", disk);
	job->done = removed;
	boot_disks_queue(boot->disks, job);
}

/* The client of `PREFIX:disk-MAC`. */
static struct boot_client *client_of_iqn(const struct boot *boot, const char *iqn)
{
	const char *at = strrchr(iqn, '-');
	uint8_t mac[6];

	if (!at || value_mac(at + 1, mac))
		return NULL;
	return boot_clients_by_mac(boot->clients, mac);
}

static void adopt_one(void *arg, const struct target_found *found)
{
	struct boot *boot = arg;
	struct boot_client *client = client_of_iqn(boot, found->iqn);

	if (client && found->complete) {
		client->has_target = true;
		client->logged_in = found->logged_in;
		client->logged_in_ns = loop_now(boot->loop);
		client->state = found->logged_in ? BOOT_RUNNING : BOOT_OFF;
		snprintf(client->iqn, sizeof(client->iqn), "%s", found->iqn);
		snprintf(client->disk, sizeof(client->disk), "%s", found->id);
		snprintf(client->image, sizeof(client->image), "%s", client->steps.image);
		boot_luns_adopt(client, boot_profile(boot, boot_section(boot, client), &client->rec));
		boot->adopted++;
		boot->adopted_running += found->logged_in;
		log_debug("client %s keeps its disk %s%s", client->rec.name, found->id,
			 found->logged_in ? ", it runs" : "");
		return;
	}
	if (found->logged_in) {
		log_warning("%s is in use, but its client is not known; it is left as it is",
			    found->iqn);
		return;
	}
	remove_leftover(boot, found->iqn, found->id);
}

static void remove_orphan(void *arg, const char *id)
{
	remove_leftover(arg, "", id);
}

void boot_adopt(struct boot *boot)
{
	char prefix[TARGET_NAME_MAX];

	if (!boot->targets)
		return;
	snprintf(prefix, sizeof(prefix), "%s:disk-", boot->config->iqn_prefix);
	target_each(boot->targets, prefix, adopt_one, boot);
	if (boot->adopted)
		log_notice("%u clients keep the disks that they had, %u of them are running", boot->adopted,
			   boot->adopted_running);
	target_each_orphan(boot->targets, remove_orphan, boot);
}
