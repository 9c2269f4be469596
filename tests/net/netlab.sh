# SPDX-License-Identifier: GPL-2.0-or-later
# A small network for the tests of tests/net: a switch, the server's machine, any number of clients, each a network
# namespace of its own, so that nothing ever leaves this machine. Source it after tests/lib.sh.
# shellcheck shell=bash
[ "$(id -u)" = 0 ] || skip_all "needs root: network namespaces"
requires ip
ip netns add "bwprobe$$" 2>/dev/null || skip_all "network namespaces are not allowed here"
ip netns del "bwprobe$$"

LAB=bw$$
NETD=${NETD:-$O/tests/net/tool_netd}

# lab_ns NAME: a namespace; its name for ip is in the variable NAME's value: $(ns NAME)
ns() { echo "$LAB-$1"; }
in_ns() { local n=$1; shift; ip netns exec "$(ns "$n")" "$@"; }
lab_ns() {
	ip netns add "$(ns "$1")" || skip_all "cannot make the network namespace $1"
	at_exit lab_ns_end "$(ns "$1")"
	in_ns "$1" ip link set lo up
	in_ns "$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 2>/dev/null
}
# Whoever still runs there goes with it: of `in_ns ... &` the test knows the shell that started it only.
lab_ns_end() { ip netns pids "$1" | xargs -r kill -9; ip netns del "$1"; }
# lab_switch: the switch; before lab_plug
lab_switch() {
	lab_ns "${1:-sw}"
	in_ns "${1:-sw}" ip link add br0 type bridge forward_delay 0
	in_ns "${1:-sw}" ip link set br0 up
}
# lab_plug NS IFNAME [MAC] [SWITCH]: a cable from the switch to an interface of a namespace
_ports=0
lab_plug() {
	local port=p$((_ports++)) sw=${4:-sw}
	ip -n "$(ns "$sw")" link add "$port" type veth peer name "$2" netns "$(ns "$1")" || return 1
	[ -n "${3:-}" ] && in_ns "$1" ip link set "$2" address "$3"
	in_ns "$sw" ip link set "$port" master br0 up
	in_ns "$1" ip link set "$2" up
}
# lab_pair NS1 IF1 NS2 IF2: a cable between two namespaces, without a switch
lab_pair() {
	ip -n "$(ns "$1")" link add "$2" type veth peer name "$4" netns "$(ns "$3")" || return 1
	in_ns "$1" ip link set "$2" up
	in_ns "$3" ip link set "$4" up
}
# lab_config FILE: makes FILE from stdin, with the state and run folders of this test
lab_config() {
	mkdir -p "$TMP/state" "$TMP/run" "$TMP/tftp"
	{
		printf '[server]\ntargets = off\nstate = %s\nrun = %s\n' "$TMP/state" "$TMP/run"
		cat
	} >"$1"
}
# lab_netd NS CONFIG: starts the server there; its pid in $netd, its output in $TMP/netd.out and .err
lab_netd() {
	: >"$TMP/netd.out" # what the one before said does not count
	ip netns exec "$(ns "$1")" "$NETD" "$2" >"$TMP/netd.out" 2>"$TMP/netd.err" &
	netd=$!
	at_exit kill "$netd"
	wait_for 10 grep -q ready "$TMP/netd.out" || { sed 's/^/# /' "$TMP/netd.err"; not_ok "the server starts"; exit 1; }
}
lab_netd_stop() { kill "$netd"; wait "$netd" 2>/dev/null; }
# netd_stat NAME: one counter of the server that runs
netd_stat() {
	: >"$TMP/netd.out"
	kill -USR1 "$netd"
	wait_for 10 grep -q '^end' "$TMP/netd.out"
	awk -v n="$1" '$1 == n {print $2}' "$TMP/netd.out"
}
# lab_capture NS IFNAME FILE: everything on that interface, until the test ends or lab_capture_end
lab_capture() {
	ip netns exec "$(ns "$1")" tcpdump -q -U -B 32768 -s 0 -i "$2" -w "$3" 2>"$TMP/tcpdump.err" &
	capture=$!
	at_exit kill "$capture"
	wait_for 10 grep -q listening "$TMP/tcpdump.err"
}
lab_capture_end() { sleep 1; kill -INT "$capture"; wait "$capture" 2>/dev/null; }
# lab_type SCREEN FD TEXT: typed key by key on a serial line without flow control; a key is typed again when nothing new came
# on the screen, because firmware that polls the line may have missed it
lab_grown() { [ "$(stat -c %s "$1")" -gt "$2" ]; }
lab_type() {
	local i n size
	for ((i = 0; i < ${#3}; i++)); do
		for n in 1 2 3 4; do
			size=$(stat -c %s "$1")
			printf '%s' "${3:i:1}" >&"$2"
			wait_for 3 lab_grown "$1" "$size" && break
		done
	done
}

# --- the whole daemon, in the namespace srv; an ordinary directory stands in for configfs ------------------------------
# lab_present N: PCs 1 to N of the `room` tool answer ARP, as PCs that are switched on do
lab_present() {
	local n
	lab_ns present
	lab_plug present eth0
	in_ns present ip addr add 10.77.200.1/32 dev eth0 # the first one's
	for ((n = 2; n <= $1; n++)); do in_ns present ip addr add "10.77.0.$n/32" dev eth0; done
}
# daemon_files: its folders beneath $TMP; the test writes its configuration to $C
daemon_files() {
	mkdir -p "$TMP/images" "$TMP/configfs" "$TMP/tftp"
	truncate -s 64M "$TMP/images/one.raw"
	export BOOTWELL_CONFIGFS=$TMP/configfs BOOTWELL_SOCKET=$TMP/run/control
	C=$TMP/bootwell.conf
}
# daemon_start: its pid in $daemon, what it says in $TMP/daemon.log; the test ends when it does not answer
daemon_start() {
	ip netns exec "$(ns srv)" "$O/bootwelld" -c "$C" >>"$TMP/daemon.log" 2>&1 &
	daemon=$! # ip becomes what it starts
	at_exit kill "$daemon"
	wait_for 20 "$O/bootwell" status || { sed 's/^/# /' "$TMP/daemon.log"; not_ok "bootwelld starts"; exit 1; }
}
daemon_gone() { ! kill -0 "$daemon" 2>/dev/null; }
daemon_stop() { kill "$daemon"; wait_for 20 daemon_gone; }
