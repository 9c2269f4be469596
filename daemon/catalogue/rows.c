// SPDX-License-Identifier: GPL-2.0-or-later
/* Rows of the catalogue: all that there are of an image; one made the current one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/catalogue/private.h"

struct collecting {
	const char *name; /* NULL: all */
	struct catalogue_rows rows;
	bool failed;
};

static void collect(void *arg, const struct state_image *image)
{
	struct collecting *c = arg;
	struct state_image *more;

	if (c->name && strcmp(image->name, c->name))
		return;
	more = reallocarray(c->rows.row, c->rows.n + 1, sizeof(*more));
	if (!more) {
		c->failed = true;
		return;
	}
	c->rows.row = more;
	c->rows.row[c->rows.n++] = *image;
}

int catalogue_rows_load(struct catalogue *c, const char *name, struct catalogue_rows *ret)
{
	struct collecting all = {.name = name};
	int r = state_image_each(c->state, collect, &all);

	if (!r && all.failed)
		r = -ENOMEM;
	if (r) {
		free(all.rows.row);
		all.rows = (struct catalogue_rows){0};
	}
	*ret = all.rows;
	return r;
}

uint32_t catalogue_last_generation(struct catalogue *c, const char *name)
{
	struct catalogue_rows g;
	uint32_t last = 0;

	if (catalogue_rows_load(c, name, &g))
		return 0;
	for (size_t i = 0; i < g.n; i++)
		if (g.row[i].generation > last)
			last = g.row[i].generation;
	free(g.row);
	return last;
}

int catalogue_find_file(struct catalogue *c, const struct state_image *row, struct state_image *ret)
{
	struct catalogue_rows g;
	int r = catalogue_rows_load(c, row->name, &g);

	if (r)
		return r;
	for (size_t i = 0; i < g.n; i++)
		if (catalogue_same_file(&g.row[i], row)) {
			*ret = g.row[i];
			r = 1;
		}
	free(g.row);
	return r;
}

bool catalogue_has_file(struct catalogue *c, const struct state_image *row)
{
	struct state_image found;

	return catalogue_find_file(c, row, &found) > 0;
}

/* Writes a row and makes it the current one, as one transaction. */
int catalogue_put_current(struct catalogue *c, struct state_image *row)
{
	int r = state_begin(c->state);

	if (r)
		return r;
	row->added = time(NULL);
	r = state_image_put(c->state, row);
	if (!r)
		r = state_image_make_current(c->state, row->id);
	if (!r)
		return state_commit(c->state);
	state_rollback(c->state);
	return r;
}

bool catalogue_profile_names(const struct config_profile *profile, const char *image)
{
	for (unsigned int k = 0; k < profile->images; k++)
		if (!strcmp(profile->image[k], image))
			return true;
	for (unsigned int k = 0; k < profile->disks; k++)
		if (!strcmp(profile->disk[k].image, image))
			return true;
	return false;
}
