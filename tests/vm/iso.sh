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
	qemu-img create -q -f qcow2 "$LAB/state.qcow2" 24G
	conf=''
}
# iso_conf TYPE: a volume for the configuration, the file from stdin (written with CR LF, as Windows does); TYPE vfat, ext4, iso9660
iso_conf() {
	conf=$LAB/conf.img
	rm -rf "$conf" "$LAB/conf"
	mkdir "$LAB/conf"
	sed "s,@KEY@,$(cat "$LAB/key.pub"),; s/\$/\r/" >"$LAB/conf/bootwell.conf"
	case $1 in
	vfat) truncate -s 16M "$conf"; mkfs.vfat -n BOOTWELL-CO "$conf" >/dev/null; mcopy -i "$conf" "$LAB/conf/bootwell.conf" ::/ ;;
	ext4) truncate -s 16M "$conf"; mke2fs -q -F -t ext4 -L BOOTWELL-CONF -d "$LAB/conf" "$conf" ;;
	iso9660) xorriso -as mkisofs -quiet -r -V BOOTWELL-CONF -o "$conf" "$LAB/conf" 2>/dev/null ;;
	esac
}
# iso_conf_file NAME: a file of the volume, without CR; the appliance mounts it for a moment only when it writes
iso_conf_file() { case $(blkid -p -s TYPE -o value "$conf") in vfat) mtype -i "$conf" "::/$1" ;; ext4) debugfs -R "cat /$1" "$conf" ;; esac 2>/dev/null | tr -d '\r'; }
# iso_boot cd|usb bios|uefi [QEMU-ARGUMENTS...]
iso_boot() {
	local medium=$1 firmware=$2 args=(); shift 2
	if [ "$firmware" = uefi ]; then
		[ -e "$LAB/appliance.vars" ] || cp /usr/share/OVMF/OVMF_VARS_4M.fd "$LAB/appliance.vars"
		args+=(-drive "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd" -drive "if=pflash,format=raw,file=$LAB/appliance.vars")
	fi
	case $medium in
	cd) args+=(-drive "if=none,id=iso,media=cdrom,readonly=on,format=raw,file=$O/bootwell.iso" -device ide-cd,drive=iso,bootindex=0) ;;
	usb) args+=(-device qemu-xhci,id=xhci -drive "if=none,id=iso,readonly=on,format=raw,file=$O/bootwell.iso" -device usb-storage,bus=xhci.0,drive=iso,bootindex=0) ;;
	esac
	[ -z "$conf" ] || args+=(-drive "if=none,id=conf,file=$conf,format=raw" -device virtio-blk-pci,drive=conf)
	lab_qemu appliance "${LAB_APPLIANCE_MEMORY:-1536}" 2 "${args[@]}" \
		-drive "if=none,id=state,file=$LAB/state.qcow2,format=qcow2,cache=unsafe" -device virtio-blk-pci,drive=state,serial=LAB-STATE \
		-device "virtio-net-pci,netdev=wire,mac=52:54:00:77:00:01,romfile=" "$@"
}
# iso_ssh COMMAND...: as root in the appliance
iso_ssh() {
	lab_host timeout "${LAB_LIMIT:-60}" ssh -i "$LAB/key" -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=5 \
		root@10.77.0.1 "$@"
}
# iso_serves: its health check is content. Within 500 s: it runs under emulation, and every core may be busy.
iso_serves() {
	local end=$((SECONDS + ${1:-500}))
	until [ "$(iso_ssh 'cat /run/appliance/health' 2>/dev/null)" = serving ]; do
		[ $SECONDS -lt $end ] && lab_alive appliance || { console_tail appliance; iso_ssh 'cat /run/appliance/bootwell.status /run/appliance/setup.log; journalctl -b -p notice --no-pager | tail -40' | sed 's/^/#   /'; return 1; }
		sleep 2
	done
	lab_note "the appliance serves"
}
