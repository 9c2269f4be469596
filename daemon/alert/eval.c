// SPDX-License-Identifier: GPL-2.0-or-later
/* The value of an expression: a number has no labels and is by itself; everything else is a list with labels. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/alert/private.h"

struct eval {
	const struct alert_series *series;
	double time;
};

void alert_vector_done(struct alert_vector *v)
{
	free(v->value);
	*v = (struct alert_vector){0};
}

/* Room for one more, with the value and no label; NULL: out of memory. */
static struct alert_value *push(struct alert_vector *v, double value)
{
	struct alert_value *more;

	if (v->n == v->room) {
		size_t room = v->room ? 2 * v->room : 16;

		more = reallocarray(v->value, room, sizeof(*more));
		if (!more) {
			v->failed = true;
			return NULL;
		}
		v->value = more;
		v->room = room;
	}
	more = &v->value[v->n++];
	memset(more, 0, sizeof(*more));
	more->value = value;
	return more;
}

/* Of labels in any order. */
static uint32_t hash_labels(const struct alert_value *v)
{
	uint32_t sum = 0;

	for (unsigned int i = 0; i < v->labels; i++) {
		uint32_t hash = 2166136261u;

		for (const char *at = v->label[i].name; *at; at++)
			hash = (hash ^ (uint8_t)*at) * 16777619u;
		hash = (hash ^ '=') * 16777619u;
		for (const char *at = v->label[i].value; *at; at++)
			hash = (hash ^ (uint8_t)*at) * 16777619u;
		sum += hash;
	}
	return sum;
}

static const char *label_of(const struct alert_value *v, const char *name)
{
	for (unsigned int i = 0; i < v->labels; i++)
		if (!strcmp(v->label[i].name, name))
			return v->label[i].value;
	return "";
}

/* Keeps the labels that `e` names, where it names any. */
static struct alert_value reduced(const struct alert_expr *e, const struct alert_value *v)
{
	struct alert_value r = {.value = v->value};

	if (!e->has_on)
		return *v;
	for (unsigned int i = 0; i < v->labels; i++)
		for (unsigned int k = 0; k < e->on_n; k++)
			if (!strcmp(v->label[i].name, e->on[k]))
				r.label[r.labels++] = v->label[i];
	r.hash = hash_labels(&r);
	return r;
}

static bool same_labels(const struct alert_value *a, const struct alert_value *b)
{
	if (a->hash != b->hash || a->labels != b->labels)
		return false;
	for (unsigned int i = 0; i < a->labels; i++)
		if (strcmp(a->label[i].value, label_of(b, a->label[i].name)) != 0)
			return false;
	return true;
}

/* --- of the past -------------------------------------------------------------------------------------------------- */

/* A counter that is less than before has begun anew. */
static double increase(const struct alert_point *p, unsigned int n)
{
	double sum = 0;

	for (unsigned int i = 1; i < n; i++)
		sum += p[i].value >= p[i - 1].value ? p[i].value - p[i - 1].value : p[i].value;
	return sum;
}

static double changes(const struct alert_point *p, unsigned int n)
{
	double count = 0;

	for (unsigned int i = 1; i < n; i++)
		count += p[i].value < p[i - 1].value || p[i].value > p[i - 1].value;
	return count;
}

/* The straight line with the least squares, `ahead` seconds from the last point. NAN: one point makes none. */
static double predict(const struct alert_point *p, unsigned int n, double ahead)
{
	double now = p[n - 1].when, x = 0, y = 0, xx = 0, xy = 0, slope, d;

	for (unsigned int i = 0; i < n; i++) {
		double at = p[i].when - now;

		x += at;
		y += p[i].value;
		xx += at * at;
		xy += at * p[i].value;
	}
	d = n * xx - x * x;
	if (n < 2 || d <= 0)
		return NAN;
	slope = (n * xy - x * y) / d;
	return (y - slope * x) / n + slope * ahead;
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double quantile(const struct alert_point *p, unsigned int n, double q)
{
	double value[ALERT_POINTS + 1], rank = q * (n - 1);
	unsigned int low = (unsigned int)rank, high = low + 1 < n ? low + 1 : low;

	for (unsigned int i = 0; i < n; i++)
		value[i] = p[i].value;
	qsort(value, n, sizeof(value[0]), by_size);
	return value[low] + (value[high] - value[low]) * (rank - low);
}

static double of_past(const struct alert_expr *e, const struct alert_point *p, unsigned int n)
{
	switch (e->node) {
	case NODE_INCREASE:
		return increase(p, n);
	case NODE_CHANGES:
		return changes(p, n);
	case NODE_PREDICT:
		return predict(p, n, e->number);
	default:
		return quantile(p, n, e->number);
	}
}

static void eval_select(const struct alert_expr *e, const struct alert_expr *selector, const struct eval *at,
			struct alert_vector *ret)
{
	const struct alert_one *one = NULL;
	struct alert_point point[ALERT_POINTS + 1];

	while ((one = alert_series_next(at->series, &selector->selector, one))) {
		double value = one->value;
		struct alert_value *v;

		if (selector->window > 0)
			value = of_past(e, point, alert_series_past(at->series, one, selector->window, point));
		v = isnan(value) ? NULL : push(ret, value);
		if (!v)
			continue;
		memcpy(v->label, one->label, one->labels * sizeof(v->label[0]));
		v->labels = one->labels;
		v->hash = hash_labels(v);
	}
}

/* --- of others ---------------------------------------------------------------------------------------------------- */

static bool is_scalar(const struct alert_expr *e)
{
	return e->node == NODE_NUMBER || e->node == NODE_TIME ||
	       (e->node == NODE_BINARY && is_scalar(e->a) && is_scalar(e->b));
}

static bool filters(enum alert_op op)
{
	return op >= OP_EQ && op <= OP_LT;
}

/* Of a filter: 1 when it holds, else 0. */
static double apply(enum alert_op op, double a, double b)
{
	switch (op) {
	case OP_EQ:
		return a >= b && a <= b;
	case OP_NE:
		return a < b || a > b;
	case OP_GE:
		return a >= b;
	case OP_LE:
		return a <= b;
	case OP_GT:
		return a > b;
	case OP_LT:
		return a < b;
	case OP_ADD:
		return a + b;
	case OP_SUB:
		return a - b;
	case OP_MUL:
		return a * b;
	case OP_DIV:
		return a / b;
	default:
		return NAN;
	}
}

static void keep(struct alert_vector *ret, const struct alert_expr *e, const struct alert_value *v, double a, double b)
{
	double result = apply(e->op, a, b);
	struct alert_value *to;

	if (isnan(result) || (filters(e->op) && result <= 0))
		return;
	to = push(ret, 0);
	if (!to)
		return;
	*to = *v;
	if (!filters(e->op))
		to->value = result;
}

static const struct alert_value *match(const struct alert_vector *reduced_b, const struct alert_value *want)
{
	for (size_t i = 0; i < reduced_b->n; i++)
		if (same_labels(&reduced_b->value[i], want))
			return &reduced_b->value[i];
	return NULL;
}

/* Changes `b`. */
static void eval_both(const struct alert_expr *e, const struct alert_vector *a, struct alert_vector *b,
		      struct alert_vector *ret)
{
	for (size_t i = 0; i < b->n; i++)
		b->value[i] = reduced(e, &b->value[i]);
	for (size_t i = 0; i < a->n; i++) {
		const struct alert_value *one = &a->value[i], *other;
		struct alert_value r = reduced(e, one);

		other = match(b, &r);
		if (other && e->op == OP_AND) {
			struct alert_value *to = push(ret, 0);

			if (to)
				*to = *one;
		} else if (other) {
			keep(ret, e, &r, one->value, other->value);
		}
	}
}

static void eval(const struct alert_expr *e, const struct eval *at, struct alert_vector *ret);

static void eval_binary(const struct alert_expr *e, const struct eval *at, struct alert_vector *ret)
{
	struct alert_vector a = {0}, b = {0};

	eval(e->a, at, &a);
	eval(e->b, at, &b);
	if (is_scalar(e->b) && b.n == 1)
		for (size_t i = 0; i < a.n; i++)
			keep(ret, e, &a.value[i], a.value[i].value, b.value[0].value);
	else if (is_scalar(e->a) && a.n == 1)
		for (size_t i = 0; i < b.n; i++)
			keep(ret, e, &b.value[i], a.value[0].value, b.value[i].value);
	else
		eval_both(e, &a, &b, ret);
	ret->failed |= a.failed | b.failed;
	alert_vector_done(&a);
	alert_vector_done(&b);
}

static void eval_sum(const struct alert_expr *e, const struct eval *at, struct alert_vector *ret)
{
	struct alert_vector a = {0};

	eval(e->a, at, &a);
	for (size_t i = 0; i < a.n; i++) {
		struct alert_value r = reduced(e, &a.value[i]), *to = NULL;

		for (size_t k = 0; k < ret->n && !to; k++)
			if (same_labels(&ret->value[k], &r))
				to = &ret->value[k];
		if (to)
			to->value += r.value;
		else if ((to = push(ret, 0)))
			*to = r;
	}
	ret->failed |= a.failed;
	alert_vector_done(&a);
}

static void eval(const struct alert_expr *e, const struct eval *at, struct alert_vector *ret)
{
	switch (e->node) {
	case NODE_NUMBER:
		push(ret, e->number);
		break;
	case NODE_TIME:
		push(ret, at->time);
		break;
	case NODE_SELECT:
		eval_select(e, e, at, ret);
		break;
	case NODE_SUM:
		eval_sum(e, at, ret);
		break;
	case NODE_BINARY:
		eval_binary(e, at, ret);
		break;
	default:
		eval_select(e, e->a, at, ret);
	}
}

int alert_expr_eval(const struct alert_expr *e, const struct alert_series *series, double time,
		    struct alert_vector *ret)
{
	const struct eval at = {.series = series, .time = time};

	*ret = (struct alert_vector){0};
	eval(e, &at, ret);
	if (!ret->failed)
		return 0;
	alert_vector_done(ret);
	return -ENOMEM;
}

int alert_expr_want(const struct alert_expr *e, struct alert_series *series)
{
	int r = 0;

	if (!e)
		return 0;
	if (e->node == NODE_SELECT)
		return alert_series_want(series, &e->selector, e->window);
	r = alert_expr_want(e->a, series);
	return r ? r : alert_expr_want(e->b, series);
}
