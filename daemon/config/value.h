/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Values of the configuration file: text to number, address, size... Private to config*.c, and to
 * the command line, which reads the same forms.
 *
 * A parser returns NULL and fills its field, or returns what is wrong with the value, to be read
 * after the value:
 * `"20X" is not a size: ...`; then the field is as it was.
 */
#ifndef BOOTWELL_CONFIG_VALUE_H
#define BOOTWELL_CONFIG_VALUE_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/config/config.h"

const char *value_bool(const char *text, bool *ret);
const char *value_size(const char *text, uint64_t *ret);     /* bytes: 512, 64K, 20G, 1T, 20GiB */
const char *value_duration(const char *text, uint32_t *ret); /* s: 90, 90s, 5m, 12h, 2d, 1h30m; at most 365 days */
const char *value_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret);
const char *value_address(const char *text, uint32_t *ret);
const char *value_addresses(const char *text, struct config_addresses *ret); /* commas or blanks between */
const char *value_ranges(const char *text, struct config_range *ret, unsigned int *ret_count);
const char *value_network(const char *text, uint32_t *ret_network, uint8_t *ret_prefix); /* 192.168.1.0/24 */
const char *value_text(const char *text, char *ret, size_t size); /* may be "quoted"; no control characters */
/* At least CONFIG_TOKEN_MIN characters, or the hash of one; only a hash (crypt(5): scrypt or yescrypt). */
const char *value_token(const char *text, char *ret, size_t size);
const char *value_hash(const char *text, char *ret, size_t size);
const char *value_path(const char *text, char *ret, size_t size);    /* absolute */
const char *value_beneath(const char *text, char *ret, size_t size); /* a file beneath some folder */
const char *value_name(const char *text, char *ret, size_t size);    /* letters, digits, dot, hyphen, underscore */
const char *value_host(const char *text, char ret[CONFIG_HOST_MAX]); /* 1-15 letters, digits, inner hyphens */
const char *value_mac(const char *text, uint8_t ret[6]);
const char *value_uuid(const char *text, uint8_t ret[16]);           /* to the order of SMBIOS and option 97 */
const char *value_pattern(const char *text, char *ret, size_t size); /* PC%03u */
const char *value_mail(const char *text, char *ret, size_t size);    /* NAME@HOST */
const char *value_mails(const char *text, char *ret, size_t size);   /* the same, commas between */
const char *value_smtp(const char *text, char *ret, size_t size);    /* smtp://HOST[:PORT] or smtps:// */
const char *value_web(const char *text, char *ret, size_t size);     /* http:// or https:// */
const char *value_iqn(const char *text, char *ret, size_t size);     /* iqn.YYYY-MM.domain... */
/* `code` from the key's name, option.CODE; appended to *list. */
const char *value_option(const char *code, const char *text, struct config_options *list);

/* The one of `names` (NULL at its end) that a person most likely meant, or NULL when none is near.
 */
const char *value_nearest(const char *word, const char *const *names);

#endif
