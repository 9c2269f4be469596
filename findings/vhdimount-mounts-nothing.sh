#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# libvhdi-utils 20240509-2+b1 and libvmdk-utils 20240510-1+b1 (Debian 13): vhdimount and vmdkmount, two tools of one
# family, each with a disk of its format.
# Guess before: each shows the disk as a file in the folder, as in Debian 12.
# Seen: vmdkmount does; vhdimount is built without FUSE, says "No sub system to mount VHDI format." for each disk and
# ends with 1. A check of VHDs by it can only be skipped there.
. "$(dirname "$0")/common.bash"
[ -e /dev/fuse ] || cannot "there is no /dev/fuse"
suite trixie
unpack libvhdi-utils=20240509-2+b1 libvmdk-utils=20240510-1+b1 \
	qemu-utils=1:10.0.13+ds-0+deb13u1 fuse3=3.17.2-3 mount=2.41.5-0+deb13u1
seen=$(inside <<'END'
cd /tmp
mkdir vhd vmdk
qemu-img create -q -f vpc -o force_size=on disk.vhd 10M
qemu-img create -q -f vmdk disk.vmdk 10M
vmdkmount disk.vmdk vmdk >/dev/null 2>&1 && s=0 || s=$?
echo "vmdk $s $(ls vmdk)"
vhdimount disk.vhd vhd 2>&1 >/dev/null && s=0 || s=$?
echo "vhd $s $(ls vhd)"
umount vmdk
END
)
expect "status of each, and what is in the folder" "$(echo "$seen" | paste -sd,)" \
	"vmdk 0 vmdk1,No sub system to mount VHDI format.,vhd 1 "
