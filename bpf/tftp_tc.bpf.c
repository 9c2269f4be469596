// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The tc twin: the same on a socket buffer, which can always grow, on any device. It sends windows
 * too, one clone a block.
 */
#include <linux/pkt_cls.h>

#include "bpf/tftp_bpf.h"

/*
 * Before Linux 6.6 a tc program cannot be attached by a link that ends with the process. There the
 * filter is only the stub below, which jumps through this table: the kernel empties it when the
 * daemon's last descriptor of it is closed, so a crash leaves a filter that does nothing.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tftp_jump SEC(".maps");

/* Fills the buffer, which is long enough already, with a block. 0: it did not work. */
static __always_inline int tftp_fill(struct __sk_buff *skb, const struct tftp_place *place, __u32 block, int first,
				     int partial)
{
	struct tftp_frame *f = (void *)(long)skb->data;
	__u32 length;
	void *bytes;

	if ((void *)(f + 1) > (void *)(long)skb->data_end)
		return 0;
	if (first)
		tftp_turn(f);
	tftp_seal(f, place, block, partial);
	bytes = tftp_bytes(place, &length);
	return bytes && !bpf_skb_store_bytes(skb, TFTP_HEADERS, bytes, length, 0);
}

static __always_inline int tftp_window(struct __sk_buff *skb, const struct tftp_job *job, struct tftp_count *count)
{
	struct tftp_place place;

	for (__u32 i = 0; i < TFTP_WINDOW_MAX && i < job->count; i++) {
		if (!tftp_locate(job->slot, job->first + i, &place) ||
		    bpf_skb_change_tail(skb, TFTP_HEADERS + place.length, 0) ||
		    !tftp_fill(skb, &place, job->first + i, i == 0, job->partial) ||
		    (i + 1 < job->count && bpf_clone_redirect(skb, skb->ifindex, 0))) {
			count->failed++;
			return TC_ACT_SHOT; /* as if lost */
		}
		count->blocks++;
		count->bytes += place.length;
	}
	return bpf_redirect(skb->ifindex, 0);
}

SEC("tc")
int tftp_tc(struct __sk_buff *skb)
{
	struct tftp_count *count = tftp_count_of(TFTP_COUNT_TC);
	__u32 length = skb->len;
	struct tftp_place place;
	struct tftp_frame *f;
	struct tftp_job job;

	if (skb->vlan_present || !count)
		return TC_ACT_UNSPEC;
	/* Some drivers leave even a small frame in pages, with little more than the MAC header at
	 * hand. */
	if ((long)skb->data + TFTP_HEADERS > (long)skb->data_end &&
	    (length < TFTP_HEADERS || length > TFTP_SMALL_FRAME || bpf_skb_pull_data(skb, TFTP_HEADERS)))
		return TC_ACT_UNSPEC;
	f = (void *)(long)skb->data;
	if (!tftp_examine(f, (void *)(long)skb->data_end, skb->ifindex, TFTP_COUNT_TC, &job))
		return TC_ACT_UNSPEC;
	if (!tftp_locate(job.slot, job.first, &place))
		goto pass;
	if (bpf_skb_change_tail(skb, TFTP_HEADERS + place.length, 0)) {
		count->failed++;
		return TC_ACT_UNSPEC;
	}
	if (!tftp_advance(&job, job.first + job.count - 1)) {
		/* Answered on another CPU, or user space took over: give it on as it came. */
		if (bpf_skb_change_tail(skb, length, 0))
			return TC_ACT_SHOT;
		goto pass;
	}
	if (job.count > 1)
		return tftp_window(skb, &job, count);
	if (!tftp_fill(skb, &place, job.first, 1, job.partial)) {
		count->failed++;
		return TC_ACT_SHOT; /* as if lost: user space sends it again after the time-out */
	}
	count->blocks++;
	count->bytes += place.length;
	return bpf_redirect(skb->ifindex, 0);
pass:
	count->passed++;
	return TC_ACT_UNSPEC;
}

SEC("tc")
int tftp_tc_stub(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &tftp_jump, 0);
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "GPL";
