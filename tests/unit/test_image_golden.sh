#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What QEMU's own tests of vmdk and vpc ask (qemu-iotests 059 088 135 146 225 237 266), asked of us: images of other
# programs (tests/images), damaged ones, and those that qemu-img makes in all its ways.
. "$(dirname "$0")/../lib.sh"
BOOTWELL=${BOOTWELL:-$O/bootwell}
requires qemu-img qemu-io bzip2 jq python3
[ -x "$BOOTWELL" ] || skip_all "$BOOTWELL is not built"
images=$TOP/tests/images
cd "$TMP" || exit 1

sample() { bzip2 -dc "$images/$1.bz2" | dd of="$1" bs=64k iflag=fullblock conv=sparse status=none; }
info() { "$BOOTWELL" image info --json "$1" | jq -r ".$2"; }
# says WORDS FILE [FORMAT]: it is refused with these words
says() { local out; out=$("$BOOTWELL" image info ${3:+--format "$3"} "$2" 2>&1 >/dev/null)
	case $out in *"$1"*) ok "refused: $1" ;; *) not_ok "refused: $1 (it said: $out)" ;; esac; }
# poke FILE OFFSET BYTES
poke() { printf '%b' "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }
is() { if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1: $2 instead of $3"; fi; }

# 059: damaged headers
vmdk() { qemu-img create -q -f vmdk t.vmdk 64M; }
vmdk; poke t.vmdk 20 '\xff\xff\xff\xff\xff\xff\xff\xff'; says "its grain size, 18446744073709551615 sectors, is not a power of two" t.vmdk
vmdk; poke t.vmdk 44 '\xff\xff\xff\xff'; says "its grain tables have 4294967295 entries instead of 512" t.vmdk
vmdk; poke t.vmdk 16 '\xff\xff\xff\xff'; says "is over 64 TiB" t.vmdk
vmdk; poke t.vmdk 44 '\x01\x00\x00\x00'; says "its grain tables have 1 entries" t.vmdk
printf '%s\n' '# Disk DescriptorFile' version=1 CID=58ab4847 parentCID=ffffffff 'createType="vmfs"' '' '# Extent description' \
	'RW 12582912 VMFS "dummy.vmdk" 1' >t.vmdk
says "dummy.vmdk: there is no such file" t.vmdk
qemu-img create -q -f vmdk t.vmdk 100G && truncate -s 10M t.vmdk
says "sectors, the file has 20480; it is truncated" t.vmdk
sample afl9.vmdk; says "afl9.vmdk: " afl9.vmdk

# 059: sizes and kinds
qemu-img create -q -f vmdk -o subformat=monolithicFlat t.vmdk 2G
is "2 GiB flat" "$(info t.vmdk 'subformat+" \(.virtual_size)"')" "monolithicFlat 2147483648"
mkdir big && (cd big && qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentFlat t.vmdk 1000G)
is "1000 GiB in 500 pieces" "$(info big/t.vmdk 'virtual_size') $(info big/t.vmdk 'files|length')" "1073741824000 501"
rm -rf big
qemu-img create -q -f vmdk -o subformat=monolithicFlat t.vmdk 4T
qemu-io -f vmdk -c 'write -q -P 0xa 900G 512' t.vmdk
is "4 TiB flat" "$(info t.vmdk virtual_size)" 4398046511104
rm -f t*.vmdk
for kind in monolithicSparse twoGbMaxExtentSparse; do
	qemu-img create -q -f vmdk -o subformat=$kind t.vmdk 31G
	qemu-io -f vmdk -c 'write -q 65024 1k' -c 'write -q 2147483136 1k' -c 'write -q 5G 1k' t.vmdk
	is "$kind with grains on both sides of a border" "$(info t.vmdk allocated_size)" 327680
	"$BOOTWELL" image convert t.vmdk t.raw
	check "$kind is read as QEMU does" qemu-img compare -q -f vmdk -F raw t.vmdk t.raw
	rm -f t*.vmdk t.raw
done
qemu-img create -q -f qcow2 -o cluster_size=4096 t.qcow2 1G
qemu-io -f qcow2 -c 'write -q -P 0xa 0 512' -c 'write -q -P 0xb 10240 512' t.qcow2
qemu-img convert -f qcow2 -O vmdk -o subformat=streamOptimized t.qcow2 t.vmdk
"$BOOTWELL" image convert t.vmdk t.raw
check "streamOptimized from small clusters" qemu-img compare -q -f qcow2 -F raw t.qcow2 t.raw
rm -f t.*
sample iotest-version3.vmdk
"$BOOTWELL" image convert iotest-version3.vmdk t.raw
check "VMware's version 3: the pattern in each tenth grain" python3 -c '
f = open("t.raw", "rb")
for i in range(100):
    f.seek(i * 64 * 1024 * 10 + i * 512)
    assert f.read(512) == bytes([i % 10 + 0x30]) * 512, i'
rm -f t.raw

# 088: block sizes of a VHD (the checksum is mended, so that it is the block size that is refused)
for size in 0 128 305419896; do
	qemu-img create -q -f vpc t.vhd 64M
	python3 - $size <<'PY'
import struct, sys
with open("t.vhd", "r+b") as f:
    f.seek(512)
    h = bytearray(f.read(1024))
    struct.pack_into(">I", h, 32, int(sys.argv[1]))
    struct.pack_into(">I", h, 36, 0)
    struct.pack_into(">I", h, 36, ~sum(h) & 0xffffffff)
    f.seek(512)
    f.write(h)
PY
	says "its block size, $size bytes, is not a power of two from 512 bytes to 256 MiB" t.vhd
done

# 135: table entries of 2^30
sample afl5.img; says "afl5.img: " afl5.img vhd

# 146: who wrote it decides what the size is
sample virtualpc-dynamic.vhd; sample hyperv2012r2-dynamic.vhd; sample d2v-zerofilled.vhd
is "Virtual PC: the geometry" "$(info virtualpc-dynamic.vhd virtual_size)" 136363130880
is "Hyper-V: the current size" "$(info hyperv2012r2-dynamic.vhd virtual_size)" 136365211648
is "disk2vhd: the current size" "$(info d2v-zerofilled.vhd virtual_size)" 263454720
"$BOOTWELL" image convert d2v-zerofilled.vhd t.raw
check "disk2vhd's data are read as QEMU does" qemu-img compare -q -f vpc -F raw d2v-zerofilled.vhd t.raw
rm -f t.raw d2v-zerofilled.vhd

# 225: a parent that is another disk
qemu-img create -q -f vmdk base.vmdk 1M; qemu-img create -q -f vmdk other.vmdk 1M
qemu-img create -q -f vmdk -b base.vmdk -F vmdk child.vmdk
check "the fitting parent" "$BOOTWELL" image convert child.vmdk t.raw
mv other.vmdk base.vmdk
refuse "an unrelated parent" "$BOOTWELL" image convert child.vmdk t.raw 2>/dev/null
rm -f ./*.vmdk t.raw

# 237: vmdk of all sizes and kinds
for size in 512 33554432 1073741824 2147483648 5368709120; do
	for kind in monolithicSparse monolithicFlat twoGbMaxExtentFlat twoGbMaxExtentSparse; do
		mkdir v && qemu-img create -q -f vmdk -o subformat=$kind v/t.vmdk $size
		is "$kind of $size bytes" "$(info v/t.vmdk 'subformat+" \(.virtual_size)"')" "$kind $size"
		rm -rf v
	done
done
qemu-img create -q -f vmdk -o adapter_type=buslogic,zeroed_grain=on t.vmdk 32M
is "buslogic, zeroed grains" "$(info t.vmdk virtual_size)" 33554432

# 266: vpc of all sizes and kinds, the size as QEMU says it
for size in 512 1048576 67125248 134250496 $((2040 << 30)) 136899993600 136363130880; do
	for o in subformat=dynamic subformat=dynamic,force_size=on subformat=fixed subformat=fixed,force_size=on; do
		rm -f t.vhd
		qemu-img create -q -f vpc -o $o t.vhd $size 2>/dev/null || { ok "qemu-img makes no $o of $size bytes"; continue; }
		is "$o of $size bytes" "$(info t.vhd virtual_size)" \
			"$(qemu-img info -f vpc --output=json t.vhd | jq '."virtual-size"')"
	done
done
rm -f t.vhd

# VHDX, through qemu-img
sample iotest-dynamic-1G.vhdx; sample iotest-dirtylog-10G-4M.vhdx
if out=$("$BOOTWELL" image convert iotest-dynamic-1G.vhdx t.raw 2>&1); then
	check "Hyper-V's VHDX comes in" qemu-img compare -q -f vhdx -F raw iotest-dynamic-1G.vhdx t.raw
	out=$("$BOOTWELL" image convert iotest-dirtylog-10G-4M.vhdx u.raw 2>&1)
	case $out in *"its log must be played back"*) ok "a VHDX with a log is refused" ;; *) not_ok "a VHDX with a log: $out" ;; esac
	check "and leaves nothing" test ! -e u.raw
elif grep -q 'without a sandbox' <<<"$out"; then
	echo "ok - VHDX comes in # SKIP no user namespaces here"
else
	not_ok "Hyper-V's VHDX comes in ($out)"
fi
qemu-img create -q -f qcow2 -b /etc/hostname -F raw b.qcow2
out=$("$BOOTWELL" image convert b.qcow2 u.raw 2>&1)
case $out in *"has a backing file, and those are not followed"*) ok "a qcow2 with a backing file is refused" ;; *) not_ok "backing file: $out" ;; esac
