// SPDX-License-Identifier: GPL-2.0-or-later
/* Lines are appended one after the other on a thread aside (core/aside.h); a line is one write(2). */
#include "daemon/control/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/core/aside.h"
#include "daemon/core/clock.h"
#include "daemon/core/http.h"
#include "daemon/core/inet.h"
#include "daemon/core/log.h"
#include "daemon/core/loop.h"

#define AUDIT_WAITING 1024                /* lines that wait for the disk */
#define AUDIT_END_NS  (2 * 1000000000ull) /* that the end waits for them */

struct audit {
	struct aside *aside; /* one line after the other; a disk that hangs holds nobody else */
	unsigned int waiting;
	char path[300], old[310];
	bool failed; /* it was said */
	bool stopped;
};

struct work {
	struct aside_job job;
	char path[300], old[310];
	int result;
	char *text; /* the line, or the answer */
	struct http_request *request;
};

static int append(const struct work *a, const char *line)
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

static void write_work(struct aside_job *job)
{
	struct work *w = (struct work *)job;

	w->result = append(w, w->text);
}

static void work_drop(struct aside_job *job)
{
	free(((struct work *)job)->text);
	free(job);
}

static void written(void *owner, struct aside_job *job)
{
	struct audit *a = owner;
	int result = ((struct work *)job)->result;

	a->waiting--;
	if (result && !a->failed)
		log_limited(2, LOG_LEVEL_ERROR, "a change cannot be written to %s: %s", a->path, strerror(-result));
	a->failed = result;
	work_drop(job);
}

static bool begin(struct audit *a, struct work *w, void (*work)(struct aside_job *job),
		  void (*done)(void *owner, struct aside_job *job))
{
	if (a->stopped || a->waiting >= AUDIT_WAITING)
		return false;
	w->job = (struct aside_job){.work = work, .done = done, .drop = work_drop};
	memcpy(w->path, a->path, sizeof(w->path));
	memcpy(w->old, a->old, sizeof(w->old));
	if (aside_begin(a->aside, &w->job))
		return false;
	a->waiting++;
	return true;
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
	if (w && text && asprintf(&w->text, "%s\n", text) > 0 && begin(a, w, write_work, written)) {
		free(text);
		return;
	}
	log_limited(2, LOG_LEVEL_ERROR, "a change is not in %s: %s", a->path,
		    a->waiting >= AUDIT_WAITING ? "its disk does not answer" : "out of memory");
	free(text);
	if (w)
		work_drop(&w->job);
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

static void read_work(struct aside_job *job)
{
	struct work *w = (struct work *)job;
	json_t *list = json_array();

	read_lines(w->old, list);
	read_lines(w->path, list);
	while (json_array_size(list) > AUDIT_SHOWN)
		json_array_remove(list, 0);
	w->text = json_dumps(list, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(list);
}

static void was_read(void *owner, struct aside_job *job)
{
	struct work *w = (struct work *)job;
	struct audit *a = owner;

	a->waiting--;
	/* When the servers have stopped who asked was answered. */
	if (!a->stopped && !w->text)
		http_reply(w->request, 500, "text/plain", "out of memory\n", 14);
	else if (!a->stopped)
		http_reply(w->request, 200, "application/json", w->text, strlen(w->text));
	work_drop(job);
}

void audit_reply(struct audit *a, struct http_request *request)
{
	struct work *w = calloc(1, sizeof(*w));

	if (w) {
		w->request = request;
		if (begin(a, w, read_work, was_read))
			return;
	}
	free(w);
	http_reply(request, 503, "text/plain", "the audit log does not answer\n", 30);
}

int audit_new(struct audit **ret, struct loop *loop, const char *folder)
{
	struct audit *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	r = aside_new(&a->aside, loop, 1, a);
	if (r) {
		free(a);
		return r;
	}
	snprintf(a->path, sizeof(a->path), "%s/audit.log", folder);
	snprintf(a->old, sizeof(a->old), "%s.1", a->path);
	*ret = a;
	return 0;
}

void audit_stop(struct audit *a)
{
	const uint64_t until = clock_monotonic_ns() + AUDIT_END_NS;

	if (!a || a->stopped)
		return;
	while (a->waiting && aside_wait(a->aside, until))
		;
	a->stopped = true;
	if (a->waiting)
		log_warning("%u changes are not in %s: its disk does not answer", a->waiting, a->path);
	aside_free(a->aside);
	a->aside = NULL;
}

void audit_free(struct audit *a)
{
	audit_stop(a);
	free(a);
}
