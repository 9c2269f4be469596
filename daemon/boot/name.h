/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PC's own computer name, written into its write-back before its Windows starts: what bootwell-doctor would change in
 * the base becomes ID.patch beside the disk's record (docs/handover.md). Kept in RUN/name, by image, generation and
 * name, so that an image is looked into once for each PC. Blocking; on the helper thread. Private to boot*.c.
 */
#ifndef BOOTWELL_BOOT_NAME_H
#define BOOTWELL_BOOT_NAME_H

#include "daemon/boot/disk.h"
#include "tcmu-handler/image/sentence.h"

#define BOOT_NAME_SECONDS 30 /* that the doctor may take */

/* Removes what is there for an earlier boot of the disk. */
void boot_name_forget(const char *run_path, const char *disk);
/* Makes ID.patch for job->disk.id, or none when the image has no Windows, or has the name already. -errno with the
 * sentence. */
int boot_name_patch(const char *run_path, const struct boot_disk_job *job, struct sentence *error);
/* At the start: the catalogue may be another one. */
void boot_name_clean(const char *run_path);

#endif
