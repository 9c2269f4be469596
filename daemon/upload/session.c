// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One upload on disk: IMAGES/.upload/NAME/ holds `data`, the image as it grows (sparse_file.h), and `journal`, which
 * says for each part where it lies and what its digest is (upload/journal.h).
 *
 * A part is written to `data`, then noted in the journal; neither is synced, because a sync for each part would halve
 * the speed and prove little. Instead, whoever loads an old journal reads every part back and believes only those that
 * are what their digest says: after a kill that is all of them, after a power cut those that reached the disk.
 *
 * The end, in this order, each step durable before the next: tables and data are synced; the image is opened by the
 * same library that will serve it, and every unit compared with the journal; DONE is noted; the file gets its name in
 * the folder of images; its checksum is kept; it is published; `data`, the other name of the file, goes. A crash after
 * DONE is carried on when the server starts.
 */
#include "daemon/upload/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "daemon/image/digest_file.h"
#include "daemon/upload/private.h"

#define DATA              "data"
#define JOURNAL           "journal"
#define METADATA_RESERVED ((uint64_t)64 << 20) /* bytes of tables that are given their space at the start */

/* --- files --------------------------------------------------------------------------------------------------------*/

void session_close(struct upload_session *s)
{
	int *fds[] = {&s->dirfd, &s->data, &s->journal};

	for (unsigned int i = 0; i < 3; i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
	sparse_free(s->sparse);
	s->sparse = NULL;
}

void session_free(struct upload_session *s)
{
	if (!s)
		return;
	session_close(s);
	free(s->part);
	free(s->digest);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int session_files_remove(struct upload_store *store, const char *image)
{
	int dir = openat(store->dir, image, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (dir < 0)
		return errno == ENOENT ? 0 : -errno;
	unlinkat(dir, JOURNAL, 0); /* first: without it the rest means nothing */
	unlinkat(dir, DATA, 0);
	close(dir);
	return unlinkat(store->dir, image, AT_REMOVEDIR) < 0 ? -errno : 0;
}

static int alloc_parts(struct upload_session *s)
{
	s->parts = digest_parts(s->header.size);
	s->part = calloc(s->parts, sizeof(*s->part));
	s->digest = calloc(s->parts, DIGEST_SIZE);
	return s->part && s->digest ? 0 : -ENOMEM;
}

static int open_data(struct upload_session *s, int flags)
{
	s->data = openat(s->dirfd, DATA, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0644);
	if (s->data < 0)
		return -errno;
	return sparse_new(&s->sparse, s->data, s->format, s->header.size);
}

static int space_fail(struct upload_session *s, int code, struct upload_refusal *error)
{
	if (code == -ENOSPC || code == -EDQUOT)
		return upload_fail(
			error, -ENOSPC,
			"%s: the server's disk with the images (%s) is full; make room there, then go on: what "
			"was sent is kept",
			s->header.file, s->store->path);
	if (code == -EFBIG)
		return upload_fail(error, code, "%s: the disk does not fit into this format", s->header.file);
	return upload_fail(error, code, "%s: the server cannot write in %s: %s", s->header.file, s->store->path,
			   strerror(-code));
}

int session_create(struct upload_session *s, struct upload_refusal *error)
{
	int r = 0;

	if (mkdirat(s->store->dir, s->image, 0700) < 0)
		return space_fail(s, -errno, error);
	s->dirfd = openat(s->store->dir, s->image, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (s->dirfd < 0)
		r = -errno;
	if (r == 0)
		r = alloc_parts(s);
	if (r == 0)
		r = open_data(s, O_CREAT | O_EXCL);
	if (r == 0 && sparse_metadata(s->sparse) <= METADATA_RESERVED &&
	    fallocate(s->data, 0, 0, (off_t)sparse_metadata(s->sparse)) < 0 && errno == ENOSPC)
		r = -ENOSPC;
	if (r == 0)
		r = journal_create(s->dirfd, JOURNAL, &s->header, &s->journal);
	if (r == 0)
		return 0;
	session_close(s);
	session_files_remove(s->store, s->image);
	return space_fail(s, r, error);
}

/* --- loading ------------------------------------------------------------------------------------------------------*/

static void set_zero(struct upload_session *s, uint64_t i)
{
	sparse_drop(s->sparse, i);
	s->part[i] = (struct upload_part){.state = PART_ZERO};
	digest_zero(digest_part_length(s->header.size, i), s->digest + i * DIGEST_SIZE);
}

static int load_record(void *arg, const struct upload_record *record)
{
	struct upload_session *s = arg;

	if (record->part >= s->parts)
		return -EBADMSG;
	if (record->type == UPLOAD_RECORD_ZERO) {
		if (record->count > s->parts - record->part)
			return -EBADMSG;
		for (uint64_t i = record->part; i < record->part + record->count; i++)
			set_zero(s, i);
		return 0;
	}
	if (sparse_restore(s->sparse, record->part, &record->place) < 0)
		return -EBADMSG;
	s->part[record->part] = (struct upload_part){.place = record->place, .state = PART_DATA};
	memcpy(s->digest + record->part * DIGEST_SIZE, record->digest, DIGEST_SIZE);
	return 0;
}

static void forget(struct upload_session *s, uint64_t i)
{
	sparse_drop(s->sparse, i);
	s->part[i] = (struct upload_part){.state = PART_MISSING};
	memset(s->digest + i * DIGEST_SIZE, 0, DIGEST_SIZE);
}

static uint32_t count_used(const uint8_t *data, uint32_t length)
{
	uint32_t bytes = 0;

	for (uint32_t at = 0; at < length; at += SPARSE_BLOCK) {
		uint32_t n = length - at < SPARSE_BLOCK ? length - at : SPARSE_BLOCK;

		if (!data_is_zero(data + at, n))
			bytes += n;
	}
	return bytes;
}

/* Reads back all parts, and counts them. */
static int verify_parts(struct upload_session *s)
{
	uint8_t *data = malloc(DIGEST_PART), digest[DIGEST_SIZE];

	if (!data)
		return -ENOMEM;
	for (uint64_t i = 0; i < s->parts; i++) {
		uint32_t length = digest_part_length(s->header.size, i);

		if (s->part[i].state == PART_DATA) {
			if (sparse_read(s->sparse, i, &s->part[i].place, data) == 0)
				digest_part(data, length, digest);
			else
				memset(digest, 0, sizeof(digest));
			if (memcmp(digest, s->digest + i * DIGEST_SIZE, DIGEST_SIZE))
				forget(s, i);
			else
				s->part[i].bytes = count_used(data, length);
			s->verified++;
		}
		if (s->part[i].state != PART_MISSING)
			s->parts_have++;
		s->received += s->part[i].bytes;
	}
	free(data);
	return 0;
}

struct loading {
	struct upload_session *s;
	enum session_state *state;
};

static int see_done(void *arg, const struct upload_record *record)
{
	struct loading *load = arg;

	if (record->type == UPLOAD_RECORD_DONE) {
		*load->state = SESSION_DONE;
		memcpy(load->s->result.digest, record->digest, DIGEST_SIZE);
	}
	return 0;
}

static int load_header(struct upload_session *s, enum session_state *state)
{
	struct loading loading = {s, state};
	struct upload_header header;
	int r;

	s->dirfd = openat(s->store->dir, s->image, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (s->dirfd < 0)
		return -errno;
	r = journal_open(s->dirfd, JOURNAL, &header, see_done, &loading, NULL);
	if (r)
		return r;
	s->header = header;
	snprintf(s->result.image, sizeof(s->result.image), "%s", s->image);
	if (!header.size || header.size % 512 || header.size > IMAGE_SIZE_MAX)
		return -EBADMSG;
	return sparse_format(header.file, &s->format);
}

int session_load(struct upload_session *s, enum session_state *ret, struct upload_refusal *error)
{
	struct upload_header header;
	int r;

	*ret = SESSION_OPEN;
	r = load_header(s, ret);
	if (r == 0)
		r = open_data(s, 0);
	if ((r == 0 || r == -ENOENT) && *ret == SESSION_DONE)
		return 0;
	if (r == 0)
		r = alloc_parts(s);
	if (r == 0)
		r = journal_open(s->dirfd, JOURNAL, &header, load_record, s, &s->journal);
	if (r == 0)
		r = verify_parts(s);
	if (r == 0)
		return 0;
	session_close(s);
	return upload_fail(error, r, "%s: the unfinished upload on the server cannot be read: %s", s->image,
			   strerror(-r));
}

/* --- receiving ----------------------------------------------------------------------------------------------------*/

static void sample_rate(struct upload_session *s)
{
	time_t now = upload_now();

	s->last_seen = now;
	if (s->samples && s->sample[(s->samples - 1) % RATE_SAMPLES].at + 1 > now)
		return;
	s->sample[s->samples++ % RATE_SAMPLES] = (struct rate_sample){now, s->received};
}

static int check_open(struct upload_session *s, struct upload_refusal *error)
{
	if (s->state == SESSION_OPEN)
		return 0;
	if (s->state == SESSION_ENDED)
		return upload_fail(error, -ESTALE, "%s: this upload was ended or taken over", s->header.file);
	return upload_fail(error, -ESTALE, "%s: this upload is finished", s->header.file);
}

static void uncount(struct upload_session *s, uint64_t i)
{
	if (s->part[i].state == PART_ZERO || s->part[i].state == PART_DATA)
		s->parts_have--;
	s->received -= s->part[i].bytes;
	s->part[i] = (struct upload_part){.state = PART_MISSING};
	memset(s->digest + i * DIGEST_SIZE, 0, DIGEST_SIZE);
}

static bool bitmap_any(const uint8_t *bitmap)
{
	return !data_is_zero(bitmap, SPARSE_BITMAP);
}

static uint32_t bitmap_bytes(const uint8_t *bitmap)
{
	uint32_t n = 0;

	for (size_t i = 0; i < SPARSE_BITMAP; i++)
		n += (uint32_t)__builtin_popcount(bitmap[i]);
	return n * SPARSE_BLOCK;
}

/* The last of the file system is for the others: leases, other images' tables, a log. */
static int check_room(const struct upload_session *s, uint32_t bytes)
{
	struct statvfs fs;

	if (fstatvfs(s->store->images, &fs) < 0)
		return -errno;
	return (uint64_t)fs.f_bavail * fs.f_frsize < UPLOAD_RESERVE + bytes ? -ENOSPC : 0;
}

/* Under the lock: takes the part and finds room for it. */
static int part_begin(struct upload_session *s, uint64_t i, const uint8_t *bitmap, struct sparse_place *place,
		      struct upload_refusal *error)
{
	int r = check_open(s, error);

	if (r)
		return r;
	if (i >= s->parts)
		return upload_fail(error, -EINVAL, "%s: the disk has no part %llu", s->header.file,
				   (unsigned long long)i);
	if (s->part[i].state == PART_BUSY)
		return upload_fail(error, -EBUSY, "%s: part %llu is being written already", s->header.file,
				   (unsigned long long)i);
	r = check_room(s, bitmap_bytes(bitmap));
	if (r)
		return space_fail(s, r, error);
	uncount(s, i);
	r = sparse_place(s->sparse, i, bitmap, place);
	if (r)
		return space_fail(s, r, error);
	s->part[i].state = PART_BUSY;
	return 0;
}

/* Under the lock again: it counts now, or never happened. */
static int part_end(struct upload_session *s, uint64_t i, const struct sparse_place *place, uint32_t bytes,
		    const uint8_t *digest, int r)
{
	struct upload_record record = {.type = UPLOAD_RECORD_PART, .part = i, .place = *place};

	s->part[i].state = PART_MISSING;
	if (r == 0 && s->state != SESSION_OPEN)
		r = -ESTALE;
	if (r == 0) {
		memcpy(record.digest, digest, DIGEST_SIZE);
		r = journal_append(s->journal, &record);
	}
	if (r) {
		if (s->sparse)
			sparse_drop(s->sparse, i);
		return r;
	}
	s->part[i] = (struct upload_part){.place = *place, .bytes = bytes, .state = PART_DATA};
	memcpy(s->digest + i * DIGEST_SIZE, digest, DIGEST_SIZE);
	s->parts_have++;
	s->received += bytes;
	sample_rate(s);
	return 0;
}

int upload_put_part(struct upload_session *s, uint64_t part, const uint8_t bitmap[SPARSE_BITMAP], const uint8_t *data,
		    const uint8_t digest[DIGEST_SIZE], struct upload_refusal *error)
{
	uint8_t found[DIGEST_SIZE];
	struct sparse_place place;
	int r;

	if (part >= digest_parts(s->header.size))
		return upload_fail(error, -EINVAL, "%s: the disk has no part %llu", s->header.file,
				   (unsigned long long)part);
	digest_part(data, digest_part_length(s->header.size, part), found);
	if (memcmp(found, digest, DIGEST_SIZE))
		return upload_fail(error, -EBADMSG, "%s: part %llu was damaged on the way: its checksum is another one",
				   s->header.file, (unsigned long long)part);
	if (!bitmap_any(bitmap))
		return upload_put_zero(s, part, 1, error);
	pthread_mutex_lock(&s->lock);
	r = part_begin(s, part, bitmap, &place, error);
	pthread_mutex_unlock(&s->lock);
	if (r)
		return r;
	r = sparse_write(s->sparse, part, &place, bitmap, data);
	if (r == 0) /* let the disk begin, so that the sync at the end is short */
		sync_file_range(s->data, (off_t)(place.first * 512), DIGEST_PART + 8192, SYNC_FILE_RANGE_WRITE);
	pthread_mutex_lock(&s->lock);
	r = part_end(s, part, &place, bitmap_bytes(bitmap), digest, r);
	pthread_mutex_unlock(&s->lock);
	if (r == -ESTALE)
		return upload_fail(error, r, "%s: this upload was ended or taken over", s->header.file);
	return r ? space_fail(s, r, error) : 0;
}

int upload_put_zero(struct upload_session *s, uint64_t first, uint64_t count, struct upload_refusal *error)
{
	struct upload_record record = {.type = UPLOAD_RECORD_ZERO, .part = first, .count = count};
	int r;

	pthread_mutex_lock(&s->lock);
	r = check_open(s, error);
	if (r == 0 && (first >= s->parts || !count || count > s->parts - first))
		r = upload_fail(error, -EINVAL, "%s: the disk has no such parts", s->header.file);
	for (uint64_t i = first; r == 0 && i < first + count; i++)
		if (s->part[i].state == PART_BUSY)
			r = upload_fail(error, -EBUSY, "%s: part %llu is being written", s->header.file,
					(unsigned long long)i);
	if (r == 0) {
		r = journal_append(s->journal, &record);
		if (r)
			space_fail(s, r, error);
	}
	for (uint64_t i = first; r == 0 && i < first + count; i++) {
		uncount(s, i);
		set_zero(s, i);
		s->parts_have++;
	}
	if (r == 0)
		sample_rate(s);
	pthread_mutex_unlock(&s->lock);
	return r;
}

uint8_t *upload_digests(struct upload_session *s)
{
	uint8_t *copy = calloc(digest_parts(s->header.size), DIGEST_SIZE);

	if (!copy)
		return NULL;
	pthread_mutex_lock(&s->lock);
	if (s->digest) /* a finished one, loaded from disk, has none any more */
		memcpy(copy, s->digest, s->parts * DIGEST_SIZE);
	s->last_seen = upload_now();
	pthread_mutex_unlock(&s->lock);
	return copy;
}

/* --- the end ------------------------------------------------------------------------------------------------------*/

struct findings {
	char first[256];
	unsigned int count;
};

static void note_finding(void *arg, const char *finding, const char *fix)
{
	struct findings *f = arg;

	(void)fix;
	if (f->count++ == 0)
		snprintf(f->first, sizeof(f->first), "%s", finding);
}

/* Opens the image as a boot would, and compares. */
static int check_image(struct upload_session *s, struct upload_refusal *error)
{
	struct image_source source = {.dirfd = s->dirfd, .name = DATA, .format = s->format};
	struct findings findings = {0};
	struct sentence err;
	struct image *img;
	int r = image_open(&img, &source, &err);

	if (r < 0)
		return upload_fail(error, -EIO, "%s: the image cannot be opened again: %s", s->header.file, err.text);
	r = sparse_compare(s->sparse, img);
	if (r < 0)
		r = upload_fail(error, -EIO, "%s: the image is not what was received", s->header.file);
	if (r == 0 && image_check(img, note_finding, &findings) != 0 && findings.count)
		r = upload_fail(error, -EIO, "%s: the image is damaged: %s", s->header.file, findings.first);
	if (r == 0)
		snprintf(s->result.id, sizeof(s->result.id), "%s", image_info(img)->id);
	image_close(img);
	return r;
}

static void fill_result(struct upload_session *s, const struct stat *st)
{
	struct upload_image *i = &s->result;

	snprintf(i->image, sizeof(i->image), "%s", s->image);
	snprintf(i->who, sizeof(i->who), "%s", s->header.who);
	i->format = s->format;
	i->update = s->header.update;
	i->pc = s->header.pc;
	i->make_current = s->header.make_current;
	i->size = s->header.size;
	i->file_size = (uint64_t)st->st_size;
	i->disk_bytes = (uint64_t)st->st_blocks * 512;
}

/*
 * A name that is free in the folder of images: xp01.vmdk, or xp01-2.vmdk and so on. A link, so that a crash after it
 * leaves `data` to recognise the name by.
 */
static int give_name(struct upload_session *s, const struct stat *data)
{
	const char *ending = strrchr(s->header.file, '.');
	struct stat there;

	for (unsigned int n = 1; n < 10000; n++) {
		if (n == 1)
			snprintf(s->result.file, sizeof(s->result.file), "%s", s->header.file);
		else
			snprintf(s->result.file, sizeof(s->result.file), "%s-%u%s", s->image, n, ending);
		if (linkat(s->dirfd, DATA, s->store->images, s->result.file, 0) == 0)
			break;
		if (errno != EEXIST)
			return -errno;
		if (fstatat(s->store->images, s->result.file, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
		    there.st_ino == data->st_ino && there.st_dev == data->st_dev)
			break;
		s->result.file[0] = '\0';
	}
	if (!s->result.file[0])
		return -EEXIST;
	return fsync(s->store->images) < 0 ? -errno : 0;
}

/*
 * Is this disk the last generation already? Then server and sender died before the sender heard so, the server made it
 * at its start, and the sender, who has forgotten its key, sends it again. What an upload holds is the key that both
 * keep: the same disk makes no second generation. *ret: its file.
 */
static bool is_made_already(struct upload_session *s, char ret[UPLOAD_NAME_MAX + 16])
{
	const struct upload_ops *ops = &s->store->ops;
	uint8_t digest[DIGEST_SIZE];

	return s->header.update && ops->newest && ops->newest(ops->arg, s->image, ret) > 0 &&
	       digest_file_read(s->store->images, ret, digest) == 0 &&
	       !memcmp(digest, s->result.digest, sizeof(digest)) &&
	       faccessat(s->store->images, ret, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Its name, and its checksum beside it. */
static int settle_file(struct upload_session *s, const struct stat *st, struct upload_refusal *error)
{
	int r = give_name(s, st);

	if (r < 0)
		return upload_fail(error, r, "%s: cannot be moved to %s: %s", s->header.file, s->store->path,
				   strerror(-r));
	r = digest_file_write(s->store->images, s->result.file, s->result.digest);
	if (r < 0)
		return upload_fail(error, r, "%s: its checksum cannot be kept in %s/.digest: %s", s->header.file,
				   s->store->path, strerror(-r));
	return 0;
}

/* From DONE on: name, checksum, catalogue. May be called again after a crash at any place. */
int session_adopt(struct upload_session *s, struct upload_refusal *error)
{
	char made[UPLOAD_NAME_MAX + 16];
	struct stat st;
	int r = 0;

	if (fstatat(s->dirfd, DATA, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return upload_fail(error, -errno, "%s: the received data is gone: %s", s->header.file, strerror(errno));
	fill_result(s, &st);
	if (is_made_already(s, made))
		snprintf(s->result.file, sizeof(s->result.file), "%s", made);
	else
		r = settle_file(s, &st, error);
	if (r < 0)
		return r;
	r = s->store->ops.publish(s->store->ops.arg, &s->result, error);
	if (r == 0)
		unlinkat(s->dirfd, DATA, 0); /* the journal stays a while, to answer a sender that asks again */
	return r;
}

/* All parts are there and their digest is right: makes the image. */
int session_complete(struct upload_session *s, struct upload_refusal *error)
{
	struct upload_record done = {.type = UPLOAD_RECORD_DONE};
	int r = sparse_finish(s->sparse, s->header.file);

	if (r == 0 && fsync(s->data) < 0)
		r = -errno;
	if (r)
		return space_fail(s, r, error);
	r = check_image(s, error);
	if (r)
		return r;
	memcpy(done.digest, s->result.digest, DIGEST_SIZE);
	r = journal_append(s->journal, &done);
	if (r == 0 && fsync(s->journal) < 0)
		r = -errno;
	return r ? space_fail(s, r, error) : session_adopt(s, error);
}
