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

/*
 * What can be written: a row each, name for -O, format, writer (write.h). The first row of a format is what a file gets
 * whose name ends in that format's way.
 */
#define CONVERT_TARGETS(first, next)                                                                                   \
	first(RAW, "raw", RAW, writer_raw)                                                                             \
		next(VHD, "vhd", VHD, writer_vhd) /* dynamic, 2 MiB blocks, data 4 KiB-aligned */                      \
		next(VHD_FIXED, "vhd-fixed", VHD, writer_vhd_fixed)                                                    \
			next(VMDK, "vmdk", VMDK, writer_vmdk)              /* monolithicSparse, 64 KiB grains */       \
		next(VMDK_STREAM, "vmdk-stream", VMDK, writer_vmdk_stream) /* streamOptimized */

#define CONVERT_TARGET_NUMBER(NAME, name, FORMAT, writer) CONVERT_##NAME,
#define CONVERT_TARGET_FIRST(NAME, name, FORMAT, writer)  name
#define CONVERT_TARGET_NEXT(NAME, name, FORMAT, writer)   "|" name
/* "raw|vhd|...", for usage lines */
#define CONVERT_TARGET_NAMES                              CONVERT_TARGETS(CONVERT_TARGET_FIRST, CONVERT_TARGET_NEXT)

enum convert_target { CONVERT_TARGETS(CONVERT_TARGET_NUMBER, CONVERT_TARGET_NUMBER) };

/* -EINVAL for what is none of them. */
int convert_target_from_name(const char *name, enum convert_target *ret);
/* By the ending of a file's name; raw for all others. */
enum convert_target convert_target_from_file(const char *file);
enum image_format convert_target_format(enum convert_target target);

/* done and total: bytes of virtual disk. A nonzero answer stops the conversion with -ECANCELED. */
typedef int (*convert_progress_fn)(void *arg, uint64_t done, uint64_t total);

/*
 * Writes the whole chain of img as one image to `path`. An existing file of that name is replaced
 * when all is done. Returns 0, or -errno with err set and nothing left behind. -ECANCELED when
 * progress said so.
 */
int convert_image(const struct image *img, const char *path, enum convert_target target, convert_progress_fn progress,
		  void *arg, struct sentence *err);

/*
 * For what the image library does not open (VHDX, qcow2): has qemu-img write it to a raw file, in a
 * sandbox (own user, mount, network and PID namespaces where the kernel allows, no backing files,
 * limits of time and memory). `foreign` is the name for qemu-img -f: "vhdx" or "qcow2".
 */
int convert_foreign(const char *from, const char *foreign, const char *to_raw, convert_progress_fn progress, void *arg,
		    struct sentence *err);

/* What convert_foreign() refuses before it starts anything: other files named, encryption, a log to
 * be played back. */
int convert_foreign_check(int fd, const char *foreign, const char *name, struct sentence *err);

/* "vhdx", "qcow2", or NULL for a file that is neither. */
const char *convert_foreign_format(const char *path);

#endif
