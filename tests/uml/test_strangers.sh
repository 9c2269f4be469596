#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# One PC, one disk: another initiator name, a wrong secret, none, another PC's secret are refused, by libiscsi as a real
# initiator, whose judge of targets then finds the disk good. And what a plain PXE firmware is told. A Windows gets its PC's
# name before anybody has seen its disk.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/uml/lab.sh
. "$(dirname "$0")/lab.sh"
# shellcheck source=tests/unit/windows.sh
. "$(dirname "$0")/../unit/windows.sh"
requires iscsi-inq iscsi-ls iscsi-test-cu curl
lab_start
appliance_config_default "
	[image win]
	file = win.vmdk
	[client DESK-12]
	mac = 52:54:00:77:02:03
	image = win
	keep = yes
	computer-name = yes
	disks = debian-vhd, debian own"
# A Windows as far as its registry goes, and the libraries that the doctor needs.
head -c 20000 /dev/urandom >"$TMP/ndis.sys"
registry "$TMP/registry" 0 0 0 'C:\pagefile.sys 0 0'
disk "$TMP/win.raw" "$TMP/registry" "$TMP/ndis.sys"
mkdir -p "$LAB/stage/root" "$LAB/stage/usr/lib/x86_64-linux-gnu"
qemu-img convert -O vmdk "$TMP/win.raw" "$LAB/stage/root/win.vmdk"
cp -L /usr/lib/x86_64-linux-gnu/{libntfs-3g.so.89,libhivex.so.0,libarchive.so.13} "$LAB/stage/usr/lib/x86_64-linux-gnu/"
appliance_start
appliance "cp /root/win.vmdk /srv/bootwell/images/ && bootwell config reload"

check "a PXE firmware gets an address" soft_pc a 1
check "and the boot program for BIOS: $soft_file" test "$soft_file" = undionly.kpxe
check "iPXE in the same PC gets a script" soft_pc a 1 ipxe
target=$soft_target secret=$soft_secret initiator=$soft_initiator user=$soft_user
check "the owner logs in" soft a iscsi-inq -i "$initiator" "$(soft_url)"
refuse "another initiator name is refused" soft a iscsi-inq -i iqn.2026-01.org.example:stranger "$(soft_url)"
refuse "a wrong secret is refused" soft a iscsi-inq -i "$initiator" "$(soft_url "$user" wrongwrongwrong1)"
refuse "a wrong user is refused" soft a iscsi-inq -i "$initiator" "$(soft_url nobody "$secret")"
refuse "no CHAP at all is refused" soft a iscsi-inq -i "$initiator" "iscsi://10.77.0.1/$target/0"
refuse "discovery tells a stranger no target" grep -q "$target" <(lab_host timeout 20 iscsi-ls iscsi://10.77.0.1 2>&1)

check "another PC gets a disk of its own" soft_pc b 2 ipxe
refuse "which is not the first one's" test "$soft_target" = "$target"
refuse "the secrets differ" test "$soft_secret" = "$secret"
refuse "the other PC's name and secret do not open the first one's disk" \
	soft b iscsi-inq -i "$soft_initiator" "iscsi://$soft_user%$soft_secret@10.77.0.1/$target/0"
refuse "the first one's initiator name with the other's secret neither" \
	soft b iscsi-inq -i "$initiator" "iscsi://$soft_user%$soft_secret@10.77.0.1/$target/0"
check "the other PC opens its own" soft b iscsi-inq -i "$soft_initiator" "$(soft_url)"
out=$(lab_host curl -sS --max-time 30 tftp://10.77.0.1/boot.ipxe 2>&1)
refuse "who has no lease gets no secret by TFTP" grep -q 'set password' <<<"$out"
out=$(lab_host curl -sS --max-time 30 "http://10.77.0.1:8001/boot.ipxe?mac=52:54:00:77:02:01" 2>&1)
refuse "nor by HTTP with the first PC's MAC" grep -q 'set password' <<<"$out"
check "after all this the owner still logs in" soft a iscsi-inq -i "$initiator" "iscsi://$user%$secret@10.77.0.1/$target/0"

# libiscsi's own judge of targets, suite by suite. Where it expects something else, it is named: AllocLength and BlockLimits, for
# the kernel sends as much of INQUIRY's answer as was asked for (the rest is zeros) and does not say how much of it counts.
judge() { # SUITE [KNOWN...]
	local suite=$1 name bad=() passed; shift
	soft a timeout 300 iscsi-test-cu -i "$initiator" -d -t "$suite" "iscsi://$user%$secret@10.77.0.1/$target/0" >"$LAB_LOGS/judge-$suite" 2>&1
	passed=$(grep -c 'passed$' "$LAB_LOGS/judge-$suite")
	while read -r name; do [[ " $* " == *" $name "* ]] || bad+=("$name"); done \
		< <(awk '/^ *Test: / { name = $2 } /(^|\.\.\.)FAILED$/ { print name }' "$LAB_LOGS/judge-$suite")
	check "$suite: $passed passed${*:+, but for $*}${bad[*]:+; failed: ${bad[*]}}" [ "$passed" -gt 0 -a ${#bad[@]} = 0 ]
}
judge SCSI.Inquiry AllocLength BlockLimits
for suite in ModeSense6 Read6 Read10 Read12 Read16 ReadCapacity16 Unmap GetLBAStatus StartStopUnit Verify16 Write10 Write12 Write16 \
	WriteSame16 WriteVerify16; do judge SCSI.$suite; done
judge iSCSI.iSCSIcmdsn
judge iSCSI.iSCSITMF
check "the judge left nothing in the appliance's log" appliance "! dmesg | grep -E 'BUG|WARNING|APTPL|Oops'"

check "a PC with a Windows gets its disk" soft_pc c 3 ipxe
lun() { soft c iscsi-inq -i "$soft_initiator" "iscsi://$soft_user%$soft_secret@10.77.0.1/$soft_target/$1"; }
check "and its two further disks: LUN 1" lun 1
check "and LUN 2" lun 2
refuse "and no more" lun 3
check "the first of them can only be read" appliance "cat /sys/kernel/config/target/iscsi/$soft_target/tpgt_1/acls/$soft_initiator/lun_1/write_protect | grep -qx 1"
check "the second can be written to" appliance "cat /sys/kernel/config/target/iscsi/$soft_target/tpgt_1/acls/$soft_initiator/lun_2/write_protect | grep -qx 0"
record=$(appliance "grep -l '^client=DESK-12' /run/bootwell/disk/*-0.conf")
check "each has a write-back of its own" test "$(appliance "sed -n 's/^overlay=//p' ${record%-0.conf}-[012].conf | sort -u | wc -l")" = 3
overlay=$(appliance "sed -n 's/^overlay=//p' $record")
check "what belongs into its write-back is there before its script" appliance "! ls /run/bootwell/disk | grep patch"
check "nothing went wrong with it" appliance "! journalctl -b -u bootwell -u tcmu-runner | grep -E 'computer name|was to be in its write-back'"
# Whoever may still run is not removed: it takes a moment until a session that ended is known to have ended.
removed() { out=$(appliance "bootwell client remove DESK-12 2>&1"); }
check "its disk is closed" wait_for 60 removed
echo "# $out"
wait_for 60 appliance "! test -e $record"
check "nothing of its disks is left in the kernel" appliance "! ls /sys/kernel/config/target/core/user_0 | grep -q '^$(basename "${record%-0.conf}")-'"
check "its Windows would start under its own name" \
	appliance "/usr/lib/bootwell/bootwell-overlay /srv/bootwell/store $overlay | tr -d '\\0' | grep -qa DESK-12"
lab_end
