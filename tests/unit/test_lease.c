/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of leases: who gets which address, for how long, and what a reload keeps. */
#include "tests/unit/unit.h"

#include <errno.h>

#include "daemon/config/identity.h"
#include "daemon/dhcp/lease.h"
#include "daemon/dhcp/whose.h"

#define NET 0x0a4d0000u /* 10.77.0.0 */

static struct config_subnet subnet;
static struct config_client reserved;
static struct config config;

/* 10.77.0.10 to .19, without .12 and .13; .15 belongs to a client, .11 is the router. */
static struct lease_table *table_new(void)
{
	struct lease_table *table;

	memset(&subnet, 0, sizeof(subnet));
	subnet.network = NET;
	subnet.prefix = 24;
	subnet.ranges = 1;
	subnet.range[0] = (struct config_range){NET + 10, NET + 19};
	subnet.excludes = 1;
	subnet.exclude[0] = (struct config_range){NET + 12, NET + 13};
	subnet.router = (struct config_addresses){{NET + 11}, 1};
	memset(&reserved, 0, sizeof(reserved));
	reserved.address = NET + 15;
	memset(&config, 0, sizeof(config));
	config.subnet = &subnet;
	config.subnets = 1;
	config.client = &reserved;
	config.clients = 1;
	CU_ASSERT_EQUAL_FATAL(lease_table_new(&table, &config), 0);
	return table;
}

static struct lease_client mac(uint32_t n)
{
	struct lease_client c = {.has_mac = true,
				 .mac = {2, 0, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n}};

	return c;
}

/* Chooses and binds; 0 when there is none. */
static uint32_t bind_one(struct lease_table *t, uint32_t who, uint32_t wanted, int64_t expires)
{
	struct lease_client c = mac(who);
	struct lease *lease;

	if (lease_choose(t, 0, &c, 0, wanted, &lease) < 0)
		return 0;
	lease_set(t, lease, LEASE_BOUND, &c, expires);
	return lease->address;
}

static void test_lease_gives_all_but_excluded_reserved_and_router(void)
{
	struct lease_table *t = table_new();
	static const uint32_t expected[] = {10, 14, 16, 17, 18, 19};

	for (uint32_t i = 0; i < 6; i++)
		CU_ASSERT_EQUAL(bind_one(t, i, 0, 1000), NET + expected[i]);
	CU_ASSERT_EQUAL(bind_one(t, 6, 0, 1000), 0);
	CU_ASSERT_EQUAL(lease_table_count(t, LEASE_BOUND), 6);
	lease_table_free(t);
}

static void test_lease_same_client_same_address(void)
{
	struct lease_table *t = table_new();
	uint32_t first = bind_one(t, 1, 0, 100);

	bind_one(t, 2, 0, 100);
	CU_ASSERT_EQUAL(bind_one(t, 1, 0, 200), first);
	CU_ASSERT_EQUAL(bind_one(t, 1, NET + 18, 200), first);
	/* It has expired, but nobody else has needed it. */
	CU_ASSERT_EQUAL(lease_table_expire(t, 300), LEASE_FOREVER);
	CU_ASSERT_EQUAL(lease_table_count(t, LEASE_BOUND), 0);
	CU_ASSERT_EQUAL(bind_one(t, 1, 0, 400), first);
	lease_table_free(t);
}

static void test_lease_identified_by_mac_not_by_identifier(void)
{
	struct lease_table *t = table_new();
	struct lease_client rom = mac(1), os = mac(1), other = {.id_length = 3, .id = "abc"};
	struct lease *a, *b;

	rom.id_length = 2;
	os.id_length = 5;
	CU_ASSERT_EQUAL(lease_choose(t, 0, &rom, 0, 0, &a), 0);
	lease_set(t, a, LEASE_BOUND, &rom, 100);
	CU_ASSERT_EQUAL(lease_choose(t, 0, &os, 0, 0, &b), 0);
	CU_ASSERT_PTR_EQUAL(a, b);
	CU_ASSERT_EQUAL(lease_choose(t, 0, &other, 0, 0, &b), 0);
	CU_ASSERT_PTR_NOT_EQUAL(a, b);
	lease_set(t, b, LEASE_BOUND, &other, 100);
	CU_ASSERT_PTR_EQUAL(lease_by_client(t, 0, &other), b);
	lease_table_free(t);
}

/* A PC that is known by its board is one PC with each of its cards; one that is known by its card is not. */
static void test_lease_record_of_a_pc_with_two_cards(void)
{
	struct state_lease first = {.mac = {2, 0, 0, 0, 0, 1}}, second = {.mac = {2, 0, 0, 0, 0, 2}};
	struct lease lease = {0};

	first.id_length = second.id_length = identity_lease_id("uuid-0123456789abcdef0123456789abcdef", first.id);
	memcpy(second.id, first.id, first.id_length);
	lease.client = whose_record(&first);
	CU_ASSERT(lease.client.keyed);
	CU_ASSERT(whose_is_his(&lease, &first) && whose_is_his_card(&lease, &first));
	CU_ASSERT(whose_is_his(&lease, &second));
	CU_ASSERT_FALSE(whose_is_his_card(&lease, &second));
	second.id[second.id_length - 1] ^= 1; /* another board */
	CU_ASSERT_FALSE(whose_is_his(&lease, &second));
	first.id_length = second.id_length = 3; /* identifiers as any client sends them: the cards decide */
	lease.client = whose_record(&first);
	CU_ASSERT_FALSE(lease.client.keyed);
	CU_ASSERT(whose_is_his(&lease, &first));
	CU_ASSERT_FALSE(whose_is_his(&lease, &second));
}

static void test_lease_wanted_address_if_it_is_free(void)
{
	struct lease_table *t = table_new();

	CU_ASSERT_EQUAL(bind_one(t, 1, NET + 17, 100), NET + 17);
	CU_ASSERT_NOT_EQUAL(bind_one(t, 2, NET + 17, 100), NET + 17);
	CU_ASSERT_EQUAL(bind_one(t, 3, NET + 12, 100), NET + 14); /* excluded */
	CU_ASSERT_EQUAL(bind_one(t, 4, NET + 15, 100), NET + 16); /* reserved for another */
	CU_ASSERT_EQUAL(bind_one(t, 5, 0x08080808, 100), NET + 18);
	lease_table_free(t);
}

static void test_lease_reservation_wins_and_is_left_alone(void)
{
	struct lease_table *t = table_new();
	struct lease_client c = mac(1);
	struct lease *lease;

	bind_one(t, 1, 0, 100);
	CU_ASSERT_EQUAL(lease_choose(t, 0, &c, NET + 15, 0, &lease), 0);
	CU_ASSERT_EQUAL(lease->address, NET + 15);
	lease_set(t, lease, LEASE_BOUND, &c, 100);
	/* It has one address, so the one before is free again. */
	CU_ASSERT_EQUAL(lease_table_count(t, LEASE_BOUND), 1);
	CU_ASSERT(lease_allowed(t, 0, NET + 15, NET + 15));
	CU_ASSERT(!lease_allowed(t, 0, NET + 15, 0));
	CU_ASSERT(!lease_allowed(t, 0, 0x08080808, 0x08080808)); /* reserved, but in another network */
	lease_table_free(t);
}

static void test_lease_oldest_free_address_is_used_again(void)
{
	struct lease_table *t = table_new();
	struct lease_client c;

	for (uint32_t i = 0; i < 6; i++)
		bind_one(t, i, 0, 100 + (int64_t)i);
	CU_ASSERT_EQUAL(lease_table_expire(t, 102), 103);
	CU_ASSERT_EQUAL(bind_one(t, 77, 0, 500), NET + 10);
	CU_ASSERT_EQUAL(bind_one(t, 78, 0, 500), NET + 14);
	c = mac(0);
	CU_ASSERT_PTR_NULL(lease_by_client(t, 0, &c)); /* forgotten, somebody else has it */
	lease_table_free(t);
}

static void test_lease_flood_of_offers_locks_nobody_out(void)
{
	struct lease_table *t = table_new();
	struct lease *lease;
	struct lease_client c;

	CU_ASSERT_EQUAL(bind_one(t, 1, 0, 1000), NET + 10);
	for (uint32_t i = 0; i < 10000; i++) {
		c = mac(1000 + i);
		CU_ASSERT_EQUAL_FATAL(lease_choose(t, 0, &c, 0, 0, &lease), 0);
		CU_ASSERT_NOT_EQUAL(lease->address, NET + 10);
		lease_set(t, lease, LEASE_OFFERED, &c, 60);
	}
	CU_ASSERT_EQUAL(lease_table_count(t, LEASE_OFFERED), 5);
	/* A real one gets an offer, and its request wins although the flood took the offer back meanwhile. */
	c = mac(2);
	CU_ASSERT_EQUAL(lease_choose(t, 0, &c, 0, 0, &lease), 0);
	CU_ASSERT_EQUAL(lease_claim(t, 0, &c, 0, lease->address, &lease), 0);
	lease_set(t, lease, LEASE_BOUND, &c, 1000);
	CU_ASSERT_EQUAL(lease_table_expire(t, 60), 1000);
	CU_ASSERT_EQUAL(lease_table_count(t, LEASE_OFFERED), 0);
	CU_ASSERT_EQUAL(lease_table_count(t, LEASE_BOUND), 2);
	lease_table_free(t);
}

static void test_lease_claim_refuses_what_another_has(void)
{
	struct lease_table *t = table_new();
	struct lease_client a = mac(1), b = mac(2);
	struct lease *lease;
	uint32_t address = bind_one(t, 1, 0, 100);

	CU_ASSERT_EQUAL(lease_claim(t, 0, &a, 0, address, &lease), 0);
	CU_ASSERT_EQUAL(lease_claim(t, 0, &b, 0, address, &lease), -EADDRINUSE);
	CU_ASSERT_EQUAL(lease_claim(t, 0, &b, 0, NET + 12, &lease), -EADDRINUSE);
	lease_table_expire(t, 100);
	CU_ASSERT_EQUAL(lease_claim(t, 0, &b, 0, address, &lease), 0);
	lease_table_free(t);
}

static void test_lease_quarantine_ends_and_is_limited(void)
{
	struct lease_table *t = table_new();
	struct lease_client c = mac(1);
	struct lease *lease;

	CU_ASSERT_EQUAL(lease_choose(t, 0, &c, 0, 0, &lease), 0);
	lease_set(t, lease, LEASE_OFFERED, &c, 60);
	lease_set(t, lease, LEASE_QUARANTINED, NULL, 3600);
	CU_ASSERT_EQUAL(lease_claim(t, 0, &c, 0, lease->address, &lease), -EADDRINUSE);
	CU_ASSERT_EQUAL(bind_one(t, 1, 0, 4000), NET + 14);
	CU_ASSERT_EQUAL(lease_table_expire(t, 3600), 4000);
	CU_ASSERT_EQUAL(lease_table_count(t, LEASE_QUARANTINED), 0);
	lease_table_free(t);

	/* 1,000 addresses, every one declined: a quarter at most is out of use. */
	t = table_new();
	lease_table_free(t);
	subnet.prefix = 16;
	subnet.range[0] = (struct config_range){NET + 1000, NET + 1999};
	CU_ASSERT_EQUAL_FATAL(lease_table_new(&t, &config), 0);
	for (uint32_t i = 0; i < 2000; i++) {
		c = mac(i);
		CU_ASSERT_EQUAL_FATAL(lease_choose(t, 0, &c, 0, 0, &lease), 0);
		lease_set(t, lease, LEASE_OFFERED, &c, 60);
		lease_set(t, lease, LEASE_QUARANTINED, NULL, 3600);
	}
	CU_ASSERT_EQUAL(lease_table_count(t, LEASE_QUARANTINED), 250);
	lease_table_free(t);
}

static void test_lease_restore_and_copy(void)
{
	struct lease_table *t = table_new(), *copy;
	struct lease_client c = mac(9);

	CU_ASSERT_EQUAL(lease_table_restore(t, NET + 16, LEASE_BOUND, &c, 100, true), 0);
	CU_ASSERT_EQUAL(lease_table_restore(t, NET + 17, LEASE_QUARANTINED, NULL, 100, true), 0);
	CU_ASSERT_EQUAL(lease_table_restore(t, 0x08080808, LEASE_BOUND, &c, 100, true), 0); /* no subnet of ours */
	CU_ASSERT_EQUAL_FATAL(lease_table_new(&copy, &config), 0);
	lease_table_copy(copy, t);
	lease_table_free(t);
	CU_ASSERT_EQUAL(lease_table_count(copy, LEASE_BOUND), 1);
	CU_ASSERT_EQUAL(lease_table_count(copy, LEASE_QUARANTINED), 1);
	CU_ASSERT_EQUAL(bind_one(copy, 9, 0, 200), NET + 16);
	CU_ASSERT_EQUAL(bind_one(copy, 1, NET + 17, 200), NET + 10);
	lease_table_free(copy);
}

/* Each of a pair gives new addresses from its own half: the range is .10 to .19, so .10 to .14 and .15 to .19. */
static void test_lease_halves(void)
{
	struct lease_table *t = table_new();
	struct lease_client c = mac(1), d = mac(2);
	struct lease *lease;

	lease_table_split(t, LEASE_LOWER);
	CU_ASSERT_EQUAL(bind_one(t, 1, 0, 100), NET + 10);
	CU_ASSERT_EQUAL(bind_one(t, 2, NET + 18, 100), NET + 14); /* .18 is asked for, and not ours to give */
	CU_ASSERT_EQUAL(bind_one(t, 3, 0, 100), 0);
	CU_ASSERT_EQUAL(lease_claim(t, 0, &c, NET + 15, NET + 15, &lease), 0); /* reserved: nobody else has it */
	/* What the other one gave is renewed here, and not given again once it has ended. */
	CU_ASSERT_EQUAL(lease_table_restore(t, NET + 17, LEASE_BOUND, &d, 100, true), 0);
	CU_ASSERT_EQUAL(lease_claim(t, 0, &d, 0, NET + 17, &lease), 0);
	lease_table_expire(t, 100);
	CU_ASSERT_EQUAL(lease_claim(t, 0, &d, 0, NET + 17, &lease), -EADDRINUSE);
	lease_table_free(t);

	t = table_new();
	lease_table_backwards(t, true);
	lease_table_split(t, LEASE_UPPER);
	CU_ASSERT_EQUAL(bind_one(t, 1, 0, 100), NET + 19);
	CU_ASSERT_EQUAL(bind_one(t, 2, NET + 10, 100), NET + 18);
	lease_table_free(t);
}

/* What the other one could still be renewing for somebody goes to nobody else, whether it is heard or not. */
static void test_lease_halves_sure(void)
{
	struct lease_table *t = table_new();
	struct lease_client c = mac(1);
	struct lease *lease;

	lease_table_split(t, LEASE_LOWER);
	CU_ASSERT_EQUAL(bind_one(t, 1, 0, 100), NET + 10);
	CU_ASSERT_EQUAL(bind_one(t, 2, 0, 100), NET + 14);
	lease_by_address(t, NET + 10)->version[0] = 1;
	lease_by_address(t, NET + 14)->version[0] = 2;
	lease_table_sure(t, 99, 100); /* both were bound when the two last knew the same */
	lease_table_expire(t, 100);
	lease_by_address(t, NET + 10)->had = lease_by_address(t, NET + 14)->had = true;
	CU_ASSERT_EQUAL(bind_one(t, 3, 0, 300), 0);
	CU_ASSERT_EQUAL(bind_one(t, 1, 0, 300), NET + 10); /* its last holder */
	lease_table_expire(t, 300);
	CU_ASSERT_EQUAL(lease_claim(t, 0, &c, 0, NET + 14, &lease), -EADDRINUSE);
	/* Who is offered what both know to be free gets it; who asks for what is offered to somebody else does not. */
	lease_table_sure(t, 100, 300);
	c = mac(5);
	CU_ASSERT_EQUAL(lease_claim(t, 0, &c, 0, NET + 14, &lease), 0);
	lease->had = false;
	lease_set(t, lease, LEASE_OFFERED, &c, 360);
	CU_ASSERT_EQUAL(lease_claim(t, 0, &c, 0, NET + 14, &lease), 0);
	c = mac(6);
	CU_ASSERT_EQUAL(lease_claim(t, 0, &c, 0, NET + 14, &lease), -EADDRINUSE);
	/* The offer ends: as if it had just been freed. */
	lease_set(t, lease, LEASE_FREE, NULL, 0);
	CU_ASSERT_EQUAL(bind_one(t, 3, NET + 14, 400), 0);
	CU_ASSERT_EQUAL(bind_one(t, 5, 0, 400), 0);
	lease_table_sure(t, 300, 400);
	CU_ASSERT_EQUAL(bind_one(t, 3, NET + 14, 500), NET + 14);
	lease_table_free(t);
}

/* A PC that gets another address: the one before is told of, and an offer alone frees nothing. */
static uint32_t freed;
static void on_freed(void *arg, struct lease *lease)
{
	CU_ASSERT_PTR_EQUAL(arg, &freed);
	freed = lease->address;
}

static void test_lease_that_goes_with_another_is_told(void)
{
	struct lease_table *t = table_new();
	struct lease_client c = mac(1);
	struct lease *lease;

	lease_table_on_freed(t, on_freed, &freed);
	CU_ASSERT_EQUAL(bind_one(t, 1, 0, 100), NET + 10);
	CU_ASSERT_EQUAL(lease_claim(t, 0, &c, NET + 15, NET + 15, &lease), 0);
	lease_set(t, lease, LEASE_OFFERED, &c, 60);
	CU_ASSERT_EQUAL(lease_by_address(t, NET + 10)->state, LEASE_BOUND);
	CU_ASSERT_EQUAL(freed, 0);
	lease_table_free(t);

	t = table_new();
	lease_table_on_freed(t, on_freed, &freed);
	CU_ASSERT_EQUAL(bind_one(t, 1, 0, 100), NET + 10);
	CU_ASSERT_EQUAL(lease_claim(t, 0, &c, NET + 15, NET + 15, &lease), 0);
	lease_set(t, lease, LEASE_BOUND, &c, 100);
	CU_ASSERT_EQUAL(lease_by_address(t, NET + 10)->state, LEASE_FREE);
	CU_ASSERT_EQUAL(freed, NET + 10);
	lease_table_free(t);
}

static void test_lease_65k_addresses_each_once(void)
{
	enum { N = 65000 };
	struct lease_table *t = table_new();
	static uint8_t seen[65536];

	lease_table_free(t);
	subnet.prefix = 16;
	subnet.excludes = 0;
	subnet.range[0] = (struct config_range){NET + 256, NET + 256 + N - 1};
	CU_ASSERT_EQUAL_FATAL(lease_table_new(&t, &config), 0);
	memset(seen, 0, sizeof(seen));
	for (uint32_t i = 0; i < N; i++) {
		uint32_t a = bind_one(t, i, 0, 1000);

		CU_ASSERT_FATAL(a >= NET + 256 && !seen[a & 0xffff]);
		seen[a & 0xffff] = 1;
	}
	CU_ASSERT_EQUAL(bind_one(t, N, 0, 1000), 0);
	for (uint32_t i = 0; i < N; i += 997)
		CU_ASSERT_EQUAL(bind_one(t, i, 0, 2000), NET + 256 + i);
	lease_table_free(t);
}

/* Random steps against a plain array: nobody ever has an address that another has. */
static void test_lease_model(void)
{
	struct lease_table *t = table_new();
	struct {
		uint32_t owner;
		int64_t expires;
	} model[256] = {0};
	int64_t now = 1;

	srand((unsigned int)unit_seed());
	for (int step = 0; step < 50000; step++, now += rand() % 3) {
		uint32_t who = 1 + (uint32_t)rand() % 12;
		struct lease_client c = mac(who);
		struct lease *lease;

		lease_table_expire(t, now);
		if (lease_choose(t, 0, &c, 0, rand() % 2 ? NET + (uint32_t)(rand() % 24) : 0, &lease) < 0)
			continue;
		CU_ASSERT_FATAL(lease->address >= NET + 10 && lease->address <= NET + 19);
		switch (rand() % 4) {
		case 0: /* offered only */
			if (lease->state != LEASE_BOUND)
				lease_set(t, lease, LEASE_OFFERED, &c, now + 5);
			break;
		case 1:
			if (lease->state == LEASE_BOUND) {
				lease_set(t, lease, LEASE_FREE, NULL, 0);
				model[lease->address & 255].owner = 0;
			}
			break;
		default:
			for (int i = 0; i < 256; i++) /* one address a client */
				if (model[i].owner == who)
					model[i].owner = 0;
			CU_ASSERT_FATAL(!model[lease->address & 255].owner ||
					model[lease->address & 255].owner == who ||
					model[lease->address & 255].expires <= now);
			model[lease->address & 255].owner = who;
			model[lease->address & 255].expires = now + 1 + rand() % 20;
			lease_set(t, lease, LEASE_BOUND, &c, model[lease->address & 255].expires);
		}
	}
	lease_table_free(t);
}

static void test_lease_usage_of_a_subnet(void)
{
	struct lease_table *t = table_new();
	struct lease_usage usage;

	bind_one(t, 1, 0, 1000);
	lease_table_usage(t, 0, &usage);
	CU_ASSERT_EQUAL(usage.addresses, 6);
	CU_ASSERT_EQUAL(usage.bound, 1);
	/* An address of ours that comes later, in the range, and in an exclude. */
	lease_table_avoid(t, NET + 17);
	lease_table_avoid(t, NET + 12);
	lease_table_usage(t, 0, &usage);
	CU_ASSERT_EQUAL(usage.addresses, 5);
	lease_table_free(t);

	/* A whole /8, with excludes one in and one over another. */
	t = table_new();
	subnet.network = 0x0a000000;
	subnet.prefix = 8;
	subnet.range[0] = (struct config_range){0x0a000001, 0x0afffffe};
	subnet.exclude[0] = (struct config_range){0x0a100000, 0x0a8fffff};
	subnet.exclude[1] = (struct config_range){0x0a200000, 0x0a2fffff};
	subnet.exclude[2] = (struct config_range){0x0a800000, 0x0a9fffff};
	subnet.excludes = 3;
	lease_table_free(t);
	CU_ASSERT_EQUAL_FATAL(lease_table_new(&t, &config), 0);
	lease_table_usage(t, 0, &usage);
	CU_ASSERT_EQUAL(usage.addresses, 0xfffffeu - 0x900000u);
	lease_table_free(t);
}

UNIT_MAIN(UNIT(test_lease_usage_of_a_subnet), UNIT(test_lease_gives_all_but_excluded_reserved_and_router),
	  UNIT(test_lease_same_client_same_address), UNIT(test_lease_identified_by_mac_not_by_identifier),
	  UNIT(test_lease_record_of_a_pc_with_two_cards), UNIT(test_lease_wanted_address_if_it_is_free),
	  UNIT(test_lease_reservation_wins_and_is_left_alone), UNIT(test_lease_oldest_free_address_is_used_again),
	  UNIT(test_lease_flood_of_offers_locks_nobody_out), UNIT(test_lease_claim_refuses_what_another_has),
	  UNIT(test_lease_quarantine_ends_and_is_limited), UNIT(test_lease_restore_and_copy), UNIT(test_lease_halves),
	  UNIT(test_lease_halves_sure), UNIT(test_lease_that_goes_with_another_is_told),
	  UNIT(test_lease_65k_addresses_each_once), UNIT(test_lease_model))
