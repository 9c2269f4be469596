/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disk side of a boot, away from the loop: the old target goes, the record for the handler is
 * written (docs/handover.md), the new target is made. One job at a time, in the order of asking:
 * many adds at once overflow tcmu-runner's netlink socket. Private to boot*.c.
 */
#ifndef BOOTWELL_BOOT_DISK_H
#define BOOTWELL_BOOT_DISK_H

#include "daemon/catalogue/catalogue.h"
#include "daemon/config/config.h"
#include "daemon/core/loop.h"
#include "daemon/target/target.h"
#include "tcmu-handler/image/sentence.h"

struct boot_disks;

struct boot_disk_job {
	struct boot_disk_job *next;
	int64_t client; /* id */
	uint32_t asker; /* whose request it is; 0: a person's */

	/* What goes first; "" nothing. */
	char old_iqn[TARGET_NAME_MAX];
	char old_disk[TARGET_ID_MAX];

	/* What is made then, if `make`; with `touch` it is only opened and closed again. */
	bool make, touch;
	struct target_disk disk;
	char name[CONFIG_HOST_MAX];
	char images_path[256];
	char overlay[40], boot[40], reset[40];
	bool keep;
	bool set_name; /* `name` becomes the computer's name in an empty write-back: boot/name.h */
	struct catalogue_chain chain;
	/* Further disks: as many as disk.luns, LUN 1 and on. */
	struct boot_disk_extra {
		char overlay[40];
		enum config_disk_mode mode;
		struct catalogue_chain chain;
	} extra[TARGET_LUNS];

	/* The result, on the loop's thread. The job is freed after the call. */
	void (*done)(void *arg, struct boot_disk_job *job, int result);
	void *arg;
	struct sentence error;
	char ended[64]; /* a session that was ended, its address; "" none */
	uint64_t took_ns;
};

int boot_disks_new(struct boot_disks **ret, struct loop *loop, struct targets *targets, const char *run_path);
/* Jobs are dropped without a call; one that runs is waited for by loop_free(). */
void boot_disks_free(struct boot_disks *disks);

/* Takes the job, which is malloc()ed. */
void boot_disks_queue(struct boot_disks *disks, struct boot_disk_job *job);
unsigned int boot_disks_waiting(const struct boot_disks *disks);

/* engine.conf, before the first target. */
int boot_disks_write_engine(const struct config *config, struct sentence *error);

/* A UUID as text, random. */
void boot_uuid(char ret[40]);
/* Letters and digits, random. */
void boot_secret(char ret[TARGET_SECRET_MAX]);

#endif
