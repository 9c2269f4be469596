#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The lab itself: an appliance and a PC, their agents, a second run after a power cut.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/uml/lab.sh
. "$(dirname "$0")/lab.sh"
lab_disk appliance 64M
lab_start
appliance_config_default
appliance_start
pc_start pc1 1
pc_boots "a PC gets its disk" pc1
check "of the size that the image has" grep -q "\"virtual_size\": *$(lab_run pc1 "blockdev --getsize64 /dev/sda")" \
	<<<"$(appliance "bootwell image info --json /srv/bootwell/images/guest.vmdk")"
check "the kernel is the one that was asked for" test "$(appliance "uname -r")" = "$lab_release"
check "a command's output and status come back" [ "$(appliance "echo out; exit 7"; echo $?)" = "$(printf 'out\n7')" ]
lab_run pc1 "until [ -e /lab/go ]; do sleep 0.1; done" & waits=$!
check "a second command goes on beside the first" lab_run pc1 "echo >/lab/go"
check "which then ends too" wait $waits
check "a disk fails when it is told to" appliance "modprobe dm-flakey && dmsetup create bad --table '0 131072 flakey /dev/ubdc 0 0 60 1 error_writes' &&
	! dd if=/dev/zero of=/dev/mapper/bad bs=4k count=1 oflag=direct 2>/dev/null && dd if=/dev/mapper/bad of=/dev/null bs=4k count=1 iflag=direct && dmsetup remove --retry bad"
check "a wire loses all that it is told to" lab_run pc1 "modprobe sch_netem && tc qdisc add dev eth0 root netem loss 100% && ! ping -c 1 -W 1 10.77.0.1 && tc qdisc delete dev eth0 root && ping -c 3 -W 5 10.77.0.1"

box_file second /etc/bootwell/bootwell.conf <<END
[server]
state = /srv/bootwell/state
END
box_start second 2
check "a second box has its own address and configuration" lab_run second "ping -c 1 -W 5 10.77.0.1 && ! grep -q dhcp /etc/bootwell/bootwell.conf"
lab_kill second
check "power off, its processes are gone" test -z "$(pgrep -f "ubd0=$LAB_DISKS/second.root")"
box_start second 2
check "power on, it is there again" lab_run second "ping -c 1 -W 5 10.77.0.1"
lab_end
