#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The ISO with a configuration that has a mistake, and then with none: the status file names the line, a page says why, and no
# shellcheck disable=SC2034,SC2054,SC2154 # conf is for iso_boot; failed is of lib.sh
# DHCP request is answered.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lab.sh"
. "$(dirname "$0")/iso.sh"
requires dnsmasq udhcpc
iso_start
# The network's own DHCP server, as a room has one that bootwell must leave alone. It answers the appliance alone.
lab_host dnsmasq -k -p 0 -i wire --bind-interfaces --dhcp-range=10.77.0.1,static --dhcp-host=52:54:00:77:00:01,10.77.0.1 --leasefile-ro --pid-file= \
	>"$LAB_LOGS/dnsmasq.log" 2>&1 &
at_exit kill $!
# a stranger's DISCOVERs: two, from the host's end of the wire
asked() { lab_host timeout 60 udhcpc -i wire -n -q -f -t 2 -T 5 -s /bin/true >"$LAB_LOGS/udhcpc.log" 2>&1; }
page() { lab_host curl -fs -m 10 http://10.77.0.1:8001/; }
safe() { page | grep -q 'safe mode'; }

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
iso_boot cd bios
check "with a mistake in the file it comes up in safe mode" wait_for 500 safe
[ "$failed" = 0 ] || { console_tail appliance; exit 1; }
told() { iso_conf_file bootwell.status | grep -q 'not serving: safe mode'; }
wait_for 120 told
status=$(iso_conf_file bootwell.status)
sed 's/^/#   /' <<<"$status"
check "bootwell.status names the line and the mistake" grep -qE '^bootwell.conf:8: .*rnage.*did you mean "range"' <<<"$status"
check "and says that nothing is served" grep -q 'safe mode' <<<"$status"
check "the page has the same sentence" grep -q 'bootwell.conf:8: ' <(page)
check "the console too" console_wait appliance 60 'SAFE MODE'
refuse "nobody answers a DHCP request" asked
check "the state disk was not touched: what the file wants is not believed" test "$(qemu-img convert -U -f qcow2 -O raw "$LAB/state.qcow2" "$LAB/state.raw" && head -c 8388608 "$LAB/state.raw" | tr -d '\0' | wc -c; rm -f "$LAB/state.raw")" = 0
lab_kill appliance

conf=''
iso_boot usb bios
check "without any configuration it comes up in safe mode" wait_for 500 safe
[ "$failed" = 0 ] || { console_tail appliance; exit 1; }
check "the page says what to do" grep -q BOOTWELL-CONF <(page)
refuse "nobody answers a DHCP request then either" asked
refuse "there is no ssh without a key" lab_host timeout 10 bash -c 'exec 3<>/dev/tcp/10.77.0.1/22'
lab_kill appliance
