#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# dnsmasq-base 2.90-4~deb12u2: the largest TFTP block is set by an option for DNS.
# Guess before: blksize 65464 on the loopback (MTU 65536) is granted up to the MTU, as 65464; nothing but the MTU and
# --tftp-mtu limits it.
# Seen: OACK blksize 2263. With --edns-packet-max=4096 (a DNS option; the DNS side is switched off by --port=0): 5127.
# It is always the EDNS size (1232 if not set) + 1031: the buffer for DNS packets is the buffer for TFTP blocks.
. "$(dirname "$0")/common.bash"
unpack dnsmasq-base=2.90-4~deb12u2 python3
mkdir -p root/srv/tftp
head -c 100000 /dev/zero >root/srv/tftp/a
cat >root/ask.py <<'END'
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
for i in range(20):
    s.sendto(b'\0\1a\0octet\0blksize\x0065464\0', ('127.0.0.1', 69))
    try:
        d, a = s.recvfrom(70000)
    except OSError:
        time.sleep(0.1)
        continue
    print(d[2:].split(b'\0')[1].decode())
    s.sendto(b'\0\5\0\0\0', a)
    break
END
seen=$(inside <<'END'
for o in --no-hosts --edns-packet-max=4096; do
	dnsmasq -k --port=0 $o --user=root -C /dev/null --listen-address=127.0.0.1 \
		--bind-interfaces --enable-tftp --tftp-root=/srv/tftp 2>/dev/null &
	python3 /ask.py
	kill $!; wait
done
END
)
expect "the largest block, without and with --edns-packet-max=4096" "$(echo $seen)" "2263 5127"
