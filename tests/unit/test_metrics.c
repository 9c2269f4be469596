/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prometheus text: the form, and what must be escaped. */
#include "daemon/control/metrics_text.h"
#include "tests/unit/unit.h"

static void test_metrics_text_form(void)
{
	struct metrics_text m;

	metrics_text_init(&m);
	metrics_family(&m, "bootwell_things_total", "counter", "Things.");
	metrics_count(&m, 18446744073709551615u, NULL);
	metrics_count(&m, 3, "client", "PC101", "op", "read", NULL);
	metrics_value(&m, 0.25, "x", "y", NULL);
	metrics_family(&m, "bootwell_latency_seconds", "histogram", "Latency.");
	metrics_suffix(&m, "_bucket", 7, "le", "+Inf", NULL);
	CU_ASSERT_STRING_EQUAL(m.text, "# HELP bootwell_things_total Things.\n"
				       "# TYPE bootwell_things_total counter\n"
				       "bootwell_things_total 18446744073709551615\n"
				       "bootwell_things_total{client=\"PC101\",op=\"read\"} 3\n"
				       "bootwell_things_total{x=\"y\"} 0.25\n"
				       "# HELP bootwell_latency_seconds Latency.\n"
				       "# TYPE bootwell_latency_seconds histogram\n"
				       "bootwell_latency_seconds_bucket{le=\"+Inf\"} 7\n");
	CU_ASSERT_EQUAL(m.length, strlen(m.text));
	metrics_text_done(&m);
	CU_ASSERT_PTR_NULL(m.text);
}

static void test_metrics_text_escapes(void)
{
	struct metrics_text m;

	metrics_text_init(&m);
	metrics_family(&m, "x", "gauge", "X.");
	metrics_count(&m, 1, "a", "\"\\\n\"} 9\ny 1", NULL);
	CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "x{a=\"\\\"\\\\\\n\\\"} 9\\ny 1\"} 1\n"));
	metrics_text_done(&m);
}

static void test_metrics_text_grows(void)
{
	struct metrics_text m;
	size_t lines = 0;

	metrics_text_init(&m);
	metrics_family(&m, "x", "gauge", "X.");
	for (int i = 0; i < 20000; i++)
		metrics_count(&m, i, "a", "b", NULL);
	CU_ASSERT_FALSE(m.failed);
	for (size_t i = 0; i < m.length; i++)
		lines += m.text[i] == '\n';
	CU_ASSERT_EQUAL(lines, 20002);
	metrics_text_done(&m);
}

UNIT_MAIN(UNIT(test_metrics_text_form), UNIT(test_metrics_text_escapes), UNIT(test_metrics_text_grows))
