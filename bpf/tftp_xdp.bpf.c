// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * TFTP in XDP: the ACK grows into the next block and leaves by the interface that it came from.
 * Where a frame cannot grow it is passed unchanged, and the tc twin, with the same maps, answers
 * it. So are windows of more than one block, for XDP cannot make two frames of one.
 */
#include "bpf/tftp_bpf.h"

/* By ifindex: what the probe found. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} tftp_probes SEC(".maps");

SEC("xdp")
int tftp_xdp(struct xdp_md *ctx)
{
	struct tftp_frame *f = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct tftp_count *count = tftp_count_of(TFTP_COUNT_XDP);
	struct tftp_place place;
	struct tftp_job job;
	__u32 length;
	void *bytes;
	int delta;

	if (!tftp_examine(f, end, ctx->ingress_ifindex, TFTP_COUNT_XDP, &job) || !count)
		return XDP_PASS;
	if (job.count != 1 || !tftp_locate(job.slot, job.first, &place)) {
		count->passed++;
		return XDP_PASS;
	}
	delta = TFTP_HEADERS + (int)place.length - (int)(end - (void *)f);
	if (bpf_xdp_adjust_tail(ctx, delta)) {
		count->failed++;
		return XDP_PASS;
	}
	if (!tftp_advance(&job, job.first)) {
		/* Answered on another CPU, or user space took over: give it on as it came. */
		if (bpf_xdp_adjust_tail(ctx, -delta))
			return XDP_DROP;
		count->passed++;
		return XDP_PASS;
	}
	f = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if ((void *)(f + 1) > end)
		return XDP_DROP;
	tftp_turn(f);
	tftp_seal(f, &place, job.first, 0);
	bytes = tftp_bytes(&place, &length);
	if (!bytes || bpf_xdp_store_bytes(ctx, TFTP_HEADERS, bytes, length)) {
		count->failed++;
		return XDP_DROP; /* as if lost: user space sends it again after the time-out */
	}
	count->blocks++;
	count->bytes += length;
	return XDP_TX;
}

/*
 * Attached first, until it has seen one frame as small as an ACK: is there room behind it for a
 * whole one? The frame is passed as it came.
 */
SEC("xdp")
int tftp_probe(struct xdp_md *ctx)
{
	int length = (long)ctx->data_end - (long)ctx->data;
	__u32 ifindex = ctx->ingress_ifindex;
	__u32 *found = bpf_map_lookup_elem(&tftp_probes, &ifindex);

	if (!found || *found != TFTP_PROBE_UNKNOWN || length > TFTP_SMALL_FRAME)
		return XDP_PASS;
	if (bpf_xdp_adjust_tail(ctx, ETH_FRAME_LEN - length)) {
		*found = TFTP_PROBE_NO_ROOM;
		return XDP_PASS;
	}
	*found = TFTP_PROBE_ROOM;
	return bpf_xdp_adjust_tail(ctx, length - ETH_FRAME_LEN) ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
