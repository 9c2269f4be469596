// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/boot_disk.h"
#include "daemon/boot_name.h"
#include "daemon/log.h"

#define RESCUE_AFTER 15 /* s that the kernel may take for one step */

struct boot_disks {
	struct loop *loop;
	struct targets *targets;
	char run[256];
	struct boot_disk_job *first, **last;
	struct boot_disk_job *running;
	unsigned int waiting;
	struct loop_source *timer;
	bool rescuing;
	bool freed; /* by boot_disks_free() while work was under way: the last to end frees */
};

void boot_uuid(char ret[40])
{
	uint8_t b[16];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		abort(); /* cannot happen: 16 bytes are never cut short */
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	snprintf(ret, 40, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
		 b[13], b[14], b[15]);
}

void boot_secret(char ret[TARGET_SECRET_MAX])
{
	static const char digits[64] =
		"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0";
	uint8_t b[TARGET_SECRET_MAX - 1];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		abort();
	for (unsigned int i = 0; i < sizeof(b); i++)
		ret[i] = digits[b[i] % 62];
	ret[sizeof(b)] = '\0';
	explicit_bzero(b, sizeof(b));
}

/* Writes a file beside its place and renames it, so that a reader sees the old text or the new. */
static int write_file(const char *path, const char *text)
{
	char beside[512];
	size_t length = strlen(text);
	int fd, r = 0;

	if (snprintf(beside, sizeof(beside), "%s.new", path) >= (int)sizeof(beside))
		return -ENAMETOOLONG;
	fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	if (write(fd, text, length) != (ssize_t)length)
		r = -EIO;
	if (close(fd) && !r)
		r = -errno;
	if (!r && rename(beside, path))
		r = -errno;
	if (r)
		unlink(beside);
	return r;
}

int boot_disks_write_engine(const struct config *c, char error[TARGET_ERROR_MAX])
{
	char path[300], text[1024];
	int r;

	snprintf(path, sizeof(path), "%s/disk", c->run_path);
	if (mkdir(path, 0755) && errno != EEXIST) {
		r = -errno;
		snprintf(error, TARGET_ERROR_MAX, "cannot make the folder %.200s: %s", path,
			 strerror(-r));
		return r;
	}
	snprintf(path, sizeof(path), "%s/engine.conf", c->run_path);
	snprintf(text, sizeof(text),
		 "store=%s\nstore_size=%llu\nimage_ram=%llu\nwrite_back_ram=%llu\nthreads=%u\n",
		 c->store_path, (unsigned long long)c->store_size, (unsigned long long)c->image_ram,
		 (unsigned long long)c->write_back_ram, c->engine_threads);
	r = write_file(path, text);
	if (r)
		snprintf(error, TARGET_ERROR_MAX, "cannot write %.200s: %s", path, strerror(-r));
	return r;
}

/* --- on the helper thread --- */

static void add_line(char *text, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void add_line(char *text, size_t size, const char *format, ...)
{
	size_t length = strlen(text);
	va_list args;

	va_start(args, format);
	vsnprintf(text + length, size - length, format, args);
	va_end(args);
}

/* docs/handover.md. */
struct record {
	const char *id, *overlay, *mode;
	uint64_t size;
	const struct catalogue_chain *chain;
};

static int write_record(const struct boot_disks *disks, struct boot_disk_job *job, const struct record *record)
{
	const struct catalogue_chain *chain = record->chain;
	char path[400], text[16384] = "";
	int r;

	add_line(text, sizeof(text), "client=%s\nsize=%llu\noverlay=%s\nmode=%s\nboot=%s\n",
		 job->name, (unsigned long long)record->size, record->overlay, record->mode, job->boot);
	if (!strcmp(record->mode, "keep") && job->reset[0])
		add_line(text, sizeof(text), "reset=%s\n", job->reset);
	add_line(text, sizeof(text), "generation=%s %u %s\n", chain->image.name, chain->image.generation,
		 chain->image.image_id);
	for (unsigned int i = 0; i < chain->layers; i++) {
		add_line(text, sizeof(text), "layer=%s %s %s\n", chain->layer[i].format,
			 job->images_path, chain->layer[i].file);
		if (chain->layer[i].size_override)
			add_line(text, sizeof(text), "size_override=%llu\n",
				 (unsigned long long)chain->layer[i].size_override);
	}
	snprintf(path, sizeof(path), "%s/disk/%s.error", disks->run, record->id);
	unlink(path);
	snprintf(path, sizeof(path), "%s/disk/%s.conf", disks->run, record->id);
	r = write_file(path, text);
	if (r)
		snprintf(job->error, sizeof(job->error), "cannot write %.200s: %s", path,
			 strerror(-r));
	return r;
}

static int write_records(const struct boot_disks *disks, struct boot_disk_job *job)
{
	static const char *const modes[] = {
		[CONFIG_DISK_READ_ONLY] = "readonly", [CONFIG_DISK_OWN] = "discard", [CONFIG_DISK_KEEP] = "keep"};
	int r = write_record(disks, job, &(struct record){job->disk.id, job->overlay, job->keep ? "keep" : "discard", job->disk.size, &job->chain});

	for (unsigned int i = 0; !r && i < job->disk.luns; i++) {
		const struct boot_disk_extra *extra = &job->extra[i];

		r = write_record(disks, job, &(struct record){job->disk.lun[i].id, extra->overlay, modes[extra->mode],
							      job->disk.lun[i].size, &extra->chain});
	}
	return r;
}

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* Of a disk, and of the same PC's other LUNs. */
static void forget_record(const struct boot_disks *disks, const char *disk)
{
	const char *dash = strrchr(disk, '-');
	char path[400];

	snprintf(path, sizeof(path), "%s/disk/%s.conf", disks->run, disk);
	unlink(path);
	for (unsigned int lun = 1; dash && !strcmp(dash, "-0") && lun <= TARGET_LUNS; lun++) {
		snprintf(path, sizeof(path), "%s/disk/%.*s-%u.conf", disks->run, (int)(dash - disk), disk, lun);
		unlink(path);
	}
}

/* A PC that starts under the image's name is better than one that does not start. */
static void write_name(const struct boot_disks *disks, const struct boot_disk_job *job)
{
	char error[TARGET_ERROR_MAX];
	int r;

	boot_name_forget(disks->run, job->disk.id);
	if (!job->set_name)
		return;
	r = boot_name_patch(disks->run, job, error);
	if (r)
		log_warning("client %s starts under its image's computer name: %s", job->name, error[0] ? error : strerror(-r));
}

static int run_job(struct boot_disks *disks, struct boot_disk_job *job)
{
	int r = 0;

	if (job->old_iqn[0] || job->old_disk[0]) {
		r = target_remove(disks->targets, job->old_iqn, job->old_disk, job->error);
		if (!r)
			forget_record(disks, job->old_disk);
	}
	if (!r && job->make)
		r = write_records(disks, job);
	if (!r && job->make)
		write_name(disks, job);
	if (!r && job->make && !job->touch)
		r = target_add(disks->targets, &job->disk, job->error);
	if (job->touch) {
		if (!r)
			r = target_touch(disks->targets, &job->disk, job->error);
		forget_record(disks, job->disk.id);
	}
	return r;
}

static int job_work(void *arg)
{
	struct boot_disks *disks = arg;
	uint64_t began = monotonic_ns();
	int r = run_job(disks, disks->running);

	disks->running->took_ns = monotonic_ns() - began;
	return r;
}

static int rescue_work(void *arg)
{
	struct boot_disks *disks = arg;

	target_rescue(disks->targets, RESCUE_AFTER);
	return 0;
}

/* --- on the loop ------------------------------------------------------------------------------ */

static void start_next(struct boot_disks *disks);

static void free_all(struct boot_disks *disks)
{
	while (disks->first) {
		struct boot_disk_job *job = disks->first;

		disks->first = job->next;
		free(job);
	}
	free(disks->running);
	free(disks);
}

static void rescue_done(void *arg, int result)
{
	struct boot_disks *disks = arg;

	(void)result;
	disks->rescuing = false;
	if (disks->freed && !disks->running)
		free_all(disks);
}

static void job_done(void *arg, int result)
{
	struct boot_disks *disks = arg;
	struct boot_disk_job *job = disks->running;

	disks->running = NULL;
	if (disks->freed) {
		free(job);
		if (!disks->rescuing)
			free_all(disks);
		return;
	}
	start_next(disks);
	job->done(job->arg, job, result);
	explicit_bzero(job->disk.secret, sizeof(job->disk.secret));
	free(job);
}

static void start_next(struct boot_disks *disks)
{
	struct boot_disk_job *job = disks->first;
	int r;

	if (!job || disks->running)
		return;
	disks->first = job->next;
	if (!disks->first)
		disks->last = &disks->first;
	disks->waiting--;
	disks->running = job;
	r = loop_work(disks->loop, job_work, job_done, disks);
	if (r) {
		snprintf(job->error, sizeof(job->error), "no helper thread for the disk: %s",
			 strerror(-r));
		job_done(disks, r);
		return;
	}
	loop_timer_set(disks->timer, loop_now(disks->loop) + RESCUE_AFTER * 1000000000ull);
}

/* The kernel may be waiting for a tcmu-runner that is no more. */
static void on_timer(void *arg)
{
	struct boot_disks *disks = arg;

	if (!disks->running)
		return;
	loop_timer_set(disks->timer, loop_now(disks->loop) + RESCUE_AFTER * 1000000000ull);
	if (disks->rescuing)
		return;
	log_warning(
		"the kernel takes more than %u s for the disk of client %s; is tcmu-runner alive?",
		RESCUE_AFTER,
		disks->running->name[0] ? disks->running->name : disks->running->old_disk);
	disks->rescuing = !loop_work(disks->loop, rescue_work, rescue_done, disks);
}

int boot_disks_new(struct boot_disks **ret, struct loop *loop, struct targets *targets,
		   const char *run_path)
{
	struct boot_disks *disks = calloc(1, sizeof(*disks));
	int r;

	if (!disks)
		return -ENOMEM;
	disks->loop = loop;
	disks->targets = targets;
	disks->last = &disks->first;
	boot_name_clean(run_path);
	snprintf(disks->run, sizeof(disks->run), "%s", run_path);
	r = loop_add_timer(loop, UINT64_MAX, on_timer, disks, &disks->timer);
	if (r) {
		free(disks);
		return r;
	}
	*ret = disks;
	return 0;
}

void boot_disks_free(struct boot_disks *disks)
{
	if (!disks)
		return;
	loop_source_free(disks->timer);
	disks->freed = true;
	if (!disks->running && !disks->rescuing)
		free_all(disks);
}

void boot_disks_queue(struct boot_disks *disks, struct boot_disk_job *job)
{
	job->next = NULL;
	*disks->last = job;
	disks->last = &job->next;
	disks->waiting++;
	start_next(disks);
}

unsigned int boot_disks_waiting(const struct boot_disks *disks)
{
	return disks->waiting + (disks->running != NULL);
}
