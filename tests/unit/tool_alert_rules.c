// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The daemon's evaluation of the rules, for tests that compare it with Prometheus'.
 *
 *	tool_alert_rules list	the rules: name, level, seconds of `for`, a line each
 *	tool_alert_rules run	from standard input "T SECONDS", "S METRIC VALUE LABEL=VALUE ...", "E" (evaluate);
 *				prints for each E what fires, as one JSON array a line
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/alert/incidents.h"
#include "daemon/alert/series.h"

static struct alert_rules rules;
static struct alert_series *series;
static struct alert_incidents set;
static struct alert_true is[ALERT_INCIDENTS_MAX];

static void see(char *line)
{
	char *word = strtok(line, " \n"), *name = strtok(NULL, " \n"), *value = strtok(NULL, " \n");
	struct alert_label label[ALERT_LABELS];
	unsigned int n = 0;

	while ((word = strtok(NULL, " \n")) && n < ALERT_LABELS) {
		char *equals = strchr(word, '=');

		*equals = '\0';
		label[n++] = (struct alert_label){word, equals + 1};
	}
	alert_series_see(series, name, label, n, strtod(value, NULL));
}

static void tell(void *arg, enum alert_event event, struct alert_incident *incident)
{
	(void)arg;
	alert_incidents_told(&set, incident->id, event);
}

static void evaluate(double now)
{
	const struct alert_policy policy = {.end_after = 1e9};
	json_t *list = json_array();
	unsigned int n = 0;

	for (unsigned int r = 0; r < rules.n; r++) {
		const struct alert_rule *rule = &rules.rule[r];
		struct alert_vector v;

		if (alert_expr_eval(rule->expr, series, now, &v))
			exit(1);
		for (size_t k = 0; k < v.n; k++) {
			struct alert_value *a = &v.value[k];
			struct alert_true *t = &is[n++];

			*t = (struct alert_true){.rule = r, .value = a->value};
			for (unsigned int i = 0; i < a->labels; i++)
				snprintf(t->key + strlen(t->key), sizeof(t->key) - strlen(t->key), "%s=%s,",
					 a->label[i].name, a->label[i].value);
			alert_fill(t->summary, sizeof(t->summary), rule->summary, a->label, a->labels, a->value, "me");
			alert_fill(t->description, sizeof(t->description), rule->description, a->label, a->labels,
				   a->value, "me");
		}
		alert_vector_done(&v);
	}
	alert_incidents_round(&set, is, n, now, (int64_t)now, &policy, tell, NULL);
	for (unsigned int i = 0; i < set.n; i++) {
		const struct alert_incident *one = &set.incident[i];
		const struct alert_rule *rule = &rules.rule[one->rule];

		if (one->on && one->gone <= 0)
			json_array_append_new(list,
					      json_pack("{s:s, s:s, s:s, s:s, s:s}", "alertname", rule->name,
							"severity", alert_level_name(rule->level), "labels", one->key,
							"summary", one->summary, "description", one->description));
	}
	json_dumpf(list, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(list);
}

int main(int argc, char **argv)
{
	struct sentence why = {""};
	char line[1000];
	double now = 0;

	if (argc != 2 || alert_rules_own(&rules, &why) || alert_series_new(&series) ||
	    alert_incidents_init(&set, &rules)) {
		fprintf(stderr, "tool_alert_rules: %s\n", why.text);
		return 1;
	}
	for (unsigned int i = 0; i < rules.n; i++) {
		alert_expr_want(rules.rule[i].expr, series);
		if (!strcmp(argv[1], "list"))
			printf("%s %s %g\n", rules.rule[i].name, alert_level_name(rules.rule[i].level),
			       rules.rule[i].wait);
	}
	while (!strcmp(argv[1], "run") && fgets(line, sizeof(line), stdin)) {
		if (*line == 'T') {
			now = strtod(line + 1, NULL);
			alert_series_begin(series, now);
		} else if (*line == 'S') {
			see(line);
		} else {
			evaluate(now);
		}
	}
	alert_incidents_done(&set);
	alert_series_free(series);
	alert_rules_done(&rules);
	return 0;
}
