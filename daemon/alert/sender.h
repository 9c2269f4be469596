/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who sends. bootwelld itself may connect to no port and start only a few programs (core/confine.h), and a server that
 * answers packets waits for no mail server; so a process of its own does it, made before anything is opened, without
 * privileges. It reads jobs from a socket and makes a process of each, which says how it went and ends; one that does
 * not end in time is ended.
 *
 *	job:    {"id": n, "way": "mail"|"webhook"|"command", "message": {...}, and of the way:
 *	         mail:    "smtp", "tls" (bool), "user", "password_file", "from", "to", "ca"
 *	         webhook: "url", "ca"
 *	         command: "path"}
 *	answer: {"id": n, "ok": bool, "answer": "one line"}
 */
#ifndef BOOTWELL_ALERT_SENDER_H
#define BOOTWELL_ALERT_SENDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define ALERT_JOB_MAX         (128u << 10) /* bytes of a job's text */
#define ALERT_JOBS_MAX        8            /* at work at a time; a job beyond is refused */
#define ALERT_ANSWER_MAX      300          /* bytes of an answer, with the NUL */
#define ALERT_CONNECT_SECONDS 10
#define ALERT_MAIL_SECONDS    60
#define ALERT_HOOK_SECONDS    20
#define ALERT_COMMAND_SECONDS 30
#define ALERT_JOB_SECONDS     75   /* then its process is killed, whatever it does */
#define ALERT_OUTPUT_MAX      4096 /* bytes of a command's output; the rest is read and forgotten */

/*
 * Begins it: before any thread, file or lock. `user`: whom it becomes when we are root; "": it stays. Returns our end
 * of the socket, SOCK_SEQPACKET, non-blocking, or -errno. It ends when that is closed.
 */
int alert_sender_start(const char *user);

/* The ways, in the job's process. True: it arrived. `answer`: what the other side said, or why not. */
bool alert_send_mail(const json_t *job, char answer[ALERT_ANSWER_MAX]);
bool alert_send_hook(const json_t *job, char answer[ALERT_ANSWER_MAX]);
bool alert_send_command(const json_t *job, char answer[ALERT_ANSWER_MAX]);

#endif
