// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One job at a time, on a helper thread: the PC's old target goes, the handler's records are written, the new target is
 * made. A watch on the loop looks for a kernel that waits behind a tcmu-runner that is no more (target_rescue()).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/boot/disk.h"
#include "daemon/boot/name.h"
#include "daemon/boot/record.h"
#include "daemon/core/log.h"
#include "daemon/core/clock.h"
#include "tcmu-handler/handover.h"

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
	snprintf(ret, 40, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
		 b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

void boot_secret(char ret[TARGET_SECRET_MAX])
{
	static const char digits[64] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0";
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

int boot_disks_write_engine(const struct config *c, struct sentence *error)
{
	char path[300], text[2048];
	int r;

	snprintf(path, sizeof(path), "%s/disk", c->run_path);
	if (mkdir(path, 0755) && errno != EEXIST) {
		r = -errno;
		sentence_set(error, "cannot make the folder %.200s: %s", path, strerror(-r));
		return r;
	}
	snprintf(path, sizeof(path), HANDOVER_ENGINE, c->run_path);
	r = boot_record_engine(text, sizeof(text), c);
	if (!r)
		r = write_file(path, text);
	if (r)
		sentence_set(error, "cannot write %.200s: %s", path, strerror(-r));
	return r;
}

/* --- on the helper thread --- */

static int write_record(const struct boot_disks *disks, struct boot_disk_job *job, const char *id,
			const struct boot_record *record)
{
	char path[400], text[HANDOVER_BYTES_MAX];
	int r = boot_record_disk(text, sizeof(text), record);

	snprintf(path, sizeof(path), HANDOVER_ERROR, disks->run, id);
	unlink(path);
	snprintf(path, sizeof(path), HANDOVER_DISK, disks->run, id);
	if (!r)
		r = write_file(path, text);
	if (r)
		sentence_set(&job->error, "cannot write %.200s: %s", path, strerror(-r));
	return r;
}

static int write_records(const struct boot_disks *disks, struct boot_disk_job *job)
{
	static const char *const modes[] = {[CONFIG_DISK_READ_ONLY] = HANDOVER_READONLY,
					    [CONFIG_DISK_OWN] = HANDOVER_DISCARD,
					    [CONFIG_DISK_KEEP] = HANDOVER_KEEP};
	struct boot_record record = {.client = job->name,
				     .size = job->disk.size,
				     .overlay = job->overlay,
				     .mode = job->keep ? HANDOVER_KEEP : HANDOVER_DISCARD,
				     .boot = job->boot,
				     .reset = job->reset,
				     .images_path = job->images_path,
				     .chain = &job->chain};
	int r = write_record(disks, job, job->disk.id, &record);

	for (unsigned int i = 0; !r && i < job->disk.luns; i++) {
		record.overlay = job->extra[i].overlay;
		record.mode = modes[job->extra[i].mode];
		record.size = job->disk.lun[i].size;
		record.chain = &job->extra[i].chain;
		r = write_record(disks, job, job->disk.lun[i].id, &record);
	}
	return r;
}

/* Of a disk, and of the same PC's other LUNs. */
static void forget_record(const struct boot_disks *disks, const char *disk)
{
	const char *dash = strrchr(disk, '-');
	char path[400];

	snprintf(path, sizeof(path), HANDOVER_DISK, disks->run, disk);
	unlink(path);
	for (unsigned int lun = 1; dash && !strcmp(dash, "-0") && lun <= TARGET_LUNS; lun++) {
		snprintf(path, sizeof(path), "%s/disk/%.*s-%u.conf", disks->run, (int)(dash - disk), disk, lun);
		unlink(path);
	}
}

/* A PC that starts under the image's name is better than one that does not start. */
static void write_name(const struct boot_disks *disks, const struct boot_disk_job *job)
{
	struct sentence error = {""};
	int r;

	boot_name_forget(disks->run, job->disk.id);
	if (!job->set_name)
		return;
	r = boot_name_patch(disks->run, job, &error);
	if (r)
		log_limited(10, LOG_LEVEL_WARNING, "client %s starts under its image's computer name: %s", job->name,
			    error.text[0] ? error.text : strerror(-r));
}

static int run_job(struct boot_disks *disks, struct boot_disk_job *job)
{
	struct target_session session = {};
	int r = 0;

	if (job->old_iqn[0] && !target_session(disks->targets, job->old_iqn, &session) && session.logged_in)
		snprintf(job->ended, sizeof(job->ended), "%s", session.address);
	if (job->old_iqn[0] || job->old_disk[0]) {
		r = target_remove(disks->targets, job->old_iqn, job->old_disk, &job->error);
		if (!r)
			forget_record(disks, job->old_disk);
	}
	if (!r && job->make)
		r = write_records(disks, job);
	if (!r && job->make)
		write_name(disks, job);
	if (!r && job->make && !job->touch)
		r = target_add(disks->targets, &job->disk, &job->error);
	if (job->touch) {
		if (!r)
			r = target_touch(disks->targets, &job->disk, &job->error);
		forget_record(disks, job->disk.id);
	}
	return r;
}

static int job_work(void *arg)
{
	struct boot_disks *disks = arg;
	uint64_t began = clock_monotonic_ns();
	int r = run_job(disks, disks->running);

	disks->running->took_ns = clock_monotonic_ns() - began;
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
		sentence_set(&job->error, "no helper thread for the disk: %s", strerror(-r));
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
	log_limited(2, LOG_LEVEL_WARNING,
		    "the kernel takes more than %u s for the disk of client %s; is tcmu-runner alive?", RESCUE_AFTER,
		    disks->running->name[0] ? disks->running->name : disks->running->old_disk);
	disks->rescuing = !loop_work(disks->loop, rescue_work, rescue_done, disks);
}

int boot_disks_new(struct boot_disks **ret, struct loop *loop, struct targets *targets, const char *run_path)
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
