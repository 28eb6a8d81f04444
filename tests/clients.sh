#!/usr/bin/env bash
# The whole journey, seen from outside: files go in by curl, OpenSSH's sftp and lftp, over SFTP, FTPS and
# FTP; messages go out to Postfix's smtp-sink and to nginx; the answers are collected by the same clients.
# At the end both receivers must have got exactly the accepted rows, each once.
#
# Use: tests/clients.sh
#   DROPCHUTE_BIN=FILE     the program; without it `cargo build` makes one
#   DROPCHUTE_INSTALL=1    installs curl, openssh-client, sshpass, lftp by apt-get, and unpacks postfix and
#                          nginx without installing them; without it, says what is missing and exits 77
#   KEEP=1                 keeps the temporary folder
# Exit: 0 all held, 1 something did not, 77 not run.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need lftp=lftp
find_tools
export HOME=$WORK
PASSWORD='p@ss word'

# --- A house with two receivers

start_smtp_sink
start_nginx
free_port; SFTP_PORT=$FREE_PORT
free_port; FTP_PORT=$FREE_PORT
free_port; ADMIN_PORT=$FREE_PORT
free_port; PASSIVE=$((FREE_PORT + 10))
PORT=$((PASSIVE + 100))
ssh-keygen -q -t ed25519 -N '' -f "$WORK/id_ed25519"

# config FTP_TLS
config() {
    cat <<CONF
format = 1
data_dir = "data"
disk_reserve = "0%"
[sftp]
listen = ["127.0.0.1:$SFTP_PORT"]
[ftp]
listen = ["127.0.0.1:$FTP_PORT"]
tls = "$1"
passive_ports = "$PASSIVE-$((PASSIVE + 90))"
[admin]
listen = "127.0.0.1:$ADMIN_PORT"
[web]
listen = "127.0.0.1:0"
[defaults]
grace = "1s"
settle = "1s"
default_category = "transactional"
default_country = "DE"
[provider.mail]
kind = "smtp"
host = "127.0.0.1"
port = $SMTP_PORT
tls = "none"
[provider.api]
kind = "http"
url = "http://127.0.0.1:$HTTP_PORT/send"
body = '{"to": {{ to | tojson }}, "text": {{ text | tojson }}, "ref": {{ message_id | tojson }}}'
success = { pointer = "/status", equals = "ok" }
id_pointer = "/id"
[tenant.acme]
timezone = "Europe/Berlin"
aliases = { IN = "/inbox" }
[tenant.acme.account.erp]
password_hash = "$HASH"
ssh_keys = ["$(cut -d' ' -f1,2 "$WORK/id_ed25519.pub")"]
protocols = ["sftp", "ftps", "ftp"]
[tenant.acme.account.safe]
password_hash = "$HASH"
protocols = ["sftp", "ftps"]
[tenant.acme.sender]
email = ["Acme <news@acme.example>"]
sms = ["ACME"]
[tenant.acme.channel]
email = ["mail"]
sms = ["api"]
CONF
}
HASH=$(hash_of "$PASSWORD")
config optional >"$WORK/dropchute.toml"
dropchute check >/dev/null || { cat "$WORK/cli.log" >&2; fail "check refuses the configuration"; }
start_serve

# --- Files and clients

mkdir -p "$WORK/in" "$WORK/out"
# file NAME: three good rows (two emails, one SMS), one bad.
file() {
    local name=$1
    {
        echo "row_id,channel,email,phone,subject,text,x_note"
        echo "$name-1,email,ann@one.example,,Hallo,\"Grüße, Ann\",\"a \"\"quoted\"\" note\""
        echo "$name-2,sms,,+4915112345678,,Text two,n2"
        echo "$name-3,email,no-address,,Hallo,Text three,n3"
        echo "$name-4,email,bob@two.example,,Hallo,Text four,n4"
    } >"$WORK/in/$name"
}
FTP_URL=ftp://127.0.0.1:$FTP_PORT
SFTP_URL=sftp://127.0.0.1:$SFTP_PORT
curl_ftp() { curl -sS -m 30 --ftp-method nocwd -u "erp:$PASSWORD" "$@"; }
curl_ftps() { curl_ftp --ssl-reqd -k "$@"; }
curl_sftp() { curl -sS -m 30 -k -u "erp:$PASSWORD" "$@"; }
sftp_with_password() {
    printf '%s\n' "$@" | SSHPASS=$PASSWORD sshpass -e sftp -q -oBatchMode=no -oPubkeyAuthentication=no \
        "${SSH_OPTIONS[@]}" -P "$SFTP_PORT" -b - erp@127.0.0.1
}
LFTP_SET="set net:max-retries 1; set net:timeout 15; set cmd:fail-exit yes; set ssl:verify-certificate no;
    set sftp:auto-confirm yes; set sftp:connect-program 'ssh -a -x ${SSH_OPTIONS[*]}'; set xfer:clobber yes;"
# lftp_by PROTOCOL COMMANDS; SSHPASS is not used: lftp types the password itself.
lftp_by() {
    local set=$LFTP_SET url=$FTP_URL
    case $1 in
    ftp) set+="set ftp:ssl-allow no;" ;;
    ftps) set+="set ftp:ssl-force yes; set ftp:ssl-protect-data yes;" ;;
    sftp) url=$SFTP_URL ;;
    esac
    lftp -c "$set open -u 'erp,$PASSWORD' $url; $2"
}

# Each client: how it drops $1 under the temporary name $2 and the final name $3, and how it fetches $1 to $2.
drop_curl-ftp() { curl_ftp -T "$1" "$FTP_URL/inbox/$2" -Q "-RNFR /inbox/$2" -Q "-RNTO /inbox/$3"; }
fetch_curl-ftp() { curl_ftp -o "$2" "$FTP_URL/outbox/$1"; }
drop_curl-ftps() { curl_ftps -T "$1" "$FTP_URL/inbox/$3"; }
fetch_curl-ftps() { curl_ftps -o "$2" "$FTP_URL/outbox/$1"; }
drop_curl-sftp() { curl_sftp -T "$1" "$SFTP_URL/inbox/$2" -Q "-rename '/inbox/$2' '/inbox/$3'"; }
fetch_curl-sftp() { curl_sftp -o "$2" "$SFTP_URL/outbox/$1"; }
drop_sftp-password() { sftp_with_password "put $1 /inbox/$2" "chmod 640 /inbox/$2" "rename /inbox/$2 /inbox/$3"; }
fetch_sftp-password() { sftp_with_password "get /outbox/$1 $2"; }
drop_sftp-key() { sftp_with_key erp "put -p $1 /IN/messages/$3"; }
fetch_sftp-key() { sftp_with_key erp "get /outbox/messages/$1 $2"; }
drop_lftp-ftp() { lftp_by ftp "put -O /inbox $1 -o $3"; }
fetch_lftp-ftp() { lftp_by ftp "get /outbox/$1 -o $2"; }
drop_lftp-ftps() { lftp_by ftps "put -O /inbox $1 -o $2; mv /inbox/$2 /inbox/$3"; }
fetch_lftp-ftps() { lftp_by ftps "get /outbox/$1 -o $2"; }
drop_lftp-sftp() { lftp_by sftp "put -O /inbox $1 -o $3"; }
fetch_lftp-sftp() { lftp_by sftp "get /outbox/$1 -o $2"; }
mirror_folder() { mkdir -p "$WORK/mirror-$1" && cp "$2" "$WORK/mirror-$1/$3"; say "$WORK/mirror-$1"; }
drop_mirror-ftps() { lftp_by ftps "mirror -R $(mirror_folder ftps "$1" "$3") /inbox"; }
fetch_mirror-ftps() { lftp_by ftps "mirror -I $1 /outbox $(dirname "$2")"; }
drop_mirror-sftp() { lftp_by sftp "mirror -R $(mirror_folder sftp "$1" "$3") /inbox"; }
fetch_mirror-sftp() { lftp_by sftp "mirror -I $1 /outbox $(dirname "$2")"; }
CLIENTS=(curl-ftp curl-ftps curl-sftp sftp-password sftp-key lftp-ftp lftp-ftps lftp-sftp mirror-ftps mirror-sftp)

# fetched CLIENT NAME: whether the client could collect the answer now.
fetched() {
    "fetch_$1" "$2" "$WORK/out/$2" >/dev/null 2>&1 || { rm -f "$WORK/out/$2"; return 1; }
    [ -s "$WORK/out/$2" ]
}
# cell FILE COLUMN [LINE]: a field of an answer, by the column's name.
cell() {
    python3 - "$@" <<'PY'
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1], newline="", encoding="utf-8")))
print(rows[int(sys.argv[3]) - 1 if len(sys.argv) > 3 else 0][sys.argv[2]])
PY
}
same() { [ "$2" = "$3" ] || fail "$1: expected \"$2\", found \"$3\""; }
# acknowledged CLIENT NAME STATE CODE TOTAL ACCEPTED REJECTED DUPLICATE
acknowledged() {
    local client=$1 name=$2 ack=$WORK/out/$2.ack.csv column
    eventually 30 "$client: $name.ack.csv" fetched "$client" "$name.ack.csv"
    shift 2
    for column in state code rows_total rows_accepted rows_rejected rows_duplicate; do
        same "$name $column" "$1" "$(cell "$ack" "$column")"
        shift
    done
    same "$name file" "$name" "$(cell "$ack" file)"
}

# --- 1. Every client drops a file and collects its answers

for client in "${CLIENTS[@]}"; do
    name=messages_$client.csv
    file "$name"
    "drop_$client" "$WORK/in/$name" ".$name.part" "$name" >"$WORK/client.log" 2>&1 ||
        { cat "$WORK/client.log" >&2; fail "$client: drop"; }
done
for client in "${CLIENTS[@]}"; do
    name=messages_$client.csv
    acknowledged "$client" "$name" ACCEPTED_WITH_ERRORS row.email_invalid 4 3 1 0
    eventually 30 "$client: result" fetched "$client" "$name.result.csv"
    result=$WORK/out/$name.result.csv
    same "$client result lines" 4 "$(python3 -c 'import csv,sys; print(len(list(csv.DictReader(open(sys.argv[1], newline="")))))' "$result")"
    for row in "1 sent" "2 submitted" "3 rejected" "4 sent"; do
        same "$client row ${row% *}" "${row#* }" "$(cell "$result" status "${row% *}")"
        same "$client row_id ${row% *}" "$name-${row% *}" "$(cell "$result" row_id "${row% *}")"
    done
    same "$client x_note" 'a "quoted" note' "$(cell "$result" x_note 1)"
    same "$client provider" mail "$(cell "$result" provider 1)"
    eventually 30 "$client: errors" fetched "$client" "$name.errors.csv"
    same "$client error's line" 4 "$(cell "$WORK/out/$name.errors.csv" line)"
    same "$client error's column" email "$(cell "$WORK/out/$name.errors.csv" column_name)"
    eventually 30 "$client: summary" fetched "$client" "$name.summary.csv"
    same "$client summary sent" 2 "$(cell "$WORK/out/$name.summary.csv" sent)"
    case $client in
    curl-ftp | curl-sftp | sftp-password | lftp-ftps) proof=rename ;;
    mirror-*) proof=$(cell "$WORK/out/$name.ack.csv" proof) ;;
    *) proof=close ;;
    esac
    same "$client proof" "$proof" "$(cell "$WORK/out/$name.ack.csv" proof)"
    cmp -s "$WORK/in/$name" <(find "$WORK/data/tenants/acme/archive/accepted" -name "*_$name" -exec cat {} +) ||
        fail "$client: the archive does not hold the bytes that were sent"
    pass "$client: dropped, answered, collected"
done

# --- 2. The same again, corrections, collecting

cp "$WORK/in/messages_curl-sftp.csv" "$WORK/in/messages_again.csv"
drop_curl-sftp "$WORK/in/messages_again.csv" .again.part messages_again.csv
acknowledged curl-sftp messages_again.csv DUPLICATE file.duplicate 4 0 0 4
pass "the same content under another name is a DUPLICATE"
fetched curl-sftp messages_curl-sftp.csv.rejected.csv || fail "no rejected file"
sed 's/no-address/carl@three.example/' "$WORK/out/messages_curl-sftp.csv.rejected.csv" >"$WORK/in/messages_corrected.csv"
drop_curl-sftp "$WORK/in/messages_corrected.csv" .corrected.part messages_corrected.csv
acknowledged curl-sftp messages_corrected.csv ACCEPTED "" 1 1 0 0
eventually 30 "result of the correction" fetched curl-sftp messages_corrected.csv.result.csv
same "corrected row" sent "$(cell "$WORK/out/messages_corrected.csv.result.csv" status)"
pass "the rejected file, corrected, sends only its row"
: >"$WORK/in/empty.csv"
sftp_with_key erp "put $WORK/in/empty.csv /inbox/messages_empty.csv" >/dev/null
acknowledged sftp-password messages_empty.csv REJECTED file.empty 0 0 0 0
cp "$ROOT/fixtures/csv/unterminated.csv" "$WORK/in/messages_unterminated.csv"
lftp_by ftps "put -O /inbox $WORK/in/messages_unterminated.csv"
acknowledged lftp-ftps messages_unterminated.csv REJECTED file.quote_unterminated 0 0 0 0
pass "an empty and a broken file are refused by name"
sftp_with_key erp "rm /outbox/messages_curl-ftp.csv.ack.csv" >/dev/null
if fetched curl-ftp messages_curl-ftp.csv.ack.csv; then fail "a collected answer is still there"; fi
for refused in "put $WORK/in/empty.csv /outbox/x.csv" "get /../../dropchute.toml $WORK/out/stolen" "rmdir /inbox" \
    "symlink /etc/passwd /inbox/link.csv" "get /archive/../../../dropchute.toml $WORK/out/stolen"; do
    if sftp_with_key erp "$refused" >/dev/null 2>&1; then fail "allowed: $refused"; fi
done
[ ! -e "$WORK/out/stolen" ] || fail "a file from outside was read"
pass "answers can be deleted; nothing outside, no link, no upload to the outbox"

# --- 3. A file that is only tried out

# tried CLIENT ANSWER: whether the client could collect the answer of the test now.
tried() {
    case $1 in
    curl-sftp) curl_sftp -f -o "$WORK/tried/$2" "$SFTP_URL/test/outbox/$2" ;;
    lftp-ftps) lftp_by ftps "get /test/outbox/$2 -o $WORK/tried/$2" ;;
    esac >/dev/null 2>&1 || { rm -f "$WORK/tried/$2"; return 1; }
}
mkdir -p "$WORK/tried"
for client in curl-sftp lftp-ftps; do
    name=messages_tried-$client.csv
    file "$name"
    case $client in
    curl-sftp) curl_sftp -T "$WORK/in/$name" "$SFTP_URL/test/inbox/$name" ;;
    lftp-ftps) lftp_by ftps "put -O /test/inbox $WORK/in/$name" ;;
    esac
    eventually 30 "$client: $name.summary.csv" tried "$client" "$name.summary.csv"
    tried "$client" "$name.ack.csv" && tried "$client" "$name.result.csv" && tried "$client" "$name.rendered.csv" ||
        fail "$client: answers of the test"
    same "$client test" yes "$(cell "$WORK/tried/$name.ack.csv" test)"
    same "$client status" delivered "$(cell "$WORK/tried/$name.result.csv" status)"
    same "$client provider" simulator "$(cell "$WORK/tried/$name.result.csv" provider)"
    same "$client rendered" "Grüße, Ann" "$(cell "$WORK/tried/$name.rendered.csv" text)"
done
pass "what is dropped into /test/inbox is answered in /test/outbox; the receivers get nothing of it (8)"

# --- 4. An upload that is cut

awk 'BEGIN {
    print "row_id,channel,email,subject,text"
    for (row = 1; row <= 200000; row++) print "cut-" row ",email,dan@four.example,Cut,never to be sent"
}' >"$WORK/in/messages_cut.csv"
say "put $WORK/in/messages_cut.csv /inbox/messages_cut.csv" >"$WORK/cut.batch"
sftp -q -l 8000 "${SSH_OPTIONS[@]}" -oIdentitiesOnly=yes -i "$WORK/id_ed25519" -P "$SFTP_PORT" \
    -b "$WORK/cut.batch" erp@127.0.0.1 >/dev/null 2>&1 &
client=$!
STARTED+=("$client")
uploading() { [ -n "$(find "$WORK/data/uploads" -type f -size +500k)" ]; }
eventually 20 "half an upload" uploading
# The connection is held by sftp's child ssh; killed first, it cannot close anything in order.
kill -9 $(cat "/proc/$client/task/$client/children") "$client"
wait "$client" 2>/dev/null || true
# What is dropped later is answered later: by then the cut file would have been taken.
file messages_after-cut.csv
drop_sftp-password "$WORK/in/messages_after-cut.csv" after.tmp messages_after-cut.csv >/dev/null
acknowledged sftp-password messages_after-cut.csv ACCEPTED_WITH_ERRORS row.email_invalid 4 3 1 0
[ ! -e "$WORK/data/tenants/acme/inbox/messages_cut.csv" ] || fail "the cut file stands in the inbox"
if fetched curl-sftp messages_cut.csv.ack.csv; then fail "the cut file was answered"; fi
dropchute --json batch list >"$WORK/batches.json"
if grep -q messages_cut "$WORK/batches.json"; then fail "the cut file became a batch"; fi
file messages_cut.csv
drop_lftp-sftp "$WORK/in/messages_cut.csv" - messages_cut.csv
acknowledged lftp-sftp messages_cut.csv ACCEPTED_WITH_ERRORS row.email_invalid 4 3 1 0
pass "an upload whose client was killed is not taken; the fresh one is"

# --- 5. What is refused at the door

# refused_at_once WHAT COMMAND...: fails, and within 5 s.
refused_at_once() {
    local what=$1 status=0
    shift
    timeout 5 "$@" </dev/null >"$WORK/refused.log" 2>&1 || status=$?
    [ "$status" -ne 0 ] || fail "$what: not refused"
    [ "$status" -ne 124 ] || fail "$what: hangs"
}
SSH=(ssh "${SSH_OPTIONS[@]}" -oBatchMode=yes -oIdentitiesOnly=yes -i "$WORK/id_ed25519" -p "$SFTP_PORT")
refused_at_once "exec" "${SSH[@]}" erp@127.0.0.1 id
refused_at_once "shell" "${SSH[@]}" -T erp@127.0.0.1
refused_at_once "remote forwarding" "${SSH[@]}" -N -oExitOnForwardFailure=yes -R 127.0.0.1:0:127.0.0.1:1 erp@127.0.0.1
refused_at_once "direct-tcpip" "${SSH[@]}" -W "127.0.0.1:$ADMIN_PORT" erp@127.0.0.1
if grep -q "uid=\|HTTP" "$WORK/refused.log"; then fail "something was executed or forwarded"; fi
pass "exec, shell and forwarding are refused at once"
PASSWORD_WAS=$PASSWORD
PASSWORD=wrong
for attempt in "curl_sftp $SFTP_URL/outbox/" "curl_ftps $FTP_URL/outbox/" "curl_ftp $FTP_URL/outbox/" "sftp_with_password ls"; do
    if $attempt >/dev/null 2>&1; then fail "a wrong password gets in: $attempt"; fi
done
PASSWORD=$PASSWORD_WAS
curl_sftp "$SFTP_URL/outbox/" >/dev/null || fail "the right password does not get in"
pass "wrong passwords are refused, the right one still gets in"
# ftp_dialogue USER: what a client in clear hears; curl's -v shows each line.
ftp_dialogue() { curl -sS -v -m 20 -u "$1:$PASSWORD" "$FTP_URL/" 2>&1 || true; }
for user in safe nobody-like-that; do
    heard=$(ftp_dialogue "$user")
    grep -q '^< 530' <<<"$heard" || fail "plain FTP as $user: no 530"
    if grep -q '^> PASS' <<<"$heard"; then fail "plain FTP as $user: the password was asked for"; fi
    grep '^< 530' <<<"$heard" >"$WORK/530.$user"
done
cmp -s "$WORK/530.safe" "$WORK/530.nobody-like-that" || fail "known and unknown accounts hear different words"
pass "plain FTP: accounts without it are refused before the password, like unknown ones"

# --- 6. The operator's side

same healthz ok "$(curl -fsS "http://127.0.0.1:$ADMIN_PORT/healthz" >/dev/null && echo ok)"
curl -fsS "http://127.0.0.1:$ADMIN_PORT/readyz" >/dev/null || fail "readyz"
curl -fsS "http://127.0.0.1:$ADMIN_PORT/metrics" >"$WORK/metrics"
grep -q '^dropchute_' "$WORK/metrics" && grep -q '^# EOF\|^# TYPE' "$WORK/metrics" || fail "metrics"
dropchute status >"$WORK/status"
grep -q "^ready *yes" "$WORK/status" || fail "status: $(head -n 1 "$WORK/status")"
dropchute --json batch list >"$WORK/batches.json"
python3 - "$WORK/batches.json" <<'PY' || fail "batch list --json"
import json, sys
batches = json.load(open(sys.argv[1]))["batches"]
named = {batch["file"] for batch in batches}
sys.exit(not any("messages_curl-ftp.csv" in name for name in named) or not all("batch_id" in b for b in batches))
PY
pass "healthz, readyz, metrics, status, batch list --json"
cat >>"$WORK/dropchute.toml" <<CONF
[tenant.beta.account.newcomer]
password_hash = "$HASH"
[tenant.beta.sender]
email = ["news@beta.example"]
[tenant.beta.channel]
email = ["mail"]
CONF
if curl_sftp -u "newcomer:$PASSWORD" "$SFTP_URL/" >/dev/null 2>&1; then fail "a tenant that is not there gets in"; fi
kill -HUP "$SERVE_PID"
eventually 20 "the new tenant gets in" curl_sftp -u "newcomer:$PASSWORD" "$SFTP_URL/inbox/"
printf 'row_id,email,subject,text\nbeta-1,eve@five.example,Hi,Hello\n' >"$WORK/in/messages_beta.csv"
curl_sftp -u "newcomer:$PASSWORD" -T "$WORK/in/messages_beta.csv" "$SFTP_URL/inbox/"
eventually 30 "the new tenant's result" curl_sftp -f -u "newcomer:$PASSWORD" -o "$WORK/out/messages_beta.csv.result.csv" \
    "$SFTP_URL/outbox/messages_beta.csv.result.csv"
same "the new tenant's row" sent "$(cell "$WORK/out/messages_beta.csv.result.csv" status)"
cp "$WORK/dropchute.toml" "$WORK/good.toml"
echo 'nonsense = true' >>"$WORK/dropchute.toml"
kill -HUP "$SERVE_PID"
eventually 20 "the refusal is logged" grep -q "new configuration is refused" "$WORK/serve.log"
cp "$WORK/good.toml" "$WORK/dropchute.toml"
curl_sftp -u "newcomer:$PASSWORD" "$SFTP_URL/outbox/" >/dev/null || fail "a bad reload broke the running configuration"
pass "SIGHUP brings a tenant in; a bad configuration changes nothing"

# --- 7. Stop, start, tls = "required"

file messages_stop.csv
drop_curl-sftp "$WORK/in/messages_stop.csv" .stop.part messages_stop.csv
stop_serve 3000
pass "SIGTERM: exit 0 after $STOP_MS ms"
sed -i 's/^tls = "optional"/tls = "required"/' "$WORK/dropchute.toml"
start_serve
acknowledged curl-ftps messages_stop.csv ACCEPTED_WITH_ERRORS row.email_invalid 4 3 1 0
pass "what was dropped just before the stop is answered after it"
for user in erp safe nobody-like-that; do
    heard=$(ftp_dialogue "$user")
    grep -q '^< 530' <<<"$heard" || fail "tls = required, plain FTP as $user: no 530"
    if grep -q '^> PASS' <<<"$heard"; then fail "tls = required: the password of $user was asked for"; fi
done
pass "tls = required: plain FTP is refused before the password"

# --- 8. Both receivers got the accepted rows, each once

for name in messages_after-cut.csv messages_cut.csv messages_stop.csv; do
    eventually 30 "result of $name" fetched curl-ftps "$name.result.csv"
done
stop_serve 3000
python3 - "$WORK" <<'PY' || fail "the receivers and the results disagree"
import collections, csv, glob, json, re, sys
work = sys.argv[1]
wanted = {"email": [], "sms": []}
for name in glob.glob(f"{work}/out/*.result.csv"):
    for row in csv.DictReader(open(name, newline="", encoding="utf-8")):
        if row["status"] in ("sent", "submitted"):
            wanted[row["channel"]].append(row["message_id"])
mail = [re.search(rb"(?mi)^Message-ID:\s*<([^>]+)>", open(m, "rb").read()).group(1).decode()
        for m in glob.glob(f"{work}/mail/*")]
api = [json.loads(json.loads(line)["body"])["ref"] for line in open(f"{work}/http.log", encoding="utf-8")]
for channel, got in (("email", mail), ("sms", api)):
    print(f"     {channel}: {len(wanted[channel])} rows reported sent, {len(got)} messages received, {len(set(got))} different")
    if collections.Counter(wanted[channel]) != collections.Counter(got):
        sys.exit(f"{channel}: only reported {set(wanted[channel]) - set(got)}, only received {set(got) - set(wanted[channel])}")
PY
pass "smtp-sink and nginx got exactly the accepted rows, once each"
if grep -a -q "panicked" "$WORK/serve.log"; then fail "a panic in the log"; fi
say "clients.sh: $CHECKS checks held in $SECONDS s"
