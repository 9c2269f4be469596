// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Measures the engine in process, with the access pattern of `qemu-img bench`: tool_engine WORKLOAD
 * key=value...
 *
 *	read write unmap	bs= step= count= depth= flush= warm= disks=	(offset grows by
 * step, modulo size)
 *	mixed			90 % reads (80 % of them on a fifth of the image), 10 % writes, on
 * all disks
 *	replay			each disk does what the recording trace= says, as fast as it can;
 * depth= operations of all disks at once
 *	memcpy			the ceiling of cached reads: random copies of bs bytes out of memory
 *	nop			the ceiling of all else: io_uring with nothing behind it
 *
 * base= image (raw), dir= for store and staging, keep=1 for durable overlays, image_ram=
 * write_back_ram= store_size= in MiB. One line: iops=... mbs=... p50_us=... p99_us=... cpu_us=...
 * (per operation, all threads) stored=... (store bytes per byte written) map_kib=... (per disk).
 */
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tcmu-handler/engine.h"
#include "tcmu-handler/engine_private.h"

#define DISKS_MAX 1000
#define DEPTH_MAX 256

struct options {
	const char *workload, *base, *dir, *trace;
	uint64_t bs, step, count, depth, flush, warm, disks, keep, image_ram, write_back_ram, store_size, threads, size,
		drain, seed;
};

struct slot {
	struct disk_request r;
	struct iovec iov;
	uint64_t start;
	uint8_t *data;
};

static struct {
	struct options o;
	struct engine *engine;
	struct disk *disk[DISKS_MAX];
	struct slot slot[DEPTH_MAX];
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct slot *idle[DEPTH_MAX];
	unsigned int n_idle;
	uint32_t *latency; /* ns */
	uint64_t n_latency, errors;
	uint64_t rng, turn;
} b = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .rng = 88172645463325252ull};

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t cpu(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return ((uint64_t)u.ru_utime.tv_sec + (uint64_t)u.ru_stime.tv_sec) * 1000000000 +
	       ((uint64_t)u.ru_utime.tv_usec + (uint64_t)u.ru_stime.tv_usec) * 1000;
}

static uint64_t random64(void)
{
	b.rng ^= b.rng << 13;
	b.rng ^= b.rng >> 7;
	b.rng ^= b.rng << 17;
	return b.rng;
}

static void die(const char *what)
{
	fprintf(stderr, "tool_engine: %s\n", what);
	exit(1);
}

static void note(uint64_t start)
{
	if (b.latency && start)
		b.latency[__atomic_fetch_add(&b.n_latency, 1, __ATOMIC_RELAXED)] = (uint32_t)(now() - start);
}

static void put_slot(struct slot *s)
{
	pthread_mutex_lock(&b.lock);
	b.idle[b.n_idle++] = s;
	pthread_cond_signal(&b.cond);
	pthread_mutex_unlock(&b.lock);
}

static struct slot *get_slot(void)
{
	struct slot *s;

	pthread_mutex_lock(&b.lock);
	while (!b.n_idle)
		pthread_cond_wait(&b.cond, &b.lock);
	s = b.idle[--b.n_idle];
	pthread_mutex_unlock(&b.lock);
	return s;
}

static void drain(void)
{
	pthread_mutex_lock(&b.lock);
	while (b.n_idle < b.o.depth)
		pthread_cond_wait(&b.cond, &b.lock);
	pthread_mutex_unlock(&b.lock);
}

static void done(struct disk_request *r, int error)
{
	struct slot *s = r->arg;

	if (error)
		__atomic_fetch_add(&b.errors, 1, __ATOMIC_RELAXED);
	note(s->start);
	put_slot(s);
}

static void issue_fua(struct disk *d, enum disk_op op, bool fua, uint64_t offset, uint64_t length)
{
	/* Of many the time of each eighth is taken: two looks at the clock cost a tenth of a cached read. */
	bool timed = b.o.count < 100000 || b.turn++ % 8 == 0;
	struct slot *s;
	int r;

	/* As the handler does it: what memory can answer is answered at once. */
	if (op == DISK_READ || op == DISK_WRITE) {
		struct iovec iov = {.iov_base = b.slot[0].data, .iov_len = length};
		uint64_t start = timed ? now() : 0;

		if (!disk_try(d, op, fua, offset, length, &iov, 1)) {
			note(start);
			return;
		}
	}
	s = get_slot();
	s->iov.iov_len = length;
	s->r = (struct disk_request){.op = op,
				     .fua = fua,
				     .offset = offset,
				     .length = op == DISK_FLUSH ? 0 : length,
				     .iov = &s->iov,
				     .iov_cnt = 1,
				     .done = done,
				     .arg = s};
	s->start = timed ? now() : 0;
	r = disk_submit(d, &s->r);
	if (r == 1)
		return;
	if (r < 0)
		b.errors++;
	note(s->start);
	put_slot(s);
}

static void issue(struct disk *d, enum disk_op op, uint64_t offset, uint64_t length)
{
	issue_fua(d, op, false, offset, length);
}

/* What one client after the other does: count operations, on the disks in turn. */
static void run_pattern(enum disk_op op)
{
	const struct options *o = &b.o;
	uint64_t offset = 0;

	for (uint64_t i = 0; i < o->count; i++) {
		issue(b.disk[i % o->disks], op, offset, o->bs);
		if (i % o->disks == o->disks - 1)
			offset = (offset + o->step) % (o->size - o->size % o->bs);
		if (o->flush && i % o->flush == o->flush - 1) {
			/* As qemu-img bench does it: all before the flush has ended. */
			drain();
			issue(b.disk[i % o->disks], DISK_FLUSH, 0, 0);
			drain();
		}
	}
	drain();
}

static void run_mixed(void)
{
	const struct options *o = &b.o;
	uint64_t blocks = o->size / o->bs;

	for (uint64_t i = 0; i < o->count; i++) {
		uint64_t x = random64();
		bool write = x % 10 == 0;
		uint64_t n = write || (x >> 8) % 5 == 0 ? blocks : blocks / 5;

		issue(b.disk[(x >> 16) % o->disks], write ? DISK_WRITE : DISK_READ, (x >> 24) % n * o->bs, o->bs);
	}
	drain();
}

/* --- a recording (tests/bench/record-boot) --- */

static struct step {
	char op;
	uint64_t offset, length;
} * steps;
static size_t n_steps;
static uint64_t steps_bytes;

/* Also finds out how long the longest transfer is. */
static void read_trace(struct options *o)
{
	FILE *f = fopen(o->trace ? o->trace : "", "r");
	unsigned long long us, offset, length;
	char op;

	if (!f)
		die("no recording: trace=FILE");
	while (fscanf(f, "%llu %c %llu %llu", &us, &op, &offset, &length) == 4) {
		steps = realloc(steps, (n_steps + 1) * sizeof(*steps));
		if (!steps)
			die("no memory");
		steps[n_steps++] = (struct step){.op = op, .offset = offset, .length = length};
		steps_bytes += length;
		if (length > o->bs && (op == 'r' || op == 'w' || op == 'W'))
			o->bs = length;
	}
	fclose(f);
	o->count = n_steps * o->disks;
}

static void run_replay(void)
{
	for (size_t i = 0; i < n_steps; i++) {
		const struct step *s = &steps[i];

		for (uint64_t d = 0; d < b.o.disks; d++) {
			if (s->op == 'r')
				issue(b.disk[d], DISK_READ, s->offset, s->length);
			else if (s->op == 'w' || s->op == 'W')
				issue_fua(b.disk[d], DISK_WRITE, s->op == 'W', s->offset, s->length);
			else if (s->op == 'f')
				issue(b.disk[d], DISK_FLUSH, 0, 0);
		}
	}
	drain();
}

static int by_value(const void *a, const void *c)
{
	const uint32_t *x = a, *y = c;

	return *x < *y ? -1 : *x > *y;
}

static void report(uint64_t ns, uint64_t cpu_ns, uint64_t stored, uint64_t written)
{
	uint64_t n = b.n_latency;
	double seconds = (double)ns / 1e9;

	qsort(b.latency, n, sizeof(*b.latency), by_value);
	printf("iops=%.0f mbs=%.1f p50_us=%.2f p99_us=%.2f cpu_us=%.3f stored=%.3f map_kib=%.1f "
	       "errors=%llu\n",
	       (double)b.o.count / seconds, (double)(b.o.count * b.o.bs) / seconds / 1e6,
	       n ? b.latency[n / 2] / 1e3 : 0, n ? b.latency[n * 99 / 100] / 1e3 : 0,
	       (double)cpu_ns / 1e3 / (double)b.o.count, written ? (double)stored / (double)written : 0,
	       b.disk[0] ? (double)disk_memory(b.disk[0]) / 1024 : 0, (unsigned long long)b.errors);
}

static void memcpy_ceiling(void)
{
	size_t room = b.o.size;
	uint8_t *from = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
		*to = malloc(b.o.bs);
	uint64_t start, offset = 0, c;

	if (from == MAP_FAILED || !to)
		die("no memory");
	madvise(from, room, MADV_HUGEPAGE);
	memset(from, 1, room);
	c = cpu();
	start = now();
	for (uint64_t i = 0; i < b.o.count; i++) {
		memcpy(to, from + offset, b.o.bs);
		__asm__ volatile("" : : "r"(to) : "memory");
		offset = (offset + b.o.step) % (room - room % b.o.bs);
	}
	start = now() - start;
	c = cpu() - c;
	printf("iops=%.0f mbs=%.1f cpu_us=%.3f\n", (double)b.o.count / ((double)start / 1e9),
	       (double)(b.o.count * b.o.bs) / ((double)start / 1e9) / 1e6, (double)c / 1e3 / (double)b.o.count);
}

static void nop_ceiling(void)
{
	struct io_uring ring;
	struct io_uring_cqe *cqe;
	uint64_t start, c, ended = 0, sent = 0;

	if (io_uring_queue_init(DEPTH_MAX, &ring, 0))
		die("no io_uring");
	c = cpu();
	start = now();
	while (ended < b.o.count) {
		unsigned int head, n = 0;

		for (; sent < b.o.count && sent - ended < b.o.depth; sent++)
			io_uring_prep_nop(io_uring_get_sqe(&ring));
		io_uring_submit_and_wait(&ring, 1);
		io_uring_for_each_cqe(&ring, head, cqe) n++;
		io_uring_cq_advance(&ring, n);
		ended += n;
	}
	start = now() - start;
	c = cpu() - c;
	io_uring_queue_exit(&ring);
	printf("iops=%.0f cpu_us=%.3f\n", (double)b.o.count / ((double)start / 1e9),
	       (double)c / 1e3 / (double)b.o.count);
}

/* --- set-up --- */

static void split_path(const char *path, struct disk_layer *l)
{
	const char *slash = strrchr(path, '/');

	if (!slash || path[0] != '/')
		die("base= is to be an absolute path");
	snprintf(l->dir, sizeof(l->dir), "%.*s", (int)(slash - path), path);
	snprintf(l->file, sizeof(l->file), "%s", slash + 1);
	l->format = IMAGE_RAW;
}

static void set_up(void)
{
	struct options *o = &b.o;
	struct engine_config c = {.store_size = o->store_size << 20,
				  .image_ram = o->image_ram << 20,
				  .write_back_ram = o->write_back_ram << 20,
				  .threads = (unsigned int)o->threads};
	struct sentence err;
	struct stat st;

	snprintf(c.store, sizeof(c.store), "%s/store", o->dir);
	if (stat(o->base, &st))
		die("no base image");
	o->size = (uint64_t)st.st_size;
	if (engine_new(&b.engine, &c, &err))
		die(err.text);
	/* A server that has been up for some seconds. */
	while (!base_cache_touched(b.engine->cache))
		usleep(10000);
	for (uint64_t i = 0; i < o->disks; i++) {
		struct disk_config d = {.size = o->size,
					.mode = o->keep ? DISK_KEEP : DISK_DISCARD,
					.layers = 1,
					.generation = "bench"};

		snprintf(d.id, sizeof(d.id), "d%llu", (unsigned long long)i);
		memcpy(d.overlay, &i, sizeof(i));
		d.overlay[15] = 1;
		uint64_t stamp = now();

		memcpy(d.boot, &stamp, sizeof(stamp));
		memcpy(d.reset, &stamp, sizeof(stamp));
		split_path(o->base, &d.layer[0]);
		if (disk_open(&b.disk[i], b.engine, &d, &err))
			die(err.text);
	}
	/* It has segments ready for flushes, too. */
	if (o->keep)
		usleep(100000);
	while (__atomic_load_n(&b.engine->zeros, __ATOMIC_RELAXED))
		usleep(10000);
}

static uint64_t stored_bytes(void)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < b.o.disks; i++) {
		struct overlay_gauges g;

		overlay_gauges(disk_overlay(b.disk[i]), &g);
		n += g.written_bytes;
	}
	return n;
}

static void parse(struct options *o, int argc, char **argv)
{
	struct {
		const char *name;
		uint64_t *value;
	} keys[] = {{"bs", &o->bs},
		    {"step", &o->step},
		    {"count", &o->count},
		    {"depth", &o->depth},
		    {"flush", &o->flush},
		    {"warm", &o->warm},
		    {"disks", &o->disks},
		    {"keep", &o->keep},
		    {"image_ram", &o->image_ram},
		    {"write_back_ram", &o->write_back_ram},
		    {"store_size", &o->store_size},
		    {"threads", &o->threads},
		    {"size", &o->size},
		    {"drain", &o->drain}};

	for (int i = 2; i < argc; i++) {
		char *equals = strchr(argv[i], '=');
		bool known = false;

		if (!equals)
			die("key=value");
		*equals = 0;
		if (!strcmp(argv[i], "base") || !strcmp(argv[i], "dir") || !strcmp(argv[i], "trace")) {
			*(argv[i][0] == 'b' ? &o->base : argv[i][0] == 'd' ? &o->dir : &o->trace) = equals + 1;
			continue;
		}
		for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
			if (!strcmp(argv[i], keys[k].name)) {
				*keys[k].value = strtoull(equals + 1, NULL, 0);
				known = true;
			}
		if (!known)
			die(argv[i]);
	}
	if (o->depth > DEPTH_MAX || o->disks > DISKS_MAX || !o->depth || !o->disks)
		die("depth or disks");
}

int main(int argc, char **argv)
{
	struct options *o = &b.o;
	uint64_t start, c, stored;
	enum disk_op op = DISK_READ;

	*o = (struct options){.bs = 4096,
			      .step = 4096,
			      .count = 100000,
			      .depth = 1,
			      .disks = 1,
			      .image_ram = 1536,
			      .write_back_ram = 256,
			      .store_size = 4096,
			      .size = 1ull << 30,
			      .dir = "/tmp"};
	if (argc < 2)
		die("WORKLOAD key=value...");
	o->workload = argv[1];
	parse(o, argc, argv);
	if (!strcmp(o->workload, "memcpy")) {
		memcpy_ceiling();
		return 0;
	}
	if (!strcmp(o->workload, "nop")) {
		nop_ceiling();
		return 0;
	}
	if (!o->base)
		die("base= is missing");
	if (!strcmp(o->workload, "replay"))
		read_trace(o);
	set_up();
	for (unsigned int i = 0; i < o->depth; i++) {
		b.slot[i].data = aligned_alloc(4096, o->bs < 4096 ? 4096 : o->bs);
		memset(b.slot[i].data, 0x5a, o->bs);
		b.slot[i].iov.iov_base = b.slot[i].data;
		b.idle[b.n_idle++] = &b.slot[i];
	}
	if (!strcmp(o->workload, "write"))
		op = DISK_WRITE;
	else if (!strcmp(o->workload, "unmap"))
		op = DISK_UNMAP;
	if (o->warm) {
		uint64_t count = o->count, step = o->step, bs = o->bs, disks = o->disks;

		/* The whole image once, as the peers have it in the page cache. */
		o->bs = o->step = 65536 < bs ? bs : 65536;
		for (unsigned int i = 0; i < o->depth; i++)
			b.slot[i].data = b.slot[i].iov.iov_base = realloc(NULL, o->bs);
		o->count = o->size / o->bs;
		o->disks = 1;
		run_pattern(DISK_READ);
		o->disks = disks;
		o->count = count;
		o->step = step;
		o->bs = bs;
	}
	b.latency = calloc(o->count * 2 + 1024, sizeof(*b.latency));
	memset(b.latency, 0xff, (o->count * 2 + 1024) * sizeof(*b.latency));
	c = cpu();
	stored = stored_bytes();
	start = now();
	if (!strcmp(o->workload, "mixed"))
		run_mixed();
	else if (!strcmp(o->workload, "replay"))
		run_replay();
	else
		run_pattern(op);
	/* With drain=1 the time counts until all that was written is on its way to the store,
	 * durable if kept. */
	for (uint64_t i = 0; o->drain && i < o->disks; i++)
		issue(b.disk[i], DISK_FLUSH, 0, 0);
	drain();
	start = now() - start;
	c = cpu() - c;
	if (op == DISK_WRITE && o->drain)
		stored = stored_bytes() - stored;
	if (n_steps)
		o->bs = steps_bytes / n_steps;
	report(start, c, stored, o->count * o->bs);
	for (uint64_t i = 0; i < o->disks; i++)
		disk_close(b.disk[i]);
	engine_free(b.engine);
	return 0;
}
