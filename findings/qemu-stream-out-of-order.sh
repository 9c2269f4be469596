#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# qemu-utils 1:7.2+dfsg-7+deb12u18+b3: convert -W (writes out of order) into a streamOptimized VMDK, whose grains a
# reader of a stream expects in the order of the disk.
# Guess before: refused, as this format can only be written front to back.
# Seen: status 0 without a warning, and grains that are not in order (first ones seen: LBA 768, 1024, 896, 1152).
. "$(dirname "$0")/common.bash"
unpack qemu-utils=1:7.2+dfsg-7+deb12u18+b3 python3
cat >root/grains.py <<'END'
import struct
d = open('/tmp/s.vmdk', 'rb').read()
at, lba = struct.unpack_from('<Q', d, 64)[0] * 512, []
while at < len(d):
    v, size = struct.unpack_from('<QI', d, at)
    if not size:
        break
    lba.append(v)
    at = (at + 12 + size + 511) // 512 * 512
print(len(lba), 'in order' if lba == sorted(lba) else 'out of order')
END
seen=$(inside <<'END'
cd /tmp
head -c 16M /dev/urandom >raw
qemu-img convert -f raw -O vmdk -o subformat=streamOptimized raw s.vmdk
python3 /grains.py
for i in 1 2 3 4 5; do
	rm s.vmdk
	qemu-img convert -W -f raw -O vmdk -o subformat=streamOptimized raw s.vmdk || break
	python3 /grains.py
done | sort -u | tail -1
END
)
expect "grains without and with -W (the worst of five runs)" "$(echo "$seen" | paste -sd,)" \
	"256 in order,256 out of order"
