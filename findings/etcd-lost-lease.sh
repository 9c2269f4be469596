#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# etcd-server 3.4.23-4+b4, JSON gateway: an owner renews a lease that is gone (it came back too late, somebody else
# took over).
# Guess before: the renewal is an error (404, "requested lease not found"), as revoking it is; and a lease of 0 or -5
# seconds is refused.
# Seen: the renewal answers 200 with a result that is as of old, but for the TTL, which is left out: zero is never
# written in this JSON. Whoever looks for an error goes on believing that he is the owner. A TTL of 0 or -5 is taken
# and becomes 2.
. "$(dirname "$0")/common.bash"
unpack etcd-server=3.4.23-4+b4 curl python3
seen=$(inside <<'END'
etcd --data-dir /tmp/etcd >/dev/null 2>&1 & etcd=$!
ask() { curl -sS "http://127.0.0.1:2379/v3/$1" -d "$2"; echo; }
for i in {1..100}; do curl -sf http://127.0.0.1:2379/health >/dev/null && break; sleep 0.1; done
tell() { python3 -c 'import json, sys
d = json.load(sys.stdin)
d = d.get("result", d)
print(d.get("error", "no error"), "TTL", d.get("TTL"))'; }
ask lease/grant '{"TTL":60,"ID":42}' | tell
ask lease/keepalive '{"ID":42}' | tell
ask lease/keepalive '{"ID":4711}' | tell
ask lease/revoke '{"ID":4711}' | tell
ask lease/grant '{"TTL":0}' | tell
ask lease/grant '{"TTL":-5}' | tell
kill $etcd; wait || true
END
)
last="no error TTL 2,no error TTL 2"
expect "granted; renewed; one that is gone renewed, revoked; 0; -5" "$(echo "$seen" | paste -sd,)" \
	"no error TTL 60,no error TTL 60,no error TTL None,etcdserver: requested lease not found TTL None,$last"
