# SPDX-License-Identifier: GPL-2.0-or-later
# For shell tests: TAP lines, requirements, cleaning up. Source it first: . "$(dirname "$0")/../lib.sh"
# A test gets $O, the build folder, and prints `ok - what` / `not ok - what` a line; tests/run counts them.
# shellcheck shell=bash
set -u
# Debian's programs, which tests/deps has installed, before what else a person has under the same names.
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
O=${O:-$TOP/build}
case $O in /*) ;; *) O=$TOP/$O ;; esac
failed=0

ok() { echo "ok - $*"; }
not_ok() { echo "not ok - $*"; failed=$((failed + 1)); }
# check WHAT COMMAND...: ok if the command succeeds
check() { local what=$1; shift; if "$@"; then ok "$what"; else not_ok "$what (failed: $*)"; fi; }
# refuse WHAT COMMAND...: ok if the command fails
refuse() { local what=$1; shift; if "$@"; then not_ok "$what (succeeded: $*)"; else ok "$what"; fi; }
# requires COMMAND...: the whole test is skipped when one is missing
requires() { local c; for c; do command -v "$c" >/dev/null || { echo "1..0 # SKIP $c is not installed"; exit 77; }; done; }
skip_all() { echo "1..0 # SKIP $*"; exit 77; }

TMP=$(mktemp -d "${TMPDIR:-/tmp}/bootwell-test.XXXXXX")
_cleanup=()
# at_exit COMMAND...: run when the test ends, the last one first
at_exit() { _cleanup+=("$(printf '%q ' "$@")"); }
_done() {
	local s=$? i
	for ((i = ${#_cleanup[@]} - 1; i >= 0; i--)); do eval "${_cleanup[i]}" >/dev/null 2>&1; done
	rm -rf "$TMP"
	[ "$s" = 0 ] && [ "$failed" -gt 0 ] && s=1
	exit "$s"
}
trap _done EXIT
trap 'exit 143' TERM INT
# wait_for SECONDS COMMAND...: until it succeeds
wait_for() { local end=$((SECONDS + $1)); shift; until "$@" >/dev/null 2>&1; do [ $SECONDS -ge "$end" ] && return 1; sleep 0.1; done; }
# lab_well_formed FILE: tshark finds nothing malformed in a capture. It takes random bytes in DATA for STUN now and then: that
# guess is switched off. Port 8001 is HTTP, said in so many words: it would go by the client's port first, and one port in 64 of
# those that firmware uses belongs to another protocol. iSCSI, uploads and what follows an HTTP answer's first packet are left
# out: what disks and files hold looks like anything.
lab_well_formed() {
	local bad body='(tcp.srcport == 8001 && tcp.payload[0:5] != 48:54:54:50:2f)'
	tcpdump -r "$1" -w "$TMP/ours.pcap" 'not tcp portrange 3260-3262 and not tcp port 1000' 2>/dev/null
	[ "$(stat -c %s "$TMP/ours.pcap")" -gt 24 ] || { echo "# $1 holds no packet"; return 1; }
	bad=$(tshark -r "$TMP/ours.pcap" -Y "(_ws.malformed || _ws.expert.severity >= \"Error\" || ip.checksum.status == \"Bad\") && !$body" \
		-d tcp.port==8001,http --disable-protocol classicstun --disable-protocol stun -o ip.check_checksum:TRUE 2>/dev/null)
	[ -z "$bad" ] && return 0
	sed 's/^/# /' <<<"$bad" | head -5
	return 1
}
