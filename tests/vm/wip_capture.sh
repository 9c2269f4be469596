#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A PC with a disk of its own (GRUB, ext4 with a Debian, FAT, NTFS with files) starts the capture system over PXE and sends
# its disk to a .vmdk, while its cable is pulled twice; a diskless PC boots that image and finds every file as it was.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lab.sh"
requires mkntfs ntfscp partclone.ntfs blkid depmod
lab_start

# --- the master PC's disk: the guest's, and an NTFS partition behind
disk=$LAB/master.raw
cp --sparse=always "$LAB_TREE/guest.raw" "$disk"
end=$(sfdisk -d "$disk" | awk -F'[=,]' '/start=/ { e = $2 + $4; if (e > m) m = e } END { print m }')
truncate -s $((end * 512 + (64 + 32) * 1048576)) "$disk"
echo "start=$end, size=64M, type=7" | sfdisk -q --append "$disk" || lab_die "no third partition"
truncate -s 64M "$LAB/ntfs"
mkntfs -q -F -p "$end" -H 255 -S 63 "$LAB/ntfs" >/dev/null 2>&1 || lab_die "mkntfs"
mkdir "$LAB/files"
for n in 1 2 3; do head -c 2000000 /dev/urandom >"$LAB/files/file$n"; ntfscp -q "$LAB/ntfs" "$LAB/files/file$n" "/file$n"; done
dd if="$LAB/ntfs" of="$disk" bs=512 seek="$end" conv=notrunc,sparse status=none

# --- the capture system, of the same kernel
mkdir "$LAB/modules"
debugfs -R "rdump /usr/lib/modules $LAB/modules" "$LAB_TREE/appliance.ext4" >/dev/null 2>&1
appliance_stage
"$TOP/initramfs/capture/make-capture" "$LAB_TREE/kernel" "$LAB/modules/modules"/* "$O/bootwell-capture" "$LAB/stage/usr/share/bootwell/capture" ||
	lab_die "the capture system cannot be made"
appliance_config_default "
	[client master]
	mac = 52:54:00:77:01:01
	upload = yes
	capture = pc.vmdk"
appliance_start

received() { appliance "bootwell status --json" | tr -d ' \n' | grep -oE '"received":[0-9]+' | cut -d: -f2; }
received_more() { [ "$(received || echo 0)" -gt "$1" ]; }

LAB_PC_CPUS=2 pc_start pc1 1 -device VGA -drive "if=none,id=disk,file=$disk,format=raw,cache=unsafe" -device virtio-blk-pci,drive=disk
check "the PC starts the capture system, which knows who it is" console_wait pc1 180 'knows this PC as master' 'could not be loaded|No network card'
check "it shows the disk with its partitions" console_wait pc1 60 'vda2? .*vfat|vda3 .*ntfs'
check "it sends" wait_for 120 received_more 50000000
lab_cut pc1; sleep 3; lab_mend pc1
lab_note "the cable was pulled at $(received) bytes"
check "after a pulled cable it goes on" wait_for 120 received_more 200000000
check "the image is not in the catalogue yet" appliance "! bootwell image list | grep -q '^pc '"
lab_cut pc1; sleep 4; lab_mend pc1
check "after the second one it ends well" console_wait pc1 300 'has been captured' 'capture ended with|Kernel panic'
check "the image is in the catalogue" appliance "bootwell image list | grep -E '^pc .*vmdk.*pc.vmdk'"
check "and holds what was sent" appliance "bootwell image verify /srv/bootwell/images/pc.vmdk"
grep -aE 'MiB in use|Sending|Done|whole' "$LAB_LOGS/pc1.console" | cut -c16-140 | sed 's/^/# /'
lab_kill pc1

# --- another PC, without a disk, from the captured image
pc_start pc2 2
check "it gets to know the second PC" wait_for 60 appliance "bootwell client list | grep -qi 52:54:00:77:01:02"
lab_kill pc2
name=$(appliance "bootwell client list" | awk 'tolower($0) ~ /52:54:00:77:01:02/ { print $1 }')
check "the second PC is given the captured image" appliance "bootwell client set $name --image pc"
pc_start pc2 2
pc_boots "it boots from it, without a disk" pc2
hashes() { sort -k2 | sha256sum | cut -d' ' -f1; }
mkdir "$LAB/tree"
dd if="$LAB_TREE/guest.raw" of="$LAB/root.ext4" bs=1M skip=1 count=1200 conv=sparse status=none
debugfs -R "rdump /boot $LAB/tree" "$LAB/root.ext4" >/dev/null 2>&1
debugfs -R "rdump /usr/bin $LAB/tree" "$LAB/root.ext4" >/dev/null 2>&1
want=$(cd "$LAB/tree" && find boot bin -type f -exec sha256sum {} + | sed 's,  bin/,  usr/bin/,' | hashes)
got=$(LAB_LIMIT=300 lab_run pc2 "cd / && find boot usr/bin -type f -exec sha256sum {} +" | hashes)
check "all files of /boot and /usr/bin are the same" [ "$want" = "$got" ]
want=$(cd "$LAB/files" && sha256sum file* | hashes)
got=$(lab_run pc2 "modprobe ntfs3 && mount -t ntfs3 -o ro /dev/sda3 /mnt && cd /mnt && sha256sum file*" | hashes)
check "so are those of the NTFS partition" [ "$want" = "$got" ]
lab_end
