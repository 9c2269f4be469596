#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Whose address and whose name? Two PCs through one dock, one PC through two cards, and somebody who only says that he
# is another PC while that one is on.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/netlab.sh"
requires python3

ask_tool=$(cd "$(dirname "$0")" && pwd)/dhcp_ask
# ask CARD BOARD ...: the board's UUID in the byte order of firmware, "" tells none
ask() {
	local card=$1 board=$2
	shift 2
	in_ns pc "$ask_tool" first=1 wait=10 uuid=0 "mac=02:00:00:00:0a:$card" arch=7 ${board:+"opt.97=00$board"} \
		"$@" >"$TMP/got"
}
got() { grep -q -- "$1" "$TMP/got"; }
given() { sed -n 's/.*yiaddr=\([0-9.]*\) .*/\1/p' "$TMP/got"; }
text() { printf '%s' "$1" | od -An -tx1 | tr -d ' \n'; }
take() { # the whole handshake; the address is in $address
	ask "$@"
	address=$(given)
	ask "$@" type=request server=10.86.0.1 requested="$address"
}
anna=a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a2
bert=b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b2

lab_switch
lab_ns srv; lab_plug srv lan; in_ns srv ip addr add 10.86.0.1/24 brd + dev lan
lab_ns pc; lab_plug pc eth0 02:00:00:00:0a:01; in_ns pc ip addr add 10.86.0.250/24 brd + dev eth0
lab_config "$TMP/c.conf" <<EOF
[dhcp]
mode = full
[subnet near]
interface = lan
network = 10.86.0.0/24
range = 10.86.0.100-10.86.0.120
[client ANNA]
uuid = a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a2
[client BERT]
uuid = b1b1b1b1-b1b1-b1b1-b1b1-b1b1b1b1b1b2
EOF
lab_netd srv "$TMP/c.conf"

take 11 $anna
check "ANNA through the dock" got " type=5 .* opt.12=$(text ANNA)"
annas=$address
take 11 $bert
check "BERT through the same dock is BERT" got " type=5 .* opt.12=$(text BERT)"
check "and has an address of his own" test "$address" != "$annas"
take 11 c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c2
check "a third board there, which the file does not name, is neither" \
	test "$(grep -c -e "opt.12=$(text ANNA)" -e "opt.12=$(text BERT)" "$TMP/got")" = 0
take 11 $anna
check "ANNA finds her address again" test "$address" = "$annas"
take 12 $anna
check "on another card, too, for nobody is there any more" test "$address" = "$annas"
check "under her name" got " type=5 .* opt.12=$(text ANNA)"

# --- ANNA is on
lab_ns anna; lab_plug anna eth0 02:00:00:00:0a:12; in_ns anna ip addr add "$annas/24" brd + dev eth0
ask 66 $anna type=request server=10.86.0.1 requested="$annas"
check "who takes her address by her UUID is refused while she is on" got ' type=6 '
take 66 $anna
check "who says that he is ANNA gets another address" test -n "$address" -a "$address" != "$annas"
check "is told no script of hers" test "$(grep -c "opt.12=$(text ANNA)" "$TMP/got")" = 0
check "and gets that address" got ' type=5 '
says="02:00:00:00:0a:66 says that it is the PC at $annas (uuid a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a2)"
check "both cards are named" wait_for 5 \
	grep -q "$says, but that is on, with the network card 02:00:00:00:0a:12" "$TMP/netd.err"
in_ns pc "$ask_tool" first=1 wait=10 mac=02:00:00:00:0a:12 type=request requested="$annas" >"$TMP/got"
check "her own system, which tells no UUID, keeps it" got " type=5 yiaddr=$annas "
check "nothing of it went into quarantine" test "$(netd_stat dhcp_quarantined)" = 0
lab_netd_stop
