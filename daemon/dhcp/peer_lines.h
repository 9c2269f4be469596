/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the two servers of a pair must agree about, or they would give one address twice: ranges, exclusions,
 * reservations, and whether the ranges are split. Compared by one number in each HELLO; when that differs, line by
 * line, so that both lines can be named.
 */
#ifndef BOOTWELL_DHCP_PEER_LINES_H
#define BOOTWELL_DHCP_PEER_LINES_H

#include "daemon/config/config.h"
#include "daemon/dhcp/peer_wire.h"

#define PEER_LINES_MAX 20000 /* more than that are not compared one by one, only by the number */

struct peer_lines;

int peer_lines_new(struct peer_lines **ret, const struct config *config);
void peer_lines_free(struct peer_lines *lines);
uint64_t peer_lines_sum(const struct peer_lines *lines);
/* The n-th of ours (modulo their number), for the other server; false: there is none. */
bool peer_lines_at(const struct peer_lines *lines, uint64_t n, struct peer_line *ret);

/* Begins to compare anew. */
void peer_lines_begin(struct peer_lines *lines);
/* One of the other server's. True: it differs from ours; then the sentence about it is in ret. */
bool peer_lines_compare(struct peer_lines *lines, const struct peer_line *theirs, char *ret, size_t size);

#endif
