// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A question from a thread of the service is a `struct question` that loop_wake() carries to the loop; the thread
 * sleeps until it is answered, or until the service stops: then it goes away unanswered, and the loop frees the
 * question.
 *
 * The folder of images is opened, and old uploads are carried on, aside (core/aside.h): it may hang. Until that is done
 * the port is open, so that whoever comes waits in its queue, and nobody serves it.
 */
#include "daemon/upload/service.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/core/aside.h"
#include "daemon/core/clock.h"
#include "daemon/core/http.h"
#include "daemon/core/inet.h"
#include "daemon/core/log.h"
#include "daemon/upload/private.h"

#define UPLOAD_REFUSED_NOTED 20                  /* a minute, in the audit log */
#define OPEN_PATIENCE        (5 * 1000000000ull) /* that the folder of images may take */
#define STOP_PATIENCE        (5 * 1000000000ull) /* the same, at the end */

struct upload_service {
	struct upload_service_parts parts;
	struct upload_server *server; /* NULL: not yet */
	struct aside *aside;
	bool opening;
	uint64_t opening_since;     /* CLOCK_MONOTONIC ns */
	char problem[SENTENCE_MAX]; /* why it does not serve; "" */
	pthread_mutex_t lock;
	pthread_cond_t answered;
	unsigned int refs; /* the owner's and that of who opens the folder; under the lock */
	bool stopping;
	char images_path[256];
	struct boot_tickets *tickets; /* boot's; has locks of its own */
	time_t refused_minute;        /* that `refused` counts */
	unsigned int refused;
};

struct question {
	struct upload_service *service;
	int (*answer)(struct upload_service *service, struct question *q);
	bool changes;      /* it is answered when what it changed is on the disk */
	unsigned int refs; /* the asker's and the loop's; under the service's lock */
	bool done;
	int result;

	uint32_t address;
	char secret[BOOT_TICKET_MAX];
	bool spent;
	char who[UPLOAD_WHO_MAX];
	char name[UPLOAD_NAME_MAX];
	struct upload_image image;
	struct state_image seen; /* its file */
	struct sentence error;
};

static void question_unref(struct question *q)
{
	if (--q->refs)
		return;
	explicit_bzero(q, sizeof(*q));
	free(q);
}

static void answered(void *arg, int result)
{
	struct question *q = arg;
	struct upload_service *s = q->service;

	if (result) {
		q->result = result;
		sentence_set(&q->error, "image %s is here, but that cannot be written to the state: %s", q->image.image,
			     state_error(s->parts.state));
	}
	pthread_mutex_lock(&s->lock);
	q->done = true;
	question_unref(q);
	pthread_cond_broadcast(&s->answered);
	pthread_mutex_unlock(&s->lock);
}

static void on_loop(void *arg)
{
	struct question *q = arg;
	struct upload_service *s = q->service;
	bool gone;

	pthread_mutex_lock(&s->lock);
	gone = s->stopping;
	pthread_mutex_unlock(&s->lock);
	if (!gone)
		q->result = q->answer(s, q);
	if (!gone && q->changes && !q->result)
		state_when(s->parts.state, state_position(s->parts.state), answered, q);
	else
		answered(q, 0);
}

/* Frees nothing: the caller reads the answer, then calls drop(). */
static int ask(struct upload_service *s, struct question *q)
{
	int r = -ESHUTDOWN;

	q->service = s;
	q->refs = 1;
	pthread_mutex_lock(&s->lock);
	if (s->stopping) {
		pthread_mutex_unlock(&s->lock);
		return r;
	}
	if (loop_wake(s->parts.loop, on_loop, q)) {
		pthread_mutex_unlock(&s->lock);
		return -ENOMEM;
	}
	q->refs = 2;
	while (!q->done && !s->stopping)
		pthread_cond_wait(&s->answered, &s->lock);
	if (q->done)
		r = q->result;
	pthread_mutex_unlock(&s->lock);
	return r;
}

static void drop(struct upload_service *s, struct question *q)
{
	pthread_mutex_lock(&s->lock);
	question_unref(q);
	pthread_mutex_unlock(&s->lock);
}

static void give_error(struct upload_refusal *error, const char *text)
{
	if (error)
		sentence_set(&error->why, "%s", text);
}

/* --- who may ------------------------------------------------------------------------------------------------------*/

/* The secret of a capture script, if the header has one. */
static bool secret_of(const char *authorization, char ret[BOOT_TICKET_MAX])
{
	static const char word[] = "Ticket ";

	if (!authorization || strncmp(authorization, word, sizeof(word) - 1) != 0 ||
	    strlen(authorization + sizeof(word) - 1) != BOOT_TICKET_MAX - 1)
		return false;
	memcpy(ret, authorization + sizeof(word) - 1, BOOT_TICKET_MAX);
	return true;
}

static int answer_permit(struct upload_service *s, struct question *q)
{
	struct boot_ticket ticket;
	int r = boot_may_upload(s->parts.boot, q->address, q->secret, &ticket, &q->error);

	if (r == 0) {
		snprintf(q->who, sizeof(q->who), "%s", ticket.name);
		snprintf(q->name, sizeof(q->name), "%s", ticket.image);
		q->spent = ticket.spent;
	}
	return r;
}

static void save_tickets(struct upload_service *s)
{
	int r = boot_tickets_save(s->tickets);

	if (!r)
		return;
	log_limited(1, LOG_LEVEL_WARNING, "what PCs may upload cannot be kept in the folder of the state: %s",
		    strerror(-r));
}

/* The image that it wants to begin: is the secret for that one? */
static int claim(struct upload_service *s, const struct question *q, const char *image, struct upload_asker *ret,
		 struct upload_refusal *error)
{
	int r;

	if (q->spent)
		r = strcmp(q->name, image) ? -EACCES : 0;
	else
		r = boot_ticket_claim(s->tickets, q->secret, image);
	if (r < 0)
		return upload_fail(error, -EACCES, "client %s may upload image %s only: its secret is for no other",
				   q->who, q->name);
	ret->claimed = r > 0;
	if (r > 0)
		save_tickets(s);
	return 0;
}

static int permit_pc(struct upload_service *s, const struct upload_asking *asking, struct question *q,
		     struct upload_asker *ret, struct upload_refusal *error)
{
	int r = ask(s, q);

	if (r == -ESHUTDOWN)
		give_error(error, "the server is stopping");
	else if (r)
		give_error(error, q->error.text);
	if (r == 0 && asking->image)
		r = claim(s, q, asking->image, ret, error);
	if (r == -EACCES && error) {
		log_limited(5, LOG_LEVEL_WARNING, "an upload from %s was refused: %s", inet_text(asking->address).s,
			    error->why.text);
	}
	if (r)
		return r;
	memcpy(ret->who, q->who, sizeof(ret->who));
	ret->pc = true;
	ret->spent = q->spent;
	return 0;
}

/* A token is looked at on this thread: it takes its time. */
static int permit_operator(struct upload_service *s, const struct upload_asking *asking, struct upload_asker *ret,
			   struct upload_refusal *error)
{
	struct access_who who;
	bool gone;
	int r;

	pthread_mutex_lock(&s->lock);
	gone = s->stopping; /* the list of operators may go soon */
	pthread_mutex_unlock(&s->lock);
	if (gone) {
		give_error(error, "the server is stopping");
		return -ESHUTDOWN;
	}
	r = access_check(s->parts.access, asking->address, asking->authorization, &who, error ? &error->why : NULL);

	if (r == -EACCES)
		log_limited(3, LOG_LEVEL_WARNING, "%s sent a token that is no operator's to the upload port",
			    inet_text(asking->address).s);
	if (r == 0 && who.role < ACCESS_ROLE_ADMIN) {
		if (error)
			sentence_set(&error->why, "%s may %s, and uploads need the role admin", who.name,
				     access_role_name(who.role));
		r = -EACCES;
	}
	if (r)
		return r;
	ret->is_operator = true;
	snprintf(ret->who, sizeof(ret->who), "%.40s at %s", who.name, inet_text(asking->address).s);
	return 0;
}

static int op_permit(void *arg, const struct upload_asking *asking, struct upload_asker *ret,
		     struct upload_refusal *error)
{
	char secret[BOOT_TICKET_MAX];
	struct question *q;
	int r;

	if (!asking->authorization)
		return upload_fail(error, -EACCES,
				   "uploads need the secret that a PC gets with its capture system (start it from the "
				   "network, with upload = yes), or the token of an operator with the role admin");
	if (!secret_of(asking->authorization, secret))
		return permit_operator(arg, asking, ret, error);
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->answer = answer_permit;
	q->address = asking->address;
	memcpy(q->secret, secret, sizeof(secret));
	r = permit_pc(arg, asking, q, ret, error);
	drop(arg, q);
	return r;
}

static void op_release(void *arg, const char *authorization)
{
	struct upload_service *s = arg;
	char secret[BOOT_TICKET_MAX];

	if (!secret_of(authorization, secret))
		return;
	boot_ticket_unclaim(s->tickets, secret);
	save_tickets(s);
}

static int op_goes_on(void *arg, const char *authorization, const char *who, const char *image, bool whole)
{
	struct upload_service *s = arg;
	struct boot_ticket ticket;
	char secret[BOOT_TICKET_MAX];

	if (!secret_of(authorization, secret) || boot_ticket_check(s->tickets, secret, &ticket) ||
	    strcmp(ticket.name, who) != 0 || strcmp(ticket.image, image) != 0 || (ticket.spent && !whole))
		return -EACCES;
	return 0;
}

static void op_ended(void *arg, const char *who, const char *image)
{
	struct upload_service *s = arg;

	boot_ticket_end_upload(s->tickets, who, image);
	save_tickets(s);
}

/* --- the audit log ------------------------------------------------------------------------------------------------*/

struct told {
	struct upload_service *service;
	struct upload_event event;
};

static void tell_on_loop(void *arg)
{
	struct told *told = arg;
	struct upload_service *s = told->service;
	bool gone;

	pthread_mutex_lock(&s->lock);
	gone = s->stopping;
	pthread_mutex_unlock(&s->lock);
	if (!gone)
		s->parts.note(s->parts.arg, &told->event);
	free(told);
}

/* Strangers are refused as often as they ask: of that, some lines a minute are enough. */
static bool enough_refused(struct upload_service *s, const struct upload_event *event)
{
	time_t minute = upload_now() / 60;
	bool enough;

	if (strcmp(event->what, "refused") != 0)
		return false;
	pthread_mutex_lock(&s->lock);
	if (s->refused_minute != minute)
		s->refused = 0;
	s->refused_minute = minute;
	enough = s->refused >= UPLOAD_REFUSED_NOTED;
	s->refused += !enough;
	pthread_mutex_unlock(&s->lock);
	return enough;
}

static void op_note(void *arg, const struct upload_event *event)
{
	struct upload_service *s = arg;
	struct told *told;

	if (!s->parts.note || enough_refused(s, event))
		return;
	told = calloc(1, sizeof(*told));
	if (!told)
		return;
	told->service = s;
	told->event = *event;
	pthread_mutex_lock(&s->lock);
	if (s->stopping || loop_wake(s->parts.loop, tell_on_loop, told))
		free(told);
	pthread_mutex_unlock(&s->lock);
}

/* --- the catalogue ------------------------------------------------------------------------------------------------*/

static int answer_exists(struct upload_service *s, struct question *q)
{
	struct state_image row;

	return state_image_current(s->parts.state, q->name, &row);
}

static int op_exists(void *arg, const char *image)
{
	struct question *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return -ENOMEM;
	q->answer = answer_exists;
	snprintf(q->name, sizeof(q->name), "%s", image);
	r = ask(arg, q);
	drop(arg, q);
	return r;
}

static void find_newest(void *arg, const struct state_image *row)
{
	struct question *q = arg;

	if (strcmp(row->name, q->name) != 0 || row->generation < q->image.generation)
		return;
	q->image.generation = row->generation;
	if (snprintf(q->image.file, sizeof(q->image.file), "%s", row->file) >= (int)sizeof(q->image.file))
		q->image.file[0] = '\0'; /* no upload made that */
}

static int answer_newest(struct upload_service *s, struct question *q)
{
	int r = state_image_each(s->parts.state, find_newest, q);

	return r < 0 ? r : q->image.file[0] != '\0';
}

static int op_newest(void *arg, const char *image, char ret[UPLOAD_NAME_MAX + 16])
{
	struct question *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return -ENOMEM;
	q->answer = answer_newest;
	snprintf(q->name, sizeof(q->name), "%s", image);
	r = ask(arg, q);
	memcpy(ret, q->image.file, sizeof(q->image.file));
	drop(arg, q);
	return r;
}

/* What new boots get of the image. */
static bool becomes_current(const struct config *config, const struct upload_image *image)
{
	const struct config_image *section = config_image_find(config, image->image);

	if (section && section->upload_becomes_current != CONFIG_UNSET)
		return image->make_current || section->upload_becomes_current == CONFIG_YES;
	return image->make_current || config->upload_becomes_current;
}

static int publish_row(struct upload_service *s, struct question *q, struct state_image *row)
{
	const struct config *config = *s->parts.config;

	if (q->image.update)
		return catalogue_add_generation(s->parts.catalogue, &q->seen, becomes_current(config, &q->image), row,
						&q->error);
	/* Told again after a crash: it is there. */
	if (state_image_current(s->parts.state, q->image.image, row) > 0 && !strcmp(row->file, q->image.file))
		return 0;
	return catalogue_add(s->parts.catalogue, &q->seen, row, &q->error);
}

static int answer_publish(struct upload_service *s, struct question *q)
{
	struct state_image row, current;
	int r = publish_row(s, q, &row);

	if (r)
		return r;
	q->image.generation = row.generation;
	if (state_image_current(s->parts.state, q->image.image, &current) > 0)
		q->image.current = current.generation;
	return 0;
}

/* On this thread: the loop opens no file of images. */
static int see_file(struct upload_service *s, struct question *q)
{
	struct state_image *seen = &q->seen;

	snprintf(seen->name, sizeof(seen->name), "%s", q->image.image);
	snprintf(seen->file, sizeof(seen->file), "%s", q->image.file);
	snprintf(seen->format, sizeof(seen->format), "%s", image_format_name(q->image.format));
	return catalogue_inspect(s->images_path, seen, &q->error);
}

static int op_publish(void *arg, struct upload_image *image, struct upload_refusal *error)
{
	struct upload_service *s = arg;
	struct question *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return -ENOMEM;
	q->answer = answer_publish;
	q->changes = true;
	q->image = *image;
	r = see_file(s, q);
	if (r) {
		give_error(error, q->error.text);
		free(q);
		return r;
	}
	r = ask(s, q);
	if (r)
		give_error(error,
			   r == -ESHUTDOWN
				   ? "the server is stopping; the image is put in the catalogue at its next start"
				   : q->error.text);
	else
		*image = q->image;
	drop(s, q);
	if (r == 0 && image->pc) { /* it was for this upload */
		boot_ticket_spend(s->tickets, image->who, image->image);
		save_tickets(s);
	}
	return r;
}

static void op_log(void *arg, bool bad, const char *sentence)
{
	(void)arg;
	/* Two kinds: what goes well is not to go under in what is refused. */
	if (bad)
		log_limited(10, LOG_LEVEL_WARNING, "%s", sentence);
	else
		log_limited(20, LOG_LEVEL_NOTICE, "%.*s", LOG_LINE, sentence);
}

/* --- start and stop -----------------------------------------------------------------------------------------------*/

static void service_unref(struct upload_service *s)
{
	bool last;

	pthread_mutex_lock(&s->lock);
	last = --s->refs == 0;
	pthread_mutex_unlock(&s->lock);
	if (!last)
		return;
	boot_tickets_unref(s->tickets);
	pthread_cond_destroy(&s->answered);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

struct opening {
	struct aside_job job;
	struct upload_service *service;
	int fd;
	struct upload_ops ops;
	struct upload_store *store;
	struct upload_refusal error;
	int result;
};

static void open_work(struct aside_job *job)
{
	struct opening *o = (struct opening *)job;

	o->result = upload_store_new(&o->store, o->service->images_path, &o->ops, &o->error);
}

static void open_drop(struct aside_job *job)
{
	struct opening *o = (struct opening *)job;

	upload_store_free(o->store);
	if (o->fd >= 0)
		close(o->fd);
	service_unref(o->service);
	free(o);
}

static void set_problem(struct upload_service *s, const char *text)
{
	if (strcmp(s->problem, text) != 0)
		log_error("%s", text);
	snprintf(s->problem, sizeof(s->problem), "%s", text);
}

static void open_done(void *owner, struct aside_job *job)
{
	struct opening *o = (struct opening *)job;
	struct upload_service *s = owner;
	struct upload_owner server = {.ops = o->ops,
				      .permit = op_permit,
				      .release = op_release,
				      .goes_on = op_goes_on,
				      .ended = op_ended,
				      .note = op_note,
				      .log = op_log,
				      .tls_certificate = s->parts.tls_certificate,
				      .tls_key = s->parts.tls_key};

	s->opening = false;
	if (!o->result) {
		o->result = upload_server_new(&s->server, o->fd, o->store, &server, &o->error);
		o->store = NULL;
		o->fd = -1;
	}
	if (o->result)
		set_problem(s, o->error.why.text);
	else
		s->problem[0] = '\0';
	open_drop(job);
}

void upload_service_try(struct upload_service *s)
{
	const struct config *config = *s->parts.config;
	struct sentence error;
	struct opening *o;

	if (s->server || s->opening)
		return;
	o = calloc(1, sizeof(*o));
	if (!o)
		return;
	o->job = (struct aside_job){.work = open_work, .done = open_done, .drop = open_drop};
	o->ops = (struct upload_ops){.exists = op_exists, .newest = op_newest, .publish = op_publish, .arg = s};
	o->service = s;
	s->refs++;
	o->fd = http_listen_tcp(config->upload_port);
	if (o->fd < 0) {
		sentence_set(&error,
			     "TCP port %u for uploads cannot be opened (%s): another program may have it; see [http] "
			     "upload-port",
			     config->upload_port, strerror(-o->fd));
		set_problem(s, error.text);
		open_drop(&o->job);
		return;
	}
	s->opening = true;
	s->opening_since = clock_monotonic_ns();
	if (!aside_begin(s->aside, &o->job))
		return;
	s->opening = false;
	set_problem(s, "images cannot be received: there is no thread for it");
	open_drop(&o->job);
}

int upload_service_new(struct upload_service **ret, const struct upload_service_parts *parts)
{
	struct upload_service *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	r = aside_new(&s->aside, parts->loop, 1, s);
	if (r) {
		free(s);
		return r;
	}
	s->parts = *parts;
	s->refs = 1;
	snprintf(s->images_path, sizeof(s->images_path), "%s", (*parts->config)->images_path);
	s->tickets = boot_tickets(parts->boot);
	boot_tickets_ref(s->tickets);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->answered, NULL);
	upload_service_try(s);
	*ret = s;
	return 0;
}

/* The server's end waits for its threads, and they for the folder. */
struct ending {
	struct aside_job job;
	struct upload_service *service; /* what the threads ask is there as long as they are */
	struct upload_server *server;
};

static void end_work(struct aside_job *job)
{
	upload_server_free(((struct ending *)job)->server);
}

static void end_drop(struct aside_job *job)
{
	service_unref(((struct ending *)job)->service);
	free(job);
}

static void end_done(void *owner, struct aside_job *job)
{
	(void)owner;
	end_drop(job);
}

static void end_server(struct upload_service *s)
{
	struct ending *e = s->server ? calloc(1, sizeof(*e)) : NULL;

	if (e) {
		e->job = (struct aside_job){.work = end_work, .done = end_done, .drop = end_drop};
		e->service = s;
		e->server = s->server;
		pthread_mutex_lock(&s->lock);
		s->refs++;
		pthread_mutex_unlock(&s->lock);
		s->server = NULL;
		if (aside_begin(s->aside, &e->job)) {
			end_work(&e->job);
			end_drop(&e->job);
		} else if (!aside_wait(s->aside, clock_monotonic_ns() + STOP_PATIENCE)) {
			log_warning(
				"uploads are left behind: the folder of images %s does not answer; they can be gone "
				"on with after the next start",
				s->images_path);
		}
	}
	upload_server_free(s->server);
	s->server = NULL;
}

void upload_service_stop(struct upload_service *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_broadcast(&s->answered);
	pthread_mutex_unlock(&s->lock);
	end_server(s);
	aside_free(s->aside);
	s->aside = NULL;
}

void upload_service_free(struct upload_service *s)
{
	if (s)
		service_unref(s);
}

bool upload_service_serves(const struct upload_service *s)
{
	return s->server;
}

const char *upload_service_problem(struct upload_service *s)
{
	struct sentence slow;

	if (!s)
		return NULL;
	if (s->opening && clock_monotonic_ns() - s->opening_since > OPEN_PATIENCE) {
		sentence_set(&slow,
			     "images cannot be received into %s: it does not answer; is the disk or the server that it "
			     "lies on there?",
			     s->images_path);
		set_problem(s, slow.text);
	}
	return s->problem[0] ? s->problem : NULL;
}

struct upload_store *upload_service_store(struct upload_service *s)
{
	return s && s->server ? upload_server_store(s->server) : NULL;
}
