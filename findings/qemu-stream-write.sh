#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# qemu-utils 1:7.2+dfsg-7+deb12u18+b3: writing to a streamOptimized VMDK, a format made for being sent once.
# Guess before: a write is refused with an error, whatever its place, and the image is unchanged.
# Seen: it depends on the place. Where a grain is there already the write fails (I/O error); where none is yet it
# succeeds, is read back, and is lasting. So a disk on such an image works until the first sector is written for the
# second time.
. "$(dirname "$0")/common.bash"
unpack qemu-utils=1:7.2+dfsg-7+deb12u18+b3
seen=$(inside <<'END'
cd /tmp
truncate -s 64M raw
printf data | dd of=raw conv=notrunc status=none
qemu-img convert -f raw -O vmdk -o subformat=streamOptimized raw s.vmdk
qemu-io -f vmdk -c 'write -q -P 7 0 64k' s.vmdk >/dev/null 2>&1 && echo written || echo refused
qemu-io -f vmdk -c 'write -q -P 7 20M 64k' s.vmdk >/dev/null 2>&1 && echo written || echo refused
qemu-io -f vmdk -c 'read -q -P 7 20M 64k' s.vmdk >/dev/null 2>&1 && echo kept
qemu-io -f vmdk -c 'write -q -P 8 20M 64k' s.vmdk >/dev/null 2>&1 && echo written || echo refused
END
)
expect "a grain that is there; one that is not, read back, written again" "$(echo $seen)" "refused written kept refused"
