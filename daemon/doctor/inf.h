/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which PCI network cards a Windows has drivers for: the hardware IDs in the INF files of class Net,
 * /Windows/INF/?*.inf. */
#ifndef BOOTWELL_DOCTOR_INF_H
#define BOOTWELL_DOCTOR_INF_H

#include "daemon/doctor/doctor.h"
#include "daemon/doctor/ntfs.h"

#define DOCTOR_INF_MAX      (4u << 20) /* bytes of a file that is read */
#define DOCTOR_INF_FILES    6000
#define DOCTOR_HARDWARE_MAX 4096 /* IDs of one file */

/* For doctor/inf.c, and the fuzzer: the IDs (vendor << 16 | device) in the text of a file; 0: it is none of class Net.
 * `data` is changed, and has one byte behind it. `ret`: DOCTOR_HARDWARE_MAX. */
unsigned int doctor_inf_ids(uint8_t *data, size_t length, uint32_t *ret);

/* Tells how many, and with the option `cards` which. */
void doctor_inf_look(struct doctor *d, struct doctor_ntfs *ntfs);

#endif
