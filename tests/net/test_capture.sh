#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A disk with partitions of ext4, NTFS, FAT and swap, and things between them, is captured from a loop device: every file is
# in the image with the same content, what nothing uses is not, and what is not clean is sent whole.
. "$(dirname "$0")/../lib.sh"
requires losetup partx sfdisk mkfs.ext4 mkntfs ntfscp ntfscat mkfs.vfat mcopy mkswap partclone.extfs partclone.ntfs blkid debugfs qemu-img
[ "$(id -u)" = 0 ] || skip_all "needs root: loop devices"
TOOL=$O/tests/net/tool_upload
CAPTURE=$O/bootwell-capture
PORT=11077
mkdir "$TMP/images" "$TMP/tree"
"$TOOL" serve "$TMP/images" $PORT >"$TMP/server.out" 2>&1 &
at_exit kill $!
wait_for 20 grep -q ready "$TMP/server.out" || { sed 's/^/# /' "$TMP/server.out"; not_ok "the server starts"; exit 1; }

# --- the disk: 1 MiB with a boot loader, then the partitions
D=$TMP/disk
truncate -s 600M "$D"
head -c 100000 /dev/urandom | dd of="$D" bs=512 seek=1 conv=notrunc status=none
sfdisk -q "$D" <<-END
	label: dos
	start=2048, size=300M, type=83
	size=128M, type=7
	size=64M, type=c
	size=32M, type=82
	END
# attach LOSETUP-ARGUMENTS...: a loop device with its partitions, which not every kernel looks for by itself
attach() {
	local d
	d=$(losetup "$@") || return 1
	[ -b "${d}p4" ] || partx -a "$d" || return 1
	wait_for 5 test -b "${d}p4" && echo "$d"
}
detach() { partx -d "$1" 2>/dev/null; losetup -d "$1"; }
dev=$(attach -fP --show "$D") || skip_all "no loop devices with partitions here"
at_exit detach "$dev"
for n in 1 2 3 4; do head -c 1500000 /dev/urandom >"$TMP/tree/file$n"; done
mkdir "$TMP/tree/folder" && head -c 77777 /dev/urandom >"$TMP/tree/folder/small"
# What used to be there before the file systems: nobody uses it.
head -c 40000000 /dev/urandom | dd of="${dev}p1" bs=1M seek=200 conv=notrunc status=none
head -c 20000000 /dev/urandom | dd of="${dev}p2" bs=1M seek=90 conv=notrunc status=none
head -c 20000000 /dev/urandom | dd of="${dev}p4" bs=1M seek=8 conv=notrunc status=none
mkfs.ext4 -q -E nodiscard -d "$TMP/tree" "${dev}p1"
mkntfs -q -Q -F "${dev}p2" >/dev/null 2>&1
for n in 1 2 3 4; do ntfscp -q "${dev}p2" "$TMP/tree/file$n" "/file$n"; done
mkfs.vfat -F 32 "${dev}p3" >/dev/null
mcopy -i "${dev}p3" "$TMP"/tree/file* ::
mkswap -L bwswap "${dev}p4" >/dev/null
sync

quietly() { "$@" >"$TMP/out" 2>&1; }
# same_files DEVICE: all files of the three file systems
same_files() {
	local dev=$1 n
	for n in 1 2 3 4; do
		debugfs -R "dump /file$n $TMP/got" "${dev}p1" 2>/dev/null; cmp -s "$TMP/got" "$TMP/tree/file$n" || { echo "# ext4 file$n"; return 1; }
		ntfscat "${dev}p2" "/file$n" >"$TMP/got" 2>/dev/null; cmp -s "$TMP/got" "$TMP/tree/file$n" || { echo "# ntfs file$n"; return 1; }
		rm -f "$TMP/got"; mcopy -n -i "${dev}p3" "::file$n" "$TMP/got"; cmp -s "$TMP/got" "$TMP/tree/file$n" || { echo "# fat file$n"; return 1; }
	done
	debugfs -R "dump /folder/small $TMP/got" "${dev}p1" 2>/dev/null; cmp -s "$TMP/got" "$TMP/tree/folder/small"
}
check "the disk to capture is as it should be" same_files "$dev"
capture() { "$CAPTURE" -s 127.0.0.1:$PORT -d "$(basename "$dev")" -l "$@" </dev/null >"$TMP/capture.out" 2>&1; }
for form in vmdk vhd; do
	check "captured to .$form" capture -n "pc.$form"
	sed 's/^/# /' "$TMP/capture.out"
	if [ $form = vmdk ]; then qf=vmdk; else qf=vpc; fi
	qemu-img convert -f $qf -O raw "$TMP/images/pc.$form" "$TMP/back"
	back=$(attach -rfP --show "$TMP/back")
	check "all files are in it with the same content" same_files "$back"
	check "ext4 is clean" quietly e2fsck -fn "${back}p1"
	check "so is NTFS" quietly ntfsfix -n "${back}p2"
	check "swap keeps its label" [ "$(blkid -p -o value -s LABEL "${back}p4")" = bwswap ]
	check "boot loader and partition table are the same" cmp -n 1048576 "$D" "$TMP/back"
	check "the last block of NTFS, its second boot sector, is there" cmp -n 4096 -i $((2048 * 512 + 428 * 1048576 - 4096)) "$D" "$TMP/back"
	detach "$back"
	mib=$(($(du -k "$TMP/images/pc.$form" | cut -f1) / 1024))
	check "what nothing uses was not sent ($mib MiB in the image)" [ "$mib" -lt 70 ]
	rm -rf "$TMP"/images/pc* "$TMP"/images/.catalogue* "$TMP"/images/.upload/pc "$TMP/back"
done

# --- not shut down cleanly: the bitmap may lie
quietly debugfs -w -R 'feature needs_recovery' "${dev}p1" # with the superblock's checksum right: blkid 2.41 knows it by that
sync
check "an ext4 with an open journal is captured" capture -n dirty.vhd
check "and sent whole, which it says" grep -q "not shut down cleanly: sent whole" "$TMP/capture.out"
check "with all that is on it" [ "$("$TOOL" digest "$TMP/images/dirty.vhd" | wc -c)" = 65 ]
qemu-img convert -f vpc -O raw "$TMP/images/dirty.vhd" "$TMP/back"
check "byte for byte" cmp -n $((300 * 1048576)) -i 1048576 "$D" "$TMP/back"

# --- not fit for an image: said before anything is sent, and refused where nobody answers
answer() { echo "$1" | "$CAPTURE" -s 127.0.0.1:$PORT -d "$(basename "$dev")" -l -n "$2" >"$TMP/capture.out" 2>&1; }
dd if="${dev}p2" of="$TMP/p2" bs=1M conv=sparse status=none
{ printf hibr; head -c 4092 /dev/zero; } >"$TMP/hiberfil.sys"
ntfscp -q "${dev}p2" "$TMP/hiberfil.sys" /hiberfil.sys
sync
refuse "a hibernated Windows" capture -n sleeps.vmdk
check "is said to be one" grep -q "not fit for an image: the Windows on partition 2 is hibernated" "$TMP/capture.out"
check "with the remedy" grep -q 'What helps: start it, say "powercfg /h off"' "$TMP/capture.out"
check "before anything is sent" grep -q "Nothing was sent" "$TMP/capture.out"
check "so nothing is there" [ ! -e "$TMP/images/sleeps.vmdk" ]
cp --sparse=always "$D" "$TMP/d.raw"
"$O/bootwell" image doctor "$TMP/d.raw" >"$TMP/doctor.out" 2>&1
check "the doctor says the same" grep -q '^BAD .*the Windows on partition 2 is hibernated' "$TMP/doctor.out"
rm -f "$TMP/d.raw"
refuse "no for an answer" answer n sleeps.vmdk
check "with yes it is sent" answer y sleeps.vmdk
check "and with -f" capture -f -n sleeps2.vmdk
check "which it says" grep -q "sent all the same" "$TMP/capture.out"
dd if="$TMP/p2" of="${dev}p2" bs=1M conv=notrunc status=none
printf -- '-FVE-FS-' | dd of="${dev}p3" bs=1 seek=3 conv=notrunc status=none
sync
refuse "a volume of BitLocker" capture -n locked.vmdk
check "is said to be one" grep -q "not fit for an image: partition 3 is encrypted with BitLocker" "$TMP/capture.out"
mkfs.vfat -F 32 "${dev}p3" >/dev/null
sync

# --- refused
check "an image of that name is refused" sh -c "! '$CAPTURE' -s 127.0.0.1:$PORT -d $(basename "$dev") -l -n dirty.vhd >'$TMP/out' 2>&1 </dev/null"
check "with the reason" grep -q "there is an image dirty already" "$TMP/out"
BOOTWELL_TOKEN=PC103 refuse "a PC without permission" capture -n no.vhd
check "is told so" grep -q "PC103 may not upload" "$TMP/capture.out"
refuse "a disk that is not there" "$CAPTURE" -s 127.0.0.1:$PORT -d sdzz -l -n x.vhd </dev/null 2>/dev/null
