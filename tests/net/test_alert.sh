#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Trouble finds the person: a configuration that is refused is told by mail (a real SMTP server, with STARTTLS and a
# login), webhook and command, once, and once more when it is over; servers that fail or hang; a restart within an
# incident; a trouble that comes and goes; what bootwell alert says; no secret anywhere.
# shellcheck disable=SC2034 # variables within eval
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/net/netlab.sh
. "$(dirname "$0")/netlab.sh"
requires curl jq python3 openssl
python3 -c 'import aiosmtpd' 2>/dev/null || skip_all "needs python3-aiosmtpd"

lab_switch
lab_ns srv
lab_plug srv lan
in_ns srv ip addr add 10.77.0.1/24 dev lan
lab_ns out # where mail and webhooks go
lab_plug out eth0
in_ns out ip addr add 10.77.0.9/24 dev eth0
daemon_files
M=$TMP/servers
mkdir "$M"
echo 200 >"$M/mode"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=10.77.0.9 -addext subjectAltName=IP:10.77.0.9 \
	-keyout "$M/key.pem" -out "$M/cert.pem" 2>/dev/null
servers_start() {
	ip netns exec "$(ns out)" "$TOP/tests/net/alert_servers.py" 10.77.0.9 "$M" \
		>"$TMP/servers.out" 2>"$TMP/servers.err" &
	servers=$!
	at_exit kill $servers
	wait_for 20 grep -q ready "$TMP/servers.out" && return
	sed 's/^/# /' "$TMP/servers.err"
	not_ok "the servers start"
	exit 1
}
servers_start
echo "right password" >"$TMP/password"
chmod 600 "$TMP/password"
# The command writes nothing (its sandbox), so it tells a web server.
cat >"$TMP/tell" <<'END'
#!/bin/bash
read -r -N 100000 body
echo x >"${0%/*}/written" || echo "nothing is written"
[ -e "${0%/*}/hang" ] && { echo waits; sleep "$(<"${0%/*}/hang")"; }
[ -e "${0%/*}/fail" ] && { head -c 1000000 /dev/zero | tr '\0' y; exit 3; }
inside=$(printf %s "$body" | jq -r .alert)
echo "event $1 alert $2 title $BOOTWELL_TITLE level $BOOTWELL_LEVEL body $inside $(env | grep -c BOOTWELL)"
END
chmod +x "$TMP/tell"
config() { # config EXTRA: what [alert] has besides
	cat >"$C" <<END
[server]
state = $TMP/state
run = $TMP/run
[dhcp]
mode = off
[tftp]
root = $TMP/tftp
[images]
path = $TMP/images
[write-back]
path = $TMP/store
[operator eye]
role = see
token = $see_hash
[operator hand]
role = operate
token = $operate_hash
[alert]
end-after = 15s
$1
END
}
bootwell() { "$O/bootwell" "$@"; }
see_hash=$(echo "eye-token-of-the-test-0" | bootwell token --hash --json | jq -r .hash)
operate_hash=$(echo "hand-token-of-the-test" | bootwell token --hash --json | jq -r .hash)
mail="mail = admin@room.example, boss@room.example
mail-from = bootwell@room.example
smtp = smtp://10.77.0.9:587
smtp-user = alert
smtp-password-file = $TMP/password
ca-file = $M/cert.pem"
hook="webhook = http://10.77.0.9/hook/TOP-SECRET-PART"
config "$mail
$hook
command = $TMP/tell"
check "the configuration is right" bootwell config check "$C"
daemon_start
sentence() { bootwell alert test --json | jq -r ".results[] | select(.way == \"$1\") | \"\(.ok) \(.answer)\""; }

# tells WAY PATTERN [OPTION]: what a test by that way says
tells() {
	local said
	said=$(sentence "$1")
	grep -q ${3:-} -- "$2" <<<"$said" || { echo "# $said"; return 1; }
}

# --- a test ----------------------------------------------------------------------------------------------------------
check "a test arrives by each way" bootwell alert test
grep -rqs . "$M/mail.1" || not_ok "the mail is there"
has() { grep -q -- "$1" "$M/mail.1" || { sed 's/^/# /' "$M/mail.1"; return 1; }; }
check "by mail: over TLS, to both" has "^RCPT admin@room.example,boss@room.example FROM bootwell@room.example TLS True"
check "with a subject of this machine's name" has "^Subject: $(in_ns srv hostname): a test of bootwell's alerts"
check "with a date" has "^Date: [A-Z][a-z][a-z], [0-9]"
check "with an id" has "^Message-ID: <[0-9a-f.]*@room.example>"
check "by webhook: JSON" eval 'jq -e ".version == 1 and .event == \"test\"" "$M/hook.1" >/dev/null'
said=$(sentence command)
words="event test alert Test title .*a test of bootwell's alerts level warning body Test 7"
check "by command: with its words" grep -q "^true .*$words" <<<"$said"
if grep -q "Landlock [0-9]" "$TMP/daemon.log"; then
	check "which can write nothing" eval 'grep -q "nothing is written" <<<"$said" && [ ! -e "$TMP/written" ]'
else
	echo "ok - which can write nothing # SKIP this kernel has no Landlock"
fi
check "the audit log has the test" eval 'bootwell audit | grep -q "root at this machine: POST /api/alerts/test"'
api=http://10.77.0.1:8001/api/alerts
list() { in_ns srv curl -fs -H "Authorization: Bearer $1" $api | jq -e 'type == "array"' >/dev/null; }
check "an operator who may see may list" list eye:eye-token-of-the-test-0
code() { in_ns srv curl -s -o /dev/null -w '%{http_code}' -X POST -H "Authorization: Bearer $1" $api/test; }
check "and not test" test "$(code eye:eye-token-of-the-test-0)" = 403
check "one who may operate may" test "$(code hand:hand-token-of-the-test)" = 200
check "without a token nobody lists" test "$(in_ns srv curl -s -o /dev/null -w '%{http_code}' $api)" = 403
rm -f "$M"/mail.* "$M"/hook.*

# --- an incident: told once, over a restart, and its end -------------------------------------------------------------
# of KIND EVENT: how many messages of that kind tell of it
of() {
	cat "$M/hook".* 2>/dev/null |
		jq -s --arg e "$1" '[.[] | select(.event == $e and .alert == "BootwellConfigRefused")] | length'
}
mails() { grep -lE "^Subject: .*: $1: .*configuration" "$M"/mail.* 2>/dev/null | wc -l; }
is() { [ "$("${@:2}")" = "$1" ]; }
check "nothing is on" eval 'bootwell alert list | grep -q "no alert is on"'
break_it() { echo "rnage = 1" >>"$C"; kill -HUP "$daemon"; }
mend_it() { sed -i '/^rnage/d' "$C"; kill -HUP "$daemon"; }
break_it
check "a mistake in the configuration is told by webhook" wait_for 30 is 1 of begin
check "and by mail" wait_for 20 is 1 mails warning
listed() { bootwell alert list --json | jq -e ".[0] | $1" >/dev/null; }
check "it is in the list" listed '.alert == "BootwellConfigRefused" and .told and .since > 1700000000'
check "for people too" eval 'bootwell alert list | grep -q "^warning  since .*  BootwellConfigRefused$"'
subject=$(jq -r '.subjects[0].summary' "$M"/hook.[0-9]* | head -1)
words=$(sed -n '/: BootwellConfigRefused/,/description/s/.*summary: "\(.*\)"/\1/p' "$TOP/conf/bootwell.rules.yml")
check "with the words of the rule" test "$subject" = "${words/'{{ $labels.instance }}'/$(in_ns srv hostname)}"
# Away for less than end-after and back, three times.
for _ in 1 2 3; do
	mend_it
	wait_for 15 listed .away || not_ok "it is away"
	break_it
	wait_for 15 listed '.away == false' || not_ok "it is back"
done
check "coming and going is no new incident" eval 'is 1 of begin && is 0 of end'
since=$(bootwell alert list --json | jq '.[0].since')
wait_for 10 grep -q '"told": true' "$TMP/run/alerts.json" || not_ok "it is remembered"
# A start does not take a configuration with mistakes: this one gets its mistake back as soon as it runs.
sed -i '/^rnage/d' "$C"
daemon_stop
daemon_start
wait_for 15 listed .away || not_ok "a round has passed without it"
break_it
check "a restart keeps it" listed ".since == $since and .told"
wait_for 15 listed '.away == false' || not_ok "it goes on"
check "and tells nothing twice" eval 'is 1 of begin && is 0 of end && is 1 mails warning'
mend_it
check "its end is told" wait_for 60 is 1 of end
check "by mail too" wait_for 20 is 1 mails over
check "and then nothing is on" eval 'bootwell alert list | grep -q "no alert is on"'
messages() { find "$M" -name "$1.*" | wc -l; }
check "one message at its beginning, one at its end" test "$(messages hook) $(messages mail)" = "2 2"

# --- what does not arrive --------------------------------------------------------------------------------------------
metric() { in_ns srv curl -fsS --unix-socket "$BOOTWELL_SOCKET" http://x/metrics | grep -qx "$1"; }
echo 500 >"$M/mode"
touch "$M/refuse" "$TMP/fail"
rm -f "$M"/mail.* "$M"/hook.*
check "a test that fails is a failure" test "$(bootwell alert test >"$TMP/out"; echo $?)" = 1
check "with what the web server said" grep -qx "webhook: failed: it answered HTTP 500" "$TMP/out"
check "with what the mail server said" grep -q "^mail: failed: .*451 come again later" "$TMP/out"
check "with what the command said" grep -q "^command: failed: it ended with 3: .*yyyy" "$TMP/out"
check "not all of it" test "$(wc -c <"$TMP/out")" -lt 1500
check "the status says so" eval 'bootwell status | grep -q "alerts by webhook do not arrive: it answered HTTP 500"'
check "and a metric" metric 'bootwell_alert_failing{way="mail"} 1'
break_it
check "an alert waits" wait_for 30 metric 'bootwell_alert_waiting{way="webhook"} 1'
echo 200 >"$M/mode"
check "and is sent when the web server is well again" wait_for 60 is 1 of begin
check "the mail server is not" metric 'bootwell_alert_waiting{way="mail"} 1'
rm "$M/refuse" "$TMP/fail"
check "and then it is" wait_for 90 is 1 mails warning
check "no problem is left of these two" eval '! bootwell status | grep -q "alerts by [mw]"'
check "they are counted" metric 'bootwell_alert_messages_total{way="mail",outcome="sent"} 2'
wait_for 60 metric 'bootwell_alert_waiting{way="command"} 0' || not_ok "the command is run again"

# --- what hangs ------------------------------------------------------------------------------------------------------
echo hang >"$M/mode"
echo "98765.$$" >"$TMP/hang"
bootwell alert test >"$TMP/out" &
tester=$!
answers() { for _ in 1 2 3 4 5; do "$O/bootwell" status >/dev/null || return 1; done; kill -0 $tester; }
check "while two ways hang the server answers" answers
wait $tester
check "a command that hangs is killed" grep -qx "command: failed: it did not end within 30 s and was killed" "$TMP/out"
check "and what it started" eval '! ps -eo args | grep -qx "sleep 98765.$$"'
check "a web server that hangs is given up" grep -q "^webhook: failed: .*timed out" "$TMP/out"
check "mail arrived beside them" grep -q "^mail: arrived" "$TMP/out"
rm "$TMP/hang"
echo 200 >"$M/mode"

# --- a login that is wrong, a password that others may read, TLS that is not trusted ---------------------------------
mend_it
echo "wrong password" >"$TMP/password"
check "a wrong password is refused by the server" tells mail '^false .*535'
echo "right password" >"$TMP/password"
chmod 644 "$TMP/password"
check "a password that others may read is not used" tells mail '^false smtp-password-file .* others may read it'
bootwell config check "$C" >"$TMP/out" 2>&1
check "and config check says so" grep -q "smtp-password-file $TMP/password is not used, because others may" "$TMP/out"
chmod 600 "$TMP/password"
config "$(grep -v ca-file <<<"$mail")"
bootwell config reload >/dev/null
check "a certificate that nobody signed is not trusted" tells mail '^false .*certificate' -i
config "mail = admin@room.example
smtp = smtp://10.77.0.9:25"
bootwell config reload >/dev/null
check "a mail server without TLS is refused" tells mail '^false .*(STARTTLS|SSL)' -iE
config "mail = admin@room.example, nobody@room.example
smtp-tls = off
smtp = smtp://10.77.0.9:25"
bootwell config reload >/dev/null
check "an address that the server refuses is told" tells mail '^false .*550 there is no nobody here'
sed -i 's/, nobody@room.example//' "$C"
bootwell config reload >/dev/null
check "unless that is said" tells mail '^true'
kill "$servers"
check "a server that is off is told" tells mail '^false .*connect' -i
config ""
sed -i '/^\[alert\]/,$d' "$C"
bootwell config reload >/dev/null
check "without [alert] a test fails" test "$(bootwell alert test >"$TMP/out" 2>&1; echo $?)" = 1
check "and says why" grep -q "has no \[alert\]" "$TMP/out"
check "wrong usage is told" test "$(bootwell alert tset 2>/dev/null; echo $?)" = 2

# --- secrets ---------------------------------------------------------------------------------------------------------
secret() { ! grep -rEl "TOP-SECRET-PART|right password|secret body" "$@"; }
bootwell status --json >"$TMP/said.status"
bootwell audit --json >"$TMP/said.audit"
check "no secret is in log, status, audit log or what is remembered" secret \
	"$TMP/daemon.log" "$TMP/said.status" "$TMP/said.audit" "$TMP/run/alerts.json" "$TMP/state/audit.log"

# --- when the sender dies, and when bootwelld does -------------------------------------------------------------------
config "$hook"
bootwell config reload >/dev/null
found() { [ "$(comm -12 <(pidof bootwelld | tr ' ' '\n' | sort) <(ip netns pids "$(ns srv)" | sort))" = "$daemon" ]; }
check "pidof finds bootwelld, and not who sends" found
sender=$(pgrep -P "$daemon" bootwelld-alert)
check "the sender has no privilege" grep -q "^CapEff:[[:space:]]*0*$" "/proc/$sender/status"
kill -9 "$sender"
check "a sender that is gone is told" tells webhook '^false the process that sends has ended'
daemon_stop
daemon_start
sender=$(pgrep -P "$daemon" bootwelld-alert)
kill -9 "$daemon"
gone() { ! kill -0 "$sender" 2>/dev/null; }
check "it ends with bootwelld" wait_for 10 gone
