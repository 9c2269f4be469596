/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes an image of one format out of an image of another: `bootwell image convert`.
 *
 * The new image is written beside its final name (".NAME.XXXXXX"), synced, and renamed, so a name
 * never has half an image. What is zero in the source takes no room in the destination.
 */
#ifndef BOOTWELL_IMAGE_CONVERT_H
#define BOOTWELL_IMAGE_CONVERT_H

#include <stdbool.h>
#include <stdint.h>

#include "tcmu-handler/image/image.h"

enum convert_target {
	CONVERT_RAW,
	CONVERT_VHD, /* dynamic, 2 MiB blocks, data 4 KiB-aligned */
	CONVERT_VHD_FIXED,
	CONVERT_VMDK,        /* monolithicSparse, 64 KiB grains */
	CONVERT_VMDK_STREAM, /* streamOptimized */
};

/* "raw", "vhd", "vhd-fixed", "vmdk", "vmdk-stream"; -EINVAL for others. */
int convert_target_from_name(const char *name, enum convert_target *ret);

/* done and total: bytes of virtual disk. A nonzero answer stops the conversion with -ECANCELED. */
typedef int (*convert_progress_fn)(void *arg, uint64_t done, uint64_t total);

/*
 * Writes the whole chain of img as one image to `path`. An existing file of that name is replaced
 * when all is done. Returns 0, or -errno with err set and nothing left behind. -ECANCELED when
 * progress said so.
 */
int convert_image(const struct image *img, const char *path, enum convert_target target,
		  convert_progress_fn progress, void *arg, struct image_error *err);

/*
 * For what the image library does not open (VHDX, qcow2): has qemu-img write it to a raw file, in a
 * sandbox (own user, mount, network and PID namespaces where the kernel allows, no backing files,
 * limits of time and memory). `foreign` is the name for qemu-img -f: "vhdx" or "qcow2".
 */
int convert_foreign(const char *from, const char *foreign, const char *to_raw,
		    convert_progress_fn progress, void *arg, struct image_error *err);

/* What convert_foreign() refuses before it starts anything: other files named, encryption, a log to
 * be played back. */
int convert_foreign_check(int fd, const char *foreign, const char *name, struct image_error *err);

/* "vhdx", "qcow2", or NULL for a file that is neither. */
const char *convert_foreign_format(const char *path);

#endif
