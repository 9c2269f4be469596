/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images that are being received, without the network: who may write which name, which parts are there, how an upload
 * goes on after a break, how a finished one becomes an image. See upload/session.c for the states on disk.
 *
 * Safe from any thread. Every function that fails gives a sentence for the person at the PC in `error` (NULL is fine).
 */
#ifndef BOOTWELL_UPLOAD_SESSION_H
#define BOOTWELL_UPLOAD_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/image/digest.h"
#include "daemon/image/sparse_file.h"
#include "daemon/image/upload_limits.h"
#include "tcmu-handler/image/sentence.h"

struct upload_refusal {
	struct sentence why;
	unsigned int retry_after; /* s after which the same may work; 0: nobody knows */
};

/* A finished image, to be put in the catalogue. */
struct upload_image {
	char image[UPLOAD_NAME_MAX];     /* name in the catalogue */
	char file[UPLOAD_NAME_MAX + 16]; /* beneath the images folder */
	enum image_format format;
	bool update;       /* the image exists: this is its next generation */
	bool pc;           /* a PC sent it, with the secret of its capture script */
	bool make_current; /* an operator said that new boots get the generation */
	uint64_t size, file_size, disk_bytes;
	char id[40]; /* UUID or CID */
	char who[UPLOAD_WHO_MAX];
	uint8_t digest[DIGEST_SIZE];
	/* Filled in by publish(); 0: not known any more */
	uint32_t generation, current; /* that it became; that new boots get */
};

/* What the service asks its owner. Called from any thread, never with a lock held. */
struct upload_ops {
	void *arg;
	/* Is there an image of that name? 1, 0, -errno. */
	int (*exists)(void *arg, const char *image);
	/* The file of the last generation: 1 and its name, 0: none, -errno. NULL: nobody knows. */
	int (*newest)(void *arg, const char *image, char ret[UPLOAD_NAME_MAX + 16]);
	/* Puts it in the catalogue; called again after a crash, so an image that is there already is fine. */
	int (*publish)(void *arg, struct upload_image *image, struct upload_refusal *error);
};

struct upload_store;
struct upload_session;

/* `path`: the folder of images; unfinished ones live in .upload beneath it. Finishes what was cut off at the very end.
 * May hang with the folder: for a thread. */
int upload_store_new(struct upload_store **ret, const char *path, const struct upload_ops *ops,
		     struct upload_refusal *error);
void upload_store_free(struct upload_store *store); /* no session is in use any more; files stay */

struct upload_request {
	char file[UPLOAD_NAME_MAX];   /* "xp01.vmdk", "win7.vhd" */
	char who[UPLOAD_WHO_MAX];     /* who sends: the same one may come back to it */
	char session[UPLOAD_KEY_MAX]; /* the sender's key for this run */
	uint64_t size;                /* bytes of the disk */
	uint64_t used;                /* bytes that it may have to send, at most; 0: size */
	bool update, make_current;
	bool pc;    /* comes with the secret of a capture script */
	bool spent; /* whose upload is done: it may only ask about that one again */
};

/* "xp01" of "xp01.vmdk". -EINVAL with a sentence when the name will not do. */
int upload_image_name(const char *file, char ret[UPLOAD_NAME_MAX], struct upload_refusal *error);

/*
 * Begins an upload, or goes on with the one of that name. -EINVAL: name or size; -EBUSY: somebody else is at it;
 * -EEXIST: there is such an image (or none, for an update: -ENOENT); -ENOSPC; -EFBIG: too large for the format;
 * -EMFILE: too many uploads; -EACCES: the request is spent, and its upload is not one that is done.
 */
int upload_begin(struct upload_store *store, const struct upload_request *request, struct upload_session **ret,
		 struct upload_refusal *error);
struct upload_session *upload_find(struct upload_store *store, const char *id); /* NULL if it is not there (any more) */
void upload_unref(struct upload_session *session);

/* What does not change while a session is held. */
const char *upload_id(const struct upload_session *session);
uint64_t upload_size(const struct upload_session *session);
const char *upload_image(const struct upload_session *session); /* without an ending */
const char *upload_file(const struct upload_session *session);
const char *upload_who(const struct upload_session *session);
bool upload_by_pc(const struct upload_session *session);

/* All of it is there, and the image is being made or was. */
bool upload_is_whole(struct upload_session *session);

/*
 * A part as received: `data` is all of it, zero where `bitmap` has no bit. -EBADMSG: it is not what `digest` says;
 * -EBUSY: the same part is being written; -ENOSPC; -ESTALE: taken over or ended.
 */
int upload_put_part(struct upload_session *session, uint64_t part, const uint8_t bitmap[SPARSE_BITMAP],
		    const uint8_t *data, const uint8_t digest[DIGEST_SIZE], struct upload_refusal *error);
int upload_put_zero(struct upload_session *session, uint64_t first, uint64_t count, struct upload_refusal *error);
/* Digests of all parts, zeros for those that are missing: digest_parts(size) * 32 bytes to be freed, or NULL. */
uint8_t *upload_digests(struct upload_session *session);

/* -ENODATA: parts are missing; -EBADMSG: the disk is not what `digest` says. Asked again after it ended: the same. */
int upload_finish(struct upload_session *session, const uint8_t digest[DIGEST_SIZE], struct upload_image *ret,
		  struct upload_refusal *error);
int upload_abort(struct upload_session *session); /* forgets it and its data */
/* ret_who: the PC that sent it; "" none did. */
int upload_abort_name(struct upload_store *store, const char *image, char ret_who[UPLOAD_WHO_MAX],
		      struct upload_refusal *error);

struct upload_progress {
	char file[UPLOAD_NAME_MAX], who[UPLOAD_WHO_MAX];
	const char *state;   /* "receiving", "waiting", "finishing", "done" */
	uint64_t size, used; /* bytes */
	uint64_t parts, parts_have;
	uint64_t received; /* bytes of data that are there */
	uint64_t rate;     /* bytes/s over the last seconds */
	uint64_t left_s;   /* UINT64_MAX: nobody knows */
	int64_t started;   /* CLOCK_REALTIME s */
};
void upload_each(struct upload_store *store, void (*fn)(void *arg, const struct upload_progress *p), void *arg);

#endif
