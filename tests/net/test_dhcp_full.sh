#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A subnet whose addresses strangers took: status, metrics and log say so, for that subnet and no other; an operator
# gets the addresses and the records back.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/netlab.sh"
requires python3 jq

lab_switch
lab_ns srv; lab_plug srv lan; in_ns srv ip addr add 10.87.0.1/24 brd + dev lan
lab_ns pc; lab_plug pc eth0 02:00:00:00:07:01
export BOOTWELL_SOCKET=$TMP/run/control
mkdir -p "$TMP/images"
lab_config "$TMP/c.conf" <<EOF
[dhcp]
mode = full
probe = no
[subnet room]
interface = lan
network = 10.87.0.0/24
range = 10.87.0.100-10.87.0.102
[subnet hall]
network = 10.88.0.0/24
range = 10.88.0.100-10.88.0.199
[tftp]
root = $TMP/tftp
fastpath = off
[images]
path = $TMP/images
EOF
ip netns exec "$(ns srv)" "$O/bootwelld" -c "$TMP/c.conf" >"$TMP/daemon.log" 2>&1 &
at_exit kill $!
wait_for 20 "$O/bootwell" status >/dev/null || { sed 's/^/# /' "$TMP/daemon.log"; not_ok "bootwelld starts"; exit 1; }
ask_tool=$(cd "$(dirname "$0")" && pwd)/dhcp_ask
ask() { in_ns pc "$ask_tool" first=1 wait="${wait:-5}" "$@" >"$TMP/got"; }
takes() { # MAC
	local ip
	ask mac="$1"
	ip=$(grep -o 'yiaddr=[0-9.]*' "$TMP/got" | cut -d= -f2)
	ask mac="$1" type=request server=10.87.0.1 requested="$ip"
}
dhcp() { "$O/bootwell" status --json | jq -r ".dhcp.subnets[] | select(.name == \"$1\") | $2"; }
refused() { ! "$@" >/dev/null 2>&1; }
metric() { "$O/bootwell" metrics | grep -qx -- "$1"; }

check "config check warns of PCs that are told no router" eval \
	'in_ns srv "$O/bootwell" config check "$TMP/c.conf" 2>&1 |
		grep -q "PCs of \[subnet room\] are told no router and no DNS"'
for i in 1 2 3; do takes 02:00:00:00:08:0$i; done
check "nothing is wrong while nobody asks in vain" test "$(dhcp room .full)" = false
wait=1 ask mac=02:00:00:00:08:09
check "the fourth PC gets nothing" test ! -s "$TMP/got"
is_told() { "$O/bootwell" status | grep -q 'ask in vain for an address of \[subnet room\]: of its 3 addresses 3'; }
check "status names the subnet that is full" wait_for 10 is_told
check "and how full it is" wait_for 10 eval '[ "$(dhcp room "\"\(.leases)/\(.addresses) \(.full)\"")" = "3/3 true" ]'
check "the other one is not" test "$(dhcp hall '"\(.leases)/\(.addresses) \(.full)"')" = "0/100 false"
check "metrics: the one" wait_for 10 metric 'bootwell_dhcp_subnet_full{subnet="room"} 1'
check "and the other" metric 'bootwell_dhcp_subnet_full{subnet="hall"} 0'

check "dhcp free wants an address" refused "$O/bootwell" dhcp free 10.87.0.300
check "one that nobody has is not freed" refused "$O/bootwell" dhcp free 10.87.0.77
check "dhcp free gives an address back" eval '"$O/bootwell" dhcp free 10.87.0.101 | grep -q "^1 "'
takes 02:00:00:00:08:09
check "for the next PC" grep -q 'type=5 yiaddr=10.87.0.101 ' "$TMP/got"
check "--unbooted: of all that never went on" eval '"$O/bootwell" dhcp free --unbooted | grep -q "^3 "'
check "none is left" wait_for 10 eval '[ "$(dhcp room .leases)" = 0 ]'

clients() { "$O/bootwell" client list | grep -c '02:00:00:00:08'; }
check "their records are there" wait_for 10 eval '[ "$(clients)" = 4 ]'
check "client remove --unseen-since: nobody is that old" eval \
	'"$O/bootwell" client remove --unseen-since 1d | grep -q "^0 clients removed"'
check "a date that is none is refused" refused "$O/bootwell" client remove --unseen-since yesterday
check "all that were seen before tomorrow" eval \
	'"$O/bootwell" client remove --unseen-since "$(date -d tomorrow +%Y-%m-%d)" | grep -q "^4 clients removed"'
check "are gone" wait_for 10 eval '[ "$(clients)" = 0 ]'
