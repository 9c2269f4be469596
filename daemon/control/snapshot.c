// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A pass copies SLICE clients, and comes again in the next round by a timer that is due at once; the whole is sorted
 * aside. Who asks for what is now while a pass is under way waits for the next one; the others share it.
 */
#include "daemon/control/snapshot.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/aside.h"
#include "daemon/core/loop.h"

#define SLICE 128

struct waiter {
	struct waiter *next;
	snapshot_fn done;
	void *arg;
};

struct snapshots {
	struct loop *loop;
	struct boot *boot;
	struct loop_source *timer;
	struct aside *aside;
	struct snapshot *last, *coming; /* coming: a pass is under way */
	size_t at;
	struct waiter *waiting, *next_pass;
};

/* --- copies ------------------------------------------------------------------------------------------------------- */

static struct snapshot_client *add(struct snapshot *s)
{
	struct snapshot_client *more;
	size_t room = s->room ? 2 * s->room : 16;

	if (s->copies == s->room) {
		more = reallocarray(s->copy, room, sizeof(*more));
		if (!more) {
			s->failed = true;
			return NULL;
		}
		s->copy = more;
		s->room = room;
	}
	more = &s->copy[s->copies++];
	memset(more, 0, sizeof(*more));
	return more;
}

static void copy_profile(struct snapshot_client *to, const struct config_profile *p)
{
	to->choices = p->images;
	memcpy(to->choice, p->image, p->images * sizeof(p->image[0]));
	to->extras = p->disks;
	memcpy(to->extra, p->disk, p->disks * sizeof(p->disk[0]));
	to->keep = p->keep == CONFIG_YES;
	to->upload = p->upload == CONFIG_YES;
}

static void copy(void *arg, const struct boot_view *v)
{
	struct snapshot_client *to = add(arg);

	if (!to)
		return;
	to->rec = *v->client;
	to->boot = *v->boot;
	to->state = v->state;
	to->has_target = v->has_target;
	to->has_section = v->section;
	if (v->section) {
		to->section_line = v->section->line;
		snprintf(to->section_group, sizeof(to->section_group), "%s", v->section->group);
	}
	snprintf(to->image, sizeof(to->image), "%s", v->image);
	snprintf(to->session, sizeof(to->session), "%s", v->session_address);
	snprintf(to->disk, sizeof(to->disk), "%s", v->disk);
	snprintf(to->iqn, sizeof(to->iqn), "%s", v->iqn);
	copy_profile(to, v->profile);
	to->uses = v->uses;
	for (unsigned int i = 0; i < v->uses; i++) {
		snprintf(to->use[i].image, sizeof(to->use[i].image), "%s", v->use[i].image);
		to->use[i].generation = v->use[i].generation;
	}
}

static int by_name(const void *a, const void *b)
{
	const struct snapshot_client *const *ca = a, *const *cb = b;

	return strverscmp((*ca)->rec.name, (*cb)->rec.name);
}

/* One that was told twice stands beside itself: names are unique. */
static void sort(struct snapshot *s)
{
	s->client = calloc(s->copies + 1, sizeof(*s->client));
	if (!s->client) {
		s->failed = true;
		return;
	}
	for (size_t i = 0; i < s->copies; i++)
		s->client[i] = &s->copy[i];
	qsort(s->client, s->copies, sizeof(*s->client), by_name);
	for (size_t i = 0; i < s->copies; i++)
		if (!s->clients || strcmp(s->client[i]->rec.name, s->client[s->clients - 1]->rec.name))
			s->client[s->clients++] = s->client[i];
}

int snapshot_one(struct boot *boot, const char *name, struct snapshot **ret)
{
	struct snapshot *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->refs = 1;
	r = boot_view_name(boot, name, copy, s);
	if (!r)
		sort(s);
	if (!r && s->failed)
		r = -ENOMEM;
	if (r)
		snapshot_unref(s);
	else
		*ret = s;
	return r;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
	__atomic_fetch_add(&s->refs, 1, __ATOMIC_RELAXED);
	return s;
}

void snapshot_unref(struct snapshot *s)
{
	if (!s || __atomic_fetch_sub(&s->refs, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	free(s->client);
	free(s->copy);
	free(s);
}

/* --- passes ------------------------------------------------------------------------------------------------------- */

static void tell(struct waiter *list, struct snapshot *s)
{
	struct waiter *next;

	for (; list; list = next) {
		next = list->next;
		list->done(list->arg, s);
		free(list);
	}
}

static int begin(struct snapshots *s)
{
	s->coming = calloc(1, sizeof(*s->coming));
	if (!s->coming)
		return -ENOMEM;
	s->coming->refs = 1;
	s->coming->begun = loop_now(s->loop);
	s->at = 0;
	loop_timer_set(s->timer, loop_now(s->loop));
	return 0;
}

/* It is sorted. */
static void end_pass(struct snapshots *s)
{
	struct waiter *list = s->waiting;

	/* The old one goes before the new one is printed: there are two at most. */
	snapshot_unref(s->last);
	s->last = s->coming;
	s->coming = NULL;
	s->waiting = s->next_pass;
	s->next_pass = NULL;
	if (s->waiting && begin(s)) {
		tell(s->waiting, s->last); /* out of memory: an older one is better than none */
		s->waiting = NULL;
	}
	tell(list, s->last);
}

struct sorting {
	struct aside_job job;
	struct snapshot *snapshot;
};

static void sort_work(struct aside_job *job)
{
	sort(((struct sorting *)job)->snapshot);
}

static void sort_drop(struct aside_job *job)
{
	snapshot_unref(((struct sorting *)job)->snapshot);
	free(job);
}

static void sorted(void *owner, struct aside_job *job)
{
	sort_drop(job);
	end_pass(owner);
}

static void begin_sort(struct snapshots *s)
{
	struct sorting *w = calloc(1, sizeof(*w));

	if (w) {
		w->job = (struct aside_job){.work = sort_work, .done = sorted, .drop = sort_drop};
		w->snapshot = snapshot_ref(s->coming);
		if (!aside_begin(s->aside, &w->job))
			return;
		sort_drop(&w->job);
	}
	sort(s->coming);
	end_pass(s);
}

static void on_timer(void *arg)
{
	struct snapshots *s = arg;

	if (!s->coming)
		return;
	s->at = boot_each_some(s->boot, s->at, SLICE, copy, s->coming);
	if (s->at)
		loop_timer_set(s->timer, loop_now(s->loop));
	else
		begin_sort(s);
}

int snapshot_take(struct snapshots *s, uint64_t age, snapshot_fn done, void *arg)
{
	struct waiter *w;

	if (age && s->last && loop_now(s->loop) - s->last->begun <= age) {
		done(arg, s->last);
		return 0;
	}
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->done = done;
	w->arg = arg;
	if (!s->coming) {
		int r = begin(s);

		if (r) {
			free(w);
			return r;
		}
		w->next = s->waiting;
		s->waiting = w;
	} else if (age) {
		w->next = s->waiting;
		s->waiting = w;
	} else {
		w->next = s->next_pass;
		s->next_pass = w;
	}
	return 0;
}

int snapshots_new(struct snapshots **ret, struct loop *loop, struct boot *boot)
{
	struct snapshots *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->boot = boot;
	r = aside_new(&s->aside, loop, 1, s);
	if (!r)
		r = loop_add_timer(loop, UINT64_MAX, on_timer, s, &s->timer);
	if (r) {
		aside_free(s->aside);
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void snapshots_free(struct snapshots *s)
{
	if (!s)
		return;
	loop_source_free(s->timer);
	aside_free(s->aside);
	tell(s->waiting, NULL);
	tell(s->next_pass, NULL);
	snapshot_unref(s->coming);
	snapshot_unref(s->last);
	free(s);
}
