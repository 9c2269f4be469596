/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commits within the daemon: one at a time. The session's PC is kept off, its target goes, a thread writes the new file
 * (commit.h), then the loop switches the catalogue to it, ends the session and prunes old generations.
 */
#ifndef BOOTWELL_COMMIT_SERVICE_H
#define BOOTWELL_COMMIT_SERVICE_H

#include <jansson.h>

#include "daemon/boot/boot.h"
#include "daemon/catalogue/catalogue.h"
#include "daemon/config/config.h"
#include "daemon/core/loop.h"
#include "tcmu-handler/image/sentence.h"

struct commit_service;

struct commit_parts {
	struct loop *loop;
	struct boot *boot;
	struct catalogue *catalogue;
	struct state *state;
	struct config *const *config;
};

int commit_service_new(struct commit_service **ret, const struct commit_parts *parts);
/*
 * Stops a commit that runs, while the loop is there; the session stays. Its thread is waited for some seconds: one that
 * hangs in the folder of images does not hold the end of the program. NULL is fine.
 */
void commit_service_stop(struct commit_service *service);
/* After loop_free(), which may still tell it something. */
void commit_service_free(struct commit_service *service);

/* `format`: one of SPARSE_FORMAT_NAMES, or "": as the image is (what cannot be written: SPARSE_USUAL). `look`: only
 * says what would be written. -errno with the sentence; 0: it has begun, commit_service_json() tells the rest. */
int commit_service_begin(struct commit_service *service, const char *image, const char *format, bool look,
			 struct sentence *error);
/* The same with what the doctor can mend in the current generation, which stays as it is. -EBUSY: a client is updating
 * it. */
int commit_service_mend(struct commit_service *service, const char *image, const char *format, struct sentence *error);
int commit_service_cancel(struct commit_service *service, const char *image, struct sentence *error);

/* The last commit, or the one that runs: {image, state: preparing|looking|writing|done|failed, ...}; null if none, or
 * no service. */
json_t *commit_service_json(const struct commit_service *service);

#endif
