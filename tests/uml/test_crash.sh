#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# kill -9 of tcmu-runner while a PC writes and checks: a pause and nothing else. Then the appliance's power is pulled, on a
# disk that forgets what was not flushed: what the PC had synced is there afterwards.
export LAB_POWER=1
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/uml/lab.sh
. "$(dirname "$0")/lab.sh"
requires nbdkit
lab_start
appliance_config_default "
	[client keeper]
	mac = 52:54:00:77:01:01
	keep = yes"
appliance_start
pc_start pc1 1
pc_boots "the PC gets its disk" pc1

# Ends when it is told to, so that it is at work however long the rest takes.
lab_run pc1 "nohup fio --name=v --filename=/dev/sda2 --size=24M --rw=randrw --bsrange=512-64k --direct=1 --ioengine=libaio \
	--iodepth=8 --verify=crc32c --verify_fatal=1 --fsync=32 --time_based --runtime=3600 --output=/run/fio.out >/dev/null 2>&1 & echo \$! >/run/fio.pid"
# blocks: how many of them the PC has written
blocks() { lab_run pc1 "awk '{ print \$5 }' /sys/block/sda/stat"; }
wrote_more() { [ "$(blocks)" -gt "$1" ]; }
for round in 1 2 3; do
	check "the PC is at work ($round)" wait_for 60 wrote_more $(($(blocks) + 50))
	old=$(appliance "pidof tcmu-runner")
	appliance "kill -9 $old"
	check "tcmu-runner is back with a new process ($round)" wait_for 30 appliance "p=\$(pidof tcmu-runner) && test \$p != $old"
	check "and the PC goes on ($round)" wait_for 60 wrote_more $(($(blocks) + 50))
done
check "fio found every block as it had written it" \
	lab_run pc1 "kill -INT \$(cat /run/fio.pid); tail --pid=\$(cat /run/fio.pid) -f /dev/null; cat /run/fio.out; grep -q 'err= 0' /run/fio.out"
check "the PC's kernel saw no error on its disk" lab_run pc1 "! dmesg | grep -iE 'I/O error|recovery timed out|remounting'"

check "its flushes are counted" appliance "bootwell metrics | awk '/^bootwell_disk_commands_total\{client=\"keeper\",op=\"flush\"\}/ { n = \$2 } END { exit !(n > 0) }'"
check "the PC syncs a file" lab_run pc1 "mount /dev/sda1 /mnt && seq 200000 >/mnt/root/witness && sync"
lab_run pc1 "nohup sh -c 'while :; do seq 300000 >/mnt/root/unsynced; done' >/dev/null 2>&1 &"
check "and a second one, while a third is written all the time" lab_run pc1 "seq 1000 >/mnt/root/late && sync /mnt/root/late"
appliance_power_cut
lab_kill pc1
appliance_start
pc_start pc1 1
pc_boots "the PC gets its disk again after the power cut" pc1
check "its file system can be mounted" lab_run pc1 "mount /dev/sda1 /mnt"
check "the first file is there" lab_run pc1 "seq 200000 | cmp - /mnt/root/witness"
check "the second file is there" lab_run pc1 "seq 1000 | cmp - /mnt/root/late"
check "its file system is whole" lab_run pc1 "! dmesg | grep -iE 'EXT4-fs error|I/O error' && umount /mnt && e2fsck -fn /dev/sda1"
lab_end
