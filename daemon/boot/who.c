// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who asks, beside what daemon/config/identity.c says about a message alone: what is remembered of the PCs. And when
 * one PC may be meant by another's name or card, a person is told of both.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/boot/private.h"
#include "daemon/core/inet.h"
#include "daemon/core/log.h"

/*
 * Firmware and iPXE tell the UUID, and relays the circuit; an operating system that renews its lease tells neither.
 * Then its network card says which PC it is in: the one that came with it last.
 */
static const struct config_client *last_with(const struct boot *boot, const struct boot_identity *who)
{
	const struct boot_client *last;
	bool told;

	if (who->pxe || who->ipxe)
		return NULL;
	last = boot_clients_by_mac(boot->clients, who->mac);
	if (!last || identity_is_mac(last->rec.key))
		return NULL;
	told = identity_is_uuid(last->rec.key) ? who->has_uuid : who->circuit[0] != '\0';
	return told ? NULL : identity_section_of(boot->config, last->rec.key, NULL);
}

void boot_who(struct boot *boot, struct boot_identity *who)
{
	const struct identity seen = {who->mac, who->has_uuid ? who->uuid : NULL, who->circuit};
	const struct config_client *section = last_with(boot, who);

	if (!section)
		section = identity_section(boot->config, &seen);
	if (section && *section->key)
		memcpy(who->key, section->key, sizeof(who->key));
	else
		identity_of_mac(who->mac, who->key);
}

void boot_who_is_new(struct boot *boot, const struct boot_client *client, const struct boot_client *had_card,
		     const struct boot_client *had_name)
{
	const struct boot_client *other = had_name && had_name != client ? had_name : had_card;
	struct identity_text is = identity_text(boot->config, client->rec.key), was;

	if (!other || other == client)
		return;
	was = identity_text(boot->config, other->rec.key);
	log_limited(
		10, LOG_LEVEL_WARNING,
		"client %s (%s) is a new PC, with a disk of its own: client %s (%s) %s until now; if they are one PC "
		"whose board or network card was changed: \"bootwell client move %s %s\"",
		client->rec.name, is.s, other->rec.name, was.s,
		other == had_name ? "had its name" : "came with its network card", other->rec.name, client->rec.name);
}

/* --- records of a version that knew PCs by MAC only --------------------------------------------------------------- */

/* The section that the PC had by then: by what its record remembers, if the record has its name. */
static const struct config_client *old_section(const struct boot *boot, const struct state_client *rec)
{
	const struct config_client *named = config_client_named(boot->config, rec->name);
	const struct identity seen = {.mac = rec->mac, .uuid = rec->has_uuid ? rec->uuid : NULL};

	if (!named || !*named->key)
		return NULL;
	if (identity_is_uuid(named->key))
		return identity_is_board(named, &seen) ? named : NULL;
	return identity_is_mac(named->key) ? NULL : named; /* its circuit was not noted */
}

static int settle(struct boot *boot, struct boot_client *client)
{
	const struct config_client *section = old_section(boot, &client->rec);
	char key[IDENTITY_KEY_MAX];
	uint8_t id[IDENTITY_LEASE_ID_MAX];
	int r;

	identity_of_mac(client->rec.mac, key);
	if (section && !boot_clients_by_key(boot->clients, section->key))
		memcpy(key, section->key, sizeof(key));
	r = boot_clients_rekey(boot->clients, client, key);
	if (!r && !identity_is_mac(key))
		r = state_lease_rekey(boot->state, client->rec.address, client->rec.mac, id,
				      identity_lease_id(key, id));
	if (!r && !identity_is_mac(key))
		log_notice("client %s keeps its record and its disk as %s", client->rec.name,
			   identity_text(boot->config, key).s);
	return r;
}

int boot_who_settle(struct boot *boot)
{
	struct boot_client *client;
	int r = state_begin_lazy(boot->state);

	if (r)
		return r;
	for (size_t i = 0; !r && (client = boot_clients_at(boot->clients, i)); i++)
		if (!strncmp(client->rec.key, STATE_KEY_OLD, strlen(STATE_KEY_OLD)))
			r = settle(boot, client);
	if (!r)
		return state_commit(boot->state);
	state_rollback(boot->state);
	return r;
}
