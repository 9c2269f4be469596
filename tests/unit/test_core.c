/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The small parts of daemon/core: addresses as text, networks, clocks. */
#include "daemon/core/clock.h"
#include "daemon/core/inet.h"

#include "tests/unit/unit.h"

static void test_inet_text(void)
{
	CU_ASSERT_STRING_EQUAL(inet_text(0xc0000207).s, "192.0.2.7");
	CU_ASSERT_STRING_EQUAL(inet_text(0).s, "0.0.0.0");
	CU_ASSERT_STRING_EQUAL(inet_text(~0u).s, "255.255.255.255");
	CU_ASSERT_STRING_EQUAL(inet_mac_text((const uint8_t[]){2, 0, 0x5e, 0x10, 0, 0xff}).s, "02:00:5e:10:00:ff");
}

static void test_inet_within(void)
{
	CU_ASSERT_EQUAL(inet_mask(0), 0);
	CU_ASSERT_EQUAL(inet_mask(24), 0xffffff00);
	CU_ASSERT_EQUAL(inet_mask(32), ~0u);
	CU_ASSERT_TRUE(inet_within(0x0a000001, 0xc0000200, 0));
	CU_ASSERT_TRUE(inet_within(0xc00002ff, 0xc0000200, 24));
	CU_ASSERT_FALSE(inet_within(0xc0000300, 0xc0000200, 24));
	CU_ASSERT_FALSE(inet_within(0xc0000201, 0xc0000200, 32));
}

static void test_clock_deadline(void)
{
	uint64_t before = clock_monotonic_ns();
	struct timespec until = clock_deadline(1999999999);
	uint64_t ns = (uint64_t)until.tv_sec * CLOCK_NS + (uint64_t)until.tv_nsec;

	CU_ASSERT_TRUE(ns >= before + 1999999999);
	CU_ASSERT_TRUE(ns <= clock_monotonic_ns() + 1999999999);
	CU_ASSERT_TRUE(until.tv_nsec >= 0 && until.tv_nsec < (long)CLOCK_NS);
	CU_ASSERT_TRUE(clock_boottime_ns() >= before);
	CU_ASSERT_EQUAL(clock_realtime_s() > 1000000000, true);
}

UNIT_MAIN(UNIT(test_inet_text), UNIT(test_inet_within), UNIT(test_clock_deadline))
