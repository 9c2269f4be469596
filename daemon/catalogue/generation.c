// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Generations of images. Numbers only grow, so after a rollback from 3 to 2 the next one is 4; the current one is what
 * new boots get, and the switch from one to another is a single transaction of the state.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/catalogue/private.h"
#include "daemon/image/digest_file.h"
#include "daemon/core/log.h"

static int state_fail(struct catalogue *c, const char *name, int r, struct sentence *error)
{
	sentence_set(error, "image %s cannot be noted in the state: %s", name, state_error(c->state));
	return r;
}

int catalogue_add_generation(struct catalogue *c, const struct state_image *seen, bool make_current,
			     struct state_image *ret, struct sentence *error)
{
	const char *name = seen->name, *file = seen->file;
	struct state_image row = *seen, current;
	int r = state_image_current(c->state, name, &current);

	if (r <= 0) {
		sentence_set(error, "there is no image %s", name);
		return r < 0 ? r : -ENOENT;
	}
	row.current = make_current;
	if (catalogue_same_file(&row, &current)) {
		*ret = current;
		return 0;
	}
	/* Told again after a crash. An older generation that comes back as the current one is a new one. */
	if (!make_current && catalogue_find_file(c, &row, ret) > 0)
		return 0;
	r = catalogue_link(c, &row, error);
	if (r && r != -ENOENT)
		return r;
	if (error->text[0])
		log_warning("image %s: %s", name, error->text);
	row.generation = catalogue_last_generation(c, name) + 1;
	row.added = time(NULL);
	r = make_current ? catalogue_put_current(c, &row) : state_image_put(c->state, &row);
	if (r)
		return state_fail(c, name, r, error);
	if (make_current)
		log_notice("image %s: generation %u is %s; generation %u stays for rollback", name, row.generation,
			   file, current.generation);
	else
		log_notice("image %s: generation %u is %s; new boots still get generation %u, until \"bootwell image "
			   "current %s %u\"",
			   name, row.generation, file, current.generation, name, row.generation);
	*ret = row;
	return 0;
}

int catalogue_rollback(struct catalogue *c, const char *name, uint32_t generation, struct state_image *ret,
		       struct sentence *error)
{
	const struct state_image *to = NULL;
	struct state_image current;
	struct catalogue_rows g;
	int r;

	if (state_image_current(c->state, name, &current) <= 0) {
		sentence_set(error, "there is no image %s", name);
		return -ENOENT;
	}
	r = catalogue_rows_load(c, name, &g);
	if (r)
		return state_fail(c, name, r, error);
	for (size_t i = 0; i < g.n; i++)
		if (generation ? g.row[i].generation == generation : g.row[i].generation < current.generation)
			to = &g.row[i];
	if (!to && generation)
		sentence_set(error, "image %s has no generation %u", name, generation);
	else if (!to)
		sentence_set(error, "image %s has no generation before %u", name, current.generation);
	if (!to) {
		free(g.row);
		return -ENOENT;
	}
	*ret = *to;
	free(g.row);
	r = state_image_make_current(c->state, ret->id);
	if (r)
		return state_fail(c, name, r, error);
	ret->current = true;
	log_notice("image %s: new boots get generation %u instead of %u", name, ret->generation, current.generation);
	return 0;
}

int catalogue_checked(struct catalogue *c, const char *name, uint32_t generation, enum image_outcome outcome,
		      struct sentence *error)
{
	struct catalogue_rows g;
	int64_t id = 0;
	int r = catalogue_rows_load(c, name, &g);

	if (r)
		return state_fail(c, name, r, error);
	for (size_t i = 0; i < g.n; i++)
		if (g.row[i].generation == generation)
			id = g.row[i].id;
	free(g.row);
	if (!id) {
		sentence_set(error, "image %s has no generation %u", name, generation);
		return -ENOENT;
	}
	r = state_image_set_check(c->state, id, time(NULL), outcome);
	if (r)
		return state_fail(c, name, r, error);
	if (outcome == IMAGE_DAMAGED)
		log_error("image %s: generation %u does not hold what it held when it was made", name, generation);
	else if (outcome != IMAGE_GOOD)
		log_warning("image %s: generation %u could not be verified: it is %s", name, generation,
			    image_outcome_word(outcome));
	return 0;
}

/* Who names the image, besides its own rows? */
static bool named_elsewhere(const struct config *config, const char *name, struct sentence *error)
{
	if (config_image_find(config, name)) {
		sentence_set(error, "image %s stands in %.200s: rename it there", name, config->file);
		return true;
	}
	for (size_t i = 0; i < config->groups + config->clients; i++) {
		bool group = i < config->groups;
		const struct config_profile *p =
			group ? &config->group[i].profile : &config->client[i - config->groups].profile;

		if (catalogue_profile_names(p, name)) {
			sentence_set(error, "image %s is named by [%s %s] in %.200s: rename it there", name,
				     group ? "group" : "client",
				     group ? config->group[i].name : config->client[i - config->groups].name,
				     config->file);
			return true;
		}
	}
	return false;
}

struct named_by {
	const char *image;
	char client[CONFIG_HOST_MAX];
};

static void look_at_client(void *arg, const struct state_client *client)
{
	struct named_by *by = arg;

	if (!strcmp(client->image, by->image))
		snprintf(by->client, sizeof(by->client), "%s", client->name);
}

int catalogue_rename(struct catalogue *c, const struct config *config, const char *name, const char *to,
		     struct sentence *error)
{
	struct named_by by = {.image = name};
	struct catalogue_rows g;
	struct state_image other;
	int r;

	if (named_elsewhere(config, name, error))
		return -EBUSY;
	if (state_image_current(c->state, to, &other) > 0 || config_image_find(config, to)) {
		sentence_set(error, "there is an image %s already", to);
		return -EEXIST;
	}
	r = catalogue_rows_load(c, name, &g);
	if (r)
		return state_fail(c, name, r, error);
	if (!g.n) {
		sentence_set(error, "there is no image %s", name);
		return -ENOENT;
	}
	r = state_client_each(c->state, look_at_client, &by);
	if (!r && by.client[0]) {
		sentence_set(
			error,
			"image %s is chosen for client %s: \"bootwell client set %s --image ...\" another one first",
			name, by.client, by.client);
		free(g.row);
		return -EBUSY;
	}
	if (!r)
		r = state_begin(c->state);
	for (size_t i = 0; !r && i < g.n; i++) {
		snprintf(g.row[i].name, sizeof(g.row[i].name), "%s", to);
		r = state_image_put(c->state, &g.row[i]);
	}
	if (!r)
		r = state_commit(c->state);
	else
		state_rollback(c->state);
	free(g.row);
	return r ? state_fail(c, name, r, error) : 0;
}

/* --- pruning ------------------------------------------------------------------------------------------------------*/

static bool is_parent(const struct catalogue_rows *all, const struct state_image *image)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->row[i].id != image->id && catalogue_is_parent(image, &all->row[i]))
			return true;
	return false;
}

static bool file_shared(const struct catalogue_rows *all, const struct state_image *image)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->row[i].id != image->id && catalogue_same_path(&all->row[i], image))
			return true;
	return false;
}

struct removal {
	struct aside_job job;
	struct catalogue *catalogue;
	char path[256], name[64], file[256];
};

static void remove_work(struct aside_job *job)
{
	const struct removal *r = (const struct removal *)job;
	int dir = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return;
	if (unlinkat(dir, r->file, 0) < 0 && errno != ENOENT)
		log_warning("the file %s of an old generation of image %s cannot be removed: %s", r->file, r->name,
			    strerror(errno));
	digest_file_remove(dir, r->file);
	close(dir);
}

static void remove_drop(struct aside_job *job)
{
	free(job);
}

static void remove_done(void *owner, struct aside_job *job)
{
	(void)owner;
	free(job);
}

/* Not here: the folder may hang. A row that a crash would bring back needs its file. */
static void row_is_gone(void *arg, int result)
{
	struct removal *r = arg;

	if (result) {
		log_warning("the file %s of an old generation of image %s stays: that it is none any more cannot be "
			    "written to the state",
			    r->file, r->name);
		free(r);
	} else if (aside_begin(r->catalogue->aside, &r->job)) {
		free(r);
	}
}

static void remove_file(struct catalogue *c, const struct config *config, const struct state_image *image)
{
	struct removal *r = calloc(1, sizeof(*r));

	if (!r)
		return;
	r->job = (struct aside_job){.work = remove_work, .done = remove_done, .drop = remove_drop};
	memcpy(r->path, config->images_path, sizeof(r->path));
	memcpy(r->name, image->name, sizeof(r->name));
	memcpy(r->file, image->file, sizeof(r->file));
	r->catalogue = c;
	state_when(c->state, state_position(c->state), row_is_gone, r);
}

unsigned int catalogue_prune(struct catalogue *c, const struct config *config, const char *name, unsigned int keep,
			     bool (*in_use)(void *arg, const struct state_image *image), void *arg)
{
	const struct config_image *section = config_image_find(config, name);
	struct catalogue_rows all;
	unsigned int newer = 0, gone = 0;

	if (catalogue_rows_load(c, NULL, &all))
		return 0;
	for (size_t i = all.n; i-- > 0;) {
		const struct state_image *image = &all.row[i];

		if (strcmp(image->name, name))
			continue;
		/* The file that the configuration names stays: a person put it there. */
		if (newer++ < keep || image->current || (section && !strcmp(section->file, image->file)) ||
		    (in_use && in_use(arg, image)) || is_parent(&all, image))
			continue;
		/* First out of the catalogue: a file that nobody knows is litter, a row without a file is a lie. */
		if (state_image_remove(c->state, image->id))
			continue;
		if (!file_shared(&all, image))
			remove_file(c, config, image);
		log_notice("image %s: generation %u was removed, %u are kept", name, image->generation, keep);
		gone++;
	}
	free(all.row);
	return gone;
}
