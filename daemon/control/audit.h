/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every change that a person made, and every upload: who, from where, what was asked, what was there before and after.
 * One JSON object a line in STATE/audit.log (mode 0600), written on a helper thread; at AUDIT_SIZE the file becomes
 * audit.log.1.
 */
#ifndef BOOTWELL_AUDIT_H
#define BOOTWELL_AUDIT_H

#include <jansson.h>

#include "daemon/upload/upload.h"

struct audit;
struct http_request;
struct loop;

#define AUDIT_SIZE  (8 << 20) /* bytes */
#define AUDIT_SHOWN 1000      /* of the last changes that may be asked for */

int audit_new(struct audit **ret, struct loop *loop, const char *folder);
/* Before the HTTP servers go. NULL is fine. */
void audit_stop(struct audit *audit);
/* After loop_free(). NULL is fine. */
void audit_free(struct audit *audit);

/* What the upload port did, as such an object. NULL: out of memory. */
json_t *audit_upload(const struct upload_event *event);
/* Takes `change`. Loop's thread. */
void audit_write(struct audit *audit, json_t *change);
/* Answers with the last changes, oldest first, as a JSON array. Loop's thread. */
void audit_reply(struct audit *audit, struct http_request *request);

#endif
