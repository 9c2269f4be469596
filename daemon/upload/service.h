/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The upload service within the daemon: its threads ask the loop's thread who may upload and what the catalogue has,
 * and tell it what has arrived.
 */
#ifndef BOOTWELL_UPLOAD_SERVICE_H
#define BOOTWELL_UPLOAD_SERVICE_H

#include "daemon/boot/boot.h"
#include "daemon/catalogue/catalogue.h"
#include "daemon/core/access.h"
#include "daemon/config/config.h"
#include "daemon/core/loop.h"
#include "daemon/upload/upload.h"

struct upload_service;

struct upload_service_parts {
	struct loop *loop;
	struct boot *boot;
	struct catalogue *catalogue;
	struct state *state;
	struct config *const *config; /* the one in use */
	struct access *access;
	const char *tls_certificate, *tls_key; /* PEM; NULL: no TLS */
	/* For the audit log: on the loop's thread. */
	void (*note)(void *arg, const struct upload_event *event);
	void *arg;
};

/*
 * Opens the port of `[http] upload-port`, and begins to open the folder of images and to finish what was cut off at its
 * end. What goes wrong is in upload_service_problem(), and upload_service_try() begins again.
 */
int upload_service_new(struct upload_service **ret, const struct upload_service_parts *parts);
/* Nothing happens while it serves, or still waits for the folder. */
void upload_service_try(struct upload_service *service);
bool upload_service_serves(const struct upload_service *service);
/* Why it does not serve; NULL: it does, or is about to. NULL is fine. */
const char *upload_service_problem(struct upload_service *service);
/*
 * Loop's thread, while the loop is there. Uploads that are under way break off and can be gone on with; what hangs in
 * the folder of images is waited for some seconds, and left behind. NULL is fine.
 */
void upload_service_stop(struct upload_service *service);
/* After loop_free(), which may still tell it something. */
void upload_service_free(struct upload_service *service);
/* NULL: it does not serve. */
struct upload_store *upload_service_store(struct upload_service *service);

#endif
