// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The file of staging memory: its head says for which store and which boot of the machine it counts, behind it the
 * descriptors, then the pages.
 */
#include "tcmu-handler/staging.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC     0x31676174736c6562ull
#define HEADER    4096
#define PAGES_MIN 64
#define PAGES_MAX (1u << 26) /* 256 GiB */

struct header {
	uint64_t magic; /* written last */
	uint64_t pages;
	uint8_t store[16];
	uint8_t machine_boot[16];
};

static size_t length_of(uint32_t pages)
{
	size_t descs = ((size_t)pages * sizeof(struct staging_desc) + 4095) & ~(size_t)4095;

	return HEADER + descs + (size_t)pages * STAGING_PAGE;
}

static int map_memory(struct staging *st, const char *path)
{
	struct stat stat;
	int flags = MAP_SHARED;

	st->map_length = length_of(st->pages);
	if (path) {
		st->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (st->fd < 0 || fstat(st->fd, &stat) < 0)
			return -errno;
		if ((size_t)stat.st_size != st->map_length &&
		    (ftruncate(st->fd, 0) < 0 || ftruncate(st->fd, (off_t)st->map_length) < 0))
			return -errno;
		/* Memory is taken now: on a full tmpfs a later touch would be SIGBUS. */
		if (TEMP_FAILURE_RETRY(fallocate(st->fd, 0, 0, (off_t)st->map_length)) < 0)
			return -errno;
	} else {
		flags = MAP_PRIVATE | MAP_ANONYMOUS;
	}
	st->map = mmap(NULL, st->map_length, PROT_READ | PROT_WRITE, flags, st->fd, 0);
	if (st->map == MAP_FAILED) {
		st->map = NULL;
		return -errno;
	}
	madvise(st->map, st->map_length, MADV_HUGEPAGE);
	/* No page fault in the way of a write; where the kernel cannot (before 5.14), they just
	 * come later. */
	madvise(st->map, st->map_length, MADV_POPULATE_WRITE);
	st->desc = (void *)((char *)st->map + HEADER);
	st->data = (uint8_t *)st->map + st->map_length - (size_t)st->pages * STAGING_PAGE;
	return 0;
}

/* Is what the file holds ours, and of this boot of the machine? If not, it is emptied and made so.
 */
static int take_over(struct staging *st, const uint8_t store[16], const uint8_t machine_boot[16])
{
	struct header *h = st->map;

	if (h->magic == MAGIC && h->pages == st->pages && !memcmp(h->store, store, 16) &&
	    !memcmp(h->machine_boot, machine_boot, 16))
		return 0;
	st->fresh = true;
	__atomic_store_n(&h->magic, 0, __ATOMIC_SEQ_CST);
	memset(st->desc, 0, (size_t)st->pages * sizeof(*st->desc));
	h->pages = st->pages;
	memcpy(h->store, store, 16);
	memcpy(h->machine_boot, machine_boot, 16);
	__atomic_store_n(&h->magic, MAGIC, __ATOMIC_SEQ_CST);
	return 0;
}

static void sort_pages(struct staging *st)
{
	for (uint32_t i = 1; i < st->pages; i++) {
		uint64_t seq = st->desc[i].seq;

		if (!seq) {
			page_list_push(st, &st->free, i);
			continue;
		}
		page_set(&st->page[i], PAGE_ORPHAN);
		if (seq > st->seq)
			st->seq = seq;
	}
}

int staging_open(struct staging **ret, const char *path, uint64_t bytes, const uint8_t store[16],
		 const uint8_t machine_boot[16])
{
	uint64_t pages = bytes / STAGING_PAGE;
	struct staging *st;
	int r;

	if (pages < PAGES_MIN)
		pages = PAGES_MIN;
	if (pages > PAGES_MAX)
		return -EFBIG;
	st = calloc(1, sizeof(*st));
	if (!st)
		return -ENOMEM;
	st->fd = -1;
	st->pages = (uint32_t)pages + 1;
	pthread_mutex_init(&st->lock, NULL);
	st->page = calloc(st->pages, sizeof(*st->page));
	r = st->page ? map_memory(st, path) : -ENOMEM;
	if (!r)
		r = take_over(st, store, machine_boot);
	if (r < 0) {
		staging_close(st);
		return r;
	}
	sort_pages(st);
	*ret = st;
	return 0;
}

void staging_close(struct staging *st)
{
	if (!st)
		return;
	if (st->map)
		munmap(st->map, st->map_length);
	if (st->fd >= 0)
		close(st->fd);
	pthread_mutex_destroy(&st->lock);
	free(st->page);
	free(st);
}

void page_list_push(struct staging *st, struct page_list *list, uint32_t page)
{
	struct page *p = &st->page[page];

	p->next = 0;
	p->prev = list->tail;
	if (list->tail)
		st->page[list->tail].next = page;
	else
		list->head = page;
	list->tail = page;
	__atomic_store_n(&list->count, list->count + 1, __ATOMIC_RELAXED); /* staging_free_count() looks */
}

void page_list_push_front(struct staging *st, struct page_list *list, uint32_t page)
{
	struct page *p = &st->page[page];

	p->prev = 0;
	p->next = list->head;
	if (list->head)
		st->page[list->head].prev = page;
	else
		list->tail = page;
	list->head = page;
	__atomic_store_n(&list->count, list->count + 1, __ATOMIC_RELAXED); /* staging_free_count() looks */
}

void page_list_remove(struct staging *st, struct page_list *list, uint32_t page)
{
	struct page *p = &st->page[page];

	if (p->prev)
		st->page[p->prev].next = p->next;
	else
		list->head = p->next;
	if (p->next)
		st->page[p->next].prev = p->prev;
	else
		list->tail = p->prev;
	p->next = p->prev = 0;
	__atomic_store_n(&list->count, list->count - 1, __ATOMIC_RELAXED);
}

uint32_t staging_get(struct staging *st)
{
	uint32_t page;

	pthread_mutex_lock(&st->lock);
	page = st->free.tail; /* the one used last: its data is in the processor's cache */
	if (page)
		page_list_remove(st, &st->free, page);
	pthread_mutex_unlock(&st->lock);
	return page;
}

void staging_put(struct staging *st, uint32_t page)
{
	__atomic_store_n(&st->desc[page].seq, 0, __ATOMIC_RELEASE);
	page_set(&st->page[page], PAGE_FREE);
	st->page[page].next = st->page[page].prev = st->page[page].older = st->page[page].newer = 0;
	st->page[page].dead = 0;
	pthread_mutex_lock(&st->lock);
	page_list_push(st, &st->free, page);
	pthread_mutex_unlock(&st->lock);
}

uint32_t staging_free_count(const struct staging *st)
{
	return __atomic_load_n(&st->free.count, __ATOMIC_RELAXED);
}

uint64_t staging_seq(const struct staging *st)
{
	return __atomic_load_n(&st->seq, __ATOMIC_RELAXED);
}

uint64_t staging_publish(struct staging *st, uint32_t page, const struct staging_desc *desc)
{
	struct staging_desc *d = &st->desc[page];
	uint64_t seq = __atomic_add_fetch(&st->seq, 1, __ATOMIC_RELAXED);

	d->epoch = desc->epoch;
	d->block = desc->block;
	d->count = desc->count;
	d->mask = desc->mask;
	d->type = desc->type;
	__atomic_store_n(&d->seq, seq, __ATOMIC_RELEASE);
	return seq;
}
