// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads the rules file line by line. It is YAML as we write it: a key a line, an expression on its own line or folded
 * behind ">". What does not look so is refused, and a test reads the whole file.
 */
#include "daemon/alert/rules.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RULES_FILE(symbol, file)                                                                                       \
	__asm__(".section .rodata\n" #symbol ":\n.incbin \"" file "\"\n" #symbol "_end:\n.previous\n");                \
	extern const char symbol[] __attribute__((visibility("hidden")));                                              \
	extern const char symbol##_end[] __attribute__((visibility("hidden")))
RULES_FILE(alert_rules_yml, "conf/bootwell.rules.yml");

#define EXPR_MAX 1024

struct reading {
	struct alert_rules *rules;
	struct alert_rule *rule; /* the one that is read; NULL: none yet */
	char expr[EXPR_MAX];
	bool folded;           /* lines of an expression come */
	unsigned int line, at; /* of the expression */
	struct sentence *error;
};

/* The key's value; NULL: it is another line. */
static const char *value_of(const char *line, const char *key)
{
	size_t n = strlen(key);

	line += strspn(line, " -");
	return !strncmp(line, key, n) && line[n] == ':' ? line + n + 1 + strspn(line + n + 1, " ") : NULL;
}

/* "TEXT", without the quotes. */
static int take_text(struct reading *r, const char *value, char *to, size_t size)
{
	size_t n = strlen(value);

	if (n < 2 || value[0] != '"' || value[n - 1] != '"' || n - 2 >= size)
		return sentence_fail(r->error, -EINVAL, "line %u of the rules is no text in quotes, or too long a one",
				     r->line);
	snprintf(to, size, "%.*s", (int)(n - 2), value + 1);
	return 0;
}

static int end_expr(struct reading *r)
{
	struct sentence why = {""};
	int e;

	r->folded = false;
	if (!r->rule || r->rule->expr)
		return 0;
	e = alert_expr_parse(&r->rule->expr, r->expr, &why);
	return e ? sentence_fail(r->error, e, "line %u of the rules: %s", r->at, why.text) : 0;
}

static int begin_rule(struct reading *r, const char *name)
{
	struct alert_rules *rules = r->rules;

	if (rules->n == ALERT_RULES_MAX)
		return sentence_fail(r->error, -E2BIG, "line %u: there are more than %u rules", r->line,
				     ALERT_RULES_MAX);
	r->rule = &rules->rule[rules->n++];
	r->expr[0] = '\0';
	snprintf(r->rule->name, sizeof(r->rule->name), "%s", name);
	return 0;
}

static int take_level(struct reading *r, const char *value)
{
	if (strstr(value, "severity: critical"))
		r->rule->level = ALERT_CRITICAL;
	else if (strstr(value, "severity: warning"))
		r->rule->level = ALERT_WARNING;
	else
		return sentence_fail(r->error, -EINVAL, "line %u of the rules: no severity", r->line);
	return 0;
}

static int take_key(struct reading *r, const char *line)
{
	const char *value, *end;

	if ((value = value_of(line, "alert")))
		return begin_rule(r, value);
	if (!r->rule)
		return 0;
	if ((value = value_of(line, "expr"))) {
		r->folded = !strcmp(value, ">");
		r->at = r->line;
		snprintf(r->expr, sizeof(r->expr), "%s", r->folded ? "" : value);
		return r->folded ? 0 : end_expr(r);
	}
	if ((value = value_of(line, "for"))) {
		r->rule->wait = alert_duration(value, &end);
		return r->rule->wait ? 0 : sentence_fail(r->error, -EINVAL, "line %u of the rules: no time", r->line);
	}
	if ((value = value_of(line, "labels")))
		return take_level(r, value);
	if ((value = value_of(line, "summary")))
		return take_text(r, value, r->rule->summary, sizeof(r->rule->summary));
	if ((value = value_of(line, "description")))
		return take_text(r, value, r->rule->description, sizeof(r->rule->description));
	return value_of(line, "annotations")
		       ? 0
		       : sentence_fail(r->error, -EINVAL, "line %u of the rules is not known", r->line);
}

static int take_line(struct reading *r, const char *line)
{
	size_t indent = strspn(line, " "), n = strlen(r->expr);

	r->line++;
	if (!line[indent] || line[indent] == '#')
		return 0;
	if (r->folded && indent > 8) {
		snprintf(r->expr + n, sizeof(r->expr) - n, " %s", line + indent);
		return 0;
	}
	if (r->folded) {
		int e = end_expr(r);

		if (e)
			return e;
	}
	return take_key(r, line);
}

int alert_rules_read(struct alert_rules *ret, const char *text, size_t length, struct sentence *error)
{
	struct reading r = {.rules = ret, .error = error};
	char *copy = strndup(text, length), *rest = copy, *line;
	int e = 0;

	*ret = (struct alert_rules){.rule = calloc(ALERT_RULES_MAX, sizeof(*ret->rule))};
	if (!copy || !ret->rule)
		e = sentence_fail(error, -ENOMEM, "out of memory");
	while (!e && (line = strsep(&rest, "\n")))
		e = take_line(&r, line);
	for (unsigned int i = 0; !e && i < ret->n; i++)
		if (!ret->rule[i].expr || !ret->rule[i].summary[0] || !ret->rule[i].description[0])
			e = sentence_fail(error, -EINVAL, "the rule %s has no expression, summary or description",
					  ret->rule[i].name);
	free(copy);
	if (e)
		alert_rules_done(ret);
	return e;
}

int alert_rules_own(struct alert_rules *ret, struct sentence *error)
{
	return alert_rules_read(ret, alert_rules_yml, (size_t)(alert_rules_yml_end - alert_rules_yml), error);
}

void alert_rules_done(struct alert_rules *rules)
{
	for (unsigned int i = 0; i < rules->n; i++)
		alert_expr_free(rules->rule[i].expr);
	free(rules->rule);
	*rules = (struct alert_rules){0};
}

const struct alert_rule *alert_rules_find(const struct alert_rules *rules, const char *name)
{
	for (unsigned int i = 0; i < rules->n; i++)
		if (!strcmp(rules->rule[i].name, name))
			return &rules->rule[i];
	return NULL;
}

const char *alert_level_name(enum alert_level level)
{
	return level == ALERT_CRITICAL ? "critical" : "warning";
}

/* --- words -------------------------------------------------------------------------------------------------------- */

static void value_text(char *to, size_t size, const char *how, double value)
{
	if (strstr(how, "humanizePercentage"))
		snprintf(to, size, "%.4g%%", value * 100);
	else if (strstr(how, "humanizeDuration") && value < 60)
		snprintf(to, size, "%.3gs", value);
	else if (strstr(how, "humanizeDuration"))
		snprintf(to, size, "%ldm %.0fs", (long)(value / 60), value - 60 * (double)(long)(value / 60));
	else
		snprintf(to, size, "%.4g", value);
}

/* What stands between {{ and }}. */
static void fill_one(char *to, size_t size, const char *what, const struct alert_label *label, unsigned int labels,
		     double value, const char *instance)
{
	static const char named[] = "$labels.";

	what += strspn(what, " ");
	to[0] = '\0';
	if (!strncmp(what, "$value", 6)) {
		value_text(to, size, what, value);
		return;
	}
	if (strncmp(what, named, sizeof(named) - 1) != 0)
		return;
	what += sizeof(named) - 1;
	for (unsigned int i = 0; i < labels; i++)
		if (strlen(label[i].name) == strcspn(what, " |") &&
		    !strncmp(what, label[i].name, strlen(label[i].name)))
			snprintf(to, size, "%s", label[i].value);
	if (!to[0] && !strncmp(what, "instance", 8)) /* Prometheus adds that label; here it is this server */
		snprintf(to, size, "%s", instance);
}

void alert_fill(char *to, size_t size, const char *template, const struct alert_label *label, unsigned int labels,
		double value, const char *instance)
{
	size_t n = 0;

	while (*template && n + 1 < size) {
		const char *end = !strncmp(template, "{{", 2) ? strstr(template, "}}") : NULL;
		char what[80], text[ALERT_NAME_MAX * 2];

		if (!end) {
			to[n++] = *template ++;
			continue;
		}
		snprintf(what, sizeof(what), "%.*s", (int)(end - template - 2), template + 2);
		fill_one(text, sizeof(text), what, label, labels, value, instance);
		n += (size_t)snprintf(to + n, size - n, "%s", text);
		if (n >= size)
			n = size - 1;
		template = end + 2;
	}
	to[n] = '\0';
}
