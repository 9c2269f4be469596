#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An update of the appliance goes into a slot, is tried, and becomes the good one when it serves; one whose kernel finds no
# first program panics, and the machine comes back by itself with the old one.
# shellcheck disable=SC2154 # failed is of lib.sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lab.sh"
. "$(dirname "$0")/iso.sh"
iso_start
ssh-keygen -q -t ed25519 -N '' -C updates -f "$LAB/update-key"
iso_conf ext4 < <(sed "s,@UPDATE@,$(cat "$LAB/update-key.pub")," <<'END'
[server]
targets = off
[appliance]
ssh-key.lab = @KEY@
update-key.lab = @UPDATE@
state-disk = serial:LAB-STATE
format-state-disk = yes
[network room]
address = 10.77.0.1/24
END
)
# update VERSION [INITRD]: an update of the system that runs, with another version, and another initramfs if one is given
update() {
	local from=$LAB/update
	mkdir -p "$from/iso"
	cp "$O/iso/"{vmlinuz,system.squashfs,id} "$from/iso/"
	cp "${2:-$O/iso/initrd}" "$from/iso/initrd"
	echo "$1" >"$from/iso/version"
	"$TOP/initramfs/make-update" "$from" "$LAB/update-key" >/dev/null || lab_die "no update"
	LAB_LIMIT=200 iso_ssh 'cat >/var/lib/bootwell/new.update' <"$from/bootwell.update" || lab_die "the update cannot be copied"
	LAB_LIMIT=200 iso_ssh 'bootwell system update /var/lib/bootwell/new.update'
}
system() { iso_ssh 'bootwell system status'; }
# restarted: the machine went down and serves again
restarted() { iso_ssh 'systemctl reboot' 2>/dev/null; wait_for 120 console_has appliance "$1"; iso_serves; }

iso_boot cd bios
check "the medium's system serves" iso_serves
[ "$failed" = 0 ] || exit 1
check "an update is installed" update 9.1.0
check "the medium's is still the good one" grep -qx 'good: medium' <(system)
console_mark appliance
check "it restarts and serves" restarted 'starting slot a bootwell.trial'
check "from slot a" grep -q '^running: a' <(system)
check "which is the good one now" grep -qx 'good: a' <(system)
head -c 100000 /dev/urandom >"$LAB/broken"
check "a system that cannot start is installed too" update 9.2.0 "$LAB/broken"
check "it will be tried" grep -q 'tries b' <(system)
console_mark appliance
check "it restarts and serves again" restarted 'starting slot b bootwell.trial'
check "the new one was tried and panicked" console_has appliance 'Kernel panic'
check "and it is slot a that serves" grep -q '^running: a' <(system)
check "which is still the good one, and nothing is tried any more" test "$(system | grep -cE '^good: a|tries')" = 1
lab_kill appliance
