// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * SCSI: the commands that are done at once, and what all of them have in common, in one table by opcode. What is not in
 * the table, or has no function there, is the runner's emulation's, which calls back for reads, writes, flushes and
 * unmaps (handler.c).
 *
 * The references are to SPC-4 and SBC-3 (T10).
 */
#include "tcmu-handler/scsi.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tcmu-handler/image/bytes.h"

enum opcode {
	INQUIRY = 0x12,
	MODE_SENSE_6 = 0x1a,
	PREVENT_ALLOW_MEDIUM_REMOVAL = 0x1e,
	READ_CAPACITY_10 = 0x25,
	READ_10 = 0x28,
	WRITE_10 = 0x2a,
	WRITE_AND_VERIFY_10 = 0x2e,
	VERIFY_10 = 0x2f,
	SYNCHRONIZE_CACHE_10 = 0x35,
	WRITE_SAME_10 = 0x41,
	UNMAP = 0x42,
	MODE_SENSE_10 = 0x5a,
	RECEIVE_COPY_RESULTS = 0x84,
	READ_16 = 0x88,
	COMPARE_AND_WRITE = 0x89,
	WRITE_16 = 0x8a,
	WRITE_AND_VERIFY_16 = 0x8e,
	VERIFY_16 = 0x8f,
	SYNCHRONIZE_CACHE_16 = 0x91,
	WRITE_SAME_16 = 0x93,
	SERVICE_ACTION_IN_16 = 0x9e,
	MAINTENANCE_IN = 0xa3,
	READ_12 = 0xa8,
	WRITE_12 = 0xaa,
	WRITE_AND_VERIFY_12 = 0xae,
	VERIFY_12 = 0xaf,
};

#define SERVICE_GET_LBA_STATUS  0x12
#define DATA_PROTECT            0x07 /* sense key */
#define WRITE_PROTECTED         0x2700
#define SPACE_ALLOCATION_FAILED 0x2707
#define LBA_STATUS_MAX          32         /* ranges told at a time */
#define VERIFY_PIECE            (1u << 20) /* bytes compared at a time */

int scsi_status(enum disk_op op, int error, uint8_t *sense)
{
	switch (error) {
	case 0:
		return TCMU_STS_OK;
	case -ENOSPC:
		return tcmu_sense_set_data(sense, DATA_PROTECT, SPACE_ALLOCATION_FAILED);
	case -EROFS:
		return tcmu_sense_set_data(sense, DATA_PROTECT, WRITE_PROTECTED);
	case -ERANGE:
		return TCMU_STS_RANGE;
	case -EINVAL:
		return TCMU_STS_INVALID_CDB;
	case -ENOMEM:
		return TCMU_STS_BUSY;
	default:
		return op == DISK_READ ? TCMU_STS_RD_ERR : TCMU_STS_WR_ERR;
	}
}

/* --- VERIFY --- */

struct waited {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool finished;
	int error;
};

static void waited_done(struct disk_request *r, int error)
{
	struct waited *w = r->arg;

	pthread_mutex_lock(&w->lock);
	w->finished = true;
	w->error = error;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static int read_now(struct disk *disk, uint64_t offset, void *data, size_t length)
{
	struct waited w = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	struct iovec iov = {.iov_base = data, .iov_len = length};
	struct disk_request r = {.op = DISK_READ,
				 .offset = offset,
				 .length = length,
				 .iov = &iov,
				 .iov_cnt = 1,
				 .done = waited_done,
				 .arg = &w};
	int e = disk_submit(disk, &r);

	if (e != 1)
		return e;
	pthread_mutex_lock(&w.lock);
	while (!w.finished)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	return w.error;
}

/* Compares [offset, offset+length) with the data of the command, or with one block of it again and
 * again. */
static int compare(struct disk *disk, struct tcmulib_cmd *cmd, uint64_t offset, uint64_t length, size_t period)
{
	size_t piece = length < VERIFY_PIECE ? (size_t)length : VERIFY_PIECE;
	uint8_t *there = malloc(piece), *data = malloc(piece);
	int status = there && data ? TCMU_STS_OK : TCMU_STS_NO_RESOURCE;
	struct iov_pos pos;

	iov_pos_init(&pos, cmd->iovec, cmd->iov_cnt);
	for (uint64_t at = 0; status == TCMU_STS_OK && at < length; at += piece) {
		size_t n = length - at < piece ? (size_t)(length - at) : piece;
		int e = read_now(disk, offset + at, there, n);

		if (e < 0) {
			status = scsi_status(DISK_READ, e, cmd->sense_buf);
			break;
		}
		for (size_t k = 0, step = period && period < n ? period : n; k < n; k += step)
			iov_get(&pos, period ? (at + k) % period : at + k, data + k, step);
		if (memcmp(there, data, n))
			status = TCMU_STS_MISCOMPARE;
	}
	free(there);
	free(data);
	return status;
}

/* SBC-4 5.34: BYTCHK 0: is it there; 1: compare; 3: compare with one block. */
static int verify(struct tcmu_device *dev, struct disk *disk, struct tcmulib_cmd *cmd)
{
	uint32_t block = tcmu_dev_get_block_size(dev);
	uint64_t lba = tcmu_cdb_get_lba(cmd->cdb), count = tcmu_cdb_get_xfer_length(cmd->cdb);
	uint64_t total = tcmu_dev_get_num_lbas(dev);
	unsigned int bytchk = cmd->cdb[1] >> 1 & 3;
	size_t have;

	if (lba > total || count > total - lba)
		return TCMU_STS_RANGE;
	if (bytchk == 2)
		return TCMU_STS_INVALID_CDB;
	if (!bytchk || !count)
		return TCMU_STS_OK;
	have = tcmu_iovec_length(cmd->iovec, cmd->iov_cnt);
	if (have < (bytchk == 3 ? block : count * block))
		return TCMU_STS_INVALID_CDB;
	return compare(disk, cmd, lba * block, count * block, bytchk == 3 ? block : 0);
}

/* --- READ and WRITE --- */

/* READ and WRITE (10), (12), (16) from memory, without a round through the queue. */
static int transfer(struct tcmu_device *dev, struct disk *disk, struct tcmulib_cmd *cmd, enum disk_op op)
{
	uint64_t block = tcmu_dev_get_block_size(dev), total = tcmu_dev_get_num_lbas(dev);
	uint64_t lba = tcmu_cdb_get_lba(cmd->cdb), count = tcmu_cdb_get_xfer_length(cmd->cdb);
	int r;

	if (lba > total || count > total - lba)
		return TCMU_STS_RANGE;
	if (tcmu_iovec_length(cmd->iovec, cmd->iov_cnt) != count * block)
		return TCMU_STS_NOT_HANDLED;
	r = disk_try(disk, op, op == DISK_WRITE && scsi_wants_fua(cmd->cdb), lba * block, count * block, cmd->iovec,
		     cmd->iov_cnt);
	/* Whatever is not plainly done takes the long way, which knows how to fail. */
	return r ? TCMU_STS_NOT_HANDLED : TCMU_STS_OK;
}

static int read_now_or_later(struct tcmu_device *dev, struct disk *disk, struct tcmulib_cmd *cmd)
{
	return transfer(dev, disk, cmd, DISK_READ);
}

static int write_now_or_later(struct tcmu_device *dev, struct disk *disk, struct tcmulib_cmd *cmd)
{
	return transfer(dev, disk, cmd, DISK_WRITE);
}

/* --- what the runner does not answer, or not well --- */

/*
 * MODE SENSE (6) and (10), SPC-4 6.11 and SBC-3 6.4.1. The runner's answer has neither WP, so that an operating system
 * would mount a disk that may only be read, and then fail, nor DPOFUA: systems would then do without FUA where they
 * mean it, or flush everything instead. The pages are those of the runner, whose MODE SELECT compares with its own.
 */
static size_t mode_page(uint8_t *to /* zeros */, uint8_t page, bool write_cache)
{
	to[0] = page;
	to[1] = page == 0x08 ? 0x12 : 0x0a;
	if (page == 0x08) /* caching: WCE */
		to[2] = write_cache ? 0x04 : 0;
	if (page == 0x0a) { /* control: GLTSD, TAS, BUSY TIMEOUT PERIOD without end */
		to[2] = 0x02;
		to[5] = 0x40;
		to[8] = to[9] = 0xff;
	}
	return to[1] + 2u;
}

static int mode_sense(struct tcmu_device *dev, struct disk *disk, struct tcmulib_cmd *lib)
{
	static const uint8_t known[] = {0x01, 0x08, 0x0a};
	const uint8_t *cdb = lib->cdb;
	const struct overlay *ov = disk_overlay(disk);
	size_t room = tcmu_iovec_length(lib->iovec, lib->iov_cnt), n, had;
	uint8_t data[64] = {0}, page = cdb[2] & 0x3f, control = cdb[2] >> 6;
	bool ten = cdb[0] == MODE_SENSE_10;
	struct iov_pos dst;

	(void)dev;
	if ((cdb[3] && cdb[3] != 0xff) || control == 3 /* saved values: there are none */)
		return TCMU_STS_INVALID_CDB;
	had = n = ten ? 8 : 4;
	for (size_t i = 0; i < sizeof(known); i++) {
		size_t length;

		if (page != 0x3f && page != known[i])
			continue;
		length = mode_page(data + n, known[i], ov && overlay_is_kept(ov));
		if (control == 1) /* what can be changed: nothing */
			memset(data + n + 2, 0, length - 2);
		n += length;
	}
	if (n == had)
		return TCMU_STS_INVALID_CDB;
	data[ten ? 1 : 0] = (uint8_t)(n - (ten ? 2 : 1));
	data[ten ? 3 : 2] = ov ? 0x10 : 0x90; /* DPOFUA; WP */
	if (n > (ten ? (size_t)cdb[7] << 8 | cdb[8] : cdb[4]))
		n = ten ? (size_t)cdb[7] << 8 | cdb[8] : cdb[4];
	if (n > room)
		n = room;
	if (!n)
		return TCMU_STS_OK;
	iov_pos_init(&dst, lib->iovec, lib->iov_cnt);
	iov_put(&dst, 0, data, n);
	return TCMU_STS_OK;
}

/*
 * GET LBA STATUS, SBC-3 5.6: the runner says that blocks may be deallocated and does not tell which. An initiator that
 * would spare itself the reading of them (QEMU's) asks before it reads, again and again as long as it gets no answer.
 */
static int lba_status(struct tcmu_device *dev, struct disk *disk, struct tcmulib_cmd *cmd)
{
	uint64_t block = tcmu_dev_get_block_size(dev), total = tcmu_dev_get_num_lbas(dev), lba = be64_at(cmd->cdb + 2);
	size_t room = tcmu_iovec_length(cmd->iovec, cmd->iov_cnt), n = 8;
	uint8_t data[8 + LBA_STATUS_MAX * 16] = {0};
	struct iov_pos dst;

	if (lba >= total)
		return TCMU_STS_RANGE;
	if (room > be32_at(cmd->cdb + 10))
		room = be32_at(cmd->cdb + 10);
	/* At least one descriptor, all of it or not. */
	do {
		uint64_t most = UINT32_MAX < total - lba ? UINT32_MAX : total - lba, bytes;
		bool stored = disk_stored(disk, lba * block, most * block, &bytes);
		uint64_t blocks = bytes / block ? bytes / block : 1;

		be64_put(data + n, lba);
		be32_put(data + n + 8, (uint32_t)blocks);
		data[n + 12] = stored ? 0 : 1; /* mapped, deallocated */
		n += 16;
		lba += blocks;
	} while (lba < total && n + 16 <= room && n + 16 <= sizeof(data));
	be32_put(data, (uint32_t)(n - 4));
	if (n > room)
		n = room;
	if (n) {
		iov_pos_init(&dst, cmd->iovec, cmd->iov_cnt);
		iov_put(&dst, 0, data, n);
	}
	return TCMU_STS_OK;
}

static int service_action_in(struct tcmu_device *dev, struct disk *disk, struct tcmulib_cmd *cmd)
{
	return (cmd->cdb[1] & 0x1f) == SERVICE_GET_LBA_STATUS ? lba_status(dev, disk, cmd) : TCMU_STS_NOT_HANDLED;
}

static int nothing_to_do(struct tcmu_device *dev, struct disk *disk, struct tcmulib_cmd *cmd)
{
	(void)dev;
	(void)disk;
	(void)cmd;
	return TCMU_STS_OK;
}

/* --- the table --- */

struct command {
	const char *name;
	int (*run)(struct tcmu_device *dev, struct disk *disk, struct tcmulib_cmd *cmd); /* NULL: the runner's */
	/* Bits of CDB byte 1 that ask for what is not there: RDPROTECT, WRPROTECT, VRPROTECT (there is no protection
	 * information), ANCHOR (no anchored blocks). */
	uint8_t refused;
	/* Bits of CDB byte 1 that make a write durable before it is done: FUA; 0xff: it always is, being verified on
	 * the medium. */
	uint8_t durable;
	/* It may answer with less than it was given room for. The kernel sends the initiator all of the room, and what
	 * lies there is what an earlier command, or another user of that memory, has left: it is cleared before. */
	bool answers;
};

#define PROTECT 0xe0
#define ANCHOR  0x10
#define FUA     0x08

static const struct command commands[256] = {
	[INQUIRY] = {.name = "INQUIRY", .answers = true},
	[MODE_SENSE_6] = {.name = "MODE SENSE (6)", .run = mode_sense, .answers = true},
	[PREVENT_ALLOW_MEDIUM_REMOVAL] = {.name = "PREVENT ALLOW MEDIUM REMOVAL", .run = nothing_to_do},
	[READ_CAPACITY_10] = {.name = "READ CAPACITY (10)", .answers = true},
	[READ_10] = {.name = "READ (10)", .run = read_now_or_later, .refused = PROTECT},
	[WRITE_10] = {.name = "WRITE (10)", .run = write_now_or_later, .refused = PROTECT, .durable = FUA},
	[WRITE_AND_VERIFY_10] = {.name = "WRITE AND VERIFY (10)", .refused = PROTECT, .durable = 0xff},
	[VERIFY_10] = {.name = "VERIFY (10)", .run = verify, .refused = PROTECT},
	[SYNCHRONIZE_CACHE_10] = {.name = "SYNCHRONIZE CACHE (10)"},
	[WRITE_SAME_10] = {.name = "WRITE SAME (10)", .refused = PROTECT | ANCHOR},
	[UNMAP] = {.name = "UNMAP", .refused = 0x01 /* ANCHOR is here */},
	[MODE_SENSE_10] = {.name = "MODE SENSE (10)", .run = mode_sense, .answers = true},
	[RECEIVE_COPY_RESULTS] = {.name = "RECEIVE COPY RESULTS", .answers = true},
	[READ_16] = {.name = "READ (16)", .run = read_now_or_later, .refused = PROTECT},
	[COMPARE_AND_WRITE] = {.name = "COMPARE AND WRITE", .refused = PROTECT, .durable = FUA},
	[WRITE_16] = {.name = "WRITE (16)", .run = write_now_or_later, .refused = PROTECT, .durable = FUA},
	[WRITE_AND_VERIFY_16] = {.name = "WRITE AND VERIFY (16)", .refused = PROTECT, .durable = 0xff},
	[VERIFY_16] = {.name = "VERIFY (16)", .run = verify, .refused = PROTECT},
	[SYNCHRONIZE_CACHE_16] = {.name = "SYNCHRONIZE CACHE (16)"},
	[WRITE_SAME_16] = {.name = "WRITE SAME (16)", .refused = PROTECT | ANCHOR},
	[SERVICE_ACTION_IN_16] = {.name = "SERVICE ACTION IN (16)", .run = service_action_in, .answers = true},
	[MAINTENANCE_IN] = {.name = "MAINTENANCE IN", .answers = true},
	[READ_12] = {.name = "READ (12)", .run = read_now_or_later, .refused = PROTECT},
	[WRITE_12] = {.name = "WRITE (12)", .run = write_now_or_later, .refused = PROTECT, .durable = FUA},
	[WRITE_AND_VERIFY_12] = {.name = "WRITE AND VERIFY (12)", .refused = 0, .durable = 0xff},
	[VERIFY_12] = {.name = "VERIFY (12)", .run = verify, .refused = PROTECT},
};

const char *scsi_name(uint8_t opcode)
{
	return commands[opcode].name ? commands[opcode].name : "a command";
}

bool scsi_wants_fua(const uint8_t *cdb)
{
	uint8_t durable = commands[cdb[0]].durable;

	return durable == 0xff || cdb[1] & durable;
}

int scsi_command(struct tcmu_device *dev, struct disk *disk, struct tcmulib_cmd *cmd)
{
	const struct command *c = &commands[cmd->cdb[0]];

	if (cmd->cdb[1] & c->refused)
		return TCMU_STS_INVALID_CDB;
	for (size_t i = 0; c->answers && i < cmd->iov_cnt; i++)
		if (cmd->iovec[i].iov_len)
			memset(cmd->iovec[i].iov_base, 0, cmd->iovec[i].iov_len);
	return c->run ? c->run(dev, disk, cmd) : TCMU_STS_NOT_HANDLED;
}
