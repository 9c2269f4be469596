/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For tests: small images, made byte by byte after the specifications and without the library's own
 * writers, good ones that a test then damages. With $KEEP_IMAGES set to a folder, each is kept
 * there (tests/fuzz/corpus was made so).
 */
#ifndef BOOTWELL_IMAGE_BUILD_H
#define BOOTWELL_IMAGE_BUILD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "tcmu-handler/image/bytes.h"
#include "tcmu-handler/image/vhd.h"
#include "tcmu-handler/image/vmdk.h"

struct blob {
	uint8_t *p;
	size_t n;
};

static inline void blob_done(struct blob *b)
{
	free(b->p);
	*b = (struct blob){0};
}

/* Makes room up to `end`; new bytes are zero. */
static inline uint8_t *blob_need(struct blob *b, size_t end)
{
	if (end > b->n) {
		b->p = realloc(b->p, end);
		memset(b->p + b->n, 0, end - b->n);
		b->n = end;
	}
	return b->p;
}

static inline void blob_put(struct blob *b, size_t at, const void *data, size_t n)
{
	/* An end that wraps around is a mistake of the test; gcc 14 warns of it wherever it cannot rule it out. */
	if (at > PTRDIFF_MAX || n > PTRDIFF_MAX)
		abort();
	memcpy(blob_need(b, at + n) + at, data, n);
}

static inline void blob_save(const struct blob *b, const char *dir, const char *name)
{
	const char *keep = getenv("KEEP_IMAGES");
	static unsigned int number;
	char path[512];

	for (int i = 0; i < (keep ? 2 : 1); i++) {
		FILE *f;

		if (i == 0)
			snprintf(path, sizeof(path), "%s/%s", dir, name);
		else
			snprintf(path, sizeof(path), "%s/%03u-%s", keep, number++, name);
		f = fopen(path, "w");
		if (!f || fwrite(b->p, 1, b->n, f) != b->n || fclose(f) != 0)
			abort();
	}
}

/* What sector s of a test disk holds: its number, so that a wrong place is seen. */
static inline void build_sector(uint8_t *to, uint64_t s, uint8_t salt)
{
	for (unsigned int i = 0; i < 512; i += 8)
		le64_put(to + i, (s + 1) * 0x9e3779b97f4a7c15u + salt);
}

/* --- VHD --- */

#define BUILD_DISK        (1u << 20) /* bytes of all test disks: 2048 sectors */
#define BUILD_BLOCK       65536u
#define BUILD_BLOCKS      (BUILD_DISK / BUILD_BLOCK)
#define BUILD_BAT         1536u
#define BUILD_FIRST_BLOCK 4u /* sector; one block takes 1 + 128 */

static inline void build_vhd_sum(uint8_t *p, size_t n, size_t field)
{
	uint32_t sum = 0;

	be32_put(p + field, 0);
	for (size_t i = 0; i < n; i++)
		sum += p[i];
	be32_put(p + field, ~sum);
}

static inline void build_vhd_footer(uint8_t *f, uint32_t type, uint8_t id)
{
	memset(f, 0, 512);
	memcpy(f, "conectix", 8);
	be32_put(f + 8, 2);
	be32_put(f + 12, 0x10000);
	be64_put(f + 16, type == 2 ? UINT64_MAX : 512);
	memcpy(f + 28, "win ", 4);
	be32_put(f + 32, 0x60003);
	memcpy(f + 36, "Wi2k", 4);
	be64_put(f + 40, BUILD_DISK);
	be64_put(f + 48, BUILD_DISK);
	be16_put(f + 56, 30); /* 30 * 4 * 17 = 2040 sectors: not the size */
	f[58] = 4;
	f[59] = 17;
	be32_put(f + 60, type);
	memset(f + 68, id, 16);
	build_vhd_sum(f, 512, 64);
}

/*
 * Blocks 0, 3 and 15 of a dynamic (3) or differencing (4) disk are there, in the order 3, 0, 15. In
 * a differencing disk block 0 has all sectors, block 3 the even ones, block 15 none. The UUID is 16
 * times `id`, the parent's 16 times `parent`; sectors hold build_sector(number, id).
 */
static inline struct blob build_vhd(uint32_t type, uint8_t id, uint8_t parent)
{
	static const unsigned int order[] = {3, 0, 15};
	struct blob b = {0};
	uint8_t footer[512], sector[512], *h;

	build_vhd_footer(footer, type, id);
	if (type == 2) {
		for (uint64_t s = 0; s < BUILD_DISK / 512; s++) {
			build_sector(sector, s, id);
			blob_put(&b, s * 512, sector, 512);
		}
		blob_put(&b, BUILD_DISK, footer, 512);
		return b;
	}
	h = blob_need(&b, 2048) + 512;
	memcpy(b.p, footer, 512);
	memcpy(h, "cxsparse", 8);
	be64_put(h + 8, UINT64_MAX);
	be64_put(h + 16, BUILD_BAT);
	be32_put(h + 24, 0x10000);
	be32_put(h + 28, BUILD_BLOCKS);
	be32_put(h + 32, BUILD_BLOCK);
	if (type == 4)
		memset(h + 40, parent, 16);
	build_vhd_sum(h, 1024, 36);
	memset(b.p + BUILD_BAT, 0xff, 512);
	for (unsigned int i = 0; i < 3; i++) {
		uint32_t at = BUILD_FIRST_BLOCK + i * 129;

		be32_put(b.p + BUILD_BAT + 4 * order[i], at);
		blob_need(&b, (size_t)(at + 129) * 512);
		memset(b.p + (size_t)at * 512, type == 3 || order[i] == 0 ? 0xff : order[i] == 3 ? 0xaa : 0, 16);
		for (unsigned int s = 0; s < 128; s++)
			build_sector(b.p + (size_t)(at + 1 + s) * 512, order[i] * 128 + s, id);
	}
	blob_put(&b, b.n, footer, 512);
	return b;
}

/* --- VMDK --- */

#define BUILD_GRAIN       4096u
#define BUILD_GRAINS      (BUILD_DISK / BUILD_GRAIN)
#define BUILD_RGD         5u /* sectors */
#define BUILD_RGT         6u
#define BUILD_GD          10u
#define BUILD_GT          11u
#define BUILD_FIRST_GRAIN 16u

static inline void build_vmdk_header(uint8_t *h, uint32_t version, uint32_t flags)
{
	memset(h, 0, 512);
	memcpy(h, "KDMV", 4);
	le32_put(h + 4, version);
	le32_put(h + 8, flags);
	le64_put(h + 12, BUILD_DISK / 512);
	le64_put(h + 20, BUILD_GRAIN / 512);
	le64_put(h + 28, 1);
	le64_put(h + 36, 4);
	le32_put(h + 44, 512);
	le64_put(h + 48, BUILD_RGD);
	le64_put(h + 56, BUILD_GD);
	le64_put(h + 64, BUILD_FIRST_GRAIN);
	memcpy(h + 73, "\n \r\n", 4);
}

static inline int build_descriptor(char *to, size_t size, const char *type, uint32_t cid, uint32_t parent,
				   const char *extents)
{
	memset(to, 0, size);
	return snprintf(to, size,
			"# Disk "
			"DescriptorFile\nversion=1\nCID=%08x\nparentCID=%08x\ncreateType=\"%s\"\n%s\n%s\n"
			"ddb.adapterType = \"ide\"\nddb.geometry.cylinders = \"2\"\nddb.geometry.heads = "
			"\"16\"\n"
			"ddb.geometry.sectors = \"63\"\n",
			cid, parent, type,
			parent != 0xffffffff ? "parentFileNameHint=\"..\\\\gone\\\\parent.vmdk\"" : "", extents);
}

/* Grains 0, 1, 7 and 255 are there, in the order 7, 0, 1, 255; grain 9 is a zero grain where flag 4
 * is set. */
static inline struct blob build_vmdk(uint32_t flags, uint8_t salt, uint32_t cid, uint32_t parent)
{
	static const unsigned int order[] = {7, 0, 1, 255};
	struct blob b = {0};
	uint8_t *p = blob_need(&b, BUILD_FIRST_GRAIN * 512 + 4 * BUILD_GRAIN);

	build_vmdk_header(p, 1, flags);
	build_descriptor((char *)p + 512, 2048, "monolithicSparse", cid, parent, "RW 2048 SPARSE \"old-name.vmdk\"");
	le32_put(p + BUILD_RGD * 512, BUILD_RGT);
	le32_put(p + BUILD_GD * 512, BUILD_GT);
	for (unsigned int i = 0; i < 4; i++) {
		uint32_t at = BUILD_FIRST_GRAIN + i * BUILD_GRAIN / 512;

		le32_put(p + BUILD_RGT * 512 + 4 * order[i], at);
		le32_put(p + BUILD_GT * 512 + 4 * order[i], at);
		for (unsigned int s = 0; s < 8; s++)
			build_sector(p + (size_t)(at + s) * 512, order[i] * 8 + s, salt);
	}
	if (flags & 4) {
		le32_put(p + BUILD_RGT * 512 + 4 * 9, 1);
		le32_put(p + BUILD_GT * 512 + 4 * 9, 1);
	}
	return b;
}

static inline void build_marker(struct blob *b, uint64_t value, uint32_t type)
{
	uint8_t sector[512] = {0};

	le64_put(sector, value);
	le32_put(sector + 12, type);
	blob_put(b, b->n, sector, sizeof(sector));
}

/* streamOptimized: grains 0, 1, 7, 255. Returns where grain 7 is in ret_seven (sector), may be
 * NULL. */
static inline struct blob build_stream(bool footer, bool markers, uint32_t *ret_seven)
{
	static const unsigned int order[] = {0, 1, 7, 255};
	uint8_t grain[BUILD_GRAIN], packed[2 * BUILD_GRAIN], header[512];
	uint32_t gt[512] = {0}, flags = 0x10001 | (markers ? 0x20000 : 0), gd, gd_at;
	struct blob b = {0};

	blob_need(&b, BUILD_FIRST_GRAIN * 512);
	build_descriptor((char *)b.p + 512, 2048, "streamOptimized", 0x51, 0xffffffff, "RW 2048 SPARSE \"s.vmdk\"");
	for (unsigned int i = 0; i < 4; i++) {
		uLongf n = sizeof(packed);
		size_t at = b.n;

		for (unsigned int s = 0; s < 8; s++)
			build_sector(grain + s * 512, order[i] * 8 + s, 3);
		compress(packed, &n, grain, sizeof(grain));
		le32_put(&gt[order[i]], (uint32_t)(at / 512));
		if (order[i] == 7 && ret_seven)
			*ret_seven = (uint32_t)(at / 512);
		if (markers) {
			uint8_t marker[12];

			le64_put(marker, order[i] * 8);
			le32_put(marker + 8, (uint32_t)n);
			blob_put(&b, at, marker, sizeof(marker));
		}
		blob_put(&b, b.n, packed, n);
		blob_need(&b, (b.n + 511) / 512 * 512);
	}
	if (markers)
		build_marker(&b, 4, 1);
	le32_put(&gd, (uint32_t)(b.n / 512));
	blob_put(&b, b.n, gt, sizeof(gt));
	if (markers)
		build_marker(&b, 1, 2);
	gd_at = (uint32_t)(b.n / 512);
	blob_put(&b, b.n, &gd, 4);
	blob_need(&b, (b.n + 511) / 512 * 512);
	build_vmdk_header(header, 3, flags);
	le64_put(header + 48, 0);
	le64_put(header + 56, gd_at);
	le16_put(header + 77, 1);
	if (footer) {
		build_marker(&b, 1, 3);
		blob_put(&b, b.n, header, 512);
		le64_put(header + 56, UINT64_MAX);
	}
	if (markers)
		build_marker(&b, 0, 0);
	memcpy(b.p, header, 512);
	return b;
}

/* COWD: one-sector grains 0, 2, 3 and 2047 of 2048, in that order. */
static inline struct blob build_cowd(uint32_t flags, uint8_t salt)
{
	static const unsigned int order[] = {0, 2, 3, 2047};
	const uint32_t gd = 4, gt = 5, first = 37;
	struct blob b = {0};
	uint8_t *p = blob_need(&b, (first + 4) * 512);

	memcpy(p, "COWD", 4);
	le32_put(p + 4, 1);
	le32_put(p + 8, flags);
	le32_put(p + 12, BUILD_DISK / 512);
	le32_put(p + 16, 1);
	le32_put(p + 20, gd);
	le32_put(p + 24, 1);
	le32_put(p + gd * 512, gt);
	for (unsigned int i = 0; i < 4; i++) {
		le32_put(p + gt * 512 + 4 * order[i], first + i);
		build_sector(p + (first + i) * 512, order[i], salt);
	}
	return b;
}

#endif
