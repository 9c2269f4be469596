#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The doctor looks into disks with an NTFS volume and a registry, made here with what is to be found, and into a Linux.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/unit/windows.sh
. "$(dirname "$0")/windows.sh"
requires jq qemu-img mke2fs cpio zstd gzip

doctor() { "$O/bootwell" image doctor "$1" >"$TMP/out" 2>&1; }
says() { grep -qE -- "$1" "$TMP/out" || { sed 's/^/# /' "$TMP/out"; return 1; }; }
head -c 20000 /dev/urandom >"$TMP/ndis.sys"
{ head -c 5000 /dev/urandom; printf 'NetAdapterCx' | iconv -t UTF-16LE; head -c 5000 /dev/urandom; } >"$TMP/cx.sys"

registry "$TMP/good" 0 0 0 'C:\pagefile.sys 0 0' || skip_all "hivexsh cannot make a registry here"
disk "$TMP/good.raw" "$TMP/good" "$TMP/ndis.sys"
check "a Windows that can boot is found good" doctor "$TMP/good.raw"
check "the initiator is" says '^ok .*iScsiPrt\) starts with the kernel'
check "its service too" says '^ok .*MSiSCSI\) starts by itself'
check "so is the card with its driver" says '^ok .*VEN_8086&DEV_153A: its driver e1iexpress starts with the kernel'
check "so is the filter" says '^ok .*vmfilt, bound to Intel I217'
check "so is the page file" says '^ok .*page file is on the system disk'
qemu-img convert -O vmdk "$TMP/good.raw" "$TMP/good.vmdk"
check "the same in a VMDK" doctor "$TMP/good.vmdk"

registry "$TMP/bad" 3 3 2 'D:\pagefile.sys 0 0'
disk "$TMP/bad.raw" "$TMP/bad" "$TMP/ndis.sys"
refuse "one that cannot is found bad" doctor "$TMP/bad.raw"
check "for its initiator" says '^BAD .*iScsiPrt\) does not start with the kernel'
check "with what it leads to" says 'bugcheck 7B'
check "for its card's driver" says '^BAD .*e1iexpress does not start with the kernel'
check "for a filter on the card, which is likely" says '^watch .*vmfilt, bound to Intel I217, does not start with the kernel'
check "with the article" says 'KB976042'
check "and is warned of its page file" says '^watch .*page file is to be on another disk'
check "as JSON too" sh -c "'$O/bootwell' image doctor --json '$TMP/bad.raw' | jq -e '[.[] | select(.level == \"bad\")] | length == 2' >/dev/null"

disk "$TMP/cx.raw" "$TMP/good" "$TMP/cx.sys"
check "a NetAdapterCx driver is likely not to boot, so it is not called bad" doctor "$TMP/cx.raw"
check "but is told of" says '^watch .*NetAdapterCx, with which a boot from iSCSI is reported to fail'
check "with how many cards are left" says '^watch .*0 of 1 wired network cards that it has seen have a driver that starts in time'
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
cp "$TMP/good.raw" "$TMP/torn.raw"
dd if=/dev/urandom of="$TMP/torn.raw" bs=4k seek=258 count=100 conv=notrunc status=none
"$O/bootwell-doctor" --computer-name desk-12 "xp 7 id" "$TMP" raw torn.raw 0 >/dev/null 2>"$TMP/out"
check "nor is one whose boot sector is whole taken for one without Windows" [ $? = 1 ]
check "when a name is to be set" says 'NTFS cannot be read'

# --- finer points
registry "$TMP/fine" 0 0 2 'C:\pagefile.sys 0 0' 'cd Services\e1iexpress
add StartOverride
cd StartOverride
setval 1
0
dword:3'
disk "$TMP/over.raw" "$TMP/fine" "$TMP/ndis.sys"
refuse "StartOverride counts" doctor "$TMP/over.raw"
check "more than Start" says '^BAD .*e1iexpress does not start with the kernel'
by_type() { # RUN-TYPE: a filter that says whether cards wait for it
	FILTER_RUN_TYPE=$1 registry "$TMP/guid" 0 0 3 'C:\pagefile.sys 0 0'
	disk "$TMP/guid.raw" "$TMP/guid" "$TMP/ndis.sys"
}
by_type 1
check "a filter that is bound by its GUID is found" doctor "$TMP/guid.raw"
check "when it is mandatory" says '^watch .*vmfilt, bound to Intel I217, does not start'
by_type 2
check "one that is optional is no matter" doctor "$TMP/guid.raw"
check "which it says" says '^ok .*vmfilt.* does not wait for'
registry "$TMP/guid" 0 0 3 'C:\pagefile.sys 0 0' "cd \\ControlSet001\\Control\\Class\\{4d36e972-e325-11ce-bfc1-08002be10318}\\0000\\Linkage
setval 1
FilterList
hex:7:$(wide "{11111111-2222-3333-4444-555555555555}-vmfilt-0000")00,00,00,00"
disk "$TMP/guid.raw" "$TMP/guid" "$TMP/ndis.sys"
check "one of which nothing says what it is does not count as bad" doctor "$TMP/guid.raw"
check "but is told of" says '^\? .*vmfilt.*nothing says whether the card waits'

mkdir -p "$TMP/inf/Windows/INF"
printf '[Version]\r\nClass = Net ; cards\r\n[Intel]\r\n%%a%% = x, PCI\\VEN_8086&DEV_153A\r\n%%b%% = x, PCI\\VEN_8086&DEV_1559&SUBSYS_0\r\n; PCI\\VEN_10EC&DEV_8168\r\n' |
	iconv -t UTF-16 >"$TMP/inf/Windows/INF/oem3.inf"
printf '[version]\nClassGUID={4D36E972-E325-11CE-BFC1-08002BE10318}\n%%a%%=x,pci\\ven_10ec&dev_8168\n' >"$TMP/inf/Windows/INF/netrt.inf"
printf '[Version]\nClass=Display\n%%a%%=x,PCI\\VEN_10DE&DEV_0001\n' >"$TMP/inf/Windows/INF/oem4.inf"
disk "$TMP/inf.raw" "$TMP/good" "$TMP/ndis.sys" "$TMP/inf"
doctor "$TMP/inf.raw"
check "drivers of network cards are counted" says 'has 2 drivers for 3 kinds of PCI network cards'
"$O/bootwell" image doctor --cards "$TMP/inf.raw" >"$TMP/out" 2>&1
check "and listed" says 'oem3.inf is a driver for 8086:153a 8086:1559$'
check "from all of Windows' folder" says 'netrt.inf is a driver for 10ec:8168$'
refuse "but not those of other things" says '10de|oem4'

# --- mending: what bootwell-doctor tells a commit, laid over the disk as a commit does
patch() { # FILE STREAM
	python3 - "$1" "$2" <<'END'
import struct, sys
s = open(sys.argv[2], 'rb').read()
assert s[:8] == b'BWOVRLY1' and s[64:320].rstrip(b'\0') == b'xp 7 id', s[64:320]
at, n = 320, 0
with open(sys.argv[1], 'r+b') as f:
    while True:
        o, l, k = struct.unpack_from('<QII', s, at)
        at += 16
        if o == 2**64 - 1: break
        assert k == 1 and l % 512 == 0
        f.seek(o); f.write(s[at:at + l]); at += l; n += l
assert at == len(s) and n == struct.unpack_from('<Q', s, 16)[0] and n > 0
END
}
mend() { "$O/bootwell-doctor" --mend "xp 7 id" "$TMP" raw "$1" 0 >"$TMP/stream" 2>"$TMP/out"; }
sum=$(sha256sum <"$TMP/bad.raw")
check "what is bad is mended" mend bad.raw
check "it says what: the initiator" says 'iScsiPrt\) starts with the kernel now'
check "the card" says 'e1iexpress starts with the kernel now'
check "the filter" says 'vmfilt.* starts with the kernel now'
check "the page file" says 'page file is on the system disk now'
check "the image itself is what it was" test "$sum" = "$(sha256sum <"$TMP/bad.raw")"
cp --sparse=always "$TMP/bad.raw" "$TMP/mended.raw"
check "laid over it" patch "$TMP/mended.raw" "$TMP/stream"
check "it is a disk that can be booted from" doctor "$TMP/mended.raw"
check "its file system is sound" sh -c "dd if='$TMP/mended.raw' of='$TMP/ntfs' bs=1M skip=1 conv=sparse status=none && ntfsfix -n '$TMP/ntfs' >/dev/null"
check "Windows' own tools would say the same" test "$(get "$TMP/mended.raw" 'ControlSet001\Services\iScsiPrt' Start)" = 0
mend over.raw
cp --sparse=always "$TMP/over.raw" "$TMP/mended.raw"
patch "$TMP/mended.raw" "$TMP/stream"
check "StartOverride is mended with it" doctor "$TMP/mended.raw"
mend good.raw
check "nothing to mend is not a mend" [ $? = 3 ]
mend none.raw
check "nor what cannot be mended" [ $? = 3 ]
check "which is told" says 'not mended: .*e1i.sys, is missing'
mend data.raw
check "only a Windows is" says 'only a Windows can be mended'

# A Windows that still has something in its logs would write it over the change.
registry "$TMP/torn" 3 3 2 'D:\pagefile.sys 0 0'
stale "$TMP/torn"
disk "$TMP/tornhive.raw" "$TMP/torn" "$TMP/ndis.sys"
mend tornhive.raw
check "a registry that was not written out is not changed" [ $? = 3 ]
check "with what to do" says 'not shut down wholly'
mkdir -p "$TMP/hiber"
{ printf 'hibr'; head -c 4092 /dev/zero; } >"$TMP/hiber/hiberfil.sys"
disk "$TMP/hiber.raw" "$TMP/bad" "$TMP/ndis.sys" "$TMP/hiber"
mend hiber.raw
check "nor a Windows that sleeps (fast start-up)" [ $? = 3 ]
check "with what to do, too" says 'not shut down wholly'

# --- the computer's name
name() { "$O/bootwell-doctor" --computer-name "$1" "xp 7 id" "$TMP" raw "$2" 0 >"$TMP/stream" 2>"$TMP/out"; }
check "a name is set" name desk-12 good.raw
cp --sparse=always "$TMP/good.raw" "$TMP/named.raw"
check "in few sectors" patch "$TMP/named.raw" "$TMP/stream"
check "NetBIOS' in capitals" test "$(get "$TMP/named.raw" 'ControlSet001\Control\ComputerName\ComputerName' ComputerName)" = DESK-12
check "TCP/IP's" test "$(get "$TMP/named.raw" 'ControlSet001\Services\Tcpip\Parameters' Hostname)" = desk-12
check "both of it" test "$(get "$TMP/named.raw" 'ControlSet001\Services\Tcpip\Parameters' 'NV Hostname')" = desk-12
name desk-12 named.raw
check "the same again is nothing" [ $? = 3 ]
name desk-12 data.raw
check "no Windows, no name" [ $? = 3 ]
truncate -s 1M "$TMP/nothing.raw"
name desk-12 nothing.raw
check "nor on an empty disk" [ $? = 3 ]
name desk-12 hiber.raw
check "a Windows that sleeps is not named" [ $? = 1 ]
check "which is said first" sh -c "head -1 '$TMP/out' | grep -q 'not shut down wholly'"

# --- Linux
# initrd FILE AUTO MODULES...: as Debian's, with microcode before it
initrd() {
	local out=$1 auto=$2 root=$TMP/initrd m; shift 2
	rm -rf "$root" "$root.cpu"
	mkdir -p "$root/usr/sbin" "$root/etc" "$root/scripts/local-top" "$root.cpu/kernel/x86"
	for m; do mkdir -p "$root/usr/lib/modules/6.1/kernel/${m%/*}" && echo x >"$root/usr/lib/modules/6.1/kernel/$m.ko"; done
	touch "$root/scripts/local-top/iscsi" "$root/usr/sbin/iscsistart"
	[ -z "$auto" ] || echo "$auto" >"$root/etc/iscsi.initramfs"
	head -c 3000000 /dev/urandom >"$root/usr/sbin/large"
	head -c 70000 /dev/urandom >"$root.cpu/kernel/x86/microcode.bin"
	{ (cd "$root.cpu" && find . | cpio -o -H newc --quiet); (cd "$root" && find . | cpio -o -H newc --quiet) | ${compress:-zstd -q}; } >"$out"
}
linux_disk() { # FILE: ext4 at 1 MiB with what is in $TMP/root
	rm -f "$1"
	truncate -s 60M "$1"
	echo 'start=2048' | sfdisk -q "$1"
	rm -f "$TMP/ext"
	mke2fs -q -t ext4 -d "$TMP/root" "$TMP/ext" 55M >/dev/null 2>&1
	dd if="$TMP/ext" of="$1" bs=1M seek=1 conv=notrunc,sparse status=none
}
mkdir -p "$TMP/root/boot/grub" "$TMP/root/etc"
echo 'ID=debian' >"$TMP/root/etc/os-release"
all="drivers/scsi/iscsi_tcp drivers/firmware/iscsi_ibft drivers/net/ethernet/intel/e1000e/e1000e drivers/net/phy/realtek"
# shellcheck disable=SC2086
for compress in "zstd -q" gzip "xz --check=crc32" "lz4 -lq" cat; do
	command -v "${compress%% *}" >/dev/null || { echo "ok - Linux, ${compress%% *} # SKIP it is not installed"; continue; }
	initrd "$TMP/root/boot/initrd.img-6.1" ISCSI_AUTO=true $all
	linux_disk "$TMP/linux.raw"
	check "a Linux that logs in is found good (${compress%% *})" doctor "$TMP/linux.raw"
done
check "by what it has" says '^ok .*initrd.img-6.1 logs in .*iBFT.* 1 drivers'
# shellcheck disable=SC2086
initrd "$TMP/root/boot/initrd.img-6.1" "" $all
linux_disk "$TMP/linux.raw"
refuse "one that is not told to" doctor "$TMP/linux.raw"
check "is found" says '^BAD .*not told to log in'
echo 'linux /vmlinuz root=LABEL=x iscsi_auto' >"$TMP/root/boot/grub/grub.cfg"
linux_disk "$TMP/linux.raw"
check "the boot loader may tell it, too" doctor "$TMP/linux.raw"
initrd "$TMP/root/boot/initrd.img-6.1" ISCSI_AUTO=true drivers/scsi/sd_mod
linux_disk "$TMP/linux.raw"
refuse "one without drivers" doctor "$TMP/linux.raw"
check "for iSCSI" says '^BAD .*has no iscsi_tcp'
check "for the firmware's table" says '^BAD .*has no iscsi_ibft'
check "for the network" says '^BAD .*no driver of a network card'
check "with the way out" says 'update-initramfs'
head -c 400000 "$TMP/root/boot/initrd.img-6.1" >"$TMP/short" && mv "$TMP/short" "$TMP/root/boot/initrd.img-6.1"
linux_disk "$TMP/linux.raw"
doctor "$TMP/linux.raw"
check "a torn one is said to be" says '^watch .*initrd.img-6.1 cannot be read'
rm "$TMP/root/boot/initrd.img-6.1"
linux_disk "$TMP/linux.raw"
refuse "one without any" doctor "$TMP/linux.raw"
check "is said to have none" says '^BAD .*no initial RAM disk'
