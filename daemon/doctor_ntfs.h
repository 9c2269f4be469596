/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of an NTFS volume that lies in an image, through ntfs-3g's library, read only. */
#ifndef BOOTWELL_DOCTOR_NTFS_H
#define BOOTWELL_DOCTOR_NTFS_H

#include <stddef.h>
#include <stdint.h>

#include "tcmu-handler/image/image.h"

struct doctor_ntfs;

int doctor_ntfs_open(struct doctor_ntfs **ret, const struct image *img, uint64_t start, uint64_t size);
void doctor_ntfs_close(struct doctor_ntfs *volume); /* NULL is fine */
/* A whole file, case ignored: "/Windows/System32/config/SYSTEM". To be freed. -ENOENT, -EFBIG, -EIO. */
int doctor_ntfs_read(struct doctor_ntfs *volume, const char *path, size_t most, uint8_t **ret, size_t *ret_length);

#endif
