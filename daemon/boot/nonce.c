// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * "TTTTTTTTTTTTHHHHHHHHHHHHHHHHHHHH": 12 digits of the moment, 20 of HMAC-SHA256 over it and the PC's key (RFC 2104).
 */
#include "daemon/boot/nonce.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <nettle/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define TIME_DIGITS 12
#define HASH_BYTES  10

static bool read_key(int fd, uint8_t key[32])
{
	return read(fd, key, 32) == 32;
}

void boot_nonces_init(struct boot_nonces *n, const char *run)
{
	char path[512], beside[520];
	int fd;

	snprintf(path, sizeof(path), "%s/boot.key", run);
	snprintf(beside, sizeof(beside), "%s.new", path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0) {
		bool whole = read_key(fd, n->key);

		close(fd);
		if (whole)
			return;
	}
	if (getrandom(n->key, sizeof(n->key), 0) != sizeof(n->key))
		abort(); /* cannot happen: 32 bytes are never cut short */
	fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	if (write(fd, n->key, sizeof(n->key)) == sizeof(n->key))
		rename(beside, path);
	close(fd);
}

uint64_t boot_nonce_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

static void sign(const struct boot_nonces *n, const char *key, uint64_t ms, char ret[BOOT_NONCE_MAX])
{
	uint8_t text[8], hash[HASH_BYTES];
	struct hmac_sha256_ctx ctx;
	size_t at;

	for (unsigned int i = 0; i < 8; i++)
		text[i] = ms >> (56 - 8 * i);
	hmac_sha256_set_key(&ctx, sizeof(n->key), n->key);
	hmac_sha256_update(&ctx, sizeof(text), text);
	hmac_sha256_update(&ctx, strlen(key), (const uint8_t *)key);
	hmac_sha256_digest(&ctx, sizeof(hash), hash);
	at = snprintf(ret, BOOT_NONCE_MAX, "%0*" PRIx64, TIME_DIGITS, ms & 0xffffffffffffu);
	for (unsigned int i = 0; i < HASH_BYTES; i++)
		at += snprintf(ret + at, BOOT_NONCE_MAX - at, "%02x", hash[i]);
}

void boot_nonce_make(const struct boot_nonces *n, const char *key, char ret[BOOT_NONCE_MAX])
{
	sign(n, key, boot_nonce_now(), ret);
}

int boot_nonce_check(const struct boot_nonces *n, const char *key, const char *nonce, uint64_t *ret_ms)
{
	uint64_t now = boot_nonce_now(), ms = 0;
	char right[BOOT_NONCE_MAX], digits[TIME_DIGITS + 1];
	unsigned char differ = 0;

	if (strlen(nonce) != BOOT_NONCE_MAX - 1)
		return -EKEYREJECTED;
	memcpy(digits, nonce, TIME_DIGITS);
	digits[TIME_DIGITS] = '\0';
	ms = strtoull(digits, NULL, 16);
	sign(n, key, ms, right);
	for (unsigned int i = 0; i < BOOT_NONCE_MAX - 1; i++)
		differ |= right[i] ^ nonce[i];
	if (differ || ms > now)
		return -EKEYREJECTED;
	if (now - ms > BOOT_NONCE_AGE_MS)
		return -EKEYEXPIRED;
	*ret_ms = ms;
	return 0;
}

bool boot_script_path(const char *path, const char *name, char ret_nonce[BOOT_NONCE_MAX])
{
	const char *nonce = path + strlen("boot/");

	if (!strcmp(path, name)) {
		ret_nonce[0] = '\0';
		return true;
	}
	if (strncmp(path, "boot/", strlen("boot/")) || strspn(nonce, "0123456789abcdef") != BOOT_NONCE_MAX - 1 ||
	    nonce[BOOT_NONCE_MAX - 1] != '/' || strcmp(nonce + BOOT_NONCE_MAX, name))
		return false;
	memcpy(ret_nonce, nonce, BOOT_NONCE_MAX - 1);
	ret_nonce[BOOT_NONCE_MAX - 1] = '\0';
	return true;
}
