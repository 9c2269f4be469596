#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tftpd-hpa 5.2+20150808-1.4, atftpd 0.8.0-3, dnsmasq-base 2.90-4~deb12u2: a client asks for tsize in netascii mode.
# Guess before: each server leaves tsize out of its answer, as the size after conversion is not known, and sends the
# file.
# Seen: three servers, three answers, for the same text of 14 bytes: tftpd-hpa refuses the whole request (ERROR 8),
# atftpd says that the size is 0, dnsmasq alone leaves the option out and sends the file.
. "$(dirname "$0")/common.bash"
unpack tftpd-hpa=5.2+20150808-1.4
mv root/usr/sbin/in.tftpd root/hpa
unpack atftpd=0.8.0-3 dnsmasq-base=2.90-4~deb12u2 python3 iproute2
mkdir -p root/srv/tftp
printf 'one\ntwo\r\n\nend\n' >root/srv/tftp/text
touch root/etc/hosts.allow root/etc/hosts.deny
cat >root/ask.py <<'END'
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
for i in range(20):
    s.sendto(b'\0\1text\0netascii\0tsize\x000\0', ('10.9.9.1', int(sys.argv[1])))
    try:
        d, a = s.recvfrom(70000)
    except OSError:
        time.sleep(0.1)
        continue
    print({3: 'DATA', 5: 'ERROR %d' % d[3], 6: 'OACK ' + d[2:-1].replace(b'\0', b'=').decode()}[d[1]])
    s.sendto(b'\0\5\0\0\0', a)
    break
END
seen=$(inside <<'END'
ip addr add 10.9.9.1/24 dev lo
/hpa -L -a 10.9.9.1:69 -u root -s /srv/tftp & h=$!
atftpd --daemon --no-fork --port 70 --user root --bind-address 10.9.9.1 /srv/tftp >/dev/null 2>&1 & a=$!
sleep 1
python3 /ask.py 69; python3 /ask.py 70
kill $h; wait $h || true
dnsmasq -k --port=0 --user=root -C /dev/null --listen-address=10.9.9.1 --bind-interfaces \
	--enable-tftp --tftp-root=/srv/tftp 2>/dev/null & d=$!
python3 /ask.py 69
kill $d $a; wait || true
END
)
expect "tftpd-hpa, atftpd, dnsmasq" "$(echo "$seen" | paste -sd,)" "ERROR 8,OACK tsize=0,DATA"
