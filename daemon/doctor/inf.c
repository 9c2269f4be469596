// SPDX-License-Identifier: GPL-2.0-or-later
/* INF files are UTF-16 or 8-bit text; of each only [Version] and what looks like PCI\VEN_xxxx&DEV_xxxx is looked at. */
#include "daemon/doctor/inf.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FOLDER   "/Windows/INF"
#define NET_GUID "{4d36e972-e325-11ce-bfc1-08002be10318}"
#define LINE     11 /* IDs in one finding: "8086:153a " each, and a sentence stays readable */

struct looking {
	struct doctor *d;
	struct doctor_ntfs *ntfs;
	unsigned int unread, files, drivers, ids;
};

/* UTF-16 becomes bytes, what is not ASCII a question mark; comments become blanks. In place; ends with NUL. */
static void flatten(uint8_t *data, size_t *length)
{
	bool wide = *length >= 2 && data[0] == 0xff && data[1] == 0xfe, comment = false;
	size_t n = 0;

	for (size_t i = wide ? 2 : 0; i + wide < *length; i += 1 + wide) {
		uint8_t c = wide && data[i + 1] ? '?' : data[i];

		comment = (comment || c == ';') && c != '\n';
		data[n++] = comment || !c ? ' ' : c;
	}
	data[n] = '\0';
	*length = n;
}

/* The value of a key in [Version]; false: it is not there. */
static bool version_value(const char *text, const char *key, char *ret, size_t size)
{
	const char *at = strcasestr(text, "[Version]");
	size_t n = strlen(key);

	for (at = at ? strchr(at, '\n') : NULL; at; at = strchr(at, '\n')) {
		at += strspn(at, " \t\r\n");
		if (*at == '[')
			return false;
		if (strncasecmp(at, key, n) || !strchr(" \t=", at[n]))
			continue;
		at += n + strspn(at + n, " \t=\"");
		n = strcspn(at, " \t\r\n\"");
		snprintf(ret, size, "%.*s", (int)(n < size ? n : size - 1), at);
		return true;
	}
	return false;
}

static bool is_net(const char *text)
{
	char value[64];

	if (version_value(text, "ClassGUID", value, sizeof(value)))
		return !strcasecmp(value, NET_GUID);
	return version_value(text, "Class", value, sizeof(value)) && !strcasecmp(value, "Net");
}

static int by_id(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static bool hex16(const char *p, uint32_t *ret)
{
	char text[5] = "";

	for (unsigned int i = 0; i < 4; i++) {
		if (!isxdigit((unsigned char)p[i]))
			return false;
		text[i] = p[i];
	}
	*ret = (uint32_t)strtoul(text, NULL, 16);
	return true;
}

/* PCI\VEN_8086&DEV_153A as 0x8086153a, each once. */
static unsigned int find_ids(const char *text, uint32_t *ret)
{
	unsigned int n = 0, kept = 0;
	uint32_t vendor, device;

	for (const char *at = text; (at = strcasestr(at, "PCI\\VEN_")) && n < DOCTOR_HARDWARE_MAX; at += 8)
		if (hex16(at + 8, &vendor) && !strncasecmp(at + 12, "&DEV_", 5) && hex16(at + 17, &device))
			ret[n++] = vendor << 16 | device;
	if (n)
		qsort(ret, n, sizeof(*ret), by_id);
	for (unsigned int i = 0; i < n; i++)
		if (!i || ret[i] != ret[kept - 1])
			ret[kept++] = ret[i];
	return kept;
}

unsigned int doctor_inf_ids(uint8_t *data, size_t length, uint32_t *ret)
{
	flatten(data, &length);
	return is_net((const char *)data) ? find_ids((const char *)data, ret) : 0;
}

static void tell_ids(struct doctor *d, const char *name, const uint32_t *id, unsigned int n)
{
	for (unsigned int i = 0; i < n; i += LINE) {
		char text[LINE * 12] = "";
		size_t at = 0;

		for (unsigned int k = i; k < n && k < i + LINE; k++)
			at += (size_t)snprintf(text + at, sizeof(text) - at, " %04x:%04x", id[k] >> 16, id[k] & 0xffff);
		doctor_tell(d, DOCTOR_INFO, NULL, "%.60s is a driver for%s", name, text);
	}
}

static int look_at_file(void *arg, const char *name)
{
	static uint32_t id[DOCTOR_HARDWARE_MAX];
	struct looking *l = arg;
	unsigned int found;
	size_t length, n = strlen(name);
	char path[300];
	uint8_t *data;

	if (n < 5 || n > 200 || strcasecmp(name + n - 4, ".inf") || l->files++ >= DOCTOR_INF_FILES)
		return 0;
	snprintf(path, sizeof(path), FOLDER "/%s", name);
	/* With one byte behind it. */
	if (doctor_ntfs_read(l->ntfs, path, DOCTOR_INF_MAX, &data, &length)) {
		l->unread++;
		return 0;
	}
	found = doctor_inf_ids(data, length, id);
	l->drivers += found > 0;
	l->ids += found;
	if (l->d->options->cards)
		tell_ids(l->d, name, id, found);
	free(data);
	return 0;
}

void doctor_inf_look(struct doctor *d, struct doctor_ntfs *ntfs)
{
	struct looking l = {.d = d, .ntfs = ntfs};
	int r = doctor_ntfs_each(ntfs, FOLDER, look_at_file, &l);

	if (r)
		doctor_tell(d, DOCTOR_INFO, NULL, "its drivers cannot be listed (%s): %s", FOLDER, strerror(-r));
	else
		doctor_tell(d, l.ids ? DOCTOR_INFO : DOCTOR_WARNING,
			    l.ids ? NULL : "install the drivers of the cards that will boot from it",
			    "it has %u drivers for %u kinds of PCI network cards%s", l.drivers, l.ids,
			    l.ids && !d->options->cards ? " (--cards lists them)" : "");
	if (l.unread)
		doctor_tell(
			d, DOCTOR_UNKNOWN, NULL,
			"%u files in %s cannot be looked into (compressed by CompactOS, or damaged): there may be more "
			"drivers",
			l.unread, FOLDER);
}
