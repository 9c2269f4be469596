// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a Windows must have to start from iSCSI, and where it says so (registry SYSTEM, of the control set that is current):
 *
 *  - the port driver of the initiator starts with the kernel: Services\iScsiPrt has Start = 0; the service of the same
 *    (Services\MSiSCSI, which is a program and not a driver) should start by itself: Start = 2;
 *  - so do NDIS and Tcpip, and the driver of the card that it boots from: Enum\PCI\...\Service names it. From Windows 8 on
 *    Services\NAME\StartOverride has a value 0 that wins over Start;
 *  - a driver made with NetAdapterCx cannot be used before the system disk is there, and so not for it;
 *  - a lightweight filter that is bound to the card and mandatory must start with the kernel too, or the card is not there
 *    in time (KB976042): Class\{4d36e972-...}\NNNN\Linkage\FilterList names the bound ones, by name or by the GUID under
 *    Control\Network\{4d36e974-...}, whose Ndi has Service and FilterRunType (1 mandatory, 2 optional);
 *  - the page file is on the system disk: Control\Session Manager\Memory Management\PagingFiles.
 *
 * Mending sets Start values and the place of the page file, nothing else. It changes the registry's file, and only when
 * Windows has let go of it: else Windows would replay its logs over the change.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/doctor.h"
#include "daemon/doctor_hive.h"
#include "daemon/doctor_inf.h"
#include "daemon/doctor_ntfs.h"

#define NET_CLASS    "{4d36e972-e325-11ce-bfc1-08002be10318}"
#define NET_SERVICE  "Control\\Network\\{4d36e974-e325-11ce-bfc1-08002be10318}\\"
#define SYSTEM_HIVE  "/Windows/System32/config/SYSTEM"
#define DRIVER_MAX   (64u << 20) /* bytes of a driver's file that is read */
#define CARDS_MAX    64		 /* network cards that are reported */
#define PAGE_FILE    "?:\\pagefile.sys"
#define START_KERNEL 0
#define START_SYSTEM 2 /* by the service manager */

struct windows {
	struct doctor *d;
	struct doctor_ntfs *ntfs;
	struct doctor_hive *hive;
	hive_node_h set; /* the control set */
	bool mend;
	unsigned int cards, usable, changes;
};

/* --- services -----------------------------------------------------------------------------------------------------*/

static hive_node_h service(struct windows *w, const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "Services\\%.150s", name);
	return doctor_hive_key(w->hive, w->set, path);
}

/* When it is started; -1: there is no such service. */
static int32_t start_of(struct windows *w, const char *name)
{
	hive_node_h key = service(w, name);
	int32_t start, other;

	if (!doctor_hive_number(w->hive, key, "Start", &start))
		return -1;
	if (doctor_hive_number(w->hive, doctor_hive_key(w->hive, key, "StartOverride"), "0", &other))
		return other;
	return start;
}

static bool set_start(struct windows *w, const char *name, uint32_t to)
{
	hive_node_h key = service(w, name), over = doctor_hive_key(w->hive, key, "StartOverride");
	int32_t other;
	int r = doctor_hive_set_number(w->hive, key, "Start", to);

	if (!r && doctor_hive_number(w->hive, over, "0", &other))
		r = doctor_hive_set_number(w->hive, over, "0", to);
	w->changes += !r;
	return !r;
}

/* Says that a service does not start as it should, or makes it. True: it does now. */
static bool mend_start(struct windows *w, const char *name, uint32_t to, enum doctor_level level, const char *advice, const char *what)
{
	const char *how = to == START_KERNEL ? "with the kernel" : "by itself";

	if (w->mend && set_start(w, name, to)) {
		doctor_tell(w->d, DOCTOR_MENDED, NULL, "%s starts %s now", what, how);
		return true;
	}
	doctor_tell(w->d, level, advice, "%s does not start %s", what, how);
	return false;
}

static void look_at_initiator(struct windows *w)
{
	static const char *const kernel[] = {"NDIS", "Tcpip"};
	int32_t start = start_of(w, "iScsiPrt");
	char what[100];

	if (start < 0)
		doctor_tell(w->d, DOCTOR_BAD, "install Microsoft's iSCSI initiator with boot support",
			    "the iSCSI port driver (iScsiPrt) is not installed");
	else if (start != START_KERNEL)
		mend_start(w, "iScsiPrt", START_KERNEL, DOCTOR_BAD, "set its Start to 0: without it Windows stops with bugcheck 7B",
			   "the iSCSI port driver (iScsiPrt)");
	else
		doctor_tell(w->d, DOCTOR_GOOD, NULL, "the iSCSI port driver (iScsiPrt) starts with the kernel");

	start = start_of(w, "MSiSCSI");
	if (start < 0)
		doctor_tell(w->d, DOCTOR_WARNING, "install Microsoft's iSCSI initiator", "the iSCSI initiator's service (MSiSCSI) is not installed");
	else if (start > START_SYSTEM)
		mend_start(w, "MSiSCSI", START_SYSTEM, DOCTOR_WARNING, "set its Start to 2: it looks after the session when a cable was pulled",
			   "the iSCSI initiator's service (MSiSCSI)");
	else
		doctor_tell(w->d, DOCTOR_GOOD, NULL, "the iSCSI initiator's service (MSiSCSI) starts by itself");

	for (unsigned int i = 0; i < 2; i++) {
		snprintf(what, sizeof(what), "the network's driver %s", kernel[i]);
		if (start_of(w, kernel[i]) > START_KERNEL)
			mend_start(w, kernel[i], START_KERNEL, DOCTOR_BAD, "set its Start to 0", what);
	}
}

/* --- network cards ------------------------------------------------------------------------------------------------*/

static bool contains_wide(const uint8_t *data, size_t length, const char *text)
{
	size_t n = strlen(text);

	for (size_t i = 0; i + 2 * n <= length; i++) {
		size_t k = 0;

		while (k < n && tolower(data[i + 2 * k]) == tolower((unsigned char)text[k]) && data[i + 2 * k + 1] == 0)
			k++;
		if (k == n)
			return true;
	}
	return false;
}

/* It is linked with NetAdapterCx by its name, in ASCII, or asks for it in UTF-16. */
static bool is_netadapter(const uint8_t *data, size_t length)
{
	return contains_wide(data, length, "NetAdapterCx") || memmem(data, length, "NetAdapterCx", 12);
}

/* The driver's file as ImagePath says: "system32\drivers\e1i65x64.sys", "\SystemRoot\System32\...". */
static void driver_path(struct windows *w, const char *name, char ret[300])
{
	char *text = doctor_hive_text(w->hive, service(w, name), "ImagePath");
	const char *p = text;

	if (p && strncasecmp(p, "\\SystemRoot\\", 12) == 0)
		p += 12;
	if (!p)
		snprintf(ret, 300, "/Windows/System32/drivers/%.100s.sys", name);
	else
		snprintf(ret, 300, "/Windows/%.250s", *p == '\\' ? p + 1 : p);
	free(text);
	for (char *q = ret; *q; q++)
		if (*q == '\\')
			*q = '/';
}

static void look_at_driver(struct windows *w, const char *card, const char *name)
{
	char path[300], what[400];
	uint8_t *data = NULL;
	size_t length = 0;
	int32_t start = start_of(w, name);
	int r;

	driver_path(w, name, path);
	r = doctor_ntfs_read(w->ntfs, path, DRIVER_MAX, &data, &length);
	snprintf(what, sizeof(what), "%.150s: its driver %.150s", card, name);
	if (r == -ENOENT) {
		doctor_tell(w->d, DOCTOR_BAD, "install the card's driver again", "%s: the file of its driver %s, %s, is missing", card, name, path);
	} else if (r == 0 && is_netadapter(data, length)) {
		doctor_tell(w->d, DOCTOR_BAD, "install the maker's NDIS driver for this card, or boot from another card",
			    "%s is made with NetAdapterCx, which cannot be used to boot from iSCSI", what);
	} else if (start < 0) {
		doctor_tell(w->d, DOCTOR_BAD, "install the card's driver again", "%s is not installed as a service", what);
	} else if (start == START_KERNEL) {
		doctor_tell(w->d, DOCTOR_GOOD, NULL, "%s starts with the kernel", what);
		w->usable++;
	} else {
		w->usable += mend_start(w, name, START_KERNEL, DOCTOR_BAD,
					"set its Start to 0, if this is the card that the PC boots from: else bugcheck 7B", what);
	}
	free(data);
}

/* One device under Enum\PCI\VEN_...\instance, if it is a network card. */
static void look_at_device(struct windows *w, const char *id, hive_node_h instance)
{
	char *class = doctor_hive_text(w->hive, instance, "ClassGUID"), *driver = doctor_hive_text(w->hive, instance, "Service");

	if (class && strcasecmp(class, NET_CLASS) == 0 && w->cards < CARDS_MAX) {
		w->cards++;
		if (driver)
			look_at_driver(w, id, driver);
		else
			doctor_tell(w->d, DOCTOR_WARNING, "install a driver for it", "%s: this card has no driver", id);
	}
	free(class);
	free(driver);
}

static void look_at_cards(struct windows *w)
{
	hive_h *h = doctor_hive_h(w->hive);
	hive_node_h pci = doctor_hive_key(w->hive, w->set, "Enum\\PCI");
	hive_node_h *models = pci ? hivex_node_children(h, pci) : NULL;

	for (size_t i = 0; models && models[i]; i++) {
		char *id = hivex_node_name(h, models[i]);
		hive_node_h *instances = hivex_node_children(h, models[i]);

		for (size_t k = 0; id && instances && instances[k]; k++)
			look_at_device(w, id, instances[k]);
		free(instances);
		free(id);
	}
	free(models);
	if (!w->cards)
		doctor_tell(w->d, DOCTOR_WARNING, "start Windows once on the kind of PC that will boot from the image",
			    "it has never seen a PCI network card");
	else
		doctor_tell(w->d, w->usable ? DOCTOR_INFO : DOCTOR_WARNING, NULL, "%u of %u network cards that it has seen can be booted from",
			    w->usable, w->cards);
}

/* --- filters ------------------------------------------------------------------------------------------------------*/

/* Of "{CARD}-{FILTER}-0000" or "{CARD}-NAME-0000" the middle part. */
static bool filter_part(const char *entry, char ret[128])
{
	const char *begin = strchr(entry, '}'), *end = strrchr(entry, '-');

	if (!begin || begin[1] != '-' || !end || end <= begin + 2 || end - begin - 2 >= 128)
		return false;
	memcpy(ret, begin + 2, (size_t)(end - begin - 2));
	ret[end - begin - 2] = '\0';
	return true;
}

/* Its service, to be freed, and whether cards wait for it. */
static char *filter_service(struct windows *w, const char *part, bool *ret_optional)
{
	char path[300];
	hive_node_h ndi;
	int32_t type;

	*ret_optional = false;
	if (*part != '{')
		return strdup(part);
	snprintf(path, sizeof(path), NET_SERVICE "%.120s\\Ndi", part);
	ndi = doctor_hive_key(w->hive, w->set, path);
	*ret_optional = doctor_hive_number(w->hive, ndi, "FilterRunType", &type) && type == 2;
	return doctor_hive_text(w->hive, ndi, "Service");
}

static void look_at_filter(struct windows *w, const char *entry, const char *model)
{
	char part[128], what[400], *name;
	bool optional;
	int32_t start;

	if (!filter_part(entry, part))
		return;
	name = filter_service(w, part, &optional);
	if (!name)
		return;
	start = start_of(w, name);
	snprintf(what, sizeof(what), "the filter %.150s, bound to %.150s,", name, model ? model : "a card");
	if (start == START_KERNEL)
		doctor_tell(w->d, DOCTOR_GOOD, NULL, "%s starts with the kernel", what);
	else if (optional)
		doctor_tell(w->d, DOCTOR_GOOD, NULL, "%s is one that the card does not wait for", what);
	else if (start < 0)
		doctor_tell(w->d, DOCTOR_BAD, "unbind it from the card that the PC boots from (KB976042)", "%s is not installed", what);
	else
		mend_start(w, name, START_KERNEL, DOCTOR_BAD,
			   "unbind it from the card that the PC boots from, or set its Start to 0: else the card comes too late (KB976042)", what);
	free(name);
}

/* WAN miniports and the like are adapters too, and nothing boots from them. */
static bool is_real(const char *device)
{
	return !device || !strncasecmp(device, "pci\\", 4) || !strncasecmp(device, "usb\\", 4) || !strncasecmp(device, "vmbus\\", 6);
}

static void look_at_filters(struct windows *w)
{
	hive_node_h class = doctor_hive_key(w->hive, w->set, "Control\\Class\\" NET_CLASS);
	hive_node_h *cards = class ? hivex_node_children(doctor_hive_h(w->hive), class) : NULL;

	for (size_t i = 0; cards && cards[i]; i++) {
		char **filters = doctor_hive_texts(w->hive, doctor_hive_key(w->hive, cards[i], "Linkage"), "FilterList");
		char *model = doctor_hive_text(w->hive, cards[i], "DriverDesc");
		char *device = doctor_hive_text(w->hive, cards[i], "MatchingDeviceId");

		for (size_t k = 0; filters && filters[k] && is_real(device); k++)
			look_at_filter(w, filters[k], model);
		doctor_hive_texts_free(filters);
		free(model);
		free(device);
	}
	free(cards);
}

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
			doctor_tell(w->d, DOCTOR_GOOD, NULL, "the page file is on the system disk: %.100s", files[i]);
	}
	if (away && w->mend && !doctor_hive_set_texts(w->hive, key, "PagingFiles", PAGE_FILE)) {
		w->changes++;
		doctor_tell(w->d, DOCTOR_MENDED, NULL, "the page file is on the system disk now, Windows chooses its size");
	} else {
		for (size_t i = 0; away && files[i]; i++)
			if (files[i][0] && strncasecmp(files[i], "?:", 2) && toupper((unsigned char)files[i][0]) != 'C')
				doctor_tell(w->d, DOCTOR_WARNING, "put it on C: or leave its place to Windows",
					    "a page file is to be on another disk, which a diskless PC has not: %.100s", files[i]);
	}
	if (!n)
		doctor_tell(w->d, DOCTOR_INFO, NULL, "there is no page file");
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
	char capitals[DOCTOR_NAME_MAX];
	int r;

	snprintf(capitals, sizeof(capitals), "%s", name);
	for (char *p = capitals; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	if (!netbios || !tcpip) {
		doctor_tell(w->d, DOCTOR_BAD, NULL, "its registry has no place for the computer's name");
		return;
	}
	if (has_text(w, netbios, "ComputerName", capitals) && has_text(w, tcpip, "Hostname", name) && has_text(w, tcpip, "NV Hostname", name))
		return;
	r = doctor_hive_set_text(w->hive, netbios, "ComputerName", capitals);
	if (!r)
		r = doctor_hive_set_text(w->hive, tcpip, "Hostname", name);
	if (!r)
		r = doctor_hive_set_text(w->hive, tcpip, "NV Hostname", name);
	if (r) {
		doctor_tell(w->d, DOCTOR_BAD, NULL, "the computer's name cannot be written into its registry: %s", strerror(-r));
		return;
	}
	w->changes++;
	doctor_tell(w->d, DOCTOR_MENDED, NULL, "the computer's name is %s now", name);
}

/* --- the whole ----------------------------------------------------------------------------------------------------*/

/* What the next start will use. */
static int open_control_set(struct windows *w)
{
	hive_node_h root = doctor_hive_root(w->hive), select = doctor_hive_key(w->hive, root, "Select");
	int32_t number;
	char name[24];

	if (!doctor_hive_number(w->hive, select, "Default", &number) && !doctor_hive_number(w->hive, select, "Current", &number))
		return -ENOENT;
	if (number < 1 || number > 999)
		return -ENOENT;
	snprintf(name, sizeof(name), "ControlSet%03d", number);
	w->set = doctor_hive_key(w->hive, root, name);
	return w->set ? 0 : -ENOENT;
}

static void write_back(struct windows *w, const uint8_t *old, size_t old_length)
{
	uint8_t *data = NULL;
	size_t length = 0;
	int r = doctor_hive_commit(w->hive, &data, &length);

	if (!r)
		r = doctor_ntfs_write(w->ntfs, SYSTEM_HIVE, old, old_length, data, length);
	free(data);
	if (r)
		doctor_tell(w->d, DOCTOR_BAD, "nothing of what was mended counts", "the registry (%s) cannot be written: %s", SYSTEM_HIVE, strerror(-r));
	else
		w->d->result.changes += w->changes;
}

static void look_into(struct windows *w, const uint8_t *data, size_t length)
{
	const char *name = w->d->options->computer_name;
	int r = doctor_hive_open(&w->hive, data, length, w->mend);

	if (!r)
		r = open_control_set(w);
	if (r) {
		doctor_tell(w->d, DOCTOR_BAD, "repair it with Windows' own means", "the registry (%s) cannot be read: %s", SYSTEM_HIVE, strerror(-r));
	} else if (name) {
		if (w->mend)
			set_name(w, name);
	} else {
		look_at_initiator(w);
		look_at_cards(w);
		look_at_filters(w);
		look_at_page_file(w);
		doctor_inf_look(w->d, w->ntfs);
	}
	if (!r && w->changes)
		write_back(w, data, length);
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
		if (!kept && !doctor_hive_is_whole(data, length))
			kept = -EUCLEAN;
		if (kept)
			doctor_tell(d, DOCTOR_BAD, "start it once and shut it down wholly (shutdown /s /t 0)",
				    "Windows was not shut down wholly: nothing can be changed in it");
		w.mend = change && !kept;
		look_into(&w, data, length);
		free(data);
	}
	kept = doctor_ntfs_close(w.ntfs);
	return r ? r : kept;
}
