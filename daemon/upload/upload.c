// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One thread for a connection, which the gate lets in; there are few, and each is busy with a part of 4 MiB: receiving
 * it to where it belongs in memory, hashing, writing. Requests are routed by a table. The body of a part goes straight
 * into its buffer; all other bodies are small JSON. An error is answered once the body has been swallowed, so that the
 * sender reads it.
 */
#include "daemon/upload/upload.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/core/background.h"
#include "daemon/core/gate.h"
#include "daemon/core/inet.h"

struct upload_server {
	struct MHD_Daemon *mhd[2]; /* without TLS, with (or NULL) */
	struct gate *gate;
	pthread_t thread; /* the gate's */
	bool running;
	int stop; /* eventfd: ends the thread */
	struct upload_store *store;
	struct upload_owner owner;
	unsigned int bodies; /* part buffers in use; atomic */
};

struct request;
typedef int (*request_fn)(struct upload_server *server, struct request *rq);

struct request {
	request_fn run;
	struct MHD_Connection *connection;
	struct gate_socket *socket;
	char id[UPLOAD_KEY_MAX];
	int code; /* -errno: what went wrong before the body was there */
	struct upload_refusal error;
	uint64_t got; /* bytes of the body */

	char *json; /* body of all but parts */

	uint64_t part;
	struct upload_session *session;
	uint8_t bitmap[SPARSE_BITMAP];
	uint8_t *data;          /* a part, zeros where nothing was sent */
	uint32_t length, block; /* bytes of the part; block that is being received */

	unsigned int status; /* the answer */
	json_t *reply;
	void *raw;
	size_t raw_length;
};

static int fail(struct request *rq, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(struct request *rq, int code, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	sentence_setv(&rq->error.why, format, ap);
	va_end(ap);
	return code;
}

static unsigned int http_status(int code)
{
	static const struct {
		int code;
		unsigned int status;
	} table[] = {
		{-EACCES, MHD_HTTP_FORBIDDEN},
		{-ENOENT, MHD_HTTP_NOT_FOUND},
		{-ESTALE, MHD_HTTP_GONE},
		{-EBUSY, MHD_HTTP_CONFLICT},
		{-EEXIST, MHD_HTTP_CONFLICT},
		{-ENODATA, MHD_HTTP_CONFLICT},
		{-EINVAL, MHD_HTTP_BAD_REQUEST},
		{-EFBIG, 413},
		{-EBADMSG, 422},
		{-EMFILE, MHD_HTTP_SERVICE_UNAVAILABLE},
		{-EAGAIN, MHD_HTTP_SERVICE_UNAVAILABLE},
		{-ENOSPC, 507},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].code == code)
			return table[i].status;
	return MHD_HTTP_INTERNAL_SERVER_ERROR;
}

/* For programs, beside the sentence. */
static const char *error_word(int code)
{
	switch (code) {
	case -EBUSY:
		return "busy";
	case -EEXIST:
		return "exists";
	case -ENODATA:
		return "incomplete";
	case -EAGAIN:
		return "later";
	case -ENOSPC:
		return "full";
	case -EBADMSG:
		return "damaged";
	case -EACCES:
		return "forbidden";
	default:
		return "refused";
	}
}

static uint32_t peer(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *from = info ? info->client_addr : NULL;

	if (from && from->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)(const void *)from)->sin_addr.s_addr);
	return 0;
}

static const char *authorization(struct request *rq)
{
	return MHD_lookup_connection_value(rq->connection, MHD_HEADER_KIND, "Authorization");
}

/* Where there is TLS nothing is taken that gives a right and went in clear. */
static bool in_clear(const struct upload_server *server, struct request *rq)
{
	return server->mhd[1] && !MHD_get_connection_info(rq->connection, MHD_CONNECTION_INFO_PROTOCOL);
}

/* `image` NULL: none is begun. */
static int permit(struct upload_server *server, struct request *rq, const char *image, struct upload_asker *ret)
{
	struct upload_asking asking = {peer(rq->connection), authorization(rq), image};

	if (asking.authorization && in_clear(server, rq))
		return fail(rq, -EACCES, "tokens are taken by https only, on the same port");
	return server->owner.permit(server->owner.ops.arg, &asking, ret, &rq->error);
}

/* The upload that the request names; what a PC began needs the PC's secret with each request. */
static int find_session(struct upload_server *server, struct request *rq)
{
	const struct upload_owner *owner = &server->owner;

	rq->session = upload_find(server->store, rq->id);
	if (!rq->session)
		return fail(rq, -ENOENT, "there is no such upload (any more); begin again");
	if (!upload_by_pc(rq->session))
		return 0;
	if (!in_clear(server, rq) && owner->goes_on &&
	    !owner->goes_on(owner->ops.arg, authorization(rq), upload_who(rq->session), upload_image(rq->session),
			    upload_is_whole(rq->session)))
		return 0;
	return fail(rq, -EACCES,
		    "%s: the secret of the capture script is not that of the PC that began this upload, "
		    "or it has ended; start the PC from the network again",
		    upload_file(rq->session));
}

/* For the audit log; what else there is to say is filled in by the caller. */
static struct upload_event event_of(struct request *rq, const char *what, const char *who)
{
	struct upload_event event = {.what = what, .address = peer(rq->connection)};

	snprintf(event.who, sizeof(event.who), "%s", who);
	if (rq->session) {
		snprintf(event.image, sizeof(event.image), "%s", upload_image(rq->session));
		snprintf(event.file, sizeof(event.file), "%s", upload_file(rq->session));
		event.size = upload_size(rq->session);
	}
	return event;
}

static void note(struct upload_server *server, const struct upload_event *event)
{
	if (server->owner.note)
		server->owner.note(server->owner.ops.arg, event);
}

static void say(struct upload_server *server, bool bad, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void say(struct upload_server *server, bool bad, const char *format, ...)
{
	char text[768];
	va_list ap;

	if (!server->owner.log)
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	server->owner.log(server->owner.ops.arg, bad, text);
}

/* --- requests -----------------------------------------------------------------------------------------------------*/

static int run_hello(struct upload_server *server, struct request *rq)
{
	struct upload_asker asker = {};
	int r = permit(server, rq, NULL, &asker);

	if (r)
		return r;
	rq->reply = json_pack("{s:s, s:s, s:i, s:s, s:I}", "server", "bootwell", "version", BOOTWELL_VERSION,
			      "protocol", 1, "you", asker.who, "part_size", (json_int_t)DIGEST_PART);
	return 0;
}

static int copy_text(struct request *rq, json_t *object, const char *key, char *to, size_t size)
{
	const char *text = json_string_value(json_object_get(object, key));

	if (!text || strlen(text) >= size)
		return fail(rq, -EINVAL, "the request needs a \"%s\" of at most %zu characters", key, size - 1);
	snprintf(to, size, "%s", text);
	return 0;
}

static int parse_begin(struct request *rq, struct upload_request *ret)
{
	json_error_t error;
	json_t *o = json_loads(rq->json ? rq->json : "", JSON_REJECT_DUPLICATES, &error);
	json_int_t size = json_integer_value(json_object_get(o, "size"));
	json_int_t used = json_integer_value(json_object_get(o, "used"));
	int r = o ? 0 : fail(rq, -EINVAL, "the request is no JSON: %s", error.text);

	if (r == 0)
		r = copy_text(rq, o, "name", ret->file, sizeof(ret->file));
	if (r == 0)
		r = copy_text(rq, o, "session", ret->session, sizeof(ret->session));
	if (r == 0 && (size <= 0 || used < 0))
		r = fail(rq, -EINVAL, "the request needs a \"size\" in bytes");
	ret->size = (uint64_t)size;
	ret->used = (uint64_t)used;
	ret->update = json_is_true(json_object_get(o, "update"));
	ret->make_current = json_is_true(json_object_get(o, "current"));
	json_decref(o);
	return r;
}

static void note_refused(struct upload_server *server, struct request *rq, const struct upload_request *begin,
			 const char *who)
{
	struct upload_event event = event_of(rq, "refused", who);

	snprintf(event.file, sizeof(event.file), "%s", begin->file);
	event.update = begin->update;
	event.size = begin->size;
	snprintf(event.why, sizeof(event.why), "%s", rq->error.why.text);
	note(server, &event);
}

/* Begins it, for who was permitted to. */
static int begin_as(struct upload_server *server, struct request *rq, struct upload_request *begin,
		    const struct upload_asker *asker)
{
	int r = 0;

	memcpy(begin->who, asker->who, sizeof(begin->who));
	begin->pc = asker->pc;
	begin->spent = asker->spent;
	if (begin->make_current && !asker->is_operator)
		r = fail(rq, -EACCES, "only an operator may say that new boots get what he uploads");
	if (r == 0)
		r = upload_begin(server->store, begin, &rq->session, &rq->error);
	if (r && asker->claimed && server->owner.release)
		server->owner.release(server->owner.ops.arg, authorization(rq));
	return r;
}

static int run_begin(struct upload_server *server, struct request *rq)
{
	struct upload_request begin = {0};
	struct upload_asker asker = {};
	struct upload_event event;
	char image[UPLOAD_NAME_MAX];
	int r = parse_begin(rq, &begin);

	if (r == 0)
		r = upload_image_name(begin.file, image, &rq->error);
	if (r == 0)
		r = permit(server, rq, image, &asker);
	else if (permit(server, rq, NULL, &asker))
		r = -EACCES; /* who may not is told nothing else */
	if (r == 0)
		r = begin_as(server, rq, &begin, &asker);
	if (r) {
		if (asker.who[0])
			say(server, true, "upload of %s by %s refused: %s", begin.file, asker.who, rq->error.why.text);
		note_refused(server, rq, &begin, asker.who);
		return r;
	}
	say(server, false, "upload of %s by %s: %" PRIu64 " MiB disk, at most %" PRIu64 " MiB to send", begin.file,
	    begin.who, begin.size >> 20, begin.used >> 20);
	event = event_of(rq, "begin", begin.who);
	event.update = begin.update;
	note(server, &event);
	rq->status = MHD_HTTP_CREATED;
	rq->reply = json_pack("{s:s, s:I, s:I}", "id", upload_id(rq->session), "part_size", (json_int_t)DIGEST_PART,
			      "parts", (json_int_t)digest_parts(begin.size));
	return 0;
}

static void add_progress(void *arg, const struct upload_progress *p)
{
	json_t *o =
		json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "file", p->file, "by", p->who, "state",
			  p->state, "size", (json_int_t)p->size, "used", (json_int_t)p->used, "received",
			  (json_int_t)p->received, "parts", (json_int_t)p->parts, "parts_have",
			  (json_int_t)p->parts_have, "rate", (json_int_t)p->rate, "started", (json_int_t)p->started);

	if (o && p->left_s != UINT64_MAX)
		json_object_set_new(o, "left_s", json_integer((json_int_t)p->left_s));
	json_array_append_new(arg, o);
}

char *upload_status_json(struct upload_store *store)
{
	json_t *list = json_array();
	char *text;

	upload_each(store, add_progress, list);
	text = json_dumps(list, JSON_COMPACT);
	json_decref(list);
	return text;
}

static int run_list(struct upload_server *server, struct request *rq)
{
	struct upload_asker asker = {};
	int r = permit(server, rq, NULL, &asker);

	if (r == 0 && !asker.is_operator)
		r = fail(rq, -EACCES, "only an operator may look at the uploads of others");
	if (r)
		return r;
	rq->reply = json_array();
	upload_each(server->store, add_progress, rq->reply);
	return 0;
}

static int run_digests(struct upload_server *server, struct request *rq)
{
	int r = find_session(server, rq);

	if (r)
		return r;
	rq->raw = upload_digests(rq->session);
	rq->raw_length = digest_parts(upload_size(rq->session)) * DIGEST_SIZE;
	return rq->raw ? 0 : fail(rq, -ENOMEM, "the server is out of memory");
}

/* Blocks that the bitmap has, as bytes of the body. */
static uint64_t bitmap_body(const uint8_t *bitmap)
{
	uint64_t blocks = 0;

	for (size_t i = 0; i < SPARSE_BITMAP; i++)
		blocks += (unsigned int)__builtin_popcount(bitmap[i]);
	return blocks * SPARSE_BLOCK;
}

static int run_part(struct upload_server *server, struct request *rq)
{
	const char *text = MHD_lookup_connection_value(rq->connection, MHD_HEADER_KIND, "X-Bootwell-SHA256");
	uint8_t digest[DIGEST_SIZE];
	int r;

	(void)server;
	if (!text || strlen(text) != DIGEST_TEXT - 1 || digest_from_text(text, digest) < 0)
		return fail(rq, -EINVAL, "a part needs its checksum in X-Bootwell-SHA256");
	if (rq->got < SPARSE_BITMAP || rq->got - SPARSE_BITMAP != bitmap_body(rq->bitmap))
		return fail(rq, -EBADMSG, "part %" PRIu64 " did not arrive whole", rq->part);
	r = upload_put_part(rq->session, rq->part, rq->bitmap, rq->data, digest, &rq->error);
	if (r == 0)
		rq->reply = json_object();
	else if (r != -EBUSY)
		say(server, true, "%s", rq->error.why.text);
	return r;
}

static int run_zero(struct upload_server *server, struct request *rq)
{
	json_t *o = json_loads(rq->json ? rq->json : "", 0, NULL), *ranges = json_object_get(o, "ranges"), *range;
	size_t i;
	int r = find_session(server, rq);

	if (r == 0 && !json_is_array(ranges))
		r = fail(rq, -EINVAL, "the request needs \"ranges\"");
	json_array_foreach(ranges, i, range)
	{
		json_int_t first = json_integer_value(json_array_get(range, 0));
		json_int_t count = json_integer_value(json_array_get(range, 1));

		if (r == 0 && (first < 0 || count <= 0))
			r = fail(rq, -EINVAL, "a range is [first part, parts]");
		if (r == 0)
			r = upload_put_zero(rq->session, (uint64_t)first, (uint64_t)count, &rq->error);
	}
	json_decref(o);
	if (r == 0)
		rq->reply = json_object();
	return r;
}

static void note_end(struct upload_server *server, struct request *rq, const struct upload_image *image)
{
	struct upload_event event = event_of(rq, "end", image->who);

	snprintf(event.file, sizeof(event.file), "%s", image->file);
	event.update = image->update;
	event.generation = image->generation;
	event.current = image->current;
	event.bytes = image->disk_bytes;
	note(server, &event);
}

static int run_finish(struct upload_server *server, struct request *rq)
{
	json_t *o = json_loads(rq->json ? rq->json : "", 0, NULL);
	const char *text = json_string_value(json_object_get(o, "sha256"));
	uint8_t digest[DIGEST_SIZE];
	struct upload_image image;
	int r = find_session(server, rq);

	if (r == 0 && (!text || strlen(text) != DIGEST_TEXT - 1 || digest_from_text(text, digest) < 0))
		r = fail(rq, -EINVAL, "the request needs the disk's \"sha256\"");
	json_decref(o);
	if (r)
		return r;
	r = upload_finish(rq->session, digest, &image, &rq->error);
	if (r) {
		if (r != -EBUSY && r != -ENODATA)
			say(server, true, "%s", rq->error.why.text);
		return r;
	}
	say(server, false, "image %s is complete: %s, %" PRIu64 " MiB disk, %" PRIu64 " MiB in the file", image.image,
	    image.file, image.size >> 20, image.disk_bytes >> 20);
	note_end(server, rq, &image);
	rq->reply = json_pack("{s:s, s:s, s:I, s:I}", "image", image.image, "file", image.file, "file_size",
			      (json_int_t)image.file_size, "disk_bytes", (json_int_t)image.disk_bytes);
	if (image.generation)
		json_object_update_new(rq->reply, json_pack("{s:I, s:I}", "generation", (json_int_t)image.generation,
							    "current", (json_int_t)image.current));
	return 0;
}

static void tell_ended(struct upload_server *server, const char *who, const char *image)
{
	if (server->owner.ended)
		server->owner.ended(server->owner.ops.arg, who, image);
}

static int run_abort(struct upload_server *server, struct request *rq)
{
	struct upload_event event;
	int r = find_session(server, rq);

	if (r == 0 && upload_abort(rq->session))
		r = fail(rq, -EBUSY, "the image is being finished");
	if (r)
		return r;
	if (upload_by_pc(rq->session))
		tell_ended(server, upload_who(rq->session), upload_image(rq->session));
	event = event_of(rq, "abort", upload_who(rq->session));
	note(server, &event);
	rq->reply = json_object();
	return 0;
}

static int run_abort_name(struct upload_server *server, struct request *rq)
{
	const char *image = MHD_lookup_connection_value(rq->connection, MHD_GET_ARGUMENT_KIND, "image");
	struct upload_asker asker = {};
	struct upload_event event;
	char who[UPLOAD_WHO_MAX] = "";
	int r = permit(server, rq, NULL, &asker);

	if (r == 0 && !asker.is_operator)
		r = fail(rq, -EACCES, "only an operator may end the upload of another PC");
	if (r == 0 && (!image || strlen(image) >= UPLOAD_NAME_MAX))
		r = fail(rq, -EINVAL, "the request needs ?image=NAME");
	if (r == 0)
		r = upload_abort_name(server->store, image, who, &rq->error);
	if (r)
		return r;
	if (who[0])
		tell_ended(server, who, image);
	event = event_of(rq, "abort", asker.who);
	snprintf(event.image, sizeof(event.image), "%s", image);
	note(server, &event);
	rq->reply = json_object();
	return 0;
}

static int run_unknown(struct upload_server *server, struct request *rq)
{
	(void)server;
	return fail(rq, -ENOENT, "this is bootwell's upload port; it does not know that request");
}

/* --- routing ------------------------------------------------------------------------------------------------------*/

static const struct route {
	const char *method, *path; /* '*' in a path: the upload's id */
	request_fn run;
} routes[] = {
	{"GET", "/v1", run_hello},
	{"POST", "/v1/uploads", run_begin},
	{"GET", "/v1/uploads", run_list},
	{"DELETE", "/v1/uploads", run_abort_name},
	{"GET", "/v1/uploads/*/parts", run_digests},
	{"PUT", "/v1/uploads/*/parts/#", run_part},
	{"POST", "/v1/uploads/*/zero", run_zero},
	{"POST", "/v1/uploads/*/finish", run_finish},
	{"DELETE", "/v1/uploads/*", run_abort},
};

/* Matches a path: '*' is 32 characters, '#' at the end a number. */
static bool match(const char *pattern, const char *path, struct request *rq)
{
	for (; *pattern; pattern++) {
		if (*pattern == '*') {
			if (strnlen(path, UPLOAD_KEY_MAX - 1) < UPLOAD_KEY_MAX - 1)
				return false;
			memcpy(rq->id, path, UPLOAD_KEY_MAX - 1);
			path += UPLOAD_KEY_MAX - 1;
		} else if (*pattern == '#') {
			char *end;

			if (*path < '0' || *path > '9')
				return false;
			rq->part = strtoull(path, &end, 10);
			path = end;
		} else if (*pattern != *path++) {
			return false;
		}
	}
	return !*path;
}

/* A part's buffer, if there is one to have. */
static int take_body(struct upload_server *server, struct request *rq)
{
	int r = find_session(server, rq);
	uint64_t size;

	if (r)
		return r;
	size = upload_size(rq->session);
	if (rq->part >= digest_parts(size))
		return fail(rq, -EINVAL, "the disk has no part %" PRIu64, rq->part);
	if (__atomic_fetch_add(&server->bodies, 1, __ATOMIC_RELAXED) >= UPLOAD_BODIES) {
		__atomic_fetch_sub(&server->bodies, 1, __ATOMIC_RELAXED);
		return fail(rq, -EAGAIN, "the server is receiving as much as it can; send the part again in a moment");
	}
	rq->data = calloc(1, DIGEST_PART);
	if (!rq->data) {
		__atomic_fetch_sub(&server->bodies, 1, __ATOMIC_RELAXED);
		return fail(rq, -ENOMEM, "the server is out of memory");
	}
	rq->length = digest_part_length(size, rq->part);
	return 0;
}

static struct gate_socket *socket_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

static struct request *request_new(struct upload_server *server, struct MHD_Connection *connection, const char *url,
				   const char *method)
{
	struct request *rq = calloc(1, sizeof(*rq));

	if (!rq)
		return NULL;
	rq->connection = connection;
	rq->run = run_unknown;
	rq->status = MHD_HTTP_OK;
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
		if (strcmp(routes[i].method, method) == 0 && match(routes[i].path, url, rq)) {
			rq->run = routes[i].run;
			break;
		}
	if (rq->run == run_part)
		rq->code = take_body(server, rq);
	rq->socket = socket_of(connection);
	gate_receives(rq->socket, rq->run == run_part ? DIGEST_PART : UPLOAD_JSON_MAX);
	return rq;
}

static void request_free(void *cls, struct MHD_Connection *connection, void **con_cls,
			 enum MHD_RequestTerminationCode why)
{
	struct upload_server *server = cls;
	struct request *rq = *con_cls;

	(void)connection;
	(void)why;
	*con_cls = NULL;
	if (!rq)
		return;
	gate_waits(rq->socket);
	if (rq->data)
		__atomic_fetch_sub(&server->bodies, 1, __ATOMIC_RELAXED);
	free(rq->data);
	free(rq->json);
	free(rq->raw);
	json_decref(rq->reply);
	upload_unref(rq->session);
	free(rq);
}

/* --- bodies -------------------------------------------------------------------------------------------------------*/

static bool bit(const uint8_t *bitmap, uint32_t b)
{
	return bitmap[b / 8] >> b % 8 & 1;
}

/* No block behind the end of the disk. */
static bool bitmap_fits(const struct request *rq)
{
	for (uint32_t b = (rq->length + SPARSE_BLOCK - 1) / SPARSE_BLOCK; b < SPARSE_BITMAP * 8; b++)
		if (bit(rq->bitmap, b))
			return false;
	return true;
}

/* Bytes of a part: first its bitmap, then the blocks that it names, each to its place. */
static void take_part(struct request *rq, const uint8_t *from, size_t length)
{
	while (length && rq->code == 0) {
		uint64_t in_block;
		size_t n;

		if (rq->got < SPARSE_BITMAP) {
			n = SPARSE_BITMAP - rq->got < length ? SPARSE_BITMAP - rq->got : length;
			memcpy(rq->bitmap + rq->got, from, n);
			if (rq->got + n == SPARSE_BITMAP && !bitmap_fits(rq))
				rq->code = fail(rq, -EINVAL, "part %" PRIu64 " reaches behind the end of the disk",
						rq->part);
		} else {
			in_block = (rq->got - SPARSE_BITMAP) % SPARSE_BLOCK;
			while (in_block == 0 && rq->block < SPARSE_BITMAP * 8 && !bit(rq->bitmap, rq->block))
				rq->block++;
			if (rq->block >= SPARSE_BITMAP * 8) {
				rq->code = fail(rq, -EINVAL, "part %" PRIu64 " has more data than its bitmap says",
						rq->part);
				return;
			}
			n = SPARSE_BLOCK - in_block < length ? SPARSE_BLOCK - in_block : length;
			memcpy(rq->data + (size_t)rq->block * SPARSE_BLOCK + in_block, from, n);
			if (in_block + n == SPARSE_BLOCK)
				rq->block++;
		}
		from += n;
		length -= n;
		rq->got += n;
	}
}

static void take_json(struct request *rq, const uint8_t *from, size_t length)
{
	char *more;

	if (rq->code)
		return;
	if (rq->got + length > UPLOAD_JSON_MAX) {
		rq->code = fail(rq, -EFBIG, "the request is too long");
		return;
	}
	more = realloc(rq->json, rq->got + length + 1);
	if (!more) {
		rq->code = fail(rq, -ENOMEM, "the server is out of memory");
		return;
	}
	rq->json = more;
	memcpy(rq->json + rq->got, from, length);
	rq->got += length;
	rq->json[rq->got] = '\0';
}

/* --- answers ------------------------------------------------------------------------------------------------------*/

static enum MHD_Result answer(struct request *rq, int code)
{
	struct MHD_Response *response;
	enum MHD_Result r;
	char *text, seconds[16];

	if (code) {
		json_decref(rq->reply);
		rq->reply = json_pack("{s:s, s:s}", "error", rq->error.why.text, "reason", error_word(code));
		rq->status = http_status(code);
	}
	if (rq->raw && !code) {
		response = MHD_create_response_from_buffer(rq->raw_length, rq->raw, MHD_RESPMEM_MUST_COPY);
	} else {
		text = json_dumps(rq->reply, JSON_COMPACT);
		response = MHD_create_response_from_buffer(text ? strlen(text) : 0, text, MHD_RESPMEM_MUST_FREE);
		MHD_add_response_header(response, "Content-Type", "application/json");
	}
	if (!response)
		return MHD_NO;
	if (code && rq->error.retry_after) {
		snprintf(seconds, sizeof(seconds), "%u", rq->error.retry_after);
		MHD_add_response_header(response, "Retry-After", seconds);
	}
	gate_sends(rq->socket, rq->raw && !code ? rq->raw_length : UPLOAD_JSON_MAX);
	r = MHD_queue_response(rq->connection, rq->status, response);
	MHD_destroy_response(response);
	return r;
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
			      const char *version, const char *data, size_t *length, void **con_cls)
{
	struct upload_server *server = cls;
	struct request *rq = *con_cls;

	(void)version;
	if (!rq) {
		background(); /* each connection has a thread */
		rq = request_new(server, connection, url, method);
		*con_cls = rq;
		return rq ? MHD_YES : MHD_NO;
	}
	if (*length) {
		rq->connection = connection;
		if (rq->run == run_part)
			take_part(rq, (const uint8_t *)data, *length);
		else
			take_json(rq, (const uint8_t *)data, *length);
		if (rq->code) /* swallow, within reason */
			rq->got += *length;
		*length = 0;
		return rq->got > 2 * DIGEST_PART ? MHD_NO : MHD_YES;
	}
	gate_works(rq->socket);
	return answer(rq, rq->code ? rq->code : rq->run(server, rq));
}

/* --- service ------------------------------------------------------------------------------------------------------*/

/* A new connection, on the gate's thread. */
static void on_socket(void *arg, int fd, const struct sockaddr *address, socklen_t length, bool tls)
{
	struct upload_server *server = arg;

	if (!server->mhd[tls]) {
		gate_closed(gate_find(server->gate, fd));
		close(fd);
	} else if (MHD_add_connection(server->mhd[tls], fd, address, length) != MHD_YES) {
		gate_closed(gate_find(server->gate, fd));
	}
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct upload_server *server = cls;
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		*context = info ? gate_find(server->gate, info->connect_fd) : NULL;
	} else {
		gate_closed(*context);
		*context = NULL;
	}
}

static void on_crowd(void *arg, uint32_t a, unsigned int connections, bool full)
{
	say(arg, true,
	    "the upload port: %s holds %u connections%s; those that send nothing are ended, the slowest first",
	    inet_text(a).s, connections,
	    full ? ", and there are as many as there may be" : ", as many as one address may");
}

static void *gate_thread(void *arg)
{
	struct upload_server *server = arg;
	struct pollfd poll_fds[] = {{.fd = gate_fd(server->gate), .events = POLLIN},
				    {.fd = server->stop, .events = POLLIN}};

	background();
	while (!poll_fds[1].revents) {
		poll(poll_fds, 2, 500);
		gate_run(server->gate);
	}
	return NULL;
}

static struct MHD_Daemon *start_mhd(struct upload_server *server, bool tls)
{
	struct MHD_OptionItem secure[] = {
		{MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)server->owner.tls_certificate},
		{MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)server->owner.tls_key},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)"NORMAL:-VERS-ALL:+VERS-TLS1.2:+VERS-TLS1.3"},
		{MHD_OPTION_END, 0, NULL},
	};
	struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};

	/* By poll(2): select(2) takes no descriptor from 1,024 on. */
	return MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ITC |
					MHD_USE_NO_LISTEN_SOCKET | (tls ? MHD_USE_TLS : 0),
				0, NULL, NULL, handle, server, MHD_OPTION_CONNECTION_LIMIT, 4u * UPLOAD_CONNECTIONS,
				MHD_OPTION_CONNECTION_TIMEOUT, 120u, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				(size_t)512 << 10, MHD_OPTION_THREAD_STACK_SIZE, (size_t)256 << 10,
				MHD_OPTION_NOTIFY_COMPLETED, request_free, server, MHD_OPTION_NOTIFY_CONNECTION,
				on_connection, server, MHD_OPTION_ARRAY, tls ? secure : none, MHD_OPTION_END);
}

static int start(struct upload_server *server, int fd)
{
	struct gate_options gate = {.fd = fd,
				    .most = UPLOAD_CONNECTIONS,
				    .most_each = UPLOAD_PER_ADDRESS,
				    .keep_copy = true,
				    .take = on_socket,
				    .crowded = on_crowd,
				    .arg = server};
	int r = gate_new(&server->gate, &gate);

	if (r)
		return r;
	server->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (server->stop < 0)
		return -errno;
	server->mhd[0] = start_mhd(server, false);
	if (server->owner.tls_certificate)
		server->mhd[1] = start_mhd(server, true);
	if (!server->mhd[0] || (server->owner.tls_certificate && !server->mhd[1]))
		return -EIO;
	r = -pthread_create(&server->thread, NULL, gate_thread, server);
	server->running = !r;
	return r;
}

int upload_server_new(struct upload_server **ret, int fd, struct upload_store *store, const struct upload_owner *owner,
		      struct upload_refusal *error)
{
	struct upload_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server) {
		close(fd);
		upload_store_free(store);
		return -ENOMEM;
	}
	server->owner = *owner;
	server->stop = -1;
	server->store = store;
	r = start(server, fd);
	if (r) {
		upload_server_free(server);
		if (error)
			sentence_set(&error->why, "the upload service cannot be started: %s", strerror(-r));
		return r;
	}
	*ret = server;
	return 0;
}

void upload_server_free(struct upload_server *server)
{
	if (!server)
		return;
	if (server->running && eventfd_write(server->stop, 1) == 0)
		pthread_join(server->thread, NULL);
	for (int i = 0; i < 2; i++)
		if (server->mhd[i])
			MHD_stop_daemon(server->mhd[i]);
	gate_free(server->gate);
	if (server->stop >= 0)
		close(server->stop);
	upload_store_free(server->store);
	free(server);
}

struct upload_store *upload_server_store(struct upload_server *server)
{
	return server->store;
}
