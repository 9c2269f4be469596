/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TFTP messages (RFC 1350; options RFC 2347, 2348, 2349, 7440). Pure: no sockets, no clock.
 */
#ifndef BOOTWELL_TFTP_PACKET_H
#define BOOTWELL_TFTP_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TFTP_PORT        69
#define TFTP_REQUEST_MAX 512 /* bytes of a request (RFC 2347 §2) */
#define TFTP_NAME_MAX    256 /* with NUL */
#define TFTP_BLKSIZE     512
#define TFTP_BLKSIZE_MIN 8
#define TFTP_BLKSIZE_MAX 65464
#define TFTP_HEADER      4
#define TFTP_OACK_MAX    128 /* bytes that tftp_oack_write() needs at most */

enum tftp_opcode { TFTP_RRQ = 1, TFTP_WRQ, TFTP_DATA, TFTP_ACK, TFTP_ERROR, TFTP_OACK };

enum tftp_error {
	TFTP_ERROR_OTHER,
	TFTP_ERROR_NOT_FOUND,
	TFTP_ERROR_ACCESS,
	TFTP_ERROR_FULL,
	TFTP_ERROR_OPERATION,
	TFTP_ERROR_TRANSFER, /* unknown transfer: a stranger's packet */
	TFTP_ERROR_EXISTS,
	TFTP_ERROR_USER,
	TFTP_ERROR_OPTIONS, /* RFC 2347 */
};

struct tftp_request {
	bool write, netascii;
	char name[TFTP_NAME_MAX]; /* as tftp_name_clean() left it */
	/* What was asked for; has_x false: it was not, or is not a number that the option may have. */
	bool has_blksize, has_tsize, has_timeout, has_windowsize;
	uint32_t blksize, windowsize;
	uint8_t timeout; /* s */
};

/*
 * -EBADMSG: not a request, a string without its end, an empty or overlong name. -EOPNOTSUPP: a mode other than octet
 * and netascii (mail). Options that are unknown, repeated or have values out of range are as if not sent (RFC 2347: the
 * answer just leaves them out).
 */
int tftp_request_parse(struct tftp_request *ret, const void *data, size_t length);

/*
 * Backslash becomes slash, leading slashes go: what is left is opened beneath the root. -EBADMSG: empty, or with
 * control characters.
 */
int tftp_name_clean(char *name);

/* What is granted: as in the request, lowered to what we can. */
struct tftp_options {
	bool blksize, tsize, timeout, windowsize; /* to be told in the OACK */
	uint32_t blksize_value, windowsize_value;
	uint8_t timeout_value;
	uint64_t tsize_value;
};
/* `blksize_max`: what fits the path; never raises what was asked for. No option asked for: 512 and 1. */
void tftp_options_grant(struct tftp_options *ret, const struct tftp_request *request, uint32_t blksize_max,
			uint32_t windowsize_max, uint64_t size);
static inline bool tftp_options_any(const struct tftp_options *o)
{
	return o->blksize || o->tsize || o->timeout || o->windowsize;
}

/* Writes the OACK (TFTP_OACK_MAX bytes at most); its length. */
size_t tftp_oack_write(void *to, const struct tftp_options *options);
/* Writes an ERROR, the text cut to fit; its length, at most `size` (at least 5). */
size_t tftp_error_write(void *to, size_t size, enum tftp_error code, const char *text);
void tftp_data_write(void *to, uint16_t block); /* TFTP_HEADER bytes */

struct tftp_answer {
	enum tftp_opcode opcode; /* TFTP_ACK or TFTP_ERROR */
	uint16_t block;          /* of an ACK */
	uint16_t code;           /* of an ERROR */
};
/* What a client sends within a transfer; -EBADMSG for anything else. */
int tftp_answer_parse(struct tftp_answer *ret, const void *data, size_t length);

/*
 * netascii (RFC 764): LF becomes CR LF, CR becomes CR NUL. Returns the length of the result; writes at most `size`
 * bytes of it to `to` (which may be NULL with size 0: measure first).
 */
size_t tftp_netascii(void *to, size_t size, const void *from, size_t length);

/*
 * The block number of 64 bits that a 16-bit one stands for: the smallest one that is not less than `from` and has these
 * low bits. Numbers wrap from 65535 to 0.
 */
static inline uint64_t tftp_block_unwrap(uint64_t from, uint16_t block)
{
	return from + (uint16_t)(block - (uint16_t)from);
}

#endif
