#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Linux 6.1 (user-mode-linux 6.1um4+b13), LIO: a portal with port 0.
# Guess before: EINVAL, as for an address without a port and for port 65536.
# Seen: it is made and listens, on a port that the kernel chose. The portal keeps the name ADDRESS:0; no file of
# configfs tells the real port, so a mistake in a configuration ("port = 0" for "off") is a target on the network that
# nobody can name.
. "$(dirname "$0")/common.bash"
unpack user-mode-linux=6.1um4+b13 kmod mount iproute2
seen=$(uml <<'END'
P=/sys/kernel/config/target/iscsi/iqn.2026-01.org.example:disk/tpgt_1
mkdir -p $P
for portal in 127.0.0.1 127.0.0.1:65536 127.0.0.1:0; do
	mkdir "$P/np/$portal" 2>/dev/null && echo "$portal made" || echo "$portal refused"
done
(cd $P/np && echo *)
ss -Hltn | while read -r state q1 q2 at rest; do [ "${at##*:}" -ge 1024 ] && echo "listens at ${at%:*}, some port"; done
END
)
expect "portals" "$(echo "$seen" | paste -sd,)" \
	"127.0.0.1 refused,127.0.0.1:65536 refused,127.0.0.1:0 made,127.0.0.1:0,listens at 127.0.0.1, some port"
