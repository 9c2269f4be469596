#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two PCs start from one appliance at the same time. One has UEFI: its firmware's own PXE fetches iPXE; it keeps what
# it writes. The other has a BIOS and a dynamic VHD: iPXE that came by TFTP asks DHCP again and must get the script, not
# itself once more. (Its card has iPXE in its ROM already, so undionly.kpxe is started from the ROM's command line; it
# works through the ROM's UNDI as through any other.) At their next start the first finds what it synced, the second a
# clean disk. Meanwhile a PC with disks of its own starts the capture system, asks on its screen, hears its keyboard and
# sends one of them. (What else capture does: tests/uml/test_capture.sh.)
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/lab.sh
. "$(dirname "$0")/lab.sh"
requires depmod partclone.extfs blkid
lab_start
# The capture system, of the appliance's kernel, and the disk that is sent: one partition, ext4.
mkdir "$LAB/modules" "$LAB/tree"
debugfs -R "rdump /usr/lib/modules $LAB/modules" "$LAB_TREE/appliance.ext4" >/dev/null 2>&1
appliance_stage
"$TOP/initramfs/capture/make-capture" "$LAB_TREE/kernel" "$LAB/modules/modules"/* "$O/bootwell-capture" \
	"$LAB/stage/usr/share/bootwell/capture" || lab_die "the capture system cannot be made"
truncate -s 16M "$LAB/blank.raw"
truncate -s 48M "$LAB/small.raw"
echo "start=2048, size=46M, type=83" | sfdisk -q "$LAB/small.raw"
head -c 9000000 /dev/urandom >"$LAB/tree/file"
mke2fs -q -F -t ext4 -E offset=1048576,lazy_itable_init=0,lazy_journal_init=0 -d "$LAB/tree" "$LAB/small.raw" 46M ||
	lab_die "mke2fs"
appliance_config_default "
	[client master]
	mac = 52:54:00:77:01:03
	upload = yes
	capture = small.vmdk
	[client vhd]
	mac = 52:54:00:77:01:01
	image = debian-vhd
	[client keeper]
	mac = 52:54:00:77:01:02
	keep = yes
	ibft-gateway = yes"
sed -i 's/^range = .*/&\nrouter = 10.77.0.254/' "$LAB/stage/etc/bootwell/bootwell.conf"
appliance_start
check "a plain PXE firmware is told undionly.kpxe" soft_pc a 9
check "that is: $soft_file" test "$soft_file" = undionly.kpxe

zero=$EPOCHREALTIME
pc_start pc2 2 uefi
pc_start pc1 1
LAB_PC_CPUS=2 pc_start pc3 3 -device VGA -drive "if=none,id=blank,file=$LAB/blank.raw,format=raw" \
	-device virtio-blk-pci,drive=blank -drive "if=none,id=disk,file=$LAB/small.raw,format=raw,snapshot=on" \
	-device virtio-blk-pci,drive=disk
console_wait pc1 60 'Press Ctrl-B for'
pc_key pc1 ctrl b
check "the ROM's command line" console_wait pc1 60 'iPXE> '
console_mark pc1
pc_type pc1 "dhcp"
console_wait pc1 60 'iPXE> '
console_mark pc1
pc_type pc1 "chain tftp://10.77.0.1/undionly.kpxe"
check "undionly.kpxe starts" console_wait pc1 120 'using undionly on'
check "it gets the script" console_wait pc1 120 'boot\.ipxe : [0-9]+ bytes \[script\]'
check "and starts the disk" console_wait pc1 240 'Welcome to GRUB'
# What went over the wire: one transfer each (a request that is sent again comes from the same port), no second round.
transfers() {
	tcpdump -nn -r "$LAB_LOGS/wire.pcap" "udp dst port 69 and ether src $(pc_mac pc1)" 2>/dev/null |
		grep -aE "RRQ \"/?(boot/[0-9a-f]+/)?$1\"" | awk '{ print $3 }' | sort -u | wc -l
}
check "undionly.kpxe was asked for once" test "$(transfers undionly.kpxe)" = 1
check "boot.ipxe was asked for once" test "$(transfers boot.ipxe)" = 1

# --- UEFI, by its firmware's own PXE
steps=$("$LAB_VM/steps" "$LAB_LOGS/wire.pcap" "$LAB_LOGS/pc2.console" "$(pc_mac pc2)" 10.77.0.1 "$zero" 300)
sed 's/^/# /' <<<"$steps"
pc_boots "a UEFI PC boots to its login" pc2 5
check "it asked as UEFI for x64" \
	grep -q 'PXEClient:Arch:00007' <(tcpdump -A -r "$LAB_LOGS/wire.pcap" 'udp dst port 67' 2>/dev/null | tr -d '\n')
check "it fetched snponly.efi by TFTP" grep -q 'tftp snponly.efi' <<<"$steps"
check "and then the script" grep -q 'tftp boot/[0-9a-f]*/boot.ipxe' <<<"$steps"
check "the kernel has run the programs that answer TFTP" \
	appliance "bootwell metrics | grep -E '^bootwell_bpf_runs_total\{program=\"(tc|xdp)\"\} [1-9]'"
check "its iBFT names the router, as it was told to" \
	lab_run pc2 "grep -qx 10.77.0.254 /sys/firmware/ibft/ethernet0/gateway"
check "its firmware is UEFI" lab_run pc2 "test -d /sys/firmware/efi"
check "it writes and syncs a file" lab_run pc2 "seq 100000 >/root/witness && sync"

# --- the PC that is captured
gone='capture ended with|could not be loaded|No network card|Kernel panic'
check "the capture system starts and knows who it is" console_wait pc3 300 'knows this PC as master' "$gone"
check "it asks which disk" console_wait pc3 60 'Number of the disk to send:' "$gone"
pc_type pc3 2
check "it sends that one" console_wait pc3 300 'has been captured' "$gone"
lab_kill pc3
content() { sed -n 's/.*SHA-256 of the content \([0-9a-f]\{64\}\).*/\1/p'; }
wanted=$("$O/bootwell" image verify "$LAB/small.raw" | content)
check "the image holds what the disk held" \
	test "${wanted:-none}" = "$(appliance "bootwell image verify /srv/bootwell/images/small.vmdk" | content)"

# --- BIOS, from the VHD
pc_boots "a BIOS PC boots from a dynamic VHD" pc1
check "its root is on iSCSI, by the iBFT, with CHAP" lab_script pc1 <<'END'
findmnt -no SOURCE / | grep -qx /dev/sda1 && readlink -f /sys/block/sda | grep -q '/session[0-9]*/' &&
	[ -n "$(cat /sys/firmware/ibft/target0/chap-name)" ] &&
	[ "$(cat /sys/class/iscsi_session/session*/targetname)" = "$(cat /sys/firmware/ibft/target0/target-name)" ]
END
check "its iBFT names no router: the server is on its own subnet" lab_script pc1 <<'END'
grep -q '^10\.77\.0\.1[0-9][0-9]' /sys/firmware/ibft/ethernet0/ip-addr && [ ! -s /sys/firmware/ibft/ethernet0/gateway ]
END
check "though DHCP has told it one" grep -q 'Default-Gateway.*10\.77\.0\.254' \
	<(tcpdump -vnr "$LAB_LOGS/wire.pcap" "udp src port 67 and ether dst $(pc_mac pc1)" 2>/dev/null)
check "the appliance shows it running from the VHD" \
	appliance "bootwell status | grep -E 'vhd .*running.*10.77.0.1[0-9][0-9].*debian-vhd'"
check "it writes and syncs a file too" lab_run pc1 "echo witness >/root/witness && sync && cat /root/witness"

# The PC with the BIOS is switched off, not reset: the memory that a reset leaves has the iBFT that undionly.kpxe made,
# at a lower address than the one of its ROM, and Linux takes the first that it finds.
lab_kill pc1
pc_start pc1 1
pc_reset pc2
pc_boots "the PC with the VHD starts again" pc1
refuse "what it wrote is gone" lab_run pc1 "test -e /root/witness"
pc_boots "the PC that keeps starts again" pc2
check "what it wrote is there" lab_run pc2 "seq 100000 | cmp - /root/witness"
lab_end
