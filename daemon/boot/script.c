// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The script: who may have it, what it says, and the boot that begins with it. A request is answered now (a refusal,
 * the menu, the capture system), or waits among the client's `waiter`s for the guard (boot/guard.c), the images
 * (catalogue/ask.c) and the disk.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/boot/private.h"
#include "daemon/core/inet.h"
#include "daemon/core/log.h"
#include "daemon/target/quiet.h"

#define MENU_SECONDS      10
#define NOT_NOTED_NS      60000000000ull
#define BOOT_ASK_AGAIN_MS 15000 /* a PC that waits for a session to end asks again much sooner */

static void send_message(const char *client, const char *message, bool retry, boot_script_fn done, void *arg)
{
	char text[IPXE_SCRIPT_MAX];
	int n = ipxe_script_message(text, sizeof(text), client, message, retry);

	done(arg, n > 0 ? text : "", n > 0 ? n : 0);
}

static void answer_all(struct boot_client *client, const char *text, int length)
{
	/* A callback may ask again at once: the list is empty by then. */
	struct boot_waiter waiter[BOOT_WAITERS_MAX];
	unsigned int n = client->waiters;

	memcpy(waiter, client->waiter, sizeof(waiter));
	client->waiters = 0;
	for (unsigned int i = 0; i < n; i++)
		waiter[i].done(waiter[i].arg, text, length);
}

static void save_steps(struct boot *boot, struct boot_client *client)
{
	int r = state_boot_put(boot->state, &client->steps);

	if (r)
		log_limited(3, LOG_LEVEL_ERROR, "the boot of client %s cannot be noted in the state: %s",
			    client->rec.name, state_error(boot->state));
}

/* The boot that `coming` prepared begins. */
static void begin_steps(struct boot_client *client)
{
	client->steps = client->coming;
	memset(&client->coming, 0, sizeof(client->coming));
	client->steps.client = client->rec.id;
	client->steps.script_ns = boot_realtime_ns();
	client->nbp_sent_ns = 0;
}

static void boot_failed(struct boot *boot, struct boot_client *client, const char *why, bool retry)
{
	char text[IPXE_SCRIPT_MAX];
	int n;

	boot->stats.failures++;
	client->state = BOOT_FAILED;
	client->asked.last_ms = 0; /* what comes next is another request: the guard has all its time for it */
	snprintf(client->steps.failure, sizeof(client->steps.failure), "%s", why);
	log_limited(10, LOG_LEVEL_ERROR, "client %s gets no disk: %s", client->rec.name, why);
	save_steps(boot, client);
	n = ipxe_script_message(text, sizeof(text), client->rec.name, why, retry);
	answer_all(client, n > 0 ? text : "", n > 0 ? n : 0);
}

/* Is the server on the PC's own network, and does its system not take its default route from the iBFT? */
static bool clear_gateway(struct boot *boot, const struct boot_client *client)
{
	const struct config_subnet *pc = config_subnet_for_address(boot->config, client->asked.address);
	const struct config_profile *profile = boot_profile(boot, boot_section(boot, client), &client->rec);

	return profile->ibft_gateway != CONFIG_YES && pc &&
	       pc == config_subnet_for_address(boot->config, client->server);
}

static void disk_ready(void *arg, struct boot_disk_job *job, int result)
{
	struct boot *boot = arg;
	struct boot_client *client = boot_clients_by_id(boot->clients, job->client);
	char text[IPXE_SCRIPT_MAX];
	int n;

	if (!client)
		return;
	boot->stats.target_ns += job->took_ns;
	client->has_target = !result;
	client->disk_failed = false;
	client->logged_in = false;
	client->session_address[0] = '\0';
	if (job->ended[0])
		log_limited(30, LOG_LEVEL_NOTICE,
			    "the session of client %s from %s was ended: its script was asked for from %s",
			    client->rec.name, job->ended, inet_text(job->asker).s);
	if (result) {
		boot_failed(boot, client, job->error.text[0] ? job->error.text : strerror(-result), true);
		return;
	}
	boot_step(client, "its disk %s of image %s, generation %u, is ready after %llu ms as %s", job->disk.id,
		  job->chain.image.name, job->chain.image.generation, (unsigned long long)job->took_ns / 1000000,
		  job->disk.iqn);
	boot->stats.boots++;
	client->state = BOOT_READY;
	client->steps.ready_ns = boot_realtime_ns();
	snprintf(client->ready_image, sizeof(client->ready_image), "%s", client->steps.image);
	client->ready_generation = client->steps.generation;
	snprintf(client->iqn, sizeof(client->iqn), "%s", job->disk.iqn);
	snprintf(client->disk, sizeof(client->disk), "%s", job->disk.id);
	snprintf(client->image, sizeof(client->image), "%s", job->chain.image.name);
	boot_luns_ready(client, job);
	client->rec.last_boot = time(NULL);
	if (boot_clients_put(boot->clients, &client->rec, NULL))
		log_limited(3, LOG_LEVEL_ERROR, "client %s cannot be noted in the state: %s", client->rec.name,
			    state_error(boot->state));
	save_steps(boot, client);
	boot_watch_arm(boot);

	n = ipxe_script_boot(
		text, sizeof(text),
		&(struct ipxe_script_disk){
			.client = client->rec.name,
			.image = client->image,
			.generation = job->chain.image.generation,
			.server = client->server,
			.iscsi_port = boot->config->iscsi_port,
			.http_port = boot->config->http_port,
			.iqn = job->disk.iqn,
			.initiator = job->disk.initiator,
			.user = job->disk.user,
			.secret = job->disk.secret,
			.ask_name = boot->config->ask_name && !client->rec.named && !boot_section(boot, client),
			.nonce = client->asked.where.nonce,
			.pc = client->asked.where.pc,
			.clear_gateway = clear_gateway(boot, client),
		});
	answer_all(client, n > 0 ? text : "", n > 0 ? n : 0);
	explicit_bzero(text, sizeof(text));
}

/* Everything that the helper thread needs to know, copied. */
static struct boot_disk_job *make_job(struct boot *boot, struct boot_client *client,
				      const struct config_profile *profile, const struct catalogue_chain *chain)
{
	struct boot_disk_job *job = calloc(1, sizeof(*job));
	const uint8_t *mac = client->rec.mac;

	if (!job)
		return NULL;
	job->client = client->rec.id;
	job->asker = client->asked.address;
	job->make = true;
	job->done = disk_ready;
	job->arg = boot;
	job->chain = *chain;
	job->keep = profile->keep == CONFIG_YES;
	job->set_name = profile->computer_name == CONFIG_YES;
	snprintf(job->name, sizeof(job->name), "%s", client->rec.name);
	snprintf(job->images_path, sizeof(job->images_path), "%s", boot->config->images_path);
	snprintf(job->overlay, sizeof(job->overlay), "%s", client->rec.overlay);
	snprintf(job->reset, sizeof(job->reset), "%s", client->rec.reset);
	boot_uuid(job->boot);
	snprintf(job->disk.id, sizeof(job->disk.id), "%lld-0", (long long)client->rec.id);
	boot_name_iqn(boot, "disk", client->rec.key, job->disk.iqn);
	boot_name_iqn(boot, "pc", client->rec.key, job->disk.initiator);
	snprintf(job->disk.user, sizeof(job->disk.user), "pc-%02x%02x%02x%02x%02x%02x", mac[0], mac[1], mac[2], mac[3],
		 mac[4], mac[5]);
	boot_secret(job->disk.secret);
	snprintf(job->disk.serial, sizeof(job->disk.serial), "%s", client->rec.overlay);
	job->disk.size = chain->image.virtual_size;
	job->disk.port = boot->config->iscsi_port;
	/* Also when we know of none: one of an earlier run may be half there. */
	snprintf(job->old_iqn, sizeof(job->old_iqn), "%s", client->has_target ? client->iqn : job->disk.iqn);
	snprintf(job->old_disk, sizeof(job->old_disk), "%s", job->disk.id);
	return job;
}

static void make_disk(struct boot *boot, struct boot_client *client, const struct config_profile *profile);

struct noting {
	struct boot *boot;
	int64_t client;
};

static void noted(void *arg, int result)
{
	struct noting *n = arg;
	struct boot *boot = n->boot;
	struct boot_client *client = result == -ECANCELED ? NULL : boot_clients_by_id(boot->clients, n->client);

	free(n);
	if (!client)
		return; /* or the end: boot_free() answers */
	client->noting = false;
	if (result)
		boot_failed(boot, client, "the server cannot write its state; see its log", true);
	else
		make_disk(boot, client, boot_profile(boot, boot_section(boot, client), &client->rec));
}

/* What a crash would forget must not be what its disk stands on. False: nothing is to be waited for. */
static bool wait_for_note(struct boot *boot, struct boot_client *client)
{
	struct noting *n;

	if (state_is_durable(boot->state, client->noted))
		return false;
	n = calloc(1, sizeof(*n));
	if (!n) {
		boot_failed(boot, client, "the server is out of memory", true);
		return true;
	}
	*n = (struct noting){.boot = boot, .client = client->rec.id};
	client->noting = true;
	state_when(boot->state, client->noted, noted, n);
	return true;
}

/* All images that it is given are there. */
static void make_disk(struct boot *boot, struct boot_client *client, const struct config_profile *profile)
{
	const char *image = client->steps.image;
	struct sentence error = {""};
	struct state_session session;
	struct catalogue_chain chain;
	struct boot_disk_job *job;

	if (catalogue_resolve(boot->catalogue, image, &chain, &error)) {
		boot_failed(boot, client, error.text, true);
		return;
	}
	client->steps.generation = chain.image.generation;
	if (!client->rec.overlay[0]) {
		boot_uuid(client->rec.overlay);
		if (boot_clients_put(boot->clients, &client->rec, NULL)) {
			client->rec.overlay[0] = '\0';
			boot_failed(boot, client, "the server cannot write its state; see its log", true);
			return;
		}
	}
	if (wait_for_note(boot, client))
		return;
	job = make_job(boot, client, profile, &chain);
	if (!job) {
		boot_failed(boot, client, "the server is out of memory", true);
		return;
	}
	if (boot_session_of(boot, client, &session) > 0 && boot_session_job(&session, job, &error)) {
		free(job);
		boot_failed(boot, client, error.text, false);
		return;
	}
	if (boot_luns_job(boot, client, profile, job, &error)) {
		free(job);
		boot_failed(boot, client, error.text, true);
		return;
	}
	client->state = BOOT_PREPARING;
	boot_step(client, "image %s, generation %u, %u layers: its disk is asked for, %u wait before it", image,
		  chain.image.generation, chain.layers, boot_disks_waiting(boot->disks));
	boot_disks_queue(boot->disks, job);
}

/* The image that was asked for last can be given, or `why` not; then those of its further disks are asked for. */
static void image_known(void *arg, int64_t id, const char *why)
{
	struct boot *boot = arg;
	struct boot_client *client = boot_clients_by_id(boot->clients, id);
	const struct config_profile *profile;

	if (!client)
		return;
	client->asking = false;
	if (why) {
		boot_failed(boot, client, why, true);
		return;
	}
	profile = boot_profile(boot, boot_section(boot, client), &client->rec);
	if (client->asked.disks >= profile->disks) {
		make_disk(boot, client, profile);
		return;
	}
	client->asking = true;
	catalogue_ask(boot->catalogue, profile->disk[client->asked.disks++].image, image_known, boot, id);
}

static void start_disk(struct boot *boot, struct boot_client *client, const char *image)
{
	snprintf(client->steps.image, sizeof(client->steps.image), "%s", image);
	if (!boot->targets) {
		boot_failed(boot, client, "this server only serves DHCP and TFTP ([server] targets = off)", false);
		return;
	}
	client->state = BOOT_PREPARING;
	client->asked.disks = 0;
	client->asking = true;
	catalogue_ask(boot->catalogue, client->steps.image, image_known, boot, client->rec.id);
}

/* --- who may have it ----------------------------------------------------------------------------------------------*/

/* The card behind the address is another PC's; where the kernel does not see it (behind a router), nothing is said. */
static bool other_card(const struct boot *boot, const struct boot_client *client, uint32_t address)
{
	const struct config_subnet *subnet = config_subnet_for_address(boot->config, address);
	uint8_t mac[6];

	return subnet && !quiet_neighbour(subnet->interface, address, mac) && memcmp(mac, client->rec.mac, 6) != 0;
}

/* Why this asker does not get the PC's script; NULL: it does. */
static const char *refuse(struct boot *boot, const struct boot_client *client, const struct boot_ask *ask,
			  uint64_t *ret_nonce_ms)
{
	int r = 0;

	*ret_nonce_ms = 0;
	if (boot->config->script_nonce)
		r = boot_nonce_check(&boot->nonces, client->rec.key, ask->nonce, ret_nonce_ms);
	if (r || (*ret_nonce_ms && *ret_nonce_ms < client->nonce_used_ms))
		return "the name of its script is not that of its last DHCP answer; restart the PC";
	if (boot->config->dhcp_mode == CONFIG_DHCP_FULL && client->rec.address && client->rec.address != ask->address)
		return "this PC was given another address than the one that asks; restart it";
	if (other_card(boot, client, ask->address))
		return "the address that asks is another network card's";
	if (boot->committing == client->rec.id)
		return "what it changed is being committed to its image; this takes some minutes";
	if (!boot->config->script_nonce && boot->config->dhcp_mode == CONFIG_DHCP_FULL && client->logged_in &&
	    client->ipxe_seen_ns < client->logged_in_ns)
		return "its disk is in use by a session that still runs; restart the PC to end it";
	return NULL;
}

/* As proxy we see no lease: the script is the first that is certain about the PC. A MAC that somebody made up has had
 * no DHCP answer, and PCs that are new come one after the other. */
static void register_asker(struct boot *boot, const struct boot_ask *ask, const char *key)
{
	struct boot_identity who = {.arch = 0xffff, .ipxe = true};
	uint64_t ms;

	if (boot->config->script_nonce && boot_nonce_check(&boot->nonces, key, ask->nonce, &ms))
		return;
	if (!boot_clients_by_key(boot->clients, key) && !ratelimit_take(boot->newcomers, 0, loop_now(boot->loop))) {
		log_limited(1, LOG_LEVEL_WARNING,
			    "more than %u new PCs at once and %u a second: the others are asked to come again",
			    BOOT_NEW_BURST, BOOT_NEW_RATE);
		return;
	}
	memcpy(who.mac, ask->mac, 6);
	snprintf(who.key, sizeof(who.key), "%s", key);
	boot_leased(boot, &who, ask->address, "");
}

static struct boot_client *find_client(struct boot *boot, const struct boot_ask *ask)
{
	const struct config_client *section = ask->pc ? config_client_named(boot->config, ask->pc) : NULL;
	char key[IDENTITY_KEY_MAX];
	static const uint8_t zero[6];

	if (!memcmp(ask->mac, zero, 6))
		return boot_clients_by_address(boot->clients, ask->address);
	identity_of_mac(ask->mac, key);
	if (section && *section->key)
		memcpy(key, section->key, sizeof(key));
	if (boot->config->dhcp_mode == CONFIG_DHCP_PROXY)
		register_asker(boot, ask, key);
	return boot_clients_by_key(boot->clients, key);
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

static void start_chosen(struct boot *boot, struct boot_client *client)
{
	const struct config_profile *profile = boot_profile(boot, boot_section(boot, client), &client->rec);
	const char *image = client->asked.image;
	struct state_session session = {};

	begin_steps(client);
	if (boot_session_of(boot, client, &session) > 0) {
		start_disk(boot, client, session.image);
		return;
	}
	if (!profile->images) {
		boot_failed(boot, client,
			    "no image is chosen for it: write image = NAME into [group default] or "
			    "its [client] section, or "
			    "use \"bootwell client set\"",
			    false);
		return;
	}
	if (!*image)
		image = profile->image[0];
	for (unsigned int i = 0; i < profile->images; i++)
		if (!strcmp(profile->image[i], image)) {
			start_disk(boot, client, profile->image[i]);
			return;
		}
	boot_failed(boot, client, "the image that was chosen is not among those that it may start", true);
}

/* Nobody's session is in the way, or it is known what to say to the PC. */
static void guarded(struct boot *boot, struct boot_client *client, enum boot_verdict verdict, const char *from)
{
	char text[IPXE_SCRIPT_MAX];
	int n;

	switch (verdict) {
	case BOOT_END_SESSION:
		start_chosen(boot, client);
		return;
	case BOOT_WAIT:
		boot_step(client, "its session from %s may still run; it is asked to wait", from);
		n = ipxe_script_wait(text, sizeof(text), client->rec.name, from, &client->asked.where);
		break;
	default:
		log_limited(5, LOG_LEVEL_WARNING,
			    "client %s was refused its script: it was asked for from %s, but its session from "
			    "%s still answers; if nobody starts that PC, somebody else uses its network card's address",
			    client->rec.name, inet_text(client->asked.address).s, from);
		n = ipxe_script_message(text, sizeof(text), client->rec.name,
					"its disk is in use by a session that still answers; switch that PC off", true);
	}
	answer_all(client, n > 0 ? text : "", n > 0 ? n : 0);
}

/* What is kept of the request until it is known whether a session is in the way. */
static void note_asked(struct boot *boot, struct boot_client *client, const struct boot_ask *ask, uint64_t nonce_ms)
{
	uint64_t now = boot_nonce_now();

	if (now - client->asked.last_ms > BOOT_ASK_AGAIN_MS)
		client->asked.first_ms = now;
	client->asked.last_ms = now;
	client->asked.nonce_ms = nonce_ms;
	client->asked.address = ask->address;
	snprintf(client->asked.image, sizeof(client->asked.image), "%s", ask->image ? ask->image : "");
	client->asked.where =
		(struct ipxe_script_where){.server = client->server,
					   .port = ask->tftp ? boot->config->tftp_port : boot->config->http_port,
					   .tftp = ask->tftp};
	snprintf(client->asked.where.nonce, BOOT_NONCE_MAX, "%s", ask->nonce);
	if (!identity_is_mac(client->rec.key))
		snprintf(client->asked.where.pc, CONFIG_HOST_MAX, "%s", client->rec.name);
	snprintf(client->asked.where.image, CONFIG_NAME_MAX, "%s", client->asked.image);
}

static void send_redirect(boot_script_fn done, void *arg)
{
	char text[IPXE_SCRIPT_MAX];
	int n = ipxe_script_redirect(text, sizeof(text));

	done(arg, n > 0 ? text : "", n > 0 ? n : 0);
}

/* A PC that is new while the state's disk takes nothing starts nothing: nobody would know of it after a restart. */
static bool tell_not_noted(struct boot *boot, struct boot_client *client, boot_script_fn done, void *arg)
{
	char text[400];

	if (client && client->not_noted)
		client->not_noted = boot_clients_put(boot->clients, &client->rec, NULL) != 0;
	if (client ? !client->not_noted
		   : !boot->not_noted_ns || loop_now(boot->loop) - boot->not_noted_ns > NOT_NOTED_NS)
		return false;
	snprintf(
		text, sizeof(text),
		"it is new to the server, whose state cannot be written to (%s): its disk is full or read-only; on the "
		"server, \"bootwell status\" says more",
		state_error(boot->state));
	send_message(client ? client->rec.name : "this PC", text, true, done, arg);
	return true;
}

void boot_script(struct boot *boot, const struct boot_ask *ask, boot_script_fn done, void *arg)
{
	const struct config_profile *profile;
	struct state_session session;
	struct boot_client *client;
	uint64_t nonce_ms;
	bool updates;
	const char *why;

	boot->stats.scripts++;
	if (!ask->nonce[0] && boot->config->script_nonce) {
		send_redirect(done, arg);
		return;
	}
	client = find_client(boot, ask);
	if ((!client || client->not_noted) && tell_not_noted(boot, client, done, arg))
		return;
	if (!client) {
		send_message("this PC",
			     "the server does not know it: it got no address from this server, or "
			     "[clients] register is off",
			     true, done, arg);
		return;
	}
	why = refuse(boot, client, ask, &nonce_ms);
	if (!why && client->waiters == BOOT_WAITERS_MAX)
		why = "it asks too often";
	if (why) {
		log_limited(10, LOG_LEVEL_WARNING, "client %s was refused its script, asked for from %s: %s",
			    client->rec.name, inet_text(ask->address).s, why);
		send_message(client->rec.name, why, true, done, arg);
		return;
	}
	boot_step(client, "its script is asked for from %s", inet_text(ask->address).s);
	client->server = ask->server;
	if (boot_wait_upload(boot, client, ask, done, arg))
		return;
	profile = boot_profile(boot, boot_section(boot, client), &client->rec);
	updates = boot_session_of(boot, client, &session) > 0;
	if (!updates && !ask->image && boot_send_capture(boot, client, profile, done, arg))
		return;
	boot_end_ticket(boot, client); /* it starts something else */
	if (!updates && !ask->image && profile->images > 1 && client->state != BOOT_PREPARING) {
		boot_send_menu(boot, client, profile, ask->nonce, done, arg);
		return;
	}
	client->waiter[client->waiters++] = (struct boot_waiter){.done = done, .arg = arg};
	if (client->state == BOOT_PREPARING || client->guarding || client->asking || client->noting)
		return;
	note_asked(boot, client, ask, nonce_ms);
	boot_guard(boot, client, guarded);
}

void boot_send_menu(struct boot *boot, struct boot_client *client, const struct config_profile *profile,
		    const char *nonce, boot_script_fn done, void *arg)
{
	struct ipxe_script_where where = {.server = client->server, .port = boot->config->http_port};
	const char *names[CONFIG_IMAGES];
	char text[IPXE_SCRIPT_MAX];
	int n;

	snprintf(where.nonce, sizeof(where.nonce), "%s", nonce);
	if (!identity_is_mac(client->rec.key))
		snprintf(where.pc, sizeof(where.pc), "%s", client->rec.name);

	for (unsigned int i = 0; i < profile->images; i++)
		names[i] = profile->image[i];
	client->nbp_sent_ns = 0;
	n = ipxe_script_menu(text, sizeof(text), client->rec.name, &where, names, profile->images, MENU_SECONDS);
	done(arg, n > 0 ? text : "", n > 0 ? n : 0);
}

/* The name is told to the PC when it is on the disk. */
struct naming {
	boot_script_fn done;
	void *arg;
	char name[CONFIG_HOST_MAX];
};

static void named(void *arg, int result)
{
	struct naming *n = arg;
	char text[IPXE_SCRIPT_MAX];
	int length = ipxe_script_named(text, sizeof(text), result ? "" : n->name,
				       result ? "the server cannot write its state; see its log" : NULL);

	n->done(n->arg, length > 0 ? text : "", length > 0 ? length : 0);
	free(n);
}

static bool name_when_noted(struct boot *boot, const struct boot_client *client, boot_script_fn done, void *arg)
{
	struct naming *n = calloc(1, sizeof(*n));

	if (!n)
		return false;
	n->done = done;
	n->arg = arg;
	snprintf(n->name, sizeof(n->name), "%s", client->rec.name);
	state_when(boot->state, state_position(boot->state), named, n);
	return true;
}

void boot_script_name(struct boot *boot, const struct boot_ask *ask, const char *name, boot_script_fn done, void *arg)
{
	struct boot_client *client = find_client(boot, ask);
	struct sentence error = {"this PC is not known"};
	char text[IPXE_SCRIPT_MAX];
	const char *wrong = error.text, *why;
	uint64_t ms;
	int n;

	why = client ? refuse(boot, client, ask, &ms) : NULL;
	if (why)
		sentence_set(&error, "%s", why);
	else if (client && (client->rec.named || !boot->config->ask_name))
		sentence_set(&error, "this PC has its name already: %s", client->rec.name);
	else if (client &&
		 !boot_change(boot, client->rec.name,
			      &(struct boot_change){.name = name, .keep = BOOT_UNCHANGED, .upload = BOOT_UNCHANGED},
			      &error))
		wrong = NULL;
	if (!wrong && name_when_noted(boot, client, done, arg))
		return;
	n = ipxe_script_named(text, sizeof(text), wrong ? "" : client->rec.name, wrong);
	done(arg, n > 0 ? text : "", n > 0 ? n : 0);
}
