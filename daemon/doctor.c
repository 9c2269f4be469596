// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a Windows must have to start from iSCSI, and where it says so (registry SYSTEM, of the control set that is current):
 *
 *  - the initiator starts with the kernel: Services\iScsiPrt and Services\msiscsi have Start = 0;
 *  - so does the driver of the card that it boots from: Enum\PCI\...\Service names it, Services\NAME has Start = 0;
 *  - a driver made with NetAdapterCx cannot be used before the system disk is there, and so not for it;
 *  - a lightweight filter that is bound to the card must start with the kernel too, or the card is not there in time
 *    (KB976042): Class\{4d36e972-...}\NNNN\Linkage\FilterList names the bound ones, Services\NAME has Start;
 *  - the page file is on the system disk: Control\Session Manager\Memory Management\PagingFiles.
 */
#include "daemon/doctor.h"

#include <ctype.h>
#include <errno.h>
#include <hivex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "daemon/doctor_ntfs.h"

#define NET_CLASS     "{4d36e972-e325-11ce-bfc1-08002be10318}"
#define SYSTEM_HIVE   "/Windows/System32/config/SYSTEM"
#define MODEL_MAX     64 /* network cards that are reported */

struct doctor {
	doctor_report_fn report;
	void *arg;
	int bad;
	struct doctor_ntfs *ntfs;
	hive_h *hive;
	hive_node_h set; /* the current control set */
	unsigned int cards, usable;
};

static void tell(struct doctor *d, enum doctor_level level, const char *advice, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
static void tell(struct doctor *d, enum doctor_level level, const char *advice, const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	d->bad += level == DOCTOR_BAD;
	d->report(d->arg, level, text, advice);
}

/* --- the registry -------------------------------------------------------------------------------------------------*/

/* A key below another: "Control\\Class\\..."; 0 if it is not there. */
static hive_node_h key_at(struct doctor *d, hive_node_h from, const char *path)
{
	char part[256];

	while (from && *path) {
		size_t n = strcspn(path, "\\");

		if (n >= sizeof(part))
			return 0;
		memcpy(part, path, n);
		part[n] = '\0';
		from = hivex_node_get_child(d->hive, from, part);
		path += n + (path[n] == '\\');
	}
	return from;
}

static bool number_of(struct doctor *d, hive_node_h key, const char *name, int32_t *ret)
{
	hive_value_h v = key ? hivex_node_get_value(d->hive, key, name) : 0;
	hive_type type;
	size_t length;

	if (!v || hivex_value_type(d->hive, v, &type, &length) < 0 || type != hive_t_REG_DWORD || length != 4)
		return false;
	*ret = hivex_value_dword(d->hive, v);
	return true;
}

/* A text, to be freed; NULL if there is none. */
static char *text_of(struct doctor *d, hive_node_h key, const char *name)
{
	hive_value_h v = key ? hivex_node_get_value(d->hive, key, name) : 0;
	hive_type type;
	size_t length;

	if (!v || hivex_value_type(d->hive, v, &type, &length) < 0 || (type != hive_t_REG_SZ && type != hive_t_REG_EXPAND_SZ))
		return NULL;
	return hivex_value_string(d->hive, v);
}

static char **texts_of(struct doctor *d, hive_node_h key, const char *name)
{
	hive_value_h v = key ? hivex_node_get_value(d->hive, key, name) : 0;
	hive_type type;
	size_t length;

	if (!v || hivex_value_type(d->hive, v, &type, &length) < 0 || type != hive_t_REG_MULTI_SZ)
		return NULL;
	return hivex_value_multiple_strings(d->hive, v);
}

static void texts_free(char **texts)
{
	for (size_t i = 0; texts && texts[i]; i++)
		free(texts[i]);
	free(texts);
}

static hive_node_h service(struct doctor *d, const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "Services\\%.150s", name);
	return key_at(d, d->set, path);
}

/* Is it started by the boot loader? -1: there is no such service. */
static int boot_start(struct doctor *d, const char *name)
{
	int32_t start;

	if (!number_of(d, service(d, name), "Start", &start))
		return -1;
	return start == 0;
}

/* --- what is looked at --------------------------------------------------------------------------------------------*/

static void look_at_initiator(struct doctor *d)
{
	static const struct {
		const char *name, *what;
	} services[] = {{"iScsiPrt", "the iSCSI port driver"}, {"msiscsi", "the iSCSI initiator"}};

	for (unsigned int i = 0; i < 2; i++) {
		int start = boot_start(d, services[i].name);

		if (start == 1)
			tell(d, DOCTOR_GOOD, NULL, "%s (%s) starts with the kernel", services[i].what, services[i].name);
		else if (start == 0)
			tell(d, DOCTOR_BAD, "set its Start to 0: without it Windows stops with bugcheck 7B",
			     "%s (%s) does not start with the kernel", services[i].what, services[i].name);
		else
			tell(d, i ? DOCTOR_WARNING : DOCTOR_BAD, "install Microsoft's iSCSI initiator with boot support",
			     "%s (%s) is not installed", services[i].what, services[i].name);
	}
}

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

/* The driver's file as ImagePath says: "system32\drivers\e1i65x64.sys", "\SystemRoot\System32\...". */
static int driver_path(struct doctor *d, const char *name, char ret[300])
{
	char *text = text_of(d, service(d, name), "ImagePath");
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
	return 0;
}

static void look_at_driver(struct doctor *d, const char *card, const char *name)
{
	char path[300];
	uint8_t *data = NULL;
	size_t length = 0;
	int start = boot_start(d, name), r;

	driver_path(d, name, path);
	r = doctor_ntfs_read(d->ntfs, path, DOCTOR_DRIVER_MAX, &data, &length);
	if (r == -ENOENT) {
		tell(d, DOCTOR_BAD, "install the card's driver again", "%s: the file of its driver %s, %s, is missing", card, name, path);
	} else if (r == 0 && contains_wide(data, length, "NetAdapterCx")) {
		tell(d, DOCTOR_BAD, "install the maker's NDIS driver for this card, or boot from another card",
		     "%s: its driver %s is made with NetAdapterCx, which cannot be used to boot from iSCSI", card, name);
	} else if (start == 1) {
		tell(d, DOCTOR_GOOD, NULL, "%s: its driver %s starts with the kernel", card, name);
		d->usable++;
	} else {
		tell(d, DOCTOR_BAD, "set its Start to 0, if this is the card that the PC boots from: else bugcheck 7B",
		     "%s: its driver %s %s", card, name, start == 0 ? "does not start with the kernel" : "is not installed as a service");
	}
	free(data);
}

/* One device under Enum\PCI\VEN_...\instance, if it is a network card. */
static void look_at_device(struct doctor *d, const char *id, hive_node_h instance)
{
	char *class = text_of(d, instance, "ClassGUID"), *driver = text_of(d, instance, "Service");

	if (class && strcasecmp(class, NET_CLASS) == 0 && d->cards < MODEL_MAX) {
		d->cards++;
		if (driver)
			look_at_driver(d, id, driver);
		else
			tell(d, DOCTOR_WARNING, "install a driver for it", "%s: this card has no driver", id);
	}
	free(class);
	free(driver);
}

static void look_at_cards(struct doctor *d)
{
	hive_node_h pci = key_at(d, d->set, "Enum\\PCI");
	hive_node_h *models = pci ? hivex_node_children(d->hive, pci) : NULL;

	for (size_t i = 0; models && models[i]; i++) {
		char *id = hivex_node_name(d->hive, models[i]);
		hive_node_h *instances = hivex_node_children(d->hive, models[i]);

		for (size_t k = 0; id && instances && instances[k]; k++)
			look_at_device(d, id, instances[k]);
		free(instances);
		free(id);
	}
	free(models);
	if (!d->cards)
		tell(d, DOCTOR_WARNING, "start Windows once on the kind of PC that will boot from the image",
		     "it has never seen a PCI network card");
	else
		tell(d, d->usable ? DOCTOR_INFO : DOCTOR_WARNING, NULL, "%u of %u network cards that it has seen can be booted from", d->usable,
		     d->cards);
}

/* "{GUID-OF-CARD}-{GUID}-0000" or "...-WfpLwf-0000": the filter's service is between the last two hyphens, if it is a name. */
static bool filter_name(const char *entry, char ret[128])
{
	const char *end = strrchr(entry, '-'), *begin = end;

	if (!end)
		return false;
	while (begin > entry && begin[-1] != '-')
		begin--;
	if (begin == end || *begin == '{' || end[-1] == '}' || (size_t)(end - begin) >= 128)
		return false;
	memcpy(ret, begin, (size_t)(end - begin));
	ret[end - begin] = '\0';
	return true;
}

static void look_at_filters_of(struct doctor *d, hive_node_h card)
{
	char **filters = texts_of(d, key_at(d, card, "Linkage"), "FilterList");
	char *model = text_of(d, card, "DriverDesc"), name[128];

	for (size_t i = 0; filters && filters[i]; i++) {
		int start;

		if (!filter_name(filters[i], name))
			continue;
		start = boot_start(d, name);
		if (start == 1)
			tell(d, DOCTOR_GOOD, NULL, "the filter %s, bound to %s, starts with the kernel", name, model ? model : "a card");
		else
			tell(d, DOCTOR_BAD, "unbind it from the card that the PC boots from, or set its Start to 0 (KB976042)",
			     "the filter %s is bound to %s and does not start with the kernel: the card would come too late", name,
			     model ? model : "a card");
	}
	texts_free(filters);
	free(model);
}

static void look_at_filters(struct doctor *d)
{
	hive_node_h class = key_at(d, d->set, "Control\\Class\\" NET_CLASS);
	hive_node_h *cards = class ? hivex_node_children(d->hive, class) : NULL;

	for (size_t i = 0; cards && cards[i]; i++)
		look_at_filters_of(d, cards[i]);
	free(cards);
}

static void look_at_page_file(struct doctor *d)
{
	char **files = texts_of(d, key_at(d, d->set, "Control\\Session Manager\\Memory Management"), "PagingFiles");
	unsigned int n = 0;

	for (size_t i = 0; files && files[i]; i++) {
		if (!files[i][0])
			continue;
		n++;
		if (strncasecmp(files[i], "?:", 2) && toupper((unsigned char)files[i][0]) != 'C')
			tell(d, DOCTOR_WARNING, "put it on C: or leave its place to Windows",
			     "a page file is to be on another disk, which a diskless PC has not: %.100s", files[i]);
		else
			tell(d, DOCTOR_GOOD, NULL, "the page file is on the system disk: %.100s", files[i]);
	}
	if (!n)
		tell(d, DOCTOR_INFO, NULL, "there is no page file");
	texts_free(files);
}

/* --- the whole ----------------------------------------------------------------------------------------------------*/

/* hivex reads a file: a copy that has no name by the time it is read. */
static int open_hive(struct doctor *d, const uint8_t *data, size_t length)
{
	char name[] = "/tmp/bootwell-hive.XXXXXX";
	int fd = mkstemp(name);
	size_t done = 0;
	int r = fd < 0 ? -errno : 0;

	while (!r && done < length) {
		ssize_t n = write(fd, data + done, length - done);

		if (n <= 0)
			r = n < 0 ? -errno : -EIO;
		else
			done += (size_t)n;
	}
	if (!r) {
		d->hive = hivex_open(name, 0);
		r = d->hive ? 0 : -EUCLEAN;
	}
	if (fd >= 0) {
		close(fd);
		unlink(name);
	}
	return r;
}

static int open_control_set(struct doctor *d)
{
	hive_node_h root = hivex_root(d->hive);
	int32_t current;
	char name[24];

	if (!root || !number_of(d, key_at(d, root, "Select"), "Current", &current) || current < 1 || current > 999)
		return -ENOENT;
	snprintf(name, sizeof(name), "ControlSet%03d", current);
	d->set = key_at(d, root, name);
	return d->set ? 0 : -ENOENT;
}

static int look_at_windows(struct doctor *d)
{
	uint8_t *data;
	size_t length;
	int r = doctor_ntfs_read(d->ntfs, SYSTEM_HIVE, DOCTOR_HIVE_MAX, &data, &length);

	if (r)
		return r;
	r = open_hive(d, data, length);
	free(data);
	if (!r)
		r = open_control_set(d);
	if (r) {
		tell(d, DOCTOR_BAD, "repair it with Windows' own means", "the registry (%s) cannot be read: %s", SYSTEM_HIVE,
		     strerror(-r));
	} else {
		look_at_initiator(d);
		look_at_cards(d);
		look_at_filters(d);
		look_at_page_file(d);
	}
	if (d->hive)
		hivex_close(d->hive);
	d->hive = NULL;
	return 0;
}

int doctor_look(const struct image *img, doctor_report_fn report, void *arg)
{
	struct doctor_partition part[DOCTOR_PARTITIONS];
	struct doctor d = {.report = report, .arg = arg};
	bool gpt, found = false;
	int n = doctor_partitions(img, part, DOCTOR_PARTITIONS, &gpt), r;

	if (n < 0) {
		tell(&d, DOCTOR_BAD, "no PC can boot from it", "there is no partition table that can be read");
		return n;
	}
	tell(&d, DOCTOR_INFO, NULL, "%d partitions, %s: boots PCs with %s", n, gpt ? "GPT" : "MBR", gpt ? "UEFI" : "BIOS");
	for (int i = 0; i < n && !found; i++) {
		if (!part[i].ntfs)
			continue;
		r = doctor_ntfs_open(&d.ntfs, img, part[i].start, part[i].size);
		if (r) {
			tell(&d, DOCTOR_WARNING, "shut Windows down wholly (shutdown /s /t 0) and capture it again",
			     "partition %u is NTFS and cannot be read (not shut down, or damaged): %s", part[i].number, strerror(-r));
			continue;
		}
		r = look_at_windows(&d);
		found = r == 0;
		if (r == -ENOENT)
			tell(&d, DOCTOR_INFO, NULL, "partition %u is NTFS and has no Windows", part[i].number);
		else if (r)
			tell(&d, DOCTOR_WARNING, NULL, "partition %u: %s cannot be read: %s", part[i].number, SYSTEM_HIVE, strerror(-r));
		doctor_ntfs_close(d.ntfs);
		d.ntfs = NULL;
	}
	if (!found) {
		tell(&d, DOCTOR_INFO, NULL, "there is no Windows in it");
		return d.bad ? d.bad : -ENOENT;
	}
	return d.bad;
}
