// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which base images are open. An image is opened for the first disk that has it, and stays open, with
 * what the cache has of it, when its last disk closes: a PC that reboots alone, and a room that is
 * switched on in the morning, boot from memory. An idle base goes when
 *
 *	- one of its files is not there any more as it was. A thread looks about once a second, so that
 *	  deleting an image gives its room back; a disk that opens looks again. Both ask the file system
 *	  and not what NFS remembers of it, and neither has a lock meanwhile: one that hangs must not stop
 *	  those who have other images;
 *	- IDLE_MOST others have been left after it;
 *	- IDLE_S have gone by;
 *	- somebody lacks memory, or files that may be open.
 *
 * A file is known by its inode, size and ctime. The clock of a ctime is coarse, and opening takes a
 * while: what was changed less than UNSETTLED_S before it was opened does not become idle.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tcmu-handler/base_private.h"

#define IDLE_MOST   8
#define IDLE_S      (24u * 3600)
#define UNSETTLED_S 3

struct base_stamp {
	char *path;
	struct statx st;
};

/* May wait for a file system. path NULL: the file that fd is */
static bool look(int fd, const char *path, struct statx *ret)
{
	return !statx(path ? AT_FDCWD : fd, path ? path : "", AT_STATX_FORCE_SYNC | (path ? 0 : AT_EMPTY_PATH),
		      STATX_INO | STATX_SIZE | STATX_CTIME, ret);
}

static bool is_changed(const struct base *b)
{
	for (unsigned int i = 0; i < b->files; i++) {
		const struct statx *then = &b->stamp[i].st;
		struct statx now;

		if (!look(-1, b->stamp[i].path, &now) || now.stx_ino != then->stx_ino ||
		    now.stx_dev_major != then->stx_dev_major || now.stx_dev_minor != then->stx_dev_minor ||
		    now.stx_size != then->stx_size || now.stx_ctime.tv_sec != then->stx_ctime.tv_sec ||
		    now.stx_ctime.tv_nsec != then->stx_ctime.tv_nsec)
			return true;
	}
	return false;
}

static void unlist(struct base_cache *c, struct base *b)
{
	struct base **p = &c->bases;

	if (!b->listed)
		return;
	while (*p != b)
		p = &(*p)->next;
	*p = b->next;
	b->listed = false;
}

static void destroy(struct base *b)
{
	for (uint32_t i = 0; b->table && i <= b->units / BASE_LEAF; i++)
		free(b->table[i]);
	for (unsigned int i = 0; b->stamp && i < b->files; i++)
		free(b->stamp[i].path);
	free(b->table);
	free(b->stamp);
	free(b->key);
	image_close(b->chain);
	free(b);
}

/* One reference less. Lock held; true: it has to be destroyed, without the lock. */
static bool put(struct base_cache *c, struct base *b)
{
	if (--b->refs)
		return false;
	if (b->listed && b->settled && c->touching && !c->stop) {
		if (!b->idle)
			b->since = base_second();
		b->idle = true;
		pthread_cond_signal(&c->wake);
		return false;
	}
	unlist(c, b);
	base_cache_forget(c, b);
	return true;
}

void base_put(struct base *b)
{
	struct base_cache *c;
	bool gone;

	if (!b)
		return;
	c = b->cache;
	pthread_mutex_lock(&c->lock);
	gone = put(c, b);
	pthread_mutex_unlock(&c->lock);
	if (gone)
		destroy(b);
}

struct base *base_find(struct base_cache *c, const char *key)
{
	struct base *b;
	bool same;

	pthread_mutex_lock(&c->lock);
	for (b = c->bases; b && strcmp(b->key, key); b = b->next)
		;
	if (b)
		b->refs++;
	if (!b || !b->idle) {
		pthread_mutex_unlock(&c->lock);
		return b;
	}
	pthread_mutex_unlock(&c->lock);
	same = !is_changed(b);
	pthread_mutex_lock(&c->lock);
	/* The watch may have found that it has to go. */
	same = same && b->listed;
	if (same)
		b->idle = false;
	else
		unlist(c, b);
	pthread_mutex_unlock(&c->lock);
	if (same)
		return b;
	base_put(b);
	return NULL;
}

static unsigned int files_of(const struct image *img)
{
	const struct image *parent = image_parent(img);

	return image_file_count(img) - (parent ? image_file_count(parent) : 0);
}

/* What each file is; those of one image of the chain are beneath the same folder. */
static int take_stamps(struct base *b, const char *const dir[])
{
	const struct image *img = b->chain;
	struct timespec now;
	unsigned int n = 0;

	b->stamp = calloc(image_file_count(b->chain) + 1, sizeof(*b->stamp));
	if (!b->stamp)
		return -ENOMEM;
	clock_gettime(CLOCK_REALTIME, &now);
	b->settled = true;
	for (unsigned int level = 0; img; img = image_parent(img), level++) {
		for (unsigned int k = 0; k < files_of(img); k++) {
			const struct image_file *file = image_file(img, k);
			struct base_stamp *stamp = &b->stamp[n++];
			size_t size = strlen(dir[level]) + strlen(file->name) + 2;

			stamp->path = malloc(size);
			b->files = n;
			if (!stamp->path)
				return -ENOMEM;
			snprintf(stamp->path, size, "%s/%s", dir[level], file->name);
			if (!look(file->fd, NULL, &stamp->st) || stamp->st.stx_ctime.tv_sec + UNSETTLED_S >= now.tv_sec)
				b->settled = false;
		}
	}
	return 0;
}

int base_add(struct base_cache *c, const char *key, struct image *chain, const char *const dir[], struct base **ret)
{
	struct base *b = calloc(1, sizeof(*b));

	if (!b) {
		image_close(chain);
		return -ENOMEM;
	}
	b->cache = c;
	b->chain = chain;
	b->size = image_info(chain)->virtual_size;
	b->units = (uint32_t)((b->size + BASE_UNIT - 1) / BASE_UNIT);
	b->refs = 1;
	b->key = strdup(key);
	b->table = calloc(b->units / BASE_LEAF + 1, sizeof(*b->table));
	if (!b->key || !b->table || take_stamps(b, dir) < 0) {
		destroy(b);
		return -ENOMEM;
	}
	/*
	 * The kernel's cache stays behind ours, for what does not fit and for the time after a
	 * restart; but we know better what will be read next.
	 */
	for (unsigned int i = 0; i < image_file_count(chain); i++)
		posix_fadvise(image_file(chain, i)->fd, 0, 0, POSIX_FADV_RANDOM);
	pthread_mutex_lock(&c->lock);
	b->listed = true;
	b->next = c->bases;
	c->bases = b;
	pthread_mutex_unlock(&c->lock);
	*ret = b;
	return 0;
}

/* --- idle ones ---------------------------------------------------------------------------------- */

/* One that this round has not looked at, with one reference more. Lock held. */
static struct base *next_idle(struct base_cache *c)
{
	struct base *b = c->bases;

	while (b && (!b->idle || b->round == c->round))
		b = b->next;
	if (b) {
		b->round = c->round;
		b->refs++;
	}
	return b;
}

static unsigned int count_idle(const struct base_cache *c)
{
	unsigned int n = 0;

	for (const struct base *b = c->bases; b; b = b->next)
		n += b->idle;
	return n;
}

/* Have IDLE_MOST others been left after it? Lock held. */
static bool is_one_too_many(const struct base_cache *c, const struct base *b)
{
	unsigned int later = 0;

	for (const struct base *other = c->bases; other; other = other->next)
		later += other != b && other->idle && (int32_t)(other->since - b->since) >= 0;
	return later >= IDLE_MOST;
}

/* Of those that have to go, or of all. Lock held, but not all the time. */
static bool let_go(struct base_cache *c, bool all)
{
	struct base *b;
	bool any = false;

	c->round++;
	while (!c->stop && (b = next_idle(c))) {
		bool goes = all, gone;

		if (!all) {
			pthread_mutex_unlock(&c->lock);
			goes = is_changed(b);
			pthread_mutex_lock(&c->lock);
		}
		if (b->idle && (goes || base_second() - b->since > IDLE_S || is_one_too_many(c, b)))
			unlist(c, b);
		gone = put(c, b);
		any |= gone;
		if (gone) {
			pthread_mutex_unlock(&c->lock);
			destroy(b);
			pthread_mutex_lock(&c->lock);
		}
	}
	return any;
}

bool base_drop_idle(struct base_cache *c)
{
	bool any;

	pthread_mutex_lock(&c->lock);
	any = let_go(c, true);
	pthread_mutex_unlock(&c->lock);
	return any;
}

/* Lets go of idle bases: of those whose files were changed, and of too many. */
static void look_after(struct base_cache *c)
{
	pthread_mutex_lock(&c->lock);
	let_go(c, false);
	pthread_mutex_unlock(&c->lock);
}

/* The same about once a second, until `stop`. */
static void watch(struct base_cache *c)
{
	pthread_mutex_lock(&c->lock);
	while (!c->stop) {
		struct timespec until;

		if (!count_idle(c)) {
			pthread_cond_wait(&c->wake, &c->lock);
			continue;
		}
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec++;
		while (!c->stop && !pthread_cond_timedwait(&c->wake, &c->lock, &until))
			;
		let_go(c, false);
	}
	pthread_mutex_unlock(&c->lock);
}

/* --- the cache's own thread --- */

static void *touch(void *arg)
{
	struct base_cache *c = arg;

	pthread_setname_np(pthread_self(), "bootwell-touch");
	base_cache_populate(c, look_after);
	watch(c);
	return NULL;
}

bool base_cache_touched(const struct base_cache *c)
{
	return !c->touching || __atomic_load_n(&c->touched, __ATOMIC_ACQUIRE);
}

void base_cache_touch(struct base_cache *c)
{
	sigset_t all, old;

	sigfillset(&all); /* signals are the program's */
	pthread_sigmask(SIG_BLOCK, &all, &old);
	c->touching = !pthread_create(&c->toucher, NULL, touch, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void base_cache_free(struct base_cache *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	__atomic_store_n(&c->stop, true, __ATOMIC_RELAXED);
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	if (c->touching)
		pthread_join(c->toucher, NULL);
	while (c->bases) {
		struct base *b = c->bases;

		unlist(c, b);
		destroy(b);
	}
	base_cache_release(c);
}
