#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What makes an image worthless is BAD for the doctor, with the remedy, and for capture (tests/net/test_capture.sh),
# which has its sentences from the same table.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/unit/windows.sh
. "$(dirname "$0")/windows.sh"
requires ntfsfix sfdisk

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
