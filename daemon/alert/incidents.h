/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From "true in this round" to "told once": an incident is a rule and the labels that it is true for. It waits for the
 * rule's `for`, is on, and is over when it has been away for a while; a return before that is the same incident, and
 * nothing is told. Knows no clock and sends nothing: who calls gives the time and gets what is to be told.
 */
#ifndef BOOTWELL_ALERT_INCIDENTS_H
#define BOOTWELL_ALERT_INCIDENTS_H

#include <jansson.h>

#include "daemon/alert/rules.h"

#define ALERT_INCIDENTS_MAX 1024 /* what comes beyond is counted */
#define ALERT_KEY_MAX       256

/* What was true in a round. */
struct alert_true {
	unsigned int rule;       /* index */
	char key[ALERT_KEY_MAX]; /* the labels: client="PC1",op="read" */
	char summary[256], description[400];
	double value;
};

enum alert_event { ALERT_BEGIN, ALERT_END, ALERT_REPEAT, ALERT_TEST };

struct alert_incident {
	uint32_t id; /* of this run */
	unsigned int rule;
	char key[ALERT_KEY_MAX];
	char summary[256], description[400];
	double value;
	double first; /* s: when it became true, by the caller's clock */
	double gone;  /* since when it is away; 0: it is not */
	double told_at;
	int64_t since, ended;                 /* the same for people, s since 1970; ended 0: it is on */
	bool on;                              /* past its `for` */
	bool told;                            /* somebody was told of its beginning */
	bool telling, telling_end, mentioned; /* this round's and the queue's */
};

struct alert_incidents {
	const struct alert_rules *rules;
	struct alert_incident *incident;
	unsigned int n;
	uint32_t last_id;
	uint64_t beyond; /* not taken, ever */
};

struct alert_policy {
	enum alert_level level; /* less is not told */
	double repeat;          /* s; 0: never again */
	double end_after;       /* s away until it is over */
};

/* 0 or -ENOMEM. `rules` stays. */
int alert_incidents_init(struct alert_incidents *set, const struct alert_rules *rules);
void alert_incidents_done(struct alert_incidents *set);

typedef void (*alert_tell_fn)(void *arg, enum alert_event event, struct alert_incident *incident);
/*
 * One round: `now` s of a clock that never goes back, `wall` s since 1970. `tell` (of one rule's one after another) for
 * each that is to be told; whether that worked comes with alert_incidents_told(). Returns whether something is to be
 * remembered (alert_incidents_save()).
 */
bool alert_incidents_round(struct alert_incidents *set, const struct alert_true *is, unsigned int n, double now,
			   int64_t wall, const struct alert_policy *policy, alert_tell_fn tell, void *arg);
/* Somebody was told, or nobody can be: it is not told again. Returns whether something is to be remembered. */
bool alert_incidents_told(struct alert_incidents *set, uint32_t id, enum alert_event event);

/*
 * What a restart must know, and back. `now` is of the same clock: it must not have begun anew. What is no incident of
 * `rules` is left out.
 */
json_t *alert_incidents_save(const struct alert_incidents *set);
void alert_incidents_load(struct alert_incidents *set, const json_t *saved, double now);

#endif
