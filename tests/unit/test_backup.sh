#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bootwell backup and restore: what comes back is what was there, a damaged or strange archive changes nothing.
. "$(dirname "$0")/../lib.sh"
requires sqlite3 tar gzip
[ -x "$O/bootwell" ] || skip_all "bootwell is not built (make all)"
machine() { # NAME: a place like a machine; sets the environment to it
	M=$TMP/$1
	export BOOTWELL_CONFIG=$M/etc/bootwell.conf BOOTWELL_SOCKET=$M/run/control
	mkdir -p "$M/etc" "$M/run" "$M/state/ssh/etc/ssh" "$M/state/config"
}
conf() { printf '[server]\nstate = %s\n# %s\n' "$TMP/state-link" "$1"; }
bootwell() { "$O/bootwell" "$@" >"$TMP/out" 2>&1; }
said() { grep -q "$1" "$TMP/out" || { sed 's/^/# /' "$TMP/out"; false; }; }
here() { ln -sfn "$M/state" "$TMP/state-link"; }

machine old
here
conf old >"$M/etc/bootwell.conf"
echo key-old >"$M/state/ssh/etc/ssh/ssh_host_ed25519_key"
sqlite3 "$M/state/bootwell.db" 'pragma journal_mode = wal; create table t (x); insert into t values (42)' >/dev/null
# A writer that goes on while the copy is made, with what it wrote still in the journal beside the file.
sqlite3 "$M/state/bootwell.db" 'insert into t values (43)' '.shell sleep 3' &
at_exit kill $!
sleep 0.5
check "a backup is made" bootwell backup "$TMP/a.backup"
check "-c names another configuration" bootwell backup -c "$BOOTWELL_CONFIG" "$TMP/c.backup"
refuse "one that is not there is refused" bootwell backup -c "$TMP/nowhere.conf" "$TMP/n.backup"
check "only its owner can read it" test "$(stat -c %a "$TMP/a.backup")" = 600
check "it has host keys, not images" test "$(tar -tzf "$TMP/a.backup" | grep -vE '/$' | sort | tr '\n' ' ')" = "./backup ./bootwell.conf ./bootwell.db ./ssh/ssh_host_ed25519_key "

machine new
here
conf new >"$M/etc/bootwell.conf"
conf new >"$M/state/config/bootwell.conf"
echo key-new >"$M/state/ssh/etc/ssh/ssh_host_ed25519_key"
sqlite3 "$M/state/bootwell.db" 'create table t (x); insert into t values (1)'
printf 'stale' >"$M/state/bootwell.db-wal"
all() { cat "$M/etc/bootwell.conf" "$M/state/bootwell.db" "$M/state/ssh/etc/ssh/"* "$M/state/config/bootwell.conf" | sha256sum; }
before=$(all)
head -c 3000 /dev/urandom >"$TMP/strange"
refuse "something else is not restored" bootwell restore "$TMP/strange"
check "it says what it is not" said 'no backup that this version knows'
mkdir "$TMP/x"
tar -C "$TMP/x" -xzf "$TMP/a.backup"
dd if=/dev/urandom of="$TMP/x/bootwell.db" bs=1 seek=3000 count=3000 conv=notrunc status=none
tar -C "$TMP/x" -czf "$TMP/damaged" .
refuse "a damaged database is not restored" bootwell restore "$TMP/damaged"
check "it says so" said 'database is damaged'
tar -C "$TMP/x" -xzf "$TMP/a.backup"
ln -sf /etc/passwd "$TMP/x/bootwell.conf"
tar -C "$TMP/x" -czf "$TMP/link" .
refuse "a link in the archive is not followed" bootwell restore "$TMP/link"
rm "$TMP/x/bootwell.conf"
printf '[dhpc]\n' >"$TMP/x/bootwell.conf"
tar -C "$TMP/x" -czf "$TMP/mistake" .
refuse "a configuration with a mistake is not restored" bootwell restore "$TMP/mistake"
check "it names the line" said ':1: .*did you mean \[dhcp\]'
check "all of that changed nothing" test "$(all)" = "$before"
python3 - "$M/run/control" <<'END' &
import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); time.sleep(60)
END
listener=$!
wait_for 10 test -S "$M/run/control"
refuse "nothing is restored under a running bootwelld" bootwell restore "$TMP/a.backup"
check "it says what to do" said 'systemctl stop bootwell'
kill $listener
wait $listener 2>/dev/null
chmod 600 "$M/etc/bootwell.conf" # it holds a token
check "the backup is restored" bootwell restore "$TMP/a.backup"
check "who could not read the configuration still cannot" test "$(stat -c %a "$M/etc/bootwell.conf")" = 600
check "with all that was written before it" test "$(sqlite3 "$M/state/bootwell.db" 'select group_concat(x) from t')" = 42,43
check "the configuration is the old machine's" grep -q '# old' "$M/etc/bootwell.conf"
check "also the appliance's copy of it" grep -q '# old' "$M/state/config/bootwell.conf"
check "and its host key" grep -qx key-old "$M/state/ssh/etc/ssh/ssh_host_ed25519_key"
check "which nobody else reads" test "$(stat -c %a "$M/state/ssh/etc/ssh/ssh_host_ed25519_key")" = 600
check "what was there is beside it" grep -q '# new' "$M/etc/bootwell.conf.before-restore"
