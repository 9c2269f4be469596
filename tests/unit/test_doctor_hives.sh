#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The doctor on registries of real Windows. They are nobody's to give out, so they are not here and nothing is fetched:
# a folder that has some of those below is named by BOOTWELL_HIVES, and each is known by its SHA-256. They are test data
# of mkorman90/regipy (regipy_tests/data/NAME.xz, commit f315415864889c3ee2a03d8a9e5c52486dcb631b, without the xz).
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/unit/windows.sh
. "$(dirname "$0")/windows.sh"
[ -n "${BOOTWELL_HIVES:-}" ] || skip_all "BOOTWELL_HIVES names no folder with registries of real Windows"

says() { grep -qE -- "$1" "$TMP/out" || { sed 's/^/# /' "$TMP/out"; return 1; }; }
silent() { ! grep -qE -- "$1" "$TMP/out" || { sed 's/^/# /' "$TMP/out"; return 1; }; }
once() {
	[ -z "$(sed 's/^...... *//' "$TMP/out" | grep -v -- '->' | sort | uniq -d)" ] && return 0
	sed 's/^/# /' "$TMP/out"
	return 1
}
head -c 20000 /dev/urandom >"$TMP/driver.sys"
drivers() { cp "$TMP/driver.sys" "$1/Windows/System32/drivers/$DRIVER"; }
# look NAME SHA256 WHAT DRIVER: true if it is there; then the doctor has looked at a disk with it, status in $status
look() {
	local file=$BOOTWELL_HIVES/$1
	if [ ! -r "$file" ] || [ "$(sha256sum <"$file")" != "$2  -" ]; then
		echo "ok - $3, $1 # SKIP no such file, or another one, in BOOTWELL_HIVES"
		return 1
	fi
	DRIVER=$4
	DISK_SIZE=80 DISK_MORE=drivers disk "$TMP/real.raw" "$file" ""
	"$O/bootwell" image doctor "$TMP/real.raw" >"$TMP/out" 2>&1
	status=$?
	"$O/bootwell-doctor" --mend "xp 7 id" "$TMP" raw real.raw 0 >/dev/null 2>"$TMP/mended"
	return 0
}
kept() { ! grep -E "$1" "$TMP/mended" || return 1; } # nothing was changed of that

if look SYSTEM \
	e178813e4643e8ccf4d1ccc505ddc128041b6135277417b98219dfe3167450c3 "Windows 7" E1G60I32.sys; then
	check "Windows 7: nothing certain stands against a boot" [ $status = 0 ]
	check "its initiator is right with BootFlags" says '^ok .*iScsiPrt.*BootFlags 1'
	check "so is its card" says '^ok .*VEN_8086&DEV_100F.*E1G60 starts with the kernel when'
	check "optional filters are no matter" says '^ok .*Psched.* does not wait for'
	check "each thing is said once" once
	check "its WfpLwf is mandatory and late, likely to be in the way" says '^watch .*WfpLwf.*does not start'
	check "a mend leaves the first three as they are" kept 'iScsiPrt|E1G60|Psched'
fi
if look SYSTEM_2 \
	b9e8845e957aeb7919a89bb75b3fcde4c353e5a3335081a4825d676e55e58fb4 "Windows 8" e1i63x64.sys; then
	check "Windows 8, log not written out: nothing is certain" [ $status = 0 ]
	check "which is said" says '^\? .*has a log that Windows has not written out'
	check "its initiator is right with BootFlags" says '^ok .*iScsiPrt.*BootFlags 1'
	check "nothing of it can be changed" kept ' now$'
fi
if look SYSTEM_B \
	9154e260abdc4ac206ef9d872dd4e1add0150b869bda5b112944af2ff5ec39b4 "Windows 10" e1i63x64.sys; then
	check "Windows 10, log not written out: nothing is certain" [ $status = 0 ]
	check "its card is right with BootFlags" says '^ok .*VEN_8086&DEV_1502.*BootFlags 1'
	check "Wi-Fi is no card to boot from" says 'VEN_14E4&DEV_4727.*Wi-Fi'
	check "so its filters do not matter" silent 'NativeWifiP|vwififlt'
	check "each thing is said once" once
fi
if look SYSTEM_WIN_10_1709 \
	327b5f8ef6aac317d5ab35ddec2aa3fb4fba008559768353347a5ca4d660f058 "Windows 10 build 16299" e1i65x64.sys; then
	check "Windows 10 1709: nothing is certain" [ $status = 0 ]
	check "what must not start at boot is no matter" says '^ok .*(NdisCap|l2bridge).* does not wait for'
	check "nothing is said of it but that" silent '^(BAD|watch|\?) .*(NdisCap|l2bridge|Psched)'
	check "each thing is said once" once
	check "a mend leaves them as they are" kept 'NdisCap|l2bridge|Psched'
fi
if look corrupted_system_hive \
	ec35435f882ccd14610d7a15ba1f6ddd9af6d3fe1e8200c1a95652c1b6bb558e "a damaged registry" none.sys; then
	check "a damaged registry is bad" [ $status = 1 ]
	check "as it cannot be read" says '^BAD .*registry .* cannot be read'
fi
