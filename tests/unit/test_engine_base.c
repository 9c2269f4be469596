// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Base images as a PC gets them: a disk over each format that the library reads, through the cache,
 * cold and warm and after it was pushed out, in pieces that begin and end at any sector, and with
 * an overlay above. And a base that cannot be read: the client is told, nothing wrong stays in the
 * cache, and when the fault has passed the right bytes come.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/engine_rig.h"
#include "tests/unit/image_build.h"

#define STORE    (4u << 20)
#define CACHE    (4u << 20)
#define PUSH     (8u << 20) /* bytes of another base that push everything out of the cache */
#define TAIL     3u         /* sectors of the disk behind the end of its image: zero */
#define REQUEST  300u       /* sectors, at most */
#define DISKS    2
#define NONE     0xffffffffu
#define SECTORS  (BUILD_DISK / 512)
#define GRAIN(n) ((n)*BUILD_GRAIN / 512)

struct subject {
	const char *what;
	enum image_format format;
	const char *file[IMAGE_CHAIN_MAX]; /* top first */
	uint8_t *model;                    /* with the tail */
	uint64_t sectors;                  /* of the image */
};

static char dir[64];
static struct twin twin;
static struct engine *engine;
static struct disk *disk[DISKS], *push;
static const struct subject *subject;

/* The nth read of a base image fails, once or from then on. */
static struct {
	int error;
	unsigned int nth, seen;
	bool for_ever;
} fault;

static int inject(struct twin *t, const struct io_op *op)
{
	(void)t;
	if (!fault.error || op->fd == TWIN_FD || op->type != IO_READ)
		return 0;
	fault.seen++;
	return fault.seen == fault.nth || (fault.seen > fault.nth && fault.for_ever) ? fault.error : 0;
}

static bool command(const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return system(text) == 0;
}

static bool have(const char *program)
{
	bool it = command("command -v %s >/dev/null", program);

	if (!it)
		printf("# left out: %s is not installed\n", program);
	return it;
}

/* --- engine and disks --- */

static struct disk *open_disk(unsigned int i, const struct subject *s, enum disk_mode mode)
{
	struct disk_config c = {.size = (s->sectors + TAIL) * 512, .mode = mode, .generation = "g"};
	struct sentence err = {.text = ""};
	struct disk *d = NULL;

	c.overlay[0] = (uint8_t)(i + 1);
	c.boot[0] = 1;
	for (; s->file[c.layers]; c.layers++) {
		struct disk_layer *l = &c.layer[c.layers];

		l->format = s->format;
		snprintf(l->dir, sizeof(l->dir), "%s", dir);
		snprintf(l->file, sizeof(l->file), "%s", s->file[c.layers]);
	}
	if (disk_open(&d, engine, &c, &err) < 0)
		printf("# %s: %s\n", s->what, err.text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	return d;
}

static void start(const struct subject *s, enum disk_mode mode)
{
	static const struct subject pusher = {
		.what = "the base that pushes", .format = IMAGE_RAW, .file = {"push.raw"}, .sectors = PUSH / 512};
	struct engine_config c = rig_twin_config(&twin, 1u << 20);

	memset(&fault, 0, sizeof(fault));
	memset(twin.now, 0, STORE);
	subject = s;
	engine = rig_engine(&c);
	for (unsigned int i = 0; i < DISKS; i++)
		disk[i] = open_disk(i, s, mode);
	push = open_disk(DISKS, &pusher, DISK_READONLY);
}

static void stop(void)
{
	for (unsigned int i = 0; i < DISKS; i++)
		disk_close(disk[i]);
	disk_close(push);
	engine_free(engine);
	engine = NULL;
}

static int run(struct disk *d, enum disk_op op, uint64_t sector, uint64_t count, void *data)
{
	return rig_run(engine, d, op, false, sector * 512, count * 512, data, count * 512);
}

/* Reads, and compares unless that fails. */
static int check(unsigned int i, const uint8_t *model, uint64_t sector, uint64_t count)
{
	static uint8_t buffer[REQUEST * 512];
	int e;

	memset(buffer, 0xee, sizeof(buffer));
	e = run(disk[i], DISK_READ, sector, count, buffer);
	if (!e && memcmp(buffer, model + sector * 512, count * 512)) {
		uint64_t at = 0;

		while (buffer[at] == model[sector * 512 + at])
			at++;
		printf("# %s: %llu sectors at %llu differ from byte %llu on\n", subject->what,
		       (unsigned long long)count, (unsigned long long)sector, (unsigned long long)(sector * 512 + at));
		CU_FAIL("wrong bytes");
	}
	return e;
}

static void check_random(unsigned int i, const uint8_t *model, unsigned int times)
{
	uint64_t all = subject->sectors + TAIL;

	while (times--) {
		uint64_t count = 1 + twin_random(&twin) % (1u << twin_random(&twin) % 9);
		uint64_t sector;

		if (count > all)
			count = all;
		sector = twin_random(&twin) % (all - count + 1);
		CU_ASSERT_EQUAL(check(i, model, sector, count), 0);
	}
}

static void check_whole(unsigned int i, const uint8_t *model)
{
	uint64_t all = subject->sectors + TAIL;

	for (uint64_t at = 0; at < all; at += REQUEST)
		CU_ASSERT_EQUAL(check(i, model, at, all - at < REQUEST ? all - at : REQUEST), 0);
}

/* Each unit of another base twice as large as the cache: nothing older is left. */
static void push_out(void)
{
	static uint8_t buffer[65536];
	struct engine_counters before, after;

	engine_counters(engine, &before);
	for (uint64_t at = 0; at < PUSH / 512; at += 128)
		CU_ASSERT_EQUAL(run(push, DISK_READ, at, 128, buffer), 0);
	engine_counters(engine, &after);
	CU_ASSERT(after.cache_evictions > before.cache_evictions);
}

static void write_random(uint8_t *model, unsigned int times)
{
	while (times--) {
		uint64_t count = 1 + twin_random(&twin) % 20;
		uint64_t sector = subject->sectors < count ? 0 : twin_random(&twin) % (subject->sectors - count + 1);

		if (count > subject->sectors)
			count = subject->sectors;
		for (uint64_t k = 0; k < count * 512; k++)
			model[sector * 512 + k] = (uint8_t)twin_random(&twin);
		CU_ASSERT_EQUAL(run(disk[0], DISK_WRITE, sector, count, model + sector * 512), 0);
	}
}

static void check_subject(const struct subject *s)
{
	size_t size = (s->sectors + TAIL) * 512;
	uint8_t *mine = malloc(size);

	memcpy(mine, s->model, size);
	start(s, DISK_DISCARD);
	for (unsigned int round = 0; round < 4; round++) {
		push_out();
		check_random(0, s->model, 60);
	}
	check_whole(0, s->model);
	check_random(0, s->model, 60);
	for (unsigned int round = 0; round < 4; round++) {
		write_random(mine, 10);
		if (round & 1)
			CU_ASSERT_EQUAL(run(disk[0], DISK_FLUSH, 0, 0, NULL), 0);
		push_out();
		check_random(0, mine, 60);
		check_random(1, s->model, 30); /* the other disk sees nothing of it */
	}
	check_whole(0, mine);
	push_out();
	check_whole(1, s->model);
	stop();
	free(mine);
}

/* --- images --- */

static void begin(void)
{
	char path[96];
	int fd;

	snprintf(dir, sizeof(dir), "/tmp/bootwell-base.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	twin_init(&twin, STORE, false, unit_seed());
	twin.fault = inject;
	snprintf(path, sizeof(path), "%s/push.raw", dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	CU_ASSERT_EQUAL_FATAL(ftruncate(fd, PUSH), 0);
	close(fd);
}

static void end(void)
{
	twin_done(&twin);
	CU_ASSERT_TRUE(command("rm -rf %s", dir));
}

static uint8_t *model_new(uint64_t sectors)
{
	return calloc(sectors + TAIL, 512);
}

static void lay(uint8_t *model, uint64_t first, uint64_t count, uint8_t salt)
{
	for (uint64_t s = first; s < first + count; s++)
		build_sector(model + s * 512, s, salt);
}

static void save(struct blob b, const char *name)
{
	blob_save(&b, dir, name);
	blob_done(&b);
}

static void save_descriptor(const char *name, const char *type, uint32_t parent, const char *extents)
{
	char text[4096];

	build_descriptor(text, sizeof(text), type, 0x77, parent, extents);
	blob_save(&(struct blob){.p = (uint8_t *)text, .n = strlen(text)}, dir, name);
}

static void save_sectors(const char *name, uint64_t from, uint64_t count, uint8_t salt)
{
	struct blob b = {0};

	for (uint64_t s = 0; s < count; s++)
		build_sector(blob_need(&b, (s + 1) * 512) + s * 512, from + s, salt);
	save(b, name);
}

/* Data in pieces of all sizes, half of them such as a compressor makes little of. */
static uint8_t *random_model(uint64_t sectors)
{
	uint8_t *model = model_new(sectors);

	for (unsigned int i = 0; i < 40; i++) {
		uint64_t count = 1 + twin_random(&twin) % (1u << twin_random(&twin) % 10), at;
		bool plain = twin_random(&twin) & 1;

		if (count > sectors)
			count = sectors;
		at = i ? twin_random(&twin) % (sectors - count + 1) : sectors - count;
		for (uint64_t k = at * 512; k < (at + count) * 512; k++)
			model[k] = plain ? (uint8_t)(1 + k / 64 % 255) : (uint8_t)twin_random(&twin);
	}
	return model;
}

static void save_raw(const char *name, const uint8_t *model, uint64_t sectors)
{
	struct blob b = {0};

	blob_put(&b, 0, model, sectors * 512);
	save(b, name);
}

/* streamOptimized with grains of that many bytes; at most 512 of them. A grain of zeros is not
 * there. */
static void save_stream(const char *name, const uint8_t *model, uint64_t sectors, uint32_t grain)
{
	uint8_t *unit = malloc(grain), *packed = malloc(2 * grain), header[512], gd[512] = {0};
	uint8_t gt[2048] = {0};
	char extent[64];
	struct blob b = {0};

	blob_need(&b, BUILD_FIRST_GRAIN * 512);
	snprintf(extent, sizeof(extent), "RW %llu SPARSE \"s.vmdk\"", (unsigned long long)sectors);
	build_descriptor((char *)b.p + 512, 2048, "streamOptimized", 0x51, NONE, extent);
	for (uint64_t at = 0; at < sectors * 512; at += grain) {
		uint64_t n = sectors * 512 - at < grain ? sectors * 512 - at : grain;
		uLongf length = 2 * grain;
		size_t here = b.n;

		memset(unit, 0, grain);
		memcpy(unit, model + at, n);
		if (!unit[0] && !memcmp(unit, unit + 1, grain - 1))
			continue;
		compress(packed, &length, unit, grain);
		le32_put(gt + at / grain * 4, (uint32_t)(here / 512));
		blob_need(&b, here + 12);
		le64_put(b.p + here, at / 512);
		le32_put(b.p + here + 8, (uint32_t)length);
		blob_put(&b, b.n, packed, length);
		blob_need(&b, (b.n + 511) / 512 * 512);
	}
	build_marker(&b, 4, 1);
	le32_put(gd, (uint32_t)(b.n / 512));
	blob_put(&b, b.n, gt, sizeof(gt));
	build_marker(&b, 1, 2);
	build_vmdk_header(header, 3, 0x30001);
	le64_put(header + 12, sectors);
	le64_put(header + 20, grain / 512);
	le64_put(header + 48, 0);
	le64_put(header + 56, b.n / 512);
	le16_put(header + 77, 1);
	blob_put(&b, b.n, gd, 512);
	build_marker(&b, 1, 3);
	blob_put(&b, b.n, header, 512);
	build_marker(&b, 0, 0);
	le64_put(header + 56, UINT64_MAX);
	memcpy(b.p, header, 512);
	save(b, name);
	free(unit);
	free(packed);
}

/* Grains smaller than a part of the cache's unit, of a unit, and of more than one. */
static void test_base_stream_optimized(void)
{
	static const uint32_t grain[] = {2048, 4096, 65536, 262144};

	begin();
	for (unsigned int i = 0; i < sizeof(grain) / sizeof(grain[0]); i++) {
		struct subject s = {
			.what = "streamOptimized", .format = IMAGE_VMDK, .file = {"s.vmdk"}, .sectors = SECTORS - 7};

		s.model = random_model(s.sectors);
		save_stream("s.vmdk", s.model, s.sectors, grain[i]);
		check_subject(&s);
		free(s.model);
	}
	end();
}

static void lay_grains(uint8_t *model, uint8_t salt)
{
	lay(model, GRAIN(0), GRAIN(2), salt);
	lay(model, GRAIN(7), GRAIN(1), salt);
	lay(model, GRAIN(255), GRAIN(1), salt);
}

static void test_base_monolithic_sparse(void)
{
	struct subject s = {.what = "monolithicSparse",
			    .format = IMAGE_VMDK,
			    .file = {"x.vmdk"},
			    .model = model_new(SECTORS),
			    .sectors = SECTORS};

	begin();
	lay_grains(s.model, 9);
	save(build_vmdk(3, 9, 0xa, NONE), "x.vmdk");
	check_subject(&s);
	end();
	free(s.model);
}

/* Extents that begin and end within units of the cache. */
static void test_base_many_extents(void)
{
	struct subject s = {.what = "twoGbMaxExtentSparse",
			    .format = IMAGE_VMDK,
			    .file = {"all.vmdk"},
			    .model = model_new(2208),
			    .sectors = 2208},
		       f = {.what = "twoGbMaxExtentFlat",
			    .format = IMAGE_VMDK,
			    .file = {"flat.vmdk"},
			    .model = model_new(411),
			    .sectors = 411},
		       m = {.what = "monolithicFlat",
			    .format = IMAGE_VMDK,
			    .file = {"mono.vmdk"},
			    .model = model_new(333),
			    .sectors = 333};

	begin();
	lay_grains(s.model, 8);
	lay(s.model, 2100, 100, 1);
	save(build_vmdk(3, 8, 1, NONE), "s1.vmdk");
	save_sectors("f.vmdk", 2100, 100, 1);
	save_descriptor("all.vmdk", "twoGbMaxExtentSparse", NONE,
			"RW 2048 SPARSE \"s1.vmdk\"\nRW 52 ZERO\nRDONLY 40 FLAT \"f.vmdk\" 0\nRW "
			"60 VMFS \"f.vmdk\" 40\nRW 8 ZERO");
	check_subject(&s);
	lay(f.model, 0, 411, 2);
	save_sectors("f1.vmdk", 0, 201, 2);
	save_sectors("f2.vmdk", 201, 210, 2);
	save_descriptor("flat.vmdk", "twoGbMaxExtentFlat", NONE,
			"RW 201 FLAT \"f1.vmdk\" 0\nRW 210 FLAT \"f2.vmdk\" 0");
	check_subject(&f);
	lay(m.model, 0, 333, 3);
	save_sectors("mono-flat.vmdk", 0, 333, 3);
	save_descriptor("mono.vmdk", "monolithicFlat", NONE, "RW 333 FLAT \"mono-flat.vmdk\" 0");
	check_subject(&m);
	end();
	free(s.model);
	free(f.model);
	free(m.model);
}

/* A COWD of single sectors, alone and over a flat disk. */
static void test_base_cowd(void)
{
	static const unsigned int there[] = {0, 2, 3, 2047};
	struct subject s = {.what = "vmfsSparse",
			    .format = IMAGE_VMDK,
			    .file = {"d.vmdk"},
			    .model = model_new(SECTORS),
			    .sectors = SECTORS};

	begin();
	for (unsigned int i = 0; i < 4; i++)
		lay(s.model, there[i], 1, 4);
	save(build_cowd(0, 4), "d-delta.vmdk");
	save_descriptor("d.vmdk", "vmfsSparse", NONE, "RW 2048 VMFSSPARSE \"d-delta.vmdk\"");
	check_subject(&s);
	lay(s.model, 0, SECTORS, 5);
	for (unsigned int i = 0; i < 4; i++)
		lay(s.model, there[i], 1, 4);
	save_sectors("p-flat.vmdk", 0, SECTORS, 5);
	save_descriptor("p.vmdk", "vmfs", NONE, "RW 2048 VMFS \"p-flat.vmdk\"");
	save_descriptor("d.vmdk", "vmfsSparse", 0x77, "RW 2048 VMFSSPARSE \"d-delta.vmdk\"");
	s.what = "vmfsSparse over vmfs";
	s.file[1] = "p.vmdk";
	check_subject(&s);
	end();
	free(s.model);
}

static void test_base_vmdk_chain(void)
{
	struct subject s = {.what = "a chain of VMDKs",
			    .format = IMAGE_VMDK,
			    .file = {"c.vmdk", "p.vmdk", "base.vmdk"},
			    .model = model_new(SECTORS),
			    .sectors = SECTORS};
	struct blob c = build_vmdk(3 | 4, 2, 0xc, 0xb), p = build_vmdk(3, 1, 0xb, 0x51);
	uint8_t *base;

	begin();
	/* The top has grains 0 and 7 only, and says that 1 is zero; the middle has not 7. */
	le32_put(c.p + BUILD_GT * 512 + 4, 1);
	le32_put(c.p + BUILD_GT * 512 + 4 * 255, 0);
	le32_put(p.p + BUILD_GT * 512 + 4 * 7, 0);
	base = random_model(SECTORS);
	memcpy(s.model, base, BUILD_DISK);
	lay_grains(s.model, 1);
	lay(s.model, GRAIN(0), GRAIN(1), 2);
	lay(s.model, GRAIN(7), GRAIN(1), 2);
	memset(s.model + BUILD_GRAIN, 0, BUILD_GRAIN);
	memset(s.model + 9 * BUILD_GRAIN, 0, BUILD_GRAIN);
	save(c, "c.vmdk");
	save(p, "p.vmdk");
	save_stream("base.vmdk", base, SECTORS, 65536);
	check_subject(&s);
	end();
	free(base);
	free(s.model);
}

static void lay_vhd(uint8_t *model, uint8_t id, bool child)
{
	lay(model, 0, 128, id);
	for (unsigned int k = 0; k < 128; k++) {
		if (!child || !(k & 1))
			lay(model, 3 * 128 + k, 1, id);
		if (!child)
			lay(model, 15 * 128 + k, 1, id);
	}
}

static void test_base_vhd(void)
{
	struct subject s = {.what = "dynamic VHD",
			    .format = IMAGE_VHD,
			    .file = {"p.vhd"},
			    .model = model_new(SECTORS),
			    .sectors = SECTORS};

	begin();
	save(build_vhd(3, 5, 0), "p.vhd");
	lay_vhd(s.model, 5, false);
	check_subject(&s);
	save(build_vhd(4, 6, 5), "c.vhd");
	lay_vhd(s.model, 6, true);
	s.what = "differencing VHD";
	s.file[0] = "c.vhd";
	s.file[1] = "p.vhd";
	check_subject(&s);
	save(build_vhd(2, 7, 0), "f.vhd");
	lay(s.model, 0, SECTORS, 7);
	s.what = "fixed VHD";
	s.file[0] = "f.vhd";
	s.file[1] = NULL;
	check_subject(&s);
	end();
	free(s.model);
}

static void read_raw(const char *name, struct subject *s)
{
	struct stat st;
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY);
	CU_ASSERT_EQUAL_FATAL(fd < 0 ? -1 : fstat(fd, &st), 0);
	s->sectors = (uint64_t)st.st_size / 512;
	s->model = model_new(s->sectors);
	CU_ASSERT_EQUAL_FATAL(read(fd, s->model, (size_t)st.st_size), st.st_size);
	close(fd);
}

/* Four VHDs above each other, with bitmaps of all kinds. */
static void test_base_vhd_chain(void)
{
	struct subject s = {.what = "a chain of VHDs",
			    .format = IMAGE_VHD,
			    .file = {"child3.vhd", "child2.vhd", "child1.vhd", "base.vhd"}};

	if (!have("python3"))
		return;
	begin();
	CU_ASSERT_TRUE_FATAL(command("tests/unit/vhd-chain %s %u 3", dir, (unsigned int)unit_seed() & 0xffff));
	read_raw("disk3.raw", &s);
	check_subject(&s);
	end();
	free(s.model);
}

static const struct {
	const char *options; /* of qemu-img convert */
	const char *name;
	enum image_format format;
} variants[] = {
	{"-O vpc -o subformat=fixed,force_size=on", "fixed.vhd", IMAGE_VHD},
	{"-O vpc -o subformat=dynamic,force_size=on", "dynamic.vhd", IMAGE_VHD},
	{"-O vmdk -o subformat=monolithicSparse", "sparse.vmdk", IMAGE_VMDK},
	{"-O vmdk -o subformat=monolithicFlat", "flat.vmdk", IMAGE_VMDK},
	{"-O vmdk -o subformat=twoGbMaxExtentSparse", "split.vmdk", IMAGE_VMDK},
	{"-O vmdk -o subformat=twoGbMaxExtentFlat", "splitflat.vmdk", IMAGE_VMDK},
	{"-O vmdk -o subformat=streamOptimized", "stream.vmdk", IMAGE_VMDK},
};

/* Larger than the cache, so that it pushes itself out. */
static void test_base_every_format_of_qemu(void)
{
	struct subject s = {.sectors = 10000 + 17};

	if (!have("qemu-img"))
		return;
	begin();
	s.model = random_model(s.sectors);
	save_raw("disk.raw", s.model, s.sectors);
	for (unsigned int i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
		CU_ASSERT_TRUE_FATAL(command("qemu-img convert -f raw %s %s/disk.raw %s/%s", variants[i].options, dir,
					     dir, variants[i].name));
		s.what = variants[i].options;
		s.format = variants[i].format;
		s.file[0] = variants[i].name;
		check_subject(&s);
	}
	end();
	free(s.model);
}

/* --- faults --- */

static void base_fails(unsigned int nth, bool for_ever)
{
	fault.seen = 0;
	fault.nth = nth;
	fault.for_ever = for_ever;
	fault.error = -EIO;
}

static void test_base_read_error_is_told(void)
{
	struct subject s = {.what = "a base that cannot be read",
			    .format = IMAGE_RAW,
			    .file = {"base.raw"},
			    .model = model_new(SECTORS),
			    .sectors = SECTORS};
	static uint8_t data[512], buffer[DISKS][16 * 512];
	struct rig_request o[DISKS];

	begin();
	lay(s.model, 0, SECTORS, 1);
	save_raw("base.raw", s.model, SECTORS);
	start(&s, DISK_DISCARD);
	CU_ASSERT_EQUAL(check(0, s.model, 704, 8), 0); /* one part of a unit */
	base_fails(1, true);
	/* Again and again: an error is not what the cache keeps. */
	for (unsigned int k = 0; k < 3; k++)
		CU_ASSERT_EQUAL(check(0, s.model, 643, 2), -EIO);
	/* A request fails as a whole, also if it reads more than the bad place. */
	CU_ASSERT_EQUAL(check(0, s.model, 696, 16), -EIO);
	/* All who wait for the same part. */
	for (unsigned int i = 0; i < DISKS; i++)
		rig_begin(&o[i], engine, disk[i], DISK_READ, false, 320 * 512, 16 * 512, buffer[i], 16 * 512);
	for (unsigned int i = 0; i < DISKS; i++)
		CU_ASSERT_EQUAL(rig_end(&o[i]), -EIO);
	/* What was there before is still there, and so is what needs no base. */
	CU_ASSERT_EQUAL(check(0, s.model, 704, 8), 0);
	memset(data, 0x77, sizeof(data));
	CU_ASSERT_EQUAL(run(disk[0], DISK_WRITE, 1001, 1, data), 0);
	CU_ASSERT_EQUAL(run(disk[0], DISK_READ, 1001, 1, buffer[0]), 0);
	CU_ASSERT_EQUAL(memcmp(buffer[0], data, 512), 0);
	CU_ASSERT_EQUAL(check(0, s.model, 1000, 3), -EIO);
	fault.error = 0;
	CU_ASSERT_EQUAL(check(0, s.model, 643, 2), 0);
	CU_ASSERT_EQUAL(check(0, s.model, 696, 16), 0);
	CU_ASSERT_EQUAL(check(0, s.model, 320, 16), 0);
	check_whole(1, s.model);
	memcpy(s.model + 1001 * 512, data, 512);
	check_whole(0, s.model);
	stop();
	end();
	free(s.model);
}

/* Reads the whole disk, request by request; returns how many failed. */
static unsigned int count_errors(const struct subject *s)
{
	unsigned int errors = 0;

	for (uint64_t at = 0, n; at < s->sectors; at += n) {
		int e;

		n = 1 + twin_random(&twin) % REQUEST;
		if (n > s->sectors - at)
			n = s->sectors - at;
		e = check(0, s->model, at, n);
		CU_ASSERT(!e || e == -EIO);
		errors += e != 0;
	}
	return errors;
}

/* Each read of a chain in turn, whether somebody waits for it or it was read ahead. */
static void test_base_each_read_fails(void)
{
	struct subject s = {.what = "a chain of which a read fails",
			    .format = IMAGE_VHD,
			    .file = {"c.vhd", "p.vhd"},
			    .model = model_new(SECTORS),
			    .sectors = SECTORS};
	unsigned int told = 0, met = 0;

	begin();
	lay_vhd(s.model, 5, false);
	lay_vhd(s.model, 6, true);
	save(build_vhd(3, 5, 0), "p.vhd");
	save(build_vhd(4, 6, 5), "c.vhd");
	for (unsigned int nth = 1;; nth++) {
		bool stays = nth & 1;
		unsigned int errors;

		start(&s, DISK_READONLY);
		base_fails(nth, stays);
		errors = count_errors(&s);
		met += fault.seen >= nth;
		told += errors != 0;
		CU_ASSERT(stays || errors <= 1);
		if (fault.seen >= nth && stays)
			CU_ASSERT(errors != 0);
		if (fault.seen < nth) {
			stop();
			break;
		}
		fault.error = 0;
		check_whole(0, s.model);
		check_random(1, s.model, 20);
		stop();
	}
	printf("# %u reads failed, %u clients were told\n", met, told);
	CU_ASSERT(met > 3);
	CU_ASSERT(told > 0);
	end();
	free(s.model);
}

/* A unit that does not unpack: its sectors are an error, those beside it are not. */
static void test_base_damaged_grain(void)
{
	struct subject s = {.what = "a damaged grain",
			    .format = IMAGE_VMDK,
			    .file = {"s.vmdk"},
			    .model = model_new(SECTORS),
			    .sectors = SECTORS};
	uint64_t at = BUILD_FIRST_GRAIN * 512 + 12 + 40;
	uint8_t byte, bad;
	char path[96];
	int fd;

	begin();
	lay(s.model, 0, SECTORS, 1);
	save_stream("s.vmdk", s.model, SECTORS, 65536);
	snprintf(path, sizeof(path), "%s/s.vmdk", dir);
	start(&s, DISK_READONLY);
	fd = open(path, O_RDWR);
	CU_ASSERT_EQUAL_FATAL(pread(fd, &byte, 1, (off_t)at), 1);
	bad = byte ^ 0x55;
	CU_ASSERT_EQUAL_FATAL(pwrite(fd, &bad, 1, (off_t)at), 1);
	for (unsigned int k = 0; k < 2; k++) {
		CU_ASSERT_EQUAL(check(0, s.model, 5, 3), -EUCLEAN);
		CU_ASSERT_EQUAL(check(0, s.model, 120, 16), -EUCLEAN);
		CU_ASSERT_EQUAL(check(0, s.model, 128, 9), 0);
	}
	CU_ASSERT_EQUAL_FATAL(pwrite(fd, &byte, 1, (off_t)at), 1);
	check_whole(0, s.model);
	close(fd);
	stop();
	end();
	free(s.model);
}

UNIT_MAIN(UNIT(test_base_stream_optimized), UNIT(test_base_monolithic_sparse), UNIT(test_base_many_extents),
	  UNIT(test_base_cowd), UNIT(test_base_vmdk_chain), UNIT(test_base_vhd), UNIT(test_base_vhd_chain),
	  UNIT(test_base_every_format_of_qemu), UNIT(test_base_read_error_is_told), UNIT(test_base_each_read_fails),
	  UNIT(test_base_damaged_grain))
