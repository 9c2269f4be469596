// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Text to tree, by recursive descent; the operators bind as Prometheus' do: `and`, comparisons, + -, * /. The rules are
 * our own file, built into the program, and yet what is nested deeper than DEPTH is refused.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/alert/private.h"

#define DEPTH 32

struct parser {
	const char *text, *at;
	struct sentence *error;
	unsigned int depth;
	int failed;
};

static struct alert_expr *fail(struct parser *p, int r, const char *what)
{
	if (!p->failed)
		p->failed = sentence_fail(p->error, r, "%s at \"%.40s\"", what, p->at);
	return NULL;
}

static void skip(struct parser *p)
{
	while (isspace((unsigned char)*p->at))
		p->at++;
}

static bool take(struct parser *p, const char *word)
{
	size_t n = strlen(word);

	skip(p);
	if (strncmp(p->at, word, n) != 0)
		return false;
	if (isalpha((unsigned char)*word) && (isalnum((unsigned char)p->at[n]) || p->at[n] == '_'))
		return false;
	p->at += n;
	return true;
}

static bool need(struct parser *p, const char *word)
{
	char text[64];

	if (take(p, word))
		return true;
	snprintf(text, sizeof(text), "there is no \"%s\"", word);
	fail(p, -EINVAL, text);
	return false;
}

static bool take_name(struct parser *p, char ret[ALERT_NAME_MAX])
{
	size_t n = 0;

	skip(p);
	while (isalnum((unsigned char)p->at[n]) || p->at[n] == '_')
		n++;
	if (!n || n >= ALERT_NAME_MAX || isdigit((unsigned char)*p->at)) {
		fail(p, -EINVAL, "there is no name");
		return false;
	}
	snprintf(ret, ALERT_NAME_MAX, "%.*s", (int)n, p->at);
	p->at += n;
	return true;
}

double alert_duration(const char *text, const char **end)
{
	static const struct {
		char unit;
		double s;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	char *after;
	unsigned long n = strtoul(text, &after, 10);

	for (size_t i = 0; after != text && n && n < 100000 && i < sizeof(units) / sizeof(units[0]); i++)
		if (*after == units[i].unit) {
			*end = after + 1;
			return (double)n * units[i].s;
		}
	return 0;
}

static struct alert_expr *node_new(struct parser *p, enum alert_node node)
{
	struct alert_expr *e = calloc(1, sizeof(*e));

	if (!e)
		return fail(p, -ENOMEM, "out of memory");
	e->node = node;
	return e;
}

void alert_expr_free(struct alert_expr *e)
{
	if (!e)
		return;
	alert_expr_free(e->a);
	alert_expr_free(e->b);
	free(e);
}

/* Gives `e` back, or frees it because something failed. */
static struct alert_expr *done(struct parser *p, struct alert_expr *e)
{
	if (!p->failed)
		return e;
	alert_expr_free(e);
	return NULL;
}

/* (NAME, ...) */
static void take_names(struct parser *p, struct alert_expr *e)
{
	e->has_on = true;
	if (!need(p, "("))
		return;
	do {
		if (e->on_n == ALERT_ON_MAX) {
			fail(p, -EINVAL, "there are too many labels");
			return;
		}
		if (!take_name(p, e->on[e->on_n++]))
			return;
	} while (take(p, ","));
	need(p, ")");
}

static void take_matcher(struct parser *p, struct alert_selector *s)
{
	size_t n;

	if (s->matchers == ALERT_MATCHERS) {
		fail(p, -EINVAL, "there are too many labels");
		return;
	}
	if (!take_name(p, s->matcher[s->matchers].name) || !need(p, "=") || !need(p, "\""))
		return;
	n = strcspn(p->at, "\"");
	if (n >= ALERT_NAME_MAX || !p->at[n]) {
		fail(p, -EINVAL, "the label's value has no end");
		return;
	}
	snprintf(s->matcher[s->matchers++].value, ALERT_NAME_MAX, "%.*s", (int)n, p->at);
	p->at += n + 1;
}

static struct alert_expr *take_selector(struct parser *p)
{
	struct alert_expr *e = node_new(p, NODE_SELECT);

	if (!e || !take_name(p, e->selector.name))
		return done(p, e);
	if (take(p, "{")) {
		do
			take_matcher(p, &e->selector);
		while (!p->failed && take(p, ","));
		if (!p->failed)
			need(p, "}");
	}
	if (!p->failed && take(p, "[")) {
		e->window = alert_duration(p->at, &p->at);
		if (!e->window)
			fail(p, -EINVAL, "there is no duration");
		else
			need(p, "]");
	}
	return done(p, e);
}

static struct alert_expr *take_expr(struct parser *p);

static struct alert_expr *take_number(struct parser *p)
{
	struct alert_expr *e = node_new(p, NODE_NUMBER);
	char *end;

	skip(p);
	if (!e)
		return NULL;
	e->number = strtod(p->at, &end);
	if (end == p->at)
		fail(p, -EINVAL, "there is no number");
	p->at = end;
	return done(p, e);
}

static void take_number_into(struct parser *p, double *ret)
{
	struct alert_expr *n = take_number(p);

	if (n)
		*ret = n->number;
	alert_expr_free(n);
}

/* One of a past: FUNCTION(SELECTOR[WINDOW]), with a number before or behind it. */
static struct alert_expr *take_past(struct parser *p, enum alert_node node)
{
	struct alert_expr *e = node_new(p, node);

	if (!e)
		return NULL;
	if (need(p, "(") && node == NODE_QUANTILE) {
		take_number_into(p, &e->number);
		if (!p->failed)
			need(p, ",");
	}
	if (!p->failed)
		e->a = take_selector(p);
	if (!p->failed && !e->a->window)
		fail(p, -EINVAL, "there is no [duration]");
	if (!p->failed && node == NODE_PREDICT && need(p, ","))
		take_number_into(p, &e->number);
	if (!p->failed)
		need(p, ")");
	return done(p, e);
}

static struct alert_expr *take_sum(struct parser *p)
{
	struct alert_expr *e = node_new(p, NODE_SUM);

	if (!e)
		return NULL;
	if (need(p, "by"))
		take_names(p, e);
	if (!p->failed && need(p, "(")) {
		e->a = take_expr(p);
		if (!p->failed)
			need(p, ")");
	}
	return done(p, e);
}

static struct alert_expr *take_primary(struct parser *p)
{
	static const struct {
		const char *name;
		enum alert_node node;
	} past[] = {{"increase", NODE_INCREASE},
		    {"changes", NODE_CHANGES},
		    {"predict_linear", NODE_PREDICT},
		    {"quantile_over_time", NODE_QUANTILE}};
	struct alert_expr *e;

	skip(p);
	if (take(p, "(")) {
		e = take_expr(p);
		if (!p->failed)
			need(p, ")");
		return done(p, e);
	}
	if (isdigit((unsigned char)*p->at) || *p->at == '.')
		return take_number(p);
	if (take(p, "sum"))
		return take_sum(p);
	if (take(p, "time")) {
		e = node_new(p, NODE_TIME);
		if (!p->failed && need(p, "("))
			need(p, ")");
		return done(p, e);
	}
	for (size_t i = 0; i < sizeof(past) / sizeof(past[0]); i++)
		if (take(p, past[i].name))
			return take_past(p, past[i].node);
	e = take_selector(p);
	if (e && e->window)
		fail(p, -EINVAL, "a [duration] stands outside of a function");
	return done(p, e);
}

/* The operator of that strength that stands here; OPS: none. */
static enum alert_op take_op(struct parser *p, unsigned int strength)
{
	static const struct {
		const char *text;
		enum alert_op op;
		unsigned int strength;
	} ops[] = {{"and", OP_AND, 0}, {"==", OP_EQ, 1}, {"!=", OP_NE, 1}, {">=", OP_GE, 1},
		   {"<=", OP_LE, 1},   {">", OP_GT, 1},  {"<", OP_LT, 1},  {"+", OP_ADD, 2},
		   {"-", OP_SUB, 2},   {"*", OP_MUL, 3}, {"/", OP_DIV, 3}};

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (ops[i].strength == strength && take(p, ops[i].text))
			return ops[i].op;
	return OPS;
}

static struct alert_expr *take_strength(struct parser *p, unsigned int strength)
{
	struct alert_expr *left = strength == 3 ? take_primary(p) : take_strength(p, strength + 1);
	enum alert_op op;

	while (!p->failed && (op = take_op(p, strength)) != OPS) {
		struct alert_expr *e = node_new(p, NODE_BINARY);

		if (!e)
			break;
		e->op = op;
		e->a = left;
		left = e;
		if (take(p, "on"))
			take_names(p, e);
		if (!p->failed)
			e->b = strength == 3 ? take_primary(p) : take_strength(p, strength + 1);
	}
	return done(p, left);
}

static struct alert_expr *take_expr(struct parser *p)
{
	struct alert_expr *e;

	if (p->depth == DEPTH)
		return fail(p, -EINVAL, "it is nested too deep");
	p->depth++;
	e = take_strength(p, 0);
	p->depth--;
	return e;
}

int alert_expr_parse(struct alert_expr **ret, const char *text, struct sentence *error)
{
	struct parser p = {.text = text, .at = text, .error = error};
	struct alert_expr *e = take_expr(&p);

	skip(&p);
	if (!p.failed && *p.at)
		fail(&p, -EINVAL, "there is more than an expression");
	e = done(&p, e);
	if (!p.failed)
		*ret = e;
	return p.failed;
}
