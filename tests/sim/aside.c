/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work aside (daemon/core/aside.h): as other work of the loop, an event and its end, in place of a thread. */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/core/aside.h"
#include "daemon/core/loop.h"

struct aside {
	struct loop *loop;
	void *owner;
	bool closed;
	unsigned int jobs;
};

struct run {
	struct aside *aside;
	struct aside_job *job;
};

int aside_new(struct aside **ret, struct loop *loop, unsigned int most, void *owner)
{
	struct aside *a = calloc(1, sizeof(*a));

	(void)most;
	if (!a)
		return -ENOMEM;
	a->loop = loop;
	a->owner = owner;
	*ret = a;
	return 0;
}

void aside_free(struct aside *a)
{
	if (!a)
		return;
	a->closed = true;
	if (!a->jobs)
		free(a);
}

static int work(void *arg)
{
	const struct run *run = arg;

	run->job->work(run->job);
	return 0;
}

static void done(void *arg, int result)
{
	struct run *run = arg;
	struct aside *a = run->aside;
	struct aside_job *job = run->job;

	(void)result;
	free(run);
	a->jobs--;
	if (!a->closed) {
		job->done(a->owner, job);
		return;
	}
	job->drop(job);
	if (!a->jobs)
		free(a);
}

int aside_begin(struct aside *a, struct aside_job *job)
{
	struct run *run = malloc(sizeof(*run));
	int r;

	if (!run)
		return -ENOMEM;
	*run = (struct run){a, job};
	r = loop_work(a->loop, work, done, run);
	if (r < 0)
		free(run);
	else
		a->jobs++;
	return r;
}

bool aside_wait(struct aside *a, uint64_t deadline)
{
	(void)a, (void)deadline;
	return false;
}
