#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A bootwelld that was started by hand, as root: what each of its threads may still do (tool_inside.c has them try).
# It serves as before, and what it starts is kept in the same way.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/net/netlab.sh
. "$(dirname "$0")/netlab.sh"
lab_ns srv
lab_switch
lab_plug srv eth0
in_ns srv ip addr add 10.77.0.1/24 dev eth0
daemon_files
cat >"$C" <<END
[server]
state = $TMP/state
run = $TMP/run
[dhcp]
mode = off
[tftp]
root = $TMP/tftp
[images]
path = $TMP/images
[write-back]
path = $TMP/store
size = 16M
[image one]
file = one.raw
END
daemon_start
check "it says what holds" grep -qE "Landlock|no Landlock" "$TMP/daemon.log"
check "and how many system calls are left" grep -qE "seccomp: [0-9]+ system calls are left" "$TMP/daemon.log"
grep -E "Landlock|seccomp" "$TMP/daemon.log" | sed 's/^/#   /'
# Each page takes a thread, which is then there to be tried.
in_ns srv curl -s http://10.77.0.1:8001/-/healthy >/dev/null
at_exit rm -rf /etc/bootwell-attempt /var/lib/bootwell-attempt
"$O/tests/net/tool_inside" "$daemon" "$TMP/run" >"$TMP/inside" || not_ok "its threads can be tried"
threads=$(grep -c ' own: ' "$TMP/inside")
echo "# NOTE $threads threads"
sort -k2 "$TMP/inside" | uniq -c -f1 | sed 's/^/#   /'
# all NAME RESULT: in every thread
all() { [ "$threads" -gt 1 ] && [ "$(grep -cE " $1: ($2)\$" "$TMP/inside")" = "$threads" ]; }
# rights: the sets of capabilities that its threads have, each once
rights() { sed -n 's/^CapEff:[[:space:]]*//p' "/proc/$daemon/task/"*/status | sort -u; }
echo "# NOTE capabilities: $(rights | tr '\n' ' ')"
check "every thread has the same few capabilities" test "$(rights | wc -l)" = 1
check "and none of them the right to change what is others'" test $((0x$(rights | tail -1) & 0x2)) = 0
check "every thread writes the run folder" all own "done"
check "every thread reads" all read "done"
no='Permission denied|Operation not permitted'
for call in ptrace mount unshare module setuid; do check "no thread may: $call" all $call "$no"; done
check "no thread has a socket of another family" all vsock "Address family not supported by protocol"
if grep -q "Landlock [0-9]" "$TMP/daemon.log"; then
	for what in etc existing folder; do
		check "no thread may write elsewhere: $what" all $what "Permission denied"
	done
	check "nothing was written" test ! -e /etc/bootwell-attempt -a ! -e /var/lib/bootwell-attempt
else
	echo "ok - no thread may write elsewhere # SKIP this kernel has no Landlock"
fi
check "it goes on serving" "$O/bootwell" status
check "it takes its configuration again" "$O/bootwell" config reload
check "it stops in order" eval 'daemon_stop && ! grep -qiE "warning|error" "$TMP/daemon.log"'
