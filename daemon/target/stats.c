// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kernel's counts of a target, one number a file (kernel: drivers/target/target_core_stat.c,
 * drivers/target/iscsi/iscsi_target_stat.c):
 *
 *	iscsi/IQN/fabric_statistics/iscsi_{instance,login_stats,logout_stats,sess_err}/
 *	iscsi/IQN/tpgt_1/lun/lun_N/statistics/scsi_tgt_port/
 *	iscsi/IQN/tpgt_1/acls/INITIATOR/fabric_statistics/iscsi_sess_stats/	while it has a session
 *	core/user_0/ID/statistics/scsi_tgt_dev/
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/target/private.h"

#define MIB 1048576ull

struct count {
	const char *file; /* beneath the folder */
	size_t offset;    /* in struct target_counts, or target_lun_counts */
	uint64_t unit;
};

#define COUNT(file, member)                                                                                            \
	{                                                                                                              \
		file, offsetof(struct target_counts, member), 1                                                        \
	}

static const struct count of_target[] = {
	COUNT("iscsi_login_stats/accepts", logins),
	COUNT("iscsi_login_stats/authenticate_fails", logins_authenticate),
	COUNT("iscsi_login_stats/authorize_fails", logins_authorize),
	COUNT("iscsi_login_stats/negotiate_fails", logins_negotiate),
	COUNT("iscsi_login_stats/other_fails", logins_other),
	COUNT("iscsi_logout_stats/normal_logouts", logouts),
	COUNT("iscsi_logout_stats/abnormal_logouts", logouts_abnormal),
	COUNT("iscsi_sess_err/digest_errors", errors_digest),
	COUNT("iscsi_sess_err/cxn_errors", errors_connection),
	COUNT("iscsi_sess_err/format_errors", errors_format),
	{NULL, 0, 0},
};

static const struct count of_lun[] = {
	{"in_cmds", offsetof(struct target_lun_counts, commands), 1},
	{"read_mbytes", offsetof(struct target_lun_counts, read_bytes), MIB},
	{"write_mbytes", offsetof(struct target_lun_counts, written_bytes), MIB},
	{NULL, 0, 0},
};

static const struct count of_device[] = {
	COUNT("aborts_complete", aborts),
	COUNT("resets", resets),
	{NULL, 0, 0},
};

static const struct count of_session[] = {
	COUNT("cmd_pdus", session_commands),
	COUNT("rsp_pdus", session_responses),
	COUNT("txdata_octs", session_sent_bytes),
	COUNT("rxdata_octs", session_received_bytes),
	{NULL, 0, 0},
};

static int read_number(int folder, const char *file, uint64_t *ret)
{
	char text[64];
	int r = configfs_read_at(folder, file, text, sizeof(text));

	*ret = r ? 0 : strtoull(text, NULL, 10);
	return r;
}

/* Takes `folder`, from configfs_folder(): what cannot be read is 0. */
static void read_counts(int folder, const struct count *count, void *ret)
{
	if (folder < 0)
		return;
	for (; count->file; count++) {
		uint64_t value;

		read_number(folder, count->file, &value);
		value *= count->unit;
		memcpy((char *)ret + count->offset, &value, sizeof(value));
	}
	close(folder);
}

/* The only one that there is. */
static void take_first(void *arg, const char *name)
{
	char *first = arg;

	if (!*first)
		snprintf(first, TARGET_NAME_MAX, "%s", name);
}

int target_counts(struct targets *t, const char *iqn, const char *id, struct target_counts *ret)
{
	const struct configfs *fs = targets_configfs(t);
	char initiator[TARGET_NAME_MAX] = "";
	int folder;

	memset(ret, 0, sizeof(*ret));
	folder = configfs_folder(fs, "iscsi/%s/fabric_statistics", iqn);
	if (folder < 0)
		return -ENOENT;
	if (read_number(folder, "iscsi_instance/sessions", &ret->sessions)) {
		close(folder);
		return -ENOENT;
	}
	read_counts(folder, of_target, ret);
	for (unsigned int lun = 0; lun <= TARGET_LUNS; lun++) {
		folder = configfs_folder(fs, "iscsi/%s/tpgt_1/lun/lun_%u/statistics/scsi_tgt_port", iqn, lun);
		if (lun && folder < 0)
			break;
		read_counts(folder, of_lun, &ret->lun[ret->luns++]);
	}
	read_counts(configfs_folder(fs, TARGET_HBA "/%s/statistics/scsi_tgt_dev", id), of_device, ret);
	if (!ret->sessions)
		return 0;
	configfs_list(fs, take_first, initiator, "iscsi/%s/tpgt_1/acls", iqn);
	read_counts(configfs_folder(fs, "iscsi/%s/tpgt_1/acls/%s/fabric_statistics/iscsi_sess_stats", iqn, initiator),
		    of_session, ret);
	return 0;
}
