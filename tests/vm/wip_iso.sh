#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The appliance's ISO with a volume that holds bootwell.conf: from a CD under SeaBIOS it formats its state disk and a
# shellcheck disable=SC2034,SC2054,SC2154 # conf is for iso_boot; failed is of lib.sh
# diskless PC starts from it; its power is cut; from a USB stick under OVMF, without the volume, everything is back.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lab.sh"
. "$(dirname "$0")/iso.sh"
iso_start
iso_conf vfat <<'END'
[appliance]
hostname = schoolserver
ssh-key.lab = @KEY@
state-disk = serial:LAB-STATE
format-state-disk = yes
images = label:bwdata

[network room]
address = 10.77.0.1/24

[dhcp]
range = 10.77.0.101-10.77.0.150
probe = no
[clients]
ask-name = no
[write-back]
size = 1G
[image guest]
file = images/guest.vmdk
[group default]
keep = yes
END
images=(-drive "if=none,id=images,file=$LAB/images.qcow2,format=qcow2,cache=unsafe" -device virtio-blk-pci,drive=images)
qemu-img create -q -f qcow2 -F raw -b "$LAB_TREE/data.ext4" "$LAB/images.qcow2"
iso_boot cd bios "${images[@]}"
check "the ISO starts under SeaBIOS and serves" iso_serves
[ "$failed" = 0 ] || exit 1
status=$(iso_conf_file bootwell.status)
sed 's/^/#   /' <<<"$status"
check "bootwell.status on the volume says accepted" grep -qx 'configuration: accepted (volume)' <<<"$status"
check "and where the page is" grep -qx 'page: http://10.77.0.1:8001/' <<<"$status"
check "the state disk was formatted with XFS" test "$(iso_ssh 'findmnt -no FSTYPE /var/lib/bootwell')" = xfs
check "the host name is that of the file" test "$(iso_ssh hostname)" = schoolserver
check "the page answers" lab_host curl -fs -o /dev/null http://10.77.0.1:8001/
check "bootwelld is not root" test "$(iso_ssh 'ps -o user= -C bootwelld')" = bootwell
refuse "a password is not asked for" lab_host ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o PubkeyAuthentication=no root@10.77.0.1 true
check "the console shows address and state without a login" console_wait appliance 30 'address +10\.77\.0\.1/24'

pc_start pc1 1
pc_boots "a diskless PC starts from the appliance" pc1 400
lab_run pc1 'echo kept >/root/kept; sync'
before=$(iso_ssh 'bootwell client list --json' | jq -cS '[.[]? // .clients[]? | {name, mac, address}]')
key=$(iso_ssh 'cat /etc/ssh/ssh_host_ed25519_key.pub')
echo "#   clients: $before"
check "the PC is known by name and address" grep -q '10.77.0.1[0-5]' <<<"$before"

lab_note "the power is cut"
lab_kill pc1
lab_kill appliance
conf=''
iso_boot usb uefi "${images[@]}"
check "from a stick under OVMF it serves, without the volume" iso_serves
[ "$failed" = 0 ] || exit 1
check "from the last good copy on the state disk" test "$(iso_ssh 'cat /run/appliance/mode')" = state
check "clients, names and addresses are back" test "$(iso_ssh 'bootwell client list --json' | jq -cS '[.[]? // .clients[]? | {name, mac, address}]')" = "$before"
check "it is the same machine to ssh" test "$(iso_ssh 'cat /etc/ssh/ssh_host_ed25519_key.pub')" = "$key"
pc_start pc1 1
pc_boots "the PC starts again" pc1 400
check "and what it kept is there" test "$(lab_run pc1 'cat /root/kept')" = kept
lab_kill pc1
lab_kill appliance
