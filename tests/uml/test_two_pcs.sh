#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two PCs at once on one image write different data to the same sectors; each reads its own. And what is counted of them by
# the daemon, the handler and the kernel's target comes out of /metrics and of /run/bootwell/stat.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/uml/lab.sh
. "$(dirname "$0")/lab.sh"
lab_start
appliance_config_default
appliance_start
pc_start pc1 1
pc_start pc2 2
pc_boots "the first PC has its disk" pc1
pc_boots "the second PC has its disk" pc2
# As a system that starts would: the same part of the image, first by one, then by the other.
for pc in pc1 pc2; do check "$pc reads" lab_run $pc "dd if=/dev/sda1 of=/dev/null bs=1M count=64 status=none"; done

# pattern WORD: 4 MiB of it. Where a PC writes: single sectors at odd places, 4 KiB, and all in one.
cat >"$LAB/write" <<'END'
set -e
word=$1
yes "$word" 2>/dev/null | head -c 4194304 >/run/pattern || :
for sector in 1 7 8 63 1023; do dd if=/run/pattern of=/dev/sda2 bs=512 seek=$sector skip=$sector count=1 oflag=direct conv=notrunc status=none; done
dd if=/run/pattern of=/dev/sda2 bs=4096 seek=1024 count=16 oflag=direct conv=notrunc status=none
dd if=/run/pattern of=/dev/sda2 bs=1M seek=8 count=4 oflag=direct conv=notrunc status=none
sync
END
cat >"$LAB/read" <<'END'
echo 3 >/proc/sys/vm/drop_caches
for sector in 1 7 8 63 1023; do
	dd if=/dev/sda2 bs=512 skip=$sector count=1 iflag=direct status=none | cmp - <(tail -c +$((sector * 512 + 1)) /run/pattern 2>/dev/null | head -c 512) || exit 1
done
dd if=/dev/sda2 bs=4096 skip=1024 count=16 iflag=direct status=none | cmp - <(head -c 65536 /run/pattern) || exit 1
dd if=/dev/sda2 bs=1M skip=8 count=4 iflag=direct status=none | cmp - /run/pattern
END
# Untouched sectors between them must still be the image's.
between="dd if=/dev/sda2 bs=512 skip=2 count=5 iflag=direct status=none | sha256sum"
before=$(lab_run pc1 "$between")
{ echo 'set -- one'; cat "$LAB/write"; } | lab_script pc1 & w1=$!
{ echo 'set -- two'; cat "$LAB/write"; } | lab_script pc2 & w2=$!
check "the first writes" wait $w1
check "the second writes" wait $w2
check "the first reads what it wrote" lab_script pc1 <"$LAB/read"
check "the second reads what it wrote" lab_script pc2 <"$LAB/read"
refuse "they wrote different things" test "$(lab_run pc1 "sha256sum /run/pattern")" = "$(lab_run pc2 "sha256sum /run/pattern")"
check "what neither wrote is the image's for the first" test "$(lab_run pc1 "$between")" = "$before"
check "and for the second" test "$(lab_run pc2 "$between")" = "$before"

# --- what is seen of them --------------------------------------------------------------------------------------------
look() { appliance "bootwell metrics" >"$LAB/metrics"; }
has() { grep -qE -- "$1" "$LAB/metrics" || { grep -F -- "${1%%\{*}" "$LAB/metrics" | head -5 | sed 's/^/# /'; return 1; }; }
of() { sed -n "s/^$1{client=\"$name\"${2:+,$2}} //p" "$LAB/metrics"; } # METRIC [MORE-LABELS]
overlay_holds() { [ "$(of bootwell_disk_overlay_bytes)" -ge "$1" ] || { look; [ "$(of bootwell_disk_overlay_bytes)" -ge "$1" ]; }; }
about() { # WHAT A B: within a tenth, and more than nothing
	check "$1 ($2, $3)" awk -v a="${2:-0}" -v b="${3:-0}" 'BEGIN { exit !(a > 0 && b > 0 && a < 1.1 * b + 3e6 && b < 1.1 * a + 3e6) }'
}
look
cp "$LAB/metrics" "$LAB_LOGS/metrics"
check "the scrape was whole" has '^bootwell_scrape_complete 1$'
if command -v promtool >/dev/null; then
	check "promtool finds nothing wrong with it" eval 'promtool check metrics <"$LAB/metrics" >&2'
else
	echo "ok - promtool # SKIP promtool is not installed"
fi
for pc in pc1 pc2; do
	name=$(sed -n "s/^bootwell_client_info{client=\"\([^\"]*\)\",mac=\"$(pc_mac $pc)\".*/\1/p" "$LAB/metrics")
	check "$pc: image, generation, address and session" has "^bootwell_client_info\{client=\"$name\",.*address=\"10.77.0.1[0-9]+\",session=\"10.77.0.1[0-9]+\",image=\"debian\",generation=\"1\",target=\"iqn"
	check "$pc: it runs" has "^bootwell_client_state\{client=\"$name\",state=\"running\"\} 1"
	for step in dhcp ipxe script ready login first_read; do
		check "$pc: the step $step has its time" has "^bootwell_client_last_boot_step_seconds\{client=\"$name\",step=\"$step\"\} [0-9.]+$"
	done
	check "$pc: the kernel has a session with it" test "$(of bootwell_lio_sessions)" = 1
	check "$pc: and accepted its logins" test "$(of bootwell_lio_logins_total 'outcome="accepted"')" -ge 1
	about "$pc: handler and kernel agree on the bytes read" "$(of bootwell_disk_bytes_total 'op="read"')" "$(of bootwell_lio_lun_read_bytes_total 'lun="0"')"
	sent=$(of bootwell_lio_session_bytes_total 'direction="sent"')
	check "$pc: its system's session sent a good part of it ($sent)" test "${sent:-0}" -gt 10000000
	counted=$(of bootwell_disk_latency_seconds_bucket 'op="read",le="+Inf"') reads=$(of bootwell_disk_commands_total 'op="read"')
	# It may read while it is looked at.
	check "$pc: each read is in the histogram ($counted of $reads)" test "${counted:-0}" -ge $((reads - 16)) -a "${counted:-0}" -gt 0
	check "$pc: it has written" test "$(of bootwell_disk_bytes_total 'op="write"')" -ge 4194304
	check "$pc: the image cache answered some of it" test "$(of bootwell_disk_base_hit_bytes_total)" -gt 0
	# What is not kept may wait in memory for a while.
	check "$pc: its overlay" wait_for 60 overlay_holds 4194304
	check "$pc: state as a file" appliance "grep -qx running /run/bootwell/stat/client/$name/state"
	check "$pc: the kernel's commands as a file" appliance "test \$(cat /run/bootwell/stat/client/$name/lio_lun_commands_total/0) -gt 100"
done
check "the interface sent more than the PCs read" test "$(sed -n 's/^bootwell_network_transmit_bytes_total{interface="eth0"} //p' "$LAB/metrics")" -gt "$(of bootwell_disk_bytes_total 'op="read"')"
check "the block device of store and images" has '^bootwell_block_read_bytes_total\{device="ubd[ab]"\} [1-9]'
check "the kernel counts runs of BPF programs for the service" has '^bootwell_bpf_counting 1$'
settled() { look && has "^bootwell_client_last_boot_step_seconds\{client=\"$name\",step=\"settled\"\}" && has "^bootwell_client_last_boot_idle_seconds\{client=\"$name\"\}"; }
check "when it left its disk alone the boot had settled, and its gaps are known" wait_for 400 settled
lab_end
