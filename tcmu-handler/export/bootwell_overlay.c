// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bootwell-overlay: reads what one client has written out of the write-back store, for a commit.
 *
 *	bootwell-overlay STORE OVERLAY [--summary | --ranges]
 *
 * STORE is the file (or disk), OVERLAY the UUID. The overlay must not be open: its target is gone, so everything is in
 * the store and nothing moves it; the store itself may be in use for other clients. Nothing is ever written: the
 * engine's code opens the store on an I/O layer that reads, and pretends to write.
 *
 * Output, little-endian: 64 bytes "BWOVRLY1", u64 size of the disk, u64 bytes that differ from the base, u32 ranges, 36
 * bytes of zeros; 256 bytes: the generation that the overlay lies on, NUL-terminated. Then, unless --summary, ranges in
 * ascending order: u64 offset, u32 length (1 to 4 MiB, multiple of 512), u32 kind: 1 data follow, 2 zeros, with
 * --ranges always 3, and nothing follows; at last a range of offset UINT64_MAX, length 0, kind 0: without it the output
 * is not whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/fs.h>

#include "tcmu-handler/image/bytes.h"
#include "tcmu-handler/overlay.h"

#define PIECE       (4u << 20)
#define TRIES       5 /* the store's tables may be on the move for other clients */
#define STAGING_MIN (1u << 20)

/* --- an I/O layer that cannot write -------------------------------------------------------------------------------*/

struct reader_queue {
	struct io_queue q;
	struct io_op *first, **last;
};

static int read_op(const struct io_op *op)
{
	uint64_t at = op->offset;

	for (unsigned int i = 0; i < op->iov_cnt; i++) {
		uint8_t *to = op->iov[i].iov_base;
		size_t left = op->iov[i].iov_len;

		while (left) {
			ssize_t n = pread(op->fd, to, left, (off_t)at);

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				return n < 0 ? -errno : -EIO;
			to += n;
			at += (uint64_t)n;
			left -= (size_t)n;
		}
	}
	return 0;
}

static void queue_submit(struct io_queue *q, struct io_op *op)
{
	struct reader_queue *rq = (struct reader_queue *)q;

	op->next = NULL;
	*rq->last = op;
	rq->last = &op->next;
}

static void queue_wait(struct io_queue *q, int timeout_ms)
{
	struct reader_queue *rq = (struct reader_queue *)q;
	struct io_op *op = rq->first;

	(void)timeout_ms;
	if (!op)
		return;
	rq->first = op->next;
	if (!rq->first)
		rq->last = &rq->first;
	q->in_flight--;
	op->done(op, op->type == IO_READ ? read_op(op) : 0);
}

static void queue_wake(struct io_queue *q)
{
	(void)q;
}

static void queue_free(struct io_queue *q)
{
	free(q);
}

static int queue_new(struct io_backend *backend, struct io_queue **ret)
{
	static const struct io_queue_ops ops = {queue_submit, queue_wait, queue_wake, queue_free};
	struct reader_queue *rq = calloc(1, sizeof(*rq));

	(void)backend;
	if (!rq)
		return -ENOMEM;
	rq->q.ops = &ops;
	rq->last = &rq->first;
	*ret = &rq->q;
	return 0;
}

/* --- opening ------------------------------------------------------------------------------------------------------*/

struct opened {
	struct store *store;
	struct staging *staging;
	struct overlay *ov;
	struct store_header header;
	uint8_t machine[16];
};

static void opened_done(struct opened *o)
{
	if (o->ov)
		overlay_free(o->ov);
	staging_close(o->staging);
	store_close(o->store);
	memset(o, 0, sizeof(*o));
}

static int store_size(int fd, uint64_t *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*ret = (uint64_t)st.st_size;
	return S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, ret) < 0 ? -errno : 0;
}

static int find_header(struct opened *o, const uint8_t uuid[16])
{
	for (uint32_t i = 0; i < o->store->places; i++)
		if (o->store->place[i].header.epoch && !memcmp(o->store->place[i].header.uuid, uuid, 16)) {
			o->header = o->store->place[i].header;
			return 0;
		}
	return -ENOENT;
}

static void ignore(struct overlay *ov, void *arg)
{
	(void)ov;
	(void)arg;
}

static void ignore_damage(struct overlay *ov, uint64_t at, void *arg)
{
	(void)ov;
	(void)at;
	(void)arg;
}

static int open_all(struct opened *o, const char *path, const uint8_t uuid[16], struct sentence *err)
{
	static struct io_backend backend = {queue_new};
	struct store_params sp = {.io = &backend, .machine_boot = o->machine};
	struct overlay_params op = {.host = {ignore, ignore, ignore_damage, NULL}};
	int r;

	memset(o, 0, sizeof(*o));
	sp.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (sp.fd < 0)
		return sentence_fail(err, -errno, "The write-back store %s cannot be opened: %s.", path,
				     strerror(errno));
	r = store_size(sp.fd, &sp.size);
	if (!r)
		r = store_open(&o->store, &sp, err);
	if (r) {
		close(sp.fd);
		return r;
	}
	r = find_header(o, uuid);
	if (r)
		return sentence_fail(
			err, r, "The write-back store %s has nothing of this overlay: nothing was ever written to it.",
			path);
	r = staging_open(&o->staging, NULL, STAGING_MIN, o->store->uuid, o->machine);
	if (r)
		return sentence_fail(err, r, "There is no memory.");
	/* As the overlay was opened last, so that it is taken as it is. */
	op.store = o->store;
	op.staging = o->staging;
	memcpy(op.uuid, uuid, 16);
	memcpy(op.boot, o->header.boot, 16);
	memcpy(op.reset, o->header.reset, 16);
	memcpy(o->store->machine_boot, o->header.machine_boot, 16);
	op.size = o->header.size;
	op.keep = o->header.mode == STORE_KEEP;
	op.generation = o->header.generation;
	return overlay_open(&o->ov, &op, err);
}

/* --- what is in it ------------------------------------------------------------------------------------------------*/

static void count(struct overlay *ov, uint64_t *ret_bytes, uint32_t *ret_ranges)
{
	bool in = false;

	*ret_bytes = 0;
	*ret_ranges = 0;
	for (uint32_t b = 0; b < (overlay_size(ov) + OVERLAY_BLOCK - 1) / OVERLAY_BLOCK; b++) {
		uint8_t sectors = overlay_sectors(ov, b);

		*ret_bytes += (unsigned int)__builtin_popcount(sectors) * OVERLAY_SECTOR;
		if (sectors && !in)
			++*ret_ranges;
		in = sectors != 0;
	}
}

static int put(const void *data, size_t length)
{
	return fwrite(data, 1, length, stdout) == length ? 0 : -EIO;
}

static int put_range(uint64_t offset, uint32_t length, uint32_t kind)
{
	uint8_t head[16];

	le64_put(head, offset);
	le32_put(head + 8, length);
	le32_put(head + 12, kind);
	return put(head, sizeof(head));
}

/* A run of the store, compared with its checksums. */
static int read_run(int fd, const struct run *run, uint8_t *to)
{
	uint64_t from = run->source / STORE_BLOCK * STORE_BLOCK;
	uint64_t end = (run->source + run->length + STORE_BLOCK - 1) / STORE_BLOCK * STORE_BLOCK;
	struct iovec iov = {malloc(end - from), end - from};
	struct io_op op = {.type = IO_READ, .fd = fd, .iov = &iov, .iov_cnt = 1, .offset = from};
	int r = iov.iov_base ? read_op(&op) : -ENOMEM;

	if (!r && !overlay_run_whole(run, iov.iov_base))
		r = -EUCLEAN;
	if (!r)
		memcpy(to, (uint8_t *)iov.iov_base + (run->source - from), run->length);
	free(iov.iov_base);
	return r;
}

/* Reads [offset, offset + length), all of it in the overlay, into data. */
static int read_range(struct overlay *ov, int fd, uint64_t offset, uint32_t length, uint8_t *data)
{
	struct iovec iov = {data, length};
	struct iov_pos dst;
	struct run_list runs;
	int r;

	iov_pos_init(&dst, &iov, 1);
	run_list_init(&runs);
	r = overlay_read(ov, offset, length, &dst, &runs);
	for (uint32_t i = 0; i < runs.count; i++) {
		const struct run *run = &runs.run[i];

		if (run->type != RUN_SLOT) {
			r = -EUCLEAN; /* the map said that it is ours */
			continue;
		}
		if (!r)
			r = read_run(fd, run, data + run->at);
		overlay_run_done(ov, run);
	}
	run_list_done(&runs);
	return r;
}

static int put_content(struct overlay *ov, int fd, uint64_t start, uint32_t length, uint8_t *data)
{
	int r = read_range(ov, fd, start, length, data);

	if (r)
		return r;
	if (data[0] == 0 && memcmp(data, data + 1, length - 1) == 0)
		return put_range(start, length, 2);
	r = put_range(start, length, 1);
	return r ? r : put(data, length);
}

/* A run of sectors that the overlay has, at most PIECE long; at a block boundary the next block may go on. data NULL:
 * ranges only. */
static int dump(struct overlay *ov, int fd, uint8_t *data)
{
	uint64_t size = overlay_size(ov), at = 0, start;
	int r = 0;

	while (!r && at < size) {
		uint32_t block = (uint32_t)(at / OVERLAY_BLOCK), length;
		unsigned int sector = at % OVERLAY_BLOCK / OVERLAY_SECTOR;

		if (!(overlay_sectors(ov, block) >> sector & 1)) {
			at += overlay_sectors(ov, block) ? OVERLAY_SECTOR : OVERLAY_BLOCK - at % OVERLAY_BLOCK;
			continue;
		}
		for (start = at; at < size && at - start < PIECE; at += OVERLAY_SECTOR) {
			block = (uint32_t)(at / OVERLAY_BLOCK);
			sector = at % OVERLAY_BLOCK / OVERLAY_SECTOR;
			if (!(overlay_sectors(ov, block) >> sector & 1))
				break;
		}
		length = (uint32_t)(at - start);
		r = data ? put_content(ov, fd, start, length, data) : put_range(start, length, 3);
	}
	return r ? r : put_range(UINT64_MAX, 0, 0);
}

static int parse_uuid(const char *text, uint8_t ret[16])
{
	unsigned int n = 0;

	for (; *text; text++) {
		char pair[3] = {text[0], text[0] ? text[1] : '\0', '\0'}, *end;

		if (*text == '-')
			continue;
		if (n == 16)
			return -EINVAL;
		ret[n++] = (uint8_t)strtoul(pair, &end, 16);
		if (*end || end == pair)
			return -EINVAL;
		text++;
	}
	return n == 16 ? 0 : -EINVAL;
}

enum what { EVERYTHING, SUMMARY, RANGES };

static int output(struct opened *o, enum what what)
{
	uint8_t head[64] = "BWOVRLY1", *data = malloc(PIECE);
	char generation[256] = "";
	uint64_t bytes;
	uint32_t ranges;
	int r = data ? 0 : -ENOMEM;

	count(o->ov, &bytes, &ranges);
	le64_put(head + 8, overlay_size(o->ov));
	le64_put(head + 16, bytes);
	le32_put(head + 24, ranges);
	snprintf(generation, sizeof(generation), "%s", o->header.generation);
	if (!r)
		r = put(head, sizeof(head));
	if (!r)
		r = put(generation, sizeof(generation));
	if (!r && what != SUMMARY)
		r = dump(o->ov, o->store->fd, what == RANGES ? NULL : data);
	if (!r && fflush(stdout))
		r = -errno;
	free(data);
	return r;
}

int main(int argc, char **argv)
{
	struct sentence err = {""};
	enum what what = EVERYTHING;
	struct opened o;
	uint8_t uuid[16];
	int r = -EAGAIN;

	if (argc == 4)
		what = !strcmp(argv[3], "--summary") ? SUMMARY : !strcmp(argv[3], "--ranges") ? RANGES : EVERYTHING;
	if (argc < 3 || parse_uuid(argv[2], uuid) < 0 || (argc == 4 && what == EVERYTHING) || argc > 4) {
		fprintf(stderr, "usage: bootwell-overlay STORE OVERLAY [--summary | --ranges]\n");
		return 2;
	}
	for (unsigned int i = 0; r && r != -ENOENT && i < TRIES; i++) {
		r = open_all(&o, argv[1], uuid, &err);
		if (r) {
			opened_done(&o);
			usleep(100000);
		}
	}
	if (r) {
		fprintf(stderr, "%s\n", err.text);
		return r == -ENOENT ? 3 : 1;
	}
	r = output(&o, what);
	if (r)
		fprintf(stderr, "The write-back cannot be read: %s.\n", strerror(-r));
	opened_done(&o);
	return r ? 1 : 0;
}
