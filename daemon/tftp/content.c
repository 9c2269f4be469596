/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file is mapped and handed to sendmsg() from there: no copy in user space, and a file that is cut short under us
 * makes sendmsg() fail with EFAULT, never a signal, because only the kernel touches the mapping. netascii has to be
 * counted and cut at odd places, so it is converted in full first, and limited.
 */
#include "daemon/tftp/private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_beneath(int root_fd, const char *name)
{
	/* O_NONBLOCK: a FIFO or a device in the folder must not stop the server before fstat() has seen what it is. */
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	do
		fd = syscall(SYS_openat2, root_fd, name, &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return fd < 0 ? -errno : (int)fd;
}

static int convert(struct tftp_content *content, const void *from, size_t length)
{
	size_t n = tftp_netascii(NULL, 0, from, length);
	uint8_t *to = malloc(n ? n : 1);

	if (!to)
		return -ENOMEM;
	tftp_netascii(to, n, from, length);
	content->data = to;
	content->size = n;
	return 0;
}

static int read_text(struct tftp_content *content, int fd, uint64_t size)
{
	char *text;
	ssize_t n;
	int r;

	if (size > TFTP_TEXT_MAX)
		return -EFBIG;
	text = malloc(size ? size : 1);
	if (!text)
		return -ENOMEM;
	n = pread(fd, text, size, 0);
	r = n < 0 ? -errno : convert(content, text, (size_t)n);
	free(text);
	return r;
}

/* As root we could read everything: what the administrator did not make readable for all is not for the network. */
static int check(int fd, uint64_t *ret_size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode) || !(st.st_mode & S_IROTH))
		return -EACCES;
	*ret_size = (uint64_t)st.st_size;
	return 0;
}

int tftp_content_open(struct tftp_content *content, int root_fd, const char *name, bool netascii)
{
	struct tftp_content c = {.fd = -1};
	int fd = open_beneath(root_fd, name), r;
	uint64_t size = 0;

	if (fd < 0)
		return fd;
	r = check(fd, &size);
	if (!r && netascii) {
		r = read_text(&c, fd, size);
	} else if (!r) {
		c.fd = fd;
		c.size = size;
		c.mapped = size > 0;
		c.data = size ? mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0) : NULL;
		if (c.data == MAP_FAILED)
			r = -errno;
	}
	if (r < 0 || c.fd < 0)
		close(fd);
	if (!r)
		*content = c;
	return r;
}

int tftp_content_text(struct tftp_content *content, const char *text, size_t length, bool netascii)
{
	struct tftp_content c = {.fd = -1};
	uint8_t *copy;

	if (netascii) {
		int r = convert(&c, text, length);

		if (r < 0)
			return r;
	} else {
		copy = malloc(length ? length : 1);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, text, length);
		c.data = copy;
		c.size = length;
	}
	*content = c;
	return 0;
}

void tftp_content_done(struct tftp_content *content)
{
	if (content->mapped)
		munmap((void *)(uintptr_t)content->data, content->size);
	else
		free((void *)(uintptr_t)content->data);
	if (content->fd >= 0)
		close(content->fd);
	memset(content, 0, sizeof(*content));
	content->fd = -1;
}

enum tftp_error tftp_content_error(int error, const char **ret_text)
{
	switch (-error) {
	case ENOENT:
	case ENOTDIR:
	case EISDIR:
	case ENAMETOOLONG:
		*ret_text = "file not found";
		return TFTP_ERROR_NOT_FOUND;
	case EACCES:
	case EPERM:
	case EXDEV:
	case ELOOP:
		*ret_text = "access denied";
		return TFTP_ERROR_ACCESS;
	case EFBIG:
		*ret_text = "file too large for netascii, use octet";
		return TFTP_ERROR_OTHER;
	default:
		*ret_text = strerror(-error);
		return TFTP_ERROR_OTHER;
	}
}
