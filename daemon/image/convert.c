// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The loop of a conversion: the source through image_map(), unit by unit of the destination's
 * format, past all that is zero: by the source's tables, by holes in its files, and by looking at
 * what was read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/core/fileio.h"
#include "daemon/image/convert.h"
#include "daemon/image/output.h"
#include "daemon/image/write.h"
#include "tcmu-handler/inflate/inflate.h"

#define TARGET(NAME, name_, FORMAT, writer) [CONVERT_##NAME] = {name_, IMAGE_##FORMAT, &writer},

static const struct {
	const char *name;
	enum image_format format;
	const struct writer_type *type;
} targets[] = {CONVERT_TARGETS(TARGET, TARGET)};

#define N_TARGETS (sizeof(targets) / sizeof(targets[0]))

int convert_target_from_name(const char *name, enum convert_target *ret)
{
	for (unsigned int i = 0; i < N_TARGETS; i++) {
		if (strcmp(name, targets[i].name) == 0) {
			*ret = (enum convert_target)i;
			return 0;
		}
	}
	return -EINVAL;
}

enum convert_target convert_target_from_file(const char *file)
{
	enum image_format format;

	if (image_format_from_file(file, &format) == 0)
		for (unsigned int i = 0; i < N_TARGETS; i++)
			if (targets[i].format == format)
				return (enum convert_target)i;
	return CONVERT_RAW;
}

enum image_format convert_target_format(enum convert_target target)
{
	return targets[target].format;
}

/* --- reading the source --- */

struct source {
	const struct image *img;
	uint8_t *packed, *unit;             /* of the compressed unit that was read last */
	const struct image_file *unit_file; /* NULL: none */
	uint64_t unit_offset;
};

static int read_fully(const struct image_file *f, uint64_t at, uint8_t *to, size_t length, struct sentence *err)
{
	ssize_t n = fileio_read_some(f->fd, to, length, at);

	if (n == (ssize_t)length)
		return 0;
	return sentence_fail(err, n < 0 ? (int)n : -EBADMSG, "%s: cannot read at byte %llu: %s", f->name,
			     (unsigned long long)at, n < 0 ? strerror((int)-n) : "the file became shorter");
}

static int read_compressed(struct source *s, const struct image_extent *e, uint8_t *to, struct sentence *err)
{
	if (s->unit_file != e->file || s->unit_offset != e->offset) {
		int r;

		s->unit_file = NULL;
		r = read_fully(e->file, e->offset, s->packed, e->compressed_length, err);
		if (r < 0)
			return r;
		r = inflate_unit(s->unit, e->unit_length, e->unit_least, s->packed, e->compressed_length);
		if (r < 0)
			return sentence_fail(err, r,
					     "%s: the compressed data at byte %llu are damaged; copy "
					     "the file again",
					     e->file->name, (unsigned long long)e->offset);
		s->unit_file = e->file;
		s->unit_offset = e->offset;
	}
	memcpy(to, s->unit + e->unit_skip, e->length);
	return 0;
}

static int map(const struct source *s, uint64_t at, uint64_t length, struct image_extent *e, struct sentence *err)
{
	int r = image_map(s->img, at, length, e);

	return r < 0 ? sentence_fail(err, r, "%s: its parent is missing", image_file(s->img, 0)->name) : 0;
}

static int read_range(struct source *s, uint64_t at, uint64_t length, uint8_t *to, struct sentence *err)
{
	struct image_extent e;
	int r = 0;

	for (; r == 0 && length; at += e.length, to += e.length, length -= e.length) {
		r = map(s, at, length, &e, err);
		if (r < 0)
			break;
		if (e.type == IMAGE_EXTENT_DATA)
			r = read_fully(e.file, e.offset, to, e.length, err);
		else if (e.type == IMAGE_EXTENT_COMPRESSED)
			r = read_compressed(s, &e, to, err);
		else
			memset(to, 0, e.length);
	}
	return r;
}

/* Bytes from `at` on that need not be read, because nothing is there. */
static int zero_ahead(const struct source *s, uint64_t at, uint64_t size, uint64_t *ret, struct sentence *err)
{
	struct image_extent e;
	int r = map(s, at, size - at, &e, err);
	off_t data;

	*ret = 0;
	if (r < 0)
		return r;
	if (e.type == IMAGE_EXTENT_ZERO)
		*ret = e.length;
	if (e.type != IMAGE_EXTENT_DATA)
		return 0;
	data = lseek(e.file->fd, (off_t)e.offset, SEEK_DATA);
	if (data < 0 && errno == ENXIO)
		*ret = e.length;
	else if (data > (off_t)e.offset)
		*ret = (uint64_t)data - e.offset < e.length ? (uint64_t)data - e.offset : e.length;
	return 0;
}

/* --- the loop --- */

static bool is_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

static int copy_unit(struct source *s, struct writer *w, uint64_t at, uint8_t *buffer, struct sentence *err)
{
	uint32_t unit = w->type->unit;
	uint64_t length = w->size - at < unit ? w->size - at : unit;
	int r = read_range(s, at, length, buffer, err);

	if (r < 0)
		return r;
	memset(buffer + length, 0, unit - length);
	return is_zero(buffer, unit) ? 0 : w->type->put(w, at / unit, buffer, err);
}

static int copy_all(struct source *s, struct writer *w, convert_progress_fn progress, void *arg, struct sentence *err)
{
	uint32_t unit = w->type->unit;
	uint8_t *buffer = malloc(unit);
	uint64_t at = 0, zero;
	int r = buffer ? 0 : sentence_fail(err, -ENOMEM, "out of memory");

	while (r == 0 && at < w->size) {
		r = zero_ahead(s, at, w->size, &zero, err);
		if (r < 0)
			break;
		if (zero < unit && at + zero < w->size) {
			r = copy_unit(s, w, at, buffer, err);
			zero = unit;
		}
		/* a rest of a unit that is zero is looked at again with what follows it */
		at = at + zero < w->size ? at + zero / unit * unit : w->size;
		if (r == 0 && progress && progress(arg, at, w->size))
			r = sentence_fail(err, -ECANCELED, "%s: the conversion was stopped", w->name);
	}
	free(buffer);
	return r;
}

static int check_target(const struct image *img, const struct writer *w, struct sentence *err)
{
	struct stat st, own;

	if (w->size > w->type->size_max)
		return sentence_fail(err, -EFBIG,
				     "%s: a disk of %llu bytes is too large for this format (at most %llu)", w->name,
				     (unsigned long long)w->size, (unsigned long long)w->type->size_max);
	if (fstatat(w->out->dirfd, w->name, &st, 0) < 0)
		return 0;
	for (unsigned int i = 0; i < image_file_count(img); i++)
		if (fstat(image_file(img, i)->fd, &own) == 0 && own.st_dev == st.st_dev && own.st_ino == st.st_ino)
			return sentence_fail(err, -EEXIST,
					     "%s: is a file of the image that is to be converted; "
					     "give another name",
					     w->name);
	return 0;
}

static int write_image(struct source *s, struct writer *w, convert_progress_fn progress, void *arg,
		       struct sentence *err)
{
	int r = check_target(s->img, w, err);

	if (r == 0)
		r = w->type->begin(w, err);
	if (r == 0)
		r = copy_all(s, w, progress, arg, err);
	if (r == 0)
		r = w->type->end(w, err);
	if (r == 0)
		r = output_commit(w->out, err);
	return r;
}

int convert_image(const struct image *img, const char *path, enum convert_target target, convert_progress_fn progress,
		  void *arg, struct sentence *err)
{
	struct source s = {.img = img, .packed = malloc(2 * (size_t)IMAGE_UNIT_MAX), .unit = malloc(IMAGE_UNIT_MAX)};
	struct output out;
	struct writer w = {.type = targets[target].type, .out = &out, .size = image_info(img)->virtual_size};
	int r;

	if (!s.packed || !s.unit) {
		r = sentence_fail(err, -ENOMEM, "%s: out of memory", path);
	} else {
		r = output_begin(&out, path, err);
		if (r == 0) {
			w.name = out.name;
			r = write_image(&s, &w, progress, arg, err);
			output_done(&out);
		}
	}
	free(w.table);
	free(w.tables);
	free(w.work);
	free(s.packed);
	free(s.unit);
	return r;
}
