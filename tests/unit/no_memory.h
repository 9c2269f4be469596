/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The C library's allocator, replaced in this program by one that fails on demand and counts what
 * is alive. For one thread at a time: the one that sets it off. Under ASan, which has an allocator
 * of its own, HAVE_NO_MEMORY is false and nothing fails.
 */
#ifndef BOOTWELL_NO_MEMORY_H
#define BOOTWELL_NO_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

static struct {
	bool for_ever;  /* all after the Nth as well */
	long countdown; /* the Nth allocation from now on fails */
	long hits;      /* how many have failed */
	long live;      /* allocations of all threads that were not freed; atomic */
} no_memory;
static __thread bool no_memory_armed;

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define HAVE_NO_MEMORY false
#else
#define HAVE_NO_MEMORY     true

/* seen by the C library too, whose strdup() allocates */
#define NO_MEMORY_REPLACES __attribute__((visibility("default")))

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t alignment, size_t n);
void __libc_free(void *p);

static inline bool no_memory_now(void)
{
	if (!no_memory_armed)
		return false;
	no_memory.countdown--;
	if (no_memory.countdown > 0 || (no_memory.countdown < 0 && !no_memory.for_ever))
		return false;
	no_memory.hits++;
	return true;
}

static inline void *no_memory_counted(void *p)
{
	__atomic_fetch_add(&no_memory.live, p != NULL, __ATOMIC_RELAXED);
	return p;
}

NO_MEMORY_REPLACES void *malloc(size_t n)
{
	return no_memory_now() ? NULL : no_memory_counted(__libc_malloc(n));
}

NO_MEMORY_REPLACES void *calloc(size_t n, size_t size)
{
	return no_memory_now() ? NULL : no_memory_counted(__libc_calloc(n, size));
}

NO_MEMORY_REPLACES void *realloc(void *p, size_t n)
{
	void *r = no_memory_now() ? NULL : __libc_realloc(p, n);

	__atomic_fetch_add(&no_memory.live, r && !p, __ATOMIC_RELAXED);
	return r;
}

NO_MEMORY_REPLACES void *aligned_alloc(size_t alignment, size_t n)
{
	return no_memory_now() ? NULL : no_memory_counted(__libc_memalign(alignment, n));
}

NO_MEMORY_REPLACES void free(void *p)
{
	__atomic_fetch_sub(&no_memory.live, p != NULL, __ATOMIC_RELAXED);
	__libc_free(p);
}
#endif

#endif
