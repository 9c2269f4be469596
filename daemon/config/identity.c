// SPDX-License-Identifier: GPL-2.0-or-later
/* A PC's key: made of a section once, when the configuration is read, and compared as a word ever after. */
#include "daemon/config/identity.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "daemon/config/config.h"

#define MAC_DIGITS 12

static const uint8_t text_order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

bool identity_uuid_same(const uint8_t a[16], const uint8_t b[16])
{
	if (!memcmp(a, b, 16))
		return true;
	for (unsigned int i = 0; i < 16; i++)
		if (a[i] != b[text_order[i]])
			return false;
	return true;
}

bool identity_uuid_is_useless(const uint8_t uuid[16])
{
	static const uint8_t of_many[16] = {0x00, 0x02, 0x00, 0x03, 0x00, 0x04, 0x00, 0x05,
					    0x00, 0x06, 0x00, 0x07, 0x00, 0x08, 0x00, 0x09};
	unsigned int i = 1;

	while (i < 16 && uuid[i] == uuid[0])
		i++;
	return i == 16 || identity_uuid_same(uuid, of_many);
}

/* FNV-1a, 64 bits: a circuit is free text, and only those of the configuration become keys. */
static uint64_t hash(const char *text)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 0x100000001b3u;
	return h;
}

void identity_of_mac(const uint8_t mac[6], char ret[IDENTITY_KEY_MAX])
{
	snprintf(ret, IDENTITY_KEY_MAX, "%02x%02x%02x%02x%02x%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

void identity_fill(struct config_client *section)
{
	size_t at;

	section->key[0] = '\0';
	if (section->has_uuid) {
		at = snprintf(section->key, sizeof(section->key), "uuid-");
		for (unsigned int i = 0; i < 16; i++)
			at += snprintf(section->key + at, sizeof(section->key) - at, "%02x",
				       section->uuid[text_order[i]]);
	} else if (section->has_mac) {
		identity_of_mac(section->mac, section->key);
	} else if (section->circuit[0]) {
		snprintf(section->key, sizeof(section->key), "circuit-%016llx",
			 (unsigned long long)hash(section->circuit));
	}
}

struct identity_text identity_uuid_text(const uint8_t uuid[16])
{
	struct identity_text text;
	size_t at = 0;

	for (unsigned int i = 0; i < 16; i++)
		at += snprintf(text.s + at, sizeof(text.s) - at, "%s%02x",
			       i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[text_order[i]]);
	return text;
}

struct identity_text identity_text(const struct config *config, const char *key)
{
	struct identity_text text = {"?"};
	const char *d = key + strlen("uuid-");

	if (identity_is_mac(key))
		snprintf(text.s, sizeof(text.s), "network card %.2s:%.2s:%.2s:%.2s:%.2s:%.2s", key, key + 2, key + 4,
			 key + 6, key + 8, key + 10);
	else if (identity_is_uuid(key) && strlen(d) == 32)
		snprintf(text.s, sizeof(text.s), "uuid %.8s-%.4s-%.4s-%.4s-%s", d, d + 8, d + 12, d + 16, d + 20);
	else
		snprintf(text.s, sizeof(text.s), "relay's circuit (%s)", key);
	for (size_t i = 0; i < config->clients; i++)
		if (config->client[i].circuit[0] && !strcmp(config->client[i].key, key) && !identity_is_mac(key) &&
		    !identity_is_uuid(key))
			snprintf(text.s, sizeof(text.s), "relay's circuit %s", config->client[i].circuit);
	return text;
}

bool identity_is_mac(const char *key)
{
	return strlen(key) == MAC_DIGITS && strspn(key, "0123456789abcdef") == MAC_DIGITS;
}

bool identity_is_uuid(const char *key)
{
	return !strncmp(key, "uuid-", strlen("uuid-"));
}

bool identity_is_key(const char *text)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return n && !text[n] && n < IDENTITY_KEY_MAX;
}

#define LEASE_MARK "bootwell-pc="

uint8_t identity_lease_id(const char *key, uint8_t ret[IDENTITY_LEASE_ID_MAX])
{
	_Static_assert(sizeof(LEASE_MARK) + IDENTITY_KEY_MAX <= IDENTITY_LEASE_ID_MAX, "a key fits into an identifier");

	return identity_is_mac(key) ? 0
				    : (uint8_t)snprintf((char *)ret, IDENTITY_LEASE_ID_MAX, "%s%s", LEASE_MARK, key);
}

bool identity_of_lease_id(const uint8_t *id, uint8_t length, char ret[IDENTITY_KEY_MAX])
{
	size_t mark = strlen(LEASE_MARK);

	if (length <= mark || length >= mark + IDENTITY_KEY_MAX || memcmp(id, LEASE_MARK, mark) != 0)
		return false;
	memcpy(ret, id + mark, length - mark);
	ret[length - mark] = '\0';
	return identity_is_key(ret);
}

static bool has_uuid_of(const struct config_client *section, const uint8_t *uuid)
{
	return section->has_uuid && uuid && identity_uuid_same(section->uuid, uuid);
}

static bool has_mac_of(const struct config_client *section, const uint8_t *mac)
{
	return section->has_mac && !memcmp(section->mac, mac, 6);
}

static bool has_circuit_of(const struct config_client *section, const char *circuit)
{
	return section->circuit[0] && circuit && !strcmp(section->circuit, circuit);
}

const char *identity_in_both(const struct config_client *a, const struct config_client *b)
{
	if (b->has_mac && has_mac_of(a, b->mac))
		return "mac";
	if (b->has_uuid && has_uuid_of(a, b->uuid))
		return "uuid";
	return has_circuit_of(a, b->circuit) ? "circuit" : NULL;
}

bool identity_is_board(const struct config_client *section, const struct identity *who)
{
	return who->uuid ? has_uuid_of(section, who->uuid) : has_mac_of(section, who->mac);
}

const struct config_client *identity_section(const struct config *config, const struct identity *who)
{
	const uint8_t *uuid = who->uuid && !identity_uuid_is_useless(who->uuid) ? who->uuid : NULL;
	const struct config_client *c = config->client;

	for (size_t i = 0; i < config->clients; i++)
		if (has_uuid_of(&c[i], uuid))
			return &c[i];
	for (size_t i = 0; i < config->clients; i++)
		if (has_mac_of(&c[i], who->mac) && !(uuid && c[i].has_uuid))
			return &c[i];
	for (size_t i = 0; i < config->clients; i++)
		if (has_circuit_of(&c[i], who->circuit) && !c[i].has_mac && !(uuid && c[i].has_uuid))
			return &c[i];
	return NULL;
}

const struct config_client *identity_section_of(const struct config *config, const char *key, const char *name)
{
	const struct config_client *named;

	for (size_t i = 0; *key && i < config->clients; i++)
		if (!strcmp(config->client[i].key, key))
			return &config->client[i];
	named = name ? config_client_named(config, name) : NULL;
	/* One that knows its PC by something else is not for a PC of the same name. */
	return named && !*named->key ? named : NULL;
}
