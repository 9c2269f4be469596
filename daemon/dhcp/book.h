/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Leases as they stand in the state, and how they come back from there. The table counts seconds of CLOCK_MONOTONIC,
 * which no person can change; the state has seconds since 1970, which outlive a restart.
 */
#ifndef BOOTWELL_DHCP_BOOK_H
#define BOOTWELL_DHCP_BOOK_H

#include "daemon/dhcp/private.h"

/* Which of two changes of one lease is the newer one; CONCURRENT: neither server knew of the other's. */
enum book_order { BOOK_SAME, BOOK_NEWER, BOOK_OLDER, BOOK_CONCURRENT };
enum book_order book_order(const uint64_t a[2], const uint64_t b[2]); /* of a, against b */

/*
 * Takes a lease into the table, from the state or from the other server of a pair, with its version; `left`: s until it
 * ends. A PC of whom a newer lease is known keeps that one; this one is nobody's then, until it ends.
 */
void book_restore(struct dhcp_server *server, const struct state_lease *from, int64_t left);
/*
 * What is left of a lease of the state, s. Of this boot of the machine: by the clock of the boot, which nobody can set.
 * Of another one: by the clock of the day, if that clock is known to be right (NTP says so) and was when the lease was
 * written; else all that was left when it was written, because a lease that is kept for too long hurts less than an
 * address that two have.
 */
int64_t book_left(const struct dhcp_server *server, const struct state_lease *from);
/* All leases of the state. -errno: the state. */
int book_open(struct dhcp_server *server);
/* Somebody set the clock: what was written by it is written anew. The lease stays the same one, its version too. */
void book_clock_was_set(struct dhcp_server *server);
/* A person frees an address, or (0) all that are given; `unbooted`: only of PCs that did not go on. Their number. */
unsigned int book_free(struct dhcp_server *server, uint32_t address, bool unbooted);
/* Somebody else uses this address, says `who` (a clause): it is left alone for LEASE_QUARANTINE. */
void book_quarantine(struct dhcp_server *server, struct lease *lease, const char *who);

#endif
