#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Boot loaders as clients of DHCP and TFTP, each a real one in QEMU that loads files from a bootwell server and says their
# checksums on its serial line: iPXE, GRUB (started by iPXE, with GRUB's own TFTP over PXE), U-Boot, and OVMF by HTTP boot.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/netlab.sh"
requires qemu-system-x86_64 grub-mkimage tcpdump tshark python3
uboot=/usr/lib/u-boot/qemu-x86/u-boot.rom
[ -e $uboot ] || skip_all "the package u-boot-qemu is not installed"

lab_switch
lab_ns srv; lab_plug srv lan; in_ns srv ip addr add 10.77.0.1/24 brd + dev lan
in_ns sw ip tuntap add tap0 mode tap || skip_all "no tap devices here"
in_ns sw ip link set tap0 master br0 up
export BOOTWELL_SOCKET=$TMP/run/control
mkdir -p "$TMP/tftp" "$TMP/images"
# 1048576: with 512-byte blocks an exact multiple, with 1024, 1432 and 1468 not.
cp /usr/lib/ipxe/snponly.efi "$TMP/tftp/"
for size in 1 1048576 1234567; do head -c $size /dev/urandom >"$TMP/tftp/f$size"; done
lab_config "$TMP/c.conf" <<END_OF_CONFIG
[dhcp]
interface = lan
range = 10.77.0.101-10.77.0.110
probe = no
[tftp]
root = $TMP/tftp
fastpath = ${FASTPATH:-auto}
[images]
path = $TMP/images
END_OF_CONFIG

# GRUB: loads its configuration from within itself, the files by TFTP.
cat >"$TMP/grub.cfg" <<'END_OF_CONFIG'
serial --unit=0
terminal_output serial
net_bootp
sha256sum (tftp,10.77.0.1)/f1
sha256sum (tftp,10.77.0.1)/f1048576
sha256sum (tftp,10.77.0.1)/f1234567
echo grub is done
END_OF_CONFIG
grub-mkimage -O i386-pc-pxe -p '(memdisk)' -c "$TMP/grub.cfg" -o "$TMP/tftp/grub.pxe" \
	pxe tftp net serial terminal echo hashsum gcry_sha256 test || not_ok "grub-mkimage makes a network image"

ip netns exec "$(ns srv)" "$O/bootwelld" -c "$TMP/c.conf" >"$TMP/daemon.log" 2>&1 &
at_exit kill $!
wait_for 20 "$O/bootwell" status || { sed 's/^/# /' "$TMP/daemon.log"; not_ok "bootwelld starts"; exit 1; }
lab_capture srv lan "$TMP/all.pcap"

mkfifo "$TMP/keys"
exec 3<>"$TMP/keys"
# machine MAC OPTION...: begins to run; what it says is in $TMP/screen, what is written to 3 is typed
machine() {
	local mac=$1; shift
	: >"$TMP/screen"
	ip netns exec "$(ns sw)" qemu-system-x86_64 -accel tcg -m 256 -display none -vga none -nodefaults -no-reboot \
		-netdev tap,id=n,ifname=tap0,script=no,downscript=no -device ${card:-e1000},netdev=n,mac="$mac" \
		-chardev stdio,id=s,signal=off -serial chardev:s "$@" <"$TMP/keys" >>"$TMP/screen" 2>"$TMP/qemu.err" &
	machine=$!
	at_exit kill "$machine"
}
off() { kill "$machine"; wait "$machine"; } 2>/dev/null
says() { LC_ALL=C sed 's/\x1b\[[0-9;?]*[A-Za-z]//g' "$TMP/screen" | tr -d '\r' | grep -qE -- "$1"; }
screen() { LC_ALL=C sed 's/\x1b\[[0-9;?]*[A-Za-z]//g' "$TMP/screen" | tr -d '\r' | grep . | tail -30 | sed 's/^/# /'; }
# said SECONDS WHAT PATTERN
said() {
	if wait_for "$1" says "$3"; then ok "$2"; else not_ok "$2 ($3)"; screen; fi
}
sum() { sha256sum <"$TMP/tftp/$1" | cut -d' ' -f1; }

at_prompt() { [ "$(tail -c 2 "$TMP/screen")" = "> " ]; }
type_line() { wait_for 30 at_prompt; lab_type "$TMP/screen" 3 "$1"$'\r'; }

# --- iPXE, then GRUB -------------------------------------------------------------------------------------------------
machine 52:54:00:77:00:11 -M pc,graphics=off -boot n
ctrl_b() { printf '\002' >&3; says 'iPXE> '; }
check "iPXE: takes commands" wait_for 60 ctrl_b
type_line 'dhcp && echo boot file ${filename}'
said 60 "iPXE: an address, and the name of its script" '^boot file boot/[0-9a-f]+/boot.ipxe'
type_line 'imgfetch --name one tftp://10.77.0.1/f1234567 && imgstat'
said 60 "iPXE: a file of 1,234,567 bytes" '^one : 1234567 bytes'
type_line 'imgfree one'
type_line 'chain tftp://10.77.0.1/grub.pxe'
said 240 "GRUB: is loaded, and has loaded its files" 'grub is done'
for f in f1 f1048576 f1234567; do
	said 1 "GRUB: $f, byte for byte" "^$(sum $f) "
done
off

# --- U-Boot ----------------------------------------------------------------------------------------------------------
any_key() { printf ' ' >&3; says '^=> '; }
crc() { python3 -c 'import sys, zlib; print("%08x" % zlib.crc32(open(sys.argv[1], "rb").read()))' "$TMP/tftp/$1"; }
machine 52:54:00:77:00:12 -M pc,graphics=off -bios $uboot
check "U-Boot: takes commands" wait_for 90 any_key
type_line 'setenv autoload no; dhcp'
said 60 "U-Boot: an address" 'DHCP client bound to address 10\.77\.0\.1'
for size in 512 1468; do
	type_line "setenv tftpblocksize $size; setenv serverip 10.77.0.1; tftpboot 2000000 f1234567; crc32 2000000 \${filesize}; echo block size $size done"
	said 60 "U-Boot: blocks of $size" "^block size $size done\$"
	said 1 "U-Boot: byte for byte" "^crc32 for .* ==> $(crc f1234567)"
	: >"$TMP/screen"
done
type_line "setenv tftpblocksize 1468; setenv tftpwindowsize 8; tftpboot 2000000 f1048576; crc32 2000000 \${filesize}; echo windows of 8 done"
said 60 "U-Boot: windows of 8" '^windows of 8 done$'
said 1 "U-Boot: byte for byte" "^crc32 for .* ==> $(crc f1048576)"
type_line "tftpboot 2000000 nosuchfile; echo answer \$?"
said 30 "U-Boot: a file that is not there" 'TFTP error: .*(not found|1)'
off

# --- OVMF, HTTP boot -------------------------------------------------------------------------------------------------
if [ -e /usr/share/OVMF/OVMF_CODE_4M.fd ]; then
	cp /usr/share/OVMF/OVMF_VARS_4M.fd "$TMP/vars"
	# Told not to try PXE, it asks as HTTPClient.
	no=$(printf -- '-fw_cfg name=opt/org.tianocore/%s,string=n ' IPv4PXESupport IPv6PXESupport IPv6Support)
	# shellcheck disable=SC2086
	card=virtio-net-pci machine 52:54:00:77:00:13 -M q35 -m 512 $no -drive if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd \
		-drive if=pflash,format=raw,file="$TMP/vars"
	said 240 "OVMF: HTTP boot from the server's URI" 'URI: http://10.77.0.1:8001/nbp/snponly.efi'
	said 240 "OVMF: what it loaded starts, and has its script" 'bootwell: PC[0-9]+ gets no disk'
	# The capture is written in blocks, some time after the packets.
	over_http() { tshark -r "$TMP/all.pcap" -d tcp.port==8001,http -Y 'http.request.method == GET && http.request.uri == "/nbp/snponly.efi"' 2>/dev/null | grep -q .; }
	check "the boot program went over HTTP" wait_for 20 over_http
	off
else
	echo "ok - HTTP boot # SKIP the package ovmf is not installed"
fi

# shellcheck disable=SC2154
[ "$failed" = 0 ] || sed 's/^/# /' "$TMP/daemon.log" | tail -20
lab_capture_end
check "tshark finds nothing malformed" lab_well_formed "$TMP/all.pcap"
