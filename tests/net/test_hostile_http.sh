#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# One host that means harm to the TCP ports of a bootwelld with 4,096 clients: it asks for all of the status all the
# time, reads nothing of what it asked for, drips bytes into every connection that it can get. DHCP, pages and uploads
# go on, and the daemon stays small.
# Runs alone: 4,096 connections at once and what is served beside them share the CPUs.
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/net/netlab.sh
. "$(dirname "$0")/netlab.sh"
requires curl jq python3

lab_switch
for n in srv bad good; do lab_ns $n; done
lab_plug srv lan
lab_plug bad eth0 02:00:00:00:99:01
lab_plug good eth0 02:00:00:00:99:02
in_ns srv ip addr add 10.77.0.1/16 brd + dev lan
for i in $(seq 1 32); do in_ns bad ip addr add "10.77.200.$i/16" brd + dev eth0; done
in_ns good ip addr add 10.77.201.1/16 brd + dev eth0
daemon_files
cat >"$C" <<END
[server]
state = $TMP/state
run = $TMP/run
[dhcp]
interface = lan
range = 10.77.250.1-10.77.250.250
probe = no
[tftp]
root = $TMP/tftp
fastpath = off
[http]
token = opensesame
[images]
path = $TMP/images
[write-back]
path = $TMP/store
size = 64M
[image one]
file = one.raw
[group default]
image = one
END
daemon_start
daemon_stop
python3 - "$TMP/state/bootwell.db" <<'END'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
for n in range(1, 4097):
    db.execute('INSERT INTO client (id, mac, name, named, "group", image, keep, upload, arch, nbp, nbp_failed, address,'
               ' first_seen, last_seen, last_boot, overlay, reset, pc_key)'
               ' VALUES (?,?,?,1,"","",-1,-1,7,"snponly.efi",0,?,?,?,?,"","",?)',
               (n, bytes([2, 0, 0, 1, n >> 8, n & 255]), f'PC{n}', (10 << 24) + (77 << 16) + n, 1, 2, 3,
                f'old-02000001{n:04x}'))
db.commit()
END
daemon_start
hostile() {
	in_ns bad python3 "$(dirname "$0")/hostile" "$@" server=10.77.0.1 from=10.77.200.1 token=opensesame
}
begin() { # KIND ARGUMENTS: in the background, until it has its connections
	: >"$TMP/hostile"
	hostile "$@" >"$TMP/hostile" 2>&1 &
	attack=$!
	at_exit kill "$attack"
	wait_for 60 grep -q ready "$TMP/hostile"
}
answered() { in_ns good "$(dirname "$0")/dhcp_ask" if=eth0 mac=02:00:00:00:98:0"$1" first=1 wait=8 | grep -q 'type=2'; }
get() { in_ns good curl -fsS -m 20 -o /dev/null "$@" 2>"$TMP/curl"; }
rss() { awk '/VmHWM/ {print $2}' "/proc/$daemon/status"; }
right='Authorization: Bearer opensesame'
status() { in_ns good curl -fsS -H "$right" http://10.77.0.1:8001/status; }
check "status has all of them" test "$(status | jq '.clients | length')" = 4096
first_and_last() { "$O/bootwell" status --json | jq -r '[.clients[].name] | .[0] + .[1] + .[4095]'; }
check "in order" test "$(first_and_last)" = PC1PC2PC4096

begin pipelined connections=60 each=4 seconds=30
for i in 1 2 3 4 5; do
	check "DHCP answers while one host asks for the status on 60 connections, $i" answered "$i"
done
check "another host gets a page" get http://10.77.0.1:8001/
wait "$attack"
check "the host was served all the same" test "$(tail -1 "$TMP/hostile")" -gt 0

begin unread connections=960 addresses=30 seconds=15
check "DHCP answers while 960 connections read nothing" answered 6
check "another host gets a page then" get http://10.77.0.1:8001/
wait "$attack"
check "the daemon never took more than 128 MiB" test "$(rss)" -le 131072 || echo "# $(rss) kB"

begin drip connections=1024 addresses=16 seconds=20
check "another host gets a page while 1,024 connections drip" get http://10.77.0.1:8001/
check "DHCP answers then" answered 7
wait "$attack"
lines() { grep -c "the $1: 10.77.200.* holds" "$TMP/daemon.log"; }
check "it was logged, once in a minute" test "$(lines 'HTTP port')" -ge 1 -a "$(lines 'HTTP port')" -le 4

begin drip connections=1024 addresses=16 seconds=20 port=1000
check "the upload port answers while 1,024 connections drip into it" \
	get -H "$right" http://10.77.0.1:1000/v1
wait "$attack"
check "it was logged, too" test "$(lines 'upload port')" -ge 1 -a "$(lines 'upload port')" -le 2
daemon_stop
check "it stops in order" eval '! grep -q "AddressSanitizer\|error:" "$TMP/daemon.log"'
