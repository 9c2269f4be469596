/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The metrics as files, one value a file, for shell scripts: RUN/stat/. docs/metrics.md has the rule by which a metric
 * gets its file. A file is only ever replaced whole (rename), so a reader sees the old value or the new one; a file
 * whose value did not change is not touched; one whose value is no more goes.
 *
 *	stat_tree_begin(); stat_tree_see() for each value; stat_tree_commit()
 *
 * One thread at a time.
 */
#ifndef BOOTWELL_STAT_TREE_H
#define BOOTWELL_STAT_TREE_H

#include "daemon/control/metrics_text.h"

struct stat_tree;

/* Makes the folder `path`, and removes what an earlier run left in it. -errno. */
int stat_tree_new(struct stat_tree **ret, const char *path);
/* Removes the folder: values that nobody renews are no values. NULL is fine. */
void stat_tree_free(struct stat_tree *tree);

void stat_tree_begin(struct stat_tree *tree);
/* A metrics_see_fn; `tree` is the struct stat_tree. Buckets of histograms get no files. */
void stat_tree_see(void *tree, const char *name, const char *suffix, const struct metrics_label *label,
		   unsigned int labels, const char *value);
/* 0, or the first error; the rest is written all the same, and what failed is tried again the next time. */
int stat_tree_commit(struct stat_tree *tree);

struct stat_tree_stats {
	unsigned long files, written, removed; /* now; by the last commit */
};
void stat_tree_stats(const struct stat_tree *tree, struct stat_tree_stats *ret);

#endif
