#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Whatever strangers send, the log of bootwelld stays short: so many lines of a kind, so many in all, and then how many
# more there would have been. Counted while made-up PCs come, files are asked for that are not there, DHCP is damaged or
# forged, scripts, tokens and uploads are asked for in vain.
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/net/netlab.sh
. "$(dirname "$0")/netlab.sh"
requires curl jq python3

lab_switch
for n in srv bad; do lab_ns $n; done
lab_plug srv lan
lab_plug bad eth0 02:00:00:00:99:01
in_ns srv ip addr add 10.77.0.1/16 brd + dev lan
in_ns bad ip addr add 10.77.200.1/16 brd + dev eth0
daemon_files
cat >"$C" <<END
[server]
state = $TMP/state
run = $TMP/run
[dhcp]
interface = lan
range = 10.77.250.1-10.77.251.250
probe = no
[tftp]
root = $TMP/tftp
fastpath = off
[http]
token = opensesame
[images]
path = $TMP/images
[write-back]
path = $TMP/store
size = 64M
[image one]
file = one.raw
[group default]
image = one
END
daemon_start
hostile() { in_ns bad python3 "$(dirname "$0")/hostile" "$@" server=10.77.0.1 from=10.77.200.1; }
logged() { grep -v ' more like it' "$TMP/daemon.log" | grep -c -- "$1"; }
began=$SECONDS
# windows N: how many lines there may be, if N are allowed in ten seconds
windows() { echo $(((2 + (SECONDS - began) / 10) * $1)); }

# --- 400 new PCs, each a whole exchange ------------------------------------------------------------------------------
cat >"$TMP/come" <<'END'
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, 25, b'eth0\0')
s.bind(('', 68))
s.settimeout(5)
def say(n, what, options=b''):
    p = struct.pack('>BBBBIHH', 1, 1, 6, 0, n, 0, 0x8000) + bytes(16) + bytes([2, 7, 0, 0, n >> 8, n & 255])
    p += bytes(10 + 192) + b'\x63\x82\x53\x63' + bytes([53, 1, what]) + b'\x3c\x09PXEClient\x5d\2\0\7'
    p += options + b'\xff'
    s.sendto(p.ljust(300, b'\0'), ('255.255.255.255', 67))
    while True:
        data = s.recv(2000)
        if data[4:8] == struct.pack('>I', n):
            return data
bound = 0
for n in range(400):
    offer = say(n, 1)
    ack = say(n, 3, b'\x32\4' + offer[16:20] + b'\x36\4\x0a\x4d\0\1')
    bound += ack[16:20] == offer[16:20]
print(bound)
END
bound=$(in_ns bad python3 "$TMP/come")
check "400 PCs that were never seen get an address" test "$bound" = 400
check "they are clients" test "$("$O/bootwell" client list --json | jq length)" = 400
check "the log names some of them" test "$(logged 'new client')" -ge 10
check "but not all" test "$(logged 'new client')" -le "$(windows 20)" || echo "# $(logged 'new client') lines"
check "and says how many there were beside" wait_for 30 grep -q ' more like it in 10 s: new client' "$TMP/daemon.log"

# --- all that is refused, at once ------------------------------------------------------------------------------------
hostile lines rate=2000 count=12000 seconds=20 range=10.77.250.1 >"$TMP/a" &
a=$!
hostile pipelined connections=8 each=2 'path=/boot.ipxe?mac={mac}' seconds=8 >"$TMP/b" &
b=$!
hostile pipelined connections=8 each=2 path=/status token=wrong-one-2026 seconds=8 >"$TMP/c" &
c=$!
hostile forged rate=500 count=3000 seconds=20 mac=02:07:00:00:00:01 >"$TMP/d" &
d=$!
B=http://10.77.0.1 pc="boot.ipxe?mac=02:07:00:00:00:02"
for _ in $(seq 60); do
	in_ns bad curl -s -m 5 -o "$TMP/none" -H 'Authorization: Bearer no-such-token' \
		-d '{"name": "one.vmdk", "session": "x", "size": 1048576, "used": 0}' $B:1000/v1/uploads
	in_ns bad curl -s -m 5 -o "$TMP/none" "$B:8001/boot/0123456789abcdef0123456789abcdef/$pc"
done
wait $a $b $c $d
check "12,000 packets and 3,000 forged ones were sent" test "$(tail -1 "$TMP/a")$(tail -1 "$TMP/d")" = 120003000
check "and hundreds of requests answered" test "$(tail -1 "$TMP/b")" -ge 300
check "what is left out is counted, by kind" \
	wait_for 30 eval 'test "$(grep -c " more like it in 10 s: " "$TMP/daemon.log")" -ge 4'
refused=$(grep -c '"event":"refused"' "$TMP/state/audit.log")
check "of 60 uploads that are refused some are in the audit log" test "$refused" -ge 1
check "20 a minute at most" test "$refused" -le $((20 * (2 + (SECONDS - began) / 60))) || echo "# $refused"
lines=$(wc -l <"$TMP/daemon.log")
# 100 in ten seconds, and one for each kind that has more.
check "the log is short all the same" test "$lines" -le "$(windows 130)" || echo "# $lines lines"
for what in "TFTP: .* asks for" "was not offered" "no DHCP message that can be read" "the relay" \
	"messages a second in the name"; do
	check "it was said at all: $what" test "$(logged "$what")" -ge 1
	check "and a few times only" test "$(logged "$what")" -le "$(windows 5)"
done
check "the daemon serves on" test "$(in_ns bad curl -s -o "$TMP/none" -w '%{http_code}' $B:8001/-/healthy)" = 200
