// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Network cards that a Windows has seen, and the lightweight filters that are bound to them.
 *
 * Enum\PCI\MODEL\INSTANCE names the card's driver (Service) and its key of the class Net (Driver: {4d36e972-...}\NNNN),
 * which has *IfType (6 Ethernet, 71 Wi-Fi: nothing boots from that) and Linkage\FilterList, the filters: by the GUID
 * under Control\Network\{4d36e974-...}, whose Ndi has Service. One filter stands there once for each place in the
 * stack. A mandatory one that comes late keeps the card away (KB976042); which are optional
 *  - Windows 7 and 8 say in Ndi\FilterRunType (1 mandatory, 2 optional),
 *  - Windows 10 says in Control\NetworkSetup2\Filters\{GUID}\Kernel (Optional = 1), and there it says of some that they
 *    must not start at boot (NoStartAtBoot = 1). Where that key is, it decides.
 *
 * How sure: that a driver's file or service is missing, or that a driver comes late without the bit of BootFlags, is
 * certain for that card; it stands against a boot only if no other wired card is left. That a mandatory filter which
 * comes late keeps the card away is reported for Windows 7 (KB976042), whose own WfpLwf is such a one as it is
 * installed, and that drivers made with NetAdapterCx cannot be booted from is reported, too: likely. A filter of which
 * nothing says whether it is mandatory, and a driver's file that cannot be read, are unknown, and nothing is changed
 * for them.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/doctor/private.h"

#define NET_CLASS   "{4d36e972-e325-11ce-bfc1-08002be10318}"
#define NET_SERVICE "Control\\Network\\{4d36e974-e325-11ce-bfc1-08002be10318}\\"
#define FILTERS     "Control\\NetworkSetup2\\Filters\\"
#define DRIVER_MAX  (64u << 20) /* bytes of a driver's file that is read */
#define CARDS_MAX   64          /* network cards that are reported */
#define BOUND_MAX   256         /* pairs of filter and adapter that are reported */
#define IFTYPE_WIFI 71

enum fault {
	FINE,
	NO_DRIVER,
	NO_FILE,
	NOT_A_SERVICE,
	TOO_LATE,
	DISABLED,
	NETADAPTER,
};

struct card {
	char id[160], driver[160], path[300];
	hive_node_h class; /* its key of the class Net; 0: none */
	bool wifi;
	enum fault fault;
	enum windows_start start;
	int unread; /* -errno: the driver's file is there and cannot be looked into */
};

enum filter_kind {
	FILTER_OPTIONAL,
	FILTER_MANDATORY,
	FILTER_NOT_AT_BOOT,
	FILTER_UNKNOWN,
};

struct bound {
	char filter[128], adapter[128];
};

struct looking {
	struct windows *w;
	struct card card[CARDS_MAX];
	unsigned int cards, wired;
	bool another; /* a wired card that nothing certain stands against */
	struct bound bound[BOUND_MAX];
	unsigned int bounds;
};

/* --- drivers ------------------------------------------------------------------------------------------------------*/

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
	char *text = doctor_hive_text(w->hive, windows_service(w, name), "ImagePath");
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

static void judge_driver(struct windows *w, struct card *c)
{
	uint8_t *data = NULL;
	char path[300];
	size_t length = 0;
	int r;

	if (!c->driver[0]) {
		c->fault = NO_DRIVER;
		return;
	}
	driver_path(w, c->driver, path);
	memcpy(c->path, path, sizeof(path));
	r = doctor_ntfs_read(w->ntfs, c->path, DRIVER_MAX, &data, &length);
	c->unread = r == -ENOENT ? 0 : r;
	c->start = windows_start(w, c->driver);
	if (r == -ENOENT)
		c->fault = NO_FILE;
	else if (c->start == WINDOWS_NO_SERVICE)
		c->fault = NOT_A_SERVICE;
	else if (r == 0 && is_netadapter(data, length))
		c->fault = NETADAPTER;
	else if (c->start == WINDOWS_LATER)
		c->fault = TOO_LATE;
	else if (c->start == WINDOWS_DISABLED)
		c->fault = DISABLED;
	free(data);
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

static bool is_set(struct windows *w, hive_node_h key, const char *name)
{
	int32_t number;

	return doctor_hive_number(w->hive, key, name, &number) && number;
}

/* Its service, to be freed (NULL: none is named), and whether cards wait for it. */
static char *filter_service(struct windows *w, const char *part, enum filter_kind *ret)
{
	hive_node_h ndi, kernel;
	char path[300], *name;
	int32_t type;

	*ret = FILTER_UNKNOWN;
	if (*part != '{')
		return strdup(part);
	snprintf(path, sizeof(path), NET_SERVICE "%.120s\\Ndi", part);
	ndi = doctor_hive_key(w->hive, w->set, path);
	name = doctor_hive_text(w->hive, ndi, "Service");
	snprintf(path, sizeof(path), FILTERS "%.120s\\Kernel", part);
	kernel = doctor_hive_key(w->hive, w->set, path);
	if (kernel)
		*ret = is_set(w, kernel, "Optional") ? FILTER_OPTIONAL : FILTER_MANDATORY;
	else if (doctor_hive_number(w->hive, ndi, "FilterRunType", &type))
		*ret = type == 2 ? FILTER_OPTIONAL : FILTER_MANDATORY;
	if (*ret != FILTER_OPTIONAL &&
	    (is_set(w, kernel, "NoStartAtBoot") || (name && is_set(w, windows_service(w, name), "NoStartAtBoot"))))
		*ret = FILTER_NOT_AT_BOOT;
	return name;
}

/* One filter stands in a card's list for each of its places in the stack. */
static bool told_before(struct looking *l, const char *filter, const char *adapter)
{
	struct bound *b = &l->bound[l->bounds];

	for (unsigned int i = 0; i < l->bounds; i++)
		if (!strcasecmp(l->bound[i].filter, filter) && !strcmp(l->bound[i].adapter, adapter))
			return true;
	if (l->bounds == BOUND_MAX)
		return true;
	snprintf(b->filter, sizeof(b->filter), "%s", filter);
	snprintf(b->adapter, sizeof(b->adapter), "%.127s", adapter);
	l->bounds++;
	return false;
}

static void look_at_filter(struct looking *l, const char *entry, const char *adapter)
{
	struct windows *w = l->w;
	char part[128], what[WINDOWS_WHAT_MAX], *name;
	enum windows_start start;
	enum filter_kind kind;

	if (!filter_part(entry, part))
		return;
	name = filter_service(w, part, &kind);
	if (told_before(l, name ? name : part, adapter)) {
		free(name);
		return;
	}
	snprintf(what, sizeof(what), "the filter %.150s, bound to %.150s,", name ? name : part, adapter);
	start = name ? windows_start(w, name) : WINDOWS_NO_SERVICE;
	if (!name)
		windows_tell(w, DOCTOR_UNKNOWN, NULL, "%s names no driver: whether the card waits for it is not known",
			     what);
	else if (start == WINDOWS_WITH_KERNEL)
		windows_tell(w, DOCTOR_GOOD, NULL, "%s starts with the kernel", what);
	else if (kind == FILTER_OPTIONAL)
		windows_tell(w, DOCTOR_GOOD, NULL, "%s is one that the card does not wait for", what);
	else if (start == WINDOWS_WITH_NETWORK)
		windows_tell(w, DOCTOR_GOOD, NULL, "%s starts with the kernel when the PC boots by iSCSI (BootFlags 1)",
			     what);
	else if (kind == FILTER_NOT_AT_BOOT)
		windows_tell(
			w, DOCTOR_UNKNOWN, "unbind it from the card that the PC boots from, if Windows does not start",
			"%s is not to start at boot, and not said to be optional: whether the card waits for it is "
			"not known",
			what);
	else if (kind == FILTER_UNKNOWN)
		windows_tell(w, DOCTOR_UNKNOWN,
			     "unbind it from the card that the PC boots from, if Windows does not start",
			     "%s does not start with the kernel, and nothing says whether the card waits for it", what);
	else if (start == WINDOWS_NO_SERVICE)
		windows_tell(w, DOCTOR_WARNING, "unbind it from the card that the PC boots from (KB976042)",
			     "%s is not installed", what);
	else
		windows_mend_start(
			w, name, true, start == WINDOWS_DISABLED ? DOCTOR_UNKNOWN : DOCTOR_WARNING,
			"unbind it from the card that the PC boots from, or set its Start to 0: else the card "
			"comes too late (KB976042)",
			what);
	free(name);
}

static void look_at_filters(struct looking *l, hive_node_h class)
{
	struct windows *w = l->w;
	char **filters = doctor_hive_texts(w->hive, doctor_hive_key(w->hive, class, "Linkage"), "FilterList");
	char *model = doctor_hive_text(w->hive, class, "DriverDesc");

	for (size_t i = 0; filters && filters[i]; i++)
		look_at_filter(l, filters[i], model ? model : "a card");
	doctor_hive_texts_free(filters);
	free(model);
}

/* --- cards --------------------------------------------------------------------------------------------------------*/

static bool is_wifi(struct windows *w, hive_node_h class)
{
	int32_t type;

	return doctor_hive_number(w->hive, class, "*IfType", &type) && type == IFTYPE_WIFI;
}

static void take_text(struct windows *w, hive_node_h key, const char *name, char *to, size_t size)
{
	char *text = doctor_hive_text(w->hive, key, name);

	snprintf(to, size, "%s", text ? text : "");
	free(text);
}

/* One device under Enum\PCI\VEN_...\instance, if it is a network card. */
static void take_device(struct looking *l, const char *id, hive_node_h instance)
{
	struct windows *w = l->w;
	struct card *c = &l->card[l->cards];
	char class[64], key[120], path[200];

	take_text(w, instance, "ClassGUID", class, sizeof(class));
	if (strcasecmp(class, NET_CLASS) || l->cards == CARDS_MAX)
		return;
	*c = (struct card){};
	snprintf(c->id, sizeof(c->id), "%.159s", id);
	take_text(w, instance, "Service", c->driver, sizeof(c->driver));
	take_text(w, instance, "Driver", key, sizeof(key));
	snprintf(path, sizeof(path), "Control\\Class\\%s", key);
	c->class = key[0] ? doctor_hive_key(w->hive, w->set, path) : 0;
	c->wifi = is_wifi(w, c->class);
	if (!c->wifi)
		judge_driver(w, c);
	l->wired += !c->wifi;
	l->another |= !c->wifi && (c->fault == FINE || c->fault == NETADAPTER || c->fault == DISABLED);
	l->cards++;
}

static void take_devices(struct looking *l)
{
	hive_h *h = doctor_hive_h(l->w->hive);
	hive_node_h pci = doctor_hive_key(l->w->hive, l->w->set, "Enum\\PCI");
	hive_node_h *models = pci ? hivex_node_children(h, pci) : NULL;

	for (size_t i = 0; models && models[i]; i++) {
		char *id = hivex_node_name(h, models[i]);
		hive_node_h *instances = hivex_node_children(h, models[i]);

		for (size_t k = 0; id && instances && instances[k]; k++)
			take_device(l, id, instances[k]);
		free(instances);
		free(id);
	}
	free(models);
}

static const char *why_unread(int r)
{
	return r == -EOPNOTSUPP ? "it is compressed (CompactOS) or encrypted" : strerror(-r);
}

/* `level`: what is certain counts as. True: its driver starts in time, or does now. */
static bool tell_card(struct looking *l, const struct card *c, enum doctor_level level)
{
	struct windows *w = l->w;
	char what[WINDOWS_WHAT_MAX];

	if (told_before(l, c->driver, c->id)) /* two of a kind in one PC */
		return c->fault == FINE || (c->fault == TOO_LATE && w->mend);

	snprintf(what, sizeof(what), "%.150s: its driver %.150s", c->id, c->driver);
	if (c->unread)
		windows_tell(w, DOCTOR_UNKNOWN, "look for NetAdapterCx in the driver's INF; else try a boot",
			     "%s cannot be looked into (%s): whether it is made with NetAdapterCx is not known", what,
			     why_unread(c->unread));
	switch (c->fault) {
	case NO_DRIVER:
		windows_tell(w, level, "install a driver for it", "%s: this card has no driver", c->id);
		return false;
	case NO_FILE:
		windows_tell(w, level, "install the card's driver again",
			     "%s: the file of its driver %s, %s, is missing", c->id, c->driver, c->path);
		return false;
	case NOT_A_SERVICE:
		windows_tell(w, level, "install the card's driver again", "%s is not installed as a service", what);
		return false;
	case NETADAPTER:
		windows_tell(w, DOCTOR_WARNING,
			     "install the maker's NDIS driver for this card, or boot from another card",
			     "%s is made with NetAdapterCx, with which a boot from iSCSI is reported to fail", what);
		return false;
	case TOO_LATE:
		return windows_mend_start(
			w, c->driver, true, level,
			"set its Start to 0, if this is the card that the PC boots from: else bugcheck 7B", what);
	case DISABLED:
		return windows_mend_start(w, c->driver, true, DOCTOR_UNKNOWN, WINDOWS_DISABLED_ADVICE, what);
	case FINE:
		break;
	}
	windows_tell(w, DOCTOR_GOOD, NULL, "%s starts with the kernel%s", what,
		     c->start == WINDOWS_WITH_NETWORK ? " when the PC boots by iSCSI (BootFlags 1)" : "");
	return true;
}

static void tell_cards(struct looking *l)
{
	enum doctor_level level = l->another ? DOCTOR_WARNING : DOCTOR_BAD;
	unsigned int usable = 0;

	for (unsigned int i = 0; i < l->cards; i++) {
		struct card *c = &l->card[i];

		if (c->wifi)
			windows_tell(l->w, DOCTOR_INFO, NULL, "%s: Wi-Fi, which no PC boots from", c->id);
		else
			usable += tell_card(l, c, level);
	}
	if (!l->wired)
		windows_tell(l->w, DOCTOR_UNKNOWN, "start Windows once on the kind of PC that will boot from the image",
			     "it has never seen a wired PCI network card");
	else
		windows_tell(l->w, usable ? DOCTOR_INFO : DOCTOR_WARNING, NULL,
			     "%u of %u wired network cards that it has seen have a driver that starts in time", usable,
			     l->wired);
	for (unsigned int i = 0; i < l->cards; i++)
		if (!l->card[i].wifi)
			look_at_filters(l, l->card[i].class);
}

/* WAN miniports and the like are adapters too, and nothing boots from them. */
static bool is_real(const char *device)
{
	return !device || !strncasecmp(device, "pci\\", 4) || !strncasecmp(device, "usb\\", 4) ||
	       !strncasecmp(device, "vmbus\\", 6);
}

/* Adapters that are on USB, or of which the devices are not there any more: they may come back. */
static void look_at_others(struct looking *l)
{
	struct windows *w = l->w;
	hive_node_h class = doctor_hive_key(w->hive, w->set, "Control\\Class\\" NET_CLASS);
	hive_node_h *keys = class ? hivex_node_children(doctor_hive_h(w->hive), class) : NULL;

	for (size_t i = 0; keys && keys[i]; i++) {
		char *device = doctor_hive_text(w->hive, keys[i], "MatchingDeviceId");
		bool ours = false;

		for (unsigned int k = 0; k < l->cards; k++)
			ours |= l->card[k].class == keys[i];
		if (!ours && is_real(device) && !is_wifi(w, keys[i]))
			look_at_filters(l, keys[i]);
		free(device);
	}
	free(keys);
}

void windows_cards(struct windows *w)
{
	struct looking *l = calloc(1, sizeof(*l));

	if (!l) {
		doctor_tell(w->d, DOCTOR_UNKNOWN, NULL, "its network cards cannot be looked at: out of memory");
		return;
	}
	l->w = w;
	take_devices(l);
	tell_cards(l);
	look_at_others(l);
	free(l);
}
