#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Random, truncated and spoofed packets in great number: PCs are served meanwhile and afterwards, memory and the tables stay
# within their bounds, no address is lost.
# Runs alone: a flood and those who are served beside it share the CPUs.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/netlab.sh"
requires python3 udhcpc curl
tools=$(cd "$(dirname "$0")" && pwd)
seed=${SEED:-$RANDOM}
echo "# SEED=$seed"

lab_switch
lab_ns srv; lab_plug srv lan; in_ns srv ip addr add 10.83.0.1/24 brd + dev lan
lab_ns bad; lab_plug bad eth0; in_ns bad ip addr add 10.83.0.66/24 brd + dev eth0
for i in 1 2 3; do lab_ns pc$i; lab_plug pc$i eth0 02:00:00:00:05:0$i; done
lab_config "$TMP/c.conf" <<EOF
[dhcp]
mode = full
interface = lan
network = 10.83.0.0/24
range = 10.83.0.100-10.83.0.119
lease = 600
probe = no
[tftp]
root = $TMP/tftp
fastpath = off
sessions = 200
EOF
head -c 1000000 /dev/urandom >"$TMP/tftp/big"
cat >"$TMP/script" <<EOF
#!/bin/sh
[ "\$1" = bound ] && echo "\$ip" >\$OUT && ip addr replace "\$ip/24" dev eth0
exit 0
EOF
chmod +x "$TMP/script"
ask() { OUT=$TMP/got timeout 40 ip netns exec "$(ns "$1")" udhcpc -i eth0 -n -q -f -t 8 -T 2 -A 1 -s "$TMP/script" >/dev/null 2>&1; }
# shellcheck disable=SC2154 # lab_netd sets $netd
rss() { awk '/VmRSS/ {print $2}' "/proc/$netd/status"; }

lab_netd srv "$TMP/c.conf"
ask pc1
check "before the flood: an address" test "$(cat "$TMP/got")" = 10.83.0.100
in_ns pc1 curl -s -m 20 --tftp-blksize 1468 -o "$TMP/f0" tftp://10.83.0.1/big
check "before the flood: a file" cmp -s "$TMP/tftp/big" "$TMP/f0"
in_ns bad "$tools/flood" 10.83.0.1 500 "$seed"
before=$(rss)

in_ns bad "$tools/flood" 10.83.0.1 3000 $((seed + 1)) &
flood=$!
ask pc2
check "during the flood: an address" grep -q '^10.83.0.1[01][0-9]$' "$TMP/got"
in_ns pc1 curl -s -m 60 --tftp-blksize 1468 -o "$TMP/f1" tftp://10.83.0.1/big
check "during the flood: a file" cmp -s "$TMP/tftp/big" "$TMP/f1"
wait $flood
after=$(rss)
check "memory stays where it was ($before kB, $after kB)" test "$after" -lt $((before + 4096))
check "transfers stay within the table" test "$(netd_stat tftp_sessions_most)" -le 200
check "offers stay within the range" test "$(netd_stat dhcp_offers)" -le 20
check "malformed messages were counted" test "$(netd_stat dhcp_outcome_malformed)" -gt 1000
# A flood knows no server's address in its REQUESTs, so it cannot take a lease; what it was offered comes back.
check "no lease was taken by the flood" test "$(netd_stat dhcp_leases)" = 2
check "no address was declined by a stranger" test "$(netd_stat dhcp_quarantined)" = 0
ask pc1
check "pc1 has its address still" test "$(cat "$TMP/got")" = 10.83.0.100
ask pc3
check "after the flood: an address for another PC" grep -q '^10.83.0.1[01][0-9]$' "$TMP/got"

# Somebody shouts in a PC's name. The PC's own messages are among them, so they are answered, but the disk hardly
# notices, and the log has one line.
ask pc1
commits=$(netd_stat dhcp_commits)
(for i in 1 2 3 4 5 6; do
	in_ns bad "$tools/dhcp_ask" mac=02:00:00:00:05:01 count=150 wait=1
	in_ns bad "$tools/dhcp_ask" mac=02:00:00:00:05:01 type=request server=10.83.0.1 requested=10.83.0.100 \
		count=150 wait=1
done) >"$TMP/fast" &
shout=$!
sleep 1
ask pc1
check "a PC that somebody shouts for gets its address" test "$(cat "$TMP/got")" = 10.83.0.100
wait "$shout"
check "who shouts is answered" test "$(grep -c type=5 "$TMP/fast")" -ge 300
check "and costs few commits" test $(($(netd_stat dhcp_commits) - commits)) -le 200
check "one line names the MAC" grep -q "messages a second in the name of 02:00:00:00:05:01" "$TMP/netd.err"
check "not a word on stderr beyond the limit of messages" test "$(wc -l <"$TMP/netd.err")" -lt 200
