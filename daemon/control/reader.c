// SPDX-License-Identifier: GPL-2.0-or-later
/* A second connection to the state; SQLite's log (WAL) lets it read while the first one writes. */
#include "daemon/control/reader.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	pthread_mutex_t lock;
	struct state *state;
	char *file;
};

int reader_new(struct reader **ret, const char *file)
{
	struct reader *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->file = strdup(file);
	if (!r->file) {
		free(r);
		return -ENOMEM;
	}
	pthread_mutex_init(&r->lock, NULL);
	*ret = r;
	return 0;
}

void reader_free(struct reader *r)
{
	/* Who reads may hang with the disk: then it is left behind. */
	if (!r || pthread_mutex_trylock(&r->lock))
		return;
	pthread_mutex_unlock(&r->lock);
	state_free(r->state);
	pthread_mutex_destroy(&r->lock);
	free(r->file);
	free(r);
}

struct state *reader_enter(struct reader *r)
{
	struct sentence error;

	pthread_mutex_lock(&r->lock);
	if (!r->state && state_new(&r->state, r->file, &error))
		r->state = NULL;
	return r->state;
}

void reader_leave(struct reader *r)
{
	pthread_mutex_unlock(&r->lock);
}
