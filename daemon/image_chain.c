// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "daemon/image_chain.h"

/* The folder of a path, open, and the name in it. */
static int open_folder(const char *path, char name[NAME_MAX + 1], struct image_error *err)
{
	char full[PATH_MAX], *slash;
	int fd;

	if (!realpath(path, full))
		return image_fail(err, -errno, "%s: %s", path, strerror(errno));
	slash = strrchr(full, '/');
	if (!slash || strlen(slash + 1) > NAME_MAX || !slash[1])
		return image_fail(err, -EISDIR, "%s: is not a file", path);
	strcpy(name, slash + 1);
	slash[slash == full] = '\0';
	fd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? image_fail(err, -errno, "%s: %s", full, strerror(errno)) : fd;
}

static bool may_be(const char *name, enum image_format format)
{
	const char *dot = strrchr(name, '.');

	return dot && strcasecmp(dot + 1, image_format_name(format)) == 0;
}

/* Is it a parent of the child? Only its identity counts. */
static bool fits(int dirfd, const char *name, const struct image_info *child, struct image **ret)
{
	struct image_source src = {.dirfd = dirfd, .name = name, .format = child->format};
	struct image_error ignored;
	struct image *img;

	if (image_open(&img, &src, &ignored) < 0)
		return false;
	if (strcmp(image_info(img)->id, child->parent_id) != 0) {
		image_close(img);
		return false;
	}
	*ret = img;
	return true;
}

/* The last part of the path that the child has stored, in Windows' way or ours. */
static const char *hinted_name(const struct image_info *child)
{
	const char *name = child->parent_hint;

	for (const char *c = name; *c; c++)
		if (*c == '/' || *c == '\\')
			name = c + 1;
	return name;
}

static const char *id_word(const struct image_info *info)
{
	return info->format == IMAGE_VHD ? "UUID" : "CID";
}

/* Nothing fits. `named` lies there under the name that the child remembers, or is "". */
static int no_parent(int dirfd, const char *file, const struct image_info *child, const char *named,
		     struct image_error *err)
{
	struct image_source src = {.dirfd = dirfd, .name = named, .format = child->format};
	struct image_error why = {0};
	struct image *img;
	int r;

	if (!named[0])
		return image_fail(err, -ENODATA,
				  "%s: its parent (%s %s%s%s) is not in its folder; put it there",
				  file, id_word(child), child->parent_id,
				  child->parent_hint[0] ? ", once called " : "",
				  child->parent_hint);
	r = image_open(&img, &src, &why);
	if (r < 0)
		return image_fail(err, r, "%s: its parent cannot be opened: %s", file, why.text);
	r = image_fail(err, -ESTALE,
		       "%s: its parent %s was changed after the child was made, or is another one: "
		       "it has %s %s, and the child needs %s",
		       file, named, id_word(child),
		       image_info(img)->id[0] ? image_info(img)->id : "none", child->parent_id);
	image_close(img);
	return r;
}

static int find_parent(int dirfd, const struct image *child, struct image **ret,
		       struct image_error *err)
{
	const struct image_info *info = image_info(child);
	const char *hint = hinted_name(info);
	struct image *found = NULL, *img;
	char named[NAME_MAX + 1] = "";
	struct dirent *entry;
	unsigned int n = 0;
	int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);

	if (!dir) {
		if (copy >= 0)
			close(copy);
		return image_fail(err, -errno, "cannot list the folder of the image: %s",
				  strerror(errno));
	}
	while (r == 0 && (entry = readdir(dir)) && n < CHAIN_FOLDER_MAX) {
		if (!may_be(entry->d_name, info->format) ||
		    strcmp(entry->d_name, image_file(child, 0)->name) == 0)
			continue;
		n++;
		if (strcasecmp(entry->d_name, hint) == 0)
			strcpy(named, entry->d_name);
		if (!fits(dirfd, entry->d_name, info, &img))
			continue;
		if (found) {
			r = image_fail(err, -ENOTUNIQ,
				       "%s: both %s and %s could be its parent; move one of them "
				       "to another folder",
				       image_file(child, 0)->name, image_file(found, 0)->name,
				       image_file(img, 0)->name);
			image_close(img);
		} else {
			found = img;
		}
	}
	closedir(dir);
	if (r == 0 && !found)
		r = no_parent(dirfd, image_file(child, 0)->name, info, named, err);
	if (r < 0)
		image_close(found);
	else
		*ret = found;
	return r;
}

static int open_parents(int dirfd, struct image *top, struct image_error *err)
{
	struct image *child = top, *parent = NULL;
	int r;

	while (image_needs_parent(child)) {
		r = find_parent(dirfd, child, &parent, err);
		if (r < 0)
			return r;
		r = image_set_parent(child, parent, err);
		if (r < 0) {
			image_close(parent);
			return r;
		}
		child = parent;
	}
	return 0;
}

int chain_open(struct image **ret, const char *path, const enum image_format *format,
	       struct image_error *err)
{
	char name[NAME_MAX + 1];
	int dirfd = open_folder(path, name, err), r = 0;
	struct image_source src = {.dirfd = dirfd, .name = name};
	struct image *img = NULL;

	if (dirfd < 0)
		return dirfd;
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
