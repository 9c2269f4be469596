// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which base images are open. A disk's image is opened for the first disk that has it, and stays open,
 * with what the cache has of it, when its last disk closes: a PC that reboots alone, and a room that
 * is switched on in the morning, boot from memory. An idle base goes when
 *
 *	- one of its files was changed, replaced or deleted. A thread looks once a second, so that
 *	  deleting an image gives its room back; it does so without a lock, for a file system that hangs
 *	  (NFS) must not stop anybody else. A disk that opens looks again;
 *	- IDLE_MOST others have been left after it;
 *	- IDLE_S have gone by.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tcmu-handler/base_private.h"

#define IDLE_MOST 8
#define IDLE_S    (24u * 3600)

struct base_stamp {
	struct timespec changed; /* ctime: of the content, of names, of what may be done with it */
	off_t size;
};

static bool stamp_of(int fd, struct base_stamp *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !st.st_nlink)
		return false;
	*ret = (struct base_stamp){.changed = st.st_ctim, .size = st.st_size};
	return true;
}

/* May wait for a file system. */
static bool is_changed(const struct base *b)
{
	for (unsigned int i = 0; i < image_file_count(b->chain); i++) {
		const struct base_stamp *then = &b->stamp[i];
		struct base_stamp now;

		if (!stamp_of(image_file(b->chain, i)->fd, &now) || now.size != then->size ||
		    now.changed.tv_sec != then->changed.tv_sec ||
		    now.changed.tv_nsec != then->changed.tv_nsec)
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
	for (uint32_t i = 0; i <= b->units / BASE_LEAF; i++)
		free(b->table[i]);
	free(b->table);
	free(b->key);
	free(b->found);
	free(b->stamp);
	image_close(b->chain);
	free(b);
}

/* The one that has been idle for longest, if there are more than may be. Lock held. */
static struct base *one_too_many(struct base_cache *c)
{
	struct base *oldest = NULL;
	unsigned int n = 0;

	for (struct base *b = c->bases; b; b = b->next) {
		if (!b->idle)
			continue;
		n++;
		if (!b->refs && (!oldest || (int32_t)(b->since - oldest->since) < 0))
			oldest = b;
	}
	return n > IDLE_MOST ? oldest : NULL;
}

/* One reference less. Lock held; what is returned has to be destroyed without it. */
static struct base *put(struct base_cache *c, struct base *b)
{
	if (--b->refs)
		return NULL;
	if (b->listed && c->touching && !c->stop) {
		if (!b->idle)
			b->since = base_second();
		b->idle = true;
		pthread_cond_signal(&c->wake);
		b = one_too_many(c);
	}
	if (b) {
		unlist(c, b);
		base_cache_forget(c, b);
	}
	return b;
}

void base_put(struct base *b)
{
	struct base_cache *c;

	if (!b)
		return;
	c = b->cache;
	pthread_mutex_lock(&c->lock);
	b = put(c, b);
	pthread_mutex_unlock(&c->lock);
	if (b)
		destroy(b);
}

struct base *base_find(struct base_cache *c, const char *key, const char *found)
{
	struct base *b;
	bool same;

	pthread_mutex_lock(&c->lock);
	for (b = c->bases; b && strcmp(b->key, key); b = b->next)
		;
	if (!b || !b->idle) {
		if (b)
			b->refs++;
		pthread_mutex_unlock(&c->lock);
		return b;
	}
	b->refs++;
	pthread_mutex_unlock(&c->lock);
	same = !strcmp(b->found, found) && !is_changed(b);
	pthread_mutex_lock(&c->lock);
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

int base_add(struct base_cache *c, const char *key, const char *found, struct image *chain,
	     struct base **ret)
{
	struct base *b = calloc(1, sizeof(*b));
	unsigned int files = image_file_count(chain);

	if (!b)
		goto fail;
	b->cache = c;
	b->chain = chain;
	b->size = image_info(chain)->virtual_size;
	b->units = (uint32_t)((b->size + BASE_UNIT - 1) / BASE_UNIT);
	b->refs = 1;
	b->key = strdup(key);
	b->found = strdup(found);
	b->stamp = calloc(files + 1, sizeof(*b->stamp));
	b->table = calloc(b->units / BASE_LEAF + 1, sizeof(*b->table));
	if (!b->key || !b->found || !b->stamp || !b->table)
		goto fail;
	for (unsigned int i = 0; i < files; i++) {
		int fd = image_file(chain, i)->fd;

		/*
		 * The kernel's cache stays behind ours, for what does not fit and for the time after
		 * a restart; but we know better what will be read next.
		 */
		posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
		stamp_of(fd, &b->stamp[i]);
	}
	pthread_mutex_lock(&c->lock);
	b->listed = true;
	b->next = c->bases;
	c->bases = b;
	pthread_mutex_unlock(&c->lock);
	*ret = b;
	return 0;
fail:
	if (b) {
		free(b->key);
		free(b->found);
		free(b->stamp);
		free(b->table);
	}
	free(b);
	image_close(chain);
	return -ENOMEM;
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

static bool any_idle(const struct base_cache *c)
{
	const struct base *b = c->bases;

	while (b && !b->idle)
		b = b->next;
	return b;
}

static void look_at_idle(struct base_cache *c)
{
	struct base *b, *gone;

	c->round++;
	while (!c->stop && (b = next_idle(c))) {
		bool goes;

		pthread_mutex_unlock(&c->lock);
		goes = is_changed(b);
		pthread_mutex_lock(&c->lock);
		if (b->idle && (goes || base_second() - b->since > IDLE_S))
			unlist(c, b);
		gone = put(c, b);
		pthread_mutex_unlock(&c->lock);
		if (gone)
			destroy(gone);
		pthread_mutex_lock(&c->lock);
	}
}

void base_watch(struct base_cache *c)
{
	pthread_mutex_lock(&c->lock);
	while (!c->stop) {
		struct timespec until;

		if (!any_idle(c)) {
			pthread_cond_wait(&c->wake, &c->lock);
			continue;
		}
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec++;
		pthread_cond_timedwait(&c->wake, &c->lock, &until);
		look_at_idle(c);
	}
	pthread_mutex_unlock(&c->lock);
}

void base_free_all(struct base_cache *c)
{
	while (c->bases) {
		struct base *b = c->bases;

		unlist(c, b);
		destroy(b);
	}
}
