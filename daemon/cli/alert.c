// SPDX-License-Identifier: GPL-2.0-or-later
/* bootwell alert list: what is wrong now, by the rules that Prometheus has too. alert test: one message by each way. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/cli/cli.h"
#include "daemon/cli/private.h"

static void print_alerts(const json_t *alerts)
{
	const json_t *a;
	size_t i;

	if (!json_array_size(alerts))
		printf("no alert is on\n");
	json_array_foreach((json_t *)alerts, i, a)
	{
		time_t since = (time_t)json_integer_value(json_object_get(a, "since"));
		char text[32];
		struct tm tm;

		localtime_r(&since, &tm);
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
		printf("%s  since %s  %s%s%s%s%s%s\n  %s\n  %s\n", cli_text(a, "level", "?"), text,
		       cli_text(a, "alert", "?"), *cli_text(a, "labels", "") ? " {" : "", cli_text(a, "labels", ""),
		       *cli_text(a, "labels", "") ? "}" : "",
		       json_is_true(json_object_get(a, "told")) ? "" : ", nobody was told",
		       json_is_true(json_object_get(a, "away")) ? ", away now" : "", cli_text(a, "summary", ""),
		       cli_text(a, "description", ""));
	}
}

static int list(bool json)
{
	json_t *alerts;
	int r = cli_ask("GET", "/api/alerts", NULL, &alerts);

	if (r)
		return r;
	if (json)
		cli_print_json(alerts);
	else
		print_alerts(alerts);
	json_decref(alerts);
	return CLI_OK;
}

static int test(bool json)
{
	json_t *answer, *one;
	size_t i;
	int r = cli_ask("POST", "/api/alerts/test", NULL, &answer);

	if (r)
		return r;
	if (json)
		cli_print_json(answer);
	json_array_foreach(json_object_get(answer, "results"), i, one)
	{
		bool ok = json_is_true(json_object_get(one, "ok"));

		if (!ok)
			r = CLI_FAILED;
		if (!json)
			printf("%s: %s: %s\n", cli_text(one, "way", "?"), ok ? "arrived" : "failed",
			       cli_text(one, "answer", ""));
	}
	json_decref(answer);
	return r;
}

int cli_alert(int argc, char **argv)
{
	bool json = cli_take_json(&argc, argv);

	if (argc == 2 && !strcmp(argv[1], "list"))
		return list(json);
	if (argc == 2 && !strcmp(argv[1], "test"))
		return test(json);
	return cli_usage("alert list | test   [--json]");
}
