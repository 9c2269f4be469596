// SPDX-License-Identifier: GPL-2.0-or-later
/* Counters in files that readers map: see stats.h. Without a directory, or without room in it,
 * there are none. */
#include "tcmu-handler/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tcmu-handler/engine_private.h"

void *stats_map(const char *run_dir, const char *name, size_t size, uint64_t version)
{
	char path[1200];
	uint64_t *words;
	struct stat st;
	int fd;

	if (!run_dir[0] || snprintf(path, sizeof(path), "%s/%s", run_dir, name) >= (int)sizeof(path))
		return NULL;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) < 0 ||
	    ((size_t)st.st_size != size &&
	     (ftruncate(fd, 0) < 0 || TEMP_FAILURE_RETRY(fallocate(fd, 0, 0, (off_t)size)) < 0))) {
		close(fd);
		return NULL;
	}
	words = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (words == MAP_FAILED)
		return NULL;
	words[1] = version;
	words[0] = STATS_MAGIC;
	return words;
}

void stats_unmap(void *stats, size_t size)
{
	if (stats)
		munmap(stats, size);
}
