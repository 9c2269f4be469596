#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A UEFI PC by its firmware's own PXE: DHCP, TFTP of iPXE, the disk. With keep on, what it has synced outlives a reset.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/lab.sh
. "$(dirname "$0")/lab.sh"
lab_start
appliance_config_default "
	[client keeper]
	mac = 52:54:00:77:01:01
	keep = yes"
appliance_start

zero=$EPOCHREALTIME
pc_start pc1 1 uefi
steps=$("$LAB_VM/steps" "$LAB_LOGS/wire.pcap" "$LAB_LOGS/pc1.console" "$(pc_mac pc1)" 10.77.0.1 "$zero" 300)
sed 's/^/# /' <<<"$steps"
pc_boots "a UEFI PC boots to its login" pc1 5
check "it asked as UEFI for x64" grep -q 'PXEClient:Arch:00007' <(tcpdump -A -r "$LAB_LOGS/wire.pcap" 'udp dst port 67' 2>/dev/null | tr -d '\n')
check "it fetched snponly.efi by TFTP" grep -q 'tftp snponly.efi' <<<"$steps"
check "and then the script" grep -q 'tftp boot.ipxe' <<<"$steps"
check "its firmware is UEFI" lab_run pc1 "test -d /sys/firmware/efi"

check "a file is written and synced" lab_run pc1 "seq 100000 >/root/witness && sync"
pc_reset pc1
pc_boots "the PC starts again" pc1
check "the file is there" lab_run pc1 "seq 100000 | cmp - /root/witness"
lab_end
