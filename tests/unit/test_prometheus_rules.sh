#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The alerts fire when they should and only then (promtool); rules and dashboard name only metrics and labels that exist.
. "$(dirname "$0")/../lib.sh"
requires promtool jq
cp "$TOP/conf/bootwell.rules.yml" "$TOP/tests/unit/bootwell.rules_test.yml" "$TMP"
cd "$TMP" || exit 1
check "promtool takes the rules" promtool check rules bootwell.rules.yml >"$TMP/out" 2>&1
cat "$TMP/out"
if promtool test rules bootwell.rules_test.yml >"$TMP/out" 2>&1; then ok "every alert fires when it should"; else not_ok "every alert fires when it should"; sed 's/^/# /' "$TMP/out"; fi
for a in $(sed -n 's/.*alert: //p' bootwell.rules.yml); do
	check "$a has a test" grep -q "$a" bootwell.rules_test.yml
	sed -n "/alert: $a$/,/alert:/p" bootwell.rules.yml | grep -q description: || not_ok "$a says what to do"
done
known=$(grep -oh '"bootwell_[a-z_]*"' "$TOP"/daemon/control/metrics*.c "$TOP"/daemon/control/alerts.c | tr -d '"' | sort -u)
missing=$(cat "$TOP/conf/bootwell.rules.yml" "$TOP/conf/grafana-dashboard.json" | grep -oE 'bootwell_[a-z_]+' | sort -u | while read -r m; do
	m=${m%_bucket} m=${m%_sum} m=${m%_count}
	grep -qx "$m" <<<"$known" || echo "$m"
done)
check "rules and dashboard name only metrics that bootwelld has${missing:+: $missing}" test -z "$missing"
check "the dashboard is JSON with distinct panels" test "$(jq '[.panels[].id] | length == (unique | length) and length > 10' "$TOP/conf/grafana-dashboard.json")" = true
check "no panel lies over another" test "$(jq '[.panels[].gridPos | . as $p | range($p.x; $p.x + $p.w) as $x | range($p.y; $p.y + $p.h) as $y | [$x, $y]] | length == (unique | length)' "$TOP/conf/grafana-dashboard.json")" = true
