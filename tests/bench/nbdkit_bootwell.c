// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The engine behind nbdkit, so that fio can drive it and its peers through the same door:
 *
 *	nbdkit ./nbdkit-bootwell.so base=/abs/base.raw dir=/abs/dir [keep=1] [image_ram=MiB]
 *[write_back_ram=MiB]
 *
 * Each export name is an overlay of its own over the one base.
 */
#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tcmu-handler/engine.h"
#include "tcmu-handler/engine_private.h"

#define EXPORTS_MAX  1024
#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

static const char *base_path, *dir_path;
static uint64_t image_ram = 1536, write_back_ram = 256, store_size = 8192, keep;
static struct engine *engine;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* An export stays open: its overlay goes on from one connection to the next. */
static struct export
{
	char *name;
	struct disk *disk;
}
exports[EXPORTS_MAX];
static unsigned int n_exports;

struct wait {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	int finished, error;
};

static int on_config(const char *key, const char *value)
{
	if (!strcmp(key, "base"))
		base_path = strdup(value);
	else if (!strcmp(key, "dir"))
		dir_path = strdup(value);
	else if (!strcmp(key, "keep"))
		keep = strtoull(value, NULL, 10);
	else if (!strcmp(key, "image_ram"))
		image_ram = strtoull(value, NULL, 10);
	else if (!strcmp(key, "write_back_ram"))
		write_back_ram = strtoull(value, NULL, 10);
	else if (!strcmp(key, "store_size"))
		store_size = strtoull(value, NULL, 10);
	else
		return -1;
	return 0;
}

static int on_get_ready(void)
{
	return base_path && dir_path ? 0 : -1;
}

static int on_after_fork(void)
{
	struct engine_config c = {
		.store_size = store_size << 20, .image_ram = image_ram << 20, .write_back_ram = write_back_ram << 20};
	struct sentence err;

	snprintf(c.store, sizeof(c.store), "%s/store", dir_path);
	if (engine_new(&engine, &c, &err) < 0) {
		nbdkit_error("%s", err.text);
		return -1;
	}
	while (!base_cache_touched(engine->cache)) /* a server that has been up for some seconds */
		usleep(10000);
	return 0;
}

static struct disk *open_disk(unsigned int number)
{
	struct disk_config d = {.mode = keep ? DISK_KEEP : DISK_DISCARD, .layers = 1, .generation = "bench"};
	const char *slash = strrchr(base_path, '/');
	struct sentence err;
	struct disk *disk = NULL;
	struct stat st;

	if (stat(base_path, &st) || !slash)
		return NULL;
	d.size = (uint64_t)st.st_size;
	snprintf(d.id, sizeof(d.id), "e%u", number);
	memcpy(d.overlay, &number, sizeof(number));
	d.overlay[15] = d.boot[0] = 1;
	d.layer[0].format = IMAGE_RAW;
	snprintf(d.layer[0].dir, sizeof(d.layer[0].dir), "%.*s", (int)(slash - base_path), base_path);
	snprintf(d.layer[0].file, sizeof(d.layer[0].file), "%s", slash + 1);
	if (disk_open(&disk, engine, &d, &err) < 0)
		nbdkit_error("%s", err.text);
	return disk;
}

static void *on_open(int readonly)
{
	const char *name = nbdkit_export_name();
	struct disk *disk = NULL;
	unsigned int i;

	(void)readonly;
	pthread_mutex_lock(&lock);
	for (i = 0; i < n_exports && strcmp(exports[i].name, name); i++)
		continue;
	if (i < n_exports) {
		disk = exports[i].disk;
	} else if (i < EXPORTS_MAX && (disk = open_disk(i))) {
		exports[i].name = strdup(name);
		exports[i].disk = disk;
		n_exports++;
	}
	pthread_mutex_unlock(&lock);
	return disk;
}

static void done(struct disk_request *r, int error)
{
	struct wait *w = r->arg;

	pthread_mutex_lock(&w->lock);
	w->finished = 1;
	w->error = error;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static int run(struct disk *disk, enum disk_op op, int fua, uint64_t offset, uint64_t length, void *data)
{
	struct wait w = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	struct iovec iov = {.iov_base = data, .iov_len = length};
	struct disk_request r = {.op = op,
				 .fua = fua,
				 .offset = offset,
				 .length = length,
				 .iov = &iov,
				 .iov_cnt = 1,
				 .done = done,
				 .arg = &w};
	int e = disk_submit(disk, &r);

	if (e == 1) {
		pthread_mutex_lock(&w.lock);
		while (!w.finished)
			pthread_cond_wait(&w.cond, &w.lock);
		pthread_mutex_unlock(&w.lock);
		e = w.error;
	}
	if (!e)
		return 0;
	nbdkit_set_error(-e);
	return -1;
}

static int64_t on_get_size(void *handle)
{
	return (int64_t)disk_size(handle);
}

static int yes(void *handle)
{
	(void)handle;
	return 1;
}

static int fua_native(void *handle)
{
	(void)handle;
	return NBDKIT_FUA_NATIVE;
}

static int on_pread(void *handle, void *data, uint32_t count, uint64_t offset, uint32_t flags)
{
	(void)flags;
	return run(handle, DISK_READ, 0, offset, count, data);
}

static int on_pwrite(void *handle, const void *data, uint32_t count, uint64_t offset, uint32_t flags)
{
	return run(handle, DISK_WRITE, flags & NBDKIT_FLAG_FUA, offset, count, (void *)(uintptr_t)data);
}

static int on_flush(void *handle, uint32_t flags)
{
	(void)flags;
	return run(handle, DISK_FLUSH, 0, 0, 0, NULL);
}

static int on_trim(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	(void)flags;
	return run(handle, DISK_UNMAP, 0, offset, count, NULL);
}

static void on_unload(void)
{
	for (unsigned int i = 0; i < n_exports; i++)
		disk_close(exports[i].disk);
	engine_free(engine);
}

static struct nbdkit_plugin plugin = {
	.name = "bootwell",
	.config = on_config,
	.get_ready = on_get_ready,
	.after_fork = on_after_fork,
	.open = on_open,
	.get_size = on_get_size,
	.can_multi_conn = yes,
	.can_write = yes,
	.can_flush = yes,
	.can_trim = yes,
	.can_fua = fua_native,
	.pread = on_pread,
	.pwrite = on_pwrite,
	.flush = on_flush,
	.trim = on_trim,
	.unload = on_unload,
	.errno_is_preserved = 0,
};

NBDKIT_REGISTER_PLUGIN(plugin)
