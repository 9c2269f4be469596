#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A super client: what one PC changes in an image becomes its next generation while three PCs work on the old one (a machine
# with fio, two initiators without a machine), and rollback is one command. The power goes in the middle of a commit, the
# server's disk fills up in the middle of another: the old generation stays, and the session, and nobody's disk is hurt. (What
# was not written when the power goes is lost; that a disk forgets what was not flushed is test_crash.sh's.)
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/uml/lab.sh
. "$(dirname "$0")/lab.sh"
requires qemu-io jq
qemu-io -c quit --image-opts driver=iscsi,transport=tcp,portal=127.0.0.1:1,target=x,lun=0 2>&1 | grep -q "Unknown driver" &&
	skip_all "QEMU has no iSCSI initiator here (qemu-block-extra)"
LAB_APPLIANCE_MEMORY=1536
lab_start
appliance_config_default "
	[client super]
	mac = 52:54:00:77:01:01
	[client other]
	mac = 52:54:00:77:01:02"
appliance_start
generation() { appliance "bootwell image list --json" | jq -r '.[] | select(.name == "debian" and .current) | .generation'; }
half_made() { appliance "ls /srv/bootwell/images /srv/bootwell/images/.commit 2>/dev/null | grep -E '^debian'"; }
# commit: once the super client has been gone for its minute; the last answer is in $out
commit() {
	local end=$((SECONDS + 200))
	while :; do
		out=$(LAB_LIMIT=400 appliance "bootwell image commit debian --yes 2>&1") && return 0
		grep -q 'had its disk until' <<<"$out" && [ $SECONDS -lt $end ] || return 1
		sleep 3
	done
}

# --- the session
SOFT_MAC=52:54:00:77:01:01 soft_pc first 1 # its card asks for an address: it is known from then on
lab_kill soft-first
check "a PC becomes the super client" appliance "bootwell client set super update-image=debian"
pc_start pc1 1
soft_pc a 3
out=$(appliance "bootwell client set \$(bootwell client list | awk '/52:54:00:77:02:03/ { print \$1 }') update-image=debian 2>&1")
check "nobody else can have the image too: $out" grep -q "updated by client super already" <<<"$out"
pc_boots "the super client has its disk" pc1
LAB_LIMIT=240 check "it changes the image" lab_run pc1 "mount /dev/sda1 /mnt && cd /mnt/root && echo witness >witness && head -c 500000 /dev/urandom >blob && sha256sum <blob >sum && sync"
out=$(appliance "bootwell image commit debian --yes 2>&1")
check "a commit while it runs is refused: $out" grep -q "super is running: shut it down first" <<<"$out"
lab_run pc1 "umount /mnt && blockdev --flushbufs /dev/sda"
lab_kill pc1
pc_start pc2 2

# --- the power goes in the middle
appliance "(until bootwell image commit debian --yes; do sleep 1; done >/run/commit.out 2>&1 &)"
# The daemon is stopped in the middle: however quick the commit is, the power goes before it is through.
LAB_LIMIT=260 check "a commit is under way" lab_script appliance <<'END'
end=$((SECONDS + 200))
until n=$(stat -c %s /srv/bootwell/images/.commit/debian.vmdk 2>/dev/null) && [ "$n" -gt 2000000 ]; do
	[ $SECONDS -lt $end ] || exit
done
pkill -STOP -x bootwelld && [ -e /srv/bootwell/images/.commit/debian.vmdk ]
END
appliance_power_cut
lab_kill pc2
appliance_start
check "generation 1 is what there is" [ "$(generation)" = 1 ]
check "and nothing half-made" [ -z "$(half_made)" ]

# --- three PCs at work
pc_start pc2 2
# at_work NAME: writes patterns all over its disk and reads them back, each time as a new session, until it is told to stop
at_work() {
	local n=$1 i=0 at=() secret=$soft_secret
	local disk=driver=iscsi,transport=tcp,portal=10.77.0.1,target=$soft_target,lun=0,user=$soft_user,password-secret=s,initiator-name=$soft_initiator
	while [ ! -e "$LAB/enough" ]; do
		i=$((i + 1))
		at=()
		for m in 300 600 900 1100; do at+=(-c "write -P $((i % 250 + 1)) $((m + i % 90))M 1M" -c "read -P $((i % 250 + 1)) $((m + i % 90))M 1M"); done
		soft "$n" timeout 300 qemu-io --object "secret,id=s,data=$secret" --image-opts "$disk" "${at[@]}" >"$LAB/$n.io" 2>&1 &&
			! grep -qiE 'fail|error' "$LAB/$n.io" && [ "$(grep -c '^read 1048576/1048576' "$LAB/$n.io")" = 4 ] || { echo "round $i"; cat "$LAB/$n.io"; return 1; }
		echo $i >"$LAB/$n.rounds"
		sleep 1 # the CPU is wanted by others as well
	done
}
check "a second PC gets a disk" soft_pc a 3 ipxe
at_work a >"$LAB/a.failed" 2>&1 &
a=$!
check "a third PC gets a disk" soft_pc b 4 ipxe
at_work b >"$LAB/b.failed" 2>&1 &
b=$!
at_exit kill $a $b
rounds() { cat "$LAB/$1.rounds" 2>/dev/null || echo 0; }
more_rounds() { [ "$(rounds a)" -gt "$1" ] && [ "$(rounds b)" -gt "$2" ]; }
pc_boots "the first PC has the old generation" pc2
check "without what was changed" lab_run pc2 "mount /dev/sda1 /mnt && test -d /mnt/root && ! test -e /mnt/root/witness"
lab_run pc2 "nohup fio --name=v --filename=/dev/sda2 --size=24M --rw=randrw --bsrange=512-64k --direct=1 --ioengine=libaio \
	--iodepth=4 --rate_iops=50 --verify=crc32c --verify_fatal=1 --time_based --runtime=3600 --output=/run/fio.out >/dev/null 2>&1 & echo \$! >/run/fio.pid"
check "all three are at work" wait_for 120 more_rounds 0 0

# --- the disk is full
appliance "fallocate -l \$((\$(df -B1 --output=avail /srv/bootwell | tail -1) - 150000000)) /srv/bootwell/ballast"
refuse "a commit onto a disk that fills up" commit
check "says so: $out" grep -q "the disk with the images (/srv/bootwell/images) is full; make room there, then commit again: the session is kept" <<<"$out"
check "generation 1 is what there is" [ "$(generation)" = 1 ]
check "and nothing half-made" [ -z "$(half_made)" ]
appliance "rm /srv/bootwell/ballast"

# --- and now
before_a=$(rounds a) before_b=$(rounds b)
check "the commit with room again" commit
check "it says what it made: $(tail -1 <<<"$out")" grep -q 'generation 2 is ' <<<"$out"
check "generation 2 is what new boots get" [ "$(generation)" = 2 ]
check "the others went on through it" wait_for 120 more_rounds "$before_a" "$before_b"
touch "$LAB/enough"
check "the second PC read back all that it wrote ($(rounds a) rounds)" wait $a
check "the third PC too ($(rounds b) rounds)" wait $b
sed 's/^/# /' "$LAB/a.failed" "$LAB/b.failed"
check "the first PC's fio found every block as it had written it" lab_run pc2 "kill -INT \$(cat /run/fio.pid); tail --pid=\$(cat /run/fio.pid) -f /dev/null; grep -q 'err= 0' /run/fio.out"
check "it is still on the old generation, without an error" lab_run pc2 "test -d /mnt/root && ! test -e /mnt/root/witness && ! dmesg | grep -iE 'I/O error|EXT4-fs error'"
lab_kill pc2
pc_start pc2 2
pc_boots "it starts again" pc2
check "it has what was changed" lab_run pc2 "mount /dev/sda1 /mnt && cd /mnt/root && grep -q witness witness && [ \"\$(sha256sum <blob)\" = \"\$(cat sum)\" ]"
check "rollback" appliance "bootwell image rollback debian"
check "is to generation 1" [ "$(generation)" = 1 ]
lab_end
