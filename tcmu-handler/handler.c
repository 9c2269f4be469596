// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The tcmu-runner handler: the runner's callbacks. Commands become engine requests and errors statuses;
 * a device is opened by the record that the daemon wrote for it, and the first one makes the engine.
 *
 * The runner calls handle_cmd() first for every command: scsi.c. A READ or WRITE that memory can answer is
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
#include "tcmu-handler/patch.h"
#include "tcmu-handler/scsi.h"
#include "tcmu-handler/tcmur_abi.h"

#define say_error(dev, ...) tcmu_err_message(dev, __func__, __LINE__, __VA_ARGS__)
#define say(dev, ...)       tcmu_info_message(dev, __func__, __LINE__, __VA_ARGS__)
#define say_debug(dev, ...) tcmu_dbg_message(dev, __func__, __LINE__, __VA_ARGS__)

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
	say_error(dev, "%s: %s of %llu bytes at %llu failed: %s (failure number %llu)%s\n", disk_client(d->disk),
		  names[r->op], (unsigned long long)r->length, (unsigned long long)r->offset, strerror(-error),
		  (unsigned long long)n,
		  error == -ENOSPC ? "; make [write-back] size greater, or restart PCs that have written much" : "");
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
	status = scsi_status(r->op, error, cmd->lib_cmd->sense_buf);
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
	status = scsi_status(what->op, r, cmd->lib_cmd->sense_buf);
	free(q);
	/* 0 would mean "queued": what is done is said so. An error is the status itself. */
	if (status == TCMU_STS_OK)
		tcmur_cmd_complete(dev, cmd, status);
	return status;
}

static int on_read(struct tcmu_device *dev, struct tcmur_cmd *cmd, struct iovec *iov, size_t iov_cnt, size_t length,
		   off_t offset)
{
	return submit(
		dev, cmd,
		&(struct disk_request){
			.op = DISK_READ, .offset = (uint64_t)offset, .length = length, .iov = iov, .iov_cnt = iov_cnt});
}

static int on_write(struct tcmu_device *dev, struct tcmur_cmd *cmd, struct iovec *iov, size_t iov_cnt, size_t length,
		    off_t offset)
{
	return submit(dev, cmd,
		      &(struct disk_request){.op = DISK_WRITE,
					     .fua = scsi_wants_fua(cmd->lib_cmd->cdb),
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
		return scsi_status(DISK_UNMAP, failed, cmd->lib_cmd->sense_buf);
	return submit(dev, cmd, &(struct disk_request){.op = DISK_FLUSH});
}

static int on_unmap(struct tcmu_device *dev, struct tcmur_cmd *cmd, uint64_t offset, uint64_t length)
{
	return submit(dev, cmd, &(struct disk_request){.op = DISK_UNMAP, .offset = offset, .length = length});
}

static int on_writesame(struct tcmu_device *dev, struct tcmur_cmd *cmd, uint64_t offset, uint64_t length,
			struct iovec *iov, size_t iov_cnt)
{
	return submit(
		dev, cmd,
		&(struct disk_request){
			.op = DISK_WRITE_SAME, .offset = offset, .length = length, .iov = iov, .iov_cnt = iov_cnt});
}

static int on_command(struct tcmu_device *dev, struct tcmur_cmd *cmd)
{
	struct device *d = tcmur_dev_get_private(dev);

	return scsi_command(dev, d->disk, cmd->lib_cmd);
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
static int get_engine(struct sentence *err)
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

static int open_disk(struct disk **ret, const char *id, struct sentence *err)
{
	struct disk_config *config = calloc(1, sizeof(*config));
	int r;

	if (!config)
		return sentence_fail(err, -ENOMEM, "There is no memory to open a disk.");
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
				tcmu_warn_message(NULL, __func__, __LINE__,
						  "%s starts without what was to be in its write-back: %s.\n",
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
	struct sentence err = {.text = ""};
	struct device *d = calloc(1, sizeof(*d));
	char line[512];
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
		tcmu_warn_message(dev, __func__, __LINE__, "disk %s: the backstore has %llu bytes and the disk %llu\n",
				  id, (unsigned long long)size, (unsigned long long)disk_size(d->disk));
	conf_write_error(conf_run_dir(), id, NULL);
	tcmur_dev_set_private(dev, d);
	/* Blocks of 4 KiB; without an alignment the runner divides by zero. */
	tcmu_dev_set_opt_unmap_gran(dev, OVERLAY_BLOCK / OVERLAY_SECTOR, false);
	tcmu_dev_set_unmap_gran_align(dev, OVERLAY_BLOCK / OVERLAY_SECTOR);
	tcmu_dev_set_solid_state_media(dev, true);
	/* In discard mode a flush does nothing: spare the initiator the round trip. */
	tcmu_dev_set_write_cache_enabled(dev, disk_overlay(d->disk) && overlay_is_kept(disk_overlay(d->disk)));
	say(dev, "disk %s of %s is open\n", id, disk_client(d->disk));
	disk_describe(d->disk, line, sizeof(line));
	say_debug(dev, "disk %s\n", line);
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
	if (handover_id_valid(id_of(config)))
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
