# SPDX-License-Identifier: GPL-2.0-or-later
# For tests of the appliance's ISO: source it after lab.sh. The appliance is 10.77.0.1 on the lab's wire and is looked at
# as a person would: by ssh with a key, by its page, by the status file on the volume with the configuration.
# shellcheck shell=bash disable=SC2054
requires xorriso mksquashfs ssh ssh-keygen mkfs.vfat mcopy curl jq

# iso_start: the lab, the ISO (made when it is missing or older than what it is made of), a key, a new state disk
iso_start() {
	lab_start
	local newest
	newest=$(find "$TOP"/{initramfs,conf,VERSION} "$O/bootwelld" "$O/bootwell" "$O/handler_bootwell.so" -type f -newer "$O/bootwell.iso" 2>&1 | head -1)
	if [ -n "$newest" ]; then
		lab_note "making the ISO"
		"$TOP/initramfs/make-iso" "$O" >"$LAB_LOGS/make-iso.log" 2>&1 || lab_die "make-iso failed: $(tail -3 "$LAB_LOGS/make-iso.log")"
	fi
	ssh-keygen -q -t ed25519 -N '' -C lab -f "$LAB/key"
	conf=''
	iso=$O/bootwell.iso
}
# iso_arguments ARGUMENTS: from now on the kernel gets these too, as if a person had typed them in GRUB's menu. They replace
# as many bytes of the arguments that only make the screen quieter.
iso_arguments() {
	local quiet='loglevel=4 systemd.show_status=error"' more
	printf -v more "%-$((${#quiet} - 1))s\"" "$1"
	[ ${#more} = ${#quiet} ] || lab_die "no room for $1"
	LC_ALL=C sed "s,$quiet,$more," "$O/bootwell.iso" >"$LAB/iso"
	cmp -s "$O/bootwell.iso" "$LAB/iso" && lab_die "the ISO has no place for arguments"
	iso=$LAB/iso
}
# iso_plug FILE: a USB stick with these bytes is plugged in; only where iso_boot was told usb
iso_plug() {
	lab_qmp appliance "{\"execute\": \"blockdev-add\", \"arguments\": {\"node-name\": \"stick\", \"driver\": \"raw\", \"read-only\": true, \"file\": {\"driver\": \"file\", \"filename\": \"$1\"}}}" \
		'{"execute": "device_add", "arguments": {"driver": "usb-storage", "bus": "xhci.0", "drive": "stick", "id": "stick"}}' >/dev/null || lab_die "no stick"
}
# iso_conf TYPE [LABEL/PATH]: a volume for the configuration, the file from stdin (written with CR LF, as Windows does); TYPE
# vfat, ext4, iso9660; otherwise than BOOTWELL-CONF/bootwell.conf only ext4. Sets $conf.
iso_conf() {
	local label=BOOTWELL-CONF path=bootwell.conf
	[ $# = 1 ] || { label=${2%%/*}; path=${2#*/}; }
	conf=$LAB/$label.$1
	rm -rf "$conf" "$LAB/conf"
	mkdir -p "$(dirname "$LAB/conf/$path")"
	sed "s,@KEY@,$(cat "$LAB/key.pub"),; s/\$/\r/" >"$LAB/conf/$path"
	case $1 in
	vfat) truncate -s 16M "$conf"; mkfs.vfat -n BOOTWELL-CO "$conf" >/dev/null; mcopy -i "$conf" "$LAB/conf/bootwell.conf" ::/ ;;
	ext4) truncate -s 16M "$conf"; mke2fs -q -F -t ext4 -L "$label" -d "$LAB/conf" "$conf" ;;
	iso9660) xorriso -as mkisofs -quiet -r -V BOOTWELL-CONF -o "$conf" "$LAB/conf" 2>/dev/null ;;
	esac
}
# iso_conf_room [LINE...]: the room that the tests want, on a vfat volume, with more lines for [appliance]
iso_conf_room() {
	iso_conf vfat < <(
		printf '%s\n' '[appliance]' 'hostname = schoolserver' 'ssh-key.lab = @KEY@' "$@"
		cat <<-'END'
			ntp = 10.77.0.254
			state-disk = serial:LAB-STATE
			format-state-disk = yes
			images = label:bwdata

			[network room]
			address = 10.77.0.1/24

			[dhcp]
			range = 10.77.0.101-10.77.0.150
			probe = no
			[clients]
			ask-name = no
			[write-back]
			size = 1G
			[image guest]
			file = images/guest.vmdk
			[group default]
			keep = yes
		END
	)
}
# iso_conf_file NAME: a file of the volume, without CR; the appliance mounts it for a moment only when it writes
iso_conf_file() { case $(blkid -p -s TYPE -o value "$conf") in vfat) mtype -i "$conf" "::/$1" ;; ext4) debugfs -R "cat /$1" "$conf" ;; esac 2>/dev/null | tr -d '\r'; }
# iso_boot cd|usb bios|uefi [QEMU-ARGUMENTS...]: starts it. A second one at the same time has another name and address:
# iso_vm=other iso_number=2 iso_boot ...
iso_boot() {
	local medium=$1 firmware=$2 name=${iso_vm:-appliance} args=(); shift 2
	if [ "$firmware" = uefi ]; then
		[ -e "$LAB/$name.vars" ] || cp /usr/share/OVMF/OVMF_VARS_4M.fd "$LAB/$name.vars"
		args+=(-drive "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd" -drive "if=pflash,format=raw,file=$LAB/$name.vars")
	fi
	case $medium in
	cd) args+=(-drive "if=none,id=iso,media=cdrom,readonly=on,format=raw,file=$iso" -device ide-cd,drive=iso,bootindex=0) ;;
	usb) args+=(-device qemu-xhci,id=xhci -drive "if=none,id=iso,readonly=on,format=raw,file=$iso" -device usb-storage,bus=xhci.0,drive=iso,bootindex=0) ;;
	esac
	[ -z "$conf" ] || args+=(-drive "if=none,id=conf,file=$conf,format=raw" -device virtio-blk-pci,drive=conf)
	[ -e "$LAB/$name.state" ] || qemu-img create -q -f qcow2 "$LAB/$name.state" 24G
	lab_qemu "$name" "${LAB_APPLIANCE_MEMORY:-1536}" 2 "${args[@]}" \
		-drive "if=none,id=state,file=$LAB/$name.state,format=qcow2,cache=unsafe" -device virtio-blk-pci,drive=state,serial=LAB-STATE \
		-device "virtio-net-pci,netdev=wire,mac=52:54:00:77:00:0${iso_number:-1},romfile=" "$@"
}
# iso_ssh COMMAND...: as root in the appliance
iso_ssh() {
	lab_host timeout "${LAB_LIMIT:-60}" ssh -i "$LAB/key" -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=5 \
		root@10.77.0.1 "$@"
}
# iso_serves: it says so on its console (asking by ssh would slow an emulated machine down). Within 1200 s: every core may
# be busy.
iso_serves() {
	console_wait appliance "${1:-1200}" 'state +serving' 'SAFE MODE|state +not serving' && { lab_note "the appliance serves"; return; }
	console_tail appliance 60
	iso_ssh 'cat /run/appliance/bootwell.status /run/appliance/setup.log; journalctl -b -p notice --no-pager | tail -40' | sed 's/^/#   /'
	return 1
}
