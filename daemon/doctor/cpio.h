/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An initial RAM disk as the kernel takes it (Documentation/driver-api/early-userspace/buffer-format.rst): cpio
 * archives in the "newc" format one behind the other, with zeros between, the last ones compressed. Names, and the
 * content of small files.
 */
#ifndef BOOTWELL_DOCTOR_CPIO_H
#define BOOTWELL_DOCTOR_CPIO_H

#include <stddef.h>
#include <stdint.h>

#define DOCTOR_CPIO_KEPT  (1u << 20)          /* bytes of a file whose content is told; of longer ones only the name */
#define DOCTOR_CPIO_WHOLE ((uint64_t)2 << 30) /* bytes after decompression that are looked at */

/* `data` NULL: it is longer than DOCTOR_CPIO_KEPT, or empty. One NUL is behind it. */
typedef void (*doctor_cpio_fn)(void *arg, const char *name, const uint8_t *data, size_t length);

/* 0; -EBADMSG: it is none, or damaged; -EFBIG; -ENOMEM. */
int doctor_cpio_look(const uint8_t *data, size_t length, doctor_cpio_fn fn, void *arg);

#endif
