// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Threads are detached and share `struct aside` by counting, so that the last one frees it, whether that is its owner
 * or a thread that came back long after. What has ended waits in a list of its own, not in the loop's queue: that drops
 * its calls at its end.
 */
#include "daemon/core/aside.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "daemon/core/background.h"
#include "daemon/core/clock.h"
#include "daemon/core/loop.h"

#define STACK (1u << 20) /* bytes */

struct queue {
	struct aside_job *first, **last;
};

struct aside {
	pthread_mutex_t lock;
	pthread_cond_t ended_one;
	struct loop *loop; /* NULL: nobody wants to know any more, or there is none */
	void *owner;
	bool at_once, closed;
	unsigned int most, threads, refs; /* the owner's, and one a thread */
	struct queue todo, ended;
};

static void queue_init(struct queue *queue)
{
	queue->first = NULL;
	queue->last = &queue->first;
}

static void queue_push(struct queue *queue, struct aside_job *job)
{
	job->next = NULL;
	*queue->last = job;
	queue->last = &job->next;
}

static struct aside_job *queue_pop(struct queue *queue)
{
	struct aside_job *job = queue->first;

	if (!job)
		return NULL;
	queue->first = job->next;
	if (!queue->first)
		queue->last = &queue->first;
	return job;
}

static void queue_drop(struct queue *queue)
{
	struct aside_job *job;

	while ((job = queue_pop(queue)))
		job->drop(job);
}

/* With the lock held, which goes. */
static void unref_locked(struct aside *a)
{
	bool last = --a->refs == 0;

	pthread_mutex_unlock(&a->lock);
	if (!last)
		return;
	pthread_cond_destroy(&a->ended_one);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

int aside_new(struct aside **ret, struct loop *loop, unsigned int most, void *owner)
{
	struct aside *a = calloc(1, sizeof(*a));
	pthread_condattr_t attr;

	if (!a)
		return -ENOMEM;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&a->ended_one, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&a->lock, NULL);
	a->loop = loop;
	a->at_once = !loop;
	a->owner = owner;
	a->most = most;
	a->refs = 1;
	queue_init(&a->todo);
	queue_init(&a->ended);
	*ret = a;
	return 0;
}

void aside_free(struct aside *a)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->closed = true;
	a->loop = NULL;
	queue_drop(&a->todo);
	queue_drop(&a->ended);
	unref_locked(a);
}

/* On the loop's thread. */
static void deliver(void *arg)
{
	struct aside *a = arg;
	struct aside_job *job;

	for (;;) {
		pthread_mutex_lock(&a->lock);
		job = queue_pop(&a->ended);
		pthread_mutex_unlock(&a->lock);
		if (!job)
			return;
		job->done(a->owner, job);
	}
}

/* With the lock held. */
static void end_locked(struct aside *a, struct aside_job *job)
{
	if (a->closed) {
		job->drop(job);
		return;
	}
	queue_push(&a->ended, job);
	pthread_cond_broadcast(&a->ended_one);
	/* Without memory for the call, the next one that ends takes this one with it. */
	loop_wake(a->loop, deliver, a);
}

static void *thread_main(void *arg)
{
	struct aside *a = arg;
	struct aside_job *job;

	pthread_setname_np(pthread_self(), "aside");
	background();
	pthread_mutex_lock(&a->lock);
	while ((job = queue_pop(&a->todo))) {
		pthread_mutex_unlock(&a->lock);
		job->work(job);
		pthread_mutex_lock(&a->lock);
		end_locked(a, job);
	}
	a->threads--;
	unref_locked(a);
	return NULL;
}

/* With the lock held. */
static int start_thread_locked(struct aside *a)
{
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	r = -pthread_create(&thread, &attr, thread_main, a);
	pthread_attr_destroy(&attr);
	if (r)
		return r;
	a->threads++;
	a->refs++;
	return 0;
}

int aside_begin(struct aside *a, struct aside_job *job)
{
	int r = 0;

	if (a->at_once) {
		job->work(job);
		job->done(a->owner, job);
		return 0;
	}
	pthread_mutex_lock(&a->lock);
	/* A thread ends when it finds nothing to do, so each job that finds room begins one. */
	if (a->threads < a->most)
		r = start_thread_locked(a);
	if (r && a->threads)
		r = 0; /* one of those that work takes it */
	if (!r)
		queue_push(&a->todo, job);
	pthread_mutex_unlock(&a->lock);
	return r;
}

bool aside_wait(struct aside *a, uint64_t deadline)
{
	const struct timespec until = {.tv_sec = (time_t)(deadline / CLOCK_NS), .tv_nsec = (long)(deadline % CLOCK_NS)};
	bool ended;
	int r = 0;

	pthread_mutex_lock(&a->lock);
	while (!a->ended.first && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&a->ended_one, &a->lock, &until);
	ended = a->ended.first;
	pthread_mutex_unlock(&a->lock);
	deliver(a);
	return ended;
}
