// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * File contents for the kernel programs. Files lie in runs of chunks (bpf/tftp_shared.h), first
 * fit; the list is in order of place, so a hole is what lies between two neighbours. A file without
 * references stays until its place is wanted.
 */
#include "daemon/core/fileio.h"
#include "daemon/tftp/fastpath_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/tftp/fastpath.h"
#include "daemon/core/clock.h"

void tftp_files_init(struct tftp_files *files, struct tftp_chunk *chunks, uint32_t count)
{
	*files = (struct tftp_files){.chunks = chunks, .count = count};
}

static void file_free(struct tftp_fastpath_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	free(file);
}

void tftp_files_done(struct tftp_files *files)
{
	struct tftp_fastpath_file *file, *next;

	for (file = files->first; file; file = next) {
		next = file->next;
		file_free(file);
	}
	*files = (struct tftp_files){0};
}

static int file_identify(int fd, struct tftp_file_id *ret)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	*ret = (struct tftp_file_id){
		.device = st.st_dev,
		.inode = st.st_ino,
		.size = (uint64_t)st.st_size,
		.mtime = st.st_mtim,
		.ctime = st.st_ctim,
	};
	return 0;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same_file(const struct tftp_file_id *a, const struct tftp_file_id *b)
{
	return a->device == b->device && a->inode == b->inode;
}

static bool same_content(const struct tftp_file_id *a, const struct tftp_file_id *b)
{
	return same_file(a, b) && a->size == b->size && same_time(&a->mtime, &b->mtime) &&
	       same_time(&a->ctime, &b->ctime);
}

/* The first hole of `chunks`: returns where the link to the new file belongs, NULL if there is
 * none. */
static struct tftp_fastpath_file **find_hole(struct tftp_files *files, uint32_t chunks, uint32_t *ret_first)
{
	struct tftp_fastpath_file **link = &files->first;
	uint32_t from = 0;

	for (; *link; link = &(*link)->next) {
		if ((*link)->first_chunk - from >= chunks)
			break;
		from = (*link)->first_chunk + (*link)->chunks;
	}
	if (!*link && files->count - from < chunks)
		return NULL;
	*ret_first = from;
	return link;
}

static void remove_at(struct tftp_files *files, struct tftp_fastpath_file **link)
{
	struct tftp_fastpath_file *file = *link;

	*link = file->next;
	files->files--;
	files->used -= file->chunks;
	files->evicted++;
	file_free(file);
}

static bool rested(const struct tftp_fastpath_file *file, uint64_t now)
{
	return !file->refs && now >= file->idle + TFTP_REST_NS;
}

/* Evicts the file that has been without references longest; false if there is none. */
static bool evict_one(struct tftp_files *files, uint64_t now)
{
	struct tftp_fastpath_file **oldest = NULL;

	for (struct tftp_fastpath_file **link = &files->first; *link; link = &(*link)->next)
		if (rested(*link, now) && (!oldest || (*link)->idle < (*oldest)->idle))
			oldest = link;
	if (!oldest)
		return false;
	remove_at(files, oldest);
	return true;
}

void tftp_files_tick(struct tftp_files *files, uint64_t now)
{
	struct tftp_fastpath_file **link = &files->first;

	while (*link) {
		if ((*link)->stale && rested(*link, now))
			remove_at(files, link);
		else
			link = &(*link)->next;
	}
}

static struct tftp_fastpath_file *find_content(struct tftp_files *files, const struct tftp_file_id *id)
{
	struct tftp_fastpath_file *found = NULL;

	for (struct tftp_fastpath_file *file = files->first; file; file = file->next) {
		if (!same_file(&file->id, id))
			continue;
		if (!same_content(&file->id, id))
			file->stale = true;
		else if (!file->stale)
			found = file;
	}
	return found;
}

static int file_ref(struct tftp_fastpath_file *file, int fd)
{
	if (file->fd < 0 && !tftp_file_loaded(file)) {
		file->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (file->fd < 0)
			return -errno;
	}
	file->refs++;
	return 0;
}

static int file_new(struct tftp_files *files, const struct tftp_file_id *id, uint64_t now,
		    struct tftp_fastpath_file **ret)
{
	uint64_t chunks = id->size / TFTP_STRIDE + 1;
	struct tftp_fastpath_file **link, *file;
	uint32_t first;

	if (chunks > files->count)
		return -EFBIG;
	while (!(link = find_hole(files, (uint32_t)chunks, &first)))
		if (!evict_one(files, now))
			return -ENOSPC;
	file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	file->owner = files;
	file->id = *id;
	file->first_chunk = first;
	file->chunks = (uint32_t)chunks;
	file->fd = -1;
	file->next = *link;
	*link = file;
	files->files++;
	files->used += file->chunks;
	*ret = file;
	return 0;
}

int tftp_files_get(struct tftp_files *files, int fd, uint64_t now, struct tftp_fastpath_file **ret)
{
	struct tftp_fastpath_file *file;
	struct tftp_file_id id;
	int r;

	r = file_identify(fd, &id);
	if (r < 0)
		return r;
	file = find_content(files, &id);
	if (!file) {
		r = file_new(files, &id, now, &file);
		if (r < 0)
			return r;
	}
	r = file_ref(file, fd);
	if (r < 0)
		return r;
	*ret = file;
	return 0;
}

bool tftp_file_loaded(const struct tftp_fastpath_file *file)
{
	return __atomic_load_n(&file->loaded, __ATOMIC_ACQUIRE) == file->chunks;
}

static int read_whole(int fd, uint8_t *data, uint64_t length, uint64_t offset)
{
	ssize_t n = fileio_read_some(fd, data, length, offset);

	if (n < 0)
		return (int)n;
	return (uint64_t)n == length ? 0 : -ESTALE;
}

static void chunk_sum(struct tftp_chunk *chunk)
{
	uint32_t sum = 0;

	for (unsigned int i = 0; i < TFTP_CHUNK_DATA / 4; i++) {
		uint16_t word[2];

		chunk->sums[i] = (uint16_t)sum;
		memcpy(word, chunk->data + 4 * i, 4);
		sum += (uint32_t)word[0] + word[1];
		sum = (sum & 0xffff) + (sum >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
	}
}

static int chunk_load(struct tftp_fastpath_file *file, uint32_t index)
{
	struct tftp_chunk *chunk = &file->owner->chunks[file->first_chunk + index];
	uint64_t offset = (uint64_t)index * TFTP_STRIDE;
	uint64_t length = file->id.size - offset;
	int r;

	if (length > TFTP_CHUNK_DATA)
		length = TFTP_CHUNK_DATA;
	r = read_whole(file->fd, chunk->data, length, offset);
	if (r < 0)
		return r;
	memset(chunk->data + length, 0, TFTP_CHUNK_DATA - length);
	chunk_sum(chunk);
	return 0;
}

/*
 * Changed so recently that another change could leave the same times behind: file systems count
 * time in ticks of up to 10 ms. Such content is good for whoever has it now, but is not found
 * again.
 */
static bool file_fresh(const struct tftp_file_id *id)
{
	int64_t changed = id->ctime.tv_sec * (int64_t)CLOCK_NS + id->ctime.tv_nsec;
	int64_t age = (int64_t)clock_realtime_ns() - changed;

	return age >= 0 && age < 50000000;
}

int tftp_fastpath_file_load(struct tftp_fastpath_file *file, uint64_t bytes)
{
	uint32_t index = __atomic_load_n(&file->loaded, __ATOMIC_ACQUIRE);
	uint64_t end = index + bytes / TFTP_STRIDE + 1;
	struct tftp_file_id id;
	int r;

	if (index == file->chunks)
		return 0;
	if (end > file->chunks)
		end = file->chunks;
	for (; index < end; index++) {
		r = chunk_load(file, index);
		if (r < 0)
			goto failed;
	}
	if (index == file->chunks) {
		r = file_identify(file->fd, &id);
		if (r == 0 && !same_content(&id, &file->id))
			r = -ESTALE;
		if (r < 0)
			goto failed;
		if (file_fresh(&id))
			__atomic_store_n(&file->stale, true, __ATOMIC_RELAXED);
		close(file->fd);
		file->fd = -1;
	}
	__atomic_store_n(&file->loaded, index, __ATOMIC_RELEASE);
	return index < file->chunks;
failed:
	__atomic_store_n(&file->stale, true, __ATOMIC_RELAXED);
	return r;
}

void tftp_fastpath_file_put(struct tftp_fastpath_file *file)
{
	if (!file || --file->refs)
		return;
	file->idle = clock_monotonic_ns();
	if (file->fd >= 0) {
		close(file->fd);
		file->fd = -1;
	}
}
