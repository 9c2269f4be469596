/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files that look into a Windows share: doctor/windows.c, services.c, cards.c, version.c. */
#ifndef BOOTWELL_DOCTOR_PRIVATE_H
#define BOOTWELL_DOCTOR_PRIVATE_H

#include "daemon/doctor/doctor.h"
#include "daemon/doctor/hive.h"
#include "daemon/doctor/ntfs.h"

#define WINDOWS_WHAT_MAX 420 /* bytes of what a sentence is about */

/* Changed in the registry in memory; whether it counts is known when that is written. */
struct windows_change {
	char what[WINDOWS_WHAT_MAX];
	const char *done, *undone; /* "... starts with the kernel now", "... does not start with the kernel" */
	enum doctor_level level;   /* if it cannot be written */
	const char *advice;
};

struct windows {
	struct doctor *d;
	struct doctor_ntfs *ntfs;
	struct doctor_hive *hive;
	hive_node_h set; /* the control set */
	bool mend;
	bool stale; /* the registry has a log that was not written out: what it says is older than that */
	struct windows_change *change;
	unsigned int changes;
};

/* As doctor_tell(); where the registry is stale nothing that it says is certain: BAD becomes a warning. */
void windows_tell(struct windows *w, enum doctor_level level, const char *advice, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* Notes a change that was made, to be told by windows_told(). False: no memory, it is not to count. */
bool windows_changed(struct windows *w, const char *what, const char *done, const char *undone, enum doctor_level level,
		     const char *advice);
/* Tells all changes: as mended, or as what they were. */
void windows_told(struct windows *w, bool written);

/* --- services.c ---------------------------------------------------------------------------------------------------*/

enum windows_start {
	WINDOWS_NO_SERVICE,
	WINDOWS_WITH_KERNEL,  /* Start is 0 */
	WINDOWS_WITH_NETWORK, /* BootFlags has CM_SERVICE_NETWORK_BOOT_LOAD: with the kernel, if there is an iBFT */
	WINDOWS_LATER,        /* too late for the disk that Windows is on */
	WINDOWS_DISABLED,     /* Start is 4, and BootFlags has that bit: nobody knows which of the two counts */
};
#define WINDOWS_DISABLED_ADVICE "set its Start to 0: it is disabled, and whether its BootFlags count then is not known"

hive_node_h windows_service(struct windows *w, const char *name);
int32_t windows_start_number(struct windows *w, const char *name); /* -1: there is no such service */
enum windows_start windows_start(struct windows *w, const char *name);
/* Says that a service does not start as it should, or makes it: with the kernel, or by itself. True: it does now. */
bool windows_mend_start(struct windows *w, const char *name, bool kernel, enum doctor_level level, const char *advice,
			const char *what);
/* Initiator, its service, NDIS and TCP/IP. */
void windows_initiator(struct windows *w);

/* --- cards.c ------------------------------------------------------------------------------------------------------*/

void windows_cards(struct windows *w); /* and the filters that are bound to them */

/* --- version.c ----------------------------------------------------------------------------------------------------*/

void windows_version(struct windows *w); /* no hive is open */

#endif
