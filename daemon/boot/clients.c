// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Five hash tables over one array of clients: the rows of the state in memory. A row is written first, then the
 * memory follows, so that what is found here is what a restart would find.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/boot/clients.h"
#include "daemon/boot/promised.h"

#define BUCKETS 4096

enum table { BY_KEY, BY_MAC, BY_ADDRESS, BY_NAME, BY_ID, TABLES };

struct boot_clients {
	struct state *state;
	struct boot_client *bucket[TABLES][BUCKETS];
	struct boot_client **all; /* in no order */
	size_t count;
	unsigned int next_number;
	uint64_t seen; /* counts */
};

static uint32_t mix(uint64_t x)
{
	x *= 0x9e3779b97f4a7c15u;
	return (x >> 40) % BUCKETS;
}

static uint32_t hash_mac(const uint8_t mac[6])
{
	uint64_t x = 0;

	for (unsigned int i = 0; i < 6; i++)
		x = x << 8 | mac[i];
	return mix(x);
}

static uint32_t hash_name(const char *name)
{
	uint64_t x = 5381;

	for (; *name; name++)
		x = x * 33 + (uint64_t)tolower((unsigned char)*name);
	return mix(x);
}

static uint32_t hash_of(const struct state_client *rec, enum table table)
{
	switch (table) {
	case BY_KEY:
		return hash_name(rec->key);
	case BY_MAC:
		return hash_mac(rec->mac);
	case BY_ADDRESS:
		return mix(rec->address);
	case BY_NAME:
		return hash_name(rec->name);
	default:
		return mix(rec->id);
	}
}

static void link_client(struct boot_clients *c, struct boot_client *client)
{
	for (int t = 0; t < TABLES; t++) {
		struct boot_client **head = &c->bucket[t][hash_of(&client->rec, t)];

		client->next[t] = *head;
		*head = client;
	}
}

static void unlink_client(struct boot_clients *c, struct boot_client *client)
{
	for (int t = 0; t < TABLES; t++) {
		struct boot_client **at = &c->bucket[t][hash_of(&client->rec, t)];

		while (*at && *at != client)
			at = &(*at)->next[t];
		if (*at)
			*at = client->next[t];
	}
}

struct boot_client *boot_clients_by_key(const struct boot_clients *c, const char *key)
{
	struct boot_client *at = c->bucket[BY_KEY][hash_name(key)];

	while (at && strcmp(at->rec.key, key))
		at = at->next[BY_KEY];
	return at;
}

static bool seen_later(const struct boot_client *a, const struct boot_client *b)
{
	return a->seen != b->seen ? a->seen > b->seen : a->rec.last_seen > b->rec.last_seen;
}

/* A dock's card may be in several PCs, one after the other: the last one has it. */
struct boot_client *boot_clients_by_mac(const struct boot_clients *c, const uint8_t mac[6])
{
	struct boot_client *found = NULL, *at = NULL;

	while ((at = boot_clients_of_mac(c, mac, at)))
		if (!found || seen_later(at, found))
			found = at;
	return found;
}

struct boot_client *boot_clients_of_mac(const struct boot_clients *c, const uint8_t mac[6],
					const struct boot_client *after)
{
	struct boot_client *at = after ? after->next[BY_MAC] : c->bucket[BY_MAC][hash_mac(mac)];

	while (at && memcmp(at->rec.mac, mac, 6))
		at = at->next[BY_MAC];
	return at;
}

void boot_clients_seen(struct boot_clients *c, struct boot_client *client)
{
	client->seen = ++c->seen;
}

/* An address may have been another PC's before: the one that was seen last has it. */
struct boot_client *boot_clients_by_address(const struct boot_clients *c, uint32_t address)
{
	struct boot_client *found = NULL;

	for (struct boot_client *at = c->bucket[BY_ADDRESS][mix(address)]; at; at = at->next[BY_ADDRESS])
		if (at->rec.address == address && (!found || at->rec.last_seen > found->rec.last_seen))
			found = at;
	return address ? found : NULL;
}

struct boot_client *boot_clients_by_name(const struct boot_clients *c, const char *name)
{
	struct boot_client *at = c->bucket[BY_NAME][hash_name(name)];

	while (at && strcasecmp(at->rec.name, name))
		at = at->next[BY_NAME];
	return at;
}

struct boot_client *boot_clients_by_id(const struct boot_clients *c, int64_t id)
{
	struct boot_client *at = c->bucket[BY_ID][mix(id)];

	while (at && at->rec.id != id)
		at = at->next[BY_ID];
	return at;
}

struct boot_client *boot_clients_at(const struct boot_clients *c, size_t n)
{
	return n < c->count ? c->all[n] : NULL;
}

size_t boot_clients_count(const struct boot_clients *c)
{
	return c->count;
}

static struct boot_client *add_client(struct boot_clients *c, const struct state_client *rec)
{
	struct boot_client **more, *client;

	/* Room for twice as many at every power of two. */
	if ((c->count & (c->count - 1)) == 0) {
		more = reallocarray(c->all, c->count ? 2 * c->count : 1, sizeof(*more));
		if (!more)
			return NULL;
		c->all = more;
	}
	client = calloc(1, sizeof(*client));
	if (!client)
		return NULL;
	client->rec = *rec;
	c->all[c->count++] = client;
	link_client(c, client);
	return client;
}

struct load {
	struct boot_clients *clients;
	int error;
};

static void load_one(void *arg, const struct state_client *rec)
{
	struct load *load = arg;

	if (!add_client(load->clients, rec))
		load->error = -ENOMEM;
}

static void load_boot(void *arg, const struct state_boot *boot)
{
	struct boot_client *client = arg;

	if (!client->steps.id)
		client->steps = *boot;
	if (client->ready_image[0] || !boot->ready_ns)
		return;
	snprintf(client->ready_image, sizeof(client->ready_image), "%s", boot->image);
	client->ready_generation = boot->generation;
}

int boot_clients_new(struct boot_clients **ret, struct state *state)
{
	struct load load = {};
	int r;

	load.clients = calloc(1, sizeof(*load.clients));
	if (!load.clients)
		return -ENOMEM;
	load.clients->state = state;
	load.clients->next_number = 256;
	r = state_client_each(state, load_one, &load);
	if (!r)
		r = load.error;
	for (size_t i = 0; !r && i < load.clients->count; i++)
		r = state_boot_each(state, load.clients->all[i]->rec.id, STATE_BOOTS_KEPT, load_boot,
				    load.clients->all[i]);
	if (r) {
		boot_clients_free(load.clients);
		return r;
	}
	*ret = load.clients;
	return 0;
}

void boot_clients_free(struct boot_clients *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->count; i++)
		free(c->all[i]);
	free(c->all);
	free(c);
}

int boot_clients_put(struct boot_clients *c, const struct state_client *rec, struct boot_client **ret)
{
	/* Not by id: that of a client whose transaction was rolled back may be another's by now. */
	struct boot_client *client = boot_clients_by_key(c, rec->key), *other;
	struct state_client row = *rec;
	bool important;
	int r;

	other = boot_clients_by_name(c, rec->name);
	if (other && other != client)
		return -EEXIST;
	r = state_client_put(c->state, &row);
	if (r == -ENOENT) { /* the transaction that made it was rolled back */
		row.id = 0;
		r = state_client_put(c->state, &row);
	}
	if (r)
		return r;
	important = !client || client->rec.id != row.id || strcmp(client->rec.overlay, row.overlay) ||
		    strcmp(client->rec.reset, row.reset);
	if (client) {
		unlink_client(c, client);
		client->rec = row;
		link_client(c, client);
	} else {
		client = add_client(c, &row);
		if (!client)
			return -ENOMEM;
	}
	if (important)
		client->noted = state_position(c->state);
	if (ret)
		*ret = client;
	return 0;
}

void boot_clients_lost(struct boot_clients *c, struct boot_client *client)
{
	unlink_client(c, client);
	client->rec.id = 0;
	link_client(c, client);
}

int boot_clients_rekey(struct boot_clients *c, struct boot_client *client, const char *key)
{
	int r = state_client_rekey(c->state, client->rec.id, key);

	if (r)
		return r;
	client->noted = state_position(c->state);
	unlink_client(c, client);
	snprintf(client->rec.key, sizeof(client->rec.key), "%s", key);
	link_client(c, client);
	return 0;
}

static void forget(struct boot_clients *c, struct boot_client *client)
{
	unlink_client(c, client);
	for (size_t i = 0; i < c->count; i++) {
		if (c->all[i] != client)
			continue;
		c->all[i] = c->all[--c->count];
		break;
	}
	free(client);
}

int boot_clients_move(struct boot_clients *c, struct boot_client *client, const struct state_client *rec,
		      struct boot_client *gone)
{
	struct state_client row = *rec;
	int r = state_begin(c->state);

	if (r)
		return r;
	if (gone)
		r = state_client_remove(c->state, gone->rec.id);
	if (!r)
		r = state_client_rekey(c->state, row.id, row.key);
	if (!r)
		r = state_client_put(c->state, &row);
	if (!r)
		r = state_commit(c->state);
	else
		state_rollback(c->state);
	if (r)
		return r;
	if (gone)
		forget(c, gone);
	unlink_client(c, client);
	client->rec = row;
	link_client(c, client);
	client->noted = state_position(c->state);
	return 0;
}

int boot_clients_remove(struct boot_clients *c, struct boot_client *client)
{
	int r = state_client_remove(c->state, client->rec.id);

	if (!r)
		forget(c, client);
	return r;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
/* `pattern` went through value_pattern(): one %u with at most a width, and room for five digits. */
static void format_name(char ret[16], const char *pattern, unsigned int number)
{
	snprintf(ret, 16, pattern, number);
}
#pragma GCC diagnostic pop

static bool is_free(const struct boot_clients *c, const struct promised *promised, const char *name)
{
	return !boot_clients_by_name(c, name) && !promised_who(promised, name);
}

int boot_clients_new_name(struct boot_clients *c, const char *pattern, uint32_t address,
			  const struct promised *promised, char ret[16])
{
	if (address) {
		format_name(ret, pattern, address & 255);
		if (is_free(c, promised, ret))
			return 0;
	}
	for (unsigned int tries = 0; tries < 65536; tries++) {
		unsigned int n = c->next_number;

		c->next_number = n < 65535 ? n + 1 : 256;
		format_name(ret, pattern, n);
		if (is_free(c, promised, ret))
			return 0;
	}
	return -ENOSPC;
}
