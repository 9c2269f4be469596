#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What somebody on the same wire can do in a PC's name, and with MACs of his own: the PC that is on is believed, not the
# message; an address is given to whom it was offered; who has not shown that he is there has it for five minutes.
# Runs alone: who answers in time is believed.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/netlab.sh"
requires python3
tools=$(cd "$(dirname "$0")" && pwd)

lab_switch
lab_ns srv; lab_plug srv lan; in_ns srv ip addr add 10.84.0.1/24 brd + dev lan
lab_ns pc; lab_plug pc eth0 02:00:00:00:07:01
lab_ns bad; lab_plug bad eth0 02:00:00:00:07:66; in_ns bad ip addr add 10.84.0.66/24 brd + dev eth0
lab_config "$TMP/c.conf" <<EOF
[dhcp]
mode = full
interface = lan
network = 10.84.0.0/24
range = 10.84.0.100-10.84.0.199
lease = 3600
EOF
lab_netd srv "$TMP/c.conf"
pc=02:00:00:00:07:01
say() { local n=$1; shift; in_ns "$n" "$tools/dhcp_ask" "$@" >"$TMP/got"; }
got() { grep -q -- "$1" "$TMP/got"; }
leases() { netd_stat dhcp_leases; }

# 300 s is opt.51=0000012c, an hour opt.51=00000e10.
say pc mac=$pc first=1 wait=5
address=$(sed -n 's/.*yiaddr=\([0-9.]*\).*/\1/p' "$TMP/got" | head -1)
say pc mac=$pc type=request server=10.84.0.1 requested="$address" first=1
check "the first lease of an unknown PC is brief" got "type=5 yiaddr=$address.*opt.51=0000012c"
in_ns pc ip addr add "$address/24" dev eth0
say pc mac=$pc type=request ciaddr="$address" first=1
renewed() { say pc mac=$pc type=request ciaddr="$address" first=1; got 'type=5.*opt.51=00000e10'; }
check "once it answers by ARP, its lease is a whole one" wait_for 10 renewed
say bad mac=02:00:00:00:07:77 first=1 wait=5
theirs=$(sed -n 's/.*yiaddr=\([0-9.]*\).*/\1/p' "$TMP/got" | head -1)
say bad mac=02:00:00:00:07:77 type=request server=10.84.0.1 requested="$theirs" first=1
for _ in 1 2 3; do say bad mac=02:00:00:00:07:77 type=request ciaddr="$theirs" wait=1; done # answered at that address
say bad mac=02:00:00:00:07:77 type=request server=10.84.0.1 requested="$theirs" first=1
check "one who is not there stays at five minutes" eval "got 'opt.51=0000012c' && ! got 'opt.51=00000e10'"

before=$(leases)
say bad mac=$pc type=release ciaddr="$address" server=10.84.0.1 wait=2
check "a RELEASE in the name of a PC that is on is not believed" test "$(leases)" = "$before"
check "and leaves a line" grep -q "a release of $address in the name of $pc is not believed" "$TMP/netd.err"
say bad mac=$pc type=decline requested="$address" server=10.84.0.1 wait=2
check "nor is a DECLINE" test "$(leases) $(netd_stat dhcp_quarantined)" = "$before 0"
say bad mac=$pc type=request server=10.84.0.1 requested=10.84.0.190 ipxe=1 wait=1
check "nor does its MAC get a second address" got 'type=6 '
say pc mac=$pc type=request ciaddr="$address" first=1
check "the PC has its address still" got "type=5 yiaddr=$address"

in_ns bad python3 - "$(in_ns bad cat /sys/class/net/eth0/ifindex)" <<'EOF'
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, 25, b"eth0\0")
s.bind(("", 68))
for n in range(500):
    mac = bytes([2, 9, 9, 9, n >> 8, n & 255])
    p = struct.pack(">BBBBIHH", 1, 1, 6, 0, n, 0, 0x8000) + bytes(16) + mac + bytes(10 + 192) + b"\x63\x82\x53\x63"
    p += b"\x35\x01\x03\x36\x04" + socket.inet_aton("10.84.0.1")
    p += b"\x32\x04" + socket.inet_aton(f"10.84.0.{100 + n % 100}")
    s.sendto((p + b"\xff").ljust(300, b"\0"), ("255.255.255.255", 67))
EOF
check "500 REQUESTs of invented PCs without an offer take no address" test "$(leases)" = "$before"

say bad mac=02:00:00:00:07:88 giaddr=10.99.0.1 to=10.84.0.1 wait=1
check "a relay that no subnet is for leaves a line" grep -q \
	'the relay 10.99.0.1 asks for PCs of 10.99.0.1, and no \[subnet\]' "$TMP/netd.err"

in_ns pc ip addr del "$address/24" dev eth0
say pc mac=$pc type=release ciaddr="$address" server=10.84.0.1 wait=0
released() { [ "$(leases)" = $((before - 1)) ]; }
check "the PC's own RELEASE is heard" wait_for 10 released
lab_netd_stop
