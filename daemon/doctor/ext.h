/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of an ext2, ext3 or ext4 on a doctor's disk, through e2fsprogs' library, read only. */
#ifndef BOOTWELL_DOCTOR_EXT_H
#define BOOTWELL_DOCTOR_EXT_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/doctor/disk.h"

struct doctor_ext;

/* One at a time. */
int doctor_ext_open(struct doctor_ext **ret, struct doctor_disk *disk, uint64_t start, uint64_t size);
void doctor_ext_close(struct doctor_ext *fs); /* NULL is fine */
/* A whole file, links followed within the file system; one NUL behind it. To be freed. -ENOENT, -EFBIG, -EIO. */
int doctor_ext_read(struct doctor_ext *fs, const char *path, size_t most, uint8_t **ret, size_t *ret_length);
/* Calls fn with the name of each file in a folder; nonzero ends it and is returned. */
int doctor_ext_each(struct doctor_ext *fs, const char *path, int (*fn)(void *arg, const char *name), void *arg);

#endif
