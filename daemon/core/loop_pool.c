/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One mutex for both queues. A helper takes work, runs it unlocked, and puts its end into the queue of calls; the
 * eventfd tells the loop, which empties that queue on its own thread.
 */
#include "daemon/core/loop_pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>

struct job {
	struct job *next;
	loop_work_fn work; /* NULL: a call for the loop's thread */
	loop_done_fn done;
	void (*call)(void *arg);
	void *arg;
	int result;
};

struct queue {
	struct job *first, **last;
};

struct loop_pool {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct queue todo, back;
	pthread_t thread[LOOP_POOL_THREADS];
	unsigned int threads, idle;
	int fd;
	bool stopping;
};

static void queue_init(struct queue *queue)
{
	queue->first = NULL;
	queue->last = &queue->first;
}

static void queue_push(struct queue *queue, struct job *job)
{
	job->next = NULL;
	*queue->last = job;
	queue->last = &job->next;
}

static struct job *queue_pop(struct queue *queue)
{
	struct job *job = queue->first;

	if (!job)
		return NULL;
	queue->first = job->next;
	if (!queue->first)
		queue->last = &queue->first;
	return job;
}

/* At the end every work is told to its owner: over, or never begun. Calls are dropped. */
static void queue_finish(struct queue *queue, bool begun)
{
	struct job *job;

	while ((job = queue_pop(queue))) {
		if (job->done)
			job->done(job->arg, begun ? job->result : -ECANCELED);
		free(job);
	}
}

int loop_pool_new(struct loop_pool **ret, int fd)
{
	struct loop_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return -ENOMEM;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);
	queue_init(&pool->todo);
	queue_init(&pool->back);
	pool->fd = fd;
	*ret = pool;
	return 0;
}

void loop_pool_free(struct loop_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned int i = 0; i < pool->threads; i++)
		pthread_join(pool->thread[i], NULL);
	queue_finish(&pool->back, true);
	queue_finish(&pool->todo, false);
	pthread_cond_destroy(&pool->wake);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

/* With the lock held. */
static void give_back(struct loop_pool *pool, struct job *job)
{
	bool first = !pool->back.first;

	queue_push(&pool->back, job);
	/* An eventfd only refuses when its counter is full: then the loop is woken anyway. */
	if (first && eventfd_write(pool->fd, 1) < 0)
		return;
}

static void *helper(void *arg)
{
	struct loop_pool *pool = arg;
	struct job *job;

	pthread_mutex_lock(&pool->lock);
	while (!pool->stopping) {
		job = queue_pop(&pool->todo);
		if (!job) {
			pool->idle++;
			pthread_cond_wait(&pool->wake, &pool->lock);
			pool->idle--;
			continue;
		}
		pthread_mutex_unlock(&pool->lock);
		job->result = job->work(job->arg);
		pthread_mutex_lock(&pool->lock);
		give_back(pool, job);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

int loop_pool_work(struct loop_pool *pool, loop_work_fn work, loop_done_fn done, void *arg)
{
	struct job *job = calloc(1, sizeof(*job));
	int r = 0;

	if (!job)
		return -ENOMEM;
	job->work = work;
	job->done = done;
	job->arg = arg;
	pthread_mutex_lock(&pool->lock);
	if (pool->stopping)
		r = -ECANCELED;
	if (!r && !pool->idle && pool->threads < LOOP_POOL_THREADS) {
		r = -pthread_create(&pool->thread[pool->threads], NULL, helper, pool);
		if (!r)
			pool->threads++;
		else if (pool->threads)
			r = 0; /* fewer helpers, later */
	}
	if (!r)
		queue_push(&pool->todo, job);
	pthread_cond_signal(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	if (r)
		free(job);
	return r;
}

int loop_pool_call(struct loop_pool *pool, void (*fn)(void *arg), void *arg)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return -ENOMEM;
	job->call = fn;
	job->arg = arg;
	pthread_mutex_lock(&pool->lock);
	give_back(pool, job);
	pthread_mutex_unlock(&pool->lock);
	return 0;
}

void loop_pool_deliver(struct loop_pool *pool)
{
	struct queue ready;
	struct job *job;

	pthread_mutex_lock(&pool->lock);
	ready = pool->back;
	if (!ready.first)
		ready.last = &ready.first;
	queue_init(&pool->back);
	pthread_mutex_unlock(&pool->lock);
	while ((job = queue_pop(&ready))) {
		if (job->call)
			job->call(job->arg);
		else if (job->done)
			job->done(job->arg, job->result);
		free(job);
	}
}
