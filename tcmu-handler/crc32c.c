// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The crc32 instruction takes three cycles and a new one can begin in each, so a block is done as
 * three streams whose results are joined. Joining needs "the CRC of A followed by n zero bytes",
 * which is linear in A: four tables of 256 words for each n, made once at start.
 */
#include "tcmu-handler/crc32c.h"

#include <nmmintrin.h>
#include <string.h>

#define STREAM 1360 /* bytes of each of three streams; 16 bytes remain of 4096 */

static uint32_t shift_one[4][256]; /* append STREAM zero bytes */

static uint32_t crc_raw(uint32_t crc, const unsigned char *p, size_t n)
{
	uint64_t c = crc;

	for (; n >= 8; n -= 8, p += 8) {
		uint64_t v;

		memcpy(&v, p, 8);
		c = _mm_crc32_u64(c, v);
	}
	for (; n; n--, p++)
		c = _mm_crc32_u8((uint32_t)c, *p);
	return (uint32_t)c;
}

__attribute__((constructor)) static void crc32c_init(void)
{
	static const unsigned char zeros[STREAM];

	for (unsigned int byte = 0; byte < 4; byte++)
		for (uint32_t v = 0; v < 256; v++)
			shift_one[byte][v] = crc_raw(v << (8 * byte), zeros, STREAM);
}

static uint32_t shift(uint32_t crc)
{
	return shift_one[0][crc & 255] ^ shift_one[1][crc >> 8 & 255] ^ shift_one[2][crc >> 16 & 255] ^
	       shift_one[3][crc >> 24];
}

uint32_t crc32c(const void *data, size_t length)
{
	return ~crc_raw(~0u, data, length);
}

uint32_t crc32c_4k(const void *block)
{
	const unsigned char *p = block;
	uint64_t a = 0xffffffffu, b = 0, c = 0;

	for (size_t i = 0; i < STREAM; i += 8) {
		uint64_t x, y, z;

		memcpy(&x, p + i, 8);
		memcpy(&y, p + STREAM + i, 8);
		memcpy(&z, p + 2 * STREAM + i, 8);
		a = _mm_crc32_u64(a, x);
		b = _mm_crc32_u64(b, y);
		c = _mm_crc32_u64(c, z);
	}
	a = shift((uint32_t)a) ^ b;
	a = shift((uint32_t)a) ^ c;
	return ~crc_raw((uint32_t)a, p + 3 * STREAM, 16);
}
