#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What people have reported of networks and firmware (docs/seen-in-the-field.md), by messages only and with keys that
# every version has, so that programs of another commit can be asked as well: O=OTHER/build tests/net/test_field.sh.
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/net/netlab.sh
. "$(dirname "$0")/netlab.sh"
requires python3 curl jq socat xxd cmp

ask_tool=$(cd "$(dirname "$0")" && pwd)/dhcp_ask
lab_switch
lab_ns srv; lab_plug srv lan; in_ns srv ip addr add 10.88.0.1/24 brd + dev lan
in_ns srv ip route add 10.89.0.0/24 dev lan
in_ns srv ip route add 10.90.0.0/24 dev lan
lab_ns pc; lab_plug pc eth0 02:00:00:00:0c:01
# It is the PCs' side of three wires: the near one, and two with relays.
for a in 10.88.0.250 10.89.0.254 10.90.0.254 10.90.0.101; do in_ns pc ip addr add "$a/24" dev eth0; done
daemon_files
cat >"$C" <<-END
	[server]
	state = $TMP/state
	run = $TMP/run
	[dhcp]
	probe = no
	[subnet near]
	interface = lan
	network = 10.88.0.0/24
	range = 10.88.0.101-10.88.0.150
	router = 10.88.0.1
	[subnet far]
	interface = lan
	network = 10.89.0.0/24
	range = 10.89.0.101-10.89.0.110
	router = 10.89.0.254
	[subnet cellar]
	network = 10.90.0.0/24
	range = 10.90.0.101-10.90.0.110
	router = 10.90.0.254
	[tftp]
	root = $TMP/tftp
	fastpath = off
	[images]
	path = $TMP/images
	[write-back]
	path = $TMP/store
	size = 64M
	[image one]
	file = one.raw
	[group default]
	image = one
END
daemon_start
# ask LAST-BYTE-OF-MAC KEY=VALUE...: the answer is in $TMP/got
ask() {
	local card=$1
	shift
	in_ns pc "$ask_tool" first=1 "mac=02:00:00:00:0c:$card" "$@" >"$TMP/got"
}
got() { grep -q -- "$1" "$TMP/got"; }
given() { sed -n 's/.*yiaddr=\([0-9.]*\) .*/\1/p' "$TMP/got"; }
hex() { printf '%s' "$1" | od -An -tx1 | tr -d ' \n'; }
problem() { "$O/bootwell" status 2>/dev/null | grep -q "$1"; }

# --- who renews from behind a router is where its address is -------------------------------------------------------
relayed() { ask "$1" giaddr="$2" bind=67 to=10.88.0.1 "${@:3}"; }
relayed 20 10.89.0.254
check "a PC behind a relay is offered an address of its wire" got 'type=2 yiaddr=10.89.0.101'
check "whose subnet is served, though its section names an interface, and no problem says otherwise" \
	eval '! problem "far.* not served"'
relayed 21 10.90.0.254
relayed 21 10.90.0.254 type=request server=10.88.0.1 requested=10.90.0.101
check "another one gets its lease" got 'type=5 yiaddr=10.90.0.101'
ask 21 type=request ciaddr=10.90.0.101 broadcast=0 to=10.88.0.1
check "it renews by unicast, which arrives where the near subnet is" got 'type=5 yiaddr=10.90.0.101'
check "and keeps its own router" got "opt.3=$(printf '%02x' 10 90 0 254)"
ask 21 type=inform ciaddr=10.90.0.101 broadcast=0 to=10.88.0.1
check "so does who only asks for information" got "type=5 .*opt.3=$(printf '%02x' 10 90 0 254)"

# Relays drop what is shorter than 300 bytes (OpenBSD's), and look at the flag to know how the PC hears.
whole() { [ "$(sed -n 's/.* bytes=\([0-9]*\).*/\1/p' "$TMP/got")" -ge 300 ] && got "flags=$1"; }
relayed 22 10.90.0.254 opt.57=0240
check "an answer to a relay has 300 bytes, and the flag of the question" whole 8000
relayed 22 10.90.0.254 opt.57=0240 broadcast=0
check "which is not set where it was not" whole 0000
ask 23 broadcast=0 giaddr=10.88.0.250 bind=67 to=10.88.0.1 opt.82=05040a5a0000
check "a relay says in link selection which subnet its PC is in" got 'type=2 yiaddr=10.90.0'

# --- options that decide nothing -----------------------------------------------------------------------------------
ask 30 opt.57=05
check "option 57 of one byte does not lose the PC" got type=2
ask 31 opt.50= opt.51= opt.57=
check "nor do empty ones" got type=2
ask 32 opt.57=05c0 opt.118=00
check "nor a subnet selection of one byte" got type=2
ask 33 requested=10.88.0.140 opt.50=0a580079
check "of one that is there twice the first counts" got 'type=2 yiaddr=10.88.0.140'

# --- how it boots is said by its class, for which CPU by option 93 --------------------------------------------------
uri() { got "opt.67=$(hex http://)"; }
for arch in 7 16 17 18 19 28; do
	ask 40 "arch=$arch" http=1
	check "an HTTPClient of architecture $arch gets a URI" uri
done
for arch in 16 17 19; do
	ask 41 "arch=$arch"
	check "a PXEClient of architecture $arch gets the name of a file" eval "got 'file=[^ ]*efi' && ! uri"
done
for cpu in 27=riscv64 39=loong64 11=arm64; do
	ask 42 "arch=${cpu%=*}"
	check "there is a boot program for ${cpu#*=}" got "file=${cpu#*=}"
done

# --- what its iPXE can do -------------------------------------------------------------------------------------------
ipxe() { local card=$1 features=$2; shift 2; ask "$card" arch=0 opt.77=69505845 "opt.175=$features" "$@"; }
ipxe 50 130101270101
check "an iPXE without iSCSI (VirtualBox's) gets the whole boot program first" got 'file=undionly.kpxe'
ipxe 50 110101130101270101
check "one that has it gets the script" got 'file=[^ ]*boot.ipxe'

# --- a Raspberry Pi --------------------------------------------------------------------------------------------------
in_ns pc "$ask_tool" first=1 mac=dc:a6:32:00:00:01 arch=0 >"$TMP/got"
check "a Raspberry Pi sees its name in option 43" got "opt.43=[0-9a-f]*$(hex "Raspberry Pi Boot")"
check "and the server in option 66" got "opt.66=$(hex 10.88.0.1)"

# --- the gateway in the iBFT -----------------------------------------------------------------------------------------
# script CARD KEY=VALUE...: the whole boot of an iPXE; its script is in $TMP/script
script() {
	local card=$1 file
	shift
	ask "$card" arch=0 ipxe=1 "$@"
	ask "$card" arch=0 ipxe=1 type=request server=10.88.0.1 requested="$(given)" "$@"
	in_ns pc ip addr add "$(given)/24" dev eth0 2>/dev/null
	file=$(sed -n 's/.* file=\([^ ]*\) .*/\1/p' "$TMP/got")
	in_ns pc curl -s -m 20 --interface "$(given)" "tftp://10.88.0.1/$file" >"$TMP/script"
	grep -q '^sanboot' "$TMP/script"
}
check "a PC on the server's subnet gets a script" script 01
check "which takes the gateway out of the iBFT, so that Windows talks to the server itself" \
	eval 'grep -B99 "^sanboot" "$TMP/script" | grep -q "^set netX/gateway 0.0.0.0"'

# --- identifiers ------------------------------------------------------------------------------------------------------
# A live system makes a new DUID at each boot; two cards of one board send the same one.
duid=ff0a0b0c0d00010001
ask 70 opt.61=${duid}3232f552bc2411269617
ask 70 opt.61=${duid}3232f552bc2411269617 type=request server=10.88.0.1 requested="$(given)"
first=$(given)
ask 70 opt.61=${duid}3232f9a0bc2411269617
check "another DUID at each boot is the same PC" test "$(given)" = "$first"
ask 71 opt.61=${duid}3232f552bc2411269617
check "two cards with one identifier are two PCs" eval 'got type=2 && test "$(given)" != "$first"'

# --- boot programs ----------------------------------------------------------------------------------------------------
head -c 34603009 /dev/urandom >"$TMP/tftp/large.efi"
load() {
	rm -f "$TMP/loaded"
	in_ns pc curl -s -m 60 "$@" -o "$TMP/loaded" tftp://10.88.0.1/large.efi
	cmp -s "$TMP/loaded" "$TMP/tftp/large.efi"
}
check "a file of more than 65535 blocks of 512 bytes, without options" load --tftp-no-options
check "and in blocks of 65464, which is more than a frame" load --tftp-blksize 65464
# EDK2 asks for the size first, and ends that with error 8.
check "who breaks off behind the size, and asks again, gets the file" in_ns pc python3 - <<'END'
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
s.sendto(b"\0\1large.efi\0octet\0tsize\0" b"0\0blksize\0" b"1468\0", ("10.88.0.1", 69))
oack, peer = s.recvfrom(2000)
assert oack[:2] == b"\0\6" and b"tsize\0" b"34603009\0" in oack, oack
s.sendto(b"\0\5\0\x08User aborted the transfer\0", peer)
s.sendto(b"\0\1large.efi\0octet\0blksize\0" b"1468\0", ("10.88.0.1", 69))
oack, peer = s.recvfrom(2000)
assert oack[:2] == b"\0\6" and b"tsize" not in oack, oack
s.sendto(b"\0\4\0\0", peer)
assert len(s.recvfrom(2000)[0]) == 4 + 1468
s.sendto(b"\0\5\0\0\0", peer)
END
ask 72 arch=16 http=1
url=$(sed -n 's/.*opt.67=\([0-9a-f]*\).*/\1/p' "$TMP/got" | xxd -r -p | tr -d '\0')
printf 'MZ' >"$TMP/tftp/${url##*/}"
check "the URI that HTTP boot is given can be fetched" eval '[ "$(in_ns pc curl -s -m 20 "$url")" = MZ ]'

# --- what a reload cannot change ------------------------------------------------------------------------------------
mkdir "$TMP/elsewhere"
sed -i "s|^path = $TMP/images|path = $TMP/elsewhere|" "$C"
"$O/bootwell" config reload >"$TMP/said" 2>&1
check "another folder of images, which uploads in the old one would never end in, is told of" \
	grep -q 'restarted.*\[images\] path' "$TMP/said"
check "and stays the old one for all" script 01
sed -i "s|^path = $TMP/elsewhere|path = $TMP/images|" "$C"
"$O/bootwell" config reload >/dev/null 2>&1

# --- a PC whose plug is pulled ---------------------------------------------------------------------------------------
# For the kernel its session goes on: a connection to the iSCSI port, from which nothing comes any more.
state() { "$O/bootwell" client show "$name" --json | jq -r .state; }
name=$("$O/bootwell" client list --json | jq -r '.[] | select(.mac == "02:00:00:00:0c:01") | .name')
acl=$TMP/configfs/iscsi/iqn.2026-01.org.bootwell:disk-020000000c01/tpgt_1/acls/iqn.2026-01.org.bootwell:pc-020000000c01
ip netns exec "$(ns srv)" socat -u TCP-LISTEN:3260,reuseaddr OPEN:/dev/null &
at_exit kill $!
wait_for 20 eval 'in_ns srv ss -Hltn "sport = 3260" | grep -q .'
ip netns exec "$(ns pc)" socat -u EXEC:'sleep 1000' "TCP:10.88.0.1:3260,bind=$(given)" &
at_exit kill $!
wait_for 20 eval 'in_ns srv ss -Htn state established "sport = 3260" | grep -q .'
printf 'Session State: TARG_SESS_STATE_LOGGED_IN\n   Address %s TCP  StatSN: 0x00000001\n' "$(given)" >"$acl/info"
check "a PC runs" wait_for 20 eval '[ "$(state)" = running ]'
in_ns pc ip link set eth0 down
check "without power it is off, before two minutes are over" wait_for 70 eval '[ "$(state)" = off ]'
