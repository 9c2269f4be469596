/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Wake-on-LAN: six 0xff and sixteen times the MAC, as a UDP broadcast to port 9 on the PC's
 * network. */
#ifndef BOOTWELL_WAKE_H
#define BOOTWELL_WAKE_H

#include <stdint.h>

#include "daemon/config/config.h"
#include "daemon/core/netif.h"
#include "tcmu-handler/image/sentence.h"

#define WAKE_PACKET_SIZE 102

void wake_packet(uint8_t ret[WAKE_PACKET_SIZE], const uint8_t mac[6]);

/* To the network of `address`, the PC's last lease; when that is not known (0), to every subnet
 * that we serve. */
int wake_send(const struct netif *netif, const struct config *config, const uint8_t mac[6], uint32_t address,
	      struct sentence *error);

#endif
