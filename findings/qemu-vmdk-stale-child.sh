#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# qemu-utils 1:7.2+dfsg-7+deb12u18+b3: a VMDK child whose base was written to after the child was made (so the base's
# CID is new).
# Guess before: opening the child is refused with a sentence about the parent's CID.
# Seen: info, check, map and commit take it with status 0 and no warning; only reading (and writing) fails, with
# "Invalid argument" and no word about a parent. What looks through images with info or check finds nothing.
. "$(dirname "$0")/common.bash"
unpack qemu-utils=1:7.2+dfsg-7+deb12u18+b3
seen=$(inside <<'END'
cd /tmp
qemu-img create -q -f vmdk base.vmdk 64M
qemu-img create -q -f vmdk -b base.vmdk -F vmdk child.vmdk
qemu-io -c 'write -q -P 1 0 64k' base.vmdk >/dev/null
for what in info check map; do qemu-img $what child.vmdk >/dev/null 2>&1 && s=0 || s=$?; echo "$what $s"; done
qemu-img convert -O raw child.vmdk raw 2>&1 | { read -r line; echo "${line##*: }"; }
qemu-img commit -q child.vmdk && echo commit 0
END
)
expect "status of each, and what reading says" "$(echo "$seen" | paste -sd,)" \
	"info 0,check 0,map 0,Invalid argument,commit 0"
