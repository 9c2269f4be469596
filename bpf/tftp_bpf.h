/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the two programs have in common: maps, and the way from a frame to a session and from a
 * session to a reply.
 *
 * A frame is answered only if it is an ACK that nothing is odd about: untagged Ethernet to the
 * interface's own address, IPv4 without options, whole, header sum right, UDP of exactly 12 bytes
 * with a right sum or none, and a session's. All else is passed on unchanged; user space then sees
 * what it would have seen without us.
 */
#ifndef BOOTWELL_TFTP_BPF_H
#define BOOTWELL_TFTP_BPF_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/tftp_shared.h"

#define TFTP_OPCODE_DATA 3
#define TFTP_OPCODE_ACK  4
#define TFTP_UDP_LENGTH  12  /* of an ACK */
#define TFTP_SMALL_FRAME 128 /* an ACK with any padding; about what drivers copy */

/* The sizes are set by user space before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct tftp_key);
	__type(value, struct tftp_ref);
} tftp_sessions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tftp_slot);
} tftp_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tftp_chunk);
} tftp_chunks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TFTP_COUNTS);
	__type(key, __u32);
	__type(value, struct tftp_count);
} tftp_counts SEC(".maps");

const volatile __u8 tftp_zero_checksums;

/* The first 46 bytes of a frame. */
struct tftp_frame {
	__u8 to[6], from[6];
	__be16 type;
	__u8 version_length, tos;
	__be16 length, id, fragment;
	__u8 ttl, protocol;
	__be16 header_sum;
	__be32 source, destination;
	__be16 source_port, destination_port, udp_length;
	__be16 udp_sum;
	__be16 opcode, block;
} __attribute__((packed, aligned(2))); /* as the network stack places it */

/* A packet's session and what to do with it. */
struct tftp_job {
	struct tftp_slot *slot;
	__u64 state;  /* that `first` and `count` follow from */
	__u32 first;  /* block */
	__u32 count;  /* blocks */
	__u8 partial; /* the UDP sum is of the pseudo header only: the sender's kernel left the rest
			 to hardware */
};

/* Where a block is. */
struct tftp_place {
	const struct tftp_chunk *chunk;
	__u32 offset;
	__u32 length;
};

/*
 * For a comparison that the verifier needs to see right before the use of a value, even where the
 * compiler knows the result. Older verifiers (6.1) forget what was learned of a value after it went
 * to the stack.
 */
#define TFTP_FORGET(value) asm volatile("" : "+r"(value))

static __always_inline struct tftp_count *tftp_count_of(__u32 path)
{
	return bpf_map_lookup_elem(&tftp_counts, &path);
}

static __always_inline __u64 tftp_sum_header(const struct tftp_frame *f)
{
	const __u8 *ip = &f->version_length;

	return (__u64) * (const __u32 *)ip + *(const __u32 *)(ip + 4) + *(const __u32 *)(ip + 8) +
	       *(const __u32 *)(ip + 12) + *(const __u32 *)(ip + 16);
}

/* RFC 768's pseudo header. */
static __always_inline __u64 tftp_sum_pseudo(const struct tftp_frame *f)
{
	return (__u64)f->source + f->destination + bpf_htons(IPPROTO_UDP) + f->udp_length;
}

static __always_inline __u64 tftp_sum_udp(const struct tftp_frame *f)
{
	return (__u64)f->source_port + f->destination_port + f->udp_length + f->opcode + f->block;
}

/* The ACK's own checksum; says in *partial which form it has. 0: wrong, or it cannot be told which
 * form. */
static __always_inline int tftp_ack_intact(const struct tftp_frame *f, __u8 *partial)
{
	__u16 pseudo = tftp_shared_fold(tftp_sum_pseudo(f));
	int full = tftp_shared_fold(tftp_sum_pseudo(f) + tftp_sum_udp(f) + f->udp_sum) == 0xffff;

	*partial = f->udp_sum == pseudo;
	if (tftp_shared_fold(tftp_sum_header(f)) != 0xffff)
		return 0;
	return f->udp_sum == 0 || full != *partial;
}

static __always_inline int tftp_is_ack(const struct tftp_frame *f)
{
	return f->type == bpf_htons(ETH_P_IP) && f->protocol == IPPROTO_UDP && f->version_length == 0x45 &&
	       f->length == bpf_htons(20 + TFTP_UDP_LENGTH) && !(f->fragment & bpf_htons(0xbfff)) &&
	       f->udp_length == bpf_htons(TFTP_UDP_LENGTH) && f->opcode == bpf_htons(TFTP_OPCODE_ACK);
}

static __always_inline int tftp_same_mac(const __u8 *a, const __u8 *b)
{
	return *(const __u32 *)a == *(const __u32 *)b && *(const __u16 *)(a + 4) == *(const __u16 *)(b + 4);
}

/*
 * What follows on this frame: 1 and *job, or 0: pass it. The counter of packets passed is of known
 * sessions only.
 */
static __always_inline int tftp_examine(const struct tftp_frame *f, const void *end, __u32 ifindex, __u32 path,
					struct tftp_job *job)
{
	struct tftp_key key = {};
	struct tftp_ref *ref;
	struct tftp_slot *slot;
	struct tftp_count *count;

	if ((const void *)(f + 1) > end || !tftp_is_ack(f))
		return 0;
	key.client = f->source;
	key.server = f->destination;
	key.client_port = f->source_port;
	key.server_port = f->destination_port;
	key.ifindex = ifindex;
	ref = bpf_map_lookup_elem(&tftp_sessions, &key);
	if (!ref)
		return 0;
	slot = bpf_map_lookup_elem(&tftp_slots, &ref->slot);
	if (!slot)
		return 0;
	job->slot = slot;
	job->state = *(volatile __u64 *)&slot->state;
	if (job->state >> 32 == ref->epoch && tftp_ack_intact(f, &job->partial) && tftp_same_mac(f->to, slot->mac)) {
		job->first = (__u32)job->state + 1;
		job->count = tftp_shared_next(slot, (__u32)job->state, bpf_ntohs(f->block));
		if (job->count)
			return 1;
	}
	count = tftp_count_of(path);
	if (count)
		count->passed++;
	return 0;
}

/* Finds a block; 0 if the slot makes no sense (it was given to another session this very moment).
 */
static __always_inline int tftp_locate(const struct tftp_slot *slot, __u32 block, struct tftp_place *place)
{
	__u64 offset = (__u64)(block - 1) * slot->blksize;
	__u64 length = slot->size - offset;
	__u32 index = offset / TFTP_STRIDE;

	if (offset > slot->size)
		return 0;
	if (length > slot->blksize)
		length = slot->blksize;
	offset -= (__u64)index * TFTP_STRIDE;
	if (offset > TFTP_STRIDE - 4 || length > TFTP_BLKSIZE_MAX || length < TFTP_DATA_MIN || index >= slot->chunks)
		return 0;
	index += slot->first_chunk;
	place->chunk = bpf_map_lookup_elem(&tftp_chunks, &index);
	place->offset = offset;
	place->length = length;
	return place->chunk != 0;
}

/* The bytes of a block for the helpers that copy them; NULL cannot happen, but that is the
 * verifier's to see. */
static __always_inline void *tftp_bytes(const struct tftp_place *place, __u32 *ret_length)
{
	__u64 offset = place->offset, length = place->length;

	TFTP_FORGET(offset);
	if (offset > TFTP_STRIDE - 4)
		return 0;
	TFTP_FORGET(length);
	if (length > TFTP_BLKSIZE_MAX || length < TFTP_DATA_MIN)
		return 0;
	*ret_length = length;
	return (void *)place->chunk->data + offset;
}

/* The transfer moves on to block `to`: only one CPU can do it, and none while user space has it. */
static __always_inline int tftp_advance(const struct tftp_job *job, __u32 to)
{
	__u64 next = (job->state & 0xffffffff00000000ULL) | to;

	job->slot->last = bpf_ktime_get_coarse_ns(); /* of CLOCK_MONOTONIC, to a tick */
	return __sync_val_compare_and_swap(&job->slot->state, job->state, next) == job->state;
}

/* Turns an ACK's headers into those of its reply, in place. */
static __always_inline void tftp_turn(struct tftp_frame *f)
{
	__be32 address = f->source;
	__be16 port = f->source_port;
	__u8 mac[6];

	__builtin_memcpy(mac, f->to, 6);
	__builtin_memcpy(f->to, f->from, 6);
	__builtin_memcpy(f->from, mac, 6);
	f->source = f->destination;
	f->destination = address;
	f->source_port = f->destination_port;
	f->destination_port = port;
	f->tos = 0;
	f->id = 0;
	f->fragment = bpf_htons(0x4000); /* so that the id is free to be 0 (RFC 6864) */
	f->ttl = 64;
	f->opcode = bpf_htons(TFTP_OPCODE_DATA);
}

/* The fields that differ from block to block, checksums among them. */
static __always_inline void tftp_seal(struct tftp_frame *f, const struct tftp_place *place, __u32 block, int partial)
{
	__u64 from = place->offset >> 2, to = (place->offset + place->length + 3) >> 2;
	__u16 from_sum, to_sum, sum;

	f->block = bpf_htons((__u16)block);
	f->length = bpf_htons(20 + 8 + 4 + place->length);
	f->udp_length = bpf_htons(8 + 4 + place->length);
	f->header_sum = 0;
	f->header_sum = ~tftp_shared_fold(tftp_sum_header(f));
	if (tftp_zero_checksums && !partial) {
		f->udp_sum = 0;
		return;
	}
	f->udp_sum = tftp_shared_fold(tftp_sum_pseudo(f));
	if (partial)
		return;
	TFTP_FORGET(from);
	from_sum = place->chunk->sums[from & (TFTP_CHUNK_DATA / 4 - 1)];
	TFTP_FORGET(to);
	to_sum = place->chunk->sums[to & (TFTP_CHUNK_DATA / 4 - 1)];
	sum = ~tftp_shared_fold(tftp_sum_pseudo(f) + tftp_sum_udp(f) + to_sum + 0xffff - from_sum);
	f->udp_sum = sum ? sum : 0xffff;
}

#endif
