// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writes what the handler reads: `key=value` lines, in the order in which a person would read them. The reader takes a
 * value to the end of its line and ignores keys that it does not know, so the one thing that must never happen is a
 * value that is cut or ends early: such a record is refused here.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/boot/record.h"
#include "tcmu-handler/handover.h"

struct text {
	char *at;
	size_t left;
	int error;
};

static void line(struct text *t, size_t value_max, const char *key, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
static void line(struct text *t, size_t value_max, const char *key, const char *format, ...)
{
	int n = snprintf(t->at, t->left, "%s=", key), v;
	va_list args;

	if (t->error)
		return;
	if ((size_t)n >= t->left) {
		t->error = -ENOSPC;
		return;
	}
	va_start(args, format);
	v = vsnprintf(t->at + n, t->left - n, format, args);
	va_end(args);
	if ((size_t)v + 1 >= t->left - n) {
		t->error = -ENOSPC;
		return;
	}
	if ((size_t)v >= value_max || strpbrk(t->at + n, "\n\r")) {
		t->error = -EINVAL;
		return;
	}
	t->at += n + v;
	t->left -= n + v;
	*t->at++ = '\n';
	*t->at = '\0';
	t->left--;
}

static void number(struct text *t, const char *key, uint64_t value)
{
	line(t, 24, key, "%llu", (unsigned long long)value);
}

int boot_record_disk(char *ret, size_t size, const struct boot_record *r)
{
	const struct catalogue_chain *chain = r->chain;
	struct text t = {.at = ret, .left = size < HANDOVER_BYTES_MAX ? size : HANDOVER_BYTES_MAX};

	line(&t, HANDOVER_CLIENT_MAX, HANDOVER_CLIENT, "%s", r->client);
	number(&t, HANDOVER_SIZE, r->size);
	line(&t, 40, HANDOVER_OVERLAY, "%s", r->overlay);
	line(&t, 16, HANDOVER_MODE, "%s", r->mode);
	line(&t, 40, HANDOVER_BOOT, "%s", r->boot);
	if (!strcmp(r->mode, HANDOVER_KEEP) && r->reset[0])
		line(&t, 40, HANDOVER_RESET, "%s", r->reset);
	line(&t, HANDOVER_GENERATION_MAX, HANDOVER_GENERATION, "%s %u %s", chain->image.name, chain->image.generation,
	     chain->image.image_id);
	/* The reader ends the folder at the first blank. */
	if (r->images_path[0] != '/' || strchr(r->images_path, ' ') || strlen(r->images_path) >= HANDOVER_DIR_MAX)
		return -EINVAL;
	for (unsigned int i = 0; i < chain->layers; i++) {
		if (!chain->layer[i].file[0] || strlen(chain->layer[i].file) >= HANDOVER_FILE_MAX)
			return -EINVAL;
		line(&t, HANDOVER_BYTES_MAX, HANDOVER_LAYER, "%s %s %s", chain->layer[i].format, r->images_path,
		     chain->layer[i].file);
		if (chain->layer[i].size_override)
			number(&t, HANDOVER_SIZE_OVERRIDE, chain->layer[i].size_override);
		if (chain->layer[i].fingerprint)
			number(&t, HANDOVER_FINGERPRINT, chain->layer[i].fingerprint);
	}
	return t.error;
}

int boot_record_engine(char *ret, size_t size, const struct config *c)
{
	struct text t = {.at = ret, .left = size < HANDOVER_BYTES_MAX ? size : HANDOVER_BYTES_MAX};

	line(&t, HANDOVER_STORE_MAX, HANDOVER_STORE, "%s", c->store_path);
	number(&t, HANDOVER_STORE_SIZE, c->store_size);
	number(&t, HANDOVER_IMAGE_RAM, c->image_ram);
	number(&t, HANDOVER_WRITE_BACK_RAM, c->write_back_ram);
	number(&t, HANDOVER_THREADS, c->engine_threads);
	return c->engine_threads > HANDOVER_THREADS_MAX ? -EINVAL : t.error;
}
