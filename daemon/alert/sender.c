// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The process that sends, and its children. It holds no secret and no state: a job has all that is needed but the
 * password, which the job's process reads from its file.
 */
#include "daemon/alert/sender.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/core/clock.h"
#include "daemon/core/confine.h"

#define TICK_MS 200 /* while jobs are at work */

struct running {
	pid_t pid; /* 0: free */
	json_int_t id;
	uint64_t deadline; /* CLOCK_MONOTONIC, ns */
};

static void reply(int fd, json_int_t id, bool ok, const char *answer)
{
	json_t *o = json_pack("{s:I, s:b, s:s%}", "id", id, "ok", ok, "answer", answer, strlen(answer));
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

	if (text && send(fd, text, strlen(text), MSG_NOSIGNAL) < 0) {
		/* bootwelld has ended, or does not read: it takes silence for a failure */
	}
	free(text);
	json_decref(o);
}

/* --- a job's process ---------------------------------------------------------------------------------------------- */

static bool set_limits(void)
{
	const struct rlimit core = {0, 0}, cpu = {ALERT_JOB_SECONDS, ALERT_JOB_SECONDS}, files = {64, 64},
			    size = {1 << 20, 1 << 20};

	return !setrlimit(RLIMIT_CORE, &core) && !setrlimit(RLIMIT_CPU, &cpu) && !setrlimit(RLIMIT_NOFILE, &files) &&
	       !setrlimit(RLIMIT_FSIZE, &size);
}

/* It may read, connect, and of a command start programs; it writes nothing. */
static int enter_sandbox(const char *command)
{
	struct confine files = {.write = {"/dev/null"}, .connect = true};
	int r;

	if (command)
		files = (struct confine){.write = {"/dev/null"},
					 .run = {"/usr", "/bin", "/sbin", "/lib", "/lib64", command},
					 .connect = true};
	if (!set_limits())
		return -errno;
	r = confine_files(&files);
	return r < 0 ? r : confine_calls();
}

/* What goes to a terminal or a log is one line of printable ASCII. */
static void make_plain(char *text)
{
	size_t n = strlen(text);

	while (n && (text[n - 1] == '\n' || text[n - 1] == '\r' || text[n - 1] == ' '))
		text[--n] = '\0';
	for (; *text; text++)
		if (*text < 0x20 || *text > 0x7e)
			*text = *text == '\n' || *text == '\t' ? ' ' : '?';
}

static void __attribute__((noreturn)) do_job(int fd, const json_t *job)
{
	const char *way = json_string_value(json_object_get(job, "way"));
	const char *command = json_string_value(json_object_get(job, "path"));
	char answer[ALERT_ANSWER_MAX] = "there is no such way";
	bool ok = false;
	int r;

	setsid(); /* a group of its own, which can be ended as a whole */
	r = enter_sandbox(way && !strcmp(way, "command") ? command : NULL);
	if (r < 0)
		snprintf(answer, sizeof(answer), "the sandbox cannot be made: %s", strerror(-r));
	else if (way && !strcmp(way, "mail"))
		ok = alert_send_mail(job, answer);
	else if (way && !strcmp(way, "webhook"))
		ok = alert_send_hook(job, answer);
	else if (way && !strcmp(way, "command"))
		ok = alert_send_command(job, answer);
	make_plain(answer);
	reply(fd, json_integer_value(json_object_get(job, "id")), ok, answer);
	_exit(0);
}

/* `pidof` and `pgrep -x bootwelld` are to find bootwelld alone: its name, and the word that it was started by. */
static void rename_process(void)
{
	char *word = strrchr(program_invocation_name, '/');

	prctl(PR_SET_NAME, "bootwelld-alert");
	word = word ? word + 1 : program_invocation_name;
	strncpy(word, "bootalert", strlen(word)); /* in place: no longer than it is */
}

/* --- the process that reads jobs ---------------------------------------------------------------------------------- */

static void begin_job(int fd, struct running running[ALERT_JOBS_MAX], const char *text, size_t length)
{
	json_t *job = json_loadb(text, length, 0, NULL);
	json_int_t id = json_integer_value(json_object_get(job, "id"));
	struct running *r = NULL;
	pid_t pid = -1;

	for (unsigned int i = 0; i < ALERT_JOBS_MAX; i++)
		if (!running[i].pid)
			r = &running[i];
	if (job && r)
		pid = fork();
	if (pid == 0)
		do_job(fd, job);
	if (pid < 0)
		reply(fd, id, false, r ? "no process can be made for it" : "too many are being sent");
	else
		*r = (struct running){pid, id, clock_monotonic_ns() + ALERT_JOB_SECONDS * CLOCK_NS};
	json_decref(job);
}

/* Returns how many are still at work. */
static unsigned int look_after(int fd, struct running running[ALERT_JOBS_MAX])
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < ALERT_JOBS_MAX; i++) {
		struct running *r = &running[i];
		int status;

		if (!r->pid)
			continue;
		if (clock_monotonic_ns() > r->deadline) {
			kill(-r->pid, SIGKILL);
			kill(r->pid, SIGKILL);
		}
		if (waitpid(r->pid, &status, WNOHANG) != r->pid) {
			n++;
			continue;
		}
		kill(-r->pid, SIGKILL); /* what a command has left behind */
		if (!WIFEXITED(status) || WEXITSTATUS(status))
			reply(fd, r->id, false, "the process that sent it was ended: it took too long, or failed");
		r->pid = 0;
	}
	return n;
}

static void __attribute__((noreturn)) serve(int fd)
{
	static char text[ALERT_JOB_MAX];
	struct running running[ALERT_JOBS_MAX] = {0};
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	unsigned int at_work = 0;

	for (;;) {
		int r = poll(&poll_fd, 1, at_work ? TICK_MS : -1);
		ssize_t n = r > 0 ? recv(fd, text, sizeof(text), 0) : -1;

		if (r > 0 && n == 0)
			_exit(0); /* bootwelld has ended */
		if (n > 0)
			begin_job(fd, running, text, (size_t)n);
		at_work = look_after(fd, running);
	}
}

static bool become(const char *name)
{
	const struct passwd *user = name[0] && geteuid() == 0 ? getpwnam(name) : NULL;

	if (user && (setgroups(0, NULL) || setresgid(user->pw_gid, user->pw_gid, user->pw_gid) ||
		     setresuid(user->pw_uid, user->pw_uid, user->pw_uid)))
		return false;
	capng_clear(CAPNG_SELECT_BOTH);
	return !capng_apply(CAPNG_SELECT_CAPS) && !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int alert_sender_start(const char *user)
{
	int fd[2], null;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		int r = -errno;

		close(fd[0]);
		close(fd[1]);
		return r;
	}
	if (pid > 0) {
		close(fd[1]);
		fcntl(fd[0], F_SETFL, O_NONBLOCK);
		return fd[0];
	}
	close(fd[0]);
	unsetenv("NOTIFY_SOCKET");
	signal(SIGINT, SIG_IGN); /* of a terminal: it ends with bootwelld */
	signal(SIGTERM, SIG_DFL);
	rename_process();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (!become(user) || null < 0 || dup2(null, STDIN_FILENO) < 0)
		_exit(1);
	serve(fd[1]);
}
