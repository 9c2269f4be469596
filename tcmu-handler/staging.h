/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Staging: the memory in which writes are acknowledged, in pages of 4 KiB shared by all overlays.
 * It lives in a file on tmpfs, so that it outlives the process: a handler that was killed finds
 * here what the store does not have yet.
 *
 * The shared part is, for each page, a descriptor and the data. A descriptor counts when its `seq`
 * is not 0; it is written last and cleared first, and a kill cannot reorder stores. Everything else
 * is rebuilt.
 */
#ifndef BOOTWELL_STAGING_H
#define BOOTWELL_STAGING_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STAGING_PAGE 4096

enum staging_type {
	STAGING_DATA = 1, /* `block`, sectors of `mask` are in the page */
	STAGING_ZERO = 2, /* `count` blocks from `block` read as zero; the page itself is not used */
};

/* Shared, 32 bytes, native byte order: it never leaves the machine. */
struct staging_desc {
	uint64_t seq;   /* 0: nothing. Of two for one block the greater is the newer */
	uint64_t epoch; /* of the overlay */
	uint32_t block;
	uint32_t count;
	uint8_t mask;
	uint8_t type;
	uint8_t pad[6];
};

enum page_state { PAGE_FREE, PAGE_DIRTY, PAGE_WRITING, PAGE_CLEAN, PAGE_ORPHAN };

/* The process's own view of a page; covered by the lock of the overlay that has it. */
struct page {
	uint32_t next, prev; /* in the list it is in; 0 ends */
	uint32_t older;      /* a WRITING page of the same block that this one has replaced */
	uint32_t newer;      /* the other way round */
	uint8_t state;
	uint8_t dead; /* WRITING, and unmapped in the meantime */
};

/*
 * The state is written so that whoever opens another overlay may look for orphans of its own meanwhile: what
 * it reads of a page that is in use may be old, but it is no orphan.
 */
static inline void page_set(struct page *p, enum page_state state)
{
	__atomic_store_n(&p->state, (uint8_t)state, __ATOMIC_RELEASE);
}

static inline bool page_is_orphan(const struct page *p)
{
	return __atomic_load_n(&p->state, __ATOMIC_ACQUIRE) == PAGE_ORPHAN;
}

struct page_list {
	uint32_t head, tail, count;
};

struct staging {
	uint8_t *data; /* page i is at data + i * 4096; 0 is not used */
	struct staging_desc *desc;
	struct page *page;
	uint32_t pages; /* including 0 */
	bool fresh;     /* nothing was found in it */

	pthread_mutex_t lock; /* the rest */
	struct page_list free;
	uint64_t seq;

	void *map;
	size_t map_length;
	int fd;
};

/*
 * `path`: the file, made when missing; NULL: anonymous memory (then nothing outlives the process).
 * `bytes` of pages. What is in the file counts only when it was made for `store` (a UUID) in this
 * boot of the machine; otherwise it is emptied. Pages that count are PAGE_ORPHAN until an overlay
 * adopts them.
 */
int staging_open(struct staging **ret, const char *path, uint64_t bytes, const uint8_t store[16],
		 const uint8_t machine_boot[16]);
void staging_close(struct staging *st); /* leaves the file; NULL is fine */

/* A free page, or 0. Its descriptor is empty. */
uint32_t staging_get(struct staging *st);
void staging_put(struct staging *st, uint32_t page); /* clears its descriptor */
uint32_t staging_free_count(const struct staging *st);
uint64_t staging_seq(const struct staging *st); /* the newest number given out */

/* Makes the descriptor count: everything but seq, then seq. Returns seq. */
uint64_t staging_publish(struct staging *st, uint32_t page, const struct staging_desc *desc);

void page_list_push(struct staging *st, struct page_list *list, uint32_t page);
void page_list_push_front(struct staging *st, struct page_list *list, uint32_t page);
void page_list_remove(struct staging *st, struct page_list *list, uint32_t page);

static inline uint8_t *staging_data(const struct staging *st, uint32_t page)
{
	return st->data + (size_t)page * STAGING_PAGE;
}

#endif
