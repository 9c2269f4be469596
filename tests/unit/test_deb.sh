#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The Debian package: the same bytes each time, nothing in it that serves by itself, units that systemd takes and that
# leave bootwelld little to harm.
. "$(dirname "$0")/../lib.sh"
requires dpkg-deb dpkg-shlibdeps file systemd-analyze strip
[ -x "$O/bootwelld" ] && [ -e "$O/handler_bootwell.so" ] || skip_all "the programs are not built (make all)"
mkdir "$TMP/a" "$TMP/b"
for d in a b; do
	for f in bootwell bootwelld handler_bootwell.so man; do ln -s "$O/$f" "$TMP/$d/$f"; done
	"$TOP/conf/make-deb" "$TMP/$d" >"$TMP/out" 2>&1 || { not_ok "make-deb"; sed 's/^/# /' "$TMP/out"; exit 1; }
done
deb=$(cd "$TMP/a" && echo *.deb)
check "two builds give the same bytes" cmp "$TMP/a/$deb" "$TMP/b/$deb"
dpkg-deb -x "$TMP/a/$deb" "$TMP/root"
dpkg-deb -e "$TMP/a/$deb" "$TMP/control"
for f in usr/sbin/bootwelld usr/bin/bootwell "usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)/tcmu-runner/handler_bootwell.so" \
	usr/lib/systemd/system/bootwell.service usr/lib/systemd/system/tcmu-runner.service.d/bootwell.conf usr/lib/sysusers.d/bootwell.conf \
	usr/share/bash-completion/completions/bootwell usr/share/man/man8/bootwelld.8.gz usr/share/doc/bootwell/copyright \
	usr/sbin/bootwell-capture-system usr/lib/bootwell/capture/make-capture usr/lib/bootwell/capture/init usr/lib/bootwell/capture/dhcp; do
	check "it has $f" test -s "$TMP/root/$f"
done
check "no configuration comes with it" test ! -e "$TMP/root/etc/bootwell/bootwell.conf"
refuse "nothing is enabled by it" grep -rqE 'systemctl.* (enable|start) ' "$TMP/control"
check "its scripts are right for sh" sh -n "$TMP/control/postinst"
for l in libsqlite3-0 libmicrohttpd12 liburing2 tcmu-runner ipxe; do check "it depends on $l" grep -q "^Depends:.*\b$l\b" "$TMP/control/control"; done
sed -i "s,=-\?+\?/usr/sbin/,=$TMP/root/usr/sbin/,; s,=/usr/bin/bootwell,=$TMP/root/usr/bin/bootwell," "$TMP/root/usr/lib/systemd/system/"*.service
for u in "$TMP"/root/usr/lib/systemd/system/bootwell*.service; do
	out=$(systemd-analyze verify --man=no --recursive-errors=no "$u" 2>&1 | grep -v 'tcmu-runner.service' | grep -F "$u")
	check "systemd takes $(basename "$u")${out:+: $out}" test -z "$out"
done
exposure=$(systemd-analyze security --offline=true --no-pager "$TMP/root/usr/lib/systemd/system/bootwell.service" 2>/dev/null | sed -n 's/.*exposure level[^:]*: \([0-9.]*\).*/\1/p')
echo "# NOTE exposure of bootwell.service: $exposure"
check "the exposure of bootwelld is at most 3 ($exposure)" awk -v e="$exposure" 'BEGIN { exit !(e != "" && e <= 3.0) }'
