// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The text of a VMDK descriptor: `key = value` lines, and one line for each extent:
 *
 *	RW 4192256 SPARSE "disk-s001.vmdk"
 *	RW 63 FLAT "disk-flat.vmdk" 0
 *	RW 128 ZERO
 *
 * VMware begins it with "# Disk DescriptorFile"; others wrote that differently, or not at all, and their files are
 *taken too when there is a createType and an extent.
 *
 * What matters is read strictly (a key that counts may stand there once, a number is a number), the
 * rest is skipped. File names come out with their backslashes turned; whether they may be opened is
 * for the caller to see.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tcmu-handler/image/utf.h"
#include "tcmu-handler/image/vmdk_private.h"

/* QEMU writes a random CID over the first one, without its leading zeros, and leaves the end of the
 * longer text behind the NUL of the shorter: up to a CID's 8 digits less one. */
#define STRAY_BYTES 7

struct parser {
	struct vmdk_descriptor *d;
	const char *name;
	unsigned int line;
	bool has_version, has_cid, has_parent_cid, has_type;
	struct sentence *err;
};

/* A piece of the text; not ended by NUL. */
struct span {
	const char *p;
	size_t n;
};

static int bad_line(struct parser *ps, const char *what)
{
	return sentence_fail(ps->err, -EBADMSG, "%s: line %u of its descriptor: %s", ps->name, ps->line, what);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static struct span trim(struct span s)
{
	while (s.n && is_space(s.p[0]))
		s = (struct span){s.p + 1, s.n - 1};
	while (s.n && is_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

static bool is_word(struct span s, const char *word)
{
	return s.n == strlen(word) && strncasecmp(s.p, word, s.n) == 0;
}

static bool starts_with(struct span s, const char *word)
{
	return s.n >= strlen(word) && strncasecmp(s.p, word, strlen(word)) == 0;
}

/* Takes a word off the front of *s. */
static struct span next_word(struct span *s)
{
	struct span word;

	*s = trim(*s);
	word = (struct span){s->p, 0};
	while (word.n < s->n && !is_space(s->p[word.n]))
		word.n++;
	*s = trim((struct span){s->p + word.n, s->n - word.n});
	return word;
}

static struct span unquote(struct span s)
{
	if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
		return (struct span){s.p + 1, s.n - 2};
	return s;
}

static bool parse_number(struct span s, uint64_t *ret)
{
	uint64_t v = 0;

	if (s.n == 0 || s.n > 19)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	*ret = v;
	return true;
}

static bool parse_hex(struct span s, uint32_t *ret)
{
	uint32_t v = 0;

	if (s.n == 0 || s.n > 8)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i] | 0x20;

		if (s.p[i] >= '0' && s.p[i] <= '9')
			v = v << 4 | (uint32_t)(s.p[i] - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (uint32_t)(c - 'a' + 10);
		else
			return false;
	}
	*ret = v;
	return true;
}

/* --- extents --- */

static int parse_type(struct parser *ps, struct span word, enum vmdk_extent_type *ret)
{
	static const struct {
		const char *word;
		int type;
	} types[] = {
		{"FLAT", VMDK_EXTENT_FLAT},       {"VMFS", VMDK_EXTENT_FLAT}, {"SPARSE", VMDK_EXTENT_SPARSE},
		{"VMFSSPARSE", VMDK_EXTENT_COWD}, {"ZERO", VMDK_EXTENT_ZERO},
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (is_word(word, types[i].word)) {
			*ret = types[i].type;
			return 0;
		}
	}
	if (is_word(word, "SESPARSE"))
		return sentence_fail(ps->err, -ENOTSUP,
				     "%s: is a snapshot in the SESPARSE format, which may hold a log "
				     "that was not played back; "
				     "consolidate it in VMware, or convert it with qemu-img",
				     ps->name);
	if (is_word(word, "VMFSRDM") || is_word(word, "VMFSRDMP") || is_word(word, "VMFSRAW") || is_word(word, "RDM"))
		return sentence_fail(ps->err, -ENOTSUP,
				     "%s: is a raw device mapping (RDM): its data is on a device, not "
				     "in a file; clone it in VMware",
				     ps->name);
	return sentence_fail(ps->err, -ENOTSUP, "%s: line %u of its descriptor: the extent type %.*s is not known",
			     ps->name, ps->line, (int)(word.n < 32 ? word.n : 32), word.p);
}

/* "file" and what follows it. */
static int parse_file(struct parser *ps, struct span *rest, char **ret)
{
	const char *end;
	size_t n;

	if (rest->n < 2 || rest->p[0] != '"')
		return bad_line(ps, "the extent's file name in quotes is missing");
	end = memchr(rest->p + 1, '"', rest->n - 1);
	if (!end)
		return bad_line(ps, "the extent's file name has no closing quote");
	n = (size_t)(end - rest->p) - 1;
	if (n == 0 || n > 1023)
		return bad_line(ps, "the extent's file name is empty or too long");
	*ret = strndup(rest->p + 1, n);
	if (!*ret)
		return sentence_fail(ps->err, -ENOMEM, "%s: out of memory", ps->name);
	for (char *c = *ret; *c; c++)
		if (*c == '\\')
			*c = '/';
	*rest = trim((struct span){end + 1, rest->n - n - 2});
	return 0;
}

static int parse_extent(struct parser *ps, struct vmdk_extent *e, struct span access, struct span rest)
{
	struct span sectors = next_word(&rest), type = next_word(&rest);
	int r;

	if (!parse_number(sectors, &e->sectors) || e->sectors == 0 || e->sectors > IMAGE_SIZE_MAX / SECTOR)
		return bad_line(ps, "the extent's number of sectors is not a number from 1 to "
				    "137438953472 (64 TiB)");
	r = parse_type(ps, type, &e->type);
	if (r < 0)
		return r;
	if (e->type == VMDK_EXTENT_ZERO)
		return 0;
	if (is_word(access, "NOACCESS"))
		return bad_line(ps, "the extent is marked NOACCESS: its data may not be read");
	r = parse_file(ps, &rest, &e->file);
	if (r < 0)
		return r;
	if (rest.n && e->type == VMDK_EXTENT_FLAT) {
		if (!parse_number(next_word(&rest), &e->offset) || e->offset > UINT64_MAX / SECTOR)
			return bad_line(ps, "the extent's offset is not a number of sectors");
	}
	return rest.n ? bad_line(ps, "something follows the extent that is not known") : 0;
}

static int add_extent(struct parser *ps, struct span access, struct span rest)
{
	struct vmdk_descriptor *d = ps->d;
	unsigned int n = d->n_extents;

	if (n == VMDK_EXTENTS_MAX)
		return sentence_fail(ps->err, -EMFILE, "%s: has more than %d extents", ps->name, VMDK_EXTENTS_MAX);
	if (!(n & (n - 1))) {
		struct vmdk_extent *list = realloc(d->extents, (n ? 2 * n : 1) * sizeof(*list));

		if (!list)
			return sentence_fail(ps->err, -ENOMEM, "%s: out of memory", ps->name);
		d->extents = list;
	}
	d->extents[n] = (struct vmdk_extent){0};
	d->n_extents++;
	return parse_extent(ps, &d->extents[n], access, rest);
}

/* --- keys --- */

static int parse_create_type(struct parser *ps, struct span value)
{
	static const struct {
		const char *name, *subformat;
	} types[] = {
		{"monolithicSparse", "monolithicSparse"},
		{"monolithicFlat", "monolithicFlat"},
		{"twoGbMaxExtentSparse", "twoGbMaxExtentSparse"},
		{"2GbMaxExtentSparse", "twoGbMaxExtentSparse"},
		{"twoGbMaxExtentFlat", "twoGbMaxExtentFlat"},
		{"2GbMaxExtentFlat", "twoGbMaxExtentFlat"},
		{"streamOptimized", "streamOptimized"},
		{"vmfs", "vmfs"},
		{"vmfsPreallocated", "vmfs"},
		{"vmfsEagerZeroedThick", "vmfs"},
		{"vmfsThin", "vmfs"},
		{"vmfsSparse", "vmfsSparse"},
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (is_word(value, types[i].name)) {
			ps->d->subformat = types[i].subformat;
			return 0;
		}
	}
	if (is_word(value, "seSparse"))
		return sentence_fail(ps->err, -ENOTSUP,
				     "%s: is a snapshot in the SESPARSE format, which may hold a log "
				     "that was not played back; "
				     "consolidate it in VMware, or convert it with qemu-img",
				     ps->name);
	if (starts_with(value, "vmfsR") || is_word(value, "fullDevice") || is_word(value, "partitionedDevice"))
		return sentence_fail(ps->err, -ENOTSUP,
				     "%s: has its data on a device (RDM, createType %.*s), not in a "
				     "file; clone it in VMware",
				     ps->name, (int)(value.n < 32 ? value.n : 32), value.p);
	return sentence_fail(ps->err, -ENOTSUP, "%s: the createType %.*s is not known", ps->name,
			     (int)(value.n < 32 ? value.n : 32), value.p);
}

static int once(struct parser *ps, bool *seen, const char *what)
{
	if (*seen)
		return bad_line(ps, what);
	*seen = true;
	return 0;
}

static void parse_geometry(struct vmdk_descriptor *d, struct span key, struct span value)
{
	uint64_t v;

	if (!parse_number(value, &v))
		return;
	if (is_word(key, "ddb.geometry.cylinders"))
		d->cylinders = v < 65535 ? (uint16_t)v : 65535;
	else if (is_word(key, "ddb.geometry.heads") && v < 256)
		d->heads = (uint8_t)v;
	else if (is_word(key, "ddb.geometry.sectors") && v < 256)
		d->sectors = (uint8_t)v;
}

static void guess_creator(struct vmdk_descriptor *d, struct span key, struct span value)
{
	if (is_word(key, "ddb.uuid.image"))
		snprintf(d->creator, sizeof(d->creator), "VirtualBox");
	else if (is_word(key, "ddb.comment") && value.n)
		utf8_escape(d->creator, sizeof(d->creator), value.p, value.n);
	else if (!d->creator[0] && is_word(key, "ddb.longContentID"))
		snprintf(d->creator, sizeof(d->creator), "VMware");
	for (char *c = d->creator; *c; c++)
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
}

static int parse_key(struct parser *ps, struct span key, struct span value)
{
	struct vmdk_descriptor *d = ps->d;
	uint64_t version;
	int r = 0;

	if (is_word(key, "version")) {
		r = once(ps, &ps->has_version, "the version stands there twice");
		if (r == 0 && (!parse_number(value, &version) || version < 1 || version > 4))
			r = sentence_fail(ps->err, -ENOTSUP, "%s: its descriptor has the unknown version %.*s",
					  ps->name, (int)(value.n < 16 ? value.n : 16), value.p);
	} else if (is_word(key, "CID")) {
		r = once(ps, &ps->has_cid, "the CID stands there twice");
		if (r == 0 && !parse_hex(value, &d->cid))
			r = bad_line(ps, "the CID is not a hexadecimal number of 32 bits");
	} else if (is_word(key, "parentCID")) {
		r = once(ps, &ps->has_parent_cid, "the parentCID stands there twice");
		if (r == 0 && !parse_hex(value, &d->parent_cid))
			r = bad_line(ps, "the parentCID is not a hexadecimal number of 32 bits");
	} else if (is_word(key, "createType")) {
		r = once(ps, &ps->has_type, "the createType stands there twice");
		if (r == 0)
			r = parse_create_type(ps, value);
	} else if (is_word(key, "parentFileNameHint")) {
		utf8_escape(d->parent_hint, sizeof(d->parent_hint), value.p, value.n);
	} else if (starts_with(key, "encryptionKeys") || starts_with(key, "encryption.") ||
		   is_word(key, "ddb.encoding.key")) {
		r = sentence_fail(ps->err, -ENOTSUP, "%s: is encrypted; remove the encryption in VMware first",
				  ps->name);
	} else {
		parse_geometry(d, key, value);
		guess_creator(d, key, value);
	}
	return r;
}

static int parse_line(struct parser *ps, struct span line)
{
	struct span rest = line, word;
	const char *equals;

	line = trim(line);
	if (line.n == 0 || line.p[0] == '#')
		return 0;
	word = next_word(&rest);
	if (is_word(word, "RW") || is_word(word, "RDONLY") || is_word(word, "NOACCESS"))
		return add_extent(ps, word, rest);
	equals = memchr(line.p, '=', line.n);
	if (!equals)
		return bad_line(ps, "it is neither a setting nor an extent");
	return parse_key(ps, trim((struct span){line.p, (size_t)(equals - line.p)}),
			 unquote(trim((struct span){equals + 1, line.n - (size_t)(equals - line.p) - 1})));
}

/* A line of the text, without its newline; *at goes behind it. */
static struct span next_line(const char **at, const char *end)
{
	const char *p = *at, *newline = memchr(p, '\n', (size_t)(end - p));

	*at = newline ? newline + 1 : end;
	return (struct span){p, (size_t)((newline ? newline : end) - p)};
}

static bool is_extent(struct span line)
{
	struct span word = next_word(&line);
	uint64_t sectors;

	return (is_word(word, "RW") || is_word(word, "RDONLY") || is_word(word, "NOACCESS")) &&
	       parse_number(next_word(&line), &sectors);
}

static bool is_create_type(struct span line)
{
	const char *equals = memchr(line.p, '=', line.n);

	return equals && is_word(trim((struct span){line.p, (size_t)(equals - line.p)}), "createType");
}

/* Some writers (Notepad) begin a text in UTF-8 with a byte order mark. */
static size_t mark_length(const char *text, size_t length)
{
	return length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

bool vmdk_descriptor_is(const char *text, size_t length)
{
	static const char magic[] = "# Disk Descriptor";
	const char *p, *end;
	bool type = false, extent = false;

	p = text + mark_length(text, length);
	end = text + length;
	if ((size_t)(end - p) >= sizeof(magic) - 1 && strncasecmp(p, magic, sizeof(magic) - 1) == 0)
		return true;
	for (const char *c = p; c < end; c++)
		if ((unsigned char)*c < 0x20 && *c != '\t' && *c != '\r' && *c != '\n')
			end = c; /* no text from here on */
	while (p < end && !(type && extent)) {
		struct span line = next_line(&p, end);

		type = type || is_create_type(line);
		extent = extent || is_extent(line);
	}
	return type && extent;
}

static int parse_text(struct parser *ps, const char *text, size_t length)
{
	const char *p = text + mark_length(text, length), *end = text + length;

	if (!vmdk_descriptor_is(text, length))
		return sentence_fail(ps->err, -EMEDIUMTYPE,
				     "%s: is not a VMDK: it neither begins with \"# Disk DescriptorFile\" nor has a "
				     "createType and an extent in its text",
				     ps->name);
	while (p < end) {
		int r;

		ps->line++;
		r = parse_line(ps, next_line(&p, end));
		if (r < 0)
			return r;
	}
	if (!ps->has_cid)
		return sentence_fail(ps->err, -EBADMSG, "%s: its descriptor has no CID", ps->name);
	if (!ps->has_type)
		return sentence_fail(ps->err, -EBADMSG, "%s: its descriptor has no createType", ps->name);
	if (!ps->d->n_extents)
		return sentence_fail(ps->err, -EBADMSG, "%s: its descriptor has no extents", ps->name);
	return 0;
}

int vmdk_descriptor_parse(struct vmdk_descriptor *ret, const char *text, size_t length, const char *name,
			  struct sentence *err)
{
	struct vmdk_descriptor d = {.parent_cid = VMDK_NO_PARENT};
	struct parser ps = {.d = &d, .name = name, .err = err};
	const char *nul;
	int r;

	if (length > VMDK_DESCRIPTOR_MAX)
		return sentence_fail(err, -EFBIG, "%s: its descriptor is larger than 1 MiB", name);
	nul = memchr(text, 0, length);
	for (const char *p = nul; p && p < text + length; p++)
		if (*p && p > nul + STRAY_BYTES)
			return sentence_fail(err, -EBADMSG, "%s: its descriptor has a NUL byte in the text", name);
	r = parse_text(&ps, text, nul ? (size_t)(nul - text) : length);
	if (r < 0)
		vmdk_descriptor_done(&d);
	else
		*ret = d;
	return r;
}

void vmdk_descriptor_done(struct vmdk_descriptor *d)
{
	for (unsigned int i = 0; i < d->n_extents; i++)
		free(d->extents[i].file);
	free(d->extents);
	*d = (struct vmdk_descriptor){0};
}
