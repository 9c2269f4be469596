#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Real DHCP clients get an address with everything that belongs to it, keep it, and get the same again.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/netlab.sh"
requires tcpdump tshark

lab_switch
lab_ns srv
lab_plug srv lan
in_ns srv ip addr add 10.77.0.1/24 brd + dev lan
lab_config "$TMP/c.conf" <<EOF
[dhcp]
interface = lan
network = 10.77.0.0/24
range = 10.77.0.100-10.77.0.200
router = 10.77.0.1
dns = 10.77.0.1 10.77.0.2
ntp = 10.77.0.3
domain = lab.test
lease = 600
option.252 = "http://10.77.0.1/wpad"
[tftp]
root = $TMP/tftp
fastpath = off
EOF
lab_netd srv "$TMP/c.conf"
lab_capture srv lan "$TMP/all.pcap"

# pc NAME MAC: a client's machine
pc() {
	lab_ns "$1"
	lab_plug "$1" eth0 "$2"
}
address() { in_ns "$1" ip -4 -o addr show dev eth0 | awk '{print $4}' | head -1; }
has_lease() { [[ $(address "$1") == 10.77.0.1[0-9][0-9]/24 ]]; }

if command -v dhclient >/dev/null; then
	pc isc 02:00:00:00:00:11
	printf 'exit 0\n' >"$TMP/noscript"
	cat >"$TMP/dhclient-script" <<'EOF'
#!/bin/bash
env | grep -E '^(new_|reason)' >>"$DHCLIENT_ENV"
case $reason in BOUND|REBOOT|RENEW) ip addr replace "$new_ip_address/24" dev "$interface" ;; esac
exit 0
EOF
	chmod +x "$TMP/dhclient-script"
	run_dhclient() {
		DHCLIENT_ENV=$TMP/isc.env timeout 30 ip netns exec "$(ns isc)" dhclient -1 -4 -sf "$TMP/dhclient-script" \
			-e "DHCLIENT_ENV=$TMP/isc.env" -lf "$TMP/isc.leases" -pf "$TMP/isc.pid" "$@" eth0 >"$TMP/isc.log" 2>&1
	}
	check "dhclient gets a lease" run_dhclient
	check "dhclient has the address on its interface" has_lease isc
	check "dhclient got router, DNS and domain" grep -q 'new_domain_name_servers=10.77.0.1 10.77.0.2' "$TMP/isc.env"
	check "dhclient got the netmask" grep -q 'new_subnet_mask=255.255.255.0' "$TMP/isc.env"
	first=$(address isc)
	run_dhclient -x
	rm -f "$TMP/isc.env"
	check "dhclient confirms its lease after a restart (INIT-REBOOT)" run_dhclient
	check "it is the same address" test "$(address isc)" = "$first"
	check "by INIT-REBOOT" grep -q 'reason=REBOOT' "$TMP/isc.env"
	run_dhclient -r
	released() { [ "$(netd_stat dhcp_received_release)" = 1 ]; }
	check "dhclient's RELEASE is noted" wait_for 20 released
else
	echo "ok - dhclient # SKIP isc-dhcp-client is not installed"
fi

if command -v udhcpc >/dev/null; then
	pc bb 02:00:00:00:00:12
	cat >"$TMP/udhcpc-script" <<EOF
#!/bin/sh
env >>$TMP/bb.env
[ "\$1" = bound ] || [ "\$1" = renew ] && ip addr replace "\$ip/\$mask" dev "\$interface"
exit 0
EOF
	chmod +x "$TMP/udhcpc-script"
	check "udhcpc gets a lease" timeout 30 ip netns exec "$(ns bb)" udhcpc -i eth0 -n -q -f -s "$TMP/udhcpc-script" -O 252 -O ntpsrv
	check "udhcpc has the address" has_lease bb
	check "udhcpc got the NTP server" grep -q 'ntpsrv=10.77.0.3' "$TMP/bb.env"
	check "udhcpc got option 252" grep -qi 'opt252=\|wpad' "$TMP/bb.env"
	in_ns bb ip addr flush dev eth0
	check "busybox with a broadcast flag gets a lease too" timeout 30 ip netns exec "$(ns bb)" udhcpc -i eth0 -B -n -q -f \
		-s "$TMP/udhcpc-script"
	check "the same address as before" has_lease bb
else
	echo "ok - udhcpc # SKIP udhcpc is not installed"
fi

if command -v dhcpcd >/dev/null; then
	pc roy 02:00:00:00:00:13
	# dhcpcd keeps files in fixed places: a mount namespace gives it its own.
	check "dhcpcd gets a lease" timeout 40 ip netns exec "$(ns roy)" unshare -m sh -c \
		"mount -t tmpfs none /run && mkdir -p /var/lib/dhcpcd && mount -t tmpfs none /var/lib/dhcpcd &&
		dhcpcd -f /dev/null -4 -1 -B -q -c /bin/true -t 30 eth0"
	check "dhcpcd has the address" has_lease roy
else
	echo "ok - dhcpcd # SKIP dhcpcd is not installed"
fi

networkd=/lib/systemd/systemd-networkd
if [ -x $networkd ]; then
	pc sd 02:00:00:00:00:14
	mkdir -p "$TMP/net.d"
	printf '[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n' >"$TMP/net.d/10.network"
	ip netns exec "$(ns sd)" unshare -m sh -c "mount -t tmpfs none /run && mkdir -p /run/systemd/network /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp &&
		cp $TMP/net.d/10.network /run/systemd/network/ && mount -o remount,bind,ro /sys # read-only: it does not wait for udev
		chown -R systemd-network /run/systemd/netif; SYSTEMD_LOG_LEVEL=debug exec $networkd" >"$TMP/sd.log" 2>&1 &
	at_exit kill $!
	if wait_for 60 has_lease sd; then
		ok "systemd-networkd gets a lease"
	elif grep -qi 'dhcp' "$TMP/sd.log" && grep -q 'DISCOVER' "$TMP/sd.log"; then
		not_ok "systemd-networkd gets a lease"
	else
		echo "ok - systemd-networkd # SKIP it does not run in a namespace without udev and D-Bus"
	fi
else
	echo "ok - systemd-networkd # SKIP not installed"
fi

# Everybody has an address of his own, and the store has them.
seen=$(for n in isc bb roy sd; do ip netns list | grep -q "^$(ns $n)\b" && address $n; done | sort)
check "no address was given twice" test "$(uniq -d <<<"$seen")" = ""
if command -v sqlite3 >/dev/null; then
	check "the leases are in the store" test "$(sqlite3 "$TMP/state/bootwell.db" 'select count(*) from lease')" -ge 2
fi
lab_capture_end
check "tshark finds nothing malformed" lab_well_formed "$TMP/all.pcap"
check "the capture holds ACKs" test -n "$(tshark -r "$TMP/all.pcap" -Y 'dhcp.option.dhcp == 5' 2>/dev/null)"
