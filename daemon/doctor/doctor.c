// SPDX-License-Identifier: GPL-2.0-or-later
/* The order of the looking: partitions, then a Windows, and only when there is none a Linux. */
#include "daemon/doctor/doctor.h"

#include <errno.h>
#include <string.h>

#include "daemon/doctor/esp.h"
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

/*
 * What an installer wrote into the boot menu of its own PC's firmware is not on the disk: on every other PC the
 * firmware, and iPXE's sanboot, look for one name only.
 */
static void look_at_esp(struct doctor *d, const struct doctor_partition *part)
{
	bool there;
	int r = doctor_esp_look(d->disk, part->start, part->size, &there);

	if (r)
		doctor_tell(d, DOCTOR_UNKNOWN, NULL,
			    "the EFI system partition %u cannot be looked into (it is no FAT, or damaged)",
			    part->number);
	else if (there)
		doctor_tell(d, DOCTOR_GOOD, NULL, "the EFI system partition %u has \\EFI\\BOOT\\BOOTX64.EFI",
			    part->number);
	else
		doctor_tell(d, DOCTOR_WARNING,
			    "in a Linux: grub-install --removable (Debian and Ubuntu: dpkg-reconfigure grub-efi-amd64, "
			    "and \"force extra installation\"); in a Windows: bcdboot C:\\Windows /f UEFI",
			    "the EFI system partition %u has no \\EFI\\BOOT\\BOOTX64.EFI, the only name that other "
			    "x64 PCs look for",
			    part->number);
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
	for (int i = 0; i < n && !options->mend && !options->computer_name; i++)
		if (part[i].esp && !part[i].past_end)
			look_at_esp(&d, &part[i]);
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
