/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a server that parses strangers' packets gives up by itself, whoever started it: Landlock (landlock(7)) for
 * files and TCP, seccomp(2) for system calls. Children have the same. The sandboxes of the units stand around it.
 *
 * Reading stays free. Both need no privilege, and neither can be taken back.
 */
#ifndef BOOTWELL_CORE_CONFINE_H
#define BOOTWELL_CORE_CONFINE_H

#include <stdbool.h>
#include <stdint.h>

#define CONFINE_PATHS 12
#define CONFINE_PORTS 4

/* Files or folders; one that is not there is left out. */
struct confine {
	const char *
		write[CONFINE_PATHS]; /* what is beneath may be made, written, renamed, removed; up to the first NULL */
	const char *run[CONFINE_PATHS]; /* programs beneath may be started */
	uint16_t listen[CONFINE_PORTS]; /* TCP, host order; up to the first 0 */
	bool connect;                   /* to any TCP port; else to none */
};

/*
 * Of the calling thread and of those that it makes from here on: call it before the first one. Returns the version of
 * Landlock's interface; 0 when the kernel has none, or the first one, which forbids to rename from folder to folder;
 * or -errno. Files are kept since 2, TCP since 4.
 */
int confine_files(const struct confine *confine);

/*
 * Of all threads: the system calls that a server needs, no new namespaces, sockets of the families UNIX, INET, INET6,
 * NETLINK and PACKET only, no memory that can be written and executed (Linux 6.3). EPERM for what is not allowed,
 * ENOSYS for what is newer than this list, so that libraries do without. io_uring's operations are no system calls:
 * Landlock sees their files, nothing here sees their sockets. Returns how many system calls are left, or -errno.
 */
int confine_calls(void);

#endif
