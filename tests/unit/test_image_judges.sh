#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# libvhdi and libvmdk, through FUSE, against the image library: both must see the same disk. What they see otherwise, and
# why we think that they are wrong, is in docs/images.md; those cases are here too, so that the table stays true.
. "$(dirname "$0")/../lib.sh"
BOOTWELL=${BOOTWELL:-$O/bootwell}
requires vhdimount vmdkmount qemu-img qemu-io python3
[ -x "$BOOTWELL" ] || skip_all "$BOOTWELL is not built"
[ -w /dev/fuse ] || skip_all "there is no /dev/fuse for vhdimount and vmdkmount"
SEED=${SEED:-$RANDOM}
echo "# SEED=$SEED"
here=$(cd "$(dirname "$0")" && pwd)
cd "$TMP" && mkdir m || exit 1
at_exit umount "$TMP/m"

# mounted TOOL IMAGE NUMBER COMMAND...: the command with the mounted disk as its last argument
mounted() {
	local tool=$1 image=$2 number=$3 status; shift 3
	"$tool" "$image" m >mount.log 2>&1 || { cat mount.log; return 1; }
	"$@" "m/${tool%mount}$number"
	status=$?
	umount m
	return $status
}
python3 - "$SEED" <<'PY'
import random, sys
random.seed(int(sys.argv[1]))
size = 20 * 2**20 + 65536 * random.randrange(0, 50)
with open("src.raw", "wb") as f:
    f.truncate(size)
    for i in range(20):
        n = 512 * random.randrange(1, 500)
        f.seek(512 * random.randrange((size - n) // 512))
        f.write(random.randbytes(n) if i % 2 else b"boot" * (n // 4))
PY
qemu-img convert -f raw -O vpc -o force_size=on src.raw probe.vhd
mounted vhdimount probe.vhd 1 test -e >/dev/null || skip_all "vhdimount does not mount here: $(tail -1 mount.log)"

# what we write
for t in vhd vhd-fixed; do
	"$BOOTWELL" image convert -O $t src.raw $t.vhd
	check "libvhdi reads our $t bit for bit" mounted vhdimount $t.vhd 1 cmp src.raw
done
for t in vmdk vmdk-stream; do
	"$BOOTWELL" image convert -O $t src.raw $t.vmdk
	check "libvmdk reads our $t bit for bit" mounted vmdkmount $t.vmdk 1 cmp src.raw
done

# what QEMU writes, as we and they see it
for o in monolithicSparse twoGbMaxExtentSparse twoGbMaxExtentFlat streamOptimized; do
	qemu-img convert -f raw -O vmdk -o subformat=$o src.raw q-$o.vmdk
	"$BOOTWELL" image convert q-$o.vmdk ours.raw
	check "libvmdk and we see the same in QEMU's $o" mounted vmdkmount q-$o.vmdk 1 cmp ours.raw
done

# differencing VHDs: QEMU takes them for disks without a parent, so libvhdi is the only judge
for depth in 1 3; do
	rm -f ./*.vhd disk*.raw
	"$here/vhd-chain" . $((SEED + depth)) $depth libvhdi
	for i in $(seq 0 $depth); do
		n=child$i; [ "$i" = 0 ] && n=base
		"$BOOTWELL" image convert $n.vhd ours.raw
		check "level $i of a chain of $depth reads as it was made" cmp disk"$i".raw ours.raw
		check "libvhdi sees the same at level $i" mounted vhdimount $n.vhd $((i + 1)) cmp ours.raw
	done
done

# the known disagreements
rm -f ./*.vhd disk*.raw
"$here/vhd-chain" . "$SEED" 4
for i in 1 2 3 4; do
	"$BOOTWELL" image convert child$i.vhd ours.raw
	check "level $i with bitmaps of every kind reads as it was made" cmp disk$i.raw ours.raw
done
qemu-img convert -f vpc -O raw child4.vhd q.raw
refuse "QEMU still reads a differencing VHD without its parent" cmp -s q.raw disk4.raw
"$BOOTWELL" image convert base.vhd ours.raw
python3 - <<'PY'
import struct
with open("base.vhd", "r+b") as f:
    head = f.read(2048)
    block = min(s for s in struct.unpack(">128I", head[1536:]) if s != 0xffffffff)
    f.seek(block * 512)
    f.write(bytes(512))
PY
"$BOOTWELL" image convert base.vhd ours2.raw
check "the bitmaps of a dynamic VHD change nothing for us" cmp ours.raw ours2.raw
qemu-img convert -f vpc -O raw base.vhd q.raw
check "nor for QEMU" cmp ours.raw q.raw
refuse "libvhdi still heeds them" mounted vhdimount base.vhd 1 cmp -s ours.raw
check "image check tells" sh -c "'$BOOTWELL' image check base.vhd | grep -q 'bitmap calls unused'"

# an extent of ZERO in the middle: QEMU leaves it out, and all behind it shifts
qemu-img create -q -f raw z-flat.vmdk 1M && qemu-io -f raw -c 'write -q -P 0x5a 0 1M' z-flat.vmdk
printf '%s\n' '# Disk DescriptorFile' version=1 CID=00000001 parentCID=ffffffff 'createType="monolithicFlat"' \
	'RW 128 FLAT "z-flat.vmdk" 0' 'RW 256 ZERO' 'RW 128 FLAT "z-flat.vmdk" 128' >z.vmdk
"$BOOTWELL" image convert z.vmdk ours.raw
check "a ZERO extent takes its place" python3 -c "d = open('ours.raw', 'rb').read(); assert d == b'Z' * 65536 + bytes(131072) + b'Z' * 65536"
refuse "QEMU still leaves it out" qemu-img compare -q -f vmdk -F raw z.vmdk ours.raw

# COWD, which nothing in Debian writes: one of the fuzzers' seeds, as QEMU reads it
python3 - "$TOP/tests/fuzz/corpus/vmdk_descriptor/cowd" <<'PY'
import sys
text, data = open(sys.argv[1], "rb").read().split(b"\0", 1)
open("cowd.vmdk", "wb").write(text)
open("b", "wb").write(data)
PY
"$BOOTWELL" image convert cowd.vmdk ours.raw
check "QEMU and we see the same in a COWD" qemu-img compare -q -f vmdk -F raw cowd.vmdk ours.raw
check "and it has data" python3 -c "assert any(open('ours.raw', 'rb').read())"
