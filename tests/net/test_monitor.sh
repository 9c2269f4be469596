#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What can be seen of a room that runs: /metrics with the handler's and the kernel's counts, the textfile, RUN/stat/ with
# one value a file. The room (tests/net/room) lies in an ordinary directory that stands in for configfs.
# shellcheck disable=SC2034 # variables within eval
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/net/netlab.sh
. "$(dirname "$0")/netlab.sh"
requires curl jq promtool python3

lab_switch
lab_ns srv
lab_plug srv lan
in_ns srv ip addr add 10.77.0.1/16 brd + dev lan
lab_present 3
daemon_files
mkdir "$TMP/text"
R=$TMP/run/stat
cat >"$C" <<END
[server]
state = $TMP/state
run = $TMP/run
[dhcp]
interface = lan
range = 10.77.9.101-10.77.9.110
[http]
metrics = everyone
[tftp]
root = $TMP/tftp
[images]
path = $TMP/images
[write-back]
path = $TMP/store
[image one]
file = one.raw
[group default]
image = one
END
bootwell() { "$O/bootwell" "$@"; }
daemon_start
check "files come without a client" wait_for 20 test -s "$R/dhcp/leases"
daemon_stop
check "they go when the server stops" test ! -e "$R"
mkdir -p "$R/client/OLD"
echo x >"$R/client/OLD/state"
"$TOP/tests/net/room" "$TMP/state" "$TMP/run" "$TMP/configfs" 3
daemon_start

# --- /metrics --------------------------------------------------------------------------------------------------------
scrape() { in_ns srv curl -fsS -m 20 http://10.77.0.1:8001/metrics -o "$TMP/metrics"; }
has() { grep -qx -- "$1" "$TMP/metrics" || { grep -F -- "${1%% *}" "$TMP/metrics" | sed 's/^/# /'; return 1; }; }
check "the server is scraped" scrape
check "the loop's longest gap is there" grep -Eqx 'bootwell_loop_gap_seconds [0-9.e-]+' "$TMP/metrics"
check "and as a file" wait_for 20 grep -Eqx '[0-9.e-]+' "$R/server/loop_gap_seconds"
check "and in the status" eval '"$O/bootwell" status --json | jq -e ".server.loop_gap_seconds >= 0" >/dev/null'
# A daemon that is stopped for a moment answers no packet meanwhile: it says so, as every reason for a gap.
kill -STOP "$daemon"; sleep 2.5; kill -CONT "$daemon"
gap_said() { "$O/bootwell" status | grep -q '^! for .* s of the last minutes no packet was answered'; }
check "a gap of more than 250 ms is a line of the status" wait_for 20 gap_said
if promtool check metrics <"$TMP/metrics" >"$TMP/out" 2>&1; then ok "promtool finds nothing wrong"; else not_ok "promtool finds nothing wrong"; sed 's/^/# /' "$TMP/out"; fi
iqn=iqn.2026-01.org.bootwell:disk-020000000002
# A session is looked at every few seconds.
wait_for 20 eval 'scrape && grep -q "client=\"PC2\".*session=\"10.77.0.2\"" "$TMP/metrics"'
check "a client's image, generation and address" has "bootwell_client_info{client=\"PC2\",mac=\"02:00:00:00:00:02\",address=\"10.77.0.2\",session=\"10.77.0.2\",image=\"one\",generation=\"1\",target=\"$iqn\"} 1"
check "its state" has 'bootwell_client_state{client="PC2",state="running"} 1'
for step in dhcp:0 tftp:1 ipxe:2.1 script:2.4 ready:2.9 login:3.8 first_read:4.6 settled:33; do
	check "its last boot: ${step%:*}" has "bootwell_client_last_boot_step_seconds{client=\"PC2\",step=\"${step%:*}\"} ${step#*:}"
done
check "where it waited" has 'bootwell_client_last_boot_idle_seconds{client="PC2"} 4.5'
check "how often" has 'bootwell_client_last_boot_idle_gaps{client="PC2"} 3'
check "how long at most" has 'bootwell_client_last_boot_longest_idle_seconds{client="PC2"} 2.5'
check "read" has 'bootwell_disk_commands_total{client="PC2",op="read"} 2007'
check "bytes written" has 'bootwell_disk_bytes_total{client="PC2",op="write"} 839680'
check "flushed" has 'bootwell_disk_commands_total{client="PC2",op="flush"} 20'
check "its overlay" has 'bootwell_disk_overlay_bytes{client="PC2"} 131072'
check "cache hits" has 'bootwell_disk_base_hit_bytes_total{client="PC2"} 16441344'
check "latency, a bucket" has 'bootwell_disk_latency_seconds_bucket{client="PC2",op="read",le="0.000262144"} 1486'
check "latency, all" has 'bootwell_disk_latency_seconds_bucket{client="PC2",op="read",le="+Inf"} 2007'
check "the kernel's sessions" has 'bootwell_lio_sessions{client="PC2"} 1'
check "its logins" has 'bootwell_lio_logins_total{client="PC3",outcome="authenticate"} 1'
check "its commands of the LUN" has 'bootwell_lio_lun_commands_total{client="PC2",lun="0"} 2200'
check "those of a further disk" has 'bootwell_lio_lun_commands_total{client="PC2",lun="1"} 77'
check "its bytes of the LUN" has 'bootwell_lio_lun_read_bytes_total{client="PC2",lun="0"} 33554432'
check "its bytes of the session" has 'bootwell_lio_session_bytes_total{client="PC2",direction="sent"} 32000000'
check "aborts of the backstore" has 'bootwell_lio_device_aborts_total{client="PC2"} 2'
check "the store" has 'bootwell_store_used_bytes 22548578304'
rx=$(in_ns srv cat /sys/class/net/lan/statistics/rx_packets)
check "the interface, as sysfs has it" eval '[ "$(sed -n "s/^bootwell_network_receive_packets_total{interface=\"lan\"} //p" "$TMP/metrics")" -le "$rx" ]'
check "its link" has 'bootwell_network_carrier{interface="lan"} 1'
disk=$(lsblk -no NAME "$(findmnt -nvo SOURCE -T "$TMP")" 2>/dev/null | head -1)
if [ -n "$disk" ]; then
	check "the block device that the state lies on" wait_for 20 eval 'scrape && grep -q "^bootwell_block_written_bytes_total{device=\"$disk\"} [1-9]" "$TMP/metrics"'
else
	echo "ok - the block device that the state lies on # SKIP $TMP lies on no block device"
fi
check "the scrape was whole" has 'bootwell_scrape_complete 1'
if grep -q '^bootwell_bpf_counting 1$' "$TMP/metrics" && grep -q '^bootwell_bpf_runs_total{program="tc"}' "$TMP/metrics"; then
	tc_runs() { scrape; sed -n 's/^bootwell_bpf_runs_total{program="tc"} //p' "$TMP/metrics"; }
	lab_ns pc
	lab_plug pc eth0
	in_ns pc ip addr add 10.77.0.200/16 dev eth0
	before=$(tc_runs)
	in_ns pc sh -c 'echo x >/dev/udp/10.77.0.1/4000' 2>/dev/null || in_ns pc bash -c 'echo x >/dev/udp/10.77.0.1/4000'
	check "the kernel's count of BPF runs grows with packets" wait_for 20 eval '[ "$(tc_runs)" -gt "$before" ]'
else
	echo "ok - BPF runs # SKIP the kernel does not load or count BPF programs here"
fi

# Rules and dashboard name what there really is. An alert may ask for what only appears after a mishap.
missing=$(cat "$TOP/conf/bootwell.rules.yml" "$TOP/conf/grafana-dashboard.json" | grep -oE '\bbootwell_[a-z_]+' | sort -u | while read -r m; do
	grep -qE "^${m}[{ ]" "$TMP/metrics" || grep -q "^# TYPE $m " "$TMP/metrics" || echo "$m"
done)
check "every metric of the rules and of the dashboard is there${missing:+: not $missing}" test -z "$missing"
undocumented=$(sed -n 's/^# TYPE \([a-z_]*\) .*/\1/p' "$TMP/metrics" | while read -r m; do grep -q "\`$m\`" "$TOP/docs/metrics.md" || echo "$m"; done)
check "docs/metrics.md has every metric${undocumented:+: not $undocumented}" test -z "$undocumented"
gone=$(grep -oE '^\| `bootwell_[a-z_]+`' "$TOP/docs/metrics.md" | tr -d '|` ' | while read -r m; do grep -q "^# TYPE $m " "$TMP/metrics" || echo "$m"; done)
check "and no other${gone:+: $gone}" test -z "$gone"

# --- the textfile ----------------------------------------------------------------------------------------------------
check "the textfile is written" bootwell metrics --textfile "$TMP/text"
check "it is what /metrics is" eval 'diff <(sed "s/ .*//" "$TMP/text/bootwell.prom" | sort -u) <(scrape; sed "s/ .*//" "$TMP/metrics" | sort -u)'
check "nothing lies beside it" test "$(ls "$TMP/text")" = bootwell.prom
check "node_exporter may read it" test "$(stat -c %a "$TMP/text/bootwell.prom")" = 644
inode=$(stat -c %i "$TMP/text/bootwell.prom")
check "again" bootwell metrics --textfile "$TMP/text"
refuse "by another file that takes its place" test "$(stat -c %i "$TMP/text/bootwell.prom")" = "$inode"
mkdir "$TMP/text2" && mkdir "$TMP/text2/bootwell.prom"
refuse "a folder in its place is a mistake" bootwell metrics --textfile "$TMP/text2" 2>"$TMP/err"
check "in one sentence" test "$(wc -l <"$TMP/err")" = 1
check "and nothing is left of the try" test "$(ls "$TMP/text2")" = bootwell.prom

# --- one value a file ------------------------------------------------------------------------------------------------
value() { cat "$R/$1"; }
is() { [ "$(value "$1")" = "$2" ]; }
check "files of what an earlier run left are gone" wait_for 20 eval 'test -e "$R/client/PC2" && test ! -e "$R/client/OLD"'
check "state" is client/PC2/state running
check "image" is client/PC2/image one
check "generation" is client/PC2/generation 1
check "address" is client/PC2/address 10.77.0.2
check "a step of the boot" is client/PC2/last_boot_step_seconds/first_read 4.6
check "commands" is client/PC2/disk_commands_total/read 2007
check "the kernel's" is client/PC2/lio_lun_commands_total/0 2200
check "a zero" is client/PC2/disk_errors_total/read 0
check "the store" is store/used_bytes 22548578304
check "the interface" is network/lan/carrier 1
check "the image" is image/one/format raw
check "each file has one line" test "$(find "$R" -type f -exec wc -l {} + | awk '$2 != "total" && $1 != 1' | wc -l)" = 0
check "the world may read, nobody may write" test -z "$(find "$R" \( -type f ! -perm 644 \) -o \( -type d ! -perm 755 \))"
# A reader that never stops, while everybody's numbers change: never empty, never half.
(while :; do v=$(<"$R/client/PC1/disk_bytes_total/read") && case $v in ''|*[!0-9]*) echo "bad: '$v'" ;; esac; done) >"$TMP/bad" 2>&1 &
reader=$!
old=$(value client/PC1/disk_bytes_total/read)
"$TOP/tests/net/room" tick "$TMP/run" 3
check "a file follows its counter" wait_for 30 eval '[ "$(value client/PC1/disk_bytes_total/read)" != "$old" ]'
old=$(value client/PC1/disk_bytes_total/read)
"$TOP/tests/net/room" tick "$TMP/run" 3
check "again" wait_for 30 eval '[ "$(value client/PC1/disk_bytes_total/read)" != "$old" ]'
kill $reader
wait $reader 2>/dev/null
check "a reader never saw half of a value$(sed 's/^/: /' "$TMP/bad" | head -1)" test ! -s "$TMP/bad"
same=$(stat -c %i "$R/client/PC1/mac")
refuse "what did not change was not written again" test "$(stat -c %Y "$R/client/PC1/mac")" -gt "$(stat -c %Y "$R/client/PC1/disk_bytes_total/read")"
check "not even by another file" test "$(stat -c %i "$R/client/PC1/mac")" = "$same"
info=$(find "$TMP/configfs" -path '*020000000003*/info')
echo "No active iSCSI Session for Initiator Endpoint" >"$info"
check "a session that ended is seen" wait_for 30 is client/PC3/state off
check "a client is removed" bootwell client remove PC3
check "its files go" wait_for 30 test ! -e "$R/client/PC3"
scrape
refuse "and its metrics" grep -q 'client="PC3"' "$TMP/metrics"
check "the others stay" is client/PC2/state running

# --- checks of images ------------------------------------------------------------------------------------------------
checked() { in_ns srv curl -sS -m 20 --unix-socket "$TMP/run/control" -X POST -d "$1" http://x/api/images/one/checked >"$TMP/out"; scrape; }
scrape
refuse "an image that nobody checked has no time of it" grep -q '^bootwell_image_check_time_seconds{' "$TMP/metrics"
checked '{"generation":1,"outcome":"good"}'
check "a check is reported" has 'bootwell_image_check_failed{image="one",generation="1"} 0'
check "with the time of it" grep -q '^bootwell_image_check_time_seconds{image="one",generation="1"} 1[0-9]*$' "$TMP/metrics"
checked '{"generation":1,"outcome":"damaged"}'
check "one that failed" has 'bootwell_image_check_failed{image="one",generation="1"} 1'
checked '{"generation":1,"outcome":"unreadable"}'
check "one that could not look changes nothing of it" has 'bootwell_image_check_failed{image="one",generation="1"} 1'
check "and has a metric of its own" has 'bootwell_image_unreadable{image="one",generation="1"} 1'
checked '{"generation":1,"failed":false}'
check "one without an outcome is refused" grep -q 'good, damaged, absent or unreadable' "$TMP/out"
daemon_stop
daemon_start
scrape
check "a restart remembers" has 'bootwell_image_check_failed{image="one",generation="1"} 1'
