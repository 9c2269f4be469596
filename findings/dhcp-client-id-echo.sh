#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# dnsmasq-base 2.90-4~deb12u2, isc-dhcp-server 4.4.3-P1-2, kea-dhcp4-server 2.2.0-6: a client sends a client
# identifier (option 61) and looks for it in the OFFER, where RFC 6842 (2013) wants it back.
# Guess before: all three send it back.
# Seen: Kea alone. A client that checks it (the RFC tells clients to drop answers with another one) must take answers
# without.
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
size, siaddr, got = ask([(53, b'\1'), (61, b'\0bench')], tries=10)
print('back' if (61, b'\0bench') in got else 'left out')
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
expect "dnsmasq, dhcpd, Kea" "$(echo "$seen" | paste -sd,)" "left out,left out,back"
