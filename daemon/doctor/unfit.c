// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * PCs get a disk of 512-byte sectors that nobody else writes to, and each starts from the same content: a Windows that
 * sleeps would wake up in every one of them, with a file system that is another by then; one that was not shut down
 * checks it at each start; a key of BitLocker is in the TPM of the PC that it came from; dynamic disks are known by the
 * PC that made them; and what is cut off is gone.
 */
#include "daemon/doctor/unfit.h"

#include <stdio.h>
#include <string.h>

#include "daemon/doctor/doctor.h"
#include "daemon/doctor/ntfs.h"
#include "tcmu-handler/image/bytes.h"

static const struct {
	const char *disk, *partition; /* sentence; %u is the partition's number */
	const char *remedy;
} table[] = {
	[UNFIT_HIBERNATED] =
		{NULL, "the Windows on partition %u is hibernated (or sleeps in fast start-up)",
		 "start it, say \"powercfg /h off\" in it as administrator, and shut it down with \"shutdown "
		 "/s /t 0\""},
	[UNFIT_DIRTY] = {NULL, "the NTFS of partition %u was not closed: Windows would check it at each start",
			 "start its Windows, say \"chkdsk /f\" and shut it down with \"shutdown /s /t 0\""},
	[UNFIT_BITLOCKER] =
		{NULL, "partition %u is encrypted with BitLocker, whose key other PCs have not",
		 "say \"manage-bde -off\" and the drive's letter in its Windows, and wait until it is decrypted"},
	[UNFIT_4KN] =
		{"the disk has sectors of 4096 bytes (4Kn), and PCs get one of 512 bytes: they would find no partition",
		 NULL, "install it on a disk with sectors of 512 bytes (512n or 512e), and capture that"},
	[UNFIT_DYNAMIC] = {NULL, "partition %u is of a dynamic disk (LDM), which other PCs take for a foreign one",
			   "make it a basic disk first: back it up and install it on one"},
	[UNFIT_PAST_END] = {NULL, "partition %u ends behind the end of the disk: its end is missing",
			    "capture the whole disk that it is on; or shrink the partition there, and look again"},
};

static void tell(enum unfit what, unsigned int partition, unfit_fn fn, void *arg)
{
	char sentence[160];

	if (table[what].disk)
		snprintf(sentence, sizeof(sentence), "%s", table[what].disk);
	else
		snprintf(sentence, sizeof(sentence), table[what].partition, partition);
	fn(arg, what, partition, sentence, table[what].remedy);
}

unsigned int unfit_4kn(unfit_fn fn, void *arg)
{
	tell(UNFIT_4KN, 0, fn, arg);
	return 1;
}

static bool is_4kn(struct doctor_disk *disk)
{
	uint8_t at_512[8], at_4096[8];

	return !doctor_disk_read(disk, 512, at_512, sizeof(at_512)) &&
	       !doctor_disk_read(disk, 4096, at_4096, sizeof(at_4096)) && memcmp(at_512, "EFI PART", 8) != 0 &&
	       memcmp(at_4096, "EFI PART", 8) == 0;
}

static unsigned int look_at_ntfs(struct doctor_disk *disk, const struct doctor_partition *part, unfit_fn fn, void *arg)
{
	struct doctor_ntfs *volume;
	unsigned int n = 0;
	bool sleeps, dirty;

	if (doctor_ntfs_open(&volume, disk, part->start, part->size, false))
		return 0;
	doctor_ntfs_left(volume, &dirty, &sleeps);
	doctor_ntfs_close(volume);
	if (sleeps) {
		tell(UNFIT_HIBERNATED, part->number, fn, arg);
		n++;
	} else if (dirty) {
		tell(UNFIT_DIRTY, part->number, fn, arg);
		n++;
	}
	return n;
}

unsigned int unfit_look(struct doctor_disk *disk, unfit_fn fn, void *arg)
{
	struct doctor_partition part[DOCTOR_PARTITIONS];
	unsigned int found = 0;
	bool gpt;
	int n;

	if (is_4kn(disk))
		return unfit_4kn(fn, arg);
	n = doctor_partitions(disk, part, DOCTOR_PARTITIONS, &gpt);
	for (int i = 0; i < n; i++) {
		if (part[i].past_end)
			tell(UNFIT_PAST_END, part[i].number, fn, arg);
		if (part[i].dynamic)
			tell(UNFIT_DYNAMIC, part[i].number, fn, arg);
		if (part[i].bitlocker)
			tell(UNFIT_BITLOCKER, part[i].number, fn, arg);
		found += part[i].past_end + part[i].dynamic + part[i].bitlocker;
		if (part[i].ntfs && !part[i].past_end)
			found += look_at_ntfs(disk, &part[i], fn, arg);
	}
	return found;
}
