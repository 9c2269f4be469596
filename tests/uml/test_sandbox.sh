#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The sandboxes of the units. tcmu-runner serves a PC's disk from images beneath /home and a store on a disk that is
# mounted after it has started, both named by the configuration alone; what somebody inside of it tries
# (handler_attempt.c) is refused.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/uml/lab.sh
. "$(dirname "$0")/lab.sh"
requires cc nsenter
lab_start
appliance_config_default "
	[client kept]
	mac = 52:54:00:77:01:01
	keep = yes"
handlers=$LAB/stage/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)/tcmu-runner
check "what tries from inside is built" cc -D_GNU_SOURCE -O1 -Wall -Werror -shared -fPIC \
	-o "$handlers/handler_attempt.so" "$TOP/tests/uml/handler_attempt.c"
printf 'file /srv/bootwell/store\nimages /srv/bootwell/images\nstate /srv/bootwell/state\n' |
	appliance_file /usr/lib/attempt
appliance_start

# look: what came of the attempts, in the last start of tcmu-runner; tried NAME RESULT
look() { attempts=$(appliance "journalctl -b --no-pager -o cat -u tcmu-runner | grep ^attempt"); }
tried() { sed -n "s/.*attempt $1: //p" <<<"$attempts" | tail -1 | grep -qE "^($2)\$"; }
ro='Read-only file system' no='Operation not permitted|Permission denied' family='Address family.*'
look
sed 's/^/#   /' <<<"$attempts"
check "all of it was tried" tried all "done"
for f in etc usr root run images state sysctl; do check "tcmu-runner cannot write: $f" tried $f "$ro"; done
for f in store configfs parameters; do check "it can write: $f" tried $f "done"; done
check "it reads nothing in /etc/shadow" tried shadow nothing
check "nor a disk of this machine" tried disk "$no"
for f in ptrace mount remount namespace module setuid chown write-and-execute; do
	check "it may not: $f" tried $f "$no"
done
for f in internet packet; do check "it has no network: $f" tried $f "$family"; done
check "it has io_uring" tried io_uring "done"
for unit in tcmu-runner bootwell; do
	appliance "systemd-analyze security --no-pager $unit | tail -1" | sed 's/^/#   /'
done

# configuration SED-SCRIPT: changes it
configuration() { appliance "sed -i '$1' /etc/bootwell/bootwell.conf"; }
# closed PROCESS PATH: it cannot make a file there
closed() { appliance "! nsenter -t \$(pidof $1) -m touch $2 2>/dev/null"; }

# Everything is somewhere else, and systemd is not told. The disk of the store is mounted when both run already.
appliance "mkdir -p /home/room/images /mnt/odd/place && mount --bind /srv/bootwell/images /home/room/images"
configuration 's,/srv/bootwell/images,/home/room/images,; s,/srv/bootwell/store,/mnt/odd/place/store,'
configuration 's,/srv/bootwell/state,/opt/room/state,'
appliance "systemctl restart bootwell tcmu-runner"
check "bootwelld runs with other paths, which nobody told systemd" appliance \
	"systemctl is-active -q bootwell tcmu-runner && test -s /opt/room/state/bootwell.db && bootwell image list"
check "the state of before is not to be written any more" closed bootwelld /srv/bootwell/state/x
appliance "mount -t tmpfs -o size=900m none /mnt/odd/place"
configuration 's/^size = .*/size = 512M/'
appliance "systemctl restart bootwell"
pc_start pc1 1
pc_boots "a PC gets its disk from an image beneath /home" pc1
check "its store lies on the disk that was mounted later" appliance \
	"mountpoint -q /mnt/odd/place && test \$(stat -c %s /mnt/odd/place/store) = 536870912"
check "it writes" lab_run pc1 "mount /dev/sda1 /mnt && echo witness >/mnt/root/witness && sync && umount /mnt"
for place in /etc/x /run/x /srv/bootwell/images/x; do
	check "tcmu-runner cannot write $place now, either" closed tcmu-runner $place
done
# has FILE...: the PC's disk has them, and they are not read from its memory
has() {
	lab_run pc1 "echo 3 >/proc/sys/vm/drop_caches; mount /dev/sda1 /mnt && cd /mnt/root && ls $* &&
		cd / && umount /mnt"
}
appliance_kill9 tcmu-runner
check "a tcmu-runner that was killed and started again has the same disk" has witness

# A configuration that names another store, or has a mistake, while the PC works: the next tcmu-runner has the old one.
configuration 's,/mnt/odd/place/store,/mnt/other/store,; s,/home/room/images,/srv/bootwell/images,; s/^range/rnage/'
appliance_kill9 tcmu-runner
check "so it has when the configuration was changed, and broken, meanwhile" has witness
check "and goes on writing" lab_run pc1 "mount /dev/sda1 /mnt && echo more >/mnt/root/more && sync && umount /mnt"
configuration 's/^rnage/range/; s,/mnt/other/store,/mnt/third/store,'
appliance "systemctl restart bootwell"
check "tcmu-runner is not restarted under PCs; it is said what to do" appliance \
	"journalctl -b --no-pager -o cat -u bootwell | grep -q 'when all PCs are off.*systemctl restart tcmu-runner'"
configuration 's,/mnt/third/store,/mnt/odd/place/store,; s,/srv/bootwell/images,/home/room/images,'
appliance "systemctl restart bootwell"
lab_kill pc1
pc_start pc1 1
pc_boots "the PC starts again" pc1
check "and has what it wrote" has witness more
lab_kill pc1

check "bootwelld writes its folder of images" appliance "nsenter -t \$(pidof bootwelld) -m touch /home/room/images/x &&
	rm /home/room/images/x"
check "and cannot write /etc" closed bootwelld /etc/x
lab_end
