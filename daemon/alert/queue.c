// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The queue's loop side: jobs go to the sender's socket, answers come from it. A job's settings are those of the moment
 * when it is tried, so that a configuration that was mended takes effect for what waits.
 */
#include "daemon/alert/queue.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SILENT_AFTER ((ALERT_JOB_SECONDS + 15) * 1000000000ull) /* no answer comes any more */

struct item {
	struct item *next;
	json_t *message;
	void *token;
	bool test;
	unsigned int tries;
	uint64_t due;  /* loop_now(); while it is being sent: when that is given up */
	json_int_t id; /* of the job; 0: it is not being sent */
};

struct way {
	struct item *first;
	struct alert_way_stats stats;
};

struct alert_queue {
	struct loop *loop;
	int fd;
	struct config **config;
	alert_sent_fn sent;
	void *arg;
	struct loop_source *timer, *poll;
	struct way way[ALERT_WAYS];
	json_int_t last_id;
	bool in_pump, again; /* again: something was put meanwhile */
	char text[4096];
};

const char *alert_way_name(enum alert_way way)
{
	static const char *const names[] = {"mail", "webhook", "command"};

	return names[way];
}

bool alert_way_is_on(const struct config *c, enum alert_way way)
{
	const char *const key[] = {c->alert.mail, c->alert.webhook, c->alert.command};

	return key[way][0] != '\0';
}

uint64_t alert_queue_pause(unsigned int tries)
{
	uint64_t pause = ALERT_FIRST_RETRY;

	while (tries-- > 1 && pause < ALERT_LAST_RETRY)
		pause *= 2;
	return pause < ALERT_LAST_RETRY ? pause : ALERT_LAST_RETRY;
}

static json_t *job_of(const struct config *c, enum alert_way way, const struct item *item)
{
	const struct config_alert *a = &c->alert;
	json_t *o = json_pack("{s:I, s:s, s:O}", "id", item->id, "way", alert_way_name(way), "message", item->message);

	if (way == ALERT_MAIL)
		json_object_update_new(o, json_pack("{s:s, s:b, s:s, s:s, s:s, s:s, s:s}", "smtp", a->smtp, "tls",
						    a->smtp_tls == CONFIG_SMTP_TLS_REQUIRED, "user", a->smtp_user,
						    "password_file", a->smtp_password_file, "from", a->mail_from, "to",
						    a->mail, "ca", a->ca_file));
	else if (way == ALERT_WEBHOOK)
		json_object_update_new(o, json_pack("{s:s, s:s}", "url", a->webhook, "ca", a->ca_file));
	else
		json_object_update_new(o, json_pack("{s:s}", "path", a->command));
	return o;
}

static void item_free(struct item *item)
{
	json_decref(item->message);
	free(item);
}

static void take_out(struct way *w, struct item *item)
{
	struct item **at = &w->first;

	while (*at != item)
		at = &(*at)->next;
	*at = item->next;
	if (!item->test)
		w->stats.waiting--;
}

static void end_item(struct alert_queue *q, enum alert_way way, struct item *item, bool ok, const char *answer)
{
	struct way *w = &q->way[way];

	take_out(w, item);
	if (!item->test && ok)
		w->stats.sent++;
	else if (!item->test)
		w->stats.lost++;
	q->sent(q->arg, item->token, way, ok, answer);
	item_free(item);
}

/* One try has ended. */
static void tried(struct alert_queue *q, enum alert_way way, struct item *item, bool ok, const char *answer)
{
	struct way *w = &q->way[way];

	item->id = 0;
	item->tries++;
	w->stats.failing = !ok;
	snprintf(w->stats.answer, sizeof(w->stats.answer), "%s", answer);
	if (ok || item->test || item->tries >= ALERT_TRIES)
		end_item(q, way, item, ok, answer);
	else
		item->due = loop_now(q->loop) + alert_queue_pause(item->tries);
}

static void try_item(struct alert_queue *q, enum alert_way way, struct item *item)
{
	json_t *job;
	char *text;
	ssize_t n = -1;

	item->id = ++q->last_id;
	item->due = loop_now(q->loop) + SILENT_AFTER;
	job = job_of(*q->config, way, item);
	text = job ? json_dumps(job, JSON_COMPACT) : NULL;
	json_decref(job);
	if (!text)
		errno = ENOMEM;
	else if (q->fd < 0)
		errno = EPIPE;
	else
		n = send(q->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		tried(q, way, item, false,
		      errno == EPIPE || errno == ECONNRESET
			      ? "the process that sends has ended: \"systemctl restart bootwell\" begins it again"
			      : strerror(errno));
	free(text);
}

/* The next one of the way that can be tried or given up; NULL: none yet. */
static struct item *due_item(struct alert_queue *q, struct way *w, uint64_t *next)
{
	bool first = true;

	for (struct item *i = w->first; i; i = i->next) {
		bool turn = i->test || first;

		if (!i->test)
			first = false;
		if (!turn)
			continue;
		if (i->due <= loop_now(q->loop))
			return i;
		if (i->due < *next)
			*next = i->due;
	}
	return NULL;
}

static void pump(struct alert_queue *q)
{
	uint64_t next = UINT64_MAX;

	if (q->in_pump)
		return;
	q->in_pump = true;
	q->again = false;
	for (unsigned int way = 0; way < ALERT_WAYS; way++) {
		struct item *item;

		while ((item = due_item(q, &q->way[way], &next))) {
			if (item->id)
				tried(q, way, item, false, "the process that sends does not answer");
			else if (!alert_way_is_on(*q->config, way))
				end_item(q, way, item, false, "it is not configured any more");
			else
				try_item(q, way, item);
		}
	}
	q->in_pump = false;
	loop_timer_set(q->timer, q->again ? loop_now(q->loop) : next);
}

static void on_timer(void *arg)
{
	pump(arg);
}

static void take_answer(struct alert_queue *q, const json_t *o)
{
	json_int_t id = json_integer_value(json_object_get(o, "id"));
	const char *answer = json_string_value(json_object_get(o, "answer"));

	for (unsigned int way = 0; id && way < ALERT_WAYS; way++)
		for (struct item *i = q->way[way].first; i; i = i->next)
			if (i->id == id) {
				tried(q, way, i, json_is_true(json_object_get(o, "ok")), answer ? answer : "");
				return;
			}
}

static void on_answer(void *arg, uint32_t revents)
{
	struct alert_queue *q = arg;
	ssize_t n;

	(void)revents;
	while ((n = recv(q->fd, q->text, sizeof(q->text), MSG_DONTWAIT)) > 0) {
		json_t *o = json_loadb(q->text, (size_t)n, 0, NULL);

		take_answer(q, o);
		json_decref(o);
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		loop_source_free(q->poll);
		q->poll = NULL;
		close(q->fd);
		q->fd = -1;
	}
	pump(q);
}

int alert_queue_put(struct alert_queue *q, enum alert_way way, json_t *message, bool test, void *token)
{
	struct way *w = &q->way[way];
	struct item *item, **at = &w->first;

	if (!test && w->stats.waiting == ALERT_QUEUE_MAX) {
		w->stats.lost++;
		return -ENOBUFS;
	}
	item = calloc(1, sizeof(*item));
	if (!item)
		return -ENOMEM;
	item->message = json_incref(message);
	item->test = test;
	item->token = token;
	while (*at)
		at = &(*at)->next;
	*at = item;
	if (!test)
		w->stats.waiting++;
	q->again = true;
	loop_timer_set(q->timer, loop_now(q->loop)); /* not now: the caller has not done yet */
	return 0;
}

void alert_queue_stats(const struct alert_queue *q, enum alert_way way, struct alert_way_stats *ret)
{
	*ret = q->way[way].stats;
}

int alert_queue_new(struct alert_queue **ret, struct loop *loop, int fd, struct config **config, alert_sent_fn sent,
		    void *arg)
{
	struct alert_queue *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return -ENOMEM;
	*q = (struct alert_queue){.loop = loop, .fd = fd, .config = config, .sent = sent, .arg = arg};
	r = loop_add_timer(loop, UINT64_MAX, on_timer, q, &q->timer);
	if (!r && fd >= 0)
		r = loop_add_poll(loop, fd, POLLIN, on_answer, q, &q->poll);
	if (r) {
		q->fd = -1;
		alert_queue_free(q);
		return r;
	}
	*ret = q;
	return 0;
}

void alert_queue_free(struct alert_queue *q)
{
	if (!q)
		return;
	loop_source_free(q->timer);
	loop_source_free(q->poll);
	for (unsigned int way = 0; way < ALERT_WAYS; way++)
		while (q->way[way].first) {
			struct item *next = q->way[way].first->next;

			item_free(q->way[way].first);
			q->way[way].first = next;
		}
	if (q->fd >= 0)
		close(q->fd);
	free(q);
}
