/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The images that PCs can be given: what [image] sections name and what `bootwell image add` added,
 * in the state. An image's format is found out once, when it is added, and never again from bytes
 * that a guest might have written. Parents are found by UUID or CID here, never by the path that a
 * child stores. Loop's thread only; adding reads the file.
 */
#ifndef BOOTWELL_CATALOGUE_H
#define BOOTWELL_CATALOGUE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/config.h"
#include "daemon/store.h"
#include "tcmu-handler/image/image.h"

#define CATALOGUE_ERROR_MAX 640

struct catalogue;

int catalogue_new(struct catalogue **ret, struct store *store);
void catalogue_free(struct catalogue *catalogue);

/*
 * Takes the images that `config` names: new ones are added, one whose file is another than before
 * becomes a new generation. What cannot be taken is a problem of that image only.
 */
void catalogue_sync(struct catalogue *catalogue, const struct config *config);

/* One sentence for each image that cannot be used, NULL past the last. */
const char *catalogue_problem(const struct catalogue *catalogue, unsigned int n);

/* `format` "": by what the file is. -EEXIST: the name is taken. */
int catalogue_add(struct catalogue *catalogue, const struct config *config, const char *name,
		  const char *file, const char *format, uint64_t size_override,
		  struct store_image *ret, char error[CATALOGUE_ERROR_MAX]);
/* All generations of it. Refused while a section, a client's record or a child image names it. The
 * file stays. */
int catalogue_remove(struct catalogue *catalogue, const struct config *config, const char *name,
		     char error[CATALOGUE_ERROR_MAX]);

/* --- generations: catalogue_generation.c --------------------------------------------------------- */

/*
 * A file in the folder of images becomes the next generation of an image, and what new boots get. Parents: as in the
 * file. The same file again changes nothing. -ENOENT: no such image.
 */
int catalogue_add_generation(struct catalogue *catalogue, const struct config *config,
			     const char *name, const char *file, const char *format,
			     struct store_image *ret, char error[CATALOGUE_ERROR_MAX]);
/* New boots get generation `generation` (0: the one before the current one). -ENOENT. */
int catalogue_rollback(struct catalogue *catalogue, const char *name, uint32_t generation,
		       struct store_image *ret, char error[CATALOGUE_ERROR_MAX]);
int catalogue_rename(struct catalogue *catalogue, const struct config *config, const char *name,
		     const char *to, char error[CATALOGUE_ERROR_MAX]);
/* Notes what `bootwell image verify` found. -ENOENT: no such generation. */
int catalogue_checked(struct catalogue *catalogue, const char *name, uint32_t generation, bool failed,
		      char error[CATALOGUE_ERROR_MAX]);
uint32_t catalogue_last_generation(struct catalogue *catalogue, const char *name); /* 0: none */
/*
 * Takes generations that are neither current nor among the last `keep` out of the catalogue, and removes their files.
 * `in_use(arg, image)` says whether a PC's disk still has one; such a one stays, and so does the parent of another image.
 * Returns how many went.
 */
unsigned int catalogue_prune(struct catalogue *catalogue, const struct config *config,
			     const char *name, unsigned int keep,
			     bool (*in_use)(void *arg, const struct store_image *image), void *arg);

/* What the handler needs to open an image: itself first, then its parents. */
struct catalogue_chain {
	struct store_image image; /* the top one */
	unsigned int layers;
	struct {
		char format[16];
		char file[256];
		uint64_t size_override;
	} layer[IMAGE_CHAIN_MAX];
};
/* -ENOENT: there is no such image, or a parent is missing. */
int catalogue_resolve(struct catalogue *catalogue, const char *name, struct catalogue_chain *ret,
		      char error[CATALOGUE_ERROR_MAX]);

#endif
