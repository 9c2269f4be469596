#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# docs/model/pair.pml, the rules of the pair on port 66, checked by Spin in every state that can be reached: never one
# address for two PCs. And that it is those rules which keep it so: without any one of them Spin finds a way.
. "$(dirname "$0")/../lib.sh"
requires spin gcc

# look NAME DEFINITIONS...: Spin's answer in $TMP/NAME.said, the way to what must not be in $TMP/NAME/pair.pml.trail
look() {
	local name=$1; shift
	mkdir -p "$TMP/$name"
	cp "$TOP/docs/model/pair.pml" "$TMP/$name/"
	(cd "$TMP/$name" && spin "$@" -a pair.pml && gcc -O2 -DSAFETY -DCOLLAPSE -DMEMLIM=2000 -o pan pan.c &&
		./pan -m20000) >"$TMP/$name.said" 2>&1
}
said() { grep -q -- "$2" "$TMP/$1.said" || { tail -5 "$TMP/$1.said" | sed 's/^/# /'; false; }; }
# holds NAME DEFINITIONS...: every state was looked at, within what may happen
holds() {
	look "$@"
	said "$1" 'errors: 0' || return 1
	! grep -Eq 'max search depth too small|out of memory|memory limit|interrupted' "$TMP/$1.said" || return 1
	echo "# NOTE $1: $(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' "$TMP/$1.said") states"
}
# breaks NAME DEFINITIONS...: what must not be is found
breaks() { look "$@"; said "$1" 'errors: 1' && [ -s "$TMP/$1/pair.pml.trail" ]; }

# What may happen: changes of leases, times that a server believes the other one dead, kills.
deaths=(-DTICKS=1 -DCHANGES=3 -DDEATHS=2 -DKILLS=0)
kills=(-DTICKS=1 -DCHANGES=2 -DDEATHS=1 -DKILLS=1)
split=(-DSPLIT -DTICKS=2 -DCHANGES=3 -DDEATHS=2 -DKILLS=0)
many=(-DSPLIT -DTICKS=0 -DCHANGES=5 -DDEATHS=2 -DKILLS=0) # what AT_ONCE breaks needs five

check "servers that believe each other dead: two PCs only when both were alone" holds deaths "${deaths[@]}"
check "servers that are killed: the same" holds kills "${kills[@]}"
check "split = yes: never" holds split "${split[@]}"
check "split = yes, and many changes: never" holds split-many "${many[@]}"
check "split = yes, and a server is killed: never" holds split-kills -DSPLIT "${kills[@]}"

for rule in NO_CONFIRM NO_WAIT SECONDS FREE_WINS REFUSED OURS_WINS RELEASED; do
	check "without a rule ($rule) it does not hold" breaks "$rule" "-D$rule" "${deaths[@]}"
done
check "split = yes without AT_ONCE's rule does not hold" breaks AT_ONCE -DAT_ONCE "${many[@]}"
check "split = yes without REVIVE's rule does not hold" breaks REVIVE -DREVIVE "${split[@]}"
check "two PCs with one address when both were alone: without split that can be" breaks alone -DNEVER "${deaths[@]}"
