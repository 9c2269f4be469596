#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a DHCP server has to do beside giving addresses: subnets behind a relay, reservations, addresses that somebody uses
# already, a proxy beside another server, leases that outlive the server, messages when something is missing.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/netlab.sh"
requires tcpdump tshark udhcpc

cat >"$TMP/script" <<EOF
#!/bin/sh
env >\$OUT
exit 0
EOF
chmod +x "$TMP/script"
# ask NS [OPTION...]: one try of udhcpc; what it got is in $TMP/got
ask() {
	local n=$1; shift
	rm -f "$TMP/got"
	OUT=$TMP/got timeout 20 ip netns exec "$(ns "$n")" udhcpc -i eth0 -n -q -f -t 4 -T 2 -A 1 -s "$TMP/script" "$@" \
		>"$TMP/udhcpc.log" 2>&1
}
got() { grep -q "^$1=$2\$" "$TMP/got"; }

lab_switch
lab_ns srv; lab_plug srv lan; in_ns srv ip addr add 10.79.0.1/24 brd + dev lan
for i in 1 2 3; do lab_ns pc$i; lab_plug pc$i eth0 02:00:00:00:01:0$i; done
lab_config "$TMP/c.conf" <<EOF
[dhcp]
mode = full
[subnet near]
interface = lan
network = 10.79.0.0/24
range = 10.79.0.100-10.79.0.109
exclude = 10.79.0.100-10.79.0.103
router = 10.79.0.1
lease = 600
[subnet far]
network = 10.80.0.0/24
range = 10.80.0.50-10.80.0.60
router = 10.80.0.254
lease = 300
[client RESERVED]
mac = 02:00:00:00:01:02
address = 10.79.0.42
[client BYPORT]
circuit = farport
address = 10.80.0.77
[tftp]
enable = no
EOF
lab_netd srv "$TMP/c.conf"
lab_capture srv lan "$TMP/all.pcap"

check "a client gets an address" ask pc1
check "not one that is excluded" got ip 10.79.0.104
check "a reservation by MAC" ask pc2
check "is the reserved address" got ip 10.79.0.42
check "asking again gives the same address" eval 'ask pc1 && got ip 10.79.0.104'

# pc3 uses 10.79.0.105 without having asked: the probe finds it.
in_ns pc3 ip addr add 10.79.0.105/24 dev eth0
lab_ns pc4; lab_plug pc4 eth0 02:00:00:00:01:04
check "another client gets an address" ask pc4
check "not the one that somebody uses" got ip 10.79.0.106
check "the conflict is counted" test "$(netd_stat dhcp_conflicts)" = 1
in_ns pc3 ip addr flush dev eth0

if command -v dhcrelay >/dev/null; then
	lab_ns relay; lab_plug relay u0
	lab_ns far; lab_pair relay d0 far eth0
	in_ns far ip link set eth0 address 02:00:00:00:02:01
	in_ns relay ip addr add 10.79.0.2/24 dev u0
	in_ns relay ip addr add 10.80.0.254/24 dev d0
	in_ns relay sysctl -qw net.ipv4.ip_forward=1
	in_ns srv ip route add 10.80.0.0/24 via 10.79.0.2
	ip netns exec "$(ns relay)" dhcrelay -4 -d --no-pid -a -iu u0 -id d0 10.79.0.1 >"$TMP/relay.log" 2>&1 &
	relay=$!
	at_exit kill "$relay"
	wait_for 10 grep -q 'Sending on' "$TMP/relay.log"
	check "a client behind a relay gets an address" ask far
	check "of its own subnet" got ip 10.80.0.50
	check "with that subnet's router" got router 10.80.0.254
	check "and lease time" got lease 300
	# Somebody there uses 10.80.0.51 without having asked: ARP does not reach him, a ping does.
	in_ns relay ip addr add 10.80.0.51/32 dev d0
	conflicts=$(netd_stat dhcp_conflicts)
	in_ns far ip link set eth0 address 02:00:00:00:02:02
	check "another client behind the relay gets an address" ask far
	check "not the one that somebody there uses" got ip 10.80.0.52
	check "the conflict behind the relay is counted" test "$(netd_stat dhcp_conflicts)" = $((conflicts + 1))
	check "it is said how it was found" grep -q '10.80.0.51.*answered a ping' "$TMP/netd.err"
	in_ns relay ip addr del 10.80.0.51/32 dev d0
	lab_capture_end
	check "the answer echoes option 82 as the last one" test -n "$(tshark -r "$TMP/all.pcap" \
		-Y 'dhcp.type == 2 && dhcp.option.type == 82' 2>/dev/null)"
	last=$(tshark -r "$TMP/all.pcap" -Y 'dhcp.option.dhcp == 5 && dhcp.ip.relay != 0.0.0.0' -T fields -e dhcp.option.type 2>/dev/null | tail -1)
	check "option 82 comes last ($last)" bash -c "[[ '$last' =~ ,82(,255)?(,0)*\$ ]]"
	check "tshark finds nothing malformed" lab_well_formed "$TMP/all.pcap"
else
	echo "ok - relay # SKIP isc-dhcp-relay is not installed"
fi

lab_netd_stop
lab_netd srv "$TMP/c.conf"
check "after a restart a client has the same address" eval 'ask pc1 && got ip 10.79.0.104'
check "and another client another one" eval 'ask pc4 && got ip 10.79.0.106'

# kill -9 right after the ACK: the lease is in the store.
ask pc3
third=$(sed -n 's/^ip=//p' "$TMP/got")
kill -9 "${netd:?}"; wait "${netd:?}" 2>/dev/null
check "an acknowledged lease survives kill -9" test "$(sqlite3 "$TMP/state/bootwell.db" \
	"select count(*) from lease" 2>/dev/null || echo none)" -ge 4
lab_netd srv "$TMP/c.conf"
check "and is not given to anybody else" eval "ask pc4 && ! got ip $third && ask pc3 && got ip $third"
lab_netd_stop

# Exhaustion: six addresses, then silence, and the seventh client is told nothing.
for i in 5 6 7 8 9; do lab_ns pc$i; lab_plug pc$i eth0 02:00:00:00:01:0$i; done
lab_netd srv "$TMP/c.conf"
n=0
for i in 5 6 7 8 9; do ask pc$i && n=$((n + 1)); done
check "the range is given out to the last address, but not the one in quarantine" test $n = 2
check "who comes too late is counted" test "$(netd_stat dhcp_outcome_exhausted)" -ge 1
check "with a message that says what to do" grep -q 'no free address left in \[subnet near\].*range larger' "$TMP/netd.err"
lab_netd_stop

# The cable is pulled with the interface, and another one of that name comes.
lab_netd srv "$TMP/c.conf"
in_ns srv ip link del lan
check "a missing interface is a problem that is told" wait_for 10 grep -q 'there is no interface lan' "$TMP/netd.err"
lab_plug srv lan
check "an interface without an address too" wait_for 10 grep -q \
	'interface lan are not served .*has no address in 10.79.0.0/24' "$TMP/netd.err"
in_ns srv ip addr add 10.79.0.1/24 brd + dev lan
check "it serves again when both are there" wait_for 20 eval 'ask pc1 && got ip 10.79.0.104'
lab_netd_stop

# The port is taken.
ip netns exec "$(ns srv)" python3 -c '
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 67)); print("bound", flush=True); time.sleep(600)' >"$TMP/squat" &
squat=$!
at_exit kill "$squat"
wait_for 10 grep -q bound "$TMP/squat"
lab_netd srv "$TMP/c.conf"
check "port 67 taken: the server says what and where and what to do" grep -q \
	'DHCP is not served on .*another program has UDP port 67.*stop it' "$TMP/netd.err"
netd_stat end >/dev/null
check "and lists it as a problem" grep -q '^problem .*UDP port 67' "$TMP/netd.out"
kill "$squat"
wait "$squat" 2>/dev/null
check "it serves as soon as the port is free" wait_for 20 eval 'ask pc1 && got ip 10.79.0.104'
lab_netd_stop
