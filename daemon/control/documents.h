/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The documents that many may ask for: status, clients, images, metrics. Each is made at most once a second for the
 * network, from a snapshot, on a helper thread, and shared by all who ask; who changes something, and the command line,
 * get one that is begun after they asked. Nothing of it is made on the loop, and nobody who asks often costs more than
 * one document a second.
 */
#ifndef BOOTWELL_DOCUMENTS_H
#define BOOTWELL_DOCUMENTS_H

#include <stdbool.h>

struct daemon;
struct documents;
struct http_request;

enum document { DOCUMENT_STATUS, DOCUMENT_CLIENTS, DOCUMENT_IMAGES, DOCUMENTS };

int documents_new(struct documents **ret, struct daemon *d);
/* Answers who waits, and makes nothing more; before the HTTP servers go. NULL is fine. */
void documents_stop(struct documents *documents);
/* After loop_free(), which waits for the helper threads. */
void documents_free(struct documents *documents);

/* Any thread: answers with a document that is there and new enough; false: there is none. */
bool documents_early(struct documents *documents, enum document what, struct http_request *request);
/* Loop's thread: answers, now or later. `fresh`: with what is true now. */
void documents_reply(struct documents *documents, enum document what, bool fresh, struct http_request *request);
/* Something was changed: what was made before is not shown any more. Loop's thread. */
void documents_changed(struct documents *documents);
/* Any thread: whether the loop went round in the last seconds. */
bool documents_alive(struct documents *documents);
/* One client, or its boots; loop's thread. */
void documents_client(struct documents *documents, const char *name, bool boots, struct http_request *request);

#endif
