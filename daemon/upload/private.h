/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What upload/session.c (one upload) and upload/store.c (all of them) share. */
#ifndef BOOTWELL_UPLOAD_PRIVATE_H
#define BOOTWELL_UPLOAD_PRIVATE_H

#include <pthread.h>
#include <time.h>

#include "daemon/upload/journal.h"
#include "daemon/upload/session.h"

enum part_state { PART_MISSING, PART_BUSY, PART_ZERO, PART_DATA };
enum session_state { SESSION_LOADING, SESSION_OPEN, SESSION_FINISHING, SESSION_DONE, SESSION_ENDED };

struct upload_part {
	struct sparse_place place;
	uint32_t bytes; /* of data */
	uint8_t state;
};

#define RATE_SAMPLES 8
struct rate_sample {
	time_t at;
	uint64_t received;
};

struct upload_session {
	struct upload_store *store;
	struct upload_session *next; /* under the store's lock, like refs */
	unsigned int refs;
	char image[UPLOAD_NAME_MAX];
	struct upload_header header;
	enum image_format format;

	pthread_mutex_t lock; /* the rest */
	enum session_state state;
	int dirfd, data, journal; /* -1: not open */
	struct sparse_file *sparse;
	uint64_t parts, parts_have, received;
	struct upload_part *part;
	uint8_t *digest;
	uint64_t verified; /* parts whose data was read back while loading */
	time_t last_seen;  /* CLOCK_MONOTONIC s; 0: not since the server started */
	struct rate_sample sample[RATE_SAMPLES];
	unsigned int samples;
	struct upload_image result; /* SESSION_DONE */
};

struct upload_store {
	char path[4096];
	int images, dir; /* the folder of images; .upload in it */
	struct upload_ops ops;
	pthread_mutex_t lock;
	struct upload_session *sessions;
};

int upload_fail(struct upload_refusal *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
time_t upload_now(void);

/* Bytes of the file system that others have been promised and have not used. */
uint64_t upload_promised(struct upload_store *store, const struct upload_session *but);

/* upload/session.c: a session's files. */
int session_create(struct upload_session *s, struct upload_refusal *error);
/* *ret: SESSION_OPEN with what is really there, or SESSION_DONE (data open: not yet adopted). */
int session_load(struct upload_session *s, enum session_state *ret, struct upload_refusal *error);
int session_files_remove(struct upload_store *store, const char *image);
void session_close(struct upload_session *s);
void session_free(struct upload_session *s);
int session_adopt(struct upload_session *s, struct upload_refusal *error);
int session_complete(struct upload_session *s, struct upload_refusal *error);

#endif
