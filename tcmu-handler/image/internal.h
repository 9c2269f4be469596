/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parsers of the formats and the rest of the library share.
 *
 * Every format comes down to the same thing: the virtual disk is a row of segments, and a segment
 * is a plain range of a file (flat), nothing (zero), or a table of equal units (a VHD block, a VMDK
 * grain) that says for each where it is. A parser reads and checks a file and appends segments;
 * map.c alone answers image_map() from them, for all formats.
 */
#ifndef BOOTWELL_IMAGE_INTERNAL_H
#define BOOTWELL_IMAGE_INTERNAL_H

#include <sys/types.h>

#include "tcmu-handler/image/image.h"

#define SECTOR          512u
#define IMAGE_FILES_MAX 2048                /* files of one image: 4 TiB in pieces of 2 GiB */
#define IMAGE_TABLE_MAX ((uint64_t)1 << 29) /* bytes of tables in memory for one image */
#define IMAGE_NOTES_MAX 16                  /* findings that open() keeps for image_check() */

/* Entries of a unit table as map.c reads them; all others are the first sector of the unit in its
 * file. */
#define UNIT_ABSENT 0u         /* in the parent, or zero without one */
#define UNIT_ZERO   UINT32_MAX /* zero, whatever the parent has */

/* A run of 2^table_shift units. `size` (compressed bytes) and `bitmap` are NULL where the format
 * has none. */
struct unit_table {
	uint32_t *entry;  /* NULL: all absent */
	uint32_t *size;   /* bytes of zlib data of each unit */
	uint8_t **bitmap; /* differencing VHD, MSB first, one bit a sector; NULL for a unit: all its
			     sectors are here */
};

struct unit_map {
	unsigned int unit_shift;  /* log2 of the bytes of a unit */
	unsigned int table_shift; /* log2 of the units of a table */
	uint64_t units;           /* that the segment has */
	uint32_t skip;            /* bytes from the unit's first sector to its data: bitmap or marker */
	bool compressed;
	bool bitmaps;      /* the units are read by their bitmaps: differencing VHD */
	bool idle_bitmaps; /* there are bitmaps that other programs heed and we do not: dynamic VHD */
	struct unit_table *tables;
	size_t n_tables;
};

enum segment_kind { SEGMENT_FLAT, SEGMENT_ZERO, SEGMENT_UNITS };

struct image_segment {
	enum segment_kind kind;
	uint64_t start;  /* bytes of virtual disk */
	uint64_t length; /* bytes */
	unsigned int file;
	uint64_t offset; /* FLAT: bytes in file */
	uint64_t other;  /* UNITS of hosted sparse: sector of the grain directory that is not in use,
			    0 if none */
	struct unit_map units;
};

struct image_note {
	char finding[256];
	const char *fix; /* a literal, or NULL */
};

struct file_id {
	dev_t dev;
	ino_t ino;
};

struct image {
	struct image_info info;
	int dirfd; /* while opening only */
	char *name;
	char *folder; /* of name within dirfd, with its slash, or "" */
	struct image_file *files;
	struct file_id *file_ids;
	unsigned int n_files;
	struct image_segment *segments;
	unsigned int n_segments;
	uint64_t table_bytes;
	bool has_parent; /* it names one */
	struct image *parent, *child;
	struct image_note notes[IMAGE_NOTES_MAX];
	unsigned int n_notes;
};

/* Keeps a finding for image_check(). */
void image_note(struct image *img, const char *fix, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Bytes of a header that belong to the image's fingerprint. The tables are added by image_open(). */
void image_stamp(struct image *img, const void *data, size_t length);

/* calloc that counts towards IMAGE_TABLE_MAX. NULL with err set. */
void *image_table_alloc(struct image *img, uint64_t n, size_t size, struct sentence *err);

/*
 * Opens a regular file beneath dirfd, read only, never through a link or onto another file system;
 * adds it to the image. The same file again gets the number that it has. Returns its number or
 * -errno.
 */
int image_add_file(struct image *img, const char *name, struct sentence *err);

/* Reads exactly length bytes; anything outside the file is an error with `what` in its sentence. */
int image_read(const struct image *img, unsigned int file, uint64_t offset, void *to, size_t length, const char *what,
	       struct sentence *err);

/* Appends a segment behind the last one; the total is checked against IMAGE_SIZE_MAX. */
struct image_segment *image_add_segment(struct image *img, enum segment_kind kind, uint64_t length,
					struct sentence *err);

/* After the last segment: the virtual size, or what the caller wants instead. */
int image_set_size(struct image *img, uint64_t size, uint64_t size_override, struct sentence *err);

/* Allocates the first level for a segment's units. */
int unit_map_init(struct image *img, struct image_segment *seg, uint32_t unit_bytes, unsigned int table_shift,
		  struct sentence *err);
void unit_map_done(struct unit_map *map);

/* --- the formats --- */

#define IMAGE_HEAD_SIZE 4096

/* The two ends of a file, for finding out what it is. */
struct image_head {
	const char *name;
	uint64_t size;                  /* bytes */
	uint8_t bytes[IMAGE_HEAD_SIZE]; /* zero past the end */
	uint8_t tail[SECTOR];           /* zero if the file is shorter */
	bool named;                     /* its name has the ending of a format: named_as */
	enum image_format named_as;
};

/* A format. One stands in each NAME.c; image.h has their list. */
struct image_type {
	const char *name;       /* as IMAGE_FORMATS() has it */
	const char *id_word;    /* what tells one image from another: "UUID", "CID"; "identity" if there is none */
	const char *endings[6]; /* of file names, with their dot; the first is that of new files; up to NULL */
	uint64_t size_max;      /* bytes of virtual disk */
	const char *unmarked;   /* of a file with such a name that has no mark of the format: what to think of it. NULL:
				   nothing   need be thought */
	int unmarked_code;      /* the -errno with it */
	/* Is it one? 1, 0, or -errno with err set for what must not be guessed. Those behind in the list are asked
	 * first. */
	int (*probe)(const struct image_head *head, struct sentence *err);
	/* Reads and checks the file; img has it open, as its first. */
	int (*open)(struct image *img, const struct image_source *src, struct sentence *err);
};

const struct image_type *image_type(enum image_format format); /* NULL if there is none */
/* The n-th to be asked what a file is: raw, which has no mark, is the last. NULL past it. */
const struct image_type *image_type_to_probe(unsigned int n, enum image_format *ret_format);

#define IMAGE_TYPE(NAME, name_) extern const struct image_type name_##_type;
IMAGE_FORMATS(IMAGE_TYPE, IMAGE_TYPE)

#endif
