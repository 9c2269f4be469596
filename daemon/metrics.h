/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon and the handler count, as Prometheus text. One prefix `bootwell_`, base units;
 * labels are names of clients and images from the state and fixed words, never text from a packet.
 */
#ifndef BOOTWELL_METRICS_H
#define BOOTWELL_METRICS_H

#include "daemon/bootwelld.h"
#include "daemon/metrics_text.h"

void metrics_write(struct daemon *d, struct metrics_text *m);

#endif
