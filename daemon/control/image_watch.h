/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Are the files of the images there? Looked at every few seconds on a thread of its own, for what new boots get and
 * its parents: a disk that is unmounted while the daemon runs is a problem as long as it is away, and says so of
 * itself, not of what the images hold. Loop's thread, where nothing else is said.
 */
#ifndef BOOTWELL_IMAGE_WATCH_H
#define BOOTWELL_IMAGE_WATCH_H

#include <stdint.h>

#include "daemon/config/config.h"
#include "daemon/state/state.h"
#include "daemon/core/loop.h"
#include "tcmu-handler/image/image.h"

#define IMAGE_WATCH_EVERY (5 * 1000000000ull) /* ns */
#define IMAGE_WATCH_MAX   256                 /* files that are away and named; more are counted */

struct image_watch;

struct image_watch_parts {
	struct loop *loop;
	struct state *state;
	struct config **config;
	void (*back)(void *arg); /* a file that was away is there: the catalogue may be read anew */
	void *arg;
};

int image_watch_new(struct image_watch **ret, const struct image_watch_parts *parts);
void image_watch_free(struct image_watch *watch); /* before loop_free(); NULL is fine */

/* One sentence each, NULL past the last. Valid until the loop goes on. `watch`: may be NULL, then there is none. */
const char *image_watch_problem(const struct image_watch *watch, unsigned int n);
/* True: the whole folder is away, so what else is said of single images says nothing. */
bool image_watch_folder_away(const struct image_watch *watch);

/* What the last look found, which never changes: for other threads. NULL: nothing is away. */
struct image_looks;
struct image_looks *image_watch_looks(const struct image_watch *watch);
void image_looks_unref(struct image_looks *looks); /* any thread; NULL is fine */
/* IMAGE_GOOD: it was there, or was not looked at. Any thread. */
enum image_outcome image_looks_find(const struct image_looks *looks, const char *name, uint32_t generation);

#endif
