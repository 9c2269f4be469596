# SPDX-License-Identifier: GPL-2.0-or-later
# The UML lab: appliances and plain machines, each of them Debian's user-mode-linux, that is a kernel that runs as a process, on
# the private wire of the VM lab. Source it after tests/lib.sh; README.md beside this file tells how to write a test.
#
# It is the VM lab with other machines: wire, configuration and PCs without a machine are those of tests/vm/lab.sh, and the
# calls have the same names. What needs firmware (pc_reset, pc_type, lab_qmp) is not here.
#
# $UML_KERNEL names the kernel, one of those that tests/uml/kernels lists; bookworm if nothing is said.
# shellcheck shell=bash disable=SC2054
LAB_UML="user-mode-linux of ${UML_KERNEL:=bookworm}"
LAB_NAME=${LAB_NAME:-$(basename "$0" .sh)}
LAB_NAME=uml-${LAB_NAME#test_}
[ "$UML_KERNEL" = bookworm ] || LAB_NAME+=-$UML_KERNEL
# shellcheck source=tests/vm/lab.sh
. "$TOP/tests/vm/lab.sh"
LAB_HERE=$TOP/tests/uml
unset -f lab_qmp pc_reset pc_key lab_accelerator lab_qemu

# The kernel: where its root is (/ for this Debian's own), and its modules.
kernel=$("$LAB_HERE/kernels" "$UML_KERNEL") || skip_all "no user-mode-linux of $UML_KERNEL: ${kernel:-see tests/uml/kernels}"
read -r lab_root lab_modules lab_release <<<"$kernel"
echo "# NOTE kernel $lab_release ($LAB_UML)"

# Disks are kept in memory where there is enough of it: else each flush waits for all that the host still has to write.
LAB_DISKS=$LAB
if [ "$(df --output=avail -B1M /dev/shm 2>/dev/null | tail -1)" -gt 8000 ] && [ "$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)" -gt 8000 ]; then
	LAB_DISKS=$(mktemp -d /dev/shm/bootwell-lab.XXXXXX)
	at_exit rm -rf "$LAB_DISKS"
fi

# lab_machine NAME MEMORY-MIB MAC KERNEL-ARGUMENTS...: starts a machine; console in $LAB_LOGS/NAME.console. With LAB_INITRD=FILE
# it starts that, has no disk but those of lab_disk, and its console hears pc_type.
lab_machine() {
	local name=$1 memory=$2 mac=$3 folder; shift 3
	folder=$LAB/$name
	mkdir -p "$folder/run" "$folder/uml"
	rm -f "$folder"/{in,out,keys} "$folder"/run/*
	mkfifo "$folder/in" "$folder/out" "$folder/keys"
	[ -e "$LAB/initrd" ] || lab_initrd
	[ -e "$LAB_DISKS/$name.root" ] || touch "$LAB_LOGS/$name.console"
	console_mark "$name"
	lab_host ip link delete "tap-$name" 2>/dev/null
	lab_host ip tuntap add "tap-$name" mode tap vnet_hdr || lab_die "no tap"
	lab_host ip link set "tap-$name" master wire up
	local tree disk disks=() seen
	tree=$(readlink -f "$LAB_TREE")
	seen=("$TOP" "$O" "$tree" "$(readlink -f "$lab_modules")" "$LAB" "$LAB_DISKS") # by a kernel that runs in a root of its own
	for disk in "$LAB_DISKS/$name".disk[2-7]; do [ -e "$disk" ] && disks+=("ubd${disk##*.disk}=$disk"); done
	local system=("initrd=$LAB/initrd" "ubd0=$LAB_DISKS/$name.root,$tree/appliance.ext4" con0=null,fd:1)
	[ -z "${LAB_INITRD:-}" ] || system=("initrd=$LAB_INITRD" con0=fd:5,fd:1)
	local args=("mem=${memory}M" "${system[@]}"
		"vec0:transport=tap,ifname=tap-$name,depth=128,gro=1,mac=$mac" con=null ssl=null ssl0=pts ssl1=fd:3,fd:4
		"umid=$name" "uml_dir=$folder/uml" raid6.pq=off loglevel=6 net.ifnames=0 audit=0 panic=-1 rw
		"${disks[@]}" "lab.folder=$LAB" "lab.build=$O" "lab.modules=${seen[3]}" "lab.name=$name" "$@")
	echo "linux.uml ${args[*]}" >>"$LAB_LOGS/$name.uml"
	# No function and no pipe here: $! must be the kernel, not a shell around it.
	HOME=$LAB TMPDIR=/dev/shm nsenter -t $lab_ns -n -- "$LAB_HERE/enter" "$lab_root" "${seen[@]}" -- "${args[@]}" \
		</dev/null 3<>"$folder/in" 4<>"$folder/out" 5<>"$folder/keys" 2>>"$LAB_LOGS/$name.uml" > >(exec "$LAB_VM/talk" stamp >>"$LAB_LOGS/$name.console") &
	lab_pid[$name]=$!
	echo "${lab_pid[$name]}" >"$folder/pid"
	ln -sfn "$folder" "$LAB_LOGS/$name.machine" # for tests/uml/in
}
# lab_disk NAME SIZE: a further disk for a machine that is not started yet
lab_disk() {
	local n
	for n in 2 3 4 5 6 7; do [ -e "$LAB_DISKS/$1.disk$n" ] || break; done
	truncate -s "$2" "$LAB_DISKS/$1.disk$n"
}
# lab_initrd: busybox and init; all else comes out of the host's file system
lab_initrd() {
	mkdir -p "$LAB/initrd.d"/{bin,dev,proc,sys,new}
	cp "$(command -v busybox)" "$LAB/initrd.d/bin/busybox"
	cp "$LAB_HERE/init" "$LAB/initrd.d/init"
	cp "$LAB_HERE/agent" "$LAB_HERE/pc" "$(command -v busybox)" "$LAB/"
	(cd "$LAB/initrd.d" && find . | cpio -o -H newc -R 0:0 --quiet) >"$LAB/initrd"
}
# lab_kill NAME: its power is gone. The processes in the machine are traced children of the kernel: they go first, for with the
# kernel gone they would run on as processes of the host.
lab_kill() { lab_kill_process "${lab_pid[$1]}"; wait "${lab_pid[$1]}" 2>/dev/null; unset "lab_pid[$1]"; }
lab_kill_process() {
	kill -STOP "$1" 2>/dev/null || return
	pkill -9 -P "$1"
	kill -9 "$1"
}
lab_stop_all() { local p; for p in "${lab_pid[@]}"; do lab_kill_process "$p"; done; wait "${lab_pid[@]}"; }
# lab_cut NAME, lab_mend NAME: its network cable. The tap stays up: the kernel's driver does not come back from one that was down.
lab_cut() { lab_host ip link set "tap-$1" nomaster; }
lab_mend() { lab_host ip link set "tap-$1" master wire; }
# lab_pause NAME, lab_continue NAME: the machine stands still, all of it, and goes on
lab_pause() { kill -STOP "${lab_pid[$1]}"; }
lab_continue() { kill -CONT "${lab_pid[$1]}"; }

# lab_run NAME COMMAND...: in the machine, by its agent; prints the output, returns the status, 255 without an answer within
# LAB_LIMIT seconds. Several can be under way in one machine.
lab_run() { local n=$1; shift; lab_script "$n" <<<"$*"; }
# lab_script NAME: the same, the script from stdin
lab_script() { "$LAB_HERE/in" "$LAB/$1" "${LAB_LIMIT:-120}" -; }

# --- the appliance ---------------------------------------------------------------------------------------------------
# box_start NAME N [KERNEL-ARGUMENTS...]: an appliance with the address 10.77.0.N, with the disks that it had, or new ones;
# returns when its agent answers. What is in $LAB/NAME/stage goes onto its disk after what is in $LAB/stage.
box_start() {
	local name=$1 n=$2; shift 2
	appliance_stage
	mkdir -p "$LAB/$name"
	[ -e "$LAB_DISKS/$name.data" ] || cp --sparse=always "$LAB_TREE/data.ext4" "$LAB_DISKS/$name.data"
	lab_mac[$name]=52:54:00:77:00:$(printf %02x "$n")
	local data=ubd1=$LAB_DISKS/$name.data
	if [ -n "${LAB_POWER:-}" ]; then
		# A disk that forgets what was not flushed when its power goes; it is on the wire.
		requires nbdkit
		data=lab.data=$((10800 + n))
		rm -f "$LAB/$name/nbdkit.pid"
		TMPDIR=$LAB_DISKS nsenter -t $lab_ns -n -- nbdkit -f -i 10.77.0.254 -p $((10800 + n)) -P "$LAB/$name/nbdkit.pid" --filter=cache \
			file "$LAB_DISKS/$name.data" \
			>>"$LAB_LOGS/nbdkit.log" 2>&1 &
		lab_pid[nbdkit-$name]=$!
		wait_for 10 test -s "$LAB/$name/nbdkit.pid" || lab_die "nbdkit did not start"
	fi
	lab_machine "$name" "${LAB_APPLIANCE_MEMORY:-1024}" "${lab_mac[$name]}" "$data" "lab.address=10.77.0.$n" "$@"
	LAB_LIMIT=${LAB_APPLIANCE_LIMIT:-120} lab_run "$name" "systemctl is-system-running --wait" >/dev/null
	lab_run "$name" true || { console_tail "$name"; lab_die "$name does not answer"; }
	[ -n "${LAB_BARE:-}" ] || lab_run "$name" "$LAB_SERVES" || {
		lab_run "$name" "journalctl -b --no-pager -n 30 -u bootwell -u tcmu-runner -u bootwell-configfs" | sed 's/^/# /'
		lab_die "bootwell or tcmu-runner did not start in $name"
	}
	lab_note "$name answers"
}
# box_file NAME /PATH: a file from stdin for this appliance alone
box_file() { mkdir -p "$LAB/$1/stage${2%/*}"; cat >"$LAB/$1/stage$2"; }
# box_stop NAME: in order
box_stop() {
	lab_run "$1" "systemctl --no-block --job-mode=replace-irreversibly start poweroff.target"
	local end=$((SECONDS + 60))
	while lab_alive "$1" && [ $SECONDS -lt $end ]; do sleep 0.1; done
	lab_alive "$1" && return 1
	unset "lab_pid[$1]"
	# In order is: all that counts has been flushed by now.
	[ -z "${lab_pid[nbdkit-$1]:-}" ] || lab_kill "nbdkit-$1"
}
appliance_start() { box_start appliance 1 "$@"; }
appliance_stop() { box_stop appliance; }
appliance_power_cut() { box_power_cut appliance; }
# box_power_cut NAME: with LAB_POWER=1 its data disk forgets what was not flushed
box_power_cut() {
	[ -z "${lab_pid[nbdkit-$1]:-}" ] || kill -STOP "${lab_pid[nbdkit-$1]}" # nothing is written from here on
	lab_kill "$1"
	[ -z "${lab_pid[nbdkit-$1]:-}" ] || lab_kill "nbdkit-$1"
	lab_note "the power of $1 is cut"
}
appliance_image_sum() { debugfs -R "cat /images/$1" "$LAB_DISKS/appliance.data" 2>/dev/null | sha256sum | cut -d' ' -f1; }

# --- PCs -------------------------------------------------------------------------------------------------------------
# plain_start NAME MAC [KERNEL-ARGUMENTS...]: a machine with nothing but the agent, its own address to be set by the test
plain_start() {
	local name=$1; lab_mac[$name]=$2; shift 2
	lab_machine "$name" "${LAB_PC_MEMORY:-256}" "${lab_mac[$name]}" "$@"
	lab_run "$name" true || { console_tail "$name"; lab_die "$name does not answer"; }
}
# pc_start NAME N: a PC after its firmware: MAC 52:54:00:77:01:N, asks DHCP as PXE and as iPXE would, fetches its script and logs
# in with Debian's open-iscsi. Its disk is /dev/sda there. pc_boots WHAT NAME then waits for it.
pc_start() {
	plain_start "$1" "52:54:00:77:01:$(printf %02x "$2")"
	lab_run "$1" "/lab/pc >/run/pc.log 2>&1 &"
	lab_note "$1 is switched on"
}
pc_ready() {
	LAB_LIMIT=${2:-120} lab_run "$1" "until [ -e /run/pc.status ]; do sleep 0.1; done; grep -qx 0 /run/pc.status" && return
	lab_run "$1" "cat /run/pc.log; dmesg | tail -5" | sed "s/^/#   $1: /"
	return 1
}
# capture_start NAME N: a PC with disks of its own (lab_disk) that starts the capture system: it asks DHCP as iPXE would, and gets
# kernel's arguments and initramfs from the script. Only the kernel is user-mode-linux's. Sees no agent: console_wait, pc_type.
capture_start() {
	local mac base words
	mac=52:54:00:77:01:$(printf %02x "$2")
	SOFT_MAC=$mac soft_pc "card$2" "$2" ipxe
	base=$(sed -n 's/^set base //p' <<<"$soft_script")
	# Without what is this machine's: the initramfs is a file here, the console is its own.
	read -r -a words < <(sed -n 's/^kernel [^ ]* \(.*\) || goto failed$/\1/p' <<<"$soft_script" |
		sed -E 's/(^| )(initrd|console)=[^ ]*//g')
	soft "card$2" curl -fsS --max-time 120 -o "$LAB/$1.initrd" "$base/initrd.img" && [[ ${words[*]} == *bootwell.secret=* ]] ||
		{ echo "# $1: no capture system: $soft_script" | head -20; return 1; }
	lab_kill "soft-card$2"
	unset "soft_ns[card$2]"
	LAB_INITRD=$LAB/$1.initrd lab_machine "$1" "${LAB_PC_MEMORY:-256}" "$mac" "${words[@]}"
	lab_mac[$1]=$mac
	lab_note "$1 starts the capture system"
}
# pc_type NAME TEXT: typed on the console of such a machine, with Enter
pc_type() { echo "$2" 1<>"$LAB/$1/keys"; }
