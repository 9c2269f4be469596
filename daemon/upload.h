/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The upload service: HTTP on port 1000 (docs/upload-protocol.md), with threads of its own, because hashing and disks
 * take their time and a loop must not. What belongs to the rest of the daemon is asked through `struct upload_owner`.
 */
#ifndef BOOTWELL_UPLOAD_H
#define BOOTWELL_UPLOAD_H

#include <stdint.h>

#include "daemon/upload_session.h"

struct upload_server;

/* Called on the service's threads. */
struct upload_owner {
	struct upload_ops ops;
	/*
	 * May this peer upload? `address` in host byte order; `token` as in "Authorization: Bearer", or NULL. 0 and who it is,
	 * or -EACCES with the sentence.
	 */
	int (*permit)(void *arg, uint32_t address, const char *token, char ret_who[UPLOAD_WHO_MAX],
		      struct upload_error *error);
	/* Tells a log line for the administrator; `bad`: a failure. */
	void (*log)(void *arg, bool bad, const char *sentence);
};

/* `fd`: a listening TCP socket, taken. `path`: the folder of images. */
int upload_server_new(struct upload_server **ret, int fd, const char *path, const struct upload_owner *owner,
		      struct upload_error *error);
/* Ends all connections; unfinished uploads stay on disk. NULL is fine. */
void upload_server_free(struct upload_server *server);
struct upload_store *upload_server_store(struct upload_server *server);

/* The uploads as a JSON array, to be freed; for status. NULL: out of memory. */
char *upload_status_json(struct upload_store *store);

#endif
