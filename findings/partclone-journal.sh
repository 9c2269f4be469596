#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# partclone 0.3.23+repack-1, e2fsprogs 1.47.0-2+b2: an ext4 whose journal still has to be replayed, as after a power
# cut.
# Guess before: refused as "not cleanly unmounted", as one with the state 0 in its super block is.
# Seen: it depends on the state alone. With needs_recovery set and a transaction in the journal, but the state still
# 1, it is copied, status 0; with state 0 it is refused.
. "$(dirname "$0")/common.bash"
unpack partclone=0.3.23+repack-1 e2fsprogs=1.47.0-2+b2
seen=$(inside <<'END'
cd /tmp
truncate -s 64M fs
mke2fs -q -t ext4 fs
head -c 1024 /dev/zero >block
debugfs -w fs >/dev/null 2>&1 <<-'X'
	jo
	jw -b 20000 block
	jc
X
state() { debugfs -R stats fs 2>/dev/null | while read -r line; do
	case $line in *needs_recovery*) echo -n "journal " ;; *state:*) echo -n "${line##*: }" ;; esac
done; }
clone() { partclone.ext4 -c -s fs -o "$1" -L log >/dev/null 2>&1 && echo " copied" || echo " refused"; }
state; clone one
debugfs -w -R 'ssv state 0' fs 2>/dev/null
state; clone two
END
)
expect "what is found in it, and what partclone does" "$(echo $seen)" "journal clean copied journal not clean refused"
