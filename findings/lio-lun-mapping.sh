#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Linux 6.1 (user-mode-linux 6.1um4+b13), LIO; libiscsi-bin 1.19.0-3 as the initiator: a LUN's backstore is taken away
# and put back (another image, say) while an ACL maps the LUN.
# Guess before: removing the LUN's link is refused while a mapping uses it; else the mapping works again with the new
# link.
# Seen: neither. The removal succeeds and the mapping stays in configfs, whole to look at, but is dead: with the LUN
# linked again the initiator still sees nothing. The mapping's own link has to be removed and made again. (6.12 and
# 7.2 do the same.)
. "$(dirname "$0")/common.bash"
unpack user-mode-linux=6.1um4+b13 libiscsi-bin=1.19.0-3 kmod mount iproute2
seen=$(uml <<'END'
T=/sys/kernel/config/target D=$T/core/fileio_0/disk
P=$T/iscsi/iqn.2026-01.org.example:disk/tpgt_1 I=iqn.2026-01.org.example:pc
truncate -s 16M /tmp/disk
mkdir -p $D $P
echo -n fd_dev_name=/tmp/disk,fd_dev_size=16777216 >$D/control
echo -n 1 >$D/enable
echo -n 0 >$P/attrib/authentication
mkdir -p $P/np/127.0.0.1:3260 $P/lun/lun_5 $P/acls/$I
ln -s $D $P/lun/lun_5/disk
mkdir $P/acls/$I/lun_7
ln -s $P/lun/lun_5 $P/acls/$I/lun_7/map
echo -n 1 >$P/enable
sees() { iscsi-ls -s -i $I iscsi://127.0.0.1 2>/dev/null |
	while read -r lun type rest; do case $lun in Lun:*) echo "$1: $lun $type";; esac; done; }
sees start
rm $P/lun/lun_5/disk && echo removed
[ -L $P/acls/$I/lun_7/map ] && echo "mapping is there"
ln -s $D $P/lun/lun_5/disk
sees again
rm $P/acls/$I/lun_7/map
ln -s $P/lun/lun_5 $P/acls/$I/lun_7/map
sees mapped
END
)
after="again: Lun:0 Type:UNKNOWN,mapped: Lun:7 Type:DIRECT_ACCESS"
expect "what the initiator sees" "$(echo "$seen" | paste -sd,)" \
	"start: Lun:7 Type:DIRECT_ACCESS,removed,mapping is there,$after"
