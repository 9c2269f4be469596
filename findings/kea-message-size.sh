#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# kea-dhcp4-server 2.2.0-6: how long its answers are, for a client that does not raise the limit of 576 bytes (no
# option 57), and for one that names it (57 = 576).
# Guess before: a long list of search domains is compressed, or cut, so that the answer keeps to what the client
# takes, and short answers are filled up to BOOTP's 300 bytes, as dnsmasq and dhcpd do.
# Seen: neither. 611 bytes of DHCP message both times: option 57 is not looked at, and the domains are written out in
# full, 339 bytes in two options 119 (dnsmasq and dhcpd: 86, compressed). And 268 bytes for a client that asks for
# nothing.
. "$(dirname "$0")/common.bash"
unpack kea-dhcp4-server=2.2.0-6 python3 iproute2
dhcp_client
cat >root/kea.json <<END
{"Dhcp4": {"interfaces-config": {"interfaces": ["server"]}, "lease-database": {"type": "memfile", "persist": false},
"subnet4": [{"subnet": "10.9.0.0/24", "pools": [{"pool": "10.9.0.10-10.9.0.100"}], "boot-file-name": "boot.efi",
"option-data": [{"name": "routers", "data": "10.9.0.1"},
{"name": "domain-search", "data": "$(seq -s, -f ' d%g.a-long-name.example.org' 12)"}]}]}}
END
cat >root/ask.py <<'END'
from dhcp import ask
want = (55, bytes([1, 3, 15, 119]))
for options in [], [want], [want, (57, b'\2\x40')]:
    size, siaddr, got = ask([(53, b'\1')] + options, tries=10)
    print(size, *[len(v) for c, v in got if c == 119])
END
seen=$(inside <<'END'
ip link add server type veth peer name client
ip addr add 10.9.0.1/24 dev server
ip link set server up
ip link set client up
mkdir -p /run/kea /run/lock/kea /var/lib/kea
KEA_LOCKFILE_DIR=/tmp KEA_PIDFILE_DIR=/tmp kea-dhcp4 -c /kea.json >/dev/null 2>&1 & kea=$!
sleep 1
python3 /ask.py
kill $kea; wait || true
END
)
expect "sizes: nothing asked for; with the domains; with 57 = 576" "$(echo "$seen" | paste -sd,)" \
	"268,611 253 86,611 253 86"
