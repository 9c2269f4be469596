// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A question from a thread of the service is a `struct question` that loop_wake() carries to the loop; the thread sleeps
 * until it is answered, or until the service stops: then it goes away unanswered, and the loop frees the question. The
 * loop's own thread (at the start, when old uploads are carried on) answers itself.
 */
#include "daemon/upload_service.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/http.h"
#include "daemon/log.h"

struct upload_service {
	struct upload_service_parts parts;
	struct upload_server *server;
	pthread_t loop_thread;
	pthread_mutex_t lock;
	pthread_cond_t answered;
	bool stopping;
};

struct question {
	struct upload_service *service;
	int (*answer)(struct upload_service *service, struct question *q);
	unsigned int refs; /* the asker's and the loop's; under the service's lock */
	bool done;
	int result;

	uint32_t address;
	char token[128];
	bool has_token;
	char who[UPLOAD_WHO_MAX];
	char name[UPLOAD_NAME_MAX];
	struct upload_image image;
	char error[BOOT_ERROR_MAX > CATALOGUE_ERROR_MAX ? BOOT_ERROR_MAX : CATALOGUE_ERROR_MAX];
};

static void question_unref(struct question *q)
{
	if (--q->refs == 0)
		free(q);
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
	pthread_mutex_lock(&s->lock);
	q->done = true;
	question_unref(q);
	pthread_cond_broadcast(&s->answered);
	pthread_mutex_unlock(&s->lock);
}

/* Frees nothing: the caller reads the answer, then calls drop(). */
static int ask(struct upload_service *s, struct question *q)
{
	int r = -ESHUTDOWN;

	q->service = s;
	q->refs = 2;
	if (pthread_equal(pthread_self(), s->loop_thread)) {
		q->refs = 1;
		return q->answer(s, q);
	}
	if (loop_wake(s->parts.loop, on_loop, q)) {
		q->refs = 1;
		return -ENOMEM;
	}
	pthread_mutex_lock(&s->lock);
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

static void give_error(struct upload_error *error, const char *text)
{
	if (error)
		snprintf(error->text, sizeof(error->text), "%.500s", text);
}

/* --- who may ------------------------------------------------------------------------------------------------------*/

static bool same_secret(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	unsigned char different = n != m;

	for (size_t i = 0; i < n; i++)
		different |= (unsigned char)(a[i] ^ b[m ? i % m : 0]);
	return !different;
}

static int answer_permit(struct upload_service *s, struct question *q)
{
	const struct config *config = *s->parts.config;
	char name[CONFIG_HOST_MAX];
	int r;

	if (q->has_token && config->token[0] && same_secret(q->token, config->token)) {
		snprintf(q->who, sizeof(q->who), "operator at %u.%u.%u.%u", q->address >> 24, q->address >> 16 & 0xff,
			 q->address >> 8 & 0xff, q->address & 0xff);
		return 0;
	}
	if (q->has_token) {
		snprintf(q->error, sizeof(q->error), "the token is not the one of [http] token");
		return -EACCES;
	}
	r = boot_may_upload(s->parts.boot, q->address, name, q->error);
	if (r == 0)
		snprintf(q->who, sizeof(q->who), "%s", name);
	return r;
}

static int op_permit(void *arg, uint32_t address, const char *token, char ret_who[UPLOAD_WHO_MAX], struct upload_error *error)
{
	struct question *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return -ENOMEM;
	q->answer = answer_permit;
	q->address = address;
	q->has_token = token != NULL;
	snprintf(q->token, sizeof(q->token), "%s", token ? token : "");
	r = ask(arg, q);
	if (r == 0)
		memcpy(ret_who, q->who, UPLOAD_WHO_MAX);
	else
		give_error(error, r == -ESHUTDOWN ? "the server is stopping" : q->error);
	drop(arg, q);
	return r;
}

/* --- the catalogue ------------------------------------------------------------------------------------------------*/

static int answer_exists(struct upload_service *s, struct question *q)
{
	struct store_image row;

	return store_image_current(s->parts.store, q->name, &row);
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

static int answer_publish(struct upload_service *s, struct question *q)
{
	const struct config *config = *s->parts.config;
	const char *format = image_format_name(q->image.format);
	struct store_image row;

	if (q->image.update)
		return catalogue_add_generation(s->parts.catalogue, config, q->image.image, q->image.file, format, &row,
						q->error);
	/* Told again after a crash: it is there. */
	if (store_image_current(s->parts.store, q->image.image, &row) > 0 && !strcmp(row.file, q->image.file))
		return 0;
	return catalogue_add(s->parts.catalogue, config, q->image.image, q->image.file, format, 0, &row, q->error);
}

static int op_publish(void *arg, const struct upload_image *image, struct upload_error *error)
{
	struct question *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return -ENOMEM;
	q->answer = answer_publish;
	q->image = *image;
	r = ask(arg, q);
	if (r)
		give_error(error, r == -ESHUTDOWN ? "the server is stopping; the image is put in the catalogue at its next start" :
						    q->error);
	drop(arg, q);
	return r;
}

static void op_log(void *arg, bool bad, const char *sentence)
{
	static struct log_limit limit;
	struct upload_service *s = arg;

	pthread_mutex_lock(&s->lock);
	log_limited(&limit, 20, bad ? LOG_LEVEL_WARNING : LOG_LEVEL_NOTICE, "%s", sentence);
	pthread_mutex_unlock(&s->lock);
}

/* --- start and stop -----------------------------------------------------------------------------------------------*/

static void service_free(struct upload_service *s)
{
	pthread_cond_destroy(&s->answered);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int upload_service_new(struct upload_service **ret, const struct upload_service_parts *parts, struct upload_error *error)
{
	struct upload_owner owner = {.ops = {.exists = op_exists, .publish = op_publish}, .permit = op_permit, .log = op_log};
	const struct config *config = *parts->config;
	struct upload_service *s;
	int fd = http_listen_tcp(config->upload_port), r;

	if (fd < 0) {
		snprintf(error->text, sizeof(error->text),
			 "TCP port %u for uploads cannot be opened (%s): another program may have it; see [http] upload-port",
			 config->upload_port, strerror(-fd));
		return fd;
	}
	s = calloc(1, sizeof(*s));
	if (!s) {
		close(fd);
		return -ENOMEM;
	}
	s->parts = *parts;
	s->loop_thread = pthread_self();
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->answered, NULL);
	owner.ops.arg = s;
	r = upload_server_new(&s->server, fd, config->images_path, &owner, error);
	if (r) {
		close(fd);
		service_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void upload_service_stop(struct upload_service *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_broadcast(&s->answered);
	pthread_mutex_unlock(&s->lock);
	upload_server_free(s->server);
	s->server = NULL;
}

void upload_service_free(struct upload_service *s)
{
	if (s)
		service_free(s);
}

struct upload_store *upload_service_store(struct upload_service *s)
{
	return upload_server_store(s->server);
}
