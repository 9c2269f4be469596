// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * When Windows starts a service or driver (Services\NAME): Start, over which from Windows 8 on a value 0 of
 * StartOverride wins, and BootFlags. Bit 0 of BootFlags is CM_SERVICE_NETWORK_BOOT_LOAD: the loader takes the driver
 * with the kernel, whatever Start says, when the firmware has left an iBFT (so Microsoft's developers; seen in the
 * registries of 7 to 10, where the initiator and the drivers of network cards have Start 3 and this bit). Whether it
 * also counts for a driver that is disabled (Start 4) is not known. XP has no BootFlags.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/doctor/private.h"

#define START_KERNEL   0
#define START_SYSTEM   2 /* by the service manager */
#define START_DISABLED 4
#define NETWORK_BOOT   0x1 /* CM_SERVICE_NETWORK_BOOT_LOAD */

hive_node_h windows_service(struct windows *w, const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "Services\\%.150s", name);
	return doctor_hive_key(w->hive, w->set, path);
}

int32_t windows_start_number(struct windows *w, const char *name)
{
	hive_node_h key = windows_service(w, name);
	int32_t start, other;

	if (!doctor_hive_number(w->hive, key, "Start", &start))
		return -1;
	if (doctor_hive_number(w->hive, doctor_hive_key(w->hive, key, "StartOverride"), "0", &other))
		return other;
	return start;
}

enum windows_start windows_start(struct windows *w, const char *name)
{
	int32_t start = windows_start_number(w, name), flags;

	if (start < 0)
		return WINDOWS_NO_SERVICE;
	if (start == START_KERNEL)
		return WINDOWS_WITH_KERNEL;
	if (doctor_hive_number(w->hive, windows_service(w, name), "BootFlags", &flags) && (flags & NETWORK_BOOT))
		return start == START_DISABLED ? WINDOWS_DISABLED : WINDOWS_WITH_NETWORK;
	return WINDOWS_LATER;
}

static bool set_start(struct windows *w, const char *name, uint32_t to)
{
	hive_node_h key = windows_service(w, name), over = doctor_hive_key(w->hive, key, "StartOverride");
	int32_t other;
	int r = doctor_hive_set_number(w->hive, key, "Start", to);

	if (!r && doctor_hive_number(w->hive, over, "0", &other))
		r = doctor_hive_set_number(w->hive, over, "0", to);
	return !r;
}

bool windows_mend_start(struct windows *w, const char *name, bool kernel, enum doctor_level level, const char *advice,
			const char *what)
{
	const char *done = kernel ? "starts with the kernel now" : "starts by itself now";
	const char *undone = kernel ? "does not start with the kernel" : "does not start by itself";

	if (w->mend && set_start(w, name, kernel ? START_KERNEL : START_SYSTEM) &&
	    windows_changed(w, what, done, undone, level, advice))
		return true;
	windows_tell(w, level, advice, "%s %s", what, undone);
	return false;
}

/* One that must be there before the disk; `what` is it in words. */
static void look_at_kernel_driver(struct windows *w, const char *name, const char *what, const char *advice)
{
	switch (windows_start(w, name)) {
	case WINDOWS_NO_SERVICE:
		break;
	case WINDOWS_WITH_KERNEL:
		windows_tell(w, DOCTOR_GOOD, NULL, "%s starts with the kernel", what);
		break;
	case WINDOWS_WITH_NETWORK:
		windows_tell(w, DOCTOR_GOOD, NULL,
			     "%s starts with the kernel when the PC boots by iSCSI (BootFlags 1), as Windows sets it",
			     what);
		break;
	case WINDOWS_LATER:
		windows_mend_start(w, name, true, DOCTOR_BAD, advice, what);
		break;
	case WINDOWS_DISABLED:
		windows_mend_start(w, name, true, DOCTOR_UNKNOWN, WINDOWS_DISABLED_ADVICE, what);
		break;
	}
}

void windows_initiator(struct windows *w)
{
	int32_t start = windows_start_number(w, "MSiSCSI");

	if (windows_start(w, "iScsiPrt") == WINDOWS_NO_SERVICE)
		windows_tell(w, DOCTOR_BAD, "install Microsoft's iSCSI initiator with boot support",
			     "the iSCSI port driver (iScsiPrt) is not installed");
	look_at_kernel_driver(w, "iScsiPrt", "the iSCSI port driver (iScsiPrt)",
			      "set its Start to 0: without it Windows stops with bugcheck 7B");
	if (start < 0)
		windows_tell(w, DOCTOR_WARNING, "install Microsoft's iSCSI initiator",
			     "the iSCSI initiator's service (MSiSCSI) is not installed");
	else if (start > START_SYSTEM)
		windows_mend_start(w, "MSiSCSI", false, DOCTOR_WARNING,
				   "set its Start to 2: it looks after the session when a cable was pulled",
				   "the iSCSI initiator's service (MSiSCSI)");
	else
		windows_tell(w, DOCTOR_GOOD, NULL, "the iSCSI initiator's service (MSiSCSI) starts by itself");
	look_at_kernel_driver(w, "NDIS", "the network's driver NDIS", "set its Start to 0");
	look_at_kernel_driver(w, "Tcpip", "the network's driver Tcpip", "set its Start to 0");
}

/* --- changes, told when they are written --------------------------------------------------------------------------*/

void windows_tell(struct windows *w, enum doctor_level level, const char *advice, const char *format, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	doctor_tell(w->d, level == DOCTOR_BAD && w->stale ? DOCTOR_WARNING : level, advice, "%s", text);
}

bool windows_changed(struct windows *w, const char *what, const char *done, const char *undone, enum doctor_level level,
		     const char *advice)
{
	struct windows_change *more = reallocarray(w->change, w->changes + 1, sizeof(*more));

	if (!more)
		return false;
	w->change = more;
	more += w->changes++;
	*more = (struct windows_change){.done = done, .undone = undone, .level = level, .advice = advice};
	snprintf(more->what, sizeof(more->what), "%s", what);
	return true;
}

void windows_told(struct windows *w, bool written)
{
	for (unsigned int i = 0; i < w->changes; i++) {
		const struct windows_change *c = &w->change[i];

		if (written)
			doctor_tell(w->d, DOCTOR_MENDED, NULL, "%s %s", c->what, c->done);
		else
			windows_tell(w, c->level, c->advice, "%s %s", c->what, c->undone);
	}
	free(w->change);
	w->change = NULL;
	w->changes = 0;
}
