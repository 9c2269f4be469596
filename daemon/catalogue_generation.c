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

#include "daemon/catalogue_private.h"
#include "daemon/digest_file.h"
#include "daemon/log.h"

/* All generations of one image, in order. */
struct generations {
	const char *name;
	struct store_image *row;
	size_t n;
	bool failed;
};

static void collect(void *arg, const struct store_image *image)
{
	struct generations *g = arg;
	struct store_image *more;

	if (g->name && strcmp(image->name, g->name))
		return;
	more = reallocarray(g->row, g->n + 1, sizeof(*more));
	if (!more) {
		g->failed = true;
		return;
	}
	g->row = more;
	g->row[g->n++] = *image;
}

static int load(struct catalogue *c, const char *name, struct generations *ret)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->name = name;
	r = store_image_each(c->store, collect, ret);
	if (!r && ret->failed)
		r = -ENOMEM;
	if (r) {
		free(ret->row);
		ret->row = NULL;
	}
	return r;
}

uint32_t catalogue_last_generation(struct catalogue *c, const char *name)
{
	struct generations g;
	uint32_t last = 0;

	if (load(c, name, &g))
		return 0;
	for (size_t i = 0; i < g.n; i++)
		if (g.row[i].generation > last)
			last = g.row[i].generation;
	free(g.row);
	return last;
}

static bool same_file(const struct store_image *a, const struct store_image *b)
{
	return !strcmp(a->file, b->file) && !strcmp(a->format, b->format) &&
	       !strcmp(a->image_id, b->image_id) && !strcmp(a->parent_id, b->parent_id) &&
	       a->file_size == b->file_size && a->virtual_size == b->virtual_size;
}

bool catalogue_has_file(struct catalogue *c, const struct store_image *row)
{
	struct generations g;
	bool found = false;

	if (load(c, row->name, &g))
		return false;
	for (size_t i = 0; i < g.n; i++)
		found |= same_file(&g.row[i], row);
	free(g.row);
	return found;
}

static int state_fail(struct catalogue *c, const char *name, int r, char error[CATALOGUE_ERROR_MAX])
{
	snprintf(error, CATALOGUE_ERROR_MAX, "image %s cannot be noted in the state: %s", name,
		 store_error(c->store));
	return r;
}

int catalogue_add_generation(struct catalogue *c, const struct config *config, const char *name,
			     const char *file, const char *format, struct store_image *ret,
			     char error[CATALOGUE_ERROR_MAX])
{
	struct store_image row = {.current = true}, current;
	int r = store_image_current(c->store, name, &current);

	if (r <= 0) {
		snprintf(error, CATALOGUE_ERROR_MAX, "there is no image %s", name);
		return r < 0 ? r : -ENOENT;
	}
	snprintf(row.name, sizeof(row.name), "%s", name);
	snprintf(row.file, sizeof(row.file), "%s", file);
	r = catalogue_inspect(config->images_path, format, &row, error);
	if (r)
		return r;
	if (same_file(&row, &current)) {
		*ret = current;
		return 0;
	}
	row.generation = catalogue_last_generation(c, name) + 1;
	r = catalogue_put_current(c, &row);
	if (r)
		return state_fail(c, name, r, error);
	log_notice("image %s: generation %u is %s; generation %u stays for rollback", name,
		   row.generation, file, current.generation);
	*ret = row;
	return 0;
}

int catalogue_rollback(struct catalogue *c, const char *name, uint32_t generation,
		       struct store_image *ret, char error[CATALOGUE_ERROR_MAX])
{
	const struct store_image *to = NULL;
	struct store_image current;
	struct generations g;
	int r;

	if (store_image_current(c->store, name, &current) <= 0) {
		snprintf(error, CATALOGUE_ERROR_MAX, "there is no image %s", name);
		return -ENOENT;
	}
	r = load(c, name, &g);
	if (r)
		return state_fail(c, name, r, error);
	for (size_t i = 0; i < g.n; i++)
		if (generation ? g.row[i].generation == generation :
				 g.row[i].generation < current.generation)
			to = &g.row[i];
	if (!to && generation)
		snprintf(error, CATALOGUE_ERROR_MAX, "image %s has no generation %u", name, generation);
	else if (!to)
		snprintf(error, CATALOGUE_ERROR_MAX, "image %s has no generation before %u", name,
			 current.generation);
	if (!to) {
		free(g.row);
		return -ENOENT;
	}
	*ret = *to;
	free(g.row);
	r = store_image_make_current(c->store, ret->id);
	if (r)
		return state_fail(c, name, r, error);
	ret->current = true;
	log_notice("image %s: new boots get generation %u instead of %u", name, ret->generation,
		   current.generation);
	return 0;
}

int catalogue_checked(struct catalogue *c, const char *name, uint32_t generation, bool failed, char error[CATALOGUE_ERROR_MAX])
{
	struct generations g;
	int64_t id = 0;
	int r = load(c, name, &g);

	if (r)
		return state_fail(c, name, r, error);
	for (size_t i = 0; i < g.n; i++)
		if (g.row[i].generation == generation)
			id = g.row[i].id;
	free(g.row);
	if (!id) {
		snprintf(error, CATALOGUE_ERROR_MAX, "image %s has no generation %u", name, generation);
		return -ENOENT;
	}
	r = store_image_set_check(c->store, id, time(NULL), failed);
	if (r)
		return state_fail(c, name, r, error);
	if (failed)
		log_error("image %s: generation %u does not hold what it held when it was made", name, generation);
	return 0;
}

/* Who names the image, besides its own rows? */
static bool named_elsewhere(const struct config *config, const char *name,
			    char error[CATALOGUE_ERROR_MAX])
{
	if (config_image_find(config, name)) {
		snprintf(error, CATALOGUE_ERROR_MAX, "image %s stands in %.200s: rename it there", name,
			 config->file);
		return true;
	}
	for (size_t i = 0; i < config->groups + config->clients; i++) {
		bool group = i < config->groups;
		const struct config_profile *p =
			group ? &config->group[i].profile : &config->client[i - config->groups].profile;

		if (catalogue_profile_names(p, name)) {
			snprintf(error, CATALOGUE_ERROR_MAX, "image %s is named by [%s %s] in %.200s: rename it there", name,
				 group ? "group" : "client", group ? config->group[i].name : config->client[i - config->groups].name,
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

static void look_at_client(void *arg, const struct store_client *client)
{
	struct named_by *by = arg;

	if (!strcmp(client->image, by->image))
		snprintf(by->client, sizeof(by->client), "%s", client->name);
}

int catalogue_rename(struct catalogue *c, const struct config *config, const char *name, const char *to,
		     char error[CATALOGUE_ERROR_MAX])
{
	struct named_by by = {.image = name};
	struct generations g;
	struct store_image other;
	int r;

	if (named_elsewhere(config, name, error))
		return -EBUSY;
	if (store_image_current(c->store, to, &other) > 0 || config_image_find(config, to)) {
		snprintf(error, CATALOGUE_ERROR_MAX, "there is an image %s already", to);
		return -EEXIST;
	}
	r = load(c, name, &g);
	if (r)
		return state_fail(c, name, r, error);
	if (!g.n) {
		snprintf(error, CATALOGUE_ERROR_MAX, "there is no image %s", name);
		return -ENOENT;
	}
	r = store_client_each(c->store, look_at_client, &by);
	if (!r && by.client[0]) {
		snprintf(error, CATALOGUE_ERROR_MAX,
			 "image %s is chosen for client %s: \"bootwell client set %s --image ...\" another one first", name,
			 by.client, by.client);
		free(g.row);
		return -EBUSY;
	}
	if (!r)
		r = store_begin(c->store);
	for (size_t i = 0; !r && i < g.n; i++) {
		snprintf(g.row[i].name, sizeof(g.row[i].name), "%s", to);
		r = store_image_put(c->store, &g.row[i]);
	}
	if (!r)
		r = store_commit(c->store);
	else
		store_rollback(c->store);
	free(g.row);
	return r ? state_fail(c, name, r, error) : 0;
}

/* --- pruning ------------------------------------------------------------------------------------------------------*/

static bool is_parent(const struct generations *all, const struct store_image *image)
{
	for (size_t i = 0; i < all->n; i++)
		if (image->image_id[0] && all->row[i].id != image->id &&
		    !strcmp(all->row[i].parent_id, image->image_id))
			return true;
	return false;
}

static bool file_shared(const struct generations *all, const struct store_image *image)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->row[i].id != image->id && !strcmp(all->row[i].file, image->file))
			return true;
	return false;
}

static void remove_file(const struct config *config, const struct store_image *image)
{
	int dir = open(config->images_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return;
	if (unlinkat(dir, image->file, 0) < 0 && errno != ENOENT)
		log_warning("the file %s of an old generation of image %s cannot be removed: %s", image->file,
			    image->name, strerror(errno));
	digest_file_remove(dir, image->file);
	close(dir);
}

unsigned int catalogue_prune(struct catalogue *c, const struct config *config, const char *name, unsigned int keep,
			     bool (*in_use)(void *arg, const struct store_image *image), void *arg)
{
	const struct config_image *section = config_image_find(config, name);
	struct generations all;
	unsigned int newer = 0, gone = 0;

	if (load(c, NULL, &all))
		return 0;
	for (size_t i = all.n; i-- > 0;) {
		const struct store_image *image = &all.row[i];

		if (strcmp(image->name, name))
			continue;
		/* The file that the configuration names stays: a person put it there. */
		if (newer++ < keep || image->current || (section && !strcmp(section->file, image->file)) ||
		    (in_use && in_use(arg, image)) || is_parent(&all, image))
			continue;
		/* First out of the catalogue: a file that nobody knows is litter, a row without a file is a lie. */
		if (store_image_remove(c->store, image->id))
			continue;
		if (!file_shared(&all, image))
			remove_file(config, image);
		log_notice("image %s: generation %u was removed, %u are kept", name, image->generation, keep);
		gone++;
	}
	free(all.row);
	return gone;
}
