// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The state of a thread that must not wait: a copy of its small tables in memory (SQLite's own, without a file), which
 * answers what is read and takes what is changed, and a queue of those changes as the SQL that made them, in their
 * order, which a thread writes to the file: all that waits in one transaction. Leases and the history of boots are not
 * in the copy; they are read at the start, and only written from then on.
 *
 * A transaction that fails is tried again every second, for the copy has those changes already; whoever waits for them
 * is told, and no further ones are taken until it is on the disk. Jobs (state_job()) are tried once.
 *
 * The thread shares `struct state_queue` by counting: one that hangs in the kernel is left behind at the end.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/clock.h"
#include "daemon/state/private.h"

#define UNITS_MAX    1024 /* of one transaction */
#define TRY_AGAIN    CLOCK_NS
#define STACK        (1u << 20)
#define END_PATIENCE CLOCK_NS
#define QUEUE_ROOM   (8u << 20) /* bytes of changes that wait for the disk; then no more are taken */

/* What becomes durable together: changes as SQL, or a job. */
struct unit {
	struct unit *next;
	uint64_t number; /* of changes: 1.. */
	char *sql;       /* NULL: a job */
	size_t size;
	state_job_fn work;
	void *data;
	state_done_fn done;
	void *arg;
	uint64_t deadline; /* CLOCK_MONOTONIC ns: then the disk hangs */
	int result;
	bool taken; /* the thread has it */
};

struct waiter {
	struct waiter *next;
	uint64_t number, deadline;
	state_done_fn done;
	void *arg;
};

struct state_queue {
	pthread_mutex_t lock;
	pthread_cond_t work, idle;
	struct state *disk; /* the thread's */
	unsigned int refs;  /* the owner's and the thread's */
	bool running, stop, closed;
	void (*wake)(void *arg); /* under the lock; NULL: nobody is there any more */
	void *wake_arg;

	struct unit *first, **last; /* not durable yet */
	struct unit *ended;         /* jobs that are over */
	size_t bytes;
	uint64_t durable, refused; /* up to these numbers: on the disk; told that they could not be written */
	uint64_t began;            /* what the thread does now, CLOCK_MONOTONIC ns; 0: nothing */
	uint64_t again;            /* not before that; 0: at once */
	int error;                 /* of the last try; 0: it went well */
	unsigned int lost;         /* changes that the file does not take, whatever is done */
	char why[256];

	/* The owner's alone. */
	uint64_t number; /* of the last changes */
	uint64_t next_boot;
	struct waiter *waiting, **waiting_last;
	char *gathered; /* of the transaction that is open */
	size_t gathered_size;
	char said[256];
};

/* --- the thread --------------------------------------------------------------------------------------------------- */

static void unit_free(struct unit *u)
{
	sqlite3_free(u->sql);
	free(u->data);
	free(u);
}

static int write_unit(struct state *disk, struct unit *u)
{
	int r;

	if (!u->sql)
		return u->work(disk, u->data);
	r = sqlite3_exec(disk->db, u->sql, NULL, NULL, NULL);
	if (r)
		snprintf(disk->why, sizeof(disk->why), "%s", sqlite3_errmsg(disk->db));
	return state_errno(r);
}

/* *ret_bad: the unit that failed. */
static int write_units(struct state *disk, struct unit **unit, size_t n, struct unit **ret_bad)
{
	int r = state_begin(disk);

	*ret_bad = NULL;
	if (r)
		return r;
	for (size_t i = 0; !r && i < n; i++) {
		r = write_unit(disk, unit[i]);
		if (r)
			*ret_bad = unit[i];
	}
	if (!r)
		return state_commit(disk);
	state_rollback(disk);
	return r;
}

/* The file and the copy are not what they should be: trying again would hold up all else. */
static bool is_hopeless(const struct unit *bad, int r)
{
	return bad && bad->sql && r == -EEXIST;
}

static size_t take_locked(struct state_queue *q, struct unit **unit)
{
	size_t n = 0;

	for (struct unit *u = q->first; u && n < UNITS_MAX; u = u->next) {
		u->taken = true;
		unit[n++] = u;
	}
	return n;
}

/* The first `n` are over, or wait for the next try. */
static void sort_out_locked(struct state_queue *q, size_t n, const struct unit *bad, int r)
{
	bool hopeless = is_hopeless(bad, r);
	struct unit **at = &q->first, *u;

	while (n-- > 0) {
		u = *at;
		u->taken = false;
		if (u->sql && r && !(hopeless && u == bad)) {
			if (!hopeless)
				q->refused = u->number;
			at = &u->next;
			continue;
		}
		*at = u->next;
		if (u->sql && !r)
			q->durable = u->number;
		if (u->sql) {
			q->lost += r != 0;
			q->bytes -= u->size;
			unit_free(u);
		} else {
			u->result = r;
			u->next = q->ended;
			q->ended = u;
		}
	}
	while (*at)
		at = &(*at)->next;
	q->last = at;
}

static void try_locked(struct state_queue *q)
{
	struct unit *unit[UNITS_MAX], *bad;
	size_t n = take_locked(q, unit);
	int r;

	q->began = clock_monotonic_ns();
	pthread_mutex_unlock(&q->lock);
	r = write_units(q->disk, unit, n, &bad);
	pthread_mutex_lock(&q->lock);
	q->began = 0;
	if (r)
		snprintf(q->why, sizeof(q->why), "%s", state_error(q->disk));
	q->error = is_hopeless(bad, r) ? 0 : r;
	sort_out_locked(q, n, bad, r);
	q->again = q->error && q->first && q->first->sql ? clock_monotonic_ns() + TRY_AGAIN : 0;
	pthread_cond_broadcast(&q->idle);
	if (q->wake)
		q->wake(q->wake_arg);
}

/* A job does not wait for the second try of changes: it is one. */
static bool has_job(const struct state_queue *q)
{
	for (const struct unit *u = q->first; u; u = u->next)
		if (!u->sql)
			return true;
	return false;
}

static void sleep_locked(struct state_queue *q)
{
	struct timespec until = {.tv_sec = (time_t)(q->again / CLOCK_NS), .tv_nsec = (long)(q->again % CLOCK_NS)};

	if (q->first && q->again)
		pthread_cond_timedwait(&q->work, &q->lock, &until);
	else
		pthread_cond_wait(&q->work, &q->lock);
}

static bool has_work(const struct state_queue *q)
{
	return q->first && (!q->again || clock_monotonic_ns() >= q->again || has_job(q));
}

/* With the lock held, which goes. */
static void unref_locked(struct state_queue *q)
{
	struct unit *u;

	if (--q->refs) {
		pthread_mutex_unlock(&q->lock);
		return;
	}
	pthread_mutex_unlock(&q->lock);
	while ((u = q->first)) {
		q->first = u->next;
		unit_free(u);
	}
	while ((u = q->ended)) {
		q->ended = u->next;
		unit_free(u);
	}
	state_free(q->disk);
	sqlite3_free(q->gathered);
	pthread_cond_destroy(&q->work);
	pthread_cond_destroy(&q->idle);
	pthread_mutex_destroy(&q->lock);
	free(q);
}

static void *thread_main(void *arg)
{
	struct state_queue *q = arg;

	pthread_setname_np(pthread_self(), "state");
	pthread_mutex_lock(&q->lock);
	while (!q->stop) {
		if (has_work(q))
			try_locked(q);
		else
			sleep_locked(q);
	}
	pthread_cond_broadcast(&q->idle);
	unref_locked(q);
	return NULL;
}

/* --- the owner: changes ------------------------------------------------------------------------------------------- */

static uint64_t now(void)
{
	return clock_monotonic_ns();
}

static bool hangs_locked(const struct state_queue *q)
{
	return !q->error && q->first && now() >= q->first->deadline;
}

/* Does the disk not take what it was given? Then the reason, for state_error(). */
static int fails_locked(struct state_queue *q)
{
	if (q->error && q->first && q->first->sql) {
		snprintf(q->said, sizeof(q->said), "%s", q->why);
		return q->error;
	}
	if (hangs_locked(q)) {
		snprintf(q->said, sizeof(q->said), "the disk has not answered for %u s",
			 (unsigned int)((now() - q->first->deadline + STATE_PATIENCE) / CLOCK_NS));
		return -ETIMEDOUT;
	}
	if (q->bytes > QUEUE_ROOM) {
		snprintf(q->said, sizeof(q->said), "more changes wait for the disk than there is room for");
		return -ENOBUFS;
	}
	return 0;
}

static int queue_may(struct state *state)
{
	struct state_queue *q = state->queue;
	int r;

	pthread_mutex_lock(&q->lock);
	r = q->running ? fails_locked(q) : 0;
	if (r)
		snprintf(state->why, sizeof(state->why), "%s", q->said);
	pthread_mutex_unlock(&q->lock);
	return r;
}

static void append_locked(struct state_queue *q, struct unit *u)
{
	u->deadline = now() + STATE_PATIENCE;
	u->next = NULL;
	*q->last = u;
	q->last = &u->next;
	q->bytes += u->size;
	pthread_cond_signal(&q->work);
}

/* Before the thread: on the file at once. */
static int write_now(struct state *state, const char *sql)
{
	struct state *disk = state->queue->disk;
	int r = state_begin(disk);

	if (!r) {
		r = state_errno(sqlite3_exec(disk->db, sql, NULL, NULL, NULL));
		if (!r)
			r = state_commit(disk);
		else
			state_rollback(disk);
	}
	if (r)
		snprintf(state->why, sizeof(state->why), "%s", sqlite3_errmsg(disk->db));
	return r;
}

/* Takes `sql` (sqlite3_malloc). */
static int push(struct state *state, char *sql)
{
	struct state_queue *q = state->queue;
	struct unit *u;
	int r = 0;

	if (!q->running) {
		r = write_now(state, sql);
		sqlite3_free(sql);
		return r;
	}
	u = calloc(1, sizeof(*u));
	if (!u) {
		sqlite3_free(sql);
		return -ENOMEM;
	}
	u->sql = sql;
	u->size = strlen(sql) + sizeof(*u);
	pthread_mutex_lock(&q->lock);
	u->number = ++q->number;
	append_locked(q, u);
	pthread_mutex_unlock(&q->lock);
	return r;
}

static int queue_note(struct state *state, sqlite3_stmt *s)
{
	struct state_queue *q = state->queue;
	char *sql = sqlite3_expanded_sql(s), *more;

	if (!sql)
		return -ENOMEM;
	if (!state->in_transaction)
		return push(state, sql);
	more = sqlite3_mprintf("%s%s;\n", q->gathered ? q->gathered : "", sql);
	sqlite3_free(sql);
	if (!more)
		return -ENOMEM;
	sqlite3_free(q->gathered);
	q->gathered = more;
	return 0;
}

static int queue_commit(struct state *state)
{
	char *sql = state->queue->gathered;

	state->queue->gathered = NULL;
	return sql ? push(state, sql) : 0;
}

static void queue_rollback(struct state *state)
{
	sqlite3_free(state->queue->gathered);
	state->queue->gathered = NULL;
}

int64_t queue_next_boot(struct state *state)
{
	return (int64_t)state->queue->next_boot++;
}

struct state *queue_disk(struct state *state)
{
	return state->queue && !state->queue->running ? state->queue->disk : NULL;
}

static const char *queue_file(const struct state *state)
{
	return sqlite3_db_filename(state->queue->disk->db, "main");
}

/* --- the owner: who waits ----------------------------------------------------------------------------------------- */

uint64_t state_position(const struct state *state)
{
	const struct state_queue *q = state->queue;

	return q ? q->number + (q->gathered != NULL) : 0;
}

bool state_is_durable(const struct state *state, uint64_t position)
{
	struct state_queue *q = state->queue;
	bool durable;

	if (!q || !q->running)
		return true;
	pthread_mutex_lock(&q->lock);
	durable = position <= q->durable;
	pthread_mutex_unlock(&q->lock);
	return durable;
}

void state_when(struct state *state, uint64_t position, state_done_fn done, void *arg)
{
	struct state_queue *q = state->queue;
	struct waiter *w;
	int r = 0;

	if (state_is_durable(state, position)) {
		done(arg, 0);
		return;
	}
	pthread_mutex_lock(&q->lock);
	if (q->closed)
		r = -ECANCELED;
	else if (position <= q->refused)
		r = fails_locked(q);
	pthread_mutex_unlock(&q->lock);
	w = r ? NULL : calloc(1, sizeof(*w));
	if (!w) {
		done(arg, r ? r : -ENOMEM);
		return;
	}
	*w = (struct waiter){.number = position, .deadline = now() + STATE_PATIENCE, .done = done, .arg = arg};
	*q->waiting_last = w;
	q->waiting_last = &w->next;
}

void state_job(struct state *state, state_job_fn work, void *data, state_done_fn done, void *arg)
{
	struct state_queue *q = state->queue;
	struct unit unit = {.work = work, .data = data}, *one = &unit, *bad, *u;
	int r = 0;

	if (!q || !q->running) {
		r = write_units(q ? q->disk : state, &one, 1, &bad);
		free(data);
		done(arg, r);
		return;
	}
	u = calloc(1, sizeof(*u));
	pthread_mutex_lock(&q->lock);
	if (q->closed || !u)
		r = u ? -ECANCELED : -ENOMEM;
	else if (hangs_locked(q))
		r = fails_locked(q);
	if (!r) {
		*u = (struct unit){.work = work, .data = data, .done = done, .arg = arg};
		append_locked(q, u);
	}
	pthread_mutex_unlock(&q->lock);
	if (!r)
		return;
	free(u);
	free(data);
	done(arg, r);
}

static struct unit *take_ended(struct state_queue *q)
{
	struct unit *u, **at = &q->ended;

	pthread_mutex_lock(&q->lock);
	while (*at && (*at)->next) /* the oldest */
		at = &(*at)->next;
	u = *at;
	*at = NULL;
	pthread_mutex_unlock(&q->lock);
	return u;
}

/* A job that nobody has begun, or that does not end: its owner is told once. */
static struct unit *take_late(struct state_queue *q, bool all, state_done_fn *ret_done, void **ret_arg, bool *ret_taken)
{
	struct unit **at, *u;

	pthread_mutex_lock(&q->lock);
	for (at = &q->first; (u = *at); at = &u->next)
		if (!u->sql && u->done && (all || now() >= u->deadline))
			break;
	if (u) {
		*ret_done = u->done;
		*ret_arg = u->arg;
		*ret_taken = u->taken;
		u->done = NULL; /* the thread frees it, by way of `ended` */
		fails_locked(q);
		if (!u->taken) {
			*at = u->next;
			if (!*at)
				q->last = at;
		}
	}
	pthread_mutex_unlock(&q->lock);
	return u;
}

static int of_waiter(struct state_queue *q, const struct waiter *w, bool all, bool *ret_over)
{
	int r = 0;

	pthread_mutex_lock(&q->lock);
	*ret_over = true;
	if (w->number <= q->durable)
		r = 0;
	else if (all)
		r = -ECANCELED;
	else if (w->number <= q->refused && q->error)
		r = q->error;
	else if (now() >= w->deadline)
		r = -ETIMEDOUT;
	else
		*ret_over = false;
	fails_locked(q);
	pthread_mutex_unlock(&q->lock);
	return r;
}

static void deliver(struct state *state, bool all)
{
	struct state_queue *q = state->queue;
	struct waiter *list = q->waiting, *w;
	state_done_fn done;
	struct unit *u;
	bool over, taken;
	void *arg;
	int r;

	while ((u = take_ended(q))) {
		if (u->result)
			snprintf(state->why, sizeof(state->why), "%s", q->why);
		if (u->done)
			u->done(u->arg, u->result);
		unit_free(u);
	}
	while ((u = take_late(q, all, &done, &arg, &taken))) {
		snprintf(state->why, sizeof(state->why), "%s", q->said);
		if (!taken)
			unit_free(u);
		done(arg, all ? -ECANCELED : -ETIMEDOUT);
	}
	/* Those who are told may wait again: for a list of its own. */
	q->waiting = NULL;
	q->waiting_last = &q->waiting;
	while ((w = list)) {
		list = w->next;
		r = of_waiter(q, w, all, &over);
		if (over) {
			if (r)
				snprintf(state->why, sizeof(state->why), "%s", r == -ETIMEDOUT ? q->said : q->why);
			w->done(w->arg, r);
			free(w);
			continue;
		}
		w->next = NULL;
		*q->waiting_last = w;
		q->waiting_last = &w->next;
	}
}

void state_deliver(struct state *state)
{
	if (state->queue && state->queue->running)
		deliver(state, false);
}

unsigned int state_lost(struct state *state)
{
	struct state_queue *q = state->queue;
	unsigned int lost;

	if (!q)
		return 0;
	pthread_mutex_lock(&q->lock);
	lost = q->lost;
	q->lost = 0;
	if (lost)
		snprintf(state->why, sizeof(state->why), "%s", q->why);
	pthread_mutex_unlock(&q->lock);
	return lost;
}

bool state_flush(struct state *state, uint64_t ns)
{
	const struct timespec until = clock_deadline(ns);
	struct state_queue *q = state->queue;
	bool done;
	int r = 0;

	if (!q || !q->running)
		return true;
	pthread_mutex_lock(&q->lock);
	while ((q->first || q->began) && !q->error && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&q->idle, &q->lock, &until);
	done = !q->first && !q->began;
	pthread_mutex_unlock(&q->lock);
	deliver(state, false);
	return done;
}

/* --- start and end ------------------------------------------------------------------------------------------------ */

/* Copies the small tables; the numbers of rows that are gone are not given again. */
static int copy(struct state *state, const char *file)
{
	static const char tables[] = "INSERT INTO client SELECT * FROM disk.client;"
				     "INSERT INTO image SELECT * FROM disk.image;"
				     "INSERT INTO session SELECT * FROM disk.session;"
				     "DELETE FROM sqlite_sequence;"
				     "INSERT INTO sqlite_sequence SELECT name, seq FROM disk.sqlite_sequence WHERE "
				     "name IN ('client', 'image');";
	sqlite3_stmt *s = NULL;
	int r;

	r = sqlite3_exec(state->db, "PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=ON;", NULL, NULL, NULL);
	if (!r)
		r = state_schema_make(state->db, state_schema_version());
	if (!r)
		r = sqlite3_prepare_v2(state->db, "ATTACH ? AS disk", -1, &s, NULL);
	if (!r)
		r = sqlite3_bind_text(s, 1, file, -1, SQLITE_TRANSIENT);
	if (!r && sqlite3_step(s) != SQLITE_DONE)
		r = sqlite3_errcode(state->db);
	sqlite3_finalize(s);
	if (!r)
		r = sqlite3_exec(state->db, tables, NULL, NULL, NULL);
	if (!r)
		r = sqlite3_exec(state->db, "DETACH disk", NULL, NULL, NULL);
	return state_errno(r);
}

static uint64_t last_boot(struct state *disk)
{
	sqlite3_stmt *s = NULL;
	uint64_t last = 0;

	if (!sqlite3_prepare_v2(disk->db, "SELECT seq FROM sqlite_sequence WHERE name = 'boot'", -1, &s, NULL) &&
	    sqlite3_step(s) == SQLITE_ROW)
		last = (uint64_t)sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return last;
}

static int queue_new(struct state_queue **ret)
{
	struct state_queue *q = calloc(1, sizeof(*q));
	pthread_condattr_t attr;

	if (!q)
		return -ENOMEM;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&q->work, &attr);
	pthread_cond_init(&q->idle, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&q->lock, NULL);
	q->refs = 1;
	q->last = &q->first;
	q->waiting_last = &q->waiting;
	*ret = q;
	return 0;
}

static void queue_free(struct state *state)
{
	struct state_queue *q = state->queue;
	struct timespec until;
	int r = 0;

	if (q->running)
		state_settle(state, END_PATIENCE);
	until = clock_deadline(END_PATIENCE);
	pthread_mutex_lock(&q->lock);
	q->wake = NULL;
	q->stop = true;
	pthread_cond_signal(&q->work);
	/* It closes the file, if it can. */
	while (q->refs > 1 && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&q->idle, &q->lock, &until);
	unref_locked(q);
}

static const struct state_queue_calls calls = {.may = queue_may,
					       .note = queue_note,
					       .commit = queue_commit,
					       .rollback = queue_rollback,
					       .file = queue_file,
					       .free = queue_free};

int state_new_queued(struct state **ret, const char *file, struct sentence *error)
{
	struct state *state = calloc(1, sizeof(*state));
	int r = state ? queue_new(&state->queue) : -ENOMEM;

	if (r) {
		free(state);
		return r;
	}
	state->calls = &calls;
	r = state_new(&state->queue->disk, file, error);
	if (!r)
		r = state_errno(sqlite3_open_v2(":memory:", &state->db,
						SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX,
						NULL));
	if (!r) {
		r = copy(state, file);
		if (r)
			sentence_set(error, "%s", sqlite3_errmsg(state->db));
	}
	if (r) {
		state_free(state);
		return r;
	}
	state->queue->next_boot = last_boot(state->queue->disk) + 1;
	*ret = state;
	return 0;
}

int state_begin_queue(struct state *state, void (*wake)(void *arg), void *arg)
{
	struct state_queue *q = state->queue;
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	q->wake = wake;
	q->wake_arg = arg;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	q->refs++;
	q->running = true;
	r = -pthread_create(&thread, &attr, thread_main, q);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (r) {
		q->refs--;
		q->running = false;
	}
	return r;
}

bool state_settle(struct state *state, uint64_t ns)
{
	struct state_queue *q = state->queue;
	bool all = state_flush(state, ns);

	if (!q || !q->running)
		return all;
	pthread_mutex_lock(&q->lock);
	q->closed = true;
	q->wake = NULL;
	pthread_mutex_unlock(&q->lock);
	deliver(state, true);
	return all;
}
