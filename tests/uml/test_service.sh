#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# While a PC works on its disk, a dynamic VHD, the configuration gets broken, a second server wants port 67 and the daemon is
# restarted: the PC notices none of it. It has two more disks: one that all PCs share and may only read, one that it may write
# to. At its next start all of them are clean again.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/uml/lab.sh
. "$(dirname "$0")/lab.sh"
lab_start
appliance_config_default "
	[client vhd]
	mac = 52:54:00:77:01:01
	image = debian-vhd
	disks = games, data own
	[image games]
	file = games.raw
	[image data]
	file = data.raw"
appliance_start
appliance "cd /srv/bootwell/images && truncate -s 48M games.raw && truncate -s 32M data.raw && mkdir /run/games && echo chess >/run/games/one &&
	mke2fs -q -L games -d /run/games games.raw && mke2fs -q -L data data.raw && bootwell config reload"

pc_start pc1 1
pc_boots "a PC gets its disk, a dynamic VHD" pc1
check "the appliance shows it running from the VHD" appliance "bootwell status | grep -E 'vhd .*running.*10.77.0.1[0-9][0-9].*debian-vhd'"

# lun N: the name of its disk in the PC
lun='lun() { ls /sys/class/scsi_device/*:$1/device/block; }'
check "it finds its two further disks, LUN 1 and 2" wait_for 60 lab_run pc1 \
	"$lun; [ \$(cat /sys/block/\$(lun 1)/size) = 98304 ] && [ \$(cat /sys/block/\$(lun 2)/size) = 65536 ]"
check "the first is shared, and can be read" lab_run pc1 "$lun; mount -o ro /dev/\$(lun 1) /mnt && grep -qx chess /mnt/one && umount /mnt"
check "it knows that it may not write there" lab_run pc1 "$lun; grep -qx 1 /sys/block/\$(lun 1)/ro"
refuse "and is refused by the target when it does" lab_run pc1 "$lun; sg_raw -s 512 -i /dev/zero /dev/\$(lun 1) 2a 00 00 00 00 08 00 00 01 00"
check "which leaves it as it was" lab_run pc1 "$lun; echo 3 >/proc/sys/vm/drop_caches; mount -o ro /dev/\$(lun 1) /mnt && grep -qx chess /mnt/one && umount /mnt"
check "the second can be written to" lab_run pc1 "$lun; mount /dev/\$(lun 2) /mnt && echo save >/mnt/game && umount /mnt && mount /dev/\$(lun 2) /mnt && cat /mnt/game && umount /mnt"

# The EFI system partition is nobody's here: 32 MiB to write to, at any sector. It goes on until it is told to stop.
lab_run pc1 "nohup fio --name=v --filename=/dev/sda2 --size=24M --rw=randrw --bsrange=512-64k --direct=1 --ioengine=libaio \
	--iodepth=8 --rate_iops=50 --verify=crc32c --verify_fatal=1 --time_based --runtime=3600 --output=/run/fio.out >/dev/null 2>&1 & echo \$! >/run/fio.pid"

appliance "sed -i 's/^range/rnage/' /etc/bootwell/bootwell.conf"
out=$(appliance "systemctl reload bootwell; bootwell config reload")
check "a mistake in the configuration is named with file and line: $out" grep -qE 'bootwell.conf:[0-9]+: .*rnage' <<<"$out"
check "the server goes on with the old one" appliance "systemctl is-active -q bootwell && bootwell status | grep -E 'vhd .*running'"
appliance "sed -i 's/^rnage/range/' /etc/bootwell/bootwell.conf"
check "the mended one is taken" appliance "bootwell config reload"

out=$(appliance "mkdir -p /tmp/second; sed -e 's,/srv/bootwell/state,/tmp/second,' -e '2a run = /tmp/second' -e '\$a [http]\nport = 8002' \
	/etc/bootwell/bootwell.conf >/tmp/second.conf; timeout 20 bootwelld -c /tmp/second.conf")
check "a second server says that port 67 is taken: $out" grep -qE 'port 67' <<<"$out"
check "the first one goes on" appliance "systemctl is-active -q bootwell && bootwell status | grep -E 'vhd .*running'"

old=$(appliance "pidof bootwelld")
appliance "systemctl restart bootwell"
check "bootwelld was restarted" test "$(appliance "pidof bootwelld")" != "$old"
check "it knows the running PC again" wait_for 20 appliance "bootwell status | grep -E 'vhd .*running'"

check "fio found every block as it had written it, through all of it" \
	lab_run pc1 "kill -0 \$(cat /run/fio.pid) && kill -INT \$(cat /run/fio.pid); tail --pid=\$(cat /run/fio.pid) -f /dev/null; cat /run/fio.out; grep -q 'err= 0' /run/fio.out"
check "the PC's kernel saw no error on its disk" lab_run pc1 "! dmesg | grep -iE 'I/O error|session.*recovery timed out|remounting'"

check "a file is written and synced" lab_run pc1 "mount /dev/sda1 /mnt && echo witness >/mnt/root/witness && sync && cat /mnt/root/witness"
lab_kill pc1
pc_start pc1 1
pc_boots "the PC starts again" pc1
check "the file is gone" lab_run pc1 "mount /dev/sda1 /mnt && test -d /mnt/root && ! test -e /mnt/root/witness && umount /mnt"
check "so is what it wrote to its second disk" wait_for 60 lab_run pc1 "$lun; mount /dev/\$(lun 2) /mnt && ! test -e /mnt/game && umount /mnt"
check "whose image is what it was" appliance "modprobe loop; mount -o ro,loop /srv/bootwell/images/data.raw /mnt && ! test -e /mnt/game && umount /mnt"
lab_end
