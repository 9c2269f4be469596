/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A unit test program: a table of functions, run by CUnit, reported as TAP lines for tests/run.
 *
 *	static void test_crc32c_known_answer(void) { CU_ASSERT_EQUAL(crc32c("123456789", 9), 0xe3069283); }
 *	UNIT_MAIN(UNIT(test_crc32c_known_answer), UNIT(...))
 *
 * A program with random input takes its seed from $SEED (unit_seed()), and prints it.
 */
#ifndef BOOTWELL_UNIT_H
#define BOOTWELL_UNIT_H

#include <CUnit/CUnit.h>
#include <CUnit/TestRun.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct unit_case {
	const char *name;
	CU_TestFunc run;
};

#define UNIT(f)                                                                                                        \
	{                                                                                                              \
#f, f                                                                                                  \
	}

/* The seed of this run: $SEED, or the clock; printed, so that a failure can be had again. */
static inline uint64_t unit_seed(void)
{
	static uint64_t seed;
	const char *text = getenv("SEED");

	if (!seed) {
		seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL) * 2654435761u;
		printf("# SEED=%llu\n", (unsigned long long)seed);
	}
	return seed;
}

static int unit_only(int argc, char **argv, const char *name)
{
	if (argc < 2)
		return 1;
	for (int i = 1; i < argc; i++)
		if (strstr(name, argv[i]))
			return 1;
	return 0;
}

static inline int unit_main(const struct unit_case *cases, size_t n, int argc, char **argv)
{
	CU_pSuite suite;
	int failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("unit", NULL, NULL);
	for (size_t i = 0; i < n; i++) {
		CU_pTest test;
		CU_pFailureRecord record;

		if (!unit_only(argc, argv, cases[i].name))
			continue;
		test = CU_add_test(suite, cases[i].name, cases[i].run);
		if (!test || CU_run_test(suite, test) != CUE_SUCCESS) {
			printf("not ok - %s: CUnit: %s\n", cases[i].name, CU_get_error_msg());
			failed++;
			continue;
		}
		record = CU_get_failure_list();
		if (!record) {
			printf("ok - %s\n", cases[i].name);
			continue;
		}
		failed++;
		printf("not ok - %s\n", cases[i].name);
		for (; record; record = record->pNext)
			printf("#   %s:%u: %s\n", record->strFileName, record->uiLineNumber, record->strCondition);
	}
	CU_cleanup_registry();
	return failed ? 1 : 0;
}

#define UNIT_MAIN(...)                                                                                                 \
	int main(int argc, char **argv)                                                                                \
	{                                                                                                              \
		static const struct unit_case cases[] = {__VA_ARGS__};                                                 \
		return unit_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);                                 \
	}

#endif
