// SPDX-License-Identifier: GPL-2.0-or-later
/* The order of the looking: partitions, then a Windows, and only when there is none a Linux. */
#include "daemon/doctor/doctor.h"

#include <errno.h>
#include <string.h>

#include "daemon/doctor/unfit.h"

static void look_at_windows(struct doctor *d, const struct doctor_partition *part)
{
	int r = doctor_windows(d, part);

	if (r == -ENOENT)
		doctor_tell(d, DOCTOR_INFO, NULL, "partition %u is NTFS and has no Windows", part->number);
	d->result.unreadable |= r && r != -ENOENT;
	if (r && r != -ENOENT)
		doctor_tell(d, DOCTOR_WARNING, "shut Windows down wholly (shutdown /s /t 0) and capture it again",
			    "partition %u is NTFS and cannot be read (not shut down, or damaged): %s", part->number,
			    strerror(-r));
}

static void tell_unfit(void *arg, enum unfit what, unsigned int partition, const char *sentence, const char *remedy)
{
	(void)what;
	(void)partition;
	doctor_tell(arg, DOCTOR_BAD, remedy, "%s", sentence);
}

int doctor_look(struct doctor_disk *disk, const struct doctor_options *options, doctor_report_fn report, void *arg,
		struct doctor_result *ret)
{
	struct doctor_partition part[DOCTOR_PARTITIONS];
	struct doctor d = {.options = options, .report = report, .arg = arg, .disk = disk};
	unsigned int unfit = 0;
	bool gpt;
	int n = doctor_partitions(disk, part, DOCTOR_PARTITIONS, &gpt), r = 0;

	if (!options->mend && !options->computer_name)
		unfit = unfit_look(disk, tell_unfit, &d);
	if (n < 0 && !unfit)
		doctor_tell(&d, DOCTOR_BAD, "no PC can boot from it", "there is no partition table that can be read");
	else if (n >= 0)
		doctor_tell(&d, DOCTOR_INFO, NULL, "%d partitions, %s: boots PCs with %s", n, gpt ? "GPT" : "MBR",
			    gpt ? "UEFI" : "BIOS");
	for (int i = 0; i < n && !d.result.windows; i++)
		if (part[i].ntfs && !part[i].past_end)
			look_at_windows(&d, &part[i]);
	if (n > 0 && !d.result.windows && !options->computer_name)
		r = doctor_linux(&d, part, (unsigned int)n);
	if (n > 0 && !r && !unfit && !d.result.windows && !d.result.linux_os)
		doctor_tell(&d, DOCTOR_BAD, NULL, "neither a Windows nor a Linux was found in it");
	*ret = d.result;
	return n < 0 ? n : r;
}
