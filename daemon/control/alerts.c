// SPDX-License-Identifier: GPL-2.0-or-later
/* Between the daemon's values, the rules (alert/rules.h), the incidents and the queue. */
#include "daemon/control/alerts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/alert/incidents.h"
#include "daemon/alert/message.h"
#include "daemon/alert/series.h"
#include "daemon/control/parts.h"
#include "daemon/core/clock.h"
#include "daemon/core/log.h"

#define SAVED_MAX (4u << 20) /* bytes of RUN/alerts.json; more is not read */

struct alerts {
	struct daemon *d;
	struct alert_rules rules;
	struct alert_series *series;
	struct alert_incidents set;
	struct alert_queue *queue;
	char host[64];
	double now;
	int64_t wall;
	struct alert_true *is; /* of the round */
	unsigned int n;
	bool good;            /* the round was evaluated */
	struct told *telling; /* the message that is being put together */
	json_t *message;
	unsigned int rule;
	bool saving, save_again, save_failed, stopped;
	char problem[ALERT_ANSWER_MAX + 200];
};

/* A message that is on its way, and whom it tells of. */
struct told {
	enum alert_event event;
	unsigned int ways; /* that have it */
	bool arrived;
	/* of a test */
	alerts_tested_fn done;
	void *arg;
	json_t *results;
	/* of others */
	unsigned int n;
	uint32_t id[ALERT_INCIDENTS_MAX];
};

/* --- what a restart must know ------------------------------------------------------------------------------------- */

struct save {
	struct alerts *alerts;
	char path[300];
	char *text;
};

static int save_work(void *arg)
{
	struct save *s = arg;
	char part[310];
	FILE *to;
	int r = 0;

	snprintf(part, sizeof(part), "%s.new", s->path);
	to = fopen(part, "we");
	if (!to)
		return -errno;
	if (fputs(s->text, to) < 0)
		r = -EIO;
	if (fclose(to))
		r = -errno;
	if (!r && rename(part, s->path))
		r = -errno;
	return r;
}

static void save(struct alerts *a);

static void save_done(void *arg, int result)
{
	struct save *s = arg;
	struct alerts *a = s->alerts;

	a->saving = false;
	if (result && result != -ECANCELED && !a->save_failed)
		log_warning("%s cannot be written: %s; after a restart alerts may be told again", s->path,
			    strerror(-result));
	a->save_failed = result;
	free(s->text);
	free(s);
	if (a->save_again && !a->stopped)
		save(a);
}

static void save(struct alerts *a)
{
	struct save *s;
	json_t *o;

	a->save_again = a->saving;
	if (a->saving || a->stopped)
		return;
	s = calloc(1, sizeof(*s));
	if (!s)
		return;
	s->alerts = a;
	snprintf(s->path, sizeof(s->path), "%s/alerts.json", a->d->config->run_path);
	o = json_pack("{s:i, s:o}", "version", 1, "incidents", alert_incidents_save(&a->set));
	s->text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;
	json_decref(o);
	a->saving = s->text && !loop_work(a->d->loop, save_work, save_done, s);
	if (!a->saving) {
		free(s->text);
		free(s);
	}
}

static void load(struct alerts *a)
{
	char path[300];
	json_t *o = NULL;
	FILE *from;

	snprintf(path, sizeof(path), "%s/alerts.json", a->d->config->run_path);
	from = fopen(path, "re");
	if (!from)
		return;
	if (!fseek(from, 0, SEEK_END) && ftell(from) <= (long)SAVED_MAX && !fseek(from, 0, SEEK_SET))
		o = json_loadf(from, 0, NULL);
	fclose(from);
	if (!o)
		log_warning("%s cannot be read: what is told of the troubles there are is told again", path);
	alert_incidents_load(&a->set, json_object_get(o, "incidents"), (double)loop_now(a->d->loop) / 1e9);
	json_decref(o);
}

/* --- a round ------------------------------------------------------------------------------------------------------ */

void alerts_begin(struct alerts *a)
{
	static const struct alert_label job = {"job", "bootwell"};

	if (!a)
		return;
	a->now = (double)loop_now(a->d->loop) / 1e9;
	a->wall = clock_realtime_s();
	a->good = false;
	a->n = 0;
	alert_series_begin(a->series, a->now);
	alert_series_see(a->series, "up", &job, 1, 1); /* Prometheus makes it; who evaluates this is up */
}

void alerts_see(void *arg, const char *name, const char *suffix, const struct metrics_label *label, unsigned int labels,
		const char *value)
{
	struct alerts *a = arg;
	struct alert_label copy[ALERT_LABELS];

	if (!a || *suffix || labels > ALERT_LABELS)
		return;
	for (unsigned int i = 0; i < labels; i++)
		copy[i] = (struct alert_label){label[i].name, label[i].value};
	alert_series_see(a->series, name, copy, labels, strtod(value, NULL));
}

static void take(struct alerts *a, unsigned int rule, const struct alert_value *v)
{
	const struct alert_rule *r = &a->rules.rule[rule];
	struct alert_true *is = &a->is[a->n];
	size_t n = 0;

	if (a->n == ALERT_INCIDENTS_MAX)
		return;
	a->n++;
	is->rule = rule;
	is->value = v->value;
	is->key[0] = '\0';
	for (unsigned int i = 0; i < v->labels && n < sizeof(is->key); i++)
		n += (size_t)snprintf(is->key + n, sizeof(is->key) - n, "%s%s=\"%s\"", n ? "," : "", v->label[i].name,
				      v->label[i].value);
	alert_fill(is->summary, sizeof(is->summary), r->summary, v->label, v->labels, v->value, a->host);
	alert_fill(is->description, sizeof(is->description), r->description, v->label, v->labels, v->value, a->host);
}

void alerts_evaluate(struct alerts *a)
{
	struct alert_vector v;

	for (unsigned int i = 0; a && i < a->rules.n; i++) {
		if (alert_expr_eval(a->rules.rule[i].expr, a->series, (double)a->wall, &v))
			return;
		for (size_t k = 0; k < v.n; k++)
			take(a, i, &v.value[k]);
		alert_vector_done(&v);
	}
	if (a)
		a->good = true;
}

/* --- telling ------------------------------------------------------------------------------------------------------ */

/* The message that was being put together goes to all ways. */
static void flush(struct alerts *a)
{
	struct told *t = a->telling;
	json_t *message = a->message;

	a->telling = NULL;
	a->message = NULL;
	if (!t)
		return;
	for (unsigned int way = 0; way < ALERT_WAYS; way++)
		if (alert_way_is_on(a->d->config, way) && !alert_queue_put(a->queue, way, message, false, t))
			t->ways++;
	json_decref(message);
	if (t->ways)
		return;
	for (unsigned int i = 0; i < t->n; i++)
		alert_incidents_told(&a->set, t->id[i], t->event);
	free(t);
}

static void tell(void *arg, enum alert_event event, struct alert_incident *incident)
{
	const struct alert_sender_name who = {((struct alerts *)arg)->d->config->server_name,
					      ((struct alerts *)arg)->host};
	struct alerts *a = arg;

	if (a->telling && (a->rule != incident->rule || a->telling->event != event))
		flush(a);
	if (!a->telling) {
		a->message = alert_message_new(&who, event, &a->rules.rule[incident->rule], a->wall);
		a->telling = a->message ? calloc(1, sizeof(*a->telling)) : NULL;
		if (!a->telling) {
			json_decref(a->message);
			a->message = NULL;
			incident->telling = incident->telling_end = false; /* the next round tries again */
			return;
		}
		a->telling->event = event;
		a->rule = incident->rule;
	}
	log_notice("alert %s %s: %s", alert_event_name(event), a->rules.rule[incident->rule].name, incident->summary);
	alert_message_add(a->message, incident);
	a->telling->id[a->telling->n++] = incident->id;
}

static bool has_way(const struct alerts *a)
{
	bool has = false;

	for (unsigned int way = 0; way < ALERT_WAYS; way++)
		has |= alert_way_is_on(a->d->config, way);
	return has;
}

void alerts_tell(struct alerts *a)
{
	struct alert_policy policy;

	if (!a || !a->good || a->stopped)
		return;
	policy = (struct alert_policy){.level = has_way(a) ? (enum alert_level)a->d->config->alert.level
							   : ALERT_CRITICAL + 1,
				       .repeat = a->d->config->alert.repeat,
				       .end_after = a->d->config->alert.end_after};
	if (alert_incidents_round(&a->set, a->is, a->n, a->now, a->wall, &policy, tell, a))
		save(a);
	flush(a);
}

/* --- how it went -------------------------------------------------------------------------------------------------- */

static void test_sent(struct told *t, enum alert_way way, bool ok, const char *answer)
{
	json_array_append_new(t->results,
			      json_pack("{s:s, s:b, s:s}", "way", alert_way_name(way), "ok", ok, "answer", answer));
	if (--t->ways)
		return;
	t->done(t->arg, t->results);
	free(t);
}

/* Told is who was told by one way, and who cannot be told by any. */
static void on_sent(void *arg, void *token, enum alert_way way, bool ok, const char *answer)
{
	struct alerts *a = arg;
	struct told *t = token;
	bool changed = false;

	if (t->event == ALERT_TEST) {
		test_sent(t, way, ok, answer);
		return;
	}
	if (!ok)
		log_warning("an alert by %s did not arrive and is given up: %s", alert_way_name(way), answer);
	t->ways--;
	if (!t->arrived && (ok || !t->ways))
		for (unsigned int i = 0; i < t->n; i++)
			changed |= alert_incidents_told(&a->set, t->id[i], t->event);
	t->arrived |= ok;
	if (!t->ways)
		free(t);
	if (changed)
		save(a);
}

int alerts_test(struct alerts *a, alerts_tested_fn done, void *arg)
{
	const struct alert_sender_name who = {a->d->config->server_name, a->host};
	json_t *message;
	struct told *t;

	if (!has_way(a))
		return -ENOENT;
	t = calloc(1, sizeof(*t));
	message = alert_message_new(&who, ALERT_TEST, NULL, clock_realtime_s());
	if (t && message) {
		*t = (struct told){.event = ALERT_TEST, .done = done, .arg = arg, .results = json_array()};
		for (unsigned int way = 0; way < ALERT_WAYS; way++)
			if (alert_way_is_on(a->d->config, way) && !alert_queue_put(a->queue, way, message, true, t))
				t->ways++;
	}
	json_decref(message);
	if (t && t->ways)
		return 0;
	if (t)
		json_decref(t->results);
	free(t);
	return -ENOMEM;
}

/* --- looking ------------------------------------------------------------------------------------------------------ */

json_t *alerts_json(const struct alerts *a)
{
	json_t *list = json_array();

	for (unsigned int i = 0; a && i < a->set.n; i++) {
		const struct alert_incident *one = &a->set.incident[i];
		const struct alert_rule *rule = &a->rules.rule[one->rule];

		if (one->on && !one->ended)
			json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:f, s:I, s:b, s:b}", "alert",
							      rule->name, "level", alert_level_name(rule->level),
							      "labels", one->key, "summary", one->summary,
							      "description", one->description, "value", one->value,
							      "since", (json_int_t)one->since, "told", one->told,
							      "away", one->gone > 0));
	}
	return list;
}

const char *alerts_problem(struct alerts *a, unsigned int n)
{
	struct alert_way_stats s;

	for (unsigned int way = 0; a && way < ALERT_WAYS; way++) {
		alert_queue_stats(a->queue, way, &s);
		if (!s.failing || !alert_way_is_on(a->d->config, way) || n--)
			continue;
		snprintf(a->problem, sizeof(a->problem),
			 "alerts by %s do not arrive: %s; %u wait to be tried again; \"bootwell alert test\" tries now",
			 alert_way_name(way), s.answer, s.waiting);
		return a->problem;
	}
	return NULL;
}

void alerts_metrics(const struct alerts *a, struct metrics_text *m)
{
	struct alert_way_stats s[ALERT_WAYS] = {0};

	for (unsigned int way = 0; a && way < ALERT_WAYS; way++)
		alert_queue_stats(a->queue, way, &s[way]);
	metrics_family(m, "bootwell_alert_messages_total", "counter", "Alerts that arrived, or were given up.");
	for (unsigned int way = 0; way < ALERT_WAYS; way++) {
		metrics_count(m, s[way].sent, "way", alert_way_name(way), "outcome", "sent", NULL);
		metrics_count(m, s[way].lost, "way", alert_way_name(way), "outcome", "lost", NULL);
	}
	metrics_family(m, "bootwell_alert_waiting", "gauge", "Alerts that wait to be sent.");
	for (unsigned int way = 0; way < ALERT_WAYS; way++)
		metrics_count(m, s[way].waiting, "way", alert_way_name(way), NULL);
	metrics_family(m, "bootwell_alert_failing", "gauge", "1 while the last try to send an alert failed.");
	for (unsigned int way = 0; way < ALERT_WAYS; way++)
		metrics_count(m, a && s[way].failing && alert_way_is_on(a->d->config, way), "way", alert_way_name(way),
			      NULL);
}

/* --- start and end ------------------------------------------------------------------------------------------------ */

static int open_rules(struct alerts *a)
{
	struct sentence error = {""};
	int r = alert_rules_own(&a->rules, &error);

	if (r)
		log_error("no alerts: %s", error.text);
	if (!r)
		r = alert_series_new(&a->series);
	for (unsigned int i = 0; !r && i < a->rules.n; i++)
		r = alert_expr_want(a->rules.rule[i].expr, a->series);
	return r ? r : alert_incidents_init(&a->set, &a->rules);
}

int alerts_new(struct alerts **ret, struct daemon *d, int fd)
{
	struct alerts *a = calloc(1, sizeof(*a));
	int r = a ? 0 : -ENOMEM;

	if (!r) {
		a->d = d;
		if (gethostname(a->host, sizeof(a->host) - 1) || !a->host[0])
			snprintf(a->host, sizeof(a->host), "%s", d->config->server_name);
		a->is = calloc(ALERT_INCIDENTS_MAX, sizeof(*a->is));
		r = a->is ? open_rules(a) : -ENOMEM;
	}
	if (!r)
		r = alert_queue_new(&a->queue, d->loop, fd, &d->config, on_sent, a);
	if (r) {
		if (fd >= 0)
			close(fd);
		alerts_free(a);
		return r;
	}
	load(a);
	*ret = a;
	return 0;
}

void alerts_stop(struct alerts *a)
{
	if (!a)
		return;
	a->stopped = true;
	alert_queue_free(a->queue);
	a->queue = NULL;
}

void alerts_free(struct alerts *a)
{
	if (!a)
		return;
	alert_queue_free(a->queue);
	alert_incidents_done(&a->set);
	alert_series_free(a->series);
	alert_rules_done(&a->rules);
	free(a->is);
	free(a);
}
