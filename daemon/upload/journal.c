// SPDX-License-Identifier: GPL-2.0-or-later
/* The journal of an upload: a header, then one record a part or range of zeros; what a crash cut off is not there. */
#include "daemon/upload/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "daemon/core/fileio.h"
#include "tcmu-handler/image/bytes.h"

/*
 * Header, 1024 bytes: 0 magic, 8 size, 16 used, 24 started, 32 flags (1 update, 2 pc, 4 make_current), 64 file,
 * 128 who, 192 session, 256 id, 1020 CRC32 of what is before it. Record, 64 bytes: 0 type, 4 part, 8 count, 12 digest,
 * 44 first, 52 units, 60 CRC32.
 */
#define HEADER 1024u
#define RECORD 64u
static const char magic[8] = "BWUPL\0\0\1";

static uint32_t sum(const uint8_t *p, size_t length)
{
	return (uint32_t)crc32(crc32(0, NULL, 0), p, (unsigned int)length);
}

static void header_encode(const struct upload_header *h, uint8_t to[HEADER])
{
	memset(to, 0, HEADER);
	memcpy(to, magic, sizeof(magic));
	le64_put(to + 8, h->size);
	le64_put(to + 16, h->used);
	le64_put(to + 24, (uint64_t)h->started);
	to[32] = (uint8_t)(h->update | h->pc << 1 | h->make_current << 2);
	memcpy(to + 64, h->file, sizeof(h->file));
	memcpy(to + 128, h->who, sizeof(h->who));
	memcpy(to + 192, h->session, sizeof(h->session));
	memcpy(to + 256, h->id, sizeof(h->id));
	le32_put(to + HEADER - 4, sum(to, HEADER - 4));
}

static void text_at(char *to, const uint8_t *from, size_t size)
{
	memcpy(to, from, size);
	to[size - 1] = '\0';
}

static int header_decode(struct upload_header *h, const uint8_t from[HEADER])
{
	if (memcmp(from, magic, sizeof(magic)) || le32_at(from + HEADER - 4) != sum(from, HEADER - 4))
		return -EBADMSG;
	memset(h, 0, sizeof(*h));
	h->size = le64_at(from + 8);
	h->used = le64_at(from + 16);
	h->started = (int64_t)le64_at(from + 24);
	h->update = from[32] & 1;
	h->pc = from[32] & 2;
	h->make_current = from[32] & 4;
	text_at(h->file, from + 64, sizeof(h->file));
	text_at(h->who, from + 128, sizeof(h->who));
	text_at(h->session, from + 192, sizeof(h->session));
	text_at(h->id, from + 256, sizeof(h->id));
	return 0;
}

static void record_encode(const struct upload_record *r, uint8_t to[RECORD])
{
	le32_put(to, r->type);
	le32_put(to + 4, (uint32_t)r->part);
	le32_put(to + 8, (uint32_t)r->count);
	memcpy(to + 12, r->digest, DIGEST_SIZE);
	le64_put(to + 44, r->place.first);
	le64_put(to + 52, r->place.units);
	le32_put(to + 60, sum(to, RECORD - 4));
}

static int record_decode(struct upload_record *r, const uint8_t from[RECORD])
{
	uint32_t type = le32_at(from);

	if (le32_at(from + 60) != sum(from, RECORD - 4) || type < UPLOAD_RECORD_PART || type > UPLOAD_RECORD_DONE)
		return -EBADMSG;
	r->type = type;
	r->part = le32_at(from + 4);
	r->count = le32_at(from + 8);
	memcpy(r->digest, from + 12, DIGEST_SIZE);
	r->place.first = le64_at(from + 44);
	r->place.units = le64_at(from + 52);
	return 0;
}

static int append(int fd, const void *data, size_t length)
{
	off_t end = lseek(fd, 0, SEEK_END);
	ssize_t n;
	int r;

	if (end < 0)
		return -errno;
	do
		n = pwrite(fd, data, length, end);
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)length)
		return 0;
	r = n < 0 ? -errno : -ENOSPC;
	if (ftruncate(fd, end) < 0)
		return -errno;
	return r;
}

int journal_create(int dirfd, const char *name, const struct upload_header *header, int *ret_fd)
{
	int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	uint8_t encoded[HEADER];
	int r;

	if (fd < 0)
		return -errno;
	header_encode(header, encoded);
	r = append(fd, encoded, sizeof(encoded));
	if (r == 0 && (fsync(fd) < 0 || fsync(dirfd) < 0))
		r = -errno;
	if (r) {
		close(fd);
		unlinkat(dirfd, name, 0);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int journal_append(int fd, const struct upload_record *record)
{
	uint8_t encoded[RECORD];

	record_encode(record, encoded);
	return append(fd, encoded, sizeof(encoded));
}

static int read_records(int fd, journal_fn fn, void *arg, off_t *ret_end)
{
	uint8_t encoded[RECORD];
	off_t at = HEADER;

	for (; fileio_read(fd, encoded, RECORD, (uint64_t)at) == 0; at += RECORD) {
		struct upload_record record;
		int r;

		if (record_decode(&record, encoded) < 0)
			break;
		r = fn ? fn(arg, &record) : 0;
		if (r)
			return r;
	}
	*ret_end = at;
	return 0;
}

int journal_open(int dirfd, const char *name, struct upload_header *ret, journal_fn fn, void *arg, int *ret_fd)
{
	int fd = openat(dirfd, name, (ret_fd ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW), r;
	uint8_t encoded[HEADER];
	struct upload_header header;
	off_t end;

	if (fd < 0)
		return -errno;
	r = fileio_read(fd, encoded, HEADER, 0) == 0 ? header_decode(&header, encoded) : -EBADMSG;
	if (r == 0)
		r = read_records(fd, fn, arg, &end);
	if (r == 0 && ret_fd && ftruncate(fd, end) < 0)
		r = -errno;
	if (r == 0)
		*ret = header;
	if (r || !ret_fd)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}
