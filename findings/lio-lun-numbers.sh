#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Linux 6.1 (user-mode-linux 6.1um4+b13), LIO; libiscsi-bin 1.19.0-3 as the initiator: a LUN numbered above 65535.
# Guess before: lun_65535 is made, lun_65536 is refused, as what goes over the wire for one level of LUN has 16 bits.
# Seen: lun_65541 is made, linked, mapped and told of in REPORT LUNS, where the initiator reads it as LUN 5 and is
# then told that LUN 5 does not exist. A LUN number made from a database row is fine until the day that it is not.
. "$(dirname "$0")/common.bash"
unpack user-mode-linux=6.1um4+b13 libiscsi-bin=1.19.0-3 kmod mount iproute2 util-linux
seen=$(uml <<'END'
T=/sys/kernel/config/target D=$T/core/fileio_0/disk
P=$T/iscsi/iqn.2026-01.org.example:disk/tpgt_1 I=iqn.2026-01.org.example:pc
truncate -s 16M /tmp/disk
mkdir -p $D $P
echo -n fd_dev_name=/tmp/disk,fd_dev_size=16777216 >$D/control
echo -n 1 >$D/enable
echo -n 0 >$P/attrib/authentication
mkdir -p $P/np/127.0.0.1:3260 $P/acls/$I
mkdir $P/lun/lun_65541 $P/acls/$I/lun_65541
ln -s $D $P/lun/lun_65541/disk
ln -s $P/lun/lun_65541 $P/acls/$I/lun_65541/map && echo mapped
echo -n 1 >$P/enable
case $(iscsi-ls -s -i $I iscsi://127.0.0.1 2>&1) in
*LOGICAL_UNIT_NOT_SUPPORTED*) echo "told of a LUN that is not there" ;;
*) echo other ;;
esac
dmesg | while read -r line; do
	case $line in *NON_EXISTENT_LUN*) set -- ${line##*Access for }; echo "asked for $1" ;; esac
done
END
)
expect "lun_65541" "$(echo "$seen" | sort -u | paste -sd,)" \
	"asked for 0x00000005,mapped,told of a LUN that is not there"
