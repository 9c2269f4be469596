#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/run, with made-up tests: what runs beside what, what is made before, what is counted.
. "$(dirname "$0")/../lib.sh"
D=$TMP/tree
mkdir -p "$D"/tests/{unit,net,uml,vm} "$D/initramfs"
cp "$TOP/tests/run" "$D/tests/"
export SEEN=$TMP/seen
# fake FILE: an executable script of this content
fake() { { echo '#!/bin/bash'; cat; } >"$D/$1"; chmod +x "$D/$1"; }
run() { rm -rf "$SEEN" "$D/build"; mkdir "$SEEN"; timeout 100 "$D/tests/run" "$@" >"$TMP/out" 2>&1; }
said() { grep -qE -- "$1" "$TMP/out"; }
# Each of two waits until the other has begun; both go on when they are side by side.
for n in a b; do
	fake tests/net/test_$n.sh <<-END
		touch $SEEN/$n $SEEN/running-$n
		for i in {1..100}; do [ -e $SEEN/a ] && [ -e $SEEN/b ] && break; sleep 0.1; done
		[ \$i -lt 100 ] && echo "ok - beside the other" || echo "not ok - beside the other"
		rm $SEEN/running-$n
	END
done
check "two tests at a time" run -j 2 net
check "both are counted" test "$(tail -1 "$TMP/out")" = "2 passed, 0 failed, 0 skipped"
for n in c d; do
	fake tests/net/test_$n.sh <<-END
		# Runs alone: for the sake of it
		what="nothing runs, no other has begun"
		[ -z "\$(ls $SEEN)" ] && echo "ok - \$what" || echo "not ok - \$what"
		touch $SEEN/running-$n
		sleep 1
		what="nor is there anything beside it"
		[ "\$(ls $SEEN)" = running-$n ] && echo "ok - \$what" || echo "not ok - \$what"
		rm $SEEN/running-$n
	END
done
check "those that run alone go first, and nothing is beside them" run -j 4 net
check "the others come then" test "$(tail -1 "$TMP/out")" = "6 passed, 0 failed, 0 skipped"

# What machines start is made while other tests run; of vm there is one at a time.
fake tests/uml/kernels <<<'[ "$1" = newer ] && echo other || touch $SEEN/kernel-$1'
fake tests/vm/trees <<<'sleep 1; touch $SEEN/trees'
fake initramfs/make-iso <<<'sleep 1; touch $SEEN/iso'
: >"$D/iso.sh"
for n in one two; do
	fake tests/vm/test_$n.sh <<-END
		$([ $n = one ] || echo '. "$D/iso.sh"')
		what="made before"
		[ $n = one ] || [ -e $SEEN/iso ] && [ -e $SEEN/trees ] && echo "ok - \$what" || echo "not ok - \$what"
		[ ! -e $SEEN/vm ] && echo "ok - no other vm" || echo "not ok - no other vm"
		touch $SEEN/vm
		sleep 1
		rm $SEEN/vm
	END
done
fake tests/uml/test_m.sh <<-'END'
	[ -e $SEEN/kernel-$UML_KERNEL ] && echo "ok - its kernel is there" || echo "not ok - its kernel is there"
END
if [ "$(id -u)" = 0 ]; then
	check "machines wait for what is made for them" run -j 4 net uml vm
	check "each kernel, each machine" test "$(tail -1 "$TMP/out")" = "12 passed, 0 failed, 0 skipped"
	list=$(cut -d' ' -f1-4 "$D/build/test/list" | tr '\n' ,)
	wanted="net/a 1 0 0,net/b 1 0 0,net/c 2 0 0,net/d 2 0 0,uml/m@bookworm 1 0 0,uml/m@other 1 0 0,"
	check "there is a list, a line a test" test "$list" = "${wanted}vm/one 2 0 0,vm/two 2 0 0,"
	check "one kernel alone" run uml KERNEL=other
	check "is one test" test "$(tail -1 "$TMP/out")" = "1 passed, 0 failed, 0 skipped"
else
	echo "ok - machines # SKIP they need root"
fi

# --- what goes wrong
for n in 1 2 3 4 5 6 7 8; do fake tests/unit/test_$n.sh <<<'echo "ok - x"'; done
fake tests/unit/test_bad.sh <<<'echo "not ok - y"'
fake tests/unit/test_silent.sh <<<'exit 0'
fake tests/unit/test_ends.sh <<<'echo "ok - z"; exit 3'
fake tests/unit/test_skips.sh <<<'echo "1..0 # SKIP no such thing"; exit 77'
refuse "a failure is the run's" run unit
check "all are counted: what failed, said nothing, ended badly, was skipped" \
	test "$(tail -1 "$TMP/out")" = "9 passed, 3 failed, 1 skipped"
for n in bad silent ends; do check "$n is named" said "^failed: unit/$n"; done
check "and what was skipped, with the reason" said '^skipped: unit/skips: no such thing'
check "the slowest ten are named" \
	said '^the ten that took longest: (unit/[a-z0-9]+ [0-9]+ s, ){9}unit/[a-z0-9]+ [0-9]+ s$'
refuse "no such group" run unite
check "is said" said 'no group or test: unite'
