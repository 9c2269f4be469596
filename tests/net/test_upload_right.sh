#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Who may upload what: the secret of a capture script is for one PC, one image, once; it goes on over a restart of the
# server and ends with the PC's next boot; a generation that was uploaded is given to nobody before somebody says so; by
# https to the server whose key the script tells; all of it is in the audit log.
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/net/netlab.sh
. "$(dirname "$0")/netlab.sh"
requires udhcpc curl jq openssl losetup qemu-img

lab_switch
lab_ns srv
lab_plug srv lan
in_ns srv ip addr add 10.77.0.1/24 brd + dev lan
daemon_files
truncate -s 32M "$TMP/images/two.raw"
admin=$("$O/bootwell" token --json)
config() { # EXTRA LINES
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
		[clients]
		ask-name = no
		[images]
		path = $TMP/images
		[write-back]
		path = $TMP/store
		size = 64M
		[image two]
		file = two.raw
		[image one]
		file = one.raw
		${2:-}
		[client MASTER]
		mac = 02:00:00:00:00:0a
		upload = yes
		capture = pc.vhd
		image = one
		[client SECOND]
		mac = 02:00:00:00:00:0b
		upload = yes
		[operator ada]
		role = admin
		token = $(jq -r .hash <<<"$admin")
		${1:-}
	END
}
bootwell() { "$O/bootwell" "$@"; }
pc() { lab_ns "$1"; lab_plug "$1" eth0 "$2"; }
cat >"$TMP/udhcpc" <<'END'
#!/bin/sh
[ "$1" = bound ] && ip addr flush dev "$interface" &&
	ip addr add "$ip/24" brd + dev "$interface" && echo "$boot_file" >"$BOOTFILE"
exit 0
END
chmod +x "$TMP/udhcpc"
ipxe() { BOOTFILE=$TMP/bootfile.$1 in_ns "$1" timeout 20 udhcpc -i eth0 -n -q -f -s "$TMP/udhcpc" \
	-V PXEClient:Arch:00000:UNDI:002001 -x 0x5d:0000 -x 0x4d:69505845 >/dev/null 2>&1; }
script() { in_ns "$1" curl -s -m 20 "tftp://10.77.0.1/$(cat "$TMP/bootfile.$1")"; }
secret_of() { sed -n 's/.* bootwell\.secret=\([0-9a-f]*\) .*/\1/p' "$1"; } # SCRIPT
secret_a='' secret_b=''
# boots PC: a new start of it; its script in $TMP/script.PC, its secret in the variable of that name
boots() { ipxe "$1" && script "$1" >"$TMP/script.$1" && printf -v "secret_$1" %s "$(secret_of "$TMP/script.$1")"; }
U=http://10.77.0.1:1000
up() { # PC AUTHORIZATION CURL-ARGUMENTS: the status; the answer in $TMP/body
	local p=$1 a=$2; shift 2
	in_ns "$p" curl -s -k -m 60 -o "$TMP/body" -w '%{http_code}' ${a:+-H "Authorization: $a"} "$@"
}
key=0123456789abcdef0123456789abcdef
begin() { # PC AUTHORIZATION NAME [MORE JSON]: the status; the upload in $id
	local code
	code=$(up "$1" "$2" $U/v1/uploads \
		-d "{\"name\":\"$3\",\"session\":\"$key\",\"size\":$((parts * 4194304))${4:-}}")
	echo "$code"
}
id() { jq -r .id "$TMP/body"; }
zero() { up "$1" "$2" -d "{\"ranges\":[[0,$parts]]}" "$U/v1/uploads/$3/zero"; }
# disk PARTS: what is sent from now on, so many parts of zeros; the same disk would be no new generation
disk() {
	parts=$1
	truncate -s $((parts * 4))M "$TMP/zero.raw"
	sum=$("$O/tests/net/tool_upload" digest "$TMP/zero.raw")
}
disk 2
finish() { up "$1" "$2" -d "{\"sha256\":\"$sum\"}" "$U/v1/uploads/$3/finish"; }
whole() { # PC AUTHORIZATION NAME [MORE JSON]: all of it; the status of the last step
	local i
	[ "$(begin "$@")" = 201 ] || { echo "begin: $(cat "$TMP/body")"; return; }
	i=$(id)
	zero "$1" "$2" "$i" >/dev/null
	finish "$1" "$2" "$i"
}
config
daemon_start
pc a 02:00:00:00:00:0a
pc b 02:00:00:00:00:0b
pc c 02:00:00:00:00:0c
ipxe c
ada="Bearer ada:$(jq -r .token <<<"$admin")"

# --- an address is no right -----------------------------------------------------------------------------------------
boots a
hidden=$secret_a
check "a PC that captures gets a secret" [ "${#secret_a}" = 32 ]
check "its address alone gives no right" [ "$(begin a "" pc.vhd)" = 403 ]
check "nor does another secret" [ "$(begin a "Ticket ffffffffffffffffffffffffffffffff" pc.vhd)" = 403 ]
check "nor that secret as a token" [ "$(begin a "Bearer MASTER:$secret_a" pc.vhd)" = 403 ]
boots b
check "the secret of another PC is refused at this PC's address" [ "$(begin a "Ticket $secret_b" win.vhd)" = 403 ]
check "and so is this one's at another's" [ "$(begin b "Ticket $secret_a" pc.vhd)" = 403 ]

# --- one image ------------------------------------------------------------------------------------------------------
check "another image is refused" [ "$(begin a "Ticket $secret_a" win.vhd)" = 403 ]
check "with the reason" grep -q 'client MASTER may upload image pc only' "$TMP/body"
check "so is a next generation of another" [ "$(begin a "Ticket $secret_a" one.vhd ',"update":true')" = 403 ]
check "and to say what is current" [ "$(begin a "Ticket $secret_a" pc.vhd ',"current":true')" = 403 ]
check "its own is taken" [ "$(begin a "Ticket $secret_a" pc.vhd)" = 201 ]
first=$(id)
check "who chooses the name at the PC, chooses once" [ "$(begin b "Ticket $secret_b" win.vhd)" = 201 ]
second=$(id)
check "a second image is refused" [ "$(begin b "Ticket $secret_b" win2.vhd)" = 403 ]
check "one PC's upload is not gone on with by another" [ "$(zero b "Ticket $secret_b" "$first")" = 403 ]
check "nor without a secret" [ "$(zero a "" "$first")" = 403 ]
check "nor finished, or ended" [ "$(finish b "" "$first")$(up b "" -X DELETE "$U/v1/uploads/$first")" = 403403 ]
check "other PCs' uploads are not shown" [ "$(up a "Ticket $secret_a" $U/v1/uploads)" = 403 ]

# --- a restart in the middle ----------------------------------------------------------------------------------------
check "parts arrive" [ "$(zero a "Ticket $secret_a" "$first")" = 200 ]
daemon_stop
daemon_start
check "after a restart of the server it goes on" [ "$(begin a "Ticket $secret_a" pc.vhd)" = 201 ]
first=$(id)
check "with what was there" [ "$(up a "Ticket $secret_a" "$U/v1/uploads/$first/parts")" = 200 ]
check "which is all that was sent" eval "! head -c 32 '$TMP/body' | cmp -s -n 32 - /dev/zero"
kill -9 "$daemon"; wait "$daemon" 2>/dev/null
daemon_start
check "after a kill, too" [ "$(begin a "Ticket $secret_a" pc.vhd)" = 201 ]
first=$(id)
check "nobody else is in its place" [ "$(begin c "Ticket $secret_a" pc.vhd)" = 403 ]
check "who asks for the PC's script meanwhile has to wait" \
	eval "ipxe a && script a | grep -q 'waiting until its former session'"
check "and the PC goes on with its secret" [ "$(zero a "Ticket $secret_a" "$first")" = 200 ]

# --- once -----------------------------------------------------------------------------------------------------------
check "it ends well" [ "$(finish a "Ticket $secret_a" "$first")" = 200 ]
check "a new image is current at once" [ "$(jq -c '[.generation, .current]' "$TMP/body")" = "[1,1]" ]
check "its end can be asked for again" \
	[ "$(begin a "Ticket $secret_a" pc.vhd)$(finish a "Ticket $secret_a" "$(id)")" = 201200 ]
other_key() { local key=3123456789abcdef0123456789abcdef; begin "$@"; }
check "but not be done again" [ "$(other_key a "Ticket $secret_a" pc.vhd ',"update":true')" = 403 ]
check "for no other image either" [ "$(begin a "Ticket $secret_a" pc2.vhd)" = 403 ]
daemon_stop
daemon_start
check "nor after a restart" [ "$(other_key a "Ticket $secret_a" pc.vhd ',"update":true')" = 403 ]
check "the PC starts its disk now" eval "boots a && grep -q sanboot '$TMP/script.a'"
check "and its secret is none any more" [ "$(begin a "Ticket $secret_a" pc.vhd)" = 403 ]

# --- a new boot, an operator ----------------------------------------------------------------------------------------
# SECOND was silent since before the restarts, so it counts as one that was reset.
old=$secret_b
check "a PC that starts again gets a new one" eval "boots b && [ '${#secret_b}' = 32 ] && [ '$old' != \"\$secret_b\" ]"
check "the old one is none any more" [ "$(begin b "Ticket $old" win.vhd)" = 403 ]
check "nor for the upload that it began" [ "$(zero b "Ticket $old" "$second")" != 200 ]
check "the new one goes on with it" [ "$(begin b "Ticket $secret_b" win.vhd)" = 201 ]
check "an operator ends it" [ "$(up a "$ada" -X DELETE "$U/v1/uploads?image=win")" = 200 ]
check "and with it the right" [ "$(begin b "Ticket $secret_b" win.vhd)" = 403 ]

# --- generations ----------------------------------------------------------------------------------------------------
generation() { bootwell image list --json | jq -r ".[] | select(.name == \"$1\" and .current) | .generation"; }
disk 3
check "an operator uploads a next generation" [ "$(whole a "$ada" pc.vhd ',"update":true')" = 200 ]
check "which is not current by itself" [ "$(jq -c '[.generation, .current]' "$TMP/body")$(generation pc)" = "[2,1]1" ]
check "before somebody says so" bootwell image current pc 2
check "then new boots get it" [ "$(generation pc)" = 2 ]
key=1123456789abcdef0123456789abcdef
disk 4
check "or says so with the upload" [ "$(whole a "$ada" pc.vhd ',"update":true,"current":true')$(generation pc)" = 2003 ]
config "" "upload-becomes-current = maybe"
refuse "the setting is checked" ip netns exec "$(ns srv)" "$O/bootwelld" -n -c "$C" 2>"$TMP/err"
config
sed -i 's/^\[images\]/&\nupload-becomes-current = yes/' "$C"
bootwell config reload >/dev/null
key=2123456789abcdef0123456789abcdef
disk 5
check "or the configuration does, for all" [ "$(whole a "$ada" pc.vhd ',"update":true')$(generation pc)" = 2004 ]
config "" "upload-becomes-current = no"
sed -i 's/^\[images\]/&\nupload-becomes-current = yes/' "$C"
bootwell config reload >/dev/null
check "or not, for one" [ "$(whole a "$ada" one.vhd ',"update":true')$(generation one)" = 2001 ]

# --- the audit log --------------------------------------------------------------------------------------------------
bootwell audit --json >"$TMP/audit"
events() { jq -r ".[] | select(.method == \"upload\" and .upload.event == \"$1\") | $2" "$TMP/audit"; }
check "begins are in the audit log, with who and from where" \
	grep -qxE 'MASTER 10\.77\.0\.10[1-9] pc\.vhd' <<<"$(events begin '"\(.who) \(.from) \(.upload.file)"')"
check "ends, with generation and bytes" \
	grep -qx 'pc 1 1 true' <<<"$(events end '.upload | "\(.image) \(.generation) \(.current) \(.bytes > 0)"')"
check "refusals, with the reason" grep -q 'may upload image pc only' <<<"$(events refused .upload.why)"
check "who ended another's" grep -q '^ada at .* win$' <<<"$(events abort '"\(.who) \(.upload.image)"')"
check "it can be read" \
	eval "bootwell audit | grep -q ': upload end pc.*, generation 2 of pc; new boots get 1, [0-9]* bytes'"
check "no secret was written down" \
	eval "! grep -rqE '$hidden|$secret_b|$old' '$TMP/daemon.log' '$TMP/state' '$TMP/run' '$TMP/audit'"
check "what is kept is for the server only" [ "$(stat -c %a "$TMP/state/upload-tickets")" = 600 ]
daemon_stop

# --- https ----------------------------------------------------------------------------------------------------------
make_cert() { openssl req -x509 -newkey rsa:2048 -nodes -keyout "$1" -out "$2" -days 2 -subj "/CN=$3" 2>/dev/null; }
make_cert "$TMP/key.pem" "$TMP/cert.pem" server
make_cert "$TMP/key2.pem" "$TMP/cert2.pem" other
pin() { openssl x509 -in "$1" -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary; }
config "[http]
tls-certificate = $TMP/cert.pem
tls-key = $TMP/key.pem"
daemon_start
boots b
wanted=sha256//$(pin "$TMP/cert.pem" | base64)
check "with TLS the script tells the server's key" grep -qF " bootwell.pin=$wanted " "$TMP/script.b"
print=$(openssl x509 -in "$TMP/cert.pem" -noout -fingerprint -sha256 | cut -d= -f2)
check "the log has its fingerprints" grep -qi "$print" "$TMP/daemon.log"
check "a secret in clear is refused" [ "$(begin b "Ticket $secret_b" tls.vhd)" = 403 ]
head -c 3000000 /dev/urandom >"$TMP/disk"
truncate -s 16M "$TMP/disk"
dev=$(losetup -f --show "$TMP/disk") && at_exit losetup -d "$dev"
capture() { # PIN NAME
	BOOTWELL_SECRET=$secret_b BOOTWELL_PIN=$1 in_ns b timeout 60 "$O/bootwell-capture" -s 10.77.0.1:1000 \
		-d "$(basename "$dev")" -l -n "$2" </dev/null >"$TMP/capture.out" 2>&1
}
if [ -n "$dev" ]; then
	refuse "the capture system sends nothing to another server" \
		capture "sha256//$(pin "$TMP/cert2.pem" | base64)" tls.vhd
	check "and says so" grep -q 'is not the server that it should be' "$TMP/capture.out"
	check "to the right one it sends the disk by https" capture "$wanted" tls.vhd
	qemu-img convert -f vpc -O raw "$TMP/images/tls.vhd" "$TMP/back"
	check "which then is the image" cmp -n 16777216 "$TMP/disk" "$TMP/back"
fi
hex=$(pin "$TMP/cert.pem" | od -An -tx1 | tr -d ' \n')
export BOOTWELL_TOKEN=${ada#Bearer }
cli() { in_ns a timeout 60 "$O/bootwell" image upload -g 3 "$@" -d "$TMP/disk" >"$TMP/out" 2>&1; }
refuse "the command sends no token in clear" cli -s 10.77.0.1 -n cli.vhd
refuse "nor to another key" cli -s 10.77.0.1 -f "${hex/[0-9]/f}" -n cli.vhd
check "by fingerprint it does" cli -s 10.77.0.1 -f "$hex" -n cli.vhd
printf changed | dd of="$TMP/disk" bs=1 seek=4096 conv=notrunc status=none # the same disk would be no new generation
check "as people write it, too" cli -s 10.77.0.1 -f "$(sed 's/../&:/g; s/:$//' <<<"${hex^^}")" -u -n cli.vhd
check "and says what new boots get" \
	grep -q 'It is generation 2; new boots get generation 1 until "bootwell image current cli 2"' "$TMP/out"
echo 10.77.0.1 server >>"$TMP/hosts"
signed() {
	in_ns a unshare -m sh -c "mount --bind '$TMP/hosts' /etc/hosts
		exec timeout 60 '$O/bootwell' image upload -g 3 -s server -c '$1' -n $2 -d '$TMP/disk'" >"$TMP/out" 2>&1
}
refuse "a certificate that somebody else signed is refused" signed "$TMP/cert2.pem" ca.vhd
check "or by who signed it" signed "$TMP/cert.pem" ca.vhd
