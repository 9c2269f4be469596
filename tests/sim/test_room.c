/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many rooms (tests/sim/sim.h), one a seed:
 *
 *	test_room		10,000 seeds, and 200 of them twice: the same traces; what tests/run runs
 *	test_room -n SEEDS [-f FIRST] [-t SECONDS]	so many; each has faults for about so long (its own time)
 *	test_room -s SEED [-t SECONDS] [-v]		one, and its trace if it fails; with -v in any case, and logs
 *
 * A seed that fails prints the command that runs it again.
 */
#include "tests/sim/sim.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/core/log.h"
#include "daemon/dhcp/private.h"

#define SEEDS   10000
#define SETTLED 500   /* seeds */
#define GROWTH  65536 /* bytes */

static uint64_t seed_now, lasts = 30;
static const char *program;

/* Those whose power failed within the event. */
static void bury(void)
{
	for (unsigned int i = 0; i < SIM_SERVERS; i++)
		if (sim_servers[i].dead)
			sim_server_bury(&sim_servers[i]);
}

static void run_until(uint64_t until)
{
	while (!sim_failed[0] && sim_step(until)) {
		bury();
		sim_check_step();
	}
}

static bool are_together(void)
{
	for (unsigned int i = 0; i < SIM_SERVERS; i++)
		if (sim_mode_of(&sim_servers[i]) != SIM_TOGETHER || sim_is_stalled(&sim_servers[i]))
			return false;
	return true;
}

/* How often a message ended so, at both servers. */
static uint64_t count(enum dhcp_outcome outcome)
{
	uint64_t ret = 0;

	for (unsigned int i = 0; i < SIM_SERVERS; i++)
		ret += sim_servers[i].up ? dhcp_server_stats(sim_servers[i].dhcp)->outcome[outcome] : 0;
	return ret;
}

/* Who asks gets an address, or there is none left. */
static void check_served(void)
{
	uint64_t in_vain = count(DHCP_OUTCOME_EXHAUSTED), began = sim_now;
	unsigned int without = 0;

	sim_pcs_quiet(true);
	run_until(sim_now + 12 * S);
	for (unsigned int i = 0; i < sim_pcs_count; i++)
		without += sim_pcs[i].acked < began && (!sim_pcs[i].address || sim_pcs[i].until <= sim_now);
	if (without && count(DHCP_OUTCOME_EXHAUSTED) == in_vain)
		sim_wrong("all is well, and %u PCs get no address", without);
}

/* Everything is well: the two find each other, PCs get what there is, both know the same, and what ends is free. */
static void end_well(const struct sim_plan *plan)
{
	uint64_t patience = sim_now + 60 * S;

	sim_faults_end();
	while (!sim_failed[0] && !are_together() && sim_now < patience)
		run_until(sim_now + S);
	if (!are_together())
		sim_wrong("the servers do not find each other when all is well");
	check_served();
	sim_pcs_quiet(false);
	run_until(sim_now + 5 * S);
	if (!sim_failed[0])
		sim_check_same();
	if (!sim_failed[0] && plan->lease <= 90 && sim_chance(250)) {
		run_until(sim_now + (plan->lease + DHCP_LEASE_GRACE + 3) * S);
		if (!sim_failed[0])
			sim_check_free();
	}
}

static void run(uint64_t seed)
{
	struct sim_plan plan;

	seed_now = seed;
	sim_time_init(seed);
	sim_wire_init();
	sim_kernel_init();
	sim_plan_make(&plan, sim_between(lasts / 2, lasts * 3 / 2) * S);
	sim_check_init(plan.split, sim_plan_is_lossy(&plan));
	sim_faults_start(&plan);
	sim_pcs_start(plan.pcs, plan.pace, plan.targets);
	for (unsigned int i = 0; i < SIM_SERVERS; i++)
		sim_server_start(&sim_servers[i]);
	run_until(plan.lasts);
	if (!sim_failed[0])
		end_well(&plan);
	bury();
	if (count(DHCP_OUTCOME_STORE_FAILED))
		sim_rare("a commit failed");
	if (count(DHCP_OUTCOME_EXHAUSTED))
		sim_rare("no address was left");
	for (unsigned int i = 0; i < SIM_SERVERS; i++) {
		if (sim_servers[i].up)
			sim_server_stop(&sim_servers[i]);
		sim_disk_free(sim_servers[i].disk);
	}
	sim_time_done();
}

static void on_crash(int signo)
{
	char text[100];
	int n = snprintf(text, sizeof(text), "not ok - signal %d in seed %llu\n", signo, (unsigned long long)seed_now);

	if (write(STDOUT_FILENO, text, (size_t)n) < 0)
		_exit(3);
	_exit(2);
}

static bool failed(void)
{
	if (!sim_failed[0])
		return false;
	printf("# %s\n#   again: %s -t %llu -s %llu\n", sim_failed, program, (unsigned long long)lasts,
	       (unsigned long long)seed_now);
	return true;
}

/* Forwards and backwards: what a seed does depends on nothing that was before it. */
static int run_twice(uint64_t first, uint64_t seeds)
{
	uint64_t *sum = calloc(seeds, sizeof(*sum)), differ = 0;

	if (!sum)
		return 2;
	for (uint64_t i = 0; i < seeds; i++) {
		run(first + i);
		sum[i] = sim_trace_sum();
	}
	for (uint64_t i = seeds; i--;) {
		run(first + i);
		if (sum[i] == sim_trace_sum())
			continue;
		printf("# seed %llu is another room the second time\n", (unsigned long long)(first + i));
		differ++;
	}
	free(sum);
	printf("%s - %llu seeds, each the same room twice\n", differ ? "not ok" : "ok", (unsigned long long)seeds);
	return differ ? 1 : 0;
}

static int run_many(uint64_t first, uint64_t seeds)
{
	uint64_t wrong = 0, done = 0;
	size_t held = 0;
	int missing;

	for (; done < seeds && wrong < 3; done++) {
		run(first + done);
		wrong += failed();
		if (done == SETTLED) /* what is allocated once, and grows to the largest room that there is, is there */
			held = mallinfo2().uordblks;
	}
	printf("%s - %llu rooms with two servers, each as it must be\n", wrong ? "not ok" : "ok",
	       (unsigned long long)done);
	if (!wrong && done > SETTLED) {
		bool grew = mallinfo2().uordblks > held + GROWTH;

		printf("%s - what the servers allocated came back\n", grew ? "not ok" : "ok");
		wrong += grew;
	}
	missing = sim_rare_missing(true);
	/* So few seeds need not have been everywhere; after a failure they were not. */
	if (seeds >= SEEDS && !wrong)
		printf("%s - every rare path was taken\n", missing ? "not ok" : "ok");
	return wrong || (seeds >= SEEDS && missing) ? 1 : 0;
}

static int run_one(uint64_t seed)
{
	run(seed);
	if (sim_failed[0] && !sim_loud)
		sim_trace_tail();
	failed();
	printf("%s - seed %llu, trace %016llx\n", sim_failed[0] ? "not ok" : "ok", (unsigned long long)seed,
	       (unsigned long long)sim_trace_sum());
	return sim_failed[0] ? 1 : 0;
}

int main(int argc, char **argv)
{
	uint64_t seeds = 0, first = 1, one = 0;
	int c;

	program = argv[0];
	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((c = getopt(argc, argv, "n:f:t:s:v")) >= 0) {
		uint64_t n = optarg ? strtoull(optarg, NULL, 0) : 0;

		if (c == 'n')
			seeds = n;
		else if (c == 'f')
			first = n;
		else if (c == 't')
			lasts = n;
		else if (c == 's')
			one = n;
		else if (c == 'v')
			sim_loud = true;
		else
			return 2;
	}
	/* The queues of a server are large and nearly empty: zeroes from the kernel. What is small comes back soon. */
	mallopt(M_MMAP_THRESHOLD, 1 << 18);
	mallopt(M_TRIM_THRESHOLD, 1 << 26);
	signal(SIGSEGV, on_crash);
	signal(SIGABRT, on_crash);
	log_set_level(sim_loud ? LOG_LEVEL_DEBUG : (enum log_level)(LOG_LEVEL_ERROR - 1));
	sim_config_load();
	sim_time_init(0);
	sim_disk_free(sim_disk_new()); /* what is made once is no seed's */
	if (one)
		return run_one(one);
	if (seeds)
		return run_many(first, seeds);
	return run_twice(first, 200) | run_many(first, SEEDS);
}
