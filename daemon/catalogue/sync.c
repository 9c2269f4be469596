// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The images that the configuration names. Each [image] section has its file looked at when the configuration is read,
 * on a thread of its own (catalogue/look.c), and is then one of these:
 *
 *	looking		a look is under way; after CATALOGUE_PATIENCE_MS it is late, and its image a problem
 *	known		the file can be used, its row is in the state
 *	wrong		it cannot: looked at again when a PC asks for an image that is not there
 *
 * A look that hangs stays the section's own, over any number of reloads: it is never begun a second time beside itself,
 * so a section holds at most one thread. If the configuration was read again meanwhile, the file may have been changed
 * since, so another look follows when it ends after all.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/catalogue/private.h"
#include "daemon/core/clock.h"
#include "daemon/core/log.h"

#define PATIENCE     (CATALOGUE_PATIENCE_MS * 1000000ull)
#define AGAIN_FACTOR 10 /* a wrong file is not looked at for so many times as long as the last look took */

struct catalogue_section {
	struct config_image image;
	struct catalogue_look *look; /* NULL: none is under way */
	uint64_t since;              /* when that was begun */
	bool again;                  /* the configuration was read since */
	bool late_said;
	bool known;
	uint64_t not_before;   /* wrong: the next look */
	struct sentence why;   /* it is wrong; "" */
	struct sentence chain; /* it cannot be given to PCs for its parents; "" */
};

static bool is_late(const struct catalogue_section *s, uint64_t now)
{
	return s->look && now >= s->since + PATIENCE;
}

static void tell_late(const struct catalogue_section *s, uint64_t now, struct sentence *ret)
{
	sentence_set(
		ret,
		"image %s: its file %s has not answered for %u s: is the disk or the server that it lies on there?",
		s->image.name, s->image.file, (unsigned int)((now > s->since ? now - s->since : 0) / CLOCK_NS));
}

/* --- one look ---------------------------------------------------------------------------------- */

static void begin_look(struct catalogue *c, struct catalogue_section *s);

static void set_wrong(struct catalogue *c, struct catalogue_section *s, const char *why)
{
	struct sentence was = s->why;

	s->known = false;
	sentence_set(&s->why, "%.200s:%u: %s", c->config_file, s->image.line, why);
	if (strcmp(was.text, s->why.text))
		log_error("%s", s->why.text);
}

/* The file can be used: a new image, another generation, or what was there before. */
static void take_seen(struct catalogue *c, struct catalogue_section *s, struct state_image *row)
{
	struct state_image old;
	bool found = state_image_current(c->state, row->name, &old) > 0;

	s->known = true;
	s->why.text[0] = '\0';
	if (found && catalogue_has_file(c, row))
		return; /* a generation has come after it, or it was rolled back to: the state decides */
	row->current = true;
	row->generation = found ? catalogue_last_generation(c, row->name) + 1 : 1;
	if (catalogue_put_current(c, row)) {
		sentence_set(&s->why, "image %s cannot be noted in the state: %s", row->name, state_error(c->state));
		log_error("%s", s->why.text);
		s->known = false;
		return;
	}
	log_notice("image %s: generation %u is %s, %s, %llu MiB", row->name, row->generation, row->file, row->format,
		   (unsigned long long)row->virtual_size >> 20);
}

static void section_seen(struct catalogue *c, struct catalogue_look *look)
{
	struct catalogue_section *s = look->arg;
	uint64_t now = clock_monotonic_ns();

	if (!s) /* no section any more */
		return;
	s->look = NULL;
	if (s->late_said)
		log_notice("image %s: its file %s answers again, after %u s", s->image.name, s->image.file,
			   (unsigned int)((now - s->since) / CLOCK_NS));
	s->late_said = false;
	if (s->again) {
		begin_look(c, s);
	} else {
		if (look->result)
			set_wrong(c, s, look->error.text);
		else
			take_seen(c, s, &look->row);
		s->not_before = now + AGAIN_FACTOR * look->took_ns;
	}
	c->unlinked = true;
	c->changed(c);
}

static void begin_look(struct catalogue *c, struct catalogue_section *s)
{
	const struct config_image *image = &s->image;
	struct catalogue_look *look;
	struct state_image row;

	/* The same file keeps the format that it was found to have. */
	catalogue_prepare(c, image->name, image->file, image->format, image->size_override, &row);
	s->again = false;
	s->since = clock_monotonic_ns();
	look = catalogue_look_begin(c, c->images_path, &row, section_seen, s);
	if (!look)
		set_wrong(c, s, "there is no thread that could look at its file");
	else if (c->loop)
		s->look = look;
}

void catalogue_look_again(struct catalogue *c)
{
	uint64_t now = clock_monotonic_ns();

	for (size_t i = 0; i < c->sections; i++)
		if (!c->section[i]->look && !c->section[i]->known && now >= c->section[i]->not_before)
			begin_look(c, c->section[i]);
}

/* --- rows of a version that did not note what an image is known by --- */

/* Noted now, if the file still is what they say. */
static void row_seen(struct catalogue *c, struct catalogue_look *look)
{
	struct state_image row;

	c->completing--;
	if (!look->result && state_image_by_id(c->state, look->row.id, &row) > 0 && !row.fingerprint &&
	    catalogue_same_file(&look->row, &row)) {
		look->row.current = row.current;
		state_image_put(c->state, &look->row);
	}
	c->unlinked = true;
	c->changed(c);
}

static void complete_rows(struct catalogue *c)
{
	struct catalogue_rows all;

	if (c->completing || catalogue_rows_load(c, NULL, &all))
		return;
	c->completing_since = clock_monotonic_ns();
	for (size_t i = 0; i < all.n; i++) {
		if (all.row[i].fingerprint)
			continue;
		c->completing++;
		if (!catalogue_look_begin(c, c->images_path, &all.row[i], row_seen, NULL))
			c->completing--;
	}
	free(all.row);
}

/* --- all of them ------------------------------------------------------------------------------- */

static bool same_section(const struct config_image *a, const struct config_image *b)
{
	return !strcmp(a->name, b->name) && !strcmp(a->file, b->file) && !strcmp(a->format, b->format) &&
	       a->size_override == b->size_override;
}

static void free_section(struct catalogue_section *s)
{
	if (s && s->look)
		s->look->arg = NULL;
	free(s);
}

/* The section as it was before, out of the list; else a new one. */
static struct catalogue_section *take_section(struct catalogue *c, const struct config_image *image)
{
	struct catalogue_section *s = NULL;

	for (size_t i = 0; i < c->sections && !s; i++)
		if (c->section[i] && same_section(&c->section[i]->image, image)) {
			s = c->section[i];
			c->section[i] = NULL;
		}
	if (!s)
		s = calloc(1, sizeof(*s));
	if (s)
		s->image = *image;
	return s;
}

void catalogue_drop_sections(struct catalogue *c)
{
	for (size_t i = 0; i < c->sections; i++)
		free_section(c->section[i]);
	free(c->section);
	c->section = NULL;
	c->sections = 0;
	for (size_t i = 0; i < c->problems; i++)
		free(c->problem[i]);
	free(c->problem);
	c->problem = NULL;
	c->problems = 0;
}

void catalogue_sync(struct catalogue *c, const struct config *config)
{
	struct catalogue_section **now = calloc(config->images + 1, sizeof(struct catalogue_section *));
	size_t n = 0;

	if (!now) {
		log_error("the images of %.200s cannot be looked at: out of memory", config->file);
		return;
	}
	for (size_t i = 0; i < config->images; i++) {
		now[n] = take_section(c, &config->image[i]);
		n += now[n] != NULL;
	}
	catalogue_drop_sections(c);
	c->section = now;
	c->sections = n;
	snprintf(c->images_path, sizeof(c->images_path), "%s", config->images_path);
	snprintf(c->config_file, sizeof(c->config_file), "%.255s", config->file);
	complete_rows(c);
	for (size_t i = 0; i < n; i++) {
		if (now[i]->look)
			now[i]->again = true;
		else
			begin_look(c, now[i]);
	}
	c->unlinked = true;
	c->changed(c);
}

bool catalogue_unsettled(const struct catalogue *c, uint64_t now)
{
	for (size_t i = 0; i < c->sections; i++)
		if (c->section[i]->look && !is_late(c->section[i], now))
			return true;
	return c->completing && now < c->completing_since + PATIENCE;
}

uint64_t catalogue_next_late(const struct catalogue *c, uint64_t now)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < c->sections; i++) {
		const struct catalogue_section *s = c->section[i];

		if (s->look && !is_late(s, now) && s->since + PATIENCE < next)
			next = s->since + PATIENCE;
	}
	if (c->completing && now < c->completing_since + PATIENCE && c->completing_since + PATIENCE < next)
		next = c->completing_since + PATIENCE;
	return next;
}

int catalogue_file_waits(const struct catalogue *c, const char *file, uint64_t now, struct sentence *error)
{
	int r = 0;

	for (size_t i = 0; i < c->sections; i++) {
		const struct catalogue_section *s = c->section[i];

		if (!s->look || strcmp(s->image.file, file) != 0)
			continue;
		r = is_late(s, now) ? -ETIMEDOUT : 1;
		tell_late(s, now, error);
		if (r < 0)
			return r;
	}
	return r;
}

bool catalogue_is_wrong(const struct catalogue *c, const char *name)
{
	for (size_t i = 0; i < c->sections; i++)
		if (!c->section[i]->look && !c->section[i]->known && !strcmp(c->section[i]->image.name, name))
			return true;
	return false;
}

bool catalogue_is_looked_at(const struct catalogue *c, const char *name, uint64_t now)
{
	for (size_t i = 0; i < c->sections; i++)
		if (c->section[i]->look && !is_late(c->section[i], now) && !strcmp(c->section[i]->image.name, name))
			return true;
	return false;
}

void catalogue_why_not(const struct catalogue *c, const char *name, uint64_t now, struct sentence *why)
{
	for (size_t i = 0; i < c->sections; i++)
		if (c->section[i]->look && !strcmp(c->section[i]->image.name, name))
			tell_late(c->section[i], now, why);
	if (!why->text[0])
		sentence_set(why, "image %s: other images are still being looked at", name);
}

static void look_at_chain(struct catalogue *c, struct catalogue_section *s)
{
	struct catalogue_chain chain;
	struct sentence was = s->chain;
	struct state_image row;

	s->chain.text[0] = '\0';
	if (state_image_current(c->state, s->image.name, &row) <= 0 ||
	    !catalogue_resolve(c, s->image.name, &chain, &s->chain))
		s->chain.text[0] = '\0';
	else if (strcmp(was.text, s->chain.text))
		log_error("%s", s->chain.text);
}

void catalogue_take_stock(struct catalogue *c, uint64_t now)
{
	struct sentence late;

	for (size_t i = 0; i < c->sections; i++) {
		if (!is_late(c->section[i], now) || c->section[i]->late_said)
			continue;
		c->section[i]->late_said = true;
		tell_late(c->section[i], now, &late);
		log_error("%s", late.text);
	}
	if (!c->unlinked || catalogue_unsettled(c, now))
		return;
	c->unlinked = false;
	catalogue_link_all(c);
	for (size_t i = 0; i < c->sections; i++)
		look_at_chain(c, c->section[i]);
}

/* --- what is wrong ----------------------------------------------------------------------------- */

static void add_problem(struct catalogue *c, const char *text)
{
	char **more = reallocarray(c->problem, c->problems + 1, sizeof(*more));

	if (!more)
		return;
	c->problem = more;
	more[c->problems] = strdup(text);
	if (more[c->problems])
		c->problems++;
}

static void list_problems(struct catalogue *c)
{
	uint64_t now = clock_monotonic_ns();
	struct sentence late;

	for (size_t i = 0; i < c->problems; i++)
		free(c->problem[i]);
	c->problems = 0;
	for (size_t i = 0; i < c->sections; i++) {
		const struct catalogue_section *s = c->section[i];

		if (is_late(s, now)) {
			tell_late(s, now, &late);
			add_problem(c, late.text);
		} else if (s->why.text[0]) {
			add_problem(c, s->why.text);
		}
		if (s->chain.text[0])
			add_problem(c, s->chain.text);
	}
}

const char *catalogue_problem(struct catalogue *c, unsigned int n)
{
	if (n == 0)
		list_problems(c);
	return n < c->problems ? c->problem[n] : NULL;
}
