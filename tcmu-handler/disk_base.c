// SPDX-License-Identifier: GPL-2.0-or-later
/* The images behind a disk: opened, or found open already (base.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tcmu-handler/engine_private.h"
#include "tcmu-handler/image/identity.h"

static int open_layer(const struct disk_layer *layer, struct image **ret, struct sentence *err)
{
	struct image_source src = {.name = layer->file, .format = layer->format, .size_override = layer->size_override};
	struct sentence ierr = {.text = ""};
	int r;

	src.dirfd = open(layer->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (src.dirfd < 0)
		return sentence_fail(err, -errno, "The directory %s of the image cannot be opened: %s.", layer->dir,
				     strerror(errno));
	r = image_open(ret, &src, &ierr);
	close(src.dirfd);
	if (r < 0)
		return sentence_fail(err, r, "%s/%s: %s", layer->dir, layer->file, ierr.text);
	if (image_fingerprint_fits(layer->fingerprint, image_info(*ret)->fingerprint))
		return 0;
	image_close(*ret);
	return sentence_fail(
		err, -ESTALE,
		"%s/%s: is not the image that was added to the catalogue: it was changed or replaced since then; "
		"bring it back as it was, or have it looked at again (bootwell image add, bootwell config reload).",
		layer->dir, layer->file);
}

/* Parents first, each child takes its parent over. */
static int open_chain(const struct disk_config *c, struct image **ret, struct sentence *err)
{
	struct image *parent = NULL;

	for (unsigned int i = c->layers; i-- > 0;) {
		struct sentence ierr = {.text = ""};
		struct image *img;
		int r = open_layer(&c->layer[i], &img, err);

		if (r < 0) {
			image_close(parent);
			return r;
		}
		r = parent ? image_set_parent(img, parent, &ierr) : 0;
		if (r < 0) {
			image_close(img);
			image_close(parent);
			return sentence_fail(err, r, "%s/%s: %s", c->layer[i].dir, c->layer[i].file, ierr.text);
		}
		parent = img;
	}
	if (!parent)
		return sentence_fail(err, -EINVAL, "The disk %s has no image.", c->id);
	if (image_needs_parent(parent)) {
		image_close(parent);
		return sentence_fail(err, -ENODATA, "The image %s/%s needs a parent, and none is given.",
				     c->layer[c->layers - 1].dir, c->layer[c->layers - 1].file);
	}
	*ret = parent;
	return 0;
}

static void write_key(FILE *f, const struct disk_config *c)
{
	fprintf(f, "%s\n", c->generation);
	for (unsigned int i = 0; i < c->layers; i++)
		fprintf(f, "%d %s\n%s\n%llu %llx\n", c->layer[i].format, c->layer[i].dir, c->layer[i].file,
			(unsigned long long)c->layer[i].size_override, (unsigned long long)c->layer[i].fingerprint);
}

/* Idle images may have what this one needs. */
static int open_images(struct disk *d, struct image **ret, struct sentence *err)
{
	int r = open_chain(&d->config, ret, err);

	if ((r == -EMFILE || r == -ENFILE || r == -ENOMEM) && base_drop_idle(d->engine->cache))
		r = open_chain(&d->config, ret, err);
	return r;
}

int disk_open_base(struct disk *d, struct sentence *err)
{
	const struct disk_config *c = &d->config;
	const char *dir[IMAGE_CHAIN_MAX];
	struct image *chain;
	char *key = NULL;
	size_t length = 0;
	FILE *f = open_memstream(&key, &length);
	int r = 0;

	if (f)
		write_key(f, c);
	if (!f || fclose(f)) {
		free(key);
		return sentence_fail(err, -ENOMEM, "There is no memory for the disk %s.", c->id);
	}
	d->base = base_find(d->engine->cache, key);
	d->base_was_open = d->base != NULL;
	if (!d->base)
		r = open_images(d, &chain, err);
	if (!d->base && !r) {
		for (unsigned int i = 0; i < c->layers; i++)
			dir[i] = c->layer[i].dir;
		r = base_add(d->engine->cache, key, chain, dir, &d->base);
		if (r < 0)
			sentence_fail(err, r, "There is no memory for the image of the disk %s.", c->id);
	}
	free(key);
	return r;
}
