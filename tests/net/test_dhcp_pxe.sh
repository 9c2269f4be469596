#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What firmware and iPXE are told: boot file by architecture, the options that each needs and none that hurts it; as the
# only server, as a proxy beside dnsmasq, and on port 4011. And the scan that finds other servers.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/netlab.sh"
requires python3 tcpdump tshark dnsmasq

ask_tool=$(cd "$(dirname "$0")" && pwd)/dhcp_ask
ask() { in_ns pc "$ask_tool" "$@" >"$TMP/got"; }
# got PATTERN: some answer has it; field NAME: its value in the first answer
got() { grep -q -- "$1" "$TMP/got"; }
refuse_quietly() { ! "$@"; }

lab_switch
lab_ns srv; lab_plug srv lan; in_ns srv ip addr add 10.81.0.1/24 brd + dev lan
lab_ns pc; lab_plug pc eth0 02:00:00:00:03:01; in_ns pc ip addr add 10.81.0.250/24 brd + dev eth0
lab_config "$TMP/full.conf" <<EOF
[dhcp]
mode = full
handoff-timeout = 1h
interface = lan
network = 10.81.0.0/24
range = 10.81.0.100-10.81.0.120
router = 10.81.0.1
probe = no
option.150 = 10.81.0.9
[group default]
option.210 = "/conf/"
EOF
sed 's/^mode = full/mode = proxy/; /^range/d; /^router/d; /^option/d; /^\[group/d' "$TMP/full.conf" >"$TMP/proxy.conf"

# Mode off: not one port of DHCP is open, from the start and after a reload.
sed 's/^mode = full/mode = off/' "$TMP/full.conf" >"$TMP/off.conf"
ports() { in_ns srv ss -Hlun | awk '{print $4}' | grep -cE ':(67|4011)$'; }
reload() { : >"$TMP/netd.out"; cp "$1" "$TMP/now.conf"; kill -HUP "${netd:?}"; wait_for 10 grep -q reloaded "$TMP/netd.out"; }
# silent WHEN N: after N DISCOVERs that were heard before
silent() {
	check "$1: no port of DHCP is open" test "$(ports)" = 0
	ask arch=7
	check "$1: DISCOVER: silence" test ! -s "$TMP/got"
	ask arch=7 type=request port=4011 to=10.81.0.1 bind=4011 ciaddr=10.81.0.250
	check "$1: port 4011: silence" test ! -s "$TMP/got"
	check "$1: nothing was heard" test "$(netd_stat dhcp_received_discover)" = "$2"
	refuse "$1: and that is no problem" grep '^problem' "$TMP/netd.out"
}
cp "$TMP/off.conf" "$TMP/now.conf"
lab_netd srv "$TMP/now.conf"
silent "off" 0
reload "$TMP/full.conf"
check "switched on by a reload: both ports are open" test "$(ports)" = 2
ask arch=7
check "and it answers" got 'from=10.81.0.1:67 type=2'
reload "$TMP/off.conf"
silent "off again" 1
lab_netd_stop

lab_netd srv "$TMP/full.conf"
lab_capture srv lan "$TMP/all.pcap"
ask arch=0
check "BIOS: undionly.kpxe" got ' file=undionly.kpxe '
check "next server is us" got ' siaddr=10.81.0.1 '
check "no option 60, which would send EDK2 to port 4011" refuse_quietly got ' opt.60='
check "UUID is echoed" got ' opt.97=00'
check "option 67 ends with NUL" got ' opt.67=756e64696f6e6c792e6b70786500'
check "an option by number of the subnet" got ' opt.150=0a510009'
check "an option by number of the group" got ' opt.210='
for arch in 7 9; do
	ask arch=$arch
	check "UEFI x64 as $arch: snponly.efi" got ' file=snponly.efi '
done
ask arch=6
check "UEFI IA32: its own folder's" got ' file=i386-efi/snponly.efi '
ask arch=11
check "UEFI arm64: its own folder's" got ' file=arm64-efi/snponly.efi '
ask arch=19 http=1
check "HTTP boot of arm64" got " opt.67=$(printf 'http://10.81.0.1:8001/nbp/arm64-efi/snponly.efi' | od -An -tx1 | tr -d ' \n')00"
ask arch=16 http=1
check "HTTP boot: option 60 HTTPClient" got ' opt.60=48545450436c69656e74'
check "HTTP boot: a URI" got 'opt.67=687474703a2f2f' # http://
ask arch=7 ipxe=1
check "iPXE gets the script, not itself again" got ' file=\(boot/[0-9a-f]*/boot.ipxe\|http://[^ ]*boot.ipxe[^ ]*\) '
check "iPXE is told not to wait for a proxy, and to keep the disk" got ' opt.175=080101b00101'
check "no option 43 for iPXE" refuse_quietly got ' opt.43='
check "no root path beside a script" refuse_quietly got ' opt.17='
ask
check "a client that does not boot from the network gets no boot file" got ' file= '

ask arch=7 type=request server=10.81.0.1 requested=10.81.0.105
check "an address that was not offered: NAK" got 'type=6 yiaddr=0.0.0.0'
ask arch=7
offered=$(sed -n 's/.*type=2 yiaddr=\([0-9.]*\).*/\1/p' "$TMP/got" | head -1)
ask arch=7 type=request server=10.81.0.1 requested="$offered"
check "ACK with the boot file" got "type=5 yiaddr=$offered siaddr=10.81.0.1 file=snponly.efi"
ask type=request requested=10.99.0.5
check "INIT-REBOOT in a wrong network: NAK" got 'type=6 yiaddr=0.0.0.0'
ask type=request requested="$offered" mac=02:00:00:00:03:77
check "INIT-REBOOT to another's address: NAK" got 'type=6'
ask type=request requested=10.81.0.119 mac=02:00:00:00:03:77
check "INIT-REBOOT of somebody unknown: silence" test ! -s "$TMP/got"
ask type=request server=10.81.0.77 requested=10.81.0.105
check "REQUEST to another server: silence" test ! -s "$TMP/got"
ask type=inform ciaddr=10.81.0.250
check "INFORM: ACK without an address" got 'type=5 yiaddr=0.0.0.0'
check "INFORM: no lease time" refuse_quietly got ' opt.51='
ask arch=7 type=request port=4011 to=10.81.0.1 bind=4011 ciaddr=10.81.0.250
check "port 4011 answers" got 'from=10.81.0.1:4011 type=5'
check "with option 60" got ' opt.60=505845436c69656e74'
ask arch=7 type=request port=4011 to=10.81.0.1 bind=4011 ciaddr=10.81.0.250 opt.43=47040000000aff
check "boot server request: 43.71 comes back" got ' opt.43=4704000000' 
ask giaddr=255.255.255.255 to=10.81.0.1
check "a relay at 255.255.255.255 is nobody" test ! -s "$TMP/got"

# Another DHCP server: the scan names it.
lab_ns other; lab_plug other eth0 02:00:00:00:0d:0d; in_ns other ip addr add 10.81.0.5/24 brd + dev eth0
ip netns exec "$(ns other)" dnsmasq -k -C /dev/null -p 0 -i eth0 --no-ping --dhcp-range=10.81.0.200,10.81.0.220,1h \
	--dhcp-leasefile="$TMP/dnsmasq.leases" --pid-file= --user=root --log-facility="$TMP/dnsmasq.log" &
dnsmasq=$!
at_exit kill "$dnsmasq"
wait_for 10 grep -q 'started' "$TMP/dnsmasq.log"
in_ns srv "$NETD" scan lan 2 >"$TMP/scan" 2>&1
check "the scan names the other server, its MAC and what it offers" grep -q \
	'^lan 10.81.0.5 02:00:00:00:0d:0d offers 10.81.0.2' "$TMP/scan"
check "and not ourselves" refuse_quietly grep -q '10.81.0.1 ' "$TMP/scan"
in_ns srv "$NETD" scan nosuch 1 >"$TMP/scan" 2>&1
check "an interface that is not there" grep -q 'No such device' "$TMP/scan"
lab_netd_stop

# Proxy beside dnsmasq.
lab_netd srv "$TMP/proxy.conf"
ask arch=7
check "the other server gives the address" got 'from=10.81.0.5:67 type=2 yiaddr=10.81.0.2'
check "the proxy gives the boot file and no address" got \
	'from=10.81.0.1:67 type=2 yiaddr=0.0.0.0 siaddr=10.81.0.1 file=snponly.efi.* opt.60=505845436c69656e74'
check "the proxy's option 43 says to use it" got 'from=10.81.0.1.* opt.43=0601080a0400505845ff'
check "the proxy offers no network" test "$(grep 10.81.0.1:67 "$TMP/got" | grep -c 'opt.51=\|opt.1=')" = 0
ask arch=0 ipxe=1
check "iPXE gets the script from the proxy" got 'from=10.81.0.1:67 .* file=\(boot/\|http\)'
ask
check "the proxy is silent to others" test "$(grep -c 'from=10.81.0.1:' "$TMP/got")" = 0
ask arch=7 type=request port=4011 to=10.81.0.1 bind=4011 ciaddr=10.81.0.250
check "the proxy answers on port 4011" got 'from=10.81.0.1:4011 type=5 yiaddr=0.0.0.0.*file=snponly.efi'
ask arch=7 type=request server=10.81.0.5 requested=10.81.0.210
check "the proxy leaves requests for addresses alone" test "$(grep -c 'from=10.81.0.1:67' "$TMP/got")" = 0
lab_netd_stop
lab_capture_end
check "tshark finds nothing malformed" lab_well_formed "$TMP/all.pcap"
