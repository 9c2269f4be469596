/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The few operations on configfs that target.c is made of. Paths are relative to the root and given
 * as printf formats. All return 0 or -errno and may block for as long as the kernel likes.
 *
 * For tests an ordinary directory stands in for configfs (`plain`): there an attribute comes into
 * being when it is written and goes with its directory; and `trace` sees every operation first, and
 * may fail it.
 */
#ifndef BOOTWELL_CONFIGFS_H
#define BOOTWELL_CONFIGFS_H

#include <stdbool.h>
#include <stddef.h>

struct configfs {
	char root[256]; /* /sys/kernel/config/target */
	bool plain;
	char helper[108]; /* socket of bootwell-configfs, which makes the changes; "": by ourselves */
	int (*trace)(void *arg, const char *operation, const char *path, const char *value); /* NULL: none */
	void *trace_arg;
};

#define CONFIGFS_PATH_MAX 1024

/* Makes a directory; one that is there already is fine. */
int configfs_mkdir(const struct configfs *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
int configfs_rmdir(const struct configfs *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Writes `value` as it is: a newline would become part of a CHAP secret. */
int configfs_write(const struct configfs *c, const char *value, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Reads an attribute, without its last newline. */
int configfs_read(const struct configfs *c, char *ret, size_t size, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* A directory to read several attributes of, for close(); its path is walked once. A descriptor or -errno. */
int configfs_folder(const struct configfs *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
int configfs_read_at(int folder, const char *file, char *ret, size_t size); /* as configfs_read() */
/* A link at the path to `to`, which is relative to the root too. */
int configfs_link(const struct configfs *c, const char *to, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int configfs_unlink(const struct configfs *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool configfs_exists(const struct configfs *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Calls fn with the name of each directory in a directory; none when it is missing. */
int configfs_list(const struct configfs *c, void (*fn)(void *arg, const char *name), void *arg, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#endif
