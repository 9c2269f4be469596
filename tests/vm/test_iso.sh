#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The appliance from a CD under OVMF, with a volume that holds bootwell.conf: it formats its state disk, says what became of the
# file, and a diskless PC starts from it.
# shellcheck disable=SC2034,SC2054,SC2154 # conf is for iso_boot; failed is of lib.sh
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lab.sh"
. "$(dirname "$0")/iso.sh"
iso_start
check "the ISO has less than 300 MB" test "$(stat -c %s "$O/bootwell.iso")" -lt 300000000
iso_conf_room
qemu-img create -q -f qcow2 -F raw -b "$LAB_TREE/data.ext4" "$LAB/images.qcow2"
iso_boot cd uefi -drive "if=none,id=images,file=$LAB/images.qcow2,format=qcow2,cache=unsafe" -device virtio-blk-pci,drive=images
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
facts=$(LAB_LIMIT=300 iso_ssh 'findmnt -no FSTYPE /var/lib/bootwell; hostname; ps -o user= -C bootwelld; cat /run/systemd/timesyncd.conf.d/*; systemctl is-enabled rtslib-fb-targetctl
	fold -w 80 /dev/vcs1 | sed "s/ *$//"; targetcli /iscsi ls >/dev/null && echo targetcli works; systemctl --failed --plain --no-legend | sed "s/^/failed: /"; grep -c . /etc/shadow; grep -vc "^[^:]*:[*!]" /etc/shadow')
sed 's/^/#   /' <<<"$facts"
check "the state disk was formatted with XFS" grep -qx xfs <<<"$facts"
check "the host name is that of the file" grep -qx schoolserver <<<"$facts"
check "the time server too" grep -qx NTP=10.77.0.254 <<<"$facts"
check "bootwelld is not root" grep -qx bootwell <<<"$facts"
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
clients=$(iso_ssh 'bootwell client list --json' | jq -cS '[.[]? // .clients[]? | {name, mac, address}]')
echo "#   clients: $clients"
check "the PC is known by name and address" grep -q '"10\.77\.0\.101".*"name":"PC101"' <<<"$clients"
lab_kill pc1
lab_kill appliance
