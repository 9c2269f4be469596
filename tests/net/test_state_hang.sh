#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The disk of the state does not answer, or another program holds the state's lock: bootwelld's loop goes round. PCs
# that are known boot (DHCP, TFTP, their scripts), status and metrics answer, a change by an operator is refused with
# the reason, the daemon stops. New PCs and changes come when the disk is back, and nothing that was answered is lost.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/net/netlab.sh
. "$(dirname "$0")/netlab.sh"
requires udhcpc curl jq python3 sqlite3
[ -c /dev/fuse ] || skip_all "needs /dev/fuse"

lab_switch
lab_ns srv
lab_plug srv lan
in_ns srv ip addr add 10.77.0.1/24 brd + dev lan
daemon_files
mkdir "$TMP/disk" "$TMP/state"
head -c 3000 /dev/urandom >"$TMP/tftp/file"
hanging() { printf '%s\n' "$@" >"$TMP/disk/.hanging"; }
hanging
"$(dirname "$0")/hanging_folder" "$TMP/disk" "$TMP/state" >"$TMP/fuse.out" 2>"$TMP/fuse.err" &
fuse=$!
at_exit kill "$fuse"
wait_for 10 grep -q ready "$TMP/fuse.out" ||
	{ sed 's/^/# /' "$TMP/fuse.err"; skip_all "a file system of our own cannot be mounted here"; }
at_exit umount -l "$TMP/state"
at_exit hanging # before that: what hangs there is let go

cat >"$C" <<END
[server]
state = $TMP/state
run = $TMP/run
[dhcp]
interface = lan
range = 10.77.0.101-10.77.0.150
lease = 1h
probe = no
[tftp]
root = $TMP/tftp
fastpath = off
[http]
metrics = everyone
[clients]
ask-name = no
[images]
path = $TMP/images
[write-back]
path = $TMP/store
size = 64M
[image one]
file = one.raw
[group default]
image = one
keep = yes
END
cat >"$TMP/udhcpc" <<'END'
#!/bin/sh
[ "$1" = bound ] && ip addr flush dev "$interface" &&
	ip addr add "$ip/24" brd + dev "$interface" && echo "$boot_file" >"$BOOTFILE"
exit 0
END
chmod +x "$TMP/udhcpc"
for p in a b c d e; do lab_ns $p; lab_plug $p eth0 02:00:00:00:0a:0$((16#$p - 9)); done
lease() { BOOTFILE=$TMP/bootfile.$1 in_ns "$1" timeout 20 udhcpc -i eth0 -n -q -f -t 8 -T 1 -s "$TMP/udhcpc" \
	-V PXEClient:Arch:00000:UNDI:002001 -x 0x5d:0000 -x 0x4d:69505845 >/dev/null 2>&1; }
script() { in_ns "$1" curl -s -m 20 "tftp://10.77.0.1/$(cat "$TMP/bootfile.$1")" >"$TMP/script.$1"; }
gets() { script "$1" && grep -q "$2" "$TMP/script.$1"; } # PC TEXT
boots() { lease "$1" && gets "$1" '^sanboot iscsi:'; }
fetches() { in_ns "$1" curl -s -m 20 tftp://10.77.0.1/file | cmp -s - "$TMP/tftp/file"; }
bootwell() { timeout 20 "$O/bootwell" "$@"; }
offered() { in_ns e "$(dirname "$0")/dhcp_ask" if=eth0 mac=02:00:00:00:0b:0"$1" first=1 wait=5 | grep -q type=2; }
# The loop's longest round is below 250 ms, in this minute and the one before.
goes_round() {
	gap=$(in_ns e curl -s -m 5 http://10.77.0.1:8001/metrics | awk '$1 == "bootwell_loop_gap_seconds" {print $2}')
	awk -v gap="${gap:-9}" 'BEGIN {exit !(gap < 0.25)}'
}
problem() { bootwell status --json | jq -e --arg t "$1" '.problems[] | select(contains($t))' >/dev/null; }
# By the same file system: the log's index is shared memory.
name_of() { sqlite3 "$TMP/state/bootwell.db" "SELECT name FROM client WHERE mac = x'020000000a0$1'"; }
in_ns e ip addr add 10.77.0.200/24 brd + dev eth0

daemon_start
ok "it starts"
check "a PC boots" boots a
check "another one" boots b

# what goes on while nothing can be written
goes_on() { # HOW
	check "$1: a PC that is known boots" boots a
	check "$1: the other one, too" boots b
	check "$1: an address is offered to a new one" offered "$2"
	check "$1: TFTP" fetches a
	check "$1: status" eval "bootwell status >/dev/null"
	check "$1: clients" eval "bootwell client list >/dev/null"
	check "$1: metrics, and the loop goes round (gap ${gap:-?} s)" goes_round
}

# --- another program holds the lock ----------------------------------------------------------------------------------
python3 - "$TMP/state/bootwell.db" "$TMP/locked" <<'END' &
import sqlite3, sys, os, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute('BEGIN EXCLUSIVE')
open(sys.argv[2], 'w').close()
while os.path.exists(sys.argv[2]):
    time.sleep(0.1)
db.execute('ROLLBACK')
END
locker=$!
at_exit kill "$locker"
check "the state is locked by another program" wait_for 10 test -e "$TMP/locked"
"$O/bootwell" client set PC102 --name LATE >"$TMP/set.out" 2>&1 &
setter=$!
goes_on locked 1
wait $setter
check "a change by an operator is not said to be done" test $? != 0
check "with the reason" grep -q 'cannot be written to the state\|cannot be noted in the state' "$TMP/set.out"
bootwell client set PC101 --name OTHER >"$TMP/set.out" 2>&1
check "the next one is refused" test $? != 0
check "with the reason" grep -q 'cannot be .* the state' "$TMP/set.out"
rm "$TMP/locked"
wait $locker
free() { bootwell client set PC101 --name FIRST >/dev/null 2>&1; }
check "without the lock changes are taken again" wait_for 20 free
check "and what was true already is in the file" test "$(name_of 2)" = LATE
check "a new PC boots" boots c

# --- the disk hangs --------------------------------------------------------------------------------------------------
hanging '*:write'
goes_on hanging 2
lease d; script d
check "a new PC gets no disk" eval "! grep -q '^sanboot iscsi:' '$TMP/script.d'"
wait_for 30 problem "cannot be written to"
check "status says that the disk does not answer" problem "cannot be written to"
check "the loop goes round all the same" goes_round
hanging
check "when it answers the new PC boots" wait_for 30 boots d
check "and is in the file" test -n "$(name_of 4)"

# --- the end ---------------------------------------------------------------------------------------------------------
hanging '*:write'
boots a
check "it stops while the disk hangs" daemon_stop
hanging
daemon_start
check "and starts again" boots b
check "with what was answered" eval "bootwell client list | grep -q FIRST && bootwell client list | grep -q LATE"
kill -9 "$daemon"
wait_for 10 daemon_gone
check "after kill -9 the state is whole" test "$(sqlite3 "$TMP/state/bootwell.db" 'PRAGMA integrity_check')" = ok
