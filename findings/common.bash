# SPDX-License-Identifier: GPL-2.0-or-later
# For findings/*.sh: packages unpacked in a temporary folder, and commands run there. Nothing is installed. Exit
# status of a finding: 0 as described, 1 the behaviour has changed, 2 it can not run here (a package is not to be
# had).
# shellcheck shell=bash
set -eu
export LC_ALL=C
work=$(mktemp -d "${TMPDIR:-/tmp}/finding.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
cd "$work"
cannot() { echo "cannot run: $*" >&2; exit 2; }
# expect WHAT GOT WANTED: what was seen when this was written is seen again
expect() {
	[ "$2" = "$3" ] && { echo "as described: $1"; return 0; }
	printf 'changed: %s\n  now:  %s\n  then: %s\n' "$1" "$2" "$3"
	exit 1
}
# suite NAME: packages come from this release of Debian, from the mirror that apt uses already
suite() {
	local uri
	uri=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Created-By: Packages' |
		grep -v security | sort -u | sed q)
	[ -n "$uri" ] || cannot "apt knows no Debian mirror; apt-get update first"
	mkdir -p apt/lists/partial apt/cache/archives/partial
	: >apt/status
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $1 main" >apt/list
	printf '%s;\n' "Dir::Etc::SourceList \"$work/apt/list\"" 'Dir::Etc::SourceParts "-"' \
		"Dir::State::Lists \"$work/apt/lists\"" \
		"Dir::Cache \"$work/apt/cache\"" 'Acquire::Languages "none"' 'APT::Sandbox::User "root"' >apt/conf
	export APT_CONFIG=$work/apt/conf
	apt-get -q update >apt/log 2>&1 || cannot "apt-get update: $(tail -1 apt/log)"
}
# unpack PKG=VERSION...: these and all that they need, into ./root; bash and coreutils too
unpack() {
	mkdir -p root/{dev,proc,sys,tmp,run} debs
	apt-get -s -o Dir::State::Status=/dev/null -o APT::Install-Recommends=0 -o Debug::NoLocking=1 \
		install "$@" bash coreutils base-files \
		>debs/plan 2>debs/log || cannot "$(tail -1 debs/log)"
	sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*/\1=\2/p' debs/plan >debs/list
	(cd debs && xargs apt-get -q download <list >log 2>&1) || cannot "apt-get download: $(tail -1 debs/log)"
	local d
	for d in debs/*.deb; do dpkg-deb -x "$d" root; done
	rm -rf debs
	cp /etc/passwd /etc/group root/etc/
	echo '127.0.0.1 localhost' >root/etc/hosts
}
# inside: the commands on standard input run in ./root, with a network of its own (lo only)
inside() {
	local as=(unshare -mn)
	[ "$(id -u)" = 0 ] || as=(unshare -rmn)
	"${as[@]}" bash -c 'PATH=$PATH:/usr/sbin:/sbin; ip link set lo up
		mount --rbind /dev root/dev && mount --rbind /proc root/proc && exec chroot root /bin/bash -s'
}
# uml: the commands on standard input run in a user-mode-linux that ./root holds, with ./root as its disk; lo, modules
# and /sys are there. kmod, mount and iproute2 must be unpacked too.
uml() {
	local v
	v=$(ls root/usr/lib/uml/modules)
	mkdir -p root/usr/lib/modules root/lib/modules root/etc/target
	[ -e "root/lib/modules/$v" ] || cp -a "root/usr/lib/uml/modules/$v" "root/lib/modules/$v"
	cat >root/job
	cat >root/uml-init <<-'END'
		#!/bin/bash
		export PATH=/usr/sbin:/usr/bin:/sbin:/bin
		mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmp /run; mount -t tmpfs tmp /tmp
		depmod; ip link set lo up
		modprobe -a iscsi_target_mod target_core_file target_core_user
		mount -t configfs configfs /sys/kernel/config
		mkdir -p /sys/kernel/config/target/iscsi
		echo BEGIN; bash /job 2>&1; echo END
		echo o >/proc/sysrq-trigger; sleep 10
	END
	chmod +x root/uml-init
	inside <<-'END' | tr -d '\r' | sed -n '/^BEGIN$/,/^END$/{/^BEGIN$/d;/^END$/d;p}'
		HOME=/tmp TMPDIR=/tmp PATH=/usr/bin:/bin timeout 400 linux.uml mem=512M root=/dev/root rootfstype=hostfs \
			rootflags=/ rw init=/uml-init con=null con0=null,fd:1 raid6.pq=off loglevel=1 </dev/null 2>/dev/null
	END
}
# dhcp_client: writes ./root/dhcp.py, for a DHCP server on the device `server` of a pair (server, client) in one
# network namespace. ask(options, ciaddr) sends a message with the broadcast flag (unless ciaddr is given) and returns
# the answer: size of the DHCP message, its siaddr, list of (option, value); None if there is none in three seconds.
dhcp_client() {
	cat >root/dhcp.py <<-'END'
		import socket, struct, time
		raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
		raw.bind(('client', 0))
		mac, number = b'\2\0\0\0\0\2', 0
		def ask(options, ciaddr='0.0.0.0', tries=1):
		    global number
		    number += 1
		    m = struct.pack('>BBBBIHH', 1, 1, 6, 0, number, 0, 0x8000 if ciaddr == '0.0.0.0' else 0)
		    m += socket.inet_aton(ciaddr) + bytes(12) + mac.ljust(208, b'\0')
		    m += b'\x63\x82\x53\x63' + b''.join(bytes([c, len(v)]) + v for c, v in options) + b'\xff'
		    m = m.ljust(300, b'\0')
		    ip = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 28 + len(m), 1, 0, 64, 17, 0,
		                     socket.inet_aton(ciaddr), b'\xff' * 4)
		    s = sum(struct.unpack('>10H', ip))
		    s = (s & 0xffff) + (s >> 16)
		    ip = ip[:10] + struct.pack('>H', ~(s + (s >> 16)) & 0xffff) + ip[12:]
		    frame = b'\xff' * 6 + mac + b'\x08\0' + ip + struct.pack('>HHHH', 68, 67, 8 + len(m), 0) + m
		    for i in range(tries):
		        raw.send(frame)
		        end = time.time() + 3 / tries
		        while time.time() < end:
		            raw.settimeout(max(0.01, end - time.time()))
		            try:
		                d = raw.recv(4000)
		            except OSError:
		                break
		            if d[12:14] != b'\x08\0' or d[23] != 17 or d[34:38] != b'\0\x43\0\x44':
		                continue
		            d = d[42:14 + struct.unpack('>H', d[16:18])[0]]
		            if d[0] != 2 or struct.unpack('>I', d[4:8])[0] != number:
		                continue
		            o, at = [], 240
		            while at < len(d) and d[at] != 255:
		                if d[at] == 0:
		                    at += 1
		                    continue
		                o.append((d[at], d[at + 2:at + 2 + d[at + 1]]))
		                at += 2 + d[at + 1]
		            return len(d), socket.inet_ntoa(d[20:24]), o
	END
}
# ibft_table: writes ./root/sys/firmware/ibft as the kernel shows it: the NIC set by hand, no DHCP server, no gateway,
# no DNS; the target valid and selected.
ibft_table() {
	local t=root/sys/firmware/ibft
	set_fields() { local f=$t/$1 v; shift; mkdir -p "$f"; for v; do echo "${v#*=}" >"$f/${v%%=*}"; done; }
	mkdir -p root/sys/class/net/eth0
	echo 02:00:00:00:00:01 >root/sys/class/net/eth0/address
	set_fields initiator flags=3 index=0 initiator-name=iqn.2026-01.org.example:pc
	set_fields ethernet0 flags=3 index=0 mac=02:00:00:00:00:01 ip-addr=10.0.0.50 subnet-mask=255.255.255.0 \
		origin=1 gateway=0.0.0.0 primary-dns=0.0.0.0 secondary-dns=0.0.0.0 vlan=0
	set_fields target0 flags=3 index=0 ip-addr=10.0.0.1 port=3260 lun=0000000000000000 \
		target-name=iqn.2026-01.org.example:disk nic-assoc=0
}
