#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bootwelld whole, in a namespace: clients that register, scripts, records, reload, restart with PCs running, refusals.
# An ordinary directory stands in for configfs, so that everything but the kernel's part is seen.
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/net/netlab.sh
. "$(dirname "$0")/netlab.sh"
requires udhcpc tftp curl jq socat tcpdump tshark python3

lab_switch
lab_ns srv
lab_plug srv lan
in_ns srv ip addr add 10.77.0.1/24 brd + dev lan
lab_capture srv lan "$TMP/all.pcap"
daemon_files
truncate -s 32M "$TMP/images/two.raw"
config() { # EXTRA LINES
	cat >"$C" <<-END
		[server]
		state = $TMP/state
		run = $TMP/run
		[dhcp]
		interface = lan
		range = 10.77.0.101-10.77.0.110
		probe = no
		[tftp]
		root = $TMP/tftp
		fastpath = off
		[http]
		token = opensesame
		metrics = everyone
		[images]
		path = $TMP/images
		[write-back]
		path = $TMP/store
		size = 64M
		[image one]
		file = one.raw
		[image two]
		file = two.raw
		[group default]
		image = one
		[group both]
		image = two, one
		${1:-}
	END
}
line() { grep -n "$1" "$C" | cut -d: -f1; } # TEXT: where it stands in the configuration
bootwell() { "$O/bootwell" "$@"; }
client() { bootwell client show "$1" --json | jq -r "$2"; }
pc() { lab_ns "$1"; lab_plug "$1" eth0 "$2"; }
# lease PC [OPTIONS]: a lease as iPXE would ask for it
cat >"$TMP/udhcpc" <<'END'
#!/bin/sh
[ "$1" = bound ] && ip addr flush dev "$interface" &&
	ip addr add "$ip/24" brd + dev "$interface" && echo "$boot_file" >"$BOOTFILE"
exit 0
END
chmod +x "$TMP/udhcpc"
lease() { local p=$1; shift; BOOTFILE=$TMP/bootfile.$p in_ns "$p" timeout 20 \
	udhcpc -i eth0 -n -q -f -s "$TMP/udhcpc" -V PXEClient:Arch:00000:UNDI:002001 -x 0x5d:0000 "$@" >/dev/null 2>&1; }
ipxe() { lease "$1" -x 0x4d:69505845; }
fetch() { (cd "$TMP" && rm -f "$2" && in_ns "$1" timeout 20 tftp -m binary 10.77.0.1 -c get "$2" && cat "$2"); }
# script PC: by the name that DHCP told
script() { in_ns "$1" curl -s -m 20 "tftp://10.77.0.1/$(cat "$TMP/bootfile.$1")"; }
http() { local p=$1; shift; in_ns "$p" curl -s -m 20 "$@"; }

# --- before it starts ------------------------------------------------------------------------------------------------
config "[client X]
mac = 02:00:00:00:00:99
image = oen"
ip netns exec "$(ns srv)" "$O/bootwelld" -n -c "$C" 2>"$TMP/err"
check "-n refuses an unknown image" test $? = 1
check "with file, line and the near name" \
	grep -q "bootwell.conf:$(line 'image = oen'): .*no image \"oen\".*\"one\"" "$TMP/err"
config "" && sed -i 's/interface = lan/interface = lna/' "$C"
refuse "an interface that does not exist is refused" ip netns exec "$(ns srv)" "$O/bootwelld" -n -c "$C" 2>"$TMP/err"
check "with the interfaces that there are" grep -q 'bootwell.conf:5: .*"lna".* lan' "$TMP/err"
config
refuse "without a target in the kernel it does not start" env BOOTWELL_CONFIGFS=/nonexistent \
	ip netns exec "$(ns srv)" "$O/bootwelld" -c "$C" 2>"$TMP/err"
check "and says what to install" grep -q 'linux-image-amd64.*targets = off' "$TMP/err"
check "in one line" test "$(wc -l <"$TMP/err")" = 1

# --- a PC boots ------------------------------------------------------------------------------------------------------
config "[clients]
ask-name = no"
daemon_start
refuse "a second bootwelld of the same folder is refused" ip netns exec "$(ns srv)" "$O/bootwelld" -c "$C" 2>"$TMP/err"
pc a 02:00:00:00:00:0a
check "a PC gets a lease" lease a
check "it is a client now, named after its address" test "$(client PC101 .mac)" = 02:00:00:00:00:0a
check "its state is starting" test "$(client PC101 .state)" = starting
ipxe a
script a >"$TMP/script"
check "the script starts its disk" \
	grep -q '^sanboot iscsi:10.77.0.1:::0:iqn.2026-01.org.bootwell:disk-02000000000a ||' "$TMP/script"
check "as the initiator of its ACL" grep -q '^set initiator-iqn iqn.2026-01.org.bootwell:pc-02000000000a$' "$TMP/script"
T=$TMP/configfs/iscsi/iqn.2026-01.org.bootwell:disk-02000000000a/tpgt_1
acl=$T/acls/iqn.2026-01.org.bootwell:pc-02000000000a
check "the secret of the script is that of the ACL" \
	test "$(sed -n 's/^set password //p' "$TMP/script")" = "$(cat "$acl/auth/password")"
check "the target is enabled" test "$(cat "$T/enable")" = 1
check "nobody gets in without CHAP and ACL" \
	test "$(cat "$T/attrib/authentication" "$T/attrib/generate_node_acls")" = "10"
id=$(basename "$(readlink "$T"/lun/lun_0/*)")
check "the backstore is bootwell's, of the image's size" \
	grep -q "^dev_config=bootwell/$id,dev_size=67108864," "$TMP/configfs/core/user_0/$id/control"
check "the record names the client" grep -q '^client=PC101$' "$TMP/run/disk/$id.conf"
check "the record discards the write-back" grep -q '^mode=discard$' "$TMP/run/disk/$id.conf"
check "the record names format, folder and file" grep -q "^layer=raw $TMP/images one.raw$" "$TMP/run/disk/$id.conf"
check "engine.conf is there" grep -q "^store_size=67108864$" "$TMP/run/engine.conf"
check "its state is ready" test "$(client PC101 .state)" = ready
cp "$TMP/run/disk/$id.conf" "$TMP/record"
script a >"$TMP/script2"
check "the next boot has another secret" \
	test "$(sed -n 's/^set password //p' "$TMP/script2")" != "$(sed -n 's/^set password //p' "$TMP/script")"
check "and another boot id" test "$(grep ^boot= "$TMP/record")" != "$(grep ^boot= "$TMP/run/disk/$id.conf")"
check "but the same overlay" test "$(grep ^overlay= "$TMP/record")" = "$(grep ^overlay= "$TMP/run/disk/$id.conf")"

# A request sent again while the script was being made may be read when the script is on its way already.
in_ns a python3 - "$(cat "$TMP/bootfile.a")" >"$TMP/stale" <<'END'
import socket
import sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
ask = (b"\0\1" + sys.argv[1].encode() + b"\0octet\0", ("10.77.0.1", 69))
s.sendto(*ask)
script, size = b"", 512
while size == 512:
    packet, at = s.recvfrom(2000)
    script, size = script + packet[4:], len(packet) - 4
    s.sendto(b"\0\4" + packet[2:4], at)
s.sendto(*ask)
s.settimeout(0.8)
try:
    s.recvfrom(2000)
    print("answered")
except TimeoutError:
    print("absorbed")
print(script.decode())
END
check "a late repetition of its request begins no other boot" grep -qx absorbed "$TMP/stale"
check "and its secret stays" test "$(sed -n 's/^set password //p' "$TMP/stale")" = "$(cat "$acl/auth/password")"

# --- somebody else ---------------------------------------------------------------------------------------------------
pc b 02:00:00:00:00:0b
check "a second PC gets a lease" lease b
mac=02:00:00:00:00:0a
http b "http://10.77.0.1:8001/boot.ipxe?mac=$mac" >"$TMP/stolen"
refuse "another PC does not get its script" grep -q 'set password' "$TMP/stolen"
check "but the way to its own" grep -qF 'chain --replace --autofree ${filename}' "$TMP/stolen"
nonce=$(cut -d/ -f2 "$TMP/bootfile.a")
http b "http://10.77.0.1:8001/boot/$nonce/boot.ipxe?mac=$mac" >"$TMP/stolen"
refuse "nor when it knows the nonce" grep -q 'set password' "$TMP/stolen"
check "but a sentence" grep -q 'another address' "$TMP/stolen"
check "and the log has both" \
	grep -q 'client PC101 was refused its script, asked for from 10.77.0.102: .*another address' "$TMP/daemon.log"
in_ns b ip addr add 10.77.0.101/24 dev eth0
in_ns a ip link set eth0 down
in_ns srv ip neigh flush all
in_ns b curl -s -m 20 --interface 10.77.0.101 "http://10.77.0.1:8001/boot/$nonce/boot.ipxe?mac=$mac" >"$TMP/stolen"
check "nor from its address, with another card" grep -q "another network card's" "$TMP/stolen"
in_ns b ip addr del 10.77.0.101/24 dev eth0
in_ns a ip link set eth0 up
in_ns srv ip neigh flush all
in_ns a ip addr add 10.77.0.250/24 dev eth0
http a --interface 10.77.0.250 "http://10.77.0.1:8001/boot/$nonce/boot.ipxe" >"$TMP/unknown"
check "who has no lease is told so" grep -q 'does not know it' "$TMP/unknown"

# --- it runs ---------------------------------------------------------------------------------------------------------
printf 'InitiatorName: x\nSession State: TARG_SESS_STATE_LOGGED_IN\nCID: 0  Connection State: TARG_CONN_STATE_LOGGED_IN\n   Address 10.77.0.101 TCP  StatSN: 0x00000001\n' >"$acl/info"
check "its login is seen" wait_for 20 eval '[ "$(client PC101 .state)" = running ]'
check "with the time of it" test "$(client PC101 .boot.seconds.login)" != null
check "and where it comes from" test "$(client PC101 .session)" = 10.77.0.101
script a >"$TMP/forged"
check "a request without DHCP before it does not end the session" \
	grep -q 'not that of its last DHCP answer' "$TMP/forged"
check "the target is still there" test "$(cat "$T/enable")" = 1
ls -lR --time-style=full-iso "$TMP/configfs" >"$TMP/before"
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
daemon_start
ls -lR --time-style=full-iso "$TMP/configfs" >"$TMP/after"
check "a restart leaves the target of a running PC as it was" cmp "$TMP/before" "$TMP/after"
check "and knows that it runs" test "$(client PC101 .state)" = running
check "a client that runs cannot be removed" \
	eval '! bootwell client remove PC101 2>"$TMP/err" && grep -q "is running" "$TMP/err"'
check "an image that is used cannot be removed" eval '! bootwell image remove one 2>"$TMP/err"'
# That PC's session, for the kernel: a connection to the iSCSI port. It speaks all the time.
# (Not by in_ns: what is killed at the end has to be the program itself, not a shell around it.)
ip netns exec "$(ns srv)" socat -u TCP-LISTEN:3260,reuseaddr OPEN:/dev/null &
at_exit kill $!
wait_for 20 eval 'in_ns srv ss -Hltn "sport = 3260" | grep -q .'
in_ns a ip addr add 10.77.0.101/24 dev eth0 2>/dev/null
ip netns exec "$(ns a)" python3 - "$TMP/quiet" <<'END' &
import os, socket, sys, time
s = socket.create_connection(('10.77.0.1', 3260), source_address=('10.77.0.101', 0))
for _ in range(1500):
    if not os.path.exists(sys.argv[1]):
        s.send(b'x')
    time.sleep(0.2)
END
at_exit kill $!
wait_for 20 eval 'in_ns srv ss -Htn state established "sport = 3260" | grep -q .'
forge() {
	in_ns a "$ask_tool" first=1 wait=10 mac=$mac arch=0 ipxe=1 type=request requested=10.77.0.101 server=10.77.0.1 |
		grep -o ' file=[^ ]*' | cut -d= -f2 >"$TMP/bootfile.a"
}
ask_tool=$(cd "$(dirname "$0")" && pwd)/dhcp_ask
forge
sleep 2
script a >"$TMP/robbed"
check "somebody does DHCP in its name: its session answers, and goes on" grep -q 'still answers' "$TMP/robbed"
refuse "without its secret" grep -q 'set password' "$TMP/robbed"
check "the log says from where, and whose session" \
	grep -q 'asked for from 10.77.0.101, but its session from 10.77.0.101 still answers' "$TMP/daemon.log"
check "the target is as it was" test "$(cat "$T/enable")" = 1
# It is reset: its old connection says nothing any more. The screen says what is waited for, and asks again.

touch "$TMP/quiet"
forge
script a >"$TMP/waits"
check "it is reset: it waits for its former session" grep -q 'was at work a moment ago, from 10.77.0.101' "$TMP/waits"
check "and asks again" grep -q '^chain --replace --autofree tftp://10.77.0.1/boot/.*/boot.ipxe' "$TMP/waits"
again() { script a >"$TMP/again" && grep -q '^sanboot' "$TMP/again"; }
check "it boots anew when the session has gone silent" wait_for 60 again
check "the log says whose session was ended, for whom" \
	grep -q 'the session of client PC101 from 10.77.0.101 was ended: .* asked for from 10.77.0.101' "$TMP/daemon.log"

# --- no power --------------------------------------------------------------------------------------------------------
# For the kernel the session goes on, and nothing comes from it: an idle PC and one without power look the same there.
printf 'Session State: TARG_SESS_STATE_LOGGED_IN\n   Address 10.77.0.101 TCP  StatSN: 0x00000001\n' >"$acl/info"
check "a PC that has nothing to do" wait_for 20 eval '[ "$(client PC101 .state)" = running ]'
said() { ! bootwell client set PC101 update-image=two 2>"$TMP/err" && grep -q "$1" "$TMP/err"; }
check "is running, with a word of how long it is silent" wait_for 20 said \
	'PC101 is running: switch it off first; it has said nothing for [0-9]* s, and without power counts as off in [0-9]* s'
sleep 12
check "and runs on as long as it answers ARP" test "$(client PC101 .state)" = running
in_ns a ip link set eth0 down
check "without power it is off" wait_for 60 eval '[ "$(client PC101 .state)" = off ]'
check "which the log says" \
	grep -q 'client PC101 has said nothing for [0-9]* s and does not answer ARP at 10.77.0.101: it is off' "$TMP/daemon.log"
in_ns a ip link set eth0 up
check "who speaks again is running" wait_for 60 eval '[ "$(client PC101 .state)" = running ]'
rm "$acl/info"
check "and off when the kernel says so" wait_for 20 eval '[ "$(client PC101 .state)" = off ]'

# --- what is left over -----------------------------------------------------------------------------------------------
kill "$daemon"
check "it stops in order" wait "$daemon"
check "and leaves the target" test "$(cat "$T/enable")" = 1
mkdir -p "$TMP/configfs/core/user_0/77-0" "$TMP/configfs/iscsi/iqn.2026-01.org.bootwell:disk-020000000077/tpgt_1" "$TMP/configfs/core/user_0/other"
echo "dev_config=bootwell/77-0,dev_size=512" >"$TMP/configfs/core/user_0/77-0/control"
echo "dev_config=qcow//x,dev_size=512" >"$TMP/configfs/core/user_0/other/control"
daemon_start
check "half a target of nobody is removed at the start" \
	wait_for 10 test ! -e "$TMP/configfs/iscsi/iqn.2026-01.org.bootwell:disk-020000000077"
check "and its backstore" wait_for 10 test ! -e "$TMP/configfs/core/user_0/77-0"
check "another's backstore is not" test -e "$TMP/configfs/core/user_0/other/control"

# --- reload ----------------------------------------------------------------------------------------------------------
config "[clients]
ask-name = maybe"
kill -HUP "$daemon"
check "a reload with a mistake keeps the old configuration" \
	wait_for 10 grep -q "bootwell.conf:$(line maybe): .*\"maybe\"" "$TMP/daemon.log"
check "and says so in the status" \
	eval 'bootwell status | grep -q "a newer configuration was refused.*bootwell.conf:$(line maybe):"'
check "and in the metrics" eval 'bootwell metrics | grep -q "^bootwell_config_refused 1$"'
refuse "config reload says it too" bootwell config reload 2>"$TMP/err"
check "with the line" grep -q "bootwell.conf:$(line maybe):" "$TMP/err"
config "[client BOSS]
mac = 02:00:00:00:00:0a
address = 10.77.0.108
keep = yes
group = both"
check "a right one is taken" bootwell config reload
sed -i "s|^path = $TMP/images|path = $TMP/elsewhere|" "$C"
bootwell config reload >/dev/null
check "what a reload cannot change is named" \
	grep -q 'bootwell.conf: \[images\] path is as it was before: it changes at .systemctl' "$TMP/daemon.log"
check "and stays as it was for all" \
	test "$(bootwell image list --json | jq -r '.[] | select(.name == "one") | .file')" = one.raw
sed -i "s|^path = $TMP/elsewhere|path = $TMP/images|" "$C"
bootwell config reload >/dev/null
cp "$C" "$TMP/as-it-was"
change() { # SECTION KEY VALUE: as written there, or added
	if grep -q "^\[$1\]" "$C"; then
		sed -i "/^\[$1\]/,/^\[/{/^$2 *=/d}; s|^\[$1\]|&\n$2 = $3|" "$C"
	else
		printf '[%s]\n%s = %s\n' "$1" "$2" "$3" >>"$C"
	fi
}
change server targets off; change server state "$TMP/other-state"; change server run "$TMP/other-run"; change server user nobody
change http port 8099; change http upload-port 8098; change http tls-certificate "$TMP/x.pem"; change http tls-key "$TMP/x.key"
change iscsi port 3299; change iscsi prefix iqn.2020-01.org.example; change images path "$TMP/elsewhere"
change write-back path "$TMP/other-store"; change write-back size 123M
change cache image_ram 7M; change cache write_back_ram 9M; change cache threads 3
bootwell config reload >"$TMP/kept"
check "all that a reload cannot change is named in its answer" test "$(sed -n 's/^as before until it is restarted.*: //p' "$TMP/kept")" = \
	"[server] targets, [server] state, [server] run, [server] user, [http] port, [http] upload-port, [http] tls-certificate, [http] tls-key, [iscsi] port, [iscsi] prefix, [images] path, [write-back] path, [write-back] size, [cache] image_ram, [cache] write_back_ram, [cache] threads"
check "also with --json" test "$(bootwell config reload --json | jq -r '.kept | split(", ") | length')" = 16
check "the handler would find the store that it has" grep -qx "store=$TMP/store" "$TMP/run/engine.conf"
cp "$TMP/as-it-was" "$C"
check "nothing is left to tell" test "$(bootwell config reload --json | jq -r .kept)" = null
check "the refusal is gone" eval '! bootwell status | grep -q refused'
ipxe a
check "the reservation holds" eval 'in_ns a ip -4 addr show dev eth0 | grep -q 10.77.0.108'
check "the section gives the name" test "$(client BOSS .mac)" = 02:00:00:00:00:0a
script a >"$TMP/menu"
check "with two images there is a menu" grep -q '^item one one' "$TMP/menu"
check "the first is the default" grep -q '^choose --default two ' "$TMP/menu"
menu=$(sed -n 's/^chain --replace --autofree \(.*\)?mac=.*/\1/p' "$TMP/menu")
http a "$menu?mac=02:00:00:00:00:0a&image=one" >"$TMP/chosen"
check "what is chosen starts" grep -q 'BOSS starts one' "$TMP/chosen"
check "its write-back is kept" grep -q '^mode=keep$' "$TMP/run/disk/$id.conf"
http a "$menu?mac=02:00:00:00:00:0a&image=nothing" >"$TMP/wrong"
check "what is not on offer does not" grep -q 'not among' "$TMP/wrong"

# --- names -----------------------------------------------------------------------------------------------------------
ipxe b
script b >"$TMP/ask"
check "an unnamed PC is asked for its name" grep -q '^read newname' "$TMP/ask"
http b "http://10.77.0.1:8001/name.ipxe?mac=02:00:00:00:00:0b&name=x" >"$TMP/n0"
check "a name needs the nonce, too" grep -q 'not that of its last DHCP answer' "$TMP/n0"
url="http://10.77.0.1:8001/boot/$(cut -d/ -f2 "$TMP/bootfile.b")/name.ipxe?mac=02:00:00:00:00:0b&name"
http b "$url=desk%2012" >"$TMP/n1"
check "a name with a blank is refused" grep -q 'only have letters' "$TMP/n1"
http b "$url=a234567890123456" >"$TMP/n2"
check "one of 16 characters is refused" grep -q '1 to 15' "$TMP/n2"
http b "$url=boss" >"$TMP/n3"
check "one that is taken is refused, in any case" grep -q 'already' "$TMP/n3"
http b "$url=%24%7Bpassword%7D" >"$TMP/n4"
refuse "nothing that iPXE would expand comes back" grep -q '\${pass' "$TMP/n4"
http b "$url=Desk-12" >"$TMP/n5"
check "a good one is taken" grep -q 'This PC is Desk-12 now' "$TMP/n5"
http b "$url=Other" >"$TMP/n6"
check "once" grep -q 'has its name already' "$TMP/n6"
script b >"$TMP/ask2"
refuse "it is not asked again" grep -q '^read newname' "$TMP/ask2"
printf '#!/bin/sh\nenv >>%s\n' "$TMP/env" >"$TMP/udhcpc-env"
chmod +x "$TMP/udhcpc-env"
in_ns b timeout 20 udhcpc -i eth0 -n -q -f -s "$TMP/udhcpc-env" 2>/dev/null
check "its name goes out as option 12" grep -q '^hostname=Desk-12$' "$TMP/env"

# --- the command line ------------------------------------------------------------------------------------------------
check "client set" bootwell client set Desk-12 image=two keep=yes
check "is remembered" test "$(client Desk-12 '.images[0] + " " + (.keep|tostring)')" = "two true"
refuse "an unknown image is refused" bootwell client set Desk-12 image=three
refuse "what the file says is not changed here" bootwell client set BOSS keep=no
bootwell client set Desk-12 colour=blue 2>/dev/null
check "a setting that does not exist is wrong usage" test $? = 2
cp "$TMP/images/two.raw" "$TMP/images/three.vhd"
refuse "image add refuses what is not what its name says" bootwell image add three three.vhd
check "image add --format" bootwell image add three three.vhd --format raw
check "image list has it" \
	eval 'bootwell image list --json | jq -e ".[] | select(.name == \"three\" and .format == \"raw\")" >/dev/null'
check "image remove" bootwell image remove three
refuse "image remove of what a section names is refused" bootwell image remove two
check "the file is still there" test -e "$TMP/images/three.vhd"
check "status for people" eval 'bootwell status | grep -q Desk-12'
answers() { # PATH WHY [JSON'S AND METRICS' NAME]: who answers block reads, in all three places
	local why=$2
	bootwell status | grep -q "^TFTP at lan is answered by $1: $why" &&
		bootwell status --json | jq -e --arg p "${3:-$1}" '.tftp.links | length == 1 and (.[0] | .interface == "lan" and .path == $p)' >/dev/null &&
		bootwell metrics | grep -q "^bootwell_tftp_path{interface=\"lan\",path=\"${3:-$1}\"} 1"
}
check "status tells that user space answers TFTP, and why" answers "user space" "the fast path is off" user
sed -i 's/fastpath = off/fastpath = auto/' "$C"
bootwell config reload >/dev/null
check "and that tc does, and why not XDP" wait_for 10 answers tc "veth loses what XDP sends"
sed -i 's/fastpath = auto/fastpath = off/' "$C"
bootwell config reload >/dev/null
in_ns b timeout 30 tcpdump -p -n -i eth0 -c 1 -w "$TMP/wake.pcap" 'udp port 9' 2>"$TMP/wake.err" &
tap=$!
wait_for 20 grep -q listening "$TMP/wake.err"
woken=$(client Desk-12 .mac)
check "client wake" bootwell client wake Desk-12
wait $tap
check "the magic packet is on the wire, whole" python3 -c 'import sys
mac = bytes.fromhex(sys.argv[2].replace(":", ""))
sys.exit(b"\xff" * 6 + mac * 16 not in open(sys.argv[1], "rb").read())' "$TMP/wake.pcap" "$woken"
before=$(client Desk-12 .key)
check "client move: its network card was changed" eval 'bootwell client move Desk-12 02:00:00:00:09:99 >"$TMP/out" && grep -q "what Desk-12 had is Desk-12" "$TMP/out"'
check "it is known by the new one" test "$(client Desk-12 .key)" = 020000000999
check "client move --json, and back" test "$(bootwell client move Desk-12 "$(sed 's/../&:/g; s/:$//' <<<"$before")" --json | jq -r .name)" = Desk-12
check "it is who it was" test "$(client Desk-12 .key)" = "$before"
refuse "client move to nobody" bootwell client move Desk-12 NOBODY 2>"$TMP/err"
check "says what NEW may be" grep -q '"NOBODY" is neither a client nor a MAC address' "$TMP/err"
bootwell client move Desk-12 2>/dev/null
check "client move without NEW is wrong usage" test $? = 2
check "client remove" bootwell client remove Desk-12
refuse "it is gone" bootwell client show Desk-12 2>/dev/null

# --- backup ----------------------------------------------------------------------------------------------------------
check "a backup is of the configuration that the daemon has, wherever that is" eval \
	'bootwell backup "$TMP/b.backup" >/dev/null && tar -xzOf "$TMP/b.backup" ./bootwell.conf | cmp - "$C"'
check "and of its state" test "$(bootwell backup "$TMP/b.backup" --json | jq -r .state)" = "$TMP/state"

# --- over the network ------------------------------------------------------------------------------------------------
code() { local p=$1; shift; http "$p" -o /dev/null -w '%{http_code}' "$@"; }
check "looking is not free" test "$(code b http://10.77.0.1:8001/status)" = 403
check "nor is any part of it" \
	test "$(code b http://10.77.0.1:8001/api/clients)$(code b http://10.77.0.1:8001/api/clients/BOSS)$(code b http://10.77.0.1:8001/api/images)" = 403403403
check "with the token it is" test "$(code b -H 'Authorization: Bearer opensesame' http://10.77.0.1:8001/status)" = 200
check "whether it is alive is for all" \
	test "$(http b http://10.77.0.1:8001/-/healthy)$(http b http://10.77.0.1:8001/-/ready)" = OKOK
check "by another host's name it answers nothing" \
	test "$(code b -H 'Host: evil.example' -H 'Authorization: Bearer opensesame' http://10.77.0.1:8001/status)" = 421
check "nor a boot script" test "$(code b -H 'Host: evil.example:8001' http://10.77.0.1:8001/boot.ipxe)" = 421
check "changing is not" test "$(code b -X DELETE http://10.77.0.1:8001/api/clients/BOSS)" = 403
check "nor with a wrong token" \
	test "$(code b -X DELETE -H 'Authorization: Bearer opensesam' http://10.77.0.1:8001/api/clients/BOSS)" = 403
check "with the token changing is, too" \
	test "$(code b -X PATCH -H 'Authorization: Bearer opensesame' -d '{"drop_write_back":true}' http://10.77.0.1:8001/api/clients/BOSS)" = 200
check "a body that is no JSON is refused" \
	test "$(code b -X PATCH -H 'Authorization: Bearer opensesame' -d '{' http://10.77.0.1:8001/api/clients/BOSS)" = 400
check "an unknown member is refused" \
	test "$(code b -X PATCH -H 'Authorization: Bearer opensesame' -d '{"nmae":"x"}' http://10.77.0.1:8001/api/clients/BOSS)" = 400
check "a body of 2 MiB is refused" \
	test "$(head -c 2097152 /dev/zero | code b -X PATCH -H 'Authorization: Bearer opensesame' --data-binary @- http://10.77.0.1:8001/api/clients/BOSS)" = 413
echo nbp >"$TMP/tftp/x.efi"
check "a boot program by HTTP" test "$(http b http://10.77.0.1:8001/nbp/x.efi)" = nbp
: >"$TMP/tftp/private" && chmod 600 "$TMP/tftp/private"
check "but not one that is not readable for all" test "$(code b http://10.77.0.1:8001/nbp/private)" = 404
check "nothing outside of its folder" test "$(code b --path-as-is http://10.77.0.1:8001/nbp/../bootwell.conf)" = 404
http b http://10.77.0.1:8001/metrics >"$TMP/metrics"
check "metrics count the boots" grep -q '^bootwell_boots_total{outcome="ready"} [1-9]' "$TMP/metrics"
if command -v promtool >/dev/null; then
	check "promtool likes the metrics" promtool check metrics <"$TMP/metrics"
else
	echo "ok - promtool likes the metrics # SKIP promtool is not installed"
fi
check "metrics for node_exporter" \
	eval 'bootwell metrics --textfile "$TMP" && grep -q "^bootwell_clients{" "$TMP/bootwell.prom"'

# --- what is broken is that thing's problem only ------------------------------------------------------------------------
kill "$daemon" && wait "$daemon"
if command -v qemu-img >/dev/null; then
	qemu-img create -q -f vpc "$TMP/images/bad.vhd" 32M
	# another UUID in both copies of the footer: its sum is the largest there is, so that no UUID has the same checksum
	size=$(stat -c %s "$TMP/images/bad.vhd")
	for at in 68 $((size - 444)); do
		printf '\377\377\377\377' | dd of="$TMP/images/bad.vhd" bs=1 seek=$at conv=notrunc status=none
	done
	qemu-img create -q -f vmdk "$TMP/images/cut.vmdk" 32M
	truncate -s 60000 "$TMP/images/cut.vmdk"
	config "[image bad]
file = bad.vhd
[image cut]
file = cut.vmdk
[client BOSS]
mac = 02:00:00:00:00:0a
image = bad"
	daemon_start
	check "a VHD with a wrong checksum is a problem, with the line that names it" \
		eval 'bootwell status | grep -q "^! .*bootwell.conf:$(line "image bad"): .*bad.vhd.*checksum"'
	check "a truncated VMDK is one too" \
		eval 'bootwell status | grep -q "^! .*bootwell.conf:$(line "image cut"): .*cut.vmdk"'
	ipxe a
	script a >"$TMP/bad"
	check "who would start it is told" grep -q 'bad is not in the catalogue' "$TMP/bad"
	lease b -x 0x4d:69505845
	script b >"$TMP/good"
	check "who starts another image starts" grep -q '^sanboot' "$TMP/good"
	kill "$daemon" && wait "$daemon"
else
	echo "ok - damaged images # SKIP qemu-img is not installed"
fi
config "[client BOSS]
mac = 02:00:00:00:00:0a"
ip netns exec "$(ns srv)" socat -u UDP4-RECV:67 OPEN:/dev/null &
thief=$!
at_exit kill "$thief"
wait_for 20 eval 'in_ns srv ss -Hlun "sport = 67" | grep -q .'
daemon_start
check "a taken port 67 is a problem in the status" eval 'bootwell status | grep -q "^! .*67"'
check "the page is served all the same" \
	test "$(in_ns srv curl -s -o /dev/null -w '%{http_code}' http://10.77.0.1:8001/)" = 200
kill "$thief"
check "DHCP begins as soon as it is free" wait_for 30 ipxe a

# --- systemd ---------------------------------------------------------------------------------------------------------
kill "$daemon" && wait "$daemon"
if command -v socat >/dev/null; then
	socat -u UNIX-RECV:"$TMP/notify" "OPEN:$TMP/notified,creat,append" &
	at_exit kill $!
	wait_for 20 test -S "$TMP/notify"
	NOTIFY_SOCKET=$TMP/notify WATCHDOG_USEC=600000 daemon_start
	check "READY is told" wait_for 10 grep -aq READY=1 "$TMP/notified"
	check "the watchdog is fed" wait_for 10 grep -aq WATCHDOG=1 "$TMP/notified"
	bootwell config reload >/dev/null
	check "a reload is told" wait_for 10 grep -aq RELOADING=1 "$TMP/notified"
	kill "$daemon" && wait "$daemon"
	check "STOPPING is told" wait_for 10 grep -aq STOPPING=1 "$TMP/notified"
fi
sed -i 's/^\[dhcp\]/user = nobody\n[dhcp]/' "$C"
chmod 600 "$TMP/images/one.raw"
: >"$TMP/daemon.log"
daemon_start
refuse "[server] user: what it reads by its capabilities is not called unreadable" \
	grep -E 'cannot be read|Permission denied' "$TMP/daemon.log"
check "[server] user: it runs as that user" \
	test "$(stat -c %U /proc/$daemon)" = nobody || grep -q "^Uid:.*65534" "/proc/$daemon/status"
check "with few capabilities" \
	test "$(awk '/^CapEff/{print $2}' "/proc/$daemon/status")" != "$(awk '/^CapEff/{print $2}' /proc/self/status)"
ipxe a
script a >"$TMP/user"
check "and still makes disks" grep -q '^sanboot' "$TMP/user"

# --- no image, a taken port, state that survives ---------------------------------------------------------------------
kill "$daemon" && wait "$daemon"
config && sed -i '/^image = one$/d' "$C"
ip netns exec "$(ns srv)" socat TCP-LISTEN:8001,fork,reuseaddr /dev/null &
at_exit kill $!
wait_for 20 eval 'in_ns srv ss -Hltn "sport = 8001" | grep -q .'
daemon_start
check "a taken port 8001 is a problem in the status" eval 'bootwell status | grep -q "^! TCP port 8001"'
check "DHCP is served all the same" ipxe a
script a >"$TMP/none"
check "who has no image is told on its screen" grep -q 'no image is chosen' "$TMP/none"
check "and goes on with its next boot device" grep -q '^exit' "$TMP/none"
check "clients are remembered over restarts" test "$(client BOSS .mac)" = 02:00:00:00:00:0a
lab_capture_end
check "tshark finds nothing malformed" lab_well_formed "$TMP/all.pcap"
