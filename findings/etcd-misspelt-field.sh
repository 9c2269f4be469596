#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# etcd-server 3.4.23-4+b4, JSON gateway: a field whose name is misspelt ("val" for "value") in an otherwise right put.
# Guess before: status 400, the key keeps its value.
# Seen: status 200; the unknown field is dropped, and the key's value is now empty. A typing error is a write.
. "$(dirname "$0")/common.bash"
unpack etcd-server=3.4.23-4+b4 curl python3
seen=$(inside <<'END'
etcd --data-dir /tmp/etcd >/dev/null 2>&1 & etcd=$!
ask() { curl -sS "http://127.0.0.1:2379/v3/$1" -d "$2"; echo; }
for i in {1..100}; do curl -sf http://127.0.0.1:2379/health >/dev/null && break; sleep 0.1; done
value() { ask kv/range '{"key":"aw=="}' |
	python3 -c 'import json, sys; print(json.load(sys.stdin)["kvs"][0].get("value", "empty"))'; }
ask kv/put '{"key":"aw==","value":"dg=="}' >/dev/null
value
curl -s -o /dev/null -w '%{http_code}\n' http://127.0.0.1:2379/v3/kv/put -d '{"key":"aw==","val":"dg=="}'
value
kill $etcd; wait || true
END
)
expect "value before, status of the put, value after" "$(echo $seen)" "dg== 200 empty"
