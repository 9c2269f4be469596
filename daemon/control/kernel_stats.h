/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's own counts of network interfaces, block devices and BPF programs, read where the kernel shows them:
 * sysfs, /proc, bpf(2). (Those of iSCSI targets: target_counts().) Nothing is kept here, nothing is logged. Any thread.
 */
#ifndef BOOTWELL_KERNEL_STATS_H
#define BOOTWELL_KERNEL_STATS_H

#include <stdbool.h>
#include <stdint.h>

/* An interface: SYS/class/net/NAME. `sys` is "/sys", or a folder that stands in for it. */
struct kernel_link {
	uint64_t rx_bytes, rx_packets, rx_errors, rx_dropped;
	uint64_t tx_bytes, tx_packets, tx_errors, tx_dropped;
	uint64_t carrier; /* 1: it has a link */
	uint64_t speed;   /* bits/s, 0: not known */
};
int kernel_link_read(const char *sys, const char *name, struct kernel_link *ret); /* -ENODEV */

#define KERNEL_BLOCK_NAME_MAX 64

/*
 * The block device (a partition is one) that the file system of `path` lies on: its name in SYS/class/block. -ENODEV:
 * none that is seen here (NFS, tmpfs); -errno of stat().
 */
int kernel_block_find(const char *sys, const char *mountinfo, const char *path, char ret[KERNEL_BLOCK_NAME_MAX]);

/* SYS/class/block/NAME/stat; kernel: Documentation/block/stat.rst */
struct kernel_block {
	uint64_t reads, read_bytes, read_ms;
	uint64_t writes, written_bytes, write_ms;
	uint64_t in_flight; /* now */
	uint64_t busy_ms;   /* time with commands in flight */
	uint64_t flushes, flush_ms;
};
int kernel_block_read(const char *sys, const char *name, struct kernel_block *ret);

/* How often a BPF program ran, and how long. Counted only while kernel_bpf_counts() is true. */
struct kernel_bpf {
	uint64_t runs, run_ns;
};
int kernel_bpf_read(int fd, struct kernel_bpf *ret);
/* sysctl kernel.bpf_stats_enabled, or a descriptor of kernel_bpf_count(). */
bool kernel_bpf_counts(const char *proc);
/* Lets the kernel count runs for as long as the descriptor is open; -EPERM without CAP_SYS_ADMIN. */
int kernel_bpf_count(void);

#endif
