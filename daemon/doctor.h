/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looks into a Windows image from outside, for what a first boot over iSCSI would stumble over: bugcheck 7B (no boot disk)
 * has few causes, and all of them can be seen in the registry. Nothing is changed.
 */
#ifndef BOOTWELL_DOCTOR_H
#define BOOTWELL_DOCTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "tcmu-handler/image/image.h"

enum doctor_level {
	DOCTOR_INFO,	/* what was found */
	DOCTOR_GOOD,	/* a thing that is as it should be */
	DOCTOR_WARNING, /* it may work */
	DOCTOR_BAD,	/* it will not start */
};

/* One sentence for each finding; `advice` is what would mend it, or NULL. */
typedef void (*doctor_report_fn)(void *arg, enum doctor_level level, const char *finding, const char *advice);

#define DOCTOR_HIVE_MAX	  (512u << 20) /* bytes of a registry file that we read */
#define DOCTOR_DRIVER_MAX (64u << 20)

/* How many findings were DOCTOR_BAD, or -errno when the image cannot be looked into (reported too). */
int doctor_look(const struct image *img, doctor_report_fn report, void *arg);

/* For doctor.c, and tests. */
struct doctor_partition {
	unsigned int number; /* as the PC counts them */
	uint64_t start, size; /* bytes */
	bool active;
	bool ntfs; /* its boot sector says so */
};
#define DOCTOR_PARTITIONS 128
/* MBR (with logical partitions) or GPT. How many, or -errno; -ENOENT: there is no partition table. */
int doctor_partitions(const struct image *img, struct doctor_partition *ret, unsigned int max, bool *ret_gpt);

#endif
