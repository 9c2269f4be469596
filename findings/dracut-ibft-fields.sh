#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# dracut-network 059-4 (with gawk 1:5.2.1-2, see dracut-ibft-awk.sh): what ip=ibft makes of the fields of the iBFT.
# Guess before: a NIC of origin 1 (set by hand) without gateway and DNS gives ip=10.0.0.50:::255.255.255.0::eth0:none,
# also when the table still tells which DHCP server there was; origin 3 gives ip=eth0:dhcp.
# Seen: the static line ends with ":0.0.0.0", a first name server that is none (of the unset DNS fields only the first
# is dropped). And one field outranks the origin: where a DHCP server's address stands, it is ip=eth0:dhcp though the
# origin says by hand; 0.0.0.0 there does it too.
. "$(dirname "$0")/common.bash"
unpack dracut-network=059-4 gawk=1:5.2.1-2
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
seen=$(
	ask gawk
	echo 10.0.0.1 >root/sys/firmware/ibft/ethernet0/dhcp
	ask gawk
	echo 0.0.0.0 >root/sys/firmware/ibft/ethernet0/dhcp
	ask gawk
)
expect "origin 1: no DHCP server; one; 0.0.0.0" "$(sed 's/.*: //' <<<"$seen" | paste -sd,)" \
	"ip=10.0.0.50:::255.255.255.0::eth0:none:0.0.0.0,ip=eth0:dhcp,ip=eth0:dhcp"
