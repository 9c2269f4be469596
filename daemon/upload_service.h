/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The upload service within the daemon: its threads ask the loop's thread who may upload and what the catalogue has, and
 * tell it what has arrived.
 */
#ifndef BOOTWELL_UPLOAD_SERVICE_H
#define BOOTWELL_UPLOAD_SERVICE_H

#include "daemon/boot.h"
#include "daemon/catalogue.h"
#include "daemon/config.h"
#include "daemon/loop.h"
#include "daemon/upload.h"

struct upload_service;

struct upload_service_parts {
	struct loop *loop;
	struct boot *boot;
	struct catalogue *catalogue;
	struct store *store;
	struct config *const *config; /* the one in use */
};

/* Opens the port of `[http] upload-port` and finishes what was cut off at its end. -errno with a sentence. */
int upload_service_new(struct upload_service **ret, const struct upload_service_parts *parts,
		       struct upload_error *error);
/* Loop's thread, while the loop is there. Uploads that are under way break off and can be gone on with. NULL is fine. */
void upload_service_stop(struct upload_service *service);
/* After loop_free(), which may still tell it something. */
void upload_service_free(struct upload_service *service);
struct upload_store *upload_service_store(struct upload_service *service);

#endif
