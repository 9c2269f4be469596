// SPDX-License-Identifier: GPL-2.0-or-later
/* Prometheus text: families, labels with their escapes, numbers; one buffer that grows. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/metrics_text.h"

void metrics_text_init(struct metrics_text *m)
{
	memset(m, 0, sizeof(*m));
}

void metrics_text_done(struct metrics_text *m)
{
	free(m->text);
	metrics_text_init(m);
}

static void append(struct metrics_text *m, const char *text, size_t length)
{
	if (m->failed)
		return;
	if (m->length + length + 1 > m->room) {
		size_t room = 2 * (m->length + length + 1);
		char *more = realloc(m->text, room < 4096 ? 4096 : room);

		if (!more) {
			m->failed = true;
			return;
		}
		m->text = more;
		m->room = room < 4096 ? 4096 : room;
	}
	memcpy(m->text + m->length, text, length);
	m->length += length;
	m->text[m->length] = '\0';
}

static void append_text(struct metrics_text *m, const char *text)
{
	append(m, text, strlen(text));
}

/* Label values: backslash, quote and newline are escaped. */
static void append_escaped(struct metrics_text *m, const char *text)
{
	for (;;) {
		size_t plain = strcspn(text, "\\\"\n");

		append(m, text, plain);
		text += plain;
		if (!*text)
			return;
		append_text(m, *text == '\n' ? "\\n" : *text == '"' ? "\\\"" : "\\\\");
		text++;
	}
}

void metrics_family(struct metrics_text *m, const char *name, const char *type, const char *help)
{
	m->name = name;
	append_text(m, "# HELP ");
	append_text(m, name);
	append_text(m, " ");
	append_text(m, help);
	append_text(m, "\n# TYPE ");
	append_text(m, name);
	append_text(m, " ");
	append_text(m, type);
	append_text(m, "\n");
}

static unsigned int take_labels(struct metrics_label label[METRICS_LABELS], va_list args)
{
	unsigned int n = 0;
	const char *name;

	while (n < METRICS_LABELS && (name = va_arg(args, const char *))) {
		label[n].name = name;
		label[n++].value = va_arg(args, const char *);
	}
	return n;
}

static void put(struct metrics_text *m, const char *suffix, const char *number, va_list args)
{
	struct metrics_label label[METRICS_LABELS];
	unsigned int n = take_labels(label, args);

	append_text(m, m->name);
	append_text(m, suffix);
	for (unsigned int i = 0; i < n; i++) {
		append_text(m, i ? "," : "{");
		append_text(m, label[i].name);
		append_text(m, "=\"");
		append_escaped(m, label[i].value);
		append_text(m, "\"");
	}
	append_text(m, n ? "} " : " ");
	append_text(m, number);
	append_text(m, "\n");
	if (m->see)
		m->see(m->see_arg, m->name, suffix, label, n, number);
}

static void number_text(char ret[40], double value)
{
	if (value >= 0 && value < 1e15 && value == (double)(uint64_t)value)
		snprintf(ret, 40, "%" PRIu64, (uint64_t)value); /* %g takes ten times as long */
	else
		snprintf(ret, 40, "%.15g", value);
}

void metrics_value(struct metrics_text *m, double value, ...)
{
	char number[40];
	va_list args;

	number_text(number, value);
	va_start(args, value);
	put(m, "", number, args);
	va_end(args);
}

void metrics_count(struct metrics_text *m, uint64_t value, ...)
{
	char number[40];
	va_list args;

	snprintf(number, sizeof(number), "%" PRIu64, value);
	va_start(args, value);
	put(m, "", number, args);
	va_end(args);
}

void metrics_suffix(struct metrics_text *m, const char *suffix, double value, ...)
{
	char number[40];
	va_list args;

	number_text(number, value);
	va_start(args, value);
	put(m, suffix, number, args);
	va_end(args);
}
