/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The magic packet: a network card wakes up at nothing less than all of it. */
#include "daemon/boot/wake.h"
#include "tests/unit/unit.h"

static void test_wake_packet_holds_the_mac_sixteen_times(void)
{
	static const uint8_t mac[6] = {0x02, 0x13, 0x57, 0x9b, 0xdf, 0xfe};
	uint8_t packet[WAKE_PACKET_SIZE];

	CU_ASSERT_EQUAL(WAKE_PACKET_SIZE, 6 + 16 * 6);
	memset(packet, 0, sizeof(packet));
	wake_packet(packet, mac);
	CU_ASSERT(!memcmp(packet, "\xff\xff\xff\xff\xff\xff", 6));
	for (unsigned int i = 0; i < 16; i++)
		CU_ASSERT(!memcmp(packet + 6 + 6 * i, mac, 6));
}

UNIT_MAIN(UNIT(test_wake_packet_holds_the_mac_sixteen_times))
