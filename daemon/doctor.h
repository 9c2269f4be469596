/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looks into an image from outside, for what a first boot over iSCSI would stumble over: a Windows that stops with bugcheck
 * 7B (no boot disk) has few causes, and all of them can be seen in its registry; a Linux that finds no root has an initial
 * RAM disk that cannot log in. Only the disk in memory (doctor_disk.h) is ever changed.
 */
#ifndef BOOTWELL_DOCTOR_H
#define BOOTWELL_DOCTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/doctor_disk.h"

enum doctor_level {
	DOCTOR_INFO,	/* what was found */
	DOCTOR_GOOD,	/* a thing that is as it should be */
	DOCTOR_WARNING, /* it may work */
	DOCTOR_BAD,	/* it will not start */
	DOCTOR_MENDED,	/* it was bad, and is changed on the disk in memory */
};

/* One sentence for each finding, printable ASCII; `advice` is what would mend it, or NULL. */
typedef void (*doctor_report_fn)(void *arg, enum doctor_level level, const char *finding, const char *advice);

#define DOCTOR_NAME_MAX 16 /* with NUL: of a PC, as NetBIOS has it */

struct doctor_options {
	bool mend;		   /* change what can be changed safely */
	bool cards;		   /* one finding for each driver of network cards, with what it serves */
	const char *computer_name; /* make Windows start under this name, and look at nothing else; NULL: no */
};

struct doctor_result {
	int bad;	       /* findings that are DOCTOR_BAD */
	unsigned int changes;  /* in the disk in memory */
	bool windows, linux_os; /* what was found */
	bool unreadable;	/* there is an NTFS that could hold a Windows, and cannot be read */
};

/* 0, or -errno when the image cannot be looked into (reported too). */
int doctor_look(struct doctor_disk *disk, const struct doctor_options *options, doctor_report_fn report, void *arg,
		struct doctor_result *ret);

/* --- between the doctor's own files ---------------------------------------------------------------------------------*/

struct doctor_partition {
	unsigned int number;  /* as the PC counts them */
	uint64_t start, size; /* bytes */
	bool active;
	bool ntfs, ext; /* its first sectors say so */
};
#define DOCTOR_PARTITIONS 128
/* MBR (with logical partitions) or GPT. How many, or -errno; -ENOENT: there is no partition table. */
int doctor_partitions(struct doctor_disk *disk, struct doctor_partition *ret, unsigned int max, bool *ret_gpt);

struct doctor {
	const struct doctor_options *options;
	doctor_report_fn report;
	void *arg;
	struct doctor_disk *disk;
	struct doctor_result result;
};
void doctor_tell(struct doctor *d, enum doctor_level level, const char *advice, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* One NTFS partition, doctor_windows.c. -ENOENT: no Windows is in it. */
int doctor_windows(struct doctor *d, const struct doctor_partition *part);
/* All ext partitions, doctor_linux.c: one may hold the system and another /boot. */
int doctor_linux(struct doctor *d, const struct doctor_partition *part, unsigned int count);

#endif
