// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A device of our own gives the library the doctor's disk, cut to the partition; of a file only blocks that differ are
 * written.
 */
#include "daemon/doctor/ntfs.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

/* The library's headers ask whether these are there, and make up their own when nobody says so. */
#define HAVE_STDARG_H    1
#define HAVE_STDIO_H     1
#define HAVE_SYS_STAT_H  1
#define HAVE_SYS_TYPES_H 1
#define HAVE_TIME_H      1
#include <ntfs-3g/attrib.h>
#include <ntfs-3g/device.h>
#include <ntfs-3g/dir.h>
#include <ntfs-3g/inode.h>
#include <ntfs-3g/layout.h>
#include <ntfs-3g/logfile.h>
#include <ntfs-3g/logging.h>
#include <ntfs-3g/unistr.h>
#include <ntfs-3g/volume.h>

struct doctor_ntfs {
	struct doctor_disk *disk;
	uint64_t start, size, at;
	bool write;
	ntfs_volume *vol;
};

/* --- the library's device, which is a range of the disk -----------------------------------------------------------*/

static int dev_open(struct ntfs_device *dev, int flags)
{
	const struct doctor_ntfs *v = dev->d_private;

	(void)flags;
	if (!v->write)
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

static bool clip(const struct doctor_ntfs *v, s64 *count, s64 offset)
{
	if (offset < 0 || *count < 0 || (uint64_t)offset >= v->size)
		return false;
	if ((uint64_t)*count > v->size - (uint64_t)offset)
		*count = (s64)(v->size - (uint64_t)offset);
	return true;
}

static s64 dev_pread(struct ntfs_device *dev, void *buf, s64 count, s64 offset)
{
	struct doctor_ntfs *v = dev->d_private;
	int r;

	if (!clip(v, &count, offset))
		return 0;
	r = doctor_disk_read(v->disk, v->start + (uint64_t)offset, buf, (uint64_t)count);
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

static s64 dev_pwrite(struct ntfs_device *dev, const void *buf, s64 count, s64 offset)
{
	struct doctor_ntfs *v = dev->d_private;
	int r = v->write ? 0 : -EROFS;

	if (!r && !clip(v, &count, offset))
		r = -ENOSPC;
	if (!r)
		r = doctor_disk_write(v->disk, v->start + (uint64_t)offset, buf, (uint64_t)count);
	errno = -r;
	return r ? -1 : count;
}

static s64 dev_write(struct ntfs_device *dev, const void *buf, s64 count)
{
	struct doctor_ntfs *v = dev->d_private;
	s64 n = dev_pwrite(dev, buf, count, (s64)v->at);

	if (n > 0)
		v->at += (uint64_t)n;
	return n;
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
	.open = dev_open,
	.close = dev_close,
	.seek = dev_seek,
	.read = dev_read,
	.write = dev_write,
	.pread = dev_pread,
	.pwrite = dev_pwrite,
	.sync = dev_sync,
	.stat = dev_stat,
	.ioctl = dev_ioctl,
};

/* --- volumes ------------------------------------------------------------------------------------------------------*/

void doctor_ntfs_left(struct doctor_ntfs *v, bool *ret_dirty, bool *ret_sleeps)
{
	ntfs_inode *inode = ntfs_inode_open(v->vol, FILE_LogFile);
	ntfs_attr *attr = inode ? ntfs_attr_open(inode, AT_DATA, AT_UNNAMED, 0) : NULL;
	RESTART_PAGE_HEADER *restart = NULL;
	bool clean = attr && ntfs_check_logfile(attr, &restart) && ntfs_is_logfile_clean(attr, restart);

	free(restart);
	if (attr)
		ntfs_attr_close(attr);
	if (inode)
		ntfs_inode_close(inode);
	*ret_dirty = !clean || (v->vol->flags & VOLUME_IS_DIRTY);
	*ret_sleeps = ntfs_volume_check_hiberfile(v->vol, 0) != 0;
}

/* Has Windows written out what is in its log, and is it not asleep? */
static bool let_go(struct doctor_ntfs *v)
{
	bool dirty, sleeps;

	doctor_ntfs_left(v, &dirty, &sleeps);
	return !dirty && !sleeps;
}

int doctor_ntfs_open(struct doctor_ntfs **ret, struct doctor_disk *disk, uint64_t start, uint64_t size, bool write)
{
	struct doctor_ntfs *v = calloc(1, sizeof(*v));
	struct ntfs_device *dev;

	if (!v)
		return -ENOMEM;
	v->disk = disk;
	v->start = start;
	v->size = size;
	v->write = write;
	ntfs_log_set_handler(ntfs_log_handler_null);
	dev = ntfs_device_alloc("image", 0, &operations, v);
	if (!dev) {
		free(v);
		return -ENOMEM;
	}
	/* FORENSIC: nothing is changed by mounting alone; the log stays as Windows left it. */
	v->vol = ntfs_device_mount(dev, (write ? NTFS_MNT_NONE : NTFS_MNT_RDONLY) | NTFS_MNT_FORENSIC);
	if (!v->vol) {
		int r = errno ? -errno : -EIO;

		ntfs_device_free(dev);
		free(v);
		return r;
	}
	ntfs_set_ignore_case(v->vol);
	if (write && !let_go(v)) {
		doctor_ntfs_close(v);
		return -EUCLEAN;
	}
	*ret = v;
	return 0;
}

int doctor_ntfs_close(struct doctor_ntfs *v)
{
	int r;

	if (!v)
		return 0;
	r = ntfs_umount(v->vol, FALSE) ? -errno : 0;
	if (r)
		ntfs_umount(v->vol, TRUE);
	free(v);
	return r;
}

/*
 * Files that CompactOS has compressed (WOF) have a reparse point and a second stream; the unnamed one reads as zeros,
 * without an error. Of encrypted ones (EFS) only Windows has the key.
 */
static bool is_hidden(ntfs_inode *inode)
{
	REPARSE_POINT *point = NULL;
	s64 length = 0;
	bool hidden = inode->flags & FILE_ATTR_ENCRYPTED;

	if (inode->flags & FILE_ATTR_REPARSE_POINT)
		point = ntfs_attr_readall(inode, AT_REPARSE_POINT, AT_UNNAMED, 0, &length);
	if (inode->flags & FILE_ATTR_REPARSE_POINT)
		hidden |= !point || length < (s64)sizeof(*point) || point->reparse_tag == IO_REPARSE_TAG_WOF;
	free(point);
	return hidden;
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
	r = is_hidden(inode) ? -EOPNOTSUPP : read_attribute(inode, most, ret, ret_length);
	ntfs_inode_close(inode);
	return r;
}

/* Blocks that differ, and what is behind the old end. */
static int write_attribute(ntfs_attr *attr, const uint8_t *old, size_t old_length, const uint8_t *data, size_t length)
{
	if (NAttrCompressed(attr) || NAttrEncrypted(attr) || NAttrSparse(attr))
		return -EOPNOTSUPP;
	for (size_t at = 0; at < length; at += 4096) {
		size_t n = length - at < 4096 ? length - at : 4096;

		if (at + n <= old_length && !memcmp(old + at, data + at, n))
			continue;
		if (ntfs_attr_pwrite(attr, (s64)at, (s64)n, data + at) != (s64)n)
			return errno ? -errno : -EIO;
	}
	return 0;
}

int doctor_ntfs_write(struct doctor_ntfs *v, const char *path, const uint8_t *old, size_t old_length,
		      const uint8_t *data, size_t length)
{
	ntfs_inode *inode;
	ntfs_attr *attr;
	int r;

	if (length < old_length)
		return -EINVAL;
	inode = ntfs_pathname_to_inode(v->vol, NULL, path);
	if (!inode)
		return errno ? -errno : -EIO;
	attr = ntfs_attr_open(inode, AT_DATA, AT_UNNAMED, 0);
	r = attr ? write_attribute(attr, old, old_length, data, length) : -EIO;
	if (attr)
		ntfs_attr_close(attr);
	if (ntfs_inode_close(inode) && !r)
		r = errno ? -errno : -EIO;
	return r;
}

/* --- folders ------------------------------------------------------------------------------------------------------*/

struct folder {
	int (*fn)(void *arg, const char *name);
	void *arg;
	unsigned int seen;
	int r;
};

static int fill(void *dirent, const ntfschar *name, const int name_length, const int name_type, const s64 pos,
		const MFT_REF ref, const unsigned int type)
{
	struct folder *f = dirent;
	char *text = NULL;

	(void)pos;
	(void)ref;
	(void)type;
	/* Short names are second names. */
	if (name_type == FILE_NAME_DOS || ++f->seen > DOCTOR_FOLDER_MAX)
		return f->seen > DOCTOR_FOLDER_MAX ? -1 : 0;
	if (ntfs_ucstombs(name, name_length, &text, 0) < 0)
		return 0;
	f->r = f->fn(f->arg, text);
	free(text);
	return f->r ? -1 : 0;
}

int doctor_ntfs_each(struct doctor_ntfs *v, const char *path, int (*fn)(void *arg, const char *name), void *arg)
{
	ntfs_inode *inode = ntfs_pathname_to_inode(v->vol, NULL, path);
	struct folder f = {.fn = fn, .arg = arg};
	s64 pos = 0;

	if (!inode)
		return errno == ENOENT || errno == ENOTDIR ? -ENOENT : -EIO;
	if (ntfs_readdir(inode, &pos, &f, fill) && !f.r && f.seen <= DOCTOR_FOLDER_MAX)
		f.r = -EIO;
	ntfs_inode_close(inode);
	return f.r;
}
