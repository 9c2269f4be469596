# SPDX-License-Identifier: GPL-2.0-or-later
# Disks with an NTFS volume and a registry of Windows, made with what a test wants to find in them. Source it after lib.sh.
# shellcheck shell=bash
requires mkntfs ntfscat ntfs-3g hivexsh sfdisk python3 iconv

# hive FILE: an empty registry file, root key and its security descriptor only
hive() {
	python3 - "$1" <<'END'
import struct, sys
cells = b''
# nk: root key; sk right behind it
nk = struct.pack('<2sHQ15IHH', b'nk', 0x2c, 0, 0, 0, 0, 0, 0xffffffff, 0xffffffff, 0, 0xffffffff, 0x80, 0xffffffff,
                 0, 0, 0, 0, 0, 4, 0) + b'root'
size = (4 + len(nk) + 7) // 8 * 8
assert size <= 0x60
cells += struct.pack('<i', -0x60) + nk.ljust(0x5c, b'\0')
sd = bytes([1, 0, 4, 0x80]) + bytes(16)
cells += struct.pack('<i2sHIIII', -0x30, b'sk', 0, 0x80, 0x80, 1, len(sd)) + sd.ljust(0x30 - 24, b'\0')
cells += struct.pack('<i', 0x1000 - 0x20 - len(cells)).ljust(0x1000 - 0x20 - len(cells), b'\0')
hbin = struct.pack('<4sIIQQI', b'hbin', 0, 0x1000, 0, 0, 0) + cells
head = bytearray(0x1000)
struct.pack_into('<4sIIQIIIIII', head, 0, b'regf', 1, 1, 0, 1, 3, 0, 1, 0x20, 0x1000)
head[44:48] = struct.pack('<I', 1)
x = 0
for i in range(0, 508, 4):
    x ^= struct.unpack_from('<I', head, i)[0]
struct.pack_into('<I', head, 508, x)
open(sys.argv[1], 'wb').write(bytes(head) + hbin)
END
}
# stale FILE: as a registry file looks whose log Windows has not written out
stale() {
	python3 - "$1" <<'END'
import struct, sys
with open(sys.argv[1], 'r+b') as f:
    head = bytearray(f.read(512))
    struct.pack_into('<I', head, 4, struct.unpack_from('<I', head, 8)[0] + 1)
    x = 0
    for i in range(0, 508, 4):
        x ^= struct.unpack_from('<I', head, i)[0]
    struct.pack_into('<I', head, 508, x)
    f.seek(0)
    f.write(head)
END
}
wide() { printf '%s' "$1" | iconv -t UTF-16LE | od -An -v -tx1 | tr -d ' \n' | sed 's/../&,/g'; }
# hive_of FILE <TEXT: a registry file of keys and values, a line each: [KEY\\KEY], NAME=NUMBER, NAME=s:TEXT, NAME=m:TEXT|TEXT
hive_of() {
	hive "$1"
	python3 -c '
import sys
made, keys, now = set(), [], None
for line in sys.stdin:
    line = line.strip()
    if line.startswith("["):
        now = (line[1:-1], [])
        keys.append(now)
    elif "=" in line:
        now[1].append(line.split("=", 1))
for path, values in keys:
    at = ""
    for part in path.split("\\"):
        here = at + "\\" + part
        if here.lower() not in made:
            made.add(here.lower())
            print("cd " + (at or "\\") + "\nadd " + part)
        at = here
    print("cd " + at + "\nsetval %d" % len(values))
    for name, value in values:
        if value.startswith("s:"):
            text = "string:" + value[2:]
        elif value.startswith("m:"):
            wide = "".join(t + "\0" for t in value[2:].split("|")) + "\0"
            text = "hex:7:" + ",".join("%02x" % b for b in wide.encode("utf-16-le"))
        else:
            text = "dword:%d" % int(value)
        print(name + "\n" + text)
print("commit")' | hivexsh -w "$1"
}
# registry FILE ISCSI NIC FILTER PAGEFILE [MORE]: Start of initiator, of the card's driver, of a filter; where the page file is;
# MORE are lines for hivexsh, at the control set
registry() {
	hive "$1"
	local nic='{4d36e972-e325-11ce-bfc1-08002be10318}'
	hivexsh -w "$1" <<-END
		add Select
		cd Select
		setval 1
		Current
		dword:1
		cd \\
		add ControlSet001
		cd ControlSet001
		add Services
		add Enum
		add Control
		cd Services
		add iScsiPrt
		add MSiSCSI
		add e1iexpress
		add vmfilt
		add Tcpip
		cd iScsiPrt
		setval 1
		Start
		dword:$2
		cd ..
		cd MSiSCSI
		setval 2
		Start
		dword:$(($2 ? 3 : 2))
		Type
		dword:0x20
		cd ..
		cd e1iexpress
		setval 2
		Start
		dword:$3
		ImagePath
		string:\\SystemRoot\\System32\\drivers\\e1i.sys
		cd ..
		cd vmfilt
		setval 1
		Start
		dword:$4
		cd ..
		cd Tcpip
		setval 1
		Start
		dword:0
		add Parameters
		cd Parameters
		setval 2
		Hostname
		string:master
		NV Hostname
		string:master
		cd \\ControlSet001\\Enum
		add PCI
		cd PCI
		add VEN_8086&DEV_153A
		cd VEN_8086&DEV_153A
		add 3&11583659&0&C8
		cd 3&11583659&0&C8
		setval 3
		ClassGUID
		string:$nic
		Driver
		string:$nic\\0000
		Service
		string:e1iexpress
		cd \\ControlSet001\\Control
		add ComputerName
		cd ComputerName
		add ComputerName
		cd ComputerName
		setval 1
		ComputerName
		string:MASTER
		cd \\ControlSet001\\Control
		add Class
		cd Class
		add $nic
		cd $nic
		add 0000
		cd 0000
		setval 1
		DriverDesc
		string:Intel I217
		add Linkage
		cd Linkage
		setval 1
		FilterList
		hex:7:$(wide "{11111111-2222-3333-4444-555555555555}-{B5F4D659-7DAA-4565-8E41-BE220ED60542}-0000")00,00,00,00
		cd \\ControlSet001\\Control
		add Network
		cd Network
		add {4d36e974-e325-11ce-bfc1-08002be10318}
		cd {4d36e974-e325-11ce-bfc1-08002be10318}
		add {B5F4D659-7DAA-4565-8E41-BE220ED60542}
		cd {B5F4D659-7DAA-4565-8E41-BE220ED60542}
		add Ndi
		cd Ndi
		setval 2
		Service
		string:vmfilt
		FilterRunType
		dword:${FILTER_RUN_TYPE:-1}
		cd \\ControlSet001\\Control
		add Session Manager
		cd Session Manager
		add Memory Management
		cd Memory Management
		setval 1
		PagingFiles
		hex:7:$(wide "$5")00,00,00,00
		cd \\ControlSet001
		${6:-}
		commit
	END
}
# disk FILE REGISTRY DRIVER [FOLDER]: MBR, NTFS at 1 MiB; FOLDER is copied into it, and then $DISK_MORE is called with where it is
# mounted
disk() {
	rm -f "$1"
	truncate -s "${DISK_SIZE:-40}M" "$1"
	echo 'start=2048, type=7, bootable' | sfdisk -q "$1"
	truncate -s $((${DISK_SIZE:-40} - 1))M "$TMP/ntfs"
	mkntfs -q -F -s 512 -p 2048 -H 255 -S 63 "$TMP/ntfs" >/dev/null 2>&1
	if [ -n "$2" ]; then
		mkdir -p "$TMP/mnt"
		ntfs-3g "$TMP/ntfs" "$TMP/mnt" 2>/dev/null || { skip_all "ntfs-3g cannot mount here"; }
		mkdir -p "$TMP/mnt/Windows/System32/config" "$TMP/mnt/Windows/System32/drivers"
		cp "$2" "$TMP/mnt/Windows/System32/config/SYSTEM"
		[ -z "$3" ] || cp "$3" "$TMP/mnt/Windows/System32/drivers/e1i.sys"
		[ -z "${4:-}" ] || cp -r "$4/." "$TMP/mnt/"
		[ -z "${DISK_MORE:-}" ] || $DISK_MORE "$TMP/mnt"
		umount "$TMP/mnt"
	fi
	dd if="$TMP/ntfs" of="$1" bs=1M seek=1 conv=notrunc,sparse status=none
	rm "$TMP/ntfs"
}
# get DISK KEY VALUE: what the registry of a (raw) disk says, KEY with \\
get() {
	dd if="$1" of="$TMP/ntfs" bs=1M skip=1 conv=sparse status=none
	ntfscat -f "$TMP/ntfs" Windows/System32/config/SYSTEM >"$TMP/hive.now" 2>/dev/null
	printf 'cd %s\nlsval %s\n' "$2" "$3" | hivexsh "$TMP/hive.now"
}
