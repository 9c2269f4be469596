#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# TFTP answered inside the kernel, end to end: the same bytes, on good and bad cables, while the server is reloaded, its
# files change, it is killed, and beside another XDP program. Here frames on veth have no room to grow, so it is tc that
# answers; the VM test does the same with XDP.
# shellcheck disable=SC2154
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/netlab.sh"
requires ethtool jq bpftool tcpdump tshark
CLIENT=$O/tests/bench/tool_tftp_client

lab_ns srv
lab_ns wire
lab_ns pc
lab_pair srv lan wire w0
lab_pair wire w1 pc eth0
in_ns srv ip addr add 10.78.0.1/24 dev lan
in_ns pc ip addr add 10.78.0.2/24 dev eth0
# Whole checksums, as on a real wire.
for i in "srv lan" "wire w0" "wire w1" "pc eth0"; do
	# shellcheck disable=SC2086
	set -- $i
	in_ns "$1" ethtool -K "$2" tx off rx off gro off >/dev/null
done
# wire LOSS DUPLICATES REORDER DELAY: another cable between the two
wire() {
	[ -n "${wire:-}" ] && { kill "$wire"; wait "$wire"; sed 's/^/# /' "$TMP/wire.out"; }
	ip netns exec "$(ns wire)" "$O/tests/net/tool_wire" w0 w1 "$@" >"$TMP/wire.out" 2>&1 &
	wire=$!
	wait_for 10 grep -q ready "$TMP/wire.out" || { sed 's/^/# /' "$TMP/wire.out"; not_ok "the cable works"; exit 1; }
}
at_exit eval "kill \$wire"
config() { # FASTPATH
	lab_config "$TMP/c.conf" <<-EOF
		[tftp]
		root = $TMP/tftp
		fastpath = $1
	EOF
}
mkdir -p "$TMP/tftp"
for size in 0 5 1468 102400 102405 1000003 1900000; do head -c $size /dev/urandom >"$TMP/tftp/f$size"; done
sleep 0.2 # files are as old as files are
config auto
wire 0 0 0 0
lab_netd srv "$TMP/c.conf"
# get SIZE CLIENT-OPTIONS...: the client checks each byte; its last line is left in $said
get() { local f=f$1; shift; said=$(in_ns pc "$CLIENT" -s 10.78.0.1 -f "$f" -c "$TMP/tftp/$f" "$@"); }
client_said() { grep -oE "$1=[0-9]+" <<<"$said" | cut -d= -f2; }
# by_tc WHAT AT_LEAST COMMAND...: ok if the command succeeds and the kernel sent at least so many blocks meanwhile
by_tc() {
	local what=$1 least=$2 before; shift 2
	before=$(netd_stat tftp_blocks_tc)
	check "$what" "$@"
	check "$what: the kernel sent most of it" test $(($(netd_stat tftp_blocks_tc) - before)) -ge "$least"
}

lab_capture pc eth0 "$TMP/good.pcap"
by_tc "blksize 512, an exact multiple" 100 get 102400 -b 512
by_tc "blksize 512, last block of 5 bytes" 100 get 102405 -b 512
by_tc "blksize 1432" 300 get 1000003 -b 1432
by_tc "blksize 1468" 300 get 1000003 -b 1468
by_tc "without any option" 1900 get 1000003
by_tc "windows of 4" 300 get 1000003 -b 1468 -w 4
by_tc "windows of 16" 300 get 1000003 -b 1468 -w 16
check "windows of 64, by user space" get 1000003 -b 1468 -w 64
check "a file of nothing" get 0 -b 1468
check "a file of one block" get 1468 -b 1468
check "an odd blksize" get 102405 -b 1001
by_tc "100 at once" 60000 get 1000003 -b 1468 -j 100 -n 100
lab_capture_end
check "tshark finds nothing malformed" lab_well_formed "$TMP/good.pcap"
blocks=$(tshark -r "$TMP/good.pcap" -Y 'tftp.opcode == 3 && ip.src == 10.78.0.1' 2>/dev/null | wc -l)
bad=$(tshark -r "$TMP/good.pcap" -o udp.check_checksum:TRUE -Y 'udp.checksum.status != "Good"' 2>/dev/null | wc -l)
check "every UDP checksum is there and right ($blocks blocks)" test "$blocks" -gt 10000 -a "$bad" = 0

# Duplicate ACKs: no block is ever sent twice for them.
by_tc "three of ten ACKs twice" 300 get 1000003 -b 1468 -d 30
check "and no block came twice" test "$(client_said duplicates)" = 0

# A bad cable: what is lost is sent again by user space, the kernel goes on from there.
wire 2 0 0 0
before=$(netd_stat tftp_retransmits)
by_tc "2 % loss" 1000 get 102405 -b 1468 -k 1 -t 300 -T 50 -j 30 -n 30
check "blocks were sent again" test "$(netd_stat tftp_retransmits)" -gt "$before"
by_tc "2 % loss, windows of 8" 200 get 102405 -b 1468 -k 1 -t 300 -T 50 -j 30 -n 30 -w 8
wire 0 5 0 0
by_tc "5 % duplicates" 1000 get 102405 -b 1468 -k 1 -t 300 -T 50 -j 30 -n 30
by_tc "5 % duplicates, windows of 8" 200 get 102405 -b 1468 -k 1 -t 300 -T 50 -j 30 -n 30 -w 8
wire 1 2 5 1
by_tc "loss, duplicates and reordering" 1000 get 102405 -b 1468 -k 1 -t 300 -T 50 -j 30 -n 30
by_tc "loss, duplicates and reordering, windows of 8" 200 get 102405 -b 1468 -k 1 -t 300 -T 50 -j 30 -n 30 -w 8

# Transfers that take a while: 200 blocks, 20 ms each, so that what is done to the server meanwhile is done meanwhile on a
# busy machine too.
wire 0 0 0 10
slow() {
	ip netns exec "$(ns pc)" "$CLIENT" -s 10.78.0.1 -f "$1" -c "$2" -b 512 -j 8 -n 8 >"$TMP/slow.out" 2>&1 &
	slow=$!
	local before
	before=$(netd_stat tftp_blocks_tc)
	wait_for 30 more_than "$before" || not_ok "the slow transfers begin"
}
reload() { # and wait until it is done
	: >"$TMP/netd.out"
	kill -HUP "$netd"
	wait_for 30 grep -q reloaded "$TMP/netd.out" || not_ok "the server reads its configuration again"
}
more_than() { [ "$(netd_stat tftp_blocks_tc)" -gt $(($1 + 100)) ]; }
running() { kill -0 "$slow"; }
slow f102405 "$TMP/tftp/f102405"
reload
check "a reload in the middle of transfers" running
check "breaks none" wait "$slow"
slow f102405 "$TMP/tftp/f102405"
config off
reload
check "the fast path is switched off in the middle of transfers" running
check "and user space ends them" wait "$slow"
config auto
reload
by_tc "and on again" 100 get 102400 -b 512

cp "$TMP/tftp/f102405" "$TMP/old"
slow f102405 "$TMP/old"
head -c 102405 /dev/urandom >"$TMP/new"
cp "$TMP/new" "$TMP/tftp/.f" && mv "$TMP/tftp/.f" "$TMP/tftp/f102405"
wire_get_new() { in_ns pc "$CLIENT" -s 10.78.0.1 -f f102405 -c "$TMP/new" -b 1468; }
check "a file is replaced: who asks now gets the new one" wire_get_new
check "who began before" wait "$slow"

# The server is killed: its programs go with it.
wire 0 0 0 0
# Its own: another test may run a server of its own at the same time.
ids=$(awk '$1 == "prog_id:" {print $2}' "/proc/$netd/fdinfo/"* 2>/dev/null | sort -u)
check "programs are loaded" test -n "$ids"
wire 0 0 0 10
slow f102405 "$TMP/new"
kill -9 "$netd"
gone() { local i; for i in $ids; do ! bpftool prog show id "$i" || return 1; done; }
check "killed: the programs are gone" wait_for 10 gone
kill "$slow"
wait "$slow"

# Another XDP program is on the interface, and stays there.
wire 0 0 0 0
cat >"$TMP/other.c" <<'END'
__attribute__((section("xdp"), used)) int other(void *ctx) { return 2; }
END
clang -target bpf -O2 -c "$TMP/other.c" -o "$TMP/other.o" && in_ns srv ip link set lan xdp obj "$TMP/other.o" sec xdp ||
	not_ok "another XDP program can be attached"
other() { in_ns srv ip -j -d link show lan | jq -r '.[0].xdp.prog.id // empty'; }
id=$(other)
config xdp
lab_netd srv "$TMP/c.conf"
by_tc "beside another XDP program" 100 get 102400 -b 512
check "which is still there" test -n "$id" -a "$(other)" = "$id"
kill "$netd"
wait "$netd"
check "and when we have gone" test "$(other)" = "$id"
in_ns srv ip link set lan xdp off

# XDP by force: a frame on veth cannot grow on newer kernels, so XDP passes it and tc answers. Where it can, XDP does.
# The far end polls (gro on), else veth loses what XDP sends.
in_ns wire ethtool -K w0 gro on >/dev/null
lab_netd srv "$TMP/c.conf"
check "XDP is attached" test -n "$(other)"
check "XDP where frames cannot grow" get 102400 -b 512
check "tc or XDP sent it" test $(($(netd_stat tftp_blocks_tc) + $(netd_stat tftp_blocks_xdp))) -ge 100
echo "# NOTE blocks by XDP: $(netd_stat tftp_blocks_xdp), by tc: $(netd_stat tftp_blocks_tc)"
kill "$netd"
wait "$netd"
check "ended: XDP is detached" test -z "$(other)"
