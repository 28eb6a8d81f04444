#!/usr/bin/env bash
# Thousands of files whose messages wait for tomorrow, in a program that may open 256 files: they hold none of them,
# and neither a one-time password nor a start waits for them.
#
# Use: tests/waiting.sh [FILES]
#   FILES: 1000 unless told.  DROPCHUTE_BIN=FILE, DROPCHUTE_INSTALL=1, KEEP=1: as for tests/clients.sh
#   RESULT_MS: how soon, 3000 unless told; more on a busy machine.
# Exit: 0 all held, 1 something did not, 77 not run.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
FILES=${1:-1000}
FILES_MAX=256
# From the end of an upload with one password to its result.
RESULT_MS=${RESULT_MS:-3000}
need curl=curl sftp=openssh-client python3=python3-minimal
find_program
free_port; SFTP_PORT=$FREE_PORT
free_port; ADMIN_PORT=$FREE_PORT
ssh-keygen -q -t ed25519 -N '' -f "$WORK/id_ed25519"
KEY=$(cut -d' ' -f1,2 "$WORK/id_ed25519.pub")
cat >"$WORK/dropchute.toml" <<CONF
$(sftp_config)
[provider.dry]
kind = "simulator"
[tenant.acme]
sender.email = ["Acme <news@acme.example>"]
channel.email = ["dry"]
[tenant.acme.account.acme]
ssh_keys = ["$KEY"]
protocols = ["sftp"]
[tenant.bank]
sender.email = ["Bank <code@bank.example>"]
channel.email = ["dry"]
[tenant.bank.account.bank]
ssh_keys = ["$KEY"]
protocols = ["sftp"]
CONF
dropchute check >/dev/null || { cat "$WORK/cli.log" >&2; fail "check refuses the configuration"; }
TOMORROW=$(date -u -d tomorrow +%Y-%m-%dT%H:%M:%SZ)
TREE=$WORK/data/tenants

limited_serve() {
    (ulimit -n "$FILES_MAX"; exec "$BIN" --config "$WORK/dropchute.toml" serve) >>"$WORK/serve.log" 2>&1 &
    SERVE_PID=$!
    eventually 30 "the daemon is ready" curl -fsS -m 2 "http://127.0.0.1:$ADMIN_PORT/readyz"
}
mkdir "$WORK/files"
# write NAME CATEGORY [SEND_AT]: a file with one row.
write() {
    printf 'row_id,email,subject,text,category,send_at\n%s,%s@one.example,Hi,Hello,%s,%s\n' "$1" "$1" "$2" "${3:-}" \
        >"$WORK/files/messages_$1.csv"
}
answers() { find "$TREE/$1/outbox" -name "$2" | wc -l; }
waits() { [ "$(dropchute --json status | sed -n 's/.*"batches_open": \([0-9]*\).*/\1/p')" -eq "$1" ]; }
holds_few_files() {
    local open
    open=$(find "/proc/$SERVE_PID/fd" -type l | wc -l)
    [ "$open" -lt 150 ] || fail "$1: $open files are open"
    pass "$1: $open files are open"
}
# sent_soon TENANT NAME CATEGORY WHAT
sent_soon() {
    local from ms
    write "$2" "$3"
    sftp_with_key "$1" "put $WORK/files/messages_$2.csv /inbox/messages_$2.csv" >/dev/null
    from=$(now_ms)
    until [ "$(answers "$1" "messages_$2.csv.result.csv")" -gt 0 ]; do
        [ $(($(now_ms) - from)) -le 20000 ] || fail "$4: no result"
        sleep 0.05
    done
    ms=$(($(now_ms) - from))
    [ "$ms" -le "$RESULT_MS" ] || fail "$4: a result after $ms ms"
    pass "$4: a result after $ms ms"
}

limited_serve
say "--- $FILES files wait for tomorrow"
for ((n = 1; n <= FILES; n++)); do write "$n" transactional "$TOMORROW"; done
sftp_with_key acme "put $WORK/files/* /inbox/" >/dev/null
all_wait() { waits "$FILES" && [ "$(answers acme '*.ack.csv')" -eq "$FILES" ]; }
eventually 900 "all files are accepted" all_wait
holds_few_files "while they wait"
sent_soon bank code1 authentication "a password beside them"
sent_soon acme code2 authentication "a password of their own tenant"

say "--- a start with them, after kill -9"
kill -KILL "$SERVE_PID"; wait "$SERVE_PID" 2>/dev/null || true
from=$(now_ms)
limited_serve
say "     ready after $(($(now_ms) - from)) ms"
sent_soon bank code3 authentication "a password right after the start"
waits "$FILES" || fail "batches open: $(dropchute status)"
holds_few_files "after the start"

say "--- a halt that ends, of which every one hears"
dropchute tenant suspend acme >/dev/null
dropchute tenant resume acme >/dev/null
sent_soon bank code4 authentication "a password while they look again"
holds_few_files "while they look again"

say "--- one of them is cancelled"
CHOSEN=$(dropchute --json batch list --tenant acme --limit 20 | python3 -c '
import json, sys
batches = json.load(sys.stdin)["batches"]
print(next(b["batch_id"] + " " + b["file"] for b in batches if "code" not in b["file"]))')
NAME=${CHOSEN#* }
dropchute batch cancel "${CHOSEN% *}" >/dev/null || fail "cancel: $(tail -n 1 "$WORK/cli.log")"
has_result() { [ "$(answers acme "$NAME.result.csv")" -gt 0 ]; }
eventually 20 "a waiting file is cancelled" has_result
grep -q cancelled "$TREE/acme/outbox/$NAME.result.csv" || fail "it was not cancelled"
waits $((FILES - 1)) || fail "batches open: $(dropchute status)"
pass "cancelled though its files are closed"
stop_serve 10000
if grep -q "set aside\|Too many open files" "$WORK/serve.log"; then fail "the program ran out of files"; fi
say "$CHECKS checks passed"
