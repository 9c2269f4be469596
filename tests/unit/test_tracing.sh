#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# docs/tracing.md lists the tracepoints that the programs have, no others, and has a bpftrace line for each.
. "$(dirname "$0")/../lib.sh"
O=${O:-build}
cd "$TOP" || exit 1
[ -e /usr/include/sys/sdt.h ] || [ -e "/usr/include/$(uname -m)-linux-gnu/sys/sdt.h" ] || skip_all "systemtap-sdt-dev is not installed"
has() { readelf -n "$1" | sed -n 's/^ *Name: \(.*\)/\1/p' | sort -u; }
listed() { sed -n "/^In .$1/,/^\(In\|##\) /p" docs/tracing.md | tail -n +2 | sed '/^\(In\|##\) /,$d' | sed -n 's/^| `\([a-z_]*\)` .*/\1/p' | sort -u; }
for pair in handler_bootwell.so:handler_bootwell.so bootwelld:bootwelld; do
	file=$O/${pair%%:*} name=${pair#*:}
	check "$name has tracepoints" test -n "$(has "$file")"
	check "docs/tracing.md lists those of $name: $(has "$file" | tr '\n' ' ')" test "$(has "$file")" = "$(listed "$name")"
	for t in $(has "$file"); do
		check "there is a bpftrace line for $t" grep -qE "^    bpftrace .*:bootwell:$t " docs/tracing.md
	done
done
