/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IPv4 addresses in host byte order, and MACs: as text, and which network they are of. Pure. */
#ifndef BOOTWELL_INET_H
#define BOOTWELL_INET_H

#include <stdbool.h>
#include <stdint.h>

struct inet_text {
	char s[16];
};
struct inet_mac_text {
	char s[18];
};

/* For a printf(): inet_text(address).s, valid until the end of that statement. */
struct inet_text inet_text(uint32_t address);             /* "192.0.2.7" */
struct inet_mac_text inet_mac_text(const uint8_t mac[6]); /* "02:00:5e:10:00:01" */

uint32_t inet_mask(uint8_t prefix); /* 0 to 32 */
bool inet_within(uint32_t address, uint32_t network, uint8_t prefix);

#endif
