#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What makes an image worthless is BAD for the doctor, with the remedy, and for capture (tests/net/test_capture.sh),
# which has its sentences from the same table.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/unit/windows.sh
. "$(dirname "$0")/windows.sh"
requires mkfs.vfat mmd mcopy xargs ntfsfix sfdisk

says() { grep -qE -- "$1" "$TMP/out" || { sed 's/^/# /' "$TMP/out"; return 1; }; }
silent() { ! grep -qE -- "$1" "$TMP/out" || { sed 's/^/# /' "$TMP/out"; return 1; }; }
doctor() { "$O/bootwell" image doctor "$1" >"$TMP/out" 2>&1; }
# bad WHAT FILE SENTENCE REMEDY
bad() {
	refuse "$1 is bad" doctor "$2"
	check "which it says" says "^BAD +$3"
	check "with the remedy" says "-> $4"
}
head -c 20000 /dev/urandom >"$TMP/ndis.sys"
registry "$TMP/good" 0 0 0 'C:\pagefile.sys 0 0' || skip_all "hivexsh cannot make a registry here"
disk "$TMP/good.raw" "$TMP/good" "$TMP/ndis.sys"
check "a disk that is fit is" doctor "$TMP/good.raw"

mkdir "$TMP/hiber"
for magic in hibr HIBR; do
	{ printf %s $magic; head -c 4092 /dev/zero; } >"$TMP/hiber/hiberfil.sys"
	disk "$TMP/hiber.raw" "$TMP/good" "$TMP/ndis.sys" "$TMP/hiber"
	bad "a Windows that sleeps ($magic)" "$TMP/hiber.raw" \
		'the Windows on partition 1 is hibernated' 'start it, say "powercfg /h off"'
done
{ printf 'wake'; head -c 4092 /dev/zero; } >"$TMP/hiber/hiberfil.sys"
disk "$TMP/awake.raw" "$TMP/good" "$TMP/ndis.sys" "$TMP/hiber"
check "one that woke up again is fit" doctor "$TMP/awake.raw"

cp --sparse=always "$TMP/good.raw" "$TMP/dirty.raw"
dd if="$TMP/dirty.raw" of="$TMP/ntfs" bs=1M skip=1 conv=sparse status=none
ntfsfix "$TMP/ntfs" >/dev/null 2>&1 # marks it, so that Windows checks it
dd if="$TMP/ntfs" of="$TMP/dirty.raw" bs=1M seek=1 conv=notrunc status=none
bad "a dirty NTFS" "$TMP/dirty.raw" 'the NTFS of partition 1 was not closed' 'start its Windows, say "chkdsk /f"'

cp --sparse=always "$TMP/good.raw" "$TMP/locked.raw"
printf -- '-FVE-FS-' | dd of="$TMP/locked.raw" bs=1 seek=$((1048576 + 3)) conv=notrunc status=none
bad "BitLocker" "$TMP/locked.raw" 'partition 1 is encrypted with BitLocker' 'say "manage-bde -off"'

truncate -s 20M "$TMP/4kn.raw"
printf '\x55\xaa' | dd of="$TMP/4kn.raw" bs=1 seek=510 conv=notrunc status=none
printf '\xee' | dd of="$TMP/4kn.raw" bs=1 seek=450 conv=notrunc status=none
printf 'EFI PART' | dd of="$TMP/4kn.raw" bs=1 seek=4096 conv=notrunc status=none
bad "a disk with sectors of 4096 bytes" "$TMP/4kn.raw" \
	'the disk has sectors of 4096 bytes' 'install it on a disk with sectors of 512'
check "and that is what it is, not a disk without partitions" silent 'no partition table'

cp --sparse=always "$TMP/good.raw" "$TMP/ldm.raw"
sfdisk -q --part-type "$TMP/ldm.raw" 1 42
bad "a dynamic disk" "$TMP/ldm.raw" 'partition 1 is of a dynamic disk' 'make it a basic disk'
for type in 5808C8AA-7E8F-42E0-85D2-E1E90434CFB3 AF9B60A0-1431-4F62-BC68-3311714A69AD; do
	rm -f "$TMP/ldm.raw"
	truncate -s 20M "$TMP/ldm.raw"
	printf 'label: gpt\nstart=2048, size=2M\ntype=%s\n' $type | sfdisk -q "$TMP/ldm.raw"
	bad "one with a GPT ($type)" "$TMP/ldm.raw" 'partition 2 is of a dynamic disk' 'make it a basic disk'
done

rm -f "$TMP/cut.raw"
truncate -s 40M "$TMP/cut.raw"
printf 'start=2048, size=4M\nsize=30M\n' | sfdisk -q "$TMP/cut.raw"
truncate -s 30M "$TMP/cut.raw"
bad "a partition past the end" "$TMP/cut.raw" 'partition 2 ends behind the end of the disk' 'capture the whole disk'
check "which the one before it is not" silent 'partition 1 ends'
truncate -s 5M "$TMP/cut.raw"
bad "one that begins there, too" "$TMP/cut.raw" 'partition 2 ends behind the end of the disk' 'capture the whole disk'

# --- what firmware looks for ------------------------------------------------------------------------------------
# esp FAT MIB SECTORS-OF-A-CLUSTER: a GPT with an EFI system partition, $at is where mtools find it
esp() {
	local f=$TMP/esp.raw
	rm -f "$f"
	truncate -s $(($2 + 2))M "$f"
	printf 'label: gpt\nstart=2048, size=%uM, type=U\n' "$2" | sfdisk -q "$f"
	at=$f@@1M
	mkfs.vfat -F "$1" -s "$3" --offset 2048 "$f" $(($2 * 1024 - 1024)) >/dev/null 2>&1 &&
		mmd -i "$at" ::/EFI ::/EFI/debian
}
head -c 5000 /dev/urandom >"$TMP/grub.efi"
for fat in "12 4 4" "16 20 1" "32 42 1"; do
	# shellcheck disable=SC2086
	esp $fat
	mcopy -i "$at" "$TMP/grub.efi" ::/EFI/debian/grubx64.efi
	doctor "$TMP/esp.raw"
	check "FAT $fat: a boot loader that only its own PC knows of is told of" \
		says '^watch .*EFI system partition 1 has no .EFI.BOOT.BOOTX64.EFI'
	check "with what helps" says 'grub-install --removable'
	# The folder has more than a cluster of other files before it.
	for ((i = 0; i < 70; i++)); do echo "::/EFI/vendor with a long name $i"; done | xargs -d '\n' mmd -i "$at"
	mmd -i "$at" ::/EFI/Boot && mcopy -i "$at" "$TMP/grub.efi" ::/EFI/Boot/bootx64.efi
	doctor "$TMP/esp.raw"
	check "the one that all look for is good" says '^ok .*EFI system partition 1 has'
done
# A FAT32 with fewer clusters than one should have, as many have.
python3 - "$TMP/esp.raw" <<'END'
import struct, sys
def entry(name, folder, cluster, size=0):
    return name.ljust(11) + struct.pack("<B8xHHHHI", 0x10 if folder else 0x20, 0, 0, 0, cluster, size)
boot = struct.pack("<3s8sHBHBHHBHHHIIIHHI", b"\xeb\x58\x90", b"mkfs.fat", 512, 1, 32, 1, 0, 0, 0xf8, 0, 32, 2, 2048, 40,
                   1, 0, 0, 2).ljust(510, b"\0") + b"\x55\xaa"
fat = struct.pack("<6I", *[0x0fffffff] * 6)
data = [entry(b"EFI", True, 3), entry(b"BOOT", True, 4), entry(b"BOOTX64 EFI", False, 5, 9), b"a program"]
with open(sys.argv[1], "r+b") as f:
    f.seek(1 << 20)
    f.write(boot.ljust(32 * 512, b"\0") + fat.ljust(512, b"\0") + b"".join(d.ljust(512, b"\0") for d in data))
END
doctor "$TMP/esp.raw"
check "a FAT32 of few clusters is read" says '^ok .*EFI system partition 1 has'
head -c 600 /dev/urandom | dd of="$TMP/esp.raw" bs=1 seek=1048576 conv=notrunc status=none
doctor "$TMP/esp.raw"
check "one that is damaged is not judged" says '^\? .*EFI system partition 1 cannot be looked into'
