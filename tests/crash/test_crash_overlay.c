// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Crash enumeration. A random workload runs on kept and discarded overlays over the twin of the I/O
 * layer. At every submission and every completion the power fails, in many ways: any subset of what
 * was not yet durable is on the disk, also in parts. Each time the store is opened again, and
 *
 *	- opening succeeds;
 *	- each sector of a kept overlay is as it was at the last flush that was acknowledged, or as
 * some later write or unmap made it: never older, never of another overlay, never the base under an
 * unmap;
 *	- a discarded overlay is refused to the boot that wrote it, and is the base for the next;
 *	- and that holds too when the power fails again while the store is being opened.
 *
 * In the same places the process is killed instead: staging memory is there then, and what was
 * acknowledged must be exactly there, in both modes. Every now and then the crash is for good, and
 * the workload goes on from what it left.
 *
 * Every sector that is written says which overlay, sector and operation it is from.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tcmu-handler/engine.h"
#include "tests/crash/twin.h"
#include "tests/unit/unit.h"

#define DISKS    3
#define KEPT     2 /* the first ones */
#define SECTORS  256u
#define SIZE     (SECTORS * 512)
#define STORE    w.store
#define ROOMY    (1u << 20)
#define TIGHT    (640u << 10) /* full half of the time */
#define SEGMENT  8
#define HISTORY  64
#define BASE_TAG 0xbaceu
#define POINTS   (getenv("CRASH_POINTS") ? strtoul(getenv("CRASH_POINTS"), NULL, 0) : 110000)

struct tag {
	uint32_t owner, sector, version, check;
};

/*
 * What a sector may hold, in the order of submission. Of two changes that were under way at the
 * same time either may be the later one (a write that waits for memory is overtaken); a change that
 * began when another had ended comes after it.
 */
struct change {
	uint32_t version;
	uint32_t begin, end; /* by the world's clock; end 0: still under way */
	bool zero;           /* an unmap */
	bool acknowledged;   /* else, under way or failed: may be there or not */
};

struct history {
	struct change change[HISTORY];
	unsigned int count;
};

struct pending {
	struct disk_request r;
	struct iovec iov;
	unsigned int disk;
	uint32_t version, begin;
	uint32_t sector, count; /* of a write */
	int error;
	bool finished, durable; /* durable: what had ended before `begin`, and itself */
	uint8_t *data;
};

struct world {
	struct twin twin;
	struct engine *engine;
	struct disk *disk[DISKS];
	struct history history[DISKS][SECTORS];
	uint8_t machine[16];
	uint8_t boot[DISKS];
	uint32_t version, clock; /* the clock goes on with every beginning and every end */
	struct pending *flight[16];
	uint32_t store; /* bytes */
	uint8_t *image, *second;
	char dir[64], staging[100], staging2[100];
	uint64_t points, kills, failures, reopen_points, full;
	bool busy;
};

static const uint8_t store_uuid[16] = {1, 2, 3};
static struct world w;

/* --- content --- */

static void fill(uint8_t *p, uint32_t owner, uint32_t sector, uint32_t version)
{
	struct tag t = {owner, sector, version, owner * 31 + sector * 7 + version};

	for (unsigned int i = 0; i < 512; i += sizeof(t))
		memcpy(p + i, &t, sizeof(t));
}

static bool whole(const uint8_t *p, struct tag *t)
{
	memcpy(t, p, sizeof(*t));
	return !memcmp(p, p + sizeof(*t), 512 - sizeof(*t));
}

static void remember(struct history *h, const struct change *c)
{
	if (h->count == HISTORY) {
		/* The caller flushes before it comes to this. */
		fprintf(stderr, "history is full\n");
		abort();
	}
	h->change[h->count++] = *c;
}

static void begin_with(struct history *h, uint32_t version, bool zero)
{
	struct change c = {.version = version, .zero = zero, .begin = 1, .end = 1};

	c.acknowledged = true;
	h->count = 0;
	remember(h, &c);
}

static bool follows(const struct change *later, const struct change *c)
{
	return c->end && later->begin > c->end;
}

/* What had been acknowledged by the time `before` is durable, and so is change `version`: what
 * these have replaced goes. */
static void settle(struct history *h, uint32_t before, uint32_t version)
{
	unsigned int left = 0;

	for (unsigned int i = 0; i < h->count; i++) {
		bool gone = false;

		for (unsigned int j = i + 1; j < h->count && !gone; j++) {
			const struct change *c = &h->change[j];

			gone = c->acknowledged && (c->end < before || c->version == version) &&
			       follows(c, &h->change[i]);
		}
		if (!gone)
			h->change[left++] = h->change[i];
	}
	h->count = left;
}

static bool matches(const struct change *c, unsigned int disk, uint32_t sector, const uint8_t *p)
{
	static const uint8_t zeros[512];
	struct tag t;

	if (c->zero)
		return !memcmp(p, zeros, 512);
	return whole(p, &t) && t.check == t.owner * 31 + t.sector * 7 + t.version && t.sector == sector &&
	       t.version == c->version && t.owner == (c->version ? disk : BASE_TAG);
}

/* Something acknowledged has surely replaced it. */
static bool replaced(const struct history *h, const struct change *c)
{
	for (unsigned int i = 0; i < h->count; i++)
		if (h->change[i].acknowledged && follows(&h->change[i], c))
			return true;
	return false;
}

/* The change that the sector shows, or NULL; with `alive` only one that nothing has replaced. */
static const struct change *find(const struct history *h, unsigned int disk, uint32_t sector, const uint8_t *p,
				 bool alive)
{
	for (unsigned int i = h->count; i-- > 0;)
		if (matches(&h->change[i], disk, sector, p) && !(alive && replaced(h, &h->change[i])))
			return &h->change[i];
	return NULL;
}

static void complain(const char *what, unsigned int disk, uint32_t sector, const uint8_t *p)
{
	const struct history *h = &w.history[disk][sector];
	struct tag t;

	if (w.failures++ > 5)
		return;
	memcpy(&t, p, sizeof(t));
	printf("# %s: disk %u sector %u shows owner %x sector %u version %u; may be", what, disk, sector, t.owner,
	       t.sector, t.version);
	for (unsigned int i = 0; i < h->count; i++)
		printf(" %u%s%s (%u-%u)", h->change[i].version, h->change[i].zero ? "z" : "",
		       h->change[i].acknowledged ? "" : "?", h->change[i].begin, h->change[i].end);
	printf("\n");
}

/* --- opening what a crash left --- */

static void nothing(struct overlay *ov, void *arg)
{
	(void)ov;
	(void)arg;
}

static struct overlay_params params_of(struct store *s, struct staging *st, unsigned int disk, uint8_t boot)
{
	struct overlay_params p = {.store = s,
				   .staging = st,
				   .size = SIZE,
				   .keep = disk < KEPT,
				   .generation = "g",
				   .host = {.kick = nothing, .pages = nothing}};

	p.uuid[0] = (uint8_t)(disk + 1);
	p.boot[0] = boot;
	return p;
}

static bool read_all(struct overlay *ov, const struct twin *t, uint8_t *buffer)
{
	struct iovec iov = {.iov_base = buffer, .iov_len = SIZE};
	struct run_list runs;
	struct iov_pos pos;

	run_list_init(&runs);
	iov_pos_init(&pos, &iov, 1);
	if (overlay_read(ov, 0, SIZE, &pos, &runs) < 0)
		return false;
	for (uint32_t i = 0; i < runs.count; i++) {
		const struct run *run = &runs.run[i];

		if (run->type == RUN_SLOT) {
			memcpy(buffer + run->at, t->now + run->source, run->length);
			overlay_run_done(ov, run);
			continue;
		}
		for (uint64_t at = 0; at < run->length; at += 512)
			fill(buffer + run->at + at, BASE_TAG, (uint32_t)((run->source + at) / 512), 0);
	}
	run_list_done(&runs);
	return true;
}

struct opened {
	struct twin twin; /* over an image */
	struct store *store;
	struct staging *staging;
};

static bool open_image(struct opened *o, uint8_t *image, const uint8_t machine[16], const char *staging)
{
	struct store_params params = {.fd = TWIN_FD, .size = STORE, .io = &o->twin.backend, .machine_boot = machine};
	struct sentence err;
	int r;

	o->twin.backend.queue_new = twin_queue_new;
	o->twin.size = STORE;
	o->twin.now = image;
	o->store = NULL;
	o->staging = NULL;
	r = store_open(&o->store, &params, &err);
	if (!r)
		r = staging_open(&o->staging, staging, 64 * 4096, o->store->uuid, machine);
	if (r < 0) {
		if (w.failures++ < 5)
			printf("# opening the store: %s\n", err.text);
		return false;
	}
	return true;
}

static void close_image(struct opened *o)
{
	staging_close(o->staging);
	store_close(o->store);
}

static struct overlay *open_overlay(struct opened *o, unsigned int disk, uint8_t boot, int expect)
{
	struct overlay_params p = params_of(o->store, o->staging, disk, boot);
	struct overlay *ov = NULL;
	struct sentence err = {.text = ""};
	int r = overlay_open(&ov, &p, &err);

	if (r == expect)
		return ov;
	if (w.failures++ < 5)
		printf("# opening overlay %u: %d, not %d: %s\n", disk, r, expect, err.text);
	overlay_free(ov);
	return NULL;
}

static void check_kept(struct opened *o, unsigned int disk, const char *what)
{
	static uint8_t buffer[SIZE];
	struct overlay *ov = open_overlay(o, disk, w.boot[disk], 0);

	if (!ov)
		return;
	if (!read_all(ov, &o->twin, buffer))
		w.failures++;
	for (uint32_t s = 0; s < SECTORS; s++)
		if (!find(&w.history[disk][s], disk, s, buffer + s * 512, false))
			complain(what, disk, s, buffer + s * 512);
	overlay_free(ov);
}

static void check_discarded(struct opened *o, unsigned int disk)
{
	static uint8_t buffer[SIZE];
	const struct store_place *p = o->store->place;
	struct overlay *ov;
	bool known = false;
	struct tag t;

	for (uint32_t i = 0; i < o->store->places; i++)
		known |= p[i].header.epoch && p[i].header.uuid[0] == disk + 1 && p[i].header.boot[0] == w.boot[disk];
	/* A header that never became durable leaves nothing to refuse. */
	if (known)
		overlay_free(open_overlay(o, disk, w.boot[disk], -ENODATA));
	ov = open_overlay(o, disk, (uint8_t)(w.boot[disk] + 1), 0);
	if (!ov)
		return;
	if (!read_all(ov, &o->twin, buffer))
		w.failures++;
	for (uint32_t s = 0; s < SECTORS; s++)
		if (!whole(buffer + s * 512, &t) || t.owner != BASE_TAG || t.sector != s)
			complain("a discarded overlay", disk, s, buffer + s * 512);
	overlay_free(ov);
}

/* --- power --- */

struct again {
	unsigned int left; /* events until the second failure */
	bool taken;
};

static void second_failure(struct twin *t)
{
	struct again *a = t->arg;

	if (a->taken || a->left--)
		return;
	a->taken = true;
	twin_crash(t, w.second, 0, true);
}

static void check_power(uint8_t *image, bool twice)
{
	static uint8_t machine[16] = {99};
	struct opened *o = calloc(1, sizeof(*o));
	struct again a = {.left = twin_random(&w.twin) % 12};
	uint8_t *durable = NULL;

	machine[1]++;
	o->twin.rng = w.twin.rng | 1;
	if (twice) {
		durable = malloc(STORE);
		memcpy(durable, image, STORE);
		o->twin.durable = durable;
		o->twin.event = second_failure;
		o->twin.arg = &a;
	}
	if (open_image(o, image, machine, NULL)) {
		for (unsigned int d = 0; d < DISKS; d++) {
			if (d < KEPT)
				check_kept(o, d, "after a power failure");
			else
				check_discarded(o, d);
		}
	}
	close_image(o);
	for (unsigned int i = 0; i < o->twin.writes; i++)
		free(o->twin.write[i].data);
	free(o);
	free(durable);
	w.points++;
	if (a.taken) {
		w.reopen_points++;
		check_power(w.second, false);
	}
}

/* --- kill --- */

static bool copy_file(const char *from, const char *to)
{
	static uint8_t buffer[1u << 20];
	int in = open(from, O_RDONLY), out = open(to, O_RDWR | O_CREAT | O_TRUNC, 0600);
	ssize_t n = in < 0 ? -1 : read(in, buffer, sizeof(buffer));
	bool ok = out >= 0 && n > 0 && write(out, buffer, (size_t)n) == n;

	close(in);
	close(out);
	return ok;
}

/* What was acknowledged is there, and nothing older. */
static void check_killed(struct opened *o, unsigned int disk)
{
	static uint8_t buffer[SIZE];
	struct overlay *ov = open_overlay(o, disk, w.boot[disk], 0);

	if (!ov)
		return;
	if (!read_all(ov, &o->twin, buffer))
		w.failures++;
	for (uint32_t s = 0; s < SECTORS; s++)
		if (!find(&w.history[disk][s], disk, s, buffer + s * 512, true))
			complain("after a kill", disk, s, buffer + s * 512);
	overlay_free(ov);
}

static void check_kill(void)
{
	struct opened *o = calloc(1, sizeof(*o));

	/* The lock on the store's file waits for what is in flight: all of that has happened, or
	 * failed. */
	memcpy(w.image, w.twin.now, STORE);
	for (struct twin_queue *tq = w.twin.queues; tq; tq = tq->next)
		for (const struct io_op *op = tq->head; op; op = op->next)
			if (op->type == IO_WRITE && op->fd == TWIN_FD && twin_random(&w.twin) % 4) {
				uint64_t at = op->offset;

				for (unsigned int i = 0; i < op->iov_cnt; i++) {
					memcpy(w.image + at, op->iov[i].iov_base, op->iov[i].iov_len);
					at += op->iov[i].iov_len;
				}
			}
	o->twin.rng = w.twin.rng | 1;
	if (copy_file(w.staging, w.staging2) && open_image(o, w.image, w.machine, w.staging2)) {
		for (unsigned int d = 0; d < DISKS; d++)
			check_killed(o, d);
	} else {
		w.failures++;
	}
	close_image(o);
	free(o);
	w.points++;
	w.kills++;
}

static void event(struct twin *t)
{
	unsigned int n = twin_outstanding(t), samples = 3;

	if (w.busy || !w.engine)
		return;
	w.busy = true;
	/* Few writes: all subsets. */
	for (uint32_t bits = 0; n <= 3 && bits < 1u << n; bits++) {
		twin_crash(t, w.image, bits, false);
		check_power(w.image, false);
	}
	for (unsigned int i = 0; i < samples; i++) {
		twin_crash(t, w.image, i ? twin_random(t) : ~(1u << (n ? twin_random(t) % n : 0)), i == 2);
		check_power(w.image, twin_random(t) % 16 == 0);
	}
	if (twin_random(t) % 4 == 0)
		check_kill();
	w.busy = false;
}

/* --- the workload --- */

static void start(void)
{
	struct engine_config c = {.store_fd = TWIN_FD,
				  .store_size = STORE,
				  .image_ram = 4u << 20,
				  .write_back_ram = 64 * 4096,
				  .threads = 1,
				  .io = &w.twin.backend,
				  .manual = true,
				  .segment_blocks = SEGMENT,
				  .places = 4,
				  .store_uuid = store_uuid,
				  .machine_boot = w.machine,
				  .staging = w.staging};
	struct sentence err = {.text = ""};
	struct engine *e = NULL;
	int r = engine_new(&e, &c, &err);

	if (r < 0)
		printf("# %s\n", err.text);
	CU_ASSERT_EQUAL_FATAL(r, 0);
	for (unsigned int i = 0; i < DISKS; i++) {
		struct disk_config d = {
			.size = SIZE, .mode = i < KEPT ? DISK_KEEP : DISK_DISCARD, .layers = 1, .generation = "g"};

		snprintf(d.id, sizeof(d.id), "d%u", i);
		d.overlay[0] = (uint8_t)(i + 1);
		d.boot[0] = w.boot[i];
		d.layer[0].format = IMAGE_RAW;
		snprintf(d.layer[0].dir, sizeof(d.layer[0].dir), "%s", w.dir);
		snprintf(d.layer[0].file, sizeof(d.layer[0].file), "base.raw");
		r = disk_open(&w.disk[i], e, &d, &err);
		if (r < 0)
			printf("# %s\n", err.text);
		CU_ASSERT_EQUAL_FATAL(r, 0);
	}
	w.engine = e;
}

static void done(struct disk_request *r, int error)
{
	struct pending *p = r->arg;

	p->error = error;
	p->finished = true;
}

/* The change has ended; if well, then it must not vanish any more in a kill. */
static void end_change(const struct pending *p)
{
	w.clock++;
	for (uint32_t s = p->sector; s < p->sector + p->count; s++) {
		struct history *h = &w.history[p->disk][s];

		for (unsigned int i = 0; i < h->count; i++)
			if (h->change[i].version == p->version) {
				h->change[i].end = w.clock;
				h->change[i].acknowledged = !p->error;
			}
	}
}

static void retire(struct pending *p)
{
	end_change(p);
	if (p->durable && !p->error && p->disk < KEPT)
		for (uint32_t s = 0; s < SECTORS; s++)
			settle(&w.history[p->disk][s], p->begin, p->version);
	free(p->data);
	free(p);
}

static void reap(void)
{
	for (unsigned int i = 0; i < 16; i++)
		if (w.flight[i] && w.flight[i]->finished) {
			retire(w.flight[i]);
			w.flight[i] = NULL;
		}
}

static void finish_all(void)
{
	for (unsigned int i = 0; i < 16; i++)
		for (unsigned int turns = 0; w.flight[i]; turns++) {
			engine_poll(w.engine, true);
			reap();
			if (turns > 100000) {
				CU_FAIL_FATAL("a request hangs");
			}
		}
}

/* From the moment it is submitted a write may be there. */
static void begin_change(struct pending *p, bool zero)
{
	struct change c = {.version = p->version, .begin = p->begin, .zero = zero};

	for (uint32_t s = p->sector; s < p->sector + p->count; s++)
		remember(&w.history[p->disk][s], &c);
}

static void put_in_flight(struct pending *p)
{
	for (;;) {
		for (unsigned int i = 0; i < 16; i++)
			if (!w.flight[i]) {
				w.flight[i] = p;
				return;
			}
		engine_poll(w.engine, true);
		reap();
	}
}

static void flush(unsigned int disk, bool wait)
{
	struct pending *p = calloc(1, sizeof(*p));
	int r;

	p->r.op = DISK_FLUSH;
	p->r.done = done;
	p->r.arg = p;
	p->disk = disk;
	p->begin = ++w.clock;
	p->durable = true;
	r = disk_submit(w.disk[disk], &p->r);
	if (r == 1) {
		put_in_flight(p);
		if (wait)
			finish_all();
		return;
	}
	CU_ASSERT_EQUAL(r, 0);
	retire(p);
}

static void write_some(unsigned int disk, enum disk_op op, bool fua, uint32_t sector, uint32_t count)
{
	struct pending *p = calloc(1, sizeof(*p));
	int r;

	for (uint32_t s = sector; s < sector + count; s++)
		if (w.history[disk][s].count > HISTORY - 4) {
			finish_all();
			flush(disk, true);
			if (disk >= KEPT)
				for (uint32_t k = 0; k < SECTORS; k++)
					settle(&w.history[disk][k], w.clock + 1, 0);
			break;
		}
	p->version = ++w.version;
	p->begin = ++w.clock;
	p->disk = disk;
	p->sector = sector;
	p->count = count;
	p->data = malloc(count * 512);
	for (uint32_t s = 0; s < count; s++)
		fill(p->data + s * 512, disk, sector + s, p->version);
	p->iov = (struct iovec){.iov_base = p->data, .iov_len = count * 512};
	p->r = (struct disk_request){.op = op,
				     .fua = fua,
				     .offset = sector * 512,
				     .length = count * 512,
				     .iov = &p->iov,
				     .iov_cnt = 1,
				     .done = done,
				     .arg = p};
	p->durable = fua;
	begin_change(p, op == DISK_UNMAP);
	r = disk_submit(w.disk[disk], &p->r);
	if (r == 1 && fua && disk < KEPT) {
		/* Goes on while others come. */
		put_in_flight(p);
		return;
	}
	while (r == 1 && !p->finished)
		engine_poll(w.engine, true);
	if (r == 1)
		r = p->error;
	w.full += r == -ENOSPC;
	if (r && r != -ENOSPC)
		CU_FAIL("a write failed");
	p->error = r;
	retire(p);
}

/* A flush with nothing else under way: the write that it waits for is durable by itself. */
static void flush_alone(unsigned int disk, uint32_t sector, uint32_t count)
{
	finish_all();
	for (unsigned int i = 0; i < KEPT; i++)
		flush(i, true);
	write_some(disk, DISK_WRITE, false, sector, count);
	flush(disk, false);
}

static void random_step(void)
{
	unsigned int disk = twin_random(&w.twin) % DISKS, kind = twin_random(&w.twin) % 100;
	uint32_t count = twin_random(&w.twin) % (kind & 1 ? 8 : 48) + 1, sector;

	if (twin_random(&w.twin) % 3 == 0)
		count = (count + 7) / 8 * 8;
	sector = twin_random(&w.twin) % (SECTORS - count + 1);
	if (count % 8 == 0)
		sector = sector / 8 * 8;
	if (kind < 60)
		write_some(disk, DISK_WRITE, kind < 6, sector, count);
	else if (kind < 72)
		write_some(disk, DISK_UNMAP, false, sector, count);
	else if (kind < 79)
		flush(disk, false);
	else if (kind < 82)
		flush_alone(disk % KEPT, sector, count);
	else if (kind < 85)
		engine_tick(w.engine);
	else
		engine_poll(w.engine, false);
	reap();
}

static void abandon(void)
{
	struct engine *e = w.engine;

	w.engine = NULL;
	for (unsigned int i = 0; i < DISKS; i++)
		disk_close(w.disk[i]);
	engine_free(e);
	for (unsigned int i = 0; i < 16; i++)
		if (w.flight[i]) {
			free(w.flight[i]->data);
			free(w.flight[i]);
			w.flight[i] = NULL;
		}
}

/* The power fails for good: the world is what the disk shows. */
static void lose_power(void)
{
	static uint8_t buffer[SIZE];
	struct opened *o = calloc(1, sizeof(*o));
	uint8_t *image = malloc(STORE);

	twin_crash(&w.twin, w.image, 0, true);
	memcpy(image, w.image, STORE);
	abandon();
	unlink(w.staging);
	for (unsigned int i = 0; i < w.twin.writes; i++)
		free(w.twin.write[i].data);
	w.twin.writes = 0;
	memcpy(w.twin.now, image, STORE);
	memcpy(w.twin.durable, image, STORE);
	w.machine[2]++;
	o->twin.rng = w.twin.rng | 1;
	memcpy(w.image, image, STORE);
	if (open_image(o, w.image, w.machine, NULL))
		for (unsigned int d = 0; d < KEPT; d++) {
			struct overlay *ov = open_overlay(o, d, w.boot[d], 0);

			if (!ov || !read_all(ov, &o->twin, buffer))
				break;
			for (uint32_t s = 0; s < SECTORS; s++) {
				struct history *h = &w.history[d][s];
				const struct change *c = find(h, d, s, buffer + s * 512, false);

				if (c)
					begin_with(h, c->version, c->zero);
				else
					complain("after the final power failure", d, s, buffer + s * 512);
			}
			overlay_free(ov);
		}
	close_image(o);
	free(o);
	free(image);
	for (unsigned int d = KEPT; d < DISKS; d++) {
		w.boot[d]++;
		for (uint32_t s = 0; s < SECTORS; s++)
			begin_with(&w.history[d][s], 0, false);
	}
}

static void make_world(uint32_t store)
{
	char path[100];
	uint8_t sector[512];
	int fd;

	memset(&w, 0, sizeof(w));
	w.store = store;
	snprintf(w.dir, sizeof(w.dir), "%s/bootwell-crash.XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(w.dir));
	snprintf(w.staging, sizeof(w.staging), "%s/staging", w.dir);
	snprintf(w.staging2, sizeof(w.staging2), "%s/staging2", w.dir);
	snprintf(path, sizeof(path), "%s/base.raw", w.dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	for (uint32_t s = 0; s < SECTORS; s++) {
		fill(sector, BASE_TAG, s, 0);
		CU_ASSERT_EQUAL_FATAL(write(fd, sector, 512), 512);
	}
	close(fd);
	twin_init(&w.twin, STORE, true, unit_seed());
	w.image = malloc(STORE);
	w.second = malloc(STORE);
	w.machine[0] = 7;
	w.clock = 1;
	for (unsigned int d = 0; d < DISKS; d++) {
		w.boot[d] = 1;
		for (uint32_t s = 0; s < SECTORS; s++)
			begin_with(&w.history[d][s], 0, false);
	}
	w.twin.event = event;
}

static void enumerate(uint32_t store, uint64_t want)
{
	char command[100];

	make_world(store);
	while (w.points < want && !w.failures) {
		start();
		for (unsigned int n = 0; n < 150 && w.points < want && !w.failures; n++)
			random_step();
		finish_all();
		lose_power();
	}
	printf("# NOTE %llu crash points (%llu of them kills, %llu second failures while opening), "
	       "%u operations, %llu on a full store, %llu writes durable by themselves\n",
	       (unsigned long long)w.points, (unsigned long long)w.kills, (unsigned long long)w.reopen_points,
	       w.version, (unsigned long long)w.full, (unsigned long long)w.twin.syncs);
	CU_ASSERT_EQUAL(w.failures, 0);
	CU_ASSERT(w.points >= want);
	w.twin.event = NULL;
	twin_done(&w.twin);
	free(w.image);
	free(w.second);
	snprintf(command, sizeof(command), "rm -rf %s", w.dir);
	CU_ASSERT_EQUAL(system(command), 0);
}

static void test_crash_enumeration(void)
{
	enumerate(ROOMY, POINTS);
	CU_ASSERT(w.twin.syncs > POINTS / 1100);
}

static void test_crash_on_a_full_store(void)
{
	enumerate(TIGHT, POINTS / 10);
	CU_ASSERT(w.full > POINTS / 5500);
}

UNIT_MAIN(UNIT(test_crash_enumeration), UNIT(test_crash_on_a_full_store))
