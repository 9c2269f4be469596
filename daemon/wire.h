/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network byte order at any alignment, for the codecs. */
#ifndef BOOTWELL_WIRE_H
#define BOOTWELL_WIRE_H

#include <stdint.h>

static inline uint16_t be16_at(const void *p)
{
	const uint8_t *b = p;

	return (uint16_t)(b[0] << 8 | b[1]);
}

static inline uint32_t be32_at(const void *p)
{
	const uint8_t *b = p;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static inline void be16_put(void *p, uint16_t value)
{
	uint8_t *b = p;

	b[0] = (uint8_t)(value >> 8);
	b[1] = (uint8_t)value;
}

static inline void be32_put(void *p, uint32_t value)
{
	uint8_t *b = p;

	b[0] = (uint8_t)(value >> 24);
	b[1] = (uint8_t)(value >> 16);
	b[2] = (uint8_t)(value >> 8);
	b[3] = (uint8_t)value;
}

#endif
