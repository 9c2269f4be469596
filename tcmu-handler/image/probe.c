// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a file is, for the moment when a person adds it. The answer is only ever a proposal that
 * ends up in the catalogue; image_open() is told the format, because what a guest can write could
 * look like any format.
 *
 * A raw disk has no magic. So raw is what has a partition table or a file name that says so;
 * anything else is asked back, rather than taken for a disk.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tcmu-handler/image/bytes.h"
#include "tcmu-handler/image/internal.h"

#define HEAD_SIZE 4096

struct head {
	uint8_t bytes[HEAD_SIZE]; /* zero past the end */
	uint8_t tail[SECTOR];
	uint64_t size;
};

/* Known, and not opened: what it is and what to do. */
static const struct known {
	unsigned int offset;
	const char *magic;
	unsigned int length;
	const char *sentence;
} known[] = {
	{0, "vhdxfile", 8, "is a VHDX; bring it in with: bootwell image convert"},
	{0, "QFI\xfb", 4, "is a qcow2; bring it in with: bootwell image convert"},
	{0x40, "\x7f\x10\xda\xbe", 4,
	 "is a VirtualBox VDI; convert it with: qemu-img convert -f vdi -O raw"},
	{0, "QED", 4, "is a QED image; convert it with: qemu-img convert -f qed -O raw"},
	{0, "WithoutFreeSpace", 16,
	 "is a Parallels image; convert it with: qemu-img convert -f parallels -O raw"},
	{0, "WithouFreSpacExt", 16,
	 "is a Parallels image; convert it with: qemu-img convert -f parallels -O raw"},
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

static bool has(const struct head *h, size_t offset, const char *magic, size_t length)
{
	return memcmp(h->bytes + offset, magic, length) == 0;
}

static bool ends_with(const char *name, const char *suffix)
{
	size_t n = strlen(name), m = strlen(suffix);

	return n > m && strcasecmp(name + n - m, suffix) == 0;
}

/* What of a qcow2 `bootwell image convert` refuses, and a person could not guess. */
static bool is_encrypted_qcow2(const struct head *h)
{
	return has(h, 0, "QFI\xfb", 4) && be32_at(h->bytes + 32);
}

static int read_head(int dirfd, const char *name, struct head *h, struct image_error *err)
{
	struct image *holder = calloc(1, sizeof(*holder));
	int r;

	if (!holder)
		return image_fail(err, -ENOMEM, "%s: out of memory", name);
	holder->dirfd = dirfd;
	holder->name = strdup(name);
	r = holder->name ? image_add_file(holder, name, err)
			 : image_fail(err, -ENOMEM, "%s: out of memory", name);
	if (r == 0) {
		h->size = holder->files[0].size;
		r = image_read(holder, 0, 0, h->bytes, h->size < HEAD_SIZE ? h->size : HEAD_SIZE,
			       "begin", err);
	}
	if (r == 0 && h->size >= SECTOR)
		r = image_read(holder, 0, h->size - SECTOR, h->tail, SECTOR, "end", err);
	image_close(holder);
	return r;
}

static bool named_raw(const char *name)
{
	return ends_with(name, ".raw") || ends_with(name, ".img") || ends_with(name, ".dd") ||
	       ends_with(name, ".iso");
}

static bool has_partitions(const struct head *h)
{
	return has(h, 510, "\x55\xaa", 2) || has(h, 512, "EFI PART", 8);
}

/* A fixed VHD is a raw disk with a footer; the name decides whether the footer is meant. */
static int probe_plain(const struct head *h, const char *name, enum image_format *ret,
		       struct image_error *err)
{
	bool footer =
		memcmp(h->tail, "conectix", 8) == 0 || memcmp(h->tail + 1, "conectix", 8) == 0;

	if (footer && named_raw(name))
		return image_fail(err, -EMEDIUMTYPE,
				  "%s: is named like a raw disk and ends like a fixed VHD; say "
				  "which it is with --format",
				  name);
	if (footer) {
		*ret = IMAGE_VHD;
		return 0;
	}
	if (ends_with(name, ".vhd"))
		return image_fail(
			err, -EBADMSG,
			"%s: has no VHD footer at its end, so it was probably cut short "
			"or not copied whole; copy it again, and only if it is a raw disk "
			"after all, say --format raw",
			name);
	if (ends_with(name, ".vmdk") || ends_with(name, ".vhdx") || ends_with(name, ".qcow2"))
		return image_fail(err, -EMEDIUMTYPE,
				  "%s: its name does not fit what is in it: the mark of that "
				  "format is missing; "
				  "if it is a raw disk, say --format raw",
				  name);
	if (!named_raw(name) && !has_partitions(h))
		return image_fail(
			err, -EMEDIUMTYPE,
			"%s: is of no known format; if it is a raw disk, say --format raw", name);
	*ret = IMAGE_RAW;
	return 0;
}

int image_probe(int dirfd, const char *name, enum image_format *ret, struct image_error *err)
{
	struct head h = {0};
	int r = read_head(dirfd, name, &h, err);

	if (r < 0)
		return r;
	if (h.size == 0)
		return image_fail(err, -EMEDIUMTYPE, "%s: is empty", name);
	if (is_encrypted_qcow2(&h))
		return image_fail(err, -EMEDIUMTYPE,
				  "%s: is an encrypted qcow2; decrypt it first with qemu-img, then "
				  "bring it in with: bootwell image convert",
				  name);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (has(&h, known[i].offset, known[i].magic, known[i].length))
			return image_fail(err, -EMEDIUMTYPE, "%s: %s", name, known[i].sentence);
	if (has(&h, 0, "conectix", 8)) {
		*ret = IMAGE_VHD;
		return 0;
	}
	if (has(&h, 0, "KDMV", 4) || has(&h, 0, "COWD", 4) ||
	    strncasecmp((const char *)h.bytes, "# Disk DescriptorFile", 21) == 0) {
		*ret = IMAGE_VMDK;
		return 0;
	}
	return probe_plain(&h, name, ret, err);
}
