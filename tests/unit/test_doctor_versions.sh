#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The doctor on registries as XP, 7, 8, 10 and 11 have them: small ones made here, with the keys and values that the
# real ones have where the doctor looks. BAD is for what is certain. What a real registry holds stands in the head
# comments of daemon/doctor/services.c and cards.c; tests/unit/test_doctor_hives.sh looks at real ones.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/unit/windows.sh
. "$(dirname "$0")/windows.sh"
requires jq

doctor() { "$O/bootwell" image doctor "$1" >"$TMP/out" 2>&1; }
says() { grep -qE -- "$1" "$TMP/out" || { sed 's/^/# /' "$TMP/out"; return 1; }; }
silent() { ! grep -qE -- "$1" "$TMP/out" || { sed 's/^/# /' "$TMP/out"; return 1; }; }
times() { [ "$(grep -cE -- "$2" "$TMP/out")" = "$1" ] || { sed 's/^/# /' "$TMP/out"; return 1; }; }
head -c 20000 /dev/urandom >"$TMP/ndis.sys"

NET='{4d36e972-e325-11ce-bfc1-08002be10318}'
SERVICES='ControlSet001\Control\Network\{4d36e974-e325-11ce-bfc1-08002be10318}'
FILTERS='ControlSet001\Control\NetworkSetup2\Filters'
PACER='{B5F4D659-7DAA-4565-8E41-BE220ED60542}'
WFP='{3BFD7820-D65C-4C1B-9FEA-983A019639EA}'
NDISCAP='{EA24CD6C-D17A-4348-9190-09F0D5BE83DD}'
L2BRIDGE='{F15DC512-1E94-4CDB-9B42-27A953C64E67}'
NWIFI='{E475CF9A-60CD-4439-A75F-0079CE0E18A1}'
service() { # NAME START [VALUE...]
	echo "[ControlSet001\\Services\\$1]"
	echo "Start=$2"
	shift 2
	printf '%s\n' "$@"
}
basis() { # what all have; ISCSI: values of iScsiPrt behind Start 3
	printf '[Select]\nCurrent=1\nDefault=1\n'
	printf '[ControlSet001\\Control\\Session Manager\\Memory Management]\nPagingFiles=m:?:\\pagefile.sys\n'
	service NDIS 0
	service MSiSCSI 3
}
# card NUMBER MODEL DESCRIPTION SERVICE IFTYPE [FILTER...]: a PCI network card and its adapter, with the filters
# that are bound to it
card() {
	local number=$1 list='' place=0 f
	echo "[ControlSet001\\Enum\\PCI\\$2\\3&11583659&0&$number]"
	printf 'ClassGUID=s:%s\nDriver=s:%s\\%s\nService=s:%s\n' "$NET" "$NET" "$number" "$4"
	echo "[ControlSet001\\Control\\Class\\$NET\\$number]"
	printf 'DriverDesc=s:%s\nMatchingDeviceId=s:PCI\\%s\n*IfType=%s\n' "$3" "$2" "$5"
	shift 5
	for f; do
		list="$list${list:+|}{5F3F359E-9D52-4566-9BEC-37EFDFB25ABE}-$f-000$place"
		place=$((place + 1))
	done
	[ -z "$list" ] || printf '[ControlSet001\\Control\\Class\\%s\\%s\\Linkage]\nFilterList=m:%s\n' \
		"$NET" "$number" "$list"
}
# filter GUID SERVICE [VALUE...], and from Windows 10 on kernel GUID [VALUE...]
filter() { printf '[%s\\%s\\Ndi]\nService=s:%s\n' "$SERVICES" "$1" "$2"; shift 2; printf '%s\n' "$@"; }
kernel() { printf '[%s\\%s\\Kernel]\nFilterClass=s:x\n' "$FILTERS" "$1"; shift; printf '%s\n' "$@"; }

# software BUILD UBR KIND: SOFTWARE, into the disk that is made next; "" "" "": none
software() {
	rm -rf "$TMP/more"
	DISK_MORE=
	[ -n "$1" ] || return 0
	mkdir -p "$TMP/more"
	{
		printf '[Microsoft\\Windows NT\\CurrentVersion]\nCurrentBuild=s:%s\n' "$1"
		echo "ProductName=s:Windows of build $1"
		[ -z "$2" ] || echo "UBR=$2"
		[ -z "$3" ] || echo "InstallationType=s:$3"
	} | hive_of "$TMP/more/SOFTWARE"
	DISK_MORE='more'
}
more() { cp "$TMP/more/SOFTWARE" "$1/Windows/System32/config/SOFTWARE"; }
# look NAME <TEXT: makes the registry and its disk, and lets the doctor look; its status
look() { hive_of "$TMP/$1" && disk "$TMP/$1.raw" "$TMP/$1" "$TMP/ndis.sys" && doctor "$TMP/$1.raw"; }
mend() { "$O/bootwell-doctor" --mend "xp 7 id" "$TMP" raw "$1" 0 >"$TMP/stream" 2>"$TMP/out"; }
intel() { card 0001 VEN_8086\&DEV_10D3 'Intel 82574L' e1i 6 "$@"; }
# late: an initiator and a driver that start late, without BootFlags
late() { basis; service Tcpip 0; service iScsiPrt 3; service e1i 3 "$E1"; intel; }
E1='ImagePath=s:\SystemRoot\System32\drivers\e1i.sys'

# --- Windows XP: no BootFlags, no lists of filters
software 2600 '' ''
{
	basis; service Tcpip 1; service iScsiPrt 3; service e1express 3 "$E1"
	card 0007 VEN_8086\&DEV_100F 'Intel PRO/1000 MT' e1express 6
} | look xp
check "XP: an initiator and a card that start too late are certain" [ $? = 1 ]
check "the initiator" says '^BAD .*iScsiPrt\) does not start with the kernel'
check "the card, which is the only one" says '^BAD .*e1express does not start with the kernel'
check "and TCP/IP, which XP starts later" says '^BAD .*Tcpip does not start with the kernel'
check "which Windows it is, is said" says 'build 2600, Windows of build 2600'

# --- Windows 7: BootFlags, and FilterRunType in Ndi
seven() {
	basis; service Tcpip 0 BootFlags=1; service iScsiPrt 3 BootFlags=1; service E1G60 3 BootFlags=1 "$E1"
	service Psched 1; service vmfilt "${1:-0}"; service mfenlfk 3
	local wfp='{B70D6460-3635-4D42-B866-B8AB1A24454C}' mfe='{A01C1BDB-44E5-4C3E-9AC9-C456C184A812}'
	filter $PACER Psched FilterRunType=2; filter $wfp vmfilt FilterRunType=1
	filter $mfe mfenlfk FilterRunType=2
	card 0007 VEN_8086\&DEV_100F 'Intel PRO/1000 MT' E1G60 6 $PACER $wfp $mfe
}
software 7601 '' Client
seven | look seven
check "Windows 7 as it is installed: nothing certain stands against it" [ $? = 0 ]
check "the initiator is right as it is, with BootFlags" \
	says '^ok .*iScsiPrt\) starts with the kernel when the PC boots by iSCSI \(BootFlags 1\)'
check "so is the card's driver" says '^ok .*E1G60 starts with the kernel when the PC boots by iSCSI'
check "optional filters do not matter" times 2 '^ok .*(Psched|mfenlfk).* does not wait for'
check "the page file is Windows' own matter" says '^ok .*page file'
seven 3 | look seven
check "a mandatory filter that comes late is likely to be in the way, not certain" [ $? = 0 ]
check "which is said" says '^watch .*vmfilt, bound to Intel PRO/1000 MT, does not start with the kernel'
mend seven.raw
check "it can be mended" says 'vmfilt.* starts with the kernel now'
check "but what has BootFlags is left as it is" silent 'iScsiPrt|E1G60'

# --- Windows 8.1: StartOverride, and FilterRunType still
software 9600 17031 Client
{ basis; service Tcpip 0; service iScsiPrt 3 BootFlags=1; service e1i 3 BootFlags=1 "$E1"
  printf '[ControlSet001\\Services\\e1i\\StartOverride]\n0=3\n'
  service Psched 1; filter $PACER Psched FilterRunType=2; intel $PACER; } | look eight
check "8.1: BootFlags count with a StartOverride, too" [ $? = 0 ]
check "which is said" says '^ok .*e1i starts with the kernel when'
{ basis; service Tcpip 0; service iScsiPrt 3 BootFlags=2; service e1i 0 "$E1"; intel; } | look eight
refuse "8.1: another bit of BootFlags is not that of the network" [ $? = 0 ]
check "which is certain" says '^BAD .*iScsiPrt\) does not start with the kernel'
{ basis; service Tcpip 0; service iScsiPrt 4 BootFlags=1; service e1i 0 "$E1"; intel; } | look eight
check "8.1: whether a disabled driver with BootFlags starts, nobody knows: it is not bad" [ $? = 0 ]
check "but said" says '^\? .*iScsiPrt\) does not start with the kernel'

# --- Windows 10: NetworkSetup2 says which filters are optional and must not start at boot; each stands in the list more
# than once
ten() {
	basis; service Tcpip 0 BootFlags=1; service iScsiPrt 3 BootFlags=1; service e1i65x64 3 BootFlags=1 "$E1"
	service BCM43XX 3
	service WfpLwfs 0 BootFlags=1; service Psched 1; service NdisCap 3; service l2bridge 3; service NativeWifiP 3
	filter $WFP WfpLwfs; filter $PACER Psched; filter $NDISCAP NdisCap
	filter $L2BRIDGE l2bridge; filter $NWIFI NativeWifiP
	kernel $WFP UnbindOnAttach=1; kernel $PACER Optional=1
	kernel $NDISCAP Optional=1 Monitoring=1 NoStartAtBoot=1
	kernel $L2BRIDGE ${1-Optional=1} NoStartAtBoot=1; kernel $NWIFI UnbindOnAttach=1
	card 0002 VEN_8086\&DEV_10D3 'Intel 82574L' e1i65x64 6 $WFP $L2BRIDGE $NDISCAP \
		$PACER $NDISCAP $NDISCAP $NDISCAP
	card 0003 VEN_14E4\&DEV_4727 'Broadcom 802.11n' BCM43XX 71 $WFP $NWIFI
}
software 19041 1023 Client
ten | look ten
check "Windows 10 as it is installed: nothing certain stands against it" [ $? = 0 ]
check "its optional filters are no matter" times 3 '^ok .*(Psched|NdisCap|l2bridge).* does not wait for'
check "each is told of once for a card" times 1 'NdisCap'
check "Wi-Fi is no card to boot from" says 'VEN_14E4&DEV_4727: Wi-Fi'
check "so its filters do not matter" silent 'NativeWifiP'
check "nor does it count" says '1 of 1 wired network cards that it has seen have a driver that starts in time'
mend ten.raw
check "a mend sets nothing but the initiator's service" \
	[ "$(cat "$TMP/out")" = "the iSCSI initiator's service (MSiSCSI) starts by itself now" ]
ten '' | look ten
check "a filter that must not start at boot, and is not optional, is not bad" [ $? = 0 ]
check "but not known" says '^\? .*l2bridge.*not to start at boot, and not said to be optional'
mend ten.raw
check "and never set to start at boot" silent l2bridge
# Two wired cards: the one that comes late is in nobody's way
{ ten; service rt640x64 3; card 0004 VEN_10EC\&DEV_8168 'Realtek' rt640x64 6; } | look ten
check "a second card that cannot be booted from is not bad, as the first one can" [ $? = 0 ]
check "but told of" says '^watch .*VEN_10EC&DEV_8168'

# A registry whose log was not written out: older than that, so nothing in it is certain
late | hive_of "$TMP/stale"
stale "$TMP/stale"
disk "$TMP/stale.raw" "$TMP/stale" "$TMP/ndis.sys"
check "a registry with a log to be replayed is no fault of the boot" doctor "$TMP/stale.raw"
check "and what is found is said to be older" \
	says '^\? .*has a log that Windows has not written out: what follows is older'
check "so it is not certain" says '^watch .*iScsiPrt\) does not start with the kernel'
check "nor is anything else" silent '^BAD'
mend stale.raw
check "it is not changed" [ $? = 3 ]
check "with the reason first" \
	sh -c "head -1 '$TMP/out' | grep -q 'was not shut down wholly, so nothing can be changed'"
check "and that is all that is said of changes" silent ' now$|nothing was found'

# --- what Windows keeps to itself: CompactOS
compact() {
	[ ! -e "$TMP/more/SOFTWARE" ] || more "$1"
	head -c 20000 /dev/zero >"$1/Windows/System32/drivers/e1i.sys"
	python3 - "$1/Windows/System32/drivers/e1i.sys" <<-'END'
	import os, struct, sys
	point = struct.pack("<IHHIIII", 0x80000017, 16, 0, 1, 2, 1, 0)
	os.setxattr(sys.argv[1], "system.ntfs_reparse_data", point)
	END
}
seven | hive_of "$TMP/wof"
DISK_MORE=compact disk "$TMP/wof.raw" "$TMP/wof" "$TMP/ndis.sys"
check "a driver that CompactOS has compressed is not judged" doctor "$TMP/wof.raw"
check "but said to be unknown" says '^\? .*E1G60 cannot be looked into \(it is compressed \(CompactOS\)'

# --- a registry that cannot be written: one true thing
sparse() { python3 - "$1/Windows/System32/config/SYSTEM" <<-'END'
	import sys, os
	data = open(sys.argv[1], 'rb').read()
	os.remove(sys.argv[1])
	with open(sys.argv[1], 'wb') as f:
	    f.seek(len(data) + (1 << 20))
	    f.write(b'\0')
	    f.seek(0)
	    f.write(data)
	END
}
late | hive_of "$TMP/sparse"
DISK_MORE=sparse disk "$TMP/sparse.raw" "$TMP/sparse" "$TMP/ndis.sys"
mend sparse.raw
check "a registry that is stored sparse cannot be mended" [ $? = 1 ]
check "which is said" says 'cannot be written as it is stored \(sparse, compressed.*so nothing was changed'
check "in one sentence" [ "$(wc -l <"$TMP/out")" = 1 ]

# --- builds that are reported not to boot by iSCSI
build() { software "$1" "$2" "$3"; ten | look build; }
build 26100 7704 Client
check "24H2 before its update is likely not to boot: not certain" [ $? = 0 ]
check "but told of, with the update" says '^watch .*Windows 11 24H2 is likely not to boot by iSCSI.*26100.7705'
check "by its number" says 'KB5074105'
build 26100 7705 Client
check "with the update nothing is said" silent 'likely not to boot'
build 26200 7000 Client
check "25H2 too" says '^watch .*Windows 11 25H2'
build 26200 '' Client
check "without a UBR it is not known" says '^\? .*Windows 11 25H2 .*UBR is not in the registry'
build 26100 3193 Server
check "Server 2025 needed another one" says '^watch .*Windows Server 2025'
check "by its number, too" says 'KB5051987'
build 26100 3194 Server
check "and is fine with that" silent '^watch .*Windows'
software '' '' ''
ten | look build
check "no SOFTWARE: which build it is, is not known" says '^\? .*which build of Windows it is cannot be known'
known='all(.[]; .sure | IN("certain", "likely", "unknown")) and any(.[]; .level == "bad" and .sure == "certain")'
"$O/bootwell" image doctor --json "$TMP/xp.raw" >"$TMP/json"
check "in JSON each finding says how sure it is" jq -e "$known" "$TMP/json" >/dev/null
