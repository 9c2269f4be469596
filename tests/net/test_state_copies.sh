#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The state on a disk of its own: full, it is a problem that status and metrics tell, and goes by itself; damaged,
# bootwelld says at start which copy is good, and `bootwell state restore` goes back to it.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/netlab.sh"
requires jq sqlite3 python3 mount

lab_switch
lab_ns srv; lab_plug srv lan; in_ns srv ip addr add 10.87.0.1/24 brd + dev lan
lab_ns pc; lab_plug pc eth0 02:00:00:00:07:01
export BOOTWELL_SOCKET=$TMP/run/control BOOTWELL_CONFIG=$TMP/c.conf
mkdir -p "$TMP/images"
lab_config "$TMP/c.conf" <<END
[dhcp]
mode = full
[subnet room]
interface = lan
network = 10.87.0.0/24
range = 10.87.0.100-10.87.0.120
[tftp]
root = $TMP/tftp
fastpath = off
[clients]
ask-name = no
[images]
path = $TMP/images
END
state=$(sed -n 's/^state = //p' "$TMP/c.conf")
mkdir -p "$state"
# With ext4 the kernel can be told that the disk failed: from then on all of it is read-only, open files, too.
disk() { mount -o loop "$TMP/disk" "$state" 2>/dev/null; }
if command -v mkfs.ext4 >/dev/null && truncate -s 16M "$TMP/disk" && mkfs.ext4 -q -m 0 "$TMP/disk" && disk; then
	fails=yes
else
	mount -t tmpfs -o size=4m tmpfs "$state" || skip_all "no tmpfs can be mounted here"
	fails=no
fi
at_exit umount -l "$state"
start() {
	ip netns exec "$(ns srv)" "$O/bootwelld" -c "$TMP/c.conf" >"$TMP/daemon.log" 2>&1 &
	daemon=$!
	at_exit kill $daemon
}
stop() { kill $daemon; wait $daemon; }
up() {
	wait_for 20 "$O/bootwell" status >/dev/null && return
	sed 's/^/# /' "$TMP/daemon.log"
	not_ok "bootwelld starts"
	exit 1
}
metric() { "$O/bootwell" metrics | grep -qx -- "$1"; }
problem() { "$O/bootwell" status --json | jq -e --arg t "$1" '.problems | any(contains($t))' >/dev/null; }
no_problem() { "$O/bootwell" status --json | jq -e --arg t "$1" '.problems | any(contains($t)) | not' >/dev/null; }
state() { "$O/bootwell" state "$@"; } # here there is no interface "lan", which the configuration names
copies() { state list --json | jq -r '.[].name'; }
has_copy() { [ -n "$(copies)" ]; }
ask_tool=$(cd "$(dirname "$0")" && pwd)/dhcp_ask
offered() { in_ns pc "$ask_tool" first=1 wait=5 mac=02:00:00:00:08:01 | grep -q yiaddr=10.87.0; }
# boots MAC: what iPXE on that PC gets: its address, its lease time in seconds, its script ($TMP/screen)
boots() {
	local offer answer address file
	in_ns pc ip link set eth0 address "$1"
	offer=$(in_ns pc "$ask_tool" first=1 wait=8 mac="$1" arch=7 ipxe=1)
	address=$(grep -o 'yiaddr=[^ ]*' <<<"$offer" | cut -d= -f2)
	answer=$(in_ns pc "$ask_tool" first=1 wait=8 mac="$1" arch=7 ipxe=1 type=request requested="$address" \
		server=10.87.0.1)
	file=$(grep -o ' file=[^ ]*' <<<"$answer" | cut -d= -f2)
	time=$((0x0$(grep -o 'opt.51=[^ ]*' <<<"$answer" | cut -d= -f2)))
	in_ns pc ip addr flush dev eth0
	in_ns pc ip addr add "$address/24" brd + dev eth0
	echo "# $1 is $address for $time s: $file"
	in_ns pc curl -s -m 20 "tftp://10.87.0.1/$file" >"$TMP/screen"
}

start
up
check "a copy is made by itself" wait_for 20 has_copy
check "metrics tell when" wait_for 10 eval '"$O/bootwell" metrics | grep -q "^bootwell_state_copy_time_seconds 1"'
check "the state can be written to" metric 'bootwell_state_writable 1'
check "state check: it is whole" state check
name=$(copies | head -n 1)
check "and so is the copy" state check "$name"
state restore "$name" >"$TMP/out" 2>&1
check "nothing is restored under a bootwelld that runs" test $? = 1
check "it says what to do" grep -q 'stop it first' "$TMP/out"
state >"$TMP/out" 2>&1
check "wrong usage is 2" test $? = 2

boots 02:00:00:00:08:02
check "a PC boots" test "$time" -gt 60
dd if=/dev/zero of="$state/filler" bs=64k >/dev/null 2>&1
check "a full disk is a problem that status tells" wait_for 20 problem "cannot be written to: No space left"
check "and metrics" wait_for 10 metric 'bootwell_state_writable 0'
check "DHCP goes on" offered
boots 02:00:00:00:08:02
check "a PC that was here before boots as always, with what is left of its lease" test "$time" -gt 60
check "its script says nothing of the state" eval '! grep -q "state cannot be written to" "$TMP/screen"'
boots 02:00:00:00:08:03
check "a new one has an address for a minute" test "$time" = 60
check "and is told on its screen why it gets no disk" grep -q 'its disk is full or read-only' "$TMP/screen"
check "it is asked to come again" grep -q 'chain\|again' "$TMP/screen"
rm "$state/filler"
check "with room again the problem is gone" wait_for 20 no_problem "cannot be written to"
check "in metrics too" wait_for 10 metric 'bootwell_state_writable 1'
boots 02:00:00:00:08:03
check "and the new PC gets what it is for" eval 'test "$time" -gt 60 && ! grep -q "read-only" "$TMP/screen"'

# A disk that fails is made read-only by the kernel.
if [ $fails = yes ]; then
	mount -o remount,abort "$state"
	check "a state that is read-only is a problem that status tells" \
		wait_for 20 problem "cannot be written to: Read-only"
	boots 02:00:00:00:08:04
	check "a new PC is told then, too" grep -q 'its disk is full or read-only' "$TMP/screen"
	boots 02:00:00:00:08:02
	check "who was here before boots" test "$time" -gt 60
	stop
	# What other tests have begun meanwhile may still hold that file system: the state moves to another one.
	cp -a "$state/." "$TMP/kept"
	umount -l "$state"
	cp -a "$TMP/kept/." "$state"
	start
	up
	boots 02:00:00:00:08:04
	check "on a disk that is well the new PC is as any" \
		eval 'test "$time" -gt 60 && ! grep -q "read-only" "$TMP/screen"'
else
	echo "ok - a state that is read-only # SKIP needs mkfs.ext4 and loop devices"
fi

stop
python3 - "$state/bootwell.db" <<'END'
import sys
with open(sys.argv[1], "r+b") as f:
    n = len(f.read()); f.seek(4096); f.write(b"Z" * (n - 4096))
END
rm -f "$state"/bootwell.db-*
name=$(copies | head -n 1)
ip netns exec "$(ns srv)" timeout 20 "$O/bootwelld" -c "$TMP/c.conf" >"$TMP/daemon.log" 2>&1
check "with a damaged state it does not start" test $? = 1
check "it names file, fault, copy and command" \
	grep -q "state $state/bootwell.db is damaged: .*bootwell state restore $name" "$TMP/daemon.log"
state check >"$TMP/out" 2>&1
check "state check says so too" test $? = 1
check "with the copy" grep -q "state restore $name" "$TMP/out"
check "the copy is restored" state restore "$name"
check "what was there stays" test -s "$state/bootwell.db.before-restore"
start
up
check "and bootwelld serves again" offered
stop
