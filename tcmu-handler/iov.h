/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A position in an iovec: bytes are addressed by their offset in the whole request. */
#ifndef BOOTWELL_IOV_H
#define BOOTWELL_IOV_H

#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

struct iov_pos {
	const struct iovec *iov;
	size_t cnt;
	size_t index;    /* the iovec that `offset` lies in */
	uint64_t start;  /* offset of its first byte */
	uint64_t period; /* not 0: the data repeats after so many bytes (WRITE SAME) */
};

static inline void iov_pos_init(struct iov_pos *pos, const struct iovec *iov, size_t cnt)
{
	pos->iov = iov;
	pos->cnt = cnt;
	pos->index = 0;
	pos->start = 0;
	pos->period = 0;
}

/* The memory at `offset`, and how much of it lies in one piece (at most `length`). */
static inline void *iov_at(struct iov_pos *pos, uint64_t offset, size_t length, size_t *ret_piece)
{
	size_t left;

	if (pos->period)
		offset %= pos->period;
	if (offset < pos->start) {
		pos->index = 0;
		pos->start = 0;
	}
	while (pos->index + 1 < pos->cnt && offset - pos->start >= pos->iov[pos->index].iov_len)
		pos->start += pos->iov[pos->index++].iov_len;
	left = pos->iov[pos->index].iov_len - (size_t)(offset - pos->start);
	*ret_piece = left < length ? left : length;
	return (char *)pos->iov[pos->index].iov_base + (offset - pos->start);
}

static inline void iov_put(struct iov_pos *pos, uint64_t offset, const void *src, size_t length)
{
	while (length) {
		size_t piece;
		void *p = iov_at(pos, offset, length, &piece);

		memcpy(p, src, piece);
		src = (const char *)src + piece;
		offset += piece;
		length -= piece;
	}
}

static inline void iov_get(struct iov_pos *pos, uint64_t offset, void *dst, size_t length)
{
	while (length) {
		size_t piece;
		const void *p = iov_at(pos, offset, length, &piece);

		memcpy(dst, p, piece);
		dst = (char *)dst + piece;
		offset += piece;
		length -= piece;
	}
}

static inline void iov_zero(struct iov_pos *pos, uint64_t offset, size_t length)
{
	while (length) {
		size_t piece;
		void *p = iov_at(pos, offset, length, &piece);

		memset(p, 0, piece);
		offset += piece;
		length -= piece;
	}
}

#endif
