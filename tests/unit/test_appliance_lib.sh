#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The appliance's scripts, without an appliance: what initramfs/lib.sh decides, and the update of a system slot.
# shellcheck disable=SC2034 # settings are read through their names
. "$(dirname "$0")/../lib.sh"
requires tar sha256sum ssh-keygen dpkg cmp busybox
export BOOTWELL_RUN=$TMP/run BOOTWELL_STATE=/var/lib/bootwell BOOTWELL_LIB=$TOP/initramfs BOOTWELL_CMDLINE=$TMP/cmdline
mkdir -p "$BOOTWELL_RUN"
# shellcheck source=initramfs/lib.sh
. "$TOP/initramfs/lib.sh"

# --- the kernel's command line ---------------------------------------------------------------------------------------
echo 'console=ttyS0 bootwell.conf=LABEL=x:/a/b.conf bootwell.trial xbootwell.shell' >"$TMP/cmdline"
check "an argument with a value" test "$(argument bootwell.conf)" = LABEL=x:/a/b.conf
check "an argument without a value" test "$(argument bootwell.trial)" = yes
refuse "another word that ends like it" argument bootwell.shell

# --- files that people write -----------------------------------------------------------------------------------------
printf '\xef\xbb\xbf[dhcp]\r\nrange = a\r\nlast' >"$TMP/windows"
check "CR and the byte order mark go, lines stay" test "$(plain "$TMP/windows" | od -c)" = "$(printf '[dhcp]\nrange = a\nlast' | od -c)"
volumes=$(conf_volumes <<'END'
DEVNAME=/dev/sda1
LABEL=BOOTWELL-CO
TYPE=vfat

DEVNAME=/dev/sdb1
LABEL=BOOTWELL-CONF
TYPE=ntfs

DEVNAME=/dev/sdc1
TYPE=ext4

DEVNAME=/dev/sr1
LABEL=BOOTWELL-CONF
TYPE=iso9660

DEVNAME=/dev/sdd
LABEL=BOOTWELL-CO
TYPE=ext4

DEVNAME=/dev/sde1
LABEL=bootwell-conf
TYPE=ext4
END
)
check "volumes for the configuration: label and type both count" test "$volumes" = "/dev/sda1 vfat
/dev/sr1 iso9660
/dev/sde1 ext4"

# --- networks --------------------------------------------------------------------------------------------------------
network_files "$TMP/net0"
check "no [network]: DHCP on every wired interface" grep -qx DHCP=ipv4 "$TMP/net0/50-bootwell.network"
CONF_NETWORKS=2
CONF_NETWORK_NAME_0=room CONF_NETWORK_INTERFACE_0=52:54:00:00:00:01 CONF_NETWORK_ADDRESS_0=192.168.1.10/24
CONF_NETWORK_GATEWAY_0=192.168.1.1 CONF_NETWORK_DNS_0='192.168.1.1 9.9.9.9'
CONF_NETWORK_NAME_1=office CONF_NETWORK_INTERFACE_1=eth1 CONF_NETWORK_ADDRESS_1=dhcp CONF_NETWORK_GATEWAY_1='' CONF_NETWORK_DNS_1=''
network_files "$TMP/net2"
f=$TMP/net2/10-bootwell.network
check "a static address on the interface with this MAC" test "$(grep -c -e '^MACAddress=52:54:00:00:00:01$' -e '^Address=192.168.1.10/24$' -e '^Gateway=192.168.1.1$' -e '^DNS=' -e '^ConfigureWithoutCarrier=yes$' "$f")" = 6
refuse "it asks no DHCP" grep -q DHCP "$f"
check "DHCP on the other" grep -qx DHCP=ipv4 "$TMP/net2/11-bootwell.network"
refuse "which has no address of its own" grep -q Address= "$TMP/net2/11-bootwell.network"
CONF_NETWORKS=1 CONF_NETWORK_INTERFACE_0=
network_files "$TMP/net1" eth7
check "one network without a name takes the interface that was found" grep -qx Name=eth7 "$TMP/net1/10-bootwell.network"

CONF_PATH_STATE=/var/lib/bootwell CONF_PATH_STORE=/srv/fast/store CONF_PATH_IMAGES=/var/lib/bootwell/images
check "a path that the state disk does not keep is named" test "$(kept_elsewhere)" = "/srv/fast/store lies outside /var/lib/bootwell, which is all that the state disk keeps"

# --- the disk for the state ------------------------------------------------------------------------------------------
truncate -s 64M "$TMP/disk"
size=$((64 << 20))
check "a new disk is empty" is_empty "$TMP/disk" $size
for at in 0 1000000 $((size - 512)); do
	cp --sparse=always "$TMP/disk" "$TMP/disk2"
	printf x | dd of="$TMP/disk2" bs=1 seek=$at conv=notrunc status=none
	refuse "a disk with one byte at $at is not" is_empty "$TMP/disk2" $size
done
mke2fs -q -F -t ext4 "$TMP/disk2" 2>/dev/null
refuse "a disk with a file system is not" is_empty "$TMP/disk2" $size

# --- GRUB's environment ----------------------------------------------------------------------------------------------
env=$TMP/grubenv
check "grubenv is made" grubenv_set "$env" good=a good_id=0123 try=
check "it has 1024 bytes" test "$(stat -c %s "$env")" = 1024
check "a value is read back" test "$(grubenv_get "$env" good_id)" = 0123
grubenv_set "$env" try=b good=b
check "a new value replaces the old one, others stay" test "$(grubenv_get "$env" good) $(grubenv_get "$env" good_id) $(grubenv_get "$env" try)" = "b 0123 b"
if command -v grub-editenv >/dev/null; then
	check "GRUB reads the same" test "$(grub-editenv "$env" list | sort | tr '\n' ' ')" = "good=b good_id=0123 try=b "
	grub-editenv "$env" set try=
	check "and what GRUB writes is read back" test "$(grubenv_get "$env" good),$(grubenv_get "$env" try)" = b,
fi
refuse "more than GRUB's 1024 bytes" grubenv_set "$env" "long=$(head -c 1100 /dev/zero | tr '\0' x)"
check "and the old file is still there" test "$(grubenv_get "$env" good)" = b

# --- an update -------------------------------------------------------------------------------------------------------
slots=$TMP/slots lib=$TMP/lib
mkdir -p "$slots" "$lib" "$TMP/build/iso"
cp "$TOP/initramfs/lib.sh" "$lib/"
echo 1.0.0 >"$lib/version"
ssh-keygen -q -t ed25519 -N '' -C '' -f "$TMP/key"
ssh-keygen -q -t ed25519 -N '' -C '' -f "$TMP/other"
echo "bootwell namespaces=\"bootwell-update\" $(cat "$TMP/key.pub")" >"$TMP/signers"
system() { BOOTWELL_LIB=$lib BOOTWELL_SIGNERS=$TMP/signers BOOTWELL_SLOTS=$slots "$TOP/initramfs/system" "$@" >"$TMP/out" 2>&1; }
said() { grep -q "$1" "$TMP/out"; }
make_update() { # VERSION ID KEY [BUILD]
	echo "$1" >"$TMP/build/iso/version"
	echo "${4:-1000}" >"$TMP/build/iso/build"
	echo "$2" >"$TMP/build/iso/id"
	for n in vmlinuz initrd system.squashfs; do head -c 70000 /dev/urandom >"$TMP/build/iso/$n"; done
	"$TOP/initramfs/make-update" "$TMP/build" "$3" >/dev/null
}
echo medium >"$BOOTWELL_RUN/slot"
make_update 1.1.0 00000000000000a1 "$TMP/key"
check "an update is taken" system update "$TMP/build/bootwell.update"
check "it lies in slot a, byte for byte" cmp "$slots/a/system.squashfs" "$TMP/build/iso/system.squashfs"
check "the next start tries it" test "$(grubenv_get "$slots/grubenv" try) $(grubenv_get "$slots/grubenv" try_id)" = "a 00000000000000a1"
check "it is not the good one yet" test -z "$(grubenv_get "$slots/grubenv" good)"
echo a >"$BOOTWELL_RUN/slot"
check "the health check makes it the good one" system good a
check "good and id are there, the trial is over" test "$(grubenv_get "$slots/grubenv" good) $(grubenv_get "$slots/grubenv" good_id)$(grubenv_get "$slots/grubenv" try)" = "a 00000000000000a1"
make_update 1.2.0 00000000000000b2 "$TMP/key"
check "the next update" system update "$TMP/build/bootwell.update"
check "goes to slot b, slot a stays" test "$(cat "$slots/a/version") $(cat "$slots/b/version")" = "1.1.0 1.2.0"
echo a >"$BOOTWELL_RUN/slot" # b did not come up: GRUB struck it out and started a
grubenv_set "$slots/grubenv" try=
make_update 1.2.1 00000000000000b3 "$TMP/key"
check "after a fall-back the next one" system update "$TMP/build/bootwell.update"
check "replaces b and never a" test "$(cat "$slots/a/version") $(cat "$slots/b/version")" = "1.1.0 1.2.1"
check "status names all of it" system status
check "with the slot that is tried" said 'at the next start: tries b'

before=$(cat "$slots/grubenv" "$slots"/?/id | sha256sum)
unchanged() { test "$(cat "$slots/grubenv" "$slots/a/id" "$slots/b/id" 2>/dev/null | sha256sum)" = "$before"; }
make_update 1.3.0 00000000000000c4 "$TMP/other"
refuse "an update that a stranger signed" system update "$TMP/build/bootwell.update"
check "says so" said 'not signed by a key of'
check "and changes nothing" unchanged
make_update 1.3.0 00000000000000c4 "$TMP/key"
mkdir "$TMP/x"
tar -C "$TMP/x" -xf "$TMP/build/bootwell.update"
sed 's/^version .*/version 9.0/' "$TMP/x/manifest" >"$TMP/x/m" && mv "$TMP/x/m" "$TMP/x/manifest"
tar -C "$TMP/x" -cf "$TMP/changed.update" manifest manifest.sig vmlinuz initrd system.squashfs
refuse "a manifest that was changed" system update "$TMP/changed.update"
check "changes nothing" unchanged
tar -C "$TMP/x" -xf "$TMP/build/bootwell.update"
printf x | dd of="$TMP/x/system.squashfs" bs=1 seek=40000 conv=notrunc status=none
tar -C "$TMP/x" -cf "$TMP/changed.update" manifest manifest.sig vmlinuz initrd system.squashfs
refuse "a file that was changed" system update "$TMP/changed.update"
check "is named" said 'system.squashfs of .* is not what its manifest says'
check "and nothing is tried at the next start" test -z "$(grubenv_get "$slots/grubenv" try)"
check "and the good one is what it was" test "$(grubenv_get "$slots/grubenv" good) $(cat "$slots/a/version")" = "a 1.1.0"
head -c 100000 "$TMP/build/bootwell.update" >"$TMP/cut.update"
refuse "a file that is cut off" system update "$TMP/cut.update"
refuse "a file that is something else" system update "$TMP/out"
# --- the start-up looks at a slot before it starts it: with the shell of the initramfs --------------------------------
small() { busybox sh -c '. "$1"; shift; "$@"' _ "$TOP/initramfs/slots.sh" "$@"; }
refuse "a slot is what was installed" small slot_damage "$slots/a"
check "the other one would be taken, if it is whole" test "$(small other_slot "$slots" a)" = medium
cp -a "$slots/a" "$slots/b"
check "as it is then" test "$(small other_slot "$slots" a)" = b
for n in vmlinuz initrd system.squashfs; do
	cp "$slots/b/$n" "$TMP/whole"
	printf x | dd of="$slots/b/$n" bs=1 seek=69999 conv=notrunc status=none
	check "a damaged $n is named" test "$(small slot_damage "$slots/b")" = $n
	check "and that slot is not taken instead of another" test "$(small other_slot "$slots" a)" = medium
	rm "$slots/b/$n"
	check "a missing $n, too" test "$(small slot_damage "$slots/b")" = $n
	cp "$TMP/whole" "$slots/b/$n"
done
grep -v ' initrd ' "$slots/a/manifest" >"$slots/b/manifest"
check "so is one that the manifest does not have" test "$(small slot_damage "$slots/b")" = initrd
rm "$slots/b/manifest"
refuse "a slot of a version without manifests is believed" small slot_damage "$slots/b"
cp "$slots/grubenv" "$TMP/kept"
check "GRUB is told of the other slot" small grub_takes "$slots" b
check "in a block that it reads" test "$(stat -c %s "$slots/grubenv") $(grubenv_get "$slots/grubenv" good)" = "1024 b"
check "with its build" test "$(grubenv_get "$slots/grubenv" good_id)" = "$(cat "$slots/b/id")"
check "or of the medium" small grub_takes "$slots" medium
check "which no slot is named for" test -z "$(grubenv_get "$slots/grubenv" good)"
mv "$TMP/kept" "$slots/grubenv"
rm -r "$slots/b"

# --- older ones ------------------------------------------------------------------------------------------------------
echo 1.3.0 >"$lib/version"
echo 1001 >"$lib/build"
refuse "an older build of the same version" system update "$TMP/build/bootwell.update"
check "is named" said 'has an older build of version 1.3.0 (1000) than the running one (1001)'
make_update 1.3.0 00000000000000c5 "$TMP/key" 1001
check "the same build is taken" system update "$TMP/build/bootwell.update"
make_update 1.3.0 00000000000000c6 "$TMP/key" 01x
refuse "a build that is no number is refused" system update "$TMP/build/bootwell.update"
make_update 1.3.0 00000000000000c4 "$TMP/key" 1000
check "with --older an older build is taken" system update "$TMP/build/bootwell.update" --older
echo 2.0.0 >"$lib/version"
refuse "an older version" system update "$TMP/build/bootwell.update"
check "says how" said '\--older'
check "and with --older it is taken" system update "$TMP/build/bootwell.update" --older
: >"$TMP/signers"
refuse "without a key nothing is taken" system update "$TMP/build/bootwell.update" --older

# --- the health check ------------------------------------------------------------------------------------------------
# systemctl is as it is: content with any of several units. The server's page is there, in a network of its own.
mkdir "$TMP/bin" "$TMP/page"
echo page >"$TMP/page/index.html"
cat >"$TMP/bin/systemctl" <<-'END'
	#!/bin/sh
	for unit; do grep -qx "$unit" "$BOOTWELL_RUN/active" && exit 0; done
	exit 3
END
cat >"$TMP/bin/ip" <<-'END'
	#!/bin/sh
	echo "2: eth0    inet 192.168.1.10/24 brd 192.168.1.255 scope global eth0"
END
chmod +x "$TMP/bin"/*
: >"$BOOTWELL_RUN/report"
echo state >"$BOOTWELL_RUN/mode"
: >"$TMP/cmdline"
well() { # UNIT...: what is active
	printf '%s\n' "$@" >"$BOOTWELL_RUN/active"
	BOOTWELL_LIB=$lib unshare -rn bash -c 'ip link set lo up && busybox httpd -f -p 127.0.0.1:8001 -h "$1" & server=$!
		until (: </dev/tcp/127.0.0.1/8001) 2>/dev/null; do kill -0 $server || exit 1; sleep 0.05; done
		PATH=$2:$PATH "$3" watch 2; status=$?; kill $server; exit $status' _ "$TMP/page" "$TMP/bin" "$TOP/initramfs/health"
}
check "server and tcmu-runner are active: it serves" well bootwell.service tcmu-runner.service
check "it says so" grep -qx serving "$BOOTWELL_RUN/health"
refuse "without tcmu-runner it does not serve" well bootwell.service
check "nor does it say so" grep -q '^not serving' "$BOOTWELL_RUN/health"
refuse "without the server it does not" well tcmu-runner.service
