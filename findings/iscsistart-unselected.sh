#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# open-iscsi 2.1.8-1+deb12u1, iscsistart: an iBFT with a target that is valid (bit 0 of its flags) but was not
# selected by the firmware for booting (bit 1), as after a fail-over to the second target.
# Guess before: only selected targets are taken; a target with flags 1 is left out.
# Seen: it is taken like the selected one: bit 1 is not looked at, only a target without bit 0 is left out. So the
# initramfs logs in to targets that the firmware had given up.
. "$(dirname "$0")/common.bash"
unpack open-iscsi=2.1.8-1+deb12u1
ibft_table
for flags in 3 1 0; do
	echo $flags >root/sys/firmware/ibft/target0/flags
	echo "$flags: $(inside 2>&1 <<<'iscsistart -f' | grep -c '^node.name = iqn.2026-01.org.example:disk' || true)"
done >seen
expect "targets told of for flags 3, 1, 0" "$(paste -sd, seen)" "3: 1,1: 1,0: 0"
