/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All clients as they are at a moment, copied on the loop's thread a few hundred in each of its rounds, so that packets
 * are answered between; whoever prints them, does so on another thread. At most one is taken at a time, and all who ask
 * share it.
 */
#ifndef BOOTWELL_SNAPSHOT_H
#define BOOTWELL_SNAPSHOT_H

#include "daemon/boot/boot.h"
#include "daemon/target/target.h"

struct snapshot_client {
	struct state_client rec;
	struct state_boot boot; /* its last */
	enum boot_state state;
	bool has_section, has_target;
	unsigned int section_line;
	char section_group[CONFIG_NAME_MAX];
	char image[CONFIG_NAME_MAX], session[64]; /* of its target; where it is logged in from */
	char disk[TARGET_ID_MAX], iqn[TARGET_NAME_MAX];
	/* what it may start, from configuration and record */
	char choice[CONFIG_IMAGES][CONFIG_NAME_MAX];
	unsigned int choices;
	struct config_disk extra[CONFIG_DISKS];
	unsigned int extras;
	bool keep, upload;
	struct {
		char image[CONFIG_NAME_MAX];
		uint32_t generation; /* 0: not known */
	} use[CONFIG_DISKS + 1];
	unsigned int uses;
};

struct snapshot {
	unsigned int refs;            /* atomic */
	bool failed;                  /* out of memory: some are missing */
	uint64_t begun;               /* loop_now() */
	struct snapshot_client *copy; /* as they came */
	size_t copies, room;
	const struct snapshot_client **client; /* each once, by name, PC2 before PC10 */
	size_t clients;
};

struct snapshots;

int snapshots_new(struct snapshots **ret, struct loop *loop, struct boot *boot);
/* Before `boot` is freed; who waits is told NULL. NULL is fine. */
void snapshots_free(struct snapshots *snapshots);

/* Calls done(arg, snapshot), now or later, on the loop's thread; the snapshot is valid within the call, and longer with
 * snapshot_ref(). `age`: ns that it may be old; 0: it shows at least what is now. -ENOMEM: it is not called. */
typedef void (*snapshot_fn)(void *arg, struct snapshot *snapshot);
int snapshot_take(struct snapshots *snapshots, uint64_t age, snapshot_fn done, void *arg);
struct snapshot *snapshot_ref(struct snapshot *snapshot);
void snapshot_unref(struct snapshot *snapshot); /* any thread; NULL is fine */

/* Of one client, alone in a snapshot of its own; -ENOENT. */
int snapshot_one(struct boot *boot, const char *name, struct snapshot **ret);

#endif
