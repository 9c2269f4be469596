#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# isc-dhcp-server 4.4.3-P1-2: DHCPINFORM, from a PC with an address of its own that asks only for the options.
# Guess before: it is answered; nobody is given an address, so nothing hangs on being authoritative.
# Seen: without "authoritative;" (the default, and what a server beside another one has) there is no answer, and dhcpd
# serves DISCOVER as before. With it, the same message is answered.
. "$(dirname "$0")/common.bash"
unpack isc-dhcp-server=4.4.3-P1-2 python3 iproute2
dhcp_client
cat >root/ask.py <<'END'
from dhcp import ask
print('INFORM', 'answered' if ask([(53, b'\x08')], ciaddr='10.9.0.2') else 'silence', end=', ')
print('DISCOVER', 'answered' if ask([(53, b'\1')], tries=3) else 'silence')
END
seen=$(inside <<'END'
ip link add server type veth peer name client
ip addr add 10.9.0.1/24 dev server
ip link set server up
ip link set client up
ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev server
for word in '' 'authoritative;'; do
	echo "ping-check off; $word subnet 10.9.0.0 netmask 255.255.255.0 {
		range 10.9.0.10 10.9.0.100; option routers 10.9.0.1; }" >/tmp/isc.conf
	: >/tmp/isc.leases
	dhcpd -q -f -cf /tmp/isc.conf -lf /tmp/isc.leases -pf /tmp/isc.pid server >/dev/null 2>&1 & p=$!
	sleep 1; python3 /ask.py; kill $p; wait || true
done
END
)
expect "without and with 'authoritative;'" "$(echo "$seen" | paste -sd';')" \
	"INFORM silence, DISCOVER answered;INFORM answered, DISCOVER answered"
