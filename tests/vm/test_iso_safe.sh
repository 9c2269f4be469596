#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two appliances at the same time: one with a mistake in each configuration that it finds, one with none. Both come up in safe
# mode: a page tells why, the status file names the line, and no DHCP request is answered.
# shellcheck disable=SC2034,SC2054,SC2154 # conf is for iso_boot; failed is of lib.sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lab.sh"
. "$(dirname "$0")/iso.sh"
requires dnsmasq udhcpc
iso_start
# The network's own DHCP server, as a room has one that bootwell must leave alone. It answers the two appliances alone.
lab_host dnsmasq -k -p 0 -i wire --bind-interfaces --dhcp-range=10.77.0.1,static --dhcp-host=52:54:00:77:00:01,10.77.0.1 \
	--dhcp-host=52:54:00:77:00:02,10.77.0.2 --leasefile-ro --pid-file= --log-facility=- >"$LAB_LOGS/dnsmasq.log" 2>&1 &
at_exit kill $!
page() { lab_host curl -fs -m 10 "http://10.77.0.$1:8001/"; }
safe() { page "$1" | grep -q 'safe mode'; }

iso_vm=none iso_number=2 iso_boot cd bios
iso_conf ext4 ROOM/s/room.conf <<'END'
# of the kernel argument
[dhcp]
range = 10.77.0.101-10.77.0.15O
END
iso_arguments bootwell.conf=LABEL=ROOM:s/room.conf
argued=$conf
iso_conf vfat <<'END'
[appliance]
hostname = server
state-disk = serial:LAB-STATE
format-state-disk = yes
[network room]
address = 10.77.0.1/24
[dhcp]
rnage = 10.77.0.101-10.77.0.150
END
iso_boot cd bios -drive "if=none,id=argued,file=$argued,format=raw" -device virtio-blk-pci,drive=argued

check "with a mistake in the file it comes up in safe mode" wait_for 1200 safe 1
check "without any configuration it comes up in safe mode" wait_for 1200 safe 2
[ "$failed" = 0 ] || { console_tail appliance; console_tail none; exit 1; }
conf=$argued
told() { iso_conf_file s/bootwell.status | grep -q 'not serving: safe mode'; }
check "bootwell.status is beside the file of the kernel argument, which was asked first" wait_for 600 told
status=$(iso_conf_file s/bootwell.status)
sed 's/^/#   /' <<<"$status"
check "it names the line and the mistake" grep -qE '^room.conf:3: .*10\.77\.0\.15O' <<<"$status"
check "and those of the volume BOOTWELL-CONF, which was asked then" grep -qE '^bootwell.conf:8: .*rnage.*did you mean "range"' <<<"$status"
check "in this order" test "$(grep -oE '^[a-z]+.conf:[0-9]' <<<"$status" | tr '\n' ' ')" = "room.conf:3 bootwell.conf:8 "
check "and says that nothing is served" grep -q 'safe mode' <<<"$status"
check "the page has the same sentence" grep -q 'bootwell.conf:8: ' <(page 1)
check "the console too" console_wait appliance 60 'SAFE MODE'
check "the state disk was not touched: what the file wants is not believed" test "$(qemu-img map -U "$LAB/appliance.state" | tail -n +2 | wc -l)" = 0
check "where there is no file, the page says what to do" grep -q BOOTWELL-CONF <(page 2)
refuse "there is no ssh without a key" lab_host timeout 10 bash -c 'exec 3<>/dev/tcp/10.77.0.2/22'
refuse "nobody answers a stranger's DHCP request" lab_host timeout 60 udhcpc -i wire -n -q -f -t 3 -T 5 -s /bin/true
check "both have asked the network's own server for their addresses" test "$(grep -oE 'DHCPACK\(wire\) 10\.77\.0\.[12] ' "$LAB_LOGS/dnsmasq.log" | sort -u | wc -l)" = 2
lab_kill none
lab_kill appliance
