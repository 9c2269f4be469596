// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads the counters that the handler keeps of a disk and of the store (tcmu-handler/stats.h), from their files.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/target/disk_stats.h"

/*
 * The file is mapped by its writer, which changes counters one by one: a copy is as good as a
 * mapping. A shorter file is of an older handler or not ready; what it lacks is zero.
 */
static int read_counters(const char *path, void *ret, size_t size)
{
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC), r = 0;

	if (fd < 0)
		return -errno;
	memset(ret, 0, size);
	n = pread(fd, ret, size, 0);
	if (n < 0)
		r = -errno;
	else if ((size_t)n < 2 * sizeof(uint64_t))
		r = -ENODATA;
	close(fd);
	return r;
}

int disk_stats_read(const char *run, const char *id, struct stats_disk *ret)
{
	char path[512];
	int r;

	snprintf(path, sizeof(path), "%s/disk/%s.stat", run, id);
	r = read_counters(path, ret, sizeof(*ret));
	if (!r && (ret->magic != STATS_MAGIC || ret->version != STATS_VERSION))
		r = -EPROTO;
	return r;
}

int disk_stats_store(const char *run, struct stats_store *ret)
{
	char path[512];
	int r;

	snprintf(path, sizeof(path), "%s/store.stat", run);
	r = read_counters(path, ret, sizeof(*ret));
	if (!r && (ret->magic != STATS_MAGIC || ret->version != STATS_VERSION))
		r = -EPROTO;
	return r;
}
