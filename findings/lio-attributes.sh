#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Linux 6.1 (user-mode-linux 6.1um4+b13), 6.12 (6.12um1+b22) and 7.2 (7.2um1): the attributes of LIO's iSCSI portal
# groups and of its file backstore.
# Guess before: newer kernels only add attributes; a configuration that one of them saved is taken by the next.
# Seen: the group's netif_timeout is gone in 6.12 (it had been there, with a default of 2, and is in saved
# configurations). The backstores only gain: emulate_rsoc, submit_type in 6.12; complete_type and five atomic_* in
# 7.2. Defaults of the others are equal.
. "$(dirname "$0")/common.bash"
cat >job <<'END'
T=/sys/kernel/config/target
mkdir -p $T/iscsi/iqn.2026-01.org.example:disk/tpgt_1 $T/core/fileio_0/disk
truncate -s 16M /tmp/disk
echo -n fd_dev_name=/tmp/disk,fd_dev_size=16777216 >$T/core/fileio_0/disk/control
echo -n 1 >$T/core/fileio_0/disk/enable
for d in iscsi/iqn.2026-01.org.example:disk/tpgt_1 core/fileio_0/disk; do
	for f in $T/$d/attrib/*; do echo "${d%%/*} ${f##*/} $(<$f)"; done
done
END
unpack user-mode-linux=6.1um4+b13 kmod mount iproute2
uml <job | sort >6.1
rm -rf root
suite trixie
unpack user-mode-linux=6.12um1+b22 kmod mount iproute2
uml <job | sort >6.12
rm -rf root
suite sid
unpack user-mode-linux=7.2um1 kmod mount iproute2
uml <job | sort >7.2
[ -s 6.1 ] && [ -s 6.12 ] && [ -s 7.2 ] || cannot "a kernel said nothing"
expect "6.1 to 6.12: gone" "$(comm -23 6.1 6.12 | paste -sd,)" "iscsi netif_timeout 2"
expect "6.1 to 6.12: new" "$(comm -13 6.1 6.12 | paste -sd,)" "core emulate_rsoc 1,core submit_type 0"
expect "6.12 to 7.2: gone" "$(comm -23 6.12 7.2 | paste -sd,)" ""
expect "6.12 to 7.2: new" "$(comm -13 6.12 7.2 | cut -d' ' -f2 | paste -sd,)" \
	"atomic_alignment,atomic_granularity,atomic_max_boundary,atomic_max_len,atomic_max_with_boundary,complete_type"
