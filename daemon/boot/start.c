// SPDX-License-Identifier: GPL-2.0-or-later
/* Start and end of `struct boot`, and what an earlier run left in the kernel. Above all other files of boot/. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/boot/ipxe_script.h"
#include "daemon/boot/private.h"
#include "daemon/boot/promised.h"
#include "daemon/config/value.h"
#include "daemon/core/clock.h"
#include "daemon/core/log.h"

#define SAVE_PATIENCE (2 * CLOCK_NS) /* ns that the end waits for the file of the secrets */

int boot_new(struct boot **ret, struct loop *loop, const struct config *config, struct state *state,
	     struct catalogue *catalogue, struct targets *targets)
{
	struct boot *boot = calloc(1, sizeof(*boot));
	int r;

	if (!boot)
		return -ENOMEM;
	boot->loop = loop;
	boot->config = config;
	boot->state = state;
	boot->catalogue = catalogue;
	boot->targets = targets;
	boot_nonces_init(&boot->nonces, config->run_path);
	r = promised_new(&boot->promised);
	if (!r)
		r = boot_clients_new(&boot->clients, state);
	if (!r)
		r = boot_who_settle(boot);
	if (!r)
		r = boot_tickets_new(&boot->tickets, config->state_path);
	if (!r)
		r = aside_new(&boot->saver, loop, 1, boot);
	if (!r)
		r = boot_disks_new(&boot->disks, loop, targets, config->run_path);
	if (!r)
		r = ratelimit_new(&boot->newcomers, BOOT_NEW_RATE, BOOT_NEW_BURST);
	if (!r)
		r = boot_watch_start(boot);
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
	int n = ipxe_script_message(text, sizeof(text), client->rec.name, "the server is being stopped", true);

	for (unsigned int i = 0; i < client->waiters; i++)
		client->waiter[i].done(client->waiter[i].arg, n > 0 ? text : "", n > 0 ? n : 0);
	client->waiters = 0;
}

void boot_free(struct boot *boot)
{
	const uint64_t until = clock_monotonic_ns() + SAVE_PATIENCE;
	struct boot_client *client;

	if (!boot)
		return;
	for (size_t i = 0; boot->clients && (client = boot_clients_at(boot->clients, i)); i++)
		turn_away(client);
	boot_guards_stop(boot);
	if (boot->catalogue)
		catalogue_forget(boot->catalogue, boot);
	boot_watch_stop(boot);
	boot_disks_free(boot->disks);
	ratelimit_free(boot->newcomers);
	boot_clients_free(boot->clients);
	promised_free(boot->promised);
	while (boot->saving && aside_wait(boot->saver, until))
		;
	aside_free(boot->saver);
	boot_tickets_unref(boot->tickets);
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
		log_warning("the left-over disk %s could not be removed: %s", job->old_disk, job->error.text);
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

/*
 * The client of `PREFIX:disk-KEY`. A target of a version that knew PCs by MAC only has that in its place: then it is of
 * the record that its disk names, if that has the MAC.
 */
static struct boot_client *client_of(const struct boot *boot, const struct target_found *found)
{
	const char *key = found->iqn + strlen(boot->config->iqn_prefix) + strlen(":disk-");
	struct boot_client *client = boot_clients_by_key(boot->clients, key);
	char mac[IDENTITY_KEY_MAX];

	if (client)
		return client;
	client = boot_clients_by_id(boot->clients, strtoll(found->id, NULL, 10));
	if (!client)
		return NULL;
	identity_of_mac(client->rec.mac, mac);
	return strcmp(mac, key) ? NULL : client;
}

static void adopt_one(void *arg, const struct target_found *found)
{
	struct boot *boot = arg;
	struct boot_client *client = client_of(boot, found);

	if (client && found->complete) {
		client->has_target = true;
		client->logged_in = found->logged_in;
		client->nonce_used_ms = found->logged_in ? boot_nonce_now() : 0;
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
		log_warning("%s is in use, but its client is not known; it is left as it is", found->iqn);
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
