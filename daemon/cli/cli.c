// SPDX-License-Identifier: GPL-2.0-or-later
/* What subcommands share: a question to bootwelld over its unix socket, as HTTP/1.0, and text for a person. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/cli/cli.h"
#include "daemon/cli/private.h"

#define ANSWER_MAX  (64 << 20)
#define ANSWER_WAIT 60 /* s; a scan for DHCP servers takes a few */

int cli_usage(const char *text)
{
	fprintf(stderr, "usage: bootwell %s\n", text);
	return CLI_USAGE;
}

void cli_report_mistake(void *arg, const char *file, unsigned int line, const char *message)
{
	(void)arg;
	if (line)
		fprintf(stderr, "%s:%u: %s\n", file, line, message);
	else
		fprintf(stderr, "%s: %s\n", file, message);
}

bool cli_any_image(void *arg, const struct config *config, const char *name)
{
	(void)arg;
	(void)config;
	(void)name;
	return true;
}

static const char *socket_path(void)
{
	const char *path = getenv("BOOTWELL_SOCKET");

	return path && *path ? path : "/run/bootwell/control";
}

static int connect_daemon(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct timeval wait = {.tv_sec = ANSWER_WAIT};
	int fd;

	if (strlen(socket_path()) >= sizeof(un.sun_path)) {
		fprintf(stderr, "bootwell: the socket's path %s is too long\n", socket_path());
		return -1;
	}
	strcpy(un.sun_path, socket_path());
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&un, sizeof(un))) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
		return fd;
	}
	if (errno == EACCES)
		fprintf(stderr, "bootwell: %s may only be used by root\n", un.sun_path);
	else
		fprintf(stderr,
			"bootwell: bootwelld does not answer on %s (%s): is it running? "
			"\"systemctl status bootwell\"\n",
			un.sun_path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

bool cli_daemon_runs(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool answers;

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", socket_path());
	answers = fd >= 0 && !connect(fd, (struct sockaddr *)&un, sizeof(un));
	if (fd >= 0)
		close(fd);
	return answers;
}

static bool send_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		data += n;
		size -= n;
	}
	return true;
}

/* Everything until the daemon closes; malloc()ed with a NUL. */
static char *receive_all(int fd, size_t *ret_length)
{
	size_t length = 0, room = 65536;
	char *text = malloc(room);

	while (text) {
		ssize_t n = recv(fd, text + length, room - length - 1, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			free(text);
			return NULL;
		}
		length += n;
		if (n == 0) {
			text[length] = '\0';
			*ret_length = length;
			return text;
		}
		if (room - length < 4096) {
			char *more = room < ANSWER_MAX ? realloc(text, room *= 2) : NULL;

			if (!more)
				free(text);
			text = more;
		}
	}
	return NULL;
}

/* HTTP/1.0: the answer ends when the connection does. *ret_body is within the returned text. */
static char *exchange(const char *method, const char *path, const char *body, int *ret_status, const char **ret_body)
{
	char head[1024];
	size_t length;
	char *answer = NULL;
	const char *end;
	int fd = connect_daemon();

	if (fd < 0)
		return NULL;
	snprintf(head, sizeof(head),
		 "%s %.700s HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\nContent-Length: "
		 "%zu\r\n\r\n",
		 method, path, body ? strlen(body) : 0);
	if (send_all(fd, head, strlen(head)) && (!body || send_all(fd, body, strlen(body))))
		answer = receive_all(fd, &length);
	close(fd);
	end = answer ? strstr(answer, "\r\n\r\n") : NULL;
	if (!end || sscanf(answer, "HTTP/1.%*d %d", ret_status) != 1) {
		fprintf(stderr, "bootwell: bootwelld ended the conversation early; see "
				"\"journalctl -u bootwell\"\n");
		free(answer);
		return NULL;
	}
	*ret_body = end + 4;
	return answer;
}

int cli_ask(const char *method, const char *path, json_t *body, json_t **ret)
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL, *answer;
	const char *answer_body;
	json_t *json;
	int status;

	json_decref(body);
	answer = exchange(method, path, text, &status, &answer_body);
	free(text);
	if (!answer)
		return CLI_FAILED;
	json = json_loads(answer_body, 0, NULL);
	free(answer);
	if (status == 200 && json) {
		*ret = json;
		return CLI_OK;
	}
	fprintf(stderr, "bootwell: %s\n", cli_text(json, "error", "bootwelld's answer makes no sense"));
	json_decref(json);
	return CLI_FAILED;
}

int cli_ask_text(const char *method, const char *path, char **ret)
{
	const char *body;
	int status;
	char *answer = exchange(method, path, NULL, &status, &body);

	if (!answer)
		return CLI_FAILED;
	if (status != 200) {
		fprintf(stderr, "bootwell: bootwelld answered with status %d\n", status);
		free(answer);
		return CLI_FAILED;
	}
	memmove(answer, body, strlen(body) + 1);
	*ret = answer;
	return CLI_OK;
}

void cli_escape(char *ret, size_t size, const char *text)
{
	size_t n = 0;

	for (; *text && n + 4 < size; text++) {
		if (isalnum((unsigned char)*text) || strchr("._-", *text))
			ret[n++] = *text;
		else
			n += sprintf(ret + n, "%%%02X", (unsigned char)*text);
	}
	ret[n] = '\0';
}

void cli_print_json(const json_t *json)
{
	json_dumpf(json, stdout, JSON_INDENT(2));
	putchar('\n');
}

const char *cli_text(const json_t *object, const char *key, const char *none)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : none;
}

const char *cli_size(char buffer[16], double bytes)
{
	const char *unit = "BKMGTP";

	while (bytes >= 1024 && unit[1]) {
		bytes /= 1024;
		unit++;
	}
	if (*unit == 'B')
		snprintf(buffer, 16, "%.0f", bytes);
	else
		snprintf(buffer, 16, bytes < 10 ? "%.1f%c" : "%.0f%c", bytes, *unit);
	return buffer;
}
