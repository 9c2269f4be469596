/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One connection to the upload service, for uploader.c: a request, its answer, what an answer means. */
#ifndef BOOTWELL_UPLOADER_HTTP_H
#define BOOTWELL_UPLOADER_HTTP_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/uploader/uploader.h"
#include "tcmu-handler/image/sentence.h"

struct uploader_http;

/* `limit`: bytes/s of this connection, 0: none. NULL: out of memory. */
struct uploader_http *uploader_http_new(const struct uploader_options *options, uint64_t limit);
void uploader_http_free(struct uploader_http *http);

struct uploader_reply {
	long status; /* HTTP; 0: no answer came */
	char *body;  /* to be freed */
	size_t length;
	struct sentence error;    /* the server's sentence, or why there is no answer */
	char reason[16];          /* the server's word for it */
	unsigned int retry_after; /* s that it asks to wait; 0: it did not say */
};
#define UPLOADER_WAIT_MAX  60                 /* s: no server may ask for more */
#define UPLOADER_REPLY_MAX ((size_t)64 << 20) /* digests of 8 TiB */

/*
 * `body` NULL: none; `digest` NULL: it is no part. Returns 0 for an answer of 2xx; -ECONNRESET: there was none;
 * otherwise what the answer means: -EACCES, -ENOENT, -ESTALE, -EBUSY, -EEXIST, -ENODATA, -EBADMSG, -EAGAIN, -EMFILE,
 * -ENOSPC, -EINVAL, -EIO. The reply is filled in each case, and freed by the caller.
 */
int uploader_request(struct uploader_http *http, const char *method, const char *path, const void *body, size_t length,
		     const char *digest, struct uploader_reply *ret);
void uploader_reply_done(struct uploader_reply *reply);

#endif
