// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/catalogue_private.h"
#include "daemon/log.h"

int catalogue_new(struct catalogue **ret, struct store *store)
{
	struct catalogue *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->store = store;
	*ret = c;
	return 0;
}

static void forget_problems(struct catalogue *c)
{
	for (size_t i = 0; i < c->problems; i++)
		free(c->problem[i]);
	free(c->problem);
	c->problem = NULL;
	c->problems = 0;
}

void catalogue_free(struct catalogue *c)
{
	if (!c)
		return;
	forget_problems(c);
	free(c);
}

const char *catalogue_problem(const struct catalogue *c, unsigned int n)
{
	return n < c->problems ? c->problem[n] : NULL;
}

static void add_problem(struct catalogue *c, const char *text)
{
	char **more = reallocarray(c->problem, c->problems + 1, sizeof(*more));

	log_error("%s", text);
	if (!more)
		return;
	c->problem = more;
	more[c->problems] = strdup(text);
	if (more[c->problems])
		c->problems++;
}

/* Reads what a file is, into everything of `row` that comes from the file. */
int catalogue_inspect(const char *path, const char *format_name, struct store_image *row,
		      char error[CATALOGUE_ERROR_MAX])
{
	struct image_source source = {.name = row->file, .size_override = row->size_override};
	struct image_error why = {};
	struct image *image = NULL;
	int r = 0;

	source.dirfd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (source.dirfd < 0) {
		r = -errno;
		snprintf(error, CATALOGUE_ERROR_MAX,
			 "image %s: the folder of images %s cannot be opened: %s", row->name, path,
			 strerror(-r));
		return r;
	}
	if (*format_name)
		r = image_format_from_name(format_name, &source.format);
	else
		r = image_probe(source.dirfd, row->file, &source.format, &why);
	if (!r)
		r = image_open(&image, &source, &why);
	close(source.dirfd);
	if (r) {
		snprintf(error, CATALOGUE_ERROR_MAX, "image %s cannot be used: %s", row->name,
			 why.text[0] ? why.text : strerror(-r));
		return r;
	}
	snprintf(row->format, sizeof(row->format), "%s", image_format_name(source.format));
	snprintf(row->image_id, sizeof(row->image_id), "%s", image_info(image)->id);
	snprintf(row->parent_id, sizeof(row->parent_id), "%s",
		 image_needs_parent(image) ? image_info(image)->parent_id : "");
	row->virtual_size = image_info(image)->virtual_size;
	row->file_size = image_info(image)->file_size;
	image_close(image);
	return 0;
}

/* Writes a row and makes it the current one, as one transaction. */
int catalogue_put_current(struct catalogue *c, struct store_image *row)
{
	int r = store_begin(c->store);

	if (r)
		return r;
	row->added = time(NULL);
	r = store_image_put(c->store, row);
	if (!r)
		r = store_image_make_current(c->store, row->id);
	if (!r)
		return store_commit(c->store);
	store_rollback(c->store);
	return r;
}

static void sync_one(struct catalogue *c, const struct config *config,
		     const struct config_image *section)
{
	struct store_image row = {}, old = {};
	char error[CATALOGUE_ERROR_MAX], text[CATALOGUE_ERROR_MAX + 256];
	int found, r;

	found = store_image_current(c->store, section->name, &old);
	snprintf(row.name, sizeof(row.name), "%s", section->name);
	snprintf(row.file, sizeof(row.file), "%s", section->file);
	row.size_override = section->size_override;
	/* The same file keeps the format that it was found to have. */
	if (found > 0 && !section->format[0] && !strcmp(old.file, row.file))
		r = catalogue_inspect(config->images_path, old.format, &row, error);
	else
		r = catalogue_inspect(config->images_path, section->format, &row, error);
	if (r) {
		snprintf(text, sizeof(text), "%.200s:%u: %s", config->file, section->line, error);
		add_problem(c, text);
		return;
	}
	if (found > 0 && catalogue_has_file(c, &row))
		return; /* a generation has come after it, or it was rolled back to: the state decides */
	row.current = true;
	row.generation = found > 0 ? catalogue_last_generation(c, row.name) + 1 : 1;
	r = catalogue_put_current(c, &row);
	if (r) {
		snprintf(text, sizeof(text), "image %s cannot be noted in the state: %s", row.name,
			 store_error(c->store));
		add_problem(c, text);
		return;
	}
	log_notice("image %s: generation %u is %s, %s, %llu MiB", row.name, row.generation,
		   row.file, row.format, (unsigned long long)row.virtual_size >> 20);
}

void catalogue_sync(struct catalogue *c, const struct config *config)
{
	struct catalogue_chain chain;
	char error[CATALOGUE_ERROR_MAX];

	forget_problems(c);
	for (size_t i = 0; i < config->images; i++)
		sync_one(c, config, &config->image[i]);
	/* Parents may stand behind their children in the file. */
	for (size_t i = 0; i < config->images; i++) {
		struct store_image row;

		if (store_image_current(c->store, config->image[i].name, &row) > 0 &&
		    catalogue_resolve(c, row.name, &chain, error))
			add_problem(c, error);
	}
}

int catalogue_add(struct catalogue *c, const struct config *config, const char *name,
		  const char *file, const char *format, uint64_t size_override,
		  struct store_image *ret, char error[CATALOGUE_ERROR_MAX])
{
	struct store_image row = {.generation = 1, .size_override = size_override, .current = true};
	int r;

	snprintf(row.name, sizeof(row.name), "%s", name);
	snprintf(row.file, sizeof(row.file), "%s", file);
	if (store_image_current(c->store, name, &row) > 0) {
		snprintf(error, CATALOGUE_ERROR_MAX, "there is an image %s already, in %s", name,
			 row.file);
		return -EEXIST;
	}
	r = catalogue_inspect(config->images_path, format, &row, error);
	if (r)
		return r;
	r = catalogue_put_current(c, &row);
	if (r) {
		snprintf(error, CATALOGUE_ERROR_MAX, "image %s cannot be noted in the state: %s",
			 name, store_error(c->store));
		return r;
	}
	*ret = row;
	return 0;
}

/* --- who uses an image --- */

struct users {
	const char *name;
	const char *image_id;
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
	n = snprintf(u->text + u->length, sizeof(u->text) - u->length, "%s%s %s",
		     u->length ? ", " : "", what, who);
	u->length = n < (int)(sizeof(u->text) - u->length) ? u->length + n : sizeof(u->text) - 1;
}

static void user_client(void *arg, const struct store_client *client)
{
	struct users *u = arg;

	if (!strcmp(client->image, u->name))
		add_user(u, "client", client->name);
}

static void user_child(void *arg, const struct store_image *image)
{
	struct users *u = arg;

	if (!strcmp(image->name, u->name)) {
		if (u->rows < 64)
			u->row[u->rows++] = image->id;
	} else if (u->image_id[0] && !strcmp(image->parent_id, u->image_id)) {
		add_user(u, "image", image->name);
	}
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

static void users_in_config(struct users *u, const struct config *config)
{
	for (size_t i = 0; i < config->groups; i++)
		if (catalogue_profile_names(&config->group[i].profile, u->name))
			add_user(u, "group", config->group[i].name);
	for (size_t i = 0; i < config->clients; i++)
		if (catalogue_profile_names(&config->client[i].profile, u->name))
			add_user(u, "client", config->client[i].name);
}

int catalogue_remove(struct catalogue *c, const struct config *config, const char *name,
		     char error[CATALOGUE_ERROR_MAX])
{
	const struct config_image *section = config_image_find(config, name);
	struct store_image row;
	struct users users = {.name = name, .image_id = row.image_id};
	int r;

	if (store_image_current(c->store, name, &row) <= 0) {
		snprintf(error, CATALOGUE_ERROR_MAX, "there is no image %s", name);
		return -ENOENT;
	}
	if (section) {
		snprintf(error, CATALOGUE_ERROR_MAX,
			 "image %s is named in %.200s line %u: take it out there first", name,
			 config->file, section->line);
		return -EBUSY;
	}
	users_in_config(&users, config);
	store_client_each(c->store, user_client, &users);
	store_image_each(c->store, user_child, &users);
	if (users.length) {
		snprintf(error, CATALOGUE_ERROR_MAX, "image %s is used by %s", name, users.text);
		return -EBUSY;
	}
	r = store_begin(c->store);
	for (unsigned int i = 0; !r && i < users.rows; i++)
		r = store_image_remove(c->store, users.row[i]);
	if (!r)
		r = store_commit(c->store);
	else
		store_rollback(c->store);
	if (r)
		snprintf(error, CATALOGUE_ERROR_MAX,
			 "image %s cannot be removed from the state: %s", name,
			 store_error(c->store));
	return r;
}

int catalogue_resolve(struct catalogue *c, const char *name, struct catalogue_chain *ret,
		      char error[CATALOGUE_ERROR_MAX])
{
	struct store_image row, parent;

	memset(ret, 0, sizeof(*ret));
	if (store_image_current(c->store, name, &row) <= 0) {
		snprintf(error, CATALOGUE_ERROR_MAX,
			 "image %s is not in the catalogue: its file was missing or refused when "
			 "it was read",
			 name);
		return -ENOENT;
	}
	ret->image = row;
	for (;;) {
		if (ret->layers == IMAGE_CHAIN_MAX) {
			snprintf(error, CATALOGUE_ERROR_MAX,
				 "image %s has more than %d parents, or one that is its own", name,
				 IMAGE_CHAIN_MAX - 1);
			return -ELOOP;
		}
		snprintf(ret->layer[ret->layers].format, 16, "%s", row.format);
		snprintf(ret->layer[ret->layers].file, 256, "%s", row.file);
		ret->layer[ret->layers++].size_override = row.size_override;
		if (!row.parent_id[0])
			return 0;
		if (store_image_by_image_id(c->store, row.parent_id, &parent) <= 0) {
			snprintf(error, CATALOGUE_ERROR_MAX,
				 "image %s needs its parent %s, which is not in the catalogue: add "
				 "the parent's file as an "
				 "image too",
				 row.name, row.parent_id);
			return -ENOENT;
		}
		row = parent;
	}
}
