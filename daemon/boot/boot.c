// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The way of one boot, as the server sees it:
 *
 *	boot_identify		DHCP asks who this is and what it gets: [client] section, record
 *				in the state, group, defaults. iPXE is told a name of its script
 *				with a nonce in it (boot/nonce.c)
 *	boot_leased		the lease is being committed: an unknown PC becomes a record;
 *				`coming` notes the time
 *	boot_tftp_started	it fetches its boot program
 *	boot_script		the moment of a new boot (boot/script.c): `coming` becomes `steps`, the
 *				disk's job is queued (boot/disk.c), its end answers the PC
 *	polling			login and first read are seen in configfs and in the handler's
 *				counters (boot/watch.c)
 *
 * A hand-off is awaited from the lease that named a boot program until the script is asked for;
 * when nobody asks within [dhcp] handoff-timeout, the PC gets the other program of the pair the next
 * time.
 *
 * Whoever asks for a script ends what the PC ran before. So the asker must know the nonce of a DHCP answer to that PC
 * since its last login, must have the PC's address (as proxy: a nonce is all that we know of it), and its network card
 * where the kernel can see that. And what the PC ran is not ended while it still speaks: boot/guard.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "daemon/boot/private.h"
#include "daemon/config/value.h"
#include "daemon/boot/ipxe_script.h"
#include "daemon/core/log.h"
#include "daemon/core/clock.h"
#include "daemon/core/inet.h"

#define SEEN_EVERY 60 /* s: how exact last_seen is in the state */

/* --- who is it, and what does it get --- */

static void answer_nbp(const struct boot *boot, const struct boot_identity *who, const struct state_client *rec,
		       uint32_t server, struct boot_answer *a)
{
	char nonce[BOOT_NONCE_MAX];
	const char *nbp;

	if (who->ipxe)
		boot_nonce_make(&boot->nonces, who->key, nonce);
	if (who->ipxe && boot->config->dhcp_mode == CONFIG_DHCP_FULL) {
		snprintf(a->nbp, sizeof(a->nbp), "boot/%s/boot.ipxe", nonce);
		return;
	}
	if (who->ipxe) { /* as proxy we do not know the PC by its address */
		snprintf(a->nbp, sizeof(a->nbp), "http://%s:%u/boot/%s/boot.ipxe?mac=${netX/mac}%s%s",
			 inet_text(server).s, boot->config->http_port, nonce,
			 identity_is_mac(who->key) ? "" : "&pc=", identity_is_mac(who->key) ? "" : a->hostname);
		return;
	}
	if (!who->pxe)
		return;
	nbp = boot_firmware_program(a->profile, rec, who->arch);
	a->http_boot = who->http && *nbp;
	if (a->http_boot)
		snprintf(a->nbp, sizeof(a->nbp), "http://%s:%u/nbp/%.80s", inet_text(server).s, boot->config->http_port,
			 nbp);
	else
		snprintf(a->nbp, sizeof(a->nbp), "%s", nbp);
}

void boot_identify(struct boot *boot, const struct boot_identity *who, uint32_t server, struct boot_answer *ret)
{
	struct boot_identity as = *who;
	const struct config_client *section;
	struct boot_client *client;

	if (!as.key[0])
		boot_who(boot, &as);
	client = boot_clients_by_key(boot->clients, as.key);
	section = identity_section_of(boot->config, as.key, client ? client->rec.name : NULL);
	memset(ret, 0, sizeof(*ret));
	ret->known = client || section;
	ret->booted = section || (client && (client->rec.last_boot || client->steps.script_ns));
	if (section)
		snprintf(ret->hostname, sizeof(ret->hostname), "%s", section->name);
	else if (client)
		snprintf(ret->hostname, sizeof(ret->hostname), "%s", client->rec.name);
	ret->reserved = section ? section->address : 0;
	boot_name_iqn(boot, "pc", as.key, ret->initiator);
	ret->profile = boot_profile(boot, section, client ? &client->rec : NULL);
	if (who->ipxe && !boot_firmware_runs_script(boot->config, ret->profile, who->features)) {
		as.ipxe = false;
		as.pxe = true;
	}
	answer_nbp(boot, &as, client ? &client->rec : NULL, server, ret);
}

/* --- a lease is committed --- */

/* Frees a name that a section gives to another PC: its holder gets an automatic one. */
static void yield_name(struct boot *boot, const char *name, const struct boot_client *to)
{
	struct boot_client *holder = boot_clients_by_name(boot->clients, name);
	struct state_client rec;

	if (!holder || holder == to)
		return;
	rec = holder->rec;
	rec.named = 0;
	if (boot_clients_new_name(boot->clients, boot->config->client_name_pattern, rec.address, boot->promised,
				  rec.name))
		return;
	if (!boot_clients_put(boot->clients, &rec, NULL))
		log_limited(10, LOG_LEVEL_NOTICE, "client %s is now %s: [client %s] is another PC", name, rec.name,
			    name);
}

/* The record of a PC that has none. 0: none is made. */
static int begin_record(struct boot *boot, const struct boot_identity *who, uint32_t address,
			const struct config_client *section, struct state_client *rec)
{
	if (!section && !boot->config->register_clients)
		return 0;
	if (!section && boot_clients_count(boot->clients) >= BOOT_CLIENTS_MAX) {
		log_limited(1, LOG_LEVEL_WARNING,
			    "%u clients are registered; a new one is not: remove old ones with "
			    "\"bootwell client remove\"",
			    BOOT_CLIENTS_MAX);
		return 0;
	}
	memset(rec, 0, sizeof(*rec));
	memcpy(rec->key, who->key, sizeof(rec->key));
	rec->keep = rec->upload = -1;
	rec->arch = 0xffff;
	rec->first_seen = time(NULL);
	if (section || boot_shared_name_of(boot, rec))
		return 1;
	return boot_clients_new_name(boot->clients, boot->config->client_name_pattern, address, boot->promised,
				     rec->name)
		       ? 0
		       : 1;
}

/* A PC that is known by one thing came with another of the rest. */
static void tell_changes(const struct state_client *rec, const struct boot_identity *who)
{
	if (identity_is_mac(rec->key) && rec->has_uuid && who->has_uuid && !identity_uuid_same(rec->uuid, who->uuid))
		log_limited(
			5, LOG_LEVEL_WARNING,
			"client %s is known by its network card %s, and that is in another board now (UUID %s, before "
			"%s): if these are two PCs that share a dock or a card, give each a [client] section with its "
			"uuid, or they share one disk",
			rec->name, inet_mac_text(rec->mac).s, identity_uuid_text(who->uuid).s,
			identity_uuid_text(rec->uuid).s);
	else if (!identity_is_mac(rec->key) && memcmp(rec->mac, who->mac, 6) != 0)
		log_limited(5, LOG_LEVEL_NOTICE, "client %s comes with the network card %s now, before %s", rec->name,
			    inet_mac_text(who->mac).s, inet_mac_text(rec->mac).s);
}

/* What a packet tells about a PC, into its record. True if something changed that is worth a write.
 */
static bool update_record(struct state_client *rec, const struct boot_identity *who, uint32_t address, const char *nbp)
{
	struct state_client old = *rec;

	memcpy(rec->mac, who->mac, 6);
	if (address)
		rec->address = address;
	if (who->has_uuid) {
		rec->has_uuid = true;
		memcpy(rec->uuid, who->uuid, 16);
	}
	if ((who->pxe || who->ipxe) && who->arch != 0xffff)
		rec->arch = who->arch;
	if (who->pxe && !who->ipxe && *nbp && strcmp(nbp, rec->nbp)) {
		snprintf(rec->nbp, sizeof(rec->nbp), "%s", nbp);
		rec->nbp_failed = false;
	}
	if (!memcmp(rec, &old, sizeof(old)) && time(NULL) - rec->last_seen < SEEN_EVERY)
		return false;
	rec->last_seen = time(NULL);
	return true;
}

static void note_steps(struct boot *boot, struct boot_client *client, const struct boot_identity *who, const char *nbp)
{
	uint64_t now = boot_realtime_ns();

	if (!who->pxe && !who->ipxe)
		return;
	client->ipxe_seen_ns = loop_now(boot->loop);
	if (!who->ipxe) {
		memset(&client->coming, 0, sizeof(client->coming));
		client->coming.dhcp_ns = now;
		client->nbp_sent_ns = *nbp ? loop_now(boot->loop) : 0;
		if (!*nbp && !boot_firmware_known(who->arch))
			log_limited(
				3, LOG_LEVEL_WARNING,
				"client %s has firmware of architecture %u (RFC 4578, option 93), and there is no boot "
				"program for it; name one below [tftp] root as nbp-uefi of the client or its group",
				client->rec.name, who->arch);
	} else {
		if (!client->coming.dhcp_ns) /* iPXE is in its ROM */
			client->coming.dhcp_ns = now;
		client->coming.ipxe_ns = now;
	}
	if (!client->has_target || !client->logged_in)
		client->state = client->waiters ? BOOT_PREPARING : BOOT_STARTING;
}

int boot_leased(struct boot *boot, const struct boot_identity *from, uint32_t address, const char *nbp)
{
	struct boot_identity as = *from, *who = &as;
	const struct boot_client *had_card = boot_clients_by_mac(boot->clients, who->mac), *had_name = NULL;
	const struct config_client *section;
	struct boot_client *client;
	struct state_client rec;
	bool fresh;
	int r;

	if (!who->key[0])
		boot_who(boot, who);
	client = boot_clients_by_key(boot->clients, who->key);
	fresh = !client;
	section = identity_section_of(boot->config, who->key, client ? client->rec.name : NULL);
	if (client)
		rec = client->rec;
	else if (!begin_record(boot, who, address, section, &rec))
		return 0;
	if (section && strcmp(rec.name, section->name)) {
		had_name = boot_clients_by_name(boot->clients, section->name);
		yield_name(boot, section->name, client);
		snprintf(rec.name, sizeof(rec.name), "%s", section->name);
		fresh = true;
	}
	/* An iPXE that was sent a boot program is no more than firmware: boot_identify(). */
	if (from->ipxe && *nbp && !strstr(nbp, "boot.ipxe")) {
		as.ipxe = false;
		as.pxe = true;
	}
	if (strstr(nbp, "/nbp/")) /* of a URI the file's name */
		nbp = strstr(nbp, "/nbp/") + strlen("/nbp/");
	if (client)
		tell_changes(&rec, who);
	if (update_record(&rec, who, address, nbp) || fresh || client->not_noted) {
		r = boot_clients_put(boot->clients, &rec, &client);
		if (r) {
			boot->not_noted_ns = loop_now(boot->loop);
			log_limited(3, LOG_LEVEL_ERROR, "client %s cannot be noted in the state: %s", rec.name,
				    state_error(boot->state));
			return r;
		}
		client->not_noted = false;
		if (!rec.id) {
			boot->stats.registered++;
			log_limited(20, LOG_LEVEL_NOTICE, "new client %s, %s", rec.name, inet_mac_text(rec.mac).s);
			boot_who_is_new(boot, client, had_card, had_name);
		}
	}
	boot_clients_seen(boot->clients, client);
	note_steps(boot, client, who, nbp);
	if (who->pxe || who->ipxe)
		boot_step(client, "lease of %u.%u.%u.%u as %s, architecture %u; it is told of %s", address >> 24,
			  address >> 16 & 255, address >> 8 & 255, address & 255, who->ipxe ? "iPXE" : "firmware",
			  who->arch, *nbp ? nbp : "no boot file");
	boot_watch_arm(boot);
	return 0;
}

void boot_not_noted(struct boot *boot, const struct boot_identity *from)
{
	struct boot_identity who = *from;
	struct boot_client *client;

	if (!who.key[0])
		boot_who(boot, &who);
	client = boot_clients_by_key(boot->clients, who.key);
	if (client)
		client->not_noted = true;
	boot->not_noted_ns = loop_now(boot->loop);
}

void boot_rolled_back(struct boot *boot, const struct boot_identity *from)
{
	struct boot_identity who = *from;
	struct boot_client *client;
	struct state_client there;

	if (!who.key[0])
		boot_who(boot, &who);
	client = boot_clients_by_key(boot->clients, who.key);
	if (!client || (state_client_by_key(boot->state, who.key, &there) > 0 && there.id == client->rec.id))
		return;
	boot_clients_lost(boot->clients, client);
	boot_not_noted(boot, &who);
}

void boot_tftp_started(struct boot *boot, uint32_t address, const char *file)
{
	struct boot_client *client = boot_clients_by_address(boot->clients, address);

	if (!client)
		return;
	boot_step(client, "it fetches %s by TFTP", file);
	if (!client->coming.tftp_ns)
		client->coming.tftp_ns = boot_realtime_ns();
	if (client->state == BOOT_STARTING)
		client->state = BOOT_LOADING;
}
