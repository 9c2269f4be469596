/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Trouble finds the person: every few seconds the rules that Prometheus has are held against the values that it would
 * scrape, and what is told of it goes to [alert]. What is on is kept in RUN/alerts.json, so that a restart of bootwelld
 * tells nothing twice: in the run folder, because its clock is that of this boot of the machine, it can be written when
 * the state's disk is full, which is one of the troubles, and what is still there after the machine was restarted is
 * worth another message. Nothing of the sending is done here (alert/sender.h).
 *
 *	alerts_begin(); alerts_see() for each value; alerts_evaluate(); alerts_tell()
 */
#ifndef BOOTWELL_ALERTS_H
#define BOOTWELL_ALERTS_H

#include <jansson.h>

#include "daemon/alert/queue.h"
#include "daemon/control/metrics_text.h"

struct alerts;
struct daemon;

/* `fd`: of alert_sender_start(), taken whatever comes. 0 or -errno. */
int alerts_new(struct alerts **ret, struct daemon *d, int fd);
/* Before the HTTP servers go: nothing is told any more. NULL is fine, for all that follow too. */
void alerts_stop(struct alerts *alerts);
/* After loop_free(). */
void alerts_free(struct alerts *alerts);

/* A round: loop's thread. */
void alerts_begin(struct alerts *alerts);
/* A metrics_see_fn; one thread at a time. */
void alerts_see(void *alerts, const char *name, const char *suffix, const struct metrics_label *label,
		unsigned int labels, const char *value);
/* Any thread, after all values. */
void alerts_evaluate(struct alerts *alerts);
/* Loop's thread: the round's end. */
void alerts_tell(struct alerts *alerts);

/* What is on, as JSON: alert, level, labels, summary, description, value, since, told, away. */
json_t *alerts_json(const struct alerts *alerts);
/* A message by each way; `done` gets an array of way, ok, answer, which is its own. -ENOENT: there is no way. */
typedef void (*alerts_tested_fn)(void *arg, json_t *results);
int alerts_test(struct alerts *alerts, alerts_tested_fn done, void *arg);
/* Ways that fail; good until the next call. */
const char *alerts_problem(struct alerts *alerts, unsigned int n);
void alerts_metrics(const struct alerts *alerts, struct metrics_text *m);

#endif
