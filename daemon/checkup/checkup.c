// SPDX-License-Identifier: GPL-2.0-or-later
/* The list of findings, and what several looks need: processes, small files. */
#include "daemon/checkup/checkup.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void checkup_say(struct checkup *checkup, enum checkup_level level, const char *about, const char *todo,
		 const char *format, ...)
{
	struct checkup_finding *finding;
	va_list args;

	if (checkup->count == CHECKUP_MAX)
		return;
	finding = &checkup->finding[checkup->count++];
	finding->level = level;
	finding->about = about;
	snprintf(finding->todo, sizeof(finding->todo), "%s", todo);
	va_start(args, format);
	vsnprintf(finding->what, sizeof(finding->what), format, args);
	va_end(args);
}

void checkup_read(const char *path, char *ret, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? 0 : read(fd, ret, size - 1);

	if (fd >= 0)
		close(fd);
	ret[n > 0 ? n : 0] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
}

pid_t checkup_process(const char *name)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;
	pid_t ret = 0;

	while (!ret && dir && (e = readdir(dir))) {
		char path[300], comm[32];

		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", e->d_name);
		checkup_read(path, comm, sizeof(comm));
		if (!strcmp(comm, name))
			ret = atoi(e->d_name);
	}
	if (dir)
		closedir(dir);
	return ret;
}
