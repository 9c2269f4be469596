#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bootwell doctor: a machine with one thing wrong after the other; each is found, with its name and what to do, and what
# is right is not called wrong.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/net/netlab.sh
. "$(dirname "$0")/netlab.sh"
requires jq python3 nft dnsmasq

lab_switch
lab_ns srv
lab_plug srv lan
in_ns srv ip addr add 10.77.0.1/24 brd + dev lan
lab_ns other
lab_plug other eth0 02:00:00:00:00:77
in_ns other ip addr add 10.77.0.9/24 brd + dev eth0
daemon_files
mkdir -p "$TMP/disk"
mount -t tmpfs -o size=40g bootwell-test "$TMP/disk" || skip_all "cannot mount a tmpfs"
at_exit umount -l "$TMP/disk"
mkdir "$TMP/disk/state" "$TMP/disk/images"
truncate -s 64M "$TMP/disk/images/one.raw"
config() { # MODE [LINE...]
	local mode=$1; shift
	cat >"$C" <<-END
		[server]
		state = $TMP/disk/state
		run = $TMP/run
		[dhcp]
		interface = lan
		mode = $mode
		probe = no
		$([ "$mode" = proxy ] || printf '%s\n' 'range = 10.77.0.101-10.77.0.110' {router,dns}' = 10.77.0.9')
		[tftp]
		root = $TMP/tftp
		fastpath = off
		[images]
		path = $TMP/disk/images
		[write-back]
		path = $TMP/disk/store
		size = 64M
		[cache]
		image_ram = 16M
		write_back_ram = 16M
		[image one]
		file = one.raw
		[group default]
		image = one
		$(printf '%s\n' "$@")
	END
}
doctor() {
	in_ns srv timeout 60 "$O/bootwell" doctor -c "$C" --json >"$TMP/said" 2>"$TMP/doctor.err"
	echo $? >"$TMP/rc"
}
# says LEVEL ABOUT TEXT: in the last answer
says() {
	jq -e --arg l "$1" --arg a "$2" --arg t "$3" \
		'any(.[]; .level == $l and .about == $a and (.what | contains($t)))' "$TMP/said" >/dev/null && return
	sed 's/^/# /' "$TMP/said" "$TMP/doctor.err"
	return 1
}
told() { # TEXT, and what to do about it
	jq -e --arg t "$1" --arg d "$2" \
		'any(.[]; (.what | contains($t)) and (.do | contains($d)))' "$TMP/said" >/dev/null
}

# --- before the first start ------------------------------------------------------------------------------------------
config full
doctor
check "without bootwelld it says so" says bad bootwelld "does not run"
check "and that its ports are free" says ok ports "UDP port 69 (TFTP) is free"
check "the configuration has no mistake" says ok configuration "no mistake"
check "the interface has a link" says ok network "lan has a link"
check "no other DHCP server answers" says ok "other DHCP servers" "none answers"
check "the folders are there" says ok disks "the folder of the images $TMP/disk/images:"
check "the write-back store has its place" says ok disks "has its place"
check "tcmu-runner that does not run is found" says bad "disks of PCs" "tcmu-runner does not run"
check "exit 1 with something bad" [ "$(cat "$TMP/rc")" = 1 ]

ip netns exec "$(ns srv)" python3 -c 'import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 69))
t = socket.socket(); t.bind(("", 8001)); t.listen()
print("bound", flush=True); time.sleep(600)' >"$TMP/holder" &
holder=$!
at_exit kill "$holder"
wait_for 10 grep -q bound "$TMP/holder"
doctor
check "who holds a port is named" says bad ports "UDP port 69 (TFTP) is held by python3, process $holder"
check "TCP as well" says bad ports "TCP port 8001 (scripts, status, page) is held by python3, process $holder"
kill "$holder"; wait "$holder" 2>/dev/null

printf 'rnage = 10.77.0.1-10.77.0.2\n' >>"$C"
doctor
check "a mistake of the configuration stands with its line" says bad configuration "$C:$(wc -l <"$C"): "
check "and the rest was looked at all the same" says ok ports "UDP port 69 (TFTP) is free"
config full '[client A]' 'mac = 02:00:00:00:00:01' 'disks = gone' '[image gone]' 'file = gone.raw'
doctor
check "an image that cannot be read" says warn configuration "image gone cannot be read"
config full

# --- while it runs ---------------------------------------------------------------------------------------------------
daemon_start
doctor
check "it runs" says ok bootwelld " runs"
for p in "UDP port 67 (DHCP)" "UDP port 69 (TFTP)" "TCP port 8001 (scripts, status, page)" \
	"TCP port 1000 (image upload)"; do
	check "$p is served" says ok ports "$p is served"
done
check "nobody listens for iSCSI before a PC has a disk" says warn ports "nobody listens at TCP port 3260"

in_ns srv nft -f - <<'END'
table inet filter {
	chain input {
		type filter hook input priority 0; policy drop;
		ct state established accept; iifname "lo" accept
		udp dport { 67, 69 } accept; tcp dport 8000-8100 accept
	}
}
END
doctor
check "a firewall that lets in some: the others are named" says warn firewall "none names TCP 1000, TCP 3260"
in_ns srv nft flush ruleset
doctor
check "without it nothing is said against it" says ok firewall "no firewall here drops"

ip netns exec "$(ns other)" dnsmasq -k -C /dev/null -p 0 -i eth0 -F 10.77.0.50,10.77.0.60,1h \
	-l "$TMP/leases" --pid-file="$TMP/dnsmasq.pid" 2>/dev/null &
at_exit kill $!
dnsmasq=$!
sees_other() {
	doctor
	says bad "other DHCP servers" "10.77.0.9 (MAC 02:00:00:00:00:77) answers on lan, offers 10.77.0." >/dev/null
}
check "another DHCP server is found, with its MAC" wait_for 40 sees_other
check "and what to do about it" told "10.77.0.9" "mode = proxy"
daemon_stop
doctor
check "before bootwelld runs it is found as well" says bad "other DHCP servers" "10.77.0.9 (MAC 02:00:00:00:00:77)"
config proxy
doctor
check "in proxy mode it is what is wanted" says ok "other DHCP servers" "as mode = proxy wants"
kill "$dnsmasq"; wait "$dnsmasq" 2>/dev/null
doctor
check "in proxy mode none is what is wrong" says bad "other DHCP servers" "no DHCP server answers that gives addresses"
config full

# --- disks -----------------------------------------------------------------------------------------------------------
mkdir "$TMP/small"
mount -t tmpfs -o size=8m bootwell-test "$TMP/small"
at_exit umount -l "$TMP/small"
sed -i "s|^state = .*|state = $TMP/small|; s|^path = $TMP/disk/store|path = $TMP/small/store|" "$C"
doctor
check "a disk with hardly any room" says bad disks "the folder of the state $TMP/small: only 8.0M of 8.0M are free"
check "a write-back store that cannot grow to its size" \
	says bad disks "may still grow by 64.0M, and its file system has 8.0M free"
mount -o remount,ro "$TMP/small"
doctor
check "a disk that is read-only" says bad disks "$TMP/small is mounted read-only"
config full
mv "$TMP/disk/images" "$TMP/disk/away"
doctor
check "a folder that is not there" says bad disks "the folder of the images $TMP/disk/images: No such file"
mv "$TMP/disk/away" "$TMP/disk/images"
if [ -c /dev/fuse ]; then
	mkdir "$TMP/there"
	: >"$TMP/disk/images/.hanging"
	"$(dirname "$0")/hanging_folder" "$TMP/disk/images" "$TMP/there" >"$TMP/fuse.out" 2>&1 &
	fuse=$!
	at_exit kill -9 "$fuse"
	at_exit umount -l "$TMP/there"
	wait_for 10 grep -q ready "$TMP/fuse.out"
	kill -STOP "$fuse"
	sed -i "s|^path = $TMP/disk/images|path = $TMP/there|" "$C"
	doctor
	check "a folder that does not answer is a finding, and no end of the looks" \
		says bad disks "$TMP/there has not answered for 3 s"
	check "the looks after it were made" says bad "disks of PCs" "tcmu-runner does not run"
	kill -CONT "$fuse"
	config full
else
	echo "ok - a folder that does not answer # SKIP needs /dev/fuse"
fi

# --- what serves the disks -------------------------------------------------------------------------------------------
cp "$(readlink -f /usr/bin/python3)" "$TMP/tcmu-runner"
cp "$O/handler_bootwell.so" "$TMP/handler_bootwell.so"
runner() { # CODE: a process of that name
	PYTHONHOME=/usr "$TMP/tcmu-runner" -c "import ctypes, time
$1
print('up', flush=True); time.sleep(600)" >"$TMP/runner.out" &
	runner=$!
	at_exit kill "$runner"
	wait_for 10 grep -q up "$TMP/runner.out"
}
runner ''
doctor
check "a tcmu-runner without our handler" says bad "disks of PCs" "(process $runner) has not loaded handler_bootwell.so"
kill "$runner"; wait "$runner" 2>/dev/null
runner "import mmap; f = open('$TMP/handler_bootwell.so', 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)"
doctor
check "one with it" says ok "disks of PCs" "tcmu-runner runs with handler_bootwell.so"
rm "$TMP/handler_bootwell.so"
doctor
check "one whose handler was replaced since" says warn "disks of PCs" "has been replaced since"
kill "$runner"; wait "$runner" 2>/dev/null

in_ns srv ip link set lan down
doctor
check "an interface without a link" says bad network "lan has no link"
sed -i 's/^interface = lan/interface = nosuch/' "$C"
doctor
check "an interface that is not there" says bad network "there is no network interface nosuch"
in_ns srv timeout 60 "$O/bootwell" doctor -c "$C" >"$TMP/text" 2>&1
for_a_person() {
	grep -q "^BAD   network: there is no network interface nosuch$" "$TMP/text" &&
		grep -q "^      -> see .ip link" "$TMP/text" &&
		tail -1 "$TMP/text" | grep -Eq "^[0-9]+ bad, [0-9]+ to know, [0-9]+ ok$"
}
check "for a person: level, what, what to do, and a count" \
	for_a_person
refuse "wrong usage" "$O/bootwell" doctor now
