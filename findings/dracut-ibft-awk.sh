#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# dracut-network 059-4: ip=ibft, with mawk 1.3.4.20200120-3.1 (Debian's own awk) and with gawk 1:5.2.1-2.
# Guess before: a valid, selected NIC of the iBFT becomes a line ip=10.0.0.50:... whatever awk is installed.
# Seen: with mawk there is no line at all and no message but awk's ("function and never defined"): the bits of the
# NIC's flags are tested with and(), which is gawk's, and a test that fails reads as "not a valid NIC". dracut depends
# on no awk, and copies the one that is installed into the initramfs: on a plain Debian a diskless system waits for a
# network that nobody sets up.
. "$(dirname "$0")/common.bash"
unpack dracut-network=059-4 mawk=1.3.4.20200120-3.1 gawk=1:5.2.1-2
ibft_table
mkdir -p root/etc/cmdline.d root/tmp
ln -sf ../lib/dracut/dracut-util root/usr/bin/dracut-getarg
ln -sf ../lib/dracut/dracut-util root/usr/bin/dracut-getargs
ln -s /usr/lib/dracut/modules.d/99base/dracut-lib.sh /usr/lib/dracut/modules.d/99base/dracut-dev-lib.sh root/lib/
ln -s /usr/lib/dracut/modules.d/40network/net-lib.sh root/lib/
# The function that ip=ibft runs, with each awk that Debian has
ask() {
	ln -sf "$1" root/usr/bin/awk
	rm -f root/etc/cmdline.d/* root/tmp/net.*
	inside >/dev/null 2>&1 <<-'END' || true
		set +eu
		hookdir=/tmp/hooks; mkdir -p $hookdir
		. /lib/dracut-lib.sh; . /lib/net-lib.sh
		modprobe() { :; }
		set_ifname() { echo eth0; }
		ibft_to_cmdline
	END
	echo "$1: $(cat root/etc/cmdline.d/40-ibft.conf)"
}
seen=$(ask mawk; ask gawk)
expect "is there a line ip=10.0.0.50?" "$(sed 's/: ip=10.0.0.50:.*/ yes/' <<<"$seen" | paste -sd,)" "mawk: ,gawk yes"
