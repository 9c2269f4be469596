/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An image as a disk that can be written to without changing the image: what is written stays in memory, and can be
 * told as ranges afterwards. For one thread.
 */
#ifndef BOOTWELL_DOCTOR_DISK_H
#define BOOTWELL_DOCTOR_DISK_H

#include <stdint.h>
#include <stdio.h>

#include "tcmu-handler/image/image.h"

#define DOCTOR_CHANGED_MAX (256u << 20) /* bytes that may be written, in blocks of 4096 */

struct doctor_disk;

int doctor_disk_new(struct doctor_disk **ret, const struct image *img);
/* Of a block device or a file that is one, of `size` bytes; fd stays the caller's. */
int doctor_disk_new_fd(struct doctor_disk **ret, int fd, uint64_t size);
void doctor_disk_free(struct doctor_disk *disk); /* NULL is fine; the image stays open */
uint64_t doctor_disk_size(const struct doctor_disk *disk);
/* Any offset and length within the disk. 0 or -errno; -EFBIG: more than DOCTOR_CHANGED_MAX was written. */
int doctor_disk_read(struct doctor_disk *disk, uint64_t offset, void *to, uint64_t length);
int doctor_disk_write(struct doctor_disk *disk, uint64_t offset, const void *from, uint64_t length);

/* Sectors whose content differs from the image's, and in how many ranges they lie. */
int doctor_disk_changed(struct doctor_disk *disk, uint64_t *ret_bytes, uint32_t *ret_ranges);
/* These ranges in the output format of bootwell-overlay (tcmu-handler/export), for the generation that is named. */
int doctor_disk_dump(struct doctor_disk *disk, const char *generation, FILE *to);

#endif
