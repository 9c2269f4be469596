// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a file is, for the moment when a person adds it. The answer is only ever a proposal that
 * ends up in the catalogue; image_open() is told the format, because what a guest can write could
 * look like any format.
 *
 * First what we know and do not open; then each format is asked, raw last. A file of which none has its mark, but whose
 * name says a format, was cut short or is something else: no disk.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tcmu-handler/image/bytes.h"
#include "tcmu-handler/image/internal.h"

/* Known, and not opened: what it is and what to do. */
static const struct known {
	unsigned int offset;
	const char *magic;
	unsigned int length;
	const char *sentence;
} known[] = {
	{0, "vhdxfile", 8, "is a VHDX; bring it in with: bootwell image convert"},
	{0, "QFI\xfb", 4, "is a qcow2; bring it in with: bootwell image convert"},
	{0x40, "\x7f\x10\xda\xbe", 4, "is a VirtualBox VDI; convert it with: qemu-img convert -f vdi -O raw"},
	{0, "QED", 4, "is a QED image; convert it with: qemu-img convert -f qed -O raw"},
	{0, "WithoutFreeSpace", 16, "is a Parallels image; convert it with: qemu-img convert -f parallels -O raw"},
	{0, "WithouFreSpacExt", 16, "is a Parallels image; convert it with: qemu-img convert -f parallels -O raw"},
	{0, "MSWIM\0\0\0", 8,
	 "is a Windows installation image (WIM), not a disk; install it in a virtual machine "
	 "first"},
	{0, "\x1f\x8b", 2, "is compressed by gzip; unpack it first"},
	{0,
	 "\xfd"
	 "7zXZ",
	 6, "is compressed by xz; unpack it first"},
	{0, "\x28\xb5\x2f\xfd", 4, "is compressed by zstd; unpack it first"},
	{0, "BZh", 3, "is compressed by bzip2; unpack it first"},
	{0, "PK\x03\x04", 4, "is a zip archive; unpack it first"},
	{0, "7z\xbc\xaf\x27\x1c", 6, "is a 7-Zip archive; unpack it first"},
	{0, "Rar!", 4, "is a RAR archive; unpack it first"},
	{257, "ustar", 5, "is a tar archive (an OVA is one); unpack it, and take the .vmdk in it"},
	{0, "\xbe\xba\xfe\xca\0\0\0\0", 8,
	 "is the data of a snapshot in the SESPARSE format; consolidate it in VMware, or convert "
	 "it with qemu-img"},
};

static bool has(const struct image_head *h, size_t offset, const char *magic, size_t length)
{
	return memcmp(h->bytes + offset, magic, length) == 0;
}

/* What of a qcow2 `bootwell image convert` refuses, and a person could not guess. */
static bool is_encrypted_qcow2(const struct image_head *h)
{
	return has(h, 0, "QFI\xfb", 4) && be32_at(h->bytes + 32);
}

static int read_head(int dirfd, const char *name, struct image_head *h, struct sentence *err)
{
	struct image *holder = calloc(1, sizeof(*holder));
	int r;

	if (!holder)
		return sentence_fail(err, -ENOMEM, "%s: out of memory", name);
	holder->dirfd = dirfd;
	holder->name = strdup(name);
	r = holder->name ? image_add_file(holder, name, err) : sentence_fail(err, -ENOMEM, "%s: out of memory", name);
	if (r == 0) {
		h->size = holder->files[0].size;
		r = image_read(holder, 0, 0, h->bytes, h->size < IMAGE_HEAD_SIZE ? h->size : IMAGE_HEAD_SIZE, "begin",
			       err);
	}
	if (r == 0 && h->size >= SECTOR)
		r = image_read(holder, 0, h->size - SECTOR, h->tail, SECTOR, "end", err);
	image_close(holder);
	return r;
}

/* Named like an image that is brought in by converting, and not one. */
static bool named_foreign(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && (strcasecmp(dot, ".vhdx") == 0 || strcasecmp(dot, ".qcow2") == 0);
}

static int probe_foreign(const struct image_head *h, struct sentence *err)
{
	if (h->size == 0)
		return sentence_fail(err, -EMEDIUMTYPE, "%s: is empty", h->name);
	if (is_encrypted_qcow2(h))
		return sentence_fail(
			err, -EMEDIUMTYPE,
			"%s: is an encrypted qcow2; decrypt it first with qemu-img, then bring it in with: "
			"bootwell image convert",
			h->name);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (has(h, known[i].offset, known[i].magic, known[i].length))
			return sentence_fail(err, -EMEDIUMTYPE, "%s: %s", h->name, known[i].sentence);
	return 0;
}

/* No format has its mark in it: the name may still say that it should have one. */
static int check_unmarked(const struct image_head *h, struct sentence *err)
{
	const struct image_type *type = h->named ? image_type(h->named_as) : NULL;

	if (type && type->unmarked)
		return sentence_fail(err, type->unmarked_code, "%s: %s", h->name, type->unmarked);
	if (named_foreign(h->name))
		return sentence_fail(
			err, -EMEDIUMTYPE,
			"%s: its name does not fit what is in it: the mark of that format is missing; if it is "
			"a raw disk, say --format raw",
			h->name);
	return 0;
}

int image_probe(int dirfd, const char *name, enum image_format *ret, struct sentence *err)
{
	struct image_head h = {.name = name};
	const struct image_type *type;
	enum image_format format;
	int r = read_head(dirfd, name, &h, err);

	h.named = image_format_from_file(name, &h.named_as) == 0;
	if (r == 0)
		r = probe_foreign(&h, err);
	for (unsigned int i = 0; r == 0 && (type = image_type_to_probe(i, &format)); i++) {
		if (format == IMAGE_RAW)
			r = check_unmarked(&h, err);
		if (r == 0)
			r = type->probe(&h, err);
	}
	if (r == 0)
		return sentence_fail(err, -EMEDIUMTYPE,
				     "%s: is of no known format; if it is a raw disk, say --format raw", name);
	if (r > 0)
		*ret = format;
	return r > 0 ? 0 : r;
}
