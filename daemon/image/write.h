/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between convert_image() and the writers of the formats. A writer is given the disk in units of
 * its own size, in order, without those that are zero; the last one is filled up with zeros.
 */
#ifndef BOOTWELL_IMAGE_WRITE_H
#define BOOTWELL_IMAGE_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "tcmu-handler/image/image.h"

struct output; /* image/output.h */

struct writer {
	const struct writer_type *type;
	struct output *out;
	const char *name; /* of the new image, without folder */
	uint64_t size;    /* bytes of virtual disk */
	uint64_t end;     /* bytes of the file that are taken */
	uint32_t *table;  /* sectors of the units: BAT, grain tables */
	uint64_t n_table;
	uint64_t table_at; /* bytes */
	uint8_t *work;     /* stream: compressed grain */
	uint64_t last;     /* stream: the unit before */
	uint32_t *tables;  /* stream: sectors of the grain tables written */
};

struct writer_type {
	uint32_t unit; /* bytes, a power of two */
	uint64_t size_max;
	/* 0 or -errno with err set */
	int (*begin)(struct writer *w, struct sentence *err);
	int (*put)(struct writer *w, uint64_t index, const uint8_t *data, struct sentence *err);
	int (*end)(struct writer *w, struct sentence *err);
};

extern const struct writer_type writer_raw, writer_vhd, writer_vhd_fixed, writer_vmdk, writer_vmdk_stream;

/* Writes what of data is not zero, in runs of 4 KiB blocks of the file; the rest stays a hole. */
int writer_put_sparse(struct writer *w, uint64_t at, const uint8_t *data, size_t length, struct sentence *err);

#endif
