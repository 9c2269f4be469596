/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The nonce in the path of a boot script: a word that only the DHCP answer of this boot carried. It is made of the PC's
 * key and the moment, signed with a key of this run folder; so nothing is kept for a PC that never comes, an answer
 * that was sent twice is as good as one, and a restart of the daemon in the middle of a boot does no harm.
 */
#ifndef BOOTWELL_BOOT_NONCE_H
#define BOOTWELL_BOOT_NONCE_H

#include <stdbool.h>
#include <stdint.h>

#define BOOT_NONCE_MAX    33                  /* with NUL */
#define BOOT_NONCE_AGE_MS (60 * 60 * 1000ull) /* somebody may sit before a menu that long */

struct boot_nonces {
	uint8_t key[32];
};

/* Takes the key of `run`, or makes one; without a place for it, one that lasts as long as the process. */
void boot_nonces_init(struct boot_nonces *nonces, const char *run);

uint64_t boot_nonce_now(void); /* ms, CLOCK_BOOTTIME */
void boot_nonce_make(const struct boot_nonces *nonces, const char *key, char ret[BOOT_NONCE_MAX]);
/* 0, and when it was made; -EKEYREJECTED: not made for this PC here; -EKEYEXPIRED: too long ago. */
int boot_nonce_check(const struct boot_nonces *nonces, const char *key, const char *nonce, uint64_t *ret_ms);

/*
 * Is this the path of a script: "boot.ipxe" or "boot/NONCE/boot.ipxe" (with `name` in place of boot.ipxe)? Then its
 * nonce is filled in, "" when the path has none.
 */
bool boot_script_path(const char *path, const char *name, char ret_nonce[BOOT_NONCE_MAX]);

#endif
