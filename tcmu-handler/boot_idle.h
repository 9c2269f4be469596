/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a boot waits: after its first read a PC reads on until it is up. A time without a command in between is a gap
 * (the PC computes, or waits for something that is not its disk); the first long one is the end of the boot. Counted in
 * the fields boot_* of struct stats_disk.
 */
#ifndef BOOTWELL_BOOT_IDLE_H
#define BOOTWELL_BOOT_IDLE_H

#include "tcmu-handler/stats.h"

/*
 * A command was completed: `start` and `now` are CLOCK_MONOTONIC, `real` CLOCK_REALTIME of now, all ns. *last is the
 * disk's own memory of the completion before, 0 at first. Any thread; commands that end at the same moment may be taken
 * in either order.
 */
void boot_idle_note(struct stats_disk *stats, uint64_t *last, uint64_t start, uint64_t now, uint64_t real);

/* Another boot begins. */
void boot_idle_reset(struct stats_disk *stats);

#endif
