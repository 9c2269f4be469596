#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The catalogue as a person works with it: add, list, rename, remove with the names of who uses it, verify with its metric,
# and the doctor's --fix, which makes a new generation. An ordinary directory stands in for configfs.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/net/netlab.sh
. "$(dirname "$0")/netlab.sh"
# shellcheck source=tests/unit/windows.sh
. "$(dirname "$0")/../unit/windows.sh"
requires udhcpc tftp jq

lab_switch
lab_ns srv
lab_plug srv srv0
in_ns srv ip addr add 10.77.0.1/24 brd + dev srv0
daemon_files
truncate -s 64M "$TMP/images/two.raw"
export BOOTWELL_DOCTOR=$O/bootwell-doctor BOOTWELL_OVERLAY=$O/bootwell-overlay
cat >"$C" <<END
[server]
state = $TMP/state
run = $TMP/run
[dhcp]
interface = srv0
range = 10.77.0.101-10.77.0.110
probe = no
[tftp]
root = $TMP/tftp
fastpath = off
[clients]
ask-name = no
[images]
path = $TMP/images
[write-back]
path = $TMP/store
size = 64M
[image one]
file = one.raw
[group default]
image = one
computer-name = yes
[client DESK]
mac = 02:00:00:00:00:01
END
daemon_start
bootwell() { "$O/bootwell" "$@" >"$TMP/out" 2>&1 </dev/null; }
says() { grep -qE -- "$1" "$TMP/out" || { sed 's/^/# /' "$TMP/out"; return 1; }; }
metric() { "$O/bootwell" metrics | awk -v m="$1" '$1 == m { print $2 }'; }

# --- add, list, rename, remove
check "an image is added" bootwell image add xp two.raw
refuse "a name that is taken is not" bootwell image add xp one.raw
refuse "nor a file that is not there" bootwell image add other gone.vmdk
check "with its name" says 'gone.vmdk'
refuse "nor one outside of the folder" bootwell image add other ../bootwell.conf
bootwell image list
check "the list has it" says '^xp +1\* raw'
check "it is renamed" bootwell image rename xp seven
refuse "not to a name that is taken" bootwell image rename seven one
refuse "what the configuration names is not" bootwell image rename one eleven
check "with the place" says 'bootwell.conf'

# A PC boots: its disk uses the image.
cat >"$TMP/udhcpc" <<'END'
#!/bin/sh
[ "$1" = bound ] && ip addr flush dev "$interface" && ip addr add "$ip/24" brd + dev "$interface" && echo "$boot_file" >"$BOOTFILE"
exit 0
END
chmod +x "$TMP/udhcpc"
lab_ns pc
lab_plug pc eth0 02:00:00:00:00:01
boot() {
	BOOTFILE=$TMP/bootfile in_ns pc timeout 20 udhcpc -i eth0 -n -q -f -s "$TMP/udhcpc" -V PXEClient:Arch:00000:UNDI:002001 -x 0x5d:0000 -x 0x4d:69505845 >/dev/null 2>&1
	in_ns pc curl -s -m 20 "tftp://10.77.0.1/$(cat "$TMP/bootfile")" | grep -q sanboot
}
check "a PC starts" boot
"$O/bootwell" client set DESK image=seven >/dev/null
check "and again, with the other image" boot
bootwell image list
check "the list says who uses an image" says '^seven .* DESK '
"$O/bootwell" client set DESK image=- >/dev/null
refuse "it cannot be removed" bootwell image remove seven
check "while that PC has it" says 'image seven is the disk of DESK'
refuse "nor renamed" bootwell image rename seven eight
check "also with the name" says 'DESK'
check "the PC gets the other one again" boot
"$O/bootwell" client set DESK image=seven >/dev/null
refuse "nor can it be removed when it is chosen for a PC" bootwell image remove seven
check "with the name" says 'image seven is used by client DESK'
"$O/bootwell" client set DESK image=- >/dev/null
refuse "what the configuration names cannot be removed" bootwell image remove one
check "what nobody uses can" bootwell image remove seven
check "its file stays" test -e "$TMP/images/two.raw"

# --- a super client
bootwell image add xp two.raw
check "a PC becomes the super client of an image" bootwell client set DESK --update-image xp
check "it is shown" sh -c "'$O/bootwell' client show DESK | grep -q 'updates image *xp'"
refuse "nothing that it updates can be removed" bootwell image remove xp
check "with its name" says 'DESK'
refuse "nor mended" bootwell image doctor xp --fix --yes
check "until that has ended" says 'a client is updating image xp, and its work would be lost'
refuse "nobody else can have it" bootwell client set DESK --update-image one
refuse "there is nothing to commit yet" bootwell image commit xp --yes
check "it gives up" bootwell client set DESK --update-image -
refuse "and has nothing to give up any more" bootwell client set DESK --update-image -
check "other settings may be written so, too" bootwell client set DESK --keep yes --image xp
check "they are taken" sh -c "'$O/bootwell' client show DESK --json | jq -e '.keep and .images == [\"xp\"]' >/dev/null"
"$O/bootwell" client set DESK --keep - --image - >/dev/null

# --- verify
check "an image that was added without a checksum gets one" bootwell image verify xp
check "which it says" says 'this one is from now on'
check "it is verified against it" bootwell image verify xp
check "and is what it was" says 'holds what it held'
check "the metric says so" test "$(metric 'bootwell_image_check_failed{image="xp",generation="1"}')" = 0
printf x | dd of="$TMP/images/two.raw" bs=1 seek=5000000 conv=notrunc status=none
refuse "a byte that has changed is found" bootwell image verify xp
check "with the way out" says 'has changed since it was made.*rollback'
check "the metric says so too" test "$(metric 'bootwell_image_check_failed{image="xp",generation="1"}')" = 1
bootwell status
check "and the status" says '^! image xp: generation 1 does not hold what it held'
bootwell image list
check "and the list" says '^xp .* FAILED'
check "an image that was never looked at has not failed" test "$(metric 'bootwell_image_check_failed{image="one",generation="1"}')" = 0
printf '\0' | dd of="$TMP/images/two.raw" bs=1 seek=5000000 conv=notrunc status=none
check "it is good again" bootwell image verify xp
check "for the metric as well" test "$(metric 'bootwell_image_check_failed{image="xp",generation="1"}')" = 0

# --- three outcomes: damaged, absent, unreadable
img() { "$O/bootwell" image list --json | jq -r ".[] | select(.name == \"$1\") | $2"; }
status() { "$O/bootwell" status >"$TMP/status" 2>&1; grep -qE -- "$1" "$TMP/status"; }
no_status() { ! status "$1"; }
m() { metric "bootwell_image_$1{image=\"xp\",generation=\"1\"}"; }
mv "$TMP/images/two.raw" "$TMP/images/away.raw"
refuse "a file that is not there is not verified" bootwell image verify xp
check "which is no damage" says 'whether it is as it was cannot be said'
refuse "and no reason to go back" says 'rollback'
check "for the metric neither" test "$(m check_failed)" = 0
check "it is absent" test "$(img xp .check)" = absent
check "what was found before stays" test "$(img xp '.checked > 0 and .check_failed == false and .check_missed > 0')" = true
"$O/bootwell" image verify xp --json >"$TMP/out" 2>/dev/null
check "in JSON too" test "$(jq -r .outcome "$TMP/out")" = absent
check "while it is away it is a problem that says so" wait_for 20 status '^! image xp: the file two.raw of generation 1 is not in .*put it back'
check "and no damage" no_status 'does not hold what it held'
check "the metric of what is absent says so" test "$(m absent) $(m unreadable) $(m check_failed)" = '1 0 0'
"$O/bootwell" image list >"$TMP/out"
check "the list, too" says '^xp .* absent'
mv "$TMP/images/away.raw" "$TMP/images/two.raw"
check "the problem ends when it is back" wait_for 20 no_status 'image xp: the file'
check "and so does the metric" test "$(m absent)" = 0
check "it is verified" bootwell image verify xp
check "and is good" test "$(img xp .check) $(img xp .check_missed)" = 'good null'

mv "$TMP/images/two.raw" "$TMP/images/away.raw"
mkdir "$TMP/images/two.raw" # what a read of it fails at, for root as well
refuse "what cannot be read is not verified" bootwell image verify xp
check "it is unreadable" test "$(img xp .check)" = unreadable
check "which is no damage" test "$(m unreadable) $(m absent) $(m check_failed)" = '1 0 0'
check "the status says what to look at" status '^! image xp: generation 1 could not be read when it was to be verified.*journalctl'
rmdir "$TMP/images/two.raw"
head -c 1000 /dev/urandom >"$TMP/images/two.raw"
refuse "what is no image any more is damaged" bootwell image verify xp
check "by what its bytes say" test "$(img xp .check)" = damaged
check "with the way out" says 'rollback'
check "and with its metric" test "$(m check_failed) $(m absent) $(m unreadable)" = '1 0 0'
mv "$TMP/images/away.raw" "$TMP/images/two.raw"
check "it is good again" bootwell image verify xp

# --- the folder of the images goes away under the daemon, and comes back
mv "$TMP/images" "$TMP/unmounted"
check "the folder is gone: a problem says so" wait_for 20 status '^! the folder of images .* cannot be opened: No such file.*is its disk mounted'
mkdir "$TMP/images" # a mount point without its disk
check "its disk is not mounted: a problem says so" wait_for 20 status '^! none of the files of the images is in .*is its disk mounted'
check "once, not for each image" test "$(grep -c '^! .*image' "$TMP/status")" = 1
bootwell config reload
check "after a reload as well" status '^! none of the files of the images is in .*is its disk mounted'
check "and only once" test "$(grep -c '^! .*image' "$TMP/status")" = 1
check "all are absent" test "$("$O/bootwell" metrics | grep -c '^bootwell_image_absent{.*} 1')" = "$("$O/bootwell" image list --json | jq '[.[] | select(.current)] | length')"
check "and none is damaged" test "$("$O/bootwell" metrics | grep -c '^bootwell_image_check_failed{.*} 1')" = 0
refuse "nothing can be verified" bootwell image verify --all
check "and none is damaged by that" test "$("$O/bootwell" metrics | grep -c '^bootwell_image_check_failed{.*} 1')" = 0
cp "$TMP/images/"* "$TMP/unmounted/" 2>/dev/null
rm -rf "${TMP:?}/images"
mv "$TMP/unmounted" "$TMP/images"
check "it ends when the disk is back" wait_for 20 no_status '^! .*image'
check "what the log says" grep -q "are all there again" "$TMP/daemon.log"
check "and all is good" bootwell image verify --all

check "all images at once, as the weekly timer does it" bootwell image verify --all
check "one of them is bad again" sh -c "printf y | dd of='$TMP/images/two.raw' bs=1 seek=6000000 conv=notrunc status=none"
"$O/bootwell" image verify --all --json >"$TMP/all.json" 2>"$TMP/all.err"; ended=$?
check "then all at once fail" test $ended = 1
check "though each was looked at" test "$(jq -r '.[].image' "$TMP/all.json" | sort | tr '\n' ' ')" = "$("$O/bootwell" image list --json | jq -r '.[] | select(.current) | .name' | sort | tr '\n' ' ')"
check "and only that one has changed" test "$(jq -r '.[] | select(.kept == false) | .image' "$TMP/all.json")" = xp
check "which its metric says" test "$(metric 'bootwell_image_check_failed{image="xp",generation="1"}')" = 1
printf '\0' | dd of="$TMP/images/two.raw" bs=1 seek=6000000 conv=notrunc status=none
check "mended, all are good" bootwell image verify --all
refuse "what is no image is not verified" bootwell image verify none
check "with what is asked for" says 'neither a file nor an image'

# --- the doctor mends, on a new generation
head -c 20000 /dev/urandom >"$TMP/ndis.sys"
registry "$TMP/hive.bad" 3 3 2 'D:\pagefile.sys 0 0'
disk "$TMP/images/win.raw" "$TMP/hive.bad" "$TMP/ndis.sys"
sum=$(sha256sum <"$TMP/images/win.raw")
bootwell image add win win.raw
refuse "the doctor finds a Windows bad" bootwell image doctor win
check "by the name of the image" says '^BAD .*iScsiPrt'
refuse "--fix of a file is refused" bootwell image doctor "$TMP/images/win.raw" --fix --yes
check "with the way to do it" says 'image add'
refuse "without --yes it asks" bootwell image doctor win --fix
check "the doctor mends it" bootwell image doctor win --fix --yes
check "it says what" says 'iScsiPrt\) starts with the kernel now'
check "and where" says 'win: generation 2 is win-2.vmdk'
check "the generation that is in use is what it was" test "$sum" = "$(sha256sum <"$TMP/images/win.raw")"
check "the new one can be booted from" bootwell image doctor win
check "it verifies" bootwell image verify win
check "against the checksum that was made with it" says 'holds what it held'
refuse "there is nothing left to mend" bootwell image doctor win --fix --yes
check "which it says" says 'image win was not mended: nothing was found that can be mended'
check "rollback" bootwell image rollback win
refuse "is one command" bootwell image doctor win
check "a VHD when that is asked for" bootwell image doctor win --fix --yes --format vhd
check "has that name" says 'generation 3 is win-3.vhd'

# --- the PC's name
"$O/bootwell" client set DESK image=win >/dev/null
check "the PC starts from it" boot
check "its name is to be written into its disk before" grep -q "$(printf 'BWOVRLY1')" "$TMP/run/disk/1-0.patch"
check "as Windows has it" sh -c "tr -d '\\0' <'$TMP/run/disk/1-0.patch' | grep -qa DESK"
check "an image without Windows is no reason to complain" sh -c "! grep -q 'computer name' '$TMP/daemon.log'"

check "nothing half-made is left" sh -c "! ls '$TMP/images/.commit' | grep -q ."
