/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Token buckets by source: the rate, the burst, and what a flood of invented sources does to a real one. */
#include "tests/unit/unit.h"

#include <errno.h>

#include "daemon/core/ratelimit.h"

#define SECOND 1000000000ull

/* How many of `n` packets of a source are let through at that moment. */
static unsigned int take(struct ratelimit *limit, uint64_t source, uint64_t now, unsigned int n)
{
	unsigned int taken = 0;

	for (unsigned int i = 0; i < n; i++)
		taken += ratelimit_take(limit, source, now);
	return taken;
}

static void test_ratelimit_burst_and_rate(void)
{
	struct ratelimit *limit;

	CU_ASSERT_EQUAL(ratelimit_new(&limit, 0, 30), -EINVAL);
	CU_ASSERT_EQUAL(ratelimit_new(&limit, 10, 0), -EINVAL);
	CU_ASSERT_EQUAL_FATAL(ratelimit_new(&limit, 10, 30), 0);
	CU_ASSERT_EQUAL(take(limit, 7, SECOND, 1000), 30);
	CU_ASSERT_EQUAL(take(limit, 7, SECOND + SECOND / 2, 1000), 5);
	CU_ASSERT_EQUAL(take(limit, 7, 2 * SECOND, 1000), 5);
	/* Quiet for an hour: a burst, not an hour's worth. */
	CU_ASSERT_EQUAL(take(limit, 7, 3600 * SECOND, 100000), 30);
	ratelimit_free(limit);
}

static void test_ratelimit_sources_are_apart(void)
{
	struct ratelimit *limit;

	CU_ASSERT_EQUAL_FATAL(ratelimit_new(&limit, 10, 30), 0);
	CU_ASSERT_EQUAL(take(limit, 1, SECOND, 1000), 30);
	CU_ASSERT_EQUAL(take(limit, 2, SECOND, 1000), 30);
	CU_ASSERT_EQUAL(take(limit, 1, SECOND, 1000), 0);
	ratelimit_free(limit);
}

/*
 * More sources than there are places: nobody is held back who sends little, whoever was pushed out, and the table is
 * what it was (there is no other memory).
 */
static void test_ratelimit_invented_sources_hold_nobody_back(void)
{
	struct ratelimit *limit;

	CU_ASSERT_EQUAL_FATAL(ratelimit_new(&limit, 10, 30), 0);
	CU_ASSERT_EQUAL(take(limit, 1, SECOND, 10), 10);
	for (uint64_t i = 0; i < 64 * RATELIMIT_SETS; i++)
		CU_ASSERT(ratelimit_take(limit, 1000 + i, SECOND));
	CU_ASSERT_EQUAL(take(limit, 1, SECOND, 10), 10);
	/* Who shouts is not forgotten for sake of those who sent one packet: they make way first. */
	CU_ASSERT_EQUAL(take(limit, 2, 2 * SECOND, 1000), 30);
	for (uint64_t i = 0; i < 2; i++)
		ratelimit_take(limit, 1000000 + i, 2 * SECOND);
	CU_ASSERT_EQUAL(take(limit, 2, 2 * SECOND, 1000), 0);
	ratelimit_free(limit);
}

UNIT_MAIN(UNIT(test_ratelimit_burst_and_rate), UNIT(test_ratelimit_sources_are_apart),
	  UNIT(test_ratelimit_invented_sources_hold_nobody_back))
