#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Who may what over the network: operators with roles, tokens that are hashed, guesses that have to wait, what a
# stranger reads, a PC that calls itself operator, and the audit log of what was changed.
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/net/netlab.sh
. "$(dirname "$0")/netlab.sh"
requires curl jq

lab_switch
for n in srv pc guess; do lab_ns $n; done
lab_plug srv lan
lab_plug pc eth0 02:00:00:00:99:01
lab_plug guess eth0 02:00:00:00:99:02
in_ns srv ip addr add 10.77.0.1/24 brd + dev lan
in_ns pc ip addr add 10.77.0.50/24 brd + dev eth0
in_ns guess ip addr add 10.77.0.51/24 brd + dev eth0
daemon_files
token() { "$O/bootwell" token --json; }
looker=$(token) worker=$(token) admin=$(token)
config() {
	cat >"$C" <<-END
		[server]
		state = $TMP/state
		run = $TMP/run
		[dhcp]
		interface = lan
		range = 10.77.0.101-10.77.0.110
		probe = no
		[tftp]
		root = $TMP/tftp
		fastpath = off
		[images]
		path = $TMP/images
		[write-back]
		path = $TMP/store
		size = 64M
		[image one]
		file = one.raw
		[group default]
		image = one
		[operator lena]
		token = $(jq -r .hash <<<"$looker")
		[operator otto]
		role = operate
		token = $(jq -r .hash <<<"$worker")
		[operator ada]
		role = admin
		token = $(jq -r .hash <<<"$admin")
		${1:-}
	END
}
# --- the configuration ----------------------------------------------------------------------------------------------
config "[http]
token = x"
ip netns exec "$(ns srv)" "$O/bootwelld" -n -c "$C" 2>"$TMP/err"
check "a token of one character is refused" grep -q 'token: "x" is shorter than 10 characters' "$TMP/err"
config "[operator eve]
token = opensesameopensesame"
ip netns exec "$(ns srv)" "$O/bootwelld" -n -c "$C" 2>"$TMP/err"
check "an operator's token must be a hash" grep -q 'is no hash: "bootwell token"' "$TMP/err"
check "the hash of a token is scrypt's" test "$(jq -r .hash <<<"$looker" | cut -c1-3)" = '$7$'
check "a token can be given" eval "printf 'opensesame\n' | '$O/bootwell' token --hash | grep -q 'token = [$]7[$]'"
refuse "not a short one" eval "printf 'x\n' | '$O/bootwell' token --hash 2>/dev/null"

# --- roles ----------------------------------------------------------------------------------------------------------
config
daemon_start
"$O/bootwell" status >/dev/null
in_ns srv "$(dirname "$0")/dhcp_ask" if=lan first=1 wait=0.1 >/dev/null 2>&1
U=http://10.77.0.1:8001
auth() { echo "Authorization: Bearer $1:$(jq -r .token <<<"${!2}")"; } # NAME VARIABLE
code() { in_ns pc curl -s -m 20 -o "$TMP/body" -w '%{http_code}' "$@"; }
lena=$(auth lena looker) otto=$(auth otto worker) ada=$(auth ada admin)
check "a stranger does not see the status" test "$(code $U/status)" = 403
check "nor the metrics" test "$(code $U/metrics)" = 403
check "nor the audit log" test "$(code $U/api/audit)" = 403
check "the page and health are for all" test "$(code $U/)$(code $U/-/healthy)" = 200200
check "who may see sees" test "$(code -H "$lena" $U/status)" = 200
check "also metrics" test "$(code -H "$lena" $U/metrics)" = 200
check "the page is told who it is" \
	test "$(in_ns pc curl -s -H "$otto" -X POST $U/api/operator | jq -r '.name + " " + .role')" = "otto operate"
check "by Basic, too" test "$(code -u "lena:$(jq -r .token <<<"$looker")" $U/status)" = 200
check "she changes nothing" test "$(code -H "$lena" -X DELETE $U/api/clients/PC9)" = 403
check "and is told what it needs" grep -q 'lena may see here, and this needs the role operate' "$TMP/body"
check "who operates may change PCs" test "$(code -H "$otto" -X DELETE $U/api/clients/PC9)" = 404
check "but not images" test "$(code -H "$otto" -X DELETE $U/api/images/one)" = 403
check "nor the configuration" test "$(code -H "$otto" -X POST $U/api/reload)" = 403
check "an admin may" test "$(code -H "$ada" -X POST $U/api/reload)" = 200
check "another's token is not hers" \
	test "$(code -H "Authorization: Bearer lena:$(jq -r .token <<<"$admin")" $U/status)" = 403
check "uploads need the admin" test "$(code -H "$otto" http://10.77.0.1:1000/v1)" = 403
check "who may" test "$(code -H "$ada" http://10.77.0.1:1000/v1)" = 200

# --- guesses --------------------------------------------------------------------------------------------------------
guess() { in_ns guess curl -s -m 20 -o /dev/null -w '%{http_code} ' -H "Authorization: Bearer ada:wrong$1" $U/status; }
check "wrong tokens are refused, then not looked at" \
	eval 'got=$(for i in 1 2 3 4 5 6; do guess $i; done); echo "# $got"; [[ $got == *403*429* ]]'
check "then the right one is not, from there" \
	test "$(in_ns guess curl -s -m 20 -o /dev/null -w '%{http_code}' -H "$ada" -H 'X: 1' $U/status)" != 403
check "who is known elsewhere goes on" test "$(code -H "$ada" $U/status)" = 200
"$O/bootwell" metrics >"$TMP/metrics"
check "they are counted" grep -q '^bootwell_access_wrong_tokens_total [1-9]' "$TMP/metrics"
check "and those that had to wait" grep -q '^bootwell_access_delayed_tokens_total [1-9]' "$TMP/metrics"
check "the log says where they came from" grep -q "10.77.0.51 sent a token that is no operator's" "$TMP/daemon.log"

# --- a PC that is named operator ------------------------------------------------------------------------------------
cat >"$TMP/sql" <<'END'
INSERT INTO client (id, mac, name, named, "group", image, keep, upload, arch, nbp, nbp_failed, address, first_seen,
 last_seen, last_boot, overlay, reset, pc_key)
 VALUES (1, x'020000009901', 'operator-1', 1, '', '', -1, 1, 7, '', 0, 172818482, 1, 2, 3, '', '', 'old-020000009901');
END
daemon_stop
python3 -c 'import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.executescript(open(sys.argv[2]).read())' \
	"$TMP/state/bootwell.db" "$TMP/sql"
daemon_start
check "a PC may call itself operator" \
	test "$("$O/bootwell" client show operator-1 --json | jq -r .address)" = 10.77.0.50
check "and is none on the upload port" test "$(code -X DELETE 'http://10.77.0.1:1000/v1/uploads?image=one')" = 403

# --- what was changed -----------------------------------------------------------------------------------------------
check "a change is made" test "$(code -H "$otto" -X PATCH -d '{"keep":true}' $U/api/clients/operator-1)" = 200
"$O/bootwell" client set operator-1 keep=no >/dev/null
last() { "$O/bootwell" audit --json | jq -r "$1"; }
check "who, and from where" test "$(last '.[-2] | .who + " " + .from')" = "otto 10.77.0.50"
check "what was before and after" test "$(last '.[-2] | [.before.keep, .after.keep] | @csv')" = ',true'
check "and on this machine" \
	test "$(last '.[-1] | .who + " " + .from + " " + (.status|tostring)')" = "root this machine 200"
check "for people" \
	eval '"$O/bootwell" audit | grep -q "otto at 10.77.0.50: PATCH /api/clients/operator-1, keep null -> true"'
check "only root reads the file" test "$(stat -c %a "$TMP/state/audit.log")" = 600
check "an admin reads it over the network" test "$(code -H "$ada" $U/api/audit)" = 200
check "no token is in it" eval '! grep -q "$(jq -r .token <<<"$worker")" "$TMP/state/audit.log" "$TMP/daemon.log"'
daemon_stop

# --- TLS ------------------------------------------------------------------------------------------------------------
if command -v openssl >/dev/null; then
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=bootwell \
		-keyout "$TMP/key.pem" -out "$TMP/cert.pem" 2>/dev/null
	config "[http]
tls-certificate = $TMP/cert.pem"
	ip netns exec "$(ns srv)" "$O/bootwelld" -n -c "$C" 2>"$TMP/err"
	check "a certificate without a key is refused" grep -q 'tls-certificate and tls-key belong together' "$TMP/err"
	config "[http]
tls-certificate = $TMP/cert.pem
tls-key = $TMP/key.pem"
	daemon_start
	S=https://10.77.0.1:8001
	check "https on the same port, with a token" test "$(code -k -H "$ada" $S/status)" = 200
	check "the certificate is the one" \
		test "$(code --cacert "$TMP/cert.pem" --connect-to ::10.77.0.1: https://bootwell:8001/)" = 200
	check "a token in clear is not taken" test "$(code -H "$ada" $U/status)" = 403
	check "with what to do" grep -q 'by https on the same port' "$TMP/body"
	check "the page leads to https" test "$(in_ns pc curl -s -o /dev/null -w '%{redirect_url}' $U/)" = "$S/"
	check "PCs go on in clear" test "$(code $U/boot.ipxe)$(code $U/-/ready)" = 200200
	prints=$(openssl x509 -in "$TMP/cert.pem" -noout -fingerprint -sha256 | sed 's/.*=//')
	key=$(openssl x509 -in "$TMP/cert.pem" -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum)
	key=${key%% *}
	"$O/bootwell" status >"$TMP/status"
	check "bootwell status has the certificate's fingerprint" grep -q "^https: .*certificate $prints" "$TMP/status"
	check "and that of its key, which an upload is told" \
		test "$(sed -n 's/^https: .*key //p' "$TMP/status" | tr -d : | tr A-F a-f)" = "$key"
	check "uploads by https" test "$(code -k -H "$ada" https://10.77.0.1:1000/v1)" = 200
	check "no token in clear there" test "$(code -H "$ada" http://10.77.0.1:1000/v1)" = 403
	daemon_stop
else
	echo "ok - TLS # SKIP openssl is not installed"
fi
