/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a program on a file that a stranger made, where it can do nothing but read that file and
 * write another one.
 *
 * The program sees a root of its own with /usr read-only, the source as /in (read-only) and the
 * destination as /out; no network, no other processes, no devices but null, no privileges, limits
 * of memory, files and CPU time, and no system calls that it has no use for. It dies with its
 * parent. Without user and mount namespaces it is not run at all.
 */
#ifndef BOOTWELL_IMAGE_SANDBOX_H
#define BOOTWELL_IMAGE_SANDBOX_H

#include <stdint.h>
#include <sys/types.h>

#define SANDBOX_MEMORY      ((uint64_t)4 << 30) /* bytes of address space */
#define SANDBOX_CPU_SECONDS (6 * 3600)
#define SANDBOX_FAILED      125 /* exit status: the sandbox could not be built; stderr says why */

struct sandbox {
	int in, out;            /* regular files, open; out for reading and writing */
	int out_text, err_text; /* what becomes its stdout and stderr */
	char *const *argv;      /* argv[0] is an absolute path under /usr */
};

/* Returns the process to wait for, or -errno. Its exit status is the program's. */
pid_t sandbox_start(const struct sandbox *s);

#endif
