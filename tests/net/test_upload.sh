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
mount -t tmpfs -o size=700m tmpfs "$TMP/images" || skip_all "cannot mount a tmpfs"
at_exit umount "$TMP/images"

# The disk of the PC: 1 GiB and a bit; most of its parts of 4 MiB hold something, 70 MiB in all, some at the very end.
SEED=${SEED:-$RANDOM}
echo "# SEED=$SEED"
python3 - "$TMP/disk.raw" "$SEED" <<'END'
import random, sys
r = random.Random(int(sys.argv[2]))
size, part = (1 << 30) + 7 * 512, 4 << 20
with open(sys.argv[1], 'wb') as f:
    f.truncate(size)
    for i in range(size // part):
        n = r.choice((0, 512, 4096, 65536, 262144, 1 << 20))
        f.seek(i * part + r.randrange(0, part - n) // 512 * 512)
        f.write(r.randbytes(n))
    f.seek(size - 512)
    f.write(r.randbytes(512))
END
used=$(($(du -k "$TMP/disk.raw" | cut -f1) * 1024))

start_server() {
	: >"$TMP/server.out"
	ip netns exec "$(ns srv)" "$TOOL" serve "$TMP/images" $PORT 10.91.0.1 >"$TMP/server.out" 2>&1 &
	server=$!
	wait_for 20 grep -q ready "$TMP/server.out" || { sed 's/^/# /' "$TMP/server.out"; not_ok "the server starts"; exit 1; }
}
at_exit eval 'kill -9 $server'
at_exit eval 'kill -9 $sender'
sender=
send() { in_ns pc timeout 300 "$TOOL" send --json -s 10.91.0.1 "$@"; }
# begin_slowly OUT ARGUMENTS...: an upload that takes some ten seconds, so that things can happen to it; $sender is its pid
begin_slowly() {
	local out=$1; shift
	ip netns exec "$(ns pc)" "$TOOL" send --json -s 10.91.0.1 --limit 8 "$@" >"$out" 2>&1 &
	sender=$!
}
server_killed() { kill -9 $server; wait $server 2>/dev/null; }
sent() { jq -r '.sent // 0' "$1" 2>/dev/null || echo 0; }
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
send -n a.vmdk "$TMP/disk.raw" >"$TMP/a.out"
check "an upload to .vmdk" [ "$(sent "$TMP/a.out")" -gt 0 ]
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
begin_slowly "$TMP/x.out" -n x.vmdk "$TMP/disk.raw"
for n in 20 60; do
	check "upload under way ($n parts)" wait_for 60 records x "$n"
	server_killed
	check "the name is not there before the end" [ ! -e "$TMP/images/x.vmdk" ]
	start_server
done
check "after both kills it goes on" wait_for 60 records x 90
in_ns srv ip link set eth0 down
check "it was not over when the cable was pulled" [ ! -e "$TMP/images/x.vmdk" ]
sleep 2
in_ns srv ip link set eth0 up
check "it ends well after two kills and a pulled cable" wait $sender
check "the image is the disk" same "$TMP/images/x.vmdk" vmdk
# At each of the three breaks a part of each worker may be lost: at most 8 of 4 MiB.
check "little was sent twice ($(sent "$TMP/x.out") of $used bytes)" [ "$(sent "$TMP/x.out")" -lt $((used + 3 * 8 * 4194304)) ]

# --- the PC dies; who else wants the name is told who has it
begin_slowly "$TMP/y.out" -n y.vhd "$TMP/disk.raw"
check "upload under way" wait_for 60 records y 10
BOOTWELL_TOKEN=PC102 refused_with "PC101 is uploading y.vhd" -n y.vhd "$TMP/disk.raw"
refused_with "from this PC already" -n y.vhd "$TMP/disk.raw"
kill -9 $sender; wait $sender 2>/dev/null
server_killed; start_server # so that it need not be silent for 30 s
BOOTWELL_TOKEN=PC102 refused_with "PC101 is uploading y.vhd" -n y.vhd "$TMP/disk.raw"
send -n y.vhd "$TMP/disk.raw" >"$TMP/y.out" 2>&1
check "the PC comes back ($(tail -1 "$TMP/y.out"))" [ "$(sent "$TMP/y.out")" -gt 0 ]
check "the image is the disk" same "$TMP/images/y.vhd" vpc
check "what was there was not sent again" [ "$(sent "$TMP/y.out")" -lt "$(sent "$TMP/a.out")" ]
rm -f "$TMP"/images/*.v*

# --- a server that asks to come again in a moment
# busy SECONDS-IT-ASKS-FOR TIMES: a server that is not ours; it answers so to the first TIMES, then that it is forbidden.
busy() {
	: >"$TMP/busy.out" # what the one before said does not count
	ip netns exec "$(ns srv)" python3 - "$1" "$2" >"$TMP/busy.out" 2>&1 <<'END' &
import http.server, sys, time
wait, times, last, early = float(sys.argv[1]), int(sys.argv[2]), 0, 0
class Busy(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        global times, last, early
        self.rfile.read(int(self.headers['Content-Length']))
        early += time.monotonic() - last < wait
        last, times = time.monotonic(), times - 1
        self.send_response(503 if times >= 0 else 403)
        if times >= 0:
            self.send_header('Retry-After', sys.argv[1])
        body = b'{"error":"try again in a moment","reason":"later"}' if times >= 0 else b'{"error":"came %d times too early"}' % early
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
s = http.server.HTTPServer(('10.91.0.1', 1001), Busy)
print('ready', flush=True)
s.serve_forever()
END
	busy=$!
	wait_for 20 grep -q ready "$TMP/busy.out" || not_ok "the busy server starts"
}
busy 2 3
refused_with "came 0 times too early" -s 10.91.0.1:1001 -n z.vhd "$TMP/disk.raw"
kill $busy; wait $busy 2>/dev/null
busy 1 1000000
refused_with "try again in a moment" -s 10.91.0.1:1001 -g 3 -n z.vhd "$TMP/disk.raw"
kill $busy; wait $busy 2>/dev/null

# --- a server that begins every upload and then knows none
in_ns srv python3 - <<'END' >"$TMP/forgets.out" &
import http.server, json
size = (1 << 30) + 7 * 512
class Forgets(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def answer(self, code, body):
        self.send_response(code)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self): self.answer(200, bytes(-(-size // (4 << 20)) * 32))
    def do_POST(self):
        self.rfile.read(int(self.headers.get('Content-Length', 0)))
        if self.path == '/v1/uploads':
            self.answer(200, json.dumps({'id': '0' * 32, 'part_size': 4 << 20}).encode())
        else:
            self.answer(404, b'{"error":"there is no such upload","reason":"gone"}')
    def do_PUT(self):
        self.rfile.read(int(self.headers.get('Content-Length', 0)))
        self.answer(404, b'{"error":"there is no such upload","reason":"gone"}')
    def log_message(self, *a): pass
s = http.server.ThreadingHTTPServer(('10.91.0.1', 1001), Forgets)
print('ready', flush=True)
s.serve_forever()
END
forgets=$!
wait_for 20 grep -q ready "$TMP/forgets.out" || not_ok "the forgetful server starts"
refused_with "there is no such upload" -s 10.91.0.1:1001 -g 3 -n z.vhd "$TMP/disk.raw"
kill $forgets; wait $forgets 2>/dev/null

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
begin_slowly "$TMP/f.out" -n f.vmdk "$TMP/disk.raw"
check "upload under way" wait_for 60 records f 5
cat /dev/zero >"$TMP/images/ballast" 2>/dev/null # until there is no room at all
refuse "an upload onto a disk that fills up" wait $sender
check "says so ($(tail -1 "$TMP/f.out"))" grep -q "is full; make room there" "$TMP/f.out"
check "makes no image" [ ! -e "$TMP/images/f.vmdk" ]
rm -f "$TMP/images/ballast"
server_killed; start_server # so that it need not be silent for 30 s
check "with room again it goes on" send -n f.vmdk "$TMP/disk.raw"
check "the image is the disk" same "$TMP/images/f.vmdk" vmdk
