#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The Debian package: the same bytes each time, nothing in it that serves by itself, units that systemd takes and that
# leave bootwelld little to harm.
. "$(dirname "$0")/../lib.sh"
requires dpkg-deb dpkg-shlibdeps file systemd-analyze strip
[ -x "$O/bootwelld" ] && [ -e "$O/handler_bootwell.so" ] || skip_all "the programs are not built (make all)"
mkdir "$TMP/a" "$TMP/b"
for d in a b; do
	for f in bootwell bootwelld bootwell-paths handler_bootwell.so man; do ln -s "$O/$f" "$TMP/$d/$f"; done
	"$TOP/conf/make-deb" "$TMP/$d" >"$TMP/out" 2>&1 || { not_ok "make-deb"; sed 's/^/# /' "$TMP/out"; exit 1; }
done
deb=$(cd "$TMP/a" && echo *.deb)
check "two builds give the same bytes" cmp "$TMP/a/$deb" "$TMP/b/$deb"
dpkg-deb -x "$TMP/a/$deb" "$TMP/root"
dpkg-deb -e "$TMP/a/$deb" "$TMP/control"
for f in usr/sbin/bootwelld usr/bin/bootwell "usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)/tcmu-runner/handler_bootwell.so" \
	usr/lib/bootwell/bootwell-paths etc/logrotate.d/bootwell \
	usr/lib/systemd/system/bootwell.service usr/lib/systemd/system/tcmu-runner.service.d/bootwell.conf usr/lib/sysusers.d/bootwell.conf \
	usr/share/bash-completion/completions/bootwell usr/share/man/man8/bootwelld.8.gz usr/share/doc/bootwell/copyright \
	usr/sbin/bootwell-capture-system usr/lib/bootwell/capture/make-capture usr/lib/bootwell/capture/init usr/lib/bootwell/capture/dhcp; do
	check "it has $f" test -s "$TMP/root/$f"
done
check "no configuration comes with it" test ! -e "$TMP/root/etc/bootwell/bootwell.conf"
check "what it puts into /etc is an administrator's to change" grep -qx /etc/logrotate.d/bootwell "$TMP/control/conffiles"
check "its generator is where systemd looks" test "$(readlink "$TMP/root/usr/lib/systemd/system-generators/bootwell-generator")" = /usr/lib/bootwell/bootwell-paths
refuse "nothing is enabled by it" grep -rqE 'systemctl.* (enable|start) ' "$TMP/control"
check "its scripts are right for sh" sh -n "$TMP/control/postinst"
for l in libsqlite3-0 "libmicrohttpd12\(t64\)\?" liburing2 tcmu-runner ipxe; do check "it depends on $l" grep -q "^Depends:.*\b$l\b" "$TMP/control/control"; done
sed -i "s,=-\?+\?/usr/sbin/,=$TMP/root/usr/sbin/,; s,=/usr/bin/bootwell,=$TMP/root/usr/bin/bootwell," "$TMP/root/usr/lib/systemd/system/"*.service
for u in "$TMP"/root/usr/lib/systemd/system/bootwell*.service; do
	out=$(systemd-analyze verify --man=no --recursive-errors=no "$u" 2>&1 | grep -v 'tcmu-runner.service' | grep -F "$u")
	check "systemd takes $(basename "$u")${out:+: $out}" test -z "$out"
done

# The units as they run: with the paths of a configuration, and for tcmu-runner beneath what Debian's own unit says.
units=$TMP/root/usr/lib/systemd/system
printf '[dhcp]\nrange = 10.0.0.1-10.0.0.9\n' >"$TMP/bootwell.conf"
mkdir "$TMP/generator" && ln -s "$TMP/root/usr/lib/bootwell/bootwell-paths" "$TMP/bootwell-generator"
check "the generator" env BOOTWELL_CONFIG="$TMP/bootwell.conf" "$TMP/bootwell-generator" "$TMP/generator" "$TMP/generator" "$TMP/generator"
for u in bootwell tcmu-runner; do
	check "it makes the paths of $u" grep -qx 'ReadWritePaths=-/run/bootwell' "$TMP/generator/$u.service.d/bootwell.paths.conf"
	mkdir -p "$units/$u.service.d"
	cp "$TMP/generator/$u.service.d/bootwell.paths.conf" "$units/$u.service.d/"
done
check "without a configuration it makes none" env BOOTWELL_CONFIG=/nonexistent "$TMP/bootwell-generator" "$TMP" "$TMP" "$TMP"
refuse "none at all" test -e "$TMP/bootwell.service.d"
printf '[Service]\nType=dbus\nBusName=org.kernel.TCMUService1\nKillMode=process\nExecStart=/usr/bin/tcmu-runner\n' >"$units/tcmu-runner.service"
out=$(systemd-analyze verify --man=no --recursive-errors=no "$units/tcmu-runner.service" 2>&1 | grep -F "$units/tcmu-runner.service.d")
check "systemd takes what is said for tcmu-runner${out:+: $out}" test -z "$out"
exposure() { systemd-analyze security --offline=true --no-pager "$units/$1.service" 2>/dev/null | sed -n 's/.*exposure level[^:]*: \([0-9.]*\).*/\1/p'; }
# written UNIT: the last column of its row in the table of docs/sandbox.md
written() { sed -n "s/^| $1.service |.*| \([0-9.]*\) |\$/\1/p" "$TOP/docs/sandbox.md"; }
for u in bootwell tcmu-runner; do
	is=$(exposure $u)
	echo "# NOTE exposure of $u.service: $is"
	check "the exposure of $u is at most what docs/sandbox.md says ($is, $(written $u))" \
		awk -v is="$is" -v says="$(written $u)" 'BEGIN { exit !(is != "" && says != "" && is <= says + 0) }'
done
