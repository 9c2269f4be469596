/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon wants in a PC's write-back before the PC starts: ID.patch beside the disk's record, docs/handover.md.
 * It was made for the base alone, and so is only laid over an empty write-back. While that is done it is called
 * ID.patching: when the handler dies in the middle, the next one finds it and does it again, before anybody has seen
 * the disk.
 */
#ifndef BOOTWELL_PATCH_H
#define BOOTWELL_PATCH_H

#include "tcmu-handler/engine.h"

#define PATCH_BYTES_MAX (64u << 20) /* of the file */

/*
 * Returns 0 also when there is none, or it is not for this disk (*ret_note says so, a sentence for the log; else NULL).
 * -errno with the sentence: it is half there, and the disk must not be used. Blocks; nobody else uses the disk.
 */
int patch_apply(struct disk *disk, const char *run_dir, const struct disk_config *config, const char **ret_note,
		struct sentence *err);

#endif
