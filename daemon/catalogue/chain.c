// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Parents. Which row is the parent of a row is decided once, by the rule of image/parent.h, when the child is added,
 * and noted: an image that is added later and has the same CID changes nothing for a PC that starts. Nothing is
 * opened here.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/catalogue/private.h"
#include "daemon/core/log.h"
#include "daemon/image/parent.h"

static const struct state_image *by_id(const struct catalogue_rows *all, int64_t id)
{
	for (size_t i = 0; id && i < all->n; i++)
		if (all->row[i].id == id)
			return &all->row[i];
	return NULL;
}

/* Was it made from the file of `row`? */
static bool descends(const struct catalogue_rows *all, const struct state_image *image, const struct state_image *row)
{
	for (unsigned int depth = 0; image && depth <= IMAGE_CHAIN_MAX; depth++, image = by_id(all, image->parent))
		if (catalogue_same_path(image, row))
			return true;
	return false;
}

/* Rows of one file are one candidate: the current one of them, or else the newest. */
static size_t add_candidate(const struct state_image **list, size_t n, const struct state_image *image)
{
	for (size_t i = 0; i < n; i++) {
		if (!catalogue_same_path(list[i], image))
			continue;
		if (image->current > list[i]->current ||
		    (image->current == list[i]->current && image->id > list[i]->id))
			list[i] = image;
		return n;
	}
	list[n] = image;
	return n + 1;
}

static int choose(const struct catalogue_rows *all, struct state_image *row, struct sentence *error)
{
	struct parent_child child = {
		.file = row->file, .id = row->image_id, .parent_id = row->parent_id, .hint = row->parent_hint};
	const struct state_image **list = calloc(all->n + 1, sizeof(*list));
	struct parent_candidate *candidate = calloc(all->n + 1, sizeof(*candidate));
	size_t n = 0, which;
	bool named;
	int r = list && candidate ? image_format_from_name(row->format, &child.format) : -ENOMEM;

	for (size_t i = 0; r == 0 && i < all->n; i++)
		if (catalogue_fits_as_parent(&all->row[i], row) && !descends(all, &all->row[i], row))
			n = add_candidate(list, n, &all->row[i]);
	for (size_t i = 0; r == 0 && i < n; i++)
		candidate[i] = (struct parent_candidate){list[i]->file, list[i]->own_name, list[i]->parent_id,
							 list[i]->parent_hint};
	if (r == 0)
		r = parent_choose(&child, candidate, n, &which, &named, error);
	if (r == 0) {
		row->parent = list[which]->id;
		if (!named)
			parent_remark(&child, &candidate[which], error);
	}
	free(list);
	free(candidate);
	return r;
}

int catalogue_link(struct catalogue *c, struct state_image *row, struct sentence *error)
{
	struct catalogue_rows all;
	struct state_image parent;
	int r;

	error->text[0] = '\0';
	if (!row->parent_id[0] || (row->parent && state_image_by_id(c->state, row->parent, &parent) > 0))
		return 0;
	r = catalogue_rows_load(c, NULL, &all);
	if (r)
		return sentence_fail(error, r, "image %s: the catalogue cannot be read: %s", row->name, strerror(-r));
	r = choose(&all, row, error);
	free(all.row);
	if (r == -ENOENT)
		sentence_set(
			error,
			"image %s needs its parent %s%s%s, which is not in the catalogue: add the parent's file as an "
			"image too",
			row->name, row->parent_id, row->parent_hint[0] ? ", once called " : "",
			parent_last_part(row->parent_hint));
	return r;
}

static void link_row(struct catalogue *c, struct state_image *row)
{
	struct sentence why = {""};
	int64_t before = row->parent;

	if (catalogue_link(c, row, &why) || row->parent == before)
		return; /* what is wrong is said by catalogue_resolve() */
	if (why.text[0])
		log_warning("image %s: %s", row->name, why.text);
	state_image_put(c->state, row);
}

void catalogue_link_all(struct catalogue *c)
{
	struct catalogue_rows all;

	if (catalogue_rows_load(c, NULL, &all))
		return;
	for (size_t i = 0; i < all.n; i++)
		link_row(c, &all.row[i]);
	free(all.row);
}

int catalogue_resolve(struct catalogue *c, const char *name, struct catalogue_chain *ret, struct sentence *error)
{
	struct state_image row, parent;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (state_image_current(c->state, name, &row) <= 0)
		return sentence_fail(
			error, -ENOENT,
			"image %s is not in the catalogue: its file was missing or refused when it was read", name);
	ret->image = row;
	for (;;) {
		if (ret->layers == IMAGE_CHAIN_MAX)
			return sentence_fail(error, -ELOOP, "image %s has more than %d parents, or one that is its own",
					     name, IMAGE_CHAIN_MAX - 1);
		snprintf(ret->layer[ret->layers].format, 16, "%s", row.format);
		snprintf(ret->layer[ret->layers].file, 256, "%s", row.file);
		ret->layer[ret->layers].fingerprint = row.fingerprint;
		ret->layer[ret->layers++].size_override = row.size_override;
		if (!row.parent_id[0])
			return 0;
		ret->undecided |= !row.parent;
		r = catalogue_link(c, &row, error);
		if (!r && state_image_by_id(c->state, row.parent, &parent) <= 0)
			r = sentence_fail(error, -EIO, "image %s: its parent cannot be read from the state: %s",
					  row.name, state_error(c->state));
		if (r)
			return r;
		row = parent;
	}
}
