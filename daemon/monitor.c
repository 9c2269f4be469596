// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Three kinds of work on helper threads, each at most once at a time: a scrape (all who ask meanwhile get its answer), the
 * tree of files, and finding the block devices, which may wait for a dead NFS server. When a scrape does not end (configfs
 * waits for a target that cannot be removed), those who ask get after a moment what memory knows, and
 * bootwell_scrape_complete is 0.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/bootwelld.h"
#include "daemon/kernel_stats.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/monitor.h"
#include "daemon/stat_tree.h"

#define SECOND       1000000000ull
#define TREE_EVERY   (5 * SECOND)
#define TREE_AFTER   (SECOND / 2) /* the start */
#define FIND_EVERY   (300 * SECOND)
#define SCRAPE_MOST  (4 * SECOND) /* a scraper waits 10 s by itself */
#define WAITERS_MAX  64
#define HISTORY      120 /* of the tree's samples: ten minutes */

struct work {
	struct monitor *monitor;
	struct metrics_sample *sample;
	int result; /* of the tree */
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
	bool scraping, finding, writing, stopped, tree_failed;
	struct stat_tree *tree; /* NULL: there is no folder for it */
	struct metrics_device device[METRICS_DEVICES];
	unsigned int devices;
};

/* --- scrapes ---------------------------------------------------------------------------------- */

static void reply(struct http_request *request, const struct metrics_text *m)
{
	if (!m || m->failed || !m->text)
		http_reply(request, 500, "text/plain", "out of memory\n", 14);
	else
		http_reply(request, 200, "text/plain; version=0.0.4; charset=utf-8", m->text, m->length);
}

static void answer(struct monitor *m, const struct metrics_text *text)
{
	for (unsigned int i = 0; i < m->waiters; i++)
		reply(m->waiter[i], text);
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

	metrics_sample_complete(w->sample);
	say_complete(w->sample, true);
	return 0;
}

static void scrape_done(void *arg, int result)
{
	struct work *w = arg;
	struct monitor *m = w->monitor;

	m->scraping = false;
	if (!m->stopped)
		answer(m, result ? NULL : metrics_sample_text(w->sample));
	metrics_sample_free(w->sample);
	free(w);
}

/* What memory knows. */
static void answer_late(struct daemon *d, struct monitor *m, struct http_request *request)
{
	struct metrics_sample *s = metrics_sample_new(d, m ? m->device : NULL, 0, NULL, NULL);

	if (s)
		say_complete(s, false);
	if (request)
		reply(request, s ? metrics_sample_text(s) : NULL);
	else
		answer(m, s ? metrics_sample_text(s) : NULL);
	metrics_sample_free(s);
}

static void on_late(void *arg)
{
	struct monitor *m = arg;

	answer_late(m->d, m, NULL);
}

static int begin_scrape(struct monitor *m)
{
	struct work *w = calloc(1, sizeof(*w));
	int r = -ENOMEM;

	if (w)
		w->sample = metrics_sample_new(m->d, m->device, m->devices, NULL, NULL);
	if (w && w->sample) {
		w->monitor = m;
		r = loop_work(m->d->loop, scrape_work, scrape_done, w);
	}
	if (!r) {
		m->scraping = true;
		return 0;
	}
	if (w)
		metrics_sample_free(w->sample);
	free(w);
	return r;
}

void monitor_scrape(struct monitor *m, struct daemon *d, struct http_request *request)
{
	if (!m || m->stopped || m->waiters == WAITERS_MAX || (!m->scraping && begin_scrape(m))) {
		answer_late(d, m, request);
		return;
	}
	m->waiter[m->waiters++] = request;
	if (m->waiters == 1)
		loop_timer_set(m->late_timer, loop_now(d->loop) + SCRAPE_MOST);
}

/* --- the tree --------------------------------------------------------------------------------- */

static int tree_work(void *arg)
{
	struct work *w = arg;

	metrics_sample_complete(w->sample);
	w->result = stat_tree_commit(w->monitor->tree);
	return 0;
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
	}
	metrics_sample_free(w->sample);
	free(w);
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
	stat_tree_begin(m->tree);
	w->sample = metrics_sample_new(m->d, m->device, m->devices, stat_tree_see, m->tree);
	if (w->sample && !loop_work(m->d->loop, tree_work, tree_done, w)) {
		m->writing = true;
		return;
	}
	metrics_sample_free(w->sample);
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
	if (!r && m->tree)
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

void monitor_stop(struct monitor *m)
{
	if (!m)
		return;
	if (m->waiters)
		answer_late(m->d, m, NULL);
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
	free(m);
}
