// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The life of an incident: waiting (as long as Prometheus' "pending", and as strict: one round without it ends that),
 * on, away, over. Told of its end is only who was told of its beginning.
 */
#include "daemon/alert/incidents.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int alert_incidents_init(struct alert_incidents *set, const struct alert_rules *rules)
{
	*set = (struct alert_incidents){.rules = rules};
	set->incident = calloc(ALERT_INCIDENTS_MAX, sizeof(*set->incident));
	return set->incident ? 0 : -ENOMEM;
}

void alert_incidents_done(struct alert_incidents *set)
{
	free(set->incident);
	*set = (struct alert_incidents){0};
}

static struct alert_incident *find(struct alert_incidents *set, unsigned int rule, const char *key)
{
	for (unsigned int i = 0; i < set->n; i++)
		if (set->incident[i].rule == rule && !strcmp(set->incident[i].key, key))
			return &set->incident[i];
	return NULL;
}

static struct alert_incident *add(struct alert_incidents *set, const struct alert_true *is, double now, int64_t wall)
{
	struct alert_incident *i;

	if (set->n == ALERT_INCIDENTS_MAX) {
		set->beyond++;
		return NULL;
	}
	i = &set->incident[set->n++];
	*i = (struct alert_incident){
		.id = ++set->last_id, .rule = is->rule, .first = now, .since = wall, .mentioned = true};
	snprintf(i->key, sizeof(i->key), "%s", is->key);
	return i;
}

static void take(struct alert_incidents *set, const struct alert_true *is, double now, int64_t wall)
{
	struct alert_incident *i = find(set, is->rule, is->key);

	if (!i)
		i = add(set, is, now, wall);
	if (!i)
		return;
	i->mentioned = true;
	i->value = is->value;
	memcpy(i->summary, is->summary, sizeof(i->summary));
	memcpy(i->description, is->description, sizeof(i->description));
}

/* It is true now. */
static bool stay(struct alert_incidents *set, struct alert_incident *i, double now)
{
	const struct alert_rule *rule = &set->rules->rule[i->rule];
	bool changed = i->gone > 0 && i->on;

	i->gone = 0;
	if (i->on || now - i->first < rule->wait)
		return changed;
	i->on = true;
	return true;
}

/* It is not true now; it stays in the list until it is over. */
static bool leave(struct alert_incident *i, double now, int64_t wall, const struct alert_policy *policy)
{
	if (i->gone <= 0) {
		i->gone = now > 0 ? now : 1e-9;
		return i->on;
	}
	if (i->ended || now - i->gone < policy->end_after)
		return false;
	i->ended = wall;
	return true;
}

static void tell_of(struct alert_incidents *set, struct alert_incident *i, double now,
		    const struct alert_policy *policy, alert_tell_fn tell, void *arg)
{
	if (!i->on || set->rules->rule[i->rule].level < policy->level || i->telling)
		return;
	if (!i->told && !i->ended) {
		i->telling = true;
		i->told_at = now;
		tell(arg, ALERT_BEGIN, i);
	} else if (i->told && i->ended && !i->telling_end) {
		i->telling = i->telling_end = true;
		tell(arg, ALERT_END, i);
	} else if (i->told && !i->ended && i->gone <= 0 && policy->repeat > 0 && now - i->told_at >= policy->repeat) {
		i->telling = true;
		i->told_at = now;
		tell(arg, ALERT_REPEAT, i);
	}
}

/* Waits in vain, or is over and nobody is to be told. */
static bool is_done(const struct alert_incident *i)
{
	return (!i->on && i->gone > 0) || (i->ended && !i->telling && (!i->told || i->telling_end));
}

static void forget(struct alert_incidents *set)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < set->n; i++)
		if (!is_done(&set->incident[i]) && n++ != i)
			set->incident[n - 1] = set->incident[i];
	set->n = n;
}

bool alert_incidents_round(struct alert_incidents *set, const struct alert_true *is, unsigned int n, double now,
			   int64_t wall, const struct alert_policy *policy, alert_tell_fn tell, void *arg)
{
	bool changed = false;

	for (unsigned int i = 0; i < set->n; i++)
		set->incident[i].mentioned = false;
	for (unsigned int i = 0; i < n; i++)
		take(set, &is[i], now, wall);
	for (unsigned int i = 0; i < set->n; i++) {
		struct alert_incident *one = &set->incident[i];

		/* One that came back while its end is being told is a new one, in the round after that. */
		if (one->mentioned && !one->ended)
			changed |= stay(set, one, now);
		else if (!one->mentioned)
			changed |= leave(one, now, wall, policy);
	}
	for (unsigned int r = 0; r < set->rules->n; r++)
		for (unsigned int i = 0; i < set->n; i++)
			if (set->incident[i].rule == r)
				tell_of(set, &set->incident[i], now, policy, tell, arg);
	forget(set);
	return changed;
}

bool alert_incidents_told(struct alert_incidents *set, uint32_t id, enum alert_event event)
{
	for (unsigned int i = 0; i < set->n; i++) {
		if (set->incident[i].id != id)
			continue;
		set->incident[i].telling = false;
		if (event == ALERT_BEGIN)
			set->incident[i].told = true;
		return true;
	}
	return false;
}

/* --- over a restart ----------------------------------------------------------------------------------------------- */

json_t *alert_incidents_save(const struct alert_incidents *set)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < set->n; i++) {
		const struct alert_incident *one = &set->incident[i];

		if (one->on && (!one->telling_end || one->telling))
			json_array_append_new(list,
					      json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:f, s:I, s:b}", "alert",
							set->rules->rule[one->rule].name, "key", one->key, "summary",
							one->summary, "description", one->description, "value",
							one->value, "first", one->first, "told_at", one->told_at,
							"since", (json_int_t)one->since, "told", one->told));
	}
	return list;
}

static void copy_text(char *to, size_t size, const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	snprintf(to, size, "%s", text ? text : "");
}

void alert_incidents_load(struct alert_incidents *set, const json_t *saved, double now)
{
	const json_t *o;
	size_t i;

	json_array_foreach((json_t *)saved, i, o)
	{
		const char *name = json_string_value(json_object_get(o, "alert"));
		const struct alert_rule *rule = name ? alert_rules_find(set->rules, name) : NULL;
		struct alert_incident *one;

		if (!rule || set->n == ALERT_INCIDENTS_MAX)
			continue;
		one = &set->incident[set->n++];
		*one = (struct alert_incident){.id = ++set->last_id,
					       .rule = (unsigned int)(rule - set->rules->rule),
					       .value = json_number_value(json_object_get(o, "value")),
					       .first = json_number_value(json_object_get(o, "first")),
					       .told_at = json_number_value(json_object_get(o, "told_at")),
					       .since = json_integer_value(json_object_get(o, "since")),
					       .on = true,
					       .told = json_is_true(json_object_get(o, "told"))};
		copy_text(one->key, sizeof(one->key), o, "key");
		copy_text(one->summary, sizeof(one->summary), o, "summary");
		copy_text(one->description, sizeof(one->description), o, "description");
		if (one->first > now || one->told_at > now) /* of another boot of the machine */
			one->first = one->told_at = now;
	}
}
