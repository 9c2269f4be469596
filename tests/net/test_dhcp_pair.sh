#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A primary and its backup: one answer for each client, shared leases, and PCs that notice nothing when the primary dies.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/netlab.sh"
requires python3 sqlite3 tcpdump tshark

ask_tool=$(cd "$(dirname "$0")" && pwd)/dhcp_ask
ask() { in_ns pc "$ask_tool" "$@" >"$TMP/got"; }
got() { grep -q -- "$1" "$TMP/got"; }
quiet() { test "$(grep -c -- "$1" "$TMP/got")" = 0; }

lab_switch
lab_ns one; lab_plug one lan; in_ns one ip addr add 10.82.0.1/24 brd + dev lan
lab_ns two; lab_plug two lan; in_ns two ip addr add 10.82.0.2/24 brd + dev lan
lab_ns pc; lab_plug pc eth0; in_ns pc ip addr add 10.82.0.250/24 brd + dev eth0
for n in one two; do
	mkdir -p "$TMP/$n/state" "$TMP/$n/run"
	cat >"$TMP/$n.conf" <<-EOF
		[server]
		targets = off
		state = $TMP/$n/state
		run = $TMP/$n/run
		[dhcp]
		mode = full
		interface = lan
		network = 10.82.0.0/24
		range = 10.82.0.100-10.82.0.150
		probe = no
		$([ $n = one ] && echo "peer = 10.82.0.2" || printf 'peer = 10.82.0.1\nbackup = yes\n')
		[tftp]
		enable = no
	EOF
done
# The primary's disk, small enough to be filled
mount -t tmpfs -o size=1m none "$TMP/one/state"
at_exit umount "$TMP/one/state"
# start NAME: its pid in ${pid[NAME]}
declare -A pid
start() {
	ip netns exec "$(ns "$1")" "$NETD" "$TMP/$1.conf" >"$TMP/$1.out" 2>>"$TMP/$1.err" &
	pid[$1]=$!
	at_exit kill "${pid[$1]}"
	wait_for 10 grep -q ready "$TMP/$1.out"
}
lease() { sqlite3 "$TMP/$1/state/bootwell.db" "select address & 255, state from lease where address & 255 = $2"; }
lease_is() { [ "$(lease "$1" "$2")" = "$3" ]; }

lab_capture sw br0 "$TMP/all.pcap"
start one
start two
check "the backup hears the primary" wait_for 10 grep -q 'primary server 10.82.0.1 is there' "$TMP/two.err"
wait_for 10 grep -q 'backup server 10.82.0.2 is there' "$TMP/one.err"

ask mac=02:00:00:00:04:01 wait=2
check "the primary offers" got 'from=10.82.0.1:67 type=2 yiaddr=10.82.0.100'
check "the backup leaves it alone" quiet 'from=10.82.0.2'
ask mac=02:00:00:00:04:01 type=request server=10.82.0.1 requested=10.82.0.100 wait=2
check "the primary acknowledges" got 'from=10.82.0.1:67 type=5 yiaddr=10.82.0.100'
check "the backup is silent" quiet 'from=10.82.0.2'
check "the lease is in the backup's store" wait_for 10 lease_is two 100 '100|1'

# The primary is alive, but cannot answer: it has stopped.
kill -STOP "${pid[one]}"
check "the backup misses the primary" wait_for 10 grep -q 'primary server 10.82.0.1 has fallen silent' "$TMP/two.err"
ask mac=02:00:00:00:04:02
check "the backup offers, from the end of the range" got 'from=10.82.0.2:67 type=2 yiaddr=10.82.0.150'
ask mac=02:00:00:00:04:02 type=request server=10.82.0.2 requested=10.82.0.150
check "and acknowledges" got 'from=10.82.0.2:67 type=5 yiaddr=10.82.0.150'
in_ns pc ip addr add 10.82.0.100/24 dev eth0
ask mac=02:00:00:00:04:01 type=request ciaddr=10.82.0.100
check "a client of the dead primary keeps its address (REBINDING)" got 'from=10.82.0.2:67 type=5 yiaddr=10.82.0.100'
in_ns pc ip addr del 10.82.0.100/24 dev eth0
ask mac=02:00:00:00:04:01
check "and is offered the same one when it starts anew" got 'from=10.82.0.2:67 type=2 yiaddr=10.82.0.100'

kill -CONT "${pid[one]}"
check "the primary comes back and learns what happened" wait_for 15 lease_is one 150 '150|1'
wait_for 10 eval '[ $(grep -c "is there" "$TMP/two.err") -ge 2 ]'
ask mac=02:00:00:00:04:02
check "it offers what the backup gave" got 'from=10.82.0.1:67 type=2 yiaddr=10.82.0.150'
check "and is the only one who answers again" quiet 'from=10.82.0.2'

# The primary is alive and cannot write. A PC that it has promised nothing to is served by the backup at its next try, and one
# that both know is answered by whoever can.
dd if=/dev/zero of="$TMP/one/state/fill" bs=512 2>/dev/null
ask mac=02:00:00:00:04:03 wait=2
offered=$(sed -n 's/.*type=2 yiaddr=\([0-9.]*\).*/\1/p' "$TMP/got" | head -1)
ask mac=02:00:00:00:04:03 type=request server=10.82.0.1 requested="$offered" wait=2
check "no ACK from a primary whose disk is full" quiet 'type=5'
check "it says why" grep -q 'cannot be .* .*/bootwell.db: database or disk is full; ' "$TMP/one.err"
ask mac=02:00:00:00:04:03 wait=2
check "the backup offers in its place" got 'from=10.82.0.2:67 type=2'
check "the primary does not" quiet 'from=10.82.0.1'
offered=$(sed -n 's/.*type=2 yiaddr=\([0-9.]*\).*/\1/p' "$TMP/got" | head -1)
ask mac=02:00:00:00:04:03 type=request server=10.82.0.2 requested="$offered" wait=2
check "and acknowledges $offered" got "from=10.82.0.2:67 type=5 yiaddr=$offered"
in_ns pc ip addr add 10.82.0.100/24 dev eth0
ask mac=02:00:00:00:04:01 type=request ciaddr=10.82.0.100 wait=2
# (The primary can, where the change fits into room that its WAL has already.)
check "who both know is answered when he asks for more time" got 'type=5 yiaddr=10.82.0.100'
in_ns pc ip addr del 10.82.0.100/24 dev eth0
rm "$TMP/one/state/fill"

# kill -9, an empty disk: the leases come back from the backup.
kill -9 "${pid[one]}"
wait "${pid[one]}" 2>/dev/null
rm -rf "$TMP/one/state"/*
start one
check "a primary with an empty disk gets its leases from the backup" wait_for 15 lease_is one 150 '150|1'
check "all of them" wait_for 10 lease_is one 100 '100|1'
lab_capture_end
check "tshark finds nothing malformed" lab_well_formed "$TMP/all.pcap"

# Strangers on port 66 change nothing.
before=$(sqlite3 "$TMP/one/state/bootwell.db" 'select count(*) from lease')
cat >"$TMP/forge.py" <<'EOF'
# What the other server of a pair could send: daemon/dhcp/peer_wire.h.
import socket, struct
ONE = ("10.82.0.1", 66)
def head(kind): return b"BWDP\2" + bytes([kind]) + b"\0\0"
def hello(run, sees=0, session=0, last=0, lines=0):
    return head(1) + struct.pack(">QQIIQQQQBB", run, sees, session, 0, last, 0, 0, lines, 1, 0)
def leases(run, to_run, session, to, *records):
    return head(2) + struct.pack(">QQIIQQQQ", run, to_run, session, 0, 0, to, to, 0) + b"".join(records)
def lease(n, mac, version, left=9999, state=1):
    return struct.pack(">IB6sIQQB", 0x0a520000 + n, state, mac, left, *version, 0)
EOF
in_ns pc python3 -c '
import sys, os; sys.path.insert(0, sys.argv[1]); from forge import *
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 66))
for i in range(300):
    s.sendto(leases(1, 1, 1, 1, lease(101 + i % 40, b"\2stran", (2**50, 2**50))), ONE)
    s.sendto(os.urandom(i), ONE)' "$TMP"
sleep 0.5
check "a stranger's leases are not taken" test "$(sqlite3 "$TMP/one/state/bootwell.db" 'select count(*) from lease')" = "$before"

# The backup's own address: garbage is survived, an older lease changes nothing, a newer one is taken.
kill "${pid[two]}"; wait "${pid[two]}" 2>/dev/null
in_ns two python3 -c '
import sys, os, time; sys.path.insert(0, sys.argv[1]); from forge import *
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("10.82.0.2", 66)); s.settimeout(0.1)
send = lambda data: s.sendto(data, ONE)
def heard(kind, until):
    while time.monotonic() < until:
        try: data = s.recv(2000)
        except OSError: continue
        if data[:6] == b"BWDP\2" + bytes([kind]): return data[8:]
for i in range(1400):
    send(head(i % 7) + os.urandom(i))
    send(head(2) + os.urandom(56) + lease(i % 256, os.urandom(6), (2**63, 2**63), state=7) + os.urandom(i % 300))
send(hello(77))
theirs = heard(1, time.monotonic() + 5)
run, lines = struct.unpack(">Q", theirs[:8])[0], struct.unpack(">Q", theirs[48:56])[0]
send(hello(77, run, 1, 1, lines))
said = [leases(77, run, 1, 1, lease(100, b"\2older", (1, 0))), leases(77, run, 1, 2, lease(100, b"\2newer", (2**51, 2**52))),
        leases(77, run, 1, 3, lease(100, b"\2older", (2**51, 0)))]
for data in said:
    send(data); send(hello(77, run, 1, 3, lines)); time.sleep(0.4)' "$TMP"
owner() { [ "$(sqlite3 "$TMP/one/state/bootwell.db" "select mac from lease where address & 255 = 100")" = "$1" ]; }
check "the backup's newer lease is taken" wait_for 10 owner "$(printf '\2newer')"
sleep 0.5
check "an older one is not" owner "$(printf '\2newer')"
ask mac=02:00:00:00:04:09 wait=3
check "and the primary still serves" got 'from=10.82.0.1:67 type=2'
