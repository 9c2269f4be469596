/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the catalogue share. */
#ifndef BOOTWELL_CATALOGUE_PRIVATE_H
#define BOOTWELL_CATALOGUE_PRIVATE_H

#include <stddef.h>

#include "daemon/catalogue/catalogue.h"
#include "daemon/core/aside.h"
#include "tcmu-handler/image/sentence.h"

struct catalogue {
	struct state *state;
	struct loop *loop;   /* NULL: none */
	struct aside *aside; /* where files are opened */
	/* Something became known, or late: catalogue/ask.c answers who waits for it. */
	void (*changed)(struct catalogue *catalogue);

	/* catalogue/sync.c */
	char images_path[256], config_file[256]; /* of the configuration that was taken last */
	struct catalogue_section **section;
	size_t sections;
	unsigned int completing; /* looks at rows of an older version */
	uint64_t completing_since;
	bool unlinked; /* something changed since catalogue_link_all() */
	char **problem;
	size_t problems;

	/* catalogue/ask.c */
	struct loop_source *timer;
	struct catalogue_waiter *waiters;
	struct catalogue_asked *asked;
	unsigned int asks; /* their looks, also those that nobody waits for any more */
	bool busy;
};

/* One file that is looked at: catalogue/look.c. */
struct catalogue_look {
	struct aside_job job;
	char path[256];
	struct state_image row; /* as catalogue_prepare() made it; then what was seen */
	int result;
	struct sentence error;
	uint64_t took_ns;
	/* On the loop's thread, when it has ended; the look is freed after it. */
	void (*seen)(struct catalogue *catalogue, struct catalogue_look *look);
	void *arg; /* who wants to know; NULL: nobody any more */
};
/* NULL: it could not be begun. Without a loop it has ended when this returns, and must not be touched. */
struct catalogue_look *catalogue_look_begin(struct catalogue *catalogue, const char *path,
					    const struct state_image *row,
					    void (*seen)(struct catalogue *catalogue, struct catalogue_look *look),
					    void *arg);

/* catalogue/sync.c. Times are CLOCK_MONOTONIC ns. */
/* Is something being looked at that is not late yet? */
bool catalogue_unsettled(const struct catalogue *catalogue, uint64_t now);
/* When the next one will be late; UINT64_MAX: none. */
uint64_t catalogue_next_late(const struct catalogue *catalogue, uint64_t now);
/* Notes what has become late, and decides what can be decided when nothing is unsettled. */
void catalogue_take_stock(struct catalogue *catalogue, uint64_t now);
/* Is a section's file being looked at? 1; -ETIMEDOUT with the sentence: and does not answer; 0. */
int catalogue_file_waits(const struct catalogue *catalogue, const char *file, uint64_t now, struct sentence *error);
/* Why PCs cannot be given the image, where that is known better than `why` says. */
void catalogue_why_not(const struct catalogue *catalogue, const char *name, uint64_t now, struct sentence *why);
/* Could the file of that section not be used, when it was looked at last? Is it being looked at, and not late? */
bool catalogue_is_wrong(const struct catalogue *catalogue, const char *name);
bool catalogue_is_looked_at(const struct catalogue *catalogue, const char *name, uint64_t now);
/* What could not be used is looked at again, if it was not just now. */
void catalogue_look_again(struct catalogue *catalogue);
void catalogue_drop_sections(struct catalogue *catalogue);

struct catalogue_rows {
	struct state_image *row; /* to be freed; by name, then generation */
	size_t n;
};
int catalogue_rows_load(struct catalogue *catalogue, const char *name, struct catalogue_rows *ret); /* NULL: all */

/* catalogue/identity.c: which rows are one image. */
/* In one place beneath the folder of images, whatever lies there now. */
bool catalogue_same_path(const struct state_image *a, const struct state_image *b);
/* This very file: path, format, ids, sizes, and the fingerprint where both have one. */
bool catalogue_same_file(const struct state_image *a, const struct state_image *b);
/* Has it the format and the id that the child wants of its parent? Several images may. */
bool catalogue_fits_as_parent(const struct state_image *image, const struct state_image *child);
/* Is it the child's parent, or must it be taken for that as nothing was decided? */
bool catalogue_is_parent(const struct state_image *parent, const struct state_image *child);

/*
 * Decides which row is the parent of `row`, if it names one and that was not decided yet: row->parent. 0; -ENOENT: it
 * is not in the catalogue; -ENOTUNIQ. error is set, with 0 to "" or a remark.
 */
int catalogue_link(struct catalogue *catalogue, struct state_image *row, struct sentence *error);
/* The same for every row, and noted: parents may stand behind their children in the configuration. */
void catalogue_link_all(struct catalogue *catalogue);
/* The generation of row->name that is this very file: 1 and *ret, 0, -errno. */
int catalogue_find_file(struct catalogue *catalogue, const struct state_image *row, struct state_image *ret);
/* Writes a row and makes it the current one, as one transaction. */
int catalogue_put_current(struct catalogue *catalogue, struct state_image *row);
/* Does a group or a client name the image, to start from or as a further disk? */
bool catalogue_profile_names(const struct config_profile *profile, const char *image);
/* Has the image a generation in this very file? Name, file, format, ids and sizes are compared. */
bool catalogue_has_file(struct catalogue *catalogue, const struct state_image *row);

#endif
