/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bootwelld speaks with strangers and so gives root away; the kernel lets only root change an iSCSI
 * target (drivers/target/iscsi/iscsi_target_configfs.c asks for CAP_SYS_ADMIN). Between the two
 * stands bootwell-configfs, a small program that does nothing but these operations, for nobody but
 * the user of bootwelld, beneath nothing but the two folders that bootwell uses.
 *
 * One SOCK_SEQPACKET connection a request: the operation's letter, the path with its NUL, the value
 * with its NUL; the answer is an int, 0 or -errno. Both ends are always the same build.
 */
#ifndef BOOTWELL_CONFIGFS_REMOTE_H
#define BOOTWELL_CONFIGFS_REMOTE_H

#include <stdbool.h>
#include <stddef.h>

#define CONFIGFS_REQUEST_MAX 4096 /* bytes: the letter, the path (at most 1023) and the value */

enum configfs_operation {
	CONFIGFS_MKDIR = 'm',
	CONFIGFS_RMDIR = 'r',
	CONFIGFS_WRITE = 'w',
	CONFIGFS_LINK = 'l', /* value: what the link leads to, relative to the root */
	CONFIGFS_UNLINK = 'u',
	CONFIGFS_PARAMETER = 'p', /* path: a parameter of target_core_user */
};

/* Asks the helper at `socket`. Returns what it answered, or -errno when it cannot be asked. */
int configfs_remote(const char *socket, enum configfs_operation operation, const char *path, const char *value);

/* Whether bootwell ever needs this; what is not allowed is never looked at by the kernel. */
bool configfs_request_allowed(int operation, const char *path, const char *value);

/* Takes a request apart; false unless it is whole and allowed. The two point into `request`. */
bool configfs_request_parse(const char *request, size_t length, int *ret_operation, const char **ret_path,
			    const char **ret_value);

#endif
