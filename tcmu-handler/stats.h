/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counters that the handler shares with everybody who wants to look: one file a disk,
 * /run/bootwell/disk/ID.stat, mapped MAP_SHARED by the handler (its only writer) and by readers.
 * All counters only grow while the disk exists, are little-endian u64 in host order (x86_64), and
 * are read with relaxed atomics; a reader checks magic and version first. The file outlives a
 * restart of the handler: counters go on where they were.
 */
#ifndef BOOTWELL_STATS_H
#define BOOTWELL_STATS_H

#include <stdint.h>

#define STATS_MAGIC     0x74617473746f6f62ULL /* "bootstat" */
#define STATS_VERSION   1
#define STATS_HISTOGRAM 24 /* bucket b: latency < 2^(b+10) ns, i.e. 1 us, 2 us, ...; the last has no bound */

/* A boot has gaps, and ends with a long one, or STATS_BOOT_NS after its first read. */
#define STATS_GAP_NS     500000000ULL
#define STATS_SILENCE_NS 10000000000ULL
#define STATS_BOOT_NS    300000000000ULL

enum stats_op { STATS_READ, STATS_WRITE, STATS_FLUSH, STATS_UNMAP, STATS_OPS };

struct stats_disk {
	uint64_t magic;
	uint64_t version;
	uint64_t opens;            /* times the handler opened the disk: > 1 after a restart of tcmu-runner */
	uint64_t opened_ns;        /* CLOCK_REALTIME of the last open, ns */
	uint64_t first_read_ns;    /* CLOCK_REALTIME of the first READ since boot_id changed, 0: none
				      yet */
	uint64_t last_io_ns;       /* CLOCK_REALTIME of the last command */
	uint64_t ops[STATS_OPS];   /* completed commands */
	uint64_t bytes[STATS_OPS]; /* bytes of them (flush: 0) */
	uint64_t errors[STATS_OPS];
	uint64_t latency_ns[STATS_OPS]; /* sum */
	uint64_t histogram[STATS_OPS][STATS_HISTOGRAM];
	uint64_t base_hit_bytes;  /* read from the shared image cache */
	uint64_t base_miss_bytes; /* read from image files */
	uint64_t overlay_read_bytes;
	uint64_t overlay_bytes;      /* gauge: live bytes of the overlay (slots * 4096) */
	uint64_t overlay_zero_bytes; /* gauge: bytes that are unmapped */
	uint64_t store_write_bytes;  /* bytes written to the store for this disk, records included */
	uint64_t map_bytes;          /* gauge: memory of the overlay's map */
	uint64_t boot[2];            /* the UUID of the boot that first_read_ns belongs to, as bytes */
	/* How that boot went on after its first read, boot_idle.h. */
	uint64_t boot_gaps;           /* times without a command, of STATS_GAP_NS and more */
	uint64_t boot_gap_ns;         /* their sum */
	uint64_t boot_gap_longest_ns; /* gauge */
	uint64_t boot_end_ns;         /* CLOCK_REALTIME of the last command of the boot, 0: it is not over, or no
					 command came after it */
	uint64_t damaged;             /* blocks of the write-back that were not what had been written: read errors */
	uint64_t reserved[25];
};

/* /run/bootwell/store.stat: the store and the shared cache, same rules. */
struct stats_store {
	uint64_t magic;
	uint64_t version;
	uint64_t size_bytes;        /* gauge: bytes of the store that data may use */
	uint64_t used_bytes;        /* gauge */
	uint64_t flushes;           /* fdatasync calls, and writes that are durable by themselves */
	uint64_t flush_waiters;     /* FLUSH and FUA commands that they served */
	uint64_t flush_ns;          /* sum of the time they took */
	uint64_t failed;            /* gauge: 1 after an fdatasync error; no more writes until a person looks */
	uint64_t cleaned_bytes;     /* bytes moved to free space */
	uint64_t cache_bytes;       /* gauge: memory of the shared image cache */
	uint64_t cache_limit_bytes; /* gauge */
	uint64_t cache_hits, cache_misses, cache_evictions;
	uint64_t reserved[32];
};

#endif
