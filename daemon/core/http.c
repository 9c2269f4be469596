// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The thread waits for four things: the gate (new connections, late ones), libmicrohttpd's epoll fd without TLS and the
 * one with, and an eventfd by which other threads say that an answer is there. All calls into libmicrohttpd are made on
 * this thread, which runs it as an "external" event loop; so a connection is never touched by two.
 *
 * A request goes from the thread to the loop through `todo`, and its answer back through `answered`, both under the
 * lock. While it is away its connection is suspended, so libmicrohttpd does not end it, and the request stays where it
 * is.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "daemon/core/background.h"
#include "daemon/core/clock.h"
#include "daemon/core/http.h"
#include "daemon/core/inet.h"
#include "daemon/core/log.h"

#define IDLE_SECONDS 60
#define ROUNDS       64         /* of MHD before the gate has its turn */
#define MEMORY       (16 << 10) /* bytes of one connection: its head, what is being sent */
#define LOOP_BUDGET  4000000ull /* ns of the loop's time that requests take in one round */
#define GOODBYES     64         /* rounds in which the last answers go out */

struct http_document {
	unsigned int refs; /* atomic, as the rest */
	bool stale;
	void *text;
	size_t length;
	char type[64];
};
static size_t stale_bytes; /* of documents that are stale and not free yet; atomic */

struct http {
	struct loop *loop;
	struct http_options o;
	struct gate *gate;
	struct MHD_Daemon *mhd[2]; /* without TLS, with (or NULL) */
	int epoll, event, to_loop; /* eventfds: for the thread, for the loop */
	struct loop_source *poll, *again;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock; /* of what follows */
	struct http_request *first;
	struct http_request *todo, **todo_last, *answered;
	bool waking, stop;
};

struct http_request {
	struct http *http;
	struct http_request *next, **back; /* all that are not freed yet */
	struct http_request *queue;        /* todo, answered */
	struct MHD_Connection *connection;
	struct gate_socket *socket;
	char method[12];
	char *path;
	char *body;
	size_t length;
	bool too_long, tls;
	bool called; /* a handler has seen it */
	bool away;   /* suspended: it is the loop's, or a document's that is being made */
	bool held;   /* its answer is not to go yet; under the lock */
	struct MHD_Response *response;
	struct http_document *document; /* that the answer is; counted by the response */
	unsigned int status;
	uint64_t size; /* of the answer */
	void *note;
};

/* --- requests --------------------------------------------------------------------------------- */

static struct gate_socket *socket_of_connection(struct http *http, struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	(void)http;
	return info ? info->socket_context : NULL;
}

static struct http_request *request_new(struct http *http, struct MHD_Connection *connection, const char *path,
					const char *method)
{
	struct http_request *r = calloc(1, sizeof(*r));
	const char *length;

	if (!r)
		return NULL;
	r->http = http;
	r->connection = connection;
	r->socket = socket_of_connection(http, connection);
	r->tls = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_PROTOCOL) != NULL;
	r->path = strdup(path);
	if (!r->path) {
		free(r);
		return NULL;
	}
	snprintf(r->method, sizeof(r->method), "%s", method);
	length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
	if (length) {
		unsigned long long bytes = strtoull(length, NULL, 10);

		gate_receives(r->socket, bytes < 4 * HTTP_BODY_MAX ? bytes : 4 * HTTP_BODY_MAX);
	}
	pthread_mutex_lock(&http->lock);
	r->next = http->first;
	r->back = &http->first;
	if (r->next)
		r->next->back = &r->next;
	http->first = r;
	pthread_mutex_unlock(&http->lock);
	return r;
}

static void request_free(struct http_request *r)
{
	pthread_mutex_lock(&r->http->lock);
	*r->back = r->next;
	if (r->next)
		r->next->back = r->back;
	pthread_mutex_unlock(&r->http->lock);
	if (r->response)
		MHD_destroy_response(r->response);
	free(r->path);
	free(r->body);
	free(r->note);
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

/* --- to the loop ------------------------------------------------------------------------------ */

static struct http_request *take_todo(struct http *http)
{
	struct http_request *r;

	pthread_mutex_lock(&http->lock);
	r = http->todo;
	if (r) {
		http->todo = r->queue;
		if (!http->todo)
			http->todo_last = &http->todo;
	} else {
		http->waking = false;
	}
	pthread_mutex_unlock(&http->lock);
	return r;
}

/* A few, then the packets have their turn. */
static void on_loop(void *arg)
{
	struct http *http = arg;
	uint64_t began = clock_monotonic_ns();
	struct http_request *r;

	do {
		r = take_todo(http);
		if (!r)
			return;
		http->o.fn(http->o.arg, r);
	} while (clock_monotonic_ns() - began < LOOP_BUDGET);
	loop_timer_set(http->again, loop_now(http->loop));
}

static void on_wake(void *arg, uint32_t revents)
{
	struct http *http = arg;
	eventfd_t value;

	(void)revents;
	if (!eventfd_read(http->to_loop, &value))
		on_loop(http);
}

static void give_to_loop(struct http *http, struct http_request *r)
{
	bool wake;

	pthread_mutex_lock(&http->lock);
	r->queue = NULL;
	*http->todo_last = r;
	http->todo_last = &r->queue;
	wake = !http->waking && !http->stop;
	http->waking |= wake;
	pthread_mutex_unlock(&http->lock);
	if (wake && eventfd_write(http->to_loop, 1) < 0)
		log_warning("%s: the loop cannot be woken: %s", http->o.name, strerror(errno));
}

/* --- on the thread ---------------------------------------------------------------------------- */

static enum MHD_Result send_answer(struct http_request *r)
{
	gate_sends(r->socket, r->size);
	return MHD_queue_response(r->connection, r->status, r->response);
}

/* Whether its answer is there already, and was made on this thread. */
static bool call(struct http *http, struct http_request *r)
{
	bool there;

	r->called = true;
	gate_works(r->socket);
	if (r->too_long) {
		http_reply(r, 413, "text/plain", "the request is too long\n", 24);
		return true;
	}
	/* A handler may give it to another thread before it returns. */
	r->away = true;
	if (!http->o.early || !http->o.early(http->o.arg, r))
		give_to_loop(http, r);
	pthread_mutex_lock(&http->lock);
	there = !r->away;
	pthread_mutex_unlock(&http->lock);
	return there;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
				  const char *version, const char *data, size_t *size, void **context)
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
	if (r->called)
		return r->response ? send_answer(r) : MHD_NO;
	if (call(http, r))
		return send_answer(r);
	MHD_suspend_connection(connection); /* resumed on this thread, so not before it returns */
	return MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **context,
			 enum MHD_RequestTerminationCode code)
{
	struct http_request *r = *context;

	(void)cls;
	(void)connection;
	(void)code;
	if (!r)
		return;
	gate_waits(r->socket);
	request_free(r);
	*context = NULL;
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct http *http = cls;
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		*socket_context = info ? gate_find(http->gate, info->connect_fd) : NULL;
	} else {
		gate_closed(*socket_context);
		*socket_context = NULL;
	}
}

static void on_socket(void *arg, int fd, const struct sockaddr *address, socklen_t length, bool tls)
{
	struct http *http = arg;
	struct MHD_Daemon *mhd = http->mhd[tls];

	if (!mhd) {
		gate_closed(gate_find(http->gate, fd));
		close(fd);
		return;
	}
	if (MHD_add_connection(mhd, fd, address, length) != MHD_YES)
		gate_closed(gate_find(http->gate, fd));
}

static void on_crowd(void *arg, uint32_t a, unsigned int connections, bool full)
{
	struct http *http = arg;

	log_limited(4, LOG_LEVEL_WARNING,
		    "%s: %s holds %u connections%s; those that ask for nothing are ended, the slowest first",
		    http->o.name, inet_text(a).s, connections,
		    full ? ", and there are as many as there may be" : ", as many as one address may");
}

/* Resumes those that were answered elsewhere. */
static void take_answers(struct http *http)
{
	struct http_request *r, *next;

	pthread_mutex_lock(&http->lock);
	r = http->answered;
	http->answered = NULL;
	for (struct http_request *each = r; each; each = each->queue)
		each->away = false;
	pthread_mutex_unlock(&http->lock);
	for (; r; r = next) {
		next = r->queue;
		MHD_resume_connection(r->connection);
	}
}

static void end_stale_readers(struct http *http)
{
	if (__atomic_load_n(&stale_bytes, __ATOMIC_RELAXED) <= HTTP_STALE_MAX)
		return;
	for (struct http_request *r = http->first; r; r = r->next)
		if (r->document && __atomic_load_n(&r->document->stale, __ATOMIC_RELAXED))
			gate_end(r->socket);
}

/* ms until it has to be called again. */
static int run_mhd(struct MHD_Daemon *mhd)
{
	unsigned long long ms = 500;
	bool more = true;

	if (!mhd)
		return 500;
	for (int i = 0; more && i < ROUNDS; i++) {
		MHD_run(mhd);
		more = MHD_get_timeout(mhd, &ms) == MHD_YES && ms == 0;
	}
	return more ? 0 : ms < 500 ? (int)ms : 500;
}

static int run_once(struct http *http)
{
	int a, b;

	take_answers(http);
	gate_run(http->gate);
	a = run_mhd(http->mhd[0]);
	b = run_mhd(http->mhd[1]);
	end_stale_readers(http);
	return a < b ? a : b;
}

static void *thread(void *arg)
{
	struct http *http = arg;
	struct epoll_event event[4];
	bool stop = false;
	int wait = 0;

	background(); /* strangers can keep it as busy as they like */
	while (!stop) {
		eventfd_t value;

		epoll_wait(http->epoll, event, 4, wait);
		if (eventfd_read(http->event, &value) < 0 && errno != EAGAIN)
			log_warning("%s: %s", http->o.name, strerror(errno));
		wait = run_once(http);
		pthread_mutex_lock(&http->lock);
		stop = http->stop;
		pthread_mutex_unlock(&http->lock);
	}
	/* Lets what is answered go out before the sockets close. */
	for (int i = 0; i < GOODBYES; i++)
		run_once(http);
	return NULL;
}

/* --- answers: any thread ---------------------------------------------------------------------- */

/* With the lock held: its answer is there. True: the thread is to be woken. */
static bool send_locked(struct http_request *r)
{
	if (r->held)
		return false;
	if (pthread_equal(pthread_self(), r->http->thread)) {
		r->away = false;
		return false;
	}
	if (!r->away)
		return false;
	r->queue = r->http->answered;
	r->http->answered = r;
	return true;
}

static void wake_thread(struct http *http)
{
	if (eventfd_write(http->event, 1) < 0)
		log_warning("%s: %s", http->o.name, strerror(errno));
}

static void respond(struct http_request *r, unsigned int status, const char *type, uint64_t size,
		    struct MHD_Response *response)
{
	struct http *http = r->http;
	bool wake = false;

	if (!response) /* out of memory: an empty answer is better than none */
		response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	if (!response)
		return;
	if (type)
		MHD_add_response_header(response, "Content-Type", type);
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	pthread_mutex_lock(&http->lock);
	if (r->response) {
		pthread_mutex_unlock(&http->lock);
		MHD_destroy_response(response);
		return;
	}
	r->response = response;
	r->status = status;
	r->size = size;
	wake = send_locked(r);
	pthread_mutex_unlock(&http->lock);
	if (wake)
		wake_thread(http);
}

void http_hold(struct http_request *r)
{
	pthread_mutex_lock(&r->http->lock);
	r->held = true;
	pthread_mutex_unlock(&r->http->lock);
}

void http_release(struct http_request *r, const char *instead)
{
	struct http *http = r->http;
	struct MHD_Response *old = NULL;
	bool wake = false;

	pthread_mutex_lock(&http->lock);
	r->held = false;
	if (instead) {
		old = r->response;
		r->response = NULL;
	} else if (r->response) {
		wake = send_locked(r);
	}
	pthread_mutex_unlock(&http->lock);
	if (old)
		MHD_destroy_response(old);
	if (wake)
		wake_thread(http);
	if (instead)
		http_reply(r, 500, "application/json", instead, strlen(instead));
}

void http_reply(struct http_request *r, unsigned int status, const char *type, const void *body, size_t length)
{
	respond(r, status, type, length, MHD_create_response_from_buffer(length, (void *)body, MHD_RESPMEM_MUST_COPY));
}

void http_reply_with(struct http_request *r, unsigned int status, const char *type, const void *body, size_t length,
		     const char *header, const char *value)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(length, (void *)body, MHD_RESPMEM_MUST_COPY);

	if (response)
		MHD_add_response_header(response, header, value);
	respond(r, status, type, length, response);
}

void http_reply_page(struct http_request *r, const char *type, const void *body, size_t length)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(length, (void *)body, MHD_RESPMEM_PERSISTENT);

	if (response) {
		MHD_add_response_header(response, "Content-Security-Policy",
					"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
					"img-src data:; base-uri 'none'; frame-ancestors 'none'");
		MHD_add_response_header(response, "X-Frame-Options", "DENY");
		MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
	}
	respond(r, 200, type, length, response);
}

void http_reply_file(struct http_request *r, int fd, uint64_t size)
{
	struct MHD_Response *response = MHD_create_response_from_fd64(size, fd);

	if (!response)
		close(fd);
	respond(r, 200, "application/octet-stream", size, response);
}

/* --- documents -------------------------------------------------------------------------------- */

struct http_document *http_document_new(void *text, size_t length, const char *type)
{
	struct http_document *d = calloc(1, sizeof(*d));

	if (!d || !text) {
		free(text);
		free(d);
		return NULL;
	}
	d->refs = 1;
	d->text = text;
	d->length = length;
	snprintf(d->type, sizeof(d->type), "%s", type);
	return d;
}

void http_document_stale(struct http_document *d)
{
	if (d && !__atomic_exchange_n(&d->stale, true, __ATOMIC_RELAXED))
		__atomic_fetch_add(&stale_bytes, d->length, __ATOMIC_RELAXED);
}

void http_document_unref(struct http_document *d)
{
	if (!d || __atomic_fetch_sub(&d->refs, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	if (d->stale)
		__atomic_fetch_sub(&stale_bytes, d->length, __ATOMIC_RELAXED);
	free(d->text);
	free(d);
}

static void response_freed(void *arg)
{
	http_document_unref(arg);
}

void http_reply_document(struct http_request *r, struct http_document *d)
{
	struct MHD_Response *response;

	if (!d) {
		http_reply(r, 500, "text/plain", "out of memory\n", 14);
		return;
	}
	response = MHD_create_response_from_buffer_with_free_callback_cls(d->length, d->text, response_freed, d);
	if (response) {
		__atomic_fetch_add(&d->refs, 1, __ATOMIC_RELAXED);
		r->document = d;
	}
	respond(r, 200, d->type, d->length, response);
}

/* --- what a request says ---------------------------------------------------------------------- */

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
	return r->http->o.local;
}

bool http_is_tls(const struct http_request *r)
{
	return r->tls;
}

bool http_has_tls(const struct http_request *r)
{
	return r->http->mhd[1];
}

void http_set_note(struct http_request *r, void *note)
{
	free(r->note);
	r->note = note;
}

void *http_note(const struct http_request *r)
{
	return r->note;
}

/* --- start and end ---------------------------------------------------------------------------- */

int http_listen_tcp(uint16_t port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_ANY)};
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

static struct MHD_Daemon *start_mhd(struct http *http, bool tls)
{
	struct MHD_OptionItem secure[] = {
		{MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)http->o.tls_certificate},
		{MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)http->o.tls_key},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)"NORMAL:-VERS-ALL:+VERS-TLS1.2:+VERS-TLS1.3"},
		{MHD_OPTION_END, 0, NULL},
	};
	struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};

	return MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET | (tls ? MHD_USE_TLS : 0), 0, NULL,
		NULL, on_request, http, MHD_OPTION_CONNECTION_LIMIT, 2 * HTTP_CONNECTIONS,
		MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
		MHD_OPTION_ARRAY, tls ? secure : none, MHD_OPTION_END);
}

static int watch(struct http *http, int fd)
{
	struct epoll_event event = {.events = EPOLLIN};

	return epoll_ctl(http->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int watch_mhd(struct http *http, struct MHD_Daemon *mhd)
{
	const union MHD_DaemonInfo *info = mhd ? MHD_get_daemon_info(mhd, MHD_DAEMON_INFO_EPOLL_FD) : NULL;

	return info ? watch(http, info->epoll_fd) : -EINVAL;
}

/* Signals are for the loop's thread. */
static int start_thread(struct http *http)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&http->thread, NULL, thread, http);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	http->running = !r;
	return r;
}

static int start(struct http *http)
{
	struct gate_options gate = {.fd = http->o.fd,
				    .most = HTTP_CONNECTIONS,
				    .most_each = http->o.local ? 0 : HTTP_CONNECTIONS_EACH,
				    .take = on_socket,
				    .crowded = on_crowd,
				    .arg = http};
	int r = gate_new(&http->gate, &gate);

	if (r)
		return r;
	http->epoll = epoll_create1(EPOLL_CLOEXEC);
	http->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	http->to_loop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (http->epoll < 0 || http->event < 0 || http->to_loop < 0)
		return -errno;
	http->mhd[0] = start_mhd(http, false);
	if (http->o.tls_certificate)
		http->mhd[1] = start_mhd(http, true);
	if (!http->mhd[0] || (http->o.tls_certificate && !http->mhd[1]))
		return -EIO;
	r = watch(http, gate_fd(http->gate));
	if (!r)
		r = watch(http, http->event);
	if (!r)
		r = watch_mhd(http, http->mhd[0]);
	if (!r && http->mhd[1])
		r = watch_mhd(http, http->mhd[1]);
	if (!r)
		r = loop_add_poll(http->loop, http->to_loop, POLLIN, on_wake, http, &http->poll);
	if (!r)
		r = loop_add_timer(http->loop, UINT64_MAX, on_loop, http, &http->again);
	return r ? r : start_thread(http);
}

int http_new(struct http **ret, struct loop *loop, const struct http_options *options)
{
	struct http *http = calloc(1, sizeof(*http));
	int r;

	if (!http) {
		close(options->fd);
		return -ENOMEM;
	}
	http->loop = loop;
	http->o = *options;
	http->epoll = http->event = http->to_loop = -1;
	http->todo_last = &http->todo;
	pthread_mutex_init(&http->lock, NULL);
	r = start(http);
	if (r) {
		http_free(http);
		return r;
	}
	*ret = http;
	return 0;
}

/* Every request that is away is answered. */
static void say_goodbye(struct http *http)
{
	struct http_request *r;

	do {
		pthread_mutex_lock(&http->lock);
		for (r = http->first; r && (!r->away || (r->response && !r->held)); r = r->next)
			;
		pthread_mutex_unlock(&http->lock);
		/* It is ours: what is away is not freed before it is answered. */
		if (r)
			http_release(r, NULL);
		if (r)
			http_reply(r, 503, "text/plain", "the server is being stopped\n", 28);
	} while (r);
}

static void stop_thread(struct http *http)
{
	say_goodbye(http);
	pthread_mutex_lock(&http->lock);
	http->stop = true;
	pthread_mutex_unlock(&http->lock);
	if (eventfd_write(http->event, 1) < 0)
		log_warning("%s: %s", http->o.name, strerror(errno));
	pthread_join(http->thread, NULL);
	say_goodbye(http); /* what came meanwhile */
	http->thread = pthread_self();
	run_once(http);
}

void http_stats(struct http *http, struct gate_stats *ret)
{
	gate_stats(http->gate, ret);
}

void http_free(struct http *http)
{
	if (!http)
		return;
	if (http->running)
		stop_thread(http);
	loop_source_free(http->poll);
	loop_source_free(http->again);
	for (int i = 0; i < 2; i++)
		if (http->mhd[i])
			MHD_stop_daemon(http->mhd[i]);
	gate_free(http->gate);
	if (http->epoll >= 0)
		close(http->epoll);
	if (http->event >= 0)
		close(http->event);
	if (http->to_loop >= 0)
		close(http->to_loop);
	pthread_mutex_destroy(&http->lock);
	free(http);
}
