#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Which configuration the appliance takes, and what it may do to disks: initramfs/setup on loop devices, each time in a mount
# namespace of its own. FAT, CDs and a disk that really is formatted are in tests/vm/test_iso*.sh: their file systems need
# the appliance's kernel.
# shellcheck disable=SC2016,SC2154 # the scripts of `start` are for another shell
. "$(dirname "$0")/../lib.sh"
[ "$(id -u)" = 0 ] || skip_all "mounting needs root"
requires losetup mkfs.xfs mke2fs blkid wipefs unshare openssl
[ -x "$O/bootwell" ] || skip_all "bootwell is not built (make all)"
mkdir -p "$TMP/bin" "$TMP/files"
disk() { # NAME SIZE: an empty disk
	local d
	truncate -s "$2" "$TMP/$1.img"
	d=$(losetup -f --show "$TMP/$1.img") || skip_all "there is no loop device"
	at_exit losetup -d "$d"
	echo "$d" >"$TMP/$1.dev"
}
dev() { cat "$TMP/$1.dev"; }
for d in conf argued bulk; do disk $d 16M; done
disk state 320M
disk fresh 16M
disk used 16M
mke2fs -q -F -L BOOTWELL-CONF "$(dev conf)"
mke2fs -q -F -L ROOM "$(dev argued)"
mke2fs -q -F -L bulk "$(dev bulk)"
mkfs.xfs -q -L BW-STATE "$(dev state)"
printf 'precious' | dd of="$(dev used)" bs=1 seek=2000000 conv=notrunc status=none
# This machine's own disks are none of the appliance's: it sees ours, and two of them have a serial number.
cat >"$TMP/bin/blkid" <<END
#!/bin/bash
args=() one=''
for a; do case \$a in -l) one=1 ;; /dev/*) exec $(command -v blkid) -c /dev/null "\$@" ;; *) args+=("\$a") ;; esac; done
$(command -v blkid) -c /dev/null "\${args[@]}" $(cat "$TMP"/*.dev | tr '\n' ' ') | if [ -n "\$one" ]; then head -1; else cat; fi
END
cat >"$TMP/bin/lsblk" <<END
#!/bin/bash
case "\$*" in
*NAME,SERIAL*) printf '%s %s\n' $(dev fresh) NEW-1 $(dev used) OLD-2 ;;
*) echo "\${@: -1}" "\$($(command -v blkid) -p -s LABEL -o value "\${@: -1}")" ;;
esac
END
printf '#!/bin/sh\n' >"$TMP/bin/udevadm"
chmod +x "$TMP"/bin/*
export BOOTWELL_RUN=$TMP/run BOOTWELL_STATE=$TMP/state BOOTWELL_LIB=$TOP/initramfs BOOTWELL_CMDLINE=$TMP/cmdline
# put DISK PATH: a file from stdin onto a volume
put() {
	cat >"$TMP/files/new"
	unshare -m bash -c 'mkdir -p "$3/at" && mount "$1" "$3/at" && mkdir -p "$(dirname "$3/at/$2")" && cp "$3/files/new" "$3/at/$2"' _ "$(dev "$1")" "$2" "$TMP" || not_ok "the volume $1 is filled"
}
conf() { # HOSTNAME [MORE LINES]
	printf '[appliance]\r\nhostname = %s\r\n%s\r\n[server]\r\nstate = %s\r\n[images]\r\npath = %s\r\n' "$1" "${2:-}" "$TMP/state" "$TMP/images"
}
# start [COMMANDS]: one start of the appliance up to the choice of the file; what it said is in $TMP/out
start() {
	rm -rf "$TMP/run"
	PATH=$TMP/bin:$O:$PATH unshare -m bash -c 'mount -t tmpfs run /run && mkdir -p "$BOOTWELL_RUN" /run/systemd/system && . "$BOOTWELL_LIB/setup"
		sleep() { SECONDS=$((SECONDS + 5)); } # time goes faster here
		search; echo "took: ${source:-nothing} as ${CONF_HOSTNAME:-}"; '"${1:-}" >"$TMP/out" 2>"$TMP/err"
}
took() { grep -qx "took: $1" "$TMP/out"; }
said() { grep -qE -- "$1" "$TMP/out"; }
no_argument() { echo quiet >"$TMP/cmdline"; }

# --- the order -------------------------------------------------------------------------------------------------------
echo 'quiet bootwell.conf=LABEL=ROOM:school/room.conf' >"$TMP/cmdline"
conf argued 'state-disk = label:BW-STATE' | put argued school/room.conf
conf volume 'state-disk = label:BW-STATE' | put conf bootwell.conf
conf copy | put state config/bootwell.conf
start 'echo "beside: $beside"; findmnt -no FSTYPE,OPTIONS "$BOOTWELL_STATE"'
check "the kernel argument's file goes first" took 'argument as argued'
check "bootwell.status goes beside it" said "^beside: $(dev argued) ext[234] /school$"
check "the state disk is XFS, and no program starts from it by another's right" said '^xfs .*nosuid,nodev'
echo 'quiet bootwell.conf=LABEL=GONE:room.conf' >"$TMP/cmdline"
start
check "an argument that names no volume is told" said '^kernel argument bootwell.conf=LABEL=GONE:room.conf: there is no such volume$'
check "and the volume is next" took 'volume as volume'
echo 'quiet bootwell.conf=LABEL=ROOM:school/room.conf' >"$TMP/cmdline"
conf argued 'hostnaem = x' | put argued school/room.conf
start
check "a mistake is told with the name of the file and the line" said '^room.conf:3: .*hostnaem.*did you mean "hostname"'
check "and the volume is next, a CR at the end of each of its lines" took 'volume as volume'
no_argument
start
check "without an argument: the volume" took 'volume as volume'
conf volume 'ntp = ?' | put conf bootwell.conf
start
check "a mistake there" said '^bootwell.conf:3: '
check "makes the last good copy next" took 'state as copy'
check "which is told" said 'the last good copy, from the state disk'
mke2fs -q -F -L SOMETHING "$(dev conf)"
start
check "without a volume: the last good copy" took 'state as copy'
mkfs.xfs -q -f -L OTHER "$(dev state)"
start
check "without a copy: nothing, so safe mode" took 'nothing as '

# --- disks -----------------------------------------------------------------------------------------------------------
mke2fs -q -F -L BOOTWELL-CONF "$(dev conf)"
sums() { { cat "$(dev fresh)" "$(dev used)"; head -c 4194304 "$(dev state)"; } | sha256sum; }
before=$(sums)
# refused WHAT REGEX LINES: a start with these lines in [appliance] is refused with these words, and no disk is written
refused() {
	conf disks "$3" | put conf bootwell.conf
	start
	check "$1" said "$2"
	took 'nothing as ' || not_ok "the file is taken all the same: $1"
	[ "$(sums)" = "$before" ] || not_ok "a disk was written: $1"
}
yes=$'\r\nformat-state-disk = yes'
refused "a serial number that no disk has: those that are here are named" 'state-disk = serial:X: no disk has this serial number; here are: .*NEW-1, .*OLD-2' "state-disk = serial:X$yes"
refused "a disk with anything on it is never formatted" "serial:OLD-2: $(dev used) is not empty .* never formats" "state-disk = serial:OLD-2$yes"
refused "an empty one only when the file says so" 'format-state-disk = yes lets bootwell format it' 'state-disk = serial:NEW-1'
refused "nor one that is too small" 'has less than 4 GiB' "state-disk = serial:NEW-1$yes"
refused "a label that no volume has" 'label:NONE: there is no volume with this label' 'state-disk = label:NONE'
refused "images on a volume that is not there" 'images = label:NONE: there is no such volume' 'images = label:NONE'
conf disks 'images = label:bulk' | put conf bootwell.conf
start 'findmnt -no SOURCE "$CONF_PATH_IMAGES"'
check "images on a block device are mounted" said "^$(dev bulk)$"
check "without a state disk it says what is lost" said 'warning: no state disk: clients, leases and write-back are lost'
conf disks 'images = nfs:nas.school:/export/images' | put conf bootwell.conf
start 'cat /run/systemd/system/*.mount /run/systemd/system/bootwell.service.d/images.conf'
check "images on NFS become a mount that waits for the network" test "$(grep -cE '^(What=nas.school:/export/images|Where=.*/images|Type=nfs|After=network-online.target)$' "$TMP/out")" = 4
check "which bootwell waits for" said '^RequiresMountsFor=.*/images$'

# --- the machine -----------------------------------------------------------------------------------------------------
conf named $'ssh-key.anna = ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGt5tXJ8vQ0z1c2c5b2J6d1m8f9r0a1b2c3d4e5f6g7h anna\r\nntp = 10.0.0.1 time.example.org' | put conf bootwell.conf
start 'echo "keys: ${CONF_SSH_KEYS:-0} ${CONF_SSH_KEY_0:-}"; echo "ntp: ${CONF_NTP:-}"'
check "keys and time servers arrive" test "$(grep -cE '^(keys: 1 ssh-ed25519 AAAAC3.*|ntp: 10.0.0.1 time.example.org)$' "$TMP/out")" = 2

# --- https -----------------------------------------------------------------------------------------------------------
tls='cp "$RUN/candidate/bootwell.conf" "$RUN/bootwell.conf"; apply_tls "$RUN/bootwell.conf"
	sed -n "/^\[http\]/,\$p" "$RUN/bootwell.conf"; cp "$BOOTWELL_STATE/tls/"* "$RUN/bootwell.conf" "$BOOTWELL_LIB_KEEP"
	stat -c "mode: %a" "$BOOTWELL_STATE/tls" "$BOOTWELL_STATE/tls/key.pem"; cat "$RUN/fingerprint"'
mkfs.xfs -q -f -L BW-STATE "$(dev state)"
mkdir "$TMP/keep"
export BOOTWELL_LIB_KEEP=$TMP/keep
conf secure 'state-disk = label:BW-STATE' | put conf bootwell.conf
start "$tls"
print=$(openssl x509 -in "$TMP/keep/cert.pem" -noout -fingerprint -sha256 | cut -d= -f2)
check "without a certificate in the file the machine makes its own" [ "${#print}" = 95 ]
check "and tells what it is known by" said "^https: SHA-256 of the certificate $print\$"
check "the screen has it, too" said "^$print\$"
check "the server is told of it" said '^tls-certificate = .*/tls/cert.pem$'
check "nobody else reads the key" test "$(grep -cE '^mode: (700|600)$' "$TMP/out")" = 2
"$O/bootwelld" -n -c "$TMP/keep/bootwell.conf" >"$TMP/dry" 2>&1
check "and takes the file as it is then" test "$(grep -c tls "$TMP/dry")" = 0
start "$tls"
check "it is the same one at the next start" said "^https: SHA-256 of the certificate $print\$"
{ conf secure 'state-disk = label:BW-STATE'; printf '[http]\r\n  tls-certificate = /a\r\ntls-key = /b\r\n'; } |
	put conf bootwell.conf
start "$tls"
check "a certificate that the file names is left alone" test "$(grep -c '^https:' "$TMP/out")" = 0
[ "$failed" = 0 ] || { sed 's/^/# /' "$TMP/out"; tail -5 "$TMP/err" | sed 's/^/# /'; }
