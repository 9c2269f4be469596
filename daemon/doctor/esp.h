/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The EFI system partition: FAT12, FAT16 or FAT32 (Microsoft, FAT: General Overview of On-Disk Format), read only. */
#ifndef BOOTWELL_DOCTOR_ESP_H
#define BOOTWELL_DOCTOR_ESP_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/doctor/disk.h"

/*
 * Is \EFI\BOOT\BOOTX64.EFI in the file system of `size` bytes at `start`, a file that is not empty? It is all that a
 * firmware looks for on a disk that it has not seen before. 0; -EINVAL: it is no FAT that makes sense; -EIO.
 */
int doctor_esp_look(struct doctor_disk *disk, uint64_t start, uint64_t size, bool *ret);

#endif
