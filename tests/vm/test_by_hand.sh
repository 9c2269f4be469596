#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bootwelld started by hand, as root and without the helper of its unit, under Debian's own kernel: what it has given up
# (Landlock, seccomp) leaves it the kernel's target, the fast path and the programs that it starts.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/lab.sh
. "$(dirname "$0")/lab.sh"
requires iscsi-inq
lab_start
appliance_config_default
mkdir -p "$LAB/stage/opt"
cp "$O/tests/net/tool_inside" "$LAB/stage/opt/"
appliance_start
# Root without the right to write what belongs to others: the folders are those of the service's user by now.
appliance "systemctl stop bootwell bootwell-configfs.socket bootwell-configfs.service
	chown -R root: /run/bootwell /srv/bootwell/state
	setsid bootwelld -c /etc/bootwell/bootwell.conf >/run/hand.log 2>&1 </dev/null &"
check "it serves" wait_for 60 appliance "bootwell status"
appliance "grep -E 'Landlock|seccomp' /run/hand.log" | sed 's/^/#   /'
check "Debian's kernel keeps it to its folders" appliance "grep -q 'Landlock [0-9]' /run/hand.log"
check "and to some system calls" appliance "grep -q 'seccomp: [0-9]* system calls are left' /run/hand.log"
check "a PC gets a target" soft_pc a 9 ipxe
check "it logs in there and asks what it is" soft a iscsi-inq -i "$soft_initiator" "$(soft_url)"
check "the fast path is there" appliance "bootwell status | grep -E 'answered by (xdp|tc)|xdp'"
inside=$(appliance "/opt/tool_inside \$(pidof bootwelld) /run/bootwell")
sort -k2 <<<"$inside" | uniq -c -f1 | sed 's/^/#   /'
threads=$(grep -c ' own: ' <<<"$inside")
# all NAME RESULT: in every thread
all() { [ "$threads" -gt 1 ] && [ "$(grep -cE " $1: ($2)\$" <<<"$inside")" = "$threads" ]; }
check "all its threads write the run folder" all own "done"
for what in etc existing folder ptrace mount unshare module; do
	check "and none can: $what" all $what "Permission denied|Operation not permitted"
done
check "it takes its configuration again" appliance "bootwell config reload"
check "it stops in order" appliance "pid=\$(pidof bootwelld); kill \$pid
	for i in \$(seq 200); do [ -e /proc/\$pid ] || exit 0; sleep 0.1; done; exit 1"
lab_end
