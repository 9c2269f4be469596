// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Parts of 4 MiB go by in order: what the base has, then over it what bootwell-overlay tells of that part, then to the
 * new file where it is not zero (sparse_file.h, as in an upload). The file grows in .commit, is synced, opened again by
 * the library that will serve it and compared, and only then gets its name by a link; the catalogue's switch to it is
 * the caller's. So a crash at any moment leaves generation N as it was, and at worst a file that commit_clean() finds.
 */
#include "daemon/commit/commit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/image/digest_file.h"
#include "daemon/doctor/doctor.h"
#include "daemon/image/sparse_file.h"
#include "daemon/image/upload_limits.h"
#include "tcmu-handler/image/bytes.h"

#define FOLDER    ".commit"
#define HELPER    "/usr/lib/bootwell/bootwell-overlay"
#define DOCTOR    "/usr/lib/bootwell/bootwell-doctor"
#define RANGE_MAX (4u << 20)

static int fail(struct commit *c, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(struct commit *c, int code, const char *format, ...)
{
	int n = snprintf(c->error.text, sizeof(c->error.text), "image %s was not %s: ", c->image,
			 c->mend ? "mended" : "committed");
	va_list ap;

	va_start(ap, format);
	vsnprintf(c->error.text + n, sizeof(c->error.text) - (size_t)n, format, ap);
	va_end(ap);
	return code;
}

static int write_fail(struct commit *c, int code)
{
	if (code == -ENOSPC || code == -EDQUOT)
		return fail(c, -ENOSPC, "the disk with the images (%s) is full; make room there, then %s",
			    c->images_path, c->mend ? "try again" : "commit again: the session is kept");
	return fail(c, code, "%s cannot be written: %s", c->images_path, strerror(-code));
}

/* --- the helper ---------------------------------------------------------------------------------------------------*/

struct stream {
	struct commit *c;
	FILE *from;
	FILE *says;
	pid_t pid;
	uint64_t size;
	/* the range that is at hand */
	uint64_t offset;
	uint32_t length, kind;
	uint8_t *data;
	bool ranges; /* without content */
	bool ended;
};

static const char *helper_path(const struct commit *c)
{
	const char *env = getenv(c->mend ? "BOOTWELL_DOCTOR" : "BOOTWELL_OVERLAY");

	return c->helper ? c->helper : env ? env : c->mend ? DOCTOR : HELPER;
}

static void stream_close(struct stream *s)
{
	if (s->pid > 0) {
		kill(s->pid, SIGKILL);
		while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (s->from)
		fclose(s->from);
	if (s->says)
		fclose(s->says);
	free(s->data);
}

/* The doctor has read what a stranger made: nothing of its words that a terminal would obey. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if ((*text < ' ' && *text != '\n') || *text > '~')
			*text = '?';
}

/* The helper's own sentence, once it has ended. */
static int helper_fail(struct stream *s)
{
	char line[400] = "";
	int status = 0, code;

	while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
		;
	s->pid = 0;
	rewind(s->says);
	if (fgets(line, sizeof(line), s->says))
		line[strcspn(line, "\n")] = '\0';
	make_printable(line);
	code = WIFEXITED(status) && WEXITSTATUS(status) == 3 ? -ENOENT : -EIO;
	return fail(s->c, code, "%s",
		    line[0]      ? line
		    : s->c->mend ? "bootwell-doctor ended before its end"
				 : "bootwell-overlay ended before its end");
}

static int stream_read(struct stream *s, void *to, size_t length)
{
	return fread(to, 1, length, s->from) == length ? 0 : helper_fail(s);
}

static int stream_next(struct stream *s)
{
	uint64_t end = s->offset + s->length;
	uint8_t head[16];
	int r = stream_read(s, head, sizeof(head));

	if (r)
		return r;
	s->offset = le64_at(head);
	s->length = le32_at(head + 8);
	s->kind = le32_at(head + 12);
	if (s->offset == UINT64_MAX) {
		s->ended = true;
		return 0;
	}
	if (s->kind < 1 || s->kind > 3 || (s->kind == 3) != s->ranges || !s->length || s->length > RANGE_MAX ||
	    s->length % 512 || s->offset < end || s->offset % 512 || s->offset > s->size ||
	    s->length > s->size - s->offset)
		return fail(s->c, -EBADMSG, "bootwell-overlay gave what cannot be");
	return s->kind == 1 ? stream_read(s, s->data, s->length) : 0;
}

#define ARGUMENTS (4 + 3 * IMAGE_CHAIN_MAX + 1)

/* bootwell-doctor --mend GENERATION DIR LAYER..., daemon/doctor/bootwell_doctor.c */
static void mend_arguments(const struct commit *c, const char *path, const char *argv[ARGUMENTS],
			   char size[IMAGE_CHAIN_MAX][24])
{
	unsigned int n = 0;

	argv[n++] = path;
	argv[n++] = "--mend";
	argv[n++] = c->generation;
	argv[n++] = c->images_path;
	for (unsigned int i = 0; i < c->base.layers; i++) {
		snprintf(size[i], 24, "%llu", (unsigned long long)c->base.layer[i].size_override);
		argv[n++] = c->base.layer[i].format;
		argv[n++] = c->base.layer[i].file;
		argv[n++] = size[i];
	}
	argv[n] = NULL;
}

static int spawn(struct stream *s, bool ranges)
{
	const struct commit *c = s->c;
	const char *path = helper_path(c),
		   *argv[ARGUMENTS] = {path, c->store_path, c->overlay, ranges ? "--ranges" : NULL, NULL};
	char size[IMAGE_CHAIN_MAX][24];
	int out[2];

	if (c->mend)
		mend_arguments(c, path, argv, size);
	if (pipe2(out, O_CLOEXEC) < 0)
		return -errno;
	s->pid = fork();
	if (s->pid < 0) {
		close(out[0]);
		close(out[1]);
		return -errno;
	}
	if (s->pid == 0) {
		dup2(out[1], STDOUT_FILENO);
		dup2(fileno(s->says), STDERR_FILENO);
		execv(path, (char *const *)argv);
		dprintf(STDERR_FILENO, "%s cannot be run: %s\n", path, strerror(errno));
		_exit(126);
	}
	close(out[1]);
	s->from = fdopen(out[0], "r");
	return s->from ? 0 : -errno;
}

/* What the doctor says that it has changed, once it has ended well. */
static int take_told(struct stream *s)
{
	int status = 0;
	size_t n;

	while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
		;
	s->pid = 0;
	rewind(s->says);
	n = fread(s->c->told, 1, sizeof(s->c->told) - 1, s->says);
	s->c->told[n] = '\0';
	make_printable(s->c->told);
	return status ? fail(s->c, -EIO, "bootwell-doctor did not end well") : 0;
}

static int stream_open(struct stream *s, struct commit *c, bool ranges)
{
	char head[64], generation[256];
	int r;

	memset(s, 0, sizeof(*s));
	s->c = c;
	s->ranges = ranges;
	s->says = tmpfile();
	s->data = malloc(RANGE_MAX);
	r = s->says && s->data ? spawn(s, ranges) : -ENOMEM;
	if (r)
		return fail(c, r, "bootwell-overlay cannot be started: %s", strerror(-r));
	r = stream_read(s, head, sizeof(head));
	if (!r)
		r = stream_read(s, generation, sizeof(generation));
	if (r)
		return r;
	s->size = le64_at(head + 8);
	c->changed = le64_at(head + 16);
	c->ranges = le32_at(head + 24);
	generation[sizeof(generation) - 1] = '\0';
	if (memcmp(head, "BWOVRLY1", 8))
		return fail(c, -EBADMSG, "bootwell-overlay is of another version");
	if (strcmp(generation, c->generation))
		return fail(c, -ESTALE, "the session lies on \"%s\", and the image is now \"%s\"", generation,
			    c->generation);
	return 0;
}

/* --- the base -----------------------------------------------------------------------------------------------------*/

/* --- the new file -------------------------------------------------------------------------------------------------*/

struct writer {
	struct commit *c;
	struct image *base;
	struct stream stream;
	struct sparse_file *sparse;
	int images, folder, fd;
	char name[128]; /* in .commit */
	bool named;     /* in the folder of images, too */
	uint8_t *data, *unit, *digests;
};

/* Lays over `data`, which is [start, start + length), what the overlay has of it. *ret_any: something. */
static int lay_over(struct writer *w, uint64_t start, uint32_t length, bool *ret_any)
{
	struct stream *s = &w->stream;
	int r = 0;

	*ret_any = false;
	while (!r && !s->ended && s->offset < start + length) {
		uint64_t from = s->offset > start ? s->offset : start;
		uint64_t to = s->offset + s->length < start + length ? s->offset + s->length : start + length;

		if (from < to) {
			*ret_any = true;
			if (s->kind == 1)
				memcpy(w->data + (from - start), s->data + (from - s->offset), to - from);
			else
				memset(w->data + (from - start), 0, to - from);
		}
		if (s->offset + s->length > start + length)
			break; /* the rest is the next part's */
		r = stream_next(s);
	}
	return r;
}

static bool make_bitmap(const uint8_t *data, uint32_t length, uint8_t bitmap[SPARSE_BITMAP])
{
	bool any = false;

	memset(bitmap, 0, SPARSE_BITMAP);
	for (uint32_t at = 0, n; at < length; at += n) {
		n = length - at < SPARSE_BLOCK ? length - at : SPARSE_BLOCK;
		if (data_is_zero(data + at, n))
			continue;
		bitmap[at / SPARSE_BLOCK / 8] |= (uint8_t)(1 << at / SPARSE_BLOCK % 8);
		any = true;
	}
	return any;
}

static int write_part(struct writer *w, uint64_t part)
{
	uint64_t size = w->stream.size, start = part * DIGEST_PART;
	uint32_t length = digest_part_length(size, part);
	uint8_t bitmap[SPARSE_BITMAP];
	struct sparse_place place;
	struct statvfs fs;
	bool zero = image_range_is_zero(w->base, start, length), any;
	int r = 0;

	if (zero)
		memset(w->data, 0, length);
	else
		r = image_read_data(w->base, start, w->data, length, &w->unit);
	if (r)
		return fail(w->c, r, "its generation %u cannot be read at byte %llu: %s", w->c->number,
			    (unsigned long long)start, strerror(-r));
	r = lay_over(w, start, length, &any);
	if (r)
		return r;
	if ((zero && !any) || !make_bitmap(w->data, length, bitmap)) {
		digest_zero(length, w->digests + part * DIGEST_SIZE);
		return 0;
	}
	digest_part(w->data, length, w->digests + part * DIGEST_SIZE);
	if (fstatvfs(w->images, &fs) < 0 || (uint64_t)fs.f_bavail * fs.f_frsize < UPLOAD_RESERVE + DIGEST_PART)
		return write_fail(w->c, -ENOSPC);
	r = sparse_place(w->sparse, part, bitmap, &place);
	if (!r)
		r = sparse_write(w->sparse, part, &place, bitmap, w->data);
	if (!r)
		sync_file_range(w->fd, (off_t)(place.first * 512), DIGEST_PART + 8192, SYNC_FILE_RANGE_WRITE);
	return r ? write_fail(w->c, r) : 0;
}

static int write_all(struct writer *w)
{
	uint64_t parts = digest_parts(w->stream.size);
	int r = stream_next(&w->stream);

	for (uint64_t i = 0; !r && i < parts; i++) {
		r = write_part(w, i);
		__atomic_store_n(&w->c->done, i * DIGEST_PART, __ATOMIC_RELAXED);
		if (!r && __atomic_load_n(&w->c->cancel, __ATOMIC_RELAXED))
			r = fail(w->c, -ECANCELED, "it was stopped; nothing is lost");
	}
	if (!r && !w->stream.ended)
		r = helper_fail(&w->stream);
	if (!r && w->c->mend)
		r = take_told(&w->stream);
	return r;
}

static int check_file(struct writer *w)
{
	struct image_source source = {.dirfd = w->folder, .name = w->name, .format = w->c->format};
	struct sentence err;
	struct image *img;
	int r = image_open(&img, &source, &err);

	if (r < 0)
		return fail(w->c, -EIO, "the new file cannot be opened again: %s", err.text);
	r = sparse_compare(w->sparse, img);
	image_close(img);
	return r ? fail(w->c, -EIO, "the new file is not what was written") : 0;
}

static int give_name(struct writer *w)
{
	struct commit *c = w->c;
	int r = -EEXIST;

	for (unsigned int n = c->number + 1; r == -EEXIST && n < 100000; n++) {
		snprintf(c->file, sizeof(c->file), "%s-%u%s", c->image, n, image_format_ending(c->format));
		if (faccessat(w->images, c->file, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			continue; /* somebody's file, with a checksum of its own */
		r = digest_file_write(w->images, c->file, c->digest);
		if (!r && linkat(w->folder, w->name, w->images, c->file, 0) < 0)
			r = -errno;
	}
	w->named = !r;
	if (!r && fsync(w->images) < 0)
		r = -errno;
	return r ? write_fail(c, r) : 0;
}

static int finish(struct writer *w)
{
	struct stat st;
	int r = sparse_finish(w->sparse, w->name);

	if (!r && fsync(w->fd) < 0)
		r = -errno;
	if (r)
		return write_fail(w->c, r);
	r = check_file(w);
	if (r)
		return r;
	digest_disk(w->stream.size, w->digests, w->c->digest);
	if (fstat(w->fd, &st) == 0)
		w->c->disk_bytes = (uint64_t)st.st_blocks * 512;
	return give_name(w);
}

/* In .commit. */
static void name_beside(const struct commit *c, char *ret, size_t size)
{
	snprintf(ret, size, "%s%s", c->image, image_format_ending(c->format));
}

static int writer_open(struct writer *w)
{
	struct commit *c = w->c;
	struct sentence err = {""};
	int r;

	w->images = open(c->images_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w->images < 0 || (mkdirat(w->images, FOLDER, 0700) < 0 && errno != EEXIST))
		return write_fail(c, -errno);
	w->folder = openat(w->images, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (w->folder < 0)
		return write_fail(c, -errno);
	r = layers_open(&w->base, c->images_path, &c->base, &err);
	if (r)
		return fail(c, r, "%.500s", err.text);
	if (image_info(w->base)->virtual_size != w->stream.size)
		return fail(c, -ESTALE, "the session's disk has another size than the image");
	name_beside(c, w->name, sizeof(w->name));
	unlinkat(w->folder, w->name, 0);
	w->fd = openat(w->folder, w->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	r = w->fd < 0 ? -errno : sparse_new(&w->sparse, w->fd, c->format, w->stream.size);
	w->data = malloc(DIGEST_PART);
	w->digests = malloc(digest_parts(w->stream.size) * DIGEST_SIZE);
	if (!r && (!w->data || !w->digests))
		r = -ENOMEM;
	return r ? write_fail(c, r) : 0;
}

static void writer_close(struct writer *w, bool good)
{
	stream_close(&w->stream);
	sparse_free(w->sparse);
	image_close(w->base);
	if (w->fd >= 0) {
		close(w->fd);
		if (w->named && !good) {
			unlinkat(w->images, w->c->file, 0);
			digest_file_remove(w->images, w->c->file);
		}
		if (!good)
			unlinkat(w->folder, w->name, 0);
	}
	if (w->folder >= 0)
		close(w->folder);
	if (w->images >= 0)
		close(w->images);
	free(w->data);
	free(w->unit);
	free(w->digests);
}

int commit_write(struct commit *c)
{
	struct writer w = {.c = c, .images = -1, .folder = -1, .fd = -1};
	int r = stream_open(&w.stream, c, false);

	if (!r) {
		__atomic_store_n(&c->total, w.stream.size, __ATOMIC_RELAXED);
		r = writer_open(&w);
	}
	if (!r)
		r = write_all(&w);
	if (!r)
		r = finish(&w);
	writer_close(&w, !r);
	return r;
}

/* --- looking before -----------------------------------------------------------------------------------------------*/

static void find_partitions(struct commit *c, const struct image *base)
{
	struct doctor_partition part[COMMIT_PARTS - 1];
	struct doctor_disk *disk;
	bool gpt;
	int n;

	c->part[0] = (struct commit_part){.kind = "other"};
	c->parts = 1;
	if (doctor_disk_new(&disk, base))
		return;
	n = doctor_partitions(disk, part, COMMIT_PARTS - 1, &gpt);
	for (int i = 0; i < n; i++)
		c->part[c->parts++] = (struct commit_part){.number = part[i].number,
							   .kind = part[i].ntfs  ? "NTFS"
								   : part[i].ext ? "ext"
										 : "other",
							   .start = part[i].start,
							   .end = part[i].start + part[i].size};
	doctor_disk_free(disk);
}

static void count_range(struct commit *c, uint64_t offset, uint64_t length)
{
	while (length) {
		uint64_t end = offset + length;
		unsigned int in = 0;

		for (unsigned int i = 1; i < c->parts; i++) {
			if (offset >= c->part[i].start && offset < c->part[i].end) {
				in = i;
				end = end < c->part[i].end ? end : c->part[i].end;
			} else if (offset < c->part[i].start && end > c->part[i].start) {
				end = c->part[i].start;
			}
		}
		c->part[in].changed += end - offset;
		length -= end - offset;
		offset = end;
	}
}

int commit_look(struct commit *c)
{
	struct sentence err = {""};
	struct image *base = NULL;
	struct stream s;
	int r = stream_open(&s, c, true);

	if (!r && layers_open(&base, c->images_path, &c->base, &err))
		r = fail(c, -EIO, "%.500s", err.text);
	if (!r)
		find_partitions(c, base);
	if (!r)
		r = stream_next(&s);
	while (!r && !s.ended) {
		count_range(c, s.offset, s.length);
		r = stream_next(&s);
	}
	stream_close(&s);
	image_close(base);
	return r;
}

static int open_folder(int images)
{
	return images < 0 ? -1 : openat(images, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

void commit_settle(const struct commit *c, bool kept)
{
	int images = open(c->images_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int folder = open_folder(images);
	char name[128];

	if (images >= 0 && !kept) {
		unlinkat(images, c->file, 0);
		digest_file_remove(images, c->file);
	}
	name_beside(c, name, sizeof(name));
	if (folder >= 0) {
		unlinkat(folder, name, 0);
		close(folder);
	}
	if (images >= 0)
		close(images);
}

/* The other name of a file in .commit, if it is no image: it had been given its name, and then the machine stopped. */
static void remove_twin(int images, const struct stat *beside, commit_known_fn known, void *arg)
{
	int fd = openat(images, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat st;

	while (d && (e = readdir(d))) {
		if (fstatat(images, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_ino != beside->st_ino ||
		    st.st_dev != beside->st_dev || known(arg, e->d_name))
			continue;
		unlinkat(images, e->d_name, 0);
		digest_file_remove(images, e->d_name);
	}
	if (d)
		closedir(d);
	else if (fd >= 0)
		close(fd);
}

void commit_clean(const char *images_path, commit_known_fn known, void *arg)
{
	int images = open(images_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int folder = open_folder(images);
	DIR *d = folder < 0 ? NULL : fdopendir(folder);
	struct dirent *e;
	struct stat st;

	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		if (!fstatat(folder, e->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode) && st.st_nlink > 1)
			remove_twin(images, &st, known, arg);
		unlinkat(folder, e->d_name, 0);
	}
	if (d)
		closedir(d);
	else if (folder >= 0)
		close(folder);
	if (images >= 0)
		close(images);
}
