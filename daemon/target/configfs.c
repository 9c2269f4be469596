// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Files and folders of configfs, by path beneath a root: the kernel's, a plain folder of a test, or a helper process
 * that has the right to write there (configfs_remote.c).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/target/configfs.h"
#include "daemon/target/configfs_remote.h"

/* Formats root/path into `path`. */
#define FORMAT_PATH(c, path, format)                                                                                   \
	do {                                                                                                           \
		va_list args_;                                                                                         \
		va_start(args_, format);                                                                               \
		r = format_path(c, path, format, args_);                                                               \
		va_end(args_);                                                                                         \
	} while (0)

static int format_path(const struct configfs *c, char *path, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));
static int format_path(const struct configfs *c, char *path, const char *format, va_list args)
{
	int n = snprintf(path, CONFIGFS_PATH_MAX, "%s/", c->root), m;

	m = vsnprintf(path + n, CONFIGFS_PATH_MAX - n, format, args);
	return n + m < CONFIGFS_PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* The change is made by the helper, when there is one. Its path is relative to the root. */
static int by_helper(const struct configfs *c, enum configfs_operation operation, const char *path, const char *value)
{
	return configfs_remote(c->helper, operation, path + strlen(c->root) + 1, value);
}

static int traced(const struct configfs *c, const char *operation, const char *path, const char *value)
{
	if (!c->trace)
		return 0;
	return c->trace(c->trace_arg, operation, path + strlen(c->root) + 1, value);
}

int configfs_mkdir(const struct configfs *c, const char *format, ...)
{
	char path[CONFIGFS_PATH_MAX];
	int r;

	FORMAT_PATH(c, path, format);
	if (!r)
		r = traced(c, "mkdir", path, "");
	if (!r && c->helper[0])
		return by_helper(c, CONFIGFS_MKDIR, path, "");
	if (!r && mkdir(path, 0755) < 0 && errno != EEXIST)
		r = -errno;
	return r;
}

/* An ordinary directory keeps its files; configfs takes the attributes and default groups away with
 * it. */
static void empty_plain(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	struct stat st;

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		if (S_ISREG(st.st_mode))
			unlinkat(dirfd(dir), entry->d_name, 0);
		if (S_ISDIR(st.st_mode) &&
		    (!strcmp(entry->d_name, "attrib") || !strcmp(entry->d_name, "param") ||
		     !strcmp(entry->d_name, "auth") || !strcmp(entry->d_name, "wwn") ||
		     !strcmp(entry->d_name, "acls") || !strcmp(entry->d_name, "lun") || !strcmp(entry->d_name, "np") ||
		     !strcmp(entry->d_name, "action") || !strcmp(entry->d_name, "statistics") ||
		     !strcmp(entry->d_name, "fabric_statistics") || !strncmp(entry->d_name, "iscsi_", 6) ||
		     !strncmp(entry->d_name, "scsi_", 5))) {
			char inner[CONFIGFS_PATH_MAX + 300];

			snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
			empty_plain(inner);
			rmdir(inner);
		}
	}
	closedir(dir);
}

int configfs_rmdir(const struct configfs *c, const char *format, ...)
{
	char path[CONFIGFS_PATH_MAX];
	int r;

	FORMAT_PATH(c, path, format);
	if (!r)
		r = traced(c, "rmdir", path, "");
	if (!r && c->helper[0])
		return by_helper(c, CONFIGFS_RMDIR, path, "");
	if (!r && c->plain)
		empty_plain(path);
	if (!r && rmdir(path) < 0)
		r = -errno;
	return r;
}

/* The directories that configfs would have made by itself. */
static void make_plain(const char *path)
{
	char parent[CONFIGFS_PATH_MAX];
	char *slash;

	snprintf(parent, sizeof(parent), "%s", path);
	slash = strrchr(parent, '/');
	if (!slash)
		return;
	*slash = '\0';
	mkdir(parent, 0755);
}

int configfs_write(const struct configfs *c, const char *value, const char *format, ...)
{
	char path[CONFIGFS_PATH_MAX];
	ssize_t n;
	int r, fd;

	FORMAT_PATH(c, path, format);
	if (!r)
		r = traced(c, "write", path, value);
	if (r)
		return r;
	if (c->helper[0])
		return by_helper(c, CONFIGFS_WRITE, path, value);
	if (c->plain)
		make_plain(path);
	fd = open(path, O_WRONLY | O_CLOEXEC | (c->plain ? O_CREAT | O_TRUNC : 0), 0644);
	if (fd < 0)
		return -errno;
	n = write(fd, value, strlen(value));
	r = n < 0 ? -errno : (size_t)n == strlen(value) ? 0 : -EIO;
	close(fd);
	return r;
}

int configfs_folder(const struct configfs *c, const char *format, ...)
{
	char path[CONFIGFS_PATH_MAX];
	int r, fd;

	FORMAT_PATH(c, path, format);
	if (r)
		return r;
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int configfs_read(const struct configfs *c, char *ret, size_t size, const char *format, ...)
{
	char path[CONFIGFS_PATH_MAX];
	int r;

	FORMAT_PATH(c, path, format);
	return r ? r : configfs_read_at(AT_FDCWD, path, ret, size);
}

int configfs_read_at(int folder, const char *file, char *ret, size_t size)
{
	ssize_t n;
	int r, fd = openat(folder, file, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	n = read(fd, ret, size - 1);
	r = n < 0 ? -errno : 0;
	close(fd);
	if (r)
		return r;
	if (n && ret[n - 1] == '\n')
		n--;
	ret[n] = '\0';
	return 0;
}

int configfs_link(const struct configfs *c, const char *to, const char *format, ...)
{
	char path[CONFIGFS_PATH_MAX], target[CONFIGFS_PATH_MAX];
	int r;

	FORMAT_PATH(c, path, format);
	if (!r && snprintf(target, sizeof(target), "%s/%s", c->root, to) >= (int)sizeof(target))
		r = -ENAMETOOLONG;
	if (!r)
		r = traced(c, "link", path, to);
	if (!r && c->helper[0])
		return by_helper(c, CONFIGFS_LINK, path, to);
	if (!r && c->plain)
		make_plain(path);
	if (!r && symlink(target, path) < 0)
		r = -errno;
	return r;
}

int configfs_unlink(const struct configfs *c, const char *format, ...)
{
	char path[CONFIGFS_PATH_MAX];
	int r;

	FORMAT_PATH(c, path, format);
	if (!r)
		r = traced(c, "unlink", path, "");
	if (!r && c->helper[0])
		return by_helper(c, CONFIGFS_UNLINK, path, "");
	if (!r && unlink(path) < 0)
		r = -errno;
	return r;
}

bool configfs_exists(const struct configfs *c, const char *format, ...)
{
	char path[CONFIGFS_PATH_MAX];
	struct stat st;
	int r;

	FORMAT_PATH(c, path, format);
	return !r && !lstat(path, &st); /* not access(): that asks for the real user, without capabilities */
}

int configfs_list(const struct configfs *c, void (*fn)(void *arg, const char *name), void *arg, const char *format, ...)
{
	char path[CONFIGFS_PATH_MAX];
	struct dirent *entry;
	DIR *dir;
	int r;

	FORMAT_PATH(c, path, format);
	if (r)
		return r;
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && entry->d_type == DT_DIR)
			fn(arg, entry->d_name);
	closedir(dir);
	return 0;
}
