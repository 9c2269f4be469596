/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looks at everything and shows it: answers /metrics, and keeps RUN/stat/ up to date. What may block is done on helper
 * threads. Loop's thread only.
 */
#ifndef BOOTWELL_MONITOR_H
#define BOOTWELL_MONITOR_H

#include <jansson.h>
#include <stdbool.h>

struct daemon;
struct http_request;
struct monitor;

int monitor_new(struct monitor **ret, struct daemon *d);
/* Answers who waits and begins nothing more; before the HTTP servers go. NULL is fine. */
void monitor_stop(struct monitor *monitor);
/* After loop_free(), which waits for the helper threads. Removes RUN/stat/. */
void monitor_free(struct monitor *monitor);
/* The configuration is another one. */
void monitor_reload(struct monitor *monitor);

/* What was scraped before is not shown any more. */
void monitor_changed(struct monitor *monitor);

/* Answers GET /metrics, now or later; not `fresh`: with what is at most a second old. */
void monitor_scrape(struct monitor *monitor, struct http_request *request, bool fresh);

/* The last ten minutes, oldest first: [seconds before now, PCs running, bytes read, bytes written] each. */
json_t *monitor_history(const struct monitor *monitor);

#endif
