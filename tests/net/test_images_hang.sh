#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A file of images that never answers, as on a server that is gone: DHCP, TFTP, scripts for other images, status and
# reload go on; the PCs of that image are told why they get no disk, and get it when the file answers. The loop opens no
# such file: with one that it opened, nothing here would ever be answered again.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/net/netlab.sh
. "$(dirname "$0")/netlab.sh"
requires udhcpc curl jq python3
[ -c /dev/fuse ] || skip_all "needs /dev/fuse"

lab_switch
lab_ns srv
lab_plug srv lan
in_ns srv ip addr add 10.77.0.1/24 brd + dev lan
daemon_files
truncate -s 32M "$TMP/images/hung.raw"
mkdir "$TMP/there" "$TMP/images/.upload"
head -c 3000 /dev/urandom >"$TMP/tftp/file"
hanging() { printf '%s\n' "$@" >"$TMP/images/.hanging"; } # NAME...: these do not answer; none: all do
hanging hung.raw
"$(dirname "$0")/hanging_folder" "$TMP/images" "$TMP/there" >"$TMP/fuse.out" 2>"$TMP/fuse.err" &
fuse=$!
at_exit kill "$fuse"
wait_for 10 grep -q ready "$TMP/fuse.out" ||
	{ sed 's/^/# /' "$TMP/fuse.err"; skip_all "a file system of our own cannot be mounted here"; }
at_exit umount -l "$TMP/there"

cat >"$C" <<END
[server]
state = $TMP/state
run = $TMP/run
[dhcp]
interface = lan
range = 10.77.0.101-10.77.0.110
probe = no
[tftp]
root = $TMP/tftp
fastpath = off
[clients]
ask-name = no
[http]
token = opensesame
[images]
path = $TMP/there
[write-back]
path = $TMP/store
size = 64M
[image one]
file = one.raw
[image hung]
file = hung.raw
[group default]
image = one
[group hangs]
image = hung
[client HANGS]
mac = 02:00:00:00:00:0b
group = hangs
[client GAMES]
mac = 02:00:00:00:00:0c
disks = hung
END
cat >"$TMP/udhcpc" <<'END'
#!/bin/sh
[ "$1" = bound ] && ip addr flush dev "$interface" &&
	ip addr add "$ip/24" brd + dev "$interface" && echo "$boot_file" >"$BOOTFILE"
exit 0
END
chmod +x "$TMP/udhcpc"
for p in a b c d; do lab_ns $p; lab_plug $p eth0 02:00:00:00:00:0$p; done
lease() { BOOTFILE=$TMP/bootfile.$1 in_ns "$1" timeout 20 udhcpc -i eth0 -n -q -f -s "$TMP/udhcpc" \
	-V PXEClient:Arch:00000:UNDI:002001 -x 0x5d:0000 -x 0x4d:69505845 >/dev/null 2>&1; }
script() { in_ns "$1" curl -s -m 20 "tftp://10.77.0.1/$(cat "$TMP/bootfile.$1")" >"$TMP/script.$1"; }
gets() { script "$1" && grep -q "$2" "$TMP/script.$1"; } # PC TEXT
boots() { lease "$1" && gets "$1" '^sanboot iscsi:'; }
fetches() { in_ns "$1" curl -s -m 20 tftp://10.77.0.1/file | cmp -s - "$TMP/tftp/file"; }
bootwell() { timeout 20 "$O/bootwell" "$@"; }
problem() { bootwell status --json | jq -e --arg t "$1" '.problems[] | select(contains($t))' >/dev/null; }
no_problem() { ! problem "$1" && bootwell status >/dev/null; }
looking() { [ "$(cat "/proc/$daemon/task"/*/comm | grep -c '^aside$')" = "$1" ]; } # so many threads look at files
late='image hung: its file hung.raw has not answered for'

# --- from the start --------------------------------------------------------------------------------------------------
daemon_start
ok "with an image that does not answer it starts"
check "a PC of another image boots" boots a
check "what does not answer is a problem" wait_for 20 problem "$late"
"$O/bootwell" image add more hung.raw >"$TMP/add.out" 2>&1 & # answered later
adding=$!
check "the PC of that image gets a lease" lease b
check "and hears why it gets no disk" gets b "$late"
check "a PC with that image as a further disk, too" eval "lease c && gets c '$late'"
# Many that wait, and while they do, all else.
for _ in 1 2 3 4; do script b & done
check "DHCP for a new PC" lease d
check "its script" gets d '^sanboot iscsi:'
check "TFTP" fetches d
check "status" eval "bootwell status >/dev/null"
check "the list of images" eval "bootwell image list | grep -q '^one '"
check "a reload" bootwell config reload
check "after it, another boot" boots a
check "one look at it is under way, one for who adds it, and one that watches its file" wait_for 20 looking 3
for _ in 1 2 3 4 5 6 7 8 9 10; do bootwell config reload >/dev/null; done
check "ten reloads begin no further look at it" wait_for 20 looking 3
wait "$adding"; added=$?
check "adding it is refused" test $added != 0
check "with the reason" grep -q 'image more: its file hung.raw has not answered' "$TMP/add.out"
bootwell audit --json >"$TMP/audit" 2>/dev/null
check "which the audit log has" sh -c "jq -e '.[] | select(.path == \"/api/images\") |
	select(.status == 503 and .body.name == \"more\")' '$TMP/audit' >/dev/null"
check "each reload as well" \
	test "$(jq '[.[] | select(.path == "/api/reload" and .status == 200)] | length' "$TMP/audit")" = 11

# --- it answers ------------------------------------------------------------------------------------------------------
hanging
check "when it answers, it is no problem any more" wait_for 20 no_problem "$late"
check "and its PC boots" boots b
check "the other one, too" boots c
check "a file that comes later is found when a PC asks" eval "
	sed -i 's/^file = hung.raw/file = late.raw/' '$C' && bootwell config reload && problem late.raw &&
	truncate -s 48M '$TMP/images/late.raw' && boots b"
check "as its next generation" eval "bootwell image list | grep -q '^hung *2\*'"

# --- while it runs ---------------------------------------------------------------------------------------------------
hanging late.raw
check "an image that hangs from now on: the configuration is read" bootwell config reload
check "its PC is told" gets b 'image hung: its file late.raw has not answered for'
check "others boot" boots d
"$O/bootwell" image add again late.raw >"$TMP/again.out" 2>&1 &
adding=$!
sleep 0.5
check "it stops although something hangs" daemon_stop
wait "$adding"
check "and whoever waits is told, or cut off" test $? != 0

# --- the folder of uploads -------------------------------------------------------------------------------------------
hanging .upload
daemon_start
ok "with a folder of uploads that does not answer it starts"
check "PCs boot" boots a
check "it is a problem" wait_for 20 problem "images cannot be received into $TMP/there: it does not answer"
hanging
uploads() { [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' http://10.77.0.1:1000/)" != 000 ]; }
check "when it answers, uploads are served" in_ns srv bash -c "$(declare -f wait_for uploads); wait_for 20 uploads"
check "and it is no problem any more" wait_for 20 no_problem "images cannot be received"

# --- the end does not wait for the folder ----------------------------------------------------------------------------
head -c 20M /dev/urandom >"$TMP/disk.raw"
BOOTWELL_TOKEN=opensesame ip netns exec "$(ns srv)" "$O/bootwell" image upload --give-up 1 --limit 2 --disk \
	-s 10.77.0.1 -n sent.vhd "$TMP/disk.raw" >"$TMP/upload.out" 2>&1 &
sender=$!
at_exit kill "$sender"
uploading() { bootwell status --json | jq -e '.uploads | length == 1' >/dev/null; }
check "an upload is under way" wait_for 20 uploading
hanging data:write
sleep 4 # a part is being written
check "bootwelld stops all the same" daemon_stop
check "and says what it left" \
	grep -q 'uploads are left behind: the folder of images .* does not answer' "$TMP/daemon.log"
kill "$sender" 2>/dev/null
hanging
printf '#!/bin/sh\nexec sleep 300\n' >"$TMP/doctor"
chmod +x "$TMP/doctor"
export BOOTWELL_DOCTOR=$TMP/doctor
daemon_start
check "the next start serves" boots a
curl -s --unix-socket "$BOOTWELL_SOCKET" -d '{}' http://x/api/images/one/mend >/dev/null
writing() { "$O/bootwell" status --json | jq -e '.commit.state == "writing"' >/dev/null; }
check "an image is being mended by a doctor that hangs" wait_for 20 writing
check "bootwelld stops all the same" daemon_stop
check "and says what it left" grep -q 'the commit of image one is left behind' "$TMP/daemon.log"
