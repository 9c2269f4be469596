/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An HTTP server on the loop (libmicrohttpd without threads of its own), on a listening socket that
 * it is given: TCP, or a unix socket for the command line. A request may be answered later: until
 * http_reply() its connection sleeps.
 */
#ifndef BOOTWELL_HTTP_H
#define BOOTWELL_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/loop.h"

#define HTTP_BODY_MAX (1 << 20) /* bytes of a request's body; more is answered with 413 */

struct http;
struct http_request;

/* Called once a request is there whole. It must be answered, now or later. */
typedef void (*http_fn)(void *arg, struct http_request *request);

/* Takes `fd`. `local`: the socket is one that only root can reach. */
int http_new(struct http **ret, struct loop *loop, int fd, bool local, http_fn fn, void *arg);
/* What is unanswered gets 503. */
void http_free(struct http *http);

const char *http_method(const struct http_request *request);
const char *http_path(const struct http_request *request);                     /* "/status" */
const char *http_query(const struct http_request *request, const char *key);   /* NULL: not given */
const char *http_header(const struct http_request *request, const char *name); /* NULL: not given */
const char *http_body(const struct http_request *request, size_t *ret_length); /* "" if none */
uint32_t
http_peer(const struct http_request *request); /* IPv4 address of the asker, 0 if it is none */
uint32_t http_server(const struct http_request *request); /* our address that it asked */
bool http_is_local(const struct http_request *request);

/* Answers, once. `body` is copied. */
void http_reply(struct http_request *request, unsigned int status, const char *type,
		const void *body, size_t length);
/* A page, or a part of it: the browser takes scripts and styles from nowhere but here, and shows it in no other's frame. */
void http_reply_page(struct http_request *request, const char *type, const void *body, size_t length);
/* A file; takes `fd`. */
void http_reply_file(struct http_request *request, int fd, uint64_t size);

/* A listening socket; -errno. */
int http_listen_tcp(uint16_t port);
int http_listen_unix(const char *path); /* mode 0600; an old socket at the path goes */

#endif
