// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Bytes to the upload port, over TCP, as anybody in the room can send them, and as an operator would: the service
 * answers by HTTP or ends the connection, and goes on answering. An upload of two parts is open each time, and 32
 * characters `@` in the input stand for its id, so that an input can send its parts and finish it. What an input has
 * begun or made is gone before the next one.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "daemon/upload/upload.h"

#define DISK (8u << 20) /* two parts: as in make-corpus-control */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__asan_default_options(void);

/* The service lives as long as the process: what it holds at the end is no leak. */
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

static char folder[] = "/dev/shm/bootwell-fuzz.XXXXXX";
static struct upload_store *store;
static struct upload_server *server;
static struct sockaddr_in address;

static void must(bool what, int line)
{
	if (what)
		return;
	fprintf(stderr, "line %d: %s\n", line, strerror(errno));
	abort();
}
#define must(what) must(what, __LINE__)

static void remove_folder(void)
{
	char command[100];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	must(!system(command));
}

/* --- what the service asks its owner --- */

static int op_exists(void *arg, const char *image)
{
	(void)arg;
	return !strcmp(image, "there");
}

static int op_publish(void *arg, struct upload_image *image, struct upload_refusal *error)
{
	(void)arg;
	(void)error;
	must(image->file[0] && !strchr(image->file, '/') && image->file[0] != '.');
	image->generation = image->current = 1;
	return 0;
}

static int op_permit(void *arg, const struct upload_asking *asking, struct upload_asker *ret,
		     struct upload_refusal *error)
{
	(void)arg;
	ret->is_operator = asking->authorization && !strcmp(asking->authorization, "Bearer operator");
	ret->pc = asking->authorization && !strcmp(asking->authorization, "Ticket one");
	if (!ret->is_operator && !ret->pc)
		sentence_set(&error->why, "not you");
	if (!ret->is_operator && !ret->pc)
		return -EACCES;
	snprintf(ret->who, sizeof(ret->who), "%s", ret->pc ? "PC1" : "operator");
	return 0;
}

static int op_goes_on(void *arg, const char *authorization, const char *who, const char *image, bool whole)
{
	(void)arg;
	(void)whole;
	must(who && image);
	return authorization && !strcmp(authorization, "Ticket one") ? 0 : -EACCES;
}

static void begin(void)
{
	struct upload_owner owner = {
		.ops = {.exists = op_exists, .publish = op_publish}, .permit = op_permit, .goes_on = op_goes_on};
	struct upload_refusal error;
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	must(mkdtemp(folder));
	atexit(remove_folder);
	address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	must(fd >= 0 && !bind(fd, (struct sockaddr *)&address, sizeof(address)) && !listen(fd, 16));
	must(!getsockname(fd, (struct sockaddr *)&address, &length));
	must(!upload_store_new(&store, folder, &owner.ops, &error));
	must(!upload_server_new(&server, fd, store, &owner, &error));
}

/* --- between two inputs --- */

struct names {
	char name[64][UPLOAD_NAME_MAX];
	unsigned int n;
};

static void take_name(void *arg, const struct upload_progress *p)
{
	struct names *names = arg;

	if (names->n < 64 && !upload_image_name(p->file, names->name[names->n], NULL))
		names->n++;
}

/* A connection that ended may still have its request under way: then what it holds goes a moment later. */
static void clear(void)
{
	char who[UPLOAD_WHO_MAX], path[600];
	struct names names = {};
	struct dirent *entry;
	DIR *dir;

	upload_each(store, take_name, &names);
	for (unsigned int i = 0; i < names.n; i++)
		upload_abort_name(store, names.name[i], who, NULL);
	dir = opendir(folder);
	must(dir);
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (entry->d_name[0] != '.')
			unlink(path);
	}
	closedir(dir);
}

static void open_upload(char id[UPLOAD_KEY_MAX])
{
	struct upload_request request = {.file = "one.vhd",
					 .who = "operator",
					 .session = "00000000000000000000000000000001",
					 .size = DISK,
					 .used = DISK};
	struct upload_session *session;

	memset(id, '0', UPLOAD_KEY_MAX - 1);
	id[UPLOAD_KEY_MAX - 1] = '\0';
	if (upload_begin(store, &request, &session, NULL))
		return; /* the one before is still being made */
	snprintf(id, UPLOAD_KEY_MAX, "%s", upload_id(session));
	upload_unref(session);
}

static void put_id(uint8_t *data, size_t size, const char *id)
{
	static const char marks[] = "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@";
	uint8_t *at;

	while ((at = memmem(data, size, marks, UPLOAD_KEY_MAX - 1))) {
		memcpy(at, id, UPLOAD_KEY_MAX - 1);
		size -= (size_t)(at - data);
		data = at;
	}
}

/* libFuzzer has an alarm clock. */
static ssize_t receive(int fd, char *to, size_t size)
{
	ssize_t n;

	do
		n = recv(fd, to, size, 0);
	while (n < 0 && errno == EINTR);
	return n;
}

static void send_all(int fd, const uint8_t *data, size_t size)
{
	ssize_t n;

	for (size_t at = 0; at<size; at += n> 0 ? (size_t)n : 0) {
		n = send(fd, data + at, size - at, MSG_NOSIGNAL);
		if (n <= 0 && errno != EINTR)
			break; /* it has ended the conversation */
	}
}

static void talk(const uint8_t *data, size_t size)
{
	struct timeval most = {.tv_sec = 8};
	struct linger at_once = {.l_onoff = 1};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char answer[4096];
	bool first = true;
	ssize_t n;

	must(fd >= 0 && !connect(fd, (struct sockaddr *)&address, sizeof(address)));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof(most));
	send_all(fd, data, size);
	shutdown(fd, SHUT_WR);
	while ((n = receive(fd, answer, sizeof(answer))) > 0) {
		must(!first || n < 8 || !memcmp(answer, "HTTP/1.", 7));
		first = false;
	}
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)); /* leaves no port behind */
	close(fd);
}

/* It still answers. */
static void is_there(void)
{
	static const char hello[] = "GET /v1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer operator\r\n\r\n";
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct linger at_once = {.l_onoff = 1};
	struct timeval most = {.tv_sec = 10};
	char answer[13] = "";
	ssize_t n;

	must(fd >= 0 && !connect(fd, (struct sockaddr *)&address, sizeof(address)));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most));
	send_all(fd, (const uint8_t *)hello, sizeof(hello) - 1);
	for (size_t got = 0; got < 12; got += (size_t)n) {
		n = receive(fd, answer + got, 12 - got);
		must(n > 0);
	}
	must(!strcmp(answer, "HTTP/1.1 200"));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char id[UPLOAD_KEY_MAX];
	uint8_t *copy = malloc(size + 1);

	must(copy);
	memcpy(copy, data, size);
	if (!store)
		begin();
	open_upload(id);
	put_id(copy, size, id);
	talk(copy, size);
	free(copy);
	is_there();
	clear();
	return 0;
}
