#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two PCs with disks of their own start the capture system. One (GRUB, ext4 with a Debian, FAT, NTFS with files) sends its disk
# to a .vmdk, as the configuration says, and its cable is pulled twice; the other (ext4, NTFS) asks what to send, sends it to
# a .vhd, and the server's disk is full in the middle. A diskless PC is given the Debian, and every file is as it was. (By
# firmware, with Debian's kernel, screen and keyboard: tests/vm/test_iso.sh.)
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/uml/lab.sh
. "$(dirname "$0")/lab.sh"
requires jq mkntfs ntfscp ntfscat partclone.ntfs blkid depmod e2image
lab_start

# --- the disks: the guest's with an NTFS partition behind, and a small one with ext4 and NTFS
# ntfs DISK: appends a partition of 64 MiB with three files
mkdir "$LAB/files"
for n in 1 2 3; do head -c 2000000 /dev/urandom >"$LAB/files/file$n"; done
ntfs() {
	local end n
	end=$(sfdisk -d "$1" | awk -F'[=,]' '/start=/ { e = $2 + $4; if (e > m) m = e } END { print m }')
	truncate -s $((end * 512 + (64 + 32) * 1048576)) "$1"
	echo "start=$end, size=64M, type=7" | sfdisk -q --append "$1" || lab_die "no NTFS partition"
	truncate -s 64M "$LAB/ntfs"
	mkntfs -q -F -p "$end" -H 255 -S 63 -L files "$LAB/ntfs" >/dev/null 2>&1 || lab_die "mkntfs"
	for n in 1 2 3; do ntfscp -q "$LAB/ntfs" "$LAB/files/file$n" "/file$n"; done
	dd if="$LAB/ntfs" of="$1" bs=1M seek=$((end * 512)) oflag=seek_bytes conv=notrunc,sparse status=none
	rm "$LAB/ntfs"
}
one=$LAB_DISKS/pc1.disk2 two=$LAB_DISKS/pc2.disk3
cp --sparse=always "$LAB_TREE/guest.raw" "$one"
ntfs "$one"
mkdir "$LAB/tree"
for n in 1 2 3 4 5 6; do head -c 20000000 /dev/urandom >"$LAB/tree/data$n"; done
lab_disk pc2 100M
truncate -s 301M "$two"
echo "start=2048, size=300M, type=83" | sfdisk -q "$two"
mke2fs -q -F -t ext4 -E "offset=1048576" -d "$LAB/tree" "$two" 300M || lab_die "mke2fs"
ntfs "$two"
rm -r "$LAB/tree"
truncate -s 100M "$LAB/blank.raw"
# partition DISK: the bytes of its NTFS partition
partition() {
	local start
	start=$(sfdisk -d "$1" | awk -F'[=,]' '/type=7/ { print $2 * 512 }')
	dd if="$1" bs=1M iflag=skip_bytes skip="$start" count=64 status=none
}
# used DISK OUT: the ext4 partition with all blocks that are in use, as e2fsprogs sees it; prints the sums of the NTFS files
used() {
	local n
	rm -f "$2"
	e2image -r -a -o 1048576 "$1" "$2" >/dev/null 2>&1 || echo "e2image: $1"
	partition "$1" >"$LAB/ntfs"
	for n in 1 2 3; do ntfscat "$LAB/ntfs" "/file$n" | sha256sum; done
	rm "$LAB/ntfs"
}
used "$one" "$LAB/one.wanted" >"$LAB/one.sums"
used "$two" "$LAB/two.wanted" >"$LAB/two.sums"
mkdir "$LAB/bin"
debugfs -R "rdump /usr/bin $LAB/bin" "$LAB/one.wanted" >/dev/null 2>&1
wanted_bin=$(cd "$LAB/bin/bin" && find . -type f -exec sha256sum {} + | sort -k2 | sha256sum)

# --- the capture system; the machines have their own kernel, which has all drivers that they need
appliance_stage
"$TOP/initramfs/capture/make-capture" "$LAB_TREE/kernel" "$lab_modules" "$O/bootwell-capture" "$LAB/stage/usr/share/bootwell/capture" ||
	lab_die "the capture system cannot be made"
appliance_config <<-END
	[server]
	state = /srv/bootwell/state
	[dhcp]
	mode = full
	interface = eth0
	range = 10.77.0.100-10.77.0.200
	[tftp]
	root = /usr/lib/ipxe
	[http]
	token = opensesame
	[images]
	path = /srv/bootwell/images
	[write-back]
	path = /srv/bootwell/store
	size = 1G
	[clients]
	ask-name = no
	[client master]
	mac = 52:54:00:77:01:01
	upload = yes
	capture = one.vmdk
	[client second]
	mac = 52:54:00:77:01:02
	upload = yes
	[client third]
	mac = 52:54:00:77:01:03
	[client other]
	mac = 52:54:00:77:02:03
	upload = yes
	[client lodger]
	mac = 52:54:00:77:02:04
END
appliance_start

# gets MAC IMAGE: this PC boots that image from now on
gets() { appliance "sed -i 's/^mac = $1/&\nimage = $2/' /etc/bootwell/bootwell.conf && bootwell config reload"; }
told() { appliance "bootwell status" | grep -E "^upload $1 by master: \[.*MiB of .*/s  [0-9]+:[0-9]+ left"; }
received() { appliance "bootwell status --json" | jq ".uploads[] | select(.file == \"$1\") | .received"; }
received_more() { [ "$(received "$1" || echo 0)" -gt "$2" ]; }
gone='capture ended with|could not be loaded|No network card|Kernel panic'

# A wire of 100 Mbit/s towards the appliance, so that there is something to see of what is sent.
lab_host tc qdisc add dev tap-appliance root tbf rate 100mbit burst 256k latency 50ms || lab_die "no slower wire"
check "a PC that is to be captured gets the capture system" capture_start pc1 1
check "so does one that has no image" capture_start pc2 2
check "the capture system knows who it is" console_wait pc1 300 'knows this PC as master' "$gone"
check "it shows the disk with its partitions" console_wait pc1 60 'ubdc3 .*ntfs  files' "$gone"
check "it sends" wait_for 180 received_more one.vmdk 10000000
check "its screen has a bar, the rate, the time left" console_wait pc1 60 '\[#+\.+\] +[0-9]+ %  .*MiB of .*/s  [0-9]+:[0-9]+ left' "$gone"
check "so has bootwell status" wait_for 60 told one.vmdk
lab_cut pc1
at=$(received one.vmdk)
lab_note "the cable is pulled at ${at:=0} bytes"
soft_pc other 3 && soft_pc lodger 4
out=$(BOOTWELL_TOKEN=opensesame soft other "$O/tests/net/tool_upload" send -s 10.77.0.1 -n one.vmdk -d "$LAB/blank.raw" 2>&1)
check "a second one of that name is refused: $out" grep -q "master is uploading one.vmdk" <<<"$out"
out=$(soft other "$O/tests/net/tool_upload" send -s 10.77.0.1 -n two.vmdk -d "$LAB/blank.raw" 2>&1)
check "so is a PC that may upload, without the secret of its capture system: $out" grep -q "uploads need the secret" <<<"$out"
out=$(soft lodger "$O/tests/net/tool_upload" send -s 10.77.0.1 -n two.vmdk -d "$LAB/blank.raw" 2>&1)
check "and a PC without the permission: $out" grep -q "uploads need the secret" <<<"$out"
lab_mend pc1
check "after a pulled cable it goes on" wait_for 180 received_more one.vmdk $((at + 20000000))
lab_cut pc1; sleep 4
check "the image is not in the catalogue yet" appliance "! bootwell image list | grep -q '^one '"
lab_mend pc1
lab_note "the cable was pulled at $(received one.vmdk) bytes"
check "after the second one it ends well" console_wait pc1 300 'has been captured' "$gone"
lab_kill pc1
lab_host tc qdisc change dev tap-appliance root tbf rate 40mbit burst 256k latency 50ms
# The first MiB: the boot loader and the partition table.
head -c 1048576 "$one" | sha256sum >"$LAB/first.wanted"
rm "$one"
check "the image is in the catalogue" appliance "bootwell image list | grep -E '^one .*vmdk.*one.vmdk'"

# --- a diskless PC boots it; the other PC with a disk, which has no image, is asked meanwhile
check "a PC is given the image" gets 52:54:00:77:01:03 one
pc_start pc3 3
check "the second PC asks which disk" console_wait pc2 60 'Number of the disk to send:' "$gone"
pc_type pc2 2
check "and for the name" console_wait pc2 30 'Name of the image' "$gone"
pc_type pc2 two.vhd
check "it sends" wait_for 180 received_more two.vhd 30000000
lab_cut pc2
appliance "fallocate -l \$((\$(df -B1 --output=avail /srv/bootwell | tail -1) - 40000000)) /srv/bootwell/ballast"
lab_mend pc2
lab_host tc qdisc delete dev tap-appliance root
check "the server's disk is full: its screen says so" console_wait pc2 180 "Not done: two.vhd: the server's disk .* is full; make room there, then go on: what was sent is kept"
check "it makes no image" appliance "! bootwell image list | grep -q '^two ' && ! ls /srv/bootwell/images | grep two"
kept=$(received two.vhd)
appliance "rm /srv/bootwell/ballast"
lab_kill pc2
capture_start pc2 2
check "with room again and a new start it asks again" console_wait pc2 300 'Number of the disk to send:' 'No network card|Kernel panic'
check "what was sent is there ($kept bytes)" [ "$(received two.vhd)" -ge "${kept:-1}" ]
pc_type pc2 2
console_wait pc2 30 'Name of the image'
pc_type pc2 two.vhd
check "it goes on and ends well" console_wait pc2 300 'has been captured' "$gone"
grep -aE 'MiB in use|Sending|Done|whole|header' "$LAB_LOGS/pc2.console" | cut -c16-140 | sed 's/^/# /'
lab_kill pc2
check "the image is in the catalogue" appliance "bootwell image list | grep -E '^two .*vhd.*two.vhd'"
check "both hold what was sent" appliance "bootwell image verify /srv/bootwell/images/one.vmdk && bootwell image verify /srv/bootwell/images/two.vhd"
pc_boots "a PC without a disk was given the first image meanwhile" pc3
ntfs_seen=$(LAB_LIMIT=240 lab_run pc3 "sha256sum </dev/sda3")
check "its boot loader and its partition table are the captured disk's" [ "$(lab_run pc3 "head -c 1048576 /dev/sda | sha256sum")" = "$(cat "$LAB/first.wanted")" ]
got=$(LAB_LIMIT=240 lab_run pc3 "mount /dev/sda1 /mnt && cd /mnt/usr/bin && find . -type f -exec sha256sum {} +" | sort -k2 | sha256sum)
check "it finds all of /usr/bin" [ "$got" = "$wanted_bin" ]
lab_end

# --- both as other people's programs read them
for image in one.vmdk two.vhd; do
	debugfs -R "dump /images/$image $LAB/$image" "$LAB_DISKS/appliance.data" >/dev/null 2>&1
	qemu-img convert -O raw "$LAB/$image" "$LAB/back.raw" && rm "$LAB/$image"
	used "$LAB/back.raw" "$LAB/got" >"$LAB/sums"
	[ $image = two.vhd ] || check "the PC saw the same NTFS partition" [ "$ntfs_seen" = "$(partition "$LAB/back.raw" | sha256sum)" ]
	check "$image: every file of the NTFS partition is what it was" cmp "$LAB/${image%.*}.sums" "$LAB/sums"
	check "$image: every block of the ext4 partition that is in use, too" cmp "$LAB/${image%.*}.wanted" "$LAB/got"
	check "$image: and e2fsck finds nothing wrong with it" sh -c 'e2fsck -fn "$1" >/dev/null 2>&1' _ "$LAB/got"
done
check "the sums are of three files" [ "$(sort -u "$LAB/one.sums" | wc -l)" = 3 ]
