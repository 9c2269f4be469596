/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the engine's tests share: an engine over the twin (tests/crash/twin.h) or over real files, disks on one raw
 * image, requests that are waited for, pseudo-random numbers from the seed that unit_seed() prints.
 */
#ifndef BOOTWELL_ENGINE_RIG_H
#define BOOTWELL_ENGINE_RIG_H

#include <semaphore.h>

#include "tcmu-handler/engine.h"
#include "tests/crash/twin.h"
#include "tests/unit/unit.h"

#define RIG_TURNS 1000000 /* of a manual engine: then a request hangs */

static inline uint32_t rig_random(uint64_t *rng)
{
	*rng ^= *rng << 13;
	*rng ^= *rng >> 7;
	*rng ^= *rng << 17;
	return (uint32_t)(*rng >> 16);
}

/* A manual engine of one thread over the twin. */
static inline struct engine_config rig_twin_config(struct twin *twin, uint64_t write_back_ram)
{
	static const uint8_t machine[16] = {1};

	return (struct engine_config){.store_fd = TWIN_FD,
				      .store_size = twin->size,
				      .image_ram = 4u << 20,
				      .write_back_ram = write_back_ram,
				      .threads = 1,
				      .io = &twin->backend,
				      .manual = true,
				      .segment_blocks = 16,
				      .places = 4,
				      .machine_boot = machine};
}

static inline struct engine *rig_engine(const struct engine_config *config)
{
	struct sentence err = {.text = ""};
	struct engine *e = NULL;

	CU_ASSERT_EQUAL(engine_new(&e, config, &err), 0);
	if (!e)
		printf("# %s\n", err.text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(e);
	return e;
}

/* The `i`th PC, over DIR/base.raw. */
static inline struct disk_config rig_disk_config(const char *dir, unsigned int i, uint64_t size, enum disk_mode mode)
{
	struct disk_config c = {.size = size, .mode = mode, .layers = 1, .generation = "win 1"};

	snprintf(c.id, sizeof(c.id), "pc%u-0", i);
	snprintf(c.client, sizeof(c.client), "pc%u", i);
	c.overlay[0] = (uint8_t)(i + 1);
	c.overlay[1] = (uint8_t)(i >> 8);
	c.boot[0] = 1;
	c.layer[0].format = IMAGE_RAW;
	snprintf(c.layer[0].dir, sizeof(c.layer[0].dir), "%s", dir);
	snprintf(c.layer[0].file, sizeof(c.layer[0].file), "base.raw");
	return c;
}

static inline struct disk *rig_disk(struct engine *e, const struct disk_config *config)
{
	struct sentence err = {.text = ""};
	struct disk *d = NULL;

	CU_ASSERT_EQUAL(disk_open(&d, e, config, &err), 0);
	if (!d)
		printf("# %s: %s\n", config->client, err.text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	return d;
}

/* A request in three pieces, so that blocks lie across them. */
struct rig_request {
	struct disk_request r;
	struct iovec iov[3];
	struct engine *manual; /* NULL: the engine has threads */
	sem_t sem;
	bool finished; /* atomic */
	int error;
};

static inline void rig_done(struct disk_request *r, int error)
{
	struct rig_request *q = r->arg;

	q->error = error;
	__atomic_store_n(&q->finished, true, __ATOMIC_RELEASE);
	sem_post(&q->sem);
}

/* `data` of `data_length` bytes: WRITE SAME has fewer than `length`. `manual`: the engine, if it has no threads. */
static inline void rig_begin(struct rig_request *q, struct engine *manual, struct disk *d, enum disk_op op, bool fua,
			     uint64_t offset, uint64_t length, void *data, size_t data_length)
{
	size_t a = data_length / 3, b = data_length / 2;

	memset(q, 0, sizeof(*q));
	q->iov[0] = (struct iovec){data, a};
	q->iov[1] = (struct iovec){(char *)data + a, b - a};
	q->iov[2] = (struct iovec){(char *)data + b, data_length - b};
	q->r = (struct disk_request){.op = op,
				     .fua = fua,
				     .offset = offset,
				     .length = length,
				     .iov = q->iov,
				     .iov_cnt = 3,
				     .done = rig_done,
				     .arg = q};
	q->manual = manual;
	sem_init(&q->sem, 0, 0);
	int e = disk_submit(d, &q->r);

	if (e == 1)
		return;
	q->error = e;
	__atomic_store_n(&q->finished, true, __ATOMIC_RELEASE);
	sem_post(&q->sem);
}

static inline bool rig_is_done(struct rig_request *q)
{
	return __atomic_load_n(&q->finished, __ATOMIC_ACQUIRE);
}

static inline int rig_end(struct rig_request *q)
{
	for (unsigned int turns = 0; q->manual && !rig_is_done(q); turns++) {
		engine_poll(q->manual, true);
		if (turns > 1000 && turns % 100 == 0)
			engine_tick(q->manual); /* what waits for a second try gets it */
		if (turns > RIG_TURNS)
			CU_FAIL_FATAL("a request hangs");
	}
	while (sem_wait(&q->sem))
		continue;
	sem_destroy(&q->sem);
	return q->error;
}

static inline int rig_run(struct engine *manual, struct disk *d, enum disk_op op, bool fua, uint64_t offset,
			  uint64_t length, void *data, size_t data_length)
{
	struct rig_request q;

	rig_begin(&q, manual, d, op, fua, offset, length, data, data_length);
	return rig_end(&q);
}

#endif
