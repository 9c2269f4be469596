// SPDX-License-Identifier: GPL-2.0-or-later
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/metrics_text.h"

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
	for (; *text; text++) {
		if (*text == '\\')
			append_text(m, "\\\\");
		else if (*text == '"')
			append_text(m, "\\\"");
		else if (*text == '\n')
			append_text(m, "\\n");
		else
			append(m, text, 1);
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

static void append_labels(struct metrics_text *m, va_list args)
{
	const char *label, *between = "{";

	while ((label = va_arg(args, const char *))) {
		append_text(m, between);
		append_text(m, label);
		append_text(m, "=\"");
		append_escaped(m, va_arg(args, const char *));
		append_text(m, "\"");
		between = ",";
	}
	if (*between == ',')
		append_text(m, "}");
}

void metrics_value(struct metrics_text *m, double value, ...)
{
	char number[40];
	va_list args;

	append_text(m, m->name);
	va_start(args, value);
	append_labels(m, args);
	va_end(args);
	snprintf(number, sizeof(number), " %.15g\n", value);
	append_text(m, number);
}

void metrics_count(struct metrics_text *m, uint64_t value, ...)
{
	char number[40];
	va_list args;

	append_text(m, m->name);
	va_start(args, value);
	append_labels(m, args);
	va_end(args);
	snprintf(number, sizeof(number), " %" PRIu64 "\n", value);
	append_text(m, number);
}

void metrics_suffix(struct metrics_text *m, const char *suffix, double value, ...)
{
	char number[40];
	va_list args;

	append_text(m, m->name);
	append_text(m, suffix);
	va_start(args, value);
	append_labels(m, args);
	va_end(args);
	snprintf(number, sizeof(number), " %.15g\n", value);
	append_text(m, number);
}
