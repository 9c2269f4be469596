// SPDX-License-Identifier: GPL-2.0-or-later
/* A message, and the mail that is made of it. */
#include "daemon/alert/message.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LINE_MAX_BYTES 900 /* of a mail's body */

static json_t *time_json(int64_t t)
{
	char text[32];
	time_t s = (time_t)t;
	struct tm tm;

	gmtime_r(&s, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(text);
}

const char *alert_event_name(enum alert_event event)
{
	static const char *const names[] = {"begin", "end", "repeat", "test"};

	return names[event];
}

json_t *alert_message_new(const struct alert_sender_name *who, enum alert_event event, const struct alert_rule *rule,
			  int64_t now)
{
	return json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:o, s:[], s:i}", "version", 1, "event",
			 alert_event_name(event), "alert", rule ? rule->name : "Test", "level",
			 rule ? alert_level_name(rule->level) : "warning", "server", who->server, "host", who->host,
			 "time", time_json(now), "subjects", "more", 0);
}

void alert_message_add(json_t *message, const struct alert_incident *i)
{
	json_t *list = json_object_get(message, "subjects");

	if (json_array_size(list) >= ALERT_SUBJECTS_MAX) {
		json_object_set_new(message, "more",
				    json_integer(json_integer_value(json_object_get(message, "more")) + 1));
		return;
	}
	json_array_append_new(list,
			      json_pack("{s:s, s:s, s:s, s:f, s:o, s:o}", "labels", i->key, "summary", i->summary,
					"description", i->description, "value", i->value, "since", time_json(i->since),
					"ended", i->ended ? time_json(i->ended) : json_null()));
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

/* Printable ASCII; every other byte is '?'. */
static void plain(char *text)
{
	for (; *text; text++)
		if (*text < 0x20 || *text > 0x7e)
			*text = '?';
}

void alert_message_title(const json_t *m, char *to, size_t size)
{
	const json_t *subjects = json_object_get(m, "subjects");
	size_t n = json_array_size(subjects) + (size_t)json_integer_value(json_object_get(m, "more"));
	const char *event = text_of(m, "event"), *level = text_of(m, "level"), *word = level;
	char many[40] = "";

	if (!strcmp(event, "test")) {
		snprintf(to, size, "%s: a test of bootwell's alerts", text_of(m, "host"));
		plain(to);
		return;
	}
	if (!strcmp(event, "end"))
		word = "over";
	else if (!strcmp(event, "repeat"))
		word = "still";
	if (n > 1)
		snprintf(many, sizeof(many), " (and %zu more)", n - 1);
	snprintf(to, size, "%s: %s: %s%s", text_of(m, "host"), word, text_of(json_array_get(subjects, 0), "summary"),
		 many);
	plain(to);
}

/* --- mail --------------------------------------------------------------------------------------------------------- */

/* A header: one line whatever is in it. */
static void put_header(FILE *to, const char *name, const char *value)
{
	char line[900];

	snprintf(line, sizeof(line), "%s", value);
	plain(line);
	fprintf(to, "%s: %s\r\n", name, line);
}

/* A paragraph, in lines that are short enough, without control characters. */
static void put_text(FILE *to, const char *text)
{
	size_t n = 0;

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (n >= LINE_MAX_BYTES || (n > 76 && c == ' ')) {
			fputs("\r\n", to);
			n = 0;
			if (c == ' ')
				continue;
		}
		fputc(c < 0x20 || c == 0x7f ? '?' : c, to);
		n++;
	}
	fputs("\r\n", to);
}

static void put_subject(FILE *to, const json_t *s)
{
	put_text(to, text_of(s, "summary"));
	put_text(to, text_of(s, "description"));
	fprintf(to, "Since %s", text_of(s, "since"));
	if (json_is_string(json_object_get(s, "ended")))
		fprintf(to, ", over at %s", text_of(s, "ended"));
	fputs(".\r\n\r\n", to);
}

static void put_headers(FILE *to, const json_t *m, const char *from, const char *rcpt, uint64_t id, int64_t now)
{
	const char *at = strrchr(from, '@');
	char text[400];
	time_t s = (time_t)now;
	struct tm tm;

	gmtime_r(&s, &tm);
	strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S +0000", &tm); /* the program never leaves the C locale */
	put_header(to, "Date", text);
	put_header(to, "From", from);
	put_header(to, "To", rcpt);
	snprintf(text, sizeof(text), "<%" PRId64 ".%016" PRIx64 "@%.200s>", now, id, at && at[1] ? at + 1 : "bootwell");
	put_header(to, "Message-ID", text);
	alert_message_title(m, text, sizeof(text));
	put_header(to, "Subject", text);
	put_header(to, "Auto-Submitted", "auto-generated"); /* RFC 3834: nobody's absence answers it */
	put_header(to, "MIME-Version", "1.0");
	put_header(to, "Content-Type", "text/plain; charset=utf-8");
	put_header(to, "Content-Transfer-Encoding", "8bit");
	fputs("\r\n", to);
}

char *alert_mail_text(const json_t *m, const char *from, const char *rcpt, uint64_t id, int64_t now)
{
	const json_t *s;
	char *text = NULL;
	size_t size, i;
	FILE *to = open_memstream(&text, &size);
	long long more = (long long)json_integer_value(json_object_get(m, "more"));
	bool failed;

	if (!to)
		return NULL;
	put_headers(to, m, from, rcpt, id, now);
	if (!strcmp(text_of(m, "event"), "test"))
		put_text(to, "This is a test: mail from bootwell arrives here.");
	json_array_foreach((json_t *)json_object_get(m, "subjects"), i, s) put_subject(to, s);
	if (more)
		fprintf(to, "And %lld more: \"bootwell alert list\" has them all.\r\n", more);
	fprintf(to, "--\r\n");
	put_text(to, text_of(m, "alert"));
	put_text(to, text_of(m, "server"));
	failed = ferror(to);
	if (!fclose(to) && !failed)
		return text;
	free(text);
	return NULL;
}
