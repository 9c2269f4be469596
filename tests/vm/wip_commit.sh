#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A super client: what one PC changes in an image becomes its next generation while another PC runs on the old one; a kill
# in the middle of the commit leaves the old one; rollback is one command.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/lab.sh
. "$(dirname "$0")/lab.sh"
lab_start
appliance_config_default "
	[client super]
	mac = 52:54:00:77:01:01
	[client other]
	mac = 52:54:00:77:01:02"
appliance_start
generation() { appliance "bootwell image list" | awk '$1 == "debian" && $2 ~ /\*/ { print $2 }'; }

pc_start pc1 1
check "the PC is known" wait_for 90 appliance "bootwell client list | grep -q '^super '"
lab_kill pc1
wait_for 60 appliance "! bootwell client list | grep -q '^super .*running'"
check "it becomes the super client" appliance "bootwell client set super update-image=debian"
pc_start pc1 1
pc_boots "the super client boots" pc1
LAB_LIMIT=240 check "it changes the image" lab_run pc1 "echo witness >/root/witness && head -c 500000 /dev/urandom >/root/blob && sha256sum </root/blob >/root/sum && sync"
refuse "a commit while it runs is refused" appliance "bootwell image commit debian --yes"
LAB_LIMIT=30 lab_run pc1 "sync; echo o >/proc/sysrq-trigger" >/dev/null 2>&1 # off, all of it flushed
wait_for 20 sh -c '! kill -0 "$1" 2>/dev/null' _ "${lab_pid[pc1]}" || lab_kill pc1
wait_for 60 appliance "! bootwell client list | grep -q '^super .*running'"

pc_start pc2 2
pc_boots "another PC boots the old generation" pc2
out=$(appliance "bootwell client set other update-image=debian 2>&1")
check "nobody else can have the image too: $out" grep -q "updated by client super already" <<<"$out"
refuse "without what was changed" lab_run pc2 "test -e /root/witness"

# Killed in the middle: generation 1 stays, the session too.
# It has to have been gone for a minute.
appliance "(until bootwell image commit debian --yes; do sleep 2; done >/run/commit.out 2>&1 &)"
wait_for 150 appliance "test -e /srv/bootwell/images/.commit/debian.vmdk"
appliance "pkill -f 'until bootwell' ; pkill -x bootwell; pkill -9 -x bootwelld"
check "the server is back" wait_for 60 appliance "bootwell status >/dev/null"
check "a kill in the middle leaves the old generation" [ "$(generation)" = "1*" ]
check "and nothing half-made" appliance "! ls /srv/bootwell/images | grep -q '^debian-'"

out=$(LAB_LIMIT=400 appliance "bootwell image commit debian --yes")
check "the commit: $(tail -1 <<<"$out")" grep -q 'generation 2' <<<"$out"
check "generation 2 is what new boots get" [ "$(generation)" = "2*" ]
check "the PC that ran through it runs on, on the old one" lab_run pc2 "! test -e /root/witness && cat /usr/bin/* | sha256sum >/dev/null"
pc_reset pc2
pc_boots "after its restart" pc2
check "it has what was changed" lab_run pc2 "grep -q witness /root/witness && [ \"\$(sha256sum </root/blob)\" = \"\$(cat /root/sum)\" ]"
check "rollback" appliance "bootwell image rollback debian"
check "is to generation 1" [ "$(generation)" = "1*" ]
lab_end
