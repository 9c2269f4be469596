#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# One PC, one disk: another initiator name, a wrong secret, none, another PC's secret are refused, by libiscsi as a real
# initiator. And what a plain PXE firmware is told.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/lab.sh
. "$(dirname "$0")/lab.sh"
requires iscsi-inq iscsi-ls curl
lab_start
appliance_config_default
appliance_start

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
lab_end
