// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A hash table of series, and a list of them for each metric that somebody asks for. A series that is not seen any more
 * is kept for as long as its past is asked for, so that a value that is missing once does not begin anew.
 */
#include "daemon/alert/series.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS    4096
#define STEP_FIRST 1.0   /* s between points */
#define KEEP_FOR   600.0 /* s, at least */

struct want {
	struct want *next;
	struct alert_selector selector;
};

struct metric {
	struct metric *next;
	char name[ALERT_NAME_MAX];
	double window; /* the longest that is asked for, s */
	struct want *want;
	struct alert_one *first;
};

struct alert_series {
	struct metric *metric;
	struct alert_one *bucket[BUCKETS];
	size_t count;
	uint64_t round;
	double now;
};

static struct metric *find_metric(const struct alert_series *s, const char *name)
{
	struct metric *m = s->metric;

	while (m && strcmp(m->name, name) != 0)
		m = m->next;
	return m;
}

int alert_series_new(struct alert_series **ret)
{
	*ret = calloc(1, sizeof(**ret));
	return *ret ? 0 : -ENOMEM;
}

static void free_one(struct alert_one *one)
{
	free(one->point);
	free(one);
}

static void free_metric(struct metric *m)
{
	while (m->want) {
		struct want *next = m->want->next;

		free(m->want);
		m->want = next;
	}
	while (m->first) {
		struct alert_one *next = m->first->next_of_metric;

		free_one(m->first);
		m->first = next;
	}
	free(m);
}

void alert_series_free(struct alert_series *s)
{
	while (s && s->metric) {
		struct metric *next = s->metric->next;

		free_metric(s->metric);
		s->metric = next;
	}
	free(s);
}

int alert_series_want(struct alert_series *s, const struct alert_selector *selector, double window)
{
	struct metric *m = find_metric(s, selector->name);
	struct want *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	if (!m) {
		m = calloc(1, sizeof(*m));
		if (!m) {
			free(w);
			return -ENOMEM;
		}
		snprintf(m->name, sizeof(m->name), "%s", selector->name);
		m->next = s->metric;
		s->metric = m;
	}
	w->selector = *selector;
	w->next = m->want;
	m->want = w;
	if (window > m->window)
		m->window = window;
	return 0;
}

/* --- values pass by ----------------------------------------------------------------------------------------------- */

static const char *value_of(const struct alert_label *label, unsigned int labels, const char *name)
{
	for (unsigned int i = 0; i < labels; i++)
		if (!strcmp(label[i].name, name))
			return label[i].value;
	return "";
}

static bool selects(const struct alert_selector *s, const struct alert_label *label, unsigned int labels)
{
	for (unsigned int i = 0; i < s->matchers; i++)
		if (strcmp(value_of(label, labels, s->matcher[i].name), s->matcher[i].value) != 0)
			return false;
	return true;
}

static bool wanted(const struct metric *m, const struct alert_label *label, unsigned int labels)
{
	for (const struct want *w = m->want; w; w = w->next)
		if (selects(&w->selector, label, labels))
			return true;
	return false;
}

static uint32_t mix(uint32_t hash, const char *text)
{
	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 16777619u;
	return (hash ^ 0xff) * 16777619u;
}

static uint32_t hash_of(const char *name, const struct alert_label *label, unsigned int labels)
{
	uint32_t hash = mix(2166136261u, name);

	for (unsigned int i = 0; i < labels; i++)
		hash = mix(mix(hash, label[i].name), label[i].value);
	return hash;
}

static bool same(const struct alert_one *one, const struct alert_label *label, unsigned int labels)
{
	if (one->labels != labels)
		return false;
	for (unsigned int i = 0; i < labels; i++)
		if (strcmp(one->label[i].name, label[i].name) != 0 || strcmp(one->label[i].value, label[i].value) != 0)
			return false;
	return true;
}

static const char *copy_text(char **at, const char *text)
{
	size_t n = strlen(text) + 1;
	char *copy = memcpy(*at, text, n);

	*at += n;
	return copy;
}

static struct alert_one *add(struct alert_series *s, struct metric *m, const struct alert_label *label,
			     unsigned int labels, uint32_t hash)
{
	struct alert_one *one;
	size_t room = 0;
	char *at;

	for (unsigned int i = 0; i < labels; i++)
		room += strlen(label[i].name) + strlen(label[i].value) + 2;
	one = s->count < ALERT_SERIES_MAX ? calloc(1, sizeof(*one) + room) : NULL;
	if (!one)
		return NULL;
	if (m->window > 0)
		one->point = calloc(ALERT_POINTS, sizeof(*one->point));
	if (m->window > 0 && !one->point) {
		free(one);
		return NULL;
	}
	at = one->text;
	for (unsigned int i = 0; i < labels; i++) {
		one->label[i].name = copy_text(&at, label[i].name);
		one->label[i].value = copy_text(&at, label[i].value);
	}
	one->labels = labels;
	one->step = STEP_FIRST;
	one->hash = hash;
	one->next_of_metric = m->first;
	m->first = one;
	one->next_in_bucket = s->bucket[hash % BUCKETS];
	s->bucket[hash % BUCKETS] = one;
	s->count++;
	return one;
}

/* Every other point goes. */
static void thin(struct alert_one *one)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < one->points; i += 2)
		one->point[n++] =
			one->point[(one->first + i) % ALERT_POINTS]; /* first is 0 until the first is dropped */
	one->points = n;
}

/*
 * The past of a series that is young is kept finely, so that a median of seven days means something after an hour; as
 * it grows the points get fewer, down to one each 1/60 of the window.
 */
static void keep_point(struct alert_one *one, double window, double now, double value)
{
	const struct alert_point *last = &one->point[(one->first + one->points - 1) % ALERT_POINTS];

	if (one->points && now - last->when < one->step)
		return;
	if (one->points == ALERT_POINTS && one->step < window / 60) {
		thin(one);
		one->step = 2 * one->step < window / 60 ? 2 * one->step : window / 60;
	} else if (one->points == ALERT_POINTS) {
		one->first = (one->first + 1) % ALERT_POINTS;
		one->points--;
	}
	one->point[(one->first + one->points++) % ALERT_POINTS] = (struct alert_point){now, value};
}

void alert_series_see(struct alert_series *s, const char *name, const struct alert_label *label, unsigned int labels,
		      double value)
{
	struct metric *m = find_metric(s, name);
	struct alert_one *one;
	uint32_t hash;

	if (!m || labels > ALERT_LABELS || !wanted(m, label, labels))
		return;
	hash = hash_of(name, label, labels);
	one = s->bucket[hash % BUCKETS];
	while (one && (one->hash != hash || !same(one, label, labels)))
		one = one->next_in_bucket;
	if (!one)
		one = add(s, m, label, labels, hash);
	if (!one)
		return;
	one->value = value;
	one->round = s->round;
	one->seen = s->now;
	if (one->point)
		keep_point(one, m->window, s->now, value);
}

static void unlink_bucket(struct alert_series *s, struct alert_one *one)
{
	struct alert_one **at = &s->bucket[one->hash % BUCKETS];

	while (*at != one)
		at = &(*at)->next_in_bucket;
	*at = one->next_in_bucket;
}

static void forget_old(struct alert_series *s, struct metric *m)
{
	double keep = m->window > KEEP_FOR ? m->window : KEEP_FOR;
	struct alert_one **at = &m->first;

	while (*at) {
		struct alert_one *one = *at;

		if (s->now - one->seen <= keep) {
			at = &one->next_of_metric;
			continue;
		}
		*at = one->next_of_metric;
		unlink_bucket(s, one);
		free_one(one);
		s->count--;
	}
}

void alert_series_begin(struct alert_series *s, double now)
{
	s->now = now;
	s->round++;
	for (struct metric *m = s->metric; m; m = m->next)
		forget_old(s, m);
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

const struct alert_one *alert_series_next(const struct alert_series *s, const struct alert_selector *selector,
					  const struct alert_one *before)
{
	const struct metric *m = before ? NULL : find_metric(s, selector->name);
	const struct alert_one *one = before ? before->next_of_metric : m ? m->first : NULL;

	while (one && (one->round != s->round || !selects(selector, one->label, one->labels)))
		one = one->next_of_metric;
	return one;
}

unsigned int alert_series_past(const struct alert_series *s, const struct alert_one *one, double window,
			       struct alert_point ret[ALERT_POINTS + 1])
{
	unsigned int n = 0;

	for (unsigned int i = 0; one->point && i < one->points; i++) {
		const struct alert_point *p = &one->point[(one->first + i) % ALERT_POINTS];

		if (p->when >= s->now - window && p->when < s->now)
			ret[n++] = *p;
	}
	ret[n++] = (struct alert_point){s->now, one->value};
	return n;
}

size_t alert_series_count(const struct alert_series *s)
{
	return s->count;
}
