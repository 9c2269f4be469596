/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An image with its parents, for the command line: they are looked for in the folder of the image.
 */
#ifndef BOOTWELL_IMAGE_CHAIN_H
#define BOOTWELL_IMAGE_CHAIN_H

#include "tcmu-handler/image/image.h"

#define CHAIN_FOLDER_MAX 4096 /* files of a folder that are looked at when a parent is sought */

/*
 * Opens the image at `path` (a link in it is followed: a person gave it) and its chain. Parents are found by UUID or
 * CID among the files of the same folder, by the rule of image/parent.h, never by the path that the child has stored;
 * several that fit and of which that path names none are refused (-ENOTUNIQ). When none fits, that path's last part
 * tells whether the parent is missing (-ENODATA) or is there and was changed (-ESTALE). format: NULL to find out.
 * Returns 0 or -errno with err set. With 0, err is "" or a remark for a person: a parent that fits by its identity
 * only. When it is only with the parents that something is wrong, *ret is the chain as far as it goes, to be closed
 * all the same: image_info() works then, image_map() does not. Otherwise *ret stays as it was.
 */
int chain_open(struct image **ret, const char *path, const enum image_format *format, struct sentence *err);

#endif
