// SPDX-License-Identifier: GPL-2.0-or-later
/* A look at one file of images, on a thread that nobody waits for (core/aside.h): the file may never answer. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/catalogue/private.h"
#include "daemon/core/clock.h"

static void work(struct aside_job *job)
{
	struct catalogue_look *look = (struct catalogue_look *)job;
	uint64_t began = clock_monotonic_ns();

	look->result = catalogue_inspect(look->path, &look->row, &look->error);
	look->took_ns = clock_monotonic_ns() - began;
}

static void done(void *owner, struct aside_job *job)
{
	struct catalogue_look *look = (struct catalogue_look *)job;

	look->seen(owner, look);
	free(look);
}

static void drop(struct aside_job *job)
{
	free(job);
}

struct catalogue_look *catalogue_look_begin(struct catalogue *c, const char *path, const struct state_image *row,
					    void (*seen)(struct catalogue *catalogue, struct catalogue_look *look),
					    void *arg)
{
	struct catalogue_look *look = calloc(1, sizeof(*look));

	if (!look)
		return NULL;
	look->job = (struct aside_job){.work = work, .done = done, .drop = drop};
	snprintf(look->path, sizeof(look->path), "%s", path);
	look->row = *row;
	look->seen = seen;
	look->arg = arg;
	if (!aside_begin(c->aside, &look->job))
		return look;
	free(look);
	return NULL;
}
