# SPDX-License-Identifier: GPL-2.0-or-later
# What the appliance's scripts share. Nothing here touches a disk or the network: tests/unit/test_appliance_lib.sh
# runs all of it on any machine.
# shellcheck shell=bash disable=SC2034

# Not /run/bootwell: systemd gives all beneath that to the user of bootwelld, and goes into mounts too.
RUN=${BOOTWELL_RUN:-/run/appliance}
STATE=${BOOTWELL_STATE:-/var/lib/bootwell}
LIB=${BOOTWELL_LIB:-/usr/lib/bootwell}
PAGE_PORT=8001

# argument NAME: its value on the kernel's command line, "yes" when it has none; fails when it is not there
argument() {
	local word
	for word in $(cat "${BOOTWELL_CMDLINE:-/proc/cmdline}"); do
		case $word in "$1") echo yes; return ;; "$1"=*) echo "${word#*=}"; return ;; esac
	done
	return 1
}

# plain FILE: the text of a file that a person may have written on Windows: no CR at the ends of lines, no byte order mark
plain() { sed -e '1s/^\xef\xbb\xbf//' -e 's/\r$//' -- "$1"; }

# is_conf_volume LABEL TYPE: whether a volume is the one for the configuration. FAT has room for 11 characters only.
is_conf_volume() {
	case $2:${1^^} in vfat:BOOTWELL-CO|vfat:BOOTWELL-CONF|ext[234]:BOOTWELL-CONF|iso9660:BOOTWELL-CONF) ;; *) return 1 ;; esac
}

# conf_volumes: from `blkid -o export` on stdin, DEVICE TYPE of each volume that may hold the configuration
conf_volumes() {
	local line device='' label='' type=''
	{ cat; echo; } | while IFS= read -r line; do
		case $line in
		DEVNAME=*) device=${line#*=} ;;
		LABEL=*) label=${line#*=} ;;
		TYPE=*) type=${line#*=} ;;
		'') [ -n "$device" ] && is_conf_volume "$label" "$type" && echo "$device $type"
			device='' label='' type='' ;;
		esac
	done
}

# network_files DIR: writes what systemd-networkd reads, from the CONF_NETWORK_* of `bootwell system settings`.
# Arguments after DIR: the interface to take when the file names none. Without any network: DHCP on every wired one.
network_files() {
	local dir=$1 standard=${2:-} i name interface address gateway dns match
	mkdir -p "$dir"
	if [ "${CONF_NETWORKS:-0}" = 0 ]; then
		printf '[Match]\nType=ether\n\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n\n[DHCPv4]\nClientIdentifier=mac\n' >"$dir/50-bootwell.network"
		return
	fi
	for ((i = 0; i < CONF_NETWORKS; i++)); do
		name=CONF_NETWORK_NAME_$i interface=CONF_NETWORK_INTERFACE_$i address=CONF_NETWORK_ADDRESS_$i
		gateway=CONF_NETWORK_GATEWAY_$i dns=CONF_NETWORK_DNS_$i
		interface=${!interface:-$standard}
		case $interface in '') match=Type=ether ;; *:*) match=MACAddress=$interface ;; *) match=Name=$interface ;; esac
		{
			printf '# [network %s]\n[Match]\n%s\n\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n' "${!name}" "$match"
			for d in ${!dns}; do echo "DNS=$d"; done
			if [ "${!address}" = dhcp ]; then
				printf 'DHCP=ipv4\n\n[DHCPv4]\nClientIdentifier=mac\n'
			else
				# The address is there also while the cable is not: bootwelld binds to it.
				printf 'Address=%s\nConfigureWithoutCarrier=yes\n' "${!address}"
				[ -n "${!gateway}" ] && echo "Gateway=${!gateway}"
			fi
		} >"$dir/1$i-bootwell.network"
	done
}

# kept_elsewhere: names each path of the configuration that the state disk does not keep
kept_elsewhere() {
	local p
	for p in CONF_PATH_STATE CONF_PATH_STORE CONF_PATH_IMAGES; do
		case ${!p:-$STATE}/ in "$STATE"/*) ;; *) echo "${!p} lies outside $STATE, which is all that the state disk keeps" ;; esac
	done
}

# --- GRUB's environment: 1024 bytes, NAME=VALUE a line, filled up with # ---------------------------------------------
# grubenv_get FILE NAME
grubenv_get() { sed -n "s/^$2=//p" "$1" 2>/dev/null | tail -1; }
# grubenv_set FILE NAME=VALUE...: a new file beside the old one, then in its place
grubenv_set() {
	local file=$1 text pair size; shift
	text=$(grep -a '=' "$file" 2>/dev/null)
	for pair; do text=$(printf '%s\n' "$text" | grep -v "^${pair%%=*}="; printf '%s' "$pair"); done
	text="# GRUB Environment Block"$'\n'$(printf '%s\n' "$text" | grep .)$'\n'
	size=${#text}
	[ "$size" -le 1024 ] || return 1
	{ printf '%s' "$text"; head -c $((1024 - size)) /dev/zero | tr '\0' '#'; } >"$file.new" && sync "$file.new" && mv "$file.new" "$file" && sync
}

# --- the disk for the state ------------------------------------------------------------------------------------------
# zeros FILE OFFSET LENGTH: whether there is nothing but zeros
zeros() { cmp -s -n "$3" -i "$2:0" "$1" /dev/zero; }
# is_empty DEVICE SIZE: no signature that blkid knows, and nothing written in its first 4 MiB and its last MiB
is_empty() {
	[ -z "$(wipefs --noheadings --no-act "$1" 2>/dev/null)" ] || return 1
	zeros "$1" 0 $((4 << 20)) && zeros "$1" $(($2 - (1 << 20))) $((1 << 20))
}

# human BYTES
human() { numfmt --to=si --suffix=B "$1" 2>/dev/null || echo "$1 bytes"; }
# last_error: the newest one of what serves; tcmu-runner counts it as one that it starts
last_error() {
	journalctl -q -b -p err -o cat -n 20 --no-pager -u 'bootwell*' -u tcmu-runner.service 2>/dev/null | grep -v 'Starting\.\.\.$' | tail -1 | head -c 300
}
