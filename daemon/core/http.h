/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An HTTP server (libmicrohttpd) on a thread of its own, on a listening socket that it is given: TCP, or a unix socket
 * for the command line. A request that its own thread cannot answer goes to the loop's thread, a few in each round; it
 * may be answered later: until http_reply() its connection sleeps. Who may keep a connection, and how long:
 * core/gate.h.
 */
#ifndef BOOTWELL_HTTP_H
#define BOOTWELL_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/gate.h"
#include "daemon/core/loop.h"

#define HTTP_BODY_MAX         (1 << 20) /* bytes of a request's body; more is answered with 413 */
#define HTTP_CONNECTIONS      512       /* in all, */
#define HTTP_CONNECTIONS_EACH 32        /* of one address */
/* Bytes of documents that only slow readers still hold; then these are ended. */
#define HTTP_STALE_MAX        (24 << 20)

struct http;
struct http_request;

/* A request that is there whole; it must be answered, now or later. On the loop's thread. */
typedef void (*http_fn)(void *arg, struct http_request *request);
/* The same on the server's own thread, first: false leaves it to the loop. Must not wait for the loop. */
typedef bool (*http_early_fn)(void *arg, struct http_request *request);

struct http_options {
	int fd;                                /* taken */
	bool local;                            /* the socket is one that only root can reach */
	const char *name;                      /* for log lines: "port 8001" */
	const char *tls_certificate, *tls_key; /* PEM; NULL: no TLS. Both are spoken on the same port. */
	http_early_fn early;                   /* or NULL */
	http_fn fn;
	void *arg;
};

int http_new(struct http **ret, struct loop *loop, const struct http_options *options);
/* What is unanswered gets 503. Loop's thread. */
void http_free(struct http *http);
void http_stats(struct http *http, struct gate_stats *ret);

const char *http_method(const struct http_request *request);
const char *http_path(const struct http_request *request);                     /* "/status" */
const char *http_query(const struct http_request *request, const char *key);   /* NULL: not given */
const char *http_header(const struct http_request *request, const char *name); /* NULL: not given */
const char *http_body(const struct http_request *request, size_t *ret_length); /* "" if none */
uint32_t http_peer(const struct http_request *request);   /* IPv4 address of the asker, 0 if it is none */
uint32_t http_server(const struct http_request *request); /* our address that it asked */
bool http_is_local(const struct http_request *request);
bool http_is_tls(const struct http_request *request);
bool http_has_tls(const struct http_request *request); /* it could have come that way */
/* Something of the caller's that stays with the request; freed with free(). */
void http_set_note(struct http_request *request, void *note);
void *http_note(const struct http_request *request);

/* Answers, once, from any thread. `body` is copied. */
void http_reply(struct http_request *request, unsigned int status, const char *type, const void *body, size_t length);
/* From now on its answer is kept, until http_release(). Loop's thread. */
void http_hold(struct http_request *request);
/* The answer goes, now or when it is made; with `instead` (JSON) that goes in its place, as 500. */
void http_release(struct http_request *request, const char *instead);
/* The same with one more header. */
void http_reply_with(struct http_request *request, unsigned int status, const char *type, const void *body,
		     size_t length, const char *header, const char *value);
/* A page, or a part of it: the browser takes scripts and styles from nowhere but here, and shows it in no other's
 * frame. */
void http_reply_page(struct http_request *request, const char *type, const void *body, size_t length);
/* A file; takes `fd`. */
void http_reply_file(struct http_request *request, int fd, uint64_t size);

/*
 * One text for all who ask for it, however slowly they read. Counted; when a newer one takes its place its owner says
 * so before letting it go, and those who still read it are the first to go when there is too much of that.
 */
struct http_document;
struct http_document *http_document_new(void *text, size_t length, const char *type); /* takes `text` (malloc) */
void http_document_stale(struct http_document *document);
void http_document_unref(struct http_document *document); /* NULL is fine */
void http_reply_document(struct http_request *request, struct http_document *document);

/* A listening socket; -errno. */
int http_listen_tcp(uint16_t port);
int http_listen_unix(const char *path); /* mode 0600; an old socket at the path goes */

#endif
