/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The cache of file contents in the chunks that the kernel programs read. Used by tftp/fastpath.c
 * and its tests only. It knows nothing of BPF: the chunks are just memory.
 */
#ifndef BOOTWELL_TFTP_FASTPATH_FILES_H
#define BOOTWELL_TFTP_FASTPATH_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "bpf/tftp_shared.h"

/*
 * How long chunks and slots rest before they are used again, ns. A program that runs this moment
 * may still be reading them; it runs with preemption off, for microseconds.
 */
#define TFTP_REST_NS 1000000000ull

/* Which content it is. */
struct tftp_file_id {
	dev_t device;
	ino_t inode;
	uint64_t size;
	struct timespec mtime, ctime;
};

struct tftp_fastpath_file {
	struct tftp_files *owner;
	struct tftp_fastpath_file *next; /* in order of first_chunk */
	struct tftp_file_id id;
	uint32_t first_chunk, chunks;
	uint32_t loaded; /* chunks; read and written atomically, for loading may be on a helper
			    thread */
	uint32_t refs;
	int fd;        /* while loading, else -1 */
	bool stale;    /* changed on disk: no new references */
	uint64_t idle; /* ns, since when it has no references */
};

struct tftp_files {
	struct tftp_chunk *chunks;
	uint32_t count; /* of chunks */
	struct tftp_fastpath_file *first;
	uint32_t files;
	uint32_t used; /* chunks */
	uint64_t evicted;
};

void tftp_files_init(struct tftp_files *files, struct tftp_chunk *chunks, uint32_t count);
void tftp_files_done(struct tftp_files *files);
/* As tftp_fastpath_file_get(). */
int tftp_files_get(struct tftp_files *files, int fd, uint64_t now, struct tftp_fastpath_file **ret);
/* Frees what is stale and has rested. */
void tftp_files_tick(struct tftp_files *files, uint64_t now);
bool tftp_file_loaded(const struct tftp_fastpath_file *file);

#endif
