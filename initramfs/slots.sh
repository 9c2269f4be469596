# SPDX-License-Identifier: GPL-2.0-or-later
# What the start-up knows of the two slots: whether one holds what was installed, and how GRUB is told of the other. For
# the small shell of the initramfs; tests/unit/test_appliance_lib.sh runs it with that.
# shellcheck shell=sh

# slot_damage FOLDER: names the first file that is not what its manifest says; fails when there is none. A slot that an
# older version wrote has no manifest, and is believed.
slot_damage() {
	[ -e "$1/manifest" ] || return 1
	for name in vmlinuz initrd system.squashfs; do
		want=$(sed -n "s/^file $name [0-9]* //p" "$1/manifest")
		if [ -z "$want" ] || [ "$(sha256sum 2>/dev/null <"$1/$name" | cut -d' ' -f1)" != "$want" ]; then
			echo "$name"
			return 0
		fi
	done
	return 1
}
# other_slot FOLDER SLOT: the other one, if it is there and whole; else medium
other_slot() {
	case $2 in a) other=b ;; *) other=a ;; esac
	if [ -s "$1/$other/system.squashfs" ] && [ -s "$1/$other/id" ] && ! slot_damage "$1/$other" >/dev/null; then
		echo $other
	else
		echo medium
	fi
}
# grub_takes FOLDER SLOT: the next start is of that one. A new grubenv (1024 bytes) beside the old one, then in its
# place
grub_takes() {
	{
		echo "# GRUB Environment Block"
		[ "$2" = medium ] || printf 'good=%s\ngood_id=%s\n' "$2" "$(cat "$1/$2/id")"
	} >"$1/grubenv.new" || return 1
	size=$(wc -c <"$1/grubenv.new")
	head -c $((1024 - size)) /dev/zero | tr '\0' '#' >>"$1/grubenv.new" || return 1
	sync && mv "$1/grubenv.new" "$1/grubenv" && sync
}
