/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel programs and user space share: the layout of the maps, and the one decision of
 * the fast path, as a pure function that the tests call too. Included by bpf/ (clang -target bpf)
 * and by daemon/tftp/fastpath.c.
 */
#ifndef BOOTWELL_TFTP_SHARED_H
#define BOOTWELL_TFTP_SHARED_H

#include <linux/types.h>

/*
 * A file lies in consecutive chunks. Chunk i holds the bytes from i * TFTP_STRIDE on, and repeats
 * the first bytes of the next one behind them, so that every block lies whole within one chunk: the
 * verifier can then see that offset + length stays inside, which it cannot for a block that is put
 * together from two values. sums[k] is the ones' complement sum of the 16-bit words (in memory
 * order) of data[0] to data[4k - 1]; so the checksum of a block is one subtraction, whatever the
 * block size, if that is a multiple of 4. Behind the file's end is zero.
 */
#define TFTP_CHUNK_DATA  16384
#define TFTP_BLKSIZE_MAX 2048
#define TFTP_STRIDE      (TFTP_CHUNK_DATA - TFTP_BLKSIZE_MAX)

struct tftp_chunk {
	__u8 data[TFTP_CHUNK_DATA];
	__u16 sums[TFTP_CHUNK_DATA / 4];
};

/* A frame that is shorter than this would need padding: such last blocks are left to user space. */
#define TFTP_HEADERS  46 /* Ethernet 14, IPv4 20, UDP 8, TFTP 4 */
#define TFTP_DATA_MIN 14

#define TFTP_SESSIONS_LIMIT 65536
#define TFTP_WINDOW_MAX     16 /* longer ones are faster by UDP GSO from user space */

/* Who a packet is from and to; all in network byte order but ifindex. */
struct tftp_key {
	__be32 client, server;
	__be16 client_port, server_port;
	__u32 ifindex;
};

/* The value in the table of sessions. A slot is used again by later sessions: each has an epoch of
 * its own, not 0. */
struct tftp_ref {
	__u32 slot;
	__u32 epoch;
};

/*
 * A transfer. Only `state` and `last` change while it runs, and both sides change them: state is
 * epoch << 32 | number of the block sent last (0: the OACK), moved on by compare-and-exchange only,
 * so that of two equal ACKs on two CPUs one is answered. Epoch 0 while user space has paused it.
 */
struct tftp_slot {
	__u64 state;
	__u64 last; /* CLOCK_MONOTONIC, ns: when the last block was sent */
	__u64 size; /* of the file, bytes */
	__u32 first_chunk;
	__u32 chunks; /* 0: the slot is free */
	__u32 blocks; /* of the transfer, the last one shorter than blksize */
	__u32 fast;   /* the last block that the kernel may send */
	__u16 blksize;
	__u16 window;
	__u8 mac[6]; /* of the interface */
	__u8 unused[6];
};

enum { TFTP_COUNT_TC, TFTP_COUNT_XDP, TFTP_COUNTS };
struct tftp_count {
	__u64 blocks, bytes, passed, failed;
};

/* What the probe found on an interface. */
enum { TFTP_PROBE_UNKNOWN, TFTP_PROBE_ROOM, TFTP_PROBE_NO_ROOM };

/*
 * How many blocks follow on the ACK of `block` (as on the wire) when `sent` was sent last; 0: the
 * packet is user space's. Only the ACK of everything that was sent is answered here: a duplicate
 * never is (the sorcerer's apprentice), nor the ACK of a part of a window, nor that of the last
 * block.
 */
static inline __attribute__((always_inline)) __u32 tftp_shared_next(const struct tftp_slot *slot, __u32 sent,
								    __u16 block)
{
	__u32 count;

	if (block != (__u16)sent || sent >= slot->fast)
		return 0;
	count = slot->blocks - sent;
	if (count > slot->window)
		count = slot->window;
	return sent + count <= slot->fast ? count : 0;
}

static inline __attribute__((always_inline)) __u16 tftp_shared_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

#endif
