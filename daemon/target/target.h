/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LIO targets through configfs, of which this is the only writer: for each disk of a PC a TCMU
 * backstore, an IQN of its own with one portal group, one ACL with CHAP, a LUN for each disk. Nobody
 * but that initiator with that secret can log in.
 *
 * The calls block, some of them for as long as tcmu-runner takes: they are made on a helper thread,
 * one at a time (target_add and target_remove take turns by themselves). target_rescue() is the way
 * out of a call that hangs, and may be called from another thread. Errors come with one sentence
 * for a person.
 */
#ifndef BOOTWELL_TARGET_H
#define BOOTWELL_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "tcmu-handler/handover.h"
#include "tcmu-handler/image/sentence.h"

#define TARGET_ID_MAX     HANDOVER_ID_MAX /* with NUL: of a disk */
#define TARGET_NAME_MAX   224             /* with NUL: iSCSI names, RFC 7143 section 4.2.7 */
#define TARGET_SECRET_MAX 17              /* with NUL: Windows wants 12 to 16 characters */

#define TARGET_LUNS 4 /* further disks of a target, LUN 1 to 4 */

struct targets;

/* Another disk of the same PC. */
struct target_lun {
	char id[TARGET_ID_MAX];
	char serial[40];
	uint64_t size; /* bytes */
	bool read_only;
};

/* ID is CLIENT-LUN: what differs in LUN only belongs to the same target. */
struct target_disk {
	char id[TARGET_ID_MAX];
	char iqn[TARGET_NAME_MAX];
	char initiator[TARGET_NAME_MAX];
	char user[64];
	char secret[TARGET_SECRET_MAX];
	char serial[40]; /* a UUID: what the guest knows its disk by; stays the same over boots */
	uint64_t size;   /* bytes */
	uint16_t port;
	struct target_lun lun[TARGET_LUNS]; /* the first is LUN 1 */
	unsigned int luns;
};

/*
 * `root`: NULL for the kernel's configfs, or a directory that stands in for it (tests). `run`:
 * bootwelld's folder in /run, where the handler leaves ID.error.
 */
int targets_new(struct targets **ret, const char *root, const char *run);
/* Changes are made by bootwell-configfs at this socket (configfs_remote.h), not by ourselves. */
void targets_helper(struct targets *targets, const char *socket);
void targets_free(struct targets *targets); /* leaves the targets in the kernel */

/* Whether the kernel has what is needed; loads what can be loaded. */
int targets_check(struct targets *targets, struct sentence *error);

/* Makes the target of a disk. What was made before a failure is taken back. */
int target_add(struct targets *targets, const struct target_disk *disk, struct sentence *error);

/* Opens the disk once, without a target, and closes it again: the handler has then done what its record says (a reset).
 */
int target_touch(struct targets *targets, const struct target_disk *disk, struct sentence *error);

/* Ends the session, if there is one, and removes target and backstore; parts that are missing are
 * fine. */
int target_remove(struct targets *targets, const char *iqn, const char *id, struct sentence *error);

/* Gets a target_add() or target_remove() that has hung since `seconds` out of the kernel; not one that waits for a
 * tcmu-runner which is at work. Any thread. */
void target_rescue(struct targets *targets, unsigned int seconds);

struct target_session {
	bool logged_in;
	char address[64]; /* of the initiator */
};
/* -ENOENT if the target is not there. Quick; does not wait for a target_add(). */
int target_session(struct targets *targets, const char *iqn, struct target_session *ret);

/*
 * What the kernel counts of one target, read where it shows it (target/stats.c). All of them begin at zero when the
 * target is made, which is at each boot. A number that this kernel does not have is 0.
 */
struct target_counts {
	uint64_t sessions; /* now */
	uint64_t logins, logins_authenticate, logins_authorize, logins_negotiate,
		logins_other; /* and refusals, by reason */
	uint64_t logouts, logouts_abnormal;
	uint64_t errors_digest, errors_connection, errors_format;
	unsigned int luns; /* 1 and further disks */
	struct target_lun_counts {
		uint64_t commands, read_bytes, written_bytes; /* the kernel counts MiB, in 32 bits */
	} lun[1 + TARGET_LUNS];
	uint64_t aborts, resets; /* of LUN 0's backstore */
	/* of the session that there is; they begin with it */
	uint64_t session_commands, session_responses, session_sent_bytes, session_received_bytes;
};
/* -ENOENT if the target is not there. May wait behind a target_remove(). Any thread. */
int target_counts(struct targets *targets, const char *iqn, const char *id, struct target_counts *ret);

/* What an earlier run left: every IQN that begins with `prefix`, with the disk it serves. */
struct target_found {
	char iqn[TARGET_NAME_MAX];
	char id[TARGET_ID_MAX];          /* "" if it has no backstore */
	char initiator[TARGET_NAME_MAX]; /* "" if it has no ACL */
	bool complete;                   /* enabled, with backstore, LUN and ACL */
	bool logged_in;
};
int target_each(struct targets *targets, const char *prefix, void (*fn)(void *arg, const struct target_found *found),
		void *arg);
/* Backstores of ours that no target serves. */
int target_each_orphan(struct targets *targets, void (*fn)(void *arg, const char *id), void *arg);

/* For tests: sees every configfs operation, and fails it by returning -errno. */
void targets_trace(struct targets *targets,
		   int (*trace)(void *arg, const char *operation, const char *path, const char *value), void *arg);

#endif
