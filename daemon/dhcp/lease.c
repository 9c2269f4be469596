/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An address gets a `struct lease` when it is first given (or restored). Leases are found by address and by client
 * through two hash tables with a secret seed (a stranger chooses MACs). What can expire is in one heap. In each subnet,
 * lists in order of age hold the free, the offered and the quarantined: their heads are what lease_choose() takes when
 * the cursor has passed all addresses of the ranges.
 *
 *	FREE -> OFFERED -> BOUND -> FREE (released, expired)
 *	OFFERED -> FREE (not taken)      any -> QUARANTINED -> FREE (time is over)
 *
 * An offer is a promise to a stranger, so it must not cost anything: when a range is exhausted, the oldest offer is
 * given to the next one who asks, and a flood of DISCOVERs cannot lock real PCs out.
 */
#include "daemon/dhcp/lease.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct list {
	struct lease *first, *last;
	size_t count;
};

struct pool {
	const struct config_subnet *subnet;
	struct list list[LEASE_STATES]; /* of dynamic leases; BOUND is not used */
	unsigned int range; /* the cursor: how many ranges, and how many addresses of this one, it has passed */
	uint64_t next;
	uint64_t addresses;
	size_t bound; /* dynamic ones */
	struct lease_notes notes;
	uint64_t usable; /* addresses that can be given; counted when there were usable_for - 1 reserved ones */
	size_t usable_for;
};

struct reserved { /* open addressing; address 0: empty */
	uint32_t address;
};

struct lease_table {
	const struct config *config;
	struct pool *pool;
	size_t pools;
	struct lease **by_address, **by_client;
	size_t buckets, leases;
	struct lease **heap;
	size_t heap_count, heap_room;
	struct reserved *reserved;
	size_t reserved_count, reserved_room;
	size_t count[LEASE_STATES];
	bool backwards;
	enum lease_half half;
	int64_t sure, now; /* now: that was told last */
	lease_freed_fn freed;
	void *freed_arg;
	uint64_t seed;
};

/* --- hashing ------------------------------------------------------------------------------------------------------ */
static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

static size_t hash_address(const struct lease_table *table, uint32_t address)
{
	return mix(address ^ table->seed) & (table->buckets - 1);
}

static size_t hash_client(const struct lease_table *table, unsigned int subnet, const struct lease_client *client)
{
	bool by_mac = client->has_mac && !client->keyed;
	const uint8_t *p = by_mac ? client->mac : client->id;
	size_t n = by_mac ? sizeof(client->mac) : client->id_length;
	uint64_t h = mix(table->seed + subnet);

	for (size_t i = 0; i < n; i++)
		h = mix(h ^ p[i]);
	return h & (table->buckets - 1);
}

bool lease_client_equal(const struct lease_client *a, const struct lease_client *b)
{
	if (a->keyed != b->keyed)
		return false;
	if (!a->keyed && (a->has_mac || b->has_mac))
		return a->has_mac && b->has_mac && !memcmp(a->mac, b->mac, sizeof(a->mac));
	return a->id_length == b->id_length && !memcmp(a->id, b->id, a->id_length);
}

bool lease_client_same_card(const struct lease_client *a, const struct lease_client *b)
{
	return !memcmp(a->mac, b->mac, sizeof(a->mac));
}

static void link_client(struct lease_table *table, struct lease *lease)
{
	struct lease **p = &table->by_client[hash_client(table, lease->subnet, &lease->client)];

	lease->next_client = *p;
	*p = lease;
	lease->known = true;
}

static void unlink_client(struct lease_table *table, struct lease *lease)
{
	struct lease **p;

	if (!lease->known)
		return;
	for (p = &table->by_client[hash_client(table, lease->subnet, &lease->client)]; *p != lease;)
		p = &(*p)->next_client;
	*p = lease->next_client;
	lease->known = false;
}

static int grow(struct lease_table *table)
{
	size_t old = table->buckets;
	struct lease **address = table->by_address, **client;

	if (table->leases < old)
		return 0;
	client = calloc(2 * old, sizeof(struct lease *));
	table->by_address = calloc(2 * old, sizeof(struct lease *));
	if (!client || !table->by_address) {
		free(client);
		free(table->by_address);
		table->by_address = address;
		return -ENOMEM;
	}
	free(table->by_client);
	table->by_client = client;
	table->buckets = 2 * old;
	for (size_t i = 0; i < old; i++) {
		for (struct lease *l = address[i], *next; l; l = next) {
			size_t h = hash_address(table, l->address);

			next = l->next_address;
			l->next_address = table->by_address[h];
			table->by_address[h] = l;
			if (l->known)
				link_client(table, l);
		}
	}
	free(address);
	return 0;
}

/* --- the heap of moments of expiry -------------------------------------------------------------------------------- */
static void heap_place(struct lease_table *table, size_t i, struct lease *lease)
{
	table->heap[i] = lease;
	lease->heap = i + 1;
}

static void heap_up(struct lease_table *table, size_t i)
{
	struct lease *lease = table->heap[i];

	for (; i && table->heap[(i - 1) / 2]->expires > lease->expires; i = (i - 1) / 2)
		heap_place(table, i, table->heap[(i - 1) / 2]);
	heap_place(table, i, lease);
}

static void heap_down(struct lease_table *table, size_t i)
{
	struct lease *lease = table->heap[i];

	for (size_t child; (child = 2 * i + 1) < table->heap_count; i = child) {
		if (child + 1 < table->heap_count && table->heap[child + 1]->expires < table->heap[child]->expires)
			child++;
		if (table->heap[child]->expires >= lease->expires)
			break;
		heap_place(table, i, table->heap[child]);
	}
	heap_place(table, i, lease);
}

static void heap_remove(struct lease_table *table, struct lease *lease)
{
	size_t i = lease->heap - 1;
	struct lease *last;

	if (!lease->heap)
		return;
	lease->heap = 0;
	last = table->heap[--table->heap_count];
	if (last == lease)
		return;
	heap_place(table, i, last);
	heap_up(table, i);
	heap_down(table, last->heap - 1);
}

static void heap_add(struct lease_table *table, struct lease *lease)
{
	table->heap[table->heap_count] = lease;
	heap_up(table, table->heap_count++);
}

/* --- lists in order of age ---------------------------------------------------------------------------------------- */
static struct list *list_of(struct lease_table *table, const struct lease *lease)
{
	return lease->dynamic && lease->state != LEASE_BOUND ? &table->pool[lease->subnet].list[lease->state] : NULL;
}

static void list_remove(struct list *list, struct lease *lease)
{
	if (!list)
		return;
	*(lease->prev ? &lease->prev->next : &list->first) = lease->next;
	*(lease->next ? &lease->next->prev : &list->last) = lease->prev;
	lease->prev = lease->next = NULL;
	list->count--;
}

static void list_add(struct list *list, struct lease *lease)
{
	if (!list)
		return;
	lease->prev = list->last;
	*(list->last ? &list->last->next : &list->first) = lease;
	list->last = lease;
	list->count++;
}

/* --- reserved addresses ------------------------------------------------------------------------------------------- */
static bool is_reserved(const struct lease_table *table, uint32_t address)
{
	if (!table->reserved_room)
		return false;
	for (size_t i = mix(address) & (table->reserved_room - 1); table->reserved[i].address;
	     i = (i + 1) & (table->reserved_room - 1))
		if (table->reserved[i].address == address)
			return true;
	return false;
}

static void reserve(struct lease_table *table, uint32_t address)
{
	size_t i = mix(address) & (table->reserved_room - 1);

	while (table->reserved[i].address && table->reserved[i].address != address)
		i = (i + 1) & (table->reserved_room - 1);
	table->reserved_count += !table->reserved[i].address;
	table->reserved[i].address = address;
}

int lease_table_avoid(struct lease_table *table, uint32_t address)
{
	struct reserved *old = table->reserved;
	size_t room = table->reserved_room;

	if (!address || is_reserved(table, address))
		return 0;
	if (2 * (table->reserved_count + 1) > room) {
		struct reserved *larger = calloc(room ? 2 * room : 64, sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		table->reserved = larger;
		table->reserved_room = room ? 2 * room : 64;
		table->reserved_count = 0;
		for (size_t i = 0; i < room; i++)
			if (old[i].address)
				reserve(table, old[i].address);
		free(old);
	}
	reserve(table, address);
	return 0;
}

/* --- ranges ------------------------------------------------------------------------------------------------------- */
static const struct config_range *range_with(const struct config_range *range, unsigned int n, uint32_t address)
{
	for (unsigned int i = 0; i < n; i++)
		if (address >= range[i].first && address <= range[i].last)
			return &range[i];
	return NULL;
}

static bool is_dynamic(const struct lease_table *table, unsigned int subnet, uint32_t address)
{
	const struct config_subnet *s = table->pool[subnet].subnet;

	return range_with(s->range, s->ranges, address) && !range_with(s->exclude, s->excludes, address) &&
	       !is_reserved(table, address);
}

bool lease_allowed(const struct lease_table *table, unsigned int subnet, uint32_t address, uint32_t reserved)
{
	const struct config_subnet *s = table->pool[subnet].subnet;
	uint32_t mask = s->prefix ? ~0u << (32 - s->prefix) : 0;

	if (reserved && address == reserved)
		return (address & mask) == (s->network & mask);
	return is_dynamic(table, subnet, address);
}

/* --- leases ------------------------------------------------------------------------------------------------------- */
struct lease *lease_by_address(struct lease_table *table, uint32_t address)
{
	for (struct lease *l = table->by_address[hash_address(table, address)]; l; l = l->next_address)
		if (l->address == address)
			return l;
	return NULL;
}

struct lease *lease_by_client(struct lease_table *table, unsigned int subnet, const struct lease_client *client)
{
	struct lease *l = table->by_client[hash_client(table, subnet, client)];

	while (l && (l->subnet != subnet || !lease_client_equal(&l->client, client)))
		l = l->next_client;
	return l;
}

static int heap_reserve(struct lease_table *table)
{
	size_t room = table->heap_room ? 2 * table->heap_room : 256;
	struct lease **heap;

	if (table->leases < table->heap_room)
		return 0;
	heap = realloc(table->heap, room * sizeof(struct lease *));
	if (!heap)
		return -ENOMEM;
	table->heap = heap;
	table->heap_room = room;
	return 0;
}

static int lease_new(struct lease **ret, struct lease_table *table, unsigned int subnet, uint32_t address)
{
	struct lease *lease;
	size_t h;

	if (grow(table) < 0 || heap_reserve(table) < 0)
		return -ENOMEM;
	lease = calloc(1, sizeof(*lease));
	if (!lease)
		return -ENOMEM;
	lease->address = address;
	lease->subnet = subnet;
	lease->dynamic = is_dynamic(table, subnet, address);
	lease->state = LEASE_FREE;
	h = hash_address(table, address);
	lease->next_address = table->by_address[h];
	table->by_address[h] = lease;
	table->leases++;
	table->count[LEASE_FREE]++;
	list_add(list_of(table, lease), lease);
	*ret = lease;
	return 0;
}

static void change(struct lease_table *table, struct lease *lease, enum lease_state state, int64_t expires)
{
	heap_remove(table, lease);
	list_remove(list_of(table, lease), lease);
	table->count[lease->state]--;
	table->pool[lease->subnet].bound -= lease->dynamic && lease->state == LEASE_BOUND;
	table->pool[lease->subnet].bound += lease->dynamic && state == LEASE_BOUND;
	if (state == LEASE_FREE && lease->state != LEASE_FREE)
		lease->freed = table->now;
	lease->state = state;
	lease->expires = expires;
	if (state != LEASE_BOUND) {
		lease->promised = 0;
		lease->brief = false;
	}
	table->count[state]++;
	list_add(list_of(table, lease), lease);
	if (state != LEASE_FREE && expires != LEASE_FOREVER)
		heap_add(table, lease);
}

static struct lease *limit_quarantine(struct lease_table *table, struct pool *pool)
{
	size_t most = pool->addresses / 4 > 32 ? pool->addresses / 4 : 32;
	struct lease *oldest = pool->list[LEASE_QUARANTINED].first;

	if (pool->list[LEASE_QUARANTINED].count <= most)
		return NULL;
	change(table, oldest, LEASE_FREE, 0);
	return oldest;
}

static void tell_freed(struct lease_table *table, struct lease *lease)
{
	if (lease && table->freed)
		table->freed(table->freed_arg, lease);
}

void lease_table_on_freed(struct lease_table *table, lease_freed_fn fn, void *arg)
{
	table->freed = fn;
	table->freed_arg = arg;
}

void lease_set(struct lease_table *table, struct lease *lease, enum lease_state state,
	       const struct lease_client *client, int64_t expires)
{
	struct lease *freed = NULL;

	if (client) {
		struct lease *before = lease_by_client(table, lease->subnet, client);

		if (before && before != lease) {
			unlink_client(table, before);
			if (before->state == LEASE_OFFERED || (before->state == LEASE_BOUND && state == LEASE_BOUND)) {
				change(table, before, LEASE_FREE, 0);
				freed = before;
			}
		}
		if (!lease->known || !lease_client_equal(&lease->client, client))
			lease->promised = 0;
		unlink_client(table, lease);
		lease->client = *client;
		link_client(table, lease);
	}
	/* Whoever declined it must not be given it again because he "had" it. */
	if (state == LEASE_QUARANTINED)
		unlink_client(table, lease);
	change(table, lease, state, expires);
	tell_freed(table, freed);
	if (state == LEASE_QUARANTINED)
		tell_freed(table, limit_quarantine(table, &table->pool[lease->subnet]));
}

/* --- halves ------------------------------------------------------------------------------------------------------- */
void lease_table_split(struct lease_table *table, enum lease_half half)
{
	table->half = half;
}

void lease_table_sure(struct lease_table *table, int64_t sure, int64_t now)
{
	table->now = now > table->now ? now : table->now;
	table->sure = sure;
}

static bool in_own_half(const struct lease_table *table, unsigned int subnet, uint32_t address)
{
	const struct pool *pool = &table->pool[subnet];
	const struct config_subnet *s = pool->subnet;
	uint64_t before = 0;

	for (unsigned int i = 0; i < s->ranges; i++) {
		if (address >= s->range[i].first && address <= s->range[i].last)
			return (before + address - s->range[i].first < pool->addresses / 2) ==
			       (table->half == LEASE_LOWER);
		before += (uint64_t)s->range[i].last - s->range[i].first + 1;
	}
	return false;
}

/* By the rule of the halves; `lease` is NULL when nothing is known of the address. */
static bool is_ours_to_give(const struct lease_table *table, unsigned int subnet, uint32_t address,
			    const struct lease *lease, const struct lease_client *client)
{
	bool his = lease && lease->known && client && lease_client_equal(&lease->client, client);

	if (table->half == LEASE_WHOLE || (his && lease->state == LEASE_BOUND))
		return true;
	if (!in_own_half(table, subnet, address))
		return false;
	return !lease || (!lease->version[0] && !lease->version[1]) || (his && lease->had) ||
	       ((his || lease->state != LEASE_OFFERED) && lease->freed <= table->sure);
}

/* One step of the cursor: the next address of the ranges, from whichever end; false: there is none left. */
static bool cursor_step(struct lease_table *table, struct pool *pool, uint32_t *ret)
{
	const struct config_subnet *s = pool->subnet;

	for (; pool->range < s->ranges; pool->range++, pool->next = 0) {
		const struct config_range *r = &s->range[table->backwards ? s->ranges - 1 - pool->range : pool->range];

		if (pool->next > (uint64_t)r->last - r->first)
			continue;
		*ret = table->backwards ? r->last - (uint32_t)pool->next : r->first + (uint32_t)pool->next;
		pool->next++;
		return true;
	}
	return false;
}

/* Over the rest of an excluded range in one step. */
static void cursor_skip(const struct lease_table *table, struct pool *pool, const struct config_range *exclude,
			uint32_t address)
{
	pool->next += table->backwards ? address - exclude->first : exclude->last - address;
}

/* The next address of the ranges that was never given; 0: the cursor has passed them all. */
static uint32_t next_address(struct lease_table *table, unsigned int subnet)
{
	struct pool *pool = &table->pool[subnet];
	const struct config_range *exclude;
	uint32_t address;

	while (cursor_step(table, pool, &address)) {
		exclude = range_with(pool->subnet->exclude, pool->subnet->excludes, address);
		if (exclude)
			cursor_skip(table, pool, exclude, address);
		else if (!is_reserved(table, address) && !lease_by_address(table, address) &&
			 is_ours_to_give(table, subnet, address, NULL, NULL))
			return address;
	}
	return 0;
}

void lease_table_backwards(struct lease_table *table, bool backwards)
{
	table->backwards = backwards;
}

int lease_claim(struct lease_table *table, unsigned int subnet, const struct lease_client *client, uint32_t reserved,
		uint32_t address, struct lease **ret)
{
	struct lease *lease;

	if (!lease_allowed(table, subnet, address, reserved))
		return -EADDRINUSE;
	lease = lease_by_address(table, address);
	if (address != reserved && !is_ours_to_give(table, subnet, address, lease, client))
		return -EADDRINUSE;
	if (!lease)
		return lease_new(ret, table, subnet, address);
	if (lease->state == LEASE_QUARANTINED ||
	    (lease->state == LEASE_BOUND && !(lease->known && lease_client_equal(&lease->client, client))))
		return -EADDRINUSE;
	*ret = lease;
	return 0;
}

/* As lease_claim(), but somebody else's offer is respected. */
static int claim_idle(struct lease_table *table, unsigned int subnet, const struct lease_client *client,
		      uint32_t reserved, uint32_t address, struct lease **ret)
{
	struct lease *lease = lease_by_address(table, address);

	if (lease && lease->state == LEASE_OFFERED && !lease_client_equal(&lease->client, client))
		return -EADDRINUSE;
	return lease_claim(table, subnet, client, reserved, address, ret);
}

static struct lease *oldest_of(const struct lease_table *table, unsigned int subnet, enum lease_state state)
{
	struct lease *lease = table->pool[subnet].list[state].first;

	while (lease && !is_ours_to_give(table, subnet, lease->address, lease, NULL))
		lease = lease->next;
	return lease;
}

int lease_choose(struct lease_table *table, unsigned int subnet, const struct lease_client *client, uint32_t reserved,
		 uint32_t requested, struct lease **ret)
{
	struct lease *had = lease_by_client(table, subnet, client);
	uint32_t fresh;
	int r;

	if (reserved) {
		r = lease_claim(table, subnet, client, reserved, reserved, ret);
		if (r != -EADDRINUSE)
			return r;
	}
	if (had) {
		r = claim_idle(table, subnet, client, 0, had->address, ret);
		if (r != -EADDRINUSE)
			return r;
	}
	if (requested) {
		r = claim_idle(table, subnet, client, 0, requested, ret);
		if (r != -EADDRINUSE)
			return r;
	}
	fresh = next_address(table, subnet);
	if (fresh)
		return lease_new(ret, table, subnet, fresh);
	*ret = oldest_of(table, subnet, LEASE_FREE);
	if (!*ret)
		*ret = oldest_of(table, subnet, LEASE_OFFERED);
	return *ret ? 0 : -ENOSPC;
}

struct lease *lease_table_due(struct lease_table *table, int64_t now)
{
	return table->heap_count && table->heap[0]->expires <= now ? table->heap[0] : NULL;
}

int64_t lease_table_expire(struct lease_table *table, int64_t now)
{
	table->now = now > table->now ? now : table->now;
	while (table->heap_count && table->heap[0]->expires <= now)
		change(table, table->heap[0], LEASE_FREE, 0);
	return table->heap_count ? table->heap[0]->expires : LEASE_FOREVER;
}

size_t lease_table_count(const struct lease_table *table, enum lease_state state)
{
	return table->count[state];
}

uint64_t lease_table_addresses(const struct lease_table *table)
{
	uint64_t n = 0;

	for (size_t i = 0; i < table->pools; i++)
		n += table->pool[i].addresses;
	return n;
}

/* Addresses of a range that no exclude holds; excludes may overlap each other in any way. */
static uint64_t not_excluded(const struct config_subnet *s, const struct config_range *r)
{
	uint64_t n = 0;

	for (uint64_t at = r->first; at <= r->last;) {
		const struct config_range *hole = range_with(s->exclude, s->excludes, (uint32_t)at);
		uint64_t next = (uint64_t)r->last + 1;

		if (hole) {
			at = (uint64_t)hole->last + 1;
			continue;
		}
		for (unsigned int i = 0; i < s->excludes; i++)
			if (s->exclude[i].first > at && s->exclude[i].first < next)
				next = s->exclude[i].first;
		n += next - at;
		at = next;
	}
	return n;
}

/* Counted once: a range may be a whole /8. Counted again when another address is kept from it. */
static uint64_t usable(struct lease_table *table, unsigned int subnet)
{
	struct pool *pool = &table->pool[subnet];
	const struct config_subnet *s = pool->subnet;

	if (pool->usable_for == table->reserved_count + 1)
		return pool->usable;
	pool->usable_for = table->reserved_count + 1;
	pool->usable = 0;
	for (unsigned int i = 0; i < s->ranges; i++)
		pool->usable += not_excluded(s, &s->range[i]);
	for (size_t i = 0; i < table->reserved_room; i++)
		pool->usable -= table->reserved[i].address &&
				range_with(s->range, s->ranges, table->reserved[i].address) &&
				!range_with(s->exclude, s->excludes, table->reserved[i].address);
	return pool->usable;
}

struct lease_notes *lease_table_notes(struct lease_table *table, unsigned int subnet)
{
	return &table->pool[subnet].notes;
}

void lease_table_usage(struct lease_table *table, unsigned int subnet, struct lease_usage *ret)
{
	const struct pool *pool = &table->pool[subnet];

	*ret = (struct lease_usage){.addresses = usable(table, subnet),
				    .bound = pool->bound,
				    .offered = pool->list[LEASE_OFFERED].count,
				    .quarantined = pool->list[LEASE_QUARANTINED].count};
}

void lease_each(const struct lease_table *table, void (*fn)(void *arg, const struct lease *lease), void *arg)
{
	for (size_t i = 0; i < table->buckets; i++)
		for (const struct lease *l = table->by_address[i]; l; l = l->next_address)
			fn(arg, l);
}

/* --- making and taking over --------------------------------------------------------------------------------------- */
static int find_subnet(const struct lease_table *table, uint32_t address, unsigned int *ret)
{
	for (size_t i = 0; i < table->pools; i++) {
		const struct config_subnet *s = table->pool[i].subnet;
		uint32_t mask = s->prefix ? ~0u << (32 - s->prefix) : 0;

		if ((address & mask) != (s->network & mask))
			continue;
		*ret = (unsigned int)i;
		return 0;
	}
	return -ENOENT;
}

/* Its holder, without freeing anything; `is_his` false: he has another one, and this is nobody's until it ends. */
static void restore_holder(struct lease_table *table, struct lease *lease, const struct lease_client *client,
			   bool is_his)
{
	struct lease *before = is_his ? lease_by_client(table, lease->subnet, client) : NULL;

	if (before && before != lease) {
		unlink_client(table, before);
		if (before->state == LEASE_OFFERED)
			change(table, before, LEASE_FREE, 0);
	}
	unlink_client(table, lease);
	lease->client = *client;
	if (is_his)
		link_client(table, lease);
}

int lease_table_restore(struct lease_table *table, uint32_t address, enum lease_state state,
			const struct lease_client *client, int64_t expires, bool is_his)
{
	struct lease *lease;
	unsigned int subnet;
	int r;

	if (find_subnet(table, address, &subnet) < 0)
		return 0;
	lease = lease_by_address(table, address);
	if (!lease) {
		r = lease_new(&lease, table, subnet, address);
		if (r < 0)
			return r;
	}
	if (client && state != LEASE_QUARANTINED)
		restore_holder(table, lease, client, is_his);
	else
		unlink_client(table, lease);
	change(table, lease, state, expires);
	lease->promised = state == LEASE_BOUND ? expires : 0;
	lease->written = true;
	return 0;
}

static void copy_one(void *arg, const struct lease *lease)
{
	struct lease_table *to = arg;

	struct lease *copy;

	if (!lease->known && lease->state != LEASE_QUARANTINED && !lease->version[0] && !lease->version[1])
		return;
	lease_table_restore(to, lease->address, lease->state, &lease->client, lease->expires, lease->known);
	copy = lease_by_address(to, lease->address);
	if (copy) {
		memcpy(copy->version, lease->version, sizeof(copy->version));
		copy->position = lease->position;
		copy->freed = lease->freed;
		copy->promised = lease->promised;
		copy->written = lease->written;
		copy->brief = lease->brief;
		copy->had = lease->had;
	}
}

void lease_table_copy(struct lease_table *to, const struct lease_table *from)
{
	lease_each(from, copy_one, to);
}

static int reserve_configured(struct lease_table *table, const struct config *config)
{
	for (size_t i = 0; i < config->clients; i++)
		if (lease_table_avoid(table, config->client[i].address) < 0)
			return -ENOMEM;
	for (size_t i = 0; i < config->subnets; i++) {
		const struct config_subnet *s = &config->subnet[i];
		uint32_t mask = s->prefix ? ~0u << (32 - s->prefix) : 0;

		if (s->prefix < 31 && (lease_table_avoid(table, s->network & mask) < 0 ||
				       lease_table_avoid(table, s->network | ~mask) < 0))
			return -ENOMEM;
		for (unsigned int k = 0; k < s->router.count; k++)
			if (lease_table_avoid(table, s->router.address[k]) < 0)
				return -ENOMEM;
		if (lease_table_avoid(table, s->server) < 0)
			return -ENOMEM;
	}
	return 0;
}

int lease_table_new(struct lease_table **ret, const struct config *config)
{
	struct lease_table *table = calloc(1, sizeof(*table));

	if (!table)
		return -ENOMEM;
	table->config = config;
	table->pools = config->subnets;
	table->pool = calloc(table->pools ? table->pools : 1, sizeof(*table->pool));
	table->buckets = 1024;
	table->by_address = calloc(table->buckets, sizeof(struct lease *));
	table->by_client = calloc(table->buckets, sizeof(struct lease *));
	if (getrandom(&table->seed, sizeof(table->seed), GRND_NONBLOCK) < 0)
		table->seed = (uint64_t)(uintptr_t)table;
	if (!table->pool || !table->by_address || !table->by_client || reserve_configured(table, config) < 0) {
		lease_table_free(table);
		return -ENOMEM;
	}
	for (size_t i = 0; i < table->pools; i++) {
		struct pool *pool = &table->pool[i];

		pool->subnet = &config->subnet[i];
		for (unsigned int k = 0; k < pool->subnet->ranges; k++)
			pool->addresses += (uint64_t)pool->subnet->range[k].last - pool->subnet->range[k].first + 1;
	}
	*ret = table;
	return 0;
}

void lease_table_free(struct lease_table *table)
{
	if (!table)
		return;
	for (size_t i = 0; table->by_address && i < table->buckets; i++) {
		for (struct lease *l = table->by_address[i], *next; l; l = next) {
			next = l->next_address;
			free(l);
		}
	}
	free(table->by_address);
	free(table->by_client);
	free(table->heap);
	free(table->reserved);
	free(table->pool);
	free(table);
}
