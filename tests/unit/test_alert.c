// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Alerts with a clock of the test's: when an incident is told, when it is over, what a restart knows; the language of
 * the rules where the rules' own cases (test_alert_rules.sh) do not go; the mail, whatever a name holds.
 */
#include "daemon/alert/incidents.h"
#include "daemon/alert/message.h"
#include "daemon/alert/queue.h"
#include "daemon/alert/series.h"
#include "tests/unit/unit.h"

static const char yml[] = "groups:\n"
			  "  - name: test\n"
			  "    rules:\n"
			  "      - alert: Now\n"
			  "        expr: broken == 1\n"
			  "        labels: {severity: critical}\n"
			  "        annotations:\n"
			  "          summary: \"{{ $labels.client }} is broken\"\n"
			  "          description: \"Mend it.\"\n"
			  "      - alert: Later\n"
			  "        expr: >\n"
			  "          slow > 5\n"
			  "          and slow < 100\n"
			  "        for: 1m\n"
			  "        labels: {severity: warning}\n"
			  "        annotations:\n"
			  "          summary: \"slow\"\n"
			  "          description: \"Wait.\"\n";

struct rig {
	struct alert_rules rules;
	struct alert_incidents set;
	struct alert_policy policy;
	char told[400];
	bool arrives;
};

static void tell(void *arg, enum alert_event event, struct alert_incident *incident)
{
	struct rig *rig = arg;
	size_t n = strlen(rig->told);

	snprintf(rig->told + n, sizeof(rig->told) - n, "%s:%s:%s ", alert_event_name(event),
		 rig->rules.rule[incident->rule].name, incident->key);
	if (rig->arrives)
		alert_incidents_told(&rig->set, incident->id, event);
}

static void rig_init(struct rig *rig)
{
	struct sentence why = {""};

	*rig = (struct rig){.policy = {.end_after = 300}, .arrives = true};
	if (alert_rules_read(&rig->rules, yml, sizeof(yml) - 1, &why) || alert_incidents_init(&rig->set, &rig->rules)) {
		printf("# %s\n", why.text);
		exit(1);
	}
}

static void rig_done(struct rig *rig)
{
	alert_incidents_done(&rig->set);
	alert_rules_done(&rig->rules);
}

/* A round at `now` in which the rules in `is` ("0a 1b": number and key) are true; what was told. */
static const char *round_at(struct rig *rig, double now, const char *is)
{
	struct alert_true list[8] = {0};
	unsigned int n = 0;

	for (; *is; is += 2 + (is[2] == ' ')) {
		list[n].rule = (unsigned int)(*is - '0');
		snprintf(list[n++].key, sizeof(list[0].key), "%c", is[1]);
	}
	rig->told[0] = '\0';
	alert_incidents_round(&rig->set, list, n, now, 1000000 + (int64_t)now, &rig->policy, tell, rig);
	return rig->told;
}

static void test_alert_is_told_once_and_at_its_end(void)
{
	struct rig r;

	rig_init(&r);
	CU_ASSERT_STRING_EQUAL(round_at(&r, 100, "0a"), "begin:Now:a ");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 105, "0a"), "");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 90000, "0a"), "");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 90005, ""), "");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 90304, ""), "");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 90305, ""), "end:Now:a ");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 90310, ""), "");
	CU_ASSERT_EQUAL(r.set.n, 0);
	CU_ASSERT_STRING_EQUAL(round_at(&r, 90315, "0a"), "begin:Now:a ");
	rig_done(&r);
}

static void test_alert_waits_for_its_time_without_a_break(void)
{
	struct rig r;

	rig_init(&r);
	CU_ASSERT_STRING_EQUAL(round_at(&r, 0, "1a"), "");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 59, "1a"), "");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 60, ""), "");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 65, "1a"), "");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 124, "1a"), "");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 125, "1a"), "begin:Later:a ");
	rig_done(&r);
}

static void test_alert_that_flaps_is_one_incident(void)
{
	struct rig r;

	rig_init(&r);
	CU_ASSERT_STRING_EQUAL(round_at(&r, 0, "0a"), "begin:Now:a ");
	for (int i = 1; i < 200; i++)
		CU_ASSERT_STRING_EQUAL(round_at(&r, i * 299, i % 2 ? "" : "0a"), "");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 199 * 299 + 300, ""), "end:Now:a ");
	rig_done(&r);
}

static void test_alert_of_each_thing_is_its_own(void)
{
	struct rig r;

	rig_init(&r);
	CU_ASSERT_STRING_EQUAL(round_at(&r, 0, "0a 0b"), "begin:Now:a begin:Now:b ");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 5, "0a 0c"), "begin:Now:c ");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 400, "0a 0c"), "end:Now:b ");
	rig_done(&r);
}

static void test_alert_level_and_repeat(void)
{
	struct rig r;

	rig_init(&r);
	r.policy.level = ALERT_CRITICAL;
	r.policy.repeat = 3600;
	CU_ASSERT_STRING_EQUAL(round_at(&r, 0, "0a 1a"), "begin:Now:a ");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 100, "0a 1a"), "");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 3599, "0a 1a"), "");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 3600, "0a 1a"), "repeat:Now:a ");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 7300, ""), "");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 7600, ""), "end:Now:a ");
	rig_done(&r);
}

/* A message that is on its way is not sent again, and its end waits for it. */
static void test_alert_on_its_way(void)
{
	struct rig r;

	rig_init(&r);
	r.arrives = false;
	CU_ASSERT_STRING_EQUAL(round_at(&r, 0, "0a"), "begin:Now:a ");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 5, "0a"), "");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 10, ""), "");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 310, ""), "");
	alert_incidents_told(&r.set, r.set.incident[0].id, ALERT_BEGIN);
	CU_ASSERT_STRING_EQUAL(round_at(&r, 315, ""), "end:Now:a ");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 320, ""), "");
	alert_incidents_told(&r.set, r.set.incident[0].id, ALERT_END);
	CU_ASSERT_STRING_EQUAL(round_at(&r, 325, ""), "");
	CU_ASSERT_EQUAL(r.set.n, 0);
	rig_done(&r);
}

static void restart(struct rig *r, double now)
{
	json_t *saved = alert_incidents_save(&r->set);

	rig_done(r);
	rig_init(r);
	alert_incidents_load(&r->set, saved, now);
	json_decref(saved);
}

static void test_alert_over_a_restart(void)
{
	struct rig r;

	rig_init(&r);
	round_at(&r, 100, "0a 0b");
	restart(&r, 200);
	CU_ASSERT_STRING_EQUAL(round_at(&r, 200, "0a"), "");
	CU_ASSERT_EQUAL(r.set.incident[0].since, 1000100);
	CU_ASSERT_STRING_EQUAL(round_at(&r, 500, "0a"), "end:Now:b ");
	/* What nobody was told of is told. */
	r.arrives = false;
	CU_ASSERT_STRING_EQUAL(round_at(&r, 505, "0a 0c"), "begin:Now:c ");
	restart(&r, 510);
	CU_ASSERT_STRING_EQUAL(round_at(&r, 510, "0a 0c"), "begin:Now:c ");
	/* And an end that did not arrive. */
	CU_ASSERT_STRING_EQUAL(round_at(&r, 600, "0c"), "");
	r.arrives = false;
	CU_ASSERT_STRING_EQUAL(round_at(&r, 900, "0c"), "end:Now:a ");
	restart(&r, 1000);
	round_at(&r, 1000, "0c");
	CU_ASSERT_STRING_EQUAL(round_at(&r, 1300, "0c"), "end:Now:a ");
	rig_done(&r);
}

static void test_alert_saved_nonsense_is_left_out(void)
{
	struct rig r;
	json_t *o = json_loads("[1, {}, {\"alert\": \"No\"}, {\"alert\": 7}, {\"alert\": \"Now\", \"first\": 1e30}]", 0,
			       NULL);

	rig_init(&r);
	alert_incidents_load(&r.set, o, 50);
	CU_ASSERT_EQUAL(r.set.n, 1);
	CU_ASSERT(r.set.incident[0].first <= 50);
	alert_incidents_load(&r.set, NULL, 50);
	json_decref(o);
	rig_done(&r);
}

static void test_alert_incidents_are_limited(void)
{
	struct alert_true *many = calloc(2000, sizeof(*many));
	struct rig r;

	rig_init(&r);
	for (unsigned int i = 0; i < 2000; i++)
		snprintf(many[i].key, sizeof(many[i].key), "%u", i);
	alert_incidents_round(&r.set, many, 2000, 0, 0, &r.policy, tell, &r);
	CU_ASSERT_EQUAL(r.set.n, ALERT_INCIDENTS_MAX);
	CU_ASSERT_EQUAL(r.set.beyond, 2000 - ALERT_INCIDENTS_MAX);
	free(many);
	rig_done(&r);
}

/* --- the language ------------------------------------------------------------------------------------------------- */

/* The values of an expression, "1 2 ", over a{x="1"}=1 a{x="2"}=2 b{x="1"}=10 b{x="3"}=30 c=5; NULL: it is refused. */
static const char *value_of(const char *text)
{
	static char out[200];
	static const struct alert_label one = {"x", "1"}, two = {"x", "2"}, three = {"x", "3"};
	struct alert_series *s;
	struct alert_expr *e;
	struct alert_vector v;
	struct sentence why = {""};

	if (alert_expr_parse(&e, text, &why)) {
		CU_ASSERT(why.text[0] != '\0');
		return NULL;
	}
	CU_ASSERT_FATAL(!alert_series_new(&s) && !alert_expr_want(e, s));
	for (int i = 0; i < 2; i++) {
		alert_series_begin(s, 100 + 60 * i);
		alert_series_see(s, "a", &one, 1, 1);
		alert_series_see(s, "a", &two, 1, 2 + i * 4);
		alert_series_see(s, "b", &one, 1, 10);
		alert_series_see(s, "b", &three, 1, 30);
		alert_series_see(s, "c", NULL, 0, 5 - 3 * i);
	}
	CU_ASSERT_FATAL(!alert_expr_eval(e, s, 1000, &v));
	out[0] = '\0';
	for (size_t i = 0; i < v.n; i++)
		snprintf(out + strlen(out), sizeof(out) - strlen(out), "%g ", v.value[i].value);
	alert_vector_done(&v);
	alert_expr_free(e);
	alert_series_free(s);
	return out;
}

static void test_alert_expressions(void)
{
	CU_ASSERT_STRING_EQUAL(value_of("1 + 2 * 3"), "7 ");
	CU_ASSERT_STRING_EQUAL(value_of("(1 + 2) * 3 - 4 / 2"), "7 ");
	CU_ASSERT_STRING_EQUAL(value_of("time() - 900"), "100 ");
	CU_ASSERT_STRING_EQUAL(value_of("a{x=\"1\"}"), "1 ");
	CU_ASSERT_STRING_EQUAL(value_of("a > 3"), "6 ");
	CU_ASSERT_STRING_EQUAL(value_of("7 > a{x=\"2\"}"), "6 ");
	CU_ASSERT_STRING_EQUAL(value_of("a + b"), "11 ");
	CU_ASSERT_STRING_EQUAL(value_of("b > a"), "10 ");
	CU_ASSERT_STRING_EQUAL(value_of("a and b"), "1 ");
	CU_ASSERT_STRING_EQUAL(value_of("a and c"), "");
	CU_ASSERT_STRING_EQUAL(value_of("sum by (y) (b)"), "40 ");
	CU_ASSERT_STRING_EQUAL(value_of("increase(a[5m]) > 0"), "4 ");
	CU_ASSERT_STRING_EQUAL(value_of("increase(c[5m])"), "2 "); /* it began anew at 2 */
	CU_ASSERT_STRING_EQUAL(value_of("changes(a{x=\"2\"}[5m])"), "1 ");
	CU_ASSERT_STRING_EQUAL(value_of("increase(a{x=\"2\"}[30s])"), "0 ");
	CU_ASSERT_STRING_EQUAL(value_of("quantile_over_time(0.5, a{x=\"2\"}[5m])"), "4 ");
	CU_ASSERT_STRING_EQUAL(value_of("predict_linear(a{x=\"2\"}[5m], 60)"), "10 ");
	CU_ASSERT_STRING_EQUAL(value_of("nothing"), "");
	CU_ASSERT_STRING_EQUAL(value_of("c == 2"), "2 ");
}

static void test_alert_expressions_that_are_none(void)
{
	static const char *const wrong[] = {"",
					    "1 +",
					    "(1",
					    "a{x=1}",
					    "a{x=\"1}",
					    "a[5m]",
					    "a b",
					    "increase(a)",
					    "sum(a)",
					    "increase(a[5x])",
					    "a > on b",
					    "or",
					    "a{x=\"1\" y}",
					    "predict_linear(a[5m])"};
	char deep[400];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (strcmp(wrong[i], "or") != 0)
			CU_ASSERT_PTR_NULL(value_of(wrong[i]));
	memset(deep, '(', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	CU_ASSERT_PTR_NULL(value_of(deep));
}

static void test_alert_series_are_limited(void)
{
	const struct alert_selector a = {.name = "a"};
	struct alert_series *s;
	char name[16];

	CU_ASSERT_FATAL(!alert_series_new(&s) && !alert_series_want(s, &a, 0));
	alert_series_begin(s, 0);
	for (unsigned int i = 0; i < ALERT_SERIES_MAX + 10; i++) {
		const struct alert_label label = {"x", name};

		snprintf(name, sizeof(name), "%u", i);
		alert_series_see(s, "a", &label, 1, 1);
	}
	CU_ASSERT_EQUAL(alert_series_count(s), ALERT_SERIES_MAX);
	alert_series_begin(s, 10000); /* nobody has seen them for long */
	CU_ASSERT_EQUAL(alert_series_count(s), 0);
	alert_series_free(s);
}

/* Few points are kept, of a young series finely, of an old one over the whole window. */
static void test_alert_past_is_thinned(void)
{
	const struct alert_selector a = {.name = "a"};
	const double week = 7 * 86400;
	struct alert_point past[ALERT_POINTS + 1];
	struct alert_series *s;
	unsigned int n;

	CU_ASSERT_FATAL(!alert_series_new(&s) && !alert_series_want(s, &a, week));
	for (double t = 0; t < 2 * week; t += 100) {
		alert_series_begin(s, t);
		alert_series_see(s, "a", NULL, 0, t);
		n = alert_series_past(s, alert_series_next(s, &a, NULL), week, past);
		CU_ASSERT(n <= ALERT_POINTS + 1 && n >= (t < 3000 ? t / 100 : 30));
		for (unsigned int i = 1; i < n; i++)
			CU_ASSERT(past[i].when > past[i - 1].when);
		CU_ASSERT(past[0].when <= (t < week ? 0 : t - week * 0.9));
	}
	alert_series_free(s);
}

static void test_alert_words(void)
{
	static const struct alert_label label = {"client", "PC{{1"};
	char text[100];

	alert_fill(text, sizeof(text), "{{ $labels.client }} of {{$labels.instance}} {{ $labels.no }}!", &label, 1, 0,
		   "srv");
	CU_ASSERT_STRING_EQUAL(text, "PC{{1 of srv !");
	alert_fill(text, sizeof(text), "{{ $value | humanizePercentage }} {{ $value | humanize }} {{", &label, 1, 0.5,
		   "srv");
	CU_ASSERT_STRING_EQUAL(text, "50% 0.5 {{");
	alert_fill(text, 8, "0123456789", NULL, 0, 0, "");
	CU_ASSERT_STRING_EQUAL(text, "0123456");
	alert_fill(text, 4, "{{ $labels.client }}", &label, 1, 0, "");
	CU_ASSERT_STRING_EQUAL(text, "PC{");
}

/* --- the mail ----------------------------------------------------------------------------------------------------- */

/* Longer than a line may be, too. */
static char server[2000] = "room\r\nX-Evil: 1";
static const struct alert_sender_name who = {server, "srv"};

static void test_alert_mail_has_the_headers_of_a_mail(void)
{
	json_t *m = alert_message_new(&who, ALERT_TEST, NULL, 0);
	char *text = alert_mail_text(m, "bootwell@room.example", "a@b.c, d@e.f", 0xabc, 1783771200);

	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "Date: Sat, 11 Jul 2026 12:00:00 +0000\r\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\r\nFrom: bootwell@room.example\r\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\r\nTo: a@b.c, d@e.f\r\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\r\nMessage-ID: <1783771200.0000000000000abc@room.example>\r\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\r\nSubject: srv: a test of bootwell's alerts\r\n"));
	free(text);
	json_decref(m);
}

/* Whatever a name holds: no header more, no line too long, no bare CR or LF. */
static void test_alert_mail_takes_no_header_from_a_name(void)
{
	struct rig r;
	struct alert_incident i = {0};
	char *text, *body, *at;
	json_t *m;

	rig_init(&r);
	memset(server + strlen(server), 'x', sizeof(server) - 1 - strlen(server));
	m = alert_message_new(&who, ALERT_BEGIN, &r.rules.rule[0], 0);
	snprintf(i.summary, sizeof(i.summary), "PC1\r\nBcc: evil@evil\r\n\r\nhello\x01\xc3\xa9");
	memset(i.description, 'x', sizeof(i.description) - 1);
	for (int n = 0; n < 60; n++)
		alert_message_add(m, &i);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(m, "more")), 60 - ALERT_SUBJECTS_MAX);
	text = alert_mail_text(m, "x@y\nBcc: evil@evil", "a@b", 1, 0);
	/* Not UTF-8 or not: a message that cannot be packed would be no message. */
	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	body = strstr(text, "\r\n\r\n");
	CU_ASSERT_PTR_NOT_NULL_FATAL(body);
	for (at = text; at < body; at++)
		CU_ASSERT(strncmp(at, "\nBcc", 4) != 0 && strncmp(at, "\nX-Evil", 7) != 0);
	CU_ASSERT(!strstr(body, "\nBcc"));
	for (at = text; *at; at += strcspn(at, "\r\n") + 2) {
		CU_ASSERT(strcspn(at, "\r\n") < 998);
		CU_ASSERT_FATAL(!strncmp(at + strcspn(at, "\r\n"), "\r\n", 2));
	}
	free(text);
	json_decref(m);
	rig_done(&r);
}

static void test_alert_pauses_grow(void)
{
	uint64_t sum = 0;

	CU_ASSERT_EQUAL(alert_queue_pause(1), ALERT_FIRST_RETRY);
	CU_ASSERT_EQUAL(alert_queue_pause(2), 2 * ALERT_FIRST_RETRY);
	CU_ASSERT_EQUAL(alert_queue_pause(1000), ALERT_LAST_RETRY);
	for (unsigned int i = 1; i < ALERT_TRIES; i++)
		sum += alert_queue_pause(i);
	CU_ASSERT(sum > 1800 * 1000000000ull && sum < 3600 * 1000000000ull);
}

UNIT_MAIN(UNIT(test_alert_is_told_once_and_at_its_end), UNIT(test_alert_waits_for_its_time_without_a_break),
	  UNIT(test_alert_that_flaps_is_one_incident), UNIT(test_alert_of_each_thing_is_its_own),
	  UNIT(test_alert_level_and_repeat), UNIT(test_alert_on_its_way), UNIT(test_alert_over_a_restart),
	  UNIT(test_alert_saved_nonsense_is_left_out), UNIT(test_alert_incidents_are_limited),
	  UNIT(test_alert_expressions), UNIT(test_alert_expressions_that_are_none), UNIT(test_alert_series_are_limited),
	  UNIT(test_alert_words), UNIT(test_alert_past_is_thinned), UNIT(test_alert_mail_has_the_headers_of_a_mail),
	  UNIT(test_alert_mail_takes_no_header_from_a_name), UNIT(test_alert_pauses_grow))
