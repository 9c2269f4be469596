#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a person sees: a real iPXE (QEMU's ROM) shows the menu, takes the PC's name, and tells when its disk does not
# start. No target in this kernel is needed: that the disk does not start is what is wanted.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/netlab.sh"
requires qemu-system-x86_64 jq

lab_switch
lab_ns srv
lab_plug srv lan
in_ns srv ip addr add 10.77.0.1/24 brd + dev lan
in_ns sw ip tuntap add tap0 mode tap || skip_all "no tap devices here"
in_ns sw ip link set tap0 master br0 up
mkdir -p "$TMP/images" "$TMP/configfs"
truncate -s 64M "$TMP/images/one.raw" "$TMP/images/two.raw"
export BOOTWELL_CONFIGFS=$TMP/configfs BOOTWELL_SOCKET=$TMP/run/control
cat >"$TMP/c.conf" <<END
[server]
state = $TMP/state
run = $TMP/run
[dhcp]
interface = lan
range = 10.77.0.101-10.77.0.110
probe = no
[tftp]
root = $TMP
fastpath = off
[images]
path = $TMP/images
[image one]
file = one.raw
[image two]
file = two.raw
[group default]
image = one, two
END
ip netns exec "$(ns srv)" "$O/bootwelld" -c "$TMP/c.conf" >"$TMP/daemon.log" 2>&1 &
at_exit kill $!
wait_for 15 "$O/bootwell" status || { cat "$TMP/daemon.log"; not_ok "bootwelld starts"; exit 1; }

mkfifo "$TMP/keys"
ip netns exec "$(ns sw)" qemu-system-x86_64 -M pc,graphics=off -accel tcg -m 128 -display none -vga none -nodefaults \
	-boot n -netdev tap,id=n,ifname=tap0,script=no,downscript=no -device e1000,netdev=n,mac=52:54:00:77:00:05 \
	-chardev stdio,id=s,signal=off -serial chardev:s <"$TMP/keys" >"$TMP/screen" 2>"$TMP/qemu.err" &
at_exit kill $!
exec 3>"$TMP/keys"
screen() { LC_ALL=C sed 's/\x1b\[[0-9;?]*[A-Za-z]//g' "$TMP/screen" | tr -d '\r'; }
shows() { screen | grep -qF -- "$1"; }
type_keys() { local i; for ((i = 0; i < ${#1}; i++)); do printf '%s' "${1:i:1}" >&3; sleep 0.05; done; }

check "the PC shows its menu" wait_for 60 shows 'what shall PC101 start?'
type_keys $'\x1b[B' # down
sleep 0.3
type_keys $'\r'
check "it is asked for its name" wait_for 30 shows 'to give this PC a name (now PC101)'
check "what was chosen is what starts" wait_for 20 shows 'PC101 starts two, generation 1, from 10.77.0.1'
type_keys ' '
check "it types a name" wait_for 20 shows 'Name:'
lab_type "$TMP/screen" 3 $'no good\r'
check "a wrong one is refused on the screen" wait_for 20 shows 'may only have letters'
sleep 0.5
lab_type "$TMP/screen" 3 $'Desk-7\r'
check "a right one is taken" wait_for 20 shows 'This PC is Desk-7 now'
check "and remembered" test "$("$O/bootwell" client show Desk-7 --json | jq -r .mac)" = 52:54:00:77:00:05
check "a disk that does not start is tried again" wait_for 30 shows 'the disk did not start (try 1 of 4)'
check "then the screen says so" wait_for 60 shows 'could not start its disk from 10.77.0.1'
check "and what to do" wait_for 20 shows 'On the server, "bootwell status" tells'
refuse "the secret is never on the screen" shows "$(cat "$TMP"/configfs/iscsi/*/tpgt_1/acls/*/auth/password)"
refuse "no command of the script is unknown to iPXE" shows 'command not found'
# shellcheck disable=SC2154
[ "$failed" = 0 ] || screen | tail -40 | sed 's/^/# /'
