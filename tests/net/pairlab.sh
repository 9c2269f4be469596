# SPDX-License-Identifier: GPL-2.0-or-later
# Two servers of a pair, `one` the primary and `two` the backup, in the network of the PCs (10.82.0.0/24, where `pc`
# is), and with a cable of their own between them (10.99.0.0/30), which can be cut without the PCs noticing. Source it
# after tests/net/netlab.sh.
# shellcheck shell=bash
lab_switch
lab_ns one; lab_plug one lan; in_ns one ip addr add 10.82.0.1/24 brd + dev lan
lab_ns two; lab_plug two lan; in_ns two ip addr add 10.82.0.2/24 brd + dev lan
lab_ns pc; lab_plug pc eth0; in_ns pc ip addr add 10.82.0.250/24 brd + dev eth0
lab_pair one peer0 two peer0
in_ns one ip addr add 10.99.0.1/30 dev peer0
in_ns two ip addr add 10.99.0.2/30 dev peer0
# pair_config RANGE [LINE...]: both configurations; a LINE more of [dhcp] each
pair_config() {
	local range=$1 n line; shift
	for n in one two; do
		mkdir -p "$TMP/$n/state" "$TMP/$n/run"
		{
			printf '[server]\ntargets = off\nstate = %s\nrun = %s\n' "$TMP/$n/state" "$TMP/$n/run"
			printf '[tftp]\nenable = no\n[clients]\nregister = no\n'
			printf '[dhcp]\nmode = full\ninterface = lan\nnetwork = 10.82.0.0/24\n'
			printf 'range = %s\nprobe = no\nlease = 60s\n' "$range"
			for line; do echo "$line"; done
			[ $n = one ] && echo 'peer = 10.99.0.2' || printf 'peer = 10.99.0.1\nbackup = yes\n'
		} >"$TMP/$n.conf"
	done
}
# pair_start NAME, pair_stop NAME [SIGNAL]: a server; its pid in ${pid[NAME]}, its log in $TMP/NAME.err
declare -A pid
pair_start() {
	: >"$TMP/$1.out"
	ip netns exec "$(ns "$1")" "$NETD" "$TMP/$1.conf" >"$TMP/$1.out" 2>>"$TMP/$1.err" &
	pid[$1]=$!
	at_exit kill -9 "${pid[$1]}"
	wait_for 10 grep -q ready "$TMP/$1.out"
}
pair_stop() { kill "-${2:-TERM}" "${pid[$1]}"; wait "${pid[$1]}" 2>/dev/null; }
pair_together() { wait_for 15 grep -q 'is there' "$TMP/one.err" && wait_for 15 grep -q 'is there' "$TMP/two.err"; }
# pair_cut NAME, pair_heal NAME: what that server sends to the other one is lost
pair_cut() { in_ns "$1" ip neigh replace "$(pair_other "$1")" lladdr 02:00:00:00:de:ad dev peer0 nud permanent; }
pair_heal() { in_ns "$1" ip neigh del "$(pair_other "$1")" dev peer0; }
pair_other() { [ "$1" = one ] && echo 10.99.0.2 || echo 10.99.0.1; }
# lease NAME N: what that server's state says of 10.82.0.N: state (0 free, 1 bound, 2 declined) and the PC's last byte
lease() {
	sqlite3 "$TMP/$1/state/bootwell.db" \
		"select state || ' ' || substr(hex(mac), 11, 2) from lease where address & 255 = $2"
}
lease_is() { [ "$(lease "$1" "$2")" = "$3" ]; }
