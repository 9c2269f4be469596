// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The commit that goes on: one at a time, asked for and watched through the control API. The loop closes the super
 * client's disk and switches the generation; reading and writing is commit.c's, on a thread of its own. The loop opens
 * nothing in the folder of images, which may hang: that, and what is to be put in order there, is done aside
 * (core/aside.h). A thread that hangs there at the end of the program is left behind, and what it uses with it.
 */
#include "daemon/commit/service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/commit/commit.h"
#include "daemon/core/aside.h"
#include "daemon/core/log.h"
#include "daemon/core/clock.h"
#include "daemon/image/sparse_file.h"

#define STOP_PATIENCE (5 * 1000000000ull) /* ns that the end waits for the thread */

enum phase { IDLE, PREPARING, LOOKING, WRITING, DONE, FAILED };

struct commit_service {
	struct commit_parts parts;
	enum phase phase, end; /* end: what it will be when all is in order */
	bool look;
	struct commit commit;
	struct state_session session;
	struct state_image seen; /* the file that it wrote */
	struct aside *aside;
	unsigned int tidying; /* jobs in the folder of images */
	struct aside *writer; /* the commit's own thread */
	uint32_t generation;  /* that it became */
	unsigned int pruned;
	int64_t began_ms; /* writing */
	bool working, stopping;
	unsigned int refs; /* atomic: the owner's and the thread's */
	int result;
};

static void service_unref(struct commit_service *s)
{
	if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) == 0)
		free(s);
}

static int64_t now_ms(void)
{
	return (int64_t)(clock_monotonic_ns() / 1000000);
}

static bool running(const struct commit_service *s)
{
	return s->phase == PREPARING || s->phase == LOOKING || s->phase == WRITING;
}

/* --- order in the folder of images ------------------------------------------------------------------------------- */

/* A commit that was cut off, or has ended: what it left goes. */
struct tidy {
	struct aside_job job;
	bool settle, kept;
	struct commit commit; /* settle */
	char images_path[256];
	char (*file)[256]; /* clean: what is an image */
	size_t files;
	bool failed; /* it is not known what all is one */
};

/* In doubt it is one. */
static bool is_image(void *arg, const char *file)
{
	const struct tidy *t = arg;

	for (size_t i = 0; i < t->files; i++)
		if (!strcmp(t->file[i], file))
			return true;
	return t->failed;
}

static void tidy_work(struct aside_job *job)
{
	struct tidy *t = (struct tidy *)job;

	if (t->settle)
		commit_settle(&t->commit, t->kept);
	else
		commit_clean(t->images_path, is_image, t);
}

static void tidy_drop(struct aside_job *job)
{
	free(((struct tidy *)job)->file);
	free(job);
}

static void tidy_done(void *owner, struct aside_job *job)
{
	struct commit_service *s = owner;

	s->tidying--;
	if (((struct tidy *)job)->settle && s->end != IDLE)
		s->phase = s->end;
	tidy_drop(job);
}

static void tidy_begin(struct commit_service *s, struct tidy *t)
{
	t->job = (struct aside_job){.work = tidy_work, .done = tidy_done, .drop = tidy_drop};
	s->tidying++;
	if (!aside_begin(s->aside, &t->job))
		return;
	s->tidying--;
	tidy_drop(&t->job); /* the next start finds it */
}

static void add_file(struct tidy *t, const char *file)
{
	char(*more)[256] = reallocarray(t->file, t->files + 1, sizeof(*more));

	if (!more) {
		t->failed = true;
		return;
	}
	t->file = more;
	snprintf(t->file[t->files++], sizeof(*more), "%s", file);
}

static void add_image(void *arg, const struct state_image *image)
{
	add_file(arg, image->file);
}

static void begin_clean(struct commit_service *s)
{
	const struct config *config = *s->parts.config;
	struct tidy *t = calloc(1, sizeof(*t));

	if (!t)
		return;
	memcpy(t->images_path, config->images_path, sizeof(t->images_path));
	for (size_t i = 0; i < config->images; i++)
		add_file(t, config->image[i].file);
	t->failed |= state_image_each(s->parts.state, add_image, t) < 0;
	tidy_begin(s, t);
}

static void begin_settle(struct commit_service *s, bool kept)
{
	struct tidy *t = calloc(1, sizeof(*t));

	if (!t)
		return;
	t->settle = true;
	t->kept = kept;
	t->commit = s->commit;
	tidy_begin(s, t);
}

static int refuse_tidying(const struct commit_service *s, struct sentence *error)
{
	if (!s->tidying)
		return 0;
	return sentence_fail(error, -EBUSY,
			     "the folder of images is still being put in order; if this lasts, the disk or the server "
			     "that it lies on does not answer");
}

int commit_service_new(struct commit_service **ret, const struct commit_parts *parts)
{
	struct commit_service *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->parts = *parts;
	s->refs = 1;
	r = aside_new(&s->aside, parts->loop, 1, s);
	if (!r)
		r = aside_new(&s->writer, parts->loop, 1, s);
	if (r) {
		aside_free(s->aside);
		free(s);
		return r;
	}
	begin_clean(s);
	*ret = s;
	return 0;
}

void commit_service_stop(struct commit_service *s)
{
	if (!s)
		return;
	s->stopping = true;
	__atomic_store_n(&s->commit.cancel, true, __ATOMIC_RELAXED);
	if (s->working && !aside_wait(s->writer, clock_monotonic_ns() + STOP_PATIENCE))
		log_warning(
			"the commit of image %s is left behind: the folder of images does not answer; what it wrote "
			"is put in order at the next start",
			s->commit.image);
	aside_free(s->writer);
	s->writer = NULL;
	aside_free(s->aside);
	s->aside = NULL;
}

void commit_service_free(struct commit_service *s)
{
	if (s)
		service_unref(s);
}

/* --- the end ------------------------------------------------------------------------------------------------------*/

static bool serves(void *arg, const struct state_image *image)
{
	return boot_uses_generation(arg, image->name, image->generation);
}

/* The switch is on the disk: the end of the session, whose write-back is not needed any more. */
static void end_session(struct commit_service *s)
{
	const struct config *config = *s->parts.config;
	struct commit *c = &s->commit;

	/* A crash before this leaves a session on the old generation: its PC is told so, nothing is lost. */
	if (!c->mend && state_session_remove(s->parts.state, c->image))
		log_error("the update session of image %s cannot be removed: %s", c->image,
			  state_error(s->parts.state));
	else if (!c->mend)
		boot_session_drop(s->parts.boot, &s->session);
	if (config->keep_generations)
		s->pruned = catalogue_prune(s->parts.catalogue, config, c->image, config->keep_generations, serves,
					    s->parts.boot);
}

static void conclude(struct commit_service *s);

static void switched(void *arg, int result)
{
	struct commit_service *s = arg;

	if (s->stopping || result == -ECANCELED)
		return;
	s->result = result;
	if (result)
		sentence_set(&s->commit.error,
			     "image %s: its generation %u is there, but that cannot be written to the state (%s); the "
			     "update session stays",
			     s->commit.image, s->generation, state_error(s->parts.state));
	else
		end_session(s);
	conclude(s);
}

/* The file is there, with its name: the switch. */
static int adopt(struct commit_service *s)
{
	struct state_image row;
	struct sentence error = {""};
	int r = catalogue_add_generation(s->parts.catalogue, &s->seen, true, &row, &error);

	begin_settle(s, !r);
	if (r) {
		s->commit.error = error;
		return r;
	}
	s->generation = row.generation;
	state_when(s->parts.state, state_position(s->parts.state), switched, s);
	return 0;
}

struct work {
	struct aside_job job;
	struct commit_service *service;
};

static void work_drop(struct aside_job *job)
{
	service_unref(((struct work *)job)->service);
	free(job);
}

static void finished(void *owner, struct aside_job *job)
{
	struct commit_service *s = owner;

	work_drop(job);
	s->working = false;
	if (s->stopping)
		return;
	if (!s->result && !s->look) {
		s->result = adopt(s);
		if (!s->result)
			return; /* switched() goes on */
	}
	conclude(s);
}

static void conclude(struct commit_service *s)
{
	s->end = s->result ? FAILED : DONE;
	if (!s->tidying)
		s->phase = s->end;
	if (s->result)
		log_error("%s", s->commit.error.text);
	else if (s->commit.mend)
		log_notice("image %s: what the doctor mended is generation %u now", s->commit.image, s->generation);
	else if (!s->look)
		log_notice("image %s: what was written in %u ranges, %llu MiB, is generation %u now", s->commit.image,
			   s->commit.ranges, (unsigned long long)s->commit.changed >> 20, s->generation);
	if (!s->commit.mend)
		boot_session_thaw(s->parts.boot);
}

/* The file that was written, as the catalogue will know it. */
static int see_file(struct commit_service *s)
{
	struct commit *c = &s->commit;
	int r;

	memset(&s->seen, 0, sizeof(s->seen));
	snprintf(s->seen.name, sizeof(s->seen.name), "%s", c->image);
	snprintf(s->seen.file, sizeof(s->seen.file), "%s", c->file);
	snprintf(s->seen.format, sizeof(s->seen.format), "%s", image_format_name(c->format));
	r = catalogue_inspect(c->images_path, &s->seen, &c->error);
	if (r)
		commit_settle(c, false);
	return r;
}

static void work(struct aside_job *job)
{
	struct commit_service *s = ((struct work *)job)->service;

	s->result = s->look ? commit_look(&s->commit) : commit_write(&s->commit);
	if (!s->result && !s->look)
		s->result = see_file(s);
}

/* --- the beginning ------------------------------------------------------------------------------------------------*/

static int start(struct commit_service *s)
{
	struct work *w = calloc(1, sizeof(*w));

	s->end = IDLE;
	s->phase = s->look ? LOOKING : WRITING;
	s->began_ms = now_ms();
	if (w) {
		w->job = (struct aside_job){.work = work, .done = finished, .drop = work_drop};
		w->service = s;
		__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
		s->working = true;
		if (!aside_begin(s->writer, &w->job))
			return 0;
		s->working = false;
		work_drop(&w->job);
	}
	s->phase = FAILED;
	sentence_set(&s->commit.error, "image %s was not changed: no thread can be started", s->commit.image);
	return -EAGAIN;
}

static void frozen(void *arg, int result, const char *error)
{
	struct commit_service *s = arg;

	s->result = result;
	if (s->stopping)
		return;
	if (result) {
		s->phase = FAILED;
		sentence_set(&s->commit.error,
			     "image %s was not committed: the disk of its client cannot be closed: %.400s",
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

		return r ? r : sparse_size_max(*ret) ? 0 : -EINVAL;
	}
	if (image_format_from_name(chain->image.format, ret) || !sparse_size_max(*ret))
		*ret = SPARSE_USUAL;
	return 0;
}

static int fill(struct commit_service *s, const char *image, const char *format, struct sentence *error)
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
		sentence_set(
			error,
			"the update session of image %s lies on generation %u, but the current one is %u: \"bootwell "
			"image rollback %s %u\" first",
			image, s->session.generation, chain.image.generation, image, s->session.generation);
		return -ESTALE;
	}
	if (choose_format(format, &chain, &c->format)) {
		sentence_set(error, "an image is committed as " SPARSE_FORMAT_NAMES ", not as \"%.20s\"", format);
		return -EINVAL;
	}
	snprintf(c->image, sizeof(c->image), "%s", image);
	snprintf(c->images_path, sizeof(c->images_path), "%s", config->images_path);
	snprintf(c->store_path, sizeof(c->store_path), "%s", config->store_path);
	snprintf(c->overlay, sizeof(c->overlay), "%s", s->session.overlay);
	/* As boot/disk.c writes it into the disk's record. */
	snprintf(c->generation, sizeof(c->generation), "%s %u %s", chain.image.name, chain.image.generation,
		 chain.image.image_id);
	c->number = catalogue_last_generation(s->parts.catalogue, image);
	c->base.layers = chain.layers;
	for (unsigned int i = 0; i < chain.layers; i++) {
		memcpy(c->base.layer[i].format, chain.layer[i].format, sizeof(c->base.layer[i].format));
		memcpy(c->base.layer[i].file, chain.layer[i].file, sizeof(c->base.layer[i].file));
		c->base.layer[i].size_override = chain.layer[i].size_override;
	}
	return 0;
}

int commit_service_begin(struct commit_service *s, const char *image, const char *format, bool look,
			 struct sentence *error)
{
	int r;

	if (running(s)) {
		sentence_set(error, "image %s is being committed; wait until it is done", s->commit.image);
		return -EBUSY;
	}
	r = refuse_tidying(s, error);
	if (r)
		return r;
	r = state_session_by_image(s->parts.state, image, &s->session);
	if (r <= 0) {
		sentence_set(
			error,
			"no client is updating image %.63s: \"bootwell client set NAME update-image=%.63s\" makes one "
			"the super client",
			image, image);
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
		s->phase = PREPARING;
	return r;
}

int commit_service_mend(struct commit_service *s, const char *image, const char *format, struct sentence *error)
{
	struct state_session session;
	int r;

	if (running(s)) {
		sentence_set(error, "image %s is being committed; wait until it is done", s->commit.image);
		return -EBUSY;
	}
	if (state_session_by_image(s->parts.state, image, &session) > 0) {
		sentence_set(error,
			     "a client is updating image %.63s, and its work would be lost: commit it, or end it with "
			     "\"bootwell client set NAME "
			     "--update-image -\"",
			     image);
		return -EBUSY;
	}
	r = refuse_tidying(s, error);
	if (r)
		return r;
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
		*error = s->commit.error;
	return r;
}

int commit_service_cancel(struct commit_service *s, const char *image, struct sentence *error)
{
	if (!running(s) || strcmp(s->commit.image, image)) {
		sentence_set(error, "image %.63s is not being committed", image);
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
			json_array_append_new(list,
					      json_pack("{s:i, s:s, s:I}", "number", (int)c->part[i].number, "kind",
							c->part[i].kind, "changed", (json_int_t)c->part[i].changed));
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

	if (!s || s->phase == IDLE)
		return json_null();
	o = json_pack("{s:s, s:s, s:b, s:b, s:I, s:I}", "image", c->image, "state", names[s->phase], "look", s->look,
		      "mend", c->mend, "done", (json_int_t)__atomic_load_n(&c->done, __ATOMIC_RELAXED), "total",
		      (json_int_t)__atomic_load_n(&c->total, __ATOMIC_RELAXED));
	if (s->phase == WRITING)
		add_rate(o, s);
	if (s->phase == DONE) {
		json_object_set_new(o, "changed", json_integer((json_int_t)c->changed));
		json_object_set_new(o, "ranges", json_integer(c->ranges));
		json_object_set_new(o, "format", json_string(image_format_name(c->format)));
	}
	if (s->phase == DONE && s->look)
		json_object_set_new(o, "partitions", partitions_json(c));
	if (s->phase == DONE && !s->look) {
		json_object_set_new(o, "generation", json_integer(s->generation));
		json_object_set_new(o, "file", json_string(c->file));
		json_object_set_new(o, "disk_bytes", json_integer((json_int_t)c->disk_bytes));
		json_object_set_new(o, "pruned", json_integer(s->pruned));
		if (c->mend)
			json_object_set_new(o, "told", json_string(c->told));
	}
	if (s->phase == FAILED)
		json_object_set_new(o, "error", json_string(c->error.text));
	return o;
}
