/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The small parts of daemon/core: addresses as text, networks, clocks, who comes first. */
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/core/background.h"
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

struct place {
	int policy, nice;
};

static void look(struct place *ret)
{
	ret->policy = sched_getscheduler(0);
	ret->nice = getpriority(PRIO_PROCESS, (id_t)gettid());
}

static void *step_back(void *arg)
{
	background();
	look(arg);
	return NULL;
}

/* The thread alone, not the process. */
static void test_background(void)
{
	struct place before, after, thread;
	pthread_t t;

	look(&before);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, step_back, &thread), 0);
	pthread_join(t, NULL);
	look(&after);
	CU_ASSERT_EQUAL(thread.policy, SCHED_BATCH);
	CU_ASSERT_EQUAL(thread.nice, before.nice > BACKGROUND_NICE ? before.nice : BACKGROUND_NICE);
	CU_ASSERT_EQUAL(after.policy, before.policy);
	CU_ASSERT_EQUAL(after.nice, before.nice);
}

UNIT_MAIN(UNIT(test_inet_text), UNIT(test_inet_within), UNIT(test_clock_deadline), UNIT(test_background))
