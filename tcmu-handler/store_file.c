// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The store's file. The exclusive flock is a barrier, not only a guard: a process that was killed
 * holds it until the last of its writes in the kernel has ended, so nothing of it can land in the
 * store after we have read it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tcmu-handler/store.h"

#define LOCK_TRIES 6000 /* of 10 ms */

static int lock(int fd, const char *path, struct sentence *err)
{
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (!flock(fd, LOCK_EX | LOCK_NB))
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return sentence_fail(err, -errno, "The write-back store %s cannot be locked: %s.", path,
					     strerror(errno));
		usleep(10000);
	}
	return sentence_fail(err, -EBUSY, "The write-back store %s is in use by another process; stop that one first.",
			     path);
}

static int grow(int fd, const char *path, uint64_t size, uint64_t *ret_size, struct sentence *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return sentence_fail(err, -errno, "The write-back store %s cannot be looked at: %s.", path,
				     strerror(errno));
	if (S_ISREG(st.st_mode)) {
		if ((uint64_t)st.st_size < size && TEMP_FAILURE_RETRY(fallocate(fd, 0, 0, (off_t)size)) < 0) {
			int r = -errno;

			/* What could not be had whole is given back, so that the file system is not
			 * left full. */
			if (ftruncate(fd, st.st_size) < 0)
				r = -errno;
			return sentence_fail(err, r,
					     "The write-back store %s cannot be given %llu MiB: %s; "
					     "make [write-back] size smaller or make room.",
					     path, (unsigned long long)(size >> 20), strerror(-r));
		}
		*ret_size = (uint64_t)st.st_size > size ? (uint64_t)st.st_size : size;
		return 0;
	}
	if (S_ISBLK(st.st_mode)) {
		off_t end = lseek(fd, 0, SEEK_END);

		if (end >= (off_t)STORE_SIZE_MIN) {
			*ret_size = (uint64_t)end;
			return 0;
		}
	}
	return sentence_fail(err, -EINVAL, "The write-back store %s is neither a file nor a disk of at least %u MiB.",
			     path, STORE_SIZE_MIN >> 20);
}

int store_file_open(const char *path, uint64_t size, uint64_t *ret_size, struct sentence *err)
{
	int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
	int fd, r;

	if (size < STORE_SIZE_MIN)
		return sentence_fail(err, -EINVAL, "The write-back store %s needs at least %u MiB.", path,
				     STORE_SIZE_MIN >> 20);
	fd = open(path, flags | O_DIRECT, 0600);
	if (fd < 0 && errno == EINVAL)
		fd = open(path, flags, 0600); /* a file system without O_DIRECT */
	if (fd < 0)
		return sentence_fail(err, -errno, "The write-back store %s cannot be opened: %s%s.", path,
				     strerror(errno),
				     errno == EROFS ? "; if it is not so outside of tcmu-runner's sandbox, "
						      "\"systemctl restart tcmu-runner\" gives that the path"
						    : "");
	r = lock(fd, path, err);
	if (!r)
		r = grow(fd, path, size, ret_size, err);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}
