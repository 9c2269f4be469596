// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a Linux must have to start from iSCSI, in each initial RAM disk that it has: drivers of network cards,
 * iscsi_tcp, the firmware's table (iscsi_ibft, which tells where the disk is), a program that logs in, and the word
 * that it shall: ISCSI_AUTO=true in /etc/iscsi/iscsi.initramfs as Debian and Ubuntu have it, or on the kernel's command
 * line iscsi_auto, with dracut rd.iscsi.firmware or rd.iscsi.ibft. Only looked at: an initial RAM disk is made by the
 * system that it is for.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/doctor/doctor.h"
#include "daemon/doctor/cpio.h"
#include "daemon/doctor/ext.h"

#define INITRD_MAX (512u << 20) /* bytes of an initial RAM disk that is read */
#define TEXT_MAX   (4u << 20)
#define INITRDS    16

#define REBUILD_DEBIAN                                                                                                 \
	"in the image: apt install open-iscsi, ISCSI_AUTO=true into /etc/iscsi/iscsi.initramfs, update-initramfs -u"
#define REBUILD_DRACUT "in the image: dracut -f --add iscsi, and rd.iscsi.firmware=1 on the kernel's command line"

struct initrd {
	bool iscsi_tcp, ibft, login, debian, dracut, told;
	unsigned int cards;
};

struct linux_system {
	struct doctor *d;
	struct doctor_ext *fs;
	const char *folder;
	char name[INITRDS][128];
	unsigned int names;
	bool told; /* the boot loader's command line says to log in */
};

/* --- one initial RAM disk ------------------------------------------------------------------------------------------*/

static bool is_module(const char *path, const char *name)
{
	const char *base = strrchr(path, '/');
	size_t n = strlen(name);

	base = base ? base + 1 : path;
	return !strncmp(base, name, n) && !strncmp(base + n, ".ko", 3);
}

static void take_module(struct initrd *i, const char *path)
{
	i->iscsi_tcp |= is_module(path, "iscsi_tcp");
	i->ibft |= is_module(path, "iscsi_ibft");
	i->cards += strstr(path, "/drivers/net/") && strstr(path, ".ko") && !strstr(path, "/net/phy/") &&
		    !strstr(path, "/net/mdio");
}

/* modules.builtin: a path in each line. */
static void take_builtin(struct initrd *i, const char *text)
{
	while (*text) {
		char line[256];
		size_t n = strcspn(text, "\n");

		snprintf(line, sizeof(line), "%.*s", (int)(n < 255 ? n : 255), text);
		take_module(i, line);
		text += n + (text[n] == '\n');
	}
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && !strcmp(text + n - m, end) && (n == m || text[n - m - 1] == '/');
}

static void take_file(void *arg, const char *name, const uint8_t *data, size_t length)
{
	struct initrd *i = arg;

	(void)length;
	take_module(i, name);
	i->login |= ends_with(name, "iscsistart") || ends_with(name, "iscsid");
	i->debian |= ends_with(name, "scripts/local-top/iscsi");
	i->dracut |= ends_with(name, "iscsiroot");
	if (data && ends_with(name, "modules.builtin"))
		take_builtin(i, (const char *)data);
	if (data && (ends_with(name, "etc/iscsi.initramfs") || ends_with(name, "etc/iscsi/iscsi.initramfs")))
		i->told |= strstr((const char *)data, "ISCSI_AUTO=true") != NULL;
	if (data && strstr(name, "etc/cmdline.d/"))
		i->told |= strstr((const char *)data, "rd.iscsi.") != NULL;
}

static void judge(struct linux_system *s, const char *name, const struct initrd *i)
{
	const char *advice =
		i->dracut || (!i->debian && !strncmp(name, "initramfs-", 10)) ? REBUILD_DRACUT : REBUILD_DEBIAN;
	int before = s->d->result.bad;

	if (!i->iscsi_tcp)
		doctor_tell(s->d, DOCTOR_BAD, advice, "%s has no iscsi_tcp: it cannot log in to its disk", name);
	if (!i->ibft)
		doctor_tell(s->d, DOCTOR_BAD, advice,
			    "%s has no iscsi_ibft: it does not learn from the firmware where its disk is", name);
	if (!i->login && !i->dracut)
		doctor_tell(s->d, DOCTOR_BAD, advice, "%s has no iscsistart: nothing logs in to its disk", name);
	else if (!i->told && !s->told)
		doctor_tell(s->d, DOCTOR_BAD, advice, "%s is not told to log in to its disk by itself", name);
	if (!i->cards)
		doctor_tell(s->d, DOCTOR_BAD,
			    "in the image: MODULES=most into /etc/initramfs-tools/initramfs.conf, update-initramfs -u",
			    "%s has no driver of a network card", name);
	if (s->d->result.bad == before)
		doctor_tell(s->d, DOCTOR_GOOD, NULL,
			    "%s logs in to its disk by the firmware's table (iBFT); it has %u drivers of network cards",
			    name, i->cards);
}

static void look_at_initrd(struct linux_system *s, const char *name)
{
	struct initrd i = {};
	uint8_t *data = NULL;
	size_t length = 0;
	char path[200];
	int r;

	snprintf(path, sizeof(path), "%s/%s", s->folder, name);
	r = doctor_ext_read(s->fs, path, INITRD_MAX, &data, &length);
	if (!r)
		r = doctor_cpio_look(data, length, take_file, &i);
	free(data);
	if (r)
		doctor_tell(s->d, DOCTOR_WARNING, "make it again in the image: update-initramfs -u",
			    "%s cannot be read: %s", name, strerror(-r));
	else
		judge(s, name, &i);
}

/* --- the system ----------------------------------------------------------------------------------------------------*/

static int take_name(void *arg, const char *name)
{
	struct linux_system *s = arg;
	size_t n = strlen(name);

	if (n >= sizeof(s->name[0]) || s->names == INITRDS || strstr(name, "kdump") || strstr(name, "rescue"))
		return 0;
	if (!strncmp(name, "initrd.img-", 11) || !strncmp(name, "initrd-", 7) ||
	    (!strncmp(name, "initramfs-", 10) && n > 14 && !strcmp(name + n - 4, ".img")))
		strcpy(s->name[s->names++], name);
	return 0;
}

static void look_at_command_line(struct linux_system *s)
{
	static const char *const files[] = {"/grub/grub.cfg", "/grub2/grub.cfg"};
	char path[64];

	for (unsigned int i = 0; i < 2; i++) {
		uint8_t *data;
		size_t length;

		snprintf(path, sizeof(path), "%s%s", s->folder, files[i]);
		if (doctor_ext_read(s->fs, path, TEXT_MAX, &data, &length))
			continue;
		s->told |= strstr((char *)data, "iscsi_auto") || strstr((char *)data, "rd.iscsi.firmware") ||
			   strstr((char *)data, "rd.iscsi.ibft");
		free(data);
	}
}

static bool has_file(struct doctor_ext *fs, const char *path)
{
	uint8_t *data;
	size_t length;

	if (doctor_ext_read(fs, path, TEXT_MAX, &data, &length))
		return false;
	free(data);
	return true;
}

/* The system, /boot, or both; how many initial RAM disks. */
static unsigned int look_at_partition(struct doctor *d, struct doctor_ext *fs, unsigned int number, bool *ret_system)
{
	static const char *const folders[] = {"/boot", ""};
	unsigned int found = 0;

	*ret_system = has_file(fs, "/etc/os-release") || has_file(fs, "/usr/lib/os-release");
	for (unsigned int i = 0; i < 2 && !found; i++) {
		struct linux_system s = {.d = d, .fs = fs, .folder = folders[i]};

		if (doctor_ext_each(fs, *s.folder ? s.folder : "/", take_name, &s) || !s.names)
			continue;
		doctor_tell(d, DOCTOR_INFO, NULL, "partition %u has %u initial RAM disks of a Linux", number, s.names);
		look_at_command_line(&s);
		for (unsigned int k = 0; k < s.names; k++)
			look_at_initrd(&s, s.name[k]);
		found = s.names;
	}
	return found;
}

int doctor_linux(struct doctor *d, const struct doctor_partition *part, unsigned int count)
{
	unsigned int found = 0;
	bool system = false, here;

	for (unsigned int i = 0; i < count; i++) {
		struct doctor_ext *fs;
		int r;

		if (!part[i].ext)
			continue;
		r = doctor_ext_open(&fs, d->disk, part[i].start, part[i].size);
		if (r) {
			doctor_tell(d, DOCTOR_WARNING, "e2fsck in the image",
				    "partition %u is ext and cannot be read: %s", part[i].number, strerror(-r));
			continue;
		}
		found += look_at_partition(d, fs, part[i].number, &here);
		system |= here;
		doctor_ext_close(fs);
	}
	d->result.linux_os = system || found;
	if (system && !found)
		doctor_tell(d, DOCTOR_BAD, REBUILD_DEBIAN,
			    "a Linux is there, and no initial RAM disk (initrd.img-*, initramfs-*.img) in /boot");
	return 0;
}
