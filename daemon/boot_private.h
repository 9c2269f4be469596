/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of boot share: boot.c (DHCP, scripts), boot_watch.c (start, polling), boot_admin.c
 * (people). */
#ifndef BOOTWELL_BOOT_PRIVATE_H
#define BOOTWELL_BOOT_PRIVATE_H

#include "daemon/boot.h"
#include "daemon/boot_clients.h"
#include "daemon/boot_disk.h"
#include "daemon/catalogue.h"
#include "daemon/loop.h"

struct boot_poll;

struct boot {
	struct loop *loop;
	const struct config *config;
	struct store *store;
	struct catalogue *catalogue;
	struct targets *targets; /* NULL: off */
	struct boot_clients *clients;
	struct boot_disks *disks;
	struct boot_stats stats;
	struct config_profile merged; /* of the last boot_profile() */

	unsigned int adopted, adopted_running; /* targets that an earlier run left */

	int64_t committing; /* client whose session is being committed: it must not start; 0 none */

	struct loop_source *timer; /* polling */
	struct boot_poll *poll;    /* the look that is under way on a helper thread */
	uint64_t slow_poll_ns;     /* CLOCK_MONOTONIC of the last look at everybody */
};

uint64_t boot_realtime_ns(void);

/* Merged; valid until the next call. */
const struct config_profile *boot_profile(struct boot *boot, const struct config_client *section,
					  const struct store_client *rec);
/* The section that is about this PC; NULL: none. */
const struct config_client *boot_section(const struct boot *boot, const struct boot_client *client);

void boot_send_menu(struct boot *boot, struct boot_client *client,
		    const struct config_profile *profile, boot_script_fn done, void *arg);

/* True, and the script of the capture system is sent, when the PC's disk is to be captured: boot_upload.c. */
bool boot_send_capture(struct boot *boot, struct boot_client *client,
		       const struct config_profile *profile, boot_script_fn done, void *arg);

/* The update session of a PC, boot_session.c: what it boots instead of anything else. 1, 0, -errno. */
int boot_session_of(struct boot *boot, const struct boot_client *client, struct store_session *ret);
/* Makes the PC's disk the session's. -ESTALE with the sentence: the image has moved on. */
int boot_session_job(const struct store_session *session, struct boot_disk_job *job,
		     char error[BOOT_ERROR_MAX]);

/* The further disks of a PC, boot_luns.c. boot_luns_job: -errno with the sentence. */
int boot_luns_job(struct boot *boot, const struct boot_client *client, const struct config_profile *profile, struct boot_disk_job *job,
		  char error[CATALOGUE_ERROR_MAX]);
void boot_luns_ready(struct boot_client *client, const struct boot_disk_job *job);
void boot_luns_adopt(struct boot_client *client, const struct config_profile *profile);
/* Has the PC's target a disk of the image? generation 0: any; one that is not known counts as that. */
bool boot_luns_use(const struct boot_client *client, const char *image, uint32_t generation);

/* Looks often for a while: something happens. */
void boot_watch_arm(struct boot *boot);

#endif
