// SPDX-License-Identifier: GPL-2.0-or-later
/* The checksum of a disk from those of its parts. Parts of zeros are frequent: theirs is computed once. */
#include "daemon/image/digest.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tcmu-handler/image/bytes.h"

void digest_part(const void *data, size_t length, uint8_t ret[DIGEST_SIZE])
{
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	sha256_update(&ctx, length, data);
	sha256_digest(&ctx, DIGEST_SIZE, ret);
}

static uint8_t whole_zero[DIGEST_SIZE];

static void zero_hash(size_t length, uint8_t *ret)
{
	static const uint8_t zero[65536];
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	for (size_t n; length; length -= n) {
		n = length < sizeof(zero) ? length : sizeof(zero);
		sha256_update(&ctx, n, zero);
	}
	sha256_digest(&ctx, DIGEST_SIZE, ret);
}

static void whole_zero_init(void)
{
	zero_hash(DIGEST_PART, whole_zero);
}

void digest_zero(size_t length, uint8_t ret[DIGEST_SIZE])
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (length != DIGEST_PART) {
		zero_hash(length, ret);
		return;
	}
	pthread_once(&once, whole_zero_init);
	memcpy(ret, whole_zero, DIGEST_SIZE);
}

void digest_disk(uint64_t size, const uint8_t *parts, uint8_t ret[DIGEST_SIZE])
{
	struct sha256_ctx ctx;
	uint8_t length[8];

	le64_put(length, size);
	sha256_init(&ctx);
	sha256_update(&ctx, sizeof(length), length);
	sha256_update(&ctx, digest_parts(size) * DIGEST_SIZE, parts);
	sha256_digest(&ctx, DIGEST_SIZE, ret);
}

void digest_to_text(const uint8_t digest[DIGEST_SIZE], char ret[DIGEST_TEXT])
{
	static const char hex[] = "0123456789abcdef";

	for (unsigned int i = 0; i < DIGEST_SIZE; i++) {
		ret[2 * i] = hex[digest[i] >> 4];
		ret[2 * i + 1] = hex[digest[i] & 15];
	}
	ret[2 * DIGEST_SIZE] = '\0';
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int digest_from_text(const char *text, uint8_t ret[DIGEST_SIZE])
{
	uint8_t digest[DIGEST_SIZE];

	for (unsigned int i = 0; i < DIGEST_SIZE; i++) {
		int high = nibble(text[2 * i]), low;

		if (high < 0)
			return -EINVAL;
		low = nibble(text[2 * i + 1]);
		if (low < 0)
			return -EINVAL;
		digest[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(ret, digest, DIGEST_SIZE);
	return 0;
}

bool data_is_zero(const void *data, size_t length)
{
	const uint8_t *p = data;

	if (length < 16) {
		for (size_t i = 0; i < length; i++)
			if (p[i])
				return false;
		return true;
	}
	/* The first 16 are zero, and each byte equals the one 16 before it. */
	for (unsigned int i = 0; i < 16; i++)
		if (p[i])
			return false;
	return memcmp(p, p + 16, length - 16) == 0;
}
