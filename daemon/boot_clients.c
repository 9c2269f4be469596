// SPDX-License-Identifier: GPL-2.0-or-later
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/boot_clients.h"

#define BUCKETS 4096

enum table { BY_MAC, BY_ADDRESS, BY_NAME, BY_ID, TABLES };

struct boot_clients {
	struct store *store;
	struct boot_client *bucket[TABLES][BUCKETS];
	struct boot_client **all; /* in no order */
	size_t count;
	unsigned int next_number;
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

static uint32_t hash_of(const struct store_client *rec, enum table table)
{
	switch (table) {
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

struct boot_client *boot_clients_by_mac(const struct boot_clients *c, const uint8_t mac[6])
{
	struct boot_client *at = c->bucket[BY_MAC][hash_mac(mac)];

	while (at && memcmp(at->rec.mac, mac, 6))
		at = at->next[BY_MAC];
	return at;
}

/* An address may have been another PC's before: the one that was seen last has it. */
struct boot_client *boot_clients_by_address(const struct boot_clients *c, uint32_t address)
{
	struct boot_client *found = NULL;

	for (struct boot_client *at = c->bucket[BY_ADDRESS][mix(address)]; at;
	     at = at->next[BY_ADDRESS])
		if (at->rec.address == address &&
		    (!found || at->rec.last_seen > found->rec.last_seen))
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

static struct boot_client *add_client(struct boot_clients *c, const struct store_client *rec)
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

static void load_one(void *arg, const struct store_client *rec)
{
	struct load *load = arg;

	if (!add_client(load->clients, rec))
		load->error = -ENOMEM;
}

static void load_boot(void *arg, const struct store_boot *boot)
{
	struct boot_client *client = arg;

	client->steps = *boot;
}

int boot_clients_new(struct boot_clients **ret, struct store *store)
{
	struct load load = {};
	int r;

	load.clients = calloc(1, sizeof(*load.clients));
	if (!load.clients)
		return -ENOMEM;
	load.clients->store = store;
	load.clients->next_number = 256;
	r = store_client_each(store, load_one, &load);
	if (!r)
		r = load.error;
	for (size_t i = 0; !r && i < load.clients->count; i++)
		r = store_boot_each(store, load.clients->all[i]->rec.id, 1, load_boot,
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

int boot_clients_put(struct boot_clients *c, const struct store_client *rec,
		     struct boot_client **ret)
{
	/* Not by id: that of a client whose transaction was rolled back may be another's by now. */
	struct boot_client *client = boot_clients_by_mac(c, rec->mac), *other;
	struct store_client row = *rec;
	int r;

	other = boot_clients_by_name(c, rec->name);
	if (other && other != client)
		return -EEXIST;
	r = store_client_put(c->store, &row);
	if (r == -ENOENT) { /* the transaction that made it was rolled back */
		row.id = 0;
		r = store_client_put(c->store, &row);
	}
	if (r)
		return r;
	if (client) {
		unlink_client(c, client);
		client->rec = row;
		link_client(c, client);
	} else {
		client = add_client(c, &row);
		if (!client)
			return -ENOMEM;
	}
	if (ret)
		*ret = client;
	return 0;
}

int boot_clients_remove(struct boot_clients *c, struct boot_client *client)
{
	int r = store_client_remove(c->store, client->rec.id);

	if (r)
		return r;
	unlink_client(c, client);
	for (size_t i = 0; i < c->count; i++) {
		if (c->all[i] != client)
			continue;
		c->all[i] = c->all[--c->count];
		break;
	}
	free(client);
	return 0;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
/* `pattern` went through value_pattern(): one %u with at most a width, and room for five digits. */
static void format_name(char ret[16], const char *pattern, unsigned int number)
{
	snprintf(ret, 16, pattern, number);
}
#pragma GCC diagnostic pop

int boot_clients_new_name(struct boot_clients *c, const char *pattern, uint32_t address,
			  char ret[16])
{
	if (address) {
		format_name(ret, pattern, address & 255);
		if (!boot_clients_by_name(c, ret))
			return 0;
	}
	for (unsigned int tries = 0; tries < 65536; tries++) {
		unsigned int n = c->next_number;

		c->next_number = n < 65535 ? n + 1 : 256;
		format_name(ret, pattern, n);
		if (!boot_clients_by_name(c, ret))
			return 0;
	}
	return -ENOSPC;
}
