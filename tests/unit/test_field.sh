#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What people have reported of images and configurations (docs/seen-in-the-field.md), by the commands that a person
# gives, so that programs of another commit can be asked as well: O=OTHER/build tests/unit/test_field.sh.
. "$(dirname "$0")/../lib.sh"
requires qemu-img python3 cmp
B=$O/bootwell
[ -x "$B" ] || skip_all "$B is not built"
cd "$TMP" || exit 1

# --- descriptors of other writers ------------------------------------------------------------------------------------
mkdir images && cd images || exit 1
head -c 4096 /dev/urandom >f.bin
descriptor() { # FIRST LINE
	printf '%bversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="monolithicFlat"\n' "$1" >d.vmdk
	echo 'RW 8 FLAT "f.bin" 0' >>d.vmdk
}
# reads NAME FORMAT: the disk is that of f.bin
reads() { rm -f out.raw; "$B" image convert "$1" out.raw 2>/dev/null && cmp -s "$2" out.raw; }
for first in '# Disk DescriptorFile\n' '# Disk DescriptorFile \n' '# Disk Descriptor File\n' \
	'# disk descriptorfile\r\n' '# Description file created by VMWare stream converter\n' '\n\n' ''; do
	descriptor "$first"
	check "a descriptor that begins with \"${first%%\\n*}\" is read" reads d.vmdk f.bin
done

# A header of capacity 0, and the disk as it is behind it (Haiku's and FreeBSD's images).
python3 - <<'PY'
import struct
text = b'# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="monolithicFlat"\n' \
       b'RW 8 FLAT "haiku.vmdk" 8\n'
header = b"KDMV" + struct.pack("<IIQQQQIQQQB4sH", 1, 1, 0, 128, 1, 4, 512, 0, 0, 8, 0, b"\n \r\n", 0)
open("haiku.vmdk", "wb").write(header.ljust(512, b"\0") + text.ljust(7 * 512, b"\0") + open("f.bin", "rb").read())
PY
check "the disk behind a header of capacity 0 in the same file is read" reads haiku.vmdk f.bin

# --- VHD -------------------------------------------------------------------------------------------------------------
head -c 9M /dev/urandom >v.raw
qemu-img convert -f raw -O vpc -o subformat=dynamic,force_size v.raw spare.vhd
python3 - <<'PY'
import struct
d = bytearray(open("spare.vhd", "rb").read())
table, = struct.unpack_from(">Q", d, 512 + 16)
n, = struct.unpack_from(">I", d, 512 + 28)
struct.pack_into(">I", d, 512 + 28, n + 3)  # the sector of the table has the room
struct.pack_into(">III", d, table + 4 * n, 0, 3, 0x7fffffff)
struct.pack_into(">I", d, 512 + 36, 0)
struct.pack_into(">I", d, 512 + 36, ~sum(d[512:1536]) & 0xffffffff)
open("spare.vhd", "wb").write(d)
PY
check "entries of a VHD's table behind the end of the disk may hold anything" reads spare.vhd v.raw

mkdir chain && "$TOP/tests/unit/vhd-chain" chain 1 1
rm -f before.raw && "$B" image convert chain/child1.vhd before.raw
python3 - <<'PY'
import glob, struct
name = "chain/base.vhd"
d = bytearray(open(name, "rb").read())
size, = struct.unpack_from(">Q", d, 48)
size = size // 2 // 512 * 512
for at in (0, len(d) - 512):
    struct.pack_into(">Q", d, at + 48, size)
    struct.pack_into(">I", d, at + 64, 0)
    struct.pack_into(">I", d, at + 64, ~sum(d[at:at + 512]) & 0xffffffff)
open(name, "wb").write(d)
open("half", "w").write(str(size))
PY
rm -f after.raw
check "a VHD child that is larger than its parent is read" "$B" image convert chain/child1.vhd after.raw
check "up to the parent's end as before" cmp -n "$(cat half)" before.raw after.raw
check "to its own end" test "$(stat -c %s after.raw)" = "$(stat -c %s before.raw)"
# --- images as people's tools leave them ------------------------------------------------------------------------
# Renamed after they were made: the descriptor inside calls its extent by the old name.
for kind in monolithicSparse streamOptimized; do
	qemu-img convert -f raw -O vmdk -o subformat=$kind v.raw old-name.vmdk && mv old-name.vmdk new-name.vmdk
	check "a $kind VMDK that was renamed is read" reads new-name.vmdk v.raw
	check "its capacity is the disk's, not the file's" \
		eval '"$B" image info --json new-name.vmdk | grep -q "$(stat -c %s v.raw)"'
done
# The size of a disk is what its footer says, also where that is no multiple of a block.
truncate -s $((5 * 1048576 + 1536)) odd.raw
for at in 0 2097152 5243392; do printf 'mark %s' $at | dd of=odd.raw bs=1 seek=$at conv=notrunc status=none; done
for kind in dynamic fixed; do
	qemu-img convert -f raw -O vpc -o subformat=$kind,force_size odd.raw odd.vhd
	check "a $kind VHD whose size is no multiple of a block keeps its size" reads odd.vhd odd.raw
done
# A tool that made the file longer afterwards: the footer is not at the end any more.
truncate -s +1M odd.vhd
check "a fixed VHD whose footer is not at its end is no disk with a footer in it" \
	eval '! "$B" image convert --format vhd odd.vhd no.raw 2>said && grep -qi footer said'

cd ..

# --- configurations that cannot do what they say ----------------------------------------------------------------------
mkdir state folder tftp
truncate -s 1M images/one.raw
config() { # DHCP-LINES OTHER-SECTIONS
	cat >c.conf <<-END
		[server]
		state = $TMP/state
		run = $TMP/run
		[dhcp]
		interface = lo
		range = 127.0.0.5-127.0.0.9
		$1
		[tftp]
		root = $TMP/tftp
		[images]
		path = $TMP/images
		[image one]
		file = one.raw
		[group default]
		image = one
		$2
	END
}
# tells WORDS: config check says that
tells() { "$B" config check c.conf >said 2>&1; grep -q -- "$1" said; }
silent() { "$B" config check c.conf >said 2>&1 && ! grep -q -- "$1" said; }
whole='router = 127.0.0.1
dns = 127.0.0.1'
config "$whole" "[write-back]
path = $TMP/store"
check "a right one has no remark about its write-back" silent write-back
config "$whole" "[write-back]
path = $TMP/folder"
check "a write-back that is a folder is told of" tells 'write-back.*is a folder'
config "$whole" "[write-back]
path = $TMP/nowhere/store"
check "one in a folder that is not there" tells 'there is no folder .*/nowhere'
config "$whole" "[cache]
image_ram = 900000G"
check "a cache larger than the machine" tells 'image_ram'
config "" ""
check "PCs that are told no router and no DNS" tells 'no router and no DNS'
config "mode = proxy" ""
check "a range that a proxy does not use" tells 'is not used'
config "gateway = 127.0.0.1" ""
check "gateway is the word for router" tells 'did you mean "router"'
config "mask = 255.0.0.0" ""
check "mask is the length in network" tells 'network'
sed -i "s|root = $TMP/tftp|root = $TMP/nowhere|; /^mask/d" c.conf
check "a folder of boot programs that is not there" tells 'root .*No such file'
