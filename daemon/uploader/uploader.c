// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Workers take the next part, read it, hash it, and send it unless it is zero or the server has it already. Zero parts
 * are collected and told in ranges. When a request gets no answer, or the server has forgotten the upload, one worker
 * begins it again with the same key (meet(), while the others wait) and learns which parts the server has; each then
 * repeats what it was doing. At the end the server's digests are compared with ours, what differs is sent again, and
 * only then it is asked to finish.
 */
#include "daemon/uploader/uploader.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "daemon/uploader/http.h"
#include "daemon/core/clock.h"

#define DAMAGED_MAX 5  /* times that one part may arrive damaged */
#define AGAIN_MAX   60 /* times that the server begins the upload anew, and then does not know it, for one request */
#define SWEEPS_MAX  5  /* times that parts are sent again before the finish is given up */
#define RATE_WINDOW 10
#define BACK_OFF_MS 5000 /* between two tries, unless the server asks for more */
#define ZERO_RANGES 512  /* that are told at once */

struct uploader {
	struct upload_source *source;
	const struct uploader_options *options;
	struct uploader_result *result;
	uint64_t size, parts;
	char key[UPLOAD_KEY_MAX];

	pthread_mutex_t lock;
	pthread_cond_t changed;
	char id[UPLOAD_KEY_MAX];
	unsigned int epoch; /* times that the upload was begun */
	bool meeting;
	uint64_t next; /* part */
	uint8_t *digest, *theirs;
	uint64_t *todo; /* parts of a sweep; NULL: all */
	uint64_t n_todo;
	unsigned int running; /* workers */
	int error;            /* first one; all stop */
	struct uploader_progress progress;
	char trouble[SENTENCE_MAX];
	uint64_t started, trouble_since; /* ns, CLOCK_MONOTONIC */
	uint64_t window[RATE_WINDOW + 1];
	unsigned int window_second;
	struct {
		uint64_t first, count;
	} zero[ZERO_RANGES];
	unsigned int zeros;
};

static double since(uint64_t then)
{
	return (double)(clock_monotonic_ns() - then) / CLOCK_NS;
}

static int stop(struct uploader *u, int error, const char *text)
{
	pthread_mutex_lock(&u->lock);
	if (!u->error) {
		u->error = error;
		sentence_set(&u->result->error, "%s", text);
	}
	pthread_cond_broadcast(&u->changed);
	pthread_mutex_unlock(&u->lock);
	return error;
}

static int stopped(struct uploader *u)
{
	int error;

	pthread_mutex_lock(&u->lock);
	error = u->error;
	pthread_mutex_unlock(&u->lock);
	return error;
}

static void set_trouble(struct uploader *u, const char *text)
{
	pthread_mutex_lock(&u->lock);
	if (text && !u->trouble[0])
		u->trouble_since = clock_monotonic_ns();
	snprintf(u->trouble, sizeof(u->trouble), "%s", text ? text : "");
	pthread_mutex_unlock(&u->lock);
}

/* Sleeps, but not when all is to stop. */
static void nap(struct uploader *u, unsigned int ms)
{
	struct timespec until = clock_deadline(ms * 1000000ull);

	pthread_mutex_lock(&u->lock);
	while (!u->error && pthread_cond_timedwait(&u->changed, &u->lock, &until) == 0)
		;
	pthread_mutex_unlock(&u->lock);
}

/* --- beginning, and beginning again -------------------------------------------------------------------------------*/

static int begin_request(struct uploader *u, struct uploader_http *http, char id[UPLOAD_KEY_MAX],
			 struct sentence *error, unsigned int *retry_after)
{
	json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:b, s:b}", "name", u->options->name, "session", u->key, "size",
			      (json_int_t)u->size, "used", (json_int_t)u->progress.used, "update", u->options->update,
			      "current", u->options->make_current);
	char *text = json_dumps(o, 0);
	struct uploader_reply reply;
	int r = uploader_request(http, "POST", "/v1/uploads", text, text ? strlen(text) : 0, NULL, &reply);
	json_t *answer = r == 0 ? json_loads(reply.body ? reply.body : "", 0, NULL) : NULL;
	const char *got = json_string_value(json_object_get(answer, "id"));

	*retry_after = reply.retry_after;
	*error = reply.error;
	if (r == 0 && (!got || strlen(got) != UPLOAD_KEY_MAX - 1 ||
		       json_integer_value(json_object_get(answer, "part_size")) != (json_int_t)DIGEST_PART)) {
		sentence_set(error, "%s does not speak our upload protocol", u->options->server);
		r = -EPROTO;
	}
	if (r == 0)
		snprintf(id, UPLOAD_KEY_MAX, "%s", got);
	json_decref(answer);
	json_decref(o);
	free(text);
	uploader_reply_done(&reply);
	return r;
}

static int fetch_digests(struct uploader *u, struct uploader_http *http, const char *id, struct sentence *error)
{
	struct uploader_reply reply;
	char path[96];
	int r;

	snprintf(path, sizeof(path), "/v1/uploads/%s/parts", id);
	r = uploader_request(http, "GET", path, NULL, 0, NULL, &reply);
	*error = reply.error;
	if (r == 0 && reply.length != u->parts * DIGEST_SIZE) {
		sentence_set(error, "%s does not speak our upload protocol", u->options->server);
		r = -EPROTO;
	}
	if (r == 0) {
		pthread_mutex_lock(&u->lock);
		memcpy(u->theirs, reply.body, reply.length);
		pthread_mutex_unlock(&u->lock);
	}
	uploader_reply_done(&reply);
	return r;
}

/*
 * Worth trying again later? Our own connection that broke may keep the name for a while, and so may the upload that
 * this PC was busy with when it was restarted (the server says how long).
 */
static bool may_pass(const struct uploader *u, int r, unsigned int retry_after)
{
	if (r == -EBUSY)
		return u->epoch > 0 || (u->options->alone && retry_after);
	return r == -ECONNRESET || r == -ENOENT || r == -ESTALE || r == -EAGAIN;
}

/* Waits before the next try, longer each time, and at least as long as the server asks. -ETIMEDOUT: it is enough. */
static int back_off(struct uploader *u, uint64_t start, unsigned int tries, unsigned int retry_after)
{
	unsigned int ms = 200u << (tries < 5 ? tries : 5);

	ms = ms > BACK_OFF_MS ? BACK_OFF_MS : ms;
	if (u->options->give_up && since(start) >= u->options->give_up)
		return -ETIMEDOUT;
	nap(u, retry_after * 1000 > ms ? retry_after * 1000 : ms);
	return 0;
}

/* Begins until it works, or there is no hope. `epoch`: as the caller saw it; if it has moved on, all is well. */
static int meet(struct uploader *u, struct uploader_http *http, unsigned int epoch)
{
	uint64_t start;
	struct sentence error = {""};
	char id[UPLOAD_KEY_MAX];
	int r;

	pthread_mutex_lock(&u->lock);
	while (u->meeting && !u->error)
		pthread_cond_wait(&u->changed, &u->lock);
	if (u->error || u->epoch != epoch) {
		r = u->error;
		pthread_mutex_unlock(&u->lock);
		return r;
	}
	u->meeting = true;
	pthread_mutex_unlock(&u->lock);
	start = clock_monotonic_ns();
	for (unsigned int tries = 0, retry_after;; tries++) {
		r = begin_request(u, http, id, &error, &retry_after);
		if (r == -ENOENT)
			break;
		if (r == 0)
			r = fetch_digests(u, http, id, &error);
		if (r == 0 || !may_pass(u, r, retry_after) || stopped(u))
			break;
		set_trouble(u, error.text);
		r = back_off(u, start, tries, retry_after);
		if (r)
			break;
	}
	pthread_mutex_lock(&u->lock);
	u->meeting = false;
	if (r == 0) {
		memcpy(u->id, id, sizeof(id));
		u->epoch++;
	}
	pthread_cond_broadcast(&u->changed);
	pthread_mutex_unlock(&u->lock);
	if (r)
		return stop(u, r, error.text);
	set_trouble(u, NULL);
	return 0;
}

/*
 * A request for this upload, repeated until it is answered: `format` has the id's place. Answers that only the caller
 * understands are returned.
 */
static int ask(struct uploader *u, struct uploader_http *http, const char *method, const char *tail, const void *body,
	       size_t length, const char *digest, struct uploader_reply *reply)
{
	uint64_t start;
	char path[160];
	unsigned int epoch, tries = 0, again = 0;
	int r;

	start = clock_monotonic_ns();
	for (;;) {
		pthread_mutex_lock(&u->lock);
		snprintf(path, sizeof(path), "/v1/uploads/%s/%s", u->id, tail);
		epoch = u->epoch;
		r = u->error;
		pthread_mutex_unlock(&u->lock);
		memset(reply, 0, sizeof(*reply));
		if (r)
			return r;
		r = uploader_request(http, method, path, body, length, digest, reply);
		if (r == -EAGAIN) {
			r = back_off(u, start, tries++, reply->retry_after);
			if (r)
				return r;
			uploader_reply_done(reply);
			continue;
		}
		if (r != -ECONNRESET && r != -ENOENT && r != -ESTALE)
			return r;
		uploader_reply_done(reply);
		set_trouble(u, reply->error.text);
		/* Begun and begun again, and this request is not taken all the same: that may never end. */
		if (again && (r != -ECONNRESET || u->options->give_up)) {
			if (r != -ECONNRESET && again >= AGAIN_MAX)
				return stop(u, -ETIMEDOUT,
					    "the server begins this upload anew, and then does not know it");
			if (back_off(u, start, again - 1, 0))
				return stop(u, -ETIMEDOUT, reply->error.text);
		}
		again++;
		r = meet(u, http, epoch);
		if (r)
			return r;
	}
}

/* --- parts --------------------------------------------------------------------------------------------------------*/

static int tell_zeros(struct uploader *u, struct uploader_http *http)
{
	struct uploader_reply reply;
	json_t *ranges = json_array(), *o;
	char *text;
	int r;

	pthread_mutex_lock(&u->lock);
	for (unsigned int i = 0; i < u->zeros; i++)
		json_array_append_new(ranges,
				      json_pack("[I, I]", (json_int_t)u->zero[i].first, (json_int_t)u->zero[i].count));
	u->zeros = 0;
	pthread_mutex_unlock(&u->lock);
	if (!json_array_size(ranges)) {
		json_decref(ranges);
		return 0;
	}
	o = json_pack("{s:o}", "ranges", ranges);
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	r = ask(u, http, "POST", "zero", text, text ? strlen(text) : 0, NULL, &reply);
	if (r && !stopped(u))
		stop(u, r, reply.error.text);
	uploader_reply_done(&reply);
	free(text);
	return r;
}

/* Notes a zero part; true when there are enough to tell. */
static bool note_zero(struct uploader *u, uint64_t part)
{
	bool full;

	pthread_mutex_lock(&u->lock);
	for (unsigned int i = u->zeros; i-- > 0 && i + 8 > u->zeros;) {
		if (u->zero[i].first + u->zero[i].count == part) {
			u->zero[i].count++;
			pthread_mutex_unlock(&u->lock);
			return false;
		}
	}
	u->zero[u->zeros].first = part;
	u->zero[u->zeros++].count = 1;
	full = u->zeros >= ZERO_RANGES - 8;
	pthread_mutex_unlock(&u->lock);
	return full;
}

struct worker {
	struct uploader *u;
	struct uploader_http *http;
	struct source_reader *reader;
	uint8_t *data, *body;
	pthread_t thread;
};

static int send_part(struct worker *w, uint64_t part, const uint8_t *bitmap, uint32_t bytes, const uint8_t *digest)
{
	struct uploader *u = w->u;
	struct uploader_reply reply;
	size_t length = SPARSE_BITMAP;
	char tail[48], text[DIGEST_TEXT];
	int r = 0;

	memcpy(w->body, bitmap, SPARSE_BITMAP);
	for (unsigned int b = 0; b < SPARSE_BITMAP * 8; b++) {
		if (!(bitmap[b / 8] >> b % 8 & 1))
			continue;
		memcpy(w->body + length, w->data + (size_t)b * SPARSE_BLOCK, SPARSE_BLOCK);
		length += SPARSE_BLOCK;
	}
	(void)bytes;
	digest_to_text(digest, text);
	snprintf(tail, sizeof(tail), "parts/%" PRIu64, part);
	for (unsigned int tries = 0; tries < DAMAGED_MAX; tries++) {
		r = ask(u, w->http, "PUT", tail, w->body, length, text, &reply);
		uploader_reply_done(&reply);
		pthread_mutex_lock(&u->lock);
		u->progress.sent += length;
		pthread_mutex_unlock(&u->lock);
		if (r == -EBUSY) { /* what an earlier connection sent of it is still being written */
			nap(u, 500);
			tries--;
			continue;
		}
		if (r != -EBADMSG)
			break;
	}
	if (r && !stopped(u))
		stop(u, r, reply.error.text);
	return r;
}

static int do_part(struct worker *w, uint64_t part)
{
	struct uploader *u = w->u;
	uint8_t bitmap[SPARSE_BITMAP], digest[DIGEST_SIZE];
	uint64_t at, used = source_part_used(u->source, part);
	uint32_t bytes;
	char text[256];
	bool there;
	int r = source_read(w->reader, part, w->data, bitmap, &bytes, &at);

	if (r) {
		snprintf(text, sizeof(text), "the disk cannot be read at byte %" PRIu64 ": %s", at, strerror(-r));
		return stop(u, -EIO, text);
	}
	if (bytes)
		digest_part(w->data, digest_part_length(u->size, part), digest);
	else
		digest_zero(digest_part_length(u->size, part), digest);
	pthread_mutex_lock(&u->lock);
	memcpy(u->digest + part * DIGEST_SIZE, digest, DIGEST_SIZE);
	there = memcmp(u->theirs + part * DIGEST_SIZE, digest, DIGEST_SIZE) == 0;
	pthread_mutex_unlock(&u->lock);
	if (!there && !bytes && note_zero(u, part))
		r = tell_zeros(u, w->http);
	else if (!there && bytes)
		r = send_part(w, part, bitmap, bytes, digest);
	pthread_mutex_lock(&u->lock);
	if (r == 0 && !u->todo)
		u->progress.done += used;
	pthread_mutex_unlock(&u->lock);
	return r;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct uploader *u = w->u;
	int r = 0;

	while (r == 0) {
		uint64_t part;
		bool more;

		pthread_mutex_lock(&u->lock);
		more = !u->error && u->next < (u->todo ? u->n_todo : u->parts);
		part = more ? (u->todo ? u->todo[u->next] : u->next) : 0;
		u->next += more;
		pthread_mutex_unlock(&u->lock);
		if (!more)
			break;
		r = do_part(w, part);
	}
	pthread_mutex_lock(&u->lock);
	u->running--;
	pthread_cond_broadcast(&u->changed);
	pthread_mutex_unlock(&u->lock);
	return NULL;
}

/* --- progress -----------------------------------------------------------------------------------------------------*/

static int report(struct uploader *u)
{
	struct uploader_progress p;
	char trouble[sizeof(u->trouble)];
	unsigned int span;

	if (!u->options->progress)
		return 0;
	pthread_mutex_lock(&u->lock);
	u->progress.seconds = (unsigned int)since(u->started);
	while (u->window_second < u->progress.seconds)
		u->window[++u->window_second % (RATE_WINDOW + 1)] = u->progress.done;
	span = u->window_second < RATE_WINDOW ? u->window_second : RATE_WINDOW;
	p = u->progress;
	if (span)
		p.rate = (p.done - u->window[(u->window_second - span) % (RATE_WINDOW + 1)]) / span;
	snprintf(trouble, sizeof(trouble), "%s", u->trouble);
	p.seconds_trouble = trouble[0] ? (unsigned int)since(u->trouble_since) : 0;
	pthread_mutex_unlock(&u->lock);
	p.trouble = trouble[0] ? trouble : NULL;
	p.left_s = p.rate ? (p.used - p.done) / p.rate : UINT64_MAX;
	return u->options->progress(u->options->arg, &p);
}

/* Until `running` is 0, telling how it goes. */
static void watch(struct uploader *u)
{
	pthread_mutex_lock(&u->lock);
	while (u->running) {
		pthread_mutex_unlock(&u->lock);
		if (report(u))
			stop(u, -ECANCELED, "stopped; the upload can be gone on with later");
		pthread_mutex_lock(&u->lock);
		if (u->running) {
			struct timespec until = clock_deadline(250000000);

			pthread_cond_timedwait(&u->changed, &u->lock, &until);
		}
	}
	pthread_mutex_unlock(&u->lock);
}

static void worker_done(struct worker *w)
{
	uploader_http_free(w->http);
	source_reader_free(w->reader);
	free(w->data);
	free(w->body);
}

static int worker_init(struct worker *w, struct uploader *u, unsigned int workers)
{
	uint64_t limit = u->options->limit;

	w->u = u;
	w->http = uploader_http_new(u->options, limit && limit < workers ? 1 : limit / workers);
	w->reader = source_reader_new(u->source);
	w->data = malloc(DIGEST_PART);
	w->body = malloc(DIGEST_PART + SPARSE_BITMAP);
	return w->http && w->reader && w->data && w->body ? 0 : -ENOMEM;
}

/* All parts, or those of `todo`. */
static int run_workers(struct uploader *u, struct worker *workers, unsigned int n)
{
	unsigned int started = 0;

	u->next = 0;
	u->running = n;
	for (; started < n; started++)
		if (pthread_create(&workers[started].thread, NULL, work, &workers[started]))
			break;
	if (started < n) {
		pthread_mutex_lock(&u->lock);
		u->running -= n - started;
		pthread_mutex_unlock(&u->lock);
		if (!started)
			return stop(u, -EAGAIN, "no thread can be started");
	}
	watch(u);
	for (unsigned int i = 0; i < started; i++)
		pthread_join(workers[i].thread, NULL);
	return u->error;
}

/* --- the end ------------------------------------------------------------------------------------------------------*/

/* Parts that the server has not as we have; it may have lost some in a restart. */
static int compare(struct uploader *u, struct uploader_http *http)
{
	struct uploader_reply reply;
	int r = ask(u, http, "GET", "parts", NULL, 0, NULL, &reply);

	if (r == 0 && reply.length != u->parts * DIGEST_SIZE)
		r = -EPROTO;
	u->n_todo = 0;
	if (r == 0) {
		memcpy(u->theirs, reply.body, reply.length);
		for (uint64_t i = 0; i < u->parts; i++)
			if (memcmp(u->theirs + i * DIGEST_SIZE, u->digest + i * DIGEST_SIZE, DIGEST_SIZE))
				u->todo[u->n_todo++] = i;
	} else if (!stopped(u)) {
		stop(u, r, reply.error.text);
	}
	uploader_reply_done(&reply);
	return r;
}

static int finish(struct uploader *u, struct uploader_http *http)
{
	struct uploader_reply reply;
	char text[DIGEST_TEXT], body[DIGEST_TEXT + 32];
	json_t *o;
	int r;

	digest_to_text(u->result->digest, text);
	snprintf(body, sizeof(body), "{\"sha256\":\"%s\"}", text);
	r = ask(u, http, "POST", "finish", body, strlen(body), NULL, &reply);
	while (r == -EBUSY && !stopped(u)) { /* it was asked before the connection broke */
		uploader_reply_done(&reply);
		nap(u, 1000);
		r = ask(u, http, "POST", "finish", body, strlen(body), NULL, &reply);
	}
	o = r == 0 ? json_loads(reply.body ? reply.body : "", 0, NULL) : NULL;
	if (r == 0) {
		const char *image = json_string_value(json_object_get(o, "image"));
		const char *file = json_string_value(json_object_get(o, "file"));

		snprintf(u->result->image, sizeof(u->result->image), "%s", image ? image : "");
		snprintf(u->result->file, sizeof(u->result->file), "%s", file ? file : "");
		u->result->disk_bytes = (uint64_t)json_integer_value(json_object_get(o, "disk_bytes"));
		u->result->generation = (uint32_t)json_integer_value(json_object_get(o, "generation"));
		u->result->current = (uint32_t)json_integer_value(json_object_get(o, "current"));
	} else if (r != -ENODATA && r != -EBADMSG && !stopped(u)) {
		stop(u, r, reply.error.text);
	}
	json_decref(o);
	uploader_reply_done(&reply);
	return r;
}

/* A step that one worker's connection does, on a thread of its own so that the caller's can go on telling. */
struct step {
	struct uploader *u;
	struct uploader_http *http;
	int (*run)(struct uploader *u, struct uploader_http *http);
	int result;
};

static void *run_step(void *arg)
{
	struct step *step = arg;
	struct uploader *u = step->u;

	step->result = step->run(u, step->http);
	pthread_mutex_lock(&u->lock);
	u->running--;
	pthread_cond_broadcast(&u->changed);
	pthread_mutex_unlock(&u->lock);
	return NULL;
}

static int on_thread(struct uploader *u, struct worker *worker,
		     int (*fn)(struct uploader *u, struct uploader_http *http))
{
	struct step step = {.u = u, .http = worker->http, .run = fn};
	pthread_t thread;

	u->running = 1;
	if (pthread_create(&thread, NULL, run_step, &step))
		return stop(u, -EAGAIN, "no thread can be started");
	watch(u);
	pthread_join(thread, NULL);
	return u->error ? u->error : step.result;
}

static int first_meet(struct uploader *u, struct uploader_http *http)
{
	return meet(u, http, 0);
}

/* 0 with n_todo: parts have to be sent again. */
static int tail(struct uploader *u, struct uploader_http *http)
{
	int r = tell_zeros(u, http);

	if (r == 0)
		r = compare(u, http);
	if (r || u->n_todo)
		return r;
	digest_disk(u->size, u->digest, u->result->digest);
	u->progress.finishing = true;
	return finish(u, http);
}

static int run(struct uploader *u, struct worker *workers, unsigned int n)
{
	int r = on_thread(u, &workers[0], first_meet);

	if (r == 0)
		r = run_workers(u, workers, n);
	if (r)
		return r;
	u->todo = calloc(u->parts, sizeof(*u->todo));
	if (!u->todo)
		return stop(u, -ENOMEM, "out of memory");
	for (unsigned int sweep = 0; sweep < SWEEPS_MAX; sweep++) {
		r = on_thread(u, &workers[0], tail);
		if (u->error || (r == 0 && u->n_todo == 0))
			return u->error;
		u->progress.finishing = false;
		r = run_workers(u, workers, n);
		if (r)
			return r;
	}
	return stop(u, -EIO, "the server does not keep what it is sent; look at its disk");
}

static int new_key(char ret[UPLOAD_KEY_MAX])
{
	uint8_t random[16];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	for (unsigned int i = 0; i < sizeof(random); i++)
		snprintf(ret + 2 * i, 3, "%02x", random[i]);
	return 0;
}

static int init(struct uploader *u)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&u->changed, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&u->lock, NULL);
	u->started = clock_monotonic_ns();
	u->size = u->progress.size = source_size(u->source);
	u->progress.used = source_used(u->source);
	u->parts = digest_parts(u->size);
	u->digest = calloc(u->parts, DIGEST_SIZE);
	u->theirs = calloc(u->parts, DIGEST_SIZE);
	return u->digest && u->theirs ? new_key(u->key) : -ENOMEM;
}

int uploader_run(struct upload_source *source, const struct uploader_options *options, struct uploader_result *result)
{
	struct uploader *u = calloc(1, sizeof(*u));
	unsigned int n = options->workers ? options->workers : (unsigned int)get_nprocs();
	struct worker workers[8] = {0};
	int r = 0;

	memset(result, 0, sizeof(*result));
	if (!u)
		return -ENOMEM;
	n = options->workers ? n : n < 2 ? 2 : n > 4 ? 4 : n;
	n = n > 8 ? 8 : n;
	u->source = source;
	u->options = options;
	u->result = result;
	r = init(u);
	for (unsigned int i = 0; i < n && r == 0; i++)
		r = worker_init(&workers[i], u, n);
	if (r)
		sentence_set(&result->error, "out of memory");
	else
		r = run(u, workers, n);
	result->sent = u->progress.sent;
	for (unsigned int i = 0; i < n; i++)
		worker_done(&workers[i]);
	pthread_cond_destroy(&u->changed);
	pthread_mutex_destroy(&u->lock);
	free(u->todo);
	free(u->digest);
	free(u->theirs);
	free(u);
	return r;
}

static int one_request(const struct uploader_options *options, const char *method, const char *path,
		       struct uploader_reply *reply, struct uploader_result *result)
{
	struct uploader_http *http = uploader_http_new(options, 0);
	int r;

	memset(result, 0, sizeof(*result));
	memset(reply, 0, sizeof(*reply));
	if (!http)
		return -ENOMEM;
	r = uploader_request(http, method, path, NULL, 0, NULL, reply);
	result->error = reply->error;
	uploader_http_free(http);
	return r;
}

int uploader_hello(const struct uploader_options *options, char ret_who[UPLOAD_WHO_MAX], struct uploader_result *result)
{
	struct uploader_reply reply;
	int r = one_request(options, "GET", "/v1", &reply, result);
	json_t *o = r == 0 ? json_loads(reply.body ? reply.body : "", 0, NULL) : NULL;
	const char *who = json_string_value(json_object_get(o, "you"));

	if (r == 0)
		snprintf(ret_who, UPLOAD_WHO_MAX, "%s", who ? who : "?");
	json_decref(o);
	uploader_reply_done(&reply);
	return r;
}

int uploader_abort(const struct uploader_options *options, const char *image, struct uploader_result *result)
{
	struct uploader_reply reply;
	char path[128];
	int r;

	for (const char *p = image; *p; p++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *p)) {
			sentence_set(&result->error, "%s is no image's name", image);
			return -EINVAL;
		}
	snprintf(path, sizeof(path), "/v1/uploads?image=%.64s", image);
	r = one_request(options, "DELETE", path, &reply, result);
	uploader_reply_done(&reply);
	return r;
}
