/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames with UDP, by the book (RFC 768, 791, 1071), for tests: written from the specifications
 * alone, so that the programs under test can be held against it.
 */
#ifndef BOOTWELL_TFTP_FRAMES_H
#define BOOTWELL_TFTP_FRAMES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FRAME_MAX 4096

struct frame {
	uint8_t b[FRAME_MAX];
	uint32_t length;
};

static inline void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* RFC 1071, byte by byte. */
static inline uint32_t add(uint32_t sum, const uint8_t *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

static inline uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Of the UDP datagram in the frame, with the checksum field as it is. */
static inline uint16_t udp_sum(const uint8_t *f)
{
	uint32_t length = get16(f + 38) < FRAME_MAX - 34 ? get16(f + 38) : 0;

	return fold(add(add(17 + length, f + 26, 8), f + 34, length));
}

static inline void seal(struct frame *f)
{
	put16(f->b + 24, 0);
	put16(f->b + 24, ~fold(add(0, f->b + 14, 20)) & 0xffff);
	put16(f->b + 40, 0);
	put16(f->b + 40, ~udp_sum(f->b) & 0xffff);
	if (!get16(f->b + 40))
		put16(f->b + 40, 0xffff);
}

static inline void headers(struct frame *f, uint32_t from, uint32_t to, uint16_t from_port, uint16_t to_port,
			   uint16_t opcode, uint16_t block, uint32_t data)
{
	memset(f->b, 0, 46);
	put16(f->b + 12, 0x0800);
	f->b[14] = 0x45;
	put16(f->b + 16, 32 + data);
	put16(f->b + 20, 0x4000);
	f->b[22] = 64;
	f->b[23] = 17;
	put32(f->b + 26, from);
	put32(f->b + 30, to);
	put16(f->b + 34, from_port);
	put16(f->b + 36, to_port);
	put16(f->b + 38, 12 + data);
	put16(f->b + 42, opcode);
	put16(f->b + 44, block);
	f->length = 46 + data;
}

static uint64_t frame_rng;

static inline uint32_t rnd(uint32_t below)
{
	frame_rng = frame_rng * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((frame_rng >> 33) % below);
}

/* A change that makes the frame odd, on top of a good ACK. */
static inline void spoil(struct frame *f, uint32_t sent)
{
	static const uint16_t interesting[] = {0, 1, 6, 12, 14, 16, 20, 22, 23, 26, 30, 34, 36, 38, 40, 42, 44};

	switch (rnd(9)) {
	case 0: /* any byte */
		f->b[rnd(f->length)] = (uint8_t)rnd(256);
		break;
	case 1: /* a bit of a field, sums made right again */
		f->b[interesting[rnd(sizeof(interesting) / sizeof(interesting[0]))] + rnd(2)] ^=
			(uint8_t)(1u << rnd(8));
		seal(f);
		break;
	case 2: /* shorter, not less than the kernel takes for a test */
		f->length = f->length > 34 ? 34 + rnd(f->length - 33) : f->length;
		break;
	case 3: { /* padded, as on a wire */
		uint32_t more = rnd(200);

		for (uint32_t i = 0; i < more && f->length < 1500; i++)
			f->b[f->length++] = (uint8_t)rnd(256);
		break;
	}
	case 4: /* another block */
		put16(f->b + 44, rnd(2) ? (uint32_t)(sent + rnd(5) - 2) & 0xffff : rnd(65536));
		seal(f);
		break;
	case 5: /* another opcode */
		put16(f->b + 42, rnd(8));
		seal(f);
		break;
	case 6: /* no checksum */
		put16(f->b + 40, 0);
		break;
	case 7: /* the sum of the pseudo header only */
		put16(f->b + 40, fold(add(17 + get16(f->b + 38), f->b + 26, 8)));
		break;
	case 8: /* options */
		f->b[14] = (uint8_t)(0x40 + rnd(16));
		seal(f);
		break;
	}
}

#endif
