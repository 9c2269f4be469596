#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the two servers of a pair say of each other: neither is a foreign DHCP server to the other, and one that is dead
# is a problem, a metric and an alert as long as it is. And a PC has one name on both.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/net/netlab.sh
. "$(dirname "$0")/netlab.sh"
requires dnsmasq jq

lab_switch
declare -A pid
for n in 1 2; do
	lab_ns s$n
	lab_plug s$n lan
	in_ns s$n ip addr add 10.84.0.$n/24 brd + dev lan
	in_ns s$n ip addr add 10.84.1.$n/24 brd + dev lan # the other one may answer from here as well
	mkdir -p "$TMP/$n/images" "$TMP/$n/tftp"
	cat >"$TMP/$n.conf" <<-END
		[server]
		targets = off
		state = $TMP/$n/state
		run = $TMP/$n/run
		[dhcp]
		interface = lan
		network = 10.84.0.0/24
		range = 10.84.0.100-10.84.0.150
		probe = no
		peer = 10.84.0.$((3 - n))
		$([ $n = 2 ] && echo "backup = yes")
		[tftp]
		root = $TMP/$n/tftp
		fastpath = off
		[images]
		path = $TMP/$n/images
	END
done
bw() { local n=$1; shift; BOOTWELL_SOCKET=$TMP/$n/run/control timeout 30 "$O/bootwell" "$@"; }
start() {
	ip netns exec "$(ns s"$1")" "$O/bootwelld" -c "$TMP/$1.conf" >>"$TMP/$1.log" 2>&1 &
	pid[$1]=$!
	at_exit kill "${pid[$1]}"
	wait_for 20 bw "$1" status || { sed 's/^/# /' "$TMP/$1.log"; not_ok "bootwelld starts"; exit 1; }
}
peer_is() { [ "$(bw "$1" status --json | jq -r .dhcp.peer)" = "$2" ]; }
says() { bw "$1" status >"$TMP/status" && grep -qE -- "$2" "$TMP/status"; }
not_said() { bw "$1" status >"$TMP/status" && ! grep -qE -- "$2" "$TMP/status"; }
metric() { bw "$1" metrics | grep -qx -- "$2"; }
start 1
start 2
check "each hears the other" wait_for 20 peer_is 1 alive
check "both of them" wait_for 20 peer_is 2 alive
for n in 1 2; do
	wait_for 20 eval "bw $n dhcp scan >'$TMP/scan'" # that of the start may still go on
	check "the peer is no foreign server (of $n)" not_said $n '^! another DHCP server'
	check "for the metrics of $n neither" metric $n 'bootwell_dhcp_foreign_servers 0'
	check "the metric of the peer says that it is there ($n)" metric $n 'bootwell_dhcp_peer_up 1'
	check "no problem of $n is the peer" not_said $n '^! DHCP: the .* server .* is silent'
done
# --- names. Both know a PC of their own by the name that the other one gives to another PC.
lab_ns pc
lab_plug pc eth0
in_ns pc ip addr add 10.84.0.250/24 brd + dev eth0
ask_tool=$(cd "$(dirname "$0")" && pwd)/dhcp_ask
# lease MAC: from whichever server answers
lease() {
	local server address
	in_ns pc "$ask_tool" mac="$1" arch=7 wait=3 >"$TMP/got"
	server=$(sed -n 's/.*from=\([0-9.]*\):67 type=2 .*/\1/p' "$TMP/got" | head -1)
	address=$(sed -n 's/.*type=2 yiaddr=\([0-9.]*\).*/\1/p' "$TMP/got" | head -1)
	in_ns pc "$ask_tool" mac="$1" arch=7 type=request server="$server" requested="$address" wait=3 >"$TMP/got"
}
name_on() { bw "$1" client list --json | jq -r ".[] | select(.mac == \"$2\") | .name"; }
is_named() { [ "$(name_on "$1" "$2")" = "$3" ]; }
known() { [ -n "$(name_on "$1" "$2")" ]; }
check "a PC gets a lease" eval 'lease 02:00:00:00:00:01 && wait_for 10 known 1 02:00:00:00:00:01'
check "a person names it" bw 1 client set "$(name_on 1 02:00:00:00:00:01)" name=ANNA
sleep 3 # names are told each second
kill -9 "${pid[1]}"
wait_for 20 says 2 'is silent'
check "the other server gives it a lease, and the name that it has" \
	eval 'lease 02:00:00:00:00:01 && wait_for 10 is_named 2 02:00:00:00:00:01 ANNA'
check "a PC that only the other one has seen" eval 'lease 02:00:00:00:00:02 && wait_for 10 known 2 02:00:00:00:00:02'
check "is named there" bw 2 client set "$(name_on 2 02:00:00:00:00:02)" name=BERT
check "and once more" bw 2 client set BERT name=CARL
check "the first one is named anew there" bw 2 client set ANNA name=DORA
start 1
check "both hear each other again" wait_for 20 peer_is 1 alive
check "what was named last is its name on both" wait_for 20 is_named 1 02:00:00:00:00:01 DORA
check "a PC that it has not seen has its name here from the first lease on" \
	eval 'sleep 3; lease 02:00:00:00:00:02 && wait_for 10 is_named 1 02:00:00:00:00:02 CARL'
check "one that both name differently by chance" eval 'bw 1 client set DORA name=EMIL && bw 2 client set DORA name=FRED'
check "has the primary's name" wait_for 20 is_named 2 02:00:00:00:00:01 EMIL
check "on both" is_named 1 02:00:00:00:00:01 EMIL
lab_ns rogue
lab_plug rogue eth0 02:00:00:00:00:ee
in_ns rogue ip addr add 10.84.0.66/24 brd + dev eth0
ip netns exec "$(ns rogue)" dnsmasq --no-daemon --conf-file=/dev/null --port=0 --interface=eth0 --bind-interfaces \
	--no-ping --dhcp-authoritative --dhcp-range=10.84.0.200,10.84.0.210,1h --dhcp-leasefile="$TMP/leases" \
	--user=root >/dev/null 2>&1 &
rogue=$!
at_exit kill $rogue
wait_for 10 eval 'in_ns rogue ss -Hlun "sport = 67" | grep -q .'
found() { bw 1 dhcp scan >/dev/null; says 1 '^! another DHCP server answers on lan: 10\.84\.0\.66'; }
check "a third one is" wait_for 20 found
check "and only that one" metric 1 'bootwell_dhcp_foreign_servers 1'
kill $rogue

kill -9 "${pid[2]}"
check "a dead peer is a problem in the status" wait_for 20 says 1 '^! DHCP: the backup server 10\.84\.0\.2 is silent'
check "in JSON" peer_is 1 silent
check "and in the metrics" metric 1 'bootwell_dhcp_peer_up 0'
check "with an alert of that metric" grep -q 'expr: bootwell_dhcp_peer_up == 0' "$TOP/conf/bootwell.rules.yml"
start 2
check "and it ends when it is back" wait_for 20 not_said 1 'is silent'
check "for the metrics, too" metric 1 'bootwell_dhcp_peer_up 1'
kill -9 "${pid[1]}"
check "the backup tells of a dead primary" wait_for 20 says 2 '^! DHCP: the primary server 10\.84\.0\.1 is silent'
