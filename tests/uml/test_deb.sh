#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A newcomer on plain Debian 12, as README tells it: the package, one file of configuration, `systemctl start bootwell`, and a
# diskless PC starts. Then the package is removed, and what it learned stays.
# shellcheck disable=SC2154 # failed is of lib.sh
. "$(dirname "$0")/../lib.sh"
export LAB_BARE=1 # nothing of ours in the appliance's tree
. "$(dirname "$0")/lab.sh"
requires dpkg-deb dpkg-shlibdeps file strip
lab_start
"$TOP/conf/make-deb" "$O" >"$LAB_LOGS/make-deb.log" 2>&1 || lab_die "make-deb failed: $(tail -3 "$LAB_LOGS/make-deb.log")"
appliance_stage
mkdir -p "$LAB/stage/root"
cp "$O/bootwell_$(cat "$TOP/VERSION")_$(dpkg --print-architecture).deb" "$LAB/stage/root/bootwell.deb"
appliance_start
# The images are on the second disk, where the package expects them.
appliance "mkdir -p /var/lib/bootwell && mount --bind /srv/bootwell /var/lib/bootwell" || lab_die "no place for images"
# As it is after apt install; and the tree's rule that leaves texts out is not plain Debian's.
appliance "systemctl start tcmu-runner && rm -f /etc/dpkg/dpkg.cfg.d/99mmdebstrap"
check "the package is installed" appliance "dpkg -i /root/bootwell.deb >/root/log 2>&1 || { cat /root/log; exit 1; }"
[ "$failed" = 0 ] || exit 1
check "and nothing serves by that" appliance "! systemctl -q is-active bootwell && ! ss -lnu | grep -qE ':(67|69) '"
appliance "systemctl start bootwell"
check "nor when it is started without a configuration" appliance "! systemctl -q is-active bootwell && ! ss -lnu | grep -qE ':(67|69) '"
# The example, with the room's own addresses and image, and a store that fits on this disk.
appliance "sed 's/192\.168\.1\./10.77.0./g; s/xp01/guest/' /usr/share/doc/bootwell/bootwell.conf.example >/etc/bootwell/bootwell.conf
	printf '[write-back]\nsize = 2G\n' >>/etc/bootwell/bootwell.conf"
check "bootwell config check is content" appliance "bootwell config check /etc/bootwell/bootwell.conf"
check "systemctl start bootwell" appliance "systemctl start bootwell || { journalctl -b --no-pager -n 20 -u bootwell -u tcmu-runner | cat; exit 1; }"
check "bootwell status answers" appliance "bootwell status"
[ "$failed" = 0 ] || exit 1
# Nobody told systemd of the configuration: both have the sandbox of its paths, and tcmu-runner was there before.
for p in bootwelld tcmu-runner; do
	check "$p can write none of /etc, /run and /srv" appliance "nsenter -t \$(pidof $p) -m sh -c '! touch /etc/x && ! touch /run/x && ! touch /srv/x' 2>/dev/null"
done
check "tcmu-runner cannot write the state" appliance "nsenter -t \$(pidof tcmu-runner) -m sh -c '! touch /var/lib/bootwell/x /var/lib/bootwell/images/x' 2>/dev/null"
pc_start pc1 1
facts=$(appliance 'ps -o user= -C bootwelld; systemd-analyze security --no-pager bootwell | tail -1; systemd-analyze security --no-pager tcmu-runner | tail -1')
sed 's/^/#   /' <<<"$facts"
check "bootwelld runs as its own user" test "$(head -1 <<<"$facts")" = bootwell
check "systemd-analyze security: at most 3" awk '/Overall exposure level for bootwell.service/ { found = 1; bad = $(NF - 2) > 3.0 && 1 } END { exit !found || bad }' <<<"$facts"
check "and of tcmu-runner" awk '/Overall exposure level for tcmu-runner.service/ { found = 1; bad = $(NF - 2) > 2.0 && 1 } END { exit !found || bad }' <<<"$facts"
pc_boots "a diskless PC gets its disk" pc1
check "its target was made by the helper, which alone is root" appliance 'test "$(stat -c %U /proc/$(systemctl show -p MainPID --value bootwell-configfs))" = root &&
	test "$(ls -d /sys/kernel/config/target/iscsi/iqn.*/tpgt_1 | wc -l)" = 1'
lab_kill pc1
check "a restart of the service" appliance "systemctl restart bootwell && bootwell status"
check "the package is removed" appliance "dpkg -r bootwell >/root/log 2>&1 || { cat /root/log; exit 1; }"
check "nothing serves any more" appliance "! pgrep 'bootwelld|bootwell-config' && ! ss -lnu | grep -qE ':(67|69) '"
check "the configuration and what was learned stay" appliance "test -s /etc/bootwell/bootwell.conf && test -s /var/lib/bootwell/bootwell.db"
lab_end
