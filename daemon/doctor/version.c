// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which Windows it is: registry SOFTWARE, Microsoft\Windows NT\CurrentVersion: CurrentBuild and, from Windows 10 on,
 * UBR, the number of the update. Some builds are reported not to boot by iSCSI, each mended by an update of
 * Microsoft's; nobody has tried here: likely, not certain. KB5074105 names its builds 26100.7705 and 26200.7705.
 * KB5051987 of 2025-02-11 is build 26100.3194; what its notes have for Server 2025 is the iSCSI boot that ended with
 * "boot device inaccessible" where the card's driver polls (NDIS poll mode).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/doctor/private.h"

#define SOFTWARE_HIVE "/Windows/System32/config/SOFTWARE"
#define VERSION_KEY   "Microsoft\\Windows NT\\CurrentVersion"

static const struct broken {
	const char *build;
	bool server;
	int32_t mended; /* UBR from which on it boots */
	const char *name, *advice;
} broken[] = {
	{"26100", false, 7705, "Windows 11 24H2", "install KB5074105 or a later update before it is captured"},
	{"26200", false, 7705, "Windows 11 25H2", "install KB5074105 or a later update before it is captured"},
	{"26100", true, 3194, "Windows Server 2025", "install KB5051987 or a later update before it is captured"},
};

static void judge(struct windows *w, const char *build, bool known, int32_t update, bool server)
{
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		const struct broken *b = &broken[i];

		if (strcmp(build, b->build) || b->server != server)
			continue;
		if (!known)
			doctor_tell(
				w->d, DOCTOR_UNKNOWN, b->advice,
				"%s does not boot by iSCSI before build %s.%d, as is reported, and its UBR is not in "
				"the registry",
				b->name, build, b->mended);
		else if (update < b->mended)
			doctor_tell(w->d, DOCTOR_WARNING, b->advice,
				    "%s is likely not to boot by iSCSI: it is reported to fail before build %s.%d",
				    b->name, build, b->mended);
	}
}

static void look_into(struct windows *w, struct doctor_hive *hive)
{
	hive_node_h key = doctor_hive_key(hive, doctor_hive_root(hive), VERSION_KEY);
	char *build = doctor_hive_text(hive, key, "CurrentBuild"), *kind, *product;
	int32_t update = 0;
	bool known;

	if (!build)
		build = doctor_hive_text(hive, key, "CurrentBuildNumber");
	kind = doctor_hive_text(hive, key, "InstallationType");
	product = doctor_hive_text(hive, key, "ProductName");
	known = doctor_hive_number(hive, key, "UBR", &update);
	if (!build) {
		doctor_tell(w->d, DOCTOR_UNKNOWN, NULL, "its registry (%s) does not say which Windows it is",
			    SOFTWARE_HIVE);
	} else {
		char number[16] = "";

		if (known)
			snprintf(number, sizeof(number), ".%u", (unsigned int)update);
		doctor_tell(w->d, DOCTOR_INFO, NULL, "it is build %.16s%s, %.60s", build, number,
			    product ? product : "Windows");
		judge(w, build, known, update, kind && !strncasecmp(kind, "Server", 6));
	}
	free(build);
	free(kind);
	free(product);
}

void windows_version(struct windows *w)
{
	struct doctor_hive *hive = NULL;
	uint8_t *data = NULL;
	size_t length;
	int r = doctor_ntfs_read(w->ntfs, SOFTWARE_HIVE, DOCTOR_HIVE_MAX, &data, &length);

	if (!r)
		r = doctor_hive_open(&hive, data, length, false);
	if (!r)
		look_into(w, hive);
	else
		doctor_tell(w->d, DOCTOR_UNKNOWN, NULL,
			    "which build of Windows it is cannot be known: its registry (%s) cannot be read: %s",
			    SOFTWARE_HIVE, strerror(-r));
	doctor_hive_close(hive);
	free(data);
}
