#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A boot program that was sent and never asked for its script is taken for one that does not run on that PC: the next boot
# gets the other one, the status says so, and what works stays.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/netlab.sh"
requires python3 jq tcpdump tshark curl

lab_switch
lab_ns srv; lab_plug srv lan; in_ns srv ip addr add 10.77.0.1/24 brd + dev lan
lab_ns pc; lab_plug pc eth0 02:00:00:00:07:01
export BOOTWELL_SOCKET=$TMP/run/control
mkdir -p "$TMP/images"
config() { # TIMEOUT
	lab_config "$TMP/c.conf" <<-EOF
		log = debug
		[dhcp]
		interface = lan
		range = 10.77.0.101-10.77.0.110
		probe = no
		handoff-timeout = $1
		[tftp]
		root = $TMP/tftp
		fastpath = off
		[images]
		path = $TMP/images
		[clients]
		ask-name = no
	EOF
}
config 5s
ip netns exec "$(ns srv)" "$O/bootwelld" -c "$TMP/c.conf" >"$TMP/daemon.log" 2>&1 &
at_exit kill $!
wait_for 20 "$O/bootwell" status || { sed 's/^/# /' "$TMP/daemon.log"; not_ok "bootwelld starts"; exit 1; }
lab_capture srv lan "$TMP/all.pcap"
ask_tool=$(cd "$(dirname "$0")" && pwd)/dhcp_ask
ask() { in_ns pc "$ask_tool" first=1 wait=10 mac=02:00:00:00:07:01 "$@" >"$TMP/got"; }
# boots ARCH: DHCP as that firmware does it, up to its ACK; the boot file is in $file
boots() {
	ask arch="$1"
	ip=$(grep -o 'yiaddr=[0-9.]*' "$TMP/got" | cut -d= -f2)
	ask arch="$1" type=request server=10.77.0.1 requested="$ip"
	file=$(grep -o ' file=[^ ]*' "$TMP/got" | cut -d= -f2)
}
status_says() { "$O/bootwell" status | grep -q -- "$1"; }
is_failed() { [ "$("$O/bootwell" client show PC101 --json | jq .nbp_failed)" = "$1" ]; }

boots 7
check "UEFI: snponly.efi first" test "$file" = snponly.efi
check "no script was asked for: it is taken for failed" wait_for 30 is_failed true
check "the status says so, and what comes next" status_says 'snponly.efi did not start; it gets the other boot program'
check "the log says so" grep -q 'PC101 was sent snponly.efi and asked for no script within 5 s' "$TMP/daemon.log"
check "the metrics count it" eval '"$O/bootwell" metrics | grep -q "^bootwell_boot_handoff_failures_total 1$"'
boots 7
check "the next boot gets ipxe.efi" test "$file" = ipxe.efi
check "which fails too" wait_for 30 is_failed true
boots 7
check "so the one after that gets snponly.efi again" test "$file" = snponly.efi
wait_for 30 is_failed true
config 60s
"$O/bootwell" config reload >/dev/null
boots 7
check "and ipxe.efi" test "$file" = ipxe.efi
# This time it works: iPXE asks, and fetches its script.
in_ns pc ip addr add "$ip/24" dev eth0
ask arch=7 ipxe=1 type=request server=10.77.0.1 requested="$ip"
check "iPXE is told its script" grep -q ' file=boot/[0-9a-f]*/boot.ipxe ' "$TMP/got"
file=$(grep -o ' file=[^ ]*' "$TMP/got" | cut -d= -f2)
check "and fetches it" in_ns pc curl -sf -m 20 -o "$TMP/script" "tftp://10.77.0.1/$file"
check "the status is content" eval '! status_says "did not start"'
boots 7
check "what worked is what comes next" test "$file" = ipxe.efi
boots 11
check "arm64 has a pair of its own" test "$file" = arm64-efi/snponly.efi
boots 0
check "BIOS has a pair of its own: undionly.kpxe" test "$file" = undionly.kpxe
check "log = debug has a line for each step: the lease" \
	grep -q 'boot of PC101: lease of 10.77.0.101 as firmware, architecture 7; it is told of snponly.efi' "$TMP/daemon.log"
check "and that the script is asked for" \
	grep -q 'boot of PC101: its script is asked for from 10.77.0.101' "$TMP/daemon.log"
lab_capture_end
check "tshark finds nothing malformed" lab_well_formed "$TMP/all.pcap"
