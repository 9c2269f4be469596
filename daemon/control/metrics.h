/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon, the handler and the kernel count, as Prometheus text. One prefix `bootwell_`, base units; labels are
 * names of clients and images from the state and fixed words, never text from a packet. docs/metrics.md has them all.
 *
 * A sample is taken in three steps: the counters of the servers on the loop's thread; the clients of a snapshot, and
 * then images, files of the handler and of the kernel on a helper thread, because configfs may wait behind a target
 * that is being removed.
 */
#ifndef BOOTWELL_METRICS_H
#define BOOTWELL_METRICS_H

#include "daemon/control/parts.h"
#include "daemon/control/metrics_text.h"

#define METRICS_DEVICES 8 /* block devices, at most */

/* A block device that something of ours lies on. */
struct metrics_device {
	char name[64];
	char holds[40]; /* "state", "images", "store", several with a plus sign between */
};

struct metrics_sample;

/* Loop's thread. `see` (or NULL) sees every value of it, those that are written later too. NULL: out of memory. */
struct metrics_sample *metrics_sample_new(struct daemon *d, struct snapshot *snapshot,
					  const struct metrics_device *device, unsigned int devices, metrics_see_fn see,
					  void *see_arg);
/* Any thread, once: the clients of the snapshot. */
void metrics_sample_write(struct metrics_sample *sample);
/* Any thread, once, after it; may block. Without it the sample has what memory knows. */
void metrics_sample_complete(struct metrics_sample *sample);
const struct metrics_text *metrics_sample_text(const struct metrics_sample *sample);
/* Of all clients, after metrics_sample_complete(). */
struct metrics_totals {
	uint64_t running, read_bytes, written_bytes;
};
void metrics_sample_totals(const struct metrics_sample *sample, struct metrics_totals *ret);
void metrics_sample_free(struct metrics_sample *sample);

#endif
