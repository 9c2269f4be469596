/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The part of Prometheus' query language that our rules are written in, so that the daemon evaluates the very rules
 * that Prometheus does:
 *
 *	numbers, time(), NAME{LABEL="VALUE"}, NAME[10m] within increase(), changes(), predict_linear(),
 *	quantile_over_time(); sum by (LABEL, ...) (EXPR); + - * /; == != > < >= <=, which filter; `and`;
 *	`on (LABEL, ...)` behind an operator
 *
 * What it means is as Prometheus' documentation says (Querying: Basics, Operators, Functions), but that increase() does
 * not extrapolate, and that of the past ALERT_POINTS values are known.
 */
#ifndef BOOTWELL_ALERT_EXPR_H
#define BOOTWELL_ALERT_EXPR_H

#include "daemon/alert/series.h"
#include "tcmu-handler/image/sentence.h"

struct alert_expr;

/* A value with its labels, which are the series'. */
struct alert_value {
	struct alert_label label[ALERT_LABELS];
	unsigned int labels;
	uint32_t hash; /* of the labels */
	double value;
};

struct alert_vector {
	struct alert_value *value;
	size_t n, room;
	bool failed; /* out of memory */
};

/* 0; -EINVAL, -ENOMEM with the sentence */
int alert_expr_parse(struct alert_expr **ret, const char *text, struct sentence *error);
void alert_expr_free(struct alert_expr *expr); /* NULL is fine */
/* Tells `series` what it will be asked for. */
int alert_expr_want(const struct alert_expr *expr, struct alert_series *series);
/*
 * What is true of it now: for a comparison those that hold. `time`: s since 1970. The labels of *ret are good until
 * the series' next round. 0 or -ENOMEM.
 */
int alert_expr_eval(const struct alert_expr *expr, const struct alert_series *series, double time,
		    struct alert_vector *ret);
void alert_vector_done(struct alert_vector *vector);

/* "10m", "7d", "90s": seconds; 0: it is none. `*end`: what follows it. */
double alert_duration(const char *text, const char **end);

#endif
