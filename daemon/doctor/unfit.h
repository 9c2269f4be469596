/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What makes an image of a disk worthless, and can be seen before an hour of sending: one table of sentences, for those
 * who capture a disk and for the doctor who looks at one that was.
 */
#ifndef BOOTWELL_DOCTOR_UNFIT_H
#define BOOTWELL_DOCTOR_UNFIT_H

#include "daemon/doctor/disk.h"

enum unfit {
	UNFIT_HIBERNATED, /* hiberfil.sys begins with HIBR or hibr */
	UNFIT_DIRTY,      /* NTFS: marked dirty, or its log was not written out */
	UNFIT_BITLOCKER,  /* -FVE-FS- where a file system's name stands */
	UNFIT_4KN,        /* GPT at byte 4096 */
	UNFIT_DYNAMIC,    /* LDM: MBR type 0x42, or one of its two types in a GPT */
	UNFIT_PAST_END,   /* a partition ends behind the disk */
};

/* `partition`: as the PC counts them; 0: the whole disk. `sentence` and `remedy` are without a full stop. */
typedef void (*unfit_fn)(void *arg, enum unfit what, unsigned int partition, const char *sentence, const char *remedy);

/* How many there are; fn is called for each. A disk that cannot be read has none: reading it will say so. */
unsigned int unfit_look(struct doctor_disk *disk, unfit_fn fn, void *arg);
/* Of a disk of which the drive itself says that its sectors are 4096 bytes. */
unsigned int unfit_4kn(unfit_fn fn, void *arg);

#endif
