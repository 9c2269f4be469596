#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What once let the two servers of a pair give one address to two PCs, one after the other: changes within one second,
# an older lease, clocks, a cut in one direction, configurations that differ, another version of the protocol.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/netlab.sh"
. "$(dirname "$0")/pairlab.sh"
requires python3 sqlite3
declare -A pid

tool=$(cd "$(dirname "$0")" && pwd)/dhcp_ask
ask() { in_ns pc "$tool" "$@" >"$TMP/got"; }
got() { grep -q -- "$1" "$TMP/got"; }
# gets PC ADDRESS: the PC (02:00:00:00:00:PC) asks for an address and takes it
gets() {
	ask mac="02:00:00:00:00:$1" requested="$2" wait=4 first=1
	local from; from=$(sed -n 's/^from=\([0-9.]*\):.*yiaddr='"$2"' .*/\1/p' "$TMP/got" | head -1)
	[ -n "$from" ] || return 1
	ask mac="02:00:00:00:00:$1" type=request server="$from" requested="$2" wait=4 first=1
	got "type=5 yiaddr=$2 "
}
pair_config 10.82.0.100-10.82.0.109
pair_start one
pair_start two
check "the two hear each other" pair_together

# 1: ACK and DECLINE, RELEASE and the next PC's ACK, all within one second.
now() { date +%s; }
t=$(now); while [ "$(now)" = "$t" ]; do sleep 0.02; done
gets 01 10.82.0.100
ask type=decline mac=02:00:00:00:00:01 server=10.82.0.1 requested=10.82.0.100 wait=0.05
check "a lease that is declined in the second of its ACK: both know" wait_for 5 lease_is two 100 "2 01"
check "so does the primary" lease_is one 100 "2 01"
gets 02 10.82.0.101
t=$(now); while [ "$(now)" = "$t" ]; do sleep 0.02; done
ask type=release mac=02:00:00:00:00:02 server=10.82.0.1 ciaddr=10.82.0.101 wait=0.05
gets 03 10.82.0.101
check "an address that is given back and given again within a second: the backup knows who has it" \
	wait_for 5 lease_is two 101 "1 03"

# The second server knows what an ACK says before the PC does: the first one dies with it.
gets 04 10.82.0.102
pair_stop one KILL
check "the backup has the lease that the primary gave before it died" lease_is two 102 "1 04"
pair_start one
wait_for 15 eval '[ $(grep -c "is there" "$TMP/one.err") -ge 2 ]'

# 4: one server's clock was wrong when it wrote the lease, was set right, and the service is started again.
gets 05 10.82.0.103
pair_stop two
pair_stop one
for n in one two; do
	sqlite3 "$TMP/$n/state/bootwell.db" 'update lease set updated = updated - 86400, expires = expires - 86400'
done
pair_start one
pair_start two
wait_for 15 eval '[ $(grep -c "is there" "$TMP/one.err") -ge 3 ]'
refuse "a lease that was written a day ago by a wrong clock is not given to another PC" gets 06 10.82.0.103
check "its PC still has it" gets 05 10.82.0.103

# 5: what the primary sends is lost for a moment: the backup has it at once when it hears the primary again.
pair_cut one
sleep 1
ask type=release mac=02:00:00:00:00:05 server=10.82.0.1 ciaddr=10.82.0.103 wait=0.05
sleep 1
pair_heal one
check "what was lost for two seconds is told again" wait_for 5 lease_is two 103 "0 05"
# One way for long: the primary hears that it is not heard, and leaves the PCs to the backup.
# A change that waits for the other one's word meanwhile is no reason to go on without it; here that one is slow to say
# that it hears nothing.
sleep 2 # they hear each other
pair_cut one
ask type=release mac=02:00:00:00:00:04 server=10.82.0.1 ciaddr=10.82.0.102 wait=0.05
sleep 1.8
kill -STOP "${pid[two]}"
sleep 1.3
: >"$TMP/acks"
for i in {10..13}; do
	ask mac="02:00:00:00:00:$i" wait=0.1 first=1
	offered=$(sed -n 's/^from=10.82.0.1:.*type=2 yiaddr=\([0-9.]*\) .*/\1/p' "$TMP/got")
	ask mac="02:00:00:00:00:$i" type=request server=10.82.0.1 requested="${offered:-10.82.0.102}" wait=0.1 first=1
	cat "$TMP/got" >>"$TMP/acks"
done
kill -CONT "${pid[two]}"
refuse "who is not heard acknowledges nothing" grep -q 'from=10.82.0.1:.*type=5' "$TMP/acks"
wait_for 10 grep -q 'has fallen silent' "$TMP/two.err"
sleep 4 # it stood still, so it listened once more
ask mac=02:00:00:00:00:07 wait=2
check "who is not heard does not answer, the other one does" eval '! got from=10.82.0.1: && got from=10.82.0.2:.*type=2'
pair_heal one
wait_for 15 eval '[ $(grep -c "is there" "$TMP/one.err") -ge 4 ]'

# 3: the clocks differ (a forged backup says so), and the leases do not care.
pair_stop two
cat >"$TMP/forge.py" <<'EOF'
import socket, struct, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("10.99.0.2", 66)); s.settimeout(0.2)
send = lambda kind, body: s.sendto(b"BWDP\2" + bytes([kind]) + b"\0\0" + body, ("10.99.0.1", 66))
run = lines = of = has = 0
lease = struct.pack(">IB6sIQQB", 0x0a520000 + 104, 1, b"\2\0\0\0\0\x55", 3000, 0, 2**52, 0)
for i in range(40):
    clock = int(time.time()) - 86400
    send(1, struct.pack(">QQIIQQqQBB", 5, run, 1, of, 1, has, clock, lines, 1, 0))
    if run: send(2, struct.pack(">QQIIQQQQ", 5, run, 1, of, 0, 1, 1, has) + lease)
    try: data = s.recv(2000)
    except OSError: continue
    number = lambda form, at: struct.unpack_from(form, data, at)[0]
    if data[5] == 1: run, lines = number(">Q", 8), number(">Q", 56)
    if data[5] == 2: of, has = number(">I", 24), number(">Q", 40)
EOF
in_ns two python3 "$TMP/forge.py"
check "a server whose clock is a day behind: its lease is taken as long as it lasts" lease_is one 104 "1 55"
check "and that its clock differs is told" \
	grep -q 'the clock of the backup server 10.99.0.2 is 864.. s behind' "$TMP/one.err"

# 6: configurations that differ.
pair_stop one
cp "$TMP/two.conf" "$TMP/two.good"
sed -i 's/^range = .*/range = 10.82.0.100-10.82.0.119/' "$TMP/two.conf"
pair_start one
pair_start two
line=$(grep -n '^range' "$TMP/two.conf" | cut -d: -f1)
differs() {
	grep 'no leases are shared .*range of 10.82.0.0/24 is 10.82.0.100-10.82.0.109 in ' "$TMP/one.err" |
		grep -q "/one.conf:$line here and 10.82.0.100-10.82.0.119 in .*/two.conf:$line there"
}
check "ranges that differ: the primary names both lines" wait_for 10 differs
check "so does the backup" \
	wait_for 10 grep -q 'no leases are shared .*range of .*/two.conf:.* here and .*/one.conf:' "$TMP/two.err"
ask mac=02:00:00:00:00:08 wait=2
check "only the primary answers meanwhile" eval 'got from=10.82.0.1:.*type=2 && ! got from=10.82.0.2:'
cp "$TMP/two.good" "$TMP/two.conf"
printf '[client X]\nmac = 02:00:00:00:00:99\naddress = 10.82.0.50\n' >>"$TMP/two.conf"
kill -HUP "${pid[two]}"
check "a reservation that only one has is named, too" \
	wait_for 10 grep -q 'the PC of 10.82.0.50 is not in .*/one.conf here' "$TMP/one.err"
n=$(grep -c 'is there' "$TMP/one.err")
cp "$TMP/two.good" "$TMP/two.conf"
kill -HUP "${pid[two]}"
check "once they are the same the leases are shared" wait_for 10 eval '[ $(grep -c "is there" "$TMP/one.err") -gt $n ]'

# A server of before versions.
pair_stop two
in_ns two python3 -c '
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("10.99.0.2", 66))
for i in range(3): s.sendto(b"BWDP\1\1\0\0" + bytes(8), ("10.99.0.1", 66)); time.sleep(0.3)'
check "an older version is refused with a sentence" \
	grep -q 'it speaks version 1 of the pair.s protocol and this one 2: update both' "$TMP/one.err"
