#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Real TFTP clients fetch files of all awkward sizes, with every option that they know, and get the same bytes.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/netlab.sh"
requires tcpdump tshark curl

lab_ns srv
lab_ns pc
lab_pair srv lan pc eth0
in_ns srv ip addr add 10.78.0.1/24 dev lan
in_ns pc ip addr add 10.78.0.2/24 dev eth0
lab_config "$TMP/c.conf" <<EOF
[tftp]
root = $TMP/tftp
fastpath = ${FASTPATH:-off}
EOF
for size in 0 1 511 512 513 1024 1468 1469 100000 1100000 3000000; do
	head -c $size /dev/urandom >"$TMP/tftp/f$size"
done
mkdir "$TMP/tftp/sub"
head -c 70000 /dev/urandom >"$TMP/tftp/sub/deep"
printf 'one\ntwo\r\nthree' >"$TMP/tftp/text"
echo secret >"$TMP/tftp/private"
chmod 600 "$TMP/tftp/private"
echo outside >"$TMP/outside"
ln -s "$TMP/outside" "$TMP/tftp/link"
ln -s f512 "$TMP/tftp/inside"
lab_netd srv "$TMP/c.conf"
lab_capture srv lan "$TMP/all.pcap"

get_curl() { rm -f "$TMP/got"; in_ns pc curl -s -m 100 "$@" -o "$TMP/got"; }
same() { cmp -s "$TMP/tftp/$1" "$TMP/got"; }
for size in 0 1 511 512 513 1024 100000; do
	get_curl "tftp://10.78.0.1/f$size"
	# curl does not make the file when there is nothing in it
	[ $size = 0 ] && : >>"$TMP/got"
	check "curl: $size bytes" same "f$size"
done
for blksize in 8 500 512 1024 1428 1468; do
	get_curl --tftp-blksize $blksize "tftp://10.78.0.1/sub/deep"
	check "curl: blksize $blksize" same sub/deep
done
get_curl --tftp-blksize 1468 tftp://10.78.0.1/f3000000
check "curl: 3 MB" same f3000000
get_curl --tftp-no-options tftp://10.78.0.1/f100000
check "curl: no options" same f100000
# With 8-byte blocks the numbers wrap at 512 KiB.
get_curl --tftp-blksize 8 tftp://10.78.0.1/f1100000
check "curl: block numbers wrap twice" same f1100000

refuse "no such file" get_curl tftp://10.78.0.1/nosuch
in_ns pc curl -s -m 20 tftp://10.78.0.1/nosuch; check "it is error 1: curl says 68" test $? = 68
in_ns pc curl -s -m 20 tftp://10.78.0.1/private; check "not readable for all: error 2, curl says 69" test $? = 69
refuse "out of the root by .." get_curl --path-as-is "tftp://10.78.0.1/../outside"
refuse "out of the root by a link" get_curl "tftp://10.78.0.1/link"
get_curl "tftp://10.78.0.1//inside"
check "a link within the root, two slashes" same f512
in_ns pc curl -s -m 20 -T "$TMP/outside" tftp://10.78.0.1/new
check "writing is refused" test ! -e "$TMP/tftp/new"

if command -v atftp >/dev/null; then
	at() { rm -f "$TMP/got"; in_ns pc atftp "$@" -l "$TMP/got" 10.78.0.1 >/dev/null 2>&1; }
	at -g -r f3000000 --option "blksize 1432"
	check "atftp: blksize 1432" same f3000000
	at -g -r f100000 --option "blksize 1468" --option "timeout 3"
	check "atftp: timeout" same f100000
	for window in 2 4 16 64 200; do
		at -g -r f3000000 --option "blksize 1468" --option "windowsize $window"
		check "atftp: windowsize $window" same f3000000
	done
	at -g -r f1468 --option "blksize 1468" --option "windowsize 8"
	check "atftp: an exact multiple with a window" same f1468
else
	echo "ok - atftp # SKIP atftp is not installed"
fi
if command -v tftp >/dev/null && tftp -V 2>&1 | grep -qi hpa; then
	hpa() { rm -f "$TMP/got"; in_ns pc tftp -m "$1" 10.78.0.1 -c get "$2" "$TMP/got" >/dev/null 2>&1; }
	hpa octet f100000
	check "tftp-hpa: octet" same f100000
	hpa netascii text
	# Its client turns CR LF back into LF and CR NUL into CR.
	check "tftp-hpa: netascii comes out as it went in" same text
else
	echo "ok - tftp-hpa # SKIP tftp-hpa is not installed"
fi
if busybox tftp --help 2>&1 | grep -q Usage; then
	rm -f "$TMP/got"
	(cd "$TMP" && in_ns pc busybox tftp -g -r f100000 -l "$TMP/got" 10.78.0.1)
	check "busybox" same f100000
	rm -f "$TMP/got"
	in_ns pc busybox tftp -g -b 1468 -r sub/deep -l "$TMP/got" 10.78.0.1 2>/dev/null
	check "busybox: blksize" same sub/deep
else
	echo "ok - busybox # SKIP busybox has no tftp"
fi

# Twenty at once.
pids=()
for i in $(seq 20); do
	in_ns pc curl -s -m 100 --tftp-blksize 1468 -o "$TMP/many$i" tftp://10.78.0.1/f3000000 &
	pids+=($!)
done
wait "${pids[@]}"
bad=0
for i in $(seq 20); do cmp -s "$TMP/tftp/f3000000" "$TMP/many$i" || bad=$((bad + 1)); done
check "20 transfers at once" test $bad = 0

get_curl tftp://10.78.0.1/boot.ipxe
check "boot.ipxe is the PC's script" grep -q '^#!ipxe' "$TMP/got"

# A bad line: losses, doubles, disorder.
if in_ns srv tc qdisc add dev lan root netem loss 3% duplicate 3% reorder 5% 30% delay 1ms 2>/dev/null; then
	in_ns pc tc qdisc add dev eth0 root netem loss 3% duplicate 3% reorder 5% 30% delay 1ms
	head -c 60000 /dev/urandom >"$TMP/tftp/bad"
	get_curl -m 100 --tftp-blksize 1468 tftp://10.78.0.1/bad
	check "a line that loses, doubles and reorders" same bad
	if command -v atftp >/dev/null; then
		at -g -r bad --option "blksize 1468" --option "windowsize 8"
		check "the same with a window" same bad
	fi
	in_ns srv tc qdisc del dev lan root
	in_ns pc tc qdisc del dev eth0 root
else
	echo "ok - a bad line # SKIP the kernel has no netem"
fi

no_sessions() { [ "$(netd_stat tftp_sessions)" = 0 ]; }
check "no transfer is left" wait_for 60 no_sessions
lab_capture_end
check "tshark finds nothing malformed" lab_well_formed "$TMP/all.pcap"
