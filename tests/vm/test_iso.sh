#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The life of an appliance. From a CD under OVMF, with a volume that holds bootwell.conf: it formats its state disk, says what
# became of the file, and a diskless PC starts from it and keeps something. An update is installed, the power is cut: from a USB
# stick under SeaBIOS, without the volume, the updated system comes up, and clients, names, addresses and what the PC kept are
# back. An update that cannot start panics, and the machine comes back by itself with the one before; by then a stick with
# another file is plugged in. (From a CD under SeaBIOS: test_iso_safe.sh.)
# shellcheck disable=SC2034,SC2054,SC2154 # conf is for iso_boot; failed is of lib.sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lab.sh"
. "$(dirname "$0")/iso.sh"
requires dnsmasq
iso_start
check "the ISO has less than 300 MB" test "$(stat -c %s "$O/bootwell.iso")" -lt 300000000
ssh-keygen -q -t ed25519 -N '' -C updates -f "$LAB/update-key"
iso_conf_room "update-key.lab = $(cat "$LAB/update-key.pub")"
# update FILE VERSION [INITRD]: an update of this system, with another version, and another initramfs if one is given
update() {
	local from=$LAB/update
	mkdir -p "$from/iso"
	for f in vmlinuz system.squashfs id build; do ln -sf "$O/iso/$f" "$from/iso/"; done
	ln -sf "${3:-$O/iso/initrd}" "$from/iso/initrd"
	echo "$2" >"$from/iso/version"
	"$TOP/initramfs/make-update" "$from" "$LAB/update-key" >/dev/null && mv "$from/bootwell.update" "$1" || lab_die "no update"
}
update "$LAB/good.update" 9.1.0
head -c 100000 /dev/urandom >"$LAB/broken"
update "$LAB/broken.update" 9.2.0 "$LAB/broken"
disk() { disks+=(-drive "if=none,id=$1,$2" -device "virtio-blk-pci,drive=$1,serial=$1"); }
disks=()
qemu-img create -q -f qcow2 -F raw -b "$LAB_TREE/data.ext4" "$LAB/images.qcow2"
disk images "file=$LAB/images.qcow2,format=qcow2,cache=unsafe"
disk good "file=$LAB/good.update,format=raw,readonly=on"
disk broken "file=$LAB/broken.update,format=raw,readonly=on"

iso_boot cd uefi "${disks[@]}"
check "from a CD under OVMF it starts and serves" iso_serves
[ "$failed" = 0 ] || exit 1
pc_start pc1 1
told() { iso_conf_file bootwell.status | grep -qx serving; }
wait_for 100 told
status=$(iso_conf_file bootwell.status)
sed 's/^/#   /' <<<"$status"
check "bootwell.status on the volume says accepted" grep -qx 'configuration: accepted (volume)' <<<"$status"
check "and where the page is" grep -qx 'page: http://10.77.0.1:8001/' <<<"$status"
check "and that it serves" grep -qx serving <<<"$status"
check "the page answers" lab_host curl -fs -o /dev/null http://10.77.0.1:8001/
# All facts by one login: each costs seconds under emulation.
facts=$(LAB_LIMIT=300 iso_ssh 'findmnt -no FSTYPE /var/lib/bootwell; hostname; ps -o user= -C bootwelld
	for p in tcmu-runner bootwelld; do nsenter -t $(pidof $p) -m sh -c "touch /etc/x || touch /run/x" 2>/dev/null || echo "$p is kept in"; done; cat /run/systemd/timesyncd.conf.d/*; systemctl is-enabled rtslib-fb-targetctl
	fold -w 80 /dev/vcs1 | sed "s/ *$//"; targetcli /iscsi ls >/dev/null && echo targetcli works; systemctl --failed --plain --no-legend | sed "s/^/failed: /"; grep -c . /etc/shadow; grep -vc "^[^:]*:[*!]" /etc/shadow')
sed 's/^/#   /' <<<"$facts"
check "the state disk was formatted with XFS" grep -qx xfs <<<"$facts"
check "the host name is that of the file" grep -qx schoolserver <<<"$facts"
check "the time server too" grep -qx NTP=10.77.0.254 <<<"$facts"
check "bootwelld is not root" grep -qx bootwell <<<"$facts"
for p in tcmu-runner bootwelld; do check "$p cannot write elsewhere" grep -qx "$p is kept in" <<<"$facts"; done
check "the screen shows clients and throughput" test "$(grep -cE '^(clients +|throughput +.*/s in, .*/s out)' <<<"$facts")" = 2
check "targetcli is there to look with" grep -qx 'targetcli works' <<<"$facts"
check "its restore service is masked" grep -qx masked <<<"$facts"
refuse "no unit failed" grep '^failed: ' <<<"$facts"
check "no user has a password" test "$(tail -1 <<<"$facts")" = 0
ways=$(lab_host timeout 60 ssh -v -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o PubkeyAuthentication=no root@10.77.0.1 true 2>&1 |
	tr -d '\r' | sed -n 's/.*that can continue: //p' | sort -u)
check "ssh takes a key and nothing else" test "$ways" = publickey
check "the console shows address and state without a login" console_wait appliance 30 'address +10\.77\.0\.1/24'
pc_boots "a diskless PC starts from the appliance" pc1
# What it keeps is what it starts with: an argument of its kernel, in its own GRUB's file on its own disk.
lab_run pc1 'sed -i "s/net.ifnames=0/net.ifnames=0 lab.kept=4711/" /boot/grub/grub.cfg && sync' || not_ok "the PC writes to its disk"
clients() { iso_ssh 'bootwell client list --json' | jq -cS '[.[]? // .clients[]? | {name, mac, address}]'; }
before=$(clients)
key=$(iso_ssh 'cat /etc/ssh/ssh_host_ed25519_key.pub')
echo "#   clients: $before"
check "the PC is known by name and address" grep -q '"10\.77\.0\.101".*"name":"PC101"' <<<"$before"
lab_kill pc1

# --- an update, a power cut, the next start --------------------------------------------------------------------------
system() { iso_ssh 'bootwell system status'; }
LAB_LIMIT=400 check "an update is installed" iso_ssh 'bootwell system update /dev/disk/by-id/virtio-good'
check "the medium's is still the good one" grep -qx 'good: medium' <(system)
lab_note "the power is cut"
lab_kill appliance
conf=''
iso_boot usb bios "${disks[@]}"
check "from a stick under SeaBIOS it serves, without the volume" iso_serves
[ "$failed" = 0 ] || exit 1
pc_start pc1 1
status=$(system)
check "the updated system was tried" iso_ssh 'grep -q "bootwell.slot=a .*bootwell.trial" /proc/cmdline'
check "it runs, from slot a" grep -q '^running: a' <<<"$status"
check "and is the good one now" grep -qx 'good: a' <<<"$status"
check "the configuration is the last good copy on the state disk" test "$(iso_ssh 'cat /run/appliance/mode')" = state
check "clients, names and addresses are back" test "$(clients)" = "$before"
check "it is the same machine to ssh" test "$(iso_ssh 'cat /etc/ssh/ssh_host_ed25519_key.pub')" = "$key"
check "the PC starts with what it kept" console_wait pc1 300 'Linux version|Command line.*lab.kept=4711' 'No bootable device'
check "the PC's kernel has the argument that was kept" console_wait pc1 60 'ommand line: .*lab.kept=4711'
lab_kill pc1

# --- an update that does not come up ---------------------------------------------------------------------------------
LAB_LIMIT=400 check "a system that cannot start is installed too" iso_ssh 'bootwell system update /dev/disk/by-id/virtio-broken'
check "it will be tried" grep -q 'tries b' <(system)
iso_conf iso9660 <<END
[appliance]
hostname = second
ssh-key.lab = @KEY@
state-disk = label:BW-STATE
[network room]
address = dhcp
END
iso_plug "$conf"
lab_host dnsmasq -k -p 0 -i wire --bind-interfaces --dhcp-range=10.77.0.1,static --dhcp-host=52:54:00:77:00:01,10.77.0.1 --leasefile-ro --pid-file= \
	>"$LAB_LOGS/dnsmasq.log" 2>&1 &
at_exit kill $!
console_mark appliance
iso_ssh 'systemctl reboot' 2>/dev/null
check "the new one is tried, and panics" console_wait appliance 500 'Kernel panic'
check "the machine comes back by itself, and serves" iso_serves
check "slot a is the good one, and nothing is tried any more" test "$(system | grep -cE '^good: a|^running: a|tries')" = 2
check "a file on a volume, a CD this time, goes before the copy; its address is from DHCP" test "$(iso_ssh 'hostname; cat /run/appliance/mode' | tr '\n' ' ')" = "second volume "
lab_kill appliance
