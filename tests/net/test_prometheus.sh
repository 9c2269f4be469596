#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian's Prometheus scrapes a bootwelld, with the rules that are installed: promtool finds nothing wrong with /metrics,
# and an alert fires after the thing it is about happened.
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/net/netlab.sh
. "$(dirname "$0")/netlab.sh"
requires prometheus promtool curl jq

lab_switch
lab_ns srv
lab_plug srv lan
in_ns srv ip link set lo up
in_ns srv ip addr add 10.77.0.1/24 brd + dev lan
daemon_files
cat >"$C" <<END
[server]
state = $TMP/state
run = $TMP/run
[dhcp]
interface = lan
range = 10.77.0.101-10.77.0.110
[http]
metrics = everyone
[tftp]
fastpath = off
[images]
path = $TMP/images
[write-back]
path = $TMP/store
END
daemon_start
wait_for 20 in_ns srv curl -fs http://127.0.0.1:8001/metrics -o "$TMP/metrics" || { not_ok "bootwelld answers"; cat "$TMP/daemon.log"; exit 1; }
if promtool check metrics <"$TMP/metrics" >"$TMP/out" 2>&1; then ok "promtool finds nothing wrong with /metrics"; else not_ok "promtool finds nothing wrong with /metrics"; sed 's/^/# /' "$TMP/out"; fi

cat >"$TMP/prometheus.yml" <<END
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [$TOP/conf/bootwell.rules.yml]
scrape_configs:
  - {job_name: bootwell, static_configs: [{targets: ["10.77.0.1:8001"]}]}
END
ip netns exec "$(ns srv)" prometheus --config.file="$TMP/prometheus.yml" --storage.tsdb.path="$TMP/tsdb" --web.listen-address=127.0.0.1:9090 >"$TMP/prometheus.log" 2>&1 &
at_exit kill $!
ask() { in_ns srv curl -fsG "http://127.0.0.1:9090/api/v1/query" --data-urlencode "query=$1" | jq -r '.data.result[0].value[1]'; }
is() { test "$(ask "$1")" = "$2"; }
check "Prometheus scrapes it" wait_for 60 is 'up{job="bootwell"}' 1
check "and has its version" is 'count(bootwell_build_info)' 1
check "no alert fires" is 'count(ALERTS{alertstate="firing"}) or vector(0)' 0
echo "rnage = 1" >>"$C"
kill -HUP "$daemon"
check "a mistake in the configuration is an alert" wait_for 60 is 'ALERTS{alertname="BootwellConfigRefused",alertstate="firing"}' 1
sed -i '$d' "$C"
kill -HUP "$daemon"
check "which ends with the mistake" wait_for 60 is 'count(ALERTS{alertname="BootwellConfigRefused"}) or vector(0)' 0
