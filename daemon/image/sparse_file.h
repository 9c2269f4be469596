/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VHD (dynamic) or VMDK (monolithicSparse) while it is being made from parts of a disk that arrive in any order: for
 * uploads and commits. Space for the tables is left at the front, units (a VHD block of 2 MiB, a VMDK grain of 64 KiB)
 * are laid one behind the other as they come, data on 4096 byte boundaries, and the tables are written last: until then
 * the file is no image. What lies where is told to the caller, who may keep it (a journal) and give it back later.
 *
 * Writing is safe from several threads at once; placing and finishing are not: the caller has a lock.
 */
#ifndef BOOTWELL_SPARSE_FILE_H
#define BOOTWELL_SPARSE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/image/digest.h"
#include "tcmu-handler/image/image.h"

#define SPARSE_BLOCK  4096u                                      /* bytes: what a bit of a part's bitmap stands for */
#define SPARSE_BITMAP ((size_t)(DIGEST_PART / SPARSE_BLOCK / 8)) /* bytes */

/*
 * The formats that can be made this way: a row each, with a `struct sparse_layout` in sparse_file.c. The first is taken
 * where nobody says.
 */
#define SPARSE_FORMATS(first, next) first(VMDK, vmdk) next(VHD, vhd)

#define SPARSE_USUAL                    IMAGE_VMDK
#define SPARSE_FIRST_NAME(NAME, name)   #name
#define SPARSE_NEXT_NAME(NAME, name)    "|" #name
#define SPARSE_FIRST_ENDING(NAME, name) "." #name
#define SPARSE_NEXT_ENDING(NAME, name)  " or ." #name
#define SPARSE_FORMAT_NAMES             SPARSE_FORMATS(SPARSE_FIRST_NAME, SPARSE_NEXT_NAME)     /* for usage lines */
#define SPARSE_ENDINGS                  SPARSE_FORMATS(SPARSE_FIRST_ENDING, SPARSE_NEXT_ENDING) /* for sentences */

struct sparse_file;

/* A part's units: `first` is the sector of the first one in the file, bit u of `units` says that unit u is there. */
struct sparse_place {
	uint64_t first, units;
};

/* The format by the ending of a file's name, SPARSE_ENDINGS; -EINVAL for any other. */
int sparse_format(const char *name, enum image_format *ret);
/* Bytes of the largest disk; 0: the format cannot be made this way. */
uint64_t sparse_size_max(enum image_format format);

/* `size`: bytes of the disk, multiple of 512. fd is used, not owned. -EFBIG: more than the format can hold. -ENOMEM. */
int sparse_new(struct sparse_file **ret, int fd, enum image_format format, uint64_t size);
void sparse_free(struct sparse_file *sf); /* NULL is fine */

uint64_t sparse_metadata(const struct sparse_file *sf); /* bytes before the first unit */
uint64_t sparse_end(const struct sparse_file *sf);      /* bytes of the file as it is so far */

/*
 * Room for the blocks of `bitmap` (bit b: block b of the part has data). A part placed before gets new room and the
 * old one is given back to the file system. -EFBIG: the file would pass what its tables can say.
 */
int sparse_place(struct sparse_file *sf, uint64_t part, const uint8_t bitmap[SPARSE_BITMAP], struct sparse_place *ret);
/* A place from before: -EINVAL if it cannot be one. */
int sparse_restore(struct sparse_file *sf, uint64_t part, const struct sparse_place *place);
/* The part reads as zero from now on. */
void sparse_drop(struct sparse_file *sf, uint64_t part);

/* Writes the blocks of `bitmap` from `data` (the whole part) to where the part was placed. 0 or -errno. */
int sparse_write(const struct sparse_file *sf, uint64_t part, const struct sparse_place *place,
		 const uint8_t bitmap[SPARSE_BITMAP], const uint8_t *data);
/* The whole part as it lies in the file. */
int sparse_read(const struct sparse_file *sf, uint64_t part, const struct sparse_place *place, uint8_t *data);

/* Writes tables, header and footer with a new identity; the caller syncs. `name`: of the file, for its descriptor. */
int sparse_finish(struct sparse_file *sf, const char *name);

/* Does `img`, opened from the finished file, map every unit to where it was placed, and nothing else? 0 or -EIO. */
int sparse_compare(const struct sparse_file *sf, const struct image *img);

#endif
