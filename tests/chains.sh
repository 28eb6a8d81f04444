#!/usr/bin/env bash
# Fallback chains from outside: which channel takes a message when those before it refuse it, lose it or give no receipt
# in time; over kill -9, a pause and a cancel while the receipt is waited for.
#
# Use: tests/chains.sh
#   DROPCHUTE_BIN=FILE, DROPCHUTE_INSTALL=1, KEEP=1: as for tests/clients.sh
# HTTP messages go to tests/http_sink.py, e-mails to Postfix's smtp-sink.
# Exit: 0 all held, 1 something did not, 77 not run.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need curl=curl sftp=openssh-client python3=python3-minimal
SMTP_SINK=$(unpacked postfix smtp-sink)
find_program
free_port; SFTP_PORT=$FREE_PORT
free_port; ADMIN_PORT=$FREE_PORT
start_smtp_sink
: >"$WORK/requests"
python3 "$ROOT/tests/http_sink.py" "$WORK/requests" >"$WORK/sink.port" &
STARTED+=($!)
eventually 10 "the HTTP sink listens" grep -q . "$WORK/sink.port"
ssh-keygen -q -t ed25519 -N '' -f "$WORK/id_ed25519"
provider() {
    cat <<CONF
[provider.$1]
kind = "http"
method = "POST"
url = "http://127.0.0.1:$(cat "$WORK/sink.port")/$1"
content_type = "application/json"
body = '{"to": {{ to | tojson }}, "text": {{ text | tojson }}, "ref": {{ message_id | tojson }}}'
id_pointer = "/id"
CONF
}
cat >"$WORK/dropchute.toml" <<CONF
$(sftp_config)
[provider.mail]
kind = "smtp"
host = "127.0.0.1"
port = $SMTP_PORT
tls = "none"
$(provider wa)
$(provider sms)
[tenant.acme]
default_country = "DE"
sender.email = ["Acme <news@acme.example>"]
sender.sms = ["ACME"]
sender.whatsapp = ["ACME"]
channel.whatsapp = ["wa"]
channel.sms = ["sms"]
channel.email = ["mail"]
[tenant.acme.account.erp]
ssh_keys = ["$(cut -d' ' -f1,2 "$WORK/id_ed25519.pub")"]
protocols = ["sftp"]
rights = ["drop", "collect", "control"]
CONF
dropchute check >/dev/null || { cat "$WORK/cli.log" >&2; fail "check refuses the configuration"; }

OUTBOX=$WORK/data/tenants/acme/outbox
# drop NAME CHAIN ROW...: a row is `row_id,number,text`.
drop() {
    local name=$1 chain=$2
    shift 2
    { echo "#fallback=$chain"; echo "row_id,phone,email,subject,text"; } >"$WORK/$name"
    printf '%s\n' "$@" | awk -F, '{ print $1 ",+49151123456" $2 "," $1 "@one.example,Hi," $3 }' >>"$WORK/$name"
    sftp_with_key erp "put $WORK/$name /inbox/.$name.part" "rename /inbox/.$name.part /inbox/$name" >/dev/null
}
has() { compgen -G "$OUTBOX/*/$1" >/dev/null || [ -e "$OUTBOX/$1" ]; }
file_of() { find "$OUTBOX" -name "$1"; }
# asked PATH NUMBER: how often.
asked() { awk -v path="$1" -v to="+49151123456$2" '$2 == path && $3 == to' "$WORK/requests" | wc -l; }
mailed() { { grep -lE "^X-Rcpt-Args:.*<$1@one.example>|RCPT TO:<$1@" "$WORK"/mail/m.* 2>/dev/null || true; } | wc -l; }
# ends NAME ROW STATUS CHANNEL TRIED: the row's one line of the result.
ends() {
    python3 - "$(file_of "$1.result.csv")" "$2" "$3 $4 $5" <<'PY' || fail "$1 $2: not $3 by $4, tried $5"
import csv, sys
rows = [r for r in csv.DictReader(open(sys.argv[1])) if r["row_id"] == sys.argv[2]]
found = [f"{r['status']} {r['channel']} {r['channels_tried']}" for r in rows]
found == [sys.argv[3]] or sys.exit(f"{found}")
PY
}
# count NAME ROW NUMBER WA SMS MAIL: what the sinks saw of the row.
count() {
    local found
    found="$(asked wa "$3") $(asked sms "$3") $(mailed "$2")"
    [ "$found" = "$4 $5 $6" ] || fail "$1 $2: whatsapp, sms, e-mail saw it $found times, not $4 $5 $6"
}

start_serve
say "--- each step"
drop messages_steps.csv "whatsapp:3s>sms>email" a,01,"wa=200 sms=200" b,02,"wa=422 sms=200" c,03,"wa=422 sms=404" \
    d,04,"wa=lost sms=200" e,05,"wa=422 sms=lost"
eventually 20 "the result" has messages_steps.csv.result.csv
ends messages_steps.csv a submitted sms "whatsapp>sms"; count steps a 01 1 1 0
first=$(awk '$2 == "wa" && $3 ~ /01$/ { print $1 }' "$WORK/requests")
second=$(awk '$2 == "sms" && $3 ~ /01$/ { print $1 }' "$WORK/requests")
[ $((second - first)) -ge 2900 ] || fail "the next channel was asked after $((second - first)) ms, the receipt window is 3 s"
pass "no receipt in 3 s: the next channel, after $((second - first)) ms"
ends messages_steps.csv b submitted sms "whatsapp>sms"; count steps b 02 1 1 0
pass "refused: the next one at once"
ends messages_steps.csv c sent email "whatsapp>sms>email"; count steps c 03 1 1 1
pass "refused twice: the last one"
ends messages_steps.csv d submitted sms "whatsapp>sms"; count steps d 04 1 1 0
pass "answer lost: the next one after the receipt window"
ends messages_steps.csv e unknown sms "whatsapp>sms"; count steps e 05 1 1 0
pass "answer lost where no window is given: unknown, and no further channel"

say "--- kill -9 while the receipt is waited for"
drop messages_killed.csv "whatsapp:6s>sms" k,11,"wa=200 sms=200"
eventually 20 "whatsapp is asked" grep -q ' wa +4915112345611 ' "$WORK/requests"
for _ in 1 2 3; do
    kill -KILL "$SERVE_PID"; wait "$SERVE_PID" 2>/dev/null || true
    start_serve
done
eventually 20 "the result" has messages_killed.csv.result.csv
ends messages_killed.csv k submitted sms "whatsapp>sms"; count killed k 11 1 1 0
pass "three kills: each channel was asked once"

say "--- down when the receipt window ends"
drop messages_down.csv "whatsapp:2s>sms" l,12,"wa=200 sms=200"
eventually 20 "whatsapp is asked" grep -q ' wa +4915112345612 ' "$WORK/requests"
sleep 0.5
kill -KILL "$SERVE_PID"; wait "$SERVE_PID" 2>/dev/null || true
sleep 2.5
start_serve
eventually 10 "the result" has messages_down.csv.result.csv
ends messages_down.csv l submitted sms "whatsapp>sms"; count down l 12 1 1 0
pass "the next channel is asked when it is up again"

say "--- paused and cancelled while the receipt is waited for"
drop messages_halted.csv "whatsapp:2s>sms" m,13,"wa=200 sms=200"
eventually 20 "whatsapp is asked" grep -q ' wa +4915112345613 ' "$WORK/requests"
batch=$(dropchute --json batch list --tenant acme --limit 1 | sed -n 's/.*"batch_id": "\(.*\)".*/\1/p')
dropchute batch pause "$batch" >/dev/null
sleep 3
count paused m 13 1 0 0
pass "paused: no further channel is asked"
dropchute batch cancel "$batch" >/dev/null
eventually 10 "the result" has messages_halted.csv.result.csv
count cancelled m 13 1 0 0
ends messages_halted.csv m submitted whatsapp whatsapp
pass "cancelled: what the first channel took stands in the result"

say "--- resend goes through the chain again"
drop messages_again.csv "whatsapp>sms" n,14,"wa=422 sms=404"
eventually 20 "the result" has messages_again.csv.result.csv
ends messages_again.csv n failed sms "whatsapp>sms"
batch=$(dropchute --json batch list --tenant acme --limit 1 | sed -n 's/.*"batch_id": "\(.*\)".*/\1/p')
dropchute batch resend "$batch" >/dev/null
eventually 20 "sms is asked again" bash -c "[ \$(grep -c ' sms +4915112345614 ' '$WORK/requests') -eq 2 ]"
count again n 14 2 2 0
[ "$(awk '$3 ~ /14$/ { print $2, $4 }' "$WORK/requests" | sort -u | wc -l)" -eq 2 ] || fail "another message id on resend"
pass "the whole chain once more, under the same message ids"
stop_serve 5000
say "chains: $CHECKS checks held"
