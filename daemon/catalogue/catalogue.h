/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The images that PCs can be given: what [image] sections name and what `bootwell image add` added,
 * in the state. An image's format is found out once, when it is added, and never again from bytes
 * that a guest might have written. Parents are found by UUID or CID here, never by the path that a
 * child stores. Loop's thread only, where no file is opened: threads of the catalogue's own do that, for a file may be
 * on a server that does not answer any more (catalogue/sync.c).
 */
#ifndef BOOTWELL_CATALOGUE_H
#define BOOTWELL_CATALOGUE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/config/config.h"
#include "daemon/state/state.h"
#include "tcmu-handler/image/image.h"

struct catalogue;
struct loop;

#define CATALOGUE_LOOKS       16   /* files that are looked at at the same time */
#define CATALOGUE_PATIENCE_MS 5000 /* that a file may take until it is said that it does not answer */

/* `loop` NULL: files are looked at at once, within the call. */
int catalogue_new(struct catalogue **ret, struct state *state, struct loop *loop);
/* Before loop_free(), when the loop does not run any more. Who still waits is told that the server is being stopped. */
void catalogue_free(struct catalogue *catalogue);

/* --- what the configuration names: catalogue/sync.c ---------------------------------------------- */

/*
 * Begins to look at the images that `config` names: new ones are added, one whose file is another than before becomes a
 * new generation. What cannot be taken, or does not answer, is a problem of that image only.
 */
void catalogue_sync(struct catalogue *catalogue, const struct config *config);
/* Before the loop runs: waits until all of them were looked at, at most so long. */
void catalogue_settle(struct catalogue *catalogue, unsigned int ms);

/*
 * Can PCs be given this image now? `fn` is called, now or later, with `why` NULL or the sentence why not. An image
 * whose file could not be used is looked at again. It is answered after CATALOGUE_PATIENCE_MS at the latest.
 */
typedef void (*catalogue_ask_fn)(void *arg, int64_t id, const char *why);
void catalogue_ask(struct catalogue *catalogue, const char *name, catalogue_ask_fn fn, void *arg, int64_t id);
/* The same, when all images that the configuration names were looked at. `why`: the server is being stopped. */
void catalogue_when_settled(struct catalogue *catalogue, catalogue_ask_fn fn, void *arg);
/* What was asked with that `arg` is not answered any more. */
void catalogue_forget(struct catalogue *catalogue, const void *arg);

/* One sentence for each image that cannot be used, NULL past the last; valid until the loop goes on. */
const char *catalogue_problem(struct catalogue *catalogue, unsigned int n);

/* --- one more ------------------------------------------------------------------------------------ */

/*
 * Fills in what an image's file is to be looked at as. `format` "": the one that it has, if that file is the image's
 * already, else "", by what the file is.
 */
void catalogue_prepare(struct catalogue *catalogue, const char *name, const char *file, const char *format,
		       uint64_t size_override, struct state_image *ret);
/*
 * Opens the file `row` names, beneath the folder `path`, and fills in all of `row` that comes from it. May hang with
 * the file. Any thread: needs no catalogue.
 */
int catalogue_inspect(const char *path, struct state_image *row, struct sentence *error);
/*
 * The same on a thread of the catalogue's own; `fn` is called, now or later, with the outcome. -ETIMEDOUT: the file
 * does not answer. -EAGAIN: too many are being looked at. -ECANCELED: the server is being stopped.
 */
typedef void (*catalogue_look_fn)(void *arg, const struct state_image *seen, int result, const char *error);
void catalogue_look(struct catalogue *catalogue, const struct config *config, const struct state_image *row,
		    catalogue_look_fn fn, void *arg);

/*
 * `seen`: by catalogue_inspect(). The file of an image that is there already becomes its next generation if it was
 * changed. -EEXIST: the name is taken. -ENOTUNIQ: which image is its parent cannot be known (image/parent.h). With 0,
 * error is "" or a remark for a person about the parent: it is missing, or fits by its identity only.
 */
int catalogue_add(struct catalogue *catalogue, const struct state_image *seen, struct state_image *ret,
		  struct sentence *error);
/* All generations of it. Refused while a section, a client's record or a child image names it. The
 * file stays. */
int catalogue_remove(struct catalogue *catalogue, const struct config *config, const char *name,
		     struct sentence *error);

/* --- generations: catalogue/generation.c --------------------------------------------------------- */

/*
 * A file, `seen` by catalogue_inspect(), becomes the next generation of the image that it names, and with `current`
 * what new boots get. Parents: as in the file. The same file again changes nothing. -ENOENT: no such image.
 */
int catalogue_add_generation(struct catalogue *catalogue, const struct state_image *seen, bool current,
			     struct state_image *ret, struct sentence *error);
/* New boots get generation `generation` (0: the one before the current one). -ENOENT. */
int catalogue_rollback(struct catalogue *catalogue, const char *name, uint32_t generation, struct state_image *ret,
		       struct sentence *error);
int catalogue_rename(struct catalogue *catalogue, const struct config *config, const char *name, const char *to,
		     struct sentence *error);
/* Notes what `bootwell image verify` found. -ENOENT: no such generation. */
int catalogue_checked(struct catalogue *catalogue, const char *name, uint32_t generation, enum image_outcome outcome,
		      struct sentence *error);
uint32_t catalogue_last_generation(struct catalogue *catalogue, const char *name); /* 0: none */
/*
 * Takes generations that are neither current nor among the last `keep` out of the catalogue, and removes their files.
 * `in_use(arg, image)` says whether a PC's disk still has one; such a one stays, and so does the parent of another
 * image. Returns how many went.
 */
unsigned int catalogue_prune(struct catalogue *catalogue, const struct config *config, const char *name,
			     unsigned int keep, bool (*in_use)(void *arg, const struct state_image *image), void *arg);

/* What the handler needs to open an image: itself first, then its parents. */
struct catalogue_chain {
	struct state_image image; /* the top one */
	unsigned int layers;
	bool undecided; /* which image is a layer's parent is not noted yet */
	struct {
		char format[16];
		char file[256];
		uint64_t size_override;
		uint64_t fingerprint; /* as it was when it was added; 0: not noted */
	} layer[IMAGE_CHAIN_MAX];
};
/* -ENOENT: there is no such image, or a parent is missing. */
int catalogue_resolve(struct catalogue *catalogue, const char *name, struct catalogue_chain *ret,
		      struct sentence *error);

#endif
