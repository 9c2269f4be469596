/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rules: conf/bootwell.rules.yml, the file that is installed for Prometheus, is also built into the program. There
 * is no second copy of a rule, its level, its time or its words.
 */
#ifndef BOOTWELL_ALERT_RULES_H
#define BOOTWELL_ALERT_RULES_H

#include "daemon/alert/expr.h"

#define ALERT_RULES_MAX 64

enum alert_level { ALERT_WARNING, ALERT_CRITICAL };

struct alert_rule {
	char name[ALERT_NAME_MAX]; /* the alert's in Prometheus */
	enum alert_level level;
	double wait; /* s that it must have been true, `for` */
	char summary[256], description[400];
	struct alert_expr *expr;
};

struct alert_rules {
	struct alert_rule *rule;
	unsigned int n;
};

/* `text`, of `length` bytes, as the rules file is written. 0 or -errno with the sentence. */
int alert_rules_read(struct alert_rules *ret, const char *text, size_t length, struct sentence *error);
/* The built in ones. */
int alert_rules_own(struct alert_rules *ret, struct sentence *error);
void alert_rules_done(struct alert_rules *rules);
/* NULL: there is none */
const struct alert_rule *alert_rules_find(const struct alert_rules *rules, const char *name);
const char *alert_level_name(enum alert_level level);

/* `template` with {{ $labels.NAME }} and {{ $value | humanize... }} filled in; `instance`: who we are. */
void alert_fill(char *to, size_t size, const char *template, const struct alert_label *label, unsigned int labels,
		double value, const char *instance);

#endif
