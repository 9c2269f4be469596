/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The image engine: disks made of a shared base image and a write-back of their own. It knows
 * nothing of SCSI or tcmu-runner: handler.c, the tests and the benchmarks all use this header.
 *
 * One engine a process: it has the write-back store, the staging memory, the cache of base images
 * and a few threads, each with one I/O queue. A disk belongs to one thread for its I/O; requests
 * come from any thread, and what is in memory is answered in the caller's.
 */
#ifndef BOOTWELL_ENGINE_H
#define BOOTWELL_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "tcmu-handler/image/sentence.h"
#include "tcmu-handler/handover.h"
#include "tcmu-handler/image/image.h"
#include "tcmu-handler/io.h"
#include "tcmu-handler/overlay.h"

#define ENGINE_THREADS_MAX HANDOVER_THREADS_MAX

struct engine;
struct disk;

struct engine_config {
	char store[HANDOVER_STORE_MAX]; /* path of the store; "": no store, only read-only disks */
	uint64_t store_size;            /* bytes */
	uint64_t image_ram;             /* bytes of the cache of base images, at least 4 MiB */
	uint64_t write_back_ram;        /* bytes of staging memory, at least 1 MiB */
	unsigned int threads;           /* 0: one a CPU, at most 4 */
	char run_dir[1024];             /* where staging and counters live; "": nothing outlives the process, no
					   counters */

	/* For tests; NULL, 0: as usual. */
	struct io_backend *io;
	bool manual;             /* no threads: engine_poll() runs everything */
	int store_fd;            /* > 0: instead of `store`, with store_size */
	uint32_t segment_blocks; /* of a new store */
	uint32_t places;
	const uint8_t *store_uuid;
	const uint8_t *machine_boot;
	const char *staging;   /* path, instead of one under run_dir */
	unsigned int close_ms; /* how long disk_close() waits at most */
	/* One sentence for a person, now and then. */
	void (*log)(void *arg, const char *sentence);
	void *log_arg;
};

int engine_new(struct engine **ret, const struct engine_config *config, struct sentence *err);
/* All disks are closed; waits for those that are closed in the background. NULL is fine. */
void engine_free(struct engine *engine);

/* Manual engines: runs what there is to do; with `wait` until something has been done. */
void engine_poll(struct engine *engine, bool wait);
/* Manual engines: what the clock does every second otherwise. */
void engine_tick(struct engine *engine);

enum disk_mode { DISK_DISCARD, DISK_KEEP, DISK_READONLY };

struct disk_layer {
	enum image_format format;
	char dir[HANDOVER_DIR_MAX];
	char file[HANDOVER_FILE_MAX];
	uint64_t size_override;
	uint64_t fingerprint; /* the image must have this one (image.h); 0: any */
};

struct disk_config {
	char id[HANDOVER_ID_MAX];
	char client[HANDOVER_CLIENT_MAX];
	uint64_t size;
	uint8_t overlay[16], boot[16], reset[16];
	enum disk_mode mode;
	char generation[HANDOVER_GENERATION_MAX];
	unsigned int layers;
	struct disk_layer layer[IMAGE_CHAIN_MAX]; /* top first */
};

int disk_open(struct disk **ret, struct engine *engine, const struct disk_config *config, struct sentence *err);
/* Writes out what is only in memory (keep: durably), waits, frees. No request is under way. After 15 s without an
 * end it returns all the same, and goes on in the background. NULL is fine. */
void disk_close(struct disk *disk);
/* The same without writing anything out, as if the process were killed. For tests; manual engines,
 * nothing in flight. */
void disk_abandon(struct disk *disk);
uint64_t disk_size(const struct disk *disk);
const char *disk_client(const struct disk *disk);
size_t disk_memory(const struct disk *disk);
struct overlay *disk_overlay(const struct disk *disk); /* NULL if read-only */
/* One line for a log: what it is made of, and what it was found with. `room`: bytes; 500 are enough for any. */
void disk_describe(struct disk *disk, char *ret, size_t room);

enum disk_op { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_UNMAP, DISK_WRITE_SAME };

/*
 * A request. The caller fills the first part and keeps it, the iovecs and the memory until done(),
 * which may come from any thread. error: 0, -EIO (medium), -ENOSPC (the store is full), -EROFS,
 * -ERANGE, -EINVAL, -ENOMEM, -EUCLEAN (the image is damaged there).
 */
struct disk_request {
	enum disk_op op;
	bool fua;
	uint64_t offset, length; /* bytes, multiples of 512 */
	const struct iovec *iov; /* READ, WRITE: `length` bytes; WRITE_SAME: one pattern that divides length */
	size_t iov_cnt;
	void (*done)(struct disk_request *request, int error);
	void *arg;

	/* the disk's own */
	struct disk *disk;
	struct disk_request *next;
	struct iov_pos pos;
	struct run_list runs;
	struct overlay_flush flush;
	struct piece *pieces;
	uint64_t progress;
	uint64_t start;
	uint32_t parked; /* tick at which it was put aside */
	unsigned int pending;
	int error;
	bool zeros;
};

/* 0: done within the call, done() is not called; 1: done() will be; -errno: failed within the call,
 * done() is not called. */
int disk_submit(struct disk *disk, struct disk_request *request);

/* A READ or WRITE that memory alone can answer. 0: done; -EAGAIN: it cannot, use disk_submit();
 * other -errno: failed. */
int disk_try(struct disk *disk, enum disk_op op, bool fua, uint64_t offset, uint64_t length, const struct iovec *iov,
	     size_t iov_cnt);

/*
 * Is [offset, offset+*ret_length) stored anywhere, in the write-back or in the images? What is not reads as zero.
 * *ret_length: 1..length bytes. offset, length: multiples of 512 within the disk, length > 0. Never waits for I/O.
 */
bool disk_stored(struct disk *disk, uint64_t offset, uint64_t length, uint64_t *ret_length);

struct engine_counters {
	uint64_t cache_hits, cache_misses, cache_evictions, cache_bytes;
	uint64_t store_blocks_written, store_slots_written;
	uint64_t flushes, flush_waiters;
};
void engine_counters(struct engine *engine, struct engine_counters *ret);
struct store *engine_store(struct engine *engine);
struct staging *engine_staging(struct engine *engine);

#endif
