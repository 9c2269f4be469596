/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of an NTFS volume that lies on a doctor's disk, through ntfs-3g's library. */
#ifndef BOOTWELL_DOCTOR_NTFS_H
#define BOOTWELL_DOCTOR_NTFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/doctor/disk.h"

struct doctor_ntfs;

/* Read only unless `write`. -EUCLEAN with `write`: Windows has not let go of it (hibernated, fast start-up, not shut
 * down). */
int doctor_ntfs_open(struct doctor_ntfs **ret, struct doctor_disk *disk, uint64_t start, uint64_t size, bool write);
/* How Windows has left it: is it asleep (hiberfil.sys), is it marked dirty or its log not written out? */
void doctor_ntfs_left(struct doctor_ntfs *volume, bool *ret_dirty, bool *ret_sleeps);
/* NULL is fine. 0, or -errno when what was written could not all be noted. */
int doctor_ntfs_close(struct doctor_ntfs *volume);
/* A whole file, case ignored: "/Windows/System32/config/SYSTEM". To be freed. -ENOENT, -EFBIG, -EIO,
 * -EOPNOTSUPP: it is compressed by CompactOS, or encrypted, and what it holds cannot be known. */
int doctor_ntfs_read(struct doctor_ntfs *volume, const char *path, size_t most, uint8_t **ret, size_t *ret_length);
/*
 * Makes a file that is there hold `data` instead of `old`; only parts that differ are written. Never shorter: length is
 * at least old_length. -EOPNOTSUPP: it is compressed or encrypted.
 */
int doctor_ntfs_write(struct doctor_ntfs *volume, const char *path, const uint8_t *old, size_t old_length,
		      const uint8_t *data, size_t length);
/* Calls fn with the name (UTF-8) of each file in a folder, at most DOCTOR_FOLDER_MAX; nonzero ends it and is returned.
 */
#define DOCTOR_FOLDER_MAX 20000
int doctor_ntfs_each(struct doctor_ntfs *volume, const char *path, int (*fn)(void *arg, const char *name), void *arg);

#endif
