// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The cache of base images: frames of 64 KiB, each with one unit of the virtual disk of one base,
 * inflated and composed of all parents.
 *
 * A hit takes no lock and writes nothing that others read. A base has a table (two levels, by unit
 * number) of frame numbers. A frame has a version that is odd while its content changes; a reader
 * takes the version, checks that the frame is the unit that it wants, copies, and looks at the
 * version again. Frames are memory that is never given back, so a copy that raced with an eviction
 * is only useless, and is done again the slow way.
 *
 * A unit is read in parts of 4 KiB, so that a lone random read costs what it asks for. Who reads on
 * where somebody has read before (the part in front of it is there) gets the rest of the unit, and
 * the next unit as well. So does who misses in a unit of which a quarter is there.
 *
 * Memory is in huge pages, which make hits cheap, and is touched before it is needed: a thread goes
 * through it once, from the start in the order in which frames are taken, with a pause after each
 * page, and stops where the machine has little left. (It is of ordinary priority: it holds the lock
 * of the address space while it clears a page.) Without it a first read pays for clearing memory:
 * by huge pages 128 KiB for each 4 KiB read, by small ones a fault in the kernel and one outside.
 *
 * A miss happens on an engine thread, under the cache's lock: the first one takes a frame and
 * reads, all others wait on the frame. 50 clients that boot at once read each unit once.
 *
 * Eviction is a clock. What makes a frame survive a turn of the hand is a hit in a later second
 * than its loading: a scan that touches every sector of a unit once, however many requests that
 * takes, leaves nothing behind.
 */
#include "tcmu-handler/base_private.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tcmu-handler/inflate/inflate.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

#define PART              (BASE_UNIT / 16)
#define COMPRESSED_MAX    (64u << 20) /* bytes of one compressed unit, packed or not */
#define FRAMES_MIN        64
#define EXTENTS_LOOKED_AT 4096       /* by base_holds() */
#define HUGE              (2u << 20) /* bytes of a huge page */
#define TOUCH_PAUSE_US    500
#define SPARE             (256u << 20) /* bytes that touching in advance leaves to the machine */

/* Some neighbouring parts of a unit being read. */
struct load {
	struct base_cache *cache;
	struct frame *frame;
	struct io_queue *q;
	uint16_t parts;
	unsigned int pending;
	int error;
};

struct load_part {
	struct io_op op;
	struct load *load;
	uint8_t *to;
	struct image_extent extent;
	uint8_t *packed; /* COMPRESSED */
};

static uint8_t *frame_memory(const struct base_cache *c, const struct frame *f)
{
	return c->memory + (size_t)(f - c->frames) * BASE_UNIT;
}

int base_cache_new(struct base_cache **ret, uint64_t bytes)
{
	struct base_cache *c = calloc(1, sizeof(*c));
	uint64_t count = bytes / BASE_UNIT;
	pthread_condattr_t monotonic;

	if (!c)
		return -ENOMEM;
	if (count < FRAMES_MIN)
		count = FRAMES_MIN;
	c->count = count > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)count;
	c->frames = calloc(c->count, sizeof(*c->frames));
	c->map_length = (size_t)c->count * BASE_UNIT + HUGE;
	c->map = mmap(NULL, c->map_length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!c->frames || c->map == MAP_FAILED) {
		if (c->map != MAP_FAILED)
			munmap(c->map, c->map_length);
		free(c->frames);
		free(c);
		return -ENOMEM;
	}
	c->memory = (uint8_t *)c->map + (HUGE - (uintptr_t)c->map % HUGE) % HUGE;
	madvise(c->memory, (size_t)c->count * BASE_UNIT, MADV_HUGEPAGE);
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&c->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	*ret = c;
	return 0;
}

/* Bytes that can be had without taking them from somebody; 0 when the kernel does not say. */
static uint64_t available(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib << 10;
}

void base_cache_populate(struct base_cache *c, void (*each_second)(struct base_cache *c))
{
	size_t length = (size_t)c->count * BASE_UNIT;
	uint32_t looked = base_second();

	for (size_t at = 0; at < length; at += HUGE) {
		size_t n = length - at < HUGE ? length - at : HUGE;

		if (__atomic_load_n(&c->stop, __ATOMIC_RELAXED) ||
		    (at % (16 * HUGE) == 0 && available() < SPARE + 16 * HUGE) ||
		    madvise(c->memory + at, n, MADV_POPULATE_WRITE))
			break;
		usleep(TOUCH_PAUSE_US);
		if (looked != base_second())
			each_second(c);
		looked = base_second();
	}
	__atomic_store_n(&c->touched, true, __ATOMIC_RELEASE);
}

void base_cache_release(struct base_cache *c)
{
	munmap(c->map, c->map_length);
	pthread_cond_destroy(&c->wake);
	pthread_mutex_destroy(&c->lock);
	free(c->frames);
	free(c);
}

/* --- frames --- */

/* The frame is nobody's: its version is odd until it is given out again. Lock held. */
static void frame_clear(struct base_cache *c, struct frame *f)
{
	if (!(f->version & 1))
		__atomic_store_n(&f->version, f->version + 1, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (f->base) {
		__atomic_store_n(&f->base->table[f->unit / BASE_LEAF][f->unit % BASE_LEAF], 0, __ATOMIC_RELAXED);
		__atomic_sub_fetch(&c->used, 1, __ATOMIC_RELAXED);
	}
	f->base = NULL;
	f->valid = f->loading = 0;
	f->touched = 0;
}

void base_cache_forget(struct base_cache *c, const struct base *b)
{
	for (uint32_t i = 0; i < c->count; i++)
		if (c->frames[i].base == b)
			frame_clear(c, &c->frames[i]);
}

uint64_t base_size(const struct base *b)
{
	return b->size;
}

bool base_holds(const struct base *b, uint64_t offset, uint64_t length, uint64_t *ret_length)
{
	uint64_t done = 0;
	bool holds = false;

	if (offset >= b->size) {
		*ret_length = length;
		return false;
	}
	if (length > b->size - offset)
		length = b->size - offset;
	for (unsigned int i = 0; i < EXTENTS_LOOKED_AT && done < length; i++) {
		struct image_extent e;
		bool here;

		/* What cannot be told may be something. */
		if (image_map(b->chain, offset + done, length - done, &e) < 0)
			e = (struct image_extent){.type = IMAGE_EXTENT_DATA, .length = length - done};
		here = e.type != IMAGE_EXTENT_ZERO;
		if (done && here != holds)
			break;
		holds = here;
		done += e.length;
	}
	*ret_length = done;
	return holds;
}

/* --- hits --- */

static uint16_t parts_of(uint64_t skip, uint64_t length)
{
	unsigned int first = (unsigned int)(skip / PART), last = (unsigned int)((skip + length - 1) / PART);

	return (uint16_t)((2u << last) - (1u << first));
}

static bool copy_unit(struct base *b, uint32_t unit, uint32_t skip, uint32_t length, struct iov_pos *dst, uint64_t at)
{
	struct base_cache *c = b->cache;
	const uint32_t *leaf = __atomic_load_n(&b->table[unit / BASE_LEAF], __ATOMIC_ACQUIRE);
	uint32_t number = leaf ? __atomic_load_n(&leaf[unit % BASE_LEAF], __ATOMIC_ACQUIRE) : 0;
	struct frame *f;
	uint16_t need = parts_of(skip, length);
	uint32_t version;

	if (!number)
		return false;
	f = &c->frames[number - 1];
	version = __atomic_load_n(&f->version, __ATOMIC_ACQUIRE);
	if ((version & 1) || f->base != b || f->unit != unit ||
	    (__atomic_load_n(&f->valid, __ATOMIC_ACQUIRE) & need) != need)
		return false;
	iov_put(dst, at, frame_memory(c, f) + skip, length);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (__atomic_load_n(&f->version, __ATOMIC_RELAXED) != version)
		return false;
	if (!f->touched && f->loaded != base_second())
		f->touched = 1;
	return true;
}

uint64_t base_copy(struct base *b, uint64_t offset, uint64_t length, struct iov_pos *dst, uint64_t at)
{
	uint64_t done = 0;

	while (done < length) {
		uint32_t skip = (uint32_t)((offset + done) % BASE_UNIT);
		uint32_t n = BASE_UNIT - skip;

		if (n > length - done)
			n = (uint32_t)(length - done);
		if (!copy_unit(b, (uint32_t)((offset + done) / BASE_UNIT), skip, n, dst, at + done))
			break;
		done += n;
	}
	return done;
}

/* --- misses --- */

/* A frame that can be filled: free, or the clock's choice. NULL: all are being filled. Lock held.
 */
static struct frame *take_frame(struct base_cache *c)
{
	for (uint32_t i = 0; i < 2 * c->count + 1; i++) {
		struct frame *f = &c->frames[c->hand];

		c->hand = c->hand + 1 == c->count ? 0 : c->hand + 1;
		if (f->loads)
			continue;
		if (f->base && f->touched) {
			f->touched = 0;
			f->loaded = base_second();
			continue;
		}
		__atomic_add_fetch(&c->evictions, f->base != NULL, __ATOMIC_RELAXED);
		frame_clear(c, f);
		return f;
	}
	return NULL;
}

static uint16_t need_of(const struct base_fetch *w)
{
	return parts_of(w->offset % BASE_UNIT, w->length);
}

static void load_end(struct load *load)
{
	struct base_cache *c = load->cache;
	struct frame *f = load->frame;
	struct io_queue *q = load->q;
	struct base_fetch *ready = NULL, *starved, **p;
	int error = load->error;

	pthread_mutex_lock(&c->lock);
	f->loading &= (uint16_t)~load->parts;
	if (!error)
		__atomic_store_n(&f->valid, f->valid | load->parts, __ATOMIC_RELEASE);
	for (p = &f->waiters; *p;) {
		struct base_fetch *w = *p;
		uint16_t need = need_of(w);

		/* Who waits for a part that nobody brings any more goes, too. */
		if ((need & f->loading & ~f->valid) && !(error && (need & load->parts))) {
			p = &w->next;
			continue;
		}
		*p = w->next;
		w->next = ready;
		ready = w;
	}
	pthread_mutex_unlock(&c->lock);
	/* Those who came first are served while nobody can take the frame away: it counts as
	 * loading. */
	while (ready) {
		struct base_fetch *w = ready;

		ready = w->next;
		if (error && (need_of(w) & load->parts)) {
			w->done(w, error);
			continue;
		}
		base_fetch(w, q);
	}
	pthread_mutex_lock(&c->lock);
	f->loads--;
	starved = c->starved;
	c->starved = NULL;
	pthread_mutex_unlock(&c->lock);
	free(load);
	while (starved) {
		struct base_fetch *w = starved;

		starved = w->next;
		base_fetch(w, q);
	}
}

static void part_done(struct io_op *op, int error)
{
	struct load_part *part = op->arg;
	struct load *load = part->load;
	const struct image_extent *e = &part->extent;

	if (!error && part->packed) {
		uint8_t *whole = malloc(e->unit_length);

		error = whole ? inflate_unit(whole, e->unit_length, e->unit_least, part->packed, e->compressed_length)
			      : -ENOMEM;
		if (!error)
			memcpy(part->to, whole + e->unit_skip, e->length);
		free(whole);
	}
	if (error)
		load->error = error;
	free(part->packed);
	free(part);
	if (!--load->pending)
		load_end(load);
}

static int load_part(struct load *load, const struct image_extent *e, uint8_t *to)
{
	struct load_part *part;

	if (e->type == IMAGE_EXTENT_ZERO) {
		memset(to, 0, e->length);
		return 0;
	}
	part = calloc(1, sizeof(*part));
	if (!part)
		return -ENOMEM;
	part->load = load;
	part->to = to;
	part->extent = *e;
	if (e->type == IMAGE_EXTENT_COMPRESSED) {
		if (e->compressed_length > COMPRESSED_MAX || e->unit_length > COMPRESSED_MAX ||
		    (uint64_t)e->unit_skip + e->length > e->unit_length) {
			free(part);
			return -EUCLEAN;
		}
		part->packed = malloc(e->compressed_length + 1);
		if (!part->packed) {
			free(part);
			return -ENOMEM;
		}
	}
	io_op_single(&part->op, IO_READ, e->file->fd, part->packed ? part->packed : to,
		     part->packed ? e->compressed_length : e->length, e->offset);
	part->op.done = part_done;
	part->op.arg = part;
	load->pending++;
	io_submit(load->q, &part->op);
	return 0;
}

/* Reads parts first...last of the frame's unit. */
static void load_run(struct base *b, struct load *load, unsigned int first, unsigned int last)
{
	uint64_t start = (uint64_t)load->frame->unit * BASE_UNIT;
	uint64_t at = start + first * PART, end = start + (last + 1) * PART;
	uint8_t *to = frame_memory(b->cache, load->frame) + first * PART;

	if (end > b->size)
		end = b->size;
	load->pending = 1;
	while (at < end && !load->error) {
		struct image_extent e;
		int r = image_map(b->chain, at, end - at, &e);

		if (!r && (!e.length || e.length > end - at))
			r = -EUCLEAN;
		if (!r)
			r = load_part(load, &e, to);
		if (r < 0) {
			load->error = r;
			break;
		}
		at += e.length;
		to += e.length;
	}
	if (!--load->pending)
		load_end(load);
}

/* The loads that `parts` take, one a run; they are marked as loading already. Lock not held. */
static void start_loads(struct base *b, struct frame *f, uint16_t parts, struct io_queue *q, struct load **ready)
{
	for (unsigned int first = 0, k = 0; first < 16; first++) {
		unsigned int last = first;
		struct load *load;

		if (!(parts >> first & 1))
			continue;
		while (last < 15 && (parts >> (last + 1) & 1))
			last++;
		load = ready[k++];
		load->cache = b->cache;
		load->frame = f;
		load->q = q;
		load->parts = (uint16_t)((2u << last) - (1u << first));
		load_run(b, load, first, last);
		first = last;
	}
}

static uint32_t *table_entry(struct base *b, uint32_t unit)
{
	uint32_t **leaf = &b->table[unit / BASE_LEAF];

	if (!*leaf) {
		uint32_t *made = calloc(BASE_LEAF, sizeof(*made));

		if (!made)
			return NULL;
		__atomic_store_n(leaf, made, __ATOMIC_RELEASE);
	}
	return &(*leaf)[unit % BASE_LEAF];
}

static unsigned int count_runs(uint16_t parts)
{
	return (unsigned int)__builtin_popcount(parts & ~(parts << 1));
}

/* The frame of the unit, taken and published without any part when there is none. NULL: none can be
 * had. Lock held. */
static struct frame *frame_of(struct base *b, uint32_t unit, uint32_t *entry)
{
	struct base_cache *c = b->cache;
	struct frame *f = *entry ? &c->frames[*entry - 1] : take_frame(c);

	if (!f || *entry)
		return f;
	f->base = b;
	f->unit = unit;
	f->loaded = base_second();
	f->waiters = NULL;
	__atomic_add_fetch(&c->used, 1, __ATOMIC_RELAXED);
	__atomic_store_n(entry, (uint32_t)(f - c->frames) + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&f->version, f->version + 1, __ATOMIC_RELEASE);
	return f;
}

/* Does the read go on behind one before it? Lock held. */
static bool follows(const struct base *b, const struct frame *f, uint16_t need)
{
	unsigned int first = (unsigned int)__builtin_ctz(need);
	const uint32_t *leaf;

	if (first)
		return (f->valid | f->loading) >> (first - 1) & 1;
	leaf = f->unit ? b->table[(f->unit - 1) / BASE_LEAF] : NULL;
	return leaf && leaf[(f->unit - 1) % BASE_LEAF] &&
	       (b->cache->frames[leaf[(f->unit - 1) % BASE_LEAF] - 1].valid >> 15);
}

/* What is to be read for somebody who needs `need`: marks it as loading. Lock held. */
static uint16_t choose_parts(const struct base *b, struct frame *f, uint16_t need, bool *ret_follows)
{
	uint16_t missing = need & (uint16_t) ~(f->valid | f->loading);

	*ret_follows = missing && follows(b, f, need);
	if (*ret_follows || (missing && __builtin_popcount(f->valid | f->loading) >= 4))
		missing = (uint16_t) ~(f->valid | f->loading);
	f->loading |= missing;
	f->loads += count_runs(missing);
	return missing;
}

static void read_ahead(struct base *b, uint32_t unit, struct io_queue *q)
{
	struct base_cache *c = b->cache;
	struct load *load = unit < b->units ? calloc(1, sizeof(*load)) : NULL;
	uint32_t *entry;
	struct frame *f = NULL;

	if (!load)
		return;
	pthread_mutex_lock(&c->lock);
	entry = table_entry(b, unit);
	if (entry && !*entry)
		f = frame_of(b, unit, entry);
	if (f) {
		f->loading = 0xffff;
		f->loads++;
	}
	pthread_mutex_unlock(&c->lock);
	if (f)
		start_loads(b, f, 0xffff, q, &load);
	else
		free(load);
}

static void put_loads(struct load **loads)
{
	for (unsigned int i = 0; i < 8; i++)
		free(loads[i]);
}

/* As many as the runs of any set of parts can be. */
static bool get_loads(struct load **loads)
{
	memset(loads, 0, 8 * sizeof(*loads));
	for (unsigned int i = 0; i < 8; i++) {
		loads[i] = calloc(1, sizeof(*loads[i]));
		if (!loads[i]) {
			put_loads(loads);
			return false;
		}
	}
	return true;
}

void base_fetch(struct base_fetch *w, struct io_queue *q)
{
	struct base *b = w->base;
	struct base_cache *c = b->cache;
	uint32_t unit = (uint32_t)(w->offset / BASE_UNIT), *entry;
	struct load *loads[8];
	uint16_t missing = 0;
	bool ahead = false;
	struct frame *f;

	if (base_copy(b, w->offset, w->length, &w->dst, w->at) == w->length) {
		w->done(w, 0);
		return;
	}
	if (!get_loads(loads)) {
		w->done(w, -ENOMEM);
		return;
	}
	pthread_mutex_lock(&c->lock);
	entry = table_entry(b, unit);
	f = entry ? frame_of(b, unit, entry) : NULL;
	if (!entry) {
		pthread_mutex_unlock(&c->lock);
		put_loads(loads);
		w->done(w, -ENOMEM);
		return;
	}
	__atomic_add_fetch(&c->misses, 1, __ATOMIC_RELAXED);
	if (!f) {
		w->next = c->starved;
		c->starved = w;
	} else if ((f->valid & need_of(w)) == need_of(w)) {
		/* It came in between: nobody takes the frame away while we hold a load of it. */
		f->loads++;
		pthread_mutex_unlock(&c->lock);
		put_loads(loads);
		iov_put(&w->dst, w->at, frame_memory(c, f) + w->offset % BASE_UNIT, w->length);
		pthread_mutex_lock(&c->lock);
		f->loads--;
		pthread_mutex_unlock(&c->lock);
		w->done(w, 0);
		return;
	} else {
		missing = choose_parts(b, f, need_of(w), &ahead);
		w->next = f->waiters;
		f->waiters = w;
	}
	pthread_mutex_unlock(&c->lock);
	if (missing) {
		unsigned int used = count_runs(missing);
		struct load *mine[8];

		memcpy(mine, loads, sizeof(mine));
		memset(loads, 0, used * sizeof(*loads));
		start_loads(b, f, missing, q, mine);
	}
	put_loads(loads);
	if (ahead)
		read_ahead(b, unit + 1, q);
}

static uint64_t counted(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

void base_cache_counters(const struct base_cache *c, struct base_counters *ret)
{
	ret->hits = counted(&c->hits);
	ret->misses = counted(&c->misses);
	ret->evictions = counted(&c->evictions);
	ret->bytes = (uint64_t)__atomic_load_n(&c->used, __ATOMIC_RELAXED) * BASE_UNIT;
	ret->limit = (uint64_t)c->count * BASE_UNIT;
}
