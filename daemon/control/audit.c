// SPDX-License-Identifier: GPL-2.0-or-later
/* Lines are appended one after the other by whichever helper thread has the lock; a line is one write(2). */
#include "daemon/control/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/core/http.h"
#include "daemon/core/inet.h"
#include "daemon/core/log.h"
#include "daemon/core/loop.h"

struct audit {
	struct loop *loop;
	char path[300], old[310];
	pthread_mutex_t lock; /* of the file */
	bool failed;          /* it was said */
	bool stopped;
};

struct work {
	struct audit *audit;
	char *text; /* the line, or the answer */
	struct http_request *request;
};

static int append(struct audit *a, const char *line)
{
	int fd = open(a->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600), r = 0;
	size_t length = strlen(line);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (!fstat(fd, &st) && st.st_size > AUDIT_SIZE) {
		rename(a->path, a->old);
		close(fd);
		fd = open(a->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return -errno;
	}
	if (write(fd, line, length) != (ssize_t)length || fdatasync(fd))
		r = errno ? -errno : -EIO;
	close(fd);
	return r;
}

static int write_work(void *arg)
{
	struct work *w = arg;
	int r;

	pthread_mutex_lock(&w->audit->lock);
	r = append(w->audit, w->text);
	pthread_mutex_unlock(&w->audit->lock);
	return r;
}

static void written(void *arg, int result)
{
	struct work *w = arg;

	if (result && !w->audit->failed)
		log_limited(2, LOG_LEVEL_ERROR, "a change cannot be written to %s: %s", w->audit->path,
			    strerror(-result));
	w->audit->failed = result;
	free(w->text);
	free(w);
}

json_t *audit_upload(const struct upload_event *event)
{
	bool refused = !strcmp(event->what, "refused");
	char time_text[32], path[160];
	time_t now = time(NULL);
	struct tm tm;
	json_t *o, *u;

	gmtime_r(&now, &tm);
	strftime(time_text, sizeof(time_text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	snprintf(path, sizeof(path), "%s %s", event->what, event->file[0] ? event->file : event->image);
	u = json_pack("{s:s, s:s, s:s, s:b, s:I}", "event", event->what, "image", event->image, "file", event->file,
		      "update", event->update, "size", (json_int_t)event->size);
	if (event->generation)
		json_object_update_new(u, json_pack("{s:I, s:I}", "generation", (json_int_t)event->generation,
						    "current", (json_int_t)event->current));
	if (!strcmp(event->what, "end"))
		json_object_set_new(u, "bytes", json_integer((json_int_t)event->bytes));
	if (refused)
		json_object_set_new(u, "why", json_string_nocheck(event->why));
	o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:o}", "time", time_text, "who",
		      event->who[0] ? event->who : "nobody", "from", inet_text(event->address).s, "method", "upload",
		      "path", path, "status", refused ? 403 : 200, "upload", u);
	return o;
}

void audit_write(struct audit *a, json_t *change)
{
	struct work *w = calloc(1, sizeof(*w));
	char *text = change ? json_dumps(change, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;

	json_decref(change);
	if (w && text && asprintf(&w->text, "%s\n", text) > 0) {
		w->audit = a;
		free(text);
		if (loop_work(a->loop, write_work, written, w))
			written(w, -ENOMEM);
		return;
	}
	log_limited(2, LOG_LEVEL_ERROR, "a change is not in %s: out of memory", a->path);
	free(text);
	free(w);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* The lines of a file as an array's members, without those that a crash cut off. */
static void read_lines(const char *path, json_t *list)
{
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t room = 0;

	while (file && getline(&line, &room, file) > 0) {
		json_t *change = json_loads(line, 0, NULL);

		if (!change)
			continue;
		json_array_append_new(list, change);
		if (json_array_size(list) > 2 * AUDIT_SHOWN)
			for (unsigned int i = 0; i < AUDIT_SHOWN; i++)
				json_array_remove(list, 0);
	}
	free(line);
	if (file)
		fclose(file);
}

static int read_work(void *arg)
{
	struct work *w = arg;
	json_t *list = json_array();

	pthread_mutex_lock(&w->audit->lock);
	read_lines(w->audit->old, list);
	read_lines(w->audit->path, list);
	pthread_mutex_unlock(&w->audit->lock);
	while (json_array_size(list) > AUDIT_SHOWN)
		json_array_remove(list, 0);
	w->text = json_dumps(list, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(list);
	return w->text ? 0 : -ENOMEM;
}

static void was_read(void *arg, int result)
{
	struct work *w = arg;

	/* When the servers have stopped who asked was answered. */
	if (!w->audit->stopped) {
		if (result)
			http_reply(w->request, 500, "text/plain", "out of memory\n", 14);
		else
			http_reply(w->request, 200, "application/json", w->text, strlen(w->text));
	}
	free(w->text);
	free(w);
}

void audit_reply(struct audit *a, struct http_request *request)
{
	struct work *w = calloc(1, sizeof(*w));

	if (w) {
		w->audit = a;
		w->request = request;
		if (!loop_work(a->loop, read_work, was_read, w))
			return;
	}
	free(w);
	http_reply(request, 500, "text/plain", "out of memory\n", 14);
}

int audit_new(struct audit **ret, struct loop *loop, const char *folder)
{
	struct audit *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->loop = loop;
	snprintf(a->path, sizeof(a->path), "%s/audit.log", folder);
	snprintf(a->old, sizeof(a->old), "%s.1", a->path);
	pthread_mutex_init(&a->lock, NULL);
	*ret = a;
	return 0;
}

void audit_stop(struct audit *a)
{
	if (a)
		a->stopped = true;
}

void audit_free(struct audit *a)
{
	if (!a)
		return;
	pthread_mutex_destroy(&a->lock);
	free(a);
}
