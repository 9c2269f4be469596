/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The names of PCs, told to the other server of a pair: a few in each datagram, all of them in turns and again and
 * again, so that nothing need be confirmed. What is done with them: daemon/boot/shared_names.c. These are bodies of
 * datagrams, behind the head; each record is
 *
 *	length of the key (1 byte), key, length of the name (1), name, times that a person chose it (4, big-endian)
 */
#ifndef BOOTWELL_DHCP_PEER_NAMES_H
#define BOOTWELL_DHCP_PEER_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/boot/boot.h"

/* Writes those from PC number *at on, as many as fit into `room`, and moves *at; at the end it is 0 again. Returns the
 * bytes written, 0: there is none to tell. */
size_t peer_names_write(const struct boot *boot, size_t *at, uint8_t *to, size_t room);
/* What is damaged ends it; those before are taken. `primary`: they are of the primary. */
void peer_names_read(struct boot *boot, const uint8_t *p, size_t length, bool primary);

#endif
