#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two servers, simulated PCs, faults at random (SEED=n again): no address is ever acknowledged to two PCs whose leases
# both run. First whatever happens but that both servers are alone at once; then with split = yes that, too.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/netlab.sh"
. "$(dirname "$0")/pairlab.sh"
requires python3 sqlite3
declare -A pid

room=$(cd "$(dirname "$0")" && pwd)/pair_room
seed=${SEED:-$((RANDOM * 32768 + RANDOM))}
echo "# SEED=$seed"
RANDOM=$((seed % 32768))
for n in one two; do # their logs tell when they are together
	: >"$TMP/$n.err"
done
both() { # COUNT: how often each has said that the other one is there
	[ "$(grep -c 'is there' "$TMP/one.err")" -gt "$1" ] && [ "$(grep -c 'is there' "$TMP/two.err")" -gt "$2" ]
}
any() { [ $((RANDOM % 2)) = 0 ] && echo one || echo two; }
# fault KIND: one fault and its end, then a time in which they find each other
fault() {
	local n; n=$(any)
	local a b; a=$(grep -c 'is there' "$TMP/one.err") b=$(grep -c 'is there' "$TMP/two.err")
	echo "# $1 $n"
	case $1 in
	frozen) kill -STOP "${pid[$n]}"; sleep 5; kill -CONT "${pid[$n]}" ;;
	killed) pair_stop "$n" KILL; sleep $((RANDOM % 5)); pair_start "$n" ;;
	oneway) pair_cut "$n"; sleep 6; pair_heal "$n" ;;
	moment) pair_cut "$n"; sleep 1; pair_heal "$n" ;;
	cut) pair_cut one; pair_cut two; sleep $((4 + RANDOM % 6)); pair_heal one; pair_heal two ;;
	esac
	wait_for 8 both "$a" "$b" || true # a moment is none to them
	sleep 2
}
faults=0
# history WHAT KINDS...
history() {
	local what=$1 i=0 client; shift
	in_ns pc "$room" 45 $((seed + faults)) >"$TMP/room" 2>&1 &
	client=$!
	at_exit kill "$client"
	sleep 2
	while kill -0 "$client" 2>/dev/null; do fault "${@:1 + i++ % $#:1}"; faults=$((faults + 1)); done
	sed 's/^/# /' "$TMP/room"
	wait "$client" || sed 's/^/# /' "$TMP/one.err" "$TMP/two.err"
	check "$what" wait "$client"
}
pair_config 10.82.0.100-10.82.0.107
pair_start one
pair_start two
check "the two hear each other" pair_together
history "frozen, killed, cut in one direction: each address has one PC" frozen killed oneway moment
pair_stop one
pair_stop two
rm -rf "$TMP"/{one,two}/state
pair_config 10.82.0.100-10.82.0.119 'split = yes'
: >"$TMP/one.err"; : >"$TMP/two.err"
pair_start one
pair_start two
check "the two hear each other again" pair_together
history "split = yes, and cut in both directions: each address has one PC" cut cut killed frozen
