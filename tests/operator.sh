#!/usr/bin/env bash
# What the operator stops and lets go on at the command line, while messages are on the wire: tenants, providers,
# rows that are tried again, rows of which nobody knows what became. At once, over kill -9, by several at once.
#
# Use: tests/operator.sh
#   DROPCHUTE_BIN=FILE, DROPCHUTE_INSTALL=1, KEEP=1: as for tests/clients.sh
# Messages go to Postfix's smtp-sink, which takes two seconds for each.
# Exit: 0 all held, 1 something did not, 77 not run.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need curl=curl sftp=openssh-client python3=python3-minimal
SMTP_SINK=$(unpacked postfix smtp-sink)
find_program
free_port; SFTP_PORT=$FREE_PORT
free_port; ADMIN_PORT=$FREE_PORT
CONNECTIONS=4
RACE=()
start_smtp_sink -w 2
ssh-keygen -q -t ed25519 -N '' -f "$WORK/id_ed25519"
cat >"$WORK/dropchute.toml" <<CONF
$(sftp_config)
[provider.mail]
kind = "smtp"
host = "127.0.0.1"
port = $SMTP_PORT
tls = "none"
connections = $CONNECTIONS
[provider.dead]
kind = "smtp"
host = "127.0.0.1"
port = 9
tls = "none"
retry_first = "1h"
[tenant.acme]
sender.email = ["Acme <news@acme.example>"]
channel.email = ["mail"]
[tenant.acme.account.erp]
ssh_keys = ["$(cut -d' ' -f1,2 "$WORK/id_ed25519.pub")"]
protocols = ["sftp"]
[tenant.other]
sender.email = ["Other <news@other.example>"]
channel.email = ["dead"]
[tenant.other.account.other]
ssh_keys = ["$(cut -d' ' -f1,2 "$WORK/id_ed25519.pub")"]
protocols = ["sftp"]
CONF
dropchute check >/dev/null || { cat "$WORK/cli.log" >&2; fail "check refuses the configuration"; }

# drop USER NAME ROWS
drop() {
    { echo "row_id,email,subject,text"; seq "$3" | awk '{ print "r" $1 ",r" $1 "@one.example,Hi,Row " $1 }'; } >"$WORK/$2"
    sftp_with_key "$1" "put $WORK/$2 /inbox/.$2.part" "rename /inbox/.$2.part /inbox/$2" >/dev/null
}
mails() { find "$WORK/mail" -type f | wc -l; }
more_than() { [ "$(mails)" -gt "$1" ]; }
answered() { [ -e "$WORK/data/tenants/$1/outbox/$2" ]; }
batch_of() { dropchute --json batch list --tenant "$1" --limit 1 | sed -n 's/.*"batch_id": "\(.*\)".*/\1/p'; }
# expect CODE COMMAND...: the exit code of a command.
expect() {
    local code=$1 status=0
    shift
    dropchute "$@" >"$WORK/out" || status=$?
    [ "$status" -eq "$code" ] || fail "exit code $status, not $code: dropchute $* ($(tail -n 1 "$WORK/cli.log"))"
}
# still WHAT: what was on the wire may end, then nothing more comes.
still() {
    sleep 2.5
    local then
    then=$(mails)
    sleep 2.5
    [ "$(mails)" -eq "$then" ] || fail "$1: $(mails) messages, $then a while ago"
    pass "$1: no message leaves"
}

start_serve
say "--- exit codes"
expect 1 tenant suspend nobody
expect 1 provider pause nobody
expect 1 unknown settle 0000000000000 --all --as sent
expect 2 tenant suspend
expect 2 provider pause mail now
expect 2 unknown settle 0000000000000 --as sent
expect 2 unknown settle 0000000000000 1 --as read
expect 0 tenant list
grep -q '^acme *active' "$WORK/out" || fail "tenant list: $(cat "$WORK/out")"
pass "0 done, 1 failed, 2 bad command line"
if [ "$(id -u)" -eq 0 ] && setpriv --reuid=nobody --clear-groups test -x "$BIN" 2>/dev/null; then
    status=0
    setpriv --reuid=nobody --clear-groups "$BIN" --config "$WORK/dropchute.toml" tenant suspend acme 2>"$WORK/nobody" || status=$?
    [ "$status" -eq 1 ] && grep -q "control socket" "$WORK/nobody" || fail "another user: exit code $status, $(cat "$WORK/nobody")"
    pass "another user may not: $(cat "$WORK/nobody")"
fi

say "--- a tenant is suspended while its messages leave"
drop erp messages_a.csv 60
eventually 20 "messages arrive" more_than 2
expect 0 tenant suspend acme --reason unpaid
expect 0 tenant suspend acme
grep -q 'was so already' "$WORK/out" || fail "done twice is done once: $(cat "$WORK/out")"
! drop erp messages_refused.csv 1 2>/dev/null || fail "a suspended tenant may upload"
still "suspended"
kill -KILL "$SERVE_PID"; wait "$SERVE_PID" 2>/dev/null || true
start_serve
still "suspended, after kill -9"
expect 0 --json tenant list
grep -q '"reason": "unpaid"' "$WORK/out" || fail "tenant list: $(cat "$WORK/out")"
expect 0 tenant resume acme
before=$(mails)
eventually 5 "messages arrive again" more_than "$before"
pass "resumed: messages leave at once"

say "--- a provider is paused while its messages leave, by several at once"
for n in 1 2 3 4 5 6; do
    for op in pause resume; do dropchute provider "$op" mail >/dev/null & RACE+=($!); done
done
for pid in "${RACE[@]}"; do wait "$pid" || fail "one of several commands at once failed"; done
expect 0 provider pause mail --reason outage
still "paused"
expect 0 status
grep -q '^providers_paused *mail$' "$WORK/out" || fail "status: $(cat "$WORK/out")"
kill -KILL "$SERVE_PID"; wait "$SERVE_PID" 2>/dev/null || true
start_serve
still "paused, after kill -9"
expect 0 provider resume mail
before=$(mails)
eventually 5 "messages arrive again" more_than "$before"
pass "resumed: messages leave at once"

say "--- kill -9 while messages are on the wire: unknown rows"
kill -KILL "$SERVE_PID"; wait "$SERVE_PID" 2>/dev/null || true
start_serve
batch=$(batch_of acme)
eventually 60 "the file has its result" answered acme messages_a.csv.result.csv
expect 0 --json unknown list --batch "$batch"
unknown=$(grep -c '"row":' "$WORK/out" || true)
((unknown >= 1 && unknown <= CONNECTIONS)) || fail "$unknown unknown rows"
cksum "$WORK"/data/tenants/acme/outbox/messages_a.csv.* >"$WORK/before"
row=$(sed -n 's/.*"row": \([0-9]*\).*/\1/p' "$WORK/out" | head -n 1)
expect 0 unknown settle "$batch" "$row" --as delivered --reason "asked the provider"
expect 0 unknown settle "$batch" --all --as sent
expect 1 batch resend "$batch"
expect 0 unknown list --settled
grep -q 'delivered .*asked the provider' "$WORK/out" || fail "unknown list --settled: $(cat "$WORK/out")"
cksum "$WORK"/data/tenants/acme/outbox/messages_a.csv.* | cmp -s - "$WORK/before" || fail "a published answer changed"
pass "$unknown unknown rows are settled, nothing is left to resend, no answer changed"
doubled=$(find "$WORK/mail" -type f -exec grep -h -i '^message-id:' {} + | sort | uniq -d | wc -l)
[ "$doubled" -eq 0 ] || fail "$doubled messages came twice"

say "--- rows that wait for their next try"
drop other messages_b.csv 3
tried() { dropchute --json batch show "$(batch_of other)" | grep -q '"rows_open": 3' && curl -fsS "http://127.0.0.1:$ADMIN_PORT/metrics" |
    awk -v least="$1" '/^dropchute_attempts_total.*provider="dead"/ { n += $NF } END { exit n < least }'; }
eventually 20 "each was tried once" tried 3
expect 0 batch retry "$(batch_of other)"
eventually 10 "each was tried again" tried 6
pass "retry tries them at once"
expect 0 batch cancel "$(batch_of other)"
eventually 10 "the file has its result" answered other messages_b.csv.result.csv
expect 1 batch retry "$(batch_of other)"
stop_serve 5000
expect 1 tenant list
if grep -a -q "panicked" "$WORK/serve.log"; then fail "a panic in the log"; fi
say "operator.sh: all held in $SECONDS s"
