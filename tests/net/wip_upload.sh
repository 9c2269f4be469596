#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Uploads between two namespaces: whole, cut off in every way, refused, on a full disk. qemu-img judges the images.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/netlab.sh"
requires qemu-img jq curl
TOOL=$O/tests/net/tool_upload
PORT=1000

lab_ns srv
lab_ns pc
lab_pair srv eth0 pc eth0
in_ns srv ip addr add 10.91.0.1/24 dev eth0
in_ns pc ip addr add 10.91.0.2/24 dev eth0

mkdir "$TMP/images"
# A full folder must be possible: a file system of its own.
mount -t tmpfs -o size=400m tmpfs "$TMP/images" || skip_all "cannot mount a tmpfs"
at_exit umount "$TMP/images"

# The disk of the PC: 1 GiB and a bit, 120 MiB of it random in pieces, one at the very end.
SEED=${SEED:-$RANDOM}
echo "# SEED=$SEED"
python3 - "$TMP/disk.raw" "$SEED" <<'END'
import random, sys
r = random.Random(int(sys.argv[2]))
size = (1 << 30) + 7 * 512
with open(sys.argv[1], 'wb') as f:
    f.truncate(size)
    for _ in range(60):
        n = r.choice((512, 4096, 65536, 1 << 20, 4 << 20))
        f.seek(r.randrange(0, size - n) // 512 * 512)
        f.write(r.randbytes(n))
    f.seek(size - 512)
    f.write(r.randbytes(512))
END

start_server() {
	: >"$TMP/server.out"
	ip netns exec "$(ns srv)" "$TOOL" serve "$TMP/images" $PORT 10.91.0.1 >"$TMP/server.out" 2>&1 &
	server=$!
	wait_for 20 grep -q ready "$TMP/server.out" || { sed 's/^/# /' "$TMP/server.out"; not_ok "the server starts"; exit 1; }
}
at_exit 'kill $server'
send() { in_ns pc timeout 120 "$TOOL" send --json -s 10.91.0.1 "$@"; }
# refused_with TEXT ARGUMENTS...: the upload fails and says so
refused_with() {
	local text=$1; shift
	if send "$@" >"$TMP/out" 2>&1; then not_ok "refused: $text"; return; fi
	check "refused: $text ($(tail -1 "$TMP/out"))" grep -q -- "$text" "$TMP/out"
}
journal() { stat -c %s "$TMP/images/.upload/$1/journal" 2>/dev/null || echo 0; }
# at least N records of a journal
records() { [ "$(journal "$1")" -ge $((1024 + 64 * $2)) ]; }
same() { qemu-img compare -s -f raw -F "$2" "$TMP/disk.raw" "$1" >/dev/null || [ "$(qemu-img compare -f raw -F "$2" "$TMP/disk.raw" "$1")" = "Images are identical." ]; }
start_server

# --- whole
check "an upload to .vmdk" send -n a.vmdk "$TMP/disk.raw"
check "the VMDK is the disk (qemu-img)" same "$TMP/images/a.vmdk" vmdk
check "qemu-img finds nothing wrong with it" qemu-img check -q "$TMP/images/a.vmdk"
check "an upload to .vhd" send -n b.vhd "$TMP/disk.raw"
check "the VHD is the disk (qemu-img)" same "$TMP/images/b.vhd" vpc
check "it takes no more room than what is used" [ "$(du -k "$TMP/images/b.vhd" | cut -f1)" -le $(($(du -k "$TMP/disk.raw" | cut -f1) + 4096)) ]
check "checksum of the content is the same in all three" \
	[ "$("$TOOL" digest "$TMP/disk.raw")$("$TOOL" digest "$TMP/disk.raw")" = "$("$TOOL" digest "$TMP/images/a.vmdk")$("$TOOL" digest "$TMP/images/b.vhd")" ]
check "an image is sent as it is read: VMDK to VHD" send -n c.vhd "$TMP/images/a.vmdk"
check "and is the same disk" same "$TMP/images/c.vhd" vpc
rm -f "$TMP"/images/*.v*

# --- refused
refused_with "must end in .vmdk or .vhd" -n xp01 "$TMP/disk.raw"
refused_with "must end in .vmdk or .vhd" -n xp01.qcow2 "$TMP/disk.raw"
refused_with "letters, digits" -n 'xp 01.vhd' "$TMP/disk.raw"
refused_with "there is an image a already" -n a.vhd "$TMP/disk.raw"
refused_with "there is no image zz" -u -n zz.vhd "$TMP/disk.raw"
BOOTWELL_TOKEN=PC103 refused_with "PC103 may not upload" -n xp01.vmdk "$TMP/disk.raw"
check "nothing is left of what was refused" [ -z "$(ls "$TMP/images")" ]

# --- the server is killed, the cable pulled, in the middle of one upload
send -n x.vmdk "$TMP/disk.raw" >"$TMP/x.out" 2>&1 &
sender=$!
for n in 20 60; do
	check "upload under way ($n parts)" wait_for 60 records x "$n"
	kill -9 $server; wait $server 2>/dev/null
	[ "$n" = 60 ] || check "the name is not there before the end" [ ! -e "$TMP/images/x.vmdk" ]
	start_server
done
check "after both kills it goes on" wait_for 60 records x 90
in_ns srv ip link set eth0 down; sleep 2; in_ns srv ip link set eth0 up
check "it ends well after two kills and a pulled cable" wait $sender
check "the image is the disk" same "$TMP/images/x.vmdk" vmdk
sent=$(jq .sent "$TMP/x.out" 2>/dev/null); used=$(($(du -k "$TMP/disk.raw" | cut -f1) * 1024))
check "little was sent twice ($sent of $used bytes)" [ "${sent:-0}" -gt 0 ] && [ "${sent:-0}" -lt $((used * 14 / 10 + 33554432)) ]

# --- the PC dies; who else wants the name is told who has it
send -n y.vhd "$TMP/disk.raw" >"$TMP/y.out" 2>&1 &
sender=$!
check "upload under way" wait_for 60 records y 10
BOOTWELL_TOKEN=PC102 refused_with "PC101 is uploading y.vhd" -n y.vhd "$TMP/disk.raw"
refused_with "from this PC already" -n y.vhd "$TMP/disk.raw"
pkill -9 -P $sender 2>/dev/null; kill -9 $sender 2>/dev/null; wait $sender 2>/dev/null
kill -9 $server; wait $server 2>/dev/null; start_server
BOOTWELL_TOKEN=PC102 refused_with "PC101 is uploading y.vhd" -n y.vhd "$TMP/disk.raw"
had=$((($(journal y) - 1024) / 64))
# The server may still be busy with the request before ("try again in a moment").
check "the PC comes back, with what was sent still there ($had records)" wait_for 60 send -n y.vhd "$TMP/disk.raw"
check "the image is the disk" same "$TMP/images/y.vhd" vpc
rm -f "$TMP"/images/*.v*

# --- a damaged part, by hand
id=$(in_ns pc curl -sf -d '{"name":"h.vhd","session":"0123456789abcdef0123456789abcdef","size":8388608}' http://10.91.0.1:$PORT/v1/uploads | jq -r .id)
{ printf '\001'; head -c 127 /dev/zero; head -c 4096 /dev/urandom; } >"$TMP/part"
sum=$({ tail -c 4096 "$TMP/part"; head -c $((4194304 - 4096)) /dev/zero; } | sha256sum | cut -d' ' -f1)
put() { in_ns pc curl -s -o "$TMP/out" -w '%{http_code}' -T "$TMP/part" -H "X-Bootwell-SHA256: $1" "http://10.91.0.1:$PORT/v1/uploads/$id/parts/$2"; }
check "a part with another checksum is refused" [ "$(put "${sum/[0-9a-f]/x}" 0)$(put "$(echo "$sum" | tr 0-9a-f 1-9a-f0)" 0)" = 400422 ]
check "a part behind the end is refused" [ "$(put "$sum" 2)" = 400 ]
check "the right one is taken" [ "$(put "$sum" 0)" = 200 ]
head -c 100 "$TMP/part" >"$TMP/short"; mv "$TMP/short" "$TMP/part"
check "a part that is cut short is refused" [ "$(put "$sum" 1)" = 422 ]
check "an unfinished disk is not finished" [ "$(in_ns pc curl -s -d "{\"sha256\":\"$sum\"}" -o "$TMP/out" -w '%{http_code}' "http://10.91.0.1:$PORT/v1/uploads/$id/finish")" = 409 ]
check "somebody else cannot end it" [ "$(in_ns pc curl -s -o /dev/null -w '%{http_code}' -X DELETE "http://10.91.0.1:$PORT/v1/uploads?image=h")" = 403 ]
BOOTWELL_TOKEN=operator check "an operator can" send --abort h
check "and it is gone" [ ! -e "$TMP/images/.upload/h" ]

# --- a full disk
refused_with "MiB are needed; make room" -n big.vmdk -d "$TMP/disk.raw"
send -n f.vmdk "$TMP/disk.raw" >"$TMP/f.out" 2>&1 &
sender=$!
wait_for 20 records f 5
fallocate -l "$(($(df -B1 --output=avail "$TMP/images" | tail -1) - 8388608))" "$TMP/images/ballast" 2>/dev/null
refuse "an upload onto a disk that fills up" wait $sender
check "says so ($(tail -1 "$TMP/f.out"))" grep -q "is full; make room there" "$TMP/f.out"
check "makes no image" [ ! -e "$TMP/images/f.vmdk" ]
rm -f "$TMP/images/ballast"
kill -9 $server; wait $server 2>/dev/null; start_server # so that it need not be silent for 30 s
check "with room again it goes on" send -n f.vmdk "$TMP/disk.raw"
check "the image is the disk" same "$TMP/images/f.vmdk" vmdk
