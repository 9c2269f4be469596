// SPDX-License-Identifier: GPL-2.0-or-later
/* What serves the disks: the kernel's target, tcmu-runner with our handler; and does what is installed run? */
#include "daemon/checkup/checkup.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define ABOUT   "disks of PCs"
#define HANDLER "handler_bootwell.so"

/* Is the module in the kernel, or beside it? modules.dep(5), modules.builtin. */
static bool has_module(const char *name)
{
	static const char *const lists[] = {"modules.dep", "modules.builtin"};
	char path[300], line[4096], file[64];
	struct utsname kernel;
	bool found;

	snprintf(path, sizeof(path), "/sys/module/%s", name);
	found = !access(path, F_OK);
	uname(&kernel);
	snprintf(file, sizeof(file), "/%s.ko", name);
	for (int i = 0; i < 2 && !found; i++) {
		FILE *list;

		snprintf(path, sizeof(path), "/lib/modules/%s/%s", kernel.release, lists[i]);
		list = fopen(path, "re");
		while (list && !found && fgets(line, sizeof(line), list))
			found = strstr(line, file) != NULL;
		if (list)
			fclose(list);
	}
	return found;
}

/* Does that process have a file of that name in its memory? *deleted: in a version that is no longer on the disk. */
static bool has_mapped(pid_t pid, const char *name, bool *deleted)
{
	char path[64], line[4096];
	bool found = false;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = fopen(path, "re");
	*deleted = false;
	while (maps && !found && fgets(line, sizeof(line), maps)) {
		found = strstr(line, name) != NULL;
		*deleted = found && strstr(line, " (deleted)");
	}
	if (maps)
		fclose(maps);
	return found;
}

static void look_at_kernel(struct checkup *checkup)
{
	static const char *const modules[] = {"target_core_user", "iscsi_target_mod"};
	bool all = true;

	for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
		if (has_module(modules[i]))
			continue;
		all = false;
		checkup_say(checkup, CHECKUP_BAD, ABOUT,
			    "install linux-image-amd64 and start that kernel (the kernels named \"cloud\" lack it)",
			    "this kernel has no module %s", modules[i]);
	}
	if (all)
		checkup_say(checkup, CHECKUP_OK, ABOUT, "", "the kernel has LIO, with iSCSI and TCMU");
}

static void look_at_runner(struct checkup *checkup)
{
	pid_t pid = checkup_process("tcmu-runner");
	bool deleted;

	if (!pid)
		checkup_say(checkup, CHECKUP_BAD, ABOUT,
			    "\"systemctl start tcmu-runner\"; why it ended: \"journalctl -u "
			    "tcmu-runner\"",
			    "tcmu-runner does not run");
	else if (!has_mapped(pid, HANDLER, &deleted))
		checkup_say(checkup, geteuid() ? CHECKUP_WARN : CHECKUP_BAD, ABOUT,
			    "is " HANDLER " in its folder (/usr/lib/*/tcmu-runner), and readable? Then "
			    "\"systemctl restart tcmu-runner\"",
			    "tcmu-runner (process %d) has not loaded " HANDLER, (int)pid);
	else if (deleted)
		checkup_say(checkup, CHECKUP_WARN, ABOUT,
			    "\"systemctl restart tcmu-runner\" when it suits: PCs that run wait a moment, and go on",
			    "tcmu-runner (process %d) runs a " HANDLER " that has been replaced since", (int)pid);
	else
		checkup_say(checkup, CHECKUP_OK, ABOUT, "", "tcmu-runner runs with " HANDLER);
}

static void look_at_server(struct checkup *checkup)
{
	char path[64], exe[4200];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)checkup->server);
	n = readlink(path, exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = '\0';
	if (strstr(exe, " (deleted)"))
		checkup_say(checkup, CHECKUP_WARN, "bootwelld",
			    "\"systemctl restart bootwell\": PCs that run notice nothing",
			    "bootwelld (process %d) is of before the last update", (int)checkup->server);
}

void checkup_target(struct checkup *checkup)
{
	if (checkup->server)
		look_at_server(checkup);
	if (!checkup->config->targets) {
		checkup_say(checkup, CHECKUP_OK, ABOUT, "", "targets = off: this server gives no disks");
		return;
	}
	look_at_kernel(checkup);
	look_at_runner(checkup);
}
