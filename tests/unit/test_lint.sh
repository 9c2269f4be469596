#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each rule of tests/lint sees a file that breaks it: in a copy of the tree, one file at a time, some folders deep.
. "$(dirname "$0")/../lib.sh"
requires git python3 gcc nm

copy=$TMP/tree
mkdir "$copy"
git -C "$TOP" ls-files -co --exclude-standard | while read -r f; do [ -f "$TOP/$f" ] && echo "$f"; done |
	tar -C "$TOP" -cf - -T - | tar -C "$copy" -xf -
cd "$copy" || exit 1
git init -q .
# The objects of the programs: what they ask the linker for.
(cd "$O" && find daemon tcmu-handler initramfs -name '*.o' | cpio -pdm --quiet "$copy/build")
export O=$copy/build

lint() { tests/lint "$@" >"$TMP/out" 2>&1 && ! grep -q '^not ok' "$TMP/out"; }
# breaks RULE PATTERN WHAT: the rule fails and says something that matches
breaks() {
	if lint "$1"; then not_ok "$3: $1 does not see it"
	elif grep -qE "$2" "$TMP/out"; then ok "$3"
	else not_ok "$3: $1 says $(grep -A3 '^not' "$TMP/out")"; fi
}
# compiled FILE: its object is there
compiled() { mkdir -p "build/$(dirname "$1")" && gcc -I. -c "$1" -o "build/${1%.c}.o"; }
# source FILE LINES: with licence and head, and its object
source_file() {
	local file=$1; shift
	mkdir -p "$(dirname "$file")"
	printf '%s\n' '// SPDX-License-Identifier: GPL-2.0-or-later' '/* A file of this test. */' "$@" >"$file"
	case $file in *.c) compiled "$file" ;; esac
}
gone() { local f; for f; do rm -f "$f" "build/${f%.c}.o"; done; }

check "the tree as it is keeps the rules on layers" lint layers
check "it is said how much was looked at" grep -qE 'looked at [0-9]{3,} files with [0-9]{3,} includes' "$TMP/out"
check "the picture of layers is printed" grep -qE '^#   daemon/boot +.*daemon/target' "$TMP/out"
check "rules without a program of their own pass" lint libc pure uring licence heads length

a=daemon/image/deep/er/wrong.c
source_file $a '#include "daemon/boot/boot.h"'
breaks layers 'daemon/image/deep/er: tests/layers.table has no line' \
	"a folder that is not in the table of layers, in any depth"
gone $a
a=daemon/catalogue/wrong.c
printf '%s\n' '// SPDX-License-Identifier: GPL-2.0-or-later' '/* A file of this test. */' \
	'	return !strcmp(a->parent_id, b->image_id);' >$a
breaks once 'an image is known by .*daemon/catalogue/wrong.c:3' "a second place that compares images"
gone $a
a=daemon/boot/wrong.c
printf '%s\n' '// SPDX-License-Identifier: GPL-2.0-or-later' '/* A file of this test. */' \
	'	return !memcmp(section->uuid, who->uuid, 16) && who->features & 4;' >$a
breaks once 'a PC is known by .*daemon/boot/wrong.c:3' "a second place that compares PCs"
breaks once 'a firmware can do .*daemon/boot/wrong.c:3' "a second place that knows what firmware can do"
gone $a
a=daemon/image/wrong.c
source_file $a '#include "daemon/boot/boot.h"'
breaks layers 'daemon/image -> daemon/boot: daemon/image/wrong.c includes' "an include that climbs"
gone $a
source_file $a \
	'int boot_new();' 'int wrong(void);' 'int wrong(void)' '{' '	return boot_new();' '}'
breaks layers 'daemon/image -> daemon/boot: .*wrong.c calls boot_new' \
	"a call that climbs, of something that nothing includes"
breaks layers 'circle of rooms: .*daemon/boot.* daemon/image' "the circle of rooms that it makes"
gone $a
source_file daemon/core/wrong_a.c \
	'int wrong_b(void);' 'int wrong_a(void);' 'int wrong_a(void)' '{' '	return wrong_b();' '}'
source_file daemon/core/wrong_b.c \
	'int wrong_a(void);' 'int wrong_b(void);' 'int wrong_b(void)' '{' '	return wrong_a();' '}'
breaks layers 'daemon/core: 2 files go round, 0 may: wrong_a.c wrong_b.c' "two files of a folder that call each other"
gone daemon/core/wrong_a.c daemon/core/wrong_b.c
source_file daemon/core/wrong_a.h '#include "daemon/core/wrong_b.h"'
source_file daemon/core/wrong_b.h '#include "daemon/core/wrong_a.h"'
breaks layers 'headers include each other: daemon/core/wrong_a.h daemon/core/wrong_b.h' \
	"two headers that include each other"
gone daemon/core/wrong_a.h daemon/core/wrong_b.h
source_file daemon/control/wrong.c '#include "daemon/boot/private.h"'
breaks layers 'daemon/control/wrong.c includes daemon/boot/private.h' "another folder's private header"
gone daemon/control/wrong.c
source_file daemon/core/wrong.c
rm build/daemon/core/wrong.o
breaks layers 'daemon/core/wrong.c: no object of it' "a source whose object nobody made"
gone daemon/core/wrong.c
mv build elsewhere && mkdir build
breaks layers 'there is nothing to look at' "no objects at all"
rmdir build && mv elsewhere build
cp tests/lint.baseline "$TMP/baseline"
echo 'circle daemon/core 2' >>tests/lint.baseline
breaks layers 'the baseline gets smaller' "a baseline that allows more than there is"
cp "$TMP/baseline" tests/lint.baseline

source_file tcmu-handler/image/wrong.c '#include <zlib.h>'
breaks libc 'wrong.c:3:#include <zlib.h>' "a library in the image reader"
gone tcmu-handler/image/wrong.c
source_file daemon/dhcp/deep/wrong_packet.c '#include <sys/socket.h>'
breaks pure 'wrong_packet.c:3' "a socket in a codec"
gone daemon/dhcp/deep/wrong_packet.c
source_file tcmu-handler/wrong.h '#include <liburing.h>'
breaks uring 'tcmu-handler/wrong.h' "liburing beside uring.c"
gone tcmu-handler/wrong.h
mkdir -p bpf/deep
printf '/* A head. */\n' >bpf/deep/wrong.h
breaks licence 'bpf/deep/wrong.h' "a source without a licence"
gone bpf/deep/wrong.h
cp README.md "$TMP/readme"
# shellcheck disable=SC2016
echo 'See `daemon/core/wrong.c`.' >>README.md
breaks paths 'README.md:[0-9]*: daemon/core/wrong.c' "a document that names a file that is not there"
cp "$TMP/readme" README.md
printf '// SPDX-License-Identifier: GPL-2.0-or-later\n#include <errno.h>\n' >tests/wrong.c
breaks heads 'tests/wrong.c' "a file that does not say what it is"
gone tests/wrong.c
source_file daemon/core/wrong.h "/* $(printf 'x%.0s' {1..115})é */"
breaks length 'daemon/core/wrong.h: 3' "a line of 121 columns"
source_file daemon/core/wrong.h "/* $(printf 'é%.0s' {1..114}) */"
check "a line of 120 columns in more bytes is fine" lint length
gone daemon/core/wrong.h
printf '#!/bin/sh\n# SPDX-License-Identifier: GPL-2.0-or-later\n%s\n' "$(printf '\t%.0s' {1..16})" >conf/wrong
breaks length 'conf/wrong: 3' "tabs count eight, in a script too"
gone conf/wrong

if command -v clang-format >/dev/null && clang-format --version | grep -q ' 14\.'; then
	source_file daemon/core/wrong.c 'int wrong;' '    int   wrong_too;'
	breaks format 'daemon/core/wrong.c:4' "a line that clang-format would break"
	gone daemon/core/wrong.c
else
	ok "a line that clang-format would break # SKIP it is version 14's way"
fi
if command -v codespell >/dev/null; then
	source_file daemon/core/wrong.h "/* $(printf 'te%s' h) wrong word */"
	breaks spelling 'daemon/core/wrong.h:3: teh' "a word that is spelt wrong"
	gone daemon/core/wrong.h
else
	ok "a word that is spelt wrong # SKIP codespell is not installed"
fi
if command -v shellcheck >/dev/null; then
	# only what is new: the whole tree takes long
	# shellcheck disable=SC2016
	printf '%s\n' '#!/bin/sh' '# SPDX-License-Identifier: GPL-2.0-or-later' 'for f in $(ls); do cd $f; done' \
		>conf/wrong
	find conf initramfs tests -type f -not -name wrong -not -path 'tests/l*' -delete
	breaks shell 'In conf/wrong line' "a script that shellcheck warns of"
else
	ok "a script that shellcheck warns of # SKIP shellcheck is not installed"
fi
check "an unknown rule is refused" grep -q 'no rule nonsense' <(tests/lint nonsense 2>&1)
