// SPDX-License-Identifier: GPL-2.0-or-later
/* A file that gets its name when it is whole: written as ".NAME.XXXXXX", synced, renamed, the folder synced. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/core/fileio.h"
#include "daemon/image/output.h"

static int split(struct output *out, const char *path, struct sentence *err)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char folder[PATH_MAX];

	if (!name[0] || strlen(name) > NAME_MAX - 9 || strlen(path) >= sizeof(folder) || !strcmp(name, ".") ||
	    !strcmp(name, ".."))
		return sentence_fail(err, -EINVAL, "%s: is not a name for a file", path);
	strcpy(out->name, name);
	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
	out->dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (out->dirfd < 0)
		return sentence_fail(err, -errno, "%s: cannot open the folder: %s", path, strerror(errno));
	return 0;
}

int output_begin(struct output *out, const char *path, struct sentence *err)
{
	struct stat st;
	int r;

	*out = (struct output){.dirfd = -1, .fd = -1};
	r = split(out, path, err);
	if (r < 0)
		return r;
	if (fstatat(out->dirfd, out->name, &st, 0) == 0 && !S_ISREG(st.st_mode)) {
		output_done(out);
		return sentence_fail(err, -EEXIST, "%s: exists and is not a regular file", path);
	}
	for (int tries = 0; out->fd < 0 && tries < 16; tries++) {
		uint32_t random = 0;

		if (getrandom(&random, sizeof(random), 0) < 0)
			break;
		snprintf(out->temporary, sizeof(out->temporary), ".%.*s.%06x", NAME_MAX - 8, out->name,
			 random & 0xffffff);
		out->fd = openat(out->dirfd, out->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
		if (out->fd < 0 && errno != EEXIST)
			break;
	}
	if (out->fd < 0) {
		r = sentence_fail(err, -errno, "%s: cannot make a file beside it: %s", path, strerror(errno));
		out->temporary[0] = '\0';
		output_done(out);
	}
	return r;
}

int output_write(struct output *out, uint64_t at, const void *data, size_t length, struct sentence *err)
{
	int r = fileio_write(out->fd, data, length, at);

	if (r == 0)
		return 0;
	return sentence_fail(err, r, "%s: cannot write at byte %llu: %s%s", out->name, (unsigned long long)at,
			     strerror(-r), r == -ENOSPC ? "; make room there and try again" : "");
}

int output_resize(struct output *out, uint64_t length, struct sentence *err)
{
	if (ftruncate(out->fd, (off_t)length) < 0)
		return sentence_fail(err, -errno, "%s: cannot be made %llu bytes long: %s", out->name,
				     (unsigned long long)length, strerror(errno));
	return 0;
}

int output_commit(struct output *out, struct sentence *err)
{
	if (fsync(out->fd) < 0)
		return sentence_fail(err, -errno, "%s: cannot be written to the disk: %s", out->name, strerror(errno));
	if (renameat(out->dirfd, out->temporary, out->dirfd, out->name) < 0)
		return sentence_fail(err, -errno, "%s: cannot be given its name: %s", out->name, strerror(errno));
	out->temporary[0] = '\0';
	if (fsync(out->dirfd) < 0)
		return sentence_fail(err, -errno, "%s: is written, but its folder cannot be synced: %s", out->name,
				     strerror(errno));
	return 0;
}

void output_done(struct output *out)
{
	if (out->temporary[0])
		unlinkat(out->dirfd, out->temporary, 0);
	if (out->fd >= 0)
		close(out->fd);
	if (out->dirfd >= 0)
		close(out->dirfd);
	*out = (struct output){.dirfd = -1, .fd = -1};
}
