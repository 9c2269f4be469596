#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Who gets which address and which options: reservations by MAC, by SMBIOS UUID and by a relay's circuit, the subnet that a
# relay or the client itself names, options by number of subnet, group and client.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/netlab.sh"
requires python3 tcpdump tshark

ask_tool=$(cd "$(dirname "$0")" && pwd)/dhcp_ask
ask() { in_ns pc "$ask_tool" first=1 wait=10 "$@" >"$TMP/got"; }
got() { grep -q -- "$1" "$TMP/got"; }
text() { printf '%s' "$1" | od -An -tx1 | tr -d ' \n'; } # as option bytes
silent() { [ ! -s "$TMP/got" ]; }

lab_switch
lab_ns srv; lab_plug srv lan; in_ns srv ip addr add 10.86.0.1/24 brd + dev lan
in_ns srv ip addr add 10.88.0.1/24 brd + dev lan
lab_ns pc; lab_plug pc eth0 02:00:00:00:06:01; in_ns pc ip addr add 10.86.0.250/24 brd + dev eth0
lab_ns other; lab_pair srv lan2 other eth0; in_ns srv ip addr add 10.89.0.1/24 brd + dev lan2
in_ns other ip addr add 10.89.0.250/24 brd + dev eth0
# The answers to a relay in another subnet come back to this same machine.
in_ns pc ip addr add 10.87.0.1/24 dev eth0
in_ns srv ip route add 10.87.0.0/24 dev lan
lab_config "$TMP/c.conf" <<EOF
[dhcp]
mode = full
probe = no
[subnet near]
interface = lan
network = 10.86.0.0/24
range = 10.86.0.100-10.86.0.120
option.224 = 10.86.0.9
option.225 = u16:500
option.226 = u8:5
option.227 = u32:70000
option.228 = hex:0a0b0c
option.229 = "subnet"
option.43 = hex:0102
option.66 = 10.86.0.9
option.67 = "grub.efi"
[subnet second]
interface = lan
network = 10.88.0.0/24
range = 10.88.0.100-10.88.0.120
[subnet elsewhere]
interface = lan2
network = 10.89.0.0/24
range = 10.89.0.100-10.89.0.120
option.229 = "other wire"
[subnet far]
network = 10.87.0.0/24
range = 10.87.0.100-10.87.0.120
router = 10.87.0.1
[group red]
option.229 = "group"
option.230 = "red"
[client BYMAC]
mac = 02:00:00:00:06:11
address = 10.86.0.11
group = red
[client BYUUID]
uuid = 02000000-0612-0200-0000-061275756964
address = 10.86.0.12
[client BYPORT]
circuit = port7
address = 10.87.0.77
[client BYHEX]
circuit = 00040a01
address = 10.87.0.78
[client OWN]
mac = 02:00:00:00:06:13
group = red
option.230 = "own"
EOF
lab_netd srv "$TMP/c.conf"
lab_capture srv lan "$TMP/all.pcap"

ask mac=02:00:00:00:06:21
check "somebody unknown: an address of the range" got 'yiaddr=10.86.0.100 '
ask mac=02:00:00:00:06:11
check "a reservation by MAC, outside of the range" got 'yiaddr=10.86.0.11 '
ask mac=02:00:00:00:06:12 arch=7
check "a reservation by UUID" got 'yiaddr=10.86.0.12 '
check "with the name of its section" got " opt.12=$(text BYUUID)"
ask mac=02:00:00:00:06:12 arch=7 uuid=0
check "not for the same network card with another UUID" got 'yiaddr=10.86.0.10[0-9] '
ask mac=02:00:00:00:06:12 arch=7 type=request server=10.86.0.1 requested=10.86.0.12
check "and the ACK of it" got 'type=5 yiaddr=10.86.0.12 '
ask mac=02:00:00:00:06:22 type=request server=10.86.0.1 requested=10.86.0.11
check "nobody else gets a reserved address" got 'type=6'

# --- DECLINE: the holder's word counts, nobody else's
ask mac=02:00:00:00:06:25
declined=$(sed -n 's/.*yiaddr=\([0-9.]*\) .*/\1/p' "$TMP/got")
ask mac=02:00:00:00:06:26 type=decline server=10.86.0.1 requested="$declined" wait=0.5
ask mac=02:00:00:00:06:25 type=request server=10.86.0.1 requested="$declined"
check "a stranger's DECLINE changes nothing" got "type=5 yiaddr=$declined "
ask mac=02:00:00:00:06:25 type=decline server=10.86.0.1 requested="$declined" wait=0.5
check "DECLINE puts the address into quarantine" test "$(netd_stat dhcp_quarantined)" = 1
ask mac=02:00:00:00:06:25
check "who declined it is offered another one" test "$(grep -c "type=2 yiaddr=10.86.0.1" "$TMP/got")$(grep -c "yiaddr=$declined " "$TMP/got")" = 10

# --- relays: giaddr, option 82, its link selection, option 118
relay=(bind=67 to=10.86.0.1 giaddr=10.87.0.1)
agent() { local v; v=$(text "$1"); printf '01%02x%s' $((${#v} / 2)) "$v"; } # option 82 with this circuit id
ask "${relay[@]}" mac=02:00:00:00:06:31 opt.82="$(agent port9)"
check "behind a relay: its subnet" got 'yiaddr=10.87.0.100 '
check "and that subnet's router" got ' opt.3=0a570001'
check "option 82 comes back as it was" got " opt.82=$(agent port9)\$"
ask "${relay[@]}" mac=02:00:00:00:06:32 opt.82="$(agent port7)"
check "a reservation by the relay's circuit" got 'yiaddr=10.87.0.77 '
ask "${relay[@]}" mac=02:00:00:00:06:33 opt.82="$(agent port7)" type=request server=10.86.0.1 requested=10.87.0.77
check "whoever is plugged in there" got 'type=5 yiaddr=10.87.0.77 '
ask "${relay[@]}" mac=02:00:00:00:06:34 opt.82=010400040a01
check "a circuit of bytes that are no text" got 'yiaddr=10.87.0.78 '
ask bind=67 to=10.86.0.1 giaddr=10.86.0.250 mac=02:00:00:00:06:35 opt.118=0a570000
check "subnet selection (option 118) beats giaddr" got 'yiaddr=10.87.0.10[0-9] '
ask bind=67 to=10.86.0.1 giaddr=10.86.0.250 mac=02:00:00:00:06:36 opt.118=0a560000 opt.82=05040a570000
check "link selection (82.5) beats both" got 'yiaddr=10.87.0.10[0-9] '
ask bind=67 to=10.86.0.1 giaddr=10.86.0.250 mac=02:00:00:00:06:37 opt.82=0b040a5600fa
check "server identifier override (82.11) is what the client sees" got ' opt.54=0a5600fa'
ask bind=67 to=10.86.0.1 giaddr=10.86.0.250 wait=2 mac=02:00:00:00:06:38 opt.118=0a630000
check "a subnet that is not served: silence" silent
ask mac=02:00:00:00:06:39 opt.118=0a580000
check "without a relay option 118 chooses among the interface's subnets" got 'yiaddr=10.88.0.100 '
ask mac=02:00:00:00:06:3a opt.118=0a570000
check "but gives nobody an address of another wire" got 'yiaddr=10.86.0.'

# --- another wire
in_ns other "$ask_tool" first=1 wait=10 mac=02:00:00:00:06:3b >"$TMP/got"
check "a PC at the second interface gets an address of that wire" got 'from=10.89.0.1:67 type=2 yiaddr=10.89.0.100 '
check "and that subnet's options" got " opt.229=$(text "other wire")"
in_ns other "$ask_tool" first=1 wait=10 type=request mac=02:00:00:00:06:3b server=10.89.0.1 requested=10.89.0.100 >"$TMP/got"
check "and its ACK" got 'type=5 yiaddr=10.89.0.100 '
in_ns other "$ask_tool" first=1 wait=3 type=request mac=02:00:00:00:06:3c requested=10.86.0.105 >"$TMP/got"
check "an address of the first wire is none of its own there" got 'type=6 '

# --- options by number
ask mac=02:00:00:00:06:21
for o in 224=0a560009 225=01f4 226=05 227=00011170 228=0a0b0c "229=$(text subnet)"; do
	check "option ${o%=*} of the subnet" got " opt.$o"
done
ask mac=02:00:00:00:06:11
check "the group's option replaces the subnet's" got " opt.229=$(text group)"
check "and adds its own" got " opt.230=$(text red)"
ask mac=02:00:00:00:06:13
check "the client's replaces the group's" got " opt.230=$(text own)"
ask mac=02:00:00:00:06:21
check "a telephone gets the options 43, 66 and 67 that are configured" got " opt.43=0102 .*opt.66=0a560009 opt.67=$(text grub.efi)\$"
ask mac=02:00:00:00:06:22 arch=0
check "a PC's firmware gets its own boot file only" got " file=undionly.kpxe .*opt.66=$(text 10.86.0.1) .*opt.67=$(text undionly.kpxe)00 \| opt.67=$(text undionly.kpxe)00 .*opt.66=$(text 10.86.0.1) "
check "and nothing of another's option 43" test "$(grep -c 'opt.43=0102' "$TMP/got")" = 0
ask mac=02:00:00:00:06:27 arch=29
want=$(sed -n 's/.*yiaddr=\([0-9.]*\) .*/\1/p' "$TMP/got")
ask mac=02:00:00:00:06:27 arch=29 type=request server=10.86.0.1 requested="$want"
check "firmware that there is no boot program for gets an address" got "type=5 yiaddr=$want "
check "and the administrator is told" wait_for 5 grep -q 'client PC[0-9]* has firmware of architecture 29 .* there is no boot program for it; name one' "$TMP/netd.err"
refuse "an option that the server sets by itself is refused" in_ns srv "$NETD" <(sed 's/^option.224 = .*/option.53 = u8:5/' "$TMP/c.conf") 2>"$TMP/err"
check "in one sentence" test "$(wc -l <"$TMP/err")" = 1
lab_netd_stop
lab_capture_end
check "tshark finds nothing malformed" lab_well_formed "$TMP/all.pcap"
