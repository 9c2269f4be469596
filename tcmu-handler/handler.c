// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The tcmu-runner handler: SCSI commands in, engine requests out, statuses back. Nothing else
 * happens here.
 *
 * The runner calls handle_cmd() first for every command. A READ or WRITE that memory can answer is
 * answered right there: a command that handle_cmd() completes is one of a batch, and the runner
 * rings the kernel once for the whole batch, where tcmur_cmd_complete() rings for each. All else
 * goes on to the runner's emulation, which calls read(), write(), flush(), unmap() and writesame()
 * below; COMPARE AND WRITE, WRITE AND VERIFY and EXTENDED COPY are made of these by it.
 *
 * Backstores are named bootwell/ID; docs/handover.md says what the daemon has put where for the ID.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tcmu-handler/conf.h"
#include "tcmu-handler/engine.h"
#include "tcmu-handler/image/bytes.h"
#include "tcmu-handler/patch.h"
#include "tcmu-handler/tcmur_abi.h"

#define DATA_PROTECT            0x07
#define WRITE_PROTECTED         0x2700
#define SPACE_ALLOCATION_FAILED 0x2707
#define LBA_STATUS_MAX          32 /* ranges told at a time */
#define VERIFY_PIECE            (1u << 20) /* bytes compared at a time */

#define say_error(dev, ...) tcmu_err_message(dev, __func__, __LINE__, __VA_ARGS__)
#define say(dev, ...)       tcmu_info_message(dev, __func__, __LINE__, __VA_ARGS__)

struct device {
	struct disk *disk;
	uint64_t errors;  /* logged when it is a power of two */
	int unmap_failed; /* -errno that the runner would not pass on; atomic */
};

struct request {
	struct disk_request r;
	struct tcmu_device *dev;
	struct tcmur_cmd *cmd;
};

static struct {
	pthread_mutex_t lock;
	struct engine *engine;
	unsigned int disks;
} the = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* --- statuses --- */

static void log_failure(struct tcmu_device *dev, const struct disk_request *r, int error)
{
	static const char *const names[] = {[DISK_READ] = "READ",
					    [DISK_WRITE] = "WRITE",
					    [DISK_FLUSH] = "FLUSH",
					    [DISK_UNMAP] = "UNMAP",
					    [DISK_WRITE_SAME] = "WRITE SAME"};
	struct device *d = tcmur_dev_get_private(dev);
	uint64_t n = __atomic_add_fetch(&d->errors, 1, __ATOMIC_RELAXED);

	if (n & (n - 1))
		return;
	say_error(
		dev, "%s: %s of %llu bytes at %llu failed: %s (failure number %llu)%s\n",
		disk_client(d->disk), names[r->op], (unsigned long long)r->length,
		(unsigned long long)r->offset, strerror(-error), (unsigned long long)n,
		error == -ENOSPC
			? "; make [write-back] size greater, or restart PCs that have written much"
			: "");
}

static int status_of(enum disk_op op, int error, uint8_t *sense)
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

static void note_failure(struct tcmu_device *dev, const struct disk_request *r, int error)
{
	struct device *d = tcmur_dev_get_private(dev);

	if (!error)
		return;
	log_failure(dev, r, error);
	if (r->op == DISK_UNMAP)
		__atomic_store_n(&d->unmap_failed, error, __ATOMIC_RELAXED);
}

/* --- requests --- */

static void request_done(struct disk_request *r, int error)
{
	struct request *q = r->arg;
	struct tcmu_device *dev = q->dev;
	struct tcmur_cmd *cmd = q->cmd;
	int status;

	note_failure(dev, r, error);
	status = status_of(r->op, error, cmd->lib_cmd->sense_buf);
	free(q);
	tcmur_cmd_complete(dev, cmd, status);
}

static int submit(struct tcmu_device *dev, struct tcmur_cmd *cmd, const struct disk_request *what)
{
	struct device *d = tcmur_dev_get_private(dev);
	struct request *q = malloc(sizeof(*q));
	int r, status;

	if (!q)
		return TCMU_STS_NO_RESOURCE;
	q->r.op = what->op;
	q->r.fua = what->fua;
	q->r.offset = what->offset;
	q->r.length = what->length;
	q->r.iov = what->iov;
	q->r.iov_cnt = what->iov_cnt;
	q->r.done = request_done;
	q->r.arg = q;
	q->dev = dev;
	q->cmd = cmd;
	r = disk_submit(d->disk, &q->r);
	if (r == 1)
		return 0;
	note_failure(dev, &q->r, r);
	status = status_of(what->op, r, cmd->lib_cmd->sense_buf);
	free(q);
	/* 0 would mean "queued": what is done is said so. An error is the status itself. */
	if (status == TCMU_STS_OK)
		tcmur_cmd_complete(dev, cmd, status);
	return status;
}

static bool wants_fua(const uint8_t *cdb)
{
	switch (cdb[0]) {
	case 0x2a: /* WRITE (10), (12), (16), COMPARE AND WRITE */
	case 0xaa:
	case 0x8a:
	case 0x89:
		return cdb[1] & 8;
	case 0x2e: /* WRITE AND VERIFY (10), (12), (16): verified on the medium */
	case 0xae:
	case 0x8e:
		return true;
	default:
		return false;
	}
}

static int on_read(struct tcmu_device *dev, struct tcmur_cmd *cmd, struct iovec *iov,
		   size_t iov_cnt, size_t length, off_t offset)
{
	return submit(dev, cmd,
		      &(struct disk_request){.op = DISK_READ,
					     .offset = (uint64_t)offset,
					     .length = length,
					     .iov = iov,
					     .iov_cnt = iov_cnt});
}

static int on_write(struct tcmu_device *dev, struct tcmur_cmd *cmd, struct iovec *iov,
		    size_t iov_cnt, size_t length, off_t offset)
{
	return submit(dev, cmd,
		      &(struct disk_request){.op = DISK_WRITE,
					     .fua = wants_fua(cmd->lib_cmd->cdb),
					     .offset = (uint64_t)offset,
					     .length = length,
					     .iov = iov,
					     .iov_cnt = iov_cnt});
}

static int on_flush(struct tcmu_device *dev, struct tcmur_cmd *cmd)
{
	struct device *d = tcmur_dev_get_private(dev);
	int failed = __atomic_exchange_n(&d->unmap_failed, 0, __ATOMIC_RELAXED);

	/* The runner reports a failed UNMAP as GOOD. The next flush does not. */
	if (failed)
		return status_of(DISK_UNMAP, failed, cmd->lib_cmd->sense_buf);
	return submit(dev, cmd, &(struct disk_request){.op = DISK_FLUSH});
}

static int on_unmap(struct tcmu_device *dev, struct tcmur_cmd *cmd, uint64_t offset,
		    uint64_t length)
{
	return submit(dev, cmd,
		      &(struct disk_request){.op = DISK_UNMAP, .offset = offset, .length = length});
}

static int on_writesame(struct tcmu_device *dev, struct tcmur_cmd *cmd, uint64_t offset,
			uint64_t length, struct iovec *iov, size_t iov_cnt)
{
	return submit(dev, cmd,
		      &(struct disk_request){.op = DISK_WRITE_SAME,
					     .offset = offset,
					     .length = length,
					     .iov = iov,
					     .iov_cnt = iov_cnt});
}

/* --- handle_cmd: what is done at once, and what the runner does not emulate --- */

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
static int compare(struct device *d, struct tcmulib_cmd *cmd, uint64_t offset, uint64_t length,
		   size_t period)
{
	size_t piece = length < VERIFY_PIECE ? (size_t)length : VERIFY_PIECE;
	uint8_t *disk = malloc(piece), *data = malloc(piece);
	int status = disk && data ? TCMU_STS_OK : TCMU_STS_NO_RESOURCE;
	struct iov_pos pos;

	iov_pos_init(&pos, cmd->iovec, cmd->iov_cnt);
	for (uint64_t at = 0; status == TCMU_STS_OK && at < length; at += piece) {
		size_t n = length - at < piece ? (size_t)(length - at) : piece;
		int e = read_now(d->disk, offset + at, disk, n);

		if (e < 0) {
			status = status_of(DISK_READ, e, cmd->sense_buf);
			break;
		}
		for (size_t k = 0, step = period && period < n ? period : n; k < n; k += step)
			iov_get(&pos, period ? (at + k) % period : at + k, data + k, step);
		if (memcmp(disk, data, n))
			status = TCMU_STS_MISCOMPARE;
	}
	free(disk);
	free(data);
	return status;
}

/* SBC-4 5.34: BYTCHK 0: is it there; 1: compare; 3: compare with one block. */
static int verify(struct tcmu_device *dev, struct tcmulib_cmd *cmd)
{
	struct device *d = tcmur_dev_get_private(dev);
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
	return compare(d, cmd, lba * block, count * block, bytchk == 3 ? block : 0);
}

/* READ and WRITE (10), (12), (16) from memory, without a round through the queue. */
static int transfer(struct tcmu_device *dev, struct tcmulib_cmd *cmd, enum disk_op op)
{
	struct device *d = tcmur_dev_get_private(dev);
	uint64_t block = tcmu_dev_get_block_size(dev), total = tcmu_dev_get_num_lbas(dev);
	uint64_t lba = tcmu_cdb_get_lba(cmd->cdb), count = tcmu_cdb_get_xfer_length(cmd->cdb);
	int r;

	if (lba > total || count > total - lba)
		return TCMU_STS_RANGE;
	if (tcmu_iovec_length(cmd->iovec, cmd->iov_cnt) != count * block)
		return TCMU_STS_NOT_HANDLED;
	r = disk_try(d->disk, op, op == DISK_WRITE && wants_fua(cmd->cdb), lba * block, count * block,
		     cmd->iovec, cmd->iov_cnt);
	/* Whatever is not plainly done takes the long way, which knows how to fail. */
	return r ? TCMU_STS_NOT_HANDLED : TCMU_STS_OK;
}

/*
 * MODE SENSE (6) and (10), SPC-4 6.11 and SBC-3 6.4.1. The runner's answer has neither WP, so that an operating system would
 * mount a disk that may only be read, and then fail, nor DPOFUA: systems would then do without FUA where they mean it, or flush
 * everything instead. The pages are those of the runner, whose MODE SELECT compares with its own.
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

static int mode_sense(struct tcmu_device *dev, struct tcmulib_cmd *lib)
{
	static const uint8_t known[] = {0x01, 0x08, 0x0a};
	const uint8_t *cdb = lib->cdb;
	struct device *d = tcmur_dev_get_private(dev);
	const struct overlay *ov = disk_overlay(d->disk);
	size_t room = tcmu_iovec_length(lib->iovec, lib->iov_cnt), n, had;
	uint8_t data[64] = {0}, page = cdb[2] & 0x3f, control = cdb[2] >> 6;
	bool ten = cdb[0] == 0x5a;
	struct iov_pos dst;

	if ((cdb[3] && cdb[3] != 0xff) || control == 3 /* saved values: there are none */)
		return TCMU_STS_INVALID_CDB;
	had = n = ten ? 8 : 4;
	for (size_t i = 0; i < sizeof(known); i++) {
		size_t length;

		if (page != 0x3f && page != known[i])
			continue;
		length = mode_page(data + n, known[i], ov && ov->keep);
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
 * GET LBA STATUS, SBC-3 5.6: the runner says that blocks may be deallocated and does not tell which. An initiator that would
 * spare itself the reading of them (QEMU's) asks before it reads, again and again as long as it gets no answer.
 */
static int lba_status(struct tcmu_device *dev, struct tcmulib_cmd *cmd)
{
	struct device *d = tcmur_dev_get_private(dev);
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
		bool stored = disk_stored(d->disk, lba * block, most * block, &bytes);
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

/*
 * Commands that answer with less than they were given room for: the kernel sends the initiator all of the room, and what lies
 * there is what an earlier command, or another user of that memory, has left.
 */
static void leave_nothing_behind(struct tcmulib_cmd *lib)
{
	switch (lib->cdb[0]) {
	case 0x12: /* INQUIRY */
	case 0x1a: /* MODE SENSE (6), (10) */
	case 0x5a:
	case 0x25: /* READ CAPACITY (10) */
	case 0x9e: /* SERVICE ACTION IN (16): READ CAPACITY (16), GET LBA STATUS */
	case 0x84: /* RECEIVE COPY RESULTS */
	case 0xa3: /* MAINTENANCE IN: REPORT TARGET PORT GROUPS */
		for (size_t i = 0; i < lib->iov_cnt; i++)
			if (lib->iovec[i].iov_len)
				memset(lib->iovec[i].iov_base, 0, lib->iovec[i].iov_len);
		break;
	default:
		break;
	}
}

/*
 * RDPROTECT, VRPROTECT or WRPROTECT is set (SBC-3 5.8 and further), or ANCHOR: there is no protection information here, and no
 * anchored block.
 */
static bool wants_what_is_not_there(const uint8_t *cdb)
{
	switch (cdb[0]) {
	case 0x28: /* READ (10), (12), (16) */
	case 0xa8:
	case 0x88:
	case 0x2a: /* WRITE (10), (12), (16) */
	case 0xaa:
	case 0x8a:
	case 0x2f: /* VERIFY (10), (12), (16) */
	case 0xaf:
	case 0x8f:
	case 0x2e: /* WRITE AND VERIFY (10), (16) */
	case 0x8e:
	case 0x89: /* COMPARE AND WRITE */
		return cdb[1] & 0xe0;
	case 0x41: /* WRITE SAME (10), (16) */
	case 0x93:
		return cdb[1] & 0xf0;
	case 0x42: /* UNMAP */
		return cdb[1] & 0x01;
	default:
		return false;
	}
}

static int on_command(struct tcmu_device *dev, struct tcmur_cmd *cmd)
{
	struct tcmulib_cmd *lib = cmd->lib_cmd;

	if (wants_what_is_not_there(lib->cdb))
		return TCMU_STS_INVALID_CDB;
	leave_nothing_behind(lib);
	switch (lib->cdb[0]) {
	case 0x28: /* READ (10), (12), (16) */
	case 0xa8:
	case 0x88:
		return transfer(dev, lib, DISK_READ);
	case 0x2a: /* WRITE (10), (12), (16) */
	case 0xaa:
	case 0x8a:
		return transfer(dev, lib, DISK_WRITE);
	case 0x2f: /* VERIFY (10), (12), (16) */
	case 0xaf:
	case 0x8f:
		return verify(dev, lib);
	case 0x1a: /* MODE SENSE (6), (10) */
	case 0x5a:
		return mode_sense(dev, lib);
	case 0x9e: /* SERVICE ACTION IN (16) */
		return (lib->cdb[1] & 0x1f) == 0x12 ? lba_status(dev, lib) : TCMU_STS_NOT_HANDLED;
	case 0x1e: /* PREVENT ALLOW MEDIUM REMOVAL: there is nothing to remove */
		return TCMU_STS_OK;
	default:
		return TCMU_STS_NOT_HANDLED;
	}
}

/* --- devices --- */

static const char *id_of(const char *config)
{
	const char *slash = config ? strchr(config, '/') : NULL;

	return slash ? slash + 1 : "";
}

static void log_sentence(void *arg, const char *sentence)
{
	(void)arg;
	tcmu_warn_message(NULL, __func__, __LINE__, "%s\n", sentence);
}

/* The engine is made when the first disk is opened: then the daemon has written engine.conf. Lock
 * held. */
static int get_engine(struct engine_error *err)
{
	struct engine_config config;
	int r;

	if (the.engine)
		return 0;
	r = conf_read_engine(&config, conf_run_dir(), err);
	if (r < 0)
		return r;
	config.log = log_sentence;
	return engine_new(&the.engine, &config, err);
}

static int open_disk(struct disk **ret, const char *id, struct engine_error *err)
{
	struct disk_config *config = calloc(1, sizeof(*config));
	int r;

	if (!config)
		return engine_fail(err, -ENOMEM, "There is no memory to open a disk.");
	r = conf_read_disk(config, conf_run_dir(), id, err);
	if (!r) {
		pthread_mutex_lock(&the.lock);
		r = get_engine(err);
		if (!r)
			the.disks++;
		pthread_mutex_unlock(&the.lock);
	}
	if (!r) {
		r = disk_open(ret, the.engine, config, err);
		if (!r) {
			const char *note;

			r = patch_apply(*ret, conf_run_dir(), config, &note, err);
			if (note)
				tcmu_warn_message(NULL, __func__, __LINE__, "%s starts without what was to be in its write-back: %s.\n",
						  config->client, note);
			if (r)
				disk_close(*ret);
		}
		if (r < 0) {
			pthread_mutex_lock(&the.lock);
			the.disks--;
			pthread_mutex_unlock(&the.lock);
		}
	}
	free(config);
	return r;
}

static int on_open(struct tcmu_device *dev, bool reopen)
{
	const char *id = id_of(tcmu_dev_get_cfgstring(dev));
	struct engine_error err = {.text = ""};
	struct device *d = calloc(1, sizeof(*d));
	uint64_t size;
	int r;

	(void)reopen;
	if (!d)
		return -ENOMEM;
	r = open_disk(&d->disk, id, &err);
	if (r < 0) {
		say_error(dev, "disk %s: %s\n", id, err.text);
		conf_write_error(conf_run_dir(), id, err.text);
		free(d);
		return r;
	}
	size = tcmu_dev_get_num_lbas(dev) * tcmu_dev_get_block_size(dev);
	if (size != disk_size(d->disk))
		tcmu_warn_message(dev, __func__, __LINE__,
				  "disk %s: the backstore has %llu bytes and the disk %llu\n", id,
				  (unsigned long long)size, (unsigned long long)disk_size(d->disk));
	conf_write_error(conf_run_dir(), id, NULL);
	tcmur_dev_set_private(dev, d);
	/* Blocks of 4 KiB; without an alignment the runner divides by zero. */
	tcmu_dev_set_opt_unmap_gran(dev, OVERLAY_BLOCK / OVERLAY_SECTOR, false);
	tcmu_dev_set_unmap_gran_align(dev, OVERLAY_BLOCK / OVERLAY_SECTOR);
	tcmu_dev_set_solid_state_media(dev, true);
	/* In discard mode a flush does nothing: spare the initiator the round trip. */
	tcmu_dev_set_write_cache_enabled(dev, disk_overlay(d->disk) && disk_overlay(d->disk)->keep);
	say(dev, "disk %s of %s is open\n", id, disk_client(d->disk));
	return 0;
}

static void on_close(struct tcmu_device *dev)
{
	struct device *d = tcmur_dev_get_private(dev);

	disk_close(d->disk);
	tcmur_dev_set_private(dev, NULL);
	free(d);
	pthread_mutex_lock(&the.lock);
	the.disks--;
	pthread_mutex_unlock(&the.lock);
}

static int on_reconfig(struct tcmu_device *dev, struct tcmulib_cfg_info *info)
{
	(void)dev;
	(void)info;
	return -EOPNOTSUPP;
}

static bool on_check_config(const char *config, char **reason)
{
	if (conf_id_valid(id_of(config)))
		return true;
	*reason = strdup("the backstore is to be named bootwell/ID, with an ID of letters, digits, "
			 "'.', '_' and '-'");
	return false;
}

static void on_destroy(void)
{
	pthread_mutex_lock(&the.lock);
	if (!the.disks) {
		engine_free(the.engine);
		the.engine = NULL;
	}
	pthread_mutex_unlock(&the.lock);
}

static struct tcmur_handler handler = {
	.name = "bootwell: shared image with a write-back for each PC",
	.subtype = "bootwell",
	.cfg_desc = "bootwell/ID, as bootwelld made it",
	.check_config = on_check_config,
	.reconfig = on_reconfig,
	.open = on_open,
	.close = on_close,
	.nr_threads = 0,
	.handle_cmd = on_command,
	.read = on_read,
	.write = on_write,
	.flush = on_flush,
	.unmap = on_unmap,
	.writesame = on_writesame,
	.destroy = on_destroy,
};

__attribute__((visibility("default"))) int handler_init(void);
int handler_init(void)
{
	return tcmur_register_handler(&handler);
}
