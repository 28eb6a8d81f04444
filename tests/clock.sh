#!/usr/bin/env bash
# Puts the wall clock of a running daemon forwards and back by a day, and through both nights in which Berlin
# changes its clocks: nothing may be sent early, twice or never, and no timer may be lost.
#
# Use: tests/clock.sh
#   DROPCHUTE_BIN=FILE, DROPCHUTE_INSTALL=1, KEEP=1: as for tests/clients.sh
# The daemon runs under Debian's faketime, which moves its wall clock and leaves the monotonic one alone. Messages
# go to nginx, which logs each. Takes about four minutes.
# Exit: 0 all held, 1 something did not, 77 not run.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need faketime=faketime curl=curl sftp=openssh-client python3=python3-minimal
NGINX=$(unpacked nginx nginx)
find_program
LIBRARY=$(ls /usr/lib/*/faketime/libfaketimeMT.so.1 2>/dev/null | head -n 1)
[ -n "$LIBRARY" ] || { say "NOT RUN: no libfaketimeMT.so.1 below /usr/lib" >&2; exit 77; }
free_port; SFTP_PORT=$FREE_PORT
free_port; ADMIN_PORT=$FREE_PORT
start_nginx
ssh-keygen -q -t ed25519 -N '' -f "$WORK/id_ed25519"
cat >"$WORK/dropchute.toml" <<CONF
$(sftp_config)
[provider.api]
kind = "http"
url = "http://127.0.0.1:$HTTP_PORT/send"
body = '{"text": {{ text | tojson }}}'
success = { pointer = "/status", equals = "ok" }
[tenant.acme]
timezone = "Europe/Berlin"
default_country = "DE"
sender.sms = ["ACME"]
channel.sms = ["api"]
[tenant.acme.account.erp]
ssh_keys = ["$(cut -d' ' -f1,2 "$WORK/id_ed25519.pub")"]
protocols = ["sftp"]
CONF
dropchute check >/dev/null || { cat "$WORK/cli.log" >&2; fail "check refuses the configuration"; }

# set_clock TIME: what the daemon's wall clock shows from now on.
set_clock() {
    SHIFT=$(($(date -u -d "$1" +%s) - $(date +%s)))
    printf '%+d' "$SHIFT" >"$WORK/clock.new"
    mv "$WORK/clock.new" "$WORK/clock"
}
shown() { date -u -d "@$(($(date +%s) + SHIFT))" +%Y-%m-%dT%H:%M:%SZ; }
launch_serve() {
    env LD_PRELOAD="$LIBRARY" FAKETIME_TIMESTAMP_FILE="$WORK/clock" FAKETIME_NO_CACHE=1 \
        FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1 \
        "$BIN" --config "$WORK/dropchute.toml" serve >>"${1:-$WORK/serve.log}" 2>&1 &
    SERVE_PID=$!
}
# drop NAME ROWS: rows of row_id, send_at, window, expires_at; each row_id is its message's text.
drop() {
    { echo "row_id,send_at,window,expires_at,phone,text"
      awk -F, 'NF { print $0 ",+4915112345678," $1 }' <<<"$2"; } >"$WORK/$1"
    sftp_with_key erp "put $WORK/$1 /inbox/.$1.part" "rename /inbox/.$1.part /inbox/$1" >/dev/null
}
# Texts of the messages that were sent, with how often.
sent() { python3 -c '
import collections, json, sys
texts = [json.loads(json.loads(line)["body"])["text"] for line in sys.stdin]
print(" ".join(f"{text}={n}" for text, n in sorted(collections.Counter(texts).items())))' <"$WORK/http.log"; }
was_sent() { case " $(sent) " in *" $1="*) ;; *) return 1 ;; esac; }
answered() { [ -e "$WORK/data/tenants/acme/outbox/$1" ]; }
ready() { curl -fsS -m 2 "http://127.0.0.1:$ADMIN_PORT/readyz"; }
# sent_at SECONDS NAME NOT_BEFORE: waits for a message; it must not be there before its time.
sent_at() {
    local deadline=$((SECONDS + $1)) now
    while :; do
        if was_sent "$2"; then
            now=$(shown)
            [[ ! $now < $3 ]] || fail "$2 was sent at $now, before $3"
            pass "$2, due at $3, was there at $now"
            return
        fi
        [ "$SECONDS" -lt "$deadline" ] || fail "$2 was not sent by $(shown); sent: $(sent)"
        sleep 0.1
    done
}

say "--- the night in which summer time begins: 02:00 becomes 03:00 at 01:00 UTC"
set_clock 2027-03-28T00:59:50Z
start_serve
drop messages_spring.csv "
after,2027-03-28 03:00,,
window,,02:30-05:00,
gap,2027-03-28 02:30,,
tomorrow,2027-03-29 03:00,,
expires,2027-03-28 14:00,,2027-03-28 15:00"
eventually 10 "the file is accepted" answered messages_spring.csv.ack.csv
sent_at 20 after 2027-03-28T01:00:00Z
sent_at 5 window 2027-03-28T01:00:00Z
! was_sent gap || fail "gap was sent before 03:30 local"

say "--- forwards by a day: that is seen within 30 s, and believed a minute later"
set_clock 2027-03-29T00:59:56Z
drop messages_now.csv "now,,,"
sent_at 35 now 2027-03-29T00:59:56Z
! was_sent gap || fail "gap was sent before the clock is believed"
sent_at 100 gap 2027-03-28T01:30:00Z
sent_at 40 tomorrow 2027-03-29T01:00:00Z
eventually 10 "the file has its result" answered messages_spring.csv.result.csv
grep -q ',expires,.*,expired,yes,policy.expired,' "$WORK/data/tenants/acme/outbox/messages_spring.csv.result.csv" ||
    fail "the row that ran out of time did not expire"
! was_sent expires || fail "a row was sent that had run out of time"
pass "what ran out of time meanwhile is expired, not sent"

say "--- back by a day, while a row waits"
drop messages_waits.csv "waits,2027-03-29 03:10,,"
eventually 10 "the file is accepted" answered messages_waits.csv.ack.csv
before=$(sent)
set_clock 2027-03-28T01:20:00Z
! ready >/dev/null 2>&1 || fail "readyz does not say that the clock is earlier than what is stored"
curl -sS -m 2 "http://127.0.0.1:$ADMIN_PORT/readyz" | grep -q 'the clock is earlier' || fail "readyz gives another reason"
pass "readyz is false: $(curl -sS -m 2 "http://127.0.0.1:$ADMIN_PORT/readyz")"
drop messages_back.csv "back,,,"
sent_at 10 back 2027-03-28T01:20:00Z
[ "$(sent | tr ' ' '\n' | grep -v '^back=' | xargs)" = "$before" ] || fail "sent again: $(sent), before: $before"

say "--- right again, over a restart: what became due meanwhile is sent at once"
stop_serve 5000
set_clock 2027-03-29T01:12:00Z
start_serve
sent_at 10 waits 2027-03-29T01:10:00Z
pass "readyz is true again"

say "--- the night in which summer time ends: 02:30 comes at 00:30 and at 01:30 UTC"
set_clock 2027-10-31T00:29:57Z
drop messages_autumn.csv "
twice,2027-10-31 02:30,,
fold,,02:30-02:45,"
sent_at 100 twice 2027-10-31T00:30:00Z
sent_at 5 fold 2027-10-31T00:30:00Z
set_clock 2027-10-31T01:30:00Z
drop messages_end.csv "end,,,"
sent_at 35 end 2027-10-31T01:30:00Z

all_done() { dropchute status >"$WORK/status" && grep -q '^batches_open *0$' "$WORK/status"; }
eventually 10 "nothing is left to send" all_done
stop_serve 5000
expected="after=1 back=1 end=1 fold=1 gap=1 now=1 tomorrow=1 twice=1 waits=1 window=1"
[ "$(sent)" = "$expected" ] || fail "sent: $(sent)"
if grep -a -q "panicked" "$WORK/serve.log"; then fail "a panic in the log"; fi
pass "each message was sent once: $expected"
say "clock.sh: all held in $SECONDS s"
