// SPDX-License-Identifier: GPL-2.0-or-later
/* The machine itself: its clock, its memory, and what the kernel has logged since it started. */
#include "daemon/checkup/checkup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define ABOUT      "machine"
#define BUILT_YEAR 2026 /* a clock that is before it is wrong */

static void look_at_clock(struct checkup *checkup)
{
	struct timex t = {0};
	time_t now = time(NULL);
	struct tm tm;
	int state = adjtimex(&t);

	gmtime_r(&now, &tm);
	if (tm.tm_year + 1900 < BUILT_YEAR)
		checkup_say(checkup, CHECKUP_BAD, ABOUT,
			    "set it (\"timedatectl set-time\"), and replace the battery of the board",
			    "the clock says %d: certificates are refused, logs mislead", tm.tm_year + 1900);
	else if (state == TIME_ERROR || t.status & STA_UNSYNC)
		checkup_say(checkup, CHECKUP_WARN, ABOUT,
			    "install chrony or systemd-timesyncd and let it reach a time server",
			    "nothing keeps the clock right: the kernel calls it unsynchronised");
	else
		checkup_say(checkup, CHECKUP_OK, ABOUT, "", "the clock is synchronised");
}

/* /proc/meminfo, in KiB */
static unsigned long long memory(const char *key)
{
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long ret = 0;
	char line[128];
	size_t n = strlen(key);

	while (file && !ret && fgets(line, sizeof(line), file))
		if (!strncmp(line, key, n) && line[n] == ':')
			ret = strtoull(line + n + 1, NULL, 10);
	if (file)
		fclose(file);
	return ret;
}

static void look_at_memory(struct checkup *checkup)
{
	unsigned long long total = memory("MemTotal"), available = memory("MemAvailable");

	if (total && available < total / 20)
		checkup_say(checkup, CHECKUP_WARN, ABOUT,
			    "make image_ram and write_back_ram of [cache] smaller, or add memory",
			    "only %llu MiB of %llu MiB of memory are available", available >> 10, total >> 10);
	else if (total)
		checkup_say(checkup, CHECKUP_OK, ABOUT, "", "%llu MiB of %llu MiB of memory are available",
			    available >> 10, total >> 10);
}

const char *checkup_kernel_line(const char *line, const char **todo)
{
	static const struct {
		const char *text, *means, *todo;
	} all[] = {
		{"I/O error, dev ", "a disk could not read or write", "see \"smartctl -a\" of it; replace it"},
		{"Medium Error", "a disk could not read or write", "see \"smartctl -a\" of it; replace it"},
		{"EXT4-fs error", "a file system is damaged", "stop bootwelld, unmount it, run fsck"},
		{"Remounting filesystem read-only", "a file system went read-only by an error",
		 "see the lines before it in \"dmesg\"; unmount it, run fsck"},
		{"XFS (", "XFS has something to say", "see \"dmesg\"; \"xfs_repair\" when it speaks of corruption"},
		{"BTRFS error", "btrfs reports an error", "see \"dmesg\" and \"btrfs device stats\""},
		{"Out of memory: Killed process", "memory ran out and a process was killed",
		 "make the caches of [cache] smaller, or add memory"},
		{"blocked for more than", "a process stood still for minutes",
		 "mostly a disk, or a server of files, that does not answer: see the process named there"},
		{"iSCSI Login timeout", "a PC began to log in and did not go on",
		 "see its cable, and the MTU on the way"},
		{"NIC Link is Down", "a network card lost its link", "see cable and switch"},
		{"ABORT_TASK", "a PC gave a command up that took too long",
		 "the disks of the store are too slow, or ill"},
		{"Hardware Error", "the machine reports a hardware error", "see \"dmesg\"; memory and power first"},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (!strstr(line, all[i].text))
			continue;
		/* Mounting is no trouble. */
		if (!strcmp(all[i].text, "XFS (") && !strstr(line, "orrupt") && !strstr(line, "Shutting down"))
			continue;
		*todo = all[i].todo;
		return all[i].means;
	}
	return NULL;
}

struct seen {
	const char *means, *todo;
	unsigned int count;
	char last[160];
};

static void note(struct seen *seen, size_t size, const char *text)
{
	const char *todo = "", *means = checkup_kernel_line(text, &todo);
	size_t i = 0;

	if (!means)
		return;
	while (i < size && seen[i].means && strcmp(seen[i].means, means) != 0)
		i++;
	if (i == size)
		return;
	seen[i].means = means;
	seen[i].todo = todo;
	seen[i].count++;
	snprintf(seen[i].last, sizeof(seen[i].last), "%s", text);
}

/* Each read(2) of /dev/kmsg is one record: "priority,number,time,flags;text" and lines of properties. */
static void look_at_log(struct checkup *checkup)
{
	struct seen seen[16] = {};
	char record[8192];
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ssize_t n;

	if (fd < 0) {
		checkup_say(checkup, CHECKUP_WARN, "kernel log", "ask again as root", "it cannot be read: %s",
			    strerror(errno));
		return;
	}
	/* EPIPE: some were overwritten before they were read. */
	while ((n = read(fd, record, sizeof(record) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		char *text;

		if (n < 0)
			continue;
		record[n] = '\0';
		text = strchr(record, ';');
		if (!text)
			continue;
		text++;
		text[strcspn(text, "\n")] = '\0';
		note(seen, sizeof(seen) / sizeof(seen[0]), text);
	}
	close(fd);
	for (size_t i = 0; i < sizeof(seen) / sizeof(seen[0]) && seen[i].means; i++)
		checkup_say(checkup, CHECKUP_WARN, "kernel log", seen[i].todo,
			    "%s: %u time%s since the start, last: %s", seen[i].means, seen[i].count,
			    seen[i].count == 1 ? "" : "s", seen[i].last);
	if (!seen[0].means)
		checkup_say(checkup, CHECKUP_OK, "kernel log", "", "nothing of disks, memory or network cards");
}

void checkup_machine(struct checkup *checkup)
{
	look_at_clock(checkup);
	look_at_memory(checkup);
	look_at_log(checkup);
}
