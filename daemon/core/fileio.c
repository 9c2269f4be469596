// SPDX-License-Identifier: GPL-2.0-or-later
/* The loops around pread() and pwrite(), once for the whole daemon. */
#include "daemon/core/fileio.h"

#include <errno.h>
#include <unistd.h>

ssize_t fileio_read_some(int fd, void *to, size_t length, uint64_t offset)
{
	size_t done = 0;

	while (done < length) {
		ssize_t n = pread(fd, (char *)to + done, length - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int fileio_read(int fd, void *to, size_t length, uint64_t offset)
{
	ssize_t n = fileio_read_some(fd, to, length, offset);

	if (n < 0)
		return (int)n;
	return (size_t)n == length ? 0 : -EIO;
}

int fileio_write(int fd, const void *from, size_t length, uint64_t offset)
{
	size_t done = 0;

	while (done < length) {
		ssize_t n = pwrite(fd, (const char *)from + done, length - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}
