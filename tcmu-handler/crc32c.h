/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), by the SSE4.2 instruction that every x86_64 of the
 * last decade has. */
#ifndef BOOTWELL_CRC32C_H
#define BOOTWELL_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC of `length` bytes; crc32c("123456789", 9) is 0xe3069283. */
uint32_t crc32c(const void *data, size_t length);

/* The same of one block of 4096 bytes, three streams at once. */
uint32_t crc32c_4k(const void *block);

#endif
