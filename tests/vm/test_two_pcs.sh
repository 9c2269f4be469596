#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two PCs at once on one image write different data to the same sectors; each reads its own.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/lab.sh
. "$(dirname "$0")/lab.sh"
lab_start
appliance_config_default
appliance_start
pc_start pc1 1
pc_start pc2 2
pc_boots "the first PC boots" pc1
pc_boots "the second PC boots" pc2

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
lab_end
