#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# TFTP answered by XDP on virtio-net, under Debian's own kernel: the programs load and agree with the model there too,
# frames grow and leave by XDP_TX, good cable or bad, and all of it goes when the server is killed.
# shellcheck disable=SC2034,SC2154
. "$(dirname "$0")/../lib.sh"
LAB_BARE=1 # the network half only: tests/net/tool_netd
. "$(dirname "$0")/lab.sh"
requires ethtool
CLIENT=$O/tests/bench/tool_tftp_client

lab_start
appliance_stage
mkdir -p "$LAB/stage/opt/fast/tftp" "$LAB/stage/opt/fast/lib"
cp "$O/tests/net/tool_netd" "$O/tests/unit/test_tftp_fastpath" "$LAB/stage/opt/fast/"
for f in "$O/tests/net/tool_netd" "$O/tests/unit/test_tftp_fastpath"; do
	ldd "$f" | awk '$3 ~ /^\// {print $3}' | grep -vE '/(libc|libm|ld-linux[^/]*)\.so' | xargs -I{} cp -L -n {} "$LAB/stage/opt/fast/lib/"
done
for size in 102405 1000003; do head -c $size /dev/urandom >"$LAB/stage/opt/fast/tftp/f$size"; done
for mode in auto tc off; do
	appliance_file /opt/fast/$mode.conf <<-END
		[server]
		targets = off
		state = /run/fast
		run = /run/fast
		[tftp]
		root = /opt/fast/tftp
		fastpath = $mode
	END
done
appliance_start
netd() { # MODE: starts the server in the appliance
	appliance "mkdir -p /run/fast; cd /run/fast; : >out
		LD_LIBRARY_PATH=/opt/fast/lib setsid /opt/fast/tool_netd /opt/fast/$1.conf >>out 2>err </dev/null &
		echo \$! >pid; for i in \$(seq 100); do grep -q ready out && exit 0; sleep 0.1; done; cat err; exit 1"
}
netd_stat() {
	appliance "cd /run/fast; : >out; kill -USR1 \$(cat pid); for i in \$(seq 100); do grep -q ^end out && break; sleep 0.1; done
		awk -v n=$1 '\$1 == n {print \$2}' out"
}
netd_end() { appliance "kill -${1:-TERM} \$(cat /run/fast/pid); while kill -0 \$(cat /run/fast/pid) 2>/dev/null; do sleep 0.1; done"; }
get() { local f=f$1; shift; in_pc "$CLIENT" -s 10.77.0.1 -f "$f" -c "$LAB/stage/opt/fast/tftp/$f" -t 2000 -T 10 "$@" | sed 's/^/# /'; }
# by PATH WHAT AT_LEAST COMMAND...
by() {
	local path=$1 what=$2 least=$3 before after; shift 3
	before=$(netd_stat "tftp_blocks_$path")
	check "$what" "$@"
	after=$(netd_stat "tftp_blocks_$path")
	check "$what: $path sent it" test $((after - before)) -ge "$least"
}
set -o pipefail

LAB_LIMIT=300 appliance "RACES=300 LD_LIBRARY_PATH=/opt/fast/lib /opt/fast/test_tftp_fastpath" >"$TMP/unit.out" 2>&1 ||
	not_ok "the unit test in the appliance: $(tail -1 "$TMP/unit.out")"
sed 's/^\(ok\|not ok\) - /&in the appliance: /' "$TMP/unit.out"
echo "# NOTE kernel of the appliance: $(appliance uname -r)"

# A PC behind a cable of our own making: w0 is on the wire, w1 leads to the PC.
unshare -n sleep infinity &
pc_ns=$!
at_exit kill $pc_ns
wait_for 5 test "$(readlink /proc/self/ns/net)" != "$(readlink /proc/$pc_ns/ns/net)"
in_pc() { nsenter -t $pc_ns -n -- "$@"; }
lab_host ip link add w0 type veth peer name w0b
lab_host ip link set w0b master wire up
lab_host ip link set w0 up
lab_host ip link add w1 type veth peer name pc0
lab_host ip link set pc0 netns $pc_ns
lab_host ip link set w1 up
in_pc ip link set lo up
in_pc ip addr add 10.77.0.253/24 dev pc0
in_pc ip link set pc0 up
for i in w0 w0b w1; do lab_host ethtool -K $i tx off gro off >/dev/null; done
in_pc ethtool -K pc0 tx off gro off >/dev/null
appliance "ethtool -K eth0 tx off" >/dev/null
cable() { # LOSS DUPLICATES REORDER DELAY
	[ -n "${cable:-}" ] && { kill "$cable"; wait "$cable"; }
	nsenter -t $lab_ns -n -- "$O/tests/net/tool_wire" w0 w1 "$@" >"$TMP/cable.out" 2>&1 &
	cable=$!
	wait_for 10 grep -q ready "$TMP/cable.out" || not_ok "the cable works"
}
at_exit eval "kill \$cable"

cable 0 0 0 0
check "the server starts" netd auto
by xdp "blksize 1468" 300 get 1000003 -b 1468
by xdp "blksize 512" 100 get 102405 -b 512
by xdp "20 at once" 700 get 102405 -b 1432 -j 20 -n 20
by tc "windows of 8" 300 get 1000003 -b 1468 -w 8
check "XDP is on the interface" appliance "ip link show eth0 | grep -q xdp"
cable 1 2 3 1
by xdp "loss, duplicates and reordering" 300 get 102405 -b 1468 -k 1 -t 300 -T 60 -j 10 -n 10
cable 0 0 0 0
netd_end KILL
refuse "killed: XDP is gone" appliance "ip link show eth0 | grep -q xdp"
check "the server starts without the fast path" netd off
check "what tc had is without effect" get 102405 -b 1468
check "user space sent it" test "$(netd_stat tftp_blocks_user)" -ge 70 -a "$(netd_stat tftp_blocks_tc)" = 0
netd_end
check "the server starts with tc" netd tc
by tc "by tc, in place of the filter that was left" 20 get 102405 -b 1468
netd_end
refuse "ended: no filter is left" appliance "tc filter show dev eth0 ingress | grep -q tftp"
lab_kill appliance
lab_wire_well_formed
