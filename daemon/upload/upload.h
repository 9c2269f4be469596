/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The upload service: HTTP on port 1000 (docs/upload-protocol.md), with threads of its own, because hashing and disks
 * take their time and a loop must not. What belongs to the rest of the daemon is asked through `struct upload_owner`.
 */
#ifndef BOOTWELL_UPLOAD_H
#define BOOTWELL_UPLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/upload/session.h"

struct upload_server;

/* A request, as far as it matters for who may do what. */
struct upload_asking {
	uint32_t address;          /* host byte order */
	const char *authorization; /* the header as it came, or NULL */
	const char *image;         /* that it wants to begin, without an ending; NULL: none yet */
};

/* Who asks. What a PC is named says nothing of what it may. */
struct upload_asker {
	char who[UPLOAD_WHO_MAX];
	bool is_operator;
	bool pc, spent; /* as in struct upload_request */
	bool claimed;   /* the secret was bound to `image` by this very request */
};

/* What happened, for the audit log. */
struct upload_event {
	const char *what; /* "begin", "end", "refused", "abort" */
	char who[UPLOAD_WHO_MAX];
	uint32_t address; /* host byte order */
	char image[UPLOAD_NAME_MAX], file[UPLOAD_NAME_MAX + 16];
	bool update;
	uint32_t generation, current; /* end: that it became; that new boots get; 0: not known */
	uint64_t size, bytes;         /* of the disk; end: that the image takes */
	char why[SENTENCE_MAX];       /* refused */
};

/* Called on the service's threads. */
struct upload_owner {
	struct upload_ops ops;
	/* May this peer upload? 0 and who it is, or -EACCES, -EBUSY with the sentence. */
	int (*permit)(void *arg, const struct upload_asking *asking, struct upload_asker *ret,
		      struct upload_refusal *error);
	/* After a permit that claimed: the upload was refused. NULL: nothing is claimed. */
	void (*release)(void *arg, const char *authorization);
	/*
	 * May who has this go on with the upload of `image` that the PC `who` began? `whole`: all of it is there, it is
	 * only asked about. 0, -EACCES. NULL: no PC begins one. Must not wait.
	 */
	int (*goes_on)(void *arg, const char *authorization, const char *who, const char *image, bool whole);
	/* The upload of `image` by the PC `who` was ended by somebody. NULL: nobody cares. */
	void (*ended)(void *arg, const char *who, const char *image);
	/* For the audit log; NULL: there is none. */
	void (*note)(void *arg, const struct upload_event *event);
	/* Tells a log line for the administrator; `bad`: a failure. */
	void (*log)(void *arg, bool bad, const char *sentence);
	const char *tls_certificate, *tls_key; /* PEM; NULL: no TLS. Both are spoken on the same port. */
};

/* `fd`: a listening TCP socket; it and the store are taken, also on failure. */
int upload_server_new(struct upload_server **ret, int fd, struct upload_store *store, const struct upload_owner *owner,
		      struct upload_refusal *error);
/* Ends all connections; unfinished uploads stay on disk. NULL is fine. */
void upload_server_free(struct upload_server *server);
struct upload_store *upload_server_store(struct upload_server *server);

/* The uploads as a JSON array, to be freed; for status. NULL: out of memory. */
char *upload_status_json(struct upload_store *store);

#endif
