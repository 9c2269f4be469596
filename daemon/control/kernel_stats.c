// SPDX-License-Identifier: GPL-2.0-or-later
/* What the kernel counts of BPF programs, block devices and processes, read from sysfs, procfs and bpf(2). */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "daemon/control/kernel_stats.h"

#define SECTOR 512 /* of block statistics, whatever the device has */

static int read_text(const char *path, char *ret, size_t size)
{
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	n = read(fd, ret, size - 1);
	r = n < 0 ? -errno : 0;
	close(fd);
	ret[n < 0 ? 0 : n] = '\0';
	return r;
}

/* --- interfaces ------------------------------------------------------------------------------- */

static uint64_t link_number(const char *sys, const char *name, const char *file)
{
	char path[256], text[64];

	snprintf(path, sizeof(path), "%s/class/net/%s/%s", sys, name, file);
	/* An interface without a carrier has the speed -1, or none. */
	return read_text(path, text, sizeof(text)) || text[0] == '-' ? 0 : strtoull(text, NULL, 10);
}

int kernel_link_read(const char *sys, const char *name, struct kernel_link *ret)
{
	static const struct {
		const char *file;
		size_t offset;
	} files[] = {
		{"statistics/rx_bytes", offsetof(struct kernel_link, rx_bytes)},
		{"statistics/rx_packets", offsetof(struct kernel_link, rx_packets)},
		{"statistics/rx_errors", offsetof(struct kernel_link, rx_errors)},
		{"statistics/rx_dropped", offsetof(struct kernel_link, rx_dropped)},
		{"statistics/tx_bytes", offsetof(struct kernel_link, tx_bytes)},
		{"statistics/tx_packets", offsetof(struct kernel_link, tx_packets)},
		{"statistics/tx_errors", offsetof(struct kernel_link, tx_errors)},
		{"statistics/tx_dropped", offsetof(struct kernel_link, tx_dropped)},
		{"carrier", offsetof(struct kernel_link, carrier)},
		{"speed", offsetof(struct kernel_link, speed)},
	};
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s/class/net/%s/statistics", sys, name);
	if (stat(path, &st))
		return -ENODEV;
	for (unsigned int i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		uint64_t value = link_number(sys, name, files[i].file);

		memcpy((char *)ret + files[i].offset, &value, sizeof(value));
	}
	ret->speed *= 1000000;
	return 0;
}

/* --- block devices ---------------------------------------------------------------------------- */

/* SYS/dev/block/MAJOR:MINOR is a link into the tree of devices; its last part is the name. */
static int name_of_device(const char *sys, unsigned int major, unsigned int minor, char ret[KERNEL_BLOCK_NAME_MAX])
{
	char path[256], to[1024], *slash;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/dev/block/%u:%u", sys, major, minor);
	n = readlink(path, to, sizeof(to) - 1);
	if (n <= 0)
		return -ENODEV;
	to[n] = '\0';
	slash = strrchr(to, '/');
	if (snprintf(ret, KERNEL_BLOCK_NAME_MAX, "%s", slash ? slash + 1 : to) >= KERNEL_BLOCK_NAME_MAX)
		return -ENODEV;
	return 0;
}

/*
 * A file system that has a device number of its own (btrfs) names its device in mountinfo: after " - " type and source
 * (Documentation/filesystems/proc.rst). Within a sandbox /dev may be another one, so the name is looked for in sysfs.
 */
static int name_of_source(const char *sys, const char *mountinfo, unsigned int major, unsigned int minor,
			  char ret[KERNEL_BLOCK_NAME_MAX])
{
	char line[4096], path[256], source[KERNEL_BLOCK_NAME_MAX];
	FILE *file = fopen(mountinfo, "re");
	struct stat st;
	int r = -ENODEV;

	while (file && r && fgets(line, sizeof(line), file)) {
		unsigned int a, b;
		const char *after = strstr(line, " - ");

		if (!after || sscanf(line, "%*u %*u %u:%u", &a, &b) != 2 || a != major || b != minor)
			continue;
		if (sscanf(after, " - %*s /dev/%63s", source) != 1 || strchr(source, '/'))
			continue;
		snprintf(path, sizeof(path), "%s/class/block/%s", sys, source);
		if (!stat(path, &st)) {
			strcpy(ret, source);
			r = 0;
		}
	}
	if (file)
		fclose(file);
	return r;
}

int kernel_block_find(const char *sys, const char *mountinfo, const char *path, char ret[KERNEL_BLOCK_NAME_MAX])
{
	unsigned int ma, mi;
	struct stat st;

	if (stat(path, &st))
		return -errno;
	ma = S_ISBLK(st.st_mode) ? major(st.st_rdev) : major(st.st_dev);
	mi = S_ISBLK(st.st_mode) ? minor(st.st_rdev) : minor(st.st_dev);
	if (ma && !name_of_device(sys, ma, mi, ret))
		return 0;
	return name_of_source(sys, mountinfo, ma, mi, ret);
}

int kernel_block_read(const char *sys, const char *name, struct kernel_block *ret)
{
	uint64_t n[17] = {};
	char path[256], text[512], *at = text, *end;
	int r;

	snprintf(path, sizeof(path), "%s/class/block/%s/stat", sys, name);
	r = read_text(path, text, sizeof(text));
	if (r)
		return r;
	for (unsigned int i = 0; i < 17; i++) { /* older kernels have fewer */
		n[i] = strtoull(at, &end, 10);
		if (end == at)
			break;
		at = end;
	}
	*ret = (struct kernel_block){.reads = n[0],
				     .read_bytes = n[2] * SECTOR,
				     .read_ms = n[3],
				     .writes = n[4],
				     .written_bytes = n[6] * SECTOR,
				     .write_ms = n[7],
				     .in_flight = n[8],
				     .busy_ms = n[9],
				     .flushes = n[15],
				     .flush_ms = n[16]};
	return 0;
}

/* --- BPF -------------------------------------------------------------------------------------- */

int kernel_bpf_read(int fd, struct kernel_bpf *ret)
{
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	ret->runs = info.run_cnt;
	ret->run_ns = info.run_time_ns;
	return 0;
}

bool kernel_bpf_counts(const char *proc)
{
	char path[256], text[16];

	snprintf(path, sizeof(path), "%s/sys/kernel/bpf_stats_enabled", proc);
	return !read_text(path, text, sizeof(text)) && text[0] == '1';
}

int kernel_bpf_count(void)
{
	int fd = bpf_enable_stats(BPF_STATS_RUN_TIME);

	return fd < 0 ? -errno : fd;
}
