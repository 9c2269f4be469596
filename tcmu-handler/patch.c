// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A patch is checked whole before anything of it is written, and what was begun is done again after a kill:
 * patch.h.
 */
#include "tcmu-handler/patch.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tcmu-handler/image/bytes.h"
#include "tcmu-handler/overlay.h"

#define HEAD       (64 + 256) /* bytes before the first range */
#define RANGE_HEAD 16
#define END        UINT64_MAX

/* --- the file ------------------------------------------------------------------------------------------------------*/

static int read_file(const char *path, uint8_t **ret, size_t *ret_length)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	uint8_t *data;
	size_t n = 0;
	ssize_t got = 1;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || st.st_size < HEAD + RANGE_HEAD || st.st_size > PATCH_BYTES_MAX) {
		close(fd);
		return -EBADMSG;
	}
	data = malloc((size_t)st.st_size);
	while (data && n < (size_t)st.st_size && (got = read(fd, data + n, (size_t)st.st_size - n)) > 0)
		n += (size_t)got;
	close(fd);
	if (!data || n < (size_t)st.st_size) {
		free(data);
		return data ? -EIO : -ENOMEM;
	}
	*ret = data;
	*ret_length = n;
	return 0;
}

/* The range at *at, which goes on to the next; false: it cannot be, or it is the last. */
static bool next_range(const uint8_t *data, size_t length, size_t *at, uint64_t size, uint64_t *ret_offset,
		       uint32_t *ret_length)
{
	size_t left = length - *at;

	if (left < RANGE_HEAD)
		return false;
	*ret_offset = le64_at(data + *at);
	*ret_length = le32_at(data + *at + 8);
	if (*ret_offset == END || le32_at(data + *at + 12) != 1 || !*ret_length || *ret_length % OVERLAY_SECTOR ||
	    *ret_offset % OVERLAY_SECTOR || *ret_offset > size || *ret_length > size - *ret_offset ||
	    *ret_length > left - RANGE_HEAD)
		return false;
	*at += RANGE_HEAD + *ret_length;
	return true;
}

/* Whole, for this disk and this generation? Before anything of it is written. */
static const char *wrong_with(const uint8_t *data, size_t length, const struct disk_config *config)
{
	char generation[257] = "";
	uint64_t offset;
	uint32_t n;
	size_t at = HEAD;

	memcpy(generation, data + 64, 256);
	if (memcmp(data, "BWOVRLY1", 8))
		return "is of another version";
	if (le64_at(data + 8) != config->size || strcmp(generation, config->generation))
		return "is for another generation of the image";
	while (next_range(data, length, &at, config->size, &offset, &n))
		;
	return at + RANGE_HEAD == length && le64_at(data + at) == END ? NULL : "is damaged";
}

/* --- laying it over ------------------------------------------------------------------------------------------------*/

struct waiting {
	sem_t sem;
	int error;
};

static void done(struct disk_request *request, int error)
{
	struct waiting *w = request->arg;

	w->error = error;
	sem_post(&w->sem);
}

static int submit(struct disk *disk, enum disk_op op, uint64_t offset, const uint8_t *data, uint32_t length)
{
	struct iovec iov = {(void *)data, length};
	struct disk_request request = {
		.op = op, .offset = offset, .length = length, .iov = &iov, .iov_cnt = 1, .done = done};
	struct waiting w = {};
	int r;

	sem_init(&w.sem, 0, 0);
	request.arg = &w;
	r = disk_submit(disk, &request);
	if (r == 1) {
		while (sem_wait(&w.sem) < 0 && errno == EINTR)
			;
		r = w.error;
	}
	sem_destroy(&w.sem);
	return r;
}

static int lay_over(struct disk *disk, const uint8_t *data, size_t length, bool keep)
{
	uint64_t offset;
	uint32_t n;
	int r = 0;

	for (size_t at = HEAD; !r && next_range(data, length, &at, disk_size(disk), &offset, &n);)
		r = submit(disk, DISK_WRITE, offset, data + at - n, n);
	if (!r && keep)
		r = submit(disk, DISK_FLUSH, 0, NULL, 0);
	return r;
}

int patch_apply(struct disk *disk, const char *run_dir, const struct disk_config *config, const char **ret_note,
		struct sentence *err)
{
	struct overlay *ov = disk_overlay(disk);
	char path[1200], begun[1200];
	uint8_t *data = NULL;
	size_t length = 0;
	int r;

	*ret_note = NULL;
	snprintf(path, sizeof(path), HANDOVER_PATCH, run_dir, config->id);
	snprintf(begun, sizeof(begun), HANDOVER_PATCHING, run_dir, config->id);
	if (access(begun, F_OK) < 0) {
		if (access(path, F_OK) < 0)
			return 0;
		if (!ov || !overlay_is_fresh(ov)) {
			unlink(path);
			*ret_note = "it has something in its write-back already";
			return 0;
		}
		if (rename(path, begun) < 0)
			return sentence_fail(err, -errno, "%s cannot be renamed: %s.", path, strerror(errno));
	}
	r = read_file(begun, &data, &length);
	*ret_note = r ? "it cannot be read" : wrong_with(data, length, config);
	if (!*ret_note)
		r = lay_over(disk, data, length, config->mode == DISK_KEEP);
	free(data);
	if (!*ret_note && r)
		return sentence_fail(err, r, "What belongs into the write-back before the start cannot be written: %s.",
				     strerror(-r));
	unlink(begun);
	return 0;
}
