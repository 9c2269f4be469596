#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The daemon evaluates the rules that are installed for Prometheus: the two lists are the same, both ways, and what
# promtool is told to expect of Prometheus is expected of the daemon.
. "$(dirname "$0")/../lib.sh"
requires python3
python3 -c 'import yaml' 2>/dev/null || skip_all "needs python3-yaml"
R=$TOP/conf/bootwell.rules.yml T=$O/tests/unit/tool_alert_rules
python3 - "$R" >"$TMP/file" <<'END'
import re, sys, yaml
for g in yaml.safe_load(open(sys.argv[1]))['groups']:
    for r in g['rules']:
        n, u = re.fullmatch(r'(\d+)([smhd])', r.get('for', '0s')).groups()
        print(r['alert'], r['labels']['severity'], int(n) * {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}[u])
END
"$T" list >"$TMP/program" || not_ok "the program knows its rules"
extra=$(comm -13 <(sort "$TMP/file") <(sort "$TMP/program") | tr '\n' ';')
missing=$(comm -23 <(sort "$TMP/file") <(sort "$TMP/program") | tr '\n' ';')
check "the daemon has no rule, level or time that the file has not${extra:+: $extra}" test -z "$extra"
check "and lacks none${missing:+: $missing}" test -z "$missing"
check "there are rules" test "$(wc -l <"$TMP/program")" -gt 15
"$TOP/tests/unit/alert_judge" "$T" "$TOP/tests/unit/bootwell.rules_test.yml" || not_ok "all cases are judged"
