/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is sent: one JSON object, documented in docs/alerts.md. A webhook gets it as its body, a command on its standard
 * input, and a mail is made of it.
 */
#ifndef BOOTWELL_ALERT_MESSAGE_H
#define BOOTWELL_ALERT_MESSAGE_H

#include <jansson.h>

#include "daemon/alert/incidents.h"

#define ALERT_SUBJECTS_MAX 40 /* named in a message; the rest is a number */

/* Who sends: [server] name, and the machine's host name. */
struct alert_sender_name {
	const char *server, *host;
};

/* A message of one rule without a subject; NULL: out of memory. `rule` NULL: of a test. */
json_t *alert_message_new(const struct alert_sender_name *who, enum alert_event event, const struct alert_rule *rule,
			  int64_t now);
void alert_message_add(json_t *message, const struct alert_incident *incident);
const char *alert_event_name(enum alert_event event);
/* One line for a person: "HOST: over: SUMMARY", printable ASCII. */
void alert_message_title(const json_t *message, char *to, size_t size);

/*
 * The mail, with headers, CRLF. Whatever the message's texts hold, a header stays one line of printable ASCII, and no
 * line is longer than SMTP takes (998, RFC 5321). `id`: what makes its Message-ID another one; `now`: s since 1970.
 * NULL: out of memory.
 */
char *alert_mail_text(const json_t *message, const char *from, const char *to, uint64_t id, int64_t now);

#endif
