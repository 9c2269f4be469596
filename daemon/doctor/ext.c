// SPDX-License-Identifier: GPL-2.0-or-later
/* An io_manager of our own gives e2fsprogs' library the doctor's disk; what it would write goes nowhere. */
#include "daemon/doctor/ext.h"

#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX 20000 /* of a folder */

struct doctor_ext {
	struct doctor_disk *disk;
	uint64_t start, size;
	ext2_filsys fs;
};

static int error_of(errcode_t e)
{
	return e == EXT2_ET_FILE_NOT_FOUND || e == EXT2_ET_NO_DIRECTORY ? -ENOENT
	       : e == EXT2_ET_NO_MEMORY                                 ? -ENOMEM
									: -EIO;
}

/* --- the library's device, which is a range of the disk ------------------------------------------------------------*/

/* It is opened by name only. */
static struct doctor_ext *opening;
static struct struct_io_manager manager;

static errcode_t dev_open(const char *name, int flags, io_channel *ret)
{
	io_channel channel = calloc(1, sizeof(*channel));

	(void)flags;
	if (!channel)
		return EXT2_ET_NO_MEMORY;
	channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	channel->manager = &manager;
	channel->name = strdup(name);
	channel->block_size = 1024;
	channel->refcount = 1;
	channel->private_data = opening;
	*ret = channel;
	return 0;
}

static errcode_t dev_close(io_channel channel)
{
	if (--channel->refcount > 0)
		return 0;
	free(channel->name);
	free(channel);
	return 0;
}

static errcode_t dev_set_blksize(io_channel channel, int size)
{
	channel->block_size = size;
	return 0;
}

/* A negative count is one of bytes. */
static errcode_t dev_read(io_channel channel, unsigned long long block, int count, void *data)
{
	struct doctor_ext *v = channel->private_data;
	uint64_t size = (uint64_t)channel->block_size, at, length;

	length = count < 0 ? (uint64_t) - (int64_t)count : (uint64_t)count * size;
	if (block > v->size / size)
		return EXT2_ET_SHORT_READ;
	at = block * size;
	if (length > v->size - at)
		return EXT2_ET_SHORT_READ;
	return doctor_disk_read(v->disk, v->start + at, data, length) ? EXT2_ET_SHORT_READ : 0;
}

static errcode_t dev_read_old(io_channel channel, unsigned long block, int count, void *data)
{
	return dev_read(channel, block, count, data);
}

static errcode_t dev_write(io_channel channel, unsigned long block, int count, const void *data)
{
	(void)channel;
	(void)block;
	(void)count;
	(void)data;
	return EXT2_ET_RO_FILSYS;
}

static errcode_t dev_flush(io_channel channel)
{
	(void)channel;
	return 0;
}

static struct struct_io_manager manager = {
	.magic = EXT2_ET_MAGIC_IO_MANAGER,
	.name = "image",
	.open = dev_open,
	.close = dev_close,
	.set_blksize = dev_set_blksize,
	.read_blk = dev_read_old,
	.write_blk = dev_write,
	.flush = dev_flush,
	.read_blk64 = dev_read,
};

/* --- file systems --------------------------------------------------------------------------------------------------*/

int doctor_ext_open(struct doctor_ext **ret, struct doctor_disk *disk, uint64_t start, uint64_t size)
{
	struct doctor_ext *v = calloc(1, sizeof(*v));
	errcode_t e;

	if (!v)
		return -ENOMEM;
	v->disk = disk;
	v->start = start;
	v->size = size;
	opening = v;
	e = ext2fs_open2("image", NULL, EXT2_FLAG_64BITS | EXT2_FLAG_SOFTSUPP_FEATURES, 0, 0, &manager, &v->fs);
	opening = NULL;
	if (e) {
		free(v);
		return error_of(e);
	}
	*ret = v;
	return 0;
}

void doctor_ext_close(struct doctor_ext *v)
{
	if (!v)
		return;
	ext2fs_free(v->fs);
	free(v);
}

static int find(struct doctor_ext *v, const char *path, ext2_ino_t *ret)
{
	errcode_t e = ext2fs_namei_follow(v->fs, EXT2_ROOT_INO, EXT2_ROOT_INO, path, ret);

	return e ? error_of(e) : 0;
}

static int read_open(ext2_file_t file, size_t most, uint8_t **ret, size_t *ret_length)
{
	__u64 size;
	size_t got = 0;
	unsigned int n;
	uint8_t *data;

	if (ext2fs_file_get_lsize(file, &size))
		return -EIO;
	if (size > most)
		return -EFBIG;
	data = malloc((size_t)size + 1);
	if (!data)
		return -ENOMEM;
	while (got < size) {
		size_t want = (size_t)size - got < 1 << 20 ? (size_t)size - got : 1 << 20;

		if (ext2fs_file_read(file, data + got, (unsigned int)want, &n) || !n) {
			free(data);
			return -EIO;
		}
		got += n;
	}
	data[got] = '\0';
	*ret = data;
	*ret_length = got;
	return 0;
}

int doctor_ext_read(struct doctor_ext *v, const char *path, size_t most, uint8_t **ret, size_t *ret_length)
{
	struct ext2_inode inode;
	ext2_file_t file;
	ext2_ino_t number;
	int r = find(v, path, &number);

	if (r)
		return r;
	if (ext2fs_read_inode(v->fs, number, &inode))
		return -EIO;
	if (!LINUX_S_ISREG(inode.i_mode))
		return -ENOENT;
	if (ext2fs_file_open(v->fs, number, 0, &file))
		return -EIO;
	r = read_open(file, most, ret, ret_length);
	ext2fs_file_close(file);
	return r;
}

struct folder {
	int (*fn)(void *arg, const char *name);
	void *arg;
	unsigned int seen;
	int r;
};

static int each_entry(ext2_ino_t dir, int entry, struct ext2_dir_entry *dirent, int offset, int blocksize, char *buf,
		      void *arg)
{
	struct folder *f = arg;
	char name[EXT2_NAME_LEN + 1];
	int n = ext2fs_dirent_name_len(dirent);

	(void)dir;
	(void)entry;
	(void)offset;
	(void)blocksize;
	(void)buf;
	if (++f->seen > ENTRIES_MAX)
		return DIRENT_ABORT;
	memcpy(name, dirent->name, (size_t)n);
	name[n] = '\0';
	f->r = f->fn(f->arg, name);
	return f->r ? DIRENT_ABORT : 0;
}

int doctor_ext_each(struct doctor_ext *v, const char *path, int (*fn)(void *arg, const char *name), void *arg)
{
	struct folder f = {.fn = fn, .arg = arg};
	ext2_ino_t number;
	int r = find(v, path, &number);

	if (r)
		return r;
	if (ext2fs_dir_iterate2(v->fs, number, 0, NULL, each_entry, &f))
		return -EIO;
	return f.r;
}
