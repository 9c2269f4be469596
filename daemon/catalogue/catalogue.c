// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Images that are added and removed by a person: what a file is, was looked at once (catalogue/inspect.c); then its row
 * is what everybody believes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/catalogue/private.h"
#include "daemon/core/log.h"

void catalogue_prepare(struct catalogue *c, const char *name, const char *file, const char *format,
		       uint64_t size_override, struct state_image *ret)
{
	struct state_image there;

	memset(ret, 0, sizeof(*ret));
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	snprintf(ret->file, sizeof(ret->file), "%s", file);
	snprintf(ret->format, sizeof(ret->format), "%s", format);
	ret->size_override = size_override;
	if (!*format && state_image_current(c->state, name, &there) > 0 && !strcmp(there.file, file))
		memcpy(ret->format, there.format, sizeof(ret->format));
}

/* The very file that the image has, changed in its place: that is its next generation. */
static int add_again(struct catalogue *c, const struct state_image *there, const struct state_image *seen,
		     struct state_image *ret, struct sentence *error)
{
	int r;

	error->text[0] = '\0';
	if (catalogue_same_path(there, seen)) {
		r = catalogue_add_generation(c, seen, true, ret, error);
		if (r || ret->id != there->id)
			return r;
	}
	return sentence_fail(error, -EEXIST, "there is an image %s already, in %s", there->name, there->file);
}

int catalogue_add(struct catalogue *c, const struct state_image *seen, struct state_image *ret, struct sentence *error)
{
	struct state_image row = *seen, there;
	struct sentence remark;
	int r;

	if (state_image_current(c->state, seen->name, &there) > 0)
		return add_again(c, &there, seen, ret, error);
	row.generation = 1;
	row.current = true;
	r = catalogue_link(c, &row, &remark);
	if (r && r != -ENOENT) { /* without a parent it waits for one */
		*error = remark;
		return r;
	}
	r = catalogue_put_current(c, &row);
	if (r) {
		sentence_set(error, "image %s cannot be noted in the state: %s", row.name, state_error(c->state));
		return r;
	}
	if (remark.text[0])
		log_warning("image %s: %s", row.name, remark.text);
	catalogue_link_all(c); /* children may have waited for it */
	*ret = row;
	*error = remark;
	return 0;
}

/* --- who uses an image --- */

struct users {
	const char *name;
	char text[256];
	size_t length;
	int64_t row[64];
	unsigned int rows;
};

static void add_user(struct users *u, const char *what, const char *who)
{
	int n;

	if (u->length > sizeof(u->text) - 40)
		return;
	n = snprintf(u->text + u->length, sizeof(u->text) - u->length, "%s%s %s", u->length ? ", " : "", what, who);
	u->length = n < (int)(sizeof(u->text) - u->length) ? u->length + n : sizeof(u->text) - 1;
}

static void user_client(void *arg, const struct state_client *client)
{
	struct users *u = arg;

	if (!strcmp(client->image, u->name))
		add_user(u, "client", client->name);
}

static int users_in_catalogue(struct users *u, struct catalogue *c)
{
	struct catalogue_rows all;
	int r = catalogue_rows_load(c, NULL, &all);

	for (size_t i = 0; i < all.n; i++) {
		if (!strcmp(all.row[i].name, u->name)) {
			if (u->rows < 64)
				u->row[u->rows++] = all.row[i].id;
			continue;
		}
		for (size_t k = 0; k < all.n; k++) {
			if (!strcmp(all.row[k].name, u->name) && catalogue_is_parent(&all.row[k], &all.row[i])) {
				add_user(u, "image", all.row[i].name);
				break;
			}
		}
	}
	free(all.row);
	return r;
}

static void users_in_config(struct users *u, const struct config *config)
{
	for (size_t i = 0; i < config->groups; i++)
		if (catalogue_profile_names(&config->group[i].profile, u->name))
			add_user(u, "group", config->group[i].name);
	for (size_t i = 0; i < config->clients; i++)
		if (catalogue_profile_names(&config->client[i].profile, u->name))
			add_user(u, "client", config->client[i].name);
}

int catalogue_remove(struct catalogue *c, const struct config *config, const char *name, struct sentence *error)
{
	const struct config_image *section = config_image_find(config, name);
	struct state_image row;
	struct users users = {.name = name};
	int r;

	if (state_image_current(c->state, name, &row) <= 0) {
		sentence_set(error, "there is no image %s", name);
		return -ENOENT;
	}
	if (section) {
		sentence_set(error, "image %s is named in %.200s line %u: take it out there first", name, config->file,
			     section->line);
		return -EBUSY;
	}
	users_in_config(&users, config);
	state_client_each(c->state, user_client, &users);
	users_in_catalogue(&users, c);
	if (users.length) {
		sentence_set(error, "image %s is used by %s", name, users.text);
		return -EBUSY;
	}
	r = state_begin(c->state);
	for (unsigned int i = 0; !r && i < users.rows; i++)
		r = state_image_remove(c->state, users.row[i]);
	if (!r)
		r = state_commit(c->state);
	else
		state_rollback(c->state);
	if (r)
		sentence_set(error, "image %s cannot be removed from the state: %s", name, state_error(c->state));
	return r;
}
