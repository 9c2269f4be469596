// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/http.h"
#include "daemon/log.h"

#define CONNECTIONS        1024
#define CONNECTIONS_PER_IP 64
#define IDLE_SECONDS       60
#define ROUNDS             64 /* of MHD before the rest of the loop has its turn */

struct http {
	struct loop *loop;
	struct MHD_Daemon *mhd;
	struct loop_source *poll, *timer;
	http_fn fn;
	void *arg;
	bool local;
	bool running;               /* within MHD */
	struct http_request *first; /* all that are not freed yet */
};

struct http_request {
	struct http *http;
	struct http_request *next, **back;
	struct MHD_Connection *connection;
	char method[12];
	char *path;
	char *body;
	size_t length;
	bool too_long;
	bool called; /* the handler has seen it */
	bool suspended;
	struct MHD_Response *response;
	unsigned int status;
};

/* --- running ---------------------------------------------------------------------------------- */

static void run(struct http *http)
{
	unsigned long long ms;
	bool more = true;

	if (http->running)
		return;
	http->running = true;
	for (int i = 0; more && i < ROUNDS; i++) {
		MHD_run(http->mhd);
		more = MHD_get_timeout(http->mhd, &ms) == MHD_YES && ms == 0;
	}
	http->running = false;
	if (more)
		loop_timer_set(http->timer, loop_now(http->loop));
	else if (MHD_get_timeout(http->mhd, &ms) == MHD_YES)
		loop_timer_set(http->timer,
			       loop_now(http->loop) + (ms < 1000 ? ms : 1000) * 1000000ull);
	else
		loop_timer_set(http->timer, UINT64_MAX);
}

static void on_poll(void *arg, uint32_t revents)
{
	(void)revents;
	run(arg);
}

static void on_timer(void *arg)
{
	run(arg);
}

/* --- requests --------------------------------------------------------------------------------- */

static struct http_request *request_new(struct http *http, struct MHD_Connection *connection,
					const char *path, const char *method)
{
	struct http_request *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->http = http;
	r->connection = connection;
	r->path = strdup(path);
	if (!r->path) {
		free(r);
		return NULL;
	}
	snprintf(r->method, sizeof(r->method), "%s", method);
	r->next = http->first;
	r->back = &http->first;
	if (r->next)
		r->next->back = &r->next;
	http->first = r;
	return r;
}

static void request_free(struct http_request *r)
{
	*r->back = r->next;
	if (r->next)
		r->next->back = r->back;
	if (r->response)
		MHD_destroy_response(r->response);
	free(r->path);
	free(r->body);
	free(r);
}

static void add_body(struct http_request *r, const char *data, size_t size)
{
	char *more;

	if (r->too_long || r->length + size > HTTP_BODY_MAX) {
		r->too_long = true;
		return;
	}
	more = realloc(r->body, r->length + size + 1);
	if (!more) {
		r->too_long = true;
		return;
	}
	memcpy(more + r->length, data, size);
	r->body = more;
	r->length += size;
	r->body[r->length] = '\0';
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *size, void **context)
{
	struct http *http = cls;
	struct http_request *r = *context;

	(void)version;
	if (!r) {
		*context = request_new(http, connection, url, method);
		return *context ? MHD_YES : MHD_NO;
	}
	if (*size) {
		add_body(r, data, *size);
		*size = 0;
		return MHD_YES;
	}
	if (!r->called) {
		r->called = true;
		if (r->too_long)
			http_reply(r, 413, "text/plain", "the request is too long\n", 24);
		else
			http->fn(http->arg, r);
	}
	if (r->response)
		return MHD_queue_response(connection, r->status, r->response);
	r->suspended = true;
	MHD_suspend_connection(connection);
	return MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **context,
			 enum MHD_RequestTerminationCode code)
{
	(void)cls;
	(void)connection;
	(void)code;
	if (*context)
		request_free(*context);
	*context = NULL;
}

static void respond(struct http_request *r, unsigned int status, const char *type,
		    struct MHD_Response *response)
{
	if (!response) /* out of memory: an empty answer is better than none */
		response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	if (r->response || !response)
		return;
	if (type)
		MHD_add_response_header(response, "Content-Type", type);
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	r->response = response;
	r->status = status;
	if (r->suspended) {
		r->suspended = false;
		MHD_resume_connection(r->connection);
		loop_timer_set(r->http->timer, loop_now(r->http->loop));
	}
}

void http_reply(struct http_request *r, unsigned int status, const char *type, const void *body,
		size_t length)
{
	respond(r, status, type,
		MHD_create_response_from_buffer(length, (void *)body, MHD_RESPMEM_MUST_COPY));
}

void http_reply_page(struct http_request *r, const char *type, const void *body, size_t length)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(length, (void *)body, MHD_RESPMEM_MUST_COPY);

	if (response) {
		MHD_add_response_header(response, "Content-Security-Policy",
					"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
					"img-src data:; base-uri 'none'; frame-ancestors 'none'");
		MHD_add_response_header(response, "X-Frame-Options", "DENY");
		MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
	}
	respond(r, 200, type, response);
}

void http_reply_file(struct http_request *r, int fd, uint64_t size)
{
	struct MHD_Response *response = MHD_create_response_from_fd64(size, fd);

	if (!response)
		close(fd);
	respond(r, 200, "application/octet-stream", response);
}

const char *http_method(const struct http_request *r)
{
	return r->method;
}

const char *http_path(const struct http_request *r)
{
	return r->path;
}

const char *http_query(const struct http_request *r, const char *key)
{
	return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, key);
}

const char *http_header(const struct http_request *r, const char *name)
{
	return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

const char *http_body(const struct http_request *r, size_t *ret_length)
{
	if (ret_length)
		*ret_length = r->length;
	return r->body ? r->body : "";
}

static uint32_t ipv4_of(const struct sockaddr_storage *address)
{
	struct sockaddr_in in;

	if (address->ss_family != AF_INET)
		return 0;
	memcpy(&in, address, sizeof(in));
	return ntohl(in.sin_addr.s_addr);
}

static int socket_of(const struct http_request *r)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);

	return info ? info->connect_fd : -1;
}

uint32_t http_peer(const struct http_request *r)
{
	struct sockaddr_storage address = {};
	socklen_t size = sizeof(address);

	if (getpeername(socket_of(r), (struct sockaddr *)&address, &size))
		return 0;
	return ipv4_of(&address);
}

uint32_t http_server(const struct http_request *r)
{
	struct sockaddr_storage address = {};
	socklen_t size = sizeof(address);

	if (getsockname(socket_of(r), (struct sockaddr *)&address, &size))
		return 0;
	return ipv4_of(&address);
}

bool http_is_local(const struct http_request *r)
{
	return r->http->local;
}

/* --- start and end ---------------------------------------------------------------------------- */

int http_listen_tcp(uint16_t port)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_ANY)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, r;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (!bind(fd, (struct sockaddr *)&in, sizeof(in)) && !listen(fd, 511))
		return fd;
	r = -errno;
	close(fd);
	return r;
}

int http_listen_unix(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	mode_t mask;
	int fd, r;

	if (strlen(path) >= sizeof(un.sun_path))
		return -ENAMETOOLONG;
	strcpy(un.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	unlink(path);
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *)&un, sizeof(un));
	umask(mask);
	if (!r && !listen(fd, 64))
		return fd;
	r = -errno;
	close(fd);
	return r;
}

static int watch(struct http *http)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	int r;

	if (!info)
		return -EIO;
	r = loop_add_poll(http->loop, info->epoll_fd, POLLIN, on_poll, http, &http->poll);
	if (!r)
		r = loop_add_timer(http->loop, UINT64_MAX, on_timer, http, &http->timer);
	return r;
}

int http_new(struct http **ret, struct loop *loop, int fd, bool local, http_fn fn, void *arg)
{
	struct http *http = calloc(1, sizeof(*http));
	int r;

	if (!http) {
		close(fd);
		return -ENOMEM;
	}
	http->loop = loop;
	http->fn = fn;
	http->arg = arg;
	http->local = local;
	http->mhd = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, http,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, local ? 0 : CONNECTIONS_PER_IP,
		MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_NOTIFY_COMPLETED,
		on_completed, NULL, MHD_OPTION_END);
	if (!http->mhd) {
		r = errno ? -errno : -EIO;
		close(fd);
		free(http);
		return r;
	}
	r = watch(http);
	if (r) {
		http_free(http);
		return r;
	}
	*ret = http;
	return 0;
}

void http_free(struct http *http)
{
	if (!http)
		return;
	for (struct http_request *r = http->first; r; r = r->next)
		if (r->suspended)
			http_reply(r, 503, "text/plain", "the server is being stopped\n", 28);
	/* Lets what is answered go out before the sockets close. */
	if (http->timer)
		run(http);
	loop_source_free(http->poll);
	loop_source_free(http->timer);
	MHD_stop_daemon(http->mhd);
	free(http);
}
