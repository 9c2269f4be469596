/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names that the other server of a pair has given to PCs. It tells them again and again; they are kept in memory, so
 * that a PC that comes here for the first time gets the name that it has there, and nobody else does. Loop's thread.
 * Private to boot/.
 */
#ifndef BOOTWELL_BOOT_PROMISED_H
#define BOOTWELL_BOOT_PROMISED_H

#include <stdint.h>

#include "daemon/config/identity.h"

#define PROMISED_MAX 4096 /* PCs; more are not remembered */

struct promised_name {
	struct promised_name *next;
	char key[IDENTITY_KEY_MAX];
	char name[16];
	uint32_t named; /* how many times a person has named it; 0: automatic */
};

struct promised;

int promised_new(struct promised **ret);
void promised_free(struct promised *promised); /* NULL is fine */
/* Instead of what was remembered of that PC. */
void promised_put(struct promised *promised, const char *key, const char *name, uint32_t named);
const struct promised_name *promised_to(const struct promised *promised, const char *key); /* NULL: nothing */
/* To whom, in any case of letters; NULL: nobody. Looks at all. */
const struct promised_name *promised_who(const struct promised *promised, const char *name);

#endif
