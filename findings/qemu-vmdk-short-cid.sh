#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# qemu-utils 1:7.2+dfsg-7+deb12u18+b3: the content id (CID) in the descriptors of 300 new VMDKs.
# Guess before: eight hexadecimal digits each, as in the descriptors that VMware's products write; a script may set one
# by replacing eight digits.
# Seen: leading zeros are left out, so that about one in sixteen has seven digits or fewer; a child repeats its
# parent's id so. What looks for eight digits fails now and then, and does not when it is tried again.
. "$(dirname "$0")/common.bash"
unpack qemu-utils=1:7.2+dfsg-7+deb12u18+b3
inside <<'END'
cd /tmp
for ((i = 0; i < 300; i++)); do qemu-img create -q -f vmdk $i.vmdk 1M; done
END
seen=$(grep -a -h -o '^CID=[0-9a-f]*' root/tmp/*.vmdk |
	awk 'length($0) < 12 { n++ } END { print n == 0 ? "none" : n < 60 ? "some" : "most" }')
expect "ids of fewer than eight digits" "$seen" some
