/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which of several images is the parent of a child: the one rule of it, for the catalogue and for the command line.
 *
 * A child knows its parent's UUID or CID, and the path that it had (the hint). The first is often not enough: ESXi
 * gives each new disk the CID fffffffe, VMware's snapshots keep the CID of their parent until they are written to,
 * and a copied VHD has the UUID of the original. So of those that fit, the hint's name decides; when it decides
 * nothing and there is more than one, nobody can know, and the answer is no. Pure: no I/O.
 */
#ifndef BOOTWELL_IMAGE_PARENT_H
#define BOOTWELL_IMAGE_PARENT_H

#include <stdbool.h>
#include <stddef.h>

#include "tcmu-handler/image/image.h"

/* An image with the UUID or CID that the child names, which is not the child itself nor made from it. */
struct parent_candidate {
	const char *file;             /* its path beneath the folder of images */
	const char *own_name;         /* what it was called when it was made, "" if unknown */
	const char *parent_id, *hint; /* of its own parent, "" if it has none */
};

struct parent_child {
	const char *file; /* as in a candidate */
	enum image_format format;
	const char *id, *parent_id, *hint;
};

/*
 * 0: *ret is its number. *ret_named: the hint names it; if not, a person should be told (parent_remark()). -ENOENT:
 * there is none (one that names the child as its own parent is none). -ENOTUNIQ: several, or one whose CID says
 * nothing and whose name is another; err has them all.
 */
int parent_choose(const struct parent_child *child, const struct parent_candidate *list, size_t n, size_t *ret,
		  bool *ret_named, struct sentence *err);

/* "its parent X fits by its CID only: the child calls it Y" */
void parent_remark(const struct parent_child *child, const struct parent_candidate *parent, struct sentence *ret);

/* The last part of a path, in Windows' way or ours. */
const char *parent_last_part(const char *path);

#endif
