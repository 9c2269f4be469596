// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Questions that wait for files of images to be looked at. Everybody who waits is looked at again whenever something
 * has become known or late (catalogue/sync.c), and at the end of their own patience.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/catalogue/private.h"
#include "daemon/core/clock.h"
#include "daemon/core/loop.h"

#define PATIENCE      (CATALOGUE_PATIENCE_MS * 1000000ull)
#define LOOK_PATIENCE (6 * PATIENCE) /* of a person who adds an image */
#define LOOKS_ASKED   4u             /* by persons, at the same time: the rest of the threads is for PCs */
#define STOPPING      "the server is being stopped"

struct catalogue_waiter {
	struct catalogue_waiter *next;
	char name[CONFIG_NAME_MAX]; /* "": until all is settled */
	catalogue_ask_fn fn;
	void *arg;
	int64_t id;
	uint64_t until;
	bool looked_again;
	bool fine; /* the answer, once it is out of the list */
	struct sentence why;
};

struct catalogue_asked {
	struct catalogue_asked *next;
	struct catalogue *catalogue;
	struct catalogue_look *look;
	struct state_image row;
	catalogue_look_fn fn;
	void *arg;
	uint64_t until;
};

/* --- may PCs have it? -------------------------------------------------------------------------- */

enum verdict { WAIT, YES, NO };

/* The image's row and its parents' are there: are its files known, too? */
static enum verdict judge_files(struct catalogue *c, const char *name, const struct catalogue_chain *chain,
				uint64_t now, struct sentence *why)
{
	/* What it is to have next may be known in a moment: it need not. */
	enum verdict verdict = catalogue_is_looked_at(c, name, now) ? WAIT : YES;

	for (unsigned int i = 0; i < chain->layers; i++) {
		int r = catalogue_file_waits(c, chain->layer[i].file, now, why);

		if (r < 0)
			return NO;
		if (r > 0)
			verdict = WAIT;
	}
	/* Which image is its parent is decided when all are there. */
	return chain->undecided && catalogue_unsettled(c, now) ? WAIT : verdict;
}

static enum verdict judge(struct catalogue *c, struct catalogue_waiter *w, uint64_t now)
{
	struct catalogue_chain chain;
	enum verdict verdict;
	int r;

	if (!w->name[0])
		return catalogue_unsettled(c, now) && now < w->until ? WAIT : YES;
	r = catalogue_resolve(c, w->name, &chain, &w->why);
	/* Its file may have come since the configuration was read; without it an earlier generation is given. */
	if ((r || catalogue_is_wrong(c, w->name)) && !w->looked_again) {
		w->looked_again = true;
		catalogue_look_again(c);
		r = catalogue_resolve(c, w->name, &chain, &w->why);
	}
	if (r)
		verdict = catalogue_unsettled(c, now) ? WAIT : NO;
	else
		verdict = judge_files(c, w->name, &chain, now, &w->why);
	if (verdict == WAIT && now >= w->until)
		verdict = NO;
	if (verdict == NO)
		catalogue_why_not(c, w->name, now, &w->why);
	return verdict;
}

static void arm(struct catalogue *c, uint64_t now)
{
	uint64_t next = catalogue_next_late(c, now);

	for (const struct catalogue_waiter *w = c->waiters; w; w = w->next)
		if (w->until < next)
			next = w->until;
	for (const struct catalogue_asked *a = c->asked; a; a = a->next)
		if (a->until < next)
			next = a->until;
	if (c->timer)
		loop_timer_set(c->timer, next);
}

/* Those whose answer is known, out of the list, in the order that they came. */
static struct catalogue_waiter *take_answered(struct catalogue *c, uint64_t now)
{
	struct catalogue_waiter *answered = NULL, **last = &answered, **p = &c->waiters, *w;

	while ((w = *p)) {
		enum verdict verdict = judge(c, w, now);

		if (verdict == WAIT) {
			p = &w->next;
			continue;
		}
		*p = w->next;
		w->fine = verdict == YES;
		w->next = NULL;
		*last = w;
		last = &w->next;
	}
	return answered;
}

static void take_stock(struct catalogue *c)
{
	struct catalogue_waiter *answered, *w;
	uint64_t now = clock_monotonic_ns();

	/* Without a loop a look that judge() begins has ended at once. */
	if (c->busy)
		return;
	c->busy = true;
	catalogue_take_stock(c, now);
	answered = take_answered(c, now);
	c->busy = false;
	arm(c, now);
	while ((w = answered)) {
		answered = w->next;
		w->fn(w->arg, w->id, w->fine ? NULL : w->why.text);
		free(w);
	}
}

static void wait_for(struct catalogue *c, const struct catalogue_waiter *question)
{
	struct catalogue_waiter *w = calloc(1, sizeof(*w)), **last = &c->waiters;

	if (!w) {
		question->fn(question->arg, question->id, "the server is out of memory");
		return;
	}
	*w = *question;
	while (*last)
		last = &(*last)->next;
	*last = w;
	take_stock(c);
}

void catalogue_ask(struct catalogue *c, const char *name, catalogue_ask_fn fn, void *arg, int64_t id)
{
	uint64_t now = clock_monotonic_ns();
	struct catalogue_waiter w = {.fn = fn, .arg = arg, .id = id, .until = now + PATIENCE};

	snprintf(w.name, sizeof(w.name), "%s", name);
	wait_for(c, &w);
}

void catalogue_when_settled(struct catalogue *c, catalogue_ask_fn fn, void *arg)
{
	uint64_t now = clock_monotonic_ns();

	wait_for(c, &(struct catalogue_waiter){.fn = fn, .arg = arg, .until = now + PATIENCE});
}

void catalogue_forget(struct catalogue *c, const void *arg)
{
	struct catalogue_waiter **p = &c->waiters, *w;

	while ((w = *p)) {
		if (w->arg != arg) {
			p = &w->next;
			continue;
		}
		*p = w->next;
		free(w);
	}
}

void catalogue_settle(struct catalogue *c, unsigned int ms)
{
	uint64_t until = clock_monotonic_ns() + ms * 1000000ull;

	while (catalogue_unsettled(c, clock_monotonic_ns()) && aside_wait(c->aside, until))
		;
}

/* --- a look at one more ------------------------------------------------------------------------ */

static void asked_end(struct catalogue_asked *a, const struct state_image *seen, int result, const char *error)
{
	struct catalogue_asked **p = &a->catalogue->asked;

	while (*p != a)
		p = &(*p)->next;
	*p = a->next;
	a->fn(a->arg, seen, result, error);
	free(a);
}

static void asked_seen(struct catalogue *c, struct catalogue_look *look)
{
	c->asks--;
	if (look->arg)
		asked_end(look->arg, &look->row, look->result, look->error.text);
}

/* The look goes on, for nobody. */
static void asked_give_up(struct catalogue_asked *a, int result, const char *error)
{
	if (a->look)
		a->look->arg = NULL;
	asked_end(a, &a->row, result, error);
}

void catalogue_look(struct catalogue *c, const struct config *config, const struct state_image *row,
		    catalogue_look_fn fn, void *arg)
{
	uint64_t now = clock_monotonic_ns();
	struct catalogue_asked *a = c->asks < LOOKS_ASKED ? calloc(1, sizeof(*a)) : NULL;
	struct catalogue_look *look;

	if (!a) {
		fn(arg, row, -EAGAIN, "other files of images are being looked at, and do not answer: try again later");
		return;
	}
	*a = (struct catalogue_asked){
		.next = c->asked, .catalogue = c, .row = *row, .fn = fn, .arg = arg, .until = now + LOOK_PATIENCE};
	c->asked = a;
	c->asks++;
	look = catalogue_look_begin(c, config->images_path, row, asked_seen, a);
	if (!look) {
		c->asks--;
		asked_end(a, row, -EAGAIN, "there is no thread that could look at the file");
	} else if (c->loop) {
		a->look = look;
		arm(c, now);
	}
}

/* --- the timer, start and end ------------------------------------------------------------------ */

static void on_timer(void *arg)
{
	struct catalogue *c = arg;
	uint64_t now = clock_monotonic_ns();
	struct catalogue_asked *a, *next;
	struct sentence error;

	for (a = c->asked; a; a = next) {
		next = a->next;
		if (now < a->until)
			continue;
		sentence_set(&error,
			     "image %s: its file %s has not answered for %u s: is the disk or the server that it lies "
			     "on there?",
			     a->row.name, a->row.file, (unsigned int)(LOOK_PATIENCE / CLOCK_NS));
		asked_give_up(a, -ETIMEDOUT, error.text);
	}
	take_stock(c);
}

int catalogue_new(struct catalogue **ret, struct state *state, struct loop *loop)
{
	struct catalogue *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->state = state;
	c->loop = loop;
	c->changed = take_stock;
	r = aside_new(&c->aside, loop, CATALOGUE_LOOKS, c);
	if (!r && loop)
		r = loop_add_timer(loop, UINT64_MAX, on_timer, c, &c->timer);
	if (r) {
		aside_free(c->aside);
		free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void catalogue_free(struct catalogue *c)
{
	struct catalogue_waiter *w;

	if (!c)
		return;
	while ((w = c->waiters)) {
		c->waiters = w->next;
		w->fn(w->arg, w->id, STOPPING);
		free(w);
	}
	while (c->asked)
		asked_give_up(c->asked, -ECANCELED, STOPPING);
	catalogue_drop_sections(c);
	aside_free(c->aside);
	loop_source_free(c->timer);
	free(c);
}
