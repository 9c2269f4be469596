// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads the daemon's records (handover.h). A key that is not known is of a newer daemon and ignored; a value that is
 * wrong refuses the record, with its line.
 */
#include "tcmu-handler/conf.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *conf_run_dir(void)
{
	const char *dir = getenv("BOOTWELL_RUN");

	return dir && dir[0] == '/' ? dir : HANDOVER_RUN;
}

/* --- values --- */

struct parser {
	const char *name;
	unsigned int line;
	const char *key;
	struct sentence *err;
};

static int bad(struct parser *p, const char *why)
{
	return sentence_fail(p->err, -EINVAL, "%s line %u: %s %s.", p->name, p->line, p->key, why);
}

static int parse_u64(struct parser *p, const char *value, uint64_t *ret)
{
	char *end;

	errno = 0;
	if (!isdigit((unsigned char)value[0]))
		return bad(p, "is not a number");
	*ret = strtoull(value, &end, 10);
	return *end || errno ? bad(p, "is not a number") : 0;
}

static int parse_text(struct parser *p, const char *value, char *ret, size_t room)
{
	if (strlen(value) >= room)
		return bad(p, "is too long");
	strcpy(ret, value);
	return 0;
}

static int parse_uuid(struct parser *p, const char *value, uint8_t ret[16])
{
	unsigned int n = 0;

	for (; *value; value++) {
		char c = *value;
		unsigned int v = c >= '0' && c <= '9'   ? (unsigned int)(c - '0')
				 : c >= 'a' && c <= 'f' ? (unsigned int)(c - 'a' + 10)
				 : c >= 'A' && c <= 'F' ? (unsigned int)(c - 'A' + 10)
							: 16;

		if (c == '-')
			continue;
		if (v > 15 || n == 32)
			return bad(p, "is not a UUID");
		ret[n / 2] = (uint8_t)(n & 1 ? ret[n / 2] | v : v << 4);
		n++;
	}
	return n == 32 ? 0 : bad(p, "is not a UUID");
}

/* FORMAT DIR FILE: only FILE may have spaces. */
static int parse_layer(struct parser *p, char *value, struct disk_config *d)
{
	struct disk_layer *l = &d->layer[d->layers];
	char *dir = strchr(value, ' '), *file = dir ? strchr(dir + 1, ' ') : NULL;

	if (d->layers == IMAGE_CHAIN_MAX)
		return bad(p, "is one image too many");
	if (!file || dir[1] != '/' || !file[1])
		return bad(p, "is not FORMAT DIR FILE with an absolute directory");
	*dir++ = 0;
	*file++ = 0;
	if (image_format_from_name(value, &l->format) < 0)
		return bad(p, "names a format that is not one of " IMAGE_FORMAT_NAMES "");
	if (strlen(dir) >= sizeof(l->dir) || strlen(file) >= sizeof(l->file))
		return bad(p, "is too long");
	strcpy(l->dir, dir);
	strcpy(l->file, file);
	l->size_override = 0;
	l->fingerprint = 0;
	d->layers++;
	return 0;
}

/* --- lines --- */

typedef int (*line_fn)(struct parser *p, char *value, void *ret);

static int each_line(char *text, const char *name, struct sentence *err, line_fn line, void *ret)
{
	struct parser p = {.name = name, .err = err};
	char *next;

	for (; text && *text; text = next) {
		char *equals;
		int r;

		next = strchr(text, '\n');
		if (next)
			*next++ = 0;
		p.line++;
		if (!text[0] || text[0] == '#')
			continue;
		equals = strchr(text, '=');
		if (!equals)
			return sentence_fail(err, -EINVAL, "%s line %u: no '=' in it.", name, p.line);
		*equals = 0;
		p.key = text;
		r = line(&p, equals + 1, ret);
		if (r < 0)
			return r;
	}
	return 0;
}

static int engine_line(struct parser *p, char *value, void *ret)
{
	struct engine_config *c = ret;
	uint64_t threads;
	int r;

	if (!strcmp(p->key, HANDOVER_STORE))
		return value[0] == '/' ? parse_text(p, value, c->store, sizeof(c->store))
				       : bad(p, "is not an absolute path");
	if (!strcmp(p->key, HANDOVER_STORE_SIZE))
		return parse_u64(p, value, &c->store_size);
	if (!strcmp(p->key, HANDOVER_IMAGE_RAM))
		return parse_u64(p, value, &c->image_ram);
	if (!strcmp(p->key, HANDOVER_WRITE_BACK_RAM))
		return parse_u64(p, value, &c->write_back_ram);
	if (strcmp(p->key, HANDOVER_THREADS))
		return 0; /* of a newer daemon */
	r = parse_u64(p, value, &threads);
	if (r < 0)
		return r;
	if (threads > ENGINE_THREADS_MAX)
		return bad(p, "is more than 16");
	c->threads = (unsigned int)threads;
	return 0;
}

int conf_parse_engine(struct engine_config *ret, char *text, const char *name, struct sentence *err)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	r = each_line(text, name, err, engine_line, ret);
	if (r < 0)
		return r;
	if (!ret->store[0] || !ret->store_size || !ret->image_ram || !ret->write_back_ram)
		return sentence_fail(err, -EINVAL,
				     "%s: store, store_size, image_ram and write_back_ram are all needed.", name);
	return 0;
}

static int disk_line(struct parser *p, char *value, void *ret)
{
	struct disk_config *d = ret;

	if (!strcmp(p->key, HANDOVER_CLIENT))
		return parse_text(p, value, d->client, sizeof(d->client));
	if (!strcmp(p->key, HANDOVER_GENERATION))
		return parse_text(p, value, d->generation, sizeof(d->generation));
	if (!strcmp(p->key, HANDOVER_SIZE))
		return parse_u64(p, value, &d->size);
	if (!strcmp(p->key, HANDOVER_OVERLAY))
		return parse_uuid(p, value, d->overlay);
	if (!strcmp(p->key, HANDOVER_BOOT))
		return parse_uuid(p, value, d->boot);
	if (!strcmp(p->key, HANDOVER_RESET))
		return parse_uuid(p, value, d->reset);
	if (!strcmp(p->key, HANDOVER_LAYER))
		return parse_layer(p, value, d);
	if (!strcmp(p->key, HANDOVER_SIZE_OVERRIDE))
		return d->layers ? parse_u64(p, value, &d->layer[d->layers - 1].size_override)
				 : bad(p, "stands before any layer");
	if (!strcmp(p->key, HANDOVER_FINGERPRINT))
		return d->layers ? parse_u64(p, value, &d->layer[d->layers - 1].fingerprint)
				 : bad(p, "stands before any layer");
	if (strcmp(p->key, HANDOVER_MODE))
		return 0;
	if (!strcmp(value, HANDOVER_KEEP))
		d->mode = DISK_KEEP;
	else if (!strcmp(value, HANDOVER_DISCARD))
		d->mode = DISK_DISCARD;
	else if (!strcmp(value, HANDOVER_READONLY))
		d->mode = DISK_READONLY;
	else
		return bad(p, "is not keep, discard or readonly");
	return 0;
}

int conf_parse_disk(struct disk_config *ret, char *text, const char *name, struct sentence *err)
{
	static const uint8_t none[16];
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->mode = DISK_READONLY + 1;
	r = each_line(text, name, err, disk_line, ret);
	if (r < 0)
		return r;
	if (ret->mode > DISK_READONLY || !ret->size || !ret->layers)
		return sentence_fail(err, -EINVAL, "%s: size, mode and at least one layer are needed.", name);
	if (ret->size % OVERLAY_SECTOR)
		return sentence_fail(err, -EINVAL, "%s: size is not a multiple of 512.", name);
	if (ret->mode != DISK_READONLY && (!memcmp(ret->overlay, none, 16) || !memcmp(ret->boot, none, 16)))
		return sentence_fail(err, -EINVAL, "%s: overlay and boot are needed for a disk that is written to.",
				     name);
	return 0;
}

/* --- files --- */

static int read_text(const char *path, char **ret, struct sentence *err)
{
	char *text = malloc(HANDOVER_BYTES_MAX + 1);
	size_t n = 0;
	ssize_t got;
	int fd, r;

	if (!text)
		return sentence_fail(err, -ENOMEM, "There is no memory to read %s.", path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		r = -errno;
		free(text);
		return sentence_fail(err, r, "%s cannot be opened: %s; bootwelld writes it before it makes a target.",
				     path, strerror(-r));
	}
	while (n < HANDOVER_BYTES_MAX && (got = read(fd, text + n, HANDOVER_BYTES_MAX - n)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			break;
		n += (size_t)got;
	}
	r = n == HANDOVER_BYTES_MAX ? -EFBIG : got < 0 ? -errno : 0;
	close(fd);
	text[n] = 0;
	if (!r && strlen(text) != n)
		r = -EINVAL;
	if (r < 0) {
		free(text);
		return sentence_fail(err, r, "%s cannot be read: %s.", path, strerror(-r));
	}
	*ret = text;
	return 0;
}

int conf_read_engine(struct engine_config *ret, const char *run_dir, struct sentence *err)
{
	char path[1200], *text;
	int r;

	snprintf(path, sizeof(path), HANDOVER_ENGINE, run_dir);
	r = read_text(path, &text, err);
	if (r < 0)
		return r;
	r = conf_parse_engine(ret, text, path, err);
	free(text);
	if (!r && snprintf(ret->run_dir, sizeof(ret->run_dir), "%s", run_dir) >= (int)sizeof(ret->run_dir))
		return sentence_fail(err, -ENAMETOOLONG, "The name of the directory %s is too long.", run_dir);
	return r;
}

int conf_read_disk(struct disk_config *ret, const char *run_dir, const char *id, struct sentence *err)
{
	char path[1200], *text;
	int r;

	if (!handover_id_valid(id))
		return sentence_fail(err, -EINVAL,
				     "The backstore is not named bootwell/ID with an ID of letters, "
				     "digits, '.', '_' and '-'.");
	snprintf(path, sizeof(path), HANDOVER_DISK, run_dir, id);
	r = read_text(path, &text, err);
	if (r < 0)
		return r;
	r = conf_parse_disk(ret, text, path, err);
	free(text);
	snprintf(ret->id, sizeof(ret->id), "%s", id);
	return r;
}

void conf_write_error(const char *run_dir, const char *id, const char *sentence)
{
	char path[1200], beside[1210];
	size_t n = sentence ? strlen(sentence) : 0;
	int fd;

	if (!handover_id_valid(id))
		return;
	snprintf(path, sizeof(path), HANDOVER_ERROR, run_dir, id);
	if (!sentence) {
		unlink(path);
		return;
	}
	snprintf(beside, sizeof(beside), "%s.new", path);
	fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return;
	if (write(fd, sentence, n) == (ssize_t)n && write(fd, "\n", 1) == 1)
		rename(beside, path);
	close(fd);
}
