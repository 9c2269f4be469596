// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The engine's threads: each runs the works that are posted to it, then waits on its queue for I/O,
 * a wake or the next second. All state of requests and overlays that needs I/O moves on these
 * threads; see disk.c and overlay.c.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tcmu-handler/engine_private.h"

#define TICK_MS 1000

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void thread_post(struct thread *t, struct work *work)
{
	bool wake = false;

	pthread_mutex_lock(&t->lock);
	if (!work->queued) {
		work->queued = true;
		work->next = NULL;
		if (t->tail)
			t->tail->next = work;
		else
			t->head = work;
		t->tail = work;
		wake = t->sleeping;
		t->sleeping = false;
	}
	pthread_mutex_unlock(&t->lock);
	if (wake)
		io_queue_wake(t->q);
}

/* Runs what has been posted up to now; true if there was anything. */
static bool run_posted(struct thread *t)
{
	struct work *list;

	pthread_mutex_lock(&t->lock);
	list = t->head;
	t->head = t->tail = NULL;
	pthread_mutex_unlock(&t->lock);
	if (!list)
		return false;
	while (list) {
		struct work *w = list;

		list = w->next;
		pthread_mutex_lock(&t->lock);
		w->queued = false;
		pthread_mutex_unlock(&t->lock);
		w->run(t, w);
	}
	return true;
}

static void *thread_main(void *arg)
{
	struct thread *t = arg;
	bool stop = false;

	pthread_setname_np(pthread_self(), "bootwell-io");
	while (!stop || t->q->in_flight) {
		uint64_t now = now_ms();
		int timeout = 0;

		if (now >= t->next_tick_ms) {
			t->engine->tick(t);
			t->next_tick_ms = now + TICK_MS;
		}
		run_posted(t);
		pthread_mutex_lock(&t->lock);
		if (!t->head && (!t->stop || t->q->in_flight)) {
			t->sleeping = true;
			timeout = (int)(t->next_tick_ms - now);
		}
		stop = t->stop;
		pthread_mutex_unlock(&t->lock);
		io_wait(t->q, timeout);
		pthread_mutex_lock(&t->lock);
		t->sleeping = false;
		pthread_mutex_unlock(&t->lock);
	}
	return NULL;
}

void engine_poll(struct engine *e, bool wait)
{
	bool any = false;

	for (unsigned int i = 0; i < e->n_threads; i++)
		any |= run_posted(&e->threads[i]);
	for (unsigned int i = 0; i < e->n_threads; i++)
		io_wait(e->threads[i].q, wait && !any && e->threads[i].q->in_flight ? -1 : 0);
}

int threads_start(struct engine *e, struct sentence *err)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned int n = e->config.threads;
	sigset_t all, old;

	if (!n)
		n = cpus < 1 ? 1 : cpus > 4 ? 4 : (unsigned int)cpus;
	if (n > ENGINE_THREADS_MAX)
		n = ENGINE_THREADS_MAX;
	e->threads = calloc(n, sizeof(*e->threads));
	if (!e->threads)
		return sentence_fail(err, -ENOMEM, "There is no memory for the engine's threads.");
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	for (unsigned int i = 0; i < n; i++) {
		struct thread *t = &e->threads[i];
		int r = e->config.io->queue_new(e->config.io, &t->q);

		if (r < 0) {
			pthread_sigmask(SIG_SETMASK, &old, NULL);
			return sentence_fail(err, r, "The kernel gives no io_uring: %s.", strerror(-r));
		}
		t->engine = e;
		t->index = i;
		pthread_mutex_init(&t->lock, NULL);
		pthread_mutex_init(&t->disks_lock, NULL);
		e->n_threads++;
	}
	/* Each looks at all: they are all there before the first one runs. */
	for (unsigned int i = 0; !e->config.manual && i < n; i++) {
		struct thread *t = &e->threads[i];

		if (pthread_create(&t->id, NULL, thread_main, t)) {
			t->id = 0;
			pthread_sigmask(SIG_SETMASK, &old, NULL);
			return sentence_fail(err, -EAGAIN, "No thread can be started for the engine.");
		}
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return 0;
}

void threads_stop(struct engine *e)
{
	for (unsigned int i = 0; i < e->n_threads; i++) {
		struct thread *t = &e->threads[i];

		pthread_mutex_lock(&t->lock);
		t->stop = true;
		pthread_mutex_unlock(&t->lock);
		while (e->config.manual && t->q && t->q->in_flight)
			io_wait(t->q, -1);
		if (t->id) {
			io_queue_wake(t->q);
			pthread_join(t->id, NULL);
		}
		io_queue_free(t->q);
		pthread_mutex_destroy(&t->lock);
		pthread_mutex_destroy(&t->disks_lock);
	}
	free(e->threads);
	e->threads = NULL;
	e->n_threads = 0;
}
