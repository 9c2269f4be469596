// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/doctor_ntfs.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

/* The library's headers ask whether these are there, and make up their own when nobody says so. */
#define HAVE_STDARG_H 1
#define HAVE_STDIO_H 1
#define HAVE_SYS_STAT_H 1
#define HAVE_SYS_TYPES_H 1
#define HAVE_TIME_H 1
#include <ntfs-3g/attrib.h>
#include <ntfs-3g/device.h>
#include <ntfs-3g/dir.h>
#include <ntfs-3g/inode.h>
#include <ntfs-3g/logging.h>
#include <ntfs-3g/volume.h>

#include "daemon/digest_file.h"

struct doctor_ntfs {
	const struct image *img;
	uint64_t start, size, at;
	uint8_t *unit;
	ntfs_volume *vol;
};

/* --- the library's device, which is a range of an image -----------------------------------------------------------*/

static int dev_open(struct ntfs_device *dev, int flags)
{
	(void)flags;
	NDevSetReadOnly(dev);
	NDevSetOpen(dev);
	return 0;
}

static int dev_close(struct ntfs_device *dev)
{
	NDevClearOpen(dev);
	return 0;
}

static s64 dev_seek(struct ntfs_device *dev, s64 offset, int whence)
{
	struct doctor_ntfs *v = dev->d_private;
	s64 at = whence == SEEK_SET ? offset : whence == SEEK_CUR ? (s64)v->at + offset : (s64)v->size + offset;

	if (at < 0 || at > (s64)v->size) {
		errno = EINVAL;
		return -1;
	}
	v->at = (uint64_t)at;
	return at;
}

/* Any offset and length: image_read_data() wants sectors. */
static s64 dev_pread(struct ntfs_device *dev, void *buf, s64 count, s64 offset)
{
	struct doctor_ntfs *v = dev->d_private;
	uint64_t from, to;
	uint8_t *sectors;
	int r;

	if (offset < 0 || count < 0 || (uint64_t)offset >= v->size)
		return 0;
	if ((uint64_t)count > v->size - (uint64_t)offset)
		count = (s64)(v->size - (uint64_t)offset);
	from = (uint64_t)offset / 512 * 512;
	to = ((uint64_t)offset + (uint64_t)count + 511) / 512 * 512;
	sectors = malloc(to - from);
	r = sectors ? image_read_data(v->img, v->start + from, sectors, to - from, &v->unit) : -ENOMEM;
	if (r == 0)
		memcpy(buf, sectors + ((uint64_t)offset - from), (size_t)count);
	free(sectors);
	errno = -r;
	return r ? -1 : count;
}

static s64 dev_read(struct ntfs_device *dev, void *buf, s64 count)
{
	struct doctor_ntfs *v = dev->d_private;
	s64 n = dev_pread(dev, buf, count, (s64)v->at);

	if (n > 0)
		v->at += (uint64_t)n;
	return n;
}

static s64 dev_write(struct ntfs_device *dev, const void *buf, s64 count)
{
	(void)dev;
	(void)buf;
	(void)count;
	errno = EROFS;
	return -1;
}

static s64 dev_pwrite(struct ntfs_device *dev, const void *buf, s64 count, s64 offset)
{
	(void)offset;
	return dev_write(dev, buf, count);
}

static int dev_sync(struct ntfs_device *dev)
{
	(void)dev;
	return 0;
}

static int dev_stat(struct ntfs_device *dev, struct stat *ret)
{
	struct doctor_ntfs *v = dev->d_private;

	memset(ret, 0, sizeof(*ret));
	ret->st_mode = S_IFREG | 0400;
	ret->st_size = (off_t)v->size;
	return 0;
}

static int dev_ioctl(struct ntfs_device *dev, unsigned long request, void *argp)
{
	(void)dev;
	(void)request;
	(void)argp;
	errno = ENOTTY;
	return -1;
}

static struct ntfs_device_operations operations = {
	.open = dev_open, .close = dev_close, .seek = dev_seek, .read = dev_read, .write = dev_write,
	.pread = dev_pread, .pwrite = dev_pwrite, .sync = dev_sync, .stat = dev_stat, .ioctl = dev_ioctl,
};

/* --- volumes ------------------------------------------------------------------------------------------------------*/

int doctor_ntfs_open(struct doctor_ntfs **ret, const struct image *img, uint64_t start, uint64_t size)
{
	struct doctor_ntfs *v = calloc(1, sizeof(*v));
	struct ntfs_device *dev;

	if (!v)
		return -ENOMEM;
	v->img = img;
	v->start = start;
	v->size = size;
	ntfs_log_set_handler(ntfs_log_handler_null);
	dev = ntfs_device_alloc("image", 0, &operations, v);
	if (!dev) {
		free(v);
		return -ENOMEM;
	}
	v->vol = ntfs_device_mount(dev, NTFS_MNT_RDONLY | NTFS_MNT_FORENSIC);
	if (!v->vol) {
		int r = errno ? -errno : -EIO;

		ntfs_device_free(dev);
		free(v->unit);
		free(v);
		return r;
	}
	ntfs_set_ignore_case(v->vol);
	*ret = v;
	return 0;
}

void doctor_ntfs_close(struct doctor_ntfs *v)
{
	if (!v)
		return;
	ntfs_umount(v->vol, TRUE);
	free(v->unit);
	free(v);
}

static int read_attribute(ntfs_inode *inode, size_t most, uint8_t **ret, size_t *ret_length)
{
	ntfs_attr *attr = ntfs_attr_open(inode, AT_DATA, AT_UNNAMED, 0);
	uint8_t *data = NULL;
	s64 got = 0, n = 0;
	int r = 0;

	if (!attr)
		return errno == ENOENT ? -EISDIR : -EIO;
	if (attr->data_size < 0 || (uint64_t)attr->data_size > most)
		r = -EFBIG;
	if (!r && !(data = malloc((size_t)attr->data_size + 1)))
		r = -ENOMEM;
	for (; !r && got < attr->data_size; got += n) {
		n = ntfs_attr_pread(attr, got, attr->data_size - got, data + got);
		if (n <= 0)
			r = -EIO;
	}
	if (!r) {
		*ret = data;
		*ret_length = (size_t)got;
	} else {
		free(data);
	}
	ntfs_attr_close(attr);
	return r;
}

int doctor_ntfs_read(struct doctor_ntfs *v, const char *path, size_t most, uint8_t **ret, size_t *ret_length)
{
	ntfs_inode *inode = ntfs_pathname_to_inode(v->vol, NULL, path);
	int r;

	if (!inode)
		return errno == ENOENT || errno == ENOTDIR ? -ENOENT : -EIO;
	r = read_attribute(inode, most, ret, ret_length);
	ntfs_inode_close(inode);
	return r;
}
