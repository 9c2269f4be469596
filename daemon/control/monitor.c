// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Three kinds of work on helper threads, each at most once at a time: a scrape (all who ask meanwhile get its answer),
 * the tree of files with the alerts, which are made of the same values, and finding the block devices, which may wait
 * for a dead NFS server. When a scrape does not end (configfs waits for a target that cannot be removed), those who ask
 * get after a moment what memory knows, and bootwell_scrape_complete is 0. Who asks again within a second gets the same
 * text.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/alerts.h"
#include "daemon/control/parts.h"
#include "daemon/control/kernel_stats.h"
#include "daemon/core/log.h"
#include "daemon/control/metrics.h"
#include "daemon/control/monitor.h"
#include "daemon/control/stat_tree.h"

#define SECOND      1000000000ull
#define TREE_EVERY  (5 * SECOND)
#define TREE_AFTER  (SECOND / 2) /* the start */
#define FIND_EVERY  (300 * SECOND)
#define SCRAPE_MOST (4 * SECOND) /* a scraper waits 10 s by itself */
#define WAITERS_MAX 64
#define HISTORY     120 /* of the tree's samples: ten minutes */

struct work {
	struct monitor *monitor;
	struct metrics_sample *sample;
	int result; /* of the tree */
	bool late;
	uint64_t begun; /* loop_now() */
};

struct find {
	struct monitor *monitor;
	char path[3][256]; /* of state, store, images */
	struct metrics_device device[METRICS_DEVICES];
	unsigned int devices;
};

struct moment {
	uint64_t when; /* CLOCK_MONOTONIC, ns */
	struct metrics_totals totals;
};

struct monitor {
	struct daemon *d;
	struct moment history[HISTORY]; /* a ring */
	unsigned int moments;           /* ever */
	struct loop_source *tree_timer, *find_timer, *late_timer;
	struct http_request *waiter[WAITERS_MAX];
	unsigned int waiters;
	struct http_document *last; /* the last scrape */
	uint64_t last_begun;
	bool scraping, scraping_late, finding, writing, stopped, tree_failed;
	struct stat_tree *tree; /* NULL: there is no folder for it */
	struct metrics_device device[METRICS_DEVICES];
	unsigned int devices;
};

/* --- scrapes ---------------------------------------------------------------------------------- */

static void answer(struct monitor *m, struct http_document *document)
{
	for (unsigned int i = 0; i < m->waiters; i++)
		http_reply_document(m->waiter[i], document);
	m->waiters = 0;
	loop_timer_set(m->late_timer, UINT64_MAX);
}

/* Tells whether the counts of handler and kernel are in it. */
static void say_complete(struct metrics_sample *sample, bool complete)
{
	struct metrics_text *text = (struct metrics_text *)metrics_sample_text(sample);

	metrics_family(text, "bootwell_scrape_complete", "gauge",
		       "1 when the counts of the handler and of the kernel could be read in time.");
	metrics_count(text, complete, NULL);
}

static int scrape_work(void *arg)
{
	struct work *w = arg;

	metrics_sample_write(w->sample);
	if (!w->late)
		metrics_sample_complete(w->sample);
	say_complete(w->sample, !w->late);
	return 0;
}

static struct http_document *document_of(struct metrics_sample *sample)
{
	struct metrics_text *text = (struct metrics_text *)metrics_sample_text(sample);
	struct http_document *document;

	if (text->failed || !text->text)
		return NULL;
	document = http_document_new(text->text, text->length, "text/plain; version=0.0.4; charset=utf-8");
	text->text = NULL; /* it is the document's now */
	metrics_text_init(text);
	return document;
}

static void work_free(struct work *w)
{
	metrics_sample_free(w->sample);
	free(w);
}

static void keep(struct monitor *m, struct http_document *document, uint64_t begun)
{
	http_document_stale(m->last);
	http_document_unref(m->last);
	m->last = document;
	m->last_begun = begun;
}

static void scrape_done(void *arg, int result)
{
	struct work *w = arg;
	struct monitor *m = w->monitor;
	struct http_document *document = result || m->stopped || !w->sample ? NULL : document_of(w->sample);

	if (w->late)
		m->scraping_late = false;
	else
		m->scraping = false;
	if (!m->stopped) {
		answer(m, document);
		keep(m, document, w->begun);
	} else {
		http_document_unref(document);
	}
	work_free(w);
}

static void scrape_snapshot(void *arg, struct snapshot *snapshot)
{
	struct work *w = arg;
	struct monitor *m = w->monitor;

	if (m->stopped) {
		work_free(w);
		return;
	}
	w->sample = metrics_sample_new(m->d, snapshot, m->device, m->devices, NULL, NULL);
	if (!w->sample || loop_work(m->d->loop, scrape_work, scrape_done, w))
		scrape_done(w, -ENOMEM);
}

/* `late`: with what memory knows, beside one that does not end. */
static int begin_scrape(struct monitor *m, bool late)
{
	struct work *w = calloc(1, sizeof(*w));
	bool *flag = late ? &m->scraping_late : &m->scraping;

	if (!w)
		return -ENOMEM;
	w->monitor = m;
	w->late = late;
	w->begun = loop_now(m->d->loop);
	*flag = true;
	if (!snapshot_take(m->d->snapshots, late ? SECOND : 0, scrape_snapshot, w))
		return 0;
	*flag = false;
	free(w);
	return -ENOMEM;
}

static void on_late(void *arg)
{
	struct monitor *m = arg;

	if (!m->scraping_late && begin_scrape(m, true))
		answer(m, NULL);
}

void monitor_scrape(struct monitor *m, struct http_request *request, bool fresh)
{
	if (m && !fresh && m->last && m->last_begun && loop_now(m->d->loop) - m->last_begun < SECOND) {
		http_reply_document(request, m->last);
		return;
	}
	if (!m || m->stopped || m->waiters == WAITERS_MAX || (!m->scraping && begin_scrape(m, false))) {
		http_reply(request, 503, "text/plain", "too many ask for metrics\n", 25);
		return;
	}
	m->waiter[m->waiters++] = request;
	if (m->waiters == 1)
		loop_timer_set(m->late_timer, loop_now(m->d->loop) + SCRAPE_MOST);
}

/* --- the tree --------------------------------------------------------------------------------- */

static int tree_work(void *arg)
{
	struct work *w = arg;

	metrics_sample_write(w->sample);
	metrics_sample_complete(w->sample);
	alerts_evaluate(w->monitor->d->alerts);
	w->result = w->monitor->tree ? stat_tree_commit(w->monitor->tree) : 0;
	return 0;
}

/* Files and alerts are made of the same values. */
static void see(void *arg, const char *name, const char *suffix, const struct metrics_label *label, unsigned int labels,
		const char *value)
{
	struct monitor *m = arg;

	if (m->tree)
		stat_tree_see(m->tree, name, suffix, label, labels, value);
	alerts_see(m->d->alerts, name, suffix, label, labels, value);
}

static void tree_done(void *arg, int result)
{
	struct work *w = arg;
	struct monitor *m = w->monitor;

	m->writing = false;
	if (!result && w->result && !m->tree_failed)
		log_warning("the files of %s/stat cannot be written: %s", m->d->config->run_path, strerror(-w->result));
	m->tree_failed = !result && w->result;
	if (!result) {
		struct moment *moment = &m->history[m->moments++ % HISTORY];

		moment->when = loop_now(m->d->loop);
		metrics_sample_totals(w->sample, &moment->totals);
		if (!m->stopped)
			alerts_tell(m->d->alerts);
	}
	work_free(w);
}

static void tree_snapshot(void *arg, struct snapshot *snapshot)
{
	struct work *w = arg;
	struct monitor *m = w->monitor;

	if (m->stopped) {
		work_free(w);
		return;
	}
	if (m->tree)
		stat_tree_begin(m->tree);
	alerts_begin(m->d->alerts);
	w->sample = metrics_sample_new(m->d, snapshot, m->device, m->devices, see, m);
	if (!w->sample || loop_work(m->d->loop, tree_work, tree_done, w))
		tree_done(w, -ENOMEM);
}

static void on_tree(void *arg)
{
	struct monitor *m = arg;
	struct work *w;

	loop_timer_set(m->tree_timer, loop_now(m->d->loop) + TREE_EVERY);
	if (m->writing)
		return;
	w = calloc(1, sizeof(*w));
	if (!w)
		return;
	w->monitor = m;
	m->writing = !snapshot_take(m->d->snapshots, SECOND, tree_snapshot, w);
	if (!m->writing)
		free(w);
}

json_t *monitor_history(const struct monitor *m)
{
	json_t *list = json_array();
	unsigned int first = m && m->moments > HISTORY ? m->moments - HISTORY : 0;

	for (unsigned int i = first; m && i < m->moments; i++) {
		const struct moment *at = &m->history[i % HISTORY];

		json_array_append_new(list, json_pack("[f, I, I, I]", (loop_now(m->d->loop) - at->when) / 1e9,
						      (json_int_t)at->totals.running, (json_int_t)at->totals.read_bytes,
						      (json_int_t)at->totals.written_bytes));
	}
	return list;
}

/* --- block devices ---------------------------------------------------------------------------- */

static void note_device(struct find *f, const char *name, const char *holds)
{
	struct metrics_device *device = NULL;

	for (unsigned int i = 0; i < f->devices; i++)
		if (!strcmp(f->device[i].name, name))
			device = &f->device[i];
	if (!device) {
		if (f->devices == METRICS_DEVICES)
			return;
		device = &f->device[f->devices++];
		snprintf(device->name, sizeof(device->name), "%s", name);
	} else {
		strncat(device->holds, "+", sizeof(device->holds) - strlen(device->holds) - 1);
	}
	strncat(device->holds, holds, sizeof(device->holds) - strlen(device->holds) - 1);
}

static int find_work(void *arg)
{
	static const char *const holds[] = {"state", "store", "images"};
	struct find *f = arg;
	char name[KERNEL_BLOCK_NAME_MAX];

	for (unsigned int i = 0; i < 3; i++)
		if (!kernel_block_find("/sys", "/proc/self/mountinfo", f->path[i], name))
			note_device(f, name, holds[i]);
	return 0;
}

static void find_done(void *arg, int result)
{
	struct find *f = arg;
	struct monitor *m = f->monitor;

	m->finding = false;
	if (!result) {
		memcpy(m->device, f->device, sizeof(m->device));
		m->devices = f->devices;
	}
	free(f);
}

static void on_find(void *arg)
{
	struct monitor *m = arg;
	const struct config *c = m->d->config;
	struct find *f;

	loop_timer_set(m->find_timer, loop_now(m->d->loop) + FIND_EVERY);
	if (m->finding)
		return;
	f = calloc(1, sizeof(*f));
	if (!f)
		return;
	f->monitor = m;
	snprintf(f->path[0], sizeof(f->path[0]), "%s", c->state_path);
	snprintf(f->path[1], sizeof(f->path[1]), "%s", c->store_path);
	snprintf(f->path[2], sizeof(f->path[2]), "%s", c->images_path);
	m->finding = !loop_work(m->d->loop, find_work, find_done, f);
	if (!m->finding)
		free(f);
}

/* --- start and end ---------------------------------------------------------------------------- */

int monitor_new(struct monitor **ret, struct daemon *d)
{
	struct monitor *m = calloc(1, sizeof(*m));
	char path[300];
	int r, t;

	if (!m)
		return -ENOMEM;
	m->d = d;
	snprintf(path, sizeof(path), "%s/stat", d->config->run_path);
	t = stat_tree_new(&m->tree, path);
	if (t)
		log_warning("the folder %s cannot be made, there will be no files of counters: %s", path, strerror(-t));
	r = loop_add_timer(d->loop, UINT64_MAX, on_late, m, &m->late_timer);
	if (!r)
		r = loop_add_timer(d->loop, loop_now(d->loop), on_find, m, &m->find_timer);
	if (!r)
		r = loop_add_timer(d->loop, loop_now(d->loop) + TREE_AFTER, on_tree, m, &m->tree_timer);
	if (r) {
		monitor_stop(m);
		monitor_free(m);
		return r;
	}
	*ret = m;
	return 0;
}

void monitor_reload(struct monitor *m)
{
	if (m)
		loop_timer_set(m->find_timer, loop_now(m->d->loop));
}

void monitor_changed(struct monitor *m)
{
	if (m)
		m->last_begun = 0;
}

void monitor_stop(struct monitor *m)
{
	if (!m)
		return;
	if (m->waiters)
		answer(m, m->last);
	m->stopped = true;
	loop_source_free(m->late_timer);
	loop_source_free(m->find_timer);
	loop_source_free(m->tree_timer);
}

void monitor_free(struct monitor *m)
{
	if (!m)
		return;
	stat_tree_free(m->tree);
	http_document_unref(m->last);
	free(m);
}
