/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Receiving images: sessions, journal, layout. Files in a folder of its own; the network is tested in tests/net. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "daemon/image/digest_file.h"
#include "daemon/upload/journal.h"
#include "daemon/upload/session.h"
#include "tests/unit/unit.h"

#define SIZE  (37 * DIGEST_PART + 70 * 512) /* the last part is short, and no whole number of blocks */
#define PARTS (digest_parts(SIZE))

static char folder[64];
static struct upload_image published;
static unsigned int publishes;
static int exists, publish_result;

/* --- the file system: how much room it has, and a moment in the middle of writing a part --- */
static uint64_t room;               /* bytes */
static void (*while_writing)(void); /* once */

int fstatvfs(int fd, struct statvfs *ret)
{
	(void)fd;
	*ret = (struct statvfs){.f_bsize = 512, .f_frsize = 512, .f_bavail = room / 512};
	return 0;
}

int sync_file_range(int fd, off_t offset, off_t length, unsigned int flags)
{
	void (*fn)(void) = while_writing;

	(void)fd, (void)offset, (void)length, (void)flags;
	while_writing = NULL;
	if (fn)
		fn();
	return 0;
}

static int op_exists(void *arg, const char *image)
{
	(void)arg;
	(void)image;
	return exists;
}

static char newest[UPLOAD_NAME_MAX + 16];

static int op_newest(void *arg, const char *image, char ret[UPLOAD_NAME_MAX + 16])
{
	(void)arg;
	CU_ASSERT_STRING_EQUAL(image, "xp01");
	memcpy(ret, newest, sizeof(newest));
	return newest[0] != '\0';
}

static int op_publish(void *arg, struct upload_image *image, struct upload_refusal *error)
{
	(void)arg;
	published = *image;
	publishes++;
	if (publish_result && error)
		snprintf(error->why.text, sizeof(error->why.text), "no");
	return publish_result;
}

static struct upload_store *open_store(void)
{
	struct upload_ops ops = {.exists = op_exists, .newest = op_newest, .publish = op_publish};
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
	newest[0] = '\0';
	room = (uint64_t)100 << 30;
	while_writing = NULL;
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
	struct sentence err = {""};
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
	struct upload_refusal error = {.why = {""}};
	struct upload_image result;

	fresh();
	store = open_store();
	CU_ASSERT_EQUAL_FATAL(begin(store, &s, "xp01.vhd", "PC101", 'a'), 0);
	bitmap_of(disk, bitmap);
	digest_part(disk, DIGEST_PART, digest);
	disk[12345] ^= 1;
	CU_ASSERT_EQUAL(upload_put_part(s, 0, bitmap, disk, digest, &error), -EBADMSG);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.why.text, "damaged"));
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
	upload_unref(s);
	upload_store_free(store);
	store = open_store(); /* what was noted after the torn one is found */
	CU_ASSERT_EQUAL_FATAL(begin(store, &s, "xp01.vhd", "PC101", 'c'), 0);
	CU_ASSERT_EQUAL(missing(s), 0);
	disk_digest(disk, digest);
	CU_ASSERT_EQUAL(upload_finish(s, digest, &result, NULL), 0);
	check_same("xp01.vhd", IMAGE_VHD, disk);
	upload_unref(s);
	upload_store_free(store);
	free(disk);
	clean();
}

static int count_record(void *arg, const struct upload_record *record)
{
	unsigned int *n = arg;

	CU_ASSERT_EQUAL(record->part, *n);
	++*n;
	return 0;
}

/* The disk is full in the middle of a record: what was written of it goes, and the next one stands in its place. */
static void test_upload_journal_record_written_in_part(void)
{
	struct upload_header header = {.file = "xp01.vhd", .size = SIZE}, back;
	struct upload_record record = {.type = UPLOAD_RECORD_ZERO, .count = 1};
	struct rlimit all, little;
	unsigned int n = 0;
	struct stat st;
	int dir, fd = -1;

	fresh();
	dir = open(folder, O_RDONLY | O_DIRECTORY);
	CU_ASSERT_EQUAL_FATAL(journal_create(dir, "journal", &header, &fd), 0);
	CU_ASSERT_EQUAL(journal_append(fd, &record), 0);
	CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_FSIZE, &all), 0);
	little = all;
	little.rlim_cur = 1024 + 64 + 20;
	signal(SIGXFSZ, SIG_IGN);
	record.part = 1;
	CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_FSIZE, &little), 0);
	CU_ASSERT_EQUAL(journal_append(fd, &record), -ENOSPC);
	CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_FSIZE, &all), 0);
	CU_ASSERT(fstat(fd, &st) == 0 && st.st_size == 1024 + 64);
	CU_ASSERT_EQUAL(journal_append(fd, &record), 0);
	close(fd);
	CU_ASSERT_EQUAL(journal_open(dir, "journal", &back, count_record, &n, NULL), 0);
	CU_ASSERT_EQUAL(n, 2);
	close(dir);
	clean();
}

/* A journal that is whole and says what no upload of this disk can have: it is not followed, the upload begins anew. */
static void test_upload_journal_of_another_disk(void)
{
	const struct upload_record bad[] = {
		{.type = UPLOAD_RECORD_ZERO, .part = PARTS, .count = 0},
		{.type = UPLOAD_RECORD_ZERO, .part = PARTS, .count = 1},
		{.type = UPLOAD_RECORD_ZERO, .part = 0xffffffff, .count = 1},
		{.type = UPLOAD_RECORD_ZERO, .part = 1, .count = PARTS},
		{.type = UPLOAD_RECORD_PART, .part = PARTS},
		{.type = UPLOAD_RECORD_PART, .part = 0xffffffff},
		{.type = UPLOAD_RECORD_PART, .part = 0, .place = {.first = 1, .units = 1}},
	};
	struct upload_store *store;
	struct upload_session *s = NULL;
	uint8_t *disk = disk_new();
	char path[128];

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd;

		fresh();
		store = open_store();
		CU_ASSERT_EQUAL_FATAL(begin(store, &s, "xp01.vhd", "PC101", 'a'), 0);
		CU_ASSERT_EQUAL(send_part(s, disk, 0), 0);
		upload_unref(s);
		upload_store_free(store);
		snprintf(path, sizeof(path), "%s/.upload/xp01/journal", folder);
		fd = open(path, O_RDWR);
		CU_ASSERT_EQUAL_FATAL(journal_append(fd, &bad[i]), 0);
		close(fd);
		s = NULL;
		store = open_store();
		CU_ASSERT_EQUAL_FATAL(begin(store, &s, "xp01.vhd", "PC101", 'a'), 0);
		CU_ASSERT_EQUAL(missing(s), PARTS); /* it begins anew */
		upload_unref(s);
		upload_store_free(store);
		clean();
	}
	free(disk);
}

/* The last of the file system is not for uploads; what takes no room is taken all the same. */
static void test_upload_leaves_room(void)
{
	struct upload_store *store;
	struct upload_session *s = NULL;
	uint8_t *disk = disk_new();

	fresh();
	store = open_store();
	CU_ASSERT_EQUAL_FATAL(begin(store, &s, "xp01.vhd", "PC101", 'a'), 0);
	room = UPLOAD_RESERVE + DIGEST_PART - 512;
	CU_ASSERT_EQUAL(send_part(s, disk, 0), -ENOSPC);
	CU_ASSERT_EQUAL(send_part(s, disk, 1), 0); /* zeros */
	room = UPLOAD_RESERVE + DIGEST_PART;
	CU_ASSERT_EQUAL(send_part(s, disk, 0), 0);
	CU_ASSERT_EQUAL(missing(s), PARTS - 2);
	upload_unref(s);
	upload_store_free(store);
	free(disk);
	clean();
}

static struct {
	struct upload_session *s;
	const uint8_t *disk;
	int part, zero, other;
} second;

static void send_second(void)
{
	second.part = send_part(second.s, second.disk, 0);
	second.zero = upload_put_zero(second.s, 0, 1, NULL);
	second.other = send_part(second.s, second.disk, 3);
}

/* While a part is being written nobody else writes it: half of it would be of one sender, half of the other. */
static void test_upload_part_by_one_at_a_time(void)
{
	struct upload_store *store;
	uint8_t *disk = disk_new();

	fresh();
	store = open_store();
	CU_ASSERT_EQUAL_FATAL(begin(store, &second.s, "xp01.vhd", "PC101", 'a'), 0);
	second.disk = disk;
	while_writing = send_second;
	CU_ASSERT_EQUAL(send_part(second.s, disk, 0), 0);
	CU_ASSERT_EQUAL(second.part, -EBUSY);
	CU_ASSERT_EQUAL(second.zero, -EBUSY);
	CU_ASSERT_EQUAL(second.other, 0);
	CU_ASSERT_EQUAL(missing(second.s), PARTS - 2);
	upload_unref(second.s);
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
	CU_ASSERT_EQUAL(access(path, F_OK), -1);                               /* not a second name for it */
	CU_ASSERT_EQUAL_FATAL(begin(store, &s, "xp01.vmdk", "PC101", 'a'), 0); /* the sender never heard of the end */
	CU_ASSERT_EQUAL(upload_finish(s, digest, &result, NULL), 0);
	CU_ASSERT_EQUAL(publishes, 1);
	upload_unref(s);
	upload_store_free(store);
	free(disk);
	clean();
}

/*
 * Server and sender die when the upload is whole; the server makes the generation at its start, and the sender comes
 * with another key and sends the same disk: that is the generation which it made before, and no other one.
 */
static void test_upload_same_disk_is_no_second_generation(void)
{
	struct upload_store *store;
	struct upload_session *s = NULL;
	uint8_t *disk = disk_new(), digest[DIGEST_SIZE];
	struct upload_request r = request("xp01.vmdk", "PC101", 'a');
	struct upload_image result;
	char path[128];

	fresh();
	exists = 1;
	r.update = true;
	for (int attempt = 0; attempt < 3; attempt++) {
		store = open_store();
		r.session[0] = (char)('a' + attempt);
		CU_ASSERT_EQUAL_FATAL(upload_begin(store, &r, &s, NULL), 0);
		disk[0] ^= attempt == 2; /* another disk is another generation */
		for (uint64_t i = 0; i < PARTS; i++)
			CU_ASSERT_EQUAL(send_part(s, disk, i), 0);
		disk_digest(disk, digest);
		publish_result = attempt ? 0 : -EIO;
		CU_ASSERT_EQUAL(upload_finish(s, digest, &result, NULL), publish_result);
		upload_unref(s);
		upload_store_free(store);
		publish_result = 0;
		store = open_store(); /* at the first attempt it is made now */
		upload_store_free(store);
		CU_ASSERT_STRING_EQUAL(published.file, attempt < 2 ? "xp01.vmdk" : "xp01-2.vmdk");
		memcpy(newest, published.file, sizeof(newest));
		snprintf(path, sizeof(path), "%s/xp01-2.vmdk", folder);
		CU_ASSERT_EQUAL(access(path, F_OK), attempt < 2 ? -1 : 0);
	}
	free(disk);
	clean();
}

static void test_upload_one_at_a_time(void)
{
	struct upload_request r;
	struct upload_store *store;
	struct upload_session *s = NULL, *t = NULL;
	struct upload_refusal error = {.why = {""}};
	uint8_t *disk = disk_new();
	char who[UPLOAD_WHO_MAX];

	fresh();
	store = open_store();
	CU_ASSERT_EQUAL_FATAL(begin(store, &s, "xp01.vmdk", "PC101", 'a'), 0);
	r = request("xp01.vmdk", "PC102", 'b');
	CU_ASSERT_EQUAL(upload_begin(store, &r, &t, &error), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.why.text, "PC101 is uploading xp01.vmdk"));
	CU_ASSERT_EQUAL(begin(store, &t, "xp01.vhd", "PC102", 'b'), -EBUSY);  /* the same image, another file */
	CU_ASSERT_EQUAL(begin(store, &t, "xp01.vmdk", "PC101", 'b'), -EBUSY); /* a second one on the same PC */
	CU_ASSERT_EQUAL(begin(store, &t, "xp02.vmdk", "PC102", 'b'), 0);
	upload_unref(t);
	CU_ASSERT_EQUAL(begin(store, &t, "xp01.vmdk", "PC101", 'a'), 0); /* its connection broke */
	CU_ASSERT_EQUAL(send_part(t, disk, 0), 0);
	upload_unref(t);
	CU_ASSERT_EQUAL(upload_abort_name(store, "xp01", who, NULL), 0);
	CU_ASSERT_EQUAL(send_part(s, disk, 1), -ESTALE);
	upload_unref(s);
	CU_ASSERT_EQUAL(begin(store, &s, "xp01.vmdk", "PC102", 'b'), 0);
	CU_ASSERT_EQUAL(missing(s), PARTS);
	upload_unref(s);
	CU_ASSERT_EQUAL(upload_abort_name(store, "../xp01", who, NULL), -EINVAL);
	CU_ASSERT_EQUAL(upload_abort_name(store, "xp09", who, NULL), -ENOENT);
	upload_store_free(store);
	free(disk);
	clean();
}

/* Who comes with a secret whose upload is done may hear of its end again, and begin nothing; also after a restart. */
static void test_upload_spent(void)
{
	struct upload_store *store;
	struct upload_session *s = NULL;
	struct upload_refusal error = {.why = {""}};
	struct upload_request r = request("xp01.vmdk", "PC101", 'a');
	uint8_t *disk = disk_new(), digest[DIGEST_SIZE];
	struct upload_image result;
	char who[UPLOAD_WHO_MAX];

	fresh();
	store = open_store();
	r.spent = true;
	CU_ASSERT_EQUAL(upload_begin(store, &r, &s, &error), -EACCES); /* there is none yet */
	r.spent = false;
	r.pc = true;
	CU_ASSERT_EQUAL_FATAL(upload_begin(store, &r, &s, &error), 0);
	CU_ASSERT(upload_by_pc(s) && !upload_is_whole(s));
	upload_unref(s);
	r.spent = true;
	CU_ASSERT_EQUAL(upload_begin(store, &r, &s, &error), -EACCES); /* one that goes on */
	r.spent = false;
	CU_ASSERT_EQUAL_FATAL(upload_begin(store, &r, &s, &error), 0);
	for (uint64_t i = 0; i < PARTS; i++)
		CU_ASSERT_EQUAL(send_part(s, disk, i), 0);
	disk_digest(disk, digest);
	CU_ASSERT_EQUAL_FATAL(upload_finish(s, digest, &result, NULL), 0);
	CU_ASSERT(published.pc && !published.make_current && upload_is_whole(s));
	upload_unref(s);
	r.spent = true;
	for (unsigned int restarts = 0; restarts < 2; restarts++) {
		CU_ASSERT_EQUAL_FATAL(upload_begin(store, &r, &s, &error), 0);
		CU_ASSERT_EQUAL(upload_finish(s, digest, &result, NULL), 0);
		CU_ASSERT_EQUAL(publishes, 1);
		CU_ASSERT_EQUAL(send_part(s, disk, 0), -ESTALE);
		upload_unref(s);
		r.session[0] = 'c'; /* another attempt */
		CU_ASSERT_EQUAL(upload_begin(store, &r, &s, &error), -EACCES);
		r.session[0] = 'a';
		upload_store_free(store);
		store = open_store();
	}
	CU_ASSERT_EQUAL(upload_abort_name(store, "xp01", who, NULL), 0);
	CU_ASSERT_STRING_EQUAL(who, "PC101");
	upload_store_free(store);
	free(disk);
	clean();
}

static void test_upload_names(void)
{
	static const char *const bad[] = {"xp01",         "xp01.raw",   "../xp01.vmdk", "a/b.vmdk", ".vmdk",
					  ".hidden.vmdk", "xp 01.vmdk", "xp01.vmdk/",   "xp\n.vhd", "",
					  "x%s.vhd"};
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
	CU_ASSERT_EQUAL(upload_begin(store, &r, &s, NULL), -ENOSPC);
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
	  UNIT(test_upload_torn_journal), UNIT(test_upload_journal_record_written_in_part),
	  UNIT(test_upload_journal_of_another_disk), UNIT(test_upload_leaves_room),
	  UNIT(test_upload_part_by_one_at_a_time), UNIT(test_upload_end_carried_on),
	  UNIT(test_upload_same_disk_is_no_second_generation), UNIT(test_upload_one_at_a_time), UNIT(test_upload_spent),
	  UNIT(test_upload_next_generation))
