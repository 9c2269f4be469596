#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The doctor looks into disks with an NTFS volume and a registry, made here with what is to be found.
. "$(dirname "$0")/../lib.sh"
requires mkntfs ntfscp ntfs-3g hivexsh sfdisk python3 jq qemu-img

# hive FILE: an empty registry file, root key and its security descriptor only
hive() {
	python3 - "$1" <<'END'
import struct, sys
cells = b''
# nk: root key; sk right behind it
nk = struct.pack('<2sHQ15IHH', b'nk', 0x2c, 0, 0, 0, 0, 0, 0xffffffff, 0xffffffff, 0, 0xffffffff, 0x80, 0xffffffff,
                 0, 0, 0, 0, 0, 4, 0) + b'root'
size = (4 + len(nk) + 7) // 8 * 8
assert size <= 0x60
cells += struct.pack('<i', -0x60) + nk.ljust(0x5c, b'\0')
sd = bytes([1, 0, 4, 0x80]) + bytes(16)
cells += struct.pack('<i2sHIIII', -0x30, b'sk', 0, 0x80, 0x80, 1, len(sd)) + sd.ljust(0x30 - 24, b'\0')
cells += struct.pack('<i', 0x1000 - 0x20 - len(cells)).ljust(0x1000 - 0x20 - len(cells), b'\0')
hbin = struct.pack('<4sIIQQI', b'hbin', 0, 0x1000, 0, 0, 0) + cells
head = bytearray(0x1000)
struct.pack_into('<4sIIQIIIIII', head, 0, b'regf', 1, 1, 0, 1, 3, 0, 1, 0x20, 0x1000)
head[44:48] = struct.pack('<I', 1)
x = 0
for i in range(0, 508, 4):
    x ^= struct.unpack_from('<I', head, i)[0]
struct.pack_into('<I', head, 508, x)
open(sys.argv[1], 'wb').write(bytes(head) + hbin)
END
}
wide() { printf '%s' "$1" | iconv -t UTF-16LE | od -An -v -tx1 | tr -d ' \n' | sed 's/../&,/g'; }
# registry FILE ISCSI NIC FILTER PAGEFILE: Start of initiator, of the card's driver, of a filter; where the page file is
registry() {
	hive "$1"
	local nic='{4d36e972-e325-11ce-bfc1-08002be10318}'
	hivexsh -w "$1" <<-END
		add Select
		cd Select
		setval 1
		Current
		dword:1
		cd \\
		add ControlSet001
		cd ControlSet001
		add Services
		add Enum
		add Control
		cd Services
		add iScsiPrt
		add msiscsi
		add e1iexpress
		add vmfilt
		cd iScsiPrt
		setval 1
		Start
		dword:$2
		cd ..
		cd msiscsi
		setval 1
		Start
		dword:$2
		cd ..
		cd e1iexpress
		setval 2
		Start
		dword:$3
		ImagePath
		string:\\SystemRoot\\System32\\drivers\\e1i.sys
		cd ..
		cd vmfilt
		setval 1
		Start
		dword:$4
		cd \\ControlSet001\\Enum
		add PCI
		cd PCI
		add VEN_8086&DEV_153A
		cd VEN_8086&DEV_153A
		add 3&11583659&0&C8
		cd 3&11583659&0&C8
		setval 2
		ClassGUID
		string:$nic
		Service
		string:e1iexpress
		cd \\ControlSet001\\Control
		add Class
		cd Class
		add $nic
		cd $nic
		add 0000
		cd 0000
		setval 1
		DriverDesc
		string:Intel I217
		add Linkage
		cd Linkage
		setval 1
		FilterList
		hex:7:$(wide '{11111111-2222-3333-4444-555555555555}-vmfilt-0000')00,00,00,00
		cd \\ControlSet001\\Control
		add Session Manager
		cd Session Manager
		add Memory Management
		cd Memory Management
		setval 1
		PagingFiles
		hex:7:$(wide "$5")00,00,00,00
		commit
	END
}
# disk FILE REGISTRY DRIVER: MBR, NTFS at 1 MiB
disk() {
	truncate -s 40M "$1"
	echo 'start=2048, type=7, bootable' | sfdisk -q "$1"
	truncate -s 39M "$TMP/ntfs"
	mkntfs -q -F -s 512 -p 2048 -H 255 -S 63 "$TMP/ntfs" >/dev/null 2>&1
	if [ -n "$2" ]; then
		mkdir -p "$TMP/mnt"
		ntfs-3g "$TMP/ntfs" "$TMP/mnt" 2>/dev/null || { skip_all "ntfs-3g cannot mount here"; }
		mkdir -p "$TMP/mnt/Windows/System32/config" "$TMP/mnt/Windows/System32/drivers"
		cp "$2" "$TMP/mnt/Windows/System32/config/SYSTEM"
		[ -z "$3" ] || cp "$3" "$TMP/mnt/Windows/System32/drivers/e1i.sys"
		umount "$TMP/mnt"
	fi
	dd if="$TMP/ntfs" of="$1" bs=1M seek=1 conv=notrunc,sparse status=none
	rm "$TMP/ntfs"
}
doctor() { "$O/bootwell" image doctor "$1" >"$TMP/out" 2>&1; }
says() { grep -qE -- "$1" "$TMP/out" || { sed 's/^/# /' "$TMP/out"; return 1; }; }
head -c 20000 /dev/urandom >"$TMP/ndis.sys"
{ head -c 5000 /dev/urandom; printf 'NetAdapterCx' | iconv -t UTF-16LE; head -c 5000 /dev/urandom; } >"$TMP/cx.sys"

registry "$TMP/good" 0 0 0 'C:\pagefile.sys 0 0' || skip_all "hivexsh cannot make a registry here"
disk "$TMP/good.raw" "$TMP/good" "$TMP/ndis.sys"
check "a Windows that can boot is found good" doctor "$TMP/good.raw"
check "the initiator is" says '^ok .*msiscsi\) starts with the kernel'
check "so is the card with its driver" says '^ok .*VEN_8086&DEV_153A: its driver e1iexpress starts with the kernel'
check "so is the filter" says '^ok .*vmfilt, bound to Intel I217'
check "so is the page file" says '^ok .*page file is on the system disk'
qemu-img convert -O vmdk "$TMP/good.raw" "$TMP/good.vmdk"
check "the same in a VMDK" doctor "$TMP/good.vmdk"

registry "$TMP/bad" 3 3 2 'D:\pagefile.sys 0 0'
disk "$TMP/bad.raw" "$TMP/bad" "$TMP/ndis.sys"
refuse "one that cannot is found bad" doctor "$TMP/bad.raw"
check "for its initiator" says '^BAD .*msiscsi\) does not start with the kernel'
check "with what it leads to" says 'bugcheck 7B'
check "for its card's driver" says '^BAD .*e1iexpress does not start with the kernel'
check "for a filter on the card" says '^BAD .*vmfilt is bound to Intel I217'
check "with the article" says 'KB976042'
check "and is warned of its page file" says '^watch .*page file is to be on another disk'
check "as JSON too" sh -c "'$O/bootwell' image doctor --json '$TMP/bad.raw' | jq -e '[.[] | select(.level == \"bad\")] | length == 4' >/dev/null"

disk "$TMP/cx.raw" "$TMP/good" "$TMP/cx.sys"
refuse "a NetAdapterCx driver cannot be booted from" doctor "$TMP/cx.raw"
check "which it says" says '^BAD .*NetAdapterCx'
disk "$TMP/none.raw" "$TMP/good" ""
refuse "nor one that is missing" doctor "$TMP/none.raw"
check "which it says" says '^BAD .*e1i.sys, is missing'

# --- what is no Windows, or broken
disk "$TMP/data.raw" "" ""
refuse "a disk without Windows" doctor "$TMP/data.raw"
check "is told from one with" says 'has no Windows'
head -c 70000 /dev/urandom >"$TMP/garbage"
disk "$TMP/garbage.raw" "$TMP/garbage" ""
refuse "a broken registry" doctor "$TMP/garbage.raw"
check "is said to be broken" says '^BAD .*registry .* cannot be read'
truncate -s 4M "$TMP/empty.vhd.raw"
qemu-img convert -O vpc -o force_size=on "$TMP/empty.vhd.raw" "$TMP/empty.vhd"
refuse "an empty disk" doctor "$TMP/empty.vhd"
check "has no partition table" says '^BAD .*no partition table'
cp "$TMP/good.raw" "$TMP/torn.raw"
dd if=/dev/urandom of="$TMP/torn.raw" bs=1M seek=1 count=12 conv=notrunc status=none
refuse "a torn NTFS does not end the doctor" doctor "$TMP/torn.raw"
