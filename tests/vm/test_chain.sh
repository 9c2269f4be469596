#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# iPXE that came by TFTP asks DHCP again and must get the script, not itself once more. The PC's card has iPXE in its ROM
# already, so undionly.kpxe is started from the ROM's command line; it works through the ROM's UNDI as through any other.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/lab.sh
. "$(dirname "$0")/lab.sh"
lab_start
appliance_config_default
appliance_start
check "a plain PXE firmware is told undionly.kpxe" soft_pc a 9
check "that is: $soft_file" test "$soft_file" = undionly.kpxe

pc_start pc1 1
console_wait pc1 30 'Press Ctrl-B for'
pc_key pc1 ctrl b
check "the ROM's command line" console_wait pc1 20 'iPXE> '
console_mark pc1
pc_type pc1 "dhcp"
console_wait pc1 60 'iPXE> '
console_mark pc1
pc_type pc1 "chain tftp://10.77.0.1/undionly.kpxe"
check "undionly.kpxe starts" console_wait pc1 60 'using undionly on'
check "it gets the script" console_wait pc1 60 'tftp://10.77.0.1/boot.ipxe\.* ok'
check "and starts the disk" console_wait pc1 120 'Welcome to GRUB'
# What went over the wire: one transfer each (a request that is sent again comes from the same port), no second round.
transfers() {
	tcpdump -nn -r "$LAB_LOGS/wire.pcap" "udp dst port 69 and ether src $(pc_mac pc1)" 2>/dev/null |
		grep -a "RRQ \"$1\"" | awk '{ print $3 }' | sort -u | wc -l
}
check "undionly.kpxe was asked for once" test "$(transfers undionly.kpxe)" = 1
check "boot.ipxe was asked for once" test "$(transfers boot.ipxe)" = 1
lab_end
