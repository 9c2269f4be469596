/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looks into an image from outside, for what a first boot over iSCSI would stumble over: a Windows that stops with
 * bugcheck 7B (no boot disk) has few causes, and all of them can be seen in its registry; a Linux that finds no root
 * has an initial RAM disk that cannot log in. Only the disk in memory (doctor/disk.h) is ever changed.
 */
#ifndef BOOTWELL_DOCTOR_H
#define BOOTWELL_DOCTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/doctor/disk.h"

enum doctor_level {
	DOCTOR_INFO,    /* what was found */
	DOCTOR_GOOD,    /* a thing that is as it should be */
	DOCTOR_WARNING, /* likely to be in the way: it may work */
	DOCTOR_BAD,     /* certain: it will not start, or is worth nothing as an image */
	DOCTOR_MENDED,  /* it was in the way, and is changed on the disk in memory */
	DOCTOR_UNKNOWN, /* it could not be looked into, or nobody has seen what it does */
};

/* One sentence for each finding, printable ASCII; `advice` is what would mend it, or NULL. */
typedef void (*doctor_report_fn)(void *arg, enum doctor_level level, const char *finding, const char *advice);

#define DOCTOR_NAME_MAX 16 /* with NUL: of a PC, as NetBIOS has it */

struct doctor_options {
	bool mend;                 /* change what can be changed safely */
	bool cards;                /* one finding for each driver of network cards, with what it serves */
	const char *computer_name; /* make Windows start under this name, and look at nothing else; NULL: no */
};

struct doctor_result {
	int bad;                /* findings that are DOCTOR_BAD */
	int doubts;             /* DOCTOR_WARNING and DOCTOR_UNKNOWN */
	unsigned int changes;   /* in the disk in memory */
	bool windows, linux_os; /* what was found */
	bool unreadable;        /* there is an NTFS that could hold a Windows, and cannot be read */
	const char *refused;    /* why nothing may be changed, one sentence; NULL: it may */
	char failure[256];      /* what was changed could not be written: why; then nothing counts. "": it was */
};

/* 0, or -errno when the image cannot be looked into (reported too). */
int doctor_look(struct doctor_disk *disk, const struct doctor_options *options, doctor_report_fn report, void *arg,
		struct doctor_result *ret);

/* --- between the doctor's own files --------------------------------------------------------------------------------*/

struct doctor_partition {
	unsigned int number;  /* as the PC counts them */
	uint64_t start, size; /* bytes */
	bool active;
	bool ntfs, ext, bitlocker; /* its first sectors say so */
	bool dynamic;              /* of Windows' logical disk manager, as the table says */
	bool esp;                  /* the EFI system partition, as a GPT says */
	bool past_end;             /* it ends behind the disk; `size` is what is there of it */
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

/* One NTFS partition, doctor/windows.c. -ENOENT: no Windows is in it. */
int doctor_windows(struct doctor *d, const struct doctor_partition *part);
/* All ext partitions, doctor/linux.c: one may hold the system and another /boot. */
int doctor_linux(struct doctor *d, const struct doctor_partition *part, unsigned int count);

#endif
