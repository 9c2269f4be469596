/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Receiving images: sessions, journal, layout. Files in a folder of its own; the network is tested in tests/net. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/digest_file.h"
#include "daemon/upload_session.h"
#include "tests/unit/unit.h"

#define SIZE (37 * DIGEST_PART + 70 * 512) /* the last part is short, and no whole number of blocks */
#define PARTS (digest_parts(SIZE))

static char folder[64];
static struct upload_image published;
static unsigned int publishes;
static int exists, publish_result;

static int op_exists(void *arg, const char *image)
{
	(void)arg;
	(void)image;
	return exists;
}

static int op_publish(void *arg, const struct upload_image *image, struct upload_error *error)
{
	(void)arg;
	published = *image;
	publishes++;
	if (publish_result && error)
		snprintf(error->text, sizeof(error->text), "no");
	return publish_result;
}

static struct upload_store *open_store(void)
{
	struct upload_ops ops = {.exists = op_exists, .publish = op_publish};
	struct upload_store *store = NULL;

	CU_ASSERT_EQUAL_FATAL(upload_store_new(&store, folder, &ops, NULL), 0);
	return store;
}

static void fresh(void)
{
	char command[256];

	snprintf(folder, sizeof(folder), "/tmp/bootwell-upload.%d", getpid());
	snprintf(command, sizeof(command), "rm -rf %s && mkdir %s", folder, folder);
	CU_ASSERT_EQUAL_FATAL(system(command), 0);
	memset(&published, 0, sizeof(published));
	publishes = 0;
	exists = publish_result = 0;
}

static void clean(void)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	CU_ASSERT_EQUAL(system(command), 0);
}

static uint64_t random_state;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	return random_state ^= random_state << 17;
}

/* The disk that is sent: part i is empty (i % 3 == 1), full, or has a few blocks. */
static uint8_t *disk_new(void)
{
	uint8_t *disk = calloc(1, PARTS * DIGEST_PART);

	if (!disk)
		abort();
	random_state = unit_seed() | 1;
	for (uint64_t i = 0; i < PARTS; i++) {
		uint64_t blocks = digest_part_length(SIZE, i) / SPARSE_BLOCK;

		for (uint64_t b = 0; b < blocks; b++)
			if (i % 3 == 0 || (i % 3 == 2 && random_next() % 50 == 0))
				for (unsigned int o = 0; o < SPARSE_BLOCK; o += 8) {
					uint64_t v = random_next();

					memcpy(disk + i * DIGEST_PART + b * SPARSE_BLOCK + o, &v, 8);
				}
	}
	memset(disk + SIZE - 512, 0xa5, 512);
	return disk;
}

static void bitmap_of(const uint8_t *part, uint8_t bitmap[SPARSE_BITMAP])
{
	memset(bitmap, 0, SPARSE_BITMAP);
	for (unsigned int b = 0; b < SPARSE_BITMAP * 8; b++)
		if (!data_is_zero(part + b * SPARSE_BLOCK, SPARSE_BLOCK))
			bitmap[b / 8] |= (uint8_t)(1 << b % 8);
}

static int send_part(struct upload_session *s, const uint8_t *disk, uint64_t i)
{
	uint8_t bitmap[SPARSE_BITMAP], digest[DIGEST_SIZE];

	bitmap_of(disk + i * DIGEST_PART, bitmap);
	digest_part(disk + i * DIGEST_PART, digest_part_length(SIZE, i), digest);
	return upload_put_part(s, i, bitmap, disk + i * DIGEST_PART, digest, NULL);
}

static void disk_digest(const uint8_t *disk, uint8_t ret[DIGEST_SIZE])
{
	uint8_t *parts = malloc(PARTS * DIGEST_SIZE);

	for (uint64_t i = 0; i < PARTS; i++)
		digest_part(disk + i * DIGEST_PART, digest_part_length(SIZE, i), parts + i * DIGEST_SIZE);
	digest_disk(SIZE, parts, ret);
	free(parts);
}

static struct upload_request request(const char *file, const char *who, char key)
{
	struct upload_request r = {.size = SIZE};

	snprintf(r.file, sizeof(r.file), "%s", file);
	snprintf(r.who, sizeof(r.who), "%s", who);
	memset(r.session, key, UPLOAD_KEY_MAX - 1);
	return r;
}

static int begin(struct upload_store *store, struct upload_session **ret, const char *file, const char *who, char key)
{
	struct upload_request r = request(file, who, key);

	return upload_begin(store, &r, ret, NULL);
}

static void check_same(const char *file, enum image_format format, const uint8_t *disk)
{
	int dir = open(folder, O_RDONLY | O_DIRECTORY);
	struct image_source source = {.dirfd = dir, .name = file, .format = format};
	uint8_t *got = malloc(DIGEST_PART), *unit = NULL, digest[DIGEST_SIZE], kept[DIGEST_SIZE], whole[DIGEST_SIZE];
	struct image_error err = {""};
	struct image *img = NULL;
	unsigned int wrong = 0;

	if (image_open(&img, &source, &err))
		printf("# %s\n", err.text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(img);
	CU_ASSERT_EQUAL(image_info(img)->virtual_size, SIZE);
	for (uint64_t i = 0; i < PARTS; i++) {
		uint32_t length = digest_part_length(SIZE, i);

		CU_ASSERT_EQUAL(image_read_data(img, i * DIGEST_PART, got, length, &unit), 0);
		wrong += memcmp(got, disk + i * DIGEST_PART, length) != 0;
	}
	CU_ASSERT_EQUAL(wrong, 0);
	disk_digest(disk, whole);
	CU_ASSERT_EQUAL(digest_image(img, digest, NULL, NULL), 0);
	CU_ASSERT_EQUAL(memcmp(digest, whole, DIGEST_SIZE), 0);
	CU_ASSERT_EQUAL(digest_file_read(dir, file, kept), 0);
	CU_ASSERT_EQUAL(memcmp(kept, whole, DIGEST_SIZE), 0);
	image_close(img);
	free(got);
	free(unit);
	close(dir);
}

static void receive_whole(const char *file, enum image_format format)
{
	struct upload_store *store;
	struct upload_session *s = NULL;
	uint8_t *disk = disk_new(), digest[DIGEST_SIZE];
	struct upload_image result;
	char path[128];

	fresh();
	store = open_store();
	CU_ASSERT_EQUAL_FATAL(begin(store, &s, file, "PC101", 'a'), 0);
	for (uint64_t i = PARTS; i-- > 0;)
		CU_ASSERT_EQUAL(send_part(s, disk, i), 0);
	snprintf(path, sizeof(path), "%s/%s", folder, file);
	CU_ASSERT_EQUAL(access(path, F_OK), -1);
	CU_ASSERT_EQUAL(publishes, 0);
	disk_digest(disk, digest);
	CU_ASSERT_EQUAL_FATAL(upload_finish(s, digest, &result, NULL), 0);
	CU_ASSERT_EQUAL(publishes, 1);
	CU_ASSERT_STRING_EQUAL(result.image, "xp01");
	CU_ASSERT_STRING_EQUAL(result.file, file);
	CU_ASSERT_STRING_EQUAL(published.who, "PC101");
	CU_ASSERT(result.disk_bytes < SIZE / 2);
	check_same(file, format, disk);
	CU_ASSERT_EQUAL(upload_finish(s, digest, &result, NULL), 0); /* the answer was lost: asked again */
	CU_ASSERT_EQUAL(publishes, 1);
	upload_unref(s);
	upload_store_free(store);
	free(disk);
	clean();
}

static void test_upload_makes_vhd(void)
{
	receive_whole("xp01.vhd", IMAGE_VHD);
}

static void test_upload_makes_vmdk(void)
{
	receive_whole("xp01.vmdk", IMAGE_VMDK);
}

static void test_upload_damaged_part_refused(void)
{
	struct upload_store *store;
	struct upload_session *s = NULL;
	uint8_t *disk = disk_new(), bitmap[SPARSE_BITMAP], digest[DIGEST_SIZE];
	struct upload_error error = {.text = ""};
	struct upload_image result;

	fresh();
	store = open_store();
	CU_ASSERT_EQUAL_FATAL(begin(store, &s, "xp01.vhd", "PC101", 'a'), 0);
	bitmap_of(disk, bitmap);
	digest_part(disk, DIGEST_PART, digest);
	disk[12345] ^= 1;
	CU_ASSERT_EQUAL(upload_put_part(s, 0, bitmap, disk, digest, &error), -EBADMSG);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "damaged"));
	CU_ASSERT_EQUAL(upload_put_part(s, PARTS, bitmap, disk, digest, &error), -EINVAL);
	CU_ASSERT_EQUAL(upload_put_zero(s, 1, PARTS, &error), -EINVAL);
	CU_ASSERT_EQUAL(upload_put_zero(s, 0, PARTS, &error), 0);
	disk_digest(disk, digest);
	CU_ASSERT_EQUAL(upload_finish(s, digest, &result, &error), -EBADMSG); /* all there, but not this disk */
	CU_ASSERT_EQUAL(publishes, 0);
	upload_unref(s);
	upload_store_free(store);
	free(disk);
	clean();
}

static uint64_t missing(struct upload_session *s)
{
	uint8_t *digests = upload_digests(s), none[DIGEST_SIZE] = {0};
	uint64_t n = 0;

	for (uint64_t i = 0; i < PARTS; i++)
		n += memcmp(digests + i * DIGEST_SIZE, none, DIGEST_SIZE) == 0;
	free(digests);
	return n;
}

static void flip_byte(const char *name, off_t at)
{
	char path[128];
	uint8_t b;
	int fd;

	snprintf(path, sizeof(path), "%s/.upload/xp01/%s", folder, name);
	fd = open(path, O_RDWR);
	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(pread(fd, &b, 1, at), 1);
	b ^= 0xff;
	CU_ASSERT_EQUAL(pwrite(fd, &b, 1, at), 1);
	close(fd);
}

/* The server ends in the middle, a part's data never reached the disk: that part, and no other, is asked for again. */
static void test_upload_goes_on_after_restart(void)
{
	struct upload_store *store;
	struct upload_session *s = NULL;
	uint8_t *disk = disk_new(), digest[DIGEST_SIZE];
	struct upload_image result;

	fresh();
	store = open_store();
	CU_ASSERT_EQUAL_FATAL(begin(store, &s, "xp01.vmdk", "PC101", 'a'), 0);
	for (uint64_t i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(send_part(s, disk, i), 0);
	CU_ASSERT_EQUAL(send_part(s, disk, 6), 0); /* once more: takes the place of the first */
	upload_unref(s);
	upload_store_free(store);

	store = open_store();
	CU_ASSERT_EQUAL_FATAL(begin(store, &s, "xp01.vmdk", "PC101", 'a'), 0);
	CU_ASSERT_EQUAL(missing(s), PARTS - 20);
	upload_unref(s);
	upload_store_free(store);

	flip_byte("data", 1 << 20); /* within part 0, which is full */
	store = open_store();
	CU_ASSERT_EQUAL_FATAL(begin(store, &s, "xp01.vmdk", "PC101", 'b'), 0);
	CU_ASSERT_EQUAL(missing(s), PARTS - 19);
	for (uint64_t i = 20; i < PARTS; i++)
		CU_ASSERT_EQUAL(send_part(s, disk, i), 0);
	disk_digest(disk, digest);
	CU_ASSERT_EQUAL(upload_finish(s, digest, &result, NULL), -ENODATA);
	CU_ASSERT_EQUAL(send_part(s, disk, 0), 0);
	CU_ASSERT_EQUAL(upload_finish(s, digest, &result, NULL), 0);
	check_same("xp01.vmdk", IMAGE_VMDK, disk);
	upload_unref(s);
	upload_store_free(store);
	free(disk);
	clean();
}

/* A record of the journal is torn: it and what is behind it never happened. */
static void test_upload_torn_journal(void)
{
	struct upload_store *store;
	struct upload_session *s = NULL;
	uint8_t *disk = disk_new(), digest[DIGEST_SIZE];
	struct upload_image result;

	fresh();
	store = open_store();
	CU_ASSERT_EQUAL_FATAL(begin(store, &s, "xp01.vhd", "PC101", 'a'), 0);
	for (uint64_t i = 0; i < 12; i++)
		CU_ASSERT_EQUAL(send_part(s, disk, i), 0);
	upload_unref(s);
	upload_store_free(store);
	flip_byte("journal", 1024 + 64 * 7 + 20);
	store = open_store();
	CU_ASSERT_EQUAL_FATAL(begin(store, &s, "xp01.vhd", "PC101", 'c'), 0);
	CU_ASSERT_EQUAL(missing(s), PARTS - 7);
	for (uint64_t i = 7; i < PARTS; i++)
		CU_ASSERT_EQUAL(send_part(s, disk, i), 0);
	disk_digest(disk, digest);
	CU_ASSERT_EQUAL(upload_finish(s, digest, &result, NULL), 0);
	check_same("xp01.vhd", IMAGE_VHD, disk);
	upload_unref(s);
	upload_store_free(store);
	free(disk);
	clean();
}

/* The catalogue cannot be written at the end: nothing is lost, and the next start puts the image there. */
static void test_upload_end_carried_on(void)
{
	struct upload_store *store;
	struct upload_session *s = NULL;
	uint8_t *disk = disk_new(), digest[DIGEST_SIZE];
	struct upload_image result;
	char path[128];

	fresh();
	store = open_store();
	CU_ASSERT_EQUAL_FATAL(begin(store, &s, "xp01.vmdk", "PC101", 'a'), 0);
	for (uint64_t i = 0; i < PARTS; i++)
		CU_ASSERT_EQUAL(send_part(s, disk, i), 0);
	disk_digest(disk, digest);
	publish_result = -EIO;
	CU_ASSERT_EQUAL(upload_finish(s, digest, &result, NULL), -EIO);
	upload_unref(s);
	upload_store_free(store);
	publish_result = publishes = 0;
	store = open_store();
	CU_ASSERT_EQUAL(publishes, 1);
	CU_ASSERT_STRING_EQUAL(published.file, "xp01.vmdk");
	check_same("xp01.vmdk", IMAGE_VMDK, disk);
	snprintf(path, sizeof(path), "%s/xp01-2.vmdk", folder);
	CU_ASSERT_EQUAL(access(path, F_OK), -1); /* not a second name for it */
	CU_ASSERT_EQUAL_FATAL(begin(store, &s, "xp01.vmdk", "PC101", 'a'), 0); /* the sender never heard of the end */
	CU_ASSERT_EQUAL(upload_finish(s, digest, &result, NULL), 0);
	CU_ASSERT_EQUAL(publishes, 1);
	upload_unref(s);
	upload_store_free(store);
	free(disk);
	clean();
}

static void test_upload_one_at_a_time(void)
{
	struct upload_request r;
	struct upload_store *store;
	struct upload_session *s = NULL, *t = NULL;
	struct upload_error error = {.text = ""};
	uint8_t *disk = disk_new();

	fresh();
	store = open_store();
	CU_ASSERT_EQUAL_FATAL(begin(store, &s, "xp01.vmdk", "PC101", 'a'), 0);
	r = request("xp01.vmdk", "PC102", 'b');
	CU_ASSERT_EQUAL(upload_begin(store, &r, &t, &error), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "PC101 is uploading xp01.vmdk"));
	CU_ASSERT_EQUAL(begin(store, &t, "xp01.vhd", "PC102", 'b'), -EBUSY); /* the same image, another file */
	CU_ASSERT_EQUAL(begin(store, &t, "xp01.vmdk", "PC101", 'b'), -EBUSY); /* a second one on the same PC */
	CU_ASSERT_EQUAL(begin(store, &t, "xp02.vmdk", "PC102", 'b'), 0);
	upload_unref(t);
	CU_ASSERT_EQUAL(begin(store, &t, "xp01.vmdk", "PC101", 'a'), 0); /* its connection broke */
	CU_ASSERT_EQUAL(send_part(t, disk, 0), 0);
	upload_unref(t);
	CU_ASSERT_EQUAL(upload_abort_name(store, "xp01", NULL), 0);
	CU_ASSERT_EQUAL(send_part(s, disk, 1), -ESTALE);
	upload_unref(s);
	CU_ASSERT_EQUAL(begin(store, &s, "xp01.vmdk", "PC102", 'b'), 0);
	CU_ASSERT_EQUAL(missing(s), PARTS);
	upload_unref(s);
	CU_ASSERT_EQUAL(upload_abort_name(store, "../xp01", NULL), -EINVAL);
	CU_ASSERT_EQUAL(upload_abort_name(store, "xp09", NULL), -ENOENT);
	upload_store_free(store);
	free(disk);
	clean();
}

static void test_upload_names(void)
{
	static const char *const bad[] = {"xp01",	"xp01.raw",   "../xp01.vmdk", "a/b.vmdk", ".vmdk", ".hidden.vmdk",
					  "xp 01.vmdk", "xp01.vmdk/", "xp\n.vhd",     "",	  "x%s.vhd"};
	struct upload_store *store;
	struct upload_session *s = NULL;
	struct upload_request r;
	char path[128];
	int fd;

	fresh();
	store = open_store();
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_EQUAL(begin(store, &s, bad[i], "PC101", 'a'), -EINVAL);
	r = request("x.vhd", "PC101", 'a');
	r.size = ((uint64_t)2040 << 30) + 512;
	CU_ASSERT_EQUAL(upload_begin(store, &r, &s, NULL), -EFBIG);
	r.size = 1000;
	CU_ASSERT_EQUAL(upload_begin(store, &r, &s, NULL), -EINVAL);
	r = request("x.vhd", "PC101", 'z'); /* no hexadecimal key */
	CU_ASSERT_EQUAL(upload_begin(store, &r, &s, NULL), -EINVAL);
	r = request("x.vhd", "PC101", 'a');
	r.size = (uint64_t)2040 << 30;
	CU_ASSERT_EQUAL(upload_begin(store, &r, &s, NULL), -ENOSPC); /* nobody tests this on such a disk */
	exists = 1;
	CU_ASSERT_EQUAL(begin(store, &s, "xp01.vhd", "PC101", 'a'), -EEXIST);
	exists = 0;
	r = request("x.vhd", "PC101", 'a');
	r.update = true;
	CU_ASSERT_EQUAL(upload_begin(store, &r, &s, NULL), -ENOENT);
	snprintf(path, sizeof(path), "%s/old.vhd", folder);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	CU_ASSERT_EQUAL(begin(store, &s, "old.vhd", "PC101", 'a'), -EEXIST);
	upload_store_free(store);
	clean();
}

/* The next generation of an image gets a file of its own beside the old one. */
static void test_upload_next_generation(void)
{
	struct upload_request r = request("xp01.vhd", "PC101", 'a');
	uint8_t *disk = disk_new(), digest[DIGEST_SIZE];
	struct upload_store *store;
	struct upload_session *s = NULL;
	struct upload_image result;
	char path[128];
	int fd;

	fresh();
	snprintf(path, sizeof(path), "%s/xp01.vhd", folder);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	exists = 1;
	r.update = true;
	store = open_store();
	CU_ASSERT_EQUAL_FATAL(upload_begin(store, &r, &s, NULL), 0);
	for (uint64_t i = 0; i < PARTS; i++)
		CU_ASSERT_EQUAL(send_part(s, disk, i), 0);
	disk_digest(disk, digest);
	CU_ASSERT_EQUAL(upload_finish(s, digest, &result, NULL), 0);
	CU_ASSERT_STRING_EQUAL(result.file, "xp01-2.vhd");
	CU_ASSERT(result.update);
	check_same("xp01-2.vhd", IMAGE_VHD, disk);
	upload_unref(s);
	upload_store_free(store);
	free(disk);
	clean();
}

static void test_digest_known_answers(void)
{
	uint8_t zero[512] = {0}, a[DIGEST_SIZE], b[DIGEST_SIZE];
	uint8_t *part = calloc(1, DIGEST_PART);
	char text[DIGEST_TEXT];

	digest_part("abc", 3, a);
	digest_to_text(a, text);
	CU_ASSERT_STRING_EQUAL(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	CU_ASSERT_EQUAL(digest_from_text(text, b), 0);
	CU_ASSERT_EQUAL(memcmp(a, b, DIGEST_SIZE), 0);
	CU_ASSERT_EQUAL(digest_from_text("ba78", b), -EINVAL);
	digest_zero(DIGEST_PART, a);
	digest_part(part, DIGEST_PART, b);
	CU_ASSERT_EQUAL(memcmp(a, b, DIGEST_SIZE), 0);
	digest_zero(512, a);
	digest_part(zero, 512, b);
	CU_ASSERT_EQUAL(memcmp(a, b, DIGEST_SIZE), 0);
	CU_ASSERT(data_is_zero(zero, 512) && data_is_zero(zero, 7) && data_is_zero(zero, 17));
	for (unsigned int i = 0; i < 40; i++) {
		zero[i] = 1;
		CU_ASSERT(!data_is_zero(zero, 40));
		zero[i] = 0;
	}
	free(part);
}

UNIT_MAIN(UNIT(test_digest_known_answers), UNIT(test_upload_names), UNIT(test_upload_makes_vhd),
	  UNIT(test_upload_makes_vmdk), UNIT(test_upload_damaged_part_refused), UNIT(test_upload_goes_on_after_restart),
	  UNIT(test_upload_torn_journal), UNIT(test_upload_end_carried_on), UNIT(test_upload_one_at_a_time),
	  UNIT(test_upload_next_generation))
