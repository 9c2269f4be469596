// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One document is made at a time: a snapshot, then its text on a thread in the background, then all who waited are
 * answered. Who needs a newer one than that which is being made waits for the next.
 */
#include "daemon/control/documents.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/parts.h"
#include "daemon/control/status.h"
#include "daemon/core/aside.h"
#include "daemon/core/clock.h"

#define SECOND 1000000000ull
#define ALIVE  (5 * SECOND)
#define JSON   "application/json"

/* Requests that wait for one document. */
struct waiters {
	struct http_request **request;
	size_t n, room;
};

struct kind {
	struct http_document *now;    /* under the lock */
	uint64_t begun;               /* loop_now() when it was; under the lock */
	struct waiters waiting, next; /* for the one that is being made or comes; for the one after that */
};

struct documents {
	struct daemon *d;
	struct aside *history; /* reads boots from the disk of the state, which may hang */
	struct aside *aside;   /* prints: in the background, and nobody waits for it at the end */
	pthread_mutex_t lock;
	struct kind kind[DOCUMENTS];
	struct loop_source *tick; /* tells the time to documents_early() */
	uint64_t now;             /* under the lock */
	bool making, stopped;
	uint64_t making_since, changed; /* loop_now() */
	unsigned int last;              /* kind that was made last: they take turns */
};

struct work {
	struct aside_job job;
	struct documents *documents;
	enum document what;
	uint64_t begun;
	struct status_source source;
	char *text;
	size_t length;
	/* one client */
	bool boots, none;
	struct http_request *request;
};

/* --- who waits ---------------------------------------------------------------------------------------------------- */

static void waiters_add(struct waiters *w, struct http_request *request)
{
	if (w->n == w->room) {
		size_t room = w->room ? 2 * w->room : 16;
		struct http_request **more = reallocarray(w->request, room, sizeof(struct http_request *));

		if (!more) {
			http_reply(request, 500, "text/plain", "out of memory\n", 14);
			return;
		}
		w->request = more;
		w->room = room;
	}
	w->request[w->n++] = request;
}

static void waiters_answer(struct waiters *w, struct http_document *document)
{
	for (size_t i = 0; i < w->n; i++)
		http_reply_document(w->request[i], document);
	free(w->request);
	*w = (struct waiters){0};
}

/* --- making one --------------------------------------------------------------------------------------------------- */

static void make_next(struct documents *s);

static void work_free(struct work *w)
{
	status_source_done(&w->source);
	free(w->text);
	free(w);
}

static void print(struct aside_job *job)
{
	struct work *w = (struct work *)job;

	w->text = status_print(&w->source,
			       w->what == DOCUMENT_STATUS    ? STATUS_ALL
			       : w->what == DOCUMENT_CLIENTS ? STATUS_CLIENTS
							     : STATUS_IMAGES,
			       &w->length);
}

static void work_drop(struct aside_job *job)
{
	work_free((struct work *)job);
}

static void publish(struct documents *s, struct kind *k, struct http_document *document, uint64_t begun)
{
	struct http_document *old;

	pthread_mutex_lock(&s->lock);
	old = k->now;
	k->now = document;
	k->begun = begun;
	pthread_mutex_unlock(&s->lock);
	http_document_stale(old);
	http_document_unref(old);
}

/* Without a text: out of memory. */
static void made(struct work *w)
{
	struct documents *s = w->documents;
	struct kind *k = &s->kind[w->what];
	struct http_document *document = NULL;

	if (w->text) {
		document = http_document_new(w->text, w->length, JSON);
		w->text = NULL;
	}
	s->making = false;
	if (s->stopped) {
		http_document_unref(document);
	} else {
		waiters_answer(&k->waiting, document);
		k->waiting = k->next;
		k->next = (struct waiters){0};
		publish(s, k, document, w->begun >= s->changed ? w->begun : 0);
		make_next(s);
	}
	work_free(w);
}

static void printed(void *owner, struct aside_job *job)
{
	(void)owner;
	made((struct work *)job);
}

static void on_snapshot(void *arg, struct snapshot *snapshot)
{
	struct work *w = arg;
	struct documents *s = w->documents;

	if (s->stopped) {
		work_free(w);
		return;
	}
	status_source_init(&w->source, s->d, snapshot);
	if (w->what == DOCUMENT_STATUS)
		status_source_all(&w->source, s->d);
	w->job = (struct aside_job){.work = print, .done = printed, .drop = work_drop};
	if (aside_begin(s->aside, &w->job))
		made(w);
}

static void make_next(struct documents *s)
{
	struct work *w;

	for (unsigned int i = 1; i <= DOCUMENTS && !s->making; i++) {
		unsigned int what = (s->last + i) % DOCUMENTS;

		if (!s->kind[what].waiting.n)
			continue;
		w = calloc(1, sizeof(*w));
		if (!w) {
			waiters_answer(&s->kind[what].waiting, NULL);
			continue;
		}
		w->documents = s;
		w->what = what;
		w->begun = s->making_since = loop_now(s->d->loop);
		s->making = true;
		s->last = what;
		if (snapshot_take(s->d->snapshots, 0, on_snapshot, w))
			made(w);
	}
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

/* With the lock. */
static struct http_document *new_enough(struct documents *s, enum document what)
{
	struct kind *k = &s->kind[what];

	return k->now && s->now - k->begun < SECOND ? k->now : NULL;
}

bool documents_early(struct documents *s, enum document what, struct http_request *request)
{
	struct http_document *document;

	pthread_mutex_lock(&s->lock);
	document = new_enough(s, what);
	if (document)
		http_reply_document(request, document);
	pthread_mutex_unlock(&s->lock);
	return document;
}

void documents_reply(struct documents *s, enum document what, bool fresh, struct http_request *request)
{
	struct kind *k = &s->kind[what];

	if (s->stopped) {
		http_reply(request, 503, "text/plain", "the server is being stopped\n", 28);
		return;
	}
	if (!fresh && documents_early(s, what, request))
		return;
	if (s->making && s->last == what && (fresh || s->making_since < s->changed))
		waiters_add(&k->next, request);
	else
		waiters_add(&k->waiting, request);
	make_next(s);
}

void documents_changed(struct documents *s)
{
	if (!s)
		return;
	s->changed = loop_now(s->d->loop) + 1;
	for (unsigned int i = 0; i < DOCUMENTS; i++)
		publish(s, &s->kind[i], NULL, 0);
}

/* A clock for the thread that answers early: half a second is exact enough for a document of one second. */
static void on_tick(void *arg)
{
	struct documents *s = arg;

	pthread_mutex_lock(&s->lock);
	s->now = loop_now(s->d->loop);
	pthread_mutex_unlock(&s->lock);
	loop_timer_set(s->tick, loop_now(s->d->loop) + SECOND / 2);
}

bool documents_alive(struct documents *s)
{
	uint64_t seen;

	pthread_mutex_lock(&s->lock);
	seen = s->now;
	pthread_mutex_unlock(&s->lock);
	return clock_monotonic_ns() - seen < ALIVE;
}

/* --- one client --------------------------------------------------------------------------------------------------- */

static void print_one(struct aside_job *job)
{
	struct work *w = (struct work *)job;

	w->text = status_print(&w->source, w->boots ? STATUS_BOOTS : STATUS_CLIENT, &w->length);
}

static void printed_one(void *owner, struct aside_job *job)
{
	struct work *w = (struct work *)job;

	(void)owner;
	if (w->documents->stopped)
		; /* who asked was answered by http_free() */
	else if (!w->text)
		http_reply(w->request, 500, "text/plain", "out of memory\n", 14);
	else
		http_reply(w->request, 200, JSON, w->text, w->length);
	work_free(w);
}

void documents_client(struct documents *s, const char *name, bool boots, struct http_request *request)
{
	static const char none[] =
		"{\"error\": \"there is no such client; \\\"bootwell client list\\\" shows them\"}\n";
	struct snapshot *one;
	struct work *w;
	int r = snapshot_one(s->d->boot, name, &one);

	if (r) {
		http_reply(request, r == -ENOENT ? 404 : 500, JSON, none, strlen(none));
		return;
	}
	w = calloc(1, sizeof(*w));
	if (w) {
		w->documents = s;
		w->boots = boots;
		w->request = request;
		status_source_init(&w->source, s->d, one);
	}
	snapshot_unref(one);
	if (w) {
		w->job = (struct aside_job){.work = print_one, .done = printed_one, .drop = work_drop};
		if (!aside_begin(boots ? s->history : s->aside, &w->job))
			return;
	}
	if (w)
		work_free(w);
	http_reply(request, 500, "text/plain", "out of memory\n", 14);
}

/* --- start and end ------------------------------------------------------------------------------------------------ */

int documents_new(struct documents **ret, struct daemon *d)
{
	struct documents *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->d = d;
	pthread_mutex_init(&s->lock, NULL);
	r = aside_new(&s->aside, d->loop, 1, s);
	if (!r)
		r = aside_new(&s->history, d->loop, 1, s);
	if (!r)
		r = loop_add_timer(d->loop, loop_now(d->loop), on_tick, s, &s->tick);
	if (r) {
		documents_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void documents_stop(struct documents *s)
{
	if (!s || s->stopped)
		return;
	s->stopped = true;
	loop_source_free(s->tick);
	s->tick = NULL;
	aside_free(s->aside);
	aside_free(s->history);
	s->aside = s->history = NULL;
	for (unsigned int i = 0; i < DOCUMENTS; i++) {
		waiters_answer(&s->kind[i].waiting, s->kind[i].now);
		waiters_answer(&s->kind[i].next, s->kind[i].now);
	}
}

void documents_free(struct documents *s)
{
	if (!s)
		return;
	documents_stop(s);
	for (unsigned int i = 0; i < DOCUMENTS; i++)
		http_document_unref(s->kind[i].now);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
