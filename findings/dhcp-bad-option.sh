#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# dnsmasq-base 2.90-4~deb12u2, isc-dhcp-server 4.4.3-P1-2, kea-dhcp4-server 2.2.0-6: a DISCOVER with one option whose
# length is wrong, as firmware sends them; nothing but the offer of an address hangs on it.
# Guess before: all three answer each of them, and leave the option out.
# Seen: dnsmasq and dhcpd do. Kea is silent for a PC whose option 50, 51, 55, 57, 61 or 93 is empty or too short; an
# option 12 that is empty, a 97 of one byte and an 82 whose suboption is cut off it takes.
. "$(dirname "$0")/common.bash"
unpack dnsmasq-base=2.90-4~deb12u2 isc-dhcp-server=4.4.3-P1-2 python3 iproute2
unpack kea-dhcp4-server=2.2.0-6
dhcp_client
cat >root/kea.json <<'END'
{"Dhcp4": {"interfaces-config": {"interfaces": ["server"]}, "lease-database": {"type": "memfile", "persist": false},
"subnet4": [{"subnet": "10.9.0.0/24", "pools": [{"pool": "10.9.0.10-10.9.0.100"}]}]}}
END
cat >root/isc.conf <<'END'
ping-check off;
subnet 10.9.0.0 netmask 255.255.255.0 { range 10.9.0.10 10.9.0.100; }
END
cat >root/ask.py <<'END'
from dhcp import ask
assert ask([(53, b'\1')], tries=10)
bad = ((12, b''), (50, b''), (51, b'\1'), (55, b''), (57, b'\5'), (61, b'\0'),
       (82, b'\1\x09a'), (93, b'\0'), (97, b'\0'))
print('silent for', *[o[0] for o in bad if not ask([(53, b'\1'), o], tries=2)])
END
seen=$(inside <<'END'
ip link add server type veth peer name client
ip addr add 10.9.0.1/24 dev server
ip link set server up
ip link set client up
dnsmasq -k --port=0 --user=root -C /dev/null --interface=server --bind-interfaces \
	--dhcp-range=10.9.0.10,10.9.0.100 --no-ping --dhcp-leasefile=/tmp/leases 2>/dev/null & p=$!
sleep 1; python3 /ask.py; kill $p; wait || true
: >/tmp/isc.leases
dhcpd -q -f -cf /isc.conf -lf /tmp/isc.leases -pf /tmp/isc.pid server >/dev/null 2>&1 & p=$!
sleep 1; python3 /ask.py; kill $p; wait || true
mkdir -p /run/kea /run/lock/kea /var/lib/kea
KEA_LOCKFILE_DIR=/tmp KEA_PIDFILE_DIR=/tmp kea-dhcp4 -c /kea.json >/dev/null 2>&1 & p=$!
sleep 1; python3 /ask.py; kill $p; wait || true
END
)
expect "dnsmasq, dhcpd, Kea" "$(echo "$seen" | sed 's/ *$//' | paste -sd,)" \
	"silent for,silent for,silent for 50 51 55 57 61 93"
