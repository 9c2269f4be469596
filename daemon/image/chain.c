// SPDX-License-Identifier: GPL-2.0-or-later
/* An image and its parents for the command line, which has no catalogue: whoever lies in the same folder and fits. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "daemon/image/chain.h"
#include "daemon/image/parent.h"
#include "tcmu-handler/image/identity.h"

/* The folder of a path, open, and the name in it. */
static int open_folder(const char *path, char name[NAME_MAX + 1], struct sentence *err)
{
	char full[PATH_MAX], *slash;
	int fd;

	if (!realpath(path, full))
		return sentence_fail(err, -errno, "%s: %s", path, strerror(errno));
	slash = strrchr(full, '/');
	if (!slash || strlen(slash + 1) > NAME_MAX || !slash[1])
		return sentence_fail(err, -EISDIR, "%s: is not a file", path);
	strcpy(name, slash + 1);
	slash[slash == full] = '\0';
	fd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? sentence_fail(err, -errno, "%s: %s", full, strerror(errno)) : fd;
}

/* The files of a folder that have the identity which a child asks for. */
struct fitting {
	struct parent_candidate *list;
	size_t n;
	char named[NAME_MAX + 1]; /* a file of the hint's name, whatever it is, or "" */
};

static void candidate_done(struct parent_candidate *c)
{
	free((char *)c->file);
	free((char *)c->own_name);
	free((char *)c->parent_id);
	free((char *)c->hint);
}

static bool copy_candidate(struct parent_candidate *c, const char *name, const struct image_info *info)
{
	c->file = strdup(name);
	c->own_name = strdup(info->own_name);
	c->parent_id = strdup(info->parent_id);
	c->hint = strdup(info->parent_hint);
	if (c->file && c->own_name && c->parent_id && c->hint)
		return true;
	candidate_done(c);
	return false;
}

static void fitting_done(struct fitting *f)
{
	for (size_t i = 0; i < f->n; i++)
		candidate_done(&f->list[i]);
	free(f->list);
}

static int add_if_fits(struct fitting *f, int dirfd, const char *name, const struct image_info *child)
{
	struct image_source src = {.dirfd = dirfd, .name = name, .format = child->format};
	struct parent_candidate *more;
	struct sentence ignored;
	struct image *img;
	int r = 0;

	if (image_open(&img, &src, &ignored) < 0)
		return 0;
	if (image_id_same(child->parent_id, image_info(img)->id)) {
		more = reallocarray(f->list, f->n + 1, sizeof(*more));
		f->list = more ? more : f->list;
		r = more && copy_candidate(&f->list[f->n], name, image_info(img)) ? 0 : -ENOMEM;
		f->n += r == 0;
	}
	image_close(img);
	return r;
}

/* Nothing is the parent of itself, nor of what it was made from. */
static bool in_chain(const struct image *top, const char *name)
{
	for (; top; top = image_parent(top))
		if (strcmp(image_file(top, 0)->name, name) == 0)
			return true;
	return false;
}

/* Nothing fits. `named` lies there under the name that the child remembers, or is "". */
static int no_parent(int dirfd, const char *file, const struct image_info *child, const char *named,
		     struct sentence *err)
{
	struct image_source src = {.dirfd = dirfd, .name = named, .format = child->format};
	struct sentence why = {0};
	struct image *img;
	int r;

	if (!named[0])
		return sentence_fail(err, -ENODATA, "%s: its parent (%s %s%s%s) is not in its folder; put it there",
				     file, image_id_word(child->format), child->parent_id,
				     child->parent_hint[0] ? ", once called " : "", child->parent_hint);
	r = image_open(&img, &src, &why);
	if (r < 0)
		return sentence_fail(err, r, "%s: its parent cannot be opened: %s", file, why.text);
	r = sentence_fail(err, -ESTALE,
			  "%s: its parent %s was changed after the child was made, or is another one: "
			  "it has %s %s, and the child needs %s",
			  file, named, image_id_word(child->format),
			  image_info(img)->id[0] ? image_info(img)->id : "none", child->parent_id);
	image_close(img);
	return r;
}

static int list_fitting(struct fitting *f, int dirfd, const struct image *top, const struct image_info *child)
{
	const char *hint = parent_last_part(child->parent_hint);
	int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	unsigned int n = 0;

	if (!dir) {
		r = -errno;
		if (copy >= 0)
			close(copy);
		return r;
	}
	while (r == 0 && n < CHAIN_FOLDER_MAX && (entry = readdir(dir))) {
		if (!image_format_fits(child->format, entry->d_name) || in_chain(top, entry->d_name))
			continue;
		n++;
		if (strcasecmp(entry->d_name, hint) == 0)
			strcpy(f->named, entry->d_name);
		r = add_if_fits(f, dirfd, entry->d_name, child);
	}
	closedir(dir);
	return r;
}

/* `remark`: set when the parent fits by its identity only. */
static int find_parent(int dirfd, const struct image *top, const struct image *child, struct image **ret,
		       struct sentence *remark, struct sentence *err)
{
	const struct image_info *info = image_info(child);
	struct parent_child who = {image_file(child, 0)->name, info->format, info->id, info->parent_id,
				   info->parent_hint};
	struct image_source src = {.dirfd = dirfd, .format = info->format};
	struct fitting f = {0};
	bool named = true;
	size_t which = 0;
	int r = list_fitting(&f, dirfd, top, info);

	if (r < 0) {
		sentence_set(err, "cannot list the folder of the image: %s", strerror(-r));
	} else {
		r = parent_choose(&who, f.list, f.n, &which, &named, err);
		if (r == -ENOENT)
			r = no_parent(dirfd, who.file, info, f.named, err);
	}
	if (r == 0) {
		src.name = f.list[which].file;
		r = image_open(ret, &src, err);
	}
	if (r == 0 && !named)
		parent_remark(&who, &f.list[which], remark);
	fitting_done(&f);
	return r;
}

static int open_parents(int dirfd, struct image *top, struct sentence *err)
{
	struct image *child = top, *parent = NULL;
	struct sentence remark = {""};
	int r;

	while (image_needs_parent(child)) {
		r = find_parent(dirfd, top, child, &parent, &remark, err);
		if (r < 0)
			return r;
		r = image_set_parent(child, parent, err);
		if (r < 0) {
			image_close(parent);
			return r;
		}
		child = parent;
	}
	*err = remark;
	return 0;
}

int chain_open(struct image **ret, const char *path, const enum image_format *format, struct sentence *err)
{
	char name[NAME_MAX + 1];
	int dirfd = open_folder(path, name, err), r = 0;
	struct image_source src = {.dirfd = dirfd, .name = name};
	struct image *img = NULL;

	if (dirfd < 0)
		return dirfd;
	err->text[0] = '\0';
	if (format)
		src.format = *format;
	else
		r = image_probe(dirfd, name, &src.format, err);
	if (r == 0)
		r = image_open(&img, &src, err);
	if (r == 0)
		r = open_parents(dirfd, img, err);
	close(dirfd);
	if (img)
		*ret = img;
	return r;
}
