// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * By a command of the administrator's: started as it is, without a shell, in the job's sandbox, with the message on its
 * standard input and its words in the environment. Of its output the beginning is kept; the rest is read, so that it
 * does not wait, and forgotten.
 */
#include "daemon/alert/sender.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/alert/message.h"
#include "daemon/core/clock.h"

#define VARIABLES 9

struct program {
	char variable[VARIABLES][700];
	char *environment[VARIABLES + 1], *words[4];
};

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

static void describe(struct program *p, const json_t *job)
{
	static char safe_path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	const json_t *m = json_object_get(job, "message");
	static const char *const row[][2] = {{"BOOTWELL_EVENT", "event"}, {"BOOTWELL_ALERT", "alert"},
					     {"BOOTWELL_LEVEL", "level"}, {"BOOTWELL_SERVER", "server"},
					     {"BOOTWELL_HOST", "host"},   {"BOOTWELL_TIME", "time"}};
	char title[400];
	unsigned int n = 0;

	p->environment[n++] = safe_path;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		snprintf(p->variable[n], sizeof(p->variable[n]), "%s=%.600s", row[i][0], text_of(m, row[i][1]));
		p->environment[n] = p->variable[n];
		n++;
	}
	alert_message_title(m, title, sizeof(title));
	snprintf(p->variable[n], sizeof(p->variable[n]), "BOOTWELL_TITLE=%s", title);
	p->environment[n] = p->variable[n];
	p->environment[n + 1] = NULL;
	p->words[0] = (char *)text_of(job, "path");
	p->words[1] = (char *)text_of(m, "event");
	p->words[2] = (char *)text_of(m, "alert");
	p->words[3] = NULL;
}

static void __attribute__((noreturn)) run(struct program *p, int in, int out)
{
	signal(SIGPIPE, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 && dup2(out, STDERR_FILENO) >= 0)
		execve(p->words[0], p->words, p->environment);
	dprintf(out, "cannot be started: %s", strerror(errno));
	_exit(127);
}

struct talk {
	int in, out; /* our ends; -1: closed */
	const char *text;
	size_t length, at;
	char said[ALERT_OUTPUT_MAX];
	size_t heard;
	uint64_t deadline;
};

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void hear(struct talk *t)
{
	char some[4096];
	ssize_t n = read(t->out, some, sizeof(some));
	size_t room = sizeof(t->said) - 1 - t->heard;

	if (n <= 0) {
		close_end(&t->out);
		return;
	}
	if ((size_t)n < room)
		room = (size_t)n;
	memcpy(t->said + t->heard, some, room);
	t->heard += room;
}

static void tell(struct talk *t)
{
	ssize_t n = write(t->in, t->text + t->at, t->length - t->at);

	if (n > 0)
		t->at += (size_t)n;
	if (n < 0 || t->at == t->length)
		close_end(&t->in);
}

/* False: its time was over. */
static bool converse(struct talk *t)
{
	while (t->out >= 0) {
		struct pollfd fd[2] = {{.fd = t->out, .events = POLLIN}, {.fd = t->in, .events = POLLOUT}};
		uint64_t now = clock_monotonic_ns();

		if (now >= t->deadline)
			return false;
		if (poll(fd, 2, (int)((t->deadline - now) / 1000000) + 1) < 0 && errno != EINTR)
			return false;
		if (fd[0].revents)
			hear(t);
		if (t->in >= 0 && fd[1].revents)
			tell(t);
	}
	return true;
}

/* It may have closed its output and go on. */
static bool wait_for(pid_t pid, uint64_t deadline, int *status)
{
	const struct timespec pause = {.tv_nsec = 20000000};

	while (waitpid(pid, status, WNOHANG) != pid) {
		if (clock_monotonic_ns() >= deadline)
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}

static bool attend(struct talk *t, pid_t pid, char answer[ALERT_ANSWER_MAX])
{
	int status = 0;
	bool ended = converse(t) && wait_for(pid, t->deadline, &status);

	t->said[t->heard] = '\0';
	if (!ended) {
		kill(-pid, SIGKILL);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		snprintf(answer, ALERT_ANSWER_MAX, "it did not end within %u s and was killed", ALERT_COMMAND_SECONDS);
	} else if (WIFEXITED(status)) {
		snprintf(answer, ALERT_ANSWER_MAX, "it ended with %d%s%.200s", WEXITSTATUS(status),
			 t->heard ? ": " : "", t->said);
	} else {
		snprintf(answer, ALERT_ANSWER_MAX, "it was ended by signal %d", WTERMSIG(status));
	}
	return ended && WIFEXITED(status) && !WEXITSTATUS(status);
}

bool alert_send_command(const json_t *job, char answer[ALERT_ANSWER_MAX])
{
	char *body = json_dumps(json_object_get(job, "message"), JSON_COMPACT | JSON_PRESERVE_ORDER);
	struct program p = {0};
	struct talk t = {.in = -1, .out = -1, .text = body};
	int in[2] = {-1, -1}, out[2] = {-1, -1};
	pid_t pid = -1;
	bool ok = false;

	signal(SIGPIPE, SIG_IGN);
	snprintf(answer, ALERT_ANSWER_MAX, "no process can be made for it");
	if (body && !pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC)) {
		describe(&p, job);
		pid = fork();
	}
	if (pid == 0) {
		setpgid(0, 0); /* killed with all that it starts */
		run(&p, in[0], out[1]);
	}
	close_end(&in[0]);
	close_end(&out[1]);
	t.in = in[1];
	t.out = out[0];
	if (pid > 0) {
		t.length = strlen(body);
		t.deadline = clock_monotonic_ns() + ALERT_COMMAND_SECONDS * CLOCK_NS;
		fcntl(t.in, F_SETFL, O_NONBLOCK);
		ok = attend(&t, pid, answer);
		kill(-pid, SIGKILL);
	}
	close_end(&t.in);
	close_end(&t.out);
	free(body);
	return ok;
}
