// SPDX-License-Identifier: GPL-2.0-or-later
/* Copied anew when the tables have changed since: state.c and its siblings count that. */
#include "daemon/state/rows.h"

#include <stdlib.h>

#include "daemon/state/private.h"

struct copying {
	struct state_rows *rows;
	struct state *state;
	bool failed;
};

static void add_image(void *arg, const struct state_image *image)
{
	struct copying *c = arg;
	struct state_image *more = reallocarray(c->rows->image, c->rows->images + 1, sizeof(*more));

	if (!more) {
		c->failed = true;
		return;
	}
	c->rows->image = more;
	more[c->rows->images++] = *image;
}

/* There is at most one an image. */
static bool add_session(struct copying *c, const struct state_image *image)
{
	struct state_session session, *more;

	if (!image->current || state_session_by_image(c->state, image->name, &session) <= 0)
		return true;
	more = reallocarray(c->rows->session, c->rows->sessions + 1, sizeof(*more));
	if (!more)
		return false;
	c->rows->session = more;
	more[c->rows->sessions++] = session;
	return true;
}

static struct state_rows *copy(struct state *state)
{
	struct copying c = {.rows = calloc(1, sizeof(*c.rows)), .state = state};

	if (!c.rows)
		return NULL;
	c.rows->refs = 1;
	if (state_image_each(state, add_image, &c))
		c.failed = true;
	for (size_t i = 0; !c.failed && i < c.rows->images; i++)
		c.failed = !add_session(&c, &c.rows->image[i]);
	if (!c.failed)
		return c.rows;
	state_rows_unref(c.rows);
	return NULL;
}

void state_rows_unref(struct state_rows *rows)
{
	if (!rows || __atomic_sub_fetch(&rows->refs, 1, __ATOMIC_ACQ_REL))
		return;
	free(rows->image);
	free(rows->session);
	free(rows);
}

struct state_rows *state_rows(struct state *state)
{
	if (state->rows && state->rows_of == state->changes) {
		__atomic_add_fetch(&state->rows->refs, 1, __ATOMIC_RELAXED);
		return state->rows;
	}
	state_rows_unref(state->rows);
	state->rows = copy(state);
	state->rows_of = state->changes;
	state->drop_rows = state_rows_unref;
	if (state->rows)
		__atomic_add_fetch(&state->rows->refs, 1, __ATOMIC_RELAXED);
	return state->rows;
}

void state_rows_each(const struct state_rows *rows, void (*fn)(void *arg, const struct state_image *image), void *arg)
{
	for (size_t i = 0; rows && i < rows->images; i++)
		fn(arg, &rows->image[i]);
}
