# SPDX-License-Identifier: GPL-2.0-or-later
# The VM lab: an appliance and diskless PCs, virtual machines on a private wire. Source it after tests/lib.sh; README.md
# beside this file tells how to write a test.
#
# The wire is a bridge in a network namespace of its own, so that nothing of it touches the machine's network; each
# machine has a tap on it. The appliance is 10.77.0.1/24, the host's end of the wire 10.77.0.254 (lab_host runs a
# command there: a real initiator, a TFTP client).
#
# Everything that is written lands in $LAB, a folder that goes with the test, except logs: $LAB_LOGS stays.
# shellcheck shell=bash

[ "$(id -u)" = 0 ] || skip_all "the VM lab needs root (network namespace, taps)"
requires qemu-img mmdebstrap python3 cpio zstd tcpdump ip sfdisk mke2fs mcopy grub-mkimage busybox
[ -n "${LAB_UML:-}" ] || requires qemu-system-x86_64
LAB_NAME=${LAB_NAME:-$(basename "$0" .sh)}
LAB=$TMP
LAB_LOGS=$O/test/$LAB_NAME
LAB_VM=$TOP/tests/vm
# What an appliance is asked; a unit at a time, for systemctl is content with any of several.
LAB_SERVES="systemctl is-active -q bootwell && systemctl is-active -q tcmu-runner"
rm -rf "$LAB_LOGS"
mkdir -p "$LAB_LOGS"
lab_began=${EPOCHREALTIME/./}
declare -A lab_pid lab_mark lab_mac

# lab_note TEXT: a line for the log, with the seconds since the start
lab_note() {
	local us=$((${EPOCHREALTIME/./} - lab_began))
	printf '# %4d.%d s  %s\n' $((us / 1000000)) $((us / 100000 % 10)) "$*"
}
# lab_die TEXT: the lab itself is broken; the test ends
lab_die() { echo "not ok - lab: $*"; failed=$((failed + 1)); exit 1; }

# wait_for SECONDS COMMAND...: as in tests/lib.sh, but a machine that is asked all the time has no CPU for what is waited for.
wait_for() {
	local end=$((SECONDS + $1)) n=0 pauses=(0.1 0.1 0.2 0.3 0.5); shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -ge $end ] && return 1
		sleep "${pauses[n++]:-1}"
	done
}

# --- the wire --------------------------------------------------------------------------------------------------------
# lab_start: trees, wire, accelerator. Once a test.
lab_start() {
	LAB_TREE=$("$LAB_VM/trees") || lab_die "no root trees"
	[ -n "${LAB_UML:-}" ] || lab_accelerator
	lab_wire
	lab_note "${LAB_UML:-accelerator $LAB_ACCEL}, trees $LAB_TREE, logs $LAB_LOGS"
}
lab_accelerator() {
	local known
	known=$(dirname "$LAB_TREE")/accel-$(cat /proc/sys/kernel/random/boot_id)
	[ -s "$known" ] || "$LAB_VM/talk" accel "$LAB_TREE/kernel" >"$known"
	LAB_ACCEL=${LAB_ACCEL:-$(cat "$known")}
	# Without 5-level paging, which makes every miss of the emulated TLB one step longer, and without "enhanced rep movsb":
	# an emulated CPU copies one byte at a time with it, and the kernel would use it for everything. Nor with "fast short rep
	# mov", which QEMU knows from 8 on: a kernel that is told of it alone (6.1) does not start.
	lab_accel=(-accel "tcg,thread=multi,tb-size=256" -cpu "max,la57=off,erms=off,fsrm=off")
	[ "$LAB_ACCEL" = tcg ] || lab_accel=(-accel kvm -cpu host)
	# On a busy machine a kernel measures the emulated clock wrong: by another of its clocks that stood still meanwhile its
	# time then ran 34 times as fast. It is told.
	lab_clock=''
	[ "$LAB_ACCEL$(uname -m)" != tcgx86_64 ] || lab_clock=tsc_early_khz=$("$LAB_VM/talk" tsc)
}
lab_wire() {
	unshare -n sleep infinity &
	lab_ns=$!
	at_exit kill $lab_ns
	at_exit lab_stop_all
	wait_for 5 test "$(readlink /proc/self/ns/net)" != "$(readlink /proc/$lab_ns/ns/net)"
	sleep 0.1
	lab_host ip link set lo up
	# With an address of its own: it would take over the lowest of its ports', and be another to whom knows it when a machine
	# comes or goes. An appliance whose disk is on the wire then hung until its entry for the host was too old.
	lab_host ip link add wire address 52:54:00:77:00:fe type bridge stp_state 0 forward_delay 0 mcast_snooping 0 || lab_die "no bridge"
	lab_host ip address add 10.77.0.254/24 dev wire
	lab_host ip link set wire up
	nsenter -t $lab_ns -n -- tcpdump -q -U -s 600 -i wire -w "$LAB_LOGS/wire.pcap" 'not tcp portrange 10801-10854' 2>/dev/null &
	lab_pid[tcpdump]=$!
	nsenter -t $lab_ns -n -- "$LAB_VM/talk" router wire 2>>"$LAB_LOGS/router.log" &
	lab_pid[router]=$!
}
# lab_host COMMAND...: on the host's end of the wire
lab_host() { nsenter -t $lab_ns -n -- "$@"; }
lab_stop_all() { local p; for p in "${lab_pid[@]}"; do kill -9 "$p"; done; wait "${lab_pid[@]}"; }

# lab_qemu NAME MEMORY-MIB CPUS QEMU-ARGUMENTS...: starts a machine; console in $LAB_LOGS/NAME.console
lab_qemu() {
	local name=$1 memory=$2 cpus=$3; shift 3
	local args=("${lab_accel[@]}" -name "$name" -machine "q35,graphics=off" -m "$memory" -smp "$cpus" -nodefaults
		-no-user-config -display none -vga none -serial stdio -qmp "unix:$LAB/$name.qmp,server=on,wait=off"
		-device virtio-serial-pci -chardev "socket,id=agent,path=$LAB/$name.agent,server=on,wait=off"
		-device "virtserialport,chardev=agent,name=lab" -device virtio-rng-pci
		-netdev "tap,id=wire,ifname=tap-$name,script=no,downscript=no" "$@")
	touch "$LAB_LOGS/$name.console"
	console_mark "$name"
	lab_host ip link delete "tap-$name" 2>/dev/null
	lab_host ip tuntap add "tap-$name" mode tap vnet_hdr || lab_die "no tap"
	lab_host ip link set "tap-$name" master wire up
	echo "qemu-system-x86_64 ${args[*]}" >>"$LAB_LOGS/$name.qemu"
	# No function and no pipe here: $! must be QEMU, not a shell around it.
	nsenter -t $lab_ns -n -- qemu-system-x86_64 "${args[@]}" </dev/null 2>>"$LAB_LOGS/$name.qemu" \
		> >(exec "$LAB_VM/talk" stamp >>"$LAB_LOGS/$name.console") &
	lab_pid[$name]=$!
}
# lab_alive NAME
lab_alive() { [ -n "${lab_pid[$1]:-}" ] && kill -0 "${lab_pid[$1]}" 2>/dev/null; }
# lab_kill NAME: its power is gone
lab_kill() { kill -9 "${lab_pid[$1]}" 2>/dev/null; wait "${lab_pid[$1]}" 2>/dev/null; unset "lab_pid[$1]"; }
# lab_cut NAME, lab_mend NAME: its network cable
lab_cut() { lab_host ip link set "tap-$1" down; }
lab_mend() { lab_host ip link set "tap-$1" up; }
# lab_qmp NAME COMMAND...
lab_qmp() { local n=$1; shift; "$LAB_VM/talk" qmp "$LAB/$n.qmp" "$@"; }

# lab_run NAME COMMAND...: in the machine, by its agent; prints the output, returns the status. LAB_LIMIT: seconds.
lab_run() { local n=$1; shift; "$LAB_VM/talk" run "$LAB/$n.agent" "${LAB_LIMIT:-120}" <<<"$*"; }
# lab_script NAME: the same, the script from stdin
lab_script() { "$LAB_VM/talk" run "$LAB/$1.agent" "${LAB_LIMIT:-120}"; }

# console_mark NAME: what is on the console by now does not count for console_wait any more
console_mark() { lab_mark[$1]=$(stat -c %s "$LAB_LOGS/$1.console"); }
# The firmware moves the cursor in the middle of a word now and then.
console_has() { tail -c "+$((${lab_mark[$1]} + 1))" "$LAB_LOGS/$1.console" | LC_ALL=C sed 's/\x1b\[[0-9;]*[A-Za-z]//g' | grep -aqE -- "$2"; }
# console_wait NAME SECONDS REGEX [BAD]: until a line matches; fails when one matches BAD, or the machine ends, before
console_wait() {
	local end=$((SECONDS + $2))
	until console_has "$1" "$3"; do
		[ $SECONDS -lt $end ] || return 1
		[ -z "${4:-}" ] || ! console_has "$1" "$4" || return 1
		lab_alive "$1" || { sleep 0.5; console_has "$1" "$3"; return; }
		sleep 0.2
	done
}
# console_tail NAME: for the log of a failed test
console_tail() { tail -n "${2:-25}" "$LAB_LOGS/$1.console" | LC_ALL=C tr -cd '\11\12\40-\176' | sed "s/^/#   $1: /"; }

# --- the appliance ---------------------------------------------------------------------------------------------------
# appliance_stage: a folder $LAB/stage with what the build made, laid out as it is installed. Tests may add files.
appliance_stage() {
	local s=$LAB/stage
	[ -d "$s" ] && return
	mkdir -p "$s"
	[ -n "${LAB_BARE:-}" ] && return # nothing of ours: a stand-in is tried
	"$TOP/conf/install" "$O" "$s" /usr >"$LAB_LOGS/install.log" 2>&1 ||
		lab_die "the build cannot be installed (make all first): $(tail -3 "$LAB_LOGS/install.log")"
	mkdir -p "$s/etc/systemd/system/multi-user.target.wants" "$s/etc/bootwell"
	ln -sf /lib/systemd/system/tcmu-runner.service /usr/lib/systemd/system/bootwell.service "$s/etc/systemd/system/multi-user.target.wants/"
}
# appliance_config: the configuration from stdin
appliance_config() { appliance_stage; mkdir -p "$LAB/stage/etc/bootwell"; cat >"$LAB/stage/etc/bootwell/bootwell.conf"; }
# appliance_config_default [EXTRA]: the room that most tests want; EXTRA are more lines, e.g. [client] sections
appliance_config_default() {
	appliance_config <<-END
		[server]
		state = /srv/bootwell/state
		[dhcp]
		mode = full
		interface = eth0
		range = 10.77.0.100-10.77.0.200
		[tftp]
		root = /usr/lib/ipxe
		[images]
		path = /srv/bootwell/images
		[write-back]
		path = /srv/bootwell/store
		size = 2G
		[clients]
		ask-name = no
		[image debian]
		file = guest.vmdk
		[image debian-vhd]
		file = guest.vhd
		[group default]
		image = debian
		${1:-}
	END
}
# appliance_file PATH: a file from stdin, e.g. appliance_file /etc/bootwell/x <<END
appliance_file() { appliance_stage; mkdir -p "$LAB/stage${1%/*}"; cat >"$LAB/stage$1"; }

# appliance_start: with the disks that it had, or new ones; returns when its agent answers
appliance_start() {
	appliance_stage
	local root=$LAB/appliance.qcow2 data=$LAB/data.qcow2
	[ -e "$root" ] || qemu-img create -q -f qcow2 -F raw -b "$LAB_TREE/appliance.ext4" "$root" || lab_die "no disk"
	local drive="file=$data,format=qcow2,cache=unsafe"
	if [ -n "${LAB_POWER:-}" ]; then
		# A disk that forgets what was not flushed when its power goes.
		requires nbdkit
		[ -e "$LAB/data.raw" ] || cp --sparse=always "$LAB_TREE/data.ext4" "$LAB/data.raw"
		nbdkit -f -U "$LAB/data.sock" --filter=cache file "$LAB/data.raw" >>"$LAB_LOGS/nbdkit.log" 2>&1 &
		lab_pid[nbdkit]=$!
		wait_for 10 test -S "$LAB/data.sock" || lab_die "nbdkit did not start"
		drive="file=nbd+unix:///?socket=$LAB/data.sock,format=raw,cache=none"
	else
		[ -e "$data" ] || qemu-img create -q -f qcow2 -F raw -b "$LAB_TREE/data.ext4" "$data" || lab_die "no disk"
	fi
	mkdir -p "$LAB/cpio"
	rm -rf "$LAB/cpio/inject"
	cp -a "$LAB/stage" "$LAB/cpio/inject"
	(cd "$LAB/cpio" && find . | cpio -o -H newc -R 0:0 --quiet) >"$LAB/initrd"
	cat "$LAB_TREE/initrd" >>"$LAB/initrd"
	# What bootwell.service sets when it starts, from the beginning: it patches the kernel's code, and QEMU's emulation of
	# two CPUs loses such a patch now and then; both then hang in the breakpoint that the patch begins with.
	local lab_counting=sysctl.kernel.bpf_stats_enabled=1
	lab_qemu appliance "${LAB_APPLIANCE_MEMORY:-1536}" "${LAB_APPLIANCE_CPUS:-2}" -kernel "$LAB_TREE/kernel" -initrd "$LAB/initrd" \
		-append "console=ttyS0 loglevel=6 net.ifnames=0 audit=0 mitigations=off no_timer_check lpj=4000000 tsc=reliable $lab_clock rw $lab_counting ${LAB_APPEND:-}" \
		-drive "if=none,id=root,file=$root,format=qcow2,cache=unsafe,backing.file.locking=off" -device virtio-blk-pci,drive=root \
		-drive "if=none,id=data,$drive" -device virtio-blk-pci,drive=data \
		-device "virtio-net-pci,netdev=wire,mac=52:54:00:77:00:01,romfile="
	LAB_LIMIT=${LAB_APPLIANCE_LIMIT:-300} lab_run appliance "systemctl is-system-running --wait" >/dev/null
	appliance true || { console_tail appliance; lab_die "the appliance does not answer"; }
	[ -n "${LAB_BARE:-}" ] || appliance "$LAB_SERVES" || {
		appliance "journalctl -b --no-pager -n 30 -u bootwell -u tcmu-runner -u bootwell-configfs" | sed 's/^/# /'
		lab_die "bootwell or tcmu-runner did not start"
	}
	lab_note "the appliance answers"
}
# appliance COMMAND...: run in the appliance
appliance() { lab_run appliance "$@"; }
# appliance_power_cut: all at once, nothing is written any more. appliance_start starts it again.
appliance_power_cut() {
	local p=("${lab_pid[appliance]}" ${lab_pid[nbdkit]:+"${lab_pid[nbdkit]}"})
	kill -9 "${p[@]}"
	wait "${p[@]}" 2>/dev/null
	unset "lab_pid[appliance]" "lab_pid[nbdkit]"
	rm -f "$LAB/data.sock"
	lab_note "the appliance's power is cut"
}
# appliance_stop: in order
appliance_stop() {
	appliance "systemctl --no-block --job-mode=replace-irreversibly start poweroff.target"
	local end=$((SECONDS + 60))
	while lab_alive appliance && [ $SECONDS -lt $end ]; do sleep 0.2; done
	lab_alive appliance && return 1
	unset "lab_pid[appliance]"
}
# appliance_kill9 PROCESS: kill -9 by name
appliance_kill9() { appliance "pkill -9 -x $1 || kill -9 \$(pidof $1)"; }
# appliance_image NAME: puts $LAB_TREE/NAME's SHA-256 as the appliance's disk has it; the appliance must be off
appliance_image_sum() {
	local disk=$LAB/data.raw
	if [ -z "${LAB_POWER:-}" ]; then
		disk=$LAB/data.check
		qemu-img convert -O raw "$LAB/data.qcow2" "$disk"
	fi
	debugfs -R "cat /images/$1" "$disk" 2>/dev/null | sha256sum | cut -d' ' -f1
	rm -f "$LAB/data.check"
}
# lab_end [IMAGE...]: stops all machines in order and checks that the base images are what they were
lab_end() {
	local i
	for i in "${!lab_pid[@]}"; do case $i in appliance|nbdkit*|tcpdump|router) ;; *) lab_kill "$i" ;; esac; done
	lab_alive appliance && { appliance_stop || not_ok "the appliance stops in order"; }
	[ -n "${lab_pid[nbdkit]:-}" ] && { kill "${lab_pid[nbdkit]}"; wait "${lab_pid[nbdkit]}"; unset "lab_pid[nbdkit]"; }
	[ $# = 0 ] && set -- guest.vmdk guest.vhd
	for i; do
		check "the SHA-256 of $i is what it was" test "$(appliance_image_sum "$i")" = "$(awk -v f="$i" '$2 == f { print $1 }' "$LAB_TREE/SHA256")"
	done
	lab_wire_well_formed
	lab_note "done"
}
# What went over the wire, all of it: DHCP, TFTP and HTTP are ours.
lab_wire_well_formed() {
	if command -v tshark >/dev/null; then check "tshark finds nothing malformed" lab_well_formed "$LAB_LOGS/wire.pcap"
	else echo "ok - tshark finds nothing malformed # SKIP tshark is not installed"; fi
}

# --- PCs -------------------------------------------------------------------------------------------------------------
# pc_start NAME N [uefi] [QEMU-ARGUMENTS...]: a PC without a disk, MAC 52:54:00:77:01:N, starts from the network
pc_start() {
	local name=$1 n=$2 firmware=bios; shift 2
	[ "${1:-}" = uefi ] && { firmware=uefi; shift; }
	lab_mac[$name]=52:54:00:77:01:$(printf %02x "$n")
	local args=(-uuid "00000000-0000-4000-8000-0000000000$(printf %02x "$n")") rom=
	if [ $firmware = uefi ]; then
		# No option ROM: the card is driven by the firmware, and PXE is EDK2's own.
		cp /usr/share/OVMF/OVMF_VARS_4M.fd "$LAB/$name.vars"
		args+=(-drive "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd" -drive "if=pflash,format=raw,file=$LAB/$name.vars")
		rom=",romfile="
	fi
	lab_qemu "$name" "${LAB_PC_MEMORY:-640}" "${LAB_PC_CPUS:-1}" "${args[@]}" \
		-device "virtio-net-pci,netdev=wire,mac=${lab_mac[$name]},bootindex=1$rom" "$@"
	lab_note "$name is switched on"
}
pc_mac() { echo "${lab_mac[$1]}"; }
# pc_ready NAME [SECONDS]: until its agent answers
pc_ready() {
	console_wait "$1" "${2:-480}" 'login: ' 'No bootable device|Kernel panic|\(initramfs\)|BdsDxe: No bootable' && LAB_LIMIT=30 lab_run "$1" true && { lab_note "$1 is up"; return 0; }
	console_tail "$1"
	return 1
}
# pc_boots WHAT NAME [SECONDS]: ok if it does; the test ends here if it does not, nothing more can be seen then
pc_boots() {
	local what=$1; shift
	if pc_ready "$@"; then ok "$what"; return; fi
	not_ok "$what (console: $LAB_LOGS/$1.console)"
	appliance "bootwell status; journalctl -b --no-pager -n 20 -u bootwell -u tcmu-runner" | sed 's/^/# /'
	exit 1
}
# pc_reset NAME: its reset button
pc_reset() { console_mark "$1"; lab_qmp "$1" system_reset >/dev/null; }
# pc_type NAME TEXT: typed on its keyboard, with Enter; pc_key NAME KEYS: together, as QEMU names them (ctrl b)
pc_key() {
	local n=$1 k list=; shift
	for k; do list+="${list:+,}{\"type\":\"qcode\",\"data\":\"$k\"}"; done
	lab_qmp "$n" "{\"execute\":\"send-key\",\"arguments\":{\"keys\":[$list],\"hold-time\":20}}" >/dev/null
}
pc_type() {
	local i c
	for ((i = 0; i < ${#2}; i++)); do
		c=${2:i:1}
		case $c in
		' ') pc_key "$1" spc ;; '.') pc_key "$1" dot ;; '/') pc_key "$1" slash ;; '-') pc_key "$1" minus ;;
		':') pc_key "$1" shift semicolon ;; ';') pc_key "$1" semicolon ;; '=') pc_key "$1" equal ;;
		[A-Z]) pc_key "$1" shift "${c,}" ;; *) pc_key "$1" "$c" ;;
		esac
		sleep 0.05
	done
	pc_key "$1" ret
}

# --- a PC without a machine ------------------------------------------------------------------------------------------
# soft_pc NAME N [ipxe]: asks DHCP as the PC with MAC 52:54:00:77:02:N (or $SOFT_MAC) would (as iPXE when told so) and sets soft_address
# and soft_file; as iPXE it fetches the script too and sets soft_initiator, soft_user, soft_secret and soft_target.
# soft NAME COMMAND... runs something with that PC's address.
declare -A soft_ns
export soft_address soft_file soft_server soft_initiator soft_user soft_secret soft_target
soft() { local n=$1; shift; nsenter -t "${soft_ns[$n]}" -n -- "$@"; }
soft_pc() {
	local name=$1 mac options=()
	mac=${SOFT_MAC:-52:54:00:77:02:$(printf %02x "$2")}
	if [ -z "${soft_ns[$name]:-}" ]; then
		unshare -n sleep infinity &
		soft_ns[$name]=$!
		lab_pid[soft-$name]=$!
		sleep 0.2
		lab_host ip link add "v-$name" type veth peer name eth0 address "$mac" netns "${soft_ns[$name]}"
		lab_host ip link set "v-$name" master wire up
		soft "$name" ip link set lo up
		soft "$name" ip link set eth0 up
		# An emulated machine may leave the checksum of a datagram to a card that is not there.
		soft "$name" ethtool -K eth0 tx off >/dev/null 2>&1
	fi
	cat >"$LAB/udhcpc" <<-'END'
		#!/bin/sh
		[ "$1" = bound ] || exit 0
		ip address replace "$ip/${mask:-24}" dev eth0
		echo "soft_address=$ip soft_file='${boot_file:-$bootfile}' soft_server=${siaddr:-$serverid}"
	END
	chmod +x "$LAB/udhcpc"
	[ "${3:-}" = ipxe ] && options=(-x 0x4d:69505845 -x 0xaf:b105011af41000110101130101150101270101)
	soft_address='' soft_file='' soft_server=''
	eval "$(soft "$name" busybox udhcpc -q -n -f -t 12 -T 3 -i eth0 -s "$LAB/udhcpc" -V PXEClient:Arch:00000:UNDI:002001 \
		-x 0x5d:0000 -O bootfile "${options[@]}" 2>>"$LAB_LOGS/soft.log" | grep '^soft_')"
	[ -n "$soft_address" ] || return 1
	[ "${3:-}" = ipxe ] || return 0
	local tries
	for tries in {1..15}; do
		soft_script=$(soft "$name" curl -sS --max-time 60 "tftp://10.77.0.1/$soft_file") || return 1
		# whose former session may still be there is told to wait, and to ask once more
		[[ $soft_script == *waiting\ until* ]] || break
		echo "# $name waits, $tries" >>"$LAB_LOGS/soft.log"
		sleep 2
	done
	echo "$soft_script" >>"$LAB_LOGS/soft.log"
	soft_initiator=$(awk '/^set initiator-iqn/ { print $3 }' <<<"$soft_script")
	soft_user=$(awk '/^set username/ { print $3 }' <<<"$soft_script")
	soft_secret=$(awk '/^set password/ { print $3 }' <<<"$soft_script")
	soft_target=$(sed -n 's/^sanboot iscsi:[^:]*::[0-9]*:0:\([^ ]*\).*/\1/p' <<<"$soft_script")
	[ -n "$soft_target" ]
}
# soft_url: of the disk that soft_pc was given, for iscsi-inq, iscsi-dd, iscsi-test-cu
soft_url() { echo "iscsi://${1:-$soft_user}%${2:-$soft_secret}@10.77.0.1/$soft_target/0"; }
