/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a boot waits, and when it is over: boot_idle.h with made-up clocks. */
#include "tcmu-handler/boot_idle.h"
#include "tests/unit/unit.h"

#define S    1000000000ull
#define REAL (1700000000ull * S) /* CLOCK_REALTIME when the monotonic clock is at 0 */

static struct stats_disk stats;
static uint64_t last;

/* A command from `start` to `end`, in ms. */
static void command(uint64_t start, uint64_t end)
{
	uint64_t now = end * 1000000;

	if (!stats.first_read_ns)
		stats.first_read_ns = REAL + now;
	boot_idle_note(&stats, &last, start * 1000000, now, REAL + now);
}

static void begin(void)
{
	memset(&stats, 0, sizeof(stats));
	last = 0;
}

static void test_boot_idle_counts_gaps(void)
{
	begin();
	command(1000, 1010);
	command(1400, 1410); /* too short a gap */
	command(2010, 2020); /* 600 ms */
	command(5020, 5030); /* 3 s */
	CU_ASSERT_EQUAL(stats.boot_gaps, 2);
	CU_ASSERT_EQUAL(stats.boot_gap_ns, 3600 * 1000000ull);
	CU_ASSERT_EQUAL(stats.boot_gap_longest_ns, 3 * S);
	CU_ASSERT_EQUAL(stats.boot_end_ns, 0);
}

static void test_boot_idle_slow_command_is_no_gap(void)
{
	begin();
	command(1000, 1010);
	command(1020, 4000); /* the disk was busy all the time */
	command(4001, 4002);
	CU_ASSERT_EQUAL(stats.boot_gaps, 0);
	/* Two at once: the one that began before the other ended. */
	command(4005, 4006);
	command(4004, 9000);
	CU_ASSERT_EQUAL(stats.boot_gaps, 0);
}

static void test_boot_idle_ends_with_silence(void)
{
	begin();
	command(1000, 1010);
	command(2000, 2500);
	command(12500, 12600); /* exactly 10 s */
	CU_ASSERT_EQUAL(stats.boot_end_ns, REAL + 2500 * 1000000ull);
	CU_ASSERT_EQUAL(stats.boot_gaps, 1);
	command(20000, 20001); /* no longer part of the boot */
	CU_ASSERT_EQUAL(stats.boot_gaps, 1);
	CU_ASSERT_EQUAL(stats.boot_end_ns, REAL + 2500 * 1000000ull);
}

static void test_boot_idle_ends_after_five_minutes(void)
{
	begin();
	for (uint64_t t = 1000; t < 400000; t += 100)
		command(t, t + 90);
	CU_ASSERT(stats.boot_end_ns >= stats.first_read_ns + STATS_BOOT_NS);
	CU_ASSERT(stats.boot_end_ns < stats.first_read_ns + STATS_BOOT_NS + S);
	CU_ASSERT_EQUAL(stats.boot_gaps, 0);
}

static void test_boot_idle_next_boot(void)
{
	begin();
	command(1000, 1010);
	command(30000, 30010);
	CU_ASSERT_NOT_EQUAL(stats.boot_end_ns, 0);
	boot_idle_reset(&stats);
	stats.first_read_ns = 0;
	last = 0;
	command(60000, 60001);
	command(61000, 61001);
	CU_ASSERT_EQUAL(stats.boot_end_ns, 0);
	CU_ASSERT_EQUAL(stats.boot_gaps, 1);
}

UNIT_MAIN(UNIT(test_boot_idle_counts_gaps), UNIT(test_boot_idle_slow_command_is_no_gap),
	  UNIT(test_boot_idle_ends_with_silence), UNIT(test_boot_idle_ends_after_five_minutes),
	  UNIT(test_boot_idle_next_boot))
