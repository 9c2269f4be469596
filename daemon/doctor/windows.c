// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a Windows must have to start from iSCSI, and where it says so (registry SYSTEM, of the control set that is
 * current):
 *
 *  - the port driver of the initiator starts with the kernel: Services\iScsiPrt; the service of the same
 *    (Services\MSiSCSI, which is a program and not a driver) should start by itself: Start = 2;
 *  - so do NDIS and Tcpip (doctor/services.c), and the driver of the card that it boots from, and no mandatory filter
 *    that is bound to the card comes late (doctor/cards.c);
 *  - the page file is on the system disk: Control\Session Manager\Memory Management\PagingFiles;
 *  - its build is none that cannot do it (doctor/version.c).
 *
 * What a registry says that has a log which was not written out is older than that log, and nothing of it is certain;
 * nothing that is in Debian replays such a log, and hivex opens the registry without a word.
 *
 * Mending sets Start values and the place of the page file, nothing else. It changes the registry's file, and only when
 * Windows has let go of it: else Windows would replay its logs over the change. Nothing is said to be mended before
 * it is written.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/doctor/inf.h"
#include "daemon/doctor/private.h"

#define SYSTEM_HIVE "/Windows/System32/config/SYSTEM"
#define PAGE_FILE   "?:\\pagefile.sys"
#define NOT_LET_GO                                                                                                     \
	"Windows was not shut down wholly, so nothing can be changed in it: start it once and shut it down wholly "    \
	"(shutdown /s /t 0)"

/* --- page file ----------------------------------------------------------------------------------------------------*/

static void look_at_page_file(struct windows *w)
{
	hive_node_h key = doctor_hive_key(w->hive, w->set, "Control\\Session Manager\\Memory Management");
	char **files = doctor_hive_texts(w->hive, key, "PagingFiles");
	unsigned int n = 0, away = 0;

	for (size_t i = 0; files && files[i]; i++) {
		if (!files[i][0])
			continue;
		n++;
		if (strncasecmp(files[i], "?:", 2) && toupper((unsigned char)files[i][0]) != 'C')
			away++;
		else
			windows_tell(w, DOCTOR_GOOD, NULL, "the page file is on the system disk: %.100s", files[i]);
	}
	if (!(away && w->mend && !doctor_hive_set_texts(w->hive, key, "PagingFiles", PAGE_FILE) &&
	      windows_changed(w, "the page file", "is on the system disk now, Windows chooses its size",
			      "is to be on another disk, which a diskless PC has not", DOCTOR_WARNING,
			      "put it on C: or leave its place to Windows"))) {
		for (size_t i = 0; away && files[i]; i++)
			if (files[i][0] && strncasecmp(files[i], "?:", 2) && toupper((unsigned char)files[i][0]) != 'C')
				windows_tell(
					w, DOCTOR_WARNING, "put it on C: or leave its place to Windows",
					"a page file is to be on another disk, which a diskless PC has not: %.100s",
					files[i]);
	}
	if (!n)
		windows_tell(w, DOCTOR_INFO, NULL, "there is no page file");
	doctor_hive_texts_free(files);
}

/* --- computer name ------------------------------------------------------------------------------------------------*/

static bool has_text(struct windows *w, hive_node_h key, const char *name, const char *text)
{
	char *now = doctor_hive_text(w->hive, key, name);
	bool same = now && !strcmp(now, text);

	free(now);
	return same;
}

/* NetBIOS' name in capitals, and that of TCP/IP. Windows makes all others from these as it starts. */
static void set_name(struct windows *w, const char *name)
{
	hive_node_h netbios = doctor_hive_key(w->hive, w->set, "Control\\ComputerName\\ComputerName");
	hive_node_h tcpip = doctor_hive_key(w->hive, w->set, "Services\\Tcpip\\Parameters");
	char capitals[DOCTOR_NAME_MAX], what[64];
	int r;

	snprintf(capitals, sizeof(capitals), "%s", name);
	for (char *p = capitals; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	if (!netbios || !tcpip) {
		doctor_tell(w->d, DOCTOR_BAD, NULL, "its registry has no place for the computer's name");
		return;
	}
	if (has_text(w, netbios, "ComputerName", capitals) && has_text(w, tcpip, "Hostname", name) &&
	    has_text(w, tcpip, "NV Hostname", name))
		return;
	r = doctor_hive_set_text(w->hive, netbios, "ComputerName", capitals);
	if (!r)
		r = doctor_hive_set_text(w->hive, tcpip, "Hostname", name);
	if (!r)
		r = doctor_hive_set_text(w->hive, tcpip, "NV Hostname", name);
	if (r) {
		doctor_tell(w->d, DOCTOR_BAD, NULL, "the computer's name cannot be written into its registry: %s",
			    strerror(-r));
		return;
	}
	snprintf(what, sizeof(what), "the computer's name is %s", name);
	windows_changed(w, what, "now", "not", DOCTOR_BAD, NULL);
}

/* --- the whole ----------------------------------------------------------------------------------------------------*/

/* What the next start will use. */
static int open_control_set(struct windows *w)
{
	hive_node_h root = doctor_hive_root(w->hive), select = doctor_hive_key(w->hive, root, "Select");
	int32_t number;
	char name[24];

	if (!doctor_hive_number(w->hive, select, "Default", &number) &&
	    !doctor_hive_number(w->hive, select, "Current", &number))
		return -ENOENT;
	if (number < 1 || number > 999)
		return -ENOENT;
	snprintf(name, sizeof(name), "ControlSet%03d", number);
	w->set = doctor_hive_key(w->hive, root, name);
	return w->set ? 0 : -ENOENT;
}

static int write_back(struct windows *w, const uint8_t *old, size_t old_length)
{
	uint8_t *data = NULL;
	size_t length = 0;
	int r = doctor_hive_commit(w->hive, &data, &length);

	if (!r)
		r = doctor_ntfs_write(w->ntfs, SYSTEM_HIVE, old, old_length, data, length);
	free(data);
	return r;
}

static void look_into(struct windows *w)
{
	const char *name = w->d->options->computer_name;

	if (name) {
		if (w->mend)
			set_name(w, name);
		return;
	}
	if (w->stale)
		doctor_tell(
			w->d, DOCTOR_UNKNOWN, "start it once, shut it down wholly (shutdown /s /t 0), and look again",
			"its registry has a log that Windows has not written out: what follows is older than that, and "
			"none of it certain");
	windows_initiator(w);
	windows_cards(w);
	look_at_page_file(w);
	doctor_inf_look(w->d, w->ntfs);
}

/* Looks into the registry, and changes it. What was changed is told when the file system has all of it. */
static void look_at_registry(struct windows *w, const uint8_t *data, size_t length)
{
	struct doctor_result *result = &w->d->result;
	int r = doctor_hive_open(&w->hive, data, length, w->mend);

	if (!r)
		r = open_control_set(w);
	if (r)
		doctor_tell(w->d, w->stale ? DOCTOR_UNKNOWN : DOCTOR_BAD, "repair it with Windows' own means",
			    "the registry (%s) cannot be read: %s", SYSTEM_HIVE, strerror(-r));
	else
		look_into(w);
	if (w->changes) {
		r = write_back(w, data, length);
		if (!r)
			r = doctor_ntfs_close(w->ntfs);
		else
			doctor_ntfs_close(w->ntfs);
		w->ntfs = NULL;
		if (r)
			snprintf(result->failure, sizeof(result->failure),
				 "the registry (%s) cannot be written%s, so nothing was changed: %s", SYSTEM_HIVE,
				 r == -EOPNOTSUPP ? " as it is stored (sparse, compressed or encrypted)" : "",
				 strerror(-r));
		else
			result->changes += w->changes;
		windows_told(w, !r);
	}
	doctor_hive_close(w->hive);
	w->hive = NULL;
}

int doctor_windows(struct doctor *d, const struct doctor_partition *part)
{
	bool change = d->options->mend || d->options->computer_name;
	struct windows w = {.d = d};
	uint8_t *data;
	size_t length;
	int r = doctor_ntfs_open(&w.ntfs, d->disk, part->start, part->size, change), kept = r;

	if (r == -EUCLEAN && change)
		r = doctor_ntfs_open(&w.ntfs, d->disk, part->start, part->size, false);
	if (r)
		return r;
	r = doctor_ntfs_read(w.ntfs, SYSTEM_HIVE, DOCTOR_HIVE_MAX, &data, &length);
	if (!r) {
		d->result.windows = true;
		if (!d->options->computer_name)
			windows_version(&w);
		w.stale = length >= 4096 && !memcmp(data, "regf", 4) && !doctor_hive_is_whole(data, length);
		w.mend = change && !kept && !w.stale;
		d->result.refused = change && !w.mend ? NOT_LET_GO : NULL;
		look_at_registry(&w, data, length);
		free(data);
	}
	kept = doctor_ntfs_close(w.ntfs);
	return r ? r : kept;
}
