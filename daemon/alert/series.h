/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The values that the rules ask for, now and a while back. Each round all values pass by, and those are kept that an
 * expression named (alert_series_want()). One thread at a time.
 *
 *	alert_series_begin(); alert_series_see() for each value; then expressions are evaluated (expr.h)
 */
#ifndef BOOTWELL_ALERT_SERIES_H
#define BOOTWELL_ALERT_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ALERT_LABELS     8     /* of one value, at most */
#define ALERT_MATCHERS   4     /* of a selector, at most */
#define ALERT_NAME_MAX   64    /* of a metric or a label, with the NUL */
#define ALERT_SERIES_MAX 50000 /* what comes beyond is not looked at */
#define ALERT_POINTS     64    /* kept of a window: one each 1/60 of it */

struct alert_label {
	const char *name, *value;
};

/* NAME{LABEL="VALUE",...} */
struct alert_selector {
	char name[ALERT_NAME_MAX];
	unsigned int matchers;
	struct {
		char name[ALERT_NAME_MAX], value[ALERT_NAME_MAX];
	} matcher[ALERT_MATCHERS];
};

struct alert_point {
	double when, value; /* s */
};

/* One series; labels and value are good until the next alert_series_begin(). */
struct alert_one {
	struct alert_one *next_in_bucket, *next_of_metric;
	uint32_t hash;
	unsigned int labels;
	struct alert_label label[ALERT_LABELS];
	double value;
	uint64_t round; /* in which it was seen last */
	double seen;
	unsigned int points, first; /* a ring */
	double step;                /* s between them, at least */
	struct alert_point *point;  /* NULL: no expression asks for the past */
	char text[];                /* of the labels */
};

struct alert_series;

/* 0 or -ENOMEM */
int alert_series_new(struct alert_series **ret);
void alert_series_free(struct alert_series *series); /* NULL is fine */
/* From here on the selector's values are kept, for `window` seconds; 0: only now. 0 or -ENOMEM. */
int alert_series_want(struct alert_series *series, const struct alert_selector *selector, double window);

/* `now`: s, never less than the time before. */
void alert_series_begin(struct alert_series *series, double now);
void alert_series_see(struct alert_series *series, const char *name, const struct alert_label *label,
		      unsigned int labels, double value);

/* Those of the round that the selector is of, one after another; NULL: no more. `before`: NULL at first. */
const struct alert_one *alert_series_next(const struct alert_series *series, const struct alert_selector *selector,
					  const struct alert_one *before);
/* Oldest first, the value of now at last: how many of `ret`. */
unsigned int alert_series_past(const struct alert_series *series, const struct alert_one *one, double window,
			       struct alert_point ret[ALERT_POINTS + 1]);
size_t alert_series_count(const struct alert_series *series);

#endif
