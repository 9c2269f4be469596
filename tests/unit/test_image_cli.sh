#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bootwell image info|check|convert, as a person uses it.
# shellcheck disable=SC2016
. "$(dirname "$0")/../lib.sh"
BOOTWELL=${BOOTWELL:-$O/bootwell}
requires qemu-img python3 jq
[ -x "$BOOTWELL" ] || skip_all "$BOOTWELL is not built"
SEED=${SEED:-$RANDOM}
echo "# SEED=$SEED"
cd "$TMP" || exit 1

# says WORDS COMMAND...: the command fails and says that on stderr (or stdout)
says() { local words=$1 out; shift; if out=$("$@" 2>&1); then not_ok "$words (succeeded: $*)"; return; fi
	case $out in *"$words"*) ok "it says: $words" ;; *) not_ok "$words (it said: $out)" ;; esac; }

python3 - "$SEED" <<'PY'
import random, sys
random.seed(int(sys.argv[1]))
size = 24 * 2**20 + 512 * random.randrange(1, 2000)
with open("src.raw", "wb") as f:
    f.truncate(size)
    for i in range(12):
        n = 512 * random.randrange(1, 600)
        f.seek(512 * random.randrange((size - n) // 512))
        f.write(random.randbytes(n) if i % 2 else b"boot" * (n // 4))
    f.seek(size - 512)
    f.write(b"e" * 512)
PY
size=$(stat -c %s src.raw)
blocks() { stat -c %b "$1"; }

# every format out, read back by QEMU and by ourselves, with as many holes as the source
for t in raw vhd vhd-fixed vmdk vmdk-stream; do
	case $t in raw) q=raw e=raw ;; vhd*) q=vpc e=vhd ;; *) q=vmdk e=vmdk ;; esac
	check "convert to $t" "$BOOTWELL" image convert -O $t src.raw $t.$e
	check "qemu-img reads the same in $t" qemu-img compare -q -f raw -F $q src.raw $t.$e
	check "check is content with $t" "$BOOTWELL" image check --format $e $t.$e
	check "$t back to raw" "$BOOTWELL" image convert --format $e -O raw $t.$e back.raw
	check "$t is the same bytes" cmp src.raw back.raw
	check "$t stays sparse" test "$(blocks $t.$e)" -le $(($(blocks src.raw) + 2048))
	check "$t back is sparse" test "$(blocks back.raw)" -le $(($(blocks src.raw) + 64))
done
check "no temporary file is left" test -z "$(find . -name '.*.*' -type f)"

# two of one source are two images
"$BOOTWELL" image convert -O vhd src.raw two.vhd
"$BOOTWELL" image convert -O vmdk src.raw two.vmdk
"$BOOTWELL" image convert -O vhd-fixed src.raw two-fixed.vhd
"$BOOTWELL" image convert -O vmdk-stream src.raw two-stream.vmdk
id() { "$BOOTWELL" image info --json "$1" | jq -r .id; }
check "each VHD has its own UUID" test "$(id vhd.vhd)" != "$(id two.vhd)"
check "each VMDK has its own CID" test "$(id vmdk.vmdk)" != "$(id two.vmdk)"
check "each fixed VHD has its own UUID" test "$(id vhd-fixed.vhd)" != "$(id two-fixed.vhd)"
check "each streamOptimized VMDK has its own CID" test "$(id vmdk-stream.vmdk)" != "$(id two-stream.vmdk)"
check "the four have an id at all" test "$(for f in two*.v*; do id $f; done | grep -cE '^[0-9a-f]{8}(-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})?$')" = 4
check "the data of a VHD lie at multiples of 4 KiB" python3 - <<'PY'
import struct
d = open("vhd.vhd", "rb").read()
bat = [s for s in struct.unpack(">13I", d[1536:1588]) if s != 0xffffffff]
assert bat and all((s + 1) % 8 == 0 for s in bat), bat
PY
check "the data of a VMDK lie at multiples of 64 KiB" python3 - <<'PY'
import struct
d = open("vmdk.vmdk", "rb").read()
gd = struct.unpack_from("<Q", d, 56)[0] * 512
gt = struct.unpack_from("<I", d, gd)[0] * 512
e = [s for s in struct.unpack_from("<512I", d, gt) if s]
assert e and all(s % 128 == 0 for s in e)
PY

# Interrupted: the program has its file beside the final name when the signal comes; nothing stays. Random bytes are slow to
# compress.
mkdir i && head -c 64M /dev/urandom >i/in.raw && qemu-img convert -f raw -O qcow2 i/in.raw i/in.qcow2
cat >interrupt.py <<'PY'
import os, signal, subprocess, sys, time
name, source, written = sys.argv[2:]
number, before = getattr(signal, name), set(os.listdir("i"))
p = subprocess.Popen([sys.argv[1], "image", "convert", "-O", "vmdk-stream", source, "i/out.vmdk"], stderr=subprocess.PIPE, text=True)
end = time.monotonic() + 60
while not any(f.startswith(written) for f in os.listdir("i")):
    assert p.poll() is None and time.monotonic() < end, p.stderr.read()
    time.sleep(0.01)
p.send_signal(number)
said = p.communicate()[1]
left = set(os.listdir("i")) - before
assert p.returncode == 1 and not left and "the conversion was stopped" in said, (p.returncode, left, said)
PY
for signal in SIGTERM SIGINT SIGHUP; do
	check "$signal to a conversion leaves nothing" python3 interrupt.py "$BOOTWELL" $signal i/in.raw .out.vmdk.
done
if out=$("$BOOTWELL" image convert i/in.qcow2 q.raw 2>&1); then
	check "a qcow2 comes in, the same bytes" cmp i/in.raw q.raw
	check "a qcow2 becomes a VMDK" "$BOOTWELL" image convert i/in.qcow2 q.vmdk
	check "the VMDK of a qcow2 is the same bytes" qemu-img compare -q -f raw -F vmdk i/in.raw q.vmdk
	check "SIGTERM while qemu-img works leaves nothing" python3 interrupt.py "$BOOTWELL" SIGTERM i/in.qcow2 .out.vmdk.
	check "SIGTERM behind qemu-img leaves nothing" python3 interrupt.py "$BOOTWELL" SIGTERM i/in.qcow2 out.vmdk.
elif grep -q 'without a sandbox' <<<"$out"; then
	echo "ok - qcow2 comes in # SKIP no user namespaces here"
else
	not_ok "a qcow2 comes in ($out)"
fi
rm -rf i q.raw q.vmdk

# The geometry that is written, for a disk in each branch of the specification's rule (17, 31, 63 and 255 sectors a track).
cat >geometry.py <<'PY'
import os, re, struct, sys
size = os.path.getsize(sys.argv[1])
def vhd_rule(total):
    total = min(total, 65535 * 16 * 255)
    if total >= 65535 * 16 * 63:
        s, h = 255, 16
    else:
        s = 17
        h = max(4, -(-(total // s) // 1024))
        if total // s >= h * 1024 or h > 16:
            s, h = 31, 16
        if total // s >= h * 1024:
            s, h = 63, 16
    return total // s // h, h, s
for name in sys.argv[2:4]:
    with open(name, "rb") as f:
        f.seek(-512, 2)
        footer = f.read(512)
    assert struct.unpack_from(">QQ", footer, 40) == (size, size), name
    got = struct.unpack_from(">HBB", footer, 56)
    assert got == vhd_rule(size // 512), (name, got, vhd_rule(size // 512))
for name in sys.argv[4:]:
    with open(name, "rb") as f:
        text = f.read(65536)
    got = tuple(int(re.search(b'ddb.geometry.%s = "([0-9]+)"' % w, text)[1]) for w in (b"cylinders", b"heads", b"sectors"))
    assert got == (min(max(size // 512 // (255 * 63), 1), 65535), 255, 63), (name, got)
    assert int(re.search(rb'\nRW ([0-9]+) SPARSE "', text)[1]) == size // 512, name
PY
for g in 1M 24M 200M 4G 40G 140G; do
	rm -f g.*; truncate -s $g g.raw
	for t in vhd vhd-fixed vmdk vmdk-stream; do "$BOOTWELL" image convert -O $t g.raw g.$t; done
	check "the geometry of disks of $g" python3 geometry.py g.raw g.vhd g.vhd-fixed g.vmdk g.vmdk-stream
done
rm -f g.*

# info
json=$("$BOOTWELL" image info --json vhd.vhd)
check "info --json: size" test "$(jq .virtual_size <<<"$json")" = "$size"
check "info --json: format" test "$(jq -r '.format+" "+.subformat' <<<"$json")" = "vhd dynamic"
check "info --json: no parent" test "$(jq .parent <<<"$json")" = null
check "info --json: allocated" test "$(jq '.allocated_size > 0 and .allocated_size <= .file_size' <<<"$json")" = true
out=$("$BOOTWELL" image info vmdk-stream.vmdk)
check "info names the kind" grep -q "streamOptimized.*($size bytes)" <<<"$out"
"$BOOTWELL" image convert -p -O vmdk src.raw p.vmdk 2>progress >/dev/null
check "-p ends at 100 %" grep -q '100.0 %' progress

# chains: the parent is found by its identity, whatever it is called now
qemu-img create -q -f vmdk base.vmdk 16M && qemu-io -f vmdk -c 'write -q -P 0x41 0 1M' base.vmdk
qemu-img create -q -f vmdk -b base.vmdk -F vmdk child.vmdk && qemu-io -f vmdk -c 'write -q -P 0x42 512k 1M' child.vmdk
qemu-img convert -f vmdk -O raw child.vmdk chain.raw
mkdir c && mv base.vmdk c/renamed.vmdk && mv child.vmdk c/
check "a VMDK child is read through its parent" "$BOOTWELL" image convert c/child.vmdk chain2.raw
check "the chain is the same bytes" cmp chain.raw chain2.raw
check "check names the chain" sh -c '"$1" image check c/child.vmdk | grep -q "good; its parents: renamed.vmdk"' - "$BOOTWELL"
cp c/renamed.vmdk c/second.vmdk
says "child.vmdk: which image is its parent cannot be known" "$BOOTWELL" image check c/child.vmdk
says "what helps: give the one that the child was made from the name that the child remembers" \
	"$BOOTWELL" image check c/child.vmdk
mv c/second.vmdk c/BASE.vmdk
check "of two the one that the child remembers by name is taken" \
	sh -c '"$1" image check c/child.vmdk | grep -q "good; its parents: BASE.vmdk"' - "$BOOTWELL"
mv c/BASE.vmdk c/second.vmdk
mv c/renamed.vmdk . && rm c/second.vmdk
says "is not in its folder; put it there" "$BOOTWELL" image convert c/child.vmdk no.raw
says ", once called base.vmdk) is not in its folder" "$BOOTWELL" image check c/child.vmdk
says "what helps: put the parent into the folder of the child" "$BOOTWELL" image check c/child.vmdk
# ESXi gives each new disk the CID fffffffe, and snapshots keep the CID of what they were made from.
mkdir snap && (cd snap && cp ../c/renamed.vmdk vm.vmdk 2>/dev/null || cp ../renamed.vmdk vm.vmdk)
(cd snap && qemu-img convert -f raw -O vmdk ../src.raw vm_1.vmdk)
set_cid() { python3 - "$@" <<'PY'
import re, sys
name, key, value = sys.argv[1:]
d = open(name, "rb").read()
# qemu-img leaves out leading zeros: what the text grows by goes from the NULs behind it, so that nothing else moves.
m = re.search(b"\n" + key.encode() + b"=[0-9a-f]{1,8}", d)
new = b"\n" + key.encode() + b"=" + value.encode()
end = d.index(b"\0", m.end())
d = d[:m.start()] + new + d[m.end():end] + d[end + len(new) - (m.end() - m.start()):]
open(name, "wb").write(d)
PY
}
set_cid snap/vm.vmdk CID fffffffe && set_cid snap/vm_1.vmdk CID fffffffe
(cd snap && qemu-img create -q -f vmdk -b vm.vmdk -F vmdk vm-000001.vmdk && set_cid vm-000001.vmdk CID fffffffe &&
	qemu-img create -q -f vmdk -b vm-000001.vmdk -F vmdk vm-000002.vmdk && set_cid vm-000002.vmdk CID fffffffe)
qemu-img convert -f vmdk -O raw snap/vm.vmdk vm.raw
for n in 1 2; do
	"$BOOTWELL" image convert snap/vm-00000$n.vmdk snap.raw
	check "snapshot $n of one CID is read through its own parent" cmp vm.raw snap.raw
done
check "the chain is named" grep -q "its parents: vm-000001.vmdk, vm.vmdk" \
	<("$BOOTWELL" image check snap/vm-000002.vmdk)
mv snap/vm.vmdk snap/other.vmdk
set_cid snap/vm_1.vmdk CID fffffffe
rm snap/other.vmdk
says "vm-000001.vmdk: which image is its parent cannot be known: it wants CID fffffffe, once called vm.vmdk" \
	"$BOOTWELL" image convert snap/vm-000001.vmdk no.raw
rm -r snap vm.raw snap.raw
# A write gives a VMDK another CID.
was=$(id renamed.vmdk)
mv renamed.vmdk c/base.vmdk && qemu-io -f vmdk -c 'write -q 0 64k' c/base.vmdk
now=$(id c/base.vmdk)
says "child.vmdk: its parent base.vmdk was changed after the child was made, or is another one: it has CID $now, and the child needs $was" "$BOOTWELL" image check c/child.vmdk
says "what helps: bring back the parent as it was when the child was made" "$BOOTWELL" image check c/child.vmdk
says "was changed after the child was made" "$BOOTWELL" image convert c/child.vmdk no.raw
check "info works with a changed parent" test "$("$BOOTWELL" image info --json c/child.vmdk 2>/dev/null | jq -r '.parent.id')" = "$was"
truncate -s 1000 c/base.vmdk
says "child.vmdk: its parent cannot be opened: base.vmdk: " "$BOOTWELL" image check c/child.vmdk
rm c/base.vmdk
mkdir v && "$TOP/tests/unit/vhd-chain" v "$SEED" 1
check "a VHD child is read through its parent" "$BOOTWELL" image check v/child1.vhd
was=$(id v/base.vhd)
"$BOOTWELL" image convert v/base.vhd other.vhd && mv other.vhd v/base.vhd
says "child1.vhd: its parent base.vhd was changed after the child was made, or is another one: it has UUID $(id v/base.vhd), and the child needs $was" "$BOOTWELL" image check v/child1.vhd
rm v/base.vhd
says "its parent (UUID $was, once called " "$BOOTWELL" image check v/child1.vhd
rm -rf v
check "info works without the parent" test "$("$BOOTWELL" image info --json c/child.vmdk 2>/dev/null | jq -r '.parent.file')" = null
check "a failed conversion leaves no file" test ! -e no.raw

# refusals
cp vmdk.vmdk t.vmdk && truncate -s -64K t.vmdk
says "would lie past the end of the file; is it truncated?" "$BOOTWELL" image check t.vmdk
says "what helps: copy it again from where it came and compare both with sha256sum" "$BOOTWELL" image check t.vmdk
printf '\x1f\x8b%600s' '' >packed.vmdk
says "what helps: name the file that describes the disk" "$BOOTWELL" image check packed.vmdk
"$BOOTWELL" image convert -O vhd-fixed src.raw cut.vhd && truncate -s -512 cut.vhd
says "cut.vhd: has no VHD footer at its end, so it was probably cut short or not copied whole; copy it again" "$BOOTWELL" image check cut.vhd
says "what helps: copy it again from where it came" "$BOOTWELL" image check cut.vhd
says "has no VHD footer: its end is missing, or it is not a VHD" "$BOOTWELL" image check --format vhd cut.vhd
says "what helps: copy it again from where it came" "$BOOTWELL" image check --format vhd cut.vhd
check "and --format raw takes it for a disk" "$BOOTWELL" image check --format raw cut.vhd
# qcow2: what qemu-img would need another file or a secret for, or would have to mend, is refused before it runs.
qemu-img create -q -f qcow2 --object secret,id=s,data=boot -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 locked.qcow2 1M
says "locked.qcow2: is encrypted; decrypt it first with qemu-img" "$BOOTWELL" image convert locked.qcow2 no.raw
says "locked.qcow2: is an encrypted qcow2; decrypt it first with qemu-img" "$BOOTWELL" image check locked.qcow2
qemu-img create -q -f qcow2 -o data_file=elsewhere.dat apart.qcow2 1M
says "apart.qcow2: keeps its data in another file, and that is not followed; make it one file first" "$BOOTWELL" image convert apart.qcow2 no.raw
qemu-img create -q -f qcow2 dirty.qcow2 1M
printf '\1' | dd of=dirty.qcow2 bs=1 seek=79 conv=notrunc status=none
says "dirty.qcow2: was not closed cleanly; mend it first with: qemu-img check -r all" "$BOOTWELL" image convert dirty.qcow2 no.raw
says "is a qcow2; bring it in with: bootwell image convert" "$BOOTWELL" image check dirty.qcow2
check "a refused qcow2 leaves no file" test ! -e no.raw
rm -f ./*.qcow2 elsewhere.dat
# VHDX: what Hyper-V makes and qemu-img does not read, with what to do there. Flag and number are in the metadata.
poke_vhdx() { python3 - "$1" "$2" "$3" <<'PY'
import struct, sys
name, item, value = sys.argv[1], bytes.fromhex(sys.argv[2]), int(sys.argv[3])
with open(name, "r+b") as f:
    d = f.read(1 << 22)
    meta = d.index(b"metadata")
    at = meta + struct.unpack_from("<I", d, d.index(item, meta) + 16)[0] + (4 if value == 2 else 0)
    f.seek(at)
    f.write(struct.pack("<I", value))
PY
}
qemu-img create -q -f vhdx plain.vhdx 8M
cp plain.vhdx child.vhdx && poke_vhdx child.vhdx 3767a1ca36fa434db3b633f0aa44e76b 2
says "child.vhdx: is a differencing VHDX (a checkpoint), and its parent is another file; make one disk of them" \
	"$BOOTWELL" image convert child.vhdx no.raw
cp plain.vhdx 4kn.vhdx && poke_vhdx 4kn.vhdx 1dbf41816fa90947ba47f233a8faab5f 4096
says "4kn.vhdx: is a disk with sectors of 4096 bytes, and PCs get sectors of 512; in Hyper-V make" \
	"$BOOTWELL" image convert 4kn.vhdx no.raw
check "a refused VHDX leaves no file" test ! -e no.raw
"$BOOTWELL" image convert plain.vhdx plain.raw
check "a plain VHDX comes in" qemu-img compare -q -f vhdx -F raw plain.vhdx plain.raw
rm -f ./*.vhdx plain.raw
# Names in another encoding (here Latin-1) are shown byte by byte; JSON stays JSON.
mkdir latin && cp src.raw latin/$'Gr\xf6\xdfe.img'
shows() { local words=$1; shift; check "it shows $words" grep -qF "$words" <("$BOOTWELL" "$@" 2>&1); }
shows 'Gr\xf6\xdfe.img: raw raw' image info latin/Gr*.img
check "so does its JSON" test "$("$BOOTWELL" image info --json latin/Gr*.img | jq -r .file)" = 'Gr\xf6\xdfe.img'
shows 'latin/Gr\xf6\xdfe.img: good' image check latin/Gr*.img
check "and its JSON" test 'latin/Gr\xf6\xdfe.img Gr\xf6\xdfe.img' = \
	"$("$BOOTWELL" image check --json latin/Gr*.img | jq -r '.file + " " + .chain[0]')"
truncate -s 1000 latin/$'Gr\xf6.img'
says 'Gr\xf6.img: its size, 1000 bytes, is not a multiple of 512' "$BOOTWELL" image info latin/$'Gr\xf6.img'
rm -r latin
mkdir d && qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse d/d.vmdk 3G
says "d-s001.vmdk: is one extent of a larger disk and has no descriptor; open the .vmdk file that names it" "$BOOTWELL" image check d/d-s001.vmdk
says "what helps: name the file that describes the disk" "$BOOTWELL" image check d/d-s001.vmdk
# Extents lie beneath the descriptor, on the same file system, and no link leads to them.
mkdir d/sub elsewhere && qemu-img create -q -f vmdk -o subformat=monolithicFlat elsewhere/e.vmdk 1M
sed 's,"e-flat,"sub/e-flat,' elsewhere/e.vmdk >d/e.vmdk
cp elsewhere/e-flat.vmdk d/sub/
check "an extent in a folder beneath its descriptor is read" "$BOOTWELL" image check d/e.vmdk
says "e-flat.vmdk: lies outside the image's directory or on another file system" unshare -m sh -c \
	'mount --bind elsewhere d/sub && exec "$0" image check d/e.vmdk' "$BOOTWELL"
rm -r d/sub && ln -s ../elsewhere d/sub
says "e-flat.vmdk: a symbolic link is on the way to it, and links are not followed" "$BOOTWELL" image check d/e.vmdk
sed 's,"e-flat,"../elsewhere/e-flat,' elsewhere/e.vmdk >d/e.vmdk
says "e.vmdk: names the extent ../elsewhere/e-flat.vmdk, which is outside its folder" "$BOOTWELL" image check d/e.vmdk
rm -rf d elsewhere cut.vhd
says "what helps: put the missing file where it is looked for" "$BOOTWELL" image check nowhere.vmdk
# Whatever the fuzzers have found so far: a sentence, and what helps.
corpus=$TOP/tests/fuzz/corpus seen=0 mute=0
for f in "$corpus"/vhd/* "$corpus"/vmdk/* "$corpus"/probe/*; do
	for format in vhd vmdk; do
		json=$("$BOOTWELL" image check --json --format $format "$f" 2>/dev/null) && continue
		seen=$((seen + 1))
		jq -e '(.findings | length > 0) and all(.findings[]; (.finding | length > 0) and (.fix | type == "string"))' <<<"$json" >/dev/null ||
			{ mute=$((mute + 1)); echo "# $format $f: $json"; }
	done
done
check "what helps is said of each of $seen damaged images" test $seen -gt 100 -a $mute = 0
says "is a file of the image that is to be converted" "$BOOTWELL" image convert src.raw src.raw
rm -f big.raw; truncate -s 3T big.raw
says "is too large for this format" "$BOOTWELL" image convert -O vhd big.raw big.vhd
rm -f big.raw
# Behind the first grain's marker (12 bytes at the header's overHead): any change there breaks the Adler-32.
first=$(($(od -An -tu8 -j64 -N8 vmdk-stream.vmdk) * 512 + 12))
printf 'xxxxxxxx' | dd of=vmdk-stream.vmdk bs=1 seek=$((first + 30)) conv=notrunc status=none
says "compressed units are damaged, the first at byte" "$BOOTWELL" image check vmdk-stream.vmdk
says "the compressed data at byte" "$BOOTWELL" image convert vmdk-stream.vmdk no.raw
check "--json says what was written, and the ending what to write" sh -c '"$1" --json image convert src.raw e.vhd | tr -d " \n" | grep -q "\"format\":\"vhd\",\"subformat\":\"dynamic\",\"virtual_size\":"' - "$BOOTWELL"
check "another ending" sh -c '"$1" image convert src.raw e.vmdk && "$1" image info e.vmdk --json | grep -q monolithicSparse' - "$BOOTWELL"
check "wrong usage ends with 2" sh -c '"$1" image convert -O floppy a b 2>/dev/null; [ $? = 2 ]' - "$BOOTWELL"
for command in image "image convert" "dhcp scan" "config check" "image upload" "system status" status; do
	# shellcheck disable=SC2086
	check "$command --help is an answer, on stdout" sh -c '"$@" --help 2>/dev/null | grep -q "^usage: bootwell ${2%% *}"' - "$BOOTWELL" $command
done
printf '[dhcp]\ninterface = lo\nrange = 127.0.0.5-127.0.0.9\n[tftp]\nroot = %s/nowhere\n' "$TMP" >room.conf
check "a folder of boot programs that is not there is warned of" sh -c '"$1" config check room.conf 2>&1 | grep -q "warning: \[tftp\] root .*/nowhere: No such file"' - "$BOOTWELL"
