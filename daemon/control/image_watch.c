// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A look: the folder is opened, and each file in it that a new boot would need, on a thread that nobody waits for
 * (core/aside.h): a file may hang, and so does its look, and there is no other. What it finds is one block that is
 * never changed: the loop takes the new one and lets go of the old, and who prints a document at that moment keeps his.
 *
 * A file that a section names and the catalogue does not know yet (it was away when the daemon started) is looked at
 * too; the catalogue has a sentence of its own for it, so only its coming back counts here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/control/image_watch.h"
#include "daemon/core/aside.h"
#include "daemon/core/log.h"
#include "daemon/state/rows.h"

#define PROBLEMS 8 /* sentences; what is more is counted in the last one */

struct image_look {
	char name[64], file[256];
	uint32_t generation; /* 0: of a section that has no row */
	int code;            /* -errno */
};

struct image_looks {
	atomic_uint refs;
	int folder;          /* 0 or -errno */
	unsigned int needed; /* files that a new boot may need */
	unsigned int away;   /* of them */
	unsigned int silent; /* files that are away and that only sections know */
	unsigned int n;      /* in look[] */
	struct image_look look[IMAGE_WATCH_MAX];
};

/* One look; the thread's until done. */
struct work {
	struct aside_job job;
	char folder[256];
	struct image_look *section;
	size_t sections;
	struct state_image *row;
	size_t rows, room;
	bool failed;
	struct image_looks *found;
};

struct image_watch {
	struct image_watch_parts parts;
	struct loop_source *timer;
	struct aside *aside;
	struct work *work;         /* NULL: none goes on */
	struct image_looks *looks; /* NULL: not yet */
	unsigned int problems;
	char problem[PROBLEMS][512];
};

/* --- what a look found --- */

static struct image_looks *looks_ref(struct image_looks *looks)
{
	if (looks)
		atomic_fetch_add(&looks->refs, 1);
	return looks;
}

void image_looks_unref(struct image_looks *looks)
{
	if (looks && atomic_fetch_sub(&looks->refs, 1) == 1)
		free(looks);
}

enum image_outcome image_looks_find(const struct image_looks *looks, const char *name, uint32_t generation)
{
	if (!looks)
		return IMAGE_GOOD;
	for (unsigned int i = 0; i < looks->n; i++)
		if (looks->look[i].generation == generation && !strcmp(looks->look[i].name, name))
			return image_outcome(looks->look[i].code);
	return IMAGE_GOOD;
}

/* --- the thread --- */

static void take_row(void *arg, const struct state_image *image)
{
	struct work *w = arg;
	size_t room = w->room ? 2 * w->room : 16;
	struct state_image *more;

	if (w->rows == w->room) {
		more = reallocarray(w->row, room, sizeof(*more));
		if (!more) {
			w->failed = true;
			return;
		}
		w->row = more;
		w->room = room;
	}
	w->row[w->rows++] = *image;
}

/* Where the parent of a row is; rows: nowhere. */
static size_t parent_of(const struct work *w, size_t child)
{
	for (size_t i = 0; w->row[child].parent && i < w->rows; i++)
		if (w->row[i].id == w->row[child].parent)
			return i;
	return w->rows;
}

/* What new boots get, and what that is made from; NULL: no memory. */
static bool *find_needed(const struct work *w)
{
	bool *needed = calloc(w->rows ? w->rows : 1, sizeof(*needed));

	for (size_t i = 0; needed && i < w->rows; i++)
		if (w->row[i].current)
			for (size_t k = i; k < w->rows && (k == i || !needed[k]); k = parent_of(w, k))
				needed[k] = true;
	return needed;
}

static bool has_row(const struct work *w, const struct image_look *section)
{
	for (size_t i = 0; i < w->rows; i++)
		if (!strcmp(w->row[i].name, section->name))
			return true;
	return false;
}

/* Opened, as a boot would; nothing is read, and nothing waits for a writer. */
static int look_at(int folder, const char *file)
{
	int fd = openat(folder, file, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static void note(struct image_looks *l, const char *name, uint32_t generation, const char *file, int code)
{
	struct image_look *look = &l->look[l->n];

	if (l->n == IMAGE_WATCH_MAX)
		return;
	snprintf(look->name, sizeof(look->name), "%s", name);
	snprintf(look->file, sizeof(look->file), "%s", file);
	look->generation = generation;
	look->code = code;
	l->n++;
}

static void look_work(struct aside_job *job)
{
	struct work *w = (struct work *)job;
	struct image_looks *l = w->found;
	bool *needed = find_needed(w);
	int folder, code;

	w->failed = !needed;
	if (!needed)
		return;
	folder = open(w->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	l->folder = folder < 0 ? -errno : 0;
	for (size_t i = 0; i < w->rows; i++) {
		if (!needed[i])
			continue;
		l->needed++;
		code = folder < 0 ? l->folder : look_at(folder, w->row[i].file);
		if (!code)
			continue;
		l->away++;
		note(l, w->row[i].name, w->row[i].generation, w->row[i].file, code);
	}
	for (size_t i = 0; i < w->sections; i++)
		if (!has_row(w, &w->section[i]) && (folder < 0 || look_at(folder, w->section[i].file)))
			l->silent++;
	if (folder >= 0)
		close(folder);
	free(needed);
}

/* --- the loop --- */

static void work_free(struct work *w)
{
	image_looks_unref(w->found);
	free(w->section);
	free(w->row);
	free(w);
}

static void add_problem(struct image_watch *w, const char *text)
{
	snprintf(w->problem[w->problems++], sizeof(w->problem[0]), "%s", text);
}

static void say_folder(struct image_watch *w, const struct image_looks *l, const char *folder)
{
	char text[512];

	if (l->folder)
		snprintf(text, sizeof(text),
			 "the folder of images %s cannot be opened: %s; no PC can start until it is back: is its disk "
			 "mounted?",
			 folder, strerror(-l->folder));
	else
		snprintf(text, sizeof(text),
			 "none of the files of the images is in %s; no PC can start until they are back: is its disk "
			 "mounted?",
			 folder);
	add_problem(w, text);
}

static void say_files(struct image_watch *w, const struct image_looks *l, const char *folder)
{
	char text[512];

	for (unsigned int i = 0; i < l->n && i < PROBLEMS - 1; i++) {
		const struct image_look *look = &l->look[i];
		bool absent = image_outcome(look->code) == IMAGE_ABSENT;

		snprintf(text, sizeof(text), "image %s: the file %.150s of generation %u %s %.200s%s%s; %s", look->name,
			 look->file, look->generation, absent ? "is not in" : "cannot be read in", folder,
			 absent ? "" : ": ", absent ? "" : strerror(-look->code),
			 absent ? "put it back, or \"bootwell image rollback\" to a generation that is there"
				: "look at its permissions and at the disk (journalctl -k)");
		add_problem(w, text);
	}
	if (l->away > w->problems) {
		snprintf(text, sizeof(text), "%u more files of images are not in %s or cannot be read",
			 l->away - w->problems, folder);
		add_problem(w, text);
	}
}

static bool folder_is_away(const struct image_looks *l)
{
	return l &&
	       (l->folder || (l->needed && l->away == l->needed && image_outcome(l->look[0].code) == IMAGE_ABSENT));
}

/* What is new is logged once, and so is that all is well again. */
static void say(struct image_watch *w, const struct image_looks *l, const char *folder)
{
	char before[PROBLEMS][512];
	unsigned int n = w->problems;

	memcpy(before, w->problem, sizeof(before));
	w->problems = 0;
	if (folder_is_away(l))
		say_folder(w, l, folder);
	else
		say_files(w, l, folder);
	for (unsigned int i = 0; i < w->problems; i++) {
		bool known = false;

		for (unsigned int k = 0; k < n; k++)
			known |= !strcmp(before[k], w->problem[i]);
		if (!known)
			log_error("%s", w->problem[i]);
	}
	if (n && !w->problems)
		log_notice("the files of the images in %s are all there again", folder);
}

static void look_done(void *owner, struct aside_job *job)
{
	struct image_watch *w = owner;
	struct work *work = (struct work *)job;
	struct image_looks *before = w->looks;

	w->work = NULL;
	if (!work->failed) {
		w->looks = looks_ref(work->found);
		say(w, w->looks, work->folder);
		if (before && before->away + before->silent > w->looks->away + w->looks->silent)
			w->parts.back(w->parts.arg);
		image_looks_unref(before);
	}
	work_free(work);
}

static void look_drop(struct aside_job *job)
{
	work_free((struct work *)job);
}

static bool take_sections(struct work *work, const struct config *config)
{
	work->section = calloc(config->images ? config->images : 1, sizeof(*work->section));
	for (size_t i = 0; work->section && i < config->images; i++) {
		snprintf(work->section[i].name, sizeof(work->section[i].name), "%s", config->image[i].name);
		snprintf(work->section[i].file, sizeof(work->section[i].file), "%s", config->image[i].file);
	}
	work->sections = config->images;
	return work->section != NULL;
}

/* A state that cannot be read is said by others. */
static void take_rows(struct work *work, struct state *state)
{
	struct state_rows *rows = state_rows(state);

	work->failed = !rows;
	state_rows_each(rows, take_row, work);
	state_rows_unref(rows);
}

static void on_timer(void *arg)
{
	struct image_watch *w = arg;
	const struct config *config = *w->parts.config;
	struct work *work = w->work ? NULL : calloc(1, sizeof(*work));

	loop_timer_set(w->timer, loop_now(w->parts.loop) + IMAGE_WATCH_EVERY);
	if (!work)
		return;
	take_rows(work, w->parts.state);
	snprintf(work->folder, sizeof(work->folder), "%s", config->images_path);
	work->found = calloc(1, sizeof(*work->found));
	if (work->found)
		work->found->refs = 1;
	work->job = (struct aside_job){.work = look_work, .done = look_done, .drop = look_drop};
	if (work->failed || !work->found || !take_sections(work, config) || aside_begin(w->aside, &work->job)) {
		work_free(work);
		return;
	}
	w->work = work;
}

const char *image_watch_problem(const struct image_watch *w, unsigned int n)
{
	return w && n < w->problems ? w->problem[n] : NULL;
}

bool image_watch_folder_away(const struct image_watch *w)
{
	return w && folder_is_away(w->looks);
}

struct image_looks *image_watch_looks(const struct image_watch *w)
{
	return w ? looks_ref(w->looks) : NULL;
}

int image_watch_new(struct image_watch **ret, const struct image_watch_parts *parts)
{
	struct image_watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->parts = *parts;
	r = aside_new(&w->aside, parts->loop, 1, w);
	if (!r)
		r = loop_add_timer(parts->loop, loop_now(parts->loop), on_timer, w, &w->timer);
	if (r) {
		aside_free(w->aside);
		free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void image_watch_free(struct image_watch *w)
{
	if (!w)
		return;
	loop_source_free(w->timer);
	aside_free(w->aside);
	image_looks_unref(w->looks);
	free(w);
}
