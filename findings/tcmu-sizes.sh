#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Linux 6.1 (user-mode-linux 6.1um4+b13), TCMU: sizes that no disk has. Netlink replies are off, so that no user space
# is asked.
# Guess before: a dev_size that is no multiple of the block size, and a block size of 520, are refused (EINVAL), when
# written to control or at the latest at enable; so is a word that control does not know.
# Seen: all are taken, and both devices are enabled: 1000 bytes in blocks of 512, and blocks of 520 (where only
# attrib/block_size of other backstores has a list: 512, 1024, 2048, 4096). Only a blank behind the number is an
# error. Whoever writes control has to check everything himself.
. "$(dirname "$0")/common.bash"
unpack user-mode-linux=6.1um4+b13 kmod mount iproute2
seen=$(uml <<'END'
make() {
	local d=/sys/kernel/config/target/core/user_0/$1
	mkdir -p $d
	echo -n "$2" >$d/control 2>/dev/null || { echo "$1 not taken"; return; }
	echo -n -1 >$d/attrib/nl_reply_supported
	echo -n 1 >$d/enable 2>/dev/null || { echo "$1 not enabled"; return; }
	echo "$1 $(<$d/enable) $(<$d/attrib/dev_size) $(<$d/attrib/hw_block_size)"
}
make a dev_config=x/a,dev_size=1000,hw_block_size=512
make b dev_config=x/b,dev_size=1040000,hw_block_size=520
make c dev_config=x/c,dev_size=1048576,no_such_word=1
make d 'dev_config=x/d,dev_size=1048576 '
END
)
expect "enable, dev_size, hw_block_size of each" "$(echo "$seen" | paste -sd,)" \
	"a 1 1000 512,b 1 1040000 520,c 1 1048576 512,d not taken"
