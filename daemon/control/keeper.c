// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The keeper of the state. Every few seconds a helper thread takes some room in the state's folder and gives it back:
 * what cannot be taken, the next lease could not be written to either. When the newest daily copy is a day old it makes
 * one. Room is taken, not written: an idle server does not wear its disk.
 *
 * It looks aside (core/aside.h): a disk that hangs holds nobody but the look.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/control/keeper.h"
#include "daemon/core/aside.h"
#include "daemon/core/log.h"
#include "daemon/state/copies.h"

#define SECOND     1000000000ull
#define LOOK_EVERY (5 * SECOND)
#define HANG_AFTER (20 * SECOND) /* a look that takes longer is said */
#define COPY_EVERY (24 * 3600)   /* s */
#define COPY_AGAIN 3600          /* s after one that failed */
#define ROOM       (256 << 10)   /* bytes: a batch of leases in SQLite's journal */

/* One look; the thread's until done. */
struct look {
	struct aside_job job;
	int result;
	char file[300];
	bool try_copy;
	int64_t now;

	bool copy_failed;
	int64_t copied;
	struct sentence copy_error;
};

struct keeper {
	struct loop *loop;
	struct aside *aside;
	char file[300];
	struct loop_source *timer;
	struct look *look;   /* NULL: none goes on */
	uint64_t began;      /* the look, loop_now() */
	int write_error;     /* 0 or -errno of the last look */
	int64_t copied;      /* the newest daily copy */
	int64_t copy_failed; /* when; 0: the last one was made */
	char text[2][SENTENCE_MAX + 400];
};

/* --- the thread --- */

static int take_room(const char *file)
{
	char path[320];
	int fd, r = 0;

	snprintf(path, sizeof(path), "%s.room", file);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	/* A file system that cannot reserve says so at the next write. */
	if (fallocate(fd, 0, 0, ROOM) && errno != EOPNOTSUPP)
		r = -errno;
	close(fd);
	unlink(path);
	return r;
}

static int64_t newest_daily(const char *file)
{
	struct copies all;

	if (copies_list(file, &all))
		return 0;
	for (unsigned int i = 0; i < all.n; i++)
		if (!all.copy[i].before)
			return all.copy[i].made;
	return 0;
}

static void look_work(struct aside_job *job)
{
	struct look *look = (struct look *)job;

	look->result = take_room(look->file);
	look->copied = newest_daily(look->file);
	/* One from the future is of a clock that was wrong. */
	if (look->result || !look->try_copy || (look->copied <= look->now && look->now - look->copied < COPY_EVERY))
		return;
	look->copy_failed = copies_make(look->file, NULL, &look->copy_error) != 0;
	if (!look->copy_failed)
		look->copied = newest_daily(look->file);
}

static void look_drop(struct aside_job *job)
{
	free(job);
}

/* --- the loop --- */

static void say(struct keeper *k, const struct look *look, int result)
{
	if (result && result != k->write_error)
		log_error("the state %s cannot be written to: %s; who is known is served, new leases and PCs are not",
			  k->file, strerror(-result));
	else if (!result && k->write_error)
		log_notice("the state %s can be written to again", k->file);
	if (look->copy_failed)
		log_error("no copy of the state %s could be made: %s", k->file, look->copy_error.text);
}

static void look_done(void *owner, struct aside_job *job)
{
	struct look *look = (struct look *)job;
	struct keeper *k = owner;
	int result = look->result;

	say(k, look, result);
	k->look = NULL;
	k->write_error = result;
	k->copied = look->copied;
	if (look->copy_failed) {
		k->copy_failed = look->now;
		snprintf(k->text[1], sizeof(k->text[1]),
			 "no copy of the state %s could be made: %s; \"bootwell state list\" shows those there are",
			 k->file, look->copy_error.text);
	} else if (look->try_copy && !result) {
		k->copy_failed = 0;
	}
	free(look);
}

static void on_timer(void *arg)
{
	struct keeper *k = arg;
	struct look *look = k->look ? NULL : calloc(1, sizeof(*look));

	loop_timer_set(k->timer, loop_now(k->loop) + LOOK_EVERY);
	if (!look)
		return;
	look->job = (struct aside_job){.work = look_work, .done = look_done, .drop = look_drop};
	look->now = time(NULL);
	look->try_copy = !k->copy_failed || look->now < k->copy_failed || look->now - k->copy_failed >= COPY_AGAIN;
	memcpy(look->file, k->file, sizeof(look->file));
	if (aside_begin(k->aside, &look->job)) {
		free(look);
		return;
	}
	k->look = look;
	k->began = loop_now(k->loop);
}

static bool hangs(const struct keeper *k)
{
	return k->look && loop_now(k->loop) - k->began > HANG_AFTER;
}

const char *keeper_problem(struct keeper *k, unsigned int n)
{
	if (!k)
		return NULL;
	if (!keeper_writable(k) && n-- == 0) {
		snprintf(k->text[0], sizeof(k->text[0]),
			 "the state %s cannot be written to: %s; PCs that are known go on, new leases and new PCs do "
			 "not: "
			 "make room on its disk, or mount it to be written to",
			 k->file, hangs(k) ? "its disk does not answer" : strerror(-k->write_error));
		return k->text[0];
	}
	return k->copy_failed && n == 0 ? k->text[1] : NULL;
}

bool keeper_writable(const struct keeper *k)
{
	return !k || (!k->write_error && !hangs(k));
}

int64_t keeper_copied(const struct keeper *k)
{
	return k ? k->copied : 0;
}

int keeper_new(struct keeper **ret, struct loop *loop, const char *file)
{
	struct keeper *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	k->loop = loop;
	snprintf(k->file, sizeof(k->file), "%s", file);
	r = aside_new(&k->aside, loop, 1, k);
	if (!r)
		r = loop_add_timer(loop, loop_now(loop), on_timer, k, &k->timer);
	if (r) {
		aside_free(k->aside);
		free(k);
		return r;
	}
	*ret = k;
	return 0;
}

void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	loop_source_free(k->timer);
	aside_free(k->aside);
	free(k);
}

/* --- start --- */

static void tell_damage(const char *file, const char *why)
{
	struct copies all;
	int good = copies_list(file, &all) ? -ENOENT : copies_newest_good(file, &all);

	if (good >= 0)
		log_error("the state %s is damaged: %s; the newest good copy is %s: \"bootwell state restore %s\" goes "
			  "back "
			  "to it",
			  file, why, all.copy[good].name, all.copy[good].name);
	else
		log_error("the state %s is damaged: %s; there is no good copy beside it: \"bootwell restore FILE\" "
			  "takes a "
			  "backup, and a state that is moved away is begun anew",
			  file, why);
}

int keeper_begin_state(const char *file, const char *version)
{
	struct sentence error = {""};
	struct copies all;
	int r = access(file, F_OK) ? -ENOENT : copies_check(file, &error);

	if (r == -EUCLEAN)
		tell_damage(file, error.text);
	if (r)
		return r == -EUCLEAN ? r : 0; /* the rest is said by who opens it */
	if (copies_list(file, &all) || copies_has_version(&all, version))
		return 0;
	if (copies_make(file, version, &error))
		log_warning("no copy of the state %s from before version %s could be made: %s", file, version,
			    error.text);
	return 0;
}
