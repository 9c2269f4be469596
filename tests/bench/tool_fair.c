// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One PC at full speed and 50 quiet ones on the same engine: tool_fair DIR BASE SECONDS. The hog has HOG requests
 * under way (random reads of 64 KiB that no cache has, first writes, a flush now and then); each quiet PC in turn reads
 * 4 KiB (in memory, in the image, in its write-back) or writes 4 KiB. Prints quiet_p50_us= quiet_p99_us= hog_ops= for
 * the quiet ones alone and with the hog, in turns, and the ratio of the p99 (medians of the rounds).
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tcmu-handler/engine.h"

#define QUIET   50
#define HOG     32
#define ROUNDS  3
#define SAMPLES (1u << 20)

static struct engine *engine;
static struct disk *disk[QUIET + 1]; /* the last one is the hog's */
static uint64_t size, hog_ops;
static bool stop;
static uint32_t *sample;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint32_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return (uint32_t)(*x >> 16);
}

struct one {
	struct disk_request r;
	struct iovec iov;
	sem_t sem;
};

static void on_done(struct disk_request *r, int error)
{
	struct one *o = r->arg;

	if (error) {
		fprintf(stderr, "a request failed: %s\n", strerror(-error));
		exit(1);
	}
	sem_post(&o->sem);
}

static void run(struct disk *d, enum disk_op op, uint64_t offset, size_t length, void *data)
{
	struct one o = {.r = {.op = op, .offset = offset, .length = length, .iov_cnt = 1, .done = on_done}};
	int r;

	o.iov = (struct iovec){data, length};
	o.r.iov = &o.iov;
	o.r.arg = &o;
	sem_init(&o.sem, 0, 0);
	r = disk_submit(d, &o.r);
	if (r < 0)
		on_done(&o.r, r);
	while (r == 1 && sem_wait(&o.sem))
		continue;
	sem_destroy(&o.sem);
}

static void *hog(void *arg)
{
	uint64_t x = (uintptr_t)arg * 0x9e3779b97f4a7c15ull + 1;
	uint8_t *data = malloc(65536);

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		uint64_t at = next_random(&x) % (size / 65536) * 65536;
		uint32_t kind = next_random(&x) % 100;

		if (kind < 60)
			run(disk[QUIET], DISK_READ, at, 65536, data);
		else if (kind < 99)
			run(disk[QUIET], DISK_WRITE, at, 16384, data);
		else
			run(disk[QUIET], DISK_FLUSH, 0, 0, NULL);
		__atomic_add_fetch(&hog_ops, 1, __ATOMIC_RELAXED);
	}
	free(data);
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Of the quiet ones, in ns: p50 and p99. */
static void quiet(double seconds, uint64_t *rng, uint32_t *ret_p50, uint32_t *ret_p99)
{
	uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
	uint32_t n = 0;
	uint8_t data[4096];

	memset(data, 1, sizeof(data));
	while (now_ns() < end && n < SAMPLES) {
		uint64_t at = next_random(rng) % (size / 4096) * 4096, start;
		struct disk *d = disk[next_random(rng) % QUIET];
		bool write = next_random(rng) % 5 == 0;

		usleep(500);
		start = now_ns();
		run(d, write ? DISK_WRITE : DISK_READ, at, sizeof(data), data);
		sample[n++] = (uint32_t)(now_ns() - start);
	}
	qsort(sample, n, sizeof(*sample), by_value);
	*ret_p50 = sample[n / 2];
	*ret_p99 = sample[n - 1 - n / 100];
}

static void start_engine(const char *dir, const char *base)
{
	struct engine_config c = {.store_size = 4ull << 30, .image_ram = 32u << 20, .write_back_ram = 256u << 20};
	struct sentence err = {.text = ""};
	const char *slash = strrchr(base, '/');
	struct stat st;

	snprintf(c.store, sizeof(c.store), "%s/store", dir);
	if (!slash || stat(base, &st) || engine_new(&engine, &c, &err)) {
		fprintf(stderr, "%s %s\n", base, err.text);
		exit(1);
	}
	size = (uint64_t)st.st_size / 65536 * 65536;
	for (unsigned int i = 0; i <= QUIET; i++) {
		struct disk_config d = {.size = size, .mode = i == QUIET ? DISK_KEEP : DISK_DISCARD, .layers = 1};

		snprintf(d.id, sizeof(d.id), "pc%u", i);
		d.overlay[0] = (uint8_t)(i + 1);
		d.boot[0] = 1;
		d.layer[0].format = IMAGE_RAW;
		snprintf(d.layer[0].dir, sizeof(d.layer[0].dir), "%.*s", (int)(slash - base), base);
		snprintf(d.layer[0].file, sizeof(d.layer[0].file), "%s", slash + 1);
		if (disk_open(&disk[i], engine, &d, &err)) {
			fprintf(stderr, "%s\n", err.text);
			exit(1);
		}
	}
}

int main(int argc, char **argv)
{
	uint32_t p50[2][ROUNDS], p99[2][ROUNDS];
	uint64_t rng = 88172645463325252ull;
	double seconds;
	pthread_t id[HOG];

	if (argc != 4) {
		fprintf(stderr, "usage: tool_fair DIR BASE SECONDS\n");
		return 2;
	}
	seconds = atof(argv[3]);
	sample = malloc(SAMPLES * sizeof(*sample));
	start_engine(argv[1], argv[2]);
	for (unsigned int r = 0; r < ROUNDS; r++) {
		quiet(seconds, &rng, &p50[0][r], &p99[0][r]);
		stop = false;
		for (uintptr_t i = 0; i < HOG; i++)
			if (pthread_create(&id[i], NULL, hog, (void *)(i + 1)))
				return 1;
		quiet(seconds, &rng, &p50[1][r], &p99[1][r]);
		__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
		for (unsigned int i = 0; i < HOG; i++)
			pthread_join(id[i], NULL);
	}
	for (unsigned int k = 0; k < 2; k++) {
		qsort(p50[k], ROUNDS, sizeof(uint32_t), by_value);
		qsort(p99[k], ROUNDS, sizeof(uint32_t), by_value);
		printf("%s quiet_p50_us=%.1f quiet_p99_us=%.1f",
		       k ? "\nwith the hog:" : "alone:", p50[k][ROUNDS / 2] / 1e3, p99[k][ROUNDS / 2] / 1e3);
	}
	printf(" hog_ops=%.0f/s\nratio of p99: %.2f\n", (double)hog_ops / (seconds * ROUNDS),
	       (double)p99[1][ROUNDS / 2] / p99[0][ROUNDS / 2]);
	for (unsigned int i = 0; i <= QUIET; i++)
		disk_close(disk[i]);
	engine_free(engine);
	return 0;
}
