/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copies of the state that a damaged one can be replaced by: FOLDER/copies/DATE-TIME.db, of each day, and
 * DATE-TIME-before-VERSION.db, of what was there when a version of bootwell began to run. Their number is bounded. A
 * copy is looked at before it takes the place of an older one: a state that is damaged drives no good copy out.
 *
 * Everything here blocks on the disk: helper threads and the command line. `file` is the state's file.
 */
#ifndef BOOTWELL_STATE_COPIES_H
#define BOOTWELL_STATE_COPIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tcmu-handler/image/sentence.h"

#define COPIES_DAILY  7
#define COPIES_BEFORE 3  /* of versions */
#define COPIES_MAX    64 /* that are looked at, if a person put more there */

struct copies {
	struct {
		char name[80]; /* in the folder of copies; sorts by time */
		int64_t made;  /* CLOCK_REALTIME, s: the file's own time */
		uint64_t bytes;
		bool before; /* of a version */
	} copy[COPIES_MAX];
	unsigned int n; /* newest first */
};
/* 0, also when there is none; -errno. */
int copies_list(const char *file, struct copies *ret);
/* Full path of a copy by its name; -EINVAL: no name that a copy has. */
int copies_path(const char *file, const char *name, char *ret, size_t size);

/*
 * Makes a copy while others write the state. `version` NULL: a daily one. The state's damage is found here too:
 * -EUCLEAN, and nothing changes. Older ones go once it is there.
 */
int copies_make(const char *file, const char *version, struct sentence *error);
/* Whether there is one from before `version` already. */
bool copies_has_version(const struct copies *copies, const char *version);

/* Integrity, version and schema of a state or a copy. -ENOENT, -EUCLEAN: damaged, -EPROTO: of a newer version. */
int copies_check(const char *file, struct sentence *error);
/* The newest copy that copies_check() likes: its index, or -ENOENT. */
int copies_newest_good(const char *file, const struct copies *copies);

/*
 * Puts a copy into the state's place, durably; what was there stays as FILE.before-restore (and its journal beside it).
 * The caller knows that nobody has it open.
 */
int copies_restore(const char *file, const char *name, struct sentence *error);

#endif
