#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# partclone 0.3.23+repack-1 and ntfsclone of ntfs-3g 1:2022.10.3-1+deb12u4: an NTFS volume with a hibernated Windows
# on it (its hiberfil.sys begins with "hibr": fast start-up leaves that at each shut-down).
# Guess before: refused, as a volume with the dirty mark is.
# Seen: both copy it without a word, status 0, with either spelling. The copy is a volume that a sleeping Windows
# believes to know.
. "$(dirname "$0")/common.bash"
unpack partclone=0.3.23+repack-1 ntfs-3g=1:2022.10.3-1+deb12u4
seen=$(inside <<'END'
cd /tmp
ln -sf /proc/mounts /etc/mtab
truncate -s 64M clean
mkntfs -F -q clean >/dev/null 2>&1
for word in hibr HIBR; do
	{ printf $word; head -c 8188 /dev/zero; } >file
	cp clean $word
	ntfscp -q $word file hiberfil.sys >/dev/null 2>&1
	partclone.ntfs -c -s $word -o $word.partclone -L log >out 2>&1 && s=0 || s=$?
	[[ $(<out) == *ibern* ]] && s="$s, warned"
	ntfsclone -s -o $word.ntfsclone $word >out 2>&1 && n=0 || n=$?
	[[ $(<out) == *ibern* ]] && n="$n, warned"
	echo "$word partclone $s ntfsclone $n"
done
END
)
expect "status of each" "$(echo "$seen" | paste -sd,)" "hibr partclone 0 ntfsclone 0,HIBR partclone 0 ntfsclone 0"
