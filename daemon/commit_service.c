// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/commit_service.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/commit.h"
#include "daemon/log.h"

enum state { IDLE, PREPARING, LOOKING, WRITING, DONE, FAILED };

struct commit_service {
	struct commit_parts parts;
	enum state state;
	bool look;
	struct commit commit;
	struct store_session session;
	uint32_t generation; /* that it became */
	unsigned int pruned;
	int64_t began_ms; /* writing */
	pthread_t thread;
	bool has_thread, stopping;
	int result;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool running(const struct commit_service *s)
{
	return s->state == PREPARING || s->state == LOOKING || s->state == WRITING;
}

struct search {
	const char *file;
	bool found;
};

static void compare_file(void *arg, const struct store_image *image)
{
	struct search *search = arg;

	search->found |= !strcmp(image->file, search->file);
}

/* In doubt it is one. */
static bool is_image(void *arg, const char *file)
{
	struct commit_service *s = arg;
	const struct config *config = *s->parts.config;
	struct search search = {.file = file};

	for (size_t i = 0; i < config->images; i++)
		search.found |= !strcmp(config->image[i].file, file);
	return store_image_each(s->parts.store, compare_file, &search) < 0 || search.found;
}

int commit_service_new(struct commit_service **ret, const struct commit_parts *parts)
{
	struct commit_service *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->parts = *parts;
	commit_clean((*parts->config)->images_path, is_image, s);
	*ret = s;
	return 0;
}

void commit_service_stop(struct commit_service *s)
{
	if (!s)
		return;
	s->stopping = true;
	__atomic_store_n(&s->commit.cancel, true, __ATOMIC_RELAXED);
	if (s->has_thread)
		pthread_join(s->thread, NULL);
	s->has_thread = false;
}

void commit_service_free(struct commit_service *s)
{
	free(s);
}

/* --- the end ------------------------------------------------------------------------------------------------------*/

static bool serves(void *arg, const struct store_image *image)
{
	return boot_uses_generation(arg, image->name, image->generation);
}

/* The file is there, with its name: the switch, and the end of the session. */
static int adopt(struct commit_service *s)
{
	const struct config *config = *s->parts.config;
	struct commit *c = &s->commit;
	struct store_image row;
	char error[CATALOGUE_ERROR_MAX] = "";
	int r = catalogue_add_generation(s->parts.catalogue, config, c->image, c->file, image_format_name(c->format), &row, error);

	commit_settle(c, !r);
	if (r) {
		snprintf(c->error, sizeof(c->error), "%s", error);
		return r;
	}
	s->generation = row.generation;
	/* A crash before this leaves a session on the old generation: its PC is told so, nothing is lost. */
	if (!c->mend && store_session_remove(s->parts.store, c->image))
		log_error("the update session of image %s cannot be removed: %s", c->image, store_error(s->parts.store));
	else if (!c->mend)
		boot_session_drop(s->parts.boot, &s->session);
	if (config->keep_generations)
		s->pruned = catalogue_prune(s->parts.catalogue, config, c->image, config->keep_generations, serves, s->parts.boot);
	return 0;
}

static void finished(void *arg)
{
	struct commit_service *s = arg;

	if (s->stopping)
		return;
	pthread_join(s->thread, NULL);
	s->has_thread = false;
	if (!s->result && !s->look)
		s->result = adopt(s);
	s->state = s->result ? FAILED : DONE;
	if (s->result)
		log_error("%s", s->commit.error);
	else if (s->commit.mend)
		log_notice("image %s: what the doctor mended is generation %u now", s->commit.image, s->generation);
	else if (!s->look)
		log_notice("image %s: what was written in %u ranges, %llu MiB, is generation %u now", s->commit.image, s->commit.ranges,
			   (unsigned long long)s->commit.changed >> 20, s->generation);
	if (!s->commit.mend)
		boot_session_thaw(s->parts.boot);
}

static void *work(void *arg)
{
	struct commit_service *s = arg;

	s->result = s->look ? commit_look(&s->commit) : commit_write(&s->commit);
	loop_wake(s->parts.loop, finished, s);
	return NULL;
}

/* --- the beginning ------------------------------------------------------------------------------------------------*/

static int start(struct commit_service *s)
{
	s->state = s->look ? LOOKING : WRITING;
	s->began_ms = now_ms();
	if (pthread_create(&s->thread, NULL, work, s)) {
		s->state = FAILED;
		snprintf(s->commit.error, sizeof(s->commit.error), "image %s was not changed: no thread can be started", s->commit.image);
		return -EAGAIN;
	}
	s->has_thread = true;
	return 0;
}

static void frozen(void *arg, int result, const char *error)
{
	struct commit_service *s = arg;

	s->result = result;
	if (s->stopping)
		return;
	if (result) {
		s->state = FAILED;
		snprintf(s->commit.error, sizeof(s->commit.error), "image %s was not committed: the disk of its client cannot be closed: %.400s",
			 s->commit.image, error);
		return;
	}
	if (start(s))
		boot_session_thaw(s->parts.boot);
}

static int choose_format(const char *wanted, const struct catalogue_chain *chain, enum image_format *ret)
{
	if (*wanted) {
		int r = image_format_from_name(wanted, ret);

		return r ? r : *ret == IMAGE_RAW ? -EINVAL : 0;
	}
	if (image_format_from_name(chain->image.format, ret) || *ret == IMAGE_RAW)
		*ret = IMAGE_VMDK;
	return 0;
}

static int fill(struct commit_service *s, const char *image, const char *format, char error[BOOT_ERROR_MAX])
{
	const struct config *config = *s->parts.config;
	struct commit *c = &s->commit;
	struct catalogue_chain chain;
	int r;

	memset(c, 0, sizeof(*c));
	r = catalogue_resolve(s->parts.catalogue, image, &chain, error);
	if (r)
		return r;
	if (*s->session.image && chain.image.generation != s->session.generation) {
		snprintf(error, BOOT_ERROR_MAX,
			 "the update session of image %s lies on generation %u, but the current one is %u: \"bootwell image rollback %s %u\" first",
			 image, s->session.generation, chain.image.generation, image, s->session.generation);
		return -ESTALE;
	}
	if (choose_format(format, &chain, &c->format)) {
		snprintf(error, BOOT_ERROR_MAX, "an image is committed as vmdk or vhd, not as \"%.20s\"", format);
		return -EINVAL;
	}
	snprintf(c->image, sizeof(c->image), "%s", image);
	snprintf(c->images_path, sizeof(c->images_path), "%s", config->images_path);
	snprintf(c->store_path, sizeof(c->store_path), "%s", config->store_path);
	snprintf(c->overlay, sizeof(c->overlay), "%s", s->session.overlay);
	/* As boot_disk.c writes it into the disk's record. */
	snprintf(c->generation, sizeof(c->generation), "%s %u %s", chain.image.name, chain.image.generation, chain.image.image_id);
	c->number = catalogue_last_generation(s->parts.catalogue, image);
	c->base.layers = chain.layers;
	for (unsigned int i = 0; i < chain.layers; i++) {
		memcpy(c->base.layer[i].format, chain.layer[i].format, sizeof(c->base.layer[i].format));
		memcpy(c->base.layer[i].file, chain.layer[i].file, sizeof(c->base.layer[i].file));
		c->base.layer[i].size_override = chain.layer[i].size_override;
	}
	return 0;
}

int commit_service_begin(struct commit_service *s, const char *image, const char *format, bool look, char error[BOOT_ERROR_MAX])
{
	int r;

	_Static_assert(BOOT_ERROR_MAX >= CATALOGUE_ERROR_MAX, "a sentence of the catalogue fits");
	if (running(s)) {
		snprintf(error, BOOT_ERROR_MAX, "image %s is being committed; wait until it is done", s->commit.image);
		return -EBUSY;
	}
	r = store_session_by_image(s->parts.store, image, &s->session);
	if (r <= 0) {
		snprintf(error, BOOT_ERROR_MAX,
			 "no client is updating image %.63s: \"bootwell client set NAME update-image=%.63s\" makes one the super client", image, image);
		return r < 0 ? r : -ENOENT;
	}
	r = fill(s, image, format, error);
	if (r)
		return r;
	s->look = look;
	s->generation = 0;
	s->pruned = 0;
	r = boot_session_freeze(s->parts.boot, &s->session, frozen, s, error);
	if (!r)
		s->state = PREPARING;
	return r;
}

int commit_service_mend(struct commit_service *s, const char *image, const char *format, char error[BOOT_ERROR_MAX])
{
	struct store_session session;
	int r;

	if (running(s)) {
		snprintf(error, BOOT_ERROR_MAX, "image %s is being committed; wait until it is done", s->commit.image);
		return -EBUSY;
	}
	if (store_session_by_image(s->parts.store, image, &session) > 0) {
		snprintf(error, BOOT_ERROR_MAX,
			 "a client is updating image %.63s, and its work would be lost: commit it, or end it with \"bootwell client set NAME "
			 "--update-image -\"", image);
		return -EBUSY;
	}
	memset(&s->session, 0, sizeof(s->session));
	r = fill(s, image, format, error);
	if (r)
		return r;
	s->commit.mend = true;
	s->look = false;
	s->generation = 0;
	s->pruned = 0;
	r = start(s);
	if (r)
		snprintf(error, BOOT_ERROR_MAX, "%s", s->commit.error);
	return r;
}

int commit_service_cancel(struct commit_service *s, const char *image, char error[BOOT_ERROR_MAX])
{
	if (!running(s) || strcmp(s->commit.image, image)) {
		snprintf(error, BOOT_ERROR_MAX, "image %.63s is not being committed", image);
		return -ENOENT;
	}
	__atomic_store_n(&s->commit.cancel, true, __ATOMIC_RELAXED);
	return 0;
}

/* Where something was changed. */
static json_t *partitions_json(const struct commit *c)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < c->parts; i++)
		if (c->part[i].changed)
			json_array_append_new(list, json_pack("{s:i, s:s, s:I}", "number", (int)c->part[i].number, "kind", c->part[i].kind,
							      "changed", (json_int_t)c->part[i].changed));
	return list;
}

/* Bytes a second since the beginning, and what is left at that rate. */
static void add_rate(json_t *o, const struct commit_service *s)
{
	uint64_t done = __atomic_load_n(&s->commit.done, __ATOMIC_RELAXED);
	uint64_t total = __atomic_load_n(&s->commit.total, __ATOMIC_RELAXED);
	int64_t ms = now_ms() - s->began_ms;
	uint64_t rate = ms > 0 ? done * 1000 / (uint64_t)ms : 0;

	json_object_set_new(o, "rate", json_integer((json_int_t)rate));
	if (rate && total >= done)
		json_object_set_new(o, "left_s", json_integer((json_int_t)((total - done) / rate)));
}

json_t *commit_service_json(const struct commit_service *s)
{
	static const char *const names[] = {"idle", "preparing", "looking", "writing", "done", "failed"};
	const struct commit *c = s ? &s->commit : NULL;
	json_t *o;

	if (!s || s->state == IDLE)
		return json_null();
	o = json_pack("{s:s, s:s, s:b, s:b, s:I, s:I}", "image", c->image, "state", names[s->state], "look", s->look, "mend", c->mend, "done",
		      (json_int_t)__atomic_load_n(&c->done, __ATOMIC_RELAXED), "total",
		      (json_int_t)__atomic_load_n(&c->total, __ATOMIC_RELAXED));
	if (s->state == WRITING)
		add_rate(o, s);
	if (s->state == DONE) {
		json_object_set_new(o, "changed", json_integer((json_int_t)c->changed));
		json_object_set_new(o, "ranges", json_integer(c->ranges));
		json_object_set_new(o, "format", json_string(image_format_name(c->format)));
	}
	if (s->state == DONE && s->look)
		json_object_set_new(o, "partitions", partitions_json(c));
	if (s->state == DONE && !s->look) {
		json_object_set_new(o, "generation", json_integer(s->generation));
		json_object_set_new(o, "file", json_string(c->file));
		json_object_set_new(o, "disk_bytes", json_integer((json_int_t)c->disk_bytes));
		json_object_set_new(o, "pruned", json_integer(s->pruned));
		if (c->mend)
			json_object_set_new(o, "told", json_string(c->told));
	}
	if (s->state == FAILED)
		json_object_set_new(o, "error", json_string(c->error));
	return o;
}
