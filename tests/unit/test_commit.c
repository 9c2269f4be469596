/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commit: what a client wrote, in the engine's real store, over its base becomes a new image, while another client goes
 * on writing to the same store. bootwell-overlay is the one that was built.
 */
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/commit/commit.h"
#include "daemon/image/digest_file.h"
#include "tcmu-handler/engine.h"
#include "tests/unit/unit.h"

#define SIZE    ((24u << 20) + 4096 * 3 + 512)
#define OVERLAY "11111111-2222-4333-8444-555555555555"

static char folder[64], helper[512];
static uint8_t *model;
static uint64_t state;

static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

static void fill(uint8_t *to, size_t length)
{
	for (size_t i = 0; i < length; i += 8) {
		uint64_t v = next_random();

		memcpy(to + i, &v, 8);
	}
}

static struct engine *start_engine(void)
{
	struct engine_config config = {
		.store_size = 64 << 20, .image_ram = 8 << 20, .write_back_ram = 2 << 20, .threads = 1};
	struct sentence err = {""};
	struct engine *engine = NULL;

	snprintf(config.store, sizeof(config.store), "%s/store", folder);
	if (engine_new(&engine, &config, &err))
		printf("# %s\n", err.text);
	return engine;
}

static struct disk *open_disk(struct engine *engine, uint8_t id, const char *generation)
{
	static const uint8_t uuid[16] = {0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x43, 0x33,
					 0x84, 0x44, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55};
	struct disk_config config = {.size = SIZE, .mode = DISK_KEEP, .layers = 1};
	struct sentence err = {""};
	struct disk *disk = NULL;

	snprintf(config.id, sizeof(config.id), "disk%u", id);
	snprintf(config.client, sizeof(config.client), "PC%u", id);
	snprintf(config.generation, sizeof(config.generation), "%s", generation);
	memcpy(config.overlay, uuid, 16);
	config.overlay[15] = (uint8_t)(config.overlay[15] + id);
	config.layer[0].format = IMAGE_RAW;
	snprintf(config.layer[0].dir, sizeof(config.layer[0].dir), "%s", folder);
	snprintf(config.layer[0].file, sizeof(config.layer[0].file), "base.raw");
	if (disk_open(&disk, engine, &config, &err))
		printf("# %s\n", err.text);
	return disk;
}

static void done(struct disk_request *request, int error)
{
	request->progress = error ? 1 : 0;
	sem_post(request->arg);
}

static int ask(struct disk *disk, enum disk_op op, uint64_t offset, void *data, uint64_t length)
{
	struct iovec iov = {data, length};
	struct disk_request request = {
		.op = op, .offset = offset, .length = length, .iov = &iov, .iov_cnt = 1, .done = done};
	sem_t sem;
	int r;

	sem_init(&sem, 0, 0);
	request.arg = &sem;
	r = disk_submit(disk, &request);
	if (r == 1) {
		sem_wait(&sem);
		r = request.progress ? -EIO : 0;
	}
	sem_destroy(&sem);
	return r;
}

static void begin(void)
{
	const char *o = getenv("O");
	char command[256];
	int fd;

	state = unit_seed() | 1;
	snprintf(helper, sizeof(helper), "%s/bootwell-overlay", o ? o : "build");
	snprintf(folder, sizeof(folder), "/tmp/bootwell-commit.%d", getpid());
	snprintf(command, sizeof(command), "rm -rf %s && mkdir %s", folder, folder);
	CU_ASSERT_EQUAL_FATAL(system(command), 0);
	model = calloc(1, SIZE + 4096);
	fill(model, 6 << 20); /* the base: some data, the rest zero, something at the end */
	fill(model + SIZE - 512, 512);
	/* Two partitions: 4 MiB of NTFS at 1 MiB, 8 MiB of something at 6 MiB. */
	memset(model + 446, 0, 64);
	memcpy(model + 446, "\0\0\0\0\7\0\0\0\0\x08\0\0\0\x20\0\0", 16);
	memcpy(model + 462, "\0\0\0\0\x83\0\0\0\0\x30\0\0\0\x40\0\0", 16);
	memcpy(model + 510, "\x55\xaa", 2);
	memcpy(model + (1 << 20) + 3, "NTFS    ", 8);
	memset(model + (6 << 20) + 1024, 0, 512);
	snprintf(command, sizeof(command), "%s/base.raw", folder);
	fd = open(command, O_CREAT | O_RDWR, 0600);
	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(ftruncate(fd, SIZE), 0);
	CU_ASSERT_EQUAL(pwrite(fd, model, SIZE, 0), (ssize_t)SIZE);
	close(fd);
}

static void end(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	CU_ASSERT_EQUAL(system(command), 0);
	free(model);
}

/* Random writes of 512 bytes to 64 KiB, and some unmaps, to disk and model. */
static void scribble(struct disk *disk)
{
	static uint8_t data[65536];

	for (unsigned int i = 0; i < 400; i++) {
		uint32_t length = (uint32_t)(1 + next_random() % 128) * 512;
		uint64_t offset = next_random() % ((SIZE - length) / 512) * 512;

		if (next_random() % 8) {
			fill(data, length);
			CU_ASSERT_EQUAL(ask(disk, DISK_WRITE, offset, data, length), 0);
			memcpy(model + offset, data, length);
		} else {
			offset = offset / 4096 * 4096;
			length = (uint32_t)(1 + next_random() % 64) * 4096;
			if (offset + length > SIZE)
				continue;
			CU_ASSERT_EQUAL(ask(disk, DISK_UNMAP, offset, NULL, length), 0);
			memset(model + offset, 0, length);
		}
	}
	fill(data, 512);
	CU_ASSERT_EQUAL(ask(disk, DISK_WRITE, SIZE - 512, data, 512), 0);
	memcpy(model + SIZE - 512, data, 512);
}

static struct commit job(enum image_format format)
{
	struct commit c = {
		.format = format, .helper = helper, .overlay = OVERLAY, .image = "xp01", .generation = "xp01 1 id"};

	snprintf(c.images_path, sizeof(c.images_path), "%s", folder);
	snprintf(c.store_path, sizeof(c.store_path), "%s/store", folder);
	c.base.layers = 1;
	c.number = 1;
	snprintf(c.base.layer[0].format, sizeof(c.base.layer[0].format), "raw");
	snprintf(c.base.layer[0].file, sizeof(c.base.layer[0].file), "base.raw");
	return c;
}

static void check_result(const struct commit *c)
{
	int dir = open(folder, O_RDONLY | O_DIRECTORY);
	struct image_source source = {.dirfd = dir, .name = c->file, .format = c->format};
	uint8_t *got = malloc(SIZE), *unit = NULL, digest[DIGEST_SIZE], kept[DIGEST_SIZE];
	struct sentence err;
	struct image *img = NULL;

	CU_ASSERT_EQUAL_FATAL(image_open(&img, &source, &err), 0);
	CU_ASSERT_EQUAL(image_info(img)->virtual_size, SIZE);
	CU_ASSERT_EQUAL(image_read_data(img, 0, got, SIZE, &unit), 0);
	CU_ASSERT_EQUAL(memcmp(got, model, SIZE), 0);
	CU_ASSERT_EQUAL(digest_image(img, digest, NULL, NULL), 0);
	CU_ASSERT_EQUAL(memcmp(digest, c->digest, DIGEST_SIZE), 0);
	CU_ASSERT_EQUAL(digest_file_read(dir, c->file, kept), 0);
	CU_ASSERT_EQUAL(memcmp(digest, kept, DIGEST_SIZE), 0);
	image_close(img);
	free(got);
	free(unit);
	close(dir);
}

static bool nothing_left(void)
{
	char command[256];

	snprintf(command, sizeof(command), "test -z \"$(ls -A %s/.commit; ls %s | grep xp01)\"", folder, folder);
	return system(command) == 0;
}

static void commit_and_compare(enum image_format format, const char *file)
{
	struct commit c;
	struct engine *engine;
	struct disk *disk, *other;
	uint8_t noise[65536];
	int r;

	begin();
	c = job(format);
	engine = start_engine();
	CU_ASSERT_PTR_NOT_NULL_FATAL(engine);
	disk = open_disk(engine, 0, "xp01 1 id");
	other = open_disk(engine, 1, "xp01 1 id");
	CU_ASSERT_FATAL(disk && other);
	fill(noise, sizeof(noise));
	scribble(disk);
	disk_close(disk);
	for (unsigned int i = 0; i < 40; i++) /* somebody else works on */
		CU_ASSERT_EQUAL(ask(other, DISK_WRITE, i * 65536ull, noise, sizeof(noise)), 0);
	r = commit_look(&c);
	CU_ASSERT_EQUAL(r, 0);
	CU_ASSERT(c.changed > 1 << 20 && c.ranges > 10);
	/* Each changed byte is in one partition, or in none. */
	CU_ASSERT_EQUAL_FATAL(c.parts, 3);
	CU_ASSERT(c.part[1].number == 1 && !strcmp(c.part[1].kind, "NTFS") && c.part[2].number == 2);
	CU_ASSERT(c.part[0].changed && c.part[1].changed && c.part[2].changed);
	CU_ASSERT_EQUAL(c.part[0].changed + c.part[1].changed + c.part[2].changed, c.changed);
	r = commit_write(&c);
	if (r)
		printf("# %s\n", c.error.text);
	CU_ASSERT_EQUAL_FATAL(r, 0);
	CU_ASSERT_STRING_EQUAL(c.file, file);
	check_result(&c);
	CU_ASSERT_EQUAL(ask(other, DISK_READ, 39 * 65536ull, model, 65536), 0);
	CU_ASSERT_EQUAL(memcmp(model, noise, 65536), 0);
	disk_close(other);
	engine_free(engine);
	end();
}

static void test_commit_to_vmdk(void)
{
	commit_and_compare(IMAGE_VMDK, "xp01-2.vmdk");
}

static void test_commit_to_vhd(void)
{
	commit_and_compare(IMAGE_VHD, "xp01-2.vhd");
}

static void test_commit_refusals(void)
{
	struct commit c;
	struct engine *engine;
	struct disk *disk;

	begin();
	engine = start_engine();
	CU_ASSERT_PTR_NOT_NULL_FATAL(engine);
	c = job(IMAGE_VMDK);
	CU_ASSERT_EQUAL(commit_look(&c), -ENOENT);
	CU_ASSERT_PTR_NOT_NULL(strstr(c.error.text, "nothing was ever written"));
	disk = open_disk(engine, 0, "xp01 1 id");
	scribble(disk);
	disk_close(disk);
	snprintf(c.generation, sizeof(c.generation), "xp01 2 id");
	CU_ASSERT_EQUAL(commit_write(&c), -ESTALE);
	CU_ASSERT_PTR_NOT_NULL(strstr(c.error.text, "the session lies on \"xp01 1 id\""));
	c = job(IMAGE_VMDK);
	c.cancel = true;
	CU_ASSERT_EQUAL(commit_write(&c), -ECANCELED);
	CU_ASSERT(nothing_left());
	c = job(IMAGE_VMDK);
	snprintf(c.base.layer[0].file, sizeof(c.base.layer[0].file), "gone.raw");
	CU_ASSERT(commit_write(&c) < 0);
	CU_ASSERT(nothing_left());
	c = job(IMAGE_VMDK);
	c.helper = "/nonexistent/bootwell-overlay";
	CU_ASSERT(commit_write(&c) < 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(c.error.text, "cannot be run"));
	engine_free(engine);
	end();
}

/* A file that has the name already keeps it, its content and its checksum. */
static void test_commit_name_taken(void)
{
	uint8_t other[DIGEST_SIZE], kept[DIGEST_SIZE];
	struct commit c;
	struct engine *engine;
	struct disk *disk;
	int dir, fd;

	begin();
	engine = start_engine();
	CU_ASSERT_PTR_NOT_NULL_FATAL(engine);
	disk = open_disk(engine, 0, "xp01 1 id");
	scribble(disk);
	disk_close(disk);
	dir = open(folder, O_RDONLY | O_DIRECTORY);
	fd = openat(dir, "xp01-2.vmdk", O_WRONLY | O_CREAT | O_EXCL, 0644);
	CU_ASSERT_FATAL(fd >= 0);
	close(fd);
	memset(other, 0x5a, sizeof(other));
	CU_ASSERT_EQUAL(digest_file_write(dir, "xp01-2.vmdk", other), 0);
	c = job(IMAGE_VMDK);
	CU_ASSERT_EQUAL(commit_write(&c), 0);
	CU_ASSERT_STRING_EQUAL(c.file, "xp01-3.vmdk");
	check_result(&c);
	CU_ASSERT_EQUAL(digest_file_read(dir, "xp01-2.vmdk", kept), 0);
	CU_ASSERT_EQUAL(memcmp(kept, other, sizeof(kept)), 0);
	close(dir);
	engine_free(engine);
	end();
}

static bool known_as(void *arg, const char *file)
{
	return arg && !strcmp(arg, file);
}

/* The machine stops between the file's name and the catalogue: a file that is no image is not left behind, one that is
 * stays. */
static void test_commit_cut_off(void)
{
	uint8_t kept[DIGEST_SIZE];
	struct commit c;
	struct engine *engine;
	struct disk *disk;
	int dir;

	begin();
	engine = start_engine();
	CU_ASSERT_PTR_NOT_NULL_FATAL(engine);
	disk = open_disk(engine, 0, "xp01 1 id");
	scribble(disk);
	disk_close(disk);
	dir = open(folder, O_RDONLY | O_DIRECTORY);

	c = job(IMAGE_VMDK);
	CU_ASSERT_EQUAL(commit_write(&c), 0);
	commit_clean(folder, known_as, c.file);
	check_result(&c);
	CU_ASSERT_EQUAL(faccessat(dir, ".commit/xp01.vmdk", F_OK, 0), -1);
	commit_clean(folder, known_as, NULL); /* only what a commit has left */
	check_result(&c);
	CU_ASSERT_EQUAL(unlinkat(dir, c.file, 0), 0);

	c = job(IMAGE_VMDK);
	CU_ASSERT_EQUAL(commit_write(&c), 0);
	commit_clean(folder, known_as, "xp02-2.vmdk");
	CU_ASSERT(nothing_left());
	CU_ASSERT_EQUAL(digest_file_read(dir, c.file, kept), -ENOENT);

	c = job(IMAGE_VMDK);
	CU_ASSERT_EQUAL(commit_write(&c), 0);
	commit_settle(&c, true);
	check_result(&c);
	commit_settle(&c, false);
	CU_ASSERT(nothing_left());
	close(dir);
	engine_free(engine);
	end();
}

/* The helper dies in the middle: what it said so far is no image. */
static void test_commit_helper_dies(void)
{
	struct commit c;
	struct engine *engine;
	struct disk *disk;
	char script[128], text[1200];
	FILE *f;

	begin();
	engine = start_engine();
	CU_ASSERT_PTR_NOT_NULL_FATAL(engine);
	disk = open_disk(engine, 0, "xp01 1 id");
	scribble(disk);
	disk_close(disk);
	snprintf(script, sizeof(script), "%s/helper", folder);
	f = fopen(script, "w");
	snprintf(text, sizeof(text), "#!/bin/sh\n%s \"$@\" | head -c 300000\n", helper);
	fputs(text, f);
	fclose(f);
	chmod(script, 0755);
	c = job(IMAGE_VHD);
	c.helper = script;
	CU_ASSERT(commit_write(&c) < 0);
	CU_ASSERT(nothing_left());
	CU_ASSERT_STRING_EQUAL(c.error.text, "image xp01 was not committed: bootwell-overlay ended before its end");
	engine_free(engine);
	end();
}

UNIT_MAIN(UNIT(test_commit_to_vmdk), UNIT(test_commit_to_vhd), UNIT(test_commit_refusals), UNIT(test_commit_name_taken),
	  UNIT(test_commit_cut_off), UNIT(test_commit_helper_dies))
