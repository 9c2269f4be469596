#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# atftpd 0.8.0-3: a client asks for a name that is a folder.
# Guess before: ERROR 1 or 2, as for a file that is not there.
# Seen: DATA, block 1, no bytes: the transfer is a success, and the client has an empty file. A boot path with its
# last part forgotten ("arm64/" for "arm64/grubaa64.efi") looks to the firmware like an empty boot program, not like a
# missing one.
. "$(dirname "$0")/common.bash"
unpack atftpd=0.8.0-3 python3
mkdir -p root/srv/tftp/arm64
cat >root/ask.py <<'END'
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
for i in range(20):
    s.sendto(b'\0\1' + sys.argv[1].encode() + b'\0octet\0', ('127.0.0.1', 69))
    try:
        d, a = s.recvfrom(600)
    except OSError:
        time.sleep(0.1)
        continue
    print({3: 'DATA %d, %d bytes' % (d[3], len(d) - 4), 5: 'ERROR %d' % d[3]}[d[1]])
    s.sendto(b'\0\4' + d[2:4], a)
    break
END
seen=$(inside <<'END'
atftpd --daemon --no-fork --user root --bind-address 127.0.0.1 /srv/tftp >/dev/null 2>&1 &
python3 /ask.py missing; python3 /ask.py arm64
kill $!; wait || true
END
)
expect "a name that is not there; a folder" "$(echo "$seen" | paste -sd';')" "ERROR 1;DATA 1, 0 bytes"
