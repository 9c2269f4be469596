/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sending side of an upload (docs/upload-protocol.md): the capture system and `bootwell image upload` are made of
 * this. It reads, hashes and sends parts on a few threads, goes on after every break of the connection, and finishes
 * only when the server has exactly what was read.
 */
#ifndef BOOTWELL_UPLOADER_H
#define BOOTWELL_UPLOADER_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/image/digest.h"
#include "daemon/image/upload_limits.h"
#include "daemon/uploader/source.h"
#include "tcmu-handler/image/sentence.h"

struct uploader_progress {
	uint64_t size, used; /* bytes of the disk; to be read at most */
	uint64_t done;       /* of `used`: sent, or found to be there or to be zero */
	uint64_t sent;       /* bytes that went over the wire */
	uint64_t rate;       /* of `done`, bytes/s over the last seconds */
	uint64_t left_s;     /* UINT64_MAX: nobody knows */
	unsigned int seconds;
	const char *trouble; /* what keeps it from going on just now, or NULL; then `seconds_trouble` */
	unsigned int seconds_trouble;
	bool finishing; /* all is there; the server checks and syncs it */
};

struct uploader_options {
	const char *server;   /* "192.168.1.10" or a name */
	uint16_t port;        /* 0: 1000 */
	const char *name;     /* "xp01.vmdk" */
	const char *token;    /* of an operator, or NULL */
	const char *secret;   /* that a PC's capture script gave to it, or NULL */
	bool tls;             /* https */
	const char *pin;      /* "sha256//BASE64": the server's key is this, whoever signed it; or NULL */
	const char *ca;       /* a file with who may sign the server's certificate; NULL: as curl has it */
	bool update;          /* a new generation of an image that is there */
	bool make_current;    /* new boots get it; for operators */
	unsigned int workers; /* 0: as many as CPUs, 2 to 4 */
	uint64_t limit;       /* bytes/s over the wire; 0: none */
	unsigned int
		give_up; /* s without an answer of the server, or told to come again, after which it ends; 0: never */
	bool alone; /* nothing else sends from this PC: an upload of its own that the server still waits for is a dead
		       one's */
	/* Called about four times a second, from the calling thread; nonzero: stop, the upload can be gone on with
	 * later. */
	int (*progress)(void *arg, const struct uploader_progress *progress);
	void *arg;
};

struct uploader_result {
	char image[UPLOAD_NAME_MAX], file[UPLOAD_NAME_MAX + 16];
	uint64_t disk_bytes;          /* that the image takes on the server */
	uint32_t generation, current; /* that it became; that new boots get; 0: the server does not say */
	uint64_t sent;                /* bytes over the wire */
	uint8_t digest[DIGEST_SIZE];
	struct sentence error;
};

/*
 * 0; -ECANCELED: stopped; -EACCES, -EBUSY, -EEXIST, -ENOSPC, -ETIMEDOUT (gave up), -EIO (the source cannot be read), or
 * another -errno, each with result->error.
 */
int uploader_run(struct upload_source *source, const struct uploader_options *options, struct uploader_result *result);

/* Asks the server who it takes this machine for. -EACCES: may not upload. */
int uploader_hello(const struct uploader_options *options, char ret_who[UPLOAD_WHO_MAX],
		   struct uploader_result *result);
/* Ends somebody's unfinished upload; needs an operator's token. */
int uploader_abort(const struct uploader_options *options, const char *image, struct uploader_result *result);

#endif
