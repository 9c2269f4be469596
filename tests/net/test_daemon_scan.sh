#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Another DHCP server on the wire: it is found at the start and by hand, named, and not fought.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/netlab.sh"
requires dnsmasq curl

lab_switch
lab_ns srv
lab_plug srv lan
in_ns srv ip addr add 10.77.0.1/24 brd + dev lan
lab_ns rogue
lab_plug rogue eth0 02:00:00:00:00:ee
in_ns rogue ip addr add 10.77.0.66/24 brd + dev eth0
export BOOTWELL_SOCKET=$TMP/run/control
lab_config "$TMP/c.conf" <<EOF
[dhcp]
interface = lan
range = 10.77.0.101-10.77.0.110
probe = no
[tftp]
root = $TMP/tftp
fastpath = off
[images]
path = $TMP
EOF
start() {
	ip netns exec "$(ns srv)" "$O/bootwelld" -c "$TMP/c.conf" >"$TMP/daemon.log" 2>&1 &
	daemon=$! # ip becomes what it starts
	at_exit kill "$daemon"
	wait_for 15 "$O/bootwell" status || { cat "$TMP/daemon.log"; not_ok "bootwelld starts"; exit 1; }
}
start
# shellcheck disable=SC2120
scan() { "$O/bootwell" dhcp scan "$@" >"$TMP/scan" 2>"$TMP/scan.err"; }

# The scan of the start may still be under way.
alone() { scan; local s=$?; [ $s = 0 ] && grep -q 'no other' "$TMP/scan"; }
check "alone on the wire: none" wait_for 20 alone
ip netns exec "$(ns rogue)" dnsmasq --no-daemon --conf-file=/dev/null --port=0 --interface=eth0 --bind-interfaces --no-ping --dhcp-authoritative \
	--dhcp-range=10.77.0.200,10.77.0.210,1h --dhcp-option=3,10.77.0.66 --dhcp-leasefile="$TMP/leases" --user=root >/dev/null 2>&1 &
at_exit kill $!
wait_for 10 eval 'in_ns rogue ss -Hlun "sport = 67" | grep -q .'
scan
check "with another one it ends with 0, too: it did what it was told" test $? = 0
check "its address, MAC and offer are named" grep -q 'lan: DHCP server 10.77.0.66, MAC 02:00:00:00:00:ee, offers 10.77.0.2' "$TMP/scan"
check "the status warns" eval '"$O/bootwell" status | grep -q "^! another DHCP server answers on lan: 10.77.0.66"'
check "the metrics count it" eval '"$O/bootwell" metrics | grep -q "^bootwell_dhcp_foreign_servers 1$"'
refuse "our own is not in the list" grep -q 'server 10.77.0.1,' "$TMP/scan"
# The administrator may ask before the first start.
by_hand() { in_ns srv env BOOTWELL_SOCKET="$TMP/none" "$O/bootwell" dhcp scan "$@" >"$TMP/scan" 2>"$TMP/scan.err"; }
check "without a server that runs the program looks itself" by_hand lan
check "and names the same" grep -q 'lan: DHCP server 10.77.0.66, MAC 02:00:00:00:00:ee, offers 10.77.0.2' "$TMP/scan"
refuse "without one and an interface that does not exist" by_hand nope0
check "is told in the same sentence" grep -q 'no such interface' "$TMP/scan.err"
refuse "an interface that does not exist" scan nope0
check "is told in a sentence" grep -q 'no such interface' "$TMP/scan.err"
refuse "nobody else may make us send packets" test "$(in_ns rogue curl -s -o /dev/null -w '%{http_code}' -X POST http://10.77.0.1:8001/api/dhcp/scan)" = 200
# The other one was there before us: we look without being asked.
kill "$daemon"
wait "$daemon" 2>/dev/null
start
warns() { "$O/bootwell" status | grep -q '^! another DHCP server answers on lan: 10.77.0.66'; }
check "it looks at its start, and the status warns" wait_for 30 warns
check "and so does the log" grep -q 'another DHCP server answers on lan: 10.77.0.66; stop one' "$TMP/daemon.log"
refuse "the scan took no lease" grep -q . "$TMP/leases"
