#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The page on port 8001 in a real browser: what it shows, on a desk and on a phone; what an operator can do with it; hostile
# text, and pages of others that would like to change something. Screenshots stay in $O/test/page/.
# Runs alone: which PC is switched off is asked of made-up ones, which answer when they have a CPU.
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/net/netlab.sh
. "$(dirname "$0")/netlab.sh"
requires chromium chromedriver python3 curl jq

lab_switch
lab_ns srv
lab_plug srv lan
in_ns srv ip addr add 10.77.0.1/16 brd + dev lan
lab_ns desk
lab_plug desk eth0
in_ns desk ip addr add 10.77.9.1/16 brd + dev eth0
lab_present 14
daemon_files
truncate -s 64M "$TMP/images/one-2.raw"
truncate -s 32M "$TMP/images/two.raw"
cat >"$C" <<END
[server]
name = room-7
state = $TMP/state
run = $TMP/run
[dhcp]
interface = lan
range = 10.77.8.101-10.77.8.200
[tftp]
root = $TMP/tftp
fastpath = off
[http]
token = opensesame
status = everyone
[images]
path = $TMP/images
[write-back]
path = $TMP/store
[image one]
file = one.raw
[image two]
file = two.raw
[image lost]
file = <img src=x onerror=pwned=1>.raw
[group default]
image = one
END
daemon_start
daemon_stop
"$TOP/tests/net/room" "$TMP/state" "$TMP/run" "$TMP/configfs" 14 Teacher '<b id=x>Bob</b>'
python3 - "$TMP/state/bootwell.db" <<'END'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("UPDATE image SET current = 0 WHERE name = 'one'")
db.execute("INSERT INTO image (name, generation, file, format, image_id, parent_id, virtual_size, file_size, size_override, added, current)"
           " SELECT name, 2, 'one-2.raw', format, image_id, parent_id, virtual_size, file_size, size_override, added + 86400, 1 FROM image WHERE name = 'one'")
db.execute("UPDATE boot SET failure = '<img src=x onerror=pwned=2> the image is damaged' WHERE client = 14")
db.execute("UPDATE image SET checked = strftime('%s') - 90000, check_failed = 1 WHERE file = 'one.raw'")
db.execute("UPDATE image SET checked = strftime('%s') - 7200 WHERE file = 'one-2.raw'")
db.commit()
END
for n in 12 13; do # two PCs that are off
	info=$(find "$TMP/configfs" -path "*$(printf %012x $((0x020000000000 + n)))/info")
	echo "No active iSCSI Session for Initiator Endpoint" >"$info"
done
daemon_start
wait_for 30 eval '"$O/bootwell" client show PC12 --json | jq -e ".state == \"off\""'
mkdir -p "$O/test/page"
in_ns desk env O="$O" TMP="$TMP" TOP="$TOP" PYTHONPATH="$TOP/tests/net" PYTHONDONTWRITEBYTECODE=1 python3 "$TOP/tests/net/page_check" || failed=$((failed + 1))
