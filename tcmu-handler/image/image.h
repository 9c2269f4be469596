/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk image formats: what is in a file, and where each byte of the virtual disk lies.
 *
 * The library maps, it does not do the I/O: image_map() answers where a range of the virtual disk
 * is, from tables that image_open() has read, checked and keeps in memory. So mapping is pure (no
 * I/O, no allocation, no lock, safe from any number of threads at once), and the caller reads the
 * data as it likes (io_uring, pread).
 *
 * libc only; no logging, no globals. Functions return 0 or -errno; with a `struct sentence` they
 * also give one sentence for a person (what is wrong, where in which file, what would help).
 *
 * The format is always given by the caller, never probed at open: image_probe() is for the moment
 * when an image is added to the catalogue, by hand.
 */
#ifndef BOOTWELL_IMAGE_H
#define BOOTWELL_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tcmu-handler/image/sentence.h"

#define IMAGE_CHAIN_MAX 16                  /* images in a chain of parents */
#define IMAGE_SIZE_MAX  ((uint64_t)1 << 46) /* bytes of virtual disk that we accept, 64 TiB */

#define IMAGE_UNIT_MAX (2u << 20) /* bytes of a compressed unit, inflated */

/*
 * The formats: a row each, in the order of the numbers in enum image_format. A row is the name in capitals and in small
 * letters, and says that there is a file NAME.c with a `struct image_type NAME_type` (internal.h); CONTRIBUTING.md has
 * the way of a new one. `first` and `next` differ where something stands between them.
 */
#define IMAGE_FORMATS(first, next) first(RAW, raw) next(VHD, vhd) next(VMDK, vmdk)

#define IMAGE_FORMAT_NUMBER(NAME, name) IMAGE_##NAME,
#define IMAGE_FORMAT_FIRST(NAME, name)  #name
#define IMAGE_FORMAT_NEXT(NAME, name)   "|" #name
#define IMAGE_FORMAT_NAMES              IMAGE_FORMATS(IMAGE_FORMAT_FIRST, IMAGE_FORMAT_NEXT) /* "raw|vhd|vmdk" */

enum image_format { IMAGE_FORMATS(IMAGE_FORMAT_NUMBER, IMAGE_FORMAT_NUMBER) };

enum image_extent_type {
	IMAGE_EXTENT_DATA,       /* bytes [offset, offset+length) of file are the data */
	IMAGE_EXTENT_ZERO,       /* reads as zero; nothing in any file */
	IMAGE_EXTENT_COMPRESSED, /* part of one zlib-compressed unit, see below */
};

struct image;

/* A file that holds data of an image. The fd is open O_RDONLY for as long as the image is. */
struct image_file {
	int fd;
	unsigned int index; /* 0..image_file_count()-1 within the chain */
	uint64_t size;      /* bytes, at open */
	const char *name;   /* relative to the directory it was opened in */
};

/*
 * A range of the virtual disk. For COMPRESSED the whole unit is file[offset,
 * offset+compressed_length), zlib data (RFC 1950; bytes behind its end may follow) that inflates to
 * unit_length bytes, and this extent begins unit_skip bytes into them. Only the last unit of a disk
 * may inflate to less, but no less than unit_least; the rest is zero then (inflate_unit() does all
 * of this). `length` never passes the end of the unit. At most IMAGE_UNIT_MAX bytes each.
 */
struct image_extent {
	enum image_extent_type type;
	const struct image_file *file; /* NULL for ZERO */
	uint64_t offset;               /* bytes in file; any alignment that is a multiple of 512, or none if
					  COMPRESSED */
	uint64_t length;               /* bytes of virtual disk, 1..asked */
	uint32_t compressed_length;
	uint32_t unit_length;
	uint32_t unit_skip;
	uint32_t unit_least;
};

struct image_info {
	enum image_format format;
	const char *subformat;   /* the format's own word: "raw", "fixed", "dynamic", "monolithicSparse", ... */
	uint64_t virtual_size;   /* bytes, multiple of 512 */
	uint64_t allocated_size; /* bytes of data that the image itself holds (not its parents), by
				    its tables */
	uint64_t file_size;      /* bytes of all its files together */
	uint32_t block_size;     /* bytes: VHD block, VMDK grain, 0 if flat */
	uint16_t cylinders;      /* geometry as stored, 0 if none */
	uint8_t heads, sectors;
	char id[40];           /* VHD UUID as 8-4-4-4-12 lower case; VMDK CID as 8 hex digits; "" if none */
	char parent_id[40];    /* "" if the image has no parent */
	char parent_hint[256]; /* the stored parent path, only ever shown to a person; UTF-8 */
	char own_name[128];    /* what the file was called when it was made, if it remembers that (VMDK); UTF-8 */
	uint64_t fingerprint;  /* of headers and tables: another number is another image. Never 0 */
	char creator[64];      /* "qemu 5.3", "VMware ..."; printable ASCII */
	bool damaged;          /* opened from a backup copy of its metadata: usable for reading only */
	char damage[256];      /* what is damaged, a sentence */
};

/* What to open. `dirfd`+`name`: opened beneath that directory only (openat2 RESOLVE_BENEATH, no
 * links). */
struct image_source {
	int dirfd;
	const char *name;
	enum image_format format;
	uint64_t size_override; /* bytes; 0: as the format's rules say (VHD from odd creators) */
};

/* Format by magic and file name, for `image add`; -EMEDIUMTYPE with a sentence for what we know and
 * do not open. */
int image_probe(int dirfd, const char *name, enum image_format *ret, struct sentence *err);

/* Opens and checks one image, without its parent. */
int image_open(struct image **ret, const struct image_source *src, struct sentence *err);

/*
 * Gives a child its parent (which the child then owns), after checking UUID or CID and size. Until
 * then a child that needs a parent answers image_map() with -ENODATA.
 */
int image_set_parent(struct image *child, struct image *parent, struct sentence *err);

/* Closes the image, its parents and all files. NULL is fine. */
void image_close(struct image *img);

const struct image_info *image_info(const struct image *img);
const struct image *image_parent(const struct image *img); /* NULL if none */
bool image_needs_parent(const struct image *img);          /* it names one, and has not been given it */

/* Files of the image and all its parents; index 0.. */
unsigned int image_file_count(const struct image *img);
const struct image_file *image_file(const struct image *img, unsigned int index);

/*
 * Where [offset, offset+length) begins to be: *ret covers at least one sector and at most `length`
 * bytes from offset. offset and length: bytes, multiples of 512, length > 0. -ERANGE if not within
 * the virtual size, -EINVAL if unaligned, -ENODATA without the parent. Neighbouring ranges of the
 * same kind are merged as far as that is cheap.
 */
int image_map(const struct image *img, uint64_t offset, uint64_t length, struct image_extent *ret);

/*
 * Deep check: walks all tables (overlaps, order, every unit mapped once, data past the end). Calls
 * `report` with one sentence for each finding; returns the number of findings, or -errno. `fix` is
 * what would mend it, may be NULL.
 */
typedef void (*image_report_fn)(void *arg, const char *finding, const char *fix);
int image_check(const struct image *img, image_report_fn report, void *arg);

/* What helps a person when an image was refused with this code (-errno) of image_open() and its
 * kin; never NULL. */
const char *image_advice(int code);

/*
 * What 0 or a code (-errno) of opening or reading an image says of it. Only its own bytes can say that it is damaged; a
 * file that is not there (a disk that is not mounted) and one that cannot be read say nothing of what it holds.
 */
enum image_outcome {
	IMAGE_GOOD,
	IMAGE_DAMAGED,    /* its bytes are no image any more, or not what they were */
	IMAGE_ABSENT,     /* one of its files is not there */
	IMAGE_UNREADABLE, /* anything else: permissions, the disk, memory */
	IMAGE_OUTCOMES
};
enum image_outcome image_outcome(int code);
const char *image_outcome_word(enum image_outcome outcome);             /* "good", "damaged", "absent", "unreadable" */
int image_outcome_from_word(const char *word, enum image_outcome *ret); /* -EINVAL; word: may be NULL */

/* --- what is known of a format: formats.c --- */

const char *image_format_name(enum image_format format);              /* "raw", "vhd", "vmdk"; "?" for none */
int image_format_from_name(const char *name, enum image_format *ret); /* in any case of letters; -EINVAL */
const char *image_format_ending(enum image_format format);            /* ".vmdk": what a new file's name ends in */
int image_format_from_file(const char *file, enum image_format *ret); /* by the ending of its name; -EINVAL */
bool image_format_fits(enum image_format format, const char *file);   /* is its name one for this format? */
const char *image_id_word(enum image_format format);                  /* what its identity is called: "UUID", "CID" */
uint64_t image_format_size_max(enum image_format format);             /* bytes of the largest disk in it */

#endif
