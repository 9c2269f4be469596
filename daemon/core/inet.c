/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text goes out by value, so that one sentence can name several addresses and no buffer is shared. */
#include "daemon/core/inet.h"

#include <stdio.h>

struct inet_text inet_text(uint32_t address)
{
	struct inet_text text;

	snprintf(text.s, sizeof(text.s), "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255,
		 address & 255);
	return text;
}

struct inet_mac_text inet_mac_text(const uint8_t mac[6])
{
	struct inet_mac_text text;

	snprintf(text.s, sizeof(text.s), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		 mac[5]);
	return text;
}

uint32_t inet_mask(uint8_t prefix)
{
	return prefix ? ~0u << (32 - prefix) : 0;
}

bool inet_within(uint32_t address, uint32_t network, uint8_t prefix)
{
	return !((address ^ network) & inet_mask(prefix));
}
