// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Files of an image. An image names other files (extents), and its author is a stranger, so the
 * kernel is told to stay beneath the directory, to follow no link of any kind and to cross no
 * mount. What is not a regular file is found out with O_PATH first, so that no device or FIFO is
 * ever opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tcmu-handler/image/internal.h"

static int open_beneath(int dirfd, const char *name, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	long fd;

	do
		fd = syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
	while (fd < 0 && errno == EAGAIN); /* a rename went on at the same time */
	return fd < 0 ? -errno : (int)fd;
}

static int explain_open(struct sentence *err, const char *name, int code)
{
	switch (-code) {
	case ELOOP:
		return sentence_fail(err, code, "%s: a symbolic link is on the way to it, and links are not followed",
				     name);
	case EXDEV:
		return sentence_fail(err, code, "%s: lies outside the image's directory or on another file system",
				     name);
	case ENOENT:
		return sentence_fail(err, code, "%s: there is no such file", name);
	case ENOSYS:
		return sentence_fail(err, code, "%s: this kernel has no openat2 (Linux 5.6 or newer is needed)", name);
	default:
		return sentence_fail(err, code, "%s: cannot be opened: %s", name, strerror(-code));
	}
}

/* A regular file, or an error; never opens anything else for reading. */
static int open_regular(int dirfd, const char *name, struct stat *st, struct sentence *err)
{
	struct stat before;
	int fd, flags;

	fd = open_beneath(dirfd, name, O_PATH);
	if (fd < 0)
		return explain_open(err, name, fd);
	if (fstat(fd, &before) < 0 || !S_ISREG(before.st_mode)) {
		close(fd);
		return sentence_fail(err, -EISDIR, "%s: not a regular file", name);
	}
	close(fd);
	fd = open_beneath(dirfd, name, O_RDONLY | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return explain_open(err, name, fd);
	if (fstat(fd, st) < 0 || st->st_dev != before.st_dev || st->st_ino != before.st_ino) {
		close(fd);
		return sentence_fail(err, -EAGAIN, "%s: was replaced while it was being opened; try again", name);
	}
	/* O_NONBLOCK was for a FIFO put there in between; left on, io_uring would answer EAGAIN */
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0) {
		close(fd);
		return sentence_fail(err, -EIO, "%s: fcntl failed", name);
	}
	return fd;
}

static int grow_files(struct image *img)
{
	unsigned int n = img->n_files;
	struct image_file *files;
	struct file_id *ids;

	if (n & (n - 1)) /* room for the next power of two is there already */
		return 0;
	n = n ? n * 2 : 1;
	files = realloc(img->files, n * sizeof(*files));
	if (!files)
		return -ENOMEM;
	img->files = files;
	ids = realloc(img->file_ids, n * sizeof(*ids));
	if (!ids)
		return -ENOMEM;
	img->file_ids = ids;
	return 0;
}

int image_add_file(struct image *img, const char *name, struct sentence *err)
{
	struct stat st;
	char *copy;
	int fd;

	fd = open_regular(img->dirfd, name, &st, err);
	if (fd < 0)
		return fd;
	for (unsigned int i = 0; i < img->n_files; i++) {
		if (img->file_ids[i].dev == st.st_dev && img->file_ids[i].ino == st.st_ino) {
			close(fd);
			return (int)i;
		}
	}
	copy = strdup(name);
	if (img->n_files == IMAGE_FILES_MAX || !copy || grow_files(img) < 0) {
		bool many = img->n_files == IMAGE_FILES_MAX;

		close(fd);
		free(copy);
		return many ? sentence_fail(err, -EMFILE, "%s: more than %d files in one image", img->name,
					    IMAGE_FILES_MAX)
			    : sentence_fail(err, -ENOMEM, "%s: out of memory", img->name);
	}
	img->files[img->n_files] =
		(struct image_file){.fd = fd, .index = img->n_files, .size = (uint64_t)st.st_size, .name = copy};
	img->file_ids[img->n_files] = (struct file_id){.dev = st.st_dev, .ino = st.st_ino};
	img->info.file_size += (uint64_t)st.st_size;
	return (int)img->n_files++;
}

int image_read(const struct image *img, unsigned int file, uint64_t offset, void *to, size_t length, const char *what,
	       struct sentence *err)
{
	const struct image_file *f = &img->files[file];
	size_t done = 0;

	if (offset > f->size || length > f->size - offset)
		return sentence_fail(err, -EBADMSG,
				     "%s: the %s at byte %llu would lie past the end of the file; is "
				     "it truncated?",
				     f->name, what, (unsigned long long)offset);
	while (done < length) {
		ssize_t n = pread(f->fd, (char *)to + done, length - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return sentence_fail(err, -errno, "%s: cannot read the %s at byte %llu: %s", f->name, what,
					     (unsigned long long)offset, strerror(errno));
		if (n == 0)
			return sentence_fail(err, -EBADMSG, "%s: became shorter while it was being read", f->name);
		done += (size_t)n;
	}
	return 0;
}
